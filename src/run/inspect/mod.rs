//! What a file or store holds, for people: dimensions, variables, types, chunks, filters, packing, attributes and, on request, statistics.
//!
//! Not for planning: nothing here decides anything. Invariant: statistics read each value once, a block at a time.

mod render;
mod statistics;
mod store;

pub use render::render;
pub use statistics::{Statistics, statistics};
pub use store::{describe_store, open_store, open_unnamed, store_statistics};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::array::{FillValue, Scalar};
use crate::dataset::{Attribute, Attributes, Schema, Variable};
use crate::recipe::OutputFormat;
use crate::source::{Format, Source};

/// What is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Kind {
    /// A file, by its layout.
    File(Format),
    /// A Zarr store, by its version.
    Store(OutputFormat),
}

/// A described file or store.
#[derive(Debug, Clone, Serialize)]
pub struct Description {
    /// How it is laid out.
    pub format: Kind,
    /// Dimensions, in the order of the file.
    pub dimensions: Vec<DescribedDimension>,
    /// Variables, in the order of the file.
    pub variables: Vec<DescribedVariable>,
    /// Attributes of the whole.
    pub attributes: Map<String, Value>,
    /// Attributes of groups below the root, by path.
    pub groups: Map<String, Value>,
    /// What is in the file but cannot be read, with the reason.
    pub refused: Vec<Refused>,
}

/// A dimension.
#[derive(Debug, Clone, Serialize)]
pub struct DescribedDimension {
    /// Its name, with its group's path.
    pub name: String,
    /// Its length.
    pub length: u64,
    /// True for record dimensions.
    pub unlimited: bool,
}

/// A variable.
#[derive(Debug, Clone, Serialize)]
pub struct DescribedVariable {
    /// Its name, with its group's path.
    pub name: String,
    /// Name of its type.
    #[serde(rename = "type")]
    pub dtype: String,
    /// Names of its dimensions, slowest first.
    pub dimensions: Vec<String>,
    /// Its lengths.
    pub shape: Vec<u64>,
    /// Lengths of its chunks, if it has chunks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunks: Option<Vec<u64>>,
    /// Lengths of its shards, if it has shards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<Vec<u64>>,
    /// Its filters or codecs, first applied first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
    /// What an element is that was never written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fill: Option<Value>,
    /// `scale_factor` and `add_offset`: value = raw × scale + offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packing: Option<Packing>,
    /// Its attributes.
    pub attributes: Map<String, Value>,
    /// What its values are, if asked for and numeric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statistics: Option<Statistics>,
    /// Why its values cannot be read, if statistics were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// How numbers are packed (CF 8.1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Packing {
    /// `scale_factor`, 1 if absent.
    pub scale: f64,
    /// `add_offset`, 0 if absent.
    pub offset: f64,
}

/// Something that cannot be read.
#[derive(Debug, Clone, Serialize)]
pub struct Refused {
    /// Variable, or `variable@attribute`.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Describes an opened file, without reading values.
#[must_use]
pub fn describe(source: &dyn Source) -> Description {
    describe_schema(Kind::File(source.format()), source.schema(), source.refused())
}

fn describe_schema(format: Kind, schema: &Schema, refused: &[(String, String)]) -> Description {
    let dimension = |found: &crate::dataset::Dimension| DescribedDimension {
        name: found.name.clone(),
        length: found.length,
        unlimited: found.unlimited,
    };
    let refusal = |(name, reason): &(String, String)| Refused { name: name.clone(), reason: reason.clone() };
    Description {
        format,
        dimensions: schema.dimensions.iter().map(dimension).collect(),
        variables: schema.variables.iter().map(|variable| describe_variable(variable, schema.shape(variable))).collect(),
        attributes: plain_attributes(&schema.attributes),
        groups: schema.groups.iter().map(|(path, attributes)| (path.clone(), Value::Object(plain_attributes(attributes)))).collect(),
        refused: refused.iter().map(refusal).collect(),
    }
}

fn describe_variable(variable: &Variable, shape: Vec<u64>) -> DescribedVariable {
    DescribedVariable {
        name: variable.name.clone(),
        dtype: variable.dtype.name().to_owned(),
        dimensions: variable.dimensions.clone(),
        shape,
        chunks: variable.encoding.chunks.clone().filter(|chunks| !chunks.is_empty()),
        shards: variable.encoding.shards.clone(),
        filters: variable.encoding.filters.clone(),
        fill: variable.encoding.fill.as_ref().map(plain_fill),
        packing: packing(variable),
        attributes: plain_attributes(&variable.attributes),
        statistics: None,
        unreadable: None,
    }
}

/// The packing of a variable, if it has one.
fn packing(variable: &Variable) -> Option<Packing> {
    let number = |name| variable.attributes.number(name).map(Scalar::as_f64);
    let (scale, offset) = (number("scale_factor"), number("add_offset"));
    (scale.is_some() || offset.is_some()).then(|| Packing { scale: scale.unwrap_or(1.0), offset: offset.unwrap_or(0.0) })
}

fn plain_fill(fill: &FillValue) -> Value {
    match fill {
        FillValue::Number(scalar) => plain_number(*scalar),
        FillValue::Text(text) => json!(text),
    }
}

fn plain_attributes(attributes: &Attributes) -> Map<String, Value> {
    attributes.iter().map(|(name, value)| (name.to_owned(), plain_value(value))).collect()
}

fn plain_value(attribute: &Attribute) -> Value {
    match attribute {
        Attribute::Text(text) => json!(text),
        Attribute::Texts(texts) => json!(texts),
        Attribute::Numbers(numbers) if numbers.len() == 1 => plain_number(numbers[0]),
        Attribute::Numbers(numbers) => Value::Array(numbers.iter().copied().map(plain_number).collect()),
    }
}

/// A JSON number as the file has it; NaN and infinities, which JSON lacks, as texts.
fn plain_number(scalar: Scalar) -> Value {
    let text = scalar.plain();
    serde_json::from_str::<serde_json::Number>(&text).map_or(Value::String(text), Value::Number)
}
