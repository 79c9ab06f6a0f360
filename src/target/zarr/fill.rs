//! What an unwritten or missing element is, as Zarr's `fill_value` and as xarray's `_FillValue`.
//!
//! Zarr's `fill_value` says what an absent chunk holds; CF's `_FillValue` says which value means "missing". xarray takes the
//! first for the second in v2, and only the attribute in v3, where a float must be base64 of its little-endian float64.
//! Invariant: a value that the dataset does not call missing never becomes missing for a reader.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::array::{DataType, FillValue, Scalar};
use crate::dataset::Variable;
use crate::target::{TargetError, unsupported};

/// The declared fill of a variable in its own type: its encoding's, else its attribute `_FillValue`.
pub(super) fn fill_of(variable: &Variable) -> Result<Option<FillValue>, TargetError> {
    let declared = variable.encoding.fill.clone().or_else(|| variable.attributes.number("_FillValue").map(FillValue::Number));
    match declared {
        None => Ok(None),
        Some(FillValue::Text(text)) if variable.dtype == DataType::String => Ok(Some(FillValue::Text(text))),
        Some(FillValue::Number(number)) => match number.nearest(variable.dtype) {
            Some(number) => Ok(Some(FillValue::Number(number))),
            None => Err(does_not_fit(variable, &number.plain())),
        },
        Some(FillValue::Text(text)) => Err(does_not_fit(variable, &text)),
    }
}

fn does_not_fit(variable: &Variable, fill: &str) -> TargetError {
    unsupported(&variable.name, format!("its fill value `{fill}` does not fit its type `{}`", variable.dtype))
}

/// `fill_value` of `zarr.json`: floats default to NaN, integers to 0, texts to the empty text.
pub(super) fn fill3(variable: &Variable) -> Result<Value, TargetError> {
    Ok(match (fill_of(variable)?, variable.dtype) {
        (Some(FillValue::Number(number)), _) => number_json(number),
        (Some(FillValue::Text(text)), _) => json!(text),
        (None, dtype) if dtype.is_float() => json!("NaN"),
        (None, DataType::String) => json!(""),
        (None, _) => json!(0),
    })
}

/// `fill_value` of `.zarray`: `null` where nothing is missing, because xarray would mask any other value.
pub(super) fn fill2(variable: &Variable) -> Result<Value, TargetError> {
    Ok(match fill_of(variable)? {
        Some(FillValue::Number(number)) => number_json(number),
        // xarray would take every empty text for a missing one.
        Some(FillValue::Text(text)) if text.is_empty() => Value::Null,
        Some(FillValue::Text(text)) => json!(text),
        None if variable.dtype.is_float() => json!("NaN"),
        None => Value::Null,
    })
}

/// The attribute `_FillValue` of v3; `None` where NaN already says it, and for texts, where xarray cannot read one.
pub(super) fn fill_attribute(variable: &Variable) -> Result<Option<Value>, TargetError> {
    Ok(match fill_of(variable)? {
        Some(FillValue::Number(number)) if number.as_f64().is_nan() => None,
        Some(FillValue::Number(number)) if number.dtype().is_float() => Some(json!(STANDARD.encode(number.as_f64().to_le_bytes()))),
        Some(FillValue::Number(number)) => Some(number_json(number)),
        Some(FillValue::Text(_)) | None => None,
    })
}

/// A number as JSON. Integers keep all digits; a float32 becomes the float64 of exactly its value (0.009999999776482582 for
/// 0.01), so that unpacking with it gives what unpacking with the source's own float32 gives; NaN and the infinities become the
/// texts that Zarr v3 uses for fill values, as JSON has no numbers for them.
pub(super) fn number_json(number: Scalar) -> Value {
    match number {
        Scalar::UInt64(value) => json!(value),
        Scalar::Float32(_) | Scalar::Float64(_) => float_json(number.as_f64()),
        other => json!(other.as_i64()),
    }
}

fn float_json(value: f64) -> Value {
    if value.is_nan() {
        json!("NaN")
    } else if value.is_infinite() {
        json!(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        json!(value)
    }
}

/// The number that an attribute `_FillValue` of v3 says: floats as [`fill_attribute`] writes them, or plain.
pub(super) fn missing_from_json(dtype: DataType, value: &Value) -> Option<Scalar> {
    let encoded = value.as_str().filter(|_| dtype.is_float()).and_then(|text| STANDARD.decode(text).ok());
    match encoded.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()) {
        Some(bytes) => Scalar::Float64(f64::from_le_bytes(bytes)).nearest(dtype),
        None => number_from_json(dtype, value),
    }
}

/// A number of type `dtype` from its JSON; `None` if it is not one.
pub(super) fn number_from_json(dtype: DataType, value: &Value) -> Option<Scalar> {
    let number = match value {
        Value::String(text) if dtype.is_float() => Scalar::Float64(match text.as_str() {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            _ => return None,
        }),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Scalar::Int64(integer),
            (None, Some(integer)) => Scalar::UInt64(integer),
            (None, None) => Scalar::Float64(number.as_f64()?),
        },
        _ => return None,
    };
    number.nearest(dtype)
}
