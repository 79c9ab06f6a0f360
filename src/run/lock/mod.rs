//! One writer per target.
//!
//! On a local disk a file lock, which the kernel releases however the process ends; elsewhere a lease that its holder renews
//! (`lease`). Each holder has a number, its *epoch*, larger than that of any holder before. Before anything becomes visible the
//! holder asks again whether the target is still his ([`Lock::still_ours`]): a run that was stopped, suspended or cut off for
//! long finds that another went on in its place, and ends.
//!
//! Clocks of two machines are never compared: whether a holder lives is told by its lease changing while one watches, by one's own
//! clock. Times in a lease are for people.
//!
//! Invariant: of two runs at one target at most one commits. Where the store creates exclusively that holds whatever the timing,
//! but for the moment between the last look and the one put that follows it; elsewhere it is best effort (`docs/design/009`).

mod fence;
mod file;
mod holder;
mod keeper;
mod lease;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::RunError;
use super::state::local_folder;
use crate::store::access::Retries;
use crate::store::probe::{self, Abilities, Answer, Depth, Doors, Mode, Support};
use crate::store::{self, Access, PutMode, StoreError, TargetStore};
use fence::Fenced;
use file::FileLock;
use keeper::LeaseKeeper;
use lease::{Proof, Timing};

pub use holder::Holder;

/// A held lock; let go when dropped.
pub(crate) struct Lock {
    kind: Kind,
    epoch: u64,
    /// What the store can do; `None` where a file lock does it all, or the memory of this process.
    abilities: Option<Abilities>,
    /// The operator's word that nobody else writes.
    alone: bool,
    target: String,
}

enum Kind {
    File(FileLock),
    Lease(LeaseKeeper),
    Looking,
}

/// How a run held its target, for the report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writing {
    /// `file lock`, `lease`, or `lease, read back` where the store cannot create exclusively.
    pub lock: String,
    /// Number of this holder of the target.
    pub epoch: u64,
    /// True if the operator gave his word that nobody else writes.
    pub single_writer: bool,
    /// Why the lease is best effort only, if it is.
    pub weakness: Option<String>,
}

/// Where the number of the latest holder is noted.
const EPOCH: &str = "epoch.json";
/// Where the answers of the probe are kept.
const ABILITIES: &str = "abilities.json";

impl Lock {
    /// Takes the lock of a target, whose state is at `url`.
    pub(crate) fn take(url: &str, target: &str, access: &Access) -> Result<Self, RunError> {
        let store = store::target(url, access)?;
        let (alone, target) = (access.single_writer, target.to_owned());
        if let Some(folder) = local_folder(url) {
            let held = file::take(&folder, &target)?;
            let epoch = noted(&*store)?.saturating_add(1);
            note(&*store, epoch)?;
            return Ok(Self { kind: Kind::File(held), epoch, abilities: None, alone, target });
        }
        let abilities = abilities(url, access, &*store)?;
        let weak = abilities.as_ref().filter(|abilities| !abilities.creates_exclusively());
        let proof = match weak.map(|abilities| abilities.create) {
            None => Proof::Created,
            Some(Support::Refused) => Proof::ReadBack(PutMode::Overwrite),
            Some(_) => Proof::ReadBack(PutMode::Create),
        };
        if let Some(verdict) =
            abilities.as_ref().map(|abilities| abilities.verdict(Mode::InPlace)).filter(|verdict| verdict.answer == Answer::No)
        {
            return Err(unable(&target, Mode::InPlace, &verdict.reason));
        }
        let taken = lease::take(&store, &target, proof, Timing::USUAL)?;
        let epoch = taken.epoch();
        let quick = store::target(url, &hasty(access))?;
        let keeper = LeaseKeeper::start(taken.through(quick), &target);
        Ok(Self { kind: Kind::Lease(keeper), epoch, abilities, alone, target })
    }

    /// No lock at all, for those who only look.
    pub(super) fn none(target: &str) -> Self {
        Self { kind: Kind::Looking, epoch: 0, abilities: None, alone: false, target: target.to_owned() }
    }

