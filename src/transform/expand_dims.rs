//! `expand_dims`: adds leading dimensions of length 1 to every data variable; the coordinate is the scalar variable or the key of that name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TransformError;
use super::draft::Draft;
use crate::array::{Array, DataType, Scalar};
use crate::dataset::{Attribute, Attributes, Dimension, Encoding, Variable};
use crate::pattern::KeyValue;

/// Adds leading dimensions of length 1 to every data variable; the coordinate is the scalar variable or the key of that name.
///
/// Of several, the first becomes the slowest. Coordinates, boundary variables and grid mappings are no data variables and stay as they are.
/// A key's text becomes `string`, a number `int64`, a date `int64` seconds since 1970-01-01. Where there is neither variable nor
/// key, the dimension has no coordinate. A dimension, or a variable with dimensions, that already has the name is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ExpandDims(pub Vec<String>);

impl ExpandDims {
    pub(super) fn apply(&self, draft: &mut Draft<'_>) -> Result<(), TransformError> {
        for dimension in &self.0 {
            if draft.schema.dimension(dimension).is_some() {
                return draft.refuse(format!("there is already a dimension `{dimension}`"));
            }
            if draft.schema.variable(dimension).is_some_and(|variable| !variable.dimensions.is_empty()) {
                return draft.refuse(format!(
                    "`{dimension}` is a variable with dimensions; only a scalar can become the coordinate of a new dimension"
                ));
            }
        }
        let others = draft.descriptive();
        let is_data = |variable: &&Variable| !variable.coordinate && !others.contains(&variable.name) && !self.0.contains(&variable.name);
        let data: Vec<String> = draft.schema.variables.iter().filter(is_data).map(|variable| variable.name.clone()).collect();
        for dimension in self.0.iter().rev() {
            draft.schema.dimensions.insert(0, Dimension { name: dimension.clone(), length: 1, unlimited: false });
            for variable in &data {
                draft.lead(variable, dimension);
            }
            add_coordinate(draft, dimension);
        }
        Ok(())
    }
}

fn add_coordinate(draft: &mut Draft<'_>, dimension: &str) {
    if draft.schema.variable(dimension).is_some() {
        draft.lead(dimension, dimension);
    } else if let Some((array, attributes)) = draft.keys.get(dimension).and_then(from_key) {
        let dtype = array.dtype;
        let encoding = Encoding::default();
        draft.make(
            Variable { name: dimension.to_owned(), dtype, dimensions: vec![dimension.to_owned()], attributes, coordinate: true, encoding },
            array,
        );
    }
}

/// A coordinate of length 1 from a key's value.
fn from_key(key: &KeyValue) -> Option<(Array, Attributes)> {
    let whole = |number: i64| Array::from_scalars(DataType::Int64, vec![1], &[Scalar::Int64(number)]);
    let text = |text: &str| Attribute::Text(text.to_owned());
    match key {
        KeyValue::Text(text) => Some((Array::from_texts(vec![1], vec![text.clone()])?, Attributes::default())),
        KeyValue::Integer(number) => Some((whole(*number)?, Attributes::default())),
        KeyValue::Date(date) => {
            let seconds = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
            let attributes =
                [("units", text("seconds since 1970-01-01")), ("calendar", text("proleptic_gregorian")), ("standard_name", text("time"))];
            Some((whole(seconds)?, Attributes(attributes.map(|(name, value)| (name.to_owned(), value)).to_vec())))
        }
    }
}
