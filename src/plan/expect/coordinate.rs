//! Rules about coordinates: a constant step in time, one direction, first and last value.
//!
//! Calendars are [`crate::cf`]'s. Invariant: times are compared as instants of their own calendar; only the rounding of floats is forgiven (a millisecond, or one step of their type).

use super::Broken;
use crate::array::{Array, Scalar};
use crate::cf::calendar::Calendar;
use crate::cf::statistics::Counting;
use crate::cf::time::{DAY, TimeUnits, is_reference};
use crate::dataset::Variable;
use crate::pattern::{Period, PeriodUnit};

const SECOND: i64 = 1_000_000;
/// Microseconds that times stored as floats may be off: whoever wrote them had computed them, step by step.
const JITTER: i64 = 1000;

/// A time coordinate and what its numbers mean.
struct Clock<'a> {
    array: &'a Array,
    units: TimeUnits,
    counting: Counting,
}

impl<'a> Clock<'a> {
    fn of(variable: &Variable, array: &'a Array) -> Result<Self, Broken> {
        let name = &variable.name;
        let refuse = |why: String| {
            Broken::new(
                format!("`{name}` cannot be read as time: {why}"),
                "correct `units` and `calendar` with the step `attrs`, or remove the rule",
            )
        };
        let units = variable.attributes.text("units").ok_or_else(|| refuse("it has no units".to_owned()))?;
        let calendar = variable.attributes.text("calendar");
        let known = Calendar::named(calendar).ok_or_else(|| refuse(format!("CF knows no calendar `{}`", calendar.unwrap_or_default())))?;
        let units = TimeUnits::parse(units, known).map_err(|error| refuse(error.to_string()))?;
        let counting = Counting::of(variable).ok_or_else(|| refuse("it holds texts".to_owned()))?;
        Ok(Self { array, units, counting })
    }

    fn value(&self, position: usize) -> Option<Scalar> {
        let raw = self.array.scalar(position).filter(|raw| !self.counting.is_missing(*raw))?;
        let meant = self.counting.unpacked(raw.as_f64());
        Some(if meant == raw.as_f64() { raw } else { Scalar::Float64(meant) })
    }

    /// Microseconds since day 0; whole seconds where rounding alone keeps the value from them.
    fn instant(&self, position: usize) -> Option<Instant> {
        let value = self.value(position)?;
        let exact = self.units.microseconds(value)?;
        let rounding = if value.dtype().is_float() { self.units.rounding(value).max(JITTER) } else { 0 };
        let second = exact.checked_add(SECOND / 2)?.div_euclid(SECOND).checked_mul(SECOND)?;
        Some(Instant { micros: if (second - exact).abs() <= rounding { second } else { exact }, rounding })
    }

    /// As people write it, without a time of day at midnight.
    fn text(&self, position: usize) -> String {
        self.instant(position).map_or_else(|| "a missing value".to_owned(), |instant| self.written(instant.micros))
    }

    fn written(&self, micros: i64) -> String {
        let text = self.units.calendar_text(micros);
        text.strip_suffix("T00:00:00").map_or(text.clone(), str::to_owned)
    }
}

#[derive(Debug, Clone, Copy)]
struct Instant {
    micros: i64,
    rounding: i64,
}

/// Judges `regular`: every time is the first plus a whole number of steps, one after the other.
///
/// Months and years are steps of the calendar: each time lies in the month that is due, at the first one's day and time of day
/// (the last day of a shorter month; of every month, if the first is a last day), or, as means of months do, about the middle:
/// at the same share of the month, give or take a day.
pub(super) fn regular(variable: &Variable, array: &Array, period: Period) -> Result<(), Broken> {
    let name = &variable.name;
    if !variable.attributes.text("units").is_some_and(is_reference) {
        let message = format!("`{name}` is no time coordinate, so it has no step of {period}");
        return Err(Broken::new(message, "`regular` is for coordinates with units such as `days since 1970-01-01`"));
    }
    let clock = Clock::of(variable, array)?;
    let length = array.elements() as usize;
    let Some(first) = clock.instant(0) else {
        return if length == 0 {
            Ok(())
        } else {
            Err(Broken::new(format!("`{name}` is not regular: it begins with a missing value"), ADVICE))
        };
    };
    let backwards = clock.instant(1).is_some_and(|second| second.micros < first.micros);
    let steps = Steps { clock: &clock, first, period, direction: if backwards { -1 } else { 1 } };
    match (1..length).find(|&position| !steps.holds(position)) {
        None => Ok(()),
        Some(position) => Err(Broken::new(
            format!(
                "`{name}` is not regular ({period}): {} at position {position} follows {} at position {}; {} was due",
                clock.text(position),
                clock.text(position - 1),
                position - 1,
                steps.due(position)
            ),
            ADVICE,
        )),
    }
}

