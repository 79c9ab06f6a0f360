//! The metadata documents of a whole schema, in the order in which they may become visible.
//!
//! What is the same in both formats: groups, dimension names, checks of names and lengths; `metadata3` and `metadata2` know how
//! a document looks. Invariant: documents are a pure function of the schema, key order included.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::attributes::{Announced, attributes_json};
use super::keys::{group_of, leaf};
use super::{metadata2, metadata3};
use crate::array::DataType;
use crate::dataset::{Attributes, Schema, Variable};
use crate::recipe::OutputFormat;
use crate::target::{TargetError, unsupported};

/// Every document with its key: arrays, then groups from the deepest up, the one that makes the store open last.
pub(super) fn documents(schema: &Schema, format: OutputFormat) -> Result<Vec<(String, Value)>, TargetError> {
    check(schema, format)?;
    match format {
        OutputFormat::Zarr3 | OutputFormat::Icechunk => metadata3::documents(schema),
        OutputFormat::Zarr2 => metadata2::documents(schema),
    }
}

/// Attributes of every group as JSON, by path; the root (empty path) is always there, and so is every group on the way to a
/// variable.
pub(super) fn groups(schema: &Schema, announced: &Announced) -> BTreeMap<String, Map<String, Value>> {
    let mut paths: BTreeSet<&str> = BTreeSet::from([""]);
    for start in schema.variables.iter().map(|variable| group_of(&variable.name)).chain(schema.groups.keys().map(String::as_str)) {
        let mut path = start;
        while paths.insert(path) {
            path = group_of(path);
        }
    }
    let none = Attributes::default();
    let attributes = |path: &str| if path.is_empty() { &schema.attributes } else { schema.groups.get(path).unwrap_or(&none) };
    let json = |path: &str| attributes_json(attributes(path), announced.groups.get(path).map(String::as_str));
    paths.into_iter().map(|path| (path.to_owned(), json(path))).collect()
}

/// Names of a variable's dimensions without the path of their group; the whole path where two would be equal.
pub(super) fn dimension_names(variable: &Variable) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(variable.dimensions.len());
    for dimension in &variable.dimensions {
        let short = leaf(dimension).to_owned();
        names.push(if names.contains(&short) { dimension.clone() } else { short });
    }
    names
}

/// Attributes of a variable as JSON, all but the fill value and the dimension names.
pub(super) fn variable_attributes(variable: &Variable, announced: &Announced) -> Map<String, Value> {
    attributes_json(&variable.attributes, announced.variables.get(&variable.name).map(String::as_str))
}

/// Fails where the format cannot hold the schema.
fn check(schema: &Schema, format: OutputFormat) -> Result<(), TargetError> {
    let mut seen = BTreeSet::new();
    for variable in &schema.variables {
        check_name(&variable.name)?;
        check_variable(schema, variable, format)?;
        if !seen.insert(variable.name.as_str()) {
            return Err(unsupported(&variable.name, "there are two variables of this name"));
        }
    }
    let groups = groups(schema, &Announced::default());
    match schema.variables.iter().find(|variable| groups.contains_key(&variable.name)) {
        Some(variable) => Err(unsupported(&variable.name, "a group has the same name; rename one of them")),
        None => Ok(()),
    }
}

fn check_variable(schema: &Schema, variable: &Variable, format: OutputFormat) -> Result<(), TargetError> {
    if let Some(dimension) = variable.dimensions.iter().find(|name| schema.dimension(name).is_none()) {
        return Err(unsupported(&variable.name, format!("its dimension `{dimension}` has no length")));
    }
    if variable.dtype == DataType::Char {
        return Err(unsupported(&variable.name, "chars cannot be written; join them to texts first"));
    }
    if format == OutputFormat::Zarr2 && variable.encoding.shards.is_some() {
        return Err(unsupported(&variable.name, "Zarr 2 has no shards; use `format: zarr3` or leave `shards` out"));
    }
    Ok(())
}

/// Zarr v3 core spec, "Node names": no empty or all-dots segment, none that starts with `__`; nor the names of our own documents.
fn check_name(name: &str) -> Result<(), TargetError> {
    let taken = ["zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"];
    let bad = |part: &str| part.chars().all(|character| character == '.') || part.starts_with("__") || taken.contains(&part);
    match name.split('/').find(|part| bad(part)) {
        Some(part) => Err(unsupported(name, format!("Zarr does not allow `{part}` as a name; rename it"))),
        None => Ok(()),
    }
}
