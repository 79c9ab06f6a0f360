//! Smallest and largest valid value and the number of missing ones, counted from raw values while they are at hand.
//!
//! What the numbers must be is not decided here. Invariant: the statistics of a whole equal those of its parts put together,
//! in whatever order and however it was cut (but for chunks, which are counted one by one).

use serde::{Deserialize, Serialize};

use super::packing::{Packing, is_unsigned, marks, packing, unsigned};
use crate::array::{Array, DataType, Scalar};
use crate::dataset::Variable;
use crate::grid::{ChunkGrid, Region, positions, strides};

/// What the values of a variable, or of a part of it, are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Number of all values.
    pub values: u64,
    /// Number of missing values: NaN, `_FillValue`, `missing_value`.
    pub missing: u64,
    /// Smallest valid value, unpacked; infinity if there is none.
    #[serde(with = "super::exact")]
    pub smallest: f64,
    /// Largest valid value, unpacked; minus infinity if there is none.
    #[serde(with = "super::exact")]
    pub largest: f64,
    /// Chunks, of those that were counted apart, without a valid value. Required: what was counted without it must be counted again.
    pub empty: u64,
}

impl Default for Statistics {
    fn default() -> Self {
        Self { values: 0, missing: 0, smallest: f64::INFINITY, largest: f64::NEG_INFINITY, empty: 0 }
    }
}

impl Statistics {
    /// Adds another part.
    pub fn add(&mut self, other: &Self) {
        self.values += other.values;
        self.missing += other.missing;
        self.smallest = self.smallest.min(other.smallest);
        self.largest = self.largest.max(other.largest);
        self.empty += other.empty;
    }

    /// Number of values that are not missing.
    #[must_use]
    pub fn valid(&self) -> u64 {
        self.values.saturating_sub(self.missing)
    }
}

/// How the values of one variable are counted: its stored type, marks of missing values, packing.
#[derive(Debug, Clone, PartialEq)]
pub struct Counting {
    /// The type that the raw bits are (`_Unsigned` considered).
    dtype: DataType,
    marks: Vec<Scalar>,
    packing: Option<Packing>,
    /// True if a number of single precision takes part in a value.
    single: bool,
}

impl Counting {
    /// From what the attributes declare (CF §2.5.1, §8.1); `None` for texts.
    #[must_use]
    pub fn of(variable: &Variable) -> Option<Self> {
        if variable.dtype.is_text() {
            return None;
        }
        let single = |name| matches!(variable.attributes.number(name), Some(Scalar::Float32(_)));
        let dtype = if is_unsigned(variable) { unsigned(variable.dtype) } else { variable.dtype };
        Some(Self {
            dtype,
            marks: marks(variable).all.into_iter().filter_map(|mark| Scalar::from_bytes(dtype, &mark.to_bytes())).collect(),
            packing: packing(variable),
            single: variable.dtype == DataType::Float32 || single("scale_factor") || single("add_offset"),
        })
    }

    /// How far a value may lie from a decimal number that it stands for: rounding of its type and of its packing.
    #[must_use]
    pub fn rounding(&self, value: f64) -> f64 {
        let offset = self.packing.map_or(0.0, |packing| packing.offset.abs());
        let step = if self.single { f64::from(f32::EPSILON) } else { 2.0 * f64::EPSILON };
        if self.packing.is_none() && self.dtype.is_integer() { 0.0 } else { (value.abs() + offset) * step }
    }

    /// A raw value as it is meant: unpacked.
    #[must_use]
    pub fn unpacked(&self, raw: f64) -> f64 {
        self.packing.map_or(raw, |packing| raw * packing.scale + packing.offset)
    }

    /// True if a raw value means that there is none.
    #[must_use]
    pub fn is_missing(&self, raw: Scalar) -> bool {
        raw.as_f64().is_nan() || Scalar::from_bytes(self.dtype, &raw.to_bytes()).is_some_and(|raw| self.marks.contains(&raw))
    }

    /// Counts all values of an array of the variable's type.
    #[must_use]
    pub fn array(&self, array: &Array) -> Statistics {
        self.corner(array.bytes(), &array.shape, &array.shape)
    }

    /// Counts the first `shape` values along each dimension of a row-major buffer of `lengths`: an object without its padding.
    ///
    /// Values past the end of the buffer are not counted.
    #[must_use]
    pub fn corner(&self, bytes: &[u8], lengths: &[u64], shape: &[u64]) -> Statistics {
        self.rows(bytes, &Rows::of(lengths, &Region::whole(shape)))
    }

