//! Typed values with a shape, and the one loop that copies a box of them from one buffer to another.
//!
//! Not for files, names or units. Invariant: the bytes of an [`Array`] are the machine's own byte order,
//! row-major, and exactly `elements(shape) * dtype.size()` long (or that many texts).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::grid::{Shape, elements};

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

/// One typed number. Prints and parses as `int16:-999`, so that JSON keeps type, NaN and every bit of precision.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Scalar {
    Int8(i8),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    UInt8(u8),
    UInt16(u16),
    UInt32(u32),
    UInt64(u64),
    Float32(f32),
    Float64(f64),
}

/// Runs `$body` with `$value` bound to the number inside a [`Scalar`], whatever its type.
macro_rules! each_scalar {
    ($scalar:expr, $value:ident => $body:expr) => {
        match $scalar {
            Scalar::Int8($value) => $body,
            Scalar::Int16($value) => $body,
            Scalar::Int32($value) => $body,
            Scalar::Int64($value) => $body,
            Scalar::UInt8($value) => $body,
            Scalar::UInt16($value) => $body,
            Scalar::UInt32($value) => $body,
            Scalar::UInt64($value) => $body,
            Scalar::Float32($value) => $body,
            Scalar::Float64($value) => $body,
        }
    };
}

/// Runs `$body` with `$variant` naming the [`Scalar`] constructor and `$native` the Rust type of a [`DataType`];
/// text types run `$text`.
macro_rules! each_type {
    ($dtype:expr, $variant:ident, $native:ident => $body:expr, text => $text:expr) => {
        match $dtype {
            DataType::Int8 => {
                use Scalar::Int8 as $variant;
                type $native = i8;
                $body
            }
            DataType::Int16 => {
                use Scalar::Int16 as $variant;
                type $native = i16;
                $body
            }
            DataType::Int32 => {
                use Scalar::Int32 as $variant;
                type $native = i32;
                $body
            }
            DataType::Int64 => {
                use Scalar::Int64 as $variant;
                type $native = i64;
                $body
            }
            DataType::UInt8 => {
                use Scalar::UInt8 as $variant;
                type $native = u8;
                $body
            }
            DataType::UInt16 => {
                use Scalar::UInt16 as $variant;
                type $native = u16;
                $body
            }
            DataType::UInt32 => {
                use Scalar::UInt32 as $variant;
                type $native = u32;
                $body
            }
            DataType::UInt64 => {
                use Scalar::UInt64 as $variant;
                type $native = u64;
                $body
            }
            DataType::Float32 => {
                use Scalar::Float32 as $variant;
                type $native = f32;
                $body
            }
            DataType::Float64 => {
                use Scalar::Float64 as $variant;
                type $native = f64;
                $body
            }
            DataType::Char | DataType::String => $text,
        }
    };
}

impl Scalar {
    /// Its type.
    #[must_use]
    pub fn dtype(self) -> DataType {
        match self {
            Self::Int8(_) => DataType::Int8,
            Self::Int16(_) => DataType::Int16,
            Self::Int32(_) => DataType::Int32,
            Self::Int64(_) => DataType::Int64,
            Self::UInt8(_) => DataType::UInt8,
            Self::UInt16(_) => DataType::UInt16,
            Self::UInt32(_) => DataType::UInt32,
            Self::UInt64(_) => DataType::UInt64,
            Self::Float32(_) => DataType::Float32,
            Self::Float64(_) => DataType::Float64,
        }
    }

    /// The number as a float; integers beyond 2^53 lose their last bits.
    #[must_use]
    #[expect(clippy::cast_lossless, clippy::cast_precision_loss, reason = "one body for all types; the loss is documented")]
    pub fn as_f64(self) -> f64 {
        each_scalar!(self, value => value as f64)
    }

