//! Runs tasks on this machine: threads that compute, threads that wait for network and disk, one board of steps between them.
//!
//! Compute threads open local files, decode, place and encode; others open and fetch far files; others upload, and keep receipts
//! (which are flushed to the disk). The next tasks are opened and fetched while this one is decoded and encoded, and uploads go
//! on beside. What may be done next is [`board`]'s; here it is done. Invariant: a step is taken by one thread, and an error that is
//! not one task's own stops the others after the step they are in. A task that fails for good is not tried again in this run; the
//! others go on, so that all that is wrong is told at once and the next run has only that to do.

mod board;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Job, Outcome};
use crate::codec::Scratch;
use crate::event::{Activity, Detail, Event, Phase, Span, spent};
use crate::plan::{Passage, Stage};
use crate::receipt::Receipt;
use crate::store;
use crate::work::{Prepared, WorkError};
use board::{Board, Place, Step, Terms};

/// What the operator gives a local run.
#[derive(Debug, Clone, Copy)]
pub struct Resources {
    /// Threads that compute.
    pub threads: usize,
    /// Threads that read from far servers, and as many that write to them (one is started when everything is local: for receipts).
    pub far_threads: usize,
    /// Bytes that admitted tasks may hold.
    pub budget: u64,
    /// Bytes fetched, and as many encoded, that may wait for a compute thread or an upload.
    pub waiting: u64,
    /// True if objects are uploaded rather than written to a local disk.
    pub far_target: bool,
}

/// Most bytes fetched from one input in one go.
const LARGEST_BATCH: u64 = 8 << 20;
/// Least, where more than that is to be had: a request is worth its round trip.
const SMALLEST_BATCH: u64 = 512 << 10;
/// Reads fetched from one input in one go.
const BATCH_READS: usize = 256;
/// Up to so many tasks are put in order: those with fewer values last, so that the end is short for every thread.
const ORDERED: usize = 4096;
/// How often a waiting thread looks whether it shall stop.
const LOOK: Duration = Duration::from_millis(200);

struct Floor<'a> {
    job: &'a Job<'a>,
    terms: Terms,
    /// Bytes fetched in one go.
    batch: u64,
    board: Mutex<Board>,
    /// One per [`Kind`]: there may be something to do.
    changed: [Condvar; 3],
}

/// What a thread is for. Uploads and fetches have threads of their own, or the slower of the two would take them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Compute,
    Fetch,
    Upload,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Compute, Self::Fetch, Self::Upload];

    fn step(self, board: &mut Board, terms: &Terms) -> Option<Step> {
        match self {
            Self::Compute => board.near_step(terms),
            Self::Fetch => board.fetch_step(terms),
            Self::Upload => board.upload_step(),
        }
    }

    fn has_step(self, board: &Board, terms: &Terms) -> bool {
        match self {
            Self::Compute => board.has_near_step(terms),
            Self::Fetch => board.has_fetch_step(terms),
            Self::Upload => board.has_upload_step(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Fetch => "fetch",
            Self::Upload => "upload",
        }
    }
}

/// Runs all tasks of a job.
#[must_use]
pub fn execute(job: &Job<'_>, resources: Resources) -> Outcome {
    let far_sources = far_sources(job);
    let Resources { threads, budget, waiting, far_target, .. } = resources;
    let terms = Terms { threads, budget, waiting, far_sources, far_target };
    let far = resources.far_threads.max(1);
    // Receipts are flushed, which is waiting too.
    let counts = [threads, if far_sources { far } else { 0 }, if far_target { far } else { 1 }];
    let batch = (waiting / (2 * far as u64)).clamp(SMALLEST_BATCH, LARGEST_BATCH);
    let board = Mutex::new(Board::new(ordered(job).into_iter()));
    let floor = Floor { job, terms, batch, board, changed: [const { Condvar::new() }; 3] };
    std::thread::scope(|scope| {
        let kinds = Kind::ALL.into_iter().zip(counts).flat_map(|(kind, count)| (1..=count).map(move |number| (kind, number)));
        for (kind, number) in kinds {
            let floor = &floor;
            let name = format!("{} {number}", kind.name());
            if std::thread::Builder::new().name(name).spawn_scoped(scope, move || floor.run(kind)).is_err() {
                floor.lock().halt(WorkError::NoThreads);
            }
        }
    });
    let board = floor.board.into_inner().unwrap_or_else(PoisonError::into_inner);
    match (board.errors.is_empty(), board.is_done()) {
        (false, _) => Outcome::Failed(board.errors),
        (true, true) => Outcome::Done,
        (true, false) => Outcome::Stopped,
    }
}

