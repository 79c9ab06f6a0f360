//! Gaps: coordinate values where a file is missing, and steps of time that no file holds.
//!
//! Invariant: a value is only made up where the known ones leave no choice, because they grow by one constant, exact step.

use serde::{Deserialize, Serialize};

use crate::array::{Array, DataType, Scalar};
use crate::cf::time::TimeUnits;

/// Gaps that are listed one by one.
const LISTED: usize = 100;

/// Steps that are absent between two neighbours of a time coordinate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Gap {
    /// The coordinate.
    pub coordinate: String,
    /// The last instant before, as people write it.
    pub after: String,
    /// The first instant behind it.
    pub before: String,
    /// Steps of the usual length that would fit between.
    pub steps: u64,
}

/// The gaps of a time coordinate whose steps are mostly of one length: those between neighbours at least half a step farther apart
/// than usual. At most [`LISTED`], and how many there are. Months, whose lengths differ by a tenth, have none.
pub(super) fn gaps(name: &str, array: &Array, units: &TimeUnits) -> (Vec<Gap>, usize) {
    let instants: Option<Vec<i64>> = array.scalars().map(|value| units.microseconds(value)).collect();
    let Some(instants) = instants.filter(|instants| instants.len() > 2) else { return (Vec::new(), 0) };
    let steps: Vec<u64> =
        instants.windows(2).map(|pair| pair.iter().copied().reduce(i64::wrapping_sub).map_or(0, i64::unsigned_abs)).collect();
    let mut sorted = steps.clone();
    let (_, &mut usual, _) = sorted.select_nth_unstable(steps.len() / 2);
    let is_gap = |step: u64| step > usual.saturating_add(usual / 2);
    let count = steps.iter().filter(|step| is_gap(**step)).count();
    if usual == 0 || 3 * count > steps.len() {
        return (Vec::new(), 0);
    }
    let gap = |(place, step): (usize, &u64)| {
        let text = |place: usize| instants.get(place).map_or(String::new(), |&instant| units.calendar_text(instant));
        let missing = step.saturating_add(usual / 2) / usual;
        Gap { coordinate: name.to_owned(), after: text(place), before: text(place + 1), steps: missing.saturating_sub(1) }
    };
    (steps.iter().enumerate().filter(|(_, step)| is_gap(**step)).take(LISTED).map(gap).collect(), count)
}

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
    fn gaps_are_steps_longer_than_usual() {
        let units = TimeUnits::parse("days since 2000-01-01", crate::cf::calendar::Calendar::Standard).unwrap();
        let days = |days: &[i64]| {
            Array::from_scalars(DataType::Int64, vec![days.len() as u64], &days.iter().map(|day| Scalar::Int64(*day)).collect::<Vec<_>>())
                .unwrap()
        };
        let (found, count) = gaps("time", &days(&[0, 1, 2, 5, 6, 7, 8]), &units);
        let gap = Gap { coordinate: "time".into(), after: "2000-01-03T00:00:00".into(), before: "2000-01-06T00:00:00".into(), steps: 2 };
        assert_eq!((found, count), (vec![gap], 1));
        assert_eq!(gaps("time", &days(&[0, 31, 60, 91, 121, 152, 182]), &units).1, 0, "months");
        assert_eq!(gaps("time", &days(&[0, 1, 5, 6, 20, 21]), &units).1, 0, "no usual step");
        assert_eq!(gaps("time", &days(&[9, 8, 7, 3, 2, 1]), &units).1, 1, "backwards");
        assert_eq!(gaps("time", &days(&[0, 1]), &units).1, 0);
    }

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
