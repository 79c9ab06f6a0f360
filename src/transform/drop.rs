//! `drop`: removes variables. Names or globs (`*_bnds`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Removes variables. Names or globs (`*_bnds`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Drop(pub Vec<String>);
