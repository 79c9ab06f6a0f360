//! Smallest, largest, mean and number of valid values of a variable.
//!
//! Valid is what netCDF4-python shows: not `_FillValue` or `missing_value`, not outside `valid_*`, not the default fill of the
//! type where no fill value is declared (CF 2.5.1; bytes too), and finite; unpacked by `scale_factor` and `add_offset` (CF 8.1).
//! Invariant: memory stays near [`BLOCK`] elements, whatever the variable's size.

use serde::Serialize;

use super::packing;
use crate::array::{Array, DataType, Scalar};
use crate::dataset::{Attribute, Variable};
use crate::grid::{ChunkGrid, Region, Shape, elements, positions};
use crate::layout::Layout;
use crate::source::{Source, SourceError, fetch, fill};
use crate::store::SourceStore;

/// Elements read at once, unless one chunk has more.
const BLOCK: u64 = 1 << 20;

/// What the values of a variable are.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Statistics {
    /// Smallest valid value, unpacked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Largest valid value, unpacked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Mean of the valid values, unpacked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Number of valid values.
    pub valid: u64,
    /// Number of all values.
    pub total: u64,
}

/// Reads all values of a variable and sums them up; `None` for texts.
///
/// # Errors
/// As [`fetch::read_stored`].
pub fn statistics(store: &dyn SourceStore, url: &str, source: &dyn Source, variable: &Variable) -> Result<Option<Statistics>, SourceError> {
    if variable.dtype.is_text() {
        return Ok(None);
    }
    let stored = source.stored(&variable.name)?;
    let chunk = match &stored.layout {
        Layout::Chunked(table) => table.grid.chunk.clone(),
        _ => vec![1; stored.shape.len()],
    };
    sum_up(variable, &missing_in_file(variable), &Blocks::new(stored.shape.clone(), &chunk), |region| match stored.layout {
        Layout::Free { .. } => source.read(&variable.name, region),
        _ => fetch::read_stored(store, url, &variable.name, &stored, region),
    })
}

/// What `_FillValue`, or else the type's default, says of a file.
fn missing_in_file(variable: &Variable) -> Vec<Scalar> {
    match variable.attributes.get("_FillValue") {
        Some(Attribute::Numbers(numbers)) => numbers.clone(),
        Some(_) => Vec::new(),
        None if seen_type(variable) != variable.dtype => Vec::new(),
        None => Scalar::from_bytes(variable.dtype, &fill::netcdf_default(variable.dtype)).into_iter().collect(),
    }
}

/// Sums up the values of all blocks, as `read` gives them, without `missing`; `None` for texts.
pub(super) fn sum_up<E>(
    variable: &Variable,
    missing: &[Scalar],
    blocks: &Blocks,
    mut read: impl FnMut(&Region) -> Result<Array, E>,
) -> Result<Option<Statistics>, E> {
    if variable.dtype.is_text() {
        return Ok(None);
    }
    let (rules, mut sum) = (Rules::of(variable, missing), Sum::default());
    for index in positions(&Region::whole(&blocks.0.counts())) {
        sum.add(&read(&blocks.0.region(&index))?, &rules);
    }
    let scaling = packing(variable).map_or((1.0, 0.0), |packing| (packing.scale, packing.offset));
    Ok(Some(sum.finish(scaling, elements(&blocks.0.shape))))
}

/// Boxes of about [`BLOCK`] elements that are whole numbers of chunks.
pub(super) struct Blocks(ChunkGrid);

impl Blocks {
    pub(super) fn new(shape: Shape, chunk: &[u64]) -> Self {
        let mut block: Shape = chunk.iter().zip(&shape).map(|(&chunk, &length)| chunk.min(length).max(1)).collect();
        for axis in (0..block.len()).rev() {
            let room = (BLOCK / elements(&block).max(1)).max(1);
            let whole = shape[axis].div_ceil(block[axis]).max(1);
            block[axis] = block[axis].saturating_mul(room.min(whole));
        }
        Self(ChunkGrid::new(shape, block))
    }
}

/// Which raw values count.
struct Rules {
    /// The type that the raw bits are (`_Unsigned`).
    dtype: DataType,
    missing: Vec<Scalar>,
    low: Option<f64>,
    high: Option<f64>,
}

