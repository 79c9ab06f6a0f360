//! Time units (`days since 1850-01-01`), and how times counted in different ones become one exact count.
//!
//! Integers only: instants are whole microseconds of one calendar. Invariant: a conversion found here gives, for every value it was
//! found with, an integer that stands for the same instant; nothing is rounded.

use std::fmt;

use super::calendar::{Calendar, Date};
use super::{Conversion, Missing};
use crate::array::{Array, Scalar};

/// Microseconds of a day.
pub const DAY: i64 = 86_400_000_000;

/// Units in which times can be counted after a conversion: CF name and length in microseconds, coarsest first.
pub const TARGET_UNITS: [(&str, i64); 6] =
    [("days", DAY), ("hours", 3_600_000_000), ("minutes", 60_000_000), ("seconds", 1_000_000), ("milliseconds", 1000), ("microseconds", 1)];

/// Why a text cannot be read as time units.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// It has no `since`, or what stands around it cannot be understood.
    #[error("`{0}` is not of the form `days since 1850-01-01 00:00:00`")]
    NotUnits(String),
    /// Months and years have no fixed length.
    #[error("`{0}` counts in a unit of no fixed length")]
    NoFixedLength(String),
    /// The reference date is none of the calendar's, or its year is not 1 to 9999.
    #[error("the reference date of `{0}` is not a date of the years 1 to 9999 in the calendar `{1}`")]
    NoSuchDate(String, &'static str),
}

/// A count of time: so many nanoseconds each, from an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeUnits {
    /// How days are counted.
    pub calendar: Calendar,
    /// Nanoseconds of one count.
    pub nanoseconds: i64,
    /// The instant of count 0: microseconds since day 0 of the calendar.
    pub epoch: i64,
}

/// True if a `units` text counts time from an instant, whether or not it can be understood.
#[must_use]
pub fn is_reference(units: &str) -> bool {
    let mut words = units.split_whitespace();
    words.next().is_some() && words.next().is_some_and(|word| word.eq_ignore_ascii_case("since"))
}

impl TimeUnits {
    /// Reads `units` as of CF §4.4 (UDUNITS syntax): unit, `since`, date, then optionally time of day and time zone.
    ///
    /// # Errors
    /// A [`TimeError`] for units that cannot be converted exactly: unknown, months, years, or a reference year outside 1 to 9999.
    pub fn parse(units: &str, calendar: Calendar) -> Result<Self, TimeError> {
        let refuse = || TimeError::NotUnits(units.to_owned());
        let (unit, rest) = first_word(units).ok_or_else(refuse)?;
        let (since, instant) = first_word(rest).ok_or_else(refuse)?;
        if !since.eq_ignore_ascii_case("since") {
            return Err(refuse());
        }
        let nanoseconds = match unit_length(unit) {
            Some(0) => return Err(TimeError::NoFixedLength(units.to_owned())),
            Some(length) => length,
            None => return Err(refuse()),
        };
        let (date, time) = parse_instant(instant).ok_or_else(refuse)?;
        let day = calendar.day(date).ok_or_else(|| TimeError::NoSuchDate(units.to_owned(), calendar.name()))?;
        Ok(Self { calendar, nanoseconds, epoch: day * DAY + time })
    }

    /// An instant as people write it: `2006-01-01T06:00:00`; fractions only when there are any.
    #[must_use]
    pub fn instant(&self, value: Scalar) -> String {
        self.microseconds(value).map_or_else(|| value.plain(), |micros| self.calendar_text(micros))
    }

    /// The instant of a value in microseconds since day 0 of the calendar; `None` for NaN and what lies beyond all dates.
    #[must_use]
    pub fn microseconds(&self, value: Scalar) -> Option<i64> {
        let micros = match value.as_i64() {
            Some(whole) => i128::from(whole) * i128::from(self.nanoseconds) / 1000,
            None if value.as_f64().is_nan() => return None,
            None => (value.as_f64() * self.nanoseconds as f64 / 1000.0).round() as i128,
        };
        i64::try_from(micros.checked_add(i128::from(self.epoch))?).ok()
    }

    /// An instant, in microseconds since day 0 of the calendar, as people write it.
    #[must_use]
    pub fn calendar_text(&self, micros: i64) -> String {
        Instant(self.calendar, micros).to_string()
    }

