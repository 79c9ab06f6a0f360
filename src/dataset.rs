//! What a dataset *is*, without its data: dimensions, variables, types, attributes.
//!
//! Not where bytes are (that is [`crate::layout`]) nor what names mean (that is [`crate::cf`]). Invariant: every
//! dimension that a variable names is listed in its [`Schema`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::array::{DataType, FillValue, Scalar};
use crate::grid::Shape;

/// A named length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dimension {
    /// Its name; in a group, with the group's path: `geolocation/xtrack`.
    pub name: String,
    /// Its length.
    pub length: u64,
    /// True if the source calls it unlimited (a record dimension).
    #[serde(default)]
    pub unlimited: bool,
}

/// The value of an attribute, with its type kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attribute {
    /// One text.
    Text(String),
    /// Several texts (NetCDF-4 string arrays).
    Texts(Vec<String>),
    /// One or more numbers, all of one type.
    Numbers(Vec<Scalar>),
}

impl Attribute {
    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Texts(texts) if texts.len() == 1 => texts.first().map(String::as_str),
            _ => None,
        }
    }

    /// The first number, if it holds numbers.
    #[must_use]
    pub fn number(&self) -> Option<Scalar> {
        match self {
            Self::Numbers(numbers) => numbers.first().copied(),
            _ => None,
        }
    }

    /// As people write it in a message: `"degC"`, `0.01`, `[0, 1]`.
    #[must_use]
    pub fn plain(&self) -> String {
        match self {
            Self::Text(text) => format!("{text:?}"),
            Self::Texts(texts) => format!("{texts:?}"),
            Self::Numbers(numbers) if numbers.len() == 1 => numbers[0].plain(),
            Self::Numbers(numbers) => format!("[{}]", numbers.iter().map(|number| number.plain()).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// Named attributes, in the order of the source.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attributes(pub Vec<(String, Attribute)>);

impl Attributes {
    /// The attribute of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Attribute> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The text of that name, if it is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Attribute::text)
    }

    /// The first number of that name, if it is a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<Scalar> {
        self.get(name).and_then(Attribute::number)
    }

    /// Sets or replaces, keeping the position of a replaced one.
    pub fn set(&mut self, name: &str, value: Attribute) {
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Removes and returns.
    pub fn remove(&mut self, name: &str) -> Option<Attribute> {
        let position = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(position).1)
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Attribute)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// One codec of a Zarr v3 pipeline, as the metadata writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Codec {
    /// Registered name: `blosc`, `zstd`, `gzip`, `crc32c`…
    pub name: String,
    /// Its configuration; an empty object when it has none.
    #[serde(default)]
    pub configuration: serde_json::Value,
}

/// How a variable's values are, or shall be, stored.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Encoding {
    /// Chunk lengths; `None` when the values are not chunked (or nobody has decided yet).
    pub chunks: Option<Shape>,
    /// Shard lengths (a multiple of `chunks`); the object that is written is then the shard.
    #[serde(default)]
    pub shards: Option<Shape>,
    /// What an element is that was never written.
    #[serde(default)]
    pub fill: Option<FillValue>,
    /// Of a source: names of its filters, first applied first, for people to read (`deflate 4`, `shuffle`).
    #[serde(default)]
    pub filters: Vec<String>,
    /// Of a target: the bytes→bytes codecs; `None` until the plan has chosen.
    #[serde(default)]
    pub codecs: Option<Vec<Codec>>,
}

/// A named array of values, without the values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name; in a group, with the group's path: `product/no2`.
    pub name: String,
    /// Type of its elements as stored.
    pub dtype: DataType,
    /// Names of its dimensions, slowest first.
    pub dimensions: Vec<String>,
    /// Its attributes, in the order of the source.
    pub attributes: Attributes,
    /// True if it is a coordinate rather than data.
    #[serde(default)]
    pub coordinate: bool,
    /// How it is, or shall be, stored.
    #[serde(default)]
    pub encoding: Encoding,
}

impl Variable {
    /// True if it has this dimension.
    #[must_use]
    pub fn has(&self, dimension: &str) -> bool {
        self.dimensions.iter().any(|name| name == dimension)
    }

    /// True if it is the coordinate of the dimension of its own name (a CF coordinate variable).
    #[must_use]
    pub fn is_index(&self) -> bool {
        self.dimensions.len() == 1 && self.dimensions[0] == self.name
    }
}

/// Dimensions, variables and attributes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Schema {
    /// In the order of the source.
    pub dimensions: Vec<Dimension>,
    /// In the order of the source.
    pub variables: Vec<Variable>,
    /// Attributes of the whole.
    pub attributes: Attributes,
    /// Attributes of groups below the root, by path.
    #[serde(default)]
    pub groups: BTreeMap<String, Attributes>,
}

impl Schema {
    /// The variable of that name.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables.iter().find(|variable| variable.name == name)
    }

    /// The variable of that name, to change it.
    pub fn variable_mut(&mut self, name: &str) -> Option<&mut Variable> {
        self.variables.iter_mut().find(|variable| variable.name == name)
    }

    /// The dimension of that name.
    #[must_use]
    pub fn dimension(&self, name: &str) -> Option<&Dimension> {
        self.dimensions.iter().find(|dimension| dimension.name == name)
    }

    /// Lengths of a variable's dimensions; a dimension that is not listed counts as 0.
    #[must_use]
    pub fn shape(&self, variable: &Variable) -> Shape {
        variable.dimensions.iter().map(|name| self.dimension(name).map_or(0, |dimension| dimension.length)).collect()
    }

    /// Bytes of a variable's values before encoding (texts count as 16 bytes each).
    #[must_use]
    pub fn bytes(&self, variable: &Variable) -> u64 {
        let item = if variable.dtype == DataType::String { 16 } else { variable.dtype.size() as u64 };
        crate::grid::elements(&self.shape(variable)).saturating_mul(item)
    }
}

/// What is at the target before this run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub enum TargetState {
    /// Nothing: no object under the prefix.
    #[default]
    Empty,
    /// Objects that no run of ours accounts for; an example key.
    Foreign {
        /// Key of one such object.
        example: String,
    },
    /// A run of ours, whole or not.
    Ours {
        /// `id` of the recipe that made it.
        id: String,
        /// Identity of the plan that made it ([`crate::plan`]).
        plan: String,
        /// True once its metadata is visible.
        committed: bool,
        /// The published schema, when committed.
        schema: Option<Box<Schema>>,
    },
}

/// What tells one content of a source file from another: compared before a file is read again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    /// Length in bytes, if told.
    pub size: Option<u64>,
    /// Validator of the content, if told.
    pub etag: Option<String>,
    /// Last modification as told.
    pub modified: Option<String>,
}

impl Identity {
    /// True if a file that was written anew would have another one. A length alone says nothing.
    #[must_use]
    pub fn tells_versions_apart(&self) -> bool {
        self.etag.is_some() || self.modified.is_some()
    }
}