    /// The number as an integer, if it is whole and fits.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Self::UInt64(value) => i64::try_from(value).ok(),
            Self::Float32(_) | Self::Float64(_) => {
                let value = self.as_f64();
                (value.fract() == 0.0 && value.abs() < 9.0e18).then_some(value as i64)
            }
            Self::Int64(value) => Some(value),
            other => Some(other.as_f64() as i64),
        }
    }

    /// The same number in another type; `None` where that type cannot hold it exactly (NaN passes between floats).
    #[must_use]
    #[expect(clippy::cast_lossless, reason = "one body for all types")]
    pub fn cast(self, dtype: DataType) -> Option<Self> {
        let cast = each_type!(dtype, Variant, Native => Variant(each_scalar!(self, value => value as Native)), text => return None);
        cast.same_number(self).then_some(cast)
    }

    fn same_number(self, other: Self) -> bool {
        if self.as_f64().is_nan() || other.as_f64().is_nan() {
            return self.as_f64().is_nan() && other.as_f64().is_nan();
        }
        match (self.as_i128(), other.as_i128()) {
            (Some(left), Some(right)) => left == right,
            _ => self.as_f64() == other.as_f64(),
        }
    }

    fn as_i128(self) -> Option<i128> {
        match self {
            Self::UInt64(value) => Some(i128::from(value)),
            Self::Float32(_) | Self::Float64(_) => {
                let value = self.as_f64();
                (value.fract() == 0.0 && value.abs() < 1.0e38).then_some(value as i128)
            }
            other => other.as_i64().map(i128::from),
        }
    }

    /// Its bytes in the machine's byte order.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        each_scalar!(self, value => value.to_ne_bytes().to_vec())
    }

    /// The number whose bytes (machine's byte order) these are; `None` for texts or too few bytes.
    #[must_use]
    pub fn from_bytes(dtype: DataType, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..dtype.size())?;
        each_type!(dtype, Variant, Native => bytes.try_into().ok().map(|bytes| Variant(Native::from_ne_bytes(bytes))), text => None)
    }

    /// The number without its type, as people write it: `-999`, `0.01`, `NaN`.
    #[must_use]
    pub fn plain(self) -> String {
        each_scalar!(self, value => value.to_string())
    }

    /// Not-a-number in either float type; `None` for integers.
    #[must_use]
    pub fn nan(dtype: DataType) -> Option<Self> {
        match dtype {
            DataType::Float32 => Some(Self::Float32(f32::NAN)),
            DataType::Float64 => Some(Self::Float64(f64::NAN)),
            _ => None,
        }
    }

    /// True if both have the same type and bits.
    #[must_use]
    pub fn identical(self, other: Self) -> bool {
        self.dtype() == other.dtype() && self.to_bytes() == other.to_bytes()
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.dtype(), self.plain())
    }
}

impl From<Scalar> for String {
    fn from(scalar: Scalar) -> Self {
        scalar.to_string()
    }
}

impl TryFrom<String> for Scalar {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Scalar {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is not a typed number such as `int16:-999`");
        let (name, number) = text.split_once(':').ok_or_else(refuse)?;
        let dtype = NUMERIC.into_iter().find(|dtype| dtype.name() == name).ok_or_else(refuse)?;
        each_type!(dtype, Variant, Native => number.parse::<Native>().map(Variant).map_err(|_| refuse()), text => Err(refuse()))
    }
}

/// The ten number types.
pub const NUMERIC: [DataType; 10] = [
    DataType::Int8,
    DataType::Int16,
    DataType::Int32,
    DataType::Int64,
    DataType::UInt8,
    DataType::UInt16,
    DataType::UInt32,
    DataType::UInt64,
    DataType::Float32,
    DataType::Float64,
];

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

/// A box inside a buffer: element offset of its first element and element strides, one per dimension (may be negative).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Elements before the box's first element.
    pub offset: u64,
    /// Elements between neighbours along each dimension.
    pub strides: Vec<i64>,
}

/// A copy would have read or written outside its buffers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a box of shape {shape:?} does not lie inside its buffers")]
pub struct OutsideBuffer {
    /// Shape of the box.
    pub shape: Shape,
}

/// Copies a box of `shape` elements of `item` bytes from one buffer to another.
///
/// # Errors
/// [`OutsideBuffer`] before anything is copied, if either side would leave its buffer.
pub fn copy_box(item: usize, shape: &[u64], source: (&[u8], &Placed), target: (&mut [u8], &Placed)) -> Result<(), OutsideBuffer> {
    if shape.contains(&0) {
        return Ok(());
    }
    let refuse = || OutsideBuffer { shape: shape.to_vec() };
    check_inside(item, shape, source.1, source.0.len()).ok_or_else(refuse)?;
    check_inside(item, shape, target.1, target.0.len()).ok_or_else(refuse)?;
    let axes = merged_axes(shape, &source.1.strides, &target.1.strides);
    let start = (source.1.offset as i64, target.1.offset as i64);
    match item {
        1 => copy_axes::<1>(&axes, source.0, target.0, start),
        2 => copy_axes::<2>(&axes, source.0, target.0, start),
        4 => copy_axes::<4>(&axes, source.0, target.0, start),
        8 => copy_axes::<8>(&axes, source.0, target.0, start),
        _ => return Err(refuse()),
    }
    Ok(())
}

fn check_inside(item: usize, shape: &[u64], placed: &Placed, bytes: usize) -> Option<()> {
    if shape.len() != placed.strides.len() || item == 0 {
        return None;
    }
    let (mut low, mut high) = (i64::try_from(placed.offset).ok()?, i64::try_from(placed.offset).ok()?);
    for (length, stride) in shape.iter().zip(&placed.strides) {
        let reach = i64::try_from(length - 1).ok()?.checked_mul(*stride)?;
        low = low.checked_add(reach.min(0))?;
        high = high.checked_add(reach.max(0))?;
    }
    (low >= 0 && high < (bytes / item) as i64).then_some(())
}

