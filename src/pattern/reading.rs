//! Texts into values of keys: what a template writes, read back from names.
//!
//! The same date fields as templates have (`%Y %m %d %H %M %S %j %y %b %B %%`), and ISO 8601. No clock, no locale. Invariant: a
//! text is read whole or not at all, and a date that does not exist is none.

use jiff::civil::{Date, DateTime, Time};
use serde::{Deserialize, Serialize};

use super::KeyValue;

/// Letters that may follow `%`.
const FIELDS: &str = "YmdHMSjybB%";

/// How a captured text becomes the value of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reading {
    /// Digits are whole numbers, if all values of the key are; else texts.
    Automatic,
    /// A date in this format.
    Date(String),
    /// A date by ISO 8601: `2001-02-03`, `2001-02-03T04:05:06.7Z`, `20010203T040506`; UTC.
    Iso,
    /// A whole number, with or without zeros before it.
    Integer,
    /// As it is.
    Text,
}

/// Why a text says no way of reading.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAReading(String);

impl std::str::FromStr for Reading {
    type Err = NotAReading;

    fn from_str(text: &str) -> Result<Self, NotAReading> {
        match text {
            "iso" => Ok(Self::Iso),
            "integer" => Ok(Self::Integer),
            "text" => Ok(Self::Text),
            format if format.contains('%') => {
                let mut fields = format.split('%').skip(1).peekable();
                let mut count = 0;
                while let Some(field) = fields.next() {
                    match field.chars().next() {
                        // `%%`: the next piece begins without a field.
                        None if fields.peek().is_some() => drop(fields.next()),
                        Some(letter) if FIELDS.contains(letter) => count += 1,
                        other => {
                            let written = other.map_or_else(String::new, |letter| letter.to_string());
                            return Err(NotAReading(format!(
                                "`%{written}` is not a date field; there are %Y %m %d %H %M %S %j %y %b %B %%"
                            )));
                        }
                    }
                }
                let year = format.contains("%Y") || format.contains("%y");
                if count > 0 && year { Ok(Self::Date(format.to_owned())) } else { Err(NotAReading(format!("`{format}` says no year"))) }
            }
            other => Err(NotAReading(format!("`{other}` is neither a date format such as %Y%m%d nor `iso`, `integer` or `text`"))),
        }
    }
}

impl Reading {
    /// The value that a text stands for; `None` if it stands for none. Automatic values are texts.
    #[must_use]
    pub fn value(&self, text: &str) -> Option<KeyValue> {
        match self {
            Self::Automatic | Self::Text => Some(KeyValue::Text(text.to_owned())),
            Self::Integer => integer(text).map(KeyValue::Integer),
            Self::Iso => iso(text).map(KeyValue::Date),
            Self::Date(format) => date(text, format).map(KeyValue::Date),
        }
    }

    /// What it reads, for messages.
    #[must_use]
    pub fn described(&self) -> String {
        match self {
            Self::Automatic | Self::Text => "text".to_owned(),
            Self::Integer => "whole number".to_owned(),
            Self::Iso => "date of ISO 8601".to_owned(),
            Self::Date(format) => format!("date like `{format}`"),
        }
    }
}

/// A whole number in digits, a sign before it or not.
#[must_use]
pub fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) { None } else { text.parse().ok() }
}

fn iso(text: &str) -> Option<DateTime> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        let civil = instant.to_zoned(jiff::tz::TimeZone::UTC).datetime();
        return Some(seconds(civil));
    }
    text.parse::<DateTime>().ok().map(seconds).or_else(|| date(text, "%Y-%m")).or_else(|| date(text, "%Y")).filter(|date| date.year() >= 1)
}

fn seconds(date: DateTime) -> DateTime {
    date.date().to_datetime(Time::new(date.hour(), date.minute(), date.second(), 0).unwrap_or_default())
}

/// What is known of a date.
#[derive(Default)]
struct Parts {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    of_year: Option<i64>,
    hour: Option<i64>,
    minute: Option<i64>,
    second: Option<i64>,
}

fn date(text: &str, format: &str) -> Option<DateTime> {
    let (mut parts, mut rest) = (Parts::default(), text);
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        let field = if letter == '%' { letters.next()? } else { '%' };
        rest = if letter == '%' && field != '%' { parts.take(field, rest)? } else { rest.strip_prefix(letter)? };
    }
    if rest.is_empty() { parts.date() } else { None }
}

