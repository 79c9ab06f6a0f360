//! `squeeze`: removes dimensions of length 1; a coordinate of that name becomes a scalar.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Removes dimensions of length 1; a coordinate of that name becomes a scalar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Squeeze(pub Vec<String>);
