//! How much memory the numbers in a foreign file may claim at once.
//!
//! A header of a few bytes can claim dimensions, chunks and texts of any size. Whoever takes memory for such a claim asks here
//! first. Not for the memory of tasks (that is `plan` and `executor`). Invariant: a claim that is refused has taken nothing.

use super::SourceError;
use crate::size::ByteSize;

/// One call on one file may take this share of the memory of the process.
const SHARE: u64 = 4;
/// But always so much.
const LEAST: u64 = 16 << 20;

/// Most bytes that one call on one file may hold for what the file claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling(u64);

impl Default for Ceiling {
    /// For callers that were told of no limit: 1 GiB.
    fn default() -> Self {
        Self(1 << 30)
    }
}

impl Ceiling {
    /// Of a process that may take so many bytes in all: a quarter.
    #[must_use]
    pub fn of_memory(memory: u64) -> Self {
        Self((memory / SHARE).max(LEAST))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// Refuses a claim that is too large; `what` begins the sentence.
    pub(super) fn check(self, url: &str, what: &str, bytes: u64) -> Result<(), SourceError> {
        if bytes <= self.0 {
            return Ok(());
        }
        let message = format!(
            "{what} would take {} of memory at once, where {} are allowed; if the file is meant to be like that give more `--memory`, else it is damaged or hostile",
            ByteSize(bytes),
            ByteSize(self.0)
        );
        Err(SourceError::TooLarge { url: url.to_owned(), message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_held_to_a_quarter_of_the_memory() {
        let ceiling = Ceiling::of_memory(400 << 20);
        assert!(ceiling.check("a.nc", "variable `x`", 100 << 20).is_ok());
        let refused = ceiling.check("a.nc", "variable `x`", (100 << 20) + 1).unwrap_err();
        assert_eq!(refused.code().exit(), 8);
        assert!(refused.to_string().starts_with("a.nc: variable `x` would take"), "{refused}");
        assert_eq!(Ceiling::of_memory(0).bytes(), 16 << 20);
    }
}
