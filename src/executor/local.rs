//! Runs tasks on this machine: threads that compute, threads that wait for the network, one board of jobs between them.
//!
//! Compute threads open local files, decode, place and encode; I/O threads open and fetch far files and upload. A task is
//! admitted when its bytes fit the memory left, so that the next task's bytes arrive while this one's are decoded. Invariant:
//! bytes of admitted tasks never exceed the budget, except that one task alone is always admitted.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Job, Outcome};
use crate::codec::Scratch;
use crate::event::{Event, Phase};
use crate::receipt::Receipt;
use crate::work::{Prepared, WorkError};

/// What the operator gives a local run.
#[derive(Debug, Clone, Copy)]
pub struct Resources {
    /// Threads that compute.
    pub threads: usize,
    /// Threads that wait for far servers (none are started when everything is local).
    pub far_threads: usize,
    /// Bytes that admitted tasks may hold.
    pub budget: u64,
    /// Bytes fetched, and as many encoded, that may wait for a compute thread or an upload.
    pub waiting: u64,
    /// True if objects are uploaded rather than written to a local disk.
    pub far_target: bool,
}

/// Bytes fetched from one input in one go.
const BATCH: u64 = 8 << 20;
/// Reads fetched from one input in one go.
const BATCH_READS: usize = 256;

enum Step {
    Prepare(u64),
    Fetch(Arc<Prepared>, Vec<usize>),
    Place(Arc<Prepared>, usize, Option<Vec<Bytes>>),
    Encode(Arc<Prepared>, usize),
    Write(Arc<Prepared>, usize, Bytes),
}

#[derive(Default)]
struct Board {
    tasks: VecDeque<u64>,
    fetches: VecDeque<(Arc<Prepared>, Vec<usize>)>,
    places: VecDeque<(Arc<Prepared>, usize, Option<Vec<Bytes>>)>,
    encodes: VecDeque<(Arc<Prepared>, usize)>,
    writes: VecDeque<(Arc<Prepared>, usize, Bytes)>,
    /// Bytes of admitted tasks.
    admitted: u64,
    /// Tasks admitted and not finished, and of those the ones still opening files.
    running: usize,
    preparing: usize,
    fetched: u64,
    encoded: u64,
    errors: Vec<WorkError>,
}

struct Floor<'a> {
    job: &'a Job<'a>,
    resources: Resources,
    board: Mutex<Board>,
    changed: Condvar,
}

/// Runs all tasks of a job.
#[must_use]
pub fn execute(job: &Job<'_>, resources: Resources) -> Outcome {
    let board = Board { tasks: job.tasks.iter().copied().collect(), ..Board::default() };
    let floor = Floor { job, resources, board: Mutex::new(board), changed: Condvar::new() };
    let far_threads = if far_sources(job) || resources.far_target { resources.far_threads } else { 0 };
    std::thread::scope(|scope| {
        for _ in 0..far_threads {
            scope.spawn(|| floor.run(Floor::far_step));
        }
        for _ in 0..resources.threads {
            scope.spawn(|| floor.run(Floor::near_step));
        }
    });
    let board = floor.board.into_inner().unwrap_or_else(PoisonError::into_inner);
    match (board.errors.is_empty(), board.tasks.is_empty() && board.running == 0) {
        (false, _) => Outcome::Failed(board.errors),
        (true, true) => Outcome::Done,
        (true, false) => Outcome::Stopped,
    }
}

fn far_sources(job: &Job<'_>) -> bool {
    job.workshop.plan.inputs.iter().any(|input| !job.workshop.sources.is_local(&input.url))
}

