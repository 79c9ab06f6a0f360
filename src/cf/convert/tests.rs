//! Conversions against values made by hand.

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
        units: None,
    };
    let apply = |values: &[f32]| repack.apply_bytes(DataType::Float32, bytes(values));
    assert_eq!(apply(&[101.0, 100.25, 100.75, 1e20, f32::NAN]), Ok(bytes(&[2_i8, 0, 2, -128, -128])));
    assert_eq!(apply(&[300.0]), Err(ConversionError::OutOfRange { value: 300.0, dtype: DataType::Int8 }));
    assert_eq!(apply(&[36.0]), Err(ConversionError::MarkInUse("36".into())));
}

#[test]
fn retimes_exactly_or_not_at_all() {
    let days_to_hours =
        Conversion::Retime { multiply: 24, divide: 1, add: 5, missing: Some((vec![Scalar::Float64(1e20)], -1)), stored: None };
    assert_eq!(days_to_hours.apply_bytes(DataType::Float64, bytes(&[0.5, 1e20, f64::NAN])), Ok(bytes(&[17_i64, -1, -1])));
    assert_eq!(days_to_hours.apply_bytes(DataType::Float64, bytes(&[0.51])), Err(ConversionError::NotExact("0.51".into())));
    assert_eq!(days_to_hours.apply_bytes(DataType::Int32, bytes(&[2_i32])), Ok(bytes(&[53_i64])));
}

#[test]
fn retimes_into_floats_that_stand_for_the_same_instant() {
    // Hours since one epoch into days since another, ten days before, by way of microseconds.
    let to = |dtype| Conversion::Retime {
        multiply: 3_600_000_000,
        divide: 1,
        add: 10 * 86_400_000_000,
        missing: Some((vec![Scalar::Float64(1e20)], 0)),
        stored: Some(CountedAs { dtype, unit: 86_400_000_000 }),
    };
    let double = to(DataType::Float64).apply_bytes(DataType::Float64, bytes(&[0.0, 1.0, 6.0, 1e20])).unwrap();
    assert_eq!(double[..24], bytes(&[10.0, 241.0 / 24.0, 10.25])[..]);
    assert!(f64::from_ne_bytes(double[24..].try_into().unwrap()).is_nan());
    assert_eq!(to(DataType::Float32).apply_bytes(DataType::Int32, bytes(&[24_i32])), Ok(bytes(&[11_f32])));
    assert!(matches!(to(DataType::Float32).apply_bytes(DataType::Float64, bytes(&[1e-7])), Err(ConversionError::NotExact(_))));
    assert!(to(DataType::Int16).apply_bytes(DataType::Int32, bytes(&[5_i32])).is_err(), "five hours are no whole day");
    assert_eq!(to(DataType::Int16).apply_bytes(DataType::Int32, bytes(&[48_i32])), Ok(bytes(&[12_i16])));
}

#[test]
fn rescales_what_was_unpacked() {
    let rescale = |unpack| Conversion::Rescale {
        unpack,
        units: Linear::between("degC", "K", false).unwrap(),
        missing: vec![Scalar::Int16(-9)],
        unsigned: false,
    };
    assert_eq!(rescale((1.0, 0.0)).apply_bytes(DataType::Int16, bytes(&[20_i16])), Ok(bytes(&[20.0 + 273.15])));
    assert_eq!(rescale((0.1, 5.0)).apply_bytes(DataType::Int16, bytes(&[20_i16])), Ok(bytes(&[20.0 * 0.1 + 5.0 + 273.15])));
    let missing = rescale((0.1, 5.0)).apply_bytes(DataType::Int16, bytes(&[-9_i16])).unwrap();
    assert!(f64::from_ne_bytes(missing.try_into().unwrap()).is_nan());
    assert_eq!(rescale((1.0, 0.0)).output(DataType::Int16), DataType::Float64);
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

#[test]
fn repacking_to_floats_makes_no_infinity_and_no_missing_value() {
    let to = |fill| Conversion::Repack { unpack: (1.0, 0.0), missing: vec![], pack: (1.0, 0.0), fill, unsigned: false, units: None };
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
    let days = Conversion::Retime { multiply: 24, divide: 1, add: 0, missing: Some((vec![], 48)), stored: None };
    assert_eq!(days.apply_bytes(DataType::Float64, bytes(&[2.0])), Err(ConversionError::MarkInUse("2".into())));
    assert_eq!(days.apply_bytes(DataType::Float64, bytes(&[0.51])), Err(ConversionError::NotExact("0.51".into())));
}
