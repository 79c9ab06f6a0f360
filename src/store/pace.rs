//! Watching that a server does not merely drip.
//!
//! Not for silence, which each read's own timeout notices. Invariant: an answer that brings less than [`PROGRESS`] in
//! [`WINDOWS`] idle timeouts ends.

use std::time::{Duration, Instant};

use super::retry::Fault;

/// Bytes that count as progress; a server that drips less in [`WINDOWS`] idle timeouts is as good as silent.
pub(super) const PROGRESS: u64 = 1 << 10;

/// Idle timeouts in which [`PROGRESS`] must be made.
const WINDOWS: u32 = 4;

/// The pace of one answer.
pub(super) struct Pace {
    idle: Duration,
    since: Instant,
    bytes: u64,
}

impl Pace {
    /// Begins to watch.
    pub(super) fn new(idle: Duration) -> Self {
        Self { idle, since: Instant::now(), bytes: 0 }
    }

    /// Counts what came.
    pub(super) fn keep(&mut self, more: usize) -> Result<(), Fault> {
        self.bytes = self.bytes.saturating_add(more as u64);
        if self.bytes >= PROGRESS {
            (self.since, self.bytes) = (Instant::now(), 0);
        }
        if self.since.elapsed() > self.idle.saturating_mul(WINDOWS) { Err(silence(self.idle)) } else { Ok(()) }
    }
}

/// A server that said nothing for so long.
pub(super) fn silence(idle: Duration) -> Fault {
    Fault::passing(format!("the server fell silent for {:.1} s", idle.as_secs_f64()))
}
