//! The board: which steps of which tasks can be done next, and what they may hold.
//!
//! Plain queues, no threads and no waiting: those are the floor's. A task is opened (its files read, its fetches begun) ahead of
//! its turn; its values get memory, in the order of opening, when the budget has room. Invariant: bytes of admitted objects never
//! exceed the budget, except that one task alone is always admitted; and what is fetched ahead never exceeds its own limit by more
//! than one batch per thread.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::receipt::Receipt;
use crate::work::{Prepared, WorkError};

/// Tasks opened, or being opened, before there is memory for their values.
const AHEAD: usize = 2;
/// Receipts that may wait to be kept.
const UNKEPT: usize = 64;

/// After so many tasks have failed no further ones are begun: what is wrong is not one file.
const MOST_FAILED: usize = 16;

/// Something one thread does in one go.
pub(super) enum Step {
    Open(u64),
    Fetch(Arc<Prepared>, Vec<usize>),
    Place(Place),
    Encode(Arc<Prepared>, usize),
    Write(Arc<Prepared>, usize, Bytes),
    Keep(Receipt, u64),
}

/// What is left behind if a step does not succeed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remains {
    /// The task; `None`: the step belongs to a finished one.
    task: Option<u64>,
    opening: bool,
    /// Fetched bytes that the step holds, and encoded ones.
    fetched: u64,
    encoded: u64,
}

impl Step {
    /// What must be taken back if it fails.
    pub(super) fn remains(&self) -> Remains {
        let none = Remains { task: None, opening: false, fetched: 0, encoded: 0 };
        match self {
            Self::Open(number) => Remains { task: Some(*number), opening: true, ..none },
            Self::Fetch(prepared, reads) => Remains { task: Some(prepared.task.number), fetched: stored_bytes(prepared, reads), ..none },
            Self::Place(place) => Remains { task: Some(place.prepared.task.number), fetched: place.fetched(), ..none },
            Self::Encode(prepared, _) => Remains { task: Some(prepared.task.number), ..none },
            Self::Write(prepared, _, bytes) => Remains { task: Some(prepared.task.number), encoded: bytes.len() as u64, ..none },
            Self::Keep(..) => none,
        }
    }
}

/// Bytes to fetch for some reads of a task.
fn stored_bytes(prepared: &Prepared, reads: &[usize]) -> u64 {
    reads.iter().map(|&read| prepared.reads[read].stored_bytes()).sum()
}

/// Bytes that an object takes besides its values while its task runs: where it lies, its reads, its part of the receipt (measured: 700).
const BOOKKEEPING: u64 = 1 << 10;

/// A read to decode and place; without its bytes if reading them costs no waiting.
pub(super) struct Place {
    pub(super) prepared: Arc<Prepared>,
    pub(super) read: usize,
    pub(super) parts: Option<Vec<Bytes>>,
}

impl Place {
    /// Fetched bytes that it holds.
    fn fetched(&self) -> u64 {
        if self.parts.is_some() { self.prepared.reads[self.read].stored_bytes() } else { 0 }
    }
}

/// A task that is opened and not finished.
struct Open {
    begun: Instant,
    /// Bytes its values may hold, once they may.
    bytes: u64,
    /// What one encoded object gives back.
    share: u64,
    admitted: bool,
    /// Reads that wait for admission.
    held: Vec<Place>,
    /// Objects that no read fills, waiting likewise.
    full: Vec<(Arc<Prepared>, usize)>,
}

/// What a job's steps depend on besides the board.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Threads that compute.
    pub(super) threads: usize,
    /// Bytes that admitted objects may hold.
    pub(super) budget: u64,
    /// Bytes fetched, and as many encoded, that may wait.
    pub(super) waiting: u64,
    pub(super) far_sources: bool,
    pub(super) far_target: bool,
}

