//! Applying a [`Conversion`] to values: the hot loops.
//!
//! Which conversion a variable needs is decided elsewhere ([`crate::combine`]). Invariant: whatever cannot be converted as promised
//! (a time that is not exact, a valid value that would read as missing, a packed value out of range) is an error, never a changed value.

use super::time::Ratio;
use super::units::Linear;
use super::{Conversion, CountedAs};
use crate::array::{Array, DataType, Scalar, Values};

/// Why values cannot be converted. The caller adds file and variable.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConversionError {
    /// A time is not a whole number of the result's units.
    #[error("the time value {0} is not exact in the units that the other files allow")]
    NotExact(String),
    /// A valid value equals the result's mark for missing values.
    #[error("the valid value {0} is the mark for missing values of the result; let the recipe choose another type or fill value")]
    MarkInUse(String),
    /// A value does not fit the packed type.
    #[error("the value {value} does not fit the packed type {dtype}; choose another scale_factor, add_offset or dtype")]
    OutOfRange {
        /// The unpacked value.
        value: f64,
        /// The packed type.
        dtype: DataType,
    },
    /// The conversion is none for this type.
    #[error("values of type {0} cannot be converted so")]
    Unsuitable(DataType),
    /// The bytes are not a whole number of elements.
    #[error("{bytes} bytes are not a whole number of {dtype} values")]
    Length {
        /// How many there are.
        bytes: usize,
        /// The type they should be.
        dtype: DataType,
    },
}

/// Raw values that mean "missing".
#[derive(Debug, Clone, Copy)]
pub(crate) struct Missing<'a>(&'a [Scalar]);

impl<'a> Missing<'a> {
    pub(crate) fn new(marks: &'a [Scalar]) -> Self {
        Self(marks)
    }

    /// True if the value equals one of the marks; NaN equals NaN.
    pub(crate) fn holds(self, value: Scalar) -> bool {
        self.0.iter().any(|mark| mark.identical(value) || *mark == value || (mark.as_f64().is_nan() && value.as_f64().is_nan()))
    }

    fn native<N: Number>(self) -> Vec<N> {
        self.0.iter().filter_map(|mark| N::of(*mark)).collect()
    }
}

/// A number type of Rust.
trait Number: Copy + PartialEq {
    const SIZE: usize;
    fn read(bytes: &[u8]) -> Self;
    fn write(self, bytes: &mut [u8]);
    fn of(scalar: Scalar) -> Option<Self>;
    fn scalar(self) -> Scalar;
}

/// Casts of Rust between two number types.
trait Cast<To> {
    fn cast(self) -> To;
}

macro_rules! casts {
    ($from:ident => $($to:ident)*) => {$(
        impl Cast<$to> for $from {
            #[inline]
            #[allow(clippy::cast_lossless, trivial_numeric_casts, reason = "one body for all pairs of types")]
            fn cast(self) -> $to {
                self as $to
            }
        }
    )*};
}

macro_rules! numbers {
    ($($native:ident $variant:ident)*) => {$(
        impl Number for $native {
            const SIZE: usize = size_of::<$native>();
            #[inline]
            fn read(bytes: &[u8]) -> Self {
                bytes.try_into().map_or(Self::default(), Self::from_ne_bytes)
            }
            #[inline]
            fn write(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_ne_bytes());
            }
            fn of(scalar: Scalar) -> Option<Self> {
                if let Scalar::$variant(value) = scalar { Some(value) } else { None }
            }
            fn scalar(self) -> Scalar {
                Scalar::$variant(self)
            }
        }
        casts!($native => i8 i16 i32 i64 u8 u16 u32 u64 f32 f64);
    )*};
}
numbers!(i8 Int8 i16 Int16 i32 Int32 i64 Int64 u8 UInt8 u16 UInt16 u32 UInt32 u64 UInt64 f32 Float32 f64 Float64);

