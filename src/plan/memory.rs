//! What a run holds in memory, counted: the program, its threads' own buffers, what waits for the network, and values.
//!
//! Pure sums over the plan. Invariant: [`Plan::peak`] is no more than [`Plan::memory`] for every plan that `build` makes; tests
//! measure that real runs stay below a tenth above it.

use serde::{Deserialize, Serialize};

use super::{Plan, TaskGrid, Work};

/// Memory that is not the values of tasks, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Overhead {
    /// The program, its tables, what it remembers of its inputs.
    pub baseline: u64,
    /// Threads that decode and encode.
    pub threads: u64,
    /// What one of them holds besides: a stored and a decoded source chunk, a copy of it, an encoded object.
    pub thread: u64,
    /// Fetched and encoded bytes that wait, and objects remembered to be verified, where anything is far away.
    pub waiting: u64,
}

/// Bytes of codecs' tables and small buffers in a thread.
const THREAD: u64 = 4 << 20;

impl Overhead {
    /// The sum.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.baseline.saturating_add(self.thread.saturating_mul(self.threads)).saturating_add(self.waiting)
    }

    /// What a thread holds, from the values of its largest source chunk and its largest object.
    pub(super) fn thread_bytes(source: u64, object: u64) -> u64 {
        source.saturating_mul(3).saturating_add(object).saturating_add(object >> 4).saturating_add(THREAD)
    }
}

impl Plan {
    /// Bytes that the values of all admitted tasks may take together.
    #[must_use]
    pub fn buffers(&self) -> u64 {
        self.memory.saturating_sub(self.overhead.bytes())
    }

    /// Most bytes of memory that a run will hold at a time.
    #[must_use]
    pub fn peak(&self) -> u64 {
        let most = self.stages.iter().map(|stage| self.together(&stage.grids)).max().unwrap_or(0);
        self.overhead.bytes().saturating_add(most)
    }

    /// Most bytes of values that tasks hold which are admitted in their order, as long as they fit.
    fn together(&self, grids: &[TaskGrid]) -> u64 {
        let sizes: Vec<(u64, u64)> = grids.iter().map(|grid| (self.largest(grid).max(1), grid.slabs.chunks())).collect();
        let from = |(first, &(bytes, tasks)): (usize, &(u64, u64))| {
            let fit = (self.buffers() / bytes).clamp(1, tasks.max(1));
            // Any number of the first grid's tasks may be left; few of them leave the most room for larger ones.
            let rest = sizes.get(first + 1..).unwrap_or_default();
            (1..=fit.min(64)).chain([fit]).map(|left| self.admitted(left.saturating_mul(bytes), rest)).max().unwrap_or(0)
        };
        sizes.iter().enumerate().map(from).max().unwrap_or(0)
    }

    /// `held`, and what is admitted besides: (bytes of a task, tasks) one after the other.
    fn admitted(&self, mut held: u64, sizes: &[(u64, u64)]) -> u64 {
        for &(bytes, tasks) in sizes {
            let fit = (self.buffers().saturating_sub(held) / bytes).min(tasks);
            held = held.saturating_add(fit.saturating_mul(bytes));
            if fit < tasks {
                break;
            }
        }
        held
    }

    /// Bytes of values that the largest task holds.
    #[must_use]
    pub fn largest_task(&self) -> u64 {
        self.stages.iter().flat_map(|stage| &stage.grids).map(|grid| self.largest(grid)).max().unwrap_or(0)
    }

    /// Bytes of values that a task of a grid holds at most.
    fn largest(&self, grid: &TaskGrid) -> u64 {
        let objects = grid.slabs.region(&vec![0; grid.slabs.shape.len()]);
        self.held(&Work::Slab { variables: grid.variables.clone(), objects, passage: grid.passage.clone() })
    }
}