impl Rules {
    fn of(variable: &Variable, also: &[Scalar]) -> Self {
        let dtype = seen_type(variable);
        let numbers = |name: &str| match variable.attributes.get(name) {
            Some(Attribute::Numbers(numbers)) => numbers.iter().filter_map(|&number| fitting(number, variable.dtype, dtype)).collect(),
            _ => Vec::new(),
        };
        let mut missing: Vec<Scalar> = numbers("missing_value");
        missing.extend(also.iter().filter_map(|&number| fitting(number, variable.dtype, dtype)));
        let range = numbers("valid_range");
        let limit = |name: &str, at: usize| match range.len() {
            2 => range.get(at).copied(),
            _ => numbers(name).first().copied(),
        };
        Self { dtype, low: limit("valid_min", 0).map(Scalar::as_f64), high: limit("valid_max", 1).map(Scalar::as_f64), missing }
    }
}

/// `_Unsigned = "true"` says that signed bytes hold unsigned numbers (netCDF Attribute Conventions).
fn seen_type(variable: &Variable) -> DataType {
    let unsigned = variable.attributes.text("_Unsigned").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    match variable.dtype {
        DataType::Int8 if unsigned => DataType::UInt8,
        DataType::Int16 if unsigned => DataType::UInt16,
        DataType::Int32 if unsigned => DataType::UInt32,
        DataType::Int64 if unsigned => DataType::UInt64,
        other => other,
    }
}

/// An attribute's number in the variable's type, seen as its bits are seen; `None` if the type cannot hold it.
fn fitting(number: Scalar, stored: DataType, seen: DataType) -> Option<Scalar> {
    match number.cast(stored) {
        Some(cast) => Scalar::from_bytes(seen, &cast.to_bytes()),
        None => number.cast(seen),
    }
}

/// Sums up raw values; compensated, so that millions of small ones are not lost (Neumaier).
#[derive(Default)]
struct Sum {
    valid: u64,
    min: f64,
    max: f64,
    total: f64,
    lost: f64,
}

impl Sum {
    #[expect(clippy::cast_lossless, reason = "one body for all types")]
    fn add(&mut self, array: &Array, rules: &Rules) {
        /// Runs over the values of one type.
        macro_rules! each {
            ($native:ty, $variant:ident) => {{
                let missing: Vec<$native> = rules
                    .missing
                    .iter()
                    .filter_map(|scalar| if let Scalar::$variant(value) = scalar { Some(*value) } else { None })
                    .collect();
                for bytes in array.bytes().chunks_exact(size_of::<$native>()) {
                    let value = <$native>::from_ne_bytes(bytes.try_into().unwrap_or_default());
                    if !missing.contains(&value) {
                        self.one(value as f64, rules);
                    }
                }
            }};
        }
        match rules.dtype {
            DataType::Int8 => each!(i8, Int8),
            DataType::Int16 => each!(i16, Int16),
            DataType::Int32 => each!(i32, Int32),
            DataType::Int64 => each!(i64, Int64),
            DataType::UInt8 => each!(u8, UInt8),
            DataType::UInt16 => each!(u16, UInt16),
            DataType::UInt32 => each!(u32, UInt32),
            DataType::UInt64 => each!(u64, UInt64),
            DataType::Float32 => each!(f32, Float32),
            DataType::Float64 => each!(f64, Float64),
            DataType::Char | DataType::String => {}
        }
    }

    fn one(&mut self, value: f64, rules: &Rules) {
        if !value.is_finite() || rules.low.is_some_and(|low| value < low) || rules.high.is_some_and(|high| value > high) {
            return;
        }
        self.min = if self.valid == 0 { value } else { self.min.min(value) };
        self.max = if self.valid == 0 { value } else { self.max.max(value) };
        self.valid += 1;
        let total = self.total + value;
        self.lost += if self.total.abs() >= value.abs() { (self.total - total) + value } else { (value - total) + self.total };
        self.total = total;
    }

    /// Unpacking is monotonic, so it can wait until the end; a negative scale swaps the ends.
    fn finish(&self, (scale, offset): (f64, f64), total: u64) -> Statistics {
        if self.valid == 0 {
            return Statistics { total, ..Statistics::default() };
        }
        let unpack = |raw: f64| raw * scale + offset;
        let (one, other) = (unpack(self.min), unpack(self.max));
        let compensated = if (self.total + self.lost).is_finite() { self.total + self.lost } else { self.total };
        let mean = unpack(compensated / self.valid as f64);
        Statistics { min: Some(one.min(other)), max: Some(one.max(other)), mean: Some(mean), valid: self.valid, total }
    }
}
