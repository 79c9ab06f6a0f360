//! Values of a coordinate seen one after the other: their order, their steps, and what they stand for.
//!
//! Takes memory for the different steps only, up to a limit. Invariant: what is told of a series is the same in whatever blocks
//! it was seen.

use std::collections::{BTreeMap, HashSet};

use crate::array::{Array, Scalar};
use crate::cf::calendar::Calendar;
use crate::cf::time::{DAY, TimeUnits};

/// Different steps that are told apart.
const STEPS: usize = 4096;
/// Steps of times are told apart by milliseconds: floats of days are no finer.
const GRAIN: i64 = 1000;
/// Texts whose repetition is noticed.
const TEXTS: usize = 1 << 20;

/// What is seen of a series.
#[derive(Debug, Default)]
pub(super) struct Series {
    pub(super) units: Option<TimeUnits>,
    pub(super) count: u64,
    pub(super) first: Option<Scalar>,
    pub(super) last: Option<Scalar>,
    pub(super) rising: Option<bool>,
    /// Place of the first value that is NaN or infinite.
    pub(super) not_finite: Option<u64>,
    /// Place of the first value that was there before.
    pub(super) repeated: Option<u64>,
    /// Place of the first value that goes against the order so far.
    pub(super) turned: Option<u64>,
    /// How often each step of times occurs, and after which value first.
    steps: BTreeMap<i64, (u64, Scalar)>,
    texts: HashSet<String>,
}

impl Series {
    pub(super) fn new(units: Option<TimeUnits>) -> Self {
        Self { units, ..Self::default() }
    }

    /// Sees the next values.
    pub(super) fn see(&mut self, array: &Array) {
        array.scalars().for_each(|value| self.next(value));
        for text in array.texts() {
            if self.texts.len() < TEXTS && !self.texts.insert(text.clone()) {
                self.repeated.get_or_insert(self.count);
            }
            self.count += 1;
        }
    }

    fn next(&mut self, value: Scalar) {
        if !value.as_f64().is_finite() {
            self.not_finite.get_or_insert(self.count);
        } else if let Some(before) = self.last.replace(value) {
            self.compare(before, value);
        } else {
            self.first = Some(value);
        }
        self.count += 1;
    }

    fn compare(&mut self, before: Scalar, value: Scalar) {
        match order(before, value) {
            None => self.repeated = self.repeated.or(Some(self.count)),
            Some(grows) if *self.rising.get_or_insert(grows) != grows => self.turned = self.turned.or(Some(self.count)),
            Some(_) => {}
        }
        let Some(units) = self.units else { return };
        let (Some(from), Some(to)) = (units.microseconds(before), units.microseconds(value)) else { return };
        let step = to.saturating_sub(from).saturating_abs();
        let step = if step > 1000 * GRAIN { (step.saturating_add(GRAIN / 2)) / GRAIN * GRAIN } else { step };
        if self.steps.len() < STEPS || self.steps.contains_key(&step) {
            self.steps.entry(step).or_insert((0, before)).0 += 1;
        }
    }

    /// The step that most pairs have, in words, and what breaks it: (step, breaks, the first of them in words). Only of times.
    pub(super) fn rhythm(&self) -> Option<Rhythm> {
        let units = self.units?;
        let all: u64 = self.steps.values().map(|(count, _)| count).sum();
        let share = |within: &dyn Fn(i64) -> bool| {
            let count: u64 = self.steps.iter().filter(|(step, _)| within(**step)).map(|(_, (count, _))| count).sum();
            count * 10 >= all * 9
        };
        let (&usual, _) = self.steps.iter().max_by_key(|(_, (count, _))| *count)?;
        let exact = |step: i64| step == usual;
        let months = |step: i64| (28 * DAY..=31 * DAY).contains(&step);
        let years = |step: i64| (365 * DAY..=366 * DAY).contains(&step);
        let (every, within, longest): (String, &dyn Fn(i64) -> bool, i64) = if share(&exact) {
            (duration(usual), &exact, usual)
        } else if share(&months) {
            ("1 month".to_owned(), &months, 31 * DAY)
        } else if share(&years) {
            ("1 year".to_owned(), &years, 366 * DAY)
        } else {
            return Some(Rhythm { every: None, gaps: 0, uneven: all, first: None });
        };
        let breaks = self.steps.iter().filter(|(step, _)| !within(**step));
        let (gaps, uneven): (Vec<_>, Vec<_>) = breaks.partition(|(step, _)| **step > longest);
        let sum = |steps: &[(&i64, &(u64, Scalar))]| -> u64 { steps.iter().map(|(_, (count, _))| count).sum() };
        let earliest = gaps.iter().filter_map(|(step, (_, after))| Some((units.microseconds(*after)?, **step))).min();
        let first = earliest.map(|(after, step)| {
            let end = if self.rising == Some(false) { after.saturating_sub(step) } else { after.saturating_add(step) };
            format!("{} and {}", units.calendar_text(after), units.calendar_text(end))
        });
        Some(Rhythm { every: Some(every), gaps: sum(&gaps), uneven: sum(&uneven), first })
    }

