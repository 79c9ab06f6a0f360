//! Whether a store holds what the receipts say.
//!
//! Every object is looked for (its size), a sample is read (its checksum). Receipts are read as they are needed and forgotten, so
//! that a million objects take no memory; nothing is ever listed. Invariant: the last look at an object comes after every task
//! is done.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Commit;
use super::sample::Sample;
use crate::plan::Plan;
use crate::receipt::{ChunkRef, Receipt, checksum};
use crate::run::tally::TaskNumber;
use crate::run::{RunError, parallel};
use crate::target::zarr::object_index;
use crate::target::{LATE, TargetError};

/// Receipts with more objects than this are read one at a time.
const LONG: usize = 1024;
/// Objects that are absent at first and asked for again; where it is more, the store has lost them.
const LATECOMERS: usize = 10_000;
/// Between two looks at latecomers, at first and at most.
const LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long latecomers are waited for where objects are files, or in memory.
const NEAR: Duration = Duration::from_secs(1);

/// Tasks that must be done again, each with something of it that is not there.
pub(super) type Lost = BTreeMap<TaskNumber, String>;

/// What looking at every object found.
#[derive(Default)]
pub(super) struct Seen {
    /// Objects that receipts name.
    pub(super) objects: u64,
    /// Tasks without a receipt.
    lacking: BTreeSet<TaskNumber>,
    /// Objects that are not there, or not in their size.
    absent: Vec<(TaskNumber, ChunkRef)>,
    sample: Sample,
}

