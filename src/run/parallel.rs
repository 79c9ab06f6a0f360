//! Many small things that wait for a store, several at a time.
//!
//! For looking at objects, copying and deleting them; tasks are the executor's. Invariant: each number is worked on once, and
//! after an error nothing new is begun.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::RunError;

/// Does some work for each number below `count` on at most `threads` threads.
///
/// # Errors
/// The first that occurred; [`RunError::Interrupted`] if `stop` was set before all was done.
pub(super) fn each(
    threads: usize,
    count: usize,
    stop: &AtomicBool,
    work: &(dyn Fn(usize) -> Result<(), RunError> + Sync),
) -> Result<(), RunError> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    on_threads(threads.min(count), &|| {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count || failed.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                return;
            }
            let result = if stop.load(Ordering::Relaxed) { Err(RunError::Interrupted) } else { work(number) };
            if let Err(error) = result {
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Runs the same on several threads, this one included; where no more threads are to be had, the others do the work.
pub(super) fn on_threads(threads: usize, work: &(dyn Fn() + Sync)) {
    std::thread::scope(|scope| {
        for number in 1..threads {
            let _started = std::thread::Builder::new().name(format!("store {number}")).spawn_scoped(scope, work);
        }
        work();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once_and_an_error_ends_it() {
        let (go, seen) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let note = |number: usize| {
            seen.lock().unwrap().push(number);
            Ok(())
        };
        each(4, 1000, &go, &note).unwrap();
        let mut numbers = seen.lock().unwrap().clone();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
        let failing = |number: usize| if number == 3 { Err(RunError::Conflict { message: "three".into() }) } else { Ok(()) };
        assert!(matches!(each(2, 1000, &go, &failing), Err(RunError::Conflict { .. })));
        go.store(true, Ordering::Relaxed);
        assert!(matches!(each(2, 10, &go, &note), Err(RunError::Interrupted)));
        each(2, 0, &go, &note).unwrap();
    }
}
