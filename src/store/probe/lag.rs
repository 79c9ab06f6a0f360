//! How long a store takes until everybody sees what was done to it.
//!
//! Measured by asking again and again, with an end. Invariant: a lag of zero means that the very first look was right.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::super::StoreError;

/// Longest wait for a store to agree with itself.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// A pause between looks.
const PAUSE: Duration = Duration::from_millis(50);

/// A measured lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lag {
    /// None: the first look was right.
    None,
    /// So many milliseconds.
    Milliseconds(u64),
    /// Not even so many milliseconds were enough.
    Longer(u64),
}

impl fmt::Display for Lag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(formatter, "at once"),
            Self::Milliseconds(time) => write!(formatter, "after {time} ms"),
            Self::Longer(time) => write!(formatter, "not within {time} ms"),
        }
    }
}

/// Looks until it is as it should be.
pub(super) fn measure(longest: Duration, is_right: impl Fn() -> Result<bool, StoreError>) -> Result<Lag, StoreError> {
    let begun = Instant::now();
    let mut first = true;
    loop {
        if is_right()? {
            return Ok(if first { Lag::None } else { Lag::Milliseconds(milliseconds(begun)) });
        }
        if begun.elapsed() >= longest {
            return Ok(Lag::Longer(milliseconds(begun)));
        }
        first = false;
        std::thread::sleep(PAUSE);
    }
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_lag_has_an_end() {
        assert_eq!(measure(LONGEST, || Ok(true)).unwrap(), Lag::None);
        let looks = Cell::new(0);
        let third = || {
            looks.set(looks.get() + 1);
            Ok(looks.get() == 3)
        };
        assert!(matches!(measure(LONGEST, third).unwrap(), Lag::Milliseconds(time) if time >= 100));
        assert!(matches!(measure(Duration::from_millis(60), || Ok(false)).unwrap(), Lag::Longer(time) if time >= 60));
    }
}