impl Commit<'_> {
    /// Looks for every object that the receipts name, and waits a while for those that a store shows late. `own` are the tasks that
    /// this run did, ascending.
    ///
    /// # Errors
    /// [`TargetError::Altered`] for an object of another size; [`RunError::Held`] if another holder has kept a receipt;
    /// [`RunError::Interrupted`], [`RunError::Store`].
    pub(super) fn look(&self, own: &[TaskNumber]) -> Result<(Seen, Lost), RunError> {
        let mut seen = self.look_once(own)?;
        let absent = self.wait_for(std::mem::take(&mut seen.absent))?;
        let altered = absent.iter().find(|(_, _, size)| size.is_some());
        if let Some(((stage, task), chunk, Some(size))) = altered {
            self.state.forget_receipt(&self.workshop.plan_id, *stage, *task)?;
            let message = format!("it has {size} bytes in the store and had {} when it was stored", chunk.bytes);
            return Err(TargetError::Altered { key: chunk.key.clone(), message }.into());
        }
        let without = seen.lacking.iter().map(|&task| (task, "its receipt".to_owned()));
        let lost = without.chain(absent.into_iter().map(|(task, chunk, _)| (task, chunk.key))).collect();
        Ok((seen, lost))
    }

    fn look_once(&self, own: &[TaskNumber]) -> Result<Seen, RunError> {
        let plan = &self.workshop.plan;
        let line = Line { state: Mutex::new(Waiting::default()), changed: Condvar::new() };
        let tasks = plan.stages.iter().enumerate().flat_map(|(number, stage)| (0..stage.tasks()).map(move |task| (number, task)));
        let copies = (0..self.copies).map(|copy| (plan.stages.len(), copy));
        let tasks = Mutex::new(tasks.chain(copies));
        parallel::on_threads(self.threads, &|| {
            while let Some(turn) = line.turn(|| tasks.lock().unwrap_or_else(PoisonError::into_inner).next()) {
                line.done(&turn, self.take(&turn, own));
            }
        });
        let waiting = line.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        waiting.error.map_or(Ok(waiting.seen), Err)
    }

    /// Reads a receipt, or looks at an object.
    fn take(&self, turn: &Turn, own: &[TaskNumber]) -> Result<Found, RunError> {
        if self.is_stopped() {
            return Err(RunError::Interrupted);
        }
        match turn {
            // Where nothing was to be copied there is no receipt.
            Turn::Read((stage, task)) if *stage >= self.workshop.plan.stages.len() => {
                let receipt = self.state.receipt(&self.workshop.plan_id, *stage, *task)?;
                receipt.map_or(Ok(Found::Nothing), |receipt| Ok(Found::Receipt(self.holders(receipt, own)?)))
            }
            Turn::Read(task) => {
                let receipt = self.receipt(*task)?;
                Ok(Found::Receipt(receipt.map_or(Ok(None), |receipt| self.holders(receipt, own))?))
            }
            Turn::Look(_, chunk) => {
                let there = self.store.head(&chunk.key)? == Some(chunk.bytes);
                Ok(Found::Object { there, variable: variable_of(&self.workshop.plan, &chunk.key) })
            }
        }
    }

    /// A receipt as it is, unless this run did its task and the receipt is another holder's: one from before, who woke up and put his
    /// over ours, is not believed; one after us, and it is we who have to go.
    fn holders(&self, receipt: Receipt, own: &[TaskNumber]) -> Result<Option<Receipt>, RunError> {
        let task = (receipt.stage as usize, receipt.task);
        if receipt.epoch == self.state.epoch() || own.binary_search(&task).is_err() {
            return Ok(Some(receipt));
        }
        self.state.still_ours()?;
        if receipt.epoch > self.state.epoch() {
            // The count of holders was lost and began anew: what is kept agrees with what we did, or keeping ours had failed.
            return Ok(Some(receipt));
        }
        tracing::warn!(
            stage = task.0,
            task = task.1,
            epoch = receipt.epoch,
            "a former holder put its receipt over ours: the task is done again"
        );
        self.state.forget_receipt(&self.workshop.plan_id, task.0, task.1)?;
        Ok(None)
    }

    /// A task's receipt, waited for a while.
    fn receipt(&self, (stage, task): TaskNumber) -> Result<Option<Receipt>, RunError> {
        let (begun, mut pause) = (Instant::now(), LOOKS.0);
        loop {
            let receipt = self.state.receipt(&self.workshop.plan_id, stage, task)?;
            if receipt.is_some() || begun.elapsed() >= self.patience() {
                return Ok(receipt);
            }
            std::thread::sleep(pause);
            pause = LOOKS.1.min(pause * 2);
        }
    }

    /// How long to wait for what a store has acknowledged.
    fn patience(&self) -> Duration {
        if self.far { LATE } else { NEAR }
    }

    /// Asks again for what was absent, or had another size, until it is there as it should be or patience ends; gives what is
    /// then left, with its size.
    fn wait_for(&self, mut absent: Vec<(TaskNumber, ChunkRef)>) -> Result<Vec<(TaskNumber, ChunkRef, Option<u64>)>, RunError> {
        let patience = if absent.len() > LATECOMERS { Duration::ZERO } else { self.patience() };
        let (begun, mut pause) = (Instant::now(), LOOKS.0);
        loop {
            let sizes = Mutex::new(vec![None; absent.len()]);
            parallel::each(self.threads, absent.len(), self.setting.stop, &|number| {
                let size = self.store.head(&absent[number].1.key)?;
                sizes.lock().unwrap_or_else(PoisonError::into_inner)[number] = size;
                Ok(())
            })?;
            let sizes = sizes.into_inner().unwrap_or_else(PoisonError::into_inner);
            let left = absent.into_iter().zip(sizes).filter(|((_, chunk), size)| *size != Some(chunk.bytes));
            let left: Vec<_> = left.map(|((task, chunk), size)| (task, chunk, size)).collect();
            if left.is_empty() || begun.elapsed() >= patience {
                return Ok(left);
            }
            absent = left.into_iter().map(|(task, chunk, _)| (task, chunk)).collect();
            std::thread::sleep(pause);
            pause = LOOKS.1.min(pause * 2);
        }
    }

    /// Reads back what a task has just stored and a sample will probably draw, where that is far away: the others upload meanwhile. Says
    /// nothing of what is absent yet, or differs: [`Commit::compare`] asks again and tells.
    pub(in crate::run) fn stored(&self, receipt: &Receipt) {
        for chunk in &receipt.chunks {
            let read = || self.store.get(&chunk.key).is_ok_and(|found| found.as_deref().map(checksum).as_ref() == Some(&chunk.checksum));
            self.ahead.read(chunk, read);
        }
    }

    /// Reads the sampled objects that have not been, and compares their checksums.
    ///
    /// # Errors
    /// [`TargetError::Altered`] naming the first that differs; its receipt is forgotten, so that the next run writes it again.
    pub(super) fn compare(&self, seen: Seen) -> Result<(), RunError> {
        let mut objects = seen.sample.objects();
        let drawn = objects.len();
        objects.retain(|(_, chunk)| !self.ahead.has(chunk));
        tracing::info!(objects = drawn, ahead = drawn - objects.len(), of = seen.objects, "reading a sample back");
        parallel::each(self.readers, objects.len(), self.setting.stop, &|number| {
            let ((stage, task), chunk) = &objects[number];
            let begun = Instant::now();
            loop {
                let found = self.store.get(&chunk.key)?;
                let sum = found.as_deref().map(checksum);
                if sum.as_ref() == Some(&chunk.checksum) {
                    return Ok(());
                }
                if begun.elapsed() >= NEAR {
                    self.state.forget_receipt(&self.workshop.plan_id, *stage, *task)?;
                    let found = sum.map_or("nothing".to_owned(), |sum| format!("bytes with the checksum {sum}"));
                    let message = format!("{found} came back instead of what was stored, with the checksum {}", chunk.checksum);
                    return Err(TargetError::Altered { key: chunk.key.clone(), message }.into());
                }
                std::thread::sleep(LOOKS.0);
            }
        })
    }
}

