//! Ends that move with the day: `today`, `yesterday`, `today - 2 days`, `today-2d`, `today + 1 week`.
//!
//! No clock: whoever reads a recipe says which day it is, once. Invariant: an end stands for one whole day, the same for the
//! same text and the same day.

use jiff::civil::{Date, Time};

use super::moment::{Moment, NotADate};
use super::period::{Period, PeriodUnit};

/// Units in short. Minutes and months would both be `m`, so neither is.
const SHORT: [(&str, &str); 3] = [("d", "day"), ("w", "week"), ("y", "year")];

/// The end of a series that grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MovingEnd {
    /// True if it is counted from yesterday.
    yesterday: bool,
    /// How far from there: count of steps (negative: before) and the step.
    distance: Option<(i64, Period)>,
}

impl MovingEnd {
    /// True if a text is meant to be such an end, right or wrong.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        ["today", "yesterday"].iter().any(|word| text.trim_start().starts_with(word))
    }

    /// The day it stands for; `None` outside of the years 1 to 9999.
    #[must_use]
    pub fn on(self, today: Date) -> Option<Moment> {
        let from = if self.yesterday { today.yesterday().ok()? } else { today };
        let midnight = from.to_datetime(Time::midnight());
        let first = self.distance.map_or(Some(midnight), |(times, period)| period.after(midnight, times))?;
        (first.year() >= 1).then(|| Moment { first, last: first.date().to_datetime(Time::constant(23, 59, 59, 0)) })
    }
}

impl std::str::FromStr for MovingEnd {
    type Err = NotADate;

    fn from_str(text: &str) -> Result<Self, NotADate> {
        let refuse = |reason: &str| NotADate { text: text.to_owned(), reason: reason.to_owned() };
        let trimmed = text.trim();
        let (yesterday, rest) = match (trimmed.strip_prefix("today"), trimmed.strip_prefix("yesterday")) {
            (Some(rest), _) => (false, rest.trim()),
            (_, Some(rest)) => (true, rest.trim()),
            _ => return Err(refuse("expected `today` or `yesterday`")),
        };
        if rest.is_empty() {
            return Ok(Self { yesterday, distance: None });
        }
        let (sign, length) = match (rest.strip_prefix('-'), rest.strip_prefix('+')) {
            (Some(length), _) => (-1, length.trim()),
            (_, Some(length)) => (1, length.trim()),
            _ => return Err(refuse("after the day comes nothing, `-` or `+`")),
        };
        let period =
            written_out(length).parse::<Period>().map_err(|_| refuse("after `-` comes a number of days, weeks, months or years"))?;
        if matches!(period.unit, PeriodUnit::Second | PeriodUnit::Minute | PeriodUnit::Hour) {
            return Err(refuse("it counts whole days, weeks, months or years"));
        }
        Ok(Self { yesterday, distance: Some((sign, period)) })
    }
}

/// `2d` as `2 day`.
fn written_out(length: &str) -> String {
    let digits = length.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(length.len());
    let (number, unit) = length.split_at(digits);
    let long = SHORT.iter().find(|(short, _)| *short == unit.trim()).map_or(unit, |(_, long)| long);
    format!("{number} {long}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(text: &str, today: (i16, i8, i8)) -> String {
        let end: MovingEnd = text.parse().unwrap();
        let moment = end.on(Date::constant(today.0, today.1, today.2)).unwrap();
        assert_eq!(moment.first.date(), moment.last.date());
        moment.last.to_string()
    }

    #[test]
    fn stands_for_one_whole_day() {
        let day = (2026, 3, 31);
        assert_eq!(on("today", day), "2026-03-31T23:59:59");
        assert_eq!(on(" yesterday", day), "2026-03-30T23:59:59");
        for same in ["today-2d", "today - 2 days", "today -2day", "yesterday - 1 day"] {
            assert_eq!(on(same, day), "2026-03-29T23:59:59", "{same}");
        }
        assert_eq!(on("today - 1 month", day), "2026-02-28T23:59:59");
        assert_eq!(on("today+1w", day), "2026-04-07T23:59:59");
        assert_eq!(on("today-1y", (2024, 2, 29)), "2023-02-28T23:59:59");
    }

    #[test]
    fn refuses_what_could_be_meant_otherwise() {
        for bad in ["today-2", "today 2d", "today-1m", "today-36h", "today--1d", "today-", "tomorrow", "today-1 fortnight"] {
            assert!(bad.parse::<MovingEnd>().is_err(), "{bad}");
        }
        assert!(MovingEnd::is_meant("today-nonsense") && !MovingEnd::is_meant("2024-12-31"));
        assert_eq!("today - 1 year".parse::<MovingEnd>().unwrap().on(Date::constant(1, 6, 1)), None);
    }
}
