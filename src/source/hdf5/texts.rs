//! Texts of HDF5 datasets, a box at a time.
//!
//! The raw elements (padded bytes, or references into the global heap) are read like bytes with one more dimension; then each
//! becomes a text. Invariant: a text that cannot be found is an error, never an empty text.

use hdf5_reader::Dataset;

use super::attributes::text;
use super::types::TextKind;
use crate::array::{Array, DataType};
use crate::grid::Region;
use crate::layout::{Layout, Stored};

/// Why raw elements do not become texts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TextError {
    /// One of them cannot be found.
    Lost(String),
    /// Together they take more memory than allowed: many references to one long text, for example.
    TooLong,
}

/// Bytes of one raw element.
pub(super) fn element_size(dataset: &Dataset, kind: TextKind) -> u64 {
    match kind {
        TextKind::Fixed(size, _) => u64::from(size),
        TextKind::Variable => dataset.vlen_reference_size() as u64,
    }
}

/// The raw elements as chars with one more dimension, so that they are read like any other values.
///
/// `fill` is a whole raw element: what was never written is that text.
pub(super) fn as_bytes(stored: &Stored, layout: Layout, element: u64, fill: Option<&[u8]>) -> Stored {
    let mut wide = stored.clone();
    wide.dtype = DataType::Char;
    wide.shape.push(element);
    wide.fill = fill.filter(|fill| fill.len() as u64 == element).map_or_else(|| vec![0], <[u8]>::to_vec);
    wide.layout = match layout {
        Layout::Chunked(mut table) => {
            table.grid.shape.push(element);
            table.grid.chunk.push(element);
            Layout::Chunked(table)
        }
        Layout::Strided { offset, mut strides } => {
            strides.push(1);
            Layout::Strided { offset, strides }
        }
        other => other,
    };
    wide
}

/// The box of raw elements that holds the texts of `region`.
pub(super) fn widened(region: &Region, element: u64) -> Region {
    let mut wide = region.clone();
    wide.start.push(0);
    wide.shape.push(element);
    wide
}

/// Boxes whose raw elements take at most `most` bytes, if more than one; one after another they are the box, row-major.
pub(super) fn parts(region: &Region, element: u64, most: u64) -> Vec<Region> {
    let bytes = region.elements().saturating_mul(element);
    match region.shape.iter().position(|&length| length > 1) {
        Some(axis) if bytes > most => {
            let half = region.shape[axis] / 2;
            let (mut near, mut far) = (region.clone(), region.clone());
            near.shape[axis] = half;
            far.start[axis] += half;
            far.shape[axis] -= half;
            [parts(&near, element, most), parts(&far, element, most)].concat()
        }
        _ => vec![region.clone()],
    }
}

/// Turns raw elements into texts, whose bytes are taken off `left`.
pub(super) fn decode(dataset: &Dataset, kind: TextKind, raw: &Array, left: &mut u64) -> Result<Vec<String>, TextError> {
    let element = element_size(dataset, kind).max(1) as usize;
    let one = |bytes: &[u8]| match kind {
        TextKind::Fixed(_, padding) => Ok(fixed(bytes, padding)),
        TextKind::Variable => dataset
            .resolve_vlen_reference_bytes(bytes, 1)
            .map(|bytes| text(bytes.split(|&byte| byte == 0).next().unwrap_or_default()))
            .map_err(|error| TextError::Lost(format!("a text cannot be found: {error}"))),
    };
    let mut counted = |bytes: &[u8]| -> Result<String, TextError> {
        let text = one(bytes)?;
        *left = left.checked_sub((text.capacity() + size_of::<String>()) as u64).ok_or(TextError::TooLong)?;
        Ok(text)
    };
    raw.bytes().chunks_exact(element).map(&mut counted).collect()
}

fn fixed(bytes: &[u8], padding: hdf5_core::StringPadding) -> String {
    match padding {
        hdf5_core::StringPadding::NullTerminate => text(bytes.split(|&byte| byte == 0).next().unwrap_or_default()),
        hdf5_core::StringPadding::NullPad => text(bytes),
        hdf5_core::StringPadding::SpacePad => text(bytes).trim_end_matches(' ').to_owned(),
    }
}
