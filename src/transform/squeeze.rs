//! `squeeze`: removes dimensions of length 1; a coordinate of that name becomes a scalar.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TransformError;
use super::draft::Draft;

/// Removes dimensions of length 1; a coordinate of that name becomes a scalar.
///
/// A dimension of another length is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Squeeze(pub Vec<String>);

impl Squeeze {
    pub(super) fn apply(&self, draft: &mut Draft<'_>) -> Result<(), TransformError> {
        for dimension in &self.0 {
            match draft.length(dimension) {
                None => {}
                Some(1) => draft.collapse(dimension, 0),
                Some(length) => {
                    return draft.refuse(format!(
                        "dimension `{dimension}` has length {length}, not 1; select one position with `isel: {{{dimension}: {{at: 0}}}}`"
                    ));
                }
            }
        }
        Ok(())
    }
}
