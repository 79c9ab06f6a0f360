//! Dates as recipes write them: `1981`, `1981-09`, `1981-09-01`, `1981-09-01T06:30`.
//!
//! Proleptic Gregorian, no zone, years 1 to 9999. Not for the calendars of files (that is [`crate::cf`]). Invariant: a date
//! that says less than a second stands for all of it, from `first` to `last`.

use jiff::civil::{Date, DateTime, Time};

use super::period::Period;
use super::{KeyValue, MAX_INPUTS};

/// A date as written: the first and the last second it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// First second.
    pub first: DateTime,
    /// Last second.
    pub last: DateTime,
}

/// Why a text is not a date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a date: {reason}")]
pub struct NotADate {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Why two dates and a step make no series.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// It would hold nothing.
    #[error("`end` is before `start`")]
    Empty,
    /// It would hold too much.
    #[error("there are more than {MAX_INPUTS} values from `start` to `end`")]
    TooLong,
}

impl std::str::FromStr for Moment {
    type Err = NotADate;

    fn from_str(text: &str) -> Result<Self, NotADate> {
        let refuse = |reason: &str| NotADate { text: text.to_owned(), reason: reason.to_owned() };
        let trimmed = text.trim().trim_end_matches('Z');
        let (date, time) = trimmed.split_once(['T', ' ']).map_or((trimmed, None), |(date, time)| (date, Some(time)));
        let numbers = fields(date, '-', &[4, 2, 2]).ok_or_else(|| refuse("expected year, year-month or year-month-day"))?;
        let [first, last] = days(&numbers).map_err(|reason| refuse(&reason))?;
        let Some(time) = time else {
            return Ok(Self { first: first.to_datetime(Time::midnight()), last: last.to_datetime(Time::constant(23, 59, 59, 0)) });
        };
        let clock = fields(time, ':', &[2, 2, 2]).filter(|_| numbers.len() == 3).ok_or_else(|| refuse("expected hh, hh:mm or hh:mm:ss"))?;
        let [early, late] = times(&clock).ok_or_else(|| refuse("there is no such time of day"))?;
        Ok(Self { first: first.to_datetime(early), last: first.to_datetime(late) })
    }
}

/// Numbers of exactly these widths, as many as there are; `None` if anything else is there.
fn fields(text: &str, separator: char, widths: &[usize]) -> Option<Vec<i16>> {
    let parts: Vec<&str> = text.split(separator).collect();
    if parts.len() > widths.len() {
        return None;
    }
    let exact = |(part, width): (&&str, &usize)| part.len() == *width && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.iter().zip(widths).all(exact).then(|| parts.iter().map(|part| part.parse().ok()).collect())?
}

fn days(numbers: &[i16]) -> Result<[Date; 2], String> {
    let year = numbers.first().copied().unwrap_or(0);
    if year == 0 {
        return Err("years go from 0001 to 9999".to_owned());
    }
    let part = |index: usize| numbers.get(index).map(|&number| i8::try_from(number).unwrap_or(0));
    let (month, day) = (part(1), part(2));
    let first = Date::new(year, month.unwrap_or(1), 1).map_err(|_| "months go from 01 to 12".to_owned())?;
    match (month, day) {
        (None, _) => Ok([first, first.last_of_year()]),
        (_, None) => Ok([first, first.last_of_month()]),
        (Some(month), Some(day)) => {
            let date = Date::new(year, month, day).map_err(|_| format!("{year:04}-{month:02} has {} days", first.days_in_month()))?;
            Ok([date, date])
        }
    }
}

fn times(clock: &[i16]) -> Option<[Time; 2]> {
    let part = |index: usize, default: i8| clock.get(index).map_or(Some(default), |&number| i8::try_from(number).ok());
    let early = Time::new(part(0, 0)?, part(1, 0)?, part(2, 0)?, 0).ok()?;
    let late = Time::new(part(0, 0)?, part(1, 59)?, part(2, 59)?, 0).ok()?;
    Some([early, late])
}