/// True if what the tasks read lies far away: inputs, or the scratch objects of an earlier stage.
fn far_sources(job: &Job<'_>) -> bool {
    let plan = &job.workshop.plan;
    let from_scratch = |stage: &Stage| stage.grids.iter().any(|grid| matches!(grid.passage, Passage::FromScratch(_)));
    let far_scratch = plan.scratch.as_deref().is_some_and(store::is_far) && plan.stages.get(job.stage).is_some_and(from_scratch);
    far_scratch || plan.inputs.iter().any(|input| !job.workshop.sources.is_local(&input.url))
}

/// The tasks, those with fewer values behind the others.
fn ordered(job: &Job<'_>) -> Vec<u64> {
    let mut tasks = job.tasks.clone();
    if tasks.len() <= ORDERED {
        let plan = &job.workshop.plan;
        tasks.sort_by_cached_key(|&number| std::cmp::Reverse(plan.task(job.stage, number).map_or(0, |task| plan.values(&task))));
    }
    tasks
}

impl Floor<'_> {
    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self, board: &Board) -> bool {
        board.is_halted() || self.job.stop.load(Ordering::Relaxed)
    }

    /// One thread's life: take a step, do it, until nothing is left.
    fn run(&self, kind: Kind) {
        let mut scratch = Scratch::default();
        while let Some(step) = self.next(kind) {
            let remains = step.remains();
            // A library that panics on a file must fail its task, not one thread that the others then wait for.
            let taken = catch_unwind(AssertUnwindSafe(|| self.take(step, &mut scratch)));
            if let Err(error) = taken.unwrap_or_else(|payload| Err(WorkError::of_panic(&*payload))) {
                self.lock().fail(remains, error);
            }
        }
        self.changed.iter().for_each(Condvar::notify_all);
    }

    /// The next step, waited for; `None` if there will be none.
    fn next(&self, kind: Kind) -> Option<Step> {
        let mut board = self.lock();
        let mut waiting: Option<Instant> = None;
        let step = loop {
            if self.stopping(&board) || board.is_done() {
                // What is stored already shall not be done again.
                break board.unkept();
            }
            board.admit(self.terms.budget);
            let step = kind.step(&mut board, &self.terms);
            self.wake(&board, kind, step.is_some());
            if step.is_some() {
                break step;
            }
            waiting.get_or_insert_with(Instant::now);
            board = self.changed[kind as usize].wait_timeout(board, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(board);
        if let Some(begun) = waiting.filter(|_| self.job.reporter.wants_spans()) {
            let span = Span { activity: Activity::Wait, begun, ended: Instant::now(), detail: Detail::default() };
            self.job.reporter.report(Event::Spent(span));
        }
        step
    }

    /// Wakes one thread of each kind that would find a step; it wakes the next, so that nobody is woken for nothing.
    fn wake(&self, board: &Board, mine: Kind, busy: bool) {
        // A thread that found nothing itself need not wake another of its kind.
        for kind in Kind::ALL.into_iter().filter(|&kind| (busy || kind != mine) && kind.has_step(board, &self.terms)) {
            self.changed[kind as usize].notify_one();
        }
    }

    fn take(&self, step: Step, scratch: &mut Scratch) -> Result<(), WorkError> {
        match step {
            Step::Open(number) => self.open(number),
            Step::Fetch(prepared, reads) => {
                let parts = self.fetch(&prepared, &reads)?;
                self.lock().fetched(&prepared, reads, parts);
                Ok(())
            }
            Step::Place(place) => self.place(place, scratch),
            Step::Encode(prepared, object) => self.encode(&prepared, object),
            Step::Write(prepared, object, bytes) => {
                let length = bytes.len() as u64;
                self.write(&prepared, object, bytes)?;
                self.lock().uploaded(length);
                Ok(())
            }
            Step::Keep(receipt, bytes) => self.keep(&receipt, bytes),
        }
    }

    fn open(&self, number: u64) -> Result<(), WorkError> {
        let begun = Instant::now();
        let missing = || WorkError::Internal(format!("the plan has no task {number}"));
        let task = self.job.workshop.plan.task(self.job.stage, number).ok_or_else(missing);
        let detail = |_: &Result<Prepared, WorkError>| Detail { task: Some((self.job.stage, number)), ..Detail::default() };
        let opened = task.and_then(|task| spent(self.job.reporter, Activity::Open, detail, || self.job.workshop.prepare(task)));
        let prepared = Arc::new(opened?);
        if let Some(receipt) = self.job.workshop.idle(&prepared) {
            self.lock().not_opened();
            self.stored(&prepared, receipt);
            return Ok(());
        }
        let (near, far) = self.batches(&prepared);
        self.lock().opened(&prepared, begun, near, far);
        Ok(())
    }

    /// Reads that need no fetching, and batches of those that do: each of one input, neighbours together.
    fn batches(&self, prepared: &Prepared) -> (Vec<usize>, Vec<Vec<usize>>) {
        let (near, far): (Vec<usize>, Vec<usize>) = (0..prepared.reads.len()).partition(|&read| self.job.workshop.is_near(prepared, read));
        let mut batches: Vec<Vec<usize>> = Vec::new();
        let mut bytes = 0;
        for read in far {
            let input = prepared.reads[read].input();
            match batches.last_mut() {
                Some(batch)
                    if bytes < self.batch
                        && batch.len() < BATCH_READS
                        && batch.last().is_some_and(|&last| prepared.reads[last].input() == input) =>
                {
                    batch.push(read);
                }
                _ => {
                    bytes = 0;
                    batches.push(vec![read]);
                }
            }
            bytes += prepared.reads[read].stored_bytes();
        }
        (near, batches)
    }

    fn fetch(&self, prepared: &Prepared, reads: &[usize]) -> Result<Vec<Vec<Bytes>>, WorkError> {
        let workshop = self.job.workshop;
        let name = || reads.first().map(|&read| workshop.name_of_read(prepared, read)).unwrap_or_default();
        let bytes = || reads.iter().map(|&read| prepared.reads[read].stored_bytes()).sum();
        self.spent(Activity::Fetch, prepared, || (name(), bytes()), || workshop.fetch(prepared, reads))
    }

    fn place(&self, Place { prepared, read, parts }: Place, scratch: &mut Scratch) -> Result<(), WorkError> {
        let workshop = self.job.workshop;
        let stored = prepared.reads[read].stored_bytes();
        let fetched = if parts.is_some() { stored } else { 0 };
        let parts = match parts {
            Some(parts) => parts,
            None => self.fetch(&prepared, &[read])?.pop().unwrap_or_default(),
        };
        let about = || (workshop.name_of_read(&prepared, read), stored);
        let full = self.spent(Activity::Place, &prepared, about, || workshop.place(&prepared, read, &parts, scratch))?;
        drop(parts);
        self.lock().placed(&prepared, fetched, full);
        Ok(())
    }

    fn encode(&self, prepared: &Arc<Prepared>, object: usize) -> Result<(), WorkError> {
        let workshop = self.job.workshop;
        let about = || (workshop.name_of_object(prepared, object), 0);
        let bytes = self.spent(Activity::Encode, prepared, about, || workshop.encode(prepared, object))?;
        if self.terms.far_target {
            self.lock().encoded(prepared, object, Some(bytes));
            return Ok(());
        }
        self.lock().encoded(prepared, object, None);
        self.write(prepared, object, bytes)
    }

    fn write(&self, prepared: &Prepared, object: usize, bytes: Bytes) -> Result<(), WorkError> {
        let workshop = self.job.workshop;
        let length = bytes.len() as u64;
        let about = || (workshop.name_of_object(prepared, object), length);
        if let Some(receipt) = self.spent(Activity::Write, prepared, about, || workshop.write(prepared, object, bytes))? {
            self.stored(prepared, receipt);
        }
        Ok(())
    }

    /// All objects of a task are stored: its receipt is next.
    fn stored(&self, prepared: &Prepared, receipt: Receipt) {
        let task = Some((receipt.stage as usize, receipt.task));
        let begun = self.lock().stored(receipt, prepared.task.bytes);
        if let Some(begun) = begun.filter(|_| self.job.reporter.wants_spans()) {
            let detail = Detail { task, bytes: prepared.task.bytes, ..Detail::default() };
            self.job.reporter.report(Event::Spent(Span { activity: Activity::Task, begun, ended: Instant::now(), detail }));
        }
    }

    fn keep(&self, receipt: &Receipt, bytes: u64) -> Result<(), WorkError> {
        let detail = |_: &Result<(), WorkError>| Detail { task: Some((receipt.stage as usize, receipt.task)), ..Detail::default() };
        spent(self.job.reporter, Activity::Keep, detail, || (self.job.keep)(receipt))?;
        tracing::info!(stage = receipt.stage, task = receipt.task, objects = receipt.chunks.len(), "task done");
        self.lock().kept();
        self.job.reporter.report(Event::StepFinished { phase: Phase::Execute, bytes });
        Ok(())
    }

    /// Does a part of a task and reports its time.
    fn spent<T>(&self, activity: Activity, prepared: &Prepared, about: impl FnOnce() -> (String, u64), work: impl FnOnce() -> T) -> T {
        let detail = |_: &T| {
            let (about, bytes) = about();
            Detail { task: Some((prepared.task.stage, prepared.task.number)), about, bytes }
        };
        spent(self.job.reporter, activity, detail, work)
    }
}
