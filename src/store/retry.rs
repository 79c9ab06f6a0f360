//! When to try again, and how long to wait first.
//!
//! Exponential backoff with full jitter, a server's `Retry-After` honoured, attempts and elapsed time both capped; progress
//! starts the count anew, so that a long file over a bad line arrives in pieces. Not for what is passing and what is not:
//! whoever made the request says so with [`Fault`]. Invariant: a final fault is never tried again.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::event::{Event, Reporter};

use super::access::Retries;
use super::address::shown;
use super::limit::Gate;
use super::{ErrorKind, StoreError};

/// A failed attempt.
#[derive(Debug)]
pub(super) enum Fault {
    /// May work next time.
    Passing(Passing),
    /// Will not.
    Final(StoreError),
}

/// A fault that may be gone next time.
#[derive(Debug, Default)]
pub(super) struct Passing {
    /// What happened, in a few words.
    pub(super) reason: String,
    /// How long the server asks to wait.
    pub(super) wait: Option<Duration>,
    /// The server asks for fewer requests.
    pub(super) crowded: bool,
    /// Why, where a library said it.
    pub(super) cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Fault {
    /// A passing fault with nothing known but its reason.
    pub(super) fn passing(reason: impl Into<String>) -> Self {
        Self::Passing(Passing { reason: reason.into(), ..Passing::default() })
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Final(error)
    }
}

/// The patience left for one request.
pub(super) struct Patience<'a> {
    url: &'a str,
    retries: &'a Retries,
    gate: &'a Gate,
    reporter: &'a dyn Reporter,
    failures: u32,
    /// When the first attempt failed; waiting for a turn is no failure.
    since: Option<Instant>,
}

impl<'a> Patience<'a> {
    /// Full patience for a request to the host of `gate`.
    pub(super) fn new(url: &'a str, retries: &'a Retries, gate: &'a Gate, reporter: &'a dyn Reporter) -> Self {
        Self { url, retries, gate, reporter, failures: 0, since: None }
    }

    /// Tries until it works, or until patience ends.
    pub(super) async fn persist<T>(mut self, attempt: impl AsyncFn() -> Result<T, Fault>) -> Result<T, StoreError> {
        loop {
            match attempt().await {
                Ok(value) => {
                    self.gate.praise();
                    return Ok(value);
                }
                Err(fault) => self.after(fault).await?,
            }
        }
    }

    /// New bytes arrived before the fault: the count starts anew.
    pub(super) fn renew(&mut self) {
        self.failures = 0;
        self.since = None;
    }

    /// Waits until the next attempt, or says that there will be none.
    pub(super) async fn after(&mut self, fault: Fault) -> Result<(), StoreError> {
        let passing = match fault {
            Fault::Final(error) => return Err(error),
            Fault::Passing(passing) => passing,
        };
        if passing.crowded {
            self.gate.slow_down(passing.wait.filter(|wait| *wait <= self.retries.give_up_after));
        }
        self.failures = self.failures.saturating_add(1);
        let wait = self.retries.wait(self.failures, passing.wait);
        let tried = self.since.get_or_insert_with(Instant::now).elapsed();
        if self.failures >= self.retries.attempts || tried.saturating_add(wait) > self.retries.give_up_after {
            return Err(self.give_up(passing));
        }
        self.reporter.report(Event::Retried { url: shown(self.url), reason: passing.reason });
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn give_up(&self, passing: Passing) -> StoreError {
        let asked = passing.wait.map_or_else(String::new, |wait| format!(", which asks to wait {} s", wait.as_secs()));
        let times = if self.failures == 1 { "once".to_owned() } else { format!("{} times", self.failures) };
        let seconds = self.since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        let message = format!("{}{asked}; tried {times} in {seconds:.0} s; run again later: retry helps", passing.reason);
        let error = StoreError::new(ErrorKind::Temporary, self.url, message);
        match passing.cause {
            Some(cause) => error.because(cause),
            None => error,
        }
    }
}

impl Retries {
    /// Wait before attempt `failures + 1`: what the server asks and a little jitter, else a random part of a doubling time.
    fn wait(&self, failures: u32, asked: Option<Duration>) -> Duration {
        let doubling = self.first_wait.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(self.longest_wait);
        match asked {
            Some(asked) => asked.saturating_add(self.first_wait.mul_f64(chance())),
            None => doubling.mul_f64(chance()),
        }
    }
}

/// A random number in 0 … 1, good enough to keep clients from knocking together.
fn chance() -> f64 {
    RandomState::new().hash_one(0_u8) as f64 / u64::MAX as f64
}

/// How long `Retry-After` asks to wait: seconds, or an HTTP date against the server's own `Date` (RFC 9110 §10.2.3).
pub(super) fn retry_after(value: &str, date: Option<&str>) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let then = moment(value)?;
    let now = date.and_then(moment).unwrap_or_else(jiff::Timestamp::now);
    Some(Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO))
}

fn moment(text: &str) -> Option<jiff::Timestamp> {
    jiff::fmt::rfc2822::parse(text.trim()).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_retry_after() {
        let date = Some("Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!(retry_after(" 7 ", None), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:30 GMT", date), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:27:00 GMT", date), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", None), None);
    }

    #[test]
    fn waits_grow_and_are_capped() {
        let retries = Retries { first_wait: Duration::from_millis(100), longest_wait: Duration::from_secs(1), ..Retries::default() };
        for failures in 1..40 {
            assert!(retries.wait(failures, None) <= Duration::from_secs(1).min(retries.first_wait * 2_u32.saturating_pow(failures - 1)));
        }
        let asked = Duration::from_secs(3);
        assert!(retries.wait(1, Some(asked)) >= asked);
    }
}