/// Every date from `start` in whole steps that is not past the end of `end`: ends are inclusive, and an end of `2024-12`
/// or `2024-12-31` means all of that month or day.
///
/// # Errors
/// [`SeriesError`] if there is none, or more than [`MAX_INPUTS`].
pub fn dates(start: Moment, end: Moment, step: Period) -> Result<Vec<KeyValue>, SeriesError> {
    let mut values = Vec::new();
    let mut times = 0;
    while let Some(date) = step.after(start.first, times).filter(|date| *date <= end.last) {
        if values.len() == MAX_INPUTS {
            return Err(SeriesError::TooLong);
        }
        values.push(KeyValue::Date(date));
        times += 1;
    }
    if values.is_empty() { Err(SeriesError::Empty) } else { Ok(values) }
}

/// Every whole number from `start` to `end`, which is included if a step hits it. A negative step counts down; a step of 0
/// gives the start alone.
///
/// # Errors
/// [`SeriesError`] if there is none, or more than [`MAX_INPUTS`].
pub fn range(start: i64, end: i64, step: i64) -> Result<Vec<KeyValue>, SeriesError> {
    let mut values = Vec::new();
    let mut next = Some(start);
    while let Some(value) = next.filter(|&value| if step < 0 { value >= end } else { value <= end }) {
        if values.len() == MAX_INPUTS {
            return Err(SeriesError::TooLong);
        }
        values.push(KeyValue::Integer(value));
        next = value.checked_add(step).filter(|_| step != 0);
    }
    if values.is_empty() { Err(SeriesError::Empty) } else { Ok(values) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(start: &str, end: &str, step: &str) -> Vec<String> {
        let values = dates(start.parse().unwrap(), end.parse().unwrap(), step.parse().unwrap()).unwrap();
        values.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ends_are_inclusive() {
        assert_eq!(series("1981-09-01", "1981-09-03", "1 day").len(), 3);
        assert_eq!(series("2000-01-01", "2000-01-01", "6 hours").last().unwrap(), "2000-01-01T18:00:00");
        assert_eq!(series("2000-01", "2000-12", "3 months").last().unwrap(), "2000-10-01T00:00:00");
        assert_eq!(series("1999", "2001", "1 year"), ["1999-01-01T00:00:00", "2000-01-01T00:00:00", "2001-01-01T00:00:00"]);
        assert_eq!(series("1996-02-29", "2004", "1 year")[4], "2000-02-29T00:00:00");
        assert_eq!(series("9999-12-30", "9999-12-31", "1 day").len(), 2);
    }

    #[test]
    fn refuses_what_is_no_date() {
        let reason = |text: &str| text.parse::<Moment>().unwrap_err().reason;
        assert_eq!(reason("2001-02-29"), "2001-02 has 28 days");
        assert_eq!(reason("2001-13-01"), "months go from 01 to 12");
        assert_eq!(reason("0000-01-01"), "years go from 0001 to 9999");
        for bad in ["", "81-09-01", "1981-9-1", "1981-09-01T25", "1981-09T12", "1981-09-01-01", "+198-01-01", "١٩٨١"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }

    #[test]
    fn series_that_are_empty_or_endless() {
        let moment = |text: &str| text.parse::<Moment>().unwrap();
        assert_eq!(dates(moment("2001"), moment("2000"), "1 day".parse().unwrap()), Err(SeriesError::Empty));
        assert_eq!(dates(moment("0001"), moment("9999"), "1 second".parse().unwrap()), Err(SeriesError::TooLong));
        assert_eq!(range(3, 1, -1).unwrap().len(), 3);
        assert_eq!(range(i64::MAX - 1, i64::MAX, 5).unwrap().len(), 1);
        assert_eq!(range(1, 0, 1), Err(SeriesError::Empty));
    }
}
