//! `reset_coords`: makes coordinates data variables (index coordinates cannot be). Names or globs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Makes coordinates data variables (index coordinates cannot be). Names or globs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ResetCoords(pub Vec<String>);