/// Position of the variable that an object belongs to; past the last if its key does not tell.
fn variable_of(plan: &Plan, key: &str) -> usize {
    let variables = &plan.schema.variables;
    variables.iter().position(|variable| object_index(variable, key, plan.format).is_some()).unwrap_or(variables.len())
}

/// What a thread does next.
enum Turn {
    Read(TaskNumber),
    Look(TaskNumber, ChunkRef),
}

/// What came of it.
enum Found {
    Nothing,
    Receipt(Option<Receipt>),
    Object { there: bool, variable: usize },
}

/// Receipts to read and objects to look at, shared by threads.
struct Line {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    objects: VecDeque<(TaskNumber, ChunkRef)>,
    /// Receipts being read.
    reading: usize,
    /// Objects of the longest receipt so far.
    longest: usize,
    seen: Seen,
    error: Option<RunError>,
}

impl Line {
    /// The next thing to do: an object, else a receipt once no object is left; `None` when all is done.
    fn turn(&self, next: impl Fn() -> Option<TaskNumber>) -> Option<Turn> {
        let mut waiting = self.lock();
        loop {
            if waiting.error.is_some() {
                return None;
            }
            if let Some((task, chunk)) = waiting.objects.pop_front() {
                return Some(Turn::Look(task, chunk));
            }
            if waiting.reading == 0 || waiting.longest <= LONG {
                match next() {
                    Some(task) => {
                        waiting.reading += 1;
                        return Some(Turn::Read(task));
                    }
                    None if waiting.reading == 0 => return None,
                    None => {}
                }
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, turn: &Turn, found: Result<Found, RunError>) {
        let mut waiting = self.lock();
        match (turn, found) {
            (_, Err(error)) => {
                waiting.error.get_or_insert(error);
            }
            (Turn::Read(task), Ok(Found::Receipt(receipt))) => waiting.read(*task, receipt),
            (Turn::Look(task, chunk), Ok(Found::Object { there, variable })) => waiting.looked((*task, chunk), there, variable),
            _ => {}
        }
        if matches!(turn, Turn::Read(_)) {
            waiting.reading -= 1;
        }
        drop(waiting);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn read(&mut self, task: TaskNumber, receipt: Option<Receipt>) {
        let Some(receipt) = receipt else {
            self.seen.lacking.insert(task);
            return;
        };
        self.longest = self.longest.max(receipt.chunks.len());
        self.seen.objects += receipt.chunks.len() as u64;
        self.objects.extend(receipt.chunks.into_iter().map(|chunk| (task, chunk)));
    }

    fn looked(&mut self, (task, chunk): (TaskNumber, &ChunkRef), there: bool, variable: usize) {
        if there {
            self.seen.sample.consider(task, chunk, variable);
        } else {
            self.seen.absent.push((task, chunk.clone()));
        }
    }
}
