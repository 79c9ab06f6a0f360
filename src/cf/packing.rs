//! Packing and missing values as attributes declare them (CF §8.1, §2.5.1; `NetCDF` User's Guide for `_Unsigned`).
//!
//! Reads attributes, touches no values. Invariant: marks are returned only in the type of the stored values; one that the type
//! cannot hold is reported, not bent.

use crate::array::{DataType, Scalar};
use crate::dataset::{Attribute, Variable};

/// How raw values become real ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Packing {
    /// `scale_factor`; 1 when absent.
    pub scale: f64,
    /// `add_offset`; 0 when absent.
    pub offset: f64,
}

/// Marks of missing values.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Marks {
    /// `_FillValue`, if the type can hold it.
    pub fill: Option<Scalar>,
    /// What of `missing_value` the type can hold, in the order of the attribute.
    pub missing: Vec<Scalar>,
    /// `_FillValue` and all of `missing_value`, each once.
    pub all: Vec<Scalar>,
    /// Declared marks that the type cannot hold: attribute and value.
    pub unfit: Vec<(&'static str, Scalar)>,
}

/// Attributes that say how raw values are to be read, and mean nothing once they have been.
pub const PACKING_ATTRIBUTES: [&str; 5] = ["scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned"];

/// `scale_factor` and `add_offset`, if the variable has either.
#[must_use]
pub fn packing(variable: &Variable) -> Option<Packing> {
    let number = |name| variable.attributes.number(name).map(Scalar::as_f64);
    let (scale, offset) = (number("scale_factor"), number("add_offset"));
    if variable.dtype.is_text() || (scale.is_none() && offset.is_none()) {
        return None;
    }
    Some(Packing { scale: scale.unwrap_or(1.0), offset: offset.unwrap_or(0.0) })
}

/// True if signed integers are to be read as unsigned ones of the same size (`_Unsigned = "true"`).
#[must_use]
pub fn is_unsigned(variable: &Variable) -> bool {
    let signed = unsigned(variable.dtype) != variable.dtype;
    signed && variable.attributes.text("_Unsigned").is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// The unsigned type of the same size; other types stay.
#[must_use]
pub fn unsigned(dtype: DataType) -> DataType {
    match dtype {
        DataType::Int8 => DataType::UInt8,
        DataType::Int16 => DataType::UInt16,
        DataType::Int32 => DataType::UInt32,
        DataType::Int64 => DataType::UInt64,
        other => other,
    }
}

/// Marks of missing values in the variable's own type; none for texts.
///
/// Floats take a mark's nearest value (`1.e20` in a double attribute marks single-precision data); integers only an equal one.
#[must_use]
pub fn marks(variable: &Variable) -> Marks {
    let mut marks = Marks::default();
    if variable.dtype.is_text() {
        return marks;
    }
    for name in ["_FillValue", "missing_value"] {
        let Some(Attribute::Numbers(numbers)) = variable.attributes.get(name) else { continue };
        for &number in numbers {
            let Some(mark) = as_stored(number, variable) else {
                marks.unfit.push((name, number));
                continue;
            };
            match name {
                "_FillValue" => marks.fill = Some(mark),
                _ => marks.missing.push(mark),
            }
            if !marks.all.iter().any(|known| known.identical(mark)) {
                marks.all.push(mark);
            }
        }
    }
    marks
}

fn as_stored(number: Scalar, variable: &Variable) -> Option<Scalar> {
    match variable.dtype {
        DataType::Float32 => number.nearest(DataType::Float32),
        dtype => number.cast(dtype).or_else(|| {
            let unsigned = is_unsigned(variable).then(|| number.cast(unsigned(dtype)))??;
            Scalar::from_bytes(dtype, &unsigned.to_bytes())
        }),
    }
}

/// The smallest type that holds every value of both exactly; `None` if there is none.
#[must_use]
pub fn common_type(left: DataType, right: DataType) -> Option<DataType> {
    if left == right {
        return Some(left);
    }
    if left.is_text() || right.is_text() {
        return None;
    }
    let holds = |dtype: &DataType| holds_all(*dtype, left) && holds_all(*dtype, right);
    crate::array::NUMERIC.into_iter().filter(holds).min_by_key(|dtype| (dtype.size(), dtype.is_float()))
}

/// Bits of precision and whether negative numbers fit.
fn range(dtype: DataType) -> (usize, bool) {
    match dtype {
        DataType::Float32 => (24, true),
        DataType::Float64 => (53, true),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => (dtype.size() * 8, false),
        _ => ((dtype.size() * 8).saturating_sub(1), true),
    }
}

/// True if `wide` holds every value of `narrow` exactly.
fn holds_all(wide: DataType, narrow: DataType) -> bool {
    let ((wide_bits, wide_signed), (narrow_bits, narrow_signed)) = (range(wide), range(narrow));
    wide_bits >= narrow_bits && (wide_signed || !narrow_signed) && (wide.is_float() || !narrow.is_float())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(dtype: DataType, attributes: &[(&str, Attribute)]) -> Variable {
        let attributes = crate::dataset::Attributes(attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect());
        Variable {
            name: "v".into(),
            dtype,
            dimensions: vec![],
            attributes,
            coordinate: false,
            encoding: crate::dataset::Encoding::default(),
        }
    }

    fn numbers(values: &[Scalar]) -> Attribute {
        Attribute::Numbers(values.to_vec())
    }

    #[test]
    fn marks_take_the_variables_type() {
        let float = variable(
            DataType::Float32,
            &[("_FillValue", numbers(&[Scalar::Float32(1e20)])), ("missing_value", numbers(&[Scalar::Float64(1e20)]))],
        );
        assert_eq!(marks(&float).all, [Scalar::Float32(1e20)]);
        let byte =
            variable(DataType::Int8, &[("_FillValue", numbers(&[Scalar::Int16(999)])), ("missing_value", numbers(&[Scalar::Int16(-9)]))]);
        assert_eq!((marks(&byte).fill, marks(&byte).all), (None, vec![Scalar::Int8(-9)]));
        assert_eq!(marks(&byte).unfit, [("_FillValue", Scalar::Int16(999))]);
        let unsigned =
            variable(DataType::Int8, &[("_Unsigned", Attribute::Text("true".into())), ("_FillValue", numbers(&[Scalar::UInt8(255)]))]);
        assert_eq!(marks(&unsigned).fill, Some(Scalar::Int8(-1)));
    }

    #[test]
    fn common_types_hold_both() {
        use DataType::*;
        let pairs = [
            (Int16, Int32, Some(Int32)),
            (UInt8, Int8, Some(Int16)),
            (Int16, Float32, Some(Float32)),
            (Int32, Float32, Some(Float64)),
            (UInt32, Int32, Some(Int64)),
            (Int64, Float64, None),
            (UInt64, Int64, None),
            (String, Int8, None),
        ];
        for (left, right, common) in pairs {
            assert_eq!((common_type(left, right), common_type(right, left)), (common, common), "{left} {right}");
        }
    }
}