    /// How many microseconds a value may lie from the instant that it stands for: the rounding of floats, 0 for integers.
    #[must_use]
    pub fn rounding(&self, value: Scalar) -> i64 {
        let step = match value {
            Scalar::Float32(_) => f64::from(f32::EPSILON),
            Scalar::Float64(_) => f64::EPSILON,
            _ => return 0,
        };
        ((value.as_f64().abs() * step * self.nanoseconds as f64 / 1000.0).ceil() as i64).saturating_add(1)
    }

    /// The same epoch as units text, counted in another unit: `hours since 1850-01-01`.
    #[must_use]
    pub fn text(&self, unit: &str) -> String {
        let (year, month, day) = self.calendar.date(self.epoch.div_euclid(DAY));
        let clock = self.epoch.rem_euclid(DAY);
        let date = format!("{unit} since {year:04}-{month:02}-{day:02}");
        if clock == 0 { date } else { format!("{date} {}", Clock(clock)) }
    }

    /// How values in these units become counts of `target` (microseconds) from `epoch`; `None` if the numbers do not fit.
    #[must_use]
    pub fn retimed(&self, epoch: i64, target: i64, missing: Option<(Vec<Scalar>, i64)>) -> Option<Conversion> {
        // Nanoseconds between epochs of other centuries need more than 64 bits; what is left when the fraction is reduced rarely does.
        let add = (i128::from(self.epoch) - i128::from(epoch)) * 1000;
        let (multiply, divide) = (i128::from(self.nanoseconds), i128::from(target) * 1000);
        let common = gcd(gcd(multiply, divide), add);
        let reduced = |number: i128| i64::try_from(number / common).ok();
        Some(Conversion::Retime { multiply: reduced(multiply)?, divide: reduced(divide)?, add: reduced(add)?, missing, stored: None })
    }
}

/// Times of one variable of one input, for [`join`].
#[derive(Debug)]
pub struct Times<'a> {
    /// Their units.
    pub units: TimeUnits,
    /// Their raw values; `None` if they were not read.
    pub values: Option<&'a Array>,
    /// Raw values that mean "missing".
    pub missing: &'a [Scalar],
    /// True if the unread values are integers.
    pub whole: bool,
}

/// The coarsest unit in which every value is exact when counted from the first one's epoch: its place in [`TARGET_UNITS`].
///
/// Unread integers count as arbitrary (their unit and the distance of the epochs decide), unread floats as microseconds.
#[must_use]
pub fn join(times: &[Times<'_>]) -> Option<usize> {
    let epoch = times.first()?.units.epoch;
    let mut unit = 0;
    for part in times {
        while !exact(part, epoch, TARGET_UNITS.get(unit)?.1) {
            unit += 1;
        }
    }
    Some(unit)
}

fn exact(times: &Times<'_>, epoch: i64, target: i64) -> bool {
    let Some(Conversion::Retime { multiply, divide, add, .. }) = times.units.retimed(epoch, target, None) else { return false };
    let Some(values) = times.values else { return if times.whole { divide == 1 } else { target == 1 } };
    let ratio = Ratio { multiply, divide, add };
    let missing = Missing::new(times.missing);
    values.scalars().all(|value| missing.holds(value) || value.as_f64().is_nan() || ratio.exactly(value).is_some())
}

/// (value × multiply + add) ÷ divide.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ratio {
    pub(super) multiply: i64,
    pub(super) divide: i64,
    pub(super) add: i64,
}

impl Ratio {
    /// The result for `value`, if it is whole. A float stands for a fraction only if it is, bit for bit, the float nearest to it.
    pub(super) fn exactly(self, value: Scalar) -> Option<i64> {
        match value {
            Scalar::Float32(value) => self.nearest(f64::from(value)).filter(|&count| self.fraction32(count) == value),
            Scalar::Float64(value) => self.nearest(value).filter(|&count| self.names(count, value)),
            whole => self.whole(i128::from(whole.as_i64()?)),
        }
    }

    pub(super) fn whole(self, value: i128) -> Option<i64> {
        let numerator = value * i128::from(self.multiply) + i128::from(self.add);
        (numerator % i128::from(self.divide) == 0).then(|| i64::try_from(numerator / i128::from(self.divide)).ok())?
    }