    /// Asks whether this run still holds the target. To be called right before each put that makes something visible, and
    /// before anything is deleted that another holder may need.
    ///
    /// # Errors
    /// [`RunError::Held`] (exit 6) if another holds it now, [`RunError::Lapsed`] (exit 75) if that cannot be told, the store's.
    pub(crate) fn still_ours(&self) -> Result<(), RunError> {
        match &self.kind {
            Kind::File(file) => file.still_ours(&self.target),
            Kind::Lease(keeper) => keeper.still_ours(),
            Kind::Looking => Err(held(&self.target, "somebody else, as far as one who only looks can tell")),
        }
    }

    /// True if it is known, without asking anybody, that the lock is lost.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(&self.kind, Kind::Lease(keeper) if keeper.lost().is_some())
    }

    /// A store that takes nothing any more once it is known that the lock is lost.
    pub(super) fn fence(&self, store: Arc<dyn TargetStore>) -> Arc<dyn TargetStore> {
        match &self.kind {
            Kind::Lease(keeper) => Arc::new(Fenced::new(store, keeper.is_lost())),
            // The kernel keeps a file lock while its process sleeps.
            Kind::File(_) | Kind::Looking => store,
        }
    }

    /// The same access, with which target stores are opened that take nothing any more once it is known that the lock is lost.
    pub(super) fn fencing(&self, access: &Access) -> Access {
        let Kind::Lease(keeper) = &self.kind else { return access.clone() };
        let is_lost = keeper.is_lost();
        let wrapping = access.wrapping.clone().within(move |_, store| Arc::new(Fenced::new(store, Arc::clone(&is_lost))));
        Access { wrapping, ..access.clone() }
    }

    /// Number of this holder; grows from holder to holder.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Refuses what is not safe on this store.
    ///
    /// # Errors
    /// [`RunError::Unable`] (exit 6) with the reason.
    pub(super) fn permits(&self, mode: Mode) -> Result<(), RunError> {
        let Some(verdict) = self.abilities.as_ref().map(|abilities| abilities.verdict(mode)) else { return Ok(()) };
        match verdict.answer {
            Answer::Yes | Answer::BestEffort => Ok(()),
            Answer::Alone if self.alone => Ok(()),
            Answer::Alone | Answer::No => Err(unable(&self.target, mode, &verdict.reason)),
        }
    }

    /// Whether of several that create one object exactly one wins, and whether a put that is to replace a certain version of an object
    /// fails where there is another: as the store answered. Neither where a file lock does it all.
    pub(super) fn conditions(&self) -> (bool, bool) {
        match (&self.kind, &self.abilities) {
            (Kind::Lease(_), Some(abilities)) => (abilities.creates_exclusively(), abilities.replace == Support::Honoured),
            (Kind::Lease(_), None) => (true, true),
            (Kind::File(_) | Kind::Looking, _) => (false, false),
        }
    }

    /// How the target is held.
    pub(super) fn writing(&self) -> Writing {
        let weak = self.abilities.as_ref().filter(|abilities| !abilities.creates_exclusively());
        let lock = match (&self.kind, weak) {
            (Kind::File(_), _) => "file lock",
            (Kind::Lease(_), None) => "lease",
            (Kind::Lease(_), Some(_)) => "lease, read back",
            (Kind::Looking, _) => "none",
        };
        let weakness = weak.map(|abilities| abilities.verdict(Mode::Lease).reason);
        Writing { lock: lock.to_owned(), epoch: self.epoch, single_writer: self.alone, weakness }
    }

    /// Does the work of a run; as soon as the lock is lost `stop` is set, and that it was lost is why the run ended.
    pub(super) fn guarding<T>(&self, stop: &AtomicBool, work: impl FnOnce() -> Result<T, RunError>) -> Result<T, RunError> {
        let Kind::Lease(keeper) = &self.kind else { return work() };
        let done = AtomicBool::new(false);
        let result = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if keeper.lost().is_some() {
                        stop.store(true, Ordering::Relaxed);
                        return;
                    }
                    std::thread::park_timeout(WATCH);
                }
            });
            // However the work ends, the watcher does too.
            let _end = End { done: &done, watcher: watcher.thread() };
            work()
        });
        // Whatever failed in a run whose lock is lost: it was no longer to be done, and says so unless it met the other run by itself.
        result.map_err(|error| if error.exit() == 6 { error } else { keeper.lost_to().unwrap_or(error) })
    }
}