    /// A value as people read it: of times the date.
    pub(super) fn shown(&self, value: Scalar) -> String {
        self.units.map_or_else(|| value.plain(), |units| units.instant(value))
    }
}

/// How times follow one another.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rhythm {
    /// The usual step; `None` if there is none.
    pub(super) every: Option<String>,
    /// Steps that are longer.
    pub(super) gaps: u64,
    /// Steps that are shorter; without a usual one, all.
    pub(super) uneven: u64,
    /// Between which times the first gap is.
    pub(super) first: Option<String>,
}

/// Whether the second is greater; `None` if they are equal.
fn order(left: Scalar, right: Scalar) -> Option<bool> {
    match (left, right) {
        (Scalar::UInt64(left), Scalar::UInt64(right)) => (left != right).then_some(left < right),
        _ if left.dtype().is_float() => (left.as_f64() != right.as_f64()).then(|| left.as_f64() < right.as_f64()),
        _ => (left.as_i64() != right.as_i64()).then(|| left.as_i64() < right.as_i64()),
    }
}

/// `6 hours`, `1 day`.
fn duration(micros: i64) -> String {
    let units = [("day", DAY), ("hour", DAY / 24), ("minute", DAY / 1440), ("second", 1_000_000), ("millisecond", 1000)];
    let (name, length) = units.into_iter().find(|(_, length)| micros % length == 0 && micros > 0).unwrap_or(("microsecond", 1));
    let count = micros / length;
    if count == 1 { format!("1 {name}") } else { format!("{count} {name}s") }
}

/// What a `units` text with `since` says, or why nobody can tell.
pub(super) fn clock(units: &str, calendar: Option<&str>) -> Result<TimeUnits, String> {
    let known = Calendar::named(calendar).ok_or_else(|| format!("`{}` is no calendar of CF", calendar.unwrap_or_default()))?;
    TimeUnits::parse(units, known).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::DataType;

    fn seen(units: &str, values: &[f64]) -> Series {
        let mut series = Series::new(clock(units, None).ok());
        let scalars: Vec<Scalar> = values.iter().map(|&value| Scalar::Float64(value)).collect();
        for part in scalars.chunks(2) {
            series.see(&Array::from_scalars(DataType::Float64, vec![part.len() as u64], part).unwrap());
        }
        series
    }

    #[test]
    fn order_is_told_by_its_first_break() {
        let told = |values: &[f64]| {
            let series = seen("m", values);
            (series.not_finite, series.repeated, series.turned)
        };
        assert_eq!(told(&[1.0, 2.0, 3.0]), (None, None, None));
        assert_eq!(told(&[3.0, 2.0, 1.0]), (None, None, None));
        assert_eq!(told(&[1.0, 2.0, 2.0, 1.0]), (None, Some(2), Some(3)));
        assert_eq!(told(&[1.0, f64::NAN, 2.0]), (Some(1), None, None));
    }

    #[test]
    fn steps_of_time_and_their_gaps() {
        let hours = seen("hours since 2000-01-01", &[0.0, 6.0, 12.0, 18.0, 24.0, 30.0, 36.0, 42.0, 48.0, 54.0, 66.0]).rhythm().unwrap();
        assert_eq!((hours.every.as_deref(), hours.gaps, hours.uneven), (Some("6 hours"), 1, 0));
        assert_eq!(hours.first.as_deref(), Some("2000-01-03T06:00:00 and 2000-01-03T18:00:00"));
        let months = seen("days since 2001-01-01", &[0.0, 31.0, 59.0, 90.0, 120.0, 151.0]).rhythm().unwrap();
        assert_eq!((months.every.as_deref(), months.gaps), (Some("1 month"), 0));
        let none = seen("seconds since 2001-01-01", &[0.0, 5.0, 7.0, 100.0]).rhythm().unwrap();
        assert_eq!((none.every, none.uneven), (None, 3));
        assert_eq!(seen("m", &[0.0, 5.0]).rhythm(), None);
    }

    #[test]
    fn durations_are_as_coarse_as_they_can_be() {
        assert_eq!(
            [duration(DAY), duration(DAY / 4), duration(1500), duration(90_000_000)],
            ["1 day", "6 hours", "1500 microseconds", "90 seconds"]
        );
    }
}
