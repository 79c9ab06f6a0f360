//! The six calendars of CF §4.4.1: dates to day numbers and back.
//!
//! Not for units (that is [`super::time`]). Invariant: within one calendar, following days have following numbers, and every
//! valid date of the years 1 to 9999 comes back unchanged; numbers of different calendars must never be mixed.

/// How days are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Calendar {
    /// Julian up to 1582-10-04, Gregorian from 1582-10-15 (the CF default; alias `gregorian`).
    Standard,
    /// Gregorian at all times.
    ProlepticGregorian,
    /// Julian at all times.
    Julian,
    /// Every year has 365 days (alias `365_day`).
    NoLeap,
    /// Every year has 366 days (alias `366_day`).
    AllLeap,
    /// Twelve months of 30 days.
    Day360,
}

/// A calendar date: year, month, day.
pub type Date = (i64, i64, i64);

/// First day of the Gregorian calendar, as a Julian day number (1582-10-15).
const REFORM: i64 = 2_299_161;
const MONTHS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

impl Calendar {
    /// The calendar of that CF name, in any case; an absent attribute (and `none`) means [`Calendar::Standard`].
    #[must_use]
    pub fn named(name: Option<&str>) -> Option<Self> {
        let Some(name) = name else { return Some(Self::Standard) };
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "none" | "standard" | "gregorian" => Some(Self::Standard),
            "proleptic_gregorian" => Some(Self::ProlepticGregorian),
            "julian" => Some(Self::Julian),
            "noleap" | "365_day" => Some(Self::NoLeap),
            "all_leap" | "366_day" => Some(Self::AllLeap),
            "360_day" => Some(Self::Day360),
            _ => None,
        }
    }

    /// Its CF name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::ProlepticGregorian => "proleptic_gregorian",
            Self::Julian => "julian",
            Self::NoLeap => "365_day",
            Self::AllLeap => "366_day",
            Self::Day360 => "360_day",
        }
    }

    /// Number of a day; `None` if the calendar has no such date or the year is not 1 to 9999.
    #[must_use]
    pub fn day(self, (year, month, day): Date) -> Option<i64> {
        if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || day < 1 || day > self.month_length(year, month) {
            return None;
        }
        match self {
            Self::Standard => mixed_day((year, month, day)),
            Self::ProlepticGregorian => Some(gregorian_day((year, month, day))),
            Self::Julian => Some(julian_day((year, month, day))),
            Self::NoLeap => Some(year * 365 + days_before(month) + day - 1),
            Self::AllLeap => Some(year * 366 + days_before(month) + i64::from(month > 2) + day - 1),
            Self::Day360 => Some(year * 360 + (month - 1) * 30 + day - 1),
        }
    }

    /// The date of a day number.
    #[must_use]
    pub fn date(self, day: i64) -> Date {
        match self {
            Self::Standard if day < REFORM => julian_date(day),
            Self::Standard | Self::ProlepticGregorian => gregorian_date(day),
            Self::Julian => julian_date(day),
            Self::NoLeap => month_of(day.div_euclid(365), day.rem_euclid(365), 28),
            Self::AllLeap => month_of(day.div_euclid(366), day.rem_euclid(366), 29),
            Self::Day360 => (day.div_euclid(360), day.rem_euclid(360) / 30 + 1, day.rem_euclid(30) + 1),
        }
    }

    /// True if the year has a 29 February (never in a 360-day calendar, whose February has 30 days anyway).
    fn is_leap(self, year: i64) -> bool {
        let gregorian = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        match self {
            Self::Standard if year < 1582 => year % 4 == 0,
            Self::Standard | Self::ProlepticGregorian => gregorian,
            Self::Julian => year % 4 == 0,
            Self::AllLeap => true,
            Self::NoLeap | Self::Day360 => false,
        }
    }

    /// Number of days of a month (1 to 12) of a year.
    #[must_use]
    pub fn month_length(self, year: i64, month: i64) -> i64 {
        match (self, month) {
            (Self::Day360, _) => 30,
            (_, 2) => 28 + i64::from(self.is_leap(year)),
            _ => usize::try_from(month - 1).ok().and_then(|index| MONTHS.get(index)).copied().unwrap_or(0),
        }
    }
}

fn days_before(month: i64) -> i64 {
    MONTHS.iter().take(usize::try_from(month - 1).unwrap_or(0)).sum()
}

