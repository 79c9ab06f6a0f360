//! A small map of what a test baked, for people who look at a pull request.
//!
//! `draw` boils a plane of a store down to some thousand shades, `png` and `text` show them, `colours` has the scale. What crosses
//! the border between the jobs is those shades, never an image: images are made where they are shown, so nobody reads a stranger's.
//! Invariant: shade 0 says that there is no value, and nothing else does.

mod colours;
mod draw;
mod png;
mod text;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

pub use draw::{Period, draw, period};

/// Most pixels along either side.
pub const WIDEST: u32 = 240;
/// Shade of the largest value; that of the smallest is 1.
pub(super) const BRIGHTEST: u8 = 254;

/// A map of one variable at one position of its other dimensions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// The variable.
    pub variable: String,
    /// Where along its other dimensions: `time 2006-01-01T12:00:00`.
    pub at: String,
    /// Units of its values; empty if it has none.
    pub units: String,
    /// Pixels from west to east.
    pub width: u32,
    /// Pixels from north to south.
    pub height: u32,
    /// Value of the first shade; what is less has it too.
    pub low: f64,
    /// Value of the last shade; what is more has it too.
    pub high: f64,
    /// A byte per pixel, row by row from the north, in base64: 0 for no value, 1 to 254 from `low` to `high`.
    shades: String,
}

impl Picture {
    /// The pixels, if there are as many as there should be and each is one of the shades.
    #[must_use]
    pub fn shades(&self) -> Option<Vec<u8>> {
        let sides = [self.width, self.height].iter().all(|side| (1..=WIDEST).contains(side));
        // Four letters of base64 are three bytes: nothing larger is decoded.
        if !sides || self.shades.len() > (WIDEST * WIDEST) as usize * 2 {
            return None;
        }
        let shades = STANDARD.decode(&self.shades).ok()?;
        let whole = shades.len() == self.width as usize * self.height as usize;
        (whole && shades.iter().all(|shade| *shade <= BRIGHTEST)).then_some(shades)
    }

    /// True if it can be shown: its pixels are right, and its scale goes from one number to another.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.low.is_finite() && self.high.is_finite() && self.low <= self.high && self.shades().is_some()
    }

    /// Share of the pixels without a value, in percent.
    #[must_use]
    pub fn missing(&self) -> u64 {
        let shades = self.shades().unwrap_or_default();
        let none = shades.iter().map(|shade| u64::from(*shade == 0)).sum::<u64>();
        (none * 100).checked_div(shades.len() as u64).unwrap_or(100)
    }

    /// As an image: the map, and below it its scale.
    #[must_use]
    pub fn png(&self) -> Option<Vec<u8>> {
        png::image(self)
    }

    /// As lines of letters, for places that show no image.
    #[must_use]
    pub fn text(&self) -> Vec<String> {
        text::lines(self).unwrap_or_default()
    }
}

/// A number as a legend shows it: four digits.
#[must_use]
pub fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e6).contains(&size) {
        return format!("{value:.3e}");
    }
    let digits = (3 - size.max(1e-3).log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{value:.digits$}");
    let short = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn picture(width: u32, height: u32, shades: &[u8]) -> Picture {
        let (variable, at, units) = ("sst".to_owned(), String::new(), "K".to_owned());
        Picture { variable, at, units, width, height, low: 0.0, high: 1.0, shades: STANDARD.encode(shades) }
    }

    #[test]
    fn only_what_can_be_shown_is_sound() {
        assert!(picture(2, 1, &[0, 254]).is_sound());
        for wrong in
            [picture(2, 1, &[0]), picture(0, 0, &[]), picture(241, 1, &[1; 241]), picture(1, 1, &[255]), picture(u32::MAX, 1, &[1])]
        {
            assert!(!wrong.is_sound() && wrong.png().is_none() && wrong.text().is_empty(), "{wrong:?}");
        }
        let scale = |low, high| Picture { low, high, ..picture(1, 1, &[1]) }.is_sound();
        assert!(scale(1.0, 1.0) && !scale(2.0, 1.0) && !scale(f64::NAN, 1.0) && !scale(0.0, f64::INFINITY));
        assert!(!Picture { shades: "A".repeat(1 << 20), ..picture(1, 1, &[1]) }.is_sound());
        assert_eq!(picture(4, 1, &[0, 1, 2, 3]).missing(), 25);
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 273.16, -1.5, 101_325.0, 1.0e-9, 0.0123, 4.0e20, -0.000_01].map(number);
        assert_eq!(shown, ["0", "273.2", "-1.5", "101325", "1.000e-9", "0.0123", "4.000e20", "-1.000e-5"]);
    }
}
