//! Jobs that wait, run and have ended on this machine.
//!
//! Some threads, each with one job at a time; a job begins when every slot that it needs is free (its target, the servers that it reads
//! from). Each has a folder of its own with its log and what it left. Not for what is to be run or what its end means: that is the
//! [`Trade`]'s. Invariant: of the jobs that share a slot no more run than the slot has places; a job that was called off is told so.

mod record;
pub mod sandbox;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

pub use record::{Ending, Record, Stage};
use sandbox::{Ask, Asked, Ended, Limits};

use crate::bot::decide::Job;

/// A job to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Number of the job on this machine.
    pub number: u64,
    /// The repository, `owner/name`.
    pub repository: String,
    /// True if anybody may see it.
    pub public: bool,
    /// What it is.
    pub job: Job,
    /// Counted from 1.
    pub attempt: u32,
    /// What it needs a place of, and how many places there are of it.
    pub slots: Vec<(String, usize)>,
}

/// What is run for a job.
#[derive(Debug)]
pub struct Prepared {
    /// Arguments of this program.
    pub arguments: Vec<std::ffi::OsString>,
    /// Variables that the job gets.
    pub environment: Vec<(String, String)>,
    /// What it may use.
    pub limits: Limits,
}

/// What is to be run for a task, and what its end means.
pub trait Trade: Send + Sync {
    /// Makes a task ready in a folder of its own.
    ///
    /// # Errors
    /// In words for the log, if it cannot be run at all.
    fn prepare(&self, task: &Task, folder: &Path) -> Result<Prepared, String>;

    /// Notes the end of a task where it outlives this machine.
    ///
    /// # Errors
    /// In words for the log, if that cannot be done now; it is tried again.
    fn ended(&self, task: &Task, folder: &Path, ending: &Ending) -> Result<(), String>;
}

/// The jobs of this machine.
pub struct Pool {
    folder: PathBuf,
    program: PathBuf,
    kept: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    waiting: VecDeque<Waiting>,
    running: BTreeMap<u64, Running>,
    /// Newest first.
    ended: VecDeque<Record>,
    slots: BTreeMap<String, usize>,
    stopping: bool,
}

struct Waiting {
    task: Task,
    record: Record,
}

struct Running {
    task: Task,
    record: Record,
    asked: Arc<Asked>,
}

