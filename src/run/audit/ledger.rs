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
use crate::run::repair::tasks;
use crate::run::state::{Commit, Committed, State};
use crate::run::versions;
use crate::store::{self, TargetStore};
use crate::target::TargetError;
use crate::target::zarr::root_document;

/// The state of a committed store.
pub(in crate::run) struct Ledger {
    pub(in crate::run) state: State,
    pub(in crate::run) plan: Plan,
    pub(in crate::run) committed: Committed,
    /// Newest first.
    commits: Vec<Commit>,
    keyring: Keyring,
    /// A run that was begun since, with its identity.
    begun: Option<(String, Plan)>,
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
    /// Reads what is known of the store at `root`, which the state is of; `None` if nothing was committed. `maker` is the plan
    /// that made it, where the store itself tells.
    ///
    /// # Errors
    /// [`RunError::Store`]; [`RunError::PlanFile`] for a plan of another version; [`RunError::Target`] if the store tells of a plan
    /// that the state knows nothing of.
    pub(in crate::run) fn open(state: State, root: &dyn TargetStore, maker: Option<&str>) -> Result<Option<Self>, RunError> {
        let Some((plan, committed)) = visible(&state, root, maker)? else { return Ok(None) };
        if maker.is_some_and(|maker| maker != committed.plan) {
            let message = "`main` holds a commit that is not the last one of this recipe, so our receipts tell nothing of it: look at \
                           that commit, then `gristmill run --replace` (the history keeps it)";
            return Err(TargetError::Conflict { target: store::shown(state.target()), message: message.to_owned() }.into());
        }
        let commits = commits(&state, &plan, &committed)?;
        let (keyring, begun) = (Keyring::of(&plan), begun(&state, &committed)?);
        Ok(Some(Self { state, plan, committed, commits, keyring, begun }))
    }

    /// True if a run that was begun since wrote an object so: it may have made longer what readers of what is published see as it was.
    pub(in crate::run) fn is_of_begun(&self, key: &str, size: u64, sum: Option<&str>) -> Result<bool, RunError> {
        let Some((identity, plan)) = &self.begun else { return Ok(false) };
        let same = |chunk: &ChunkRef| chunk.key == key && chunk.bytes == size && sum.is_none_or(|sum| sum == chunk.checksum);
        for (stage, task) in tasks::of(plan, Keyring::of(plan).number(key).into_iter()) {
            if self.state.receipt(identity, stage, task)?.is_some_and(|receipt| receipt.chunks.iter().any(same)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The objects of a run that was begun since.
    pub(super) fn begun(&self) -> Option<Keyring> {
        self.begun.as_ref().map(|(_, plan)| Keyring::of(plan))
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
                    // Of copies only those have one that copied something.
                    None if stage >= self.plan.stages.len() => Ok(()),
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

/// The plan whose result is visible: what was committed, or what a run made visible before it was killed.
fn visible(state: &State, root: &dyn TargetStore, maker: Option<&str>) -> Result<Option<(Plan, Committed)>, RunError> {
    let committed = state.committed()?;
    let begun = match state.plan() {
        Err(RunError::PlanFile(_)) => None,
        begun => begun?.map(|begun| (begun.identity(), begun)),
    };
    if let Some((identity, begun)) = begun.filter(|(identity, _)| committed.as_ref().is_none_or(|committed| committed.plan != *identity))
        && maker.map_or_else(|| shows(&begun, root), |maker| Ok(maker == identity))?
    {
        let id = begun.id.clone();
        return Ok(Some((begun, Committed { id, plan: identity })));
    }
    Ok(state.committed_plan()?.zip(committed))
}

/// True if the root's metadata is the one that this plan publishes.
fn shows(plan: &Plan, root: &dyn TargetStore) -> Result<bool, RunError> {
    let (key, planned) = root_document(&plan.schema, plan.format)?;
    Ok(root.get(&key)?.is_some_and(|found| found == planned))
}

/// A run of another plan that was begun since, unless it makes a version of its own.
fn begun(state: &State, committed: &Committed) -> Result<Option<(String, Plan)>, RunError> {
    let plan = match state.plan() {
        Err(RunError::PlanFile(_)) => None,
        plan => plan?,
    };
    let plan = plan.map(|plan| (plan.identity(), plan)).filter(|(identity, _)| *identity != committed.plan);
    Ok(if state.keeps_versions()? { None } else { plan })
}

/// The commits that objects may come from, newest first.
fn commits(state: &State, plan: &Plan, committed: &Committed) -> Result<Vec<Commit>, RunError> {
    let own = Commit { plan: committed.plan.clone(), tasks: plan.stages.iter().map(Stage::tasks).collect() };
    if state.keeps_versions()? {
        // A version is whole by itself; what it copied has receipts of its own.
        return Ok(vec![Commit { tasks: own.tasks.into_iter().chain(versions::copies(state, &own.plan)?).collect(), plan: own.plan }]);
    }
    let mut commits = state.history()?;
    // What was committed before there was a history, or was not noted before a run was killed: of an append before that the older
    // parts have no receipts that are found.
    if commits.last().is_none_or(|last| last.plan != own.plan) {
        commits.push(own);
    }
    commits.reverse();
    Ok(commits)
}

/// A variable of a plan, as far as keys of objects go.
fn node(plan: &Plan, variable: usize) -> Node {
    let described = &plan.schema.variables[variable];
    let shape = plan.schema.shape(described);
    let object = object_shape(described, &shape);
    let keys = match plan.format {
        OutputFormat::Zarr3 | OutputFormat::Icechunk => Keys { prefixed: true, separator: '/' },
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