#[derive(Default)]
pub(super) struct Board {
    tasks: VecDeque<u64>,
    open: HashMap<u64, Open>,
    /// Opened tasks that are not admitted, first come first.
    ahead: VecDeque<u64>,
    fetches: VecDeque<(Arc<Prepared>, Vec<usize>)>,
    places: VecDeque<Place>,
    encodes: VecDeque<(Arc<Prepared>, usize)>,
    writes: VecDeque<(Arc<Prepared>, usize, Bytes)>,
    keeps: VecDeque<(Receipt, u64)>,
    /// Bytes of admitted objects.
    admitted: u64,
    /// Tasks begun and not finished, and of those the ones still being opened.
    running: usize,
    opening: usize,
    fetched: u64,
    encoded: u64,
    pub(super) errors: Vec<WorkError>,
    /// Tasks that failed.
    failed: HashSet<u64>,
    /// True once an error says that no task would fare better.
    halted: bool,
}

impl Board {
    pub(super) fn new(tasks: impl Iterator<Item = u64>) -> Self {
        Self { tasks: tasks.collect(), ..Self::default() }
    }

    /// True if nothing new shall be begun.
    pub(super) fn is_halted(&self) -> bool {
        self.halted
    }

    /// Something is wrong that no task would fare better with.
    pub(super) fn halt(&mut self, error: WorkError) {
        self.errors.push(error);
        self.halted = true;
    }

    /// A step did not succeed. If that is its task's own misfortune, all that waits of the task goes and the others go on.
    pub(super) fn fail(&mut self, remains: Remains, error: WorkError) {
        self.fetched = self.fetched.saturating_sub(remains.fetched);
        self.encoded = self.encoded.saturating_sub(remains.encoded);
        if remains.opening {
            self.not_opened();
        }
        let Some(task) = remains.task.filter(|_| error.is_of_its_task()) else { return self.halt(error) };
        if !self.failed.insert(task) {
            return;
        }
        self.errors.push(error);
        self.halted |= self.failed.len() >= MOST_FAILED;
        self.running -= 1;
        self.forget(task);
    }

    /// Takes back what is held and queued for a task.
    fn forget(&mut self, task: u64) {
        self.ahead.retain(|number| *number != task);
        let mut places: Vec<Place> = Vec::new();
        if let Some(open) = self.open.remove(&task) {
            self.admitted = self.admitted.saturating_sub(if open.admitted { open.bytes } else { 0 });
            places.extend(open.held);
        }
        let (gone, kept): (VecDeque<Place>, VecDeque<Place>) = self.places.drain(..).partition(|place| place.prepared.task.number == task);
        self.places = kept;
        let fetched: u64 = places.iter().chain(&gone).map(Place::fetched).sum();
        self.fetched = self.fetched.saturating_sub(fetched);
        self.fetches.retain(|(prepared, _)| prepared.task.number != task);
        self.encodes.retain(|(prepared, _)| prepared.task.number != task);
        let encoded: u64 =
            self.writes.iter().filter(|(prepared, ..)| prepared.task.number == task).map(|(.., bytes)| bytes.len() as u64).sum();
        self.encoded = self.encoded.saturating_sub(encoded);
        self.writes.retain(|(prepared, ..)| prepared.task.number != task);
    }

    /// True if every task has left its receipt, or failed.
    pub(super) fn is_done(&self) -> bool {
        self.tasks.is_empty() && self.running == 0
    }

    /// What a compute thread does next: free memory first, then fill objects, then begin a task.
    pub(super) fn near_step(&mut self, terms: &Terms) -> Option<Step> {
        let room = !terms.far_target || self.encoded < terms.waiting;
        if let Some((prepared, object)) = room.then(|| self.encodes.pop_front()).flatten() {
            return Some(Step::Encode(prepared, object));
        }
        if let Some(place) = self.places.pop_front() {
            return Some(Step::Place(place));
        }
        if terms.far_sources { None } else { self.open_next(terms.threads) }
    }

    /// What a thread that writes does next: keep receipts, upload.
    pub(super) fn upload_step(&mut self) -> Option<Step> {
        let upload = |(prepared, object, bytes)| Step::Write(prepared, object, bytes);
        self.unkept().or_else(|| self.writes.pop_front().map(upload))
    }

