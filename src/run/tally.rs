//! What the finished tasks of a plan left, added up as it comes.
//!
//! A receipt names every object of its task and every file it read; a hundred thousand of them would not fit into the memory of a run. Invariant: a
//! tally takes memory for each file and each expectation, never for each object, and is the same in whatever order receipts are added.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::RunError;
use super::expect::Judged;
use super::state::State;
use crate::plan::{Passage, Plan, Stage};
use crate::receipt::{InputRead, Receipt};

/// Receipts asked for at a time.
const READERS: usize = 16;

/// What finished tasks left.
#[derive(Debug, Default)]
pub struct Tally {
    /// Tasks.
    pub tasks: u64,
    /// Objects of the target.
    pub objects: u64,
    /// Bytes of those objects.
    pub stored_bytes: u64,
    /// Chunks of the target that are source chunks as they were.
    pub moved_chunks: u64,
    /// What was read, by input.
    pub reads: BTreeMap<u32, InputRead>,
    /// What was counted, one per expectation of the plan.
    pub judged: Vec<Judged>,
    /// The tasks, and copies, that this run did itself; of the others it found the receipts when it began. Ascending.
    pub(super) own: Vec<TaskNumber>,
}

impl Tally {
    /// Adds a receipt.
    pub fn add(&mut self, plan: &Plan, receipt: &Receipt) {
        self.tasks += 1;
        self.objects += receipt.chunks.len() as u64;
        self.stored_bytes += receipt.chunks.iter().map(|chunk| chunk.bytes).sum::<u64>();
        self.moved_chunks += receipt.moved;
        for read in &receipt.inputs {
            self.reads.entry(read.input).and_modify(|sum| sum.add(read)).or_insert_with(|| read.clone());
        }
        self.judged.resize_with(plan.expect.len(), Judged::default);
        for (judged, expectation) in self.judged.iter_mut().zip(&plan.expect) {
            judged.add(plan, expectation, receipt);
        }
    }
}

/// Stage, and number within it.
pub(super) type TaskNumber = (usize, u64);

/// Looks at a receipt; false: its task is to be done again. The flag: a task is to be done that reads scratch.
pub(super) type Look<'a> = &'a (dyn Fn(&Receipt, bool) -> Result<bool, RunError> + Sync);

/// The tasks of a plan without a receipt that `look` accepts, in order. Receipts are read several at a time and not kept.
pub(super) fn unfinished(state: &State, plan: &Plan, identity: &str, look: Look<'_>) -> Result<Vec<TaskNumber>, RunError> {
    let reads_scratch = |stage: &Stage| stage.grids.iter().any(|grid| matches!(grid.passage, Passage::FromScratch(_)));
    let mut todo: Vec<TaskNumber> = Vec::new();
    // Later stages first: whether scratch is still needed depends on them.
    for (number, stage) in plan.stages.iter().enumerate().rev() {
        let needed = todo.iter().any(|(stage, _)| plan.stages.get(*stage).is_some_and(reads_scratch));
        let has = |task: u64| match state.receipt(identity, number, task)? {
            Some(receipt) => look(&receipt, needed),
            None => Ok(false),
        };
        todo.extend(lacking(stage.tasks(), &has)?.into_iter().map(|task| (number, task)));
    }
    todo.sort_unstable();
    Ok(todo)
}

/// Numbers below `count` for which `has` is false.
fn lacking(count: u64, has: &(dyn Fn(u64) -> Result<bool, RunError> + Sync)) -> Result<Vec<u64>, RunError> {
    let (next, found) = (AtomicU64::new(0), Mutex::new(Ok(Vec::new())));
    let read = || loop {
        let task = next.fetch_add(1, Ordering::Relaxed);
        if task >= count {
            return;
        }
        let result = has(task);
        if matches!(result, Ok(true)) {
            continue;
        }
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        match (&mut *found, result) {
            (Ok(lacking), Ok(_)) => lacking.push(task),
            (Ok(_), Err(error)) => *found = Err(error),
            (Err(_), _) => return,
        }
    };
    std::thread::scope(|scope| {
        for number in 1..READERS.min(count as usize) {
            // Where no more threads are to be had, the others do the work.
            let _started = std::thread::Builder::new().name(format!("receipts {number}")).spawn_scoped(scope, read);
        }
        read();
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_without_a_receipt_is_found_once() {
        let mut found = lacking(10_000, &|task| Ok(task % 7 != 3)).unwrap();
        found.sort_unstable();
        assert_eq!(found, (0..10_000).filter(|task| task % 7 == 3).collect::<Vec<_>>());
        assert!(matches!(
            lacking(10_000, &|task| if task == 5_000 { Err(RunError::Interrupted) } else { Ok(false) }),
            Err(RunError::Interrupted)
        ));
        assert!(lacking(0, &|_| Ok(false)).unwrap().is_empty());
    }
}
