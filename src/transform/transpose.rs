//! `transpose`: puts dimensions in this order; `...` stands for those not named.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Puts dimensions in this order; `...` stands for those not named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Transpose(pub Vec<String>);