    fn nearest(self, value: f64) -> Option<i64> {
        if value.fract() == 0.0 && value.abs() < 9.0e15 {
            return self.whole(value as i128);
        }
        // Whole and fractional parts apart: the product of the whole value would lose the last microseconds.
        let (whole, fraction) = (value.trunc(), value.fract());
        if !whole.is_finite() || whole.abs() > 9.0e15 {
            return None;
        }
        let numerator =
            (whole as i128) * i128::from(self.multiply) + i128::from(self.add) + (fraction * self.multiply as f64).round() as i128;
        let divide = i128::from(self.divide);
        i64::try_from((2 * numerator + divide).div_euclid(2 * divide)).ok()
    }

    /// Numerator and denominator of the raw value that stands for a result.
    fn fraction(self, count: i64) -> (i128, i128) {
        (i128::from(count) * i128::from(self.divide) - i128::from(self.add), i128::from(self.multiply))
    }

    fn fraction32(self, count: i64) -> f32 {
        let (numerator, denominator) = self.fraction(count);
        // Both are far below 2^127 and single precision needs 24 bits, so double rounding cannot matter but in exact ties.
        (numerator as f64 / denominator as f64) as f32
    }

    /// True if `value` is the float nearest to the raw value that stands for `count`.
    fn names(self, count: i64, value: f64) -> bool {
        let (numerator, denominator) = self.fraction(count);
        let common = gcd(numerator, denominator);
        let (numerator, denominator) = (numerator / common, denominator / common);
        if numerator.unsigned_abs() < 1 << 53 && denominator < 1 << 53 {
            return numerator as f64 / denominator as f64 == value;
        }
        within_half_step(numerator, denominator, value)
    }
}

/// |numerator ÷ denominator − value| is at most half the distance to the neighbouring floats, in exact integers.
fn within_half_step(numerator: i128, denominator: i128, value: f64) -> bool {
    let bits = value.to_bits();
    let exponent = i64::from((bits >> 52) as u32 & 0x7ff);
    let mantissa = i128::from((bits & ((1 << 52) - 1)) | (1 << 52)) * if value.is_sign_negative() { -1 } else { 1 };
    // value = mantissa · 2^(exponent − 1075); compare 2·numerator·2^shift with (2·mantissa ± 1)·denominator.
    let shift = 1075 - exponent;
    if exponent == 0 || !(0..=100).contains(&shift) {
        return false;
    }
    let Some(scaled) = numerator.checked_mul(2).and_then(|twice| twice.checked_mul(1 << shift)) else { return false };
    let Some(distance) = mantissa.checked_mul(2).and_then(|twice| twice.checked_mul(denominator)).map(|exact| (scaled - exact).abs())
    else {
        return false;
    };
    distance <= denominator
}

fn gcd(left: i128, right: i128) -> i128 {
    let (mut left, mut right) = (left.abs(), right.abs());
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left.max(1)
}

/// The first word, and what follows it; blanks may be several.
fn first_word(text: &str) -> Option<(&str, &str)> {
    text.trim_start().split_once(char::is_whitespace)
}

/// Nanoseconds of a unit's name; 0 for units of no fixed length.
fn unit_length(name: &str) -> Option<i64> {
    match name.to_ascii_lowercase().as_str() {
        "weeks" | "week" => Some(7 * DAY * 1000),
        "days" | "day" | "d" => Some(DAY * 1000),
        "hours" | "hour" | "hrs" | "hr" | "h" => Some(3_600_000_000_000),
        "minutes" | "minute" | "mins" | "min" => Some(60_000_000_000),
        "seconds" | "second" | "secs" | "sec" | "s" => Some(1_000_000_000),
        "milliseconds" | "millisecond" | "millisecs" | "millisec" | "msecs" | "msec" | "ms" => Some(1_000_000),
        "microseconds" | "microsecond" | "microsecs" | "microsec" | "us" => Some(1000),
        "nanoseconds" | "nanosecond" | "nanosecs" | "nanosec" | "ns" => Some(1),
        "months" | "month" | "common_years" | "common_year" | "years" | "year" | "yr" | "yrs" => Some(0),
        _ => None,
    }
}

/// Date, and microseconds of the day (beyond it where the time zone leads there).
fn parse_instant(text: &str) -> Option<(Date, i64)> {
    let text = text.trim();
    let end = text.find(|c: char| c == 'T' || c == 't' || c.is_whitespace()).unwrap_or(text.len());
    let (date, rest) = text.split_at(end);
    let rest = rest.trim_start_matches(['T', 't']).trim();
    let mut parts = date.split('-').map(number);
    let (year, month, day) = (parts.next()??, parts.next().unwrap_or(Some(1))?, parts.next().unwrap_or(Some(1))?);
    if parts.next().is_some() {
        return None;
    }
    Some(((year, month, day), parse_clock(rest)?))
}

