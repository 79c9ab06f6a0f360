//! `sort`: sorts along dimensions by their coordinates, ascending; `-lat` descending.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sorts along dimensions by their coordinates, ascending; `-lat` descending.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Sort(pub Vec<String>);