    /// As [`Counting::corner`], chunk by chunk, so that chunks without a valid value are told.
    #[must_use]
    pub fn chunks(&self, bytes: &[u8], (lengths, shape): (&[u64], &[u64]), chunk: &[u64]) -> Statistics {
        if chunk.len() != shape.len() || chunk.iter().zip(shape).all(|(chunk, length)| chunk >= length) {
            return self.corner(bytes, lengths, shape);
        }
        let grid = ChunkGrid::new(shape.to_vec(), chunk.to_vec());
        let mut sum = Statistics::default();
        (0..grid.chunks()).for_each(|number| sum.add(&self.rows(bytes, &Rows::of(lengths, &grid.region(&grid.index(number))))));
        sum
    }

    fn rows(&self, bytes: &[u8], rows: &Rows) -> Statistics {
        match self.dtype {
            DataType::Int8 => self.typed::<i8, 1>(bytes, rows),
            DataType::Int16 => self.typed::<i16, 2>(bytes, rows),
            DataType::Int32 => self.typed::<i32, 4>(bytes, rows),
            DataType::Int64 => self.typed::<i64, 8>(bytes, rows),
            DataType::UInt8 => self.typed::<u8, 1>(bytes, rows),
            DataType::UInt16 => self.typed::<u16, 2>(bytes, rows),
            DataType::UInt32 => self.typed::<u32, 4>(bytes, rows),
            DataType::UInt64 => self.typed::<u64, 8>(bytes, rows),
            DataType::Float32 => self.typed::<f32, 4>(bytes, rows),
            DataType::Float64 => self.typed::<f64, 8>(bytes, rows),
            DataType::Char | DataType::String => Statistics::default(),
        }
    }

    #[expect(clippy::needless_bitwise_bool, reason = "a branch would keep the compiler from using vector instructions")]
    fn typed<T: Number<SIZE>, const SIZE: usize>(&self, bytes: &[u8], rows: &Rows) -> Statistics {
        let marks: Vec<T> = self.marks.iter().filter_map(|mark| mark.to_bytes().try_into().ok().map(T::read)).collect();
        let (items, _) = bytes.as_chunks::<SIZE>();
        // One loop per number of marks, so that the usual none and one stay free of inner loops.
        let found = match marks.as_slice() {
            [] => rows.sweep(items, T::is_nan),
            &[mark] => rows.sweep(items, move |value: T| value.is_nan() | (value == mark)),
            all => rows.sweep(items, |value: T| value.is_nan() || all.contains(&value)),
        };
        self.meant(&found)
    }

    /// Raw extremes into real ones.
    fn meant<T: Number<SIZE>, const SIZE: usize>(&self, found: &Found<T>) -> Statistics {
        let mut statistics = Statistics { values: found.values, missing: found.missing, ..Statistics::default() };
        if statistics.valid() > 0 {
            let (one, other) = (self.unpacked(found.low.wide()), self.unpacked(found.high.wide()));
            // Adding zero makes -0 and 0 one: which of the two is found first would depend on the cut.
            (statistics.smallest, statistics.largest) = (one.min(other) + 0.0, one.max(other) + 0.0);
        }
        statistics.empty = u64::from(statistics.values > 0 && statistics.valid() == 0);
        statistics
    }
}

/// Runs of neighbouring elements that make up the corner of a buffer.
struct Rows {
    /// First element of each run.
    starts: Vec<usize>,
    /// Elements of each run.
    length: usize,
}

impl Rows {
    fn of(lengths: &[u64], part: &Region) -> Self {
        let shape = &part.shape;
        if shape.contains(&0) || lengths.len() != shape.len() {
            return Self { starts: Vec::new(), length: 0 };
        }
        let whole = lengths.iter().zip(shape).rev().take_while(|(length, part)| length == part).count();
        let outer = shape.len().saturating_sub(whole + 1);
        let length: u64 = shape.iter().skip(outer).product();
        let strides = strides(lengths);
        let first: u64 = part.start.iter().zip(&strides).map(|(index, stride)| index * stride).sum();
        let start =
            |position: Vec<u64>| first as usize + position.iter().zip(&strides).map(|(index, stride)| index * stride).sum::<u64>() as usize;
        let starts = positions(&Region::whole(shape.get(..outer).unwrap_or_default())).map(start).collect();
        Self { starts, length: length as usize }
    }

    fn sweep<T: Number<SIZE>, const SIZE: usize>(&self, items: &[[u8; SIZE]], missing: impl Fn(T) -> bool) -> Found<T> {
        let mut found = Found { values: 0, missing: 0, low: T::TOP, high: T::BOTTOM };
        for &start in &self.starts {
            if let Some(run) = items.get(start..start.saturating_add(self.length)) {
                found.run(run, &missing);
            }
        }
        found
    }
}

/// Elements looked at side by side, so that the compiler can use vector instructions for floats too.
const LANES: usize = 16;

