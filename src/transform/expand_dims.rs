//! `expand_dims`: adds leading dimensions of length 1 to every data variable; the coordinate is the scalar variable or the key of that name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Adds leading dimensions of length 1 to every data variable; the coordinate is the scalar variable or the key of that name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ExpandDims(pub Vec<String>);