/// Runs `$body` with `$native` naming the Rust type of a [`DataType`].
macro_rules! with_type {
    ($dtype:expr, $native:ident => $body:expr) => {
        match $dtype {
            DataType::Int8 => {
                type $native = i8;
                $body
            }
            DataType::Int16 => {
                type $native = i16;
                $body
            }
            DataType::Int32 => {
                type $native = i32;
                $body
            }
            DataType::Int64 => {
                type $native = i64;
                $body
            }
            DataType::UInt8 => {
                type $native = u8;
                $body
            }
            DataType::UInt16 => {
                type $native = u16;
                $body
            }
            DataType::UInt32 => {
                type $native = u32;
                $body
            }
            DataType::UInt64 => {
                type $native = u64;
                $body
            }
            DataType::Float32 => {
                type $native = f32;
                $body
            }
            DataType::Float64 => {
                type $native = f64;
                $body
            }
            text => Err(ConversionError::Unsuitable(text)),
        }
    };
}

/// Elements handled at a time where a loop has something to remember.
const BLOCK: usize = 4096;

type Converted = Result<Vec<u8>, ConversionError>;

impl Conversion {
    /// Type of the result for raw values of type `dtype`.
    #[must_use]
    pub fn output(&self, dtype: DataType) -> DataType {
        match self {
            Self::Keep | Self::MissingToNan { .. } | Self::Refill { .. } => dtype,
            Self::Unpack { .. } | Self::Rescale { .. } => DataType::Float64,
            Self::Retime { stored, .. } => stored.map_or(DataType::Int64, |stored| stored.dtype),
            Self::Widen { to, .. } => *to,
            Self::Repack { fill, .. } => fill.dtype(),
        }
    }

    /// True if [`Conversion::apply_bytes`] would give these raw values back bit for bit. Only what keeps every element or marks
    /// missing ones is looked at; any other conversion counts as changing something.
    #[must_use]
    pub fn keeps(&self, dtype: DataType, bytes: &[u8]) -> bool {
        match (self, dtype) {
            (Self::Keep, _) => true,
            (Self::MissingToNan { missing }, DataType::Float32) => !hold::<f32>(bytes, &Missing(missing).native()),
            (Self::MissingToNan { missing }, DataType::Float64) => !hold::<f64>(bytes, &Missing(missing).native()),
            _ => false,
        }
    }

    /// Converts a whole array; its shape stays.
    ///
    /// # Errors
    /// A [`ConversionError`] if a value cannot be converted as promised, or if texts were given to anything but [`Conversion::Keep`].
    pub fn apply(&self, array: Array) -> Result<Array, ConversionError> {
        let Array { dtype, shape, values } = array;
        match values {
            Values::Bytes(bytes) => Ok(Array { dtype: self.output(dtype), shape, values: Values::Bytes(self.apply_bytes(dtype, bytes)?) }),
            texts if *self == Self::Keep => Ok(Array { dtype, shape, values: texts }),
            Values::Texts(_) => Err(ConversionError::Unsuitable(dtype)),
        }
    }

    /// Converts raw values of type `dtype` (machine's byte order) to values of type [`Conversion::output`]; in place where the size stays.
    ///
    /// # Errors
    /// As [`Conversion::apply`]; [`ConversionError::Length`] if the bytes are not a whole number of elements.
    pub fn apply_bytes(&self, dtype: DataType, bytes: Vec<u8>) -> Converted {
        if *self == Self::Keep {
            return Ok(bytes);
        }
        if dtype.size() == 0 || !bytes.len().is_multiple_of(dtype.size()) {
            return Err(ConversionError::Length { bytes: bytes.len(), dtype });
        }
        match self {
            Self::Keep => Ok(bytes),
            Self::MissingToNan { missing } => missing_to_nan(dtype, bytes, missing),
            Self::Unpack { scale, offset, missing, unsigned } => {
                let (dtype, missing) = reinterpreted(dtype, missing, *unsigned);
                with_type!(dtype, Raw => Ok(unpack::<Raw>(&bytes, *scale, *offset, &Missing(&missing).native())))
            }
            Self::Retime { multiply, divide, add, missing, stored } => {
                let ratio = Ratio { multiply: *multiply, divide: (*divide).max(1), add: *add };
                match stored {
                    None => with_type!(dtype, Raw => retime::<Raw>(&bytes, ratio, missing.as_ref())),
                    Some(stored) => with_type!(dtype, Raw => retime_as::<Raw>(&bytes, ratio, missing.as_ref(), *stored)),
                }
            }
            Self::Rescale { unpack, units, missing, unsigned } => {
                let (dtype, missing) = reinterpreted(dtype, missing, *unsigned);
                with_type!(dtype, Raw => Ok(rescale::<Raw>(&bytes, *unpack, *units, &Missing(&missing).native())))
            }
            Self::Refill { from, to } => with_type!(dtype, Raw => refill::<Raw>(bytes, &Missing(from).native(), *to)),
            Self::Widen { to, missing, fill } => with_type!(dtype, Raw => widen_to(&bytes, *to, &Missing(missing).native::<Raw>(), *fill)),
            Self::Repack { unpack, missing, pack, fill, unsigned, units } => {
                let (dtype, missing) = reinterpreted(dtype, missing, *unsigned);
                let packed = Packed { unpack: *unpack, units: *units, pack: *pack, fill: *fill };
                with_type!(dtype, Raw => repack_to(&bytes, &Missing(&missing).native::<Raw>(), packed))
            }
        }
    }
}

