//! Attributes as JSON and back, and which variables are announced as coordinates where.
//!
//! Invariant: the texts and numbers of the schema arrive unchanged; only `_FillValue` (see `fill`), `coordinates` and the
//! dimension names have a form of their own.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::fill::number_json;
use super::keys::{group_of, leaf};
use crate::array::Scalar;
use crate::dataset::{Attribute, Attributes, Schema, Variable};

/// Attributes that have a place of their own in Zarr.
const OWN_PLACE: [&str; 2] = ["_FillValue", "_ARRAY_DIMENSIONS"];

/// Attributes of one variable without fill value, with `coordinates` as given.
pub(super) fn attributes_json(attributes: &Attributes, coordinates: Option<&str>) -> Map<String, Value> {
    let mut map = Map::new();
    for (name, value) in attributes.iter().filter(|(name, value)| !OWN_PLACE.contains(name) && !says_only_nan(name, value)) {
        map.insert(name.to_owned(), attribute_json(value));
    }
    match coordinates {
        Some("") => drop(map.shift_remove("coordinates")),
        Some(names) => drop(map.insert("coordinates".to_owned(), json!(names))),
        None => {}
    }
    map
}

/// `missing_value = NaN` says nothing that NaN does not say itself, and as text it would confuse readers.
fn says_only_nan(name: &str, value: &Attribute) -> bool {
    name == "missing_value" && value.number().is_some_and(|number| number.as_f64().is_nan())
}

fn attribute_json(value: &Attribute) -> Value {
    match value {
        Attribute::Text(text) => json!(text),
        Attribute::Texts(texts) if texts.len() == 1 => json!(texts[0]),
        Attribute::Texts(texts) => json!(texts),
        Attribute::Numbers(numbers) if numbers.len() == 1 => number_json(numbers[0]),
        Attribute::Numbers(numbers) => numbers.iter().map(|&number| number_json(number)).collect(),
    }
}

/// Attributes from JSON. JSON knows only integers and floats: they become int64 (uint64 past its range) and float64; a list with
/// any float is all float64. Anything that is neither text nor number is kept as JSON text.
pub(super) fn attributes_from_json(map: &Map<String, Value>) -> Attributes {
    let kept = map.iter().filter(|(name, _)| !OWN_PLACE.contains(&name.as_str()));
    Attributes(kept.map(|(name, value)| (name.clone(), attribute_from_json(value))).collect())
}

fn attribute_from_json(value: &Value) -> Attribute {
    match value {
        Value::String(text) => Attribute::Text(text.clone()),
        Value::Array(values) if !values.is_empty() && values.iter().all(Value::is_string) => {
            Attribute::Texts(values.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        }
        Value::Array(values) => numbers(values).map_or_else(|| Attribute::Text(value.to_string()), Attribute::Numbers),
        single => numbers(std::slice::from_ref(single)).map_or_else(|| Attribute::Text(value.to_string()), Attribute::Numbers),
    }
}

fn numbers(values: &[Value]) -> Option<Vec<Scalar>> {
    let signed = |value: &Value| value.as_i64().map(Scalar::Int64);
    let unsigned = |value: &Value| value.as_u64().map(Scalar::UInt64);
    let float = |value: &Value| super::fill::number_from_json(crate::array::DataType::Float64, value);
    let all = |read: &dyn Fn(&Value) -> Option<Scalar>| values.iter().map(read).collect::<Option<Vec<_>>>();
    all(&signed).or_else(|| all(&unsigned)).or_else(|| all(&float))
}

/// The `coordinates` attribute of each variable and group, as xarray writes and reads it.
#[derive(Debug, Default)]
pub(super) struct Announced {
    /// By variable, where it is to be set or, when empty, removed.
    pub(super) variables: BTreeMap<String, String>,
    /// By group, likewise.
    pub(super) groups: BTreeMap<String, String>,
}

/// Every coordinate that is not an index is named by the data variables of its group that have all its dimensions (CF 1.11 §5),
/// and where there is none, by the group: xarray's own extension of CF.
pub(super) fn announce(schema: &Schema) -> Announced {
    let mut groups: BTreeMap<&str, Vec<&Variable>> = BTreeMap::new();
    for variable in &schema.variables {
        groups.entry(group_of(&variable.name)).or_default().push(variable);
    }
    let mut announced = Announced::default();
    for (group, members) in groups {
        let mut open: BTreeSet<&str> = members.iter().filter(|member| is_auxiliary(member)).map(|member| leaf(&member.name)).collect();
        for member in &members {
            let names = names_for(member, &members);
            open.retain(|name| !names.contains(name));
            if !names.is_empty() || member.attributes.get("coordinates").is_some() {
                announced.variables.insert(member.name.clone(), names.join(" "));
            }
        }
        let attributes = if group.is_empty() { Some(&schema.attributes) } else { schema.groups.get(group) };
        if !open.is_empty() || attributes.is_some_and(|attributes| names_any(attributes, &members)) {
            announced.groups.insert(group.to_owned(), open.into_iter().collect::<Vec<_>>().join(" "));
        }
    }
    announced
}

fn is_auxiliary(variable: &Variable) -> bool {
    variable.coordinate && !variable.is_index() && !leaf(&variable.name).contains(char::is_whitespace)
}

/// What the source says, as far as it is still true, then what fits.
fn names_for<'a>(variable: &'a Variable, members: &[&'a Variable]) -> Vec<&'a str> {
    let still_coordinate =
        |name: &&str| members.iter().any(|member| leaf(&member.name) == *name && (member.coordinate || member.is_index()));
    let said = variable.attributes.text("coordinates").unwrap_or_default();
    let mut names: Vec<&str> = said.split_whitespace().filter(still_coordinate).collect();
    if variable.coordinate || variable.is_index() {
        return names;
    }
    for member in members.iter().filter(|member| is_auxiliary(member)) {
        let fits = member.dimensions.iter().all(|dimension| variable.has(dimension));
        if fits && !names.contains(&leaf(&member.name)) {
            names.push(leaf(&member.name));
        }
    }
    names
}

fn names_any(attributes: &Attributes, members: &[&Variable]) -> bool {
    let said = attributes.text("coordinates").unwrap_or_default();
    said.split_whitespace().any(|name| members.iter().any(|member| leaf(&member.name) == name))
}