    /// What a thread that reads far files does next: open what comes next, then fetch.
    pub(super) fn fetch_step(&mut self, terms: &Terms) -> Option<Step> {
        // Opened first: the next task's headers shall not wait behind all of this one's bytes.
        if let Some(step) = self.open_next(1) {
            return Some(step);
        }
        if self.fetched >= terms.waiting {
            return None;
        }
        let (prepared, reads) = self.fetches.pop_front()?;
        self.fetched += stored_bytes(&prepared, &reads);
        Some(Step::Fetch(prepared, reads))
    }

    /// A receipt to keep: all that is left to do when a run is stopped.
    pub(super) fn unkept(&mut self) -> Option<Step> {
        self.keeps.pop_front().map(|(receipt, bytes)| Step::Keep(receipt, bytes))
    }

    fn open_next(&mut self, at_once: usize) -> Option<Step> {
        if !self.may_open(at_once) {
            return None;
        }
        let number = self.tasks.pop_front()?;
        self.running += 1;
        self.opening += 1;
        Some(Step::Open(number))
    }

    /// A task could not be opened.
    pub(super) fn not_opened(&mut self) {
        self.opening -= 1;
    }

    /// Takes up an opened task: `near` reads need no fetching, `far` ones come in batches.
    pub(super) fn opened(&mut self, prepared: &Arc<Prepared>, begun: Instant, near: Vec<usize>, far: Vec<Vec<usize>>) {
        let bytes = prepared.task.bytes.saturating_add(prepared.objects.len() as u64 * BOOKKEEPING);
        let objects = prepared.objects.len().max(1) as u64;
        let held = near.into_iter().map(|read| Place { prepared: Arc::clone(prepared), read, parts: None }).collect();
        self.opening -= 1;
        let empty = prepared.objects.iter().enumerate().filter(|(_, object)| object.is_full());
        let full = empty.map(|(object, _)| (Arc::clone(prepared), object)).collect();
        let share = bytes.div_ceil(objects);
        self.open.insert(prepared.task.number, Open { begun, bytes, share, admitted: false, held, full });
        self.ahead.push_back(prepared.task.number);
        self.fetches.extend(far.into_iter().map(|reads| (Arc::clone(prepared), reads)));
    }

    /// Takes up fetched reads.
    pub(super) fn fetched(&mut self, prepared: &Arc<Prepared>, reads: Vec<usize>, parts: Vec<Vec<Bytes>>) {
        if self.failed.contains(&prepared.task.number) {
            self.fetched = self.fetched.saturating_sub(stored_bytes(prepared, &reads));
            return;
        }
        let place = |(read, parts)| Place { prepared: Arc::clone(prepared), read, parts: Some(parts) };
        let places = reads.into_iter().zip(parts).map(place);
        match self.open.get_mut(&prepared.task.number) {
            Some(open) if !open.admitted => open.held.extend(places),
            _ => self.places.extend(places),
        }
    }

    /// A read is placed; its bytes, if they were fetched, are gone, and some objects are full.
    pub(super) fn placed(&mut self, prepared: &Arc<Prepared>, fetched: u64, full: Vec<usize>) {
        self.fetched = self.fetched.saturating_sub(fetched);
        if self.failed.contains(&prepared.task.number) {
            return;
        }
        self.encodes.extend(full.into_iter().map(|object| (Arc::clone(prepared), object)));
    }

    /// An object is encoded and its values freed; `upload` is what has to be uploaded.
    pub(super) fn encoded(&mut self, prepared: &Arc<Prepared>, object: usize, upload: Option<Bytes>) {
        if let Some(open) = self.open.get_mut(&prepared.task.number) {
            let freed = open.share.min(open.bytes);
            open.bytes -= freed;
            // Only admitted tasks' objects are encoded.
            self.admitted = self.admitted.saturating_sub(freed);
        }
        if let Some(bytes) = upload.filter(|_| !self.failed.contains(&prepared.task.number)) {
            self.encoded += bytes.len() as u64;
            self.writes.push_back((Arc::clone(prepared), object, bytes));
        }
    }

    pub(super) fn uploaded(&mut self, bytes: u64) {
        self.encoded = self.encoded.saturating_sub(bytes);
    }