impl Floor<'_> {
    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self, board: &Board) -> bool {
        !board.errors.is_empty() || self.job.stop.load(Ordering::Relaxed)
    }

    /// One thread's life: take a step, do it, until nothing is left.
    fn run(&self, choose: fn(&Self, &mut Board) -> Option<Step>) {
        let mut scratch = Scratch::default();
        loop {
            let mut board = self.lock();
            let step = loop {
                if self.stopping(&board) || (board.tasks.is_empty() && board.running == 0) {
                    self.changed.notify_all();
                    return;
                }
                if let Some(step) = choose(self, &mut board) {
                    break step;
                }
                // Wakes now and then by itself, to see that it shall stop.
                board = self.changed.wait_timeout(board, std::time::Duration::from_millis(200)).unwrap_or_else(PoisonError::into_inner).0;
            };
            drop(board);
            if let Err(error) = self.take(step, &mut scratch) {
                self.lock().errors.push(error);
            }
            self.changed.notify_all();
        }
    }

    /// What a compute thread does next: free memory first, then fill objects, then begin a task.
    fn near_step(&self, board: &mut Board) -> Option<Step> {
        let room = !self.resources.far_target || board.encoded < self.resources.waiting;
        if let Some((prepared, object)) = room.then(|| board.encodes.pop_front()).flatten() {
            return Some(Step::Encode(prepared, object));
        }
        if let Some((prepared, read, parts)) = board.places.pop_front() {
            return Some(Step::Place(prepared, read, parts));
        }
        self.admit(board)
    }

    /// What an I/O thread does next: upload, then fetch.
    fn far_step(&self, board: &mut Board) -> Option<Step> {
        if let Some((prepared, object, bytes)) = board.writes.pop_front() {
            return Some(Step::Write(prepared, object, bytes));
        }
        let room = board.fetched < self.resources.waiting;
        if let Some((prepared, reads)) = room.then(|| board.fetches.pop_front()).flatten() {
            board.fetched += reads.iter().map(|&read| prepared.reads[read].stored_bytes()).sum::<u64>();
            return Some(Step::Fetch(prepared, reads));
        }
        self.admit(board)
    }

    /// Begins the next task if its bytes fit.
    fn admit(&self, board: &mut Board) -> Option<Step> {
        let &number = board.tasks.front()?;
        let bytes = self.job.workshop.plan.task(self.job.stage, number)?.bytes;
        let fits = board.admitted.saturating_add(bytes) <= self.resources.budget;
        if board.preparing > 0 || !(fits || board.running == 0) {
            return None;
        }
        board.tasks.pop_front();
        board.admitted += bytes;
        board.running += 1;
        board.preparing += 1;
        Some(Step::Prepare(number))
    }

    fn take(&self, step: Step, scratch: &mut Scratch) -> Result<(), WorkError> {
        let workshop = self.job.workshop;
        match step {
            Step::Prepare(number) => self.prepare(number),
            Step::Fetch(prepared, reads) => {
                let parts = workshop.fetch(&prepared, &reads)?;
                let mut board = self.lock();
                board.places.extend(reads.into_iter().zip(parts).map(|(read, parts)| (Arc::clone(&prepared), read, Some(parts))));
                Ok(())
            }
            Step::Place(prepared, read, parts) => {
                let near = parts.is_none();
                let parts = match parts {
                    Some(parts) => parts,
                    None => workshop.fetch(&prepared, &[read])?.pop().unwrap_or_default(),
                };
                let full = workshop.place(&prepared, read, &parts, scratch)?;
                drop(parts);
                let mut board = self.lock();
                if !near {
                    board.fetched = board.fetched.saturating_sub(prepared.reads[read].stored_bytes());
                }
                board.encodes.extend(full.into_iter().map(|object| (Arc::clone(&prepared), object)));
                Ok(())
            }
            Step::Encode(prepared, object) => {
                let bytes = workshop.encode(&prepared, object)?;
                if !self.resources.far_target {
                    return self.write(&prepared, object, bytes);
                }
                let mut board = self.lock();
                board.encoded += bytes.len() as u64;
                board.writes.push_back((prepared, object, bytes));
                Ok(())
            }
            Step::Write(prepared, object, bytes) => {
                let length = bytes.len() as u64;
                let written = self.write(&prepared, object, bytes);
                self.lock().encoded -= length;
                written
            }
        }
    }

    fn prepare(&self, number: u64) -> Result<(), WorkError> {
        let missing = || WorkError::Internal(format!("the plan has no task {number}"));
        let task = self.job.workshop.plan.task(self.job.stage, number).ok_or_else(missing)?;
        let prepared = self.job.workshop.prepare(task);
        self.lock().preparing -= 1;
        let prepared = Arc::new(prepared?);
        if let Some(receipt) = self.job.workshop.idle(&prepared) {
            return self.finish(&prepared, &receipt);
        }
        let mut board = self.lock();
        let empty = prepared.objects.iter().enumerate().filter(|(_, object)| object.is_full());
        board.encodes.extend(empty.map(|(object, _)| (Arc::clone(&prepared), object)));
        let mut batch: (u64, Vec<usize>) = (0, Vec::new());
        for (number, read) in prepared.reads.iter().enumerate() {
            if self.job.workshop.is_near(&prepared, number) {
                board.places.push_back((Arc::clone(&prepared), number, None));
                continue;
            }
            let other = batch.1.last().is_some_and(|&last| prepared.reads[last].input() != read.input());
            if other || batch.0 >= BATCH || batch.1.len() >= BATCH_READS {
                board.fetches.push_back((Arc::clone(&prepared), std::mem::take(&mut batch).1));
                batch.0 = 0;
            }
            batch.0 += read.stored_bytes();
            batch.1.push(number);
        }
        if !batch.1.is_empty() {
            board.fetches.push_back((Arc::clone(&prepared), batch.1));
        }
        Ok(())
    }

    fn write(&self, prepared: &Prepared, object: usize, bytes: Bytes) -> Result<(), WorkError> {
        match self.job.workshop.write(prepared, object, bytes)? {
            Some(receipt) => self.finish(prepared, &receipt),
            None => Ok(()),
        }
    }

    fn finish(&self, prepared: &Prepared, receipt: &Receipt) -> Result<(), WorkError> {
        (self.job.keep)(receipt)?;
        tracing::info!(stage = receipt.stage, task = receipt.task, objects = receipt.chunks.len(), "task done");
        let mut board = self.lock();
        board.admitted -= prepared.task.bytes;
        board.running -= 1;
        drop(board);
        self.job.reporter.report(Event::StepFinished { phase: Phase::Execute, bytes: prepared.task.bytes });
        Ok(())
    }
}
