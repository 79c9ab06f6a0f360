//! How much a run may read: inputs, bytes, minutes.
//!
//! Shared by all stores of a run. Invariant: once a limit is passed every further call fails, so that a run ends soon.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::super::{ErrorKind, StoreError};
use crate::size::ByteSize;

/// Limits of a run; `None`: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Most files that are opened.
    pub inputs: Option<u64>,
    /// Most bytes that are read from them.
    pub bytes: Option<ByteSize>,
    /// Longest time from the first file that is opened.
    pub time: Option<Duration>,
}

impl Limits {
    /// What a stranger's recipe may use where nobody says otherwise.
    pub const STRANGER: Self = Self { inputs: Some(100_000), bytes: Some(ByteSize(50 << 30)), time: Some(Duration::from_hours(6)) };

    /// These where they say something, else the others.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { inputs: self.inputs.or(other.inputs), bytes: self.bytes.or(other.bytes), time: self.time.or(other.time) }
    }
}

/// What was spent.
#[derive(Debug, Default)]
pub(in super::super) struct Budget {
    begun: OnceLock<Instant>,
    bytes: AtomicU64,
    /// Hashes of the URLs that were opened.
    inputs: Mutex<HashSet<u64>>,
    hasher: RandomState,
}

impl Budget {
    /// Refuses to begin a call if a limit is passed, by this input or before.
    pub(in super::super) fn permit(&self, limits: &Limits, url: &str) -> Result<(), StoreError> {
        if let Some(most) = limits.inputs {
            let mut inputs = self.inputs.lock().unwrap_or_else(PoisonError::into_inner);
            let hash = self.hasher.hash_one(url);
            if !inputs.contains(&hash) && inputs.len() as u64 >= most {
                return Err(exceeded(url, &format!("more than {most} inputs would be opened"), "inputs"));
            }
            inputs.insert(hash);
        }
        self.judge(limits, url)
    }

    /// Counts what a call read; refuses what comes after.
    pub(in super::super) fn spend(&self, limits: &Limits, url: &str, bytes: u64) -> Result<(), StoreError> {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.judge(limits, url)
    }

    fn judge(&self, limits: &Limits, url: &str) -> Result<(), StoreError> {
        if let Some(most) = limits.bytes.filter(|most| self.bytes.load(Ordering::Relaxed) > most.0) {
            return Err(exceeded(url, &format!("more than {most} were read"), "bytes"));
        }
        if let Some(most) = limits.time.filter(|most| self.begun.get_or_init(Instant::now).elapsed() > *most) {
            return Err(exceeded(url, &format!("the run took longer than {} minutes", most.as_secs_f64() / 60.0), "minutes"));
        }
        Ok(())
    }
}

fn exceeded(url: &str, what: &str, key: &str) -> StoreError {
    let message =
        format!("{what}, which is the limit here; bake less at once, or let the operator raise `{key}` of `[limits]` (`--max-{key}`)");
    StoreError::new(ErrorKind::Budget, url, message)
}

/// A sink that counts, and ends a stream that goes beyond the limit.
pub(in super::super) struct Counted<'a> {
    pub(in super::super) sink: &'a mut dyn Write,
    pub(in super::super) budget: &'a Budget,
    pub(in super::super) limits: &'a Limits,
    pub(in super::super) url: &'a str,
    /// Why it ended.
    pub(in super::super) exceeded: Option<StoreError>,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.budget.spend(self.limits, self.url, bytes.len() as u64) {
            self.exceeded = Some(error);
            return Err(io::Error::other("the limit of bytes is reached"));
        }
        self.sink.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_input_once_and_every_byte() {
        let (budget, limits) = (Budget::default(), Limits { inputs: Some(2), bytes: Some(ByteSize(10)), time: None });
        for url in ["a", "b", "a", "b"] {
            assert!(budget.permit(&limits, url).is_ok());
        }
        let error = budget.permit(&limits, "c").unwrap_err();
        assert_eq!((error.kind, error.exit()), (ErrorKind::Budget, 8));
        assert!(budget.spend(&limits, "a", 10).is_ok() && budget.spend(&limits, "a", 1).is_err() && budget.permit(&limits, "a").is_err());
    }

    #[test]
    fn time_runs_from_the_first_file() {
        let (budget, limits) = (Budget::default(), Limits { time: Some(Duration::from_millis(30)), ..Limits::default() });
        assert!(budget.permit(&limits, "a").is_ok());
        std::thread::sleep(Duration::from_millis(50));
        assert!(budget.permit(&limits, "a").unwrap_err().to_string().contains("minutes"));
    }
}
