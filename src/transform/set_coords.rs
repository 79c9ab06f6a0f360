//! `set_coords`: makes variables coordinates. Names or globs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::draft::Draft;

/// Makes variables coordinates. Names or globs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SetCoords(pub Vec<String>);

impl SetCoords {
    pub(super) fn apply(&self, draft: &mut Draft<'_>) {
        for name in draft.select(&self.0) {
            if let Some(variable) = draft.schema.variable_mut(&name) {
                variable.coordinate = true;
            }
        }
    }
}