const ADVICE: &str = "a file may be missing, doubled or misplaced there; check `inputs`, or correct `regular`";

/// The series that is expected.
struct Steps<'a> {
    clock: &'a Clock<'a>,
    first: Instant,
    period: Period,
    direction: i64,
}

impl Steps<'_> {
    fn holds(&self, position: usize) -> bool {
        let Some(found) = self.clock.instant(position) else { return false };
        match self.months(position) {
            Some(month) => self.month_holds(month, found),
            None => self.after(position).is_some_and(|due| (due - found.micros).abs() <= self.tolerance(found)),
        }
    }

    /// Rounding of both ends, but never so much that a missing step could hide in it.
    fn tolerance(&self, found: Instant) -> i64 {
        let step = self.period.seconds().map_or(DAY, |seconds| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(SECOND));
        self.first.rounding.saturating_add(found.rounding).min(step / 4)
    }

    /// The instant that is due, for steps of fixed length.
    fn after(&self, position: usize) -> Option<i64> {
        let step = i64::try_from(self.period.seconds()?).ok()?.checked_mul(SECOND)?.checked_mul(self.direction)?;
        self.first.micros.checked_add(step.checked_mul(i64::try_from(position).ok()?)?)
    }

    /// The month that is due, counted from month 1 of year 0; `None` for steps of fixed length.
    fn months(&self, position: usize) -> Option<i64> {
        let count = i64::from(self.period.count) * i64::try_from(position).ok()?;
        let months = match self.period.unit {
            PeriodUnit::Month => count,
            PeriodUnit::Year => count.checked_mul(12)?,
            _ => return None,
        };
        Some(self.month(self.first).0 + months * self.direction)
    }

    /// Month (counted from month 1 of year 0), microseconds since its begin, and its length in days.
    fn month(&self, instant: Instant) -> (i64, i64, i64) {
        let calendar = self.clock.units.calendar;
        let (year, month, day) = calendar.date(instant.micros.div_euclid(DAY));
        (year * 12 + month - 1, (day - 1) * DAY + instant.micros.rem_euclid(DAY), calendar.month_length(year, month))
    }

    fn month_holds(&self, due: i64, found: Instant) -> bool {
        let (_, start, first_length) = self.month(self.first);
        let (month, within, length) = self.month(found);
        let equal = |one: i64, other: i64| (one - other).abs() <= self.tolerance(found);
        let same_day = equal(within, start.min((length - 1) * DAY + start.rem_euclid(DAY)));
        let (left, first_left) = (length * DAY - within, first_length * DAY - start);
        let last_day = first_left <= DAY && equal(left, first_left);
        let share = start as f64 / (first_length * DAY) as f64;
        let middle = (0.25..0.75).contains(&share) && (within as f64 - share * (length * DAY) as f64).abs() <= DAY as f64;
        month == due && (same_day || last_day || middle)
    }

    /// What is due, as people write it: an instant, or a month.
    fn due(&self, position: usize) -> String {
        let found = self.clock.instant(position).map(|found| self.month(found).0);
        match self.months(position) {
            Some(due) if found == Some(due) => "the same day of the month".to_owned(),
            Some(due) => format!("{:04}-{:02}", due.div_euclid(12), due.rem_euclid(12) + 1),
            None => self.after(position).map_or_else(|| "another step".to_owned(), |due| self.clock.written(due)),
        }
    }
}

