//! Many small pieces of work on several threads, with progress for those who wait.
//!
//! Invariant: the first error stops the others after the piece they are in; nothing is shown of what takes less than a second.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::event::{Event, Phase, Reporter};
use crate::run::RunError;

/// Nobody wants to see progress before.
const PATIENCE: Duration = Duration::from_secs(1);

/// Threads, who listens, and what stops them.
#[derive(Clone, Copy)]
pub(in crate::run) struct Crew<'a> {
    pub(in crate::run) threads: usize,
    pub(in crate::run) reporter: &'a dyn Reporter,
    pub(in crate::run) stop: &'a AtomicBool,
}

impl Crew<'_> {
    /// As many threads, but no more than this.
    pub(in crate::run) fn at_most(self, threads: usize) -> Self {
        Self { threads: self.threads.min(threads).max(1), ..self }
    }

    /// Does `work` for every number below `count`.
    pub(in crate::run) fn each(&self, count: u64, work: &(dyn Fn(u64) -> Result<(), RunError> + Sync)) -> Result<(), RunError> {
        let (next, done, shown) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let (begun, failed) = (Instant::now(), Mutex::new(None));
        let lock = || failed.lock().unwrap_or_else(PoisonError::into_inner);
        let toil = || loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count || self.stop.load(Ordering::Relaxed) || lock().is_some() {
                return;
            }
            if let Err(error) = work(number) {
                lock().get_or_insert(error);
                return;
            }
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if shown.load(Ordering::Relaxed) {
                self.reporter.report(Event::StepFinished { phase: Phase::Audit, bytes: 0 });
            } else if begun.elapsed() > PATIENCE && !shown.swap(true, Ordering::Relaxed) {
                self.reporter.report(Event::PhaseStarted { phase: Phase::Audit, steps: count, done, bytes: 0 });
            }
        };
        std::thread::scope(|scope| {
            for number in 1..self.threads.min(usize::try_from(count).unwrap_or(usize::MAX)) {
                // Where no more threads are to be had, the others do the work.
                let _started = std::thread::Builder::new().name(format!("audit {number}")).spawn_scoped(scope, toil);
            }
            toil();
        });
        if shown.into_inner() {
            self.reporter.report(Event::PhaseFinished { phase: Phase::Audit });
        }
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None if self.stop.load(Ordering::Relaxed) => Err(RunError::Interrupted),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;

    #[test]
    fn every_number_once_or_the_error() {
        let stop = AtomicBool::new(false);
        let crew = Crew { threads: 4, reporter: &Silent, stop: &stop };
        let seen = Mutex::new(vec![0; 1000]);
        let see = |number: u64| {
            seen.lock().unwrap()[usize::try_from(number).unwrap()] += 1;
            Ok(())
        };
        crew.each(1000, &see).unwrap();
        assert!(seen.lock().unwrap().iter().all(|&times| times == 1));
        crew.each(0, &see).unwrap();
        let usage = |_| Err(RunError::Usage { message: "no".to_owned() });
        assert!(matches!(crew.each(5, &usage), Err(RunError::Usage { .. })));
        stop.store(true, Ordering::Relaxed);
        assert!(matches!(crew.each(5, &|_| Ok(())), Err(RunError::Interrupted)));
    }
}
