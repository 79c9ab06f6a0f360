//! `set_coords`: makes variables coordinates. Names or globs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Makes variables coordinates. Names or globs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SetCoords(pub Vec<String>);