/// The unsigned type of the same size, and the marks read as that type.
fn reinterpreted(dtype: DataType, missing: &[Scalar], unsigned: bool) -> (DataType, Vec<Scalar>) {
    let dtype = if unsigned { super::packing::unsigned(dtype) } else { dtype };
    let marks = missing.iter().filter_map(|mark| if unsigned { Scalar::from_bytes(dtype, &mark.to_bytes()) } else { Some(*mark) });
    (dtype, marks.collect())
}

#[inline]
fn change_each<A: Number>(bytes: &mut [u8], change: impl Fn(A) -> A) {
    for element in bytes.chunks_exact_mut(A::SIZE) {
        change(A::read(element)).write(element);
    }
}

#[inline]
fn map_each<A: Number, B: Number>(bytes: &[u8], mut map: impl FnMut(A) -> B) -> Vec<u8> {
    let mut mapped = vec![0; bytes.len() / A::SIZE * B::SIZE];
    for (from, to) in bytes.chunks_exact(A::SIZE).zip(mapped.chunks_exact_mut(B::SIZE)) {
        map(A::read(from)).write(to);
    }
    mapped
}

fn missing_to_nan(dtype: DataType, mut bytes: Vec<u8>, missing: &[Scalar]) -> Converted {
    match dtype {
        DataType::Float32 => replace(&mut bytes, &Missing(missing).native(), f32::NAN),
        DataType::Float64 => replace(&mut bytes, &Missing(missing).native(), f64::NAN),
        other => return Err(ConversionError::Unsuitable(other)),
    }
    Ok(bytes)
}

/// True if any element equals any of the marks.
fn hold<N: Number>(bytes: &[u8], marks: &[N]) -> bool {
    // No early exit inside a block, so that the comparison is vectorised.
    let holds = |block: &[u8], mark: N| block.chunks_exact(N::SIZE).fold(false, |found, element| found | (N::read(element) == mark));
    bytes.chunks(BLOCK * N::SIZE).any(|block| marks.iter().any(|&mark| holds(block, mark)))
}

/// One and two marks, by far the commonest, have loops of their own that the compiler turns into vector instructions.
#[expect(clippy::needless_bitwise_bool, reason = "a branch between the comparisons would keep the loop from being vectorised")]
fn replace<N: Number>(bytes: &mut [u8], marks: &[N], by: N) {
    match *marks {
        [] => {}
        [one] => change_each(bytes, |value| if value == one { by } else { value }),
        [one, two] => change_each(bytes, |value| if (value == one) | (value == two) { by } else { value }),
        _ => change_each(bytes, |value| if marks.contains(&value) { by } else { value }),
    }
}

fn unpack<N: Number + Cast<f64>>(bytes: &[u8], scale: f64, offset: f64, marks: &[N]) -> Vec<u8> {
    let unpacked = |value: N| value.cast() * scale + offset;
    match *marks {
        [] => map_each(bytes, unpacked),
        [one] => map_each(bytes, |value: N| if value == one { f64::NAN } else { unpacked(value) }),
        _ => map_each(bytes, |value: N| if marks.contains(&value) { f64::NAN } else { unpacked(value) }),
    }
}

