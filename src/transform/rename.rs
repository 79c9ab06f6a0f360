//! `rename`: renames variables and dimensions, `old: new`; one name for both is renamed in both.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Renames variables and dimensions, `old: new`; one name for both is renamed in both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Rename(pub BTreeMap<String, String>);
