//! Writes again what is missing or broken in a published store, and nothing else: `gristmill repair`.
//!
//! Receipts of the committed plans tell what is broken, the committed plan how it was made. Only broken objects are written, and only
//! with the very bytes that their receipts name, so that a file, a machine or a gristmill that has changed cannot make a store that never was.
//! Invariant: whoever reads meanwhile sees the old holes or what was published, never anything else.

mod guard;
pub(super) mod tasks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::audit::{self, Crew, Entry, Ledger, ObjectNumber};
use super::state::{self, State};
use super::{FAR, Options, RunError, Setting, resident_bytes, room, versions, work_through};
use crate::event::{Event, Phase};
use crate::plan::Plan;
use crate::receipt::{ChunkRef, Receipt, checksum};
use crate::recipe::diagnostic::{Code, Diagnostic};
use crate::recipe::{OutputFormat, Recipe};
use crate::size::ByteSize;
use crate::store::{self, PutMode, TargetStore};
use crate::target::{self, Target};
use crate::work::{WorkError, Workshop};
use guard::Guard;

/// How much to look at, and whether to do anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extent {
    /// Only tell what would be done.
    pub dry_run: bool,
    /// Look at presence and sizes only, not at bytes.
    pub sizes: bool,
}

/// What was, or would be, written again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repaired {
    /// Objects, by key, with what was wrong with them.
    pub objects: Vec<Broken>,
    /// Keys of metadata.
    pub metadata: Vec<String>,
    /// Tasks that do it: (stage, number).
    pub tasks: Vec<(usize, u64)>,
    /// False if it was only told.
    pub done: bool,
}

/// An object to write again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Its key below the target.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

impl Repaired {
    /// True if nothing is broken.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.objects.is_empty() && self.metadata.is_empty()
    }
}