/// (length, source stride, target stride), with neighbours that are contiguous on both sides made one.
fn merged_axes(shape: &[u64], source: &[i64], target: &[i64]) -> Vec<(usize, i64, i64)> {
    let mut axes: Vec<(usize, i64, i64)> = Vec::with_capacity(shape.len());
    for axis in 0..shape.len() {
        let next = (shape[axis] as usize, source[axis], target[axis]);
        if next.0 == 1 {
            continue;
        }
        match axes.last_mut() {
            Some(last) if last.1 == next.1 * next.0 as i64 && last.2 == next.2 * next.0 as i64 => {
                *last = (last.0 * next.0, next.1, next.2);
            }
            _ => axes.push(next),
        }
    }
    axes
}

fn copy_axes<const ITEM: usize>(axes: &[(usize, i64, i64)], source: &[u8], target: &mut [u8], start: (i64, i64)) {
    match axes {
        [] => copy_run::<ITEM>(1, source, target, start),
        [(length, 1, 1)] => copy_run::<ITEM>(*length, source, target, start),
        [(length, from, to)] => copy_strided::<ITEM>(*length, (*from, *to), source, target, start),
        [(length, from, to), inner @ ..] => {
            for step in 0..*length as i64 {
                copy_axes::<ITEM>(inner, source, target, (start.0 + step * from, start.1 + step * to));
            }
        }
    }
}

fn copy_run<const ITEM: usize>(length: usize, source: &[u8], target: &mut [u8], start: (i64, i64)) {
    let (from, to) = (start.0 as usize * ITEM, start.1 as usize * ITEM);
    target[to..to + length * ITEM].copy_from_slice(&source[from..from + length * ITEM]);
}

fn copy_strided<const ITEM: usize>(length: usize, strides: (i64, i64), source: &[u8], target: &mut [u8], start: (i64, i64)) {
    let (source, _) = source.as_chunks::<ITEM>();
    let (target, _) = target.as_chunks_mut::<ITEM>();
    for step in 0..length as i64 {
        target[(start.1 + step * strides.1) as usize] = source[(start.0 + step * strides.0) as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::{Region, positions, ravel, strides};
    use proptest::prelude::*;

    #[test]
    fn scalars_survive_json() {
        for scalar in [Scalar::Int16(-999), Scalar::Float32(0.01), Scalar::Float64(f64::NAN), Scalar::UInt64(u64::MAX)] {
            let json = serde_json::to_string(&scalar).unwrap();
            assert!(serde_json::from_str::<Scalar>(&json).unwrap().identical(scalar), "{json}");
        }
    }

    #[test]
    fn cast_refuses_loss() {
        assert_eq!(Scalar::Float64(-999.0).cast(DataType::Int16), Some(Scalar::Int16(-999)));
        assert_eq!(Scalar::Float64(0.5).cast(DataType::Int16), None);
        assert_eq!(Scalar::Int32(70_000).cast(DataType::Int16), None);
        assert_eq!(Scalar::UInt64(u64::MAX).cast(DataType::Int64), None);
        assert_eq!(Scalar::Int64(i64::MAX).cast(DataType::Float64), None);
        assert_eq!(Scalar::Float64(1e20).cast(DataType::UInt64), None);
    }

    #[test]
    fn a_copy_outside_is_refused() {
        let placed = |offset, stride| Placed { offset, strides: vec![stride] };
        let copy = |from: Placed, to: Placed| copy_box(2, &[3], (&[0; 6], &from), (&mut [0; 6], &to)).is_ok();
        assert!(copy(placed(2, -1), placed(0, 1)));
        assert!(!copy(placed(1, 1), placed(0, 1)));
        assert!(!copy(placed(0, 1), placed(1, -1)));
    }

    proptest! {
        #[test]
        fn copy_equals_the_naive_loop(shape in prop::collection::vec(1u64..5, 0..4), flip in any::<[bool; 4]>(), turn in any::<bool>()) {
            let count = elements(&shape);
            let source: Vec<u8> = (0..count as u16).flat_map(u16::to_ne_bytes).collect();
            let plain: Vec<i64> = strides(&shape).iter().map(|&stride| stride as i64).collect();
            let mut from = Placed { offset: 0, strides: plain.clone() };
            for axis in 0..shape.len() {
                if flip[axis] {
                    from.offset = (from.offset as i64 + (shape[axis] as i64 - 1) * from.strides[axis]) as u64;
                    from.strides[axis] *= -1;
                }
            }
            let turned: Vec<u64> = if turn { shape.iter().rev().copied().collect() } else { shape.clone() };
            let mut to = Placed { offset: 0, strides: strides(&turned).iter().map(|&stride| stride as i64).collect() };
            if turn { to.strides.reverse(); }
            let mut target = vec![0; source.len()];
            copy_box(2, &shape, (&source, &from), (&mut target, &to)).unwrap();
            for position in positions(&Region::whole(&shape)) {
                let at = |placed: &Placed| position.iter().zip(&placed.strides).fold(placed.offset as i64, |sum, (p, s)| sum + *p as i64 * s) as usize;
                prop_assert_eq!(&source[2 * at(&from)..][..2], &target[2 * at(&to)..][..2]);
            }
            prop_assert_eq!(ravel(&vec![0; shape.len()], &shape), 0);
        }
    }
}