impl Parts {
    /// Reads a field at the start of a text; what follows it. A field that comes twice must say the same.
    fn take<'t>(&mut self, field: char, text: &'t str) -> Option<&'t str> {
        if matches!(field, 'b' | 'B') {
            let (month, rest) = month(text, field == 'B')?;
            return keep(&mut self.month, month).then_some(rest);
        }
        let width = match field {
            'Y' => 4,
            'j' => 3,
            _ => 2,
        };
        let (digits, rest) = text.split_at_checked(width)?;
        let number = if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok()? } else { return None };
        let kept = match field {
            'Y' => keep(&mut self.year, number),
            // POSIX: 69 to 99 are of the twentieth century.
            'y' => keep(&mut self.year, if number < 69 { 2000 + number } else { 1900 + number }),
            'm' => keep(&mut self.month, number),
            'd' => keep(&mut self.day, number),
            'j' => keep(&mut self.of_year, number),
            'H' => keep(&mut self.hour, number),
            'M' => keep(&mut self.minute, number),
            'S' => keep(&mut self.second, number),
            _ => false,
        };
        kept.then_some(rest)
    }

    fn date(&self) -> Option<DateTime> {
        let small = |part: Option<i64>, default: i64| i8::try_from(part.unwrap_or(default)).ok();
        let year = i16::try_from(self.year?).ok().filter(|year| *year >= 1)?;
        let day = match self.of_year {
            None => Date::new(year, small(self.month, 1)?, small(self.day, 1)?).ok()?,
            Some(of_year) => {
                let first = Date::new(year, 1, 1).ok()?;
                let day = first.checked_add(jiff::Span::new().try_days(of_year.checked_sub(1).filter(|days| *days >= 0)?).ok()?).ok()?;
                let agrees =
                    self.month.is_none_or(|month| i64::from(day.month()) == month) && self.day.is_none_or(|of| i64::from(day.day()) == of);
                Some(day).filter(|day| day.year() == year && agrees)?
            }
        };
        let time = Time::new(small(self.hour, 0)?, small(self.minute, 0)?, small(self.second, 0)?, 0).ok()?;
        Some(day.to_datetime(time))
    }
}

fn keep(slot: &mut Option<i64>, number: i64) -> bool {
    *slot.get_or_insert(number) == number
}

fn month(text: &str, whole: bool) -> Option<(i64, &str)> {
    super::template::MONTHS.iter().zip(1..).find_map(|(name, number)| {
        let name = if whole { name } else { name.get(..3)? };
        let (start, rest) = text.split_at_checked(name.len())?;
        start.eq_ignore_ascii_case(name).then_some((number, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, text: &str) -> Option<String> {
        format.parse::<Reading>().unwrap().value(text).map(|value| value.to_string())
    }

    #[test]
    fn reads_what_templates_write() {
        let date = KeyValue::Date(DateTime::constant(1981, 9, 1, 6, 5, 4, 0));
        for format in ["%Y%m%d%H%M%S", "%Y-%j %H:%M:%S", "%d%b%YT%H%M%S%%", "%B %d %y, %H.%M.%S", "%Y%m%d_%Y%j-%H%M%S"] {
            let template = format!("{{t:{format}}}");
            let written = super::super::template::Template::parse(&template).unwrap().fill(|_| Some(&date));
            assert_eq!(read(format, &written).as_deref(), Some("1981-09-01T06:05:04"), "{format}: {written}");
        }
        assert_eq!(read("%Y%m", "198109").as_deref(), Some("1981-09-01T00:00:00"));
        assert_eq!(read("%Y%j", "2000366").as_deref(), Some("2000-12-31T00:00:00"));
    }

    #[test]
    fn a_date_that_does_not_exist_is_none() {
        for (format, text) in [
            ("%Y%m%d", "20010229"),
            ("%Y%m%d", "2001022"),
            ("%Y%m%d", "200102280"),
            ("%Y%m%d", "2001٠١٠١"),
            ("%Y%j", "2001366"),
            ("%Y%j", "2001000"),
            ("%Y%m%d", "00000101"),
            ("%Y%Y", "20012002"),
            ("%Y-%b", "2001-Foo"),
        ] {
            assert_eq!(read(format, text), None, "{format} {text}");
        }
    }

    #[test]
    fn reads_iso_and_numbers() {
        for text in ["2001-02-03T04:05:06.789Z", "2001-02-03T04:05:06", "20010203T040506", "2001-02-03T06:05:06+02:00"] {
            assert_eq!(read("iso", text).as_deref(), Some("2001-02-03T04:05:06"), "{text}");
        }
        assert_eq!(read("iso", "2001-02").as_deref(), Some("2001-02-01T00:00:00"));
        assert_eq!([read("integer", "007"), read("integer", "-3"), read("integer", "1.5")], [Some("7".into()), Some("-3".into()), None]);
        for bad in ["%Q", "%m%d", "%", "number", "%%"] {
            assert!(bad.parse::<Reading>().is_err(), "{bad}");
        }
    }
}
