//! `keep`: removes every data variable that is not named; coordinates of what is kept stay.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Removes every data variable that is not named; coordinates of what is kept stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Keep(pub Vec<String>);
