//! Applying a [`Conversion`] to values: the hot loops.
//!
//! Which conversion a variable needs is decided elsewhere ([`crate::combine`]). Invariant: whatever cannot be converted as promised
//! (a time that is not exact, a valid value that would read as missing, a packed value out of range) is an error, never a changed value.

use super::Conversion;
use super::time::Ratio;
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
            Self::Unpack { .. } => DataType::Float64,
            Self::Retime { .. } => DataType::Int64,
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
            Self::Retime { multiply, divide, add, missing } => {
                let ratio = Ratio { multiply: *multiply, divide: (*divide).max(1), add: *add };
                with_type!(dtype, Raw => retime::<Raw>(&bytes, ratio, missing.as_ref()))
            }
            Self::Refill { from, to } => with_type!(dtype, Raw => refill::<Raw>(bytes, &Missing(from).native(), *to)),
            Self::Widen { to, missing, fill } => with_type!(dtype, Raw => widen_to(&bytes, *to, &Missing(missing).native::<Raw>(), *fill)),
            Self::Repack { unpack, missing, pack, fill, unsigned } => {
                let (dtype, missing) = reinterpreted(dtype, missing, *unsigned);
                let packed = Packed { unpack: *unpack, pack: *pack, fill: *fill };
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
    let value = |raw: N| {
        if marks.contains(&raw) { f64::NAN } else { (raw.cast() * packed.unpack.0 + packed.unpack.1 - packed.pack.1) / packed.pack.0 }
    };
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
mod tests {
    use super::*;

    fn bytes<N: Number>(values: &[N]) -> Vec<u8> {
        values.iter().flat_map(|value| value.scalar().to_bytes()).collect()
    }

    #[test]
    fn missing_floats_become_nan_and_nothing_else_changes() {
        let convert = Conversion::MissingToNan { missing: vec![Scalar::Float32(1e20), Scalar::Float32(-9.0)] };
        let raw = bytes(&[1e20_f32, -0.0, -9.0, f32::INFINITY]);
        assert_eq!(convert.apply_bytes(DataType::Float32, raw), Ok(bytes(&[f32::NAN, -0.0, f32::NAN, f32::INFINITY])));
    }

    #[test]
    fn unpacks_signed_and_unsigned() {
        let convert = |unsigned| Conversion::Unpack { scale: 0.5, offset: 10.0, missing: vec![Scalar::Int8(-1)], unsigned };
        assert_eq!(convert(false).apply_bytes(DataType::Int8, bytes(&[-2_i8, -1, 4])), Ok(bytes(&[9.0_f64, f64::NAN, 12.0])));
        assert_eq!(convert(true).apply_bytes(DataType::Int8, bytes(&[-2_i8, -1, 4])), Ok(bytes(&[137.0_f64, f64::NAN, 12.0])));
    }

    #[test]
    fn marks_of_missing_values_never_swallow_valid_ones() {
        let refill = Conversion::Refill { from: vec![Scalar::Int16(-1)], to: Scalar::Int16(-9) };
        assert_eq!(refill.apply_bytes(DataType::Int16, bytes(&[-1_i16, 3])), Ok(bytes(&[-9_i16, 3])));
        assert_eq!(refill.apply_bytes(DataType::Int16, bytes(&[-1_i16, -9])), Err(ConversionError::MarkInUse("-9".into())));
        let widen = Conversion::Widen { to: DataType::Int32, missing: vec![Scalar::Int16(-1)], fill: Some(Scalar::Int32(-9)) };
        assert_eq!(widen.apply_bytes(DataType::Int16, bytes(&[-1_i16, 3])), Ok(bytes(&[-9_i32, 3])));
        assert_eq!(widen.apply_bytes(DataType::Int16, bytes(&[-9_i16])), Err(ConversionError::MarkInUse("-9".into())));
    }

    #[test]
    fn widens_integers_to_floats_with_nan_for_missing() {
        let widen = Conversion::Widen { to: DataType::Float32, missing: vec![Scalar::Int16(-1)], fill: None };
        assert_eq!(widen.apply_bytes(DataType::Int16, bytes(&[-1_i16, 3])), Ok(bytes(&[f32::NAN, 3.0])));
    }

    #[test]
    fn repacks_with_half_even_rounding_and_refuses_overflow() {
        let repack = Conversion::Repack {
            unpack: (1.0, 0.0),
            missing: vec![Scalar::Float32(1e20)],
            pack: (0.5, 100.0),
            fill: Scalar::Int8(-128),
            unsigned: false,
        };
        let apply = |values: &[f32]| repack.apply_bytes(DataType::Float32, bytes(values));
        assert_eq!(apply(&[101.0, 100.25, 100.75, 1e20, f32::NAN]), Ok(bytes(&[2_i8, 0, 2, -128, -128])));
        assert_eq!(apply(&[300.0]), Err(ConversionError::OutOfRange { value: 300.0, dtype: DataType::Int8 }));
        assert_eq!(apply(&[36.0]), Err(ConversionError::MarkInUse("36".into())));
    }

    #[test]
    fn repacking_to_floats_makes_no_infinity_and_no_missing_value() {
        let to = |fill| Conversion::Repack { unpack: (1.0, 0.0), missing: vec![], pack: (1.0, 0.0), fill, unsigned: false };
        let single = |values: &[f64]| to(Scalar::Float32(f32::NAN)).apply_bytes(DataType::Float64, bytes(values));
        assert_eq!(single(&[1e300]), Err(ConversionError::OutOfRange { value: 1e300, dtype: DataType::Float32 }));
        assert_eq!(single(&[-3.5e38]), Err(ConversionError::OutOfRange { value: -3.5e38, dtype: DataType::Float32 }));
        assert_eq!(single(&[f64::INFINITY, 0.1, 1e-300]), Ok(bytes(&[f32::INFINITY, 0.1, 0.0])));
        let marked = to(Scalar::Float32(-9.0));
        assert_eq!(marked.apply_bytes(DataType::Float64, bytes(&[f64::NAN, 2.0])), Ok(bytes(&[-9.0_f32, 2.0])));
        assert_eq!(marked.apply_bytes(DataType::Float64, bytes(&[-9.0])), Err(ConversionError::MarkInUse("-9".into())));
    }

    #[test]
    fn a_time_that_is_the_mark_is_told_as_such() {
        let days = Conversion::Retime { multiply: 24, divide: 1, add: 0, missing: Some((vec![], 48)) };
        assert_eq!(days.apply_bytes(DataType::Float64, bytes(&[2.0])), Err(ConversionError::MarkInUse("2".into())));
        assert_eq!(days.apply_bytes(DataType::Float64, bytes(&[0.51])), Err(ConversionError::NotExact("0.51".into())));
    }

    #[test]
    fn retimes_exactly_or_not_at_all() {
        let days_to_hours = Conversion::Retime { multiply: 24, divide: 1, add: 5, missing: Some((vec![Scalar::Float64(1e20)], -1)) };
        assert_eq!(days_to_hours.apply_bytes(DataType::Float64, bytes(&[0.5, 1e20, f64::NAN])), Ok(bytes(&[17_i64, -1, -1])));
        assert_eq!(days_to_hours.apply_bytes(DataType::Float64, bytes(&[0.51])), Err(ConversionError::NotExact("0.51".into())));
        assert_eq!(days_to_hours.apply_bytes(DataType::Int32, bytes(&[2_i32])), Ok(bytes(&[53_i64])));
    }

    #[test]
    fn what_keeps_values_changes_no_bit() {
        let marked = Conversion::MissingToNan { missing: vec![Scalar::Float32(1e20), Scalar::Float32(0.0)] };
        let cases: [&[f32]; 5] = [&[1.0, f32::NAN, 2.0], &[], &[1.0, 1e20], &[-0.0, 3.0], &[f32::from_bits(0x7fc0_0001), 9.0]];
        let kept = cases.map(|values| {
            let raw = bytes(values);
            let keeps = marked.keeps(DataType::Float32, &raw);
            assert!(Conversion::Keep.keeps(DataType::Float32, &raw));
            assert_eq!(keeps, marked.apply_bytes(DataType::Float32, raw.clone()) == Ok(raw));
            keeps
        });
        assert_eq!(kept, [true, true, false, false, true]);
        let mut long = vec![1_f32; 2 * BLOCK + 3];
        long[2 * BLOCK + 2] = 1e20;
        assert!(!marked.keeps(DataType::Float32, &bytes(&long)) && marked.keeps(DataType::Float32, &bytes(&long[..2 * BLOCK])));
        let refill = Conversion::Refill { from: vec![], to: Scalar::Int8(1) };
        assert!(!refill.keeps(DataType::Int8, &[0]), "looked at no further");
    }

    #[test]
    fn texts_pass_only_unchanged() {
        let text = Array::from_texts(vec![1], vec!["a".into()]).unwrap();
        assert_eq!(Conversion::Keep.apply(text.clone()), Ok(text.clone()));
        let widen = Conversion::Widen { to: DataType::Int64, missing: vec![], fill: None };
        assert!(widen.apply(text).is_err());
        assert!(matches!(widen.apply_bytes(DataType::Int16, vec![0; 3]), Err(ConversionError::Length { .. })));
    }
}
