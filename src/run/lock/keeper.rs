//! Keeps a lease alive, and knows when it is lost.
//!
//! Invariant: a lease that could not be renewed for longer than others are patient counts as lost, whether anybody took it or not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::fence::IsLost;
use super::lease::{Lease, Standing};
use crate::run::RunError;

/// Renews a lease until dropped, and then releases it.
pub(super) struct LeaseKeeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    lease: Lease,
    target: String,
    stop: AtomicBool,
    health: Mutex<Health>,
}

struct Health {
    /// When it was last known to be ours.
    renewed: Instant,
    /// Who has it now.
    taken: Option<String>,
    /// Why it could not be renewed.
    trouble: Option<String>,
}

/// How long the end of a run waits for a renewal that is under way.
const FAREWELL: Duration = Duration::from_secs(5);

impl LeaseKeeper {
    /// Begins to renew.
    pub(super) fn start(lease: Lease, target: &str) -> Self {
        let health = Mutex::new(Health { renewed: Instant::now(), taken: None, trouble: None });
        let shared = Arc::new(Shared { lease, target: target.to_owned(), stop: AtomicBool::new(false), health });
        let kept = Arc::clone(&shared);
        // Without a thread the lease is lost when patience ends, which stops the run.
        let thread = std::thread::Builder::new().name("lease".to_owned()).spawn(move || kept.keep()).ok();
        Self { shared, thread }
    }

    /// Why the lease is no longer held, if that is known.
    pub(super) fn lost(&self) -> Option<RunError> {
        self.shared.lost()
    }

    /// Tells, without asking anybody, whether it is known that the lease is lost.
    pub(super) fn is_lost(&self) -> IsLost {
        let shared = Arc::clone(&self.shared);
        Arc::new(move || shared.lost().is_some())
    }

    /// The same; who only knows that he was silent for too long asks once more whether another holds it by now.
    pub(super) fn lost_to(&self) -> Option<RunError> {
        let lost = self.lost()?;
        match self.shared.lease.standing() {
            Ok(Standing::Taken(by)) => Some(self.shared.taken(&by)),
            _ => Some(lost),
        }
    }

    /// Asks whether the lease is still held.
    pub(super) fn still_ours(&self) -> Result<(), RunError> {
        let shared = &self.shared;
        if let Some(lost) = self.lost_to() {
            return Err(lost);
        }
        match shared.lease.settled()? {
            Standing::Ours => Ok(()),
            Standing::Taken(by) => {
                // Known from now on, so that nothing is written over what the other keeps.
                shared.health().taken = Some(by.clone());
                Err(shared.taken(&by))
            }
            Standing::Gone => Err(shared.lapsed("its lease was deleted")),
        }
    }
}

impl Shared {
    fn keep(&self) {
        let mut beat = 0_u64;
        loop {
            std::thread::park_timeout(self.lease.timing().renewal);
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            beat = beat.saturating_add(1);
            let renewed = self.lease.renew(beat);
            let mut health = self.health();
            match renewed {
                Ok(Standing::Ours) => (health.renewed, health.trouble) = (Instant::now(), None),
                Ok(Standing::Taken(by)) => {
                    health.taken = Some(by);
                    return;
                }
                // It may be a store that shows things late; if not, patience will end.
                Ok(Standing::Gone) => health.trouble = Some("its lease was deleted".to_owned()),
                Err(error) => health.trouble = Some(crate::run::with_causes(&error)),
            }
        }
    }

    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self) -> Option<RunError> {
        let health = self.health();
        if let Some(by) = &health.taken {
            return Some(self.taken(by));
        }
        let silent = health.renewed.elapsed() > self.lease.timing().patience;
        silent.then(|| self.lapsed(health.trouble.as_deref().unwrap_or("this process was suspended, or its machine too busy")))
    }

    fn taken(&self, by: &str) -> RunError {
        let target = &self.target;
        let message = format!(
            "{target} was taken over by {by}, because this run had shown no sign of life; what is done is kept, wait until that run is done"
        );
        RunError::Held { message }
    }

    fn lapsed(&self, why: &str) -> RunError {
        let target = &self.target;
        let seconds = self.lease.timing().patience.as_secs();
        let message = format!(
            "{target}: the lease could not be renewed for {seconds} s, so another run may have begun: {why}; run the same command again to go on"
        );
        RunError::Lapsed { message }
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return };
        thread.thread().unpark();
        let begun = Instant::now();
        while !thread.is_finished() {
            if begun.elapsed() > FAREWELL {
                // It hangs in a request; the lease ends by itself.
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // Left as it is, it would only make the next run wait.
        drop(self.shared.lease.release());
    }
}