struct Found<T> {
    values: u64,
    missing: u64,
    low: T,
    high: T,
}

impl<T: Copy> Found<T> {
    #[expect(
        clippy::needless_bitwise_bool,
        clippy::needless_range_loop,
        reason = "branches and iterators keep the compiler from using vector instructions: ten times slower for bytes (measured)"
    )]
    fn run<const SIZE: usize>(&mut self, run: &[[u8; SIZE]], missing: &impl Fn(T) -> bool)
    where
        T: Number<SIZE>,
    {
        let (blocks, rest) = run.as_chunks::<LANES>();
        let (mut low, mut high, mut gone) = ([T::TOP; LANES], [T::BOTTOM; LANES], [0_u32; LANES]);
        let mut look = |lane: usize, item: [u8; SIZE]| {
            let value = T::read(item);
            let absent = missing(value);
            gone[lane] += u32::from(absent);
            low[lane] = if !absent & (value < low[lane]) { value } else { low[lane] };
            high[lane] = if !absent & (value > high[lane]) { value } else { high[lane] };
        };
        for block in blocks {
            for lane in 0..LANES {
                look(lane, block[lane]);
            }
        }
        rest.iter().enumerate().for_each(|(lane, item)| look(lane, *item));
        self.values += run.len() as u64;
        self.missing += gone.iter().map(|&count| u64::from(count)).sum::<u64>();
        self.low = low.into_iter().fold(self.low, |least, value| if value < least { value } else { least });
        self.high = high.into_iter().fold(self.high, |most, value| if value > most { value } else { most });
    }
}

/// A native number of `SIZE` bytes.
trait Number<const SIZE: usize>: Copy + PartialOrd {
    /// No number is above it.
    const TOP: Self;
    /// No number is below it.
    const BOTTOM: Self;
    fn read(bytes: [u8; SIZE]) -> Self;
    fn wide(self) -> f64;
    fn is_nan(self) -> bool;
}

macro_rules! numbers {
    ($($native:ident $size:literal $top:expr, $bottom:expr, $nan:expr;)*) => {
        $(impl Number<$size> for $native {
            const TOP: Self = $top;
            const BOTTOM: Self = $bottom;

            fn read(bytes: [u8; $size]) -> Self {
                Self::from_ne_bytes(bytes)
            }

            #[allow(clippy::cast_lossless, clippy::cast_precision_loss, clippy::unnecessary_cast, reason = "one body for all types; integers beyond 2^53 lose their last bits")]
            fn wide(self) -> f64 {
                self as f64
            }

            fn is_nan(self) -> bool {
                let is_nan: fn(Self) -> bool = $nan;
                is_nan(self)
            }
        })*
    };
}

