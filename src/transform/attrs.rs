//! `attrs`: sets and deletes attributes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sets, deletes or keeps attributes of the named variables, or of the whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attrs {
    /// Variables, by name or glob; absent: the attributes of the whole.
    #[serde(default)]
    pub variables: Option<Vec<String>>,
    /// Values to set: a text, a number or a list of numbers.
    #[serde(default)]
    pub set: BTreeMap<String, serde_json::Value>,
    /// Attributes to delete, by name or glob.
    #[serde(default)]
    pub delete: Vec<String>,
    /// Attributes to keep, by name or glob; all others go.
    #[serde(default)]
    pub keep: Option<Vec<String>>,
}
