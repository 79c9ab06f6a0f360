//! Which comparisons can be made, which are made, and the inputs that they share.
//!
//! Numbers and counts; what a comparison is, is the verifier's. Invariant: each comparison is handed out once, and an input stays
//! open only while a comparison that needs it is still to come.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::run::RunError;
use crate::work::Witness;

/// How often a waiting thread looks whether it shall stop.
const LOOK: Duration = Duration::from_millis(200);

/// A variable and the index of one of its objects.
pub(super) type Object = (usize, Vec<u64>);

pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ready: VecDeque<usize>,
    taken: Vec<bool>,
    /// Objects that each comparison still waits for.
    missing: Vec<usize>,
    waiting: HashMap<Object, Vec<usize>>,
    held: bool,
    inputs: HashMap<usize, Input>,
}

#[derive(Default)]
struct Input {
    /// Comparisons that have not asked for it yet.
    left: usize,
    witness: Arc<Mutex<Option<Arc<Witness>>>>,
}

impl Queue {
    /// A queue of comparisons, each with its input and the objects it needs; none: it is never ready before the end.
    pub(super) fn new(checks: impl Iterator<Item = (Option<usize>, Vec<Object>)>) -> Self {
        let mut state = State::default();
        for (number, (input, objects)) in checks.enumerate() {
            if let Some(input) = input {
                state.inputs.entry(input).or_default().left += 1;
            }
            state.taken.push(false);
            state.missing.push(objects.len());
            for object in objects {
                state.waiting.entry(object).or_default().push(number);
            }
        }
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// An object is stored.
    pub(super) fn stored(&self, object: &Object) {
        let mut state = self.lock();
        for number in state.waiting.remove(object).unwrap_or_default() {
            let Some(missing) = state.missing.get_mut(number) else { continue };
            *missing -= 1;
            if *missing == 0 {
                state.ready.push_back(number);
                self.changed.notify_one();
            }
        }
    }

    /// The next comparison that can be made before the end; `None` once the queue is held or the run stops.
    pub(super) fn wait(&self, stop: &AtomicBool) -> Option<usize> {
        let mut state = self.lock();
        while !state.held && !stop.load(Ordering::Relaxed) {
            if let Some(number) = state.ready.pop_front() {
                state.taken[number] = true;
                return Some(number);
            }
            state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        None
    }

    /// A comparison could not be made yet: it comes again at the end.
    pub(super) fn put_back(&self, number: usize) {
        if let Some(taken) = self.lock().taken.get_mut(number) {
            *taken = false;
        }
    }

    /// Nothing more is handed out before the end.
    pub(super) fn hold(&self) {
        self.lock().held = true;
        self.changed.notify_all();
    }

    /// All that was not handed out, in order; now it is.
    pub(super) fn rest(&self) -> Vec<usize> {
        let mut state = self.lock();
        let rest = (0..state.taken.len()).filter(|&number| !state.taken[number]).collect();
        state.taken.fill(true);
        rest
    }

    /// The input, opened by whoever asks first and closed after the last; to be asked once per comparison.
    pub(super) fn witness(&self, input: usize, open: impl FnOnce() -> Result<Witness, RunError>) -> Result<Arc<Witness>, RunError> {
        let shared = {
            let mut state = self.lock();
            let entry = state.inputs.entry(input).or_default();
            entry.left = entry.left.saturating_sub(1);
            let (shared, last) = (Arc::clone(&entry.witness), entry.left == 0);
            if last {
                state.inputs.remove(&input);
            }
            shared
        };
        let mut witness = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*witness {
            return Ok(Arc::clone(known));
        }
        let opened = Arc::new(open()?);
        *witness = Some(Arc::clone(&opened));
        Ok(opened)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_is_ready_when_its_objects_are_stored_and_given_once() {
        let go = AtomicBool::new(false);
        let object = |index: u64| (0, vec![index]);
        let queue = Queue::new([(Some(0), vec![object(0), object(1)]), (None, vec![]), (Some(0), vec![object(1)])].into_iter());
        queue.stored(&object(1));
        assert_eq!(queue.wait(&go), Some(2));
        queue.stored(&object(1));
        queue.stored(&object(0));
        assert_eq!(queue.wait(&go), Some(0));
        queue.put_back(0);
        queue.hold();
        assert_eq!((queue.wait(&go), queue.rest(), queue.rest()), (None, vec![0, 1], vec![]));
    }
}