/// Judges `monotonic`: each value is greater than the one before, or each is less.
pub(super) fn monotonic(variable: &Variable, array: &Array) -> Result<(), Broken> {
    let name = &variable.name;
    let advice = "files may overlap or be out of order; check `inputs`, or remove the rule";
    let order = |place: usize| match array.texts().get(place..place + 2) {
        Some([one, other]) => Some(one.cmp(other)),
        _ => compare(array.scalar(place)?, array.scalar(place + 1)?),
    };
    let length = usize::try_from(array.elements()).unwrap_or(0);
    let first = if length > 1 { order(0) } else { return Ok(()) };
    let wrong = (0..length - 1).find(|&place| order(place) != first || order(place).is_none_or(std::cmp::Ordering::is_eq));
    let Some(place) = wrong else { return Ok(()) };
    let said = |place: usize| array.texts().get(place).cloned().or_else(|| array.scalar(place).map(Scalar::plain)).unwrap_or_default();
    let message = format!("`{name}` is not monotonic: {} at position {place} is followed by {}", said(place), said(place + 1));
    Err(Broken::new(message, advice))
}

fn compare(one: Scalar, other: Scalar) -> Option<std::cmp::Ordering> {
    match (one, other) {
        (Scalar::UInt64(one), Scalar::UInt64(other)) => Some(one.cmp(&other)),
        _ if one.dtype().is_float() => one.as_f64().partial_cmp(&other.as_f64()),
        _ => Some(one.as_i64()?.cmp(&other.as_i64()?)),
    }
}

/// Judges `first` and `last`.
pub(super) fn first_last(variable: &Variable, array: &Array, first: Option<&str>, last: Option<&str>) -> Result<(), Broken> {
    let name = &variable.name;
    let length = array.elements() as usize;
    let mut wrong = Vec::new();
    for (end, position, expected) in [("begins", 0, first), ("ends", length.saturating_sub(1), last)] {
        let Some(expected) = expected else { continue };
        if length == 0 {
            return Err(Broken::new(format!("`{name}` is empty, so it has no first and last value"), "check `inputs`"));
        }
        wrong.extend(differs(variable, array, position, expected.trim())?.map(|found| format!("{end} with {found}, not {expected}")));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Broken::new(format!("`{name}` {}", wrong.join(" and ")), "check the first and last of `inputs`, or correct the expected value"))
}

/// What a value is, unless it is the expected one.
fn differs(variable: &Variable, array: &Array, position: usize, expected: &str) -> Result<Option<String>, Broken> {
    if let Some(text) = array.texts().get(position) {
        return Ok((text != expected).then(|| format!("`{text}`")));
    }
    if variable.attributes.text("units").is_some_and(is_reference) {
        let clock = Clock::of(variable, array)?;
        let same = clock.instant(position).is_some_and(|instant| is_within(&clock.units.calendar_text(instant.micros), expected));
        return Ok((!same).then(|| clock.text(position)));
    }
    let refuse = || Broken::new(format!("`{}` holds numbers, but `{expected}` is none", variable.name), "write a number");
    let number: f64 = expected.parse().map_err(|_| refuse())?;
    let counting = Counting::of(variable).ok_or_else(refuse)?;
    let value = array.scalar(position).map_or(f64::NAN, |raw| counting.unpacked(raw.as_f64()));
    let same = (value - number).abs() <= counting.rounding(number);
    Ok((!same).then(|| value.to_string()))
}

/// True if an instant (`1981-09-01T12:00:00`) lies in the year, month, day, hour, minute or second that is written.
fn is_within(instant: &str, written: &str) -> bool {
    let written = written.replacen(' ', "T", 1);
    let written = written.strip_suffix('Z').unwrap_or(&written);
    match instant.strip_prefix(written) {
        Some(rest) => !written.is_empty() && !rest.starts_with(|c: char| c.is_ascii_digit()),
        None => false,
    }
}
