//! A description as text, in the manner of `ncdump -hs`.
//!
//! Invariant: nothing that a file holds reaches a terminal with control characters in it.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{DescribedVariable, Description, Kind};
use crate::recipe::OutputFormat;
use crate::recipe::diagnostic::inert as clean;
use crate::source::Format;

/// The description of `url` as text.
#[must_use]
pub fn render(url: &str, description: &Description) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, url, description);
    text
}

fn write(text: &mut String, url: &str, description: &Description) -> std::fmt::Result {
    let format = match description.format {
        Kind::File(Format::NetCdf3) => "NetCDF classic",
        Kind::File(Format::Hdf5) => "NetCDF-4 / HDF5",
        Kind::File(Format::Dap2) => "OPeNDAP (DAP2)",
        Kind::File(Format::Dap4) => "OPeNDAP (DAP4)",
        Kind::Store(OutputFormat::Zarr3) => "Zarr 3",
        Kind::Store(OutputFormat::Zarr2) => "Zarr 2",
        Kind::Store(OutputFormat::Icechunk) => "Icechunk",
    };
    writeln!(text, "{} ({format})", clean(url))?;
    if !description.dimensions.is_empty() {
        writeln!(text, "dimensions:")?;
    }
    for dimension in &description.dimensions {
        let unlimited = if dimension.unlimited { " (unlimited)" } else { "" };
        writeln!(text, "    {} = {}{unlimited}", clean(&dimension.name), dimension.length)?;
    }
    if !description.variables.is_empty() {
        writeln!(text, "variables:")?;
    }
    for variable in &description.variables {
        write_variable(text, variable)?;
    }
    write_attributes(text, "attributes:", &description.attributes)?;
    for (path, attributes) in &description.groups {
        if let Value::Object(attributes) = attributes {
            write_attributes(text, &format!("attributes of group {}:", clean(path)), attributes)?;
        }
    }
    if !description.refused.is_empty() {
        writeln!(text, "not read:")?;
    }
    for refused in &description.refused {
        writeln!(text, "    {}: {}", clean(&refused.name), clean(&refused.reason))?;
    }
    Ok(())
}

fn write_variable(text: &mut String, variable: &DescribedVariable) -> std::fmt::Result {
    let axes: Vec<String> =
        variable.dimensions.iter().zip(&variable.shape).map(|(name, length)| format!("{} = {length}", clean(name))).collect();
    let axes = if axes.is_empty() { String::new() } else { format!("({})", axes.join(", ")) };
    writeln!(text, "    {} {}{axes}", variable.dtype, clean(&variable.name))?;
    let mut storage = Vec::new();
    storage.extend(variable.chunks.as_ref().map(|chunks| format!("chunks {}", joined(chunks))));
    storage.extend(variable.shards.as_ref().map(|shards| format!("in shards {}", joined(shards))));
    storage.extend((!variable.filters.is_empty()).then(|| variable.filters.join(", ")));
    storage.extend(variable.fill.as_ref().map(|fill| format!("fill {fill}")));
    if !storage.is_empty() {
        writeln!(text, "        stored: {}", storage.join("; "))?;
    }
    if let Some(packing) = variable.packing {
        writeln!(text, "        packed: value = raw × {} + {}", packing.scale, packing.offset)?;
    }
    if let Some(found) = &variable.statistics {
        let range = match (found.min, found.max, found.mean) {
            (Some(min), Some(max), Some(mean)) => format!("{min} to {max}, mean {mean}; "),
            _ => String::new(),
        };
        writeln!(text, "        values: {range}{} of {} valid", found.valid, found.total)?;
    }
    if let Some(reason) = &variable.unreadable {
        writeln!(text, "        not readable: {}", clean(reason))?;
    }
    for (name, value) in &variable.attributes {
        writeln!(text, "        {}: {}", clean(name), shown(value))?;
    }
    Ok(())
}

fn write_attributes(text: &mut String, title: &str, attributes: &Map<String, Value>) -> std::fmt::Result {
    if attributes.is_empty() {
        return Ok(());
    }
    writeln!(text, "{title}")?;
    for (name, value) in attributes {
        writeln!(text, "    {}: {}", clean(name), shown(value))?;
    }
    Ok(())
}

fn joined(lengths: &[u64]) -> String {
    lengths.iter().map(u64::to_string).collect::<Vec<_>>().join(" × ")
}

/// A value as JSON writes it: quotes, escapes, no control characters.
fn shown(value: &Value) -> String {
    clean(&value.to_string())
}