fn retime<N: Number>(bytes: &[u8], ratio: Ratio, missing: Option<&(Vec<Scalar>, i64)>) -> Converted {
    let mut failed = None;
    let marks = Missing(missing.map_or(&[], |(marks, _)| marks.as_slice()));
    let retimed = map_each(bytes, |value: N| {
        let value = value.scalar();
        let count = match missing {
            Some((_, fill)) if marks.holds(value) || value.as_f64().is_nan() => return *fill,
            _ => ratio.exactly(value),
        };
        let in_use = count.is_some() && count == missing.map(|(_, fill)| *fill);
        let problem = |text| if in_use { ConversionError::MarkInUse(text) } else { ConversionError::NotExact(text) };
        count.filter(|_| !in_use).unwrap_or_else(|| {
            failed.get_or_insert_with(|| problem(value.plain()));
            0
        })
    });
    failed.map_or(Ok(retimed), Err)
}

fn retime_as<N: Number>(bytes: &[u8], ratio: Ratio, missing: Option<&(Vec<Scalar>, i64)>, stored: CountedAs) -> Converted {
    let marks = Missing(missing.map_or(&[], |(marks, _)| marks.as_slice()));
    let mut retimed = Vec::with_capacity(bytes.len() / N::SIZE * stored.dtype.size());
    for element in bytes.chunks_exact(N::SIZE) {
        let value = N::read(element).scalar();
        let becomes = match missing {
            Some((_, fill)) if marks.holds(value) || value.as_f64().is_nan() => {
                Scalar::nan(stored.dtype).or_else(|| Scalar::Int64(*fill).cast(stored.dtype))
            }
            _ => {
                let counted = ratio.exactly(value).and_then(|count| stored.of(count));
                counted.filter(|counted| missing.is_none_or(|(_, fill)| counted.dtype().is_float() || counted.as_i64() != Some(*fill)))
            }
        };
        retimed.extend(becomes.ok_or_else(|| ConversionError::NotExact(value.plain()))?.to_bytes());
    }
    Ok(retimed)
}

impl CountedAs {
    /// What a count is stored as, if that stands for no other count.
    fn of(self, count: i64) -> Option<Scalar> {
        let unit = self.unit.max(1);
        let exact = match self.dtype {
            DataType::Float32 | DataType::Float64 => {
                let (whole, rest) = (count.div_euclid(unit), count.rem_euclid(unit));
                // One correctly rounded division where both fit; the check below is what counts.
                let value = if count.unsigned_abs() < 1 << 53 && unit < 1 << 53 {
                    count as f64 / unit as f64
                } else {
                    whole as f64 + rest as f64 / unit as f64
                };
                if self.dtype == DataType::Float64 { Scalar::Float64(value) } else { Scalar::Float32(value as f32) }
            }
            _ if count % unit == 0 => Scalar::Int64(count / unit).cast(self.dtype)?,
            _ => return None,
        };
        let back = Ratio { multiply: unit, divide: 1, add: 0 };
        (back.exactly(exact) == Some(count)).then_some(exact)
    }
}

fn rescale<N: Number + Cast<f64>>(bytes: &[u8], unpack: (f64, f64), units: Linear, marks: &[N]) -> Vec<u8> {
    let packed = unpack != (1.0, 0.0);
    map_each(bytes, |value: N| {
        let real = if packed { value.cast() * unpack.0 + unpack.1 } else { value.cast() };
        if marks.contains(&value) { f64::NAN } else { units.apply(real) }
    })
}

fn refill<N: Number>(mut bytes: Vec<u8>, from: &[N], to: Scalar) -> Converted {
    let to = N::of(to).ok_or(ConversionError::Unsuitable(to.dtype()))?;
    let mut in_use = false;
    if !from.contains(&to) {
        for block in bytes.chunks(BLOCK * N::SIZE) {
            // No early exit inside a block, so that the comparison is vectorised.
            in_use |= block.chunks_exact(N::SIZE).fold(false, |found, element| found | (N::read(element) == to));
        }
    }
    if in_use {
        return Err(ConversionError::MarkInUse(to.scalar().plain()));
    }
    replace(&mut bytes, from, to);
    Ok(bytes)
}