fn number(text: &str) -> Option<i64> {
    (!text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn parse_clock(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.')).unwrap_or(text.len());
    let (clock, zone) = text.split_at(end);
    let mut micros = 0;
    if !clock.is_empty() {
        let mut parts = clock.splitn(3, ':');
        // `0012` would be read as 12 hours, where others read 12 minutes.
        let hours = number(parts.next().filter(|hours| hours.len() <= 2)?)?;
        let minutes = parts.next().map_or(Some(0), number)?;
        let seconds = parts.next().map_or(Some(0), parse_seconds)?;
        if hours > 24 || minutes > 59 || seconds >= 61_000_000 {
            return None;
        }
        micros = (hours * 60 + minutes) * 60_000_000 + seconds;
    }
    Some(micros - parse_zone(zone.trim())?)
}

fn parse_seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 6 {
        return None;
    }
    let micros = if fraction.is_empty() { 0 } else { number(fraction)? * 10_i64.pow(6 - fraction.len() as u32) };
    Some(number(whole)? * 1_000_000 + micros)
}

fn parse_zone(text: &str) -> Option<i64> {
    if ["", "z", "utc", "gmt"].contains(&text.to_ascii_lowercase().as_str()) {
        return Some(0);
    }
    let text = text.trim_start_matches("UTC").trim_start_matches("GMT");
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        // Without a sign readers disagree (UDUNITS: east; cftime: nothing), so only what is nothing either way is read.
        _ if text.bytes().all(|byte| matches!(byte, b'0' | b':')) => (1, text),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) => (number(hours)?, number(minutes)?),
        None if digits.len() == 4 => (number(digits)? / 100, number(digits)? % 100),
        None => (number(digits)?, 0),
    };
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000_000)
}

struct Instant(Calendar, i64);

impl fmt::Display for Instant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.0.date(self.1.div_euclid(DAY));
        write!(formatter, "{year:04}-{month:02}-{day:02}T{}", Clock(self.1.rem_euclid(DAY)))
    }
}

struct Clock(i64);

