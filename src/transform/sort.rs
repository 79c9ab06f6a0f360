//! `sort`: sorts along dimensions by their coordinates, ascending; `-lat` descending.

use std::cmp::Ordering;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TransformError;
use super::draft::Draft;
use crate::array::{Array, Scalar};
use crate::cf::packing;

/// Sorts along dimensions by their coordinates, ascending; `-lat` descending.
///
/// Stable; what is missing comes last either way. A packed or `_Unsigned` coordinate is sorted by its real values. A dimension without coordinate is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Sort(pub Vec<String>);

impl Sort {
    pub(super) fn apply(&self, draft: &mut Draft<'_>) -> Result<(), TransformError> {
        for entry in &self.0 {
            let (dimension, descending) = entry.strip_prefix('-').map_or((entry.as_str(), false), |name| (name, true));
            if draft.length(dimension).is_none() {
                continue;
            }
            let Some(index) = draft.schema.variable(dimension).filter(|variable| variable.is_index()) else {
                return draft.refuse(format!("dimension `{dimension}` has no coordinate to sort by"));
            };
            let negative = index.attributes.number("scale_factor").is_some_and(|scale| scale.as_f64() < 0.0);
            let real = Real { unsigned: packing::is_unsigned(index), missing: packing::marks(index).all };
            let Some(values) = draft.values(dimension) else {
                return draft.refuse(format!("the values of `{dimension}` could not be read"));
            };
            let sorted = order(&values, &real, descending != negative);
            if !sorted.is_sorted() {
                draft.choose(dimension, &sorted);
            }
        }
        Ok(())
    }
}

/// How raw values are to be read.
struct Real {
    /// As unsigned integers of the same size.
    unsigned: bool,
    /// Raw values that mean "missing".
    missing: Vec<Scalar>,
}

impl Real {
    /// The value to compare by; `None` if it is missing.
    fn value(&self, raw: Scalar) -> Option<Scalar> {
        if raw.as_f64().is_nan() || self.missing.iter().any(|mark| mark.identical(raw) || *mark == raw) {
            return None;
        }
        if self.unsigned { Scalar::from_bytes(packing::unsigned(raw.dtype()), &raw.to_bytes()) } else { Some(raw) }
    }
}

fn order(values: &Array, real: &Real, descending: bool) -> Vec<u64> {
    let mut positions: Vec<u64> = (0..values.elements()).collect();
    let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
    if values.dtype.is_text() {
        let texts = values.texts();
        positions.sort_by(|&left, &right| turned(texts.get(at(left)).cmp(&texts.get(at(right))), descending));
    } else {
        let scalars: Vec<Option<Scalar>> = values.scalars().map(|raw| real.value(raw)).collect();
        let value = |position: u64| scalars.get(at(position)).copied().flatten();
        positions.sort_by(|&left, &right| match (value(left), value(right)) {
            (Some(left), Some(right)) => compare(left, right, descending),
            (left, right) => left.is_none().cmp(&right.is_none()),
        });
    }
    positions
}

fn turned(ordering: Ordering, descending: bool) -> Ordering {
    if descending { ordering.reverse() } else { ordering }
}

fn compare(left: Scalar, right: Scalar, descending: bool) -> Ordering {
    let ordering = match (left, right) {
        (Scalar::UInt64(left), Scalar::UInt64(right)) => left.cmp(&right),
        _ => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => left.as_f64().total_cmp(&right.as_f64()),
        },
    };
    turned(ordering, descending)
}
