//! What a scripted fault leaves to come: objects that show late, puts that arrive again.
//!
//! Invariant: what is hidden comes to light after its time, and what arrives again does so once.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use super::super::{PutMode, TargetStore};
use super::Until;

/// Faults that are not over yet.
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    hidden: Mutex<BTreeMap<String, Hidden>>,
    wandering: Mutex<Vec<Wandering>>,
}

/// A key whose new state is not seen yet.
#[derive(Debug)]
struct Hidden {
    before: Option<Bytes>,
    since: Instant,
    until: Until,
}

/// A put that arrives again.
#[derive(Debug)]
struct Wandering {
    calls: u64,
    key: String,
    bytes: Bytes,
    mode: PutMode,
}

impl Hidden {
    /// True if this look still shows the old state; counts it.
    fn holds(&mut self) -> bool {
        match &mut self.until {
            Until::Calls(0) => false,
            Until::Calls(left) => {
                *left -= 1;
                true
            }
            Until::Time(time) => self.since.elapsed() < *time,
        }
    }
}

impl Aftermath {
    /// Counts a call, and delivers what arrives again before it.
    pub(super) fn call<S: TargetStore + ?Sized>(&self, store: &S) {
        let mut wandering = self.wandering.lock().unwrap_or_else(PoisonError::into_inner);
        wandering.iter_mut().for_each(|put| put.calls = put.calls.saturating_sub(1));
        for put in wandering.extract_if(.., |put| put.calls == 0) {
            // Nobody waits for its answer any more.
            drop(store.put(&put.key, put.bytes, put.mode));
        }
    }

    /// Lets a put arrive again before the so-many-th call from now.
    pub(super) fn again(&self, calls: u64, key: &str, bytes: &Bytes, mode: PutMode) {
        let put = Wandering { calls, key: key.to_owned(), bytes: bytes.clone(), mode };
        self.wandering.lock().unwrap_or_else(PoisonError::into_inner).push(put);
    }

    /// Hides the new state of a key. One that is hidden already stays what it was before that.
    pub(super) fn hide(&self, key: &str, before: Option<Bytes>, until: Until) {
        let mut all = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        let hidden = all.entry(key.to_owned()).or_insert(Hidden { before, since: Instant::now(), until });
        (hidden.since, hidden.until) = (Instant::now(), until);
    }

    /// What a look at a key shows: `of` the state before where that is not over, else what `now` tells.
    pub(super) fn seen<T, E>(
        &self,
        key: &str,
        now: impl FnOnce() -> Result<Option<T>, E>,
        of: impl Fn(&Bytes) -> T,
    ) -> Result<Option<T>, E> {
        let mut all = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hidden) = all.get_mut(key) {
            if hidden.holds() {
                return Ok(hidden.before.as_ref().map(of));
            }
            all.remove(key);
        }
        drop(all);
        now()
    }

    /// A listing with what is hidden as it was before.
    pub(super) fn listed(&self, prefix: &str, mut keys: Vec<String>) -> Vec<String> {
        let below = prefix.trim_end_matches('/');
        let mut all = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|key, hidden| {
            let concerned = below.is_empty() || key.strip_prefix(below).is_some_and(|rest| rest.starts_with('/'));
            if concerned && !hidden.holds() {
                return false;
            }
            if concerned {
                keys.retain(|known| known != key);
                keys.extend(hidden.before.is_some().then(|| key.clone()));
            }
            true
        });
        keys.sort_unstable();
        keys
    }
}
