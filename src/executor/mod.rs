//! Where tasks run. `local` runs them on this machine's cores; others will call the same `worker`.
//!
//! An executor decides only place and order. Invariant: any task may run anywhere, in any order, twice.

pub mod local;

use std::sync::atomic::AtomicBool;

use crate::event::Reporter;
use crate::receipt::Receipt;
use crate::work::{WorkError, Workshop};

/// What an executor is given.
pub struct Job<'a> {
    /// Plan, stores and target.
    pub workshop: &'a Workshop,
    /// Stage to run.
    pub stage: usize,
    /// Tasks without a receipt, ascending.
    pub tasks: Vec<u64>,
    /// Called once for each finished task, from any thread, before the task counts as done.
    pub keep: &'a (dyn Fn(&Receipt) -> Result<(), WorkError> + Sync),
    /// Who listens.
    pub reporter: &'a dyn Reporter,
    /// Set from outside to stop: running reads and writes are finished, nothing new is begun.
    pub stop: &'a AtomicBool,
}

/// How a job ended.
#[derive(Debug)]
pub enum Outcome {
    /// Every task has left its receipt.
    Done,
    /// It was told to stop.
    Stopped,
    /// Tasks failed; all errors that occurred before the others could be stopped, first first.
    Failed(Vec<WorkError>),
}
