//! `sort`: sorts along dimensions by their coordinates, ascending; `-lat` descending.

use std::cmp::Ordering;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TransformError;
use super::draft::Draft;
use crate::array::{Array, Scalar};

/// Sorts along dimensions by their coordinates, ascending; `-lat` descending.
///
/// Stable; NaN comes last either way. A packed coordinate is sorted by its unpacked values. A dimension without coordinate is an error.
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
            let Some(values) = draft.values(dimension) else {
                return draft.refuse(format!("the values of `{dimension}` could not be read"));
            };
            let sorted = order(&values, descending != negative);
            if !sorted.is_sorted() {
                draft.choose(dimension, &sorted);
            }
        }
        Ok(())
    }
}

fn order(values: &Array, descending: bool) -> Vec<u64> {
    let mut positions: Vec<u64> = (0..values.elements()).collect();
    let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
    if values.dtype.is_text() {
        let texts = values.texts();
        positions.sort_by(|&left, &right| turned(texts.get(at(left)).cmp(&texts.get(at(right))), descending));
    } else {
        let scalars: Vec<Scalar> = values.scalars().collect();
        positions.sort_by(|&left, &right| match (scalars.get(at(left)), scalars.get(at(right))) {
            (Some(left), Some(right)) => compare(*left, *right, descending),
            _ => Ordering::Equal,
        });
    }
    positions
}

fn turned(ordering: Ordering, descending: bool) -> Ordering {
    if descending { ordering.reverse() } else { ordering }
}

fn compare(left: Scalar, right: Scalar, descending: bool) -> Ordering {
    match (left.as_f64().is_nan(), right.as_f64().is_nan()) {
        (false, false) => {}
        (left, right) => return left.cmp(&right),
    }
    let ordering = match (left, right) {
        (Scalar::UInt64(left), Scalar::UInt64(right)) => left.cmp(&right),
        _ => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => left.as_f64().total_cmp(&right.as_f64()),
        },
    };
    turned(ordering, descending)
}
