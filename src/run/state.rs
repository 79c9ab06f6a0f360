//! What a run keeps beside its target, in `TARGET.gristmill/`: plan, scan, receipts, report, lock.
//!
//! Never inside the target. Invariant: whoever holds the lock is the only writer of the target and of this state.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::plan::Plan;
use crate::receipt::Receipt;
use crate::store::probe::Mode;
use crate::store::{self, Access, PutMode, StoreError, TargetStore};

use super::RunError;
use super::lock::{self, Holder, Lock};
use super::report::Report;
use crate::work::WorkError;

/// The state beside one target.
pub struct State {
    store: Arc<dyn TargetStore>,
    /// URL of the target, for messages.
    target: String,
    lock: Lock,
}

/// Folder of scratch objects.
const SCRATCH: &str = "scratch";

/// Where the scratch objects of a target lie; before a target is chosen, where they would.
pub(super) fn scratch_url(target: &str) -> Result<String, StoreError> {
    let target = if target.is_empty() { "TARGET" } else { target };
    Ok(format!("{}/{SCRATCH}", store::sibling(target, ".gristmill")?))
}

impl State {
    /// Opens the state of a target and takes its lock.
    ///
    /// # Errors
    /// [`RunError::Conflict`] if another run holds the target.
    pub fn open(target: &str, access: &Access) -> Result<Self, RunError> {
        let url = store::sibling(target, ".gristmill")?;
        let store = store::target(&url, access)?;
        let lock = Lock::take(&url, target, access)?;
        Ok(Self { store: lock.fence(store), target: target.to_owned(), lock })
    }

    /// Opens the state of a target to look at it, whoever holds its lock; nothing may be written with it.
    ///
    /// # Errors
    /// [`RunError::Store`] for a URL that nothing can be beside.
    pub fn read_only(target: &str, access: &Access) -> Result<Self, RunError> {
        let store = store::target(&store::sibling(target, ".gristmill")?, access)?;
        Ok(Self { store, target: target.to_owned(), lock: Lock::none(target) })
    }

