//! Marks of missing values, as readers take them: AR21 to AR23.
//!
//! From metadata alone. xarray takes v2's `fill_value` for the mark, of v3 the attribute `_FillValue` only, which for floats must be
//! base64 of a little-endian float64. Invariant: none of this looks at values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::finding::Findings;
use super::node::Node;
use super::stored::Stored;
use crate::array::DataType;
use crate::recipe::OutputFormat;

/// Checks every array.
pub(super) fn check(stored: &Stored, findings: &Findings) {
    for node in &stored.arrays {
        match node.dtype {
            Some(dtype) if dtype.is_float() => floats(node, stored.format, findings),
            Some(dtype) if dtype.is_integer() => integers(node, dtype, stored.format, findings),
            _ => {}
        }
        flags(node, findings);
    }
}

/// AR22: what nobody wrote decodes to NaN, and a mark that is kept is in the form that readers know.
fn floats(node: &Node, format: OutputFormat, findings: &Findings) {
    let place = (node.path.as_str(), "");
    let fill = number(&node.fill);
    match node.attributes.get("_FillValue") {
        None if fill.is_some_and(f64::is_nan) || (format == OutputFormat::Zarr2 && fill.is_some()) => {}
        None => {
            let message = format!("`fill_value` is {}: what was never written is read as a number", node.fill);
            findings.warning("AR22", place, message, "make it NaN");
        }
        Some(Value::String(text)) if format != OutputFormat::Zarr2 => {
            let mark = STANDARD.decode(text).ok().and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).map(f64::from_le_bytes);
            if mark.is_none() {
                findings.error("AR22", place, format!("`_FillValue` is {text:?}, which is not what xarray reads"), FORM);
            } else if !alike(mark, fill) {
                let message = format!("`_FillValue` means {} and `fill_value` is {}", mark.unwrap_or_default(), node.fill);
                findings.warning("AR22", place, message, "make them equal, or what was never written is read as a number");
            }
        }
        Some(other) if format != OutputFormat::Zarr2 => {
            findings.error("AR22", place, format!("`_FillValue` is {other}: xarray cannot open the store"), FORM);
        }
        Some(other) if !alike(number(other), fill) => {
            let message = format!("`_FillValue` is {other} and `fill_value` is {}", node.fill);
            findings.warning("AR22", place, message, "make them equal");
        }
        Some(_) => {}
    }
}

const FORM: &str = "in v3 it is base64 of the eight bytes of a little-endian float64";

/// Equal for a reader, who has single precision only where the array has.
fn alike(one: Option<f64>, other: Option<f64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one == other || (one.is_nan() && other.is_nan()) || one as f32 == other as f32,
        _ => false,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// AR21, AR23: the mark is a value of the type, outside of what is valid.
fn integers(node: &Node, dtype: DataType, format: OutputFormat, findings: &Findings) {
    let place = (node.path.as_str(), "");
    let packed = node.attributes.contains_key("scale_factor") || node.attributes.contains_key("add_offset");
    let rule = if packed { "AR21" } else { "AR23" };
    let declared = node.attributes.get("_FillValue").or(Some(&node.fill).filter(|fill| format == OutputFormat::Zarr2 && !fill.is_null()));
    let Some(declared) = declared else {
        if packed {
            findings.note("AR21", &node.path, "it is packed and has no `_FillValue`: every number is a value");
        }
        return;
    };
    let Some(mark) = declared.as_i64().map(i128::from).or_else(|| declared.as_u64().map(i128::from)) else {
        findings.error(rule, place, format!("its mark of missing values is {declared}, which is no {dtype}"), "give it a whole number");
        return;
    };
    if !holds(dtype, mark) {
        findings.error(rule, place, format!("its mark of missing values is {mark}, which no {dtype} can be"), "give it one that fits");
    }
    if let Some((low, high)) = valid(node).filter(|&(low, high)| low <= mark as f64 && mark as f64 <= high) {
        let message = format!("its mark of missing values, {mark}, lies within what is valid, {low} to {high}");
        findings.warning(rule, place, message, "a value may be taken for missing: correct the limits with the step `attrs`");
    }
}

fn holds(dtype: DataType, value: i128) -> bool {
    let bits = dtype.size() as u32 * 8;
    let unsigned = matches!(dtype, DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64);
    let (low, high) = if unsigned { (0, (1_i128 << bits) - 1) } else { (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1) };
    (low..=high).contains(&value)
}

/// What `valid_range`, or `valid_min` and `valid_max`, say.
fn valid(node: &Node) -> Option<(f64, f64)> {
    let one = |name: &str| node.attributes.get(name).and_then(Value::as_f64);
    match node.attributes.get("valid_range").and_then(Value::as_array).map(Vec::as_slice) {
        Some([low, high]) => Some((low.as_f64()?, high.as_f64()?)),
        _ => Some((one("valid_min")?, one("valid_max")?)),
    }
}

/// AR23: as many meanings as there are flags.
fn flags(node: &Node, findings: &Findings) {
    let count = |name: &str| match node.attributes.get(name) {
        Some(Value::Array(values)) => Some(values.len()),
        Some(Value::String(text)) => Some(text.split_whitespace().count()),
        Some(_) => Some(1),
        None => None,
    };
    let (values, meanings) = (count("flag_values").or_else(|| count("flag_masks")), count("flag_meanings"));
    if let (Some(values), Some(meanings)) = (values, meanings)
        && values == meanings
    {
        return;
    }
    if values.is_some() || meanings.is_some() {
        let message = format!("{} flags have {} meanings", values.unwrap_or(0), meanings.unwrap_or(0));
        findings.warning("AR23", (&node.path, ""), message, "give each flag one word in `flag_meanings`");
    }
}
