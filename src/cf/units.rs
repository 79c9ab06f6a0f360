//! Units that differ by an exactly known factor and offset: `hPa` and `Pa`, `degC` and `K`, `mm day-1` and `kg m-2 s-1`.
//!
//! A short table, not UDUNITS: what is not in it is refused. Factors are quotients of whole numbers, so that a conversion is one
//! multiplication, one division and one addition in float64, each rounded once. Invariant: two units are only ever related if
//! they are of one kind; water's mass and depth only where the caller knows that it is water (1 kg m-2 is 1 mm).

use serde::{Deserialize, Serialize};

/// From one unit to another: value × multiply ÷ divide + add, in float64.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// First.
    pub multiply: f64,
    /// Then.
    pub divide: f64,
    /// Last.
    pub add: f64,
}

/// What is measured; lengths of water and its mass are of two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Temperature,
    Pressure,
    Length,
    Speed,
    Share,
    WaterContent,
    WaterFlux,
}

/// A unit: kind, factor to the kind's base as numerator and denominator, offset, spellings.
type Row = (Kind, u64, u64, f64, &'static [&'static str]);

const TABLE: &[Row] = &[
    (Kind::Temperature, 1, 1, 0.0, &["K", "kelvin", "Kelvin", "degK", "deg_K", "degree_Kelvin", "degrees_Kelvin", "degree_K", "degrees_K"]),
    (
        Kind::Temperature,
        1,
        1,
        273.15,
        &[
            "degC",
            "deg_C",
            "celsius",
            "Celsius",
            "degree_Celsius",
            "degrees_Celsius",
            "degree_celsius",
            "degrees_celsius",
            "degree_C",
            "degrees_C",
            "°C",
        ],
    ),
    (Kind::Pressure, 1, 1, 0.0, &["Pa", "pascal", "pascals", "Pascal", "N m-2"]),
    (Kind::Pressure, 100, 1, 0.0, &["hPa", "mb", "mbar", "millibar", "millibars", "hectopascal", "hectopascals"]),
    (Kind::Pressure, 1000, 1, 0.0, &["kPa", "kilopascal", "kilopascals"]),
    (Kind::Pressure, 10_000, 1, 0.0, &["dbar", "decibar", "decibars"]),
    (Kind::Pressure, 100_000, 1, 0.0, &["bar", "bars"]),
    (Kind::Pressure, 101_325, 1, 0.0, &["atm"]),
    (Kind::Length, 1, 1, 0.0, &["m", "meter", "meters", "metre", "metres"]),
    (Kind::Length, 1000, 1, 0.0, &["km", "kilometer", "kilometers", "kilometre", "kilometres"]),
    (Kind::Length, 1, 100, 0.0, &["cm", "centimeter", "centimeters", "centimetre", "centimetres"]),
    (Kind::Length, 1, 1000, 0.0, &["mm", "millimeter", "millimeters", "millimetre", "millimetres"]),
    (Kind::Speed, 1, 1, 0.0, &["m s-1", "m/s", "m s^-1", "m s**-1", "m.s-1", "meter second-1", "meters/second", "metres per second"]),
    (Kind::Speed, 1, 100, 0.0, &["cm s-1", "cm/s", "cm s^-1", "cm s**-1"]),
    (Kind::Speed, 1000, 3600, 0.0, &["km h-1", "km/h", "km hr-1", "km/hr"]),
    (Kind::Speed, 1852, 3600, 0.0, &["knot", "knots", "kt"]),
    (Kind::Speed, 1, 1000, 0.0, &["mm s-1", "mm/s"]),
    (Kind::Speed, 1, 3_600_000, 0.0, &["mm h-1", "mm/h", "mm hr-1", "mm/hr", "mm hour-1", "mm/hour"]),
    (Kind::Speed, 1, 86_400_000, 0.0, &["mm day-1", "mm/day", "mm d-1", "mm/d"]),
    (Kind::Share, 1, 1, 0.0, &["1", "kg kg-1", "kg/kg", "kg kg**-1", "m3 m-3"]),
    (Kind::Share, 1, 100, 0.0, &["%", "percent"]),
    (Kind::Share, 1, 1000, 0.0, &["g kg-1", "g/kg", "g kg**-1"]),
    (Kind::WaterContent, 1, 1000, 0.0, &["kg m-2", "kg/m2", "kg m**-2", "kg m^-2"]),
    (Kind::WaterFlux, 1, 1000, 0.0, &["kg m-2 s-1", "kg/m2/s", "kg/(m2 s)", "kg m**-2 s**-1", "kg m^-2 s^-1"]),
    (Kind::WaterFlux, 1, 86_400_000, 0.0, &["kg m-2 day-1", "kg m-2 d-1", "kg/m2/day"]),
];

