//! Typed values with a shape, and the one loop that copies a box of them from one buffer to another.
//!
//! Not for files, names or units. Invariant: the bytes of an [`Array`] are the machine's own byte order,
//! row-major, and exactly `elements(shape) * dtype.size()` long (or that many texts).

mod copy;
mod scalar;
mod text;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use copy::{OutsideBuffer, Placed, copy_box};
pub use scalar::{NUMERIC, Scalar};
pub use text::text_from_bytes;

use crate::grid::{Region, Shape, elements, positions, ravel, strides};

/// The type of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum DataType {
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Float32,
    Float64,
    /// One byte of text, as in NetCDF `char`. Only in sources: texts are joined before anything is written.
    Char,
    /// A text of any length.
    String,
}

impl DataType {
    /// Bytes per element; 0 for texts, which have no fixed size.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Int8 | Self::UInt8 | Self::Char => 1,
            Self::Int16 | Self::UInt16 => 2,
            Self::Int32 | Self::UInt32 | Self::Float32 => 4,
            Self::Int64 | Self::UInt64 | Self::Float64 => 8,
            Self::String => 0,
        }
    }

    /// The Zarr v3 name of the type (`char` has none and says `char`).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::UInt8 => "uint8",
            Self::UInt16 => "uint16",
            Self::UInt32 => "uint32",
            Self::UInt64 => "uint64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Char => "char",
            Self::String => "string",
        }
    }

    /// True for both float types.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float32 | Self::Float64)
    }

    /// True for signed and unsigned integers.
    #[must_use]
    pub fn is_integer(self) -> bool {
        !self.is_float() && !self.is_text()
    }

    /// True for `char` and `string`.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Self::Char | Self::String)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
/// What an element is that nobody wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum FillValue {
    Number(Scalar),
    Text(String),
}

/// The elements of an [`Array`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// Numbers and chars, in the machine's byte order.
    Bytes(Vec<u8>),
    /// Texts.
    Texts(Vec<String>),
}

/// Typed values with a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    /// Type of the elements.
    pub dtype: DataType,
    /// Lengths, slowest first.
    pub shape: Shape,
    /// The elements, row-major.
    pub values: Values,
}

impl Array {
    /// Numbers from their bytes (machine's byte order). `None` if the length does not fit shape and type.
    #[must_use]
    pub fn from_bytes(dtype: DataType, shape: Shape, bytes: Vec<u8>) -> Option<Self> {
        let expected = elements(&shape).checked_mul(dtype.size() as u64)?;
        (dtype != DataType::String && bytes.len() as u64 == expected).then_some(Self { dtype, shape, values: Values::Bytes(bytes) })
    }

    /// Texts. `None` if their number does not fit the shape.
    #[must_use]
    pub fn from_texts(shape: Shape, texts: Vec<String>) -> Option<Self> {
        (texts.len() as u64 == elements(&shape)).then_some(Self { dtype: DataType::String, shape, values: Values::Texts(texts) })
    }

    /// Numbers from scalars of one type. `None` if types are mixed or the number does not fit the shape.
    #[must_use]
    pub fn from_scalars(dtype: DataType, shape: Shape, scalars: &[Scalar]) -> Option<Self> {
        if scalars.iter().any(|scalar| scalar.dtype() != dtype) {
            return None;
        }
        Self::from_bytes(dtype, shape, scalars.iter().flat_map(|scalar| scalar.to_bytes()).collect())
    }

    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> u64 {
        elements(&self.shape)
    }

    /// The bytes of a number array; empty for texts.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.values {
            Values::Bytes(bytes) => bytes,
            Values::Texts(_) => &[],
        }
    }

    /// The texts of a text array; empty for numbers.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        match &self.values {
            Values::Bytes(_) => &[],
            Values::Texts(texts) => texts,
        }
    }

    /// The element at a row-major position; `None` for texts, chars or past the end.
    #[must_use]
    pub fn scalar(&self, position: usize) -> Option<Scalar> {
        let size = self.dtype.size();
        Scalar::from_bytes(self.dtype, self.bytes().get(position.checked_mul(size)?..)?)
    }

    /// All numbers in row-major order; empty for texts.
    pub fn scalars(&self) -> impl Iterator<Item = Scalar> + '_ {
        let size = self.dtype.size().max(1);
        self.bytes().chunks_exact(size).filter_map(|bytes| Scalar::from_bytes(self.dtype, bytes))
    }

    /// The values of a box. `None` if it does not lie inside.
    #[must_use]
    pub fn part(&self, region: &Region) -> Option<Self> {
        if region.rank() != self.shape.len() || !Region::whole(&self.shape).contains(region) {
            return None;
        }
        let placed = |shape: &[u64], offset: u64| Placed { offset, strides: strides(shape).iter().map(|&stride| stride as i64).collect() };
        let source = placed(&self.shape, ravel(&region.start, &self.shape));
        match &self.values {
            Values::Bytes(bytes) => {
                let size = self.dtype.size();
                let mut part = vec![0; usize::try_from(region.elements()).ok()?.checked_mul(size)?];
                copy_box(size, &region.shape, (bytes, &source), (&mut part, &placed(&region.shape, 0))).ok()?;
                Self::from_bytes(self.dtype, region.shape.clone(), part)
            }
            Values::Texts(texts) => {
                let text = |position: Vec<u64>| texts.get(usize::try_from(ravel(&position, &self.shape)).ok()?).cloned();
                Self::from_texts(region.shape.clone(), positions(region).map(text).collect::<Option<_>>()?)
            }
        }
    }

    /// Bytes held in memory, texts included.
    #[must_use]
    pub fn memory(&self) -> u64 {
        match &self.values {
            Values::Bytes(bytes) => bytes.len() as u64,
            Values::Texts(texts) => texts.iter().map(|text| text.len() as u64 + 24).sum(),
        }
    }
}

/// An [`Array`] as JSON keeps it: numbers as base64 of their little-endian bytes.
#[derive(Serialize, Deserialize)]
struct WrittenArray {
    dtype: DataType,
    shape: Shape,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    texts: Option<Vec<String>>,
}

impl Serialize for Array {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (base64, texts) = match &self.values {
            Values::Bytes(bytes) => {
                (Some(base64::Engine::encode(&base64::prelude::BASE64_STANDARD, little_endian(bytes, self.dtype))), None)
            }
            Values::Texts(texts) => (None, Some(texts.clone())),
        };
        WrittenArray { dtype: self.dtype, shape: self.shape.clone(), base64, texts }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Array {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let written = WrittenArray::deserialize(deserializer)?;
        let array = match (written.base64, written.texts) {
            (Some(text), None) => {
                let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text).map_err(D::Error::custom)?;
                Self::from_bytes(written.dtype, written.shape, little_endian(&bytes, written.dtype))
            }
            (None, Some(texts)) => Self::from_texts(written.shape, texts),
            _ => None,
        };
        array.ok_or_else(|| D::Error::custom("an array whose values do not fit its shape"))
    }
}

/// Swaps between little-endian and the machine's byte order (nothing to do on most machines).
fn little_endian(bytes: &[u8], dtype: DataType) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(dtype.size().max(1)).for_each(<[u8]>::reverse);
    }
    bytes
}