/// Broken objects with what their receipts say, if there are receipts.
type Found = BTreeMap<ObjectNumber, (Option<ChunkRef>, &'static str)>;

/// Mends the store at `options.target`; `recipe` is needed only for the secrets of its addresses.
///
/// # Errors
/// [`RunError::Usage`] if nothing was committed there; [`RunError::Conflict`] while another run is begun; [`RunError::Work`] with
/// [`WorkError::Changed`] for a file that is not what it was; [`RunError::Verification`] if what is made now is not what was written.
pub fn repair(recipe: Option<&Recipe>, options: &Options, extent: Extent, setting: Setting<'_>) -> Result<Repaired, RunError> {
    setting.access.manners.listen(setting.reporter);
    let target = &options.target;
    let nothing = || RunError::Usage {
        message: format!("{}: nothing was published here by gristmill, so nothing can be repaired", store::shown(target)),
    };
    // Looked at first without the lock, which would make a state where there is none.
    let root = versions::current(target, setting)?;
    let (mut store, mut maker) = target::existing_of(&root, setting.access)?;
    let mut ledger = Ledger::open(State::read_only(target, setting.access)?, &*store, maker.as_deref())?.ok_or_else(nothing)?;
    if !extent.dry_run {
        let state = State::open(target, setting.access)?;
        (store, maker) = target::existing_of(&root, setting.access)?;
        ledger = Ledger::open(state, &*store, maker.as_deref())?.ok_or_else(nothing)?;
    }
    refuse_begun(&ledger)?;
    let broken = broken(&ledger, &store, options, extent, setting)?;
    let metadata = damaged(&ledger.plan, &*store)?;
    let tasks = tasks::of(&ledger.plan, broken.keys().copied());
    if !extent.dry_run {
        refuse_commits(&ledger, &broken, metadata.len())?;
        if !broken.is_empty() {
            let opened = target::open(ledger.plan.format, &root, setting.access)?;
            rewrite((&ledger, recipe), &opened.target, (&broken, &tasks), options, setting)?;
        }
        if !metadata.is_empty() {
            ledger.state.still_ours()?;
        }
        // The root's is the last of them.
        metadata.iter().try_for_each(|(key, bytes)| store.put(key, bytes.clone(), PutMode::Overwrite))?;
    }
    let told = |(number, (_, why)): (&ObjectNumber, &(Option<ChunkRef>, &str))| Broken { key: ledger.key(*number), why: (*why).to_owned() };
    let (objects, metadata) = (broken.iter().map(told).collect(), metadata.into_iter().map(|(key, _)| key).collect());
    Ok(Repaired { objects, metadata, tasks: tasks.into_iter().collect(), done: !extent.dry_run })
}

/// A run that was begun shares scratch and receipts with what is published: it comes first.
fn refuse_begun(ledger: &Ledger) -> Result<(), RunError> {
    let Some(begun) = ledger.state.plan()?.filter(|begun| begun.identity() != ledger.committed.plan) else { return Ok(()) };
    let target = store::shown(ledger.state.target());
    let message = format!("{target}: a run of `{}` was begun and is not finished; `gristmill resume` it first", begun.id);
    Err(RunError::Conflict { message })
}

/// What a repository refers to by name can be put in its place again; anything else takes a commit.
fn refuse_commits(ledger: &Ledger, broken: &Found, documents: usize) -> Result<(), RunError> {
    let unknown = broken.values().filter(|(chunk, _)| chunk.is_none()).count();
    if ledger.plan.format != OutputFormat::Icechunk || unknown + documents == 0 {
        return Ok(());
    }
    let message = format!(
        "{}: {unknown} objects have no receipt, and {documents} documents are not as they were committed: that takes a commit, not a repair; `gristmill run --replace` makes one (the history keeps what is there)",
        store::shown(ledger.state.target())
    );
    Err(RunError::Conflict { message })
}

/// Objects that are not what their receipts say, or that have none.
fn broken(
    ledger: &Ledger,
    store: &Arc<dyn TargetStore>,
    options: &Options,
    extent: Extent,
    setting: Setting<'_>,
) -> Result<Found, RunError> {
    let found = Mutex::new(Found::new());
    let note = |number, chunk: Option<&ChunkRef>, why| drop(lock(&found).insert(number, (chunk.cloned(), why)));
    let crew = crew(&ledger.plan, options, extent, setting);
    let marks = ledger.read(crew, &|entry| {
        let Entry::Object(number, chunk) = entry else { return Ok(()) };
        let why = if extent.sizes { wrong_size(&**store, chunk)? } else { wrong_bytes(&**store, chunk)? };
        if let Some(why) = why {
            note(number, Some(chunk), why);
        }
        Ok(())
    })?;
    for (variable, count) in ledger.counts().enumerate() {
        let unknown = (0..count).map(|object| ObjectNumber { variable, object }).filter(|number| !marks.has(*number));
        unknown.for_each(|number| note(number, None, "it has no receipt"));
    }
    Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As many threads as there is memory for the objects they read.
fn crew<'a>(plan: &Plan, options: &Options, extent: Extent, setting: Setting<'a>) -> Crew<'a> {
    let far = store::is_far(&options.target);
    let threads = if far { FAR.max(options.threads) } else { options.threads };
    let largest = (0..plan.schema.variables.len()).map(|variable| plan.object_bytes(variable)).max().unwrap_or(0);
    let room = options.memory.saturating_sub(resident_bytes().unwrap_or(64 << 20)) / largest.saturating_add(1 << 20);
    let crew = Crew { threads, reporter: &**setting.reporter, stop: setting.stop };
    if extent.sizes { crew } else { crew.at_most(room as usize) }
}

fn wrong_size(store: &dyn TargetStore, chunk: &ChunkRef) -> Result<Option<&'static str>, RunError> {
    Ok(match store.head(&chunk.key)? {
        None => Some("it is not there"),
        Some(size) if size != chunk.bytes => Some("it has another size"),
        Some(_) => None,
    })
}

fn wrong_bytes(store: &dyn TargetStore, chunk: &ChunkRef) -> Result<Option<&'static str>, RunError> {
    Ok(match store.get(&chunk.key)? {
        None => Some("it is not there"),
        Some(bytes) if bytes.len() as u64 != chunk.bytes => Some("it has another size"),
        Some(bytes) if checksum(&bytes) != chunk.checksum => Some("it has other bytes"),
        Some(_) => None,
    })
}

/// Metadata that is not what a commit of the plan writes, the root's last.
fn damaged(plan: &Plan, store: &dyn TargetStore) -> Result<Vec<(String, bytes::Bytes)>, RunError> {
    let mut damaged = Vec::new();
    for (key, bytes) in audit::documents(plan)? {
        if store.get(&key)?.as_ref() != Some(&bytes) {
            damaged.push((key, bytes));
        }
    }
    Ok(damaged)
}

