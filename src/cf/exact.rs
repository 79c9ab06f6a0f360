//! Floats in JSON with every bit kept, infinities and NaN included: `float64:-inf`.
//!
//! For `#[serde(with = …)]` on fields of saved plans and receipts. Invariant: what is read equals what was written.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::array::Scalar;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
pub(crate) fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    Scalar::Float64(*number).serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Scalar::deserialize(deserializer).map(Scalar::as_f64)
}
