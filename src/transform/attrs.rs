//! `attrs`: sets and deletes attributes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TransformError;
use super::draft::Draft;
use super::names::matches;
use crate::array::{DataType, Scalar};
use crate::dataset::{Attribute, Attributes};

/// Sets, deletes or keeps attributes of the named variables, or of the whole.
///
/// In this order: `keep`, `delete`, `set`. Whole numbers become int64 and others float64; attributes that hold values of the variable
/// (`_FillValue`, `missing_value`, `valid_*`, `flag_values`, `flag_masks`) take its type, or are an error. Deleting what is not there is fine.
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

impl Attrs {
    pub(super) fn apply(&self, draft: &mut Draft<'_>) -> Result<(), TransformError> {
        let changed = match &self.variables {
            None => self.change(&mut draft.schema.attributes, None),
            Some(patterns) => draft.select(patterns).iter().try_for_each(|name| match draft.schema.variable_mut(name) {
                Some(variable) => {
                    self.change(&mut variable.attributes, Some(variable.dtype)).map_err(|problem| format!("variable `{name}`: {problem}"))
                }
                None => Ok(()),
            }),
        };
        changed.or_else(|problem| draft.refuse(problem))
    }

    fn change(&self, attributes: &mut Attributes, dtype: Option<DataType>) -> Result<(), String> {
        let any = |patterns: &[String], name: &str| patterns.iter().any(|pattern| matches(pattern, name));
        attributes.0.retain(|(name, _)| self.keep.as_ref().is_none_or(|keep| any(keep, name)) && !any(&self.delete, name));
        for (name, value) in &self.set {
            let value = attribute(value).ok_or_else(|| format!("attribute `{name}`: {value} is no text, number or list of either"))?;
            attributes.set(name, typed(name, value, dtype)?);
        }
        Ok(())
    }
}

/// The attribute in the variable's own type where it holds values of the variable.
fn typed(name: &str, value: Attribute, dtype: Option<DataType>) -> Result<Attribute, String> {
    let own = ["_FillValue", "missing_value", "flag_values", "flag_masks"].contains(&name) || name.starts_with("valid_");
    let (true, Some(dtype), Attribute::Numbers(numbers)) = (own, dtype.filter(|dtype| !dtype.is_text()), &value) else { return Ok(value) };
    let typed: Option<Vec<Scalar>> = numbers.iter().map(|number| number.nearest(dtype)).collect();
    typed.map(Attribute::Numbers).ok_or_else(|| format!("attribute `{name}`: {} does not fit the variable's type {dtype}", value.plain()))
}

fn attribute(value: &serde_json::Value) -> Option<Attribute> {
    match value {
        serde_json::Value::String(text) => Some(Attribute::Text(text.clone())),
        serde_json::Value::Number(_) => numbers(std::slice::from_ref(value)),
        serde_json::Value::Array(list) if !list.is_empty() => {
            let texts: Option<Vec<String>> = list.iter().map(|value| value.as_str().map(str::to_owned)).collect();
            texts.map(Attribute::Texts).or_else(|| numbers(list))
        }
        _ => None,
    }
}

fn numbers(list: &[serde_json::Value]) -> Option<Attribute> {
    let whole: Option<Vec<Scalar>> = list.iter().map(|value| value.as_i64().map(Scalar::Int64)).collect();
    let any = || list.iter().map(|value| value.as_f64().map(Scalar::Float64)).collect::<Option<Vec<_>>>();
    whole.or_else(any).map(Attribute::Numbers)
}