    /// Who holds a target right now, as far as one look tells: a lease whose holder died elsewhere looks held.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub fn holder(target: &str, access: &Access) -> Result<Option<Holder>, RunError> {
        let url = store::sibling(target, ".gristmill")?;
        Ok(lock::holder(&url, &store::target(&url, access)?)?)
    }

    /// How the target is held against other runs.
    pub(super) fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Asks whether this run still holds the target; see [`Lock::still_ours`].
    ///
    /// # Errors
    /// [`RunError::Held`], [`RunError::Lapsed`], [`RunError::Store`].
    pub fn still_ours(&self) -> Result<(), RunError> {
        self.lock.still_ours()
    }

    /// Number of this holder of the target; grows from holder to holder.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.lock.epoch()
    }

    /// Refuses a way of writing that is not safe on this store.
    ///
    /// # Errors
    /// [`RunError::Unable`] with the reason.
    pub fn permits(&self, mode: Mode) -> Result<(), RunError> {
        self.lock.permits(mode)
    }

    /// True if a run has left any state beside the target.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub fn is_there(target: &str, access: &Access) -> Result<bool, RunError> {
        let store = store::target(&store::sibling(target, ".gristmill")?, access)?;
        for key in ["report.json", "plan.json", "committed.json", "versions.json"] {
            if store.head(key)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<T>, RunError> {
        let Some(bytes) = self.store.get(key)? else { return Ok(None) };
        // A torn or foreign state object is as good as none: whatever it said is done again.
        Ok(serde_json::from_slice(&bytes).ok())
    }

    pub(super) fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.store.put(key, Bytes::from(bytes), PutMode::Overwrite)
    }

    /// The plan that an earlier run saved.
    ///
    /// # Errors
    /// [`RunError::Store`]; [`RunError::PlanFile`] if it is of another version.
    pub fn plan(&self) -> Result<Option<Plan>, RunError> {
        let Some(bytes) = self.store.get("plan.json")? else { return Ok(None) };
        Ok(Some(Plan::from_json(&bytes)?))
    }

    /// Saves the plan.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub fn save_plan(&self, plan: &Plan) -> Result<(), RunError> {
        Ok(self.put("plan.json", plan.to_json()?)?)
    }

    /// Saves a plan that is begun or continued. If another plan was begun last, what that one left in scratch goes, and so do
    /// receipts that this plan left before: the objects they tell of may have been written over.
    ///
    /// # Errors
    /// [`RunError::Store`]; [`RunError::Held`], [`RunError::Lapsed`] if this run no longer holds the target.
    pub fn begin(&self, plan: &Plan, identity: &str, continued: bool) -> Result<(), RunError> {
        self.still_ours()?;
        if !continued {
            super::empty(self, &*self.store, &format!("receipts/{identity}"))?;
            self.clear_scratch()?;
        }
        self.save_plan(plan)
    }

    /// Deletes every scratch object.
    ///
    /// # Errors
    /// [`RunError::Store`], [`RunError::Folder`].
    pub fn clear_scratch(&self) -> Result<(), RunError> {
        let Some(folder) = local_folder(&scratch_url(&self.target)?) else { return super::empty(self, &*self.store, SCRATCH) };
        // The whole folder: what a killed writer left half-written goes too.
        match std::fs::remove_dir_all(&folder) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(RunError::Folder { path: folder, cause }),
            _ => Ok(()),
        }
    }

    /// The plan whose result is visible, by identity.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub fn committed(&self) -> Result<Option<Committed>, RunError> {
        self.json("committed.json")
    }

    /// The plan whose result is visible.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub fn committed_plan(&self) -> Result<Option<Plan>, RunError> {
        let Some(bytes) = self.store.get("committed-plan.json")? else { return Ok(None) };
        Ok(Some(Plan::from_json(&bytes)?))
    }

    /// Notes that a plan's result is visible.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub fn save_committed(&self, committed: &Committed, plan: &Plan) -> Result<(), RunError> {
        self.note_commit(committed, plan)?;
        self.put("committed-plan.json", plan.to_json()?)?;
        Ok(self.put("committed.json", serde_json::to_vec(committed).unwrap_or_default())?)
    }

    /// True if the target keeps versions side by side.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub fn keeps_versions(&self) -> Result<bool, RunError> {
        Ok(self.store.head("versions.json")?.is_some())
    }

    /// Plans whose objects make up what is visible, oldest first: an append adds one, and leaves what the others wrote.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub fn history(&self) -> Result<Vec<Commit>, RunError> {
        let (Some(committed), all) = (self.committed()?, self.json::<Vec<Commit>>(HISTORY)?.unwrap_or_default()) else {
            return Ok(Vec::new());
        };
        // A killed commit may have noted itself before it happened.
        let last = all.iter().rposition(|commit| commit.plan == committed.plan);
        Ok(last.and_then(|last| all.get(..=last)).map(<[Commit]>::to_vec).unwrap_or_default())
    }

    /// Adds a plan to the history; begins it anew where nothing was visible.
    fn note_commit(&self, committed: &Committed, plan: &Plan) -> Result<(), RunError> {
        let mut all = self.history()?;
        if all.last().is_none_or(|last| last.plan != committed.plan) {
            all.push(Commit { plan: committed.plan.clone(), tasks: plan.stages.iter().map(crate::plan::Stage::tasks).collect() });
        }
        Ok(self.put(HISTORY, serde_json::to_vec(&all).unwrap_or_default())?)
    }

    /// The last commit of the target when the saved plan was begun; `None` if there was none. Of formats that keep commits.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub(super) fn base(&self) -> Result<Option<String>, RunError> {
        self.json(BASE)
    }

    /// Notes the last commit of the target, before a plan is begun.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub(super) fn save_base(&self, commit: Option<&str>) -> Result<(), RunError> {
        Ok(self.put(BASE, serde_json::to_vec(&commit).unwrap_or_default())?)
    }

    /// The receipt of a task, if the task is done.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub fn receipt(&self, plan: &str, stage: usize, task: u64) -> Result<Option<Receipt>, RunError> {
        let receipt: Option<Receipt> = self.json(&receipt_key(plan, stage, task))?;
        Ok(receipt.filter(|receipt| receipt.plan == plan && receipt.task == task))
    }

    /// Keeps the receipt of a finished task, with the number of this holder of the target. One that is there already and tells of the
    /// same objects is replaced, unless it is of a later holder: then it is this one who does not hold the target any more, which he
    /// will learn before he commits.
    ///
    /// # Errors
    /// [`WorkError::Unrepeatable`] if the task has left another receipt before; [`WorkError::Store`].
    pub fn save_receipt(&self, receipt: &Receipt) -> Result<(), WorkError> {
        let receipt = &Receipt { epoch: self.epoch(), ..receipt.clone() };
        let key = receipt_key(&receipt.plan, receipt.stage as usize, receipt.task);
        let known = self.store.get(&key)?.and_then(|bytes| serde_json::from_slice::<Receipt>(&bytes).ok());
        if let Some(known) = known.filter(|known| known.plan == receipt.plan && known.task == receipt.task) {
            if !known.agrees_with(receipt) {
                let key = receipt.differs_in(&known).or_else(|| known.differs_in(receipt)).unwrap_or_default().to_owned();
                return Err(WorkError::Unrepeatable { stage: receipt.stage, task: receipt.task, key });
            }
            if known == *receipt || known.epoch > receipt.epoch {
                return Ok(());
            }
        }
        Ok(self.put(&key, serde_json::to_vec(receipt).unwrap_or_default())?)
    }

    /// Keeps the receipt of a task that was done anew, whatever an earlier one told of the same objects, unless that one is of a
    /// later holder.
    ///
    /// # Errors
    /// [`WorkError::Store`].
    pub(super) fn renew_receipt(&self, receipt: &Receipt) -> Result<(), WorkError> {
        let receipt = &Receipt { epoch: self.epoch(), ..receipt.clone() };
        let key = receipt_key(&receipt.plan, receipt.stage as usize, receipt.task);
        let known = self.store.get(&key)?.and_then(|bytes| serde_json::from_slice::<Receipt>(&bytes).ok());
        if known.is_some_and(|known| known == *receipt || known.epoch > receipt.epoch) {
            return Ok(());
        }
        Ok(self.put(&key, serde_json::to_vec(receipt).unwrap_or_default())?)
    }

    /// Forgets the receipt of a task: the next run does it again.
    ///
    /// # Errors
    /// [`RunError::Store`]; [`RunError::Held`], [`RunError::Lapsed`] if the target is known to be lost.
    pub(super) fn forget_receipt(&self, plan: &str, stage: usize, task: u64) -> Result<(), RunError> {
        self.erase(&*self.store, &receipt_key(plan, stage, task))
    }

    /// Deletes an object of the target or beside it, unless it is known that this run no longer holds the target: one that was
    /// suspended for long finds that out by its own clock, without a request.
    ///
    /// # Errors
    /// [`RunError::Store`]; [`RunError::Held`], [`RunError::Lapsed`].
    pub(super) fn erase(&self, store: &dyn TargetStore, key: &str) -> Result<(), RunError> {
        if self.lock.is_lost() {
            self.still_ours()?;
        }
        Ok(store.delete(key)?)
    }

    /// Where the state's objects are.
    pub(super) fn store(&self) -> Arc<dyn TargetStore> {
        Arc::clone(&self.store)
    }

    /// Keeps the report of the latest run.
    ///
    /// # Errors
    /// The store's.
    pub fn save_report(&self, report: &Report) -> Result<(), StoreError> {
        self.put("report.json", serde_json::to_vec_pretty(report).unwrap_or_default())
    }

    /// What the last run that opened the target told of itself; `None` too if that is of a version that nobody reads any more.
    ///
    /// # Errors
    /// [`RunError::Store`].
    pub fn report(&self) -> Result<Option<Report>, RunError> {
        self.json("report.json")
    }

    /// Forgets what was committed, and then the receipts of it: whose objects are there is still known.
    ///
    /// # Errors
    /// [`RunError::Store`]; [`RunError::Held`], [`RunError::Lapsed`] if this run no longer holds the target.
    pub(super) fn withdraw(&self) -> Result<(), RunError> {
        self.still_ours()?;
        self.erase(&*self.store, "committed.json")?;
        super::empty(self, &*self.store, "receipts")
    }

    /// Forgets receipts and what was committed: the next tasks are done anew.
    ///
    /// # Errors
    /// [`RunError::Store`], [`RunError::Folder`]; [`RunError::Held`], [`RunError::Lapsed`] if this run no longer holds the target.
    pub fn forget(&self) -> Result<(), RunError> {
        self.still_ours()?;
        self.erase(&*self.store, "committed.json")?;
        self.erase(&*self.store, "plan.json")?;
        self.clear_scratch()?;
        super::empty(self, &*self.store, "receipts")
    }

    /// URL of the target this state belongs to.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }
}

/// What is visible at the target.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Committed {
    /// `id` of the recipe.
    pub id: String,
    /// [`Plan::identity`].
    pub plan: String,
}

const HISTORY: &str = "history.json";
const BASE: &str = "base.json";

/// A plan that was committed, and how many tasks each of its stages has: enough to ask for all its receipts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Commit {
    /// [`Plan::identity`].
    pub plan: String,
    /// Tasks of each stage.
    pub tasks: Vec<u64>,
}

pub(super) fn receipt_key(plan: &str, stage: usize, task: u64) -> String {
    format!("receipts/{plan}/{stage}-{task}.json")
}

/// The folder of a state on a local disk.
pub(super) fn local_folder(url: &str) -> Option<PathBuf> {
    match url.split_once("://") {
        Some(("file", path)) => Some(PathBuf::from(path)),
        Some(_) => None,
        None => Some(PathBuf::from(url)),
    }
}