    /// All of a task's objects are stored; tells when it began.
    pub(super) fn stored(&mut self, receipt: Receipt, bytes: u64) -> Option<Instant> {
        let open = self.open.remove(&receipt.task);
        self.ahead.retain(|number| *number != receipt.task);
        if let Some(open) = open.as_ref().filter(|open| open.admitted) {
            self.admitted = self.admitted.saturating_sub(open.bytes);
        }
        self.keeps.push_back((receipt, bytes));
        open.map(|open| open.begun)
    }

    /// A receipt is kept: the task is done.
    pub(super) fn kept(&mut self) {
        self.running -= 1;
    }

    /// Admits opened tasks in order while the budget has room.
    pub(super) fn admit(&mut self, budget: u64) {
        while let Some(number) = self.ahead.front() {
            let Some(open) = self.open.get_mut(number) else {
                self.ahead.pop_front();
                continue;
            };
            if self.admitted > 0 && self.admitted.saturating_add(open.bytes) > budget {
                return;
            }
            open.admitted = true;
            self.admitted += open.bytes;
            self.places.extend(open.held.drain(..));
            self.encodes.extend(open.full.drain(..));
            self.ahead.pop_front();
        }
    }

    /// True if a compute thread would find a step; the others likewise.
    pub(super) fn has_near_step(&self, terms: &Terms) -> bool {
        let encodes = !self.encodes.is_empty() && (!terms.far_target || self.encoded < terms.waiting);
        encodes || !self.places.is_empty() || (!terms.far_sources && self.may_open(terms.threads))
    }

    pub(super) fn has_fetch_step(&self, terms: &Terms) -> bool {
        terms.far_sources && ((!self.fetches.is_empty() && self.fetched < terms.waiting) || self.may_open(1))
    }

    pub(super) fn has_upload_step(&self) -> bool {
        !self.keeps.is_empty() || !self.writes.is_empty()
    }

    fn may_open(&self, at_once: usize) -> bool {
        let busy = self.opening >= at_once || self.opening + self.ahead.len() >= AHEAD.max(at_once) || self.keeps.len() >= UNKEPT;
        !busy && !self.tasks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        Terms { threads: 2, budget: 100, waiting: 10, far_sources: false, far_target: false }
    }

    #[test]
    fn as_many_tasks_are_opened_at_once_as_threads_compute() {
        let mut board = Board::new(0..5);
        let opened = || matches!(board.near_step(&terms()), Some(Step::Open(_)));
        assert_eq!(std::iter::repeat_with(opened).take(3).collect::<Vec<_>>(), [true, true, false]);
        assert!(!board.has_near_step(&terms()) && !board.is_done());
        board.not_opened();
        assert!(board.has_near_step(&terms()));
    }

    #[test]
    fn a_task_that_fails_takes_no_other_with_it() {
        let failure = || WorkError::Changed { url: "a.nc".to_owned(), message: "it changed".to_owned() };
        let mut board = Board::new(0..40);
        for number in 0..MOST_FAILED as u64 {
            assert!(!board.is_halted());
            let Some(step @ Step::Open(opened)) = board.near_step(&terms()) else { panic!("nothing to open") };
            assert_eq!(opened, number);
            board.fail(step.remains(), failure());
        }
        assert!(board.is_halted() && board.errors.len() == MOST_FAILED && board.running == 0);
        let mut board = Board::new(0..2);
        let Some(step) = board.near_step(&terms()) else { panic!("nothing to open") };
        board.fail(step.remains(), WorkError::Store(crate::store::StoreError::new(crate::store::ErrorKind::Temporary, "a.nc", "busy")));
        assert!(board.is_halted() && !board.is_done());
    }

    #[test]
    fn far_files_are_opened_by_the_threads_that_wait() {
        let terms = Terms { far_sources: true, ..terms() };
        let mut board = Board::new(0..5);
        assert!(board.near_step(&terms).is_none() && !board.has_near_step(&terms));
        assert!(matches!(board.fetch_step(&terms), Some(Step::Open(0))));
        assert!(board.fetch_step(&terms).is_none() && !board.has_fetch_step(&terms));
    }
}