impl fmt::Display for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000_000;
        write!(formatter, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        match self.0 % 1_000_000 {
            0 => Ok(()),
            micros => write!(formatter, ".{micros:06}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str) -> Result<TimeUnits, TimeError> {
        TimeUnits::parse(text, Calendar::Standard)
    }

    #[test]
    fn reads_the_spellings_of_archives() {
        let same = [
            "days since 1850-1-1 00:00:00.0",
            "day since 1850-01-01",
            "Days since 1850-01-01T00:00:00Z",
            "days since 1850-01-01 00:00:00 UTC",
            "days since 1850-01-01 02:00 +02:00",
            "d since 1849-12-31 19:30:00 -0430",
            "days since 1850-01-01 00:00:00 0:00",
            "days  since 1850-01-01",
            " days since   1850-01-01  00:00 ",
        ];
        let all: Vec<_> = same.iter().map(|text| units(text)).collect();
        assert!(all.iter().all(|read| read.is_ok() && *read == all[0]), "{all:?}");
        assert_eq!(units("hours since 0001-01-01T00:00:00Z").map(|units| units.nanoseconds), Ok(3_600_000_000_000));
        assert_eq!(
            units("seconds since 1990-1-1 0:0:0").map(|units| units.instant(Scalar::Float64(1.5))),
            Ok("1990-01-01T00:00:01.500000".into())
        );
    }

    #[test]
    fn refuses_what_cannot_be_exact() {
        assert!(matches!(units("hour since 0000-01-01 00:00:00"), Err(TimeError::NoSuchDate(..))));
        assert!(matches!(units("months since 1850-01-01"), Err(TimeError::NoFixedLength(_))));
        for text in
            ["days", "day as %Y%m%d.%f", "days since", "days since yesterday", "days since 2000-01-01 25:00", "parsecs since 2000-01-01"]
        {
            assert!(matches!(units(text), Err(TimeError::NotUnits(_))), "{text}");
        }
        assert!(is_reference("hour since 0000-01-01 00:00:00") && !is_reference("m s-1") && !is_reference("since"));
    }

    #[test]
    fn clocks_whose_fields_readers_split_differently_are_refused() {
        for text in
            ["days since 2000-01-01 0012", "days since 2000-01-01T0012", "hours since 2000-01-01 000012", "days since 2000-01-01 1200Z"]
        {
            assert!(matches!(units(text), Err(TimeError::NotUnits(_))), "{text}");
        }
        assert_eq!(units("days since 2000-01-01 12").map(|units| units.epoch % DAY), Ok(DAY / 2));
    }

    #[test]
    fn epochs_of_other_centuries_are_joined() {
        let (old, new) = (units("days since 0001-01-01").unwrap(), units("days since 2000-01-01").unwrap());
        let days = (new.epoch - old.epoch) / DAY;
        assert!(days > 292 * 366);
        assert_eq!(
            new.retimed(old.epoch, DAY, None),
            Some(Conversion::Retime { multiply: 1, divide: 1, add: days, missing: None, stored: None })
        );
        let hours = units("hours since 1600-01-01 06:00").unwrap();
        assert_eq!(
            hours.retimed(new.epoch, 3_600_000_000, None),
            Some(Conversion::Retime {
                multiply: 1,
                divide: 1,
                add: (hours.epoch - new.epoch) / 3_600_000_000,
                missing: None,
                stored: None
            })
        );
    }

    #[test]
    fn the_rounding_of_a_float_beyond_all_dates_is_the_largest_there_is() {
        let days = units("days since 2000-01-01").unwrap();
        assert_eq!(days.rounding(Scalar::Float64(9.97e36)), i64::MAX);
        assert_eq!(days.rounding(Scalar::Float64(f64::INFINITY)), i64::MAX);
    }

    #[test]
    fn floats_stand_for_the_fractions_nearest_to_them() {
        let days = units("days since 0001-01-01").unwrap();
        let Some(Conversion::Retime { multiply, divide, add, .. }) = days.retimed(days.epoch, 1_000_000, None) else { panic!() };
        let ratio = Ratio { multiply, divide, add };
        assert_eq!(ratio.exactly(Scalar::Float64(0.1)), Some(8640));
        assert_eq!(ratio.exactly(Scalar::Float64(737_000.1)), Some(737_000 * 86_400 + 8640));
        assert_eq!(ratio.exactly(Scalar::Float64(0.1 + f64::EPSILON)), None);
        assert_eq!(ratio.exactly(Scalar::Float32(0.5)), Some(43_200));
        assert_eq!(ratio.exactly(Scalar::Int32(3)), Some(3 * 86_400));
        assert_eq!([Scalar::Float64(f64::INFINITY), Scalar::Float64(1e-300)].map(|value| ratio.exactly(value)), [None; 2]);
    }

    #[test]
    fn exact_comparison_agrees_with_division() {
        for (numerator, denominator) in [(1_i128, 3_i128), (-7, 11), (123_456_789, 86_400), (1, 10)] {
            let value = numerator as f64 / denominator as f64;
            assert!(within_half_step(numerator, denominator, value));
            assert!(!within_half_step(numerator, denominator, f64::from_bits(value.to_bits() + 1)));
        }
    }

    #[test]
    fn finds_the_coarsest_exact_unit() {
        let array = |values: &[f64]| {
            Array::from_scalars(
                crate::array::DataType::Float64,
                vec![values.len() as u64],
                &values.iter().map(|v| Scalar::Float64(*v)).collect::<Vec<_>>(),
            )
            .unwrap()
        };
        let found = |parts: &[(&str, &[f64])]| {
            let arrays: Vec<_> = parts.iter().map(|(_, values)| array(values)).collect();
            let times: Vec<_> = parts
                .iter()
                .zip(&arrays)
                .map(|((text, _), array)| Times { units: units(text).unwrap(), values: Some(array), missing: &[], whole: false })
                .collect();
            join(&times).map(|unit| TARGET_UNITS[unit].0)
        };
        assert_eq!(found(&[("days since 1850-01-01", &[0.0, 1.0]), ("days since 1860-01-01", &[0.0])]), Some("days"));
        assert_eq!(found(&[("days since 1850-01-01", &[0.5]), ("days since 1860-01-01", &[0.0])]), Some("hours"));
        assert_eq!(found(&[("days since 1850-01-01", &[1.0]), ("days since 1860-01-01 12:00", &[0.5])]), Some("days"));
        assert_eq!(found(&[("days since 1850-01-01", &[0.1]), ("hours since 1860-01-01", &[0.0])]), Some("minutes"));
        assert_eq!(found(&[("days since 1850-01-01", &[1e-9])]), None);
    }
}
