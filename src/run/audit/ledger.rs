//! What the receipts of the committed plans say of every published object.
//!
//! An append leaves what earlier plans published, and its receipts tell of the rest: of each object the newest receipt counts.
//! Receipts are asked for by their keys, never listed, and not kept. Invariant: of each object one receipt is told, or none.

use std::sync::atomic::{AtomicU64, Ordering};

use super::crew::Crew;
use super::node::{Keys, Node};
use crate::grid::ChunkGrid;
use crate::plan::{Plan, Stage, object_shape};
use crate::receipt::{ChunkRef, Receipt};
use crate::recipe::OutputFormat;
use crate::run::RunError;
use crate::run::state::{Commit, Committed, State};

/// The state of a committed store.
pub(in crate::run) struct Ledger {
    pub(in crate::run) state: State,
    pub(in crate::run) plan: Plan,
    pub(in crate::run) committed: Committed,
    /// Newest first.
    commits: Vec<Commit>,
    keyring: Keyring,
}

/// The keys of a plan's objects.
pub(super) struct Keyring(Vec<Node>);

impl Keyring {
    pub(super) fn of(plan: &Plan) -> Self {
        Self((0..plan.schema.variables.len()).map(|variable| node(plan, variable)).collect())
    }

    /// The object of a key.
    pub(super) fn number(&self, key: &str) -> Option<ObjectNumber> {
        let of = |(variable, node): (usize, &Node)| Some(ObjectNumber { variable, object: node.number(key)? });
        self.0.iter().enumerate().find_map(of)
    }
}

/// An object of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::run) struct ObjectNumber {
    /// Position in the schema.
    pub(in crate::run) variable: usize,
    /// Row-major number of the object.
    pub(in crate::run) object: u64,
}

/// What a receipt says.
pub(in crate::run) enum Entry<'a> {
    /// Of an object, for the first time.
    Object(ObjectNumber, &'a ChunkRef),
    /// Of a key that the plan has no object for.
    Foreign(&'a ChunkRef),
    /// Nothing: there is no receipt of this task of this plan.
    Absent { plan: &'a str, stage: usize, task: u64 },
}

/// One bit for each object, set from many threads.
#[derive(Debug, Default)]
pub(in crate::run) struct Marks(Vec<Vec<AtomicU64>>);

impl Marks {
    pub(in crate::run) fn new(counts: impl Iterator<Item = u64>) -> Self {
        Self(counts.map(|count| (0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect()).collect())
    }

    /// Sets a bit; true if it was not set before.
    pub(in crate::run) fn set(&self, number: ObjectNumber) -> bool {
        let bit = 1 << (number.object % 64);
        self.word(number).is_some_and(|word| word.fetch_or(bit, Ordering::Relaxed) & bit == 0)
    }

    pub(in crate::run) fn has(&self, number: ObjectNumber) -> bool {
        self.word(number).is_some_and(|word| word.load(Ordering::Relaxed) >> (number.object % 64) & 1 == 1)
    }

    fn word(&self, number: ObjectNumber) -> Option<&AtomicU64> {
        self.0.get(number.variable)?.get(usize::try_from(number.object / 64).ok()?)
    }
}

impl Ledger {
    /// Reads what is known of a committed store; `None` if nothing was committed.
    ///
    /// # Errors
    /// [`RunError::Store`]; [`RunError::PlanFile`] for a plan of another version.
    pub(in crate::run) fn open(state: State) -> Result<Option<Self>, RunError> {
        let (Some(committed), Some(plan)) = (state.committed()?, state.committed_plan()?) else { return Ok(None) };
        let mut commits = state.history()?;
        if commits.is_empty() {
            // Committed before there was a history: of an append only the newest part has receipts that are found.
            commits.push(Commit { plan: committed.plan.clone(), tasks: plan.stages.iter().map(Stage::tasks).collect() });
        }
        commits.reverse();
        let keyring = Keyring::of(&plan);
        Ok(Some(Self { state, plan, committed, commits, keyring }))
    }

    /// The objects of each variable.
    pub(in crate::run) fn counts(&self) -> impl Iterator<Item = u64> {
        self.keyring.0.iter().map(|node| node.objects.chunks())
    }

    /// Key of an object below the target.
    pub(in crate::run) fn key(&self, number: ObjectNumber) -> String {
        self.keyring.0.get(number.variable).map(|node| node.key(&node.objects.index(number.object))).unwrap_or_default()
    }

    /// The object of a key.
    pub(in crate::run) fn number(&self, key: &str) -> Option<ObjectNumber> {
        self.keyring.number(key)
    }

    /// Shows every entry to someone, from several threads; gives the objects that some receipt tells of.
    pub(in crate::run) fn read(
        &self,
        crew: Crew<'_>,
        each: &(dyn Fn(Entry<'_>) -> Result<(), RunError> + Sync),
    ) -> Result<Marks, RunError> {
        let marks = Marks::new(self.counts());
        for commit in &self.commits {
            for (stage, &tasks) in commit.tasks.iter().enumerate() {
                crew.each(tasks, &|task| match self.state.receipt(&commit.plan, stage, task)? {
                    Some(receipt) => self.told(&receipt, &marks, each),
                    None => each(Entry::Absent { plan: &commit.plan, stage, task }),
                })?;
            }
        }
        Ok(marks)
    }

    fn told(&self, receipt: &Receipt, marks: &Marks, each: &(dyn Fn(Entry<'_>) -> Result<(), RunError> + Sync)) -> Result<(), RunError> {
        for chunk in &receipt.chunks {
            match self.number(&chunk.key) {
                Some(number) if marks.set(number) => each(Entry::Object(number, chunk))?,
                Some(_) => {}
                None => each(Entry::Foreign(chunk))?,
            }
        }
        Ok(())
    }
}

/// A variable of a plan, as far as keys of objects go.
fn node(plan: &Plan, variable: usize) -> Node {
    let described = &plan.schema.variables[variable];
    let shape = plan.schema.shape(described);
    let object = object_shape(described, &shape);
    let keys = match plan.format {
        OutputFormat::Zarr3 => Keys { prefixed: true, separator: '/' },
        OutputFormat::Zarr2 => Keys { prefixed: false, separator: '.' },
    };
    Node {
        path: described.name.clone(),
        attributes: serde_json::Map::new(),
        objects: ChunkGrid::new(shape, object.clone()),
        chunk: object,
        names: Vec::new(),
        type_name: described.dtype.name().to_owned(),
        dtype: Some(described.dtype),
        codecs: Vec::new(),
        fill: serde_json::Value::Null,
        keys,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_set_once() {
        let marks = Marks::new([3, 100].into_iter());
        let number = |variable, object| ObjectNumber { variable, object };
        assert!(marks.set(number(1, 99)) && !marks.set(number(1, 99)) && marks.has(number(1, 99)));
        assert!(!marks.has(number(1, 98)) && !marks.has(number(0, 99)));
        assert!(!marks.set(number(2, 0)) && !marks.set(number(0, 64)), "there are no such objects");
    }
}