fn widen_to<N>(bytes: &[u8], to: DataType, marks: &[N], fill: Option<Scalar>) -> Converted
where
    N: Number + Cast<i8> + Cast<i16> + Cast<i32> + Cast<i64> + Cast<u8> + Cast<u16> + Cast<u32> + Cast<u64> + Cast<f32> + Cast<f64>,
{
    let fill = fill.or_else(|| Scalar::nan(to));
    with_type!(to, Wide => widen::<N, Wide>(bytes, marks, fill))
}

fn widen<N: Number + Cast<W>, W: Number>(bytes: &[u8], marks: &[N], fill: Option<Scalar>) -> Converted {
    let Some(fill) = fill.and_then(W::of) else {
        let unsuitable = || Err(ConversionError::Unsuitable(fill.map_or(DataType::String, Scalar::dtype)));
        return if marks.is_empty() && fill.is_none() { Ok(map_each(bytes, |value: N| value.cast())) } else { unsuitable() };
    };
    let mut in_use = false;
    let widened = map_each(bytes, |value: N| {
        let (missing, wide) = (marks.contains(&value), value.cast());
        in_use |= !missing && wide == fill;
        if missing { fill } else { wide }
    });
    if in_use { Err(ConversionError::MarkInUse(fill.scalar().plain())) } else { Ok(widened) }
}

/// The recipe's own packing.
#[derive(Debug, Clone, Copy)]
struct Packed {
    unpack: (f64, f64),
    units: Option<Linear>,
    pack: (f64, f64),
    fill: Scalar,
}

impl Packed {
    /// The error for a packed value that is the mark, or that the type cannot hold.
    fn refused(&self, value: f64, in_use: bool) -> ConversionError {
        let value = value * self.pack.0 + self.pack.1;
        if in_use { ConversionError::MarkInUse(value.to_string()) } else { ConversionError::OutOfRange { value, dtype: self.fill.dtype() } }
    }
}

fn repack_to<N: Number + Cast<f64>>(bytes: &[u8], marks: &[N], packed: Packed) -> Converted {
    let real = |raw: N| {
        let real = raw.cast() * packed.unpack.0 + packed.unpack.1;
        packed.units.map_or(real, |units| units.apply(real))
    };
    let value = |raw: N| if marks.contains(&raw) { f64::NAN } else { (real(raw) - packed.pack.1) / packed.pack.0 };
    match packed.fill {
        Scalar::Float32(fill) => to_floats::<N, f32>(bytes, value, packed, fill),
        Scalar::Float64(fill) => to_floats::<N, f64>(bytes, value, packed, fill),
        fill => with_type!(fill.dtype(), Stored => round_to::<N, Stored>(bytes, value, packed)),
    }
}

/// The nearest floats; a finite value that only an infinity is near is out of range.
fn to_floats<N: Number, S: Number + Cast<f64>>(bytes: &[u8], value: impl Fn(N) -> f64, packed: Packed, fill: S) -> Converted
where
    f64: Cast<S>,
{
    let mut failed = None;
    let stored = map_each(bytes, |raw: N| {
        let value = value(raw);
        if value.is_nan() {
            return fill;
        }
        let stored: S = value.cast();
        if stored == fill || (value.is_finite() && !stored.cast().is_finite()) {
            failed.get_or_insert((value, stored == fill));
        }
        stored
    });
    failed.map_or(Ok(stored), |(value, in_use)| Err(packed.refused(value, in_use)))
}

fn round_to<N: Number, S: Number + Cast<f64>>(bytes: &[u8], value: impl Fn(N) -> f64, packed: Packed) -> Converted
where
    f64: Cast<S>,
{
    let fill = S::of(packed.fill).ok_or(ConversionError::Unsuitable(packed.fill.dtype()))?;
    let mut failed = None;
    let stored = map_each(bytes, |raw: N| {
        let value = value(raw);
        if value.is_nan() {
            return fill;
        }
        let rounded = value.round_ties_even();
        let stored: S = rounded.cast();
        if stored.cast() != rounded || stored == fill {
            failed.get_or_insert((value, stored == fill && stored.cast() == rounded));
        }
        stored
    });
    failed.map_or(Ok(stored), |(value, in_use)| Err(packed.refused(value, in_use)))
}

#[cfg(test)]
mod tests;
