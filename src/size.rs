//! Sizes in bytes as people write them: `512MiB`, `2 GiB`, `1.5 GB`.
//!
//! Not for rates or counts. Invariant: parsing what `Display` printed gives a size within 0.5 % of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 13] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1000),
    ("T", 1 << 40),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("K", 1 << 10),
    ("B", 1),
];

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size; write a number and a unit, such as `512 MiB` or `2 GB`")]
pub struct NotASize(pub String);

impl FromStr for ByteSize {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Self, NotASize> {
        let refuse = || NotASize(text.to_owned());
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let digits = compact.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(compact.len());
        let (number, unit) = compact.split_at(digits);
        let factor = UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .map_or_else(|| if unit.is_empty() { Ok(1) } else { Err(refuse()) }, |&(_, factor)| Ok(factor))?;
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(factor).map(Self).ok_or_else(refuse);
        }
        let value = number.parse::<f64>().map_err(|_| refuse())? * factor as f64;
        if value.is_finite() && value < 9.0e18 { Ok(Self(value.round() as u64)) } else { Err(refuse()) }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS[..4].iter().find(|(_, factor)| self.0 >= *factor) {
            None => write!(formatter, "{} B", self.0),
            Some((unit, factor)) if self.0.is_multiple_of(*factor) => write!(formatter, "{} {unit}", self.0 / factor),
            Some((unit, factor)) => write!(formatter, "{} {unit}", three_digits(self.0 as f64 / *factor as f64)),
        }
    }
}

fn three_digits(value: f64) -> String {
    let decimals = usize::from(value < 9.995) + usize::from(value < 99.95);
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let size = |text: &str| text.parse::<ByteSize>().map(|size| size.0).ok();
        assert_eq!(size("512MiB"), size("512 MiB"));
        assert_eq!(size("1.5 GB"), Some(1_500_000_000));
        assert_eq!(size("7"), Some(7));
        assert_eq!(size("2g"), Some(2 << 30));
        assert_eq!([size("-1 MB"), size("lots"), size("1e40 GB"), size("99999999999 TiB")], [None; 4]);
    }

    #[test]
    fn prints_three_digits() {
        let text = |bytes| ByteSize(bytes).to_string();
        assert_eq!([text(12), text(2048), text(1_300_000)], ["12 B", "2 KiB", "1.24 MiB"]);
    }
}