impl Pool {
    /// Jobs in a folder; those that ended there earlier are remembered.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub fn open(folder: &Path, program: &Path, kept: usize) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let (ended, next) = record::earlier(folder)?;
        let state = State { next, ended, ..State::default() };
        Ok(Self { folder: folder.to_owned(), program: program.to_owned(), kept, state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Adds a job. One that waits or runs already is not added again.
    pub fn add(&self, repository: &str, public: bool, job: Job, attempt: u32, slots: Vec<(String, usize)>) {
        let mut state = self.lock();
        if state.stopping || state.has(repository, &job) {
            return;
        }
        let task = Task { number: state.next, repository: repository.to_owned(), public, job, attempt, slots };
        state.next += 1;
        let record = Record::of(&task, Timestamp::now());
        tracing::info!(job = task.number, repository, kind = record.kind, recipe = record.recipe, attempt, "job waits");
        state.waiting.push_back(Waiting { task, record });
        drop(state);
        self.changed.notify_all();
    }

    /// Calls a job off, and returns true if it runs and will tell of its end itself; one that waits is gone at once.
    pub fn cancel(&self, repository: &str, job: &Job) -> bool {
        let mut state = self.lock();
        if let Some(running) = state.running.values().find(|one| one.task.repository == repository && one.task.job == *job) {
            running.asked.ask(Ask::Cancel);
            return true;
        }
        let found = state.waiting.iter().position(|one| one.task.repository == repository && one.task.job == *job);
        if let Some(waiting) = found.and_then(|at| state.waiting.remove(at)) {
            let record = Record { stage: Stage::Ended(Ending::Cancelled), ended: Some(Timestamp::now()), ..waiting.record };
            state.remember(record, self.kept);
        }
        false
    }

    /// Takes jobs and runs them, one at a time, until [`Pool::stop`].
    pub fn work(&self, trade: &dyn Trade) {
        while let Some((task, asked)) = self.take() {
            let folder = self.folder_of(task.number);
            let ending = self.one(&task, &folder, &asked, trade);
            let noted = ending != Ending::Interrupted && self.note(&task, &folder, &ending, trade);
            let ending = if noted { ending } else { Ending::Interrupted };
            let _ = std::fs::remove_dir_all(folder.join(WORK));
            self.give_back(&task, &folder, ending);
        }
    }

    fn take(&self) -> Option<(Task, Arc<Asked>)> {
        let mut state = self.lock();
        loop {
            if state.stopping {
                return None;
            }
            if let Some(begun) = state.begin() {
                return Some(begun);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn one(&self, task: &Task, folder: &Path, asked: &Asked, trade: &dyn Trade) -> Ending {
        let work = folder.join(WORK);
        let prepared = std::fs::create_dir_all(&work).map_err(|error| error.to_string()).and_then(|()| trade.prepare(task, folder));
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(why) => return unable(folder, &why),
        };
        let Prepared { arguments, environment, limits } = prepared;
        let order = sandbox::Order { program: &self.program, arguments, environment, folder: &work, log: folder.join(LOG) };
        match (sandbox::run(&order, &limits, asked), asked.now()) {
            (Ok(Ended { exit: Some(0), .. }), _) => Ending::Done,
            (Ok(_), Ask::Cancel) => Ending::Cancelled,
            (Ok(_), Ask::Stop) => Ending::Interrupted,
            (Ok(Ended { exit, why }), Ask::Nothing) => Ending::Failed { exit, why },
            (Err(error), _) => unable(folder, &format!("the job cannot be run: {error}")),
        }
    }

    /// Notes the end where it outlives this machine; false if the server stops before that could be done.
    fn note(&self, task: &Task, folder: &Path, ending: &Ending, trade: &dyn Trade) -> bool {
        let mut wait = Duration::from_millis(500);
        while let Err(error) = trade.ended(task, folder, ending) {
            tracing::error!(job = task.number, error, "the end of a job cannot be noted; trying again");
            let state = self.lock();
            let (state, _) = self.changed.wait_timeout_while(state, wait, |state| !state.stopping).unwrap_or_else(PoisonError::into_inner);
            if state.stopping {
                return false;
            }
            wait = (wait * 2).min(Duration::from_mins(1));
        }
        true
    }

    fn give_back(&self, task: &Task, folder: &Path, ending: Ending) {
        let mut state = self.lock();
        let Some(running) = state.running.remove(&task.number) else { return };
        for (slot, _) in &task.slots {
            if let Some(places) = state.slots.get_mut(slot) {
                *places = places.saturating_sub(1);
            }
        }
        state.slots.retain(|_, places| *places > 0);
        let record = Record { stage: Stage::Ended(ending), ended: Some(Timestamp::now()), ..running.record };
        tracing::info!(job = task.number, repository = task.repository, recipe = record.recipe, end = record.stage.word(), "job ended");
        record.save(folder);
        let forgotten = state.remember(record, self.kept);
        drop(state);
        forgotten.into_iter().for_each(|number| drop(std::fs::remove_dir_all(self.folder_of(number))));
        self.changed.notify_all();
    }

    /// Begins no more jobs and asks those that run to stop; [`Pool::work`] returns when they have.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        state.running.values().for_each(|running| running.asked.ask(Ask::Stop));
        drop(state);
        self.changed.notify_all();
    }

    /// All jobs: those that run, those that wait, and those that ended, newest first.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let state = self.lock();
        let running = state.running.values().map(|one| &one.record);
        running.chain(state.waiting.iter().map(|one| &one.record)).chain(&state.ended).cloned().collect()
    }

    /// One job.
    #[must_use]
    pub fn record(&self, number: u64) -> Option<Record> {
        self.records().into_iter().find(|record| record.number == number)
    }

    /// How many run and how many wait.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.running.len(), state.waiting.len())
    }

    /// The folder of a job.
    #[must_use]
    pub fn folder_of(&self, number: u64) -> PathBuf {
        self.folder.join(number.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log of a job, in its folder.
pub const LOG: &str = "log.txt";
/// Where a job works; removed at its end.
pub const WORK: &str = "work";

impl State {
    fn has(&self, repository: &str, job: &Job) -> bool {
        let mut tasks = self.waiting.iter().map(|one| &one.task).chain(self.running.values().map(|one| &one.task));
        tasks.any(|task| task.repository == repository && task.job == *job)
    }

    /// Begins the first job whose slots have places.
    fn begin(&mut self) -> Option<(Task, Arc<Asked>)> {
        let free = |task: &Task| task.slots.iter().all(|(slot, places)| self.slots.get(slot).is_none_or(|taken| taken < places));
        let at = self.waiting.iter().position(|one| free(&one.task))?;
        let Waiting { task, record } = self.waiting.remove(at)?;
        for (slot, _) in &task.slots {
            *self.slots.entry(slot.clone()).or_default() += 1;
        }
        let asked = Arc::new(Asked::default());
        let record = Record { stage: Stage::Running, begun: Some(Timestamp::now()), ..record };
        self.running.insert(task.number, Running { task: task.clone(), record, asked: Arc::clone(&asked) });
        Some((task, asked))
    }

    /// Remembers the end of a job; returns those that are forgotten for it.
    fn remember(&mut self, record: Record, kept: usize) -> Vec<u64> {
        self.ended.push_front(record);
        let keep = kept.min(self.ended.len());
        self.ended.split_off(keep).into_iter().map(|record| record.number).collect()
    }
}

/// What a job that could not begin ends with.
fn unable(folder: &Path, why: &str) -> Ending {
    tracing::warn!(folder = %folder.display(), why, "job cannot be run");
    // The record tells why as well.
    let _ = std::fs::write(folder.join(LOG), format!("{why}\n"));
    Ending::Failed { exit: None, why: Some(why.to_owned()) }
}