#[cfg(test)]
mod tests {
    use super::super::lease::{Proof, Timing, take};
    use super::*;
    use crate::store::fault::{Faulty, Mishap, Operation, Rule};
    use crate::store::{Access, ErrorKind, TargetStore, target};

    const QUICK: Timing =
        Timing { renewal: Duration::from_millis(20), patience: Duration::from_millis(250), settling: Duration::from_millis(50) };

    fn store(name: &str) -> Arc<dyn TargetStore> {
        target(&format!("memory://keeper-{name}"), &Access::default()).unwrap()
    }

    fn keep(store: &Arc<dyn TargetStore>) -> LeaseKeeper {
        LeaseKeeper::start(take(store, "out", Proof::Created, QUICK).unwrap(), "out")
    }

    #[test]
    fn a_kept_lease_outlives_patience_and_is_released() {
        let store = store("kept");
        let keeper = keep(&store);
        std::thread::sleep(QUICK.patience * 2);
        keeper.still_ours().unwrap();
        assert_eq!(take(&store, "out", Proof::Created, QUICK).err().map(|error| error.exit()), Some(6));
        drop(keeper);
        let begun = Instant::now();
        assert_eq!(take(&store, "out", Proof::Created, QUICK).unwrap().epoch(), 2);
        assert!(begun.elapsed() < QUICK.patience, "a released lease is not waited for");
    }

    #[test]
    fn who_cannot_renew_stops_with_75() {
        let down = Rule::every(Operation::Put, "lease/", Mishap::Fail(ErrorKind::Temporary));
        let (inner, name) = (store("down"), "down");
        let lease = take(&inner, name, Proof::Created, QUICK).unwrap();
        let faulty: Arc<dyn TargetStore> = Arc::new(Faulty::new(inner, vec![down]));
        let keeper = LeaseKeeper::start(lease.through(faulty), name);
        assert!(keeper.lost().is_none());
        std::thread::sleep(QUICK.patience * 2);
        let lost = keeper.lost().unwrap();
        assert_eq!(lost.exit(), 75);
        assert!(lost.to_string().contains("scripted fault") && lost.to_string().contains("run the same command again"), "{lost}");
        assert_eq!(keeper.still_ours().map_err(|error| error.exit()), Err(75));
    }

    #[test]
    fn who_was_taken_over_stops_with_6() {
        let store = store("taken");
        let keeper = keep(&store);
        let other = take(&store, "out", Proof::Created, QUICK);
        assert!(other.is_err(), "the first lives");
        store.put("lease/0000000002.json", bytes::Bytes::from_static(b"{}"), crate::store::PutMode::Create).unwrap();
        assert_eq!(keeper.still_ours().map_err(|error| error.exit()), Err(6), "commit sees it before the next renewal does");
        assert_eq!(keeper.lost().map(|error| error.exit()), Some(6), "and what commit saw is known");
        std::thread::sleep(QUICK.renewal * 10);
        let lost = keeper.lost().unwrap();
        assert_eq!(lost.exit(), 6);
        assert!(lost.to_string().contains("was taken over by another run"), "{lost}");
    }
}
