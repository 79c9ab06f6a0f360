//! HDF5 attributes as ours.
//!
//! Attributes that netCDF-4 and the dimension scales keep for themselves are hidden. Texts that are not UTF-8 are Latin-1. Invariant: a number keeps its type and every bit.

use hdf5_core::{Datatype, StringSize};
use hdf5_reader::Dataset;
use hdf5_reader::group::Group;

use super::types::{self, TextKind};
use crate::array::{DataType, Scalar};
use crate::dataset::{Attribute, Attributes};

/// Attributes that say how netCDF-4 lies in HDF5, not what the data is.
const HIDDEN: [&str; 9] = [
    "_NCProperties",
    "_Netcdf4Dimid",
    "_Netcdf4Coordinates",
    "_nc3_strict",
    "_NCCOPY",
    "DIMENSION_LIST",
    "REFERENCE_LIST",
    "CLASS",
    "NAME",
];

/// Who owns an attribute: only owners can follow references into the global heap.
#[derive(Clone, Copy)]
pub(super) enum Owner<'a> {
    Dataset(&'a Dataset),
    Group(&'a Group),
}

impl Owner<'_> {
    fn heap_bytes(self, reference: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Dataset(dataset) => dataset.resolve_vlen_reference_bytes(reference, 1).ok(),
            Self::Group(group) => group.resolve_vlen_reference_bytes(reference, 1).ok(),
        }
    }
}

/// Translates attributes; what cannot be translated is added to `refused` as (`owner@name`, reason).
pub(super) fn translate(found: &[hdf5_reader::Attribute], owner: Owner<'_>, path: &str, refused: &mut Vec<(String, String)>) -> Attributes {
    let hides_scale =
        found.iter().any(|attribute| attribute.name == "CLASS" && text_of(attribute, owner).as_deref() == Some("DIMENSION_SCALE"));
    let mut attributes = Attributes::default();
    for attribute in found {
        let scale_only = matches!(attribute.name.as_str(), "CLASS" | "NAME");
        if HIDDEN.contains(&attribute.name.as_str()) && (hides_scale || !scale_only) {
            continue;
        }
        match value(attribute, owner) {
            Ok(value) => attributes.set(&attribute.name.replace('\0', ""), value),
            Err(reason) => refused.push((format!("{path}@{}", attribute.name), reason)),
        }
    }
    attributes
}

/// The single text of an attribute, if it is one.
pub(super) fn text_of(attribute: &hdf5_reader::Attribute, owner: Owner<'_>) -> Option<String> {
    value(attribute, owner).ok().and_then(|value| value.text().map(str::to_owned))
}

/// The integers of an attribute, if it holds integers.
pub(super) fn integers_of(attribute: &hdf5_reader::Attribute, owner: Owner<'_>) -> Option<Vec<i64>> {
    match value(attribute, owner).ok()? {
        Attribute::Numbers(numbers) => numbers.into_iter().map(Scalar::as_i64).collect(),
        _ => None,
    }
}

fn value(attribute: &hdf5_reader::Attribute, owner: Owner<'_>) -> Result<Attribute, String> {
    let element = types::translate(&attribute.datatype)?;
    match (element.text, element.dtype) {
        (Some(TextKind::Variable), _) => Ok(one_or_many(variable_texts(attribute, owner)?)),
        (Some(TextKind::Fixed(size, _)), _) => Ok(one_or_many(fixed_texts(attribute, size as usize))),
        // netCDF-4 writes a text of n chars as one string of n bytes, so single chars are one text too.
        (None, DataType::Char) => Ok(Attribute::Text(text(&attribute.raw_data))),
        (None, dtype) => {
            let mut bytes = attribute.raw_data.clone();
            crate::codec::swap_to_native(&mut bytes, dtype.size(), element.order);
            let count = attribute.num_elements().map_err(|error| error.to_string())?;
            let numbers: Vec<Scalar> = bytes.chunks_exact(dtype.size()).filter_map(|number| Scalar::from_bytes(dtype, number)).collect();
            if numbers.len() as u64 == count { Ok(Attribute::Numbers(numbers)) } else { Err("its bytes are not complete".to_owned()) }
        }
    }
}

fn one_or_many(mut texts: Vec<String>) -> Attribute {
    match texts.len() {
        0 => Attribute::Text(String::new()),
        1 => Attribute::Text(texts.remove(0)),
        _ => Attribute::Texts(texts),
    }
}

fn fixed_texts(attribute: &hdf5_reader::Attribute, size: usize) -> Vec<String> {
    attribute.raw_data.chunks_exact(size.max(1)).map(text).collect()
}

fn variable_texts(attribute: &hdf5_reader::Attribute, owner: Owner<'_>) -> Result<Vec<String>, String> {
    if let Some(texts) = &attribute.decoded_strings {
        return Ok(texts.iter().map(|text| text.replace('\0', "")).collect());
    }
    let count = attribute.num_elements().map_err(|error| error.to_string())?;
    if count == 1 && is_vlen(&attribute.datatype) {
        // The library has already followed a single reference; only its UTF-8 was wrong.
        return Ok(vec![text(&attribute.raw_data)]);
    }
    let size = attribute.raw_data.len().checked_div(usize::try_from(count).unwrap_or(0)).unwrap_or(0);
    let follow =
        |reference: &[u8]| owner.heap_bytes(reference).map(|bytes| text(&bytes)).ok_or_else(|| "its texts cannot be found".to_owned());
    attribute.raw_data.chunks_exact(size.max(1)).map(follow).collect()
}

fn is_vlen(datatype: &Datatype) -> bool {
    matches!(datatype, Datatype::VarLen { .. }) && !matches!(datatype, Datatype::String { size: StringSize::Variable, .. })
}

/// UTF-8, else Latin-1, without the NULs that pad texts.
pub(super) fn text(bytes: &[u8]) -> String {
    // Padding may be far longer than the text.
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    crate::array::text_from_bytes(bytes.get(..end).unwrap_or_default()).replace('\0', "")
}
