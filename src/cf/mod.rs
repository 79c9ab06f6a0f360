//! The CF conventions: time units and calendars, packing, missing values, coordinates, bounds.
//!
//! Rules about meaning, no I/O. Invariant: a conversion either keeps every value exactly (times, missing values, widening) or
//! is the unpacking that the file itself declares; there is no rounding that the caller did not ask for.

pub mod calendar;
mod convert;
pub(crate) mod exact;
pub mod packing;
pub mod spelling;
pub mod statistics;
pub mod time;
pub mod units;

pub use convert::ConversionError;
pub(crate) use convert::Missing;

use serde::{Deserialize, Serialize};

use crate::array::{DataType, Scalar};

/// How times that were counted anew are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedAs {
    /// Their type.
    pub dtype: DataType,
    /// Counts that make one unit of what is stored; 1 for integers. A float is the one nearest to the quotient, and must stand for no other count.
    pub unit: i64,
}

/// What happens to the raw values of one variable of one input on their way to the result.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conversion {
    /// Nothing.
    #[default]
    Keep,
    /// Floats equal to one of these (bit-equal NaNs included) become NaN.
    MissingToNan {
        /// Of the variable's own type.
        missing: Vec<Scalar>,
    },
    /// raw × scale + offset in float64; missing values become NaN.
    Unpack {
        /// `scale_factor`.
        scale: f64,
        /// `add_offset`.
        offset: f64,
        /// Raw values that mean "missing".
        missing: Vec<Scalar>,
        /// Signed integers are read as unsigned ones of the same size first (`_Unsigned`).
        #[serde(default)]
        unsigned: bool,
    },
    /// (raw × multiply + add) ÷ divide, exactly, as int64: another time unit and epoch.
    Retime {
        /// Numerator of the unit ratio.
        multiply: i64,
        /// Denominator of the unit ratio.
        divide: i64,
        /// Distance of the epochs in the new unit, times `divide`.
        add: i64,
        /// Raw values that mean "missing" (NaN always does), and what they become (in floats: NaN).
        missing: Option<(Vec<Scalar>, i64)>,
        /// How the counts are stored; `None`: as they are, as int64.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stored: Option<CountedAs>,
    },
    /// Unpacked as declared (if at all), then to other units, in float64; missing values become NaN.
    Rescale {
        /// How the raw values are unpacked: scale, offset.
        unpack: (f64, f64),
        /// To the result's units.
        units: units::Linear,
        /// Raw values that mean "missing".
        missing: Vec<Scalar>,
        /// Signed integers are read as unsigned ones of the same size first (`_Unsigned`).
        #[serde(default)]
        unsigned: bool,
    },
    /// Integers equal to one of `from` become `to`: files mark missing values differently. A valid `to` is an error.
    Refill {
        /// Raw marks of this input.
        from: Vec<Scalar>,
        /// The result's mark.
        to: Scalar,
    },
    /// A wider type that holds every value exactly.
    Widen {
        /// The result's type.
        to: DataType,
        /// Values equal to one of these become `fill` (empty: none).
        missing: Vec<Scalar>,
        /// The result's mark; `None`: NaN. A valid value equal to it is an error.
        #[serde(default)]
        fill: Option<Scalar>,
    },
    /// The recipe's own packing: unpack as declared (if at all), then round((value − offset) ÷ scale), missing becomes `fill`.
    /// A float `fill` asks for that float type, nothing rounded to integers.
    Repack {
        /// How the raw values are unpacked: scale, offset.
        unpack: (f64, f64),
        /// Raw values that mean "missing".
        missing: Vec<Scalar>,
        /// The result's packing: scale, offset.
        pack: (f64, f64),
        /// The result's type and mark for missing values.
        fill: Scalar,
        /// Signed integers are read as unsigned ones of the same size first (`_Unsigned`).
        #[serde(default)]
        unsigned: bool,
        /// To other units, before packing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        units: Option<units::Linear>,
    },
}
