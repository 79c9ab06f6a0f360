//! Steps in time: `1 day`, `6 hours`, `3 months`.
//!
//! Not for lengths of data or time units of files (that is [`crate::cf`]). Invariant: the k-th date of a series is the start
//! plus k whole steps, so that a month step never drifts from the 31st to the 28th for good.

use std::fmt;
use std::str::FromStr;

use jiff::Span;
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

/// A step in time. Months and years are calendar steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// Whole number, at least 1.
    pub count: u32,
    /// Of these.
    pub unit: PeriodUnit,
}

/// Units of a [`Period`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum PeriodUnit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

const UNITS: [(&str, PeriodUnit); 7] = [
    ("second", PeriodUnit::Second),
    ("minute", PeriodUnit::Minute),
    ("hour", PeriodUnit::Hour),
    ("day", PeriodUnit::Day),
    ("week", PeriodUnit::Week),
    ("month", PeriodUnit::Month),
    ("year", PeriodUnit::Year),
];

/// Why a text is not a step in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a step in time")]
pub struct NotAPeriod(pub String);

impl Period {
    /// `start` plus `times` whole steps; `None` past the year 9999.
    #[must_use]
    pub fn after(self, start: DateTime, times: i64) -> Option<DateTime> {
        let count = i64::from(self.count).checked_mul(times)?;
        let span = Span::new();
        let span = match self.unit {
            PeriodUnit::Second => span.try_seconds(count),
            PeriodUnit::Minute => span.try_minutes(count),
            PeriodUnit::Hour => span.try_hours(count),
            PeriodUnit::Day => span.try_days(count),
            PeriodUnit::Week => span.try_weeks(count),
            PeriodUnit::Month => span.try_months(count),
            PeriodUnit::Year => span.try_years(count),
        };
        start.checked_add(span.ok()?).ok()
    }

    /// Length in seconds; `None` for months and years, whose length varies.
    #[must_use]
    pub fn seconds(self) -> Option<u64> {
        let unit = match self.unit {
            PeriodUnit::Second => 1,
            PeriodUnit::Minute => 60,
            PeriodUnit::Hour => 3600,
            PeriodUnit::Day => 86_400,
            PeriodUnit::Week => 604_800,
            PeriodUnit::Month | PeriodUnit::Year => return None,
        };
        Some(u64::from(self.count) * unit)
    }
}

impl FromStr for Period {
    type Err = NotAPeriod;

    fn from_str(text: &str) -> Result<Self, NotAPeriod> {
        let trimmed = text.trim();
        let digits = trimmed.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, word) = trimmed.split_at(digits);
        let count = if number.is_empty() { Some(1) } else { number.parse().ok() };
        let singular = word.trim().strip_suffix('s').unwrap_or_else(|| word.trim());
        let unit = UNITS.iter().find(|(name, _)| *name == singular).map(|&(_, unit)| unit);
        match (count, unit) {
            (Some(count @ 1..), Some(unit)) => Ok(Self { count, unit }),
            _ => Err(NotAPeriod(text.to_owned())),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = UNITS.iter().find(|(_, unit)| *unit == self.unit).map_or("", |(name, _)| name);
        write!(formatter, "{} {name}{}", self.count, if self.count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(text: &str) -> Option<String> {
        text.parse::<Period>().ok().map(|period| period.to_string())
    }

    #[test]
    fn reads_what_people_write() {
        assert_eq!(period("1 day").as_deref(), Some("1 day"));
        assert_eq!(period("6hours").as_deref(), Some("6 hours"));
        assert_eq!(period("month").as_deref(), Some("1 month"));
        assert_eq!(
            [period("0 days"), period("-1 day"), period("1 fortnight"), period(""), period("99999999999 days")],
            [const { None }; 5]
        );
    }

    #[test]
    fn month_steps_do_not_drift() {
        let start = DateTime::constant(2001, 1, 31, 0, 0, 0, 0);
        let month: Period = "1 month".parse().unwrap();
        assert_eq!(month.after(start, 1).unwrap().to_string(), "2001-02-28T00:00:00");
        assert_eq!(month.after(start, 2).unwrap().to_string(), "2001-03-31T00:00:00");
        assert_eq!(month.after(start, 200_000), None);
    }
}
