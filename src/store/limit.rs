//! How many requests a host gets at once.
//!
//! Additive increase, multiplicative decrease: a 429 or 503 halves the number, each success gives back a little. Not for
//! bytes in memory (that is the executor's admission). Invariant: a [`Pass`] counts from when it is given until it is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::watch::UnderWay;

/// A host that has just been asked to slow down is not slowed further by the answers already under way.
const ONE_SLOWDOWN: Duration = Duration::from_secs(1);

/// What the operator allows one host.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// Most requests under way at once.
    pub connections: usize,
    /// Most requests begun per second; `None`: as many as it answers.
    pub rate: Option<f64>,
}

/// One gate per host, shared by all callers.
#[derive(Debug)]
pub(super) struct Gates {
    #[allow(dead_code, reason = "for stores with gates of their own")]
    most: usize,
    hosts: Mutex<HashMap<String, Arc<Gate>>>,
}

impl Gates {
    /// Gates that let at most so many through at once; at least one.
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), hosts: Mutex::default() }
    }

    /// The gate of a host, with as many at once as these gates let through.
    #[allow(dead_code, reason = "for stores with gates of their own")]
    pub(super) fn of(&self, host: &str) -> Arc<Gate> {
        self.paced(host, || Pace { connections: self.most, rate: None })
    }

    /// The gate of a host, made with what the operator allows it if it is the first time.
    pub(super) fn paced(&self, host: &str, pace: impl FnOnce() -> Pace) -> Arc<Gate> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(hosts.entry(host.to_owned()).or_insert_with(|| Arc::new(Gate::new(&pace()))))
    }
}

/// The gate of one host.
#[derive(Debug)]
pub(super) struct Gate {
    most: f64,
    /// Between the beginnings of two requests.
    interval: Duration,
    state: Mutex<Traffic>,
    changed: Notify,
}

#[derive(Debug)]
struct Traffic {
    limit: f64,
    inside: usize,
    closed_until: Option<Instant>,
    slowed: Option<Instant>,
    /// Before this no further request begins.
    next: Option<Instant>,
}

impl Gate {
    fn new(pace: &Pace) -> Self {
        let most = pace.connections.max(1) as f64;
        let traffic = Traffic { limit: most, inside: 0, closed_until: None, slowed: None, next: None };
        let interval = pace.rate.map(|rate| Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX));
        Self { most, interval: interval.unwrap_or(Duration::ZERO), state: Mutex::new(traffic), changed: Notify::new() }
    }

    /// Waits for room.
    pub(super) async fn enter(self: &Arc<Self>) -> Pass {
        loop {
            let changed = self.changed.notified();
            match self.try_enter() {
                Entry::Given => return Pass { gate: Arc::clone(self), _under_way: UnderWay::begin() },
                Entry::Closed(rest) => tokio::time::sleep(rest).await,
                // A wake-up may be lost with a waiter that was dropped after it was woken.
                Entry::Full => drop(tokio::time::timeout(ONE_SLOWDOWN, changed).await),
            }
        }
    }

    fn try_enter(&self) -> Entry {
        let mut traffic = self.traffic();
        let now = Instant::now();
        let until = traffic.closed_until.max(traffic.next);
        let rest = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        if !rest.is_zero() {
            return Entry::Closed(rest);
        }
        if traffic.inside >= (traffic.limit as usize).max(1) {
            return Entry::Full;
        }
        traffic.inside += 1;
        if !self.interval.is_zero() {
            traffic.next = now.checked_add(self.interval);
        }
        Entry::Given
    }

    /// The host answered well: a little more room.
    pub(super) fn praise(&self) {
        let mut traffic = self.traffic();
        traffic.limit = (traffic.limit + 0.1 / traffic.limit.max(1.0)).min(self.most);
        drop(traffic);
        self.changed.notify_one();
    }

    /// The host asked to slow down: half the room, and none at all for `wait`.
    pub(super) fn slow_down(&self, wait: Option<Duration>) {
        let now = Instant::now();
        let mut traffic = self.traffic();
        if traffic.slowed.is_none_or(|last| now.duration_since(last) >= ONE_SLOWDOWN) {
            traffic.limit = (traffic.limit / 2.0).max(1.0);
            traffic.slowed = Some(now);
        }
        if let Some(until) = wait.and_then(|wait| now.checked_add(wait)) {
            traffic.closed_until = Some(traffic.closed_until.map_or(until, |known| known.max(until)));
        }
    }

    /// Requests let through at once, now.
    pub(super) fn room(&self) -> usize {
        (self.traffic().limit as usize).max(1)
    }

    fn traffic(&self) -> std::sync::MutexGuard<'_, Traffic> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Entry {
    Given,
    Full,
    Closed(Duration),
}

/// Permission to have one request under way.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    _under_way: UnderWay,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut traffic = self.gate.traffic();
        traffic.inside = traffic.inside.saturating_sub(1);
        drop(traffic);
        self.gate.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_once_and_recovers_slowly() {
        let gate = Gates::new(8).of("a");
        gate.slow_down(None);
        gate.slow_down(None);
        assert_eq!(gate.room(), 4);
        (0..20).for_each(|_| gate.praise());
        assert_eq!(gate.room(), 4);
        (0..10_000).for_each(|_| gate.praise());
        assert_eq!(gate.room(), 8);
    }

    #[test]
    fn a_rate_spaces_requests() -> Result<(), std::io::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let gate = Gates::new(8).paced("a", || Pace { connections: 4, rate: Some(50.0) });
        let begun = Instant::now();
        runtime.block_on(async {
            for _ in 0..6 {
                drop(gate.enter().await);
            }
        });
        // The first goes at once; noise only ever adds to the five pauses of 20 ms.
        assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
        assert_eq!(gate.room(), 4);
        Ok(())
    }

    #[test]
    fn a_full_gate_lets_the_next_in_when_one_leaves() -> Result<(), std::io::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let gate = Gates::new(1).of("a");
        runtime.block_on(async {
            let pass = gate.enter().await;
            assert!(tokio::time::timeout(Duration::from_millis(20), gate.enter()).await.is_err());
            drop(pass);
            assert!(tokio::time::timeout(Duration::from_secs(5), gate.enter()).await.is_ok());
        });
        Ok(())
    }
}