fn month_of(year: i64, mut day: i64, february: i64) -> Date {
    for (index, length) in MONTHS.iter().enumerate() {
        let length = if index == 1 { february } else { *length };
        if day < length {
            return (year, index as i64 + 1, day + 1);
        }
        day -= length;
    }
    (year, 12, 31)
}

fn mixed_day(date: Date) -> Option<i64> {
    match date {
        date if date >= (1582, 10, 15) => Some(gregorian_day(date)),
        date if date <= (1582, 10, 4) => Some(julian_day(date)),
        _ => None,
    }
}

/// Days since the first of March of year 0, in years that begin in March (so that the leap day is the last of a year).
fn march_day((year, month, day): Date) -> (i64, i64) {
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    (year, (153 * month + 2) / 5 + day - 1)
}

fn march_date(year: i64, day: i64) -> Date {
    let month = (5 * day + 2) / 153;
    let month_day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (if month > 2 { year } else { year + 1 }, month, month_day)
}

/// Julian day number at noon of a Gregorian date.
fn gregorian_day(date: Date) -> i64 {
    let (year, day) = march_day(date);
    1_721_120 + 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day
}

fn gregorian_date(number: i64) -> Date {
    let days = number - 1_721_120;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    march_date(era * 400 + year, day - (365 * year + year / 4 - year / 100))
}

/// Julian day number at noon of a Julian date.
fn julian_day(date: Date) -> i64 {
    let (year, day) = march_day(date);
    1_721_118 + 365 * year + year.div_euclid(4) + day
}

fn julian_date(number: i64) -> Date {
    let days = number - 1_721_118;
    let (era, day) = (days.div_euclid(1461), days.rem_euclid(1461));
    let year = (day - day / 1460) / 365;
    march_date(era * 4 + year, day - 365 * year)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Calendar; 6] =
        [Calendar::Standard, Calendar::ProlepticGregorian, Calendar::Julian, Calendar::NoLeap, Calendar::AllLeap, Calendar::Day360];

    #[test]
    fn knows_julian_day_numbers() {
        // Julian day numbers of astronomers' almanacs.
        assert_eq!(Calendar::Standard.day((2000, 1, 1)), Some(2_451_545));
        assert_eq!(Calendar::Standard.day((1582, 10, 15)), Some(2_299_161));
        assert_eq!(Calendar::Standard.day((1582, 10, 4)), Some(2_299_160));
        assert_eq!(Calendar::Standard.day((1582, 10, 10)), None);
        assert_eq!(Calendar::Julian.day((1582, 10, 5)), Some(2_299_161));
        assert_eq!(Calendar::ProlepticGregorian.day((1582, 10, 14)), Some(2_299_160));
        assert_eq!(Calendar::Standard.day((1, 1, 1)), Some(1_721_424));
    }

    #[test]
    fn leap_days_are_the_calendars_own() {
        let has = |calendar: Calendar, date| calendar.day(date).is_some();
        assert!(has(Calendar::Standard, (1500, 2, 29)) && !has(Calendar::ProlepticGregorian, (1500, 2, 29)));
        assert!(has(Calendar::AllLeap, (2001, 2, 29)) && !has(Calendar::NoLeap, (2000, 2, 29)));
        assert!(has(Calendar::Day360, (2001, 2, 30)) && !has(Calendar::Day360, (2001, 1, 31)));
        assert!(!has(Calendar::Standard, (0, 1, 1)) && !has(Calendar::Standard, (2000, 13, 1)));
    }

    #[test]
    fn names_have_aliases() {
        assert_eq!(Calendar::named(Some("gregorian")), Calendar::named(None));
        assert_eq!(Calendar::named(Some("NOLEAP")), Calendar::named(Some("365_day")));
        assert_eq!(Calendar::named(Some("martian")), None);
        assert!(ALL.iter().all(|calendar| Calendar::named(Some(calendar.name())) == Some(*calendar)));
    }

    proptest! {
        #[test]
        fn days_follow_each_other(which in 0usize..6, day in 1_721_500i64..5_373_000) {
            let calendar = ALL[which];
            // The shortest year has 360 days: more would be past year 9999.
            let day = if which < 3 { day } else { (day - 1_720_000).min(3_599_000) };
            let date = calendar.date(day);
            prop_assert_eq!(calendar.day(date), Some(day));
            prop_assert!(calendar.date(day + 1) > date);
        }
    }
}
