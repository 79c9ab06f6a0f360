//! Scanned inputs into one dataset, or every conflict between them.
//!
//! Pure: schemas and a few values in, the combined schema and where each input's box lands out. Invariant: what comes out
//! follows from values that were compared, never from the first file alone (docs/architecture.md, "Right data").

mod attributes;
mod axes;
mod conflicts;
mod contents;
mod forms;
mod gaps;
mod overlaps;
mod places;
mod rescale;
mod runs;
mod shared;
mod storage;
mod survey;
mod times;
mod wanted;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::array::{Array, Values};
use crate::cf::Conversion;
use crate::dataset::Schema;
use crate::grid::{Region, Shape};
use crate::recipe::Used;

pub use forms::{SourceForm, SourceForms};
pub use gaps::Gap;
pub use shared::{Interner, SharedSchema};
pub use wanted::{guess, wanted};
pub use whole::combine;

/// What scanning found in one input, after the steps.
#[derive(Debug, Clone)]
pub struct Scanned {
    /// Number of the input.
    pub input: usize,
    /// Schema after the steps (texts joined).
    pub schema: SharedSchema,
    /// Raw values, after the steps, of the variables that [`wanted`] asked for (those that the steps made included).
    pub values: BTreeMap<Arc<str>, Arc<Array>>,
    /// [`digest`] of the variables too large for `values`.
    pub digests: Arc<BTreeMap<String, String>>,
}

/// Which variables of an input must be read before inputs can be combined.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Values needed (coordinates along concat dimensions, small variables to compare).
    pub values: BTreeSet<String>,
    /// A digest is enough (large variables without a concat dimension).
    pub digests: BTreeSet<String>,
}

/// A concat axis with the length of each of its positions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConcatAxis {
    /// The dimension.
    pub dimension: String,
    /// Length of the dimension in the files at each position, without steps that are left out; 0 where the position is left out (no
    /// file, `missing: skip`).
    pub lengths: Vec<u64>,
}

/// Neighbouring steps of a file: the first, and how many.
pub type Run = (u64, u64);

/// By input, and by concat dimension: the runs of the file's steps that are part of the result. Inputs that keep all are left out.
pub type KeptSteps = BTreeMap<u32, BTreeMap<String, Vec<Run>>>;

/// Where a variable's values come from.
#[derive(Debug, Clone)]
pub enum Content {
    /// Already read and joined: coordinates, and small variables that all inputs share.
    Known(Array),
    /// Read when tasks run.
    Pieces(Pieces),
}

/// The inputs that make up a variable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pieces {
    /// For each concat axis the variable has: (axis, dimension of the variable), in the order of the axes.
    pub axes: Vec<(usize, usize)>,
    /// Input number at each cell of those axes, row-major; `None` is a hole that the recipe allows, to be filled.
    #[serde(with = "runs::inputs")]
    pub inputs: Vec<Option<u32>>,
    /// Distinct conversions.
    pub conversions: Vec<Conversion>,
    /// Which conversion each cell needs; empty: all need the first.
    #[serde(with = "runs::repeated")]
    pub converted: Vec<u32>,
}

/// The whole.
#[derive(Debug, Clone)]
pub struct Combined {
    /// The result's schema: types and attributes after conversion, lengths of the whole.
    pub schema: Schema,
    /// In the order of `combine.concat`.
    pub axes: Vec<ConcatAxis>,
    /// One per variable of the schema, in its order.
    pub contents: Vec<Content>,
    /// What a person should know (attributes dropped, fills that did not fit, …).
    pub warnings: Vec<String>,
    /// Policies that mattered, and lossless conversions.
    pub used: Vec<Used>,
    /// Gaps of time coordinates along concat dimensions.
    pub gaps: Vec<Gap>,
    /// Of inputs that lose steps to others: which they keep.
    pub kept: KeptSteps,
    /// Chunk lengths, after the steps, that the first input with the variable has; for the planner.
    pub source_chunks: BTreeMap<String, Shape>,
    /// How the inputs store each variable, where the recipe lets chunks be moved as they are; for the planner.
    pub source_forms: BTreeMap<String, SourceForms>,
}

/// What [`Scanned::digests`] holds: XXH3-128, hexadecimal, of type, shape and raw bytes (texts: each with its length in front).
#[must_use]
pub fn digest(array: &Array) -> String {
    format!("{:032x}", hash(array))
}

fn hash(array: &Array) -> u128 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    hasher.update(array.dtype.name().as_bytes());
    hasher.update(&(array.shape.len() as u64).to_le_bytes());
    array.shape.iter().for_each(|length| hasher.update(&length.to_le_bytes()));
    match &array.values {
        Values::Bytes(bytes) => hasher.update(bytes),
        Values::Texts(texts) => texts.iter().for_each(|text| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }),
    }
    hasher.digest128()
}

/// Where one cell's box lands in a variable of the given shape.
#[must_use]
pub fn placement(axes: &[ConcatAxis], pieces: &Pieces, shape: &[u64], cell: &[usize]) -> Region {
    let mut region = Region::whole(shape);
    for (&(axis, dimension), &position) in pieces.axes.iter().zip(cell) {
        let lengths = &axes[axis].lengths;
        region.start[dimension] = lengths[..position].iter().sum();
        region.shape[dimension] = lengths[position];
    }
    region
}
