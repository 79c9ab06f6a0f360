//! `reset_coords`: makes coordinates data variables (index coordinates cannot be). Names or globs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TransformError;
use super::draft::Draft;
use super::names::is_glob;

/// Makes coordinates data variables (index coordinates cannot be). Names or globs.
///
/// A glob passes over index coordinates; naming one is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ResetCoords(pub Vec<String>);

impl ResetCoords {
    pub(super) fn apply(&self, draft: &mut Draft<'_>) -> Result<(), TransformError> {
        for name in self.0.iter().filter(|name| !is_glob(name)) {
            if draft.schema.variable(name).is_some_and(crate::dataset::Variable::is_index) {
                return draft.refuse(format!(
                    "`{name}` is the coordinate of its own dimension and cannot become a data variable; drop or rename it"
                ));
            }
        }
        for name in draft.select(&self.0) {
            if let Some(variable) = draft.schema.variable_mut(&name) {
                variable.coordinate = false;
            }
        }
        Ok(())
    }
}
