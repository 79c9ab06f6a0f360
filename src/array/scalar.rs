//! One typed number.
//!
//! Not for arithmetic. Invariant: changing the type of a number either keeps it exactly or gives nothing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::DataType;

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

    /// The value as another type, to the nearest where that is a float: `None` where [`Scalar::cast`] gives none, and for a finite number
    /// that only an infinity is near.
    #[must_use]
    pub fn nearest(self, dtype: DataType) -> Option<Self> {
        let near = match dtype {
            DataType::Float32 => Self::Float32(self.as_f64() as f32),
            DataType::Float64 => Self::Float64(self.as_f64()),
            whole => return self.cast(whole),
        };
        (near.as_f64().is_finite() || !self.as_f64().is_finite()).then_some(near)
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
