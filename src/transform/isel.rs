//! `isel`: selects by position.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Selects along dimensions by position: `{zlev: {at: 0}}` removes the dimension, `{time: {start: 0, stop: 10, step: 2}}` keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Isel(pub BTreeMap<String, Selection>);

/// One position, or every `step`-th from `start` up to, not including, `stop`. Negative positions count from the end.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// The one position; excludes the others.
    #[serde(default)]
    pub at: Option<i64>,
    /// First position; absent: 0.
    #[serde(default)]
    pub start: Option<i64>,
    /// One past the last position; absent: the end.
    #[serde(default)]
    pub stop: Option<i64>,
    /// Positions from one to the next, at least 1; absent: 1.
    #[serde(default)]
    pub step: Option<i64>,
}
