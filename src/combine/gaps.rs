//! Coordinate values where a file is missing.
//!
//! Invariant: a value is only made up where the known ones leave no choice, because they grow by one constant, exact step.

use crate::array::{Array, DataType, Scalar};

/// Fills the unknown values of a one-dimensional coordinate; `None` if the known ones are not evenly spaced (or are texts, or too few).
pub(super) fn fill_evenly(array: &Array, known: &[bool]) -> Option<Array> {
    let values: Vec<Scalar> = array.scalars().collect();
    let places: Vec<usize> = (0..values.len()).filter(|&place| known.get(place) == Some(&true)).collect();
    let filled: Vec<Scalar> = if array.dtype.is_float() {
        let points: Vec<(usize, f64)> = places.iter().filter_map(|&place| Some((place, values.get(place)?.as_f64()))).collect();
        let line = even_floats(&points, values.len())?;
        line.into_iter()
            .map(|value| if array.dtype == DataType::Float32 { Scalar::Float32(value as f32) } else { Scalar::Float64(value) })
            .collect()
    } else {
        let points: Vec<(usize, i64)> = places.iter().filter_map(|&place| Some((place, values.get(place)?.as_i64()?))).collect();
        even_integers(&points, values.len())?.into_iter().map(|value| Scalar::Int64(value).cast(array.dtype)).collect::<Option<_>>()?
    };
    let agrees = places.iter().all(|&place| filled.get(place) == values.get(place));
    if agrees { Array::from_scalars(array.dtype, array.shape.clone(), &filled) } else { None }
}

fn even_integers(points: &[(usize, i64)], length: usize) -> Option<Vec<i64>> {
    let (&(first, start), &(last, end)) = (points.first()?, points.last()?);
    let (distance, count) = (end.checked_sub(start)?, i64::try_from(last - first).ok().filter(|count| *count > 0)?);
    if distance % count != 0 {
        return None;
    }
    (0..length as i64).map(|place| start.checked_add((distance / count).checked_mul(place - first as i64)?)).collect()
}

fn even_floats(points: &[(usize, f64)], length: usize) -> Option<Vec<f64>> {
    let (&(first, start), &(last, end)) = (points.first()?, points.last()?);
    let count = if last > first { (last - first) as f64 } else { return None };
    Some((0..length).map(|place| start + (end - start) * ((place as f64 - first as f64) / count)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_even_steps_are_certain() {
        let whole = |values: &[i32]| {
            Array::from_scalars(
                DataType::Int32,
                vec![values.len() as u64],
                &values.iter().map(|value| Scalar::Int32(*value)).collect::<Vec<_>>(),
            )
            .unwrap()
        };
        assert_eq!(fill_evenly(&whole(&[0, 10, 0, 30, 0]), &[false, true, false, true, false]), Some(whole(&[0, 10, 20, 30, 40])));
        assert_eq!(fill_evenly(&whole(&[0, 10, 0, 31]), &[true, true, false, true]), None);
        assert_eq!(fill_evenly(&whole(&[0, 5]), &[false, true]), None);
        let half = Array::from_scalars(DataType::Float64, vec![3], &[0.5, 0.0, 1.5].map(Scalar::Float64)).unwrap();
        assert_eq!(fill_evenly(&half, &[true, false, true]).and_then(|array| array.scalar(1)), Some(Scalar::Float64(1.0)));
    }
}