/// Does the tasks again that broken objects come from.
fn rewrite(
    (ledger, recipe): (&Ledger, Option<&Recipe>),
    target: &Arc<dyn Target>,
    (broken, tasks): (&Found, &BTreeSet<(usize, u64)>),
    options: &Options,
    setting: Setting<'_>,
) -> Result<(), RunError> {
    let plan = plan(ledger, recipe, options)?;
    let scratch = plan.scratch.as_deref().map(|url| store::target(url, setting.access)).transpose()?;
    let sources = store::source(setting.access, Arc::clone(setting.reporter));
    let expected = broken.values().filter_map(|(chunk, _)| chunk.clone()).map(|chunk| (chunk.key.clone(), chunk)).collect();
    let guard = Arc::new(Guard::new(Arc::clone(target), plan.format, expected));
    let index = |number: &ObjectNumber| (number.variable, plan.objects(number.variable).index(number.object));
    let mended = broken.keys().map(index).collect();
    let workshop = Workshop::new(plan, sources, Arc::clone(&guard) as Arc<dyn Target>)?.keeping_scratch(scratch).mending(mended);
    let keep = |receipt: &Receipt| keep(ledger, broken, receipt);
    let todo: Vec<(usize, u64)> = tasks.iter().copied().collect();
    let bytes = todo.iter().filter_map(|&(stage, task)| workshop.plan.task(stage, task)).map(|task| task.bytes).sum();
    setting.reporter.report(Event::PhaseStarted { phase: Phase::Execute, steps: todo.len() as u64, done: 0, bytes });
    let done = work_through(&workshop, &todo, options, (&keep, 0), setting);
    setting.reporter.report(Event::PhaseFinished { phase: Phase::Execute });
    if workshop.plan.scratch.is_some() {
        ledger.state.clear_scratch()?;
    }
    done.map_err(|error| guard.refused().map_or_else(|| told(error), |message| RunError::Verification { message }))
}

/// The committed plan, ready to be worked on here.
fn plan(ledger: &Ledger, recipe: Option<&Recipe>, options: &Options) -> Result<Plan, RunError> {
    let mut plan = audit::with_secrets(&ledger.plan, recipe)?;
    if plan.memory > options.memory {
        let message = format!("the store was made with {}, and its tasks need as much", ByteSize(plan.memory));
        return Err(RunError::Recipe(vec![
            Diagnostic::error(Code::MemoryTooSmall, message).help(format!("give `--memory {}`", ByteSize(plan.memory))),
        ]));
    }
    if plan.scratch.is_some() {
        plan.scratch = Some(state::scratch_url(&options.target)?);
        room::check(&plan)?;
    }
    Ok(plan)
}

/// What an error means here: nothing is scanned anew by running again.
fn told(error: RunError) -> RunError {
    match error {
        RunError::Work(WorkError::Changed { url, .. }) => {
            let message = "it is not the file any more that the store was made from, so what is broken cannot be made again; `gristmill run --replace` builds all anew";
            RunError::Work(WorkError::Changed { url, message: message.to_owned() })
        }
        RunError::Several(errors) => RunError::Several(errors.into_iter().map(told).collect()),
        other => other,
    }
}

/// Keeps what tells of objects that had no receipt; receipts that are there stay as they are.
fn keep(ledger: &Ledger, broken: &Found, receipt: &Receipt) -> Result<(), WorkError> {
    let unknown =
        |chunk: &&ChunkRef| ledger.number(&chunk.key).and_then(|number| broken.get(&number)).is_some_and(|(known, _)| known.is_none());
    let mut new: Vec<ChunkRef> = receipt.chunks.iter().filter(unknown).cloned().collect();
    if new.is_empty() {
        return Ok(());
    }
    let (plan, stage) = (ledger.committed.plan.clone(), receipt.stage as usize);
    let key = state::receipt_key(&plan, stage, receipt.task);
    let before = ledger.state.store().get(&key)?.and_then(|bytes| serde_json::from_slice::<Receipt>(&bytes).ok());
    new.extend(before.iter().flat_map(|before| before.chunks.iter().cloned()));
    new.sort_by(|one, other| one.key.cmp(&other.key));
    new.dedup_by(|one, other| one.key == other.key);
    let merged = Receipt { plan, chunks: new, ..before.unwrap_or_else(|| receipt.clone()) };
    Ok(ledger.state.put(&key, serde_json::to_vec(&merged).unwrap_or_default())?)
}