impl Kind {
    /// The kind it counts as where it is known that water is measured.
    fn of_water(self) -> Self {
        match self {
            Self::WaterContent => Self::Length,
            Self::WaterFlux => Self::Speed,
            other => other,
        }
    }
}

impl Linear {
    /// True if nothing changes.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.multiply == self.divide && self.add == 0.0
    }

    /// The conversion of `from` to `to`; `None` if the table does not relate them. `water`: what is measured is water, or its flux.
    #[must_use]
    pub fn between(from: &str, to: &str, water: bool) -> Option<Self> {
        let (from, to) = (row(from)?, row(to)?);
        let kind = |row: &Row| if water { row.0.of_water() } else { row.0 };
        if kind(from) != kind(to) {
            return None;
        }
        let (multiply, divide) = (from.1 * to.2, from.2 * to.1);
        let common = gcd(multiply, divide);
        // An offset never comes with a factor in the table.
        Some(Self { multiply: (multiply / common) as f64, divide: (divide / common) as f64, add: from.3 - to.3 })
    }

    /// The value in the other unit.
    #[must_use]
    pub fn apply(&self, value: f64) -> f64 {
        let scaled = value * self.multiply / self.divide;
        if self.add == 0.0 { scaled } else { scaled + self.add }
    }
}

/// As people write it: `× 100`, `÷ 86400`, `+ 273.15`.
impl std::fmt::Display for Linear {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if self.multiply != 1.0 {
            parts.push(format!("× {}", self.multiply));
        }
        if self.divide != 1.0 {
            parts.push(format!("÷ {}", self.divide));
        }
        if self.add != 0.0 {
            parts.push(format!("{} {}", if self.add < 0.0 { '−' } else { '+' }, self.add.abs()));
        }
        formatter.write_str(if parts.is_empty() { "unchanged".to_owned() } else { parts.join(" ") }.as_str())
    }
}

fn row(units: &str) -> Option<&'static Row> {
    let words = units.split_whitespace().collect::<Vec<_>>().join(" ");
    TABLE.iter().find(|(.., spellings)| spellings.contains(&words.as_str()))
}

fn gcd(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_pairs_convert_as_by_hand() {
        let value = |from, to, value: f64| Linear::between(from, to, false).map(|linear| linear.apply(value));
        assert_eq!(value("degC", "K", 20.5), Some(20.5 + 273.15));
        assert_eq!(value("K", "celsius", 300.0), Some(300.0 - 273.15));
        assert_eq!(value("hPa", "Pa", 1013.25), Some(101_325.0));
        assert_eq!(value("Pa", "mb", 101_325.0), Some(101_325.0 / 100.0));
        assert_eq!(value("km", "mm", 1.5), Some(1_500_000.0));
        assert_eq!(value("%", "1", 50.0), Some(0.5));
        assert_eq!(value("knots", "m/s", 36.0), Some(36.0 * 463.0 / 900.0));
        assert!(Linear::between("m s-1", "m/s", false).unwrap().is_identity());
    }

    #[test]
    fn water_is_only_water_where_it_is_said() {
        assert_eq!(Linear::between("mm day-1", "kg m-2 s-1", false), None);
        let rain = Linear::between("mm day-1", "kg m-2 s-1", true).unwrap();
        assert_eq!((rain.apply(8.64), rain.to_string()), (8.64 / 86_400.0, "÷ 86400".to_owned()));
        assert_eq!(Linear::between("mm", "kg m-2", true).map(|linear| linear.is_identity()), Some(true));
    }

    #[test]
    fn what_is_not_related_is_refused() {
        for (from, to) in [("K", "Pa"), ("degF", "K"), ("degrees", "radian"), ("m", "m s-1"), ("", "1"), ("Mm", "mm"), ("pa", "Pa")] {
            assert_eq!(Linear::between(from, to, true), None, "{from} {to}");
        }
        let mut all: Vec<&str> = TABLE.iter().flat_map(|(.., spellings)| spellings.iter().copied()).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "a spelling stands for two units");
        assert!(TABLE.iter().all(|(_, multiply, divide, add, _)| *add == 0.0 || multiply == divide));
    }
}