numbers! {
    i8 1 Self::MAX, Self::MIN, |_| false;
    i16 2 Self::MAX, Self::MIN, |_| false;
    i32 4 Self::MAX, Self::MIN, |_| false;
    i64 8 Self::MAX, Self::MIN, |_| false;
    u8 1 Self::MAX, Self::MIN, |_| false;
    u16 2 Self::MAX, Self::MIN, |_| false;
    u32 4 Self::MAX, Self::MIN, |_| false;
    u64 8 Self::MAX, Self::MIN, |_| false;
    f32 4 Self::INFINITY, Self::NEG_INFINITY, Self::is_nan;
    f64 8 Self::INFINITY, Self::NEG_INFINITY, Self::is_nan;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Attribute, Attributes, Encoding};
    use crate::grid::{ChunkGrid, elements};
    use proptest::prelude::*;

    fn counting(dtype: DataType, attributes: &[(&str, Scalar)]) -> Counting {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), Attribute::Numbers(vec![*value])));
        let attributes = Attributes(attributes.collect());
        Counting::of(&Variable {
            name: "v".into(),
            dtype,
            dimensions: vec![],
            attributes,
            coordinate: false,
            encoding: Encoding::default(),
        })
        .unwrap()
    }

    fn array(scalars: &[Scalar]) -> Array {
        Array::from_scalars(scalars[0].dtype(), vec![scalars.len() as u64], scalars).unwrap()
    }

    #[test]
    fn packed_integers_are_unpacked_and_marks_are_missing() {
        let packed = [
            ("scale_factor", Scalar::Float64(-0.5)),
            ("add_offset", Scalar::Float64(10.0)),
            ("_FillValue", Scalar::Int16(-999)),
            ("missing_value", Scalar::Int16(7)),
        ];
        let counted = counting(DataType::Int16, &packed).array(&array(&[-999, 4, 7, -6, 0].map(Scalar::Int16)));
        assert_eq!(counted, Statistics { values: 5, missing: 2, smallest: 8.0, largest: 13.0, empty: 0 });
    }

    #[test]
    fn bytes_are_unsigned_where_declared() {
        let mut variable = Variable {
            name: "v".into(),
            dtype: DataType::Int8,
            dimensions: vec![],
            attributes: Attributes::default(),
            coordinate: false,
            encoding: Encoding::default(),
        };
        variable.attributes.set("_Unsigned", Attribute::Text("true".into()));
        variable.attributes.set("_FillValue", Attribute::Numbers(vec![Scalar::Int8(-1)]));
        let counted = Counting::of(&variable).unwrap().array(&array(&[-1, -2, 3].map(Scalar::Int8)));
        assert_eq!(counted, Statistics { values: 3, missing: 1, smallest: 3.0, largest: 254.0, empty: 0 });
    }

    #[test]
    fn nothing_valid_has_no_extremes_and_survives_json() {
        let counted = counting(DataType::Float32, &[]).array(&array(&[Scalar::Float32(f32::NAN); 40]));
        assert_eq!(counted, Statistics { values: 40, missing: 40, empty: 1, ..Statistics::default() });
        let json = serde_json::to_string(&counted).unwrap();
        assert_eq!(serde_json::from_str::<Statistics>(&json).unwrap(), counted, "{json}");
    }

    #[test]
    fn chunks_without_a_value_are_told_one_by_one() {
        let values = array(&[1.0, f64::NAN, f64::NAN, f64::NAN, f64::NAN, f64::NAN].map(Scalar::Float64));
        let counting = counting(DataType::Float64, &[]);
        // Two rows of three, the last column is padding: chunks of one row, of one column, of everything.
        let empty = |chunk: &[u64]| counting.chunks(values.bytes(), (&[2, 3], &[2, 2]), chunk);
        assert_eq!([&[1, 3], &[2, 1], &[2, 2], &[1, 1]].map(|chunk| empty(chunk).empty), [1, 1, 0, 3]);
        assert_eq!((empty(&[1, 3]).values, empty(&[1, 3]).missing), (4, 3));
    }

    #[test]
    fn infinity_is_a_value() {
        let counted = counting(DataType::Float64, &[]).array(&array(&[f64::NEG_INFINITY, 1.0, f64::NAN].map(Scalar::Float64)));
        assert_eq!((counted.smallest, counted.largest, counted.missing), (f64::NEG_INFINITY, 1.0, 1));
    }

    #[test]
    fn rounding_is_that_of_the_type() {
        assert!((f64::from(0.1_f32) - 0.1).abs() <= counting(DataType::Float32, &[]).rounding(0.1));
        let packed = counting(DataType::Int16, &[("scale_factor", Scalar::Float64(0.1))]);
        assert!(packed.unpacked(3.0) > 0.3 && packed.unpacked(3.0) - packed.rounding(0.3) <= 0.3);
        assert_eq!(counting(DataType::Int32, &[]).rounding(1e9), 0.0);
    }

    proptest! {
        #[test]
        fn parts_make_the_whole(shape in prop::collection::vec(1u64..12, 0..4), chunk in prop::collection::vec(1u64..9, 3), seed in any::<u32>()) {
            let counting = counting(DataType::Float32, &[("_FillValue", Scalar::Float32(3.0))]);
            let value = |number: u64| match (number * 7919 + u64::from(seed)) % 11 { 0 => f32::NAN, other => other as f32 - 4.0 };
            let values: Vec<f32> = (0..elements(&shape)).map(value).collect();
            let grid = ChunkGrid::new(shape.clone(), chunk[..shape.len()].to_vec());
            let mut sum = Statistics::default();
            for number in 0..grid.chunks() {
                let region = grid.region(&grid.index(number));
                let padded = vec![-1e9_f32; elements(&grid.chunk) as usize];
                let mut bytes: Vec<u8> = padded.iter().flat_map(|value| value.to_ne_bytes()).collect();
                for position in positions(&Region::whole(&region.shape)) {
                    let from = position.iter().zip(&region.start).map(|(index, start)| index + start).collect::<Vec<_>>();
                    let (from, to) = (crate::grid::ravel(&from, &shape) as usize, crate::grid::ravel(&position, &grid.chunk) as usize);
                    bytes[to * 4..to * 4 + 4].copy_from_slice(&values[from].to_ne_bytes());
                }
                sum.add(&counting.corner(&bytes, &grid.chunk, &region.shape));
            }
            let valid = || values.iter().copied().filter(|value| !value.is_nan() && *value != 3.0).map(f64::from);
            prop_assert_eq!(sum.valid(), valid().count() as u64);
            prop_assert_eq!(sum.values, elements(&shape));
            prop_assert_eq!((sum.smallest, sum.largest), (valid().fold(f64::INFINITY, f64::min), valid().fold(f64::NEG_INFINITY, f64::max)));
        }
    }
}