/// How often it is asked whether the lock is lost.
const WATCH: Duration = Duration::from_millis(200);

struct End<'a> {
    done: &'a AtomicBool,
    watcher: &'a std::thread::Thread,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        self.watcher.unpark();
    }
}

fn held(target: &str, by: &str) -> RunError {
    RunError::Held { message: format!("{target} is being written by {by}; wait until that run is done") }
}

fn unable(target: &str, mode: Mode, reason: &str) -> RunError {
    let help = match mode {
        Mode::InPlace | Mode::Versioned | Mode::Lease => "choose another store, or mend what stands before this one",
        Mode::Append | Mode::Icechunk => {
            "write a new version (`--versioned`), or say `--single-writer` if you know that nobody else writes there"
        }
    };
    RunError::Unable { message: format!("{target}: this store is not fit for \"{}\": {reason}; {help}", mode.name()) }
}

/// What the store of a state can do: what an earlier run was told, or what it answers now. `None` for this process's memory.
fn abilities(url: &str, access: &Access, store: &dyn TargetStore) -> Result<Option<Abilities>, RunError> {
    if !store::is_far(url) {
        return Ok(None);
    }
    let endpoint = probe::endpoint(url, access)?;
    let known = store.get(ABILITIES)?.and_then(|bytes| serde_json::from_slice::<Abilities>(&bytes).ok());
    if let Some(known) = known.filter(|known| known.hold(&endpoint)) {
        return Ok(Some(known));
    }
    tracing::info!(endpoint, "asking the store what it can do");
    let doors = Doors::open(url, access)?;
    let told = probe::ask(&doors, &format!("probe-{}", probe::nonce()), Depth::Lease, &AtomicBool::new(false))?;
    if let Some(told) = &told {
        store.put(ABILITIES, Bytes::from(serde_json::to_vec_pretty(told).unwrap_or_default()), PutMode::Overwrite)?;
    }
    Ok(told)
}

/// Renewals that fail are tried again by the next one, not by waiting; nor do they queue behind uploads to the same host.
fn hasty(access: &Access) -> Access {
    let short = Duration::from_millis(200);
    let retries = Retries { attempts: 2, give_up_after: Timing::USUAL.renewal, first_wait: short, longest_wait: short };
    Access { retries, manners: access.manners.apart(), ..access.clone() }
}

/// The number of the latest holder, as it was noted.
#[derive(Serialize, Deserialize)]
struct Noted {
    epoch: u64,
}

/// Numbers beyond this are no numbers of holders.
const MOST: u64 = 1 << 53;

/// The latest epoch that was noted; 0 if none was.
fn noted(store: &dyn TargetStore) -> Result<u64, StoreError> {
    let noted = store.get(EPOCH)?.and_then(|bytes| serde_json::from_slice::<Noted>(&bytes).ok());
    Ok(noted.map(|noted| noted.epoch).filter(|&epoch| epoch < MOST).unwrap_or(0))
}

fn note(store: &dyn TargetStore, epoch: u64) -> Result<(), StoreError> {
    store.put(EPOCH, Bytes::from(serde_json::to_vec(&Noted { epoch }).unwrap_or_default()), PutMode::Overwrite)
}

/// Who holds a target right now, as far as that can be seen without taking it; its state is at `url`. A lease whose holder died
/// looks held until somebody watches it.
///
/// # Errors
/// The store's.
pub(super) fn holder(url: &str, store: &Arc<dyn TargetStore>) -> Result<Option<Holder>, StoreError> {
    match local_folder(url) {
        Some(folder) => Ok(file::holder(&folder)),
        None => lease::holder(&**store),
    }
}
