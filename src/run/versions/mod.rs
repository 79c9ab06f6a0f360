//! Versions of one dataset side by side (`--versioned`): each state of it is a Zarr store of its own, and a pointer tells readers
//! which one is current.
//!
//! `kept` which versions there are · `pointer` the object and the link that readers follow · `copy` what a new version takes over
//! from the current one. A version's folder is named after its plan, so that the same plan is the same version and no other plan
//! ever writes into it. Invariant: the pointer moves only to a version that is whole and published, only forwards, and only if it
//! is still where this run saw it when it began; where the store compares versions, by its comparison.

mod copy;
pub(in crate::run) mod kept;
pub(in crate::run) mod pointer;

use std::sync::Arc;

use super::state::{Committed, State, local_folder};
use super::{Options, RunError, Setting, commit, empty};
use crate::dataset::TargetState;
use crate::event::Event;
use crate::plan::Plan;
use crate::recipe::OutputFormat;
use crate::store::{self, TargetStore};
use crate::target::zarr::root_document;
pub(in crate::run) use copy::Copies;
use kept::{About, Kept, name_of, now};
use pointer::Condition;
pub use pointer::{Pointer, Root};

/// Where the result of a plan goes: to the target itself, or to a version below it.
pub(super) struct Place {
    /// URL of the Zarr root.
    pub(super) root: String,
    version: Option<Chosen>,
}

/// The version that a plan makes.
struct Chosen {
    name: String,
    /// TARGET.
    base: Arc<dyn TargetStore>,
    target: String,
    /// The pointer as it was when this run began.
    seen: Option<Pointer>,
    /// That it still is, as far as the store can see to it.
    condition: Condition,
    /// True if an earlier run began to make this version.
    known: bool,
    /// True if it is to be made anew.
    anew: bool,
    copies: Option<Copies>,
}

impl Place {
    /// The place of a plan's result.
    ///
    /// # Errors
    /// [`RunError::Conflict`] if the target is a plain store and versions are asked for, or the other way round, or if it holds
    /// another dataset.
    pub(super) fn choose(
        options: &Options,
        setting: Setting<'_>,
        state: &State,
        (plan, identity): (&Plan, &str),
    ) -> Result<Self, RunError> {
        let (target, kept) = (&options.target, Kept::read(state)?);
        if options.versioned && plan.format == OutputFormat::Icechunk {
            let message =
                format!("{target}: an Icechunk repository keeps every version of its dataset by itself; run without `--versioned`");
            return Err(RunError::Conflict { message });
        }
        if !options.versioned {
            return if kept.is_none() { Ok(Self { root: target.clone(), version: None }) } else { Err(is_versioned(target)) };
        }
        let base = store::target(target, setting.access)?;
        let (creates, replaces) = state.lock().conditions();
        let door = if replaces { store::conditional(target, setting.access)? } else { None };
        let (seen, condition) = Pointer::read_to_move(&*base, (creates, door), target)?;
        let mut kept = match kept {
            Some(kept) => kept,
            None => fresh(state, &*base, target)?,
        };
        let anew = options.replace.is_some();
        if let Some(other) = seen.as_ref().filter(|seen| seen.id != plan.id && !anew) {
            let message = format!(
                "{target} holds versions of the dataset `{}`, not of `{}`; choose another target, or `--replace` it",
                other.id, plan.id
            );
            return Err(RunError::Conflict { message });
        }
        if kept.follow(seen.as_ref(), now()) {
            kept.save(state)?;
        }
        let (name, known) = (name_of(identity), kept.of_plan(identity).is_some());
        let mut chosen = Chosen { name, base, target: target.clone(), seen, condition, known, anew, copies: None };
        if !anew {
            chosen.copies = chosen.copies_for(plan, identity, setting, state)?;
        }
        Ok(Self { root: root_of(target, &chosen.name), version: Some(chosen) })
    }

    /// Name of the version, if this is one.
    pub(super) fn version(&self) -> Option<&str> {
        self.version.as_ref().map(|chosen| chosen.name.as_str())
    }

    /// True if earlier runs of other plans may have written here.
    pub(super) fn is_plain(&self) -> bool {
        self.version.is_none()
    }

    /// True for a version that an earlier run began: its receipts hold, since nobody else writes into its folder.
    pub(super) fn is_known(&self) -> bool {
        self.version.as_ref().is_some_and(|chosen| chosen.known)
    }

    /// The version that is current, if it is this one; a plain store has none.
    pub(super) fn committed(&self, identity: &str) -> Option<Committed> {
        let chosen = self.version.as_ref()?;
        let current = chosen.seen.as_ref().filter(|_| chosen.is_current(identity))?;
        Some(Committed { id: current.id.clone(), plan: current.plan.clone() })
    }

    /// Notes what a run that was killed after it had moved the pointer could not: for a version that is found complete.
    pub(super) fn catch_up(&self, state: &State, (plan, identity): (&Plan, &str), setting: Setting<'_>) -> Result<(), RunError> {
        let Some(chosen) = &self.version else { return Ok(()) };
        chosen.link(setting);
        if state.committed()?.is_none_or(|committed| committed.plan != identity) { commit::settle(state, plan, identity) } else { Ok(()) }
    }

    /// Saves a plan that is begun or continued, and enters its version before anything is stored.
    pub(super) fn begin(&self, state: &State, (plan, identity): (&Plan, &str), found: &TargetState, same: bool) -> Result<(), RunError> {
        let Some(chosen) = &self.version else { return state.begin(plan, identity, same) };
        state.still_ours()?;
        let (copies, before) = (chosen.copies.as_ref().map(|copies| copies.source().clone()), About::read(state, &chosen.name)?);
        let is_whole = matches!(found, TargetState::Ours { .. });
        // What is whole and made anew of the same plan keeps its receipts until each task has left another: killed on the way, it is
        // as good to copy from as before.
        let renewed = chosen.anew && is_whole && before.is_some();
        // Receipts of the current version hold as long as it is there; those of another one, while copies come from where they came.
        let holds = match found {
            TargetState::Empty => false,
            _ if chosen.is_current(identity) => is_whole,
            _ => renewed || (!chosen.anew && before.is_none_or(|before| before.copies == copies)),
        };
        if !holds {
            empty(state, &*state.store(), &format!("receipts/{identity}"))?;
        }
        if !holds || !(renewed || chosen.is_current(identity)) {
            About::of(plan, identity, copies).save(state, &chosen.name)?;
        }
        let mut kept = Kept::read(state)?.unwrap_or_default();
        kept.enter(&chosen.name, identity, now());
        kept.save(state)?;
        if state.plan()?.is_some_and(|saved| saved.identity() != identity) {
            state.clear_scratch()?;
        }
        state.save_plan(plan)
    }

    /// True for a version that is made anew: receipts that it has are replaced, not believed.
    pub(super) fn is_anew(&self) -> bool {
        self.version.as_ref().is_some_and(|chosen| chosen.anew)
    }

    /// Forgets what a version that was made anew had copied, once receipts of its tasks tell of every object.
    ///
    /// # Errors
    /// [`RunError::Store`]; [`RunError::Held`] if another holds the target by now.
    pub(super) fn renewed(&self, state: &State, (plan, identity): (&Plan, &str)) -> Result<(), RunError> {
        let Some(chosen) = self.version.as_ref().filter(|chosen| chosen.anew) else { return Ok(()) };
        let Some(copies) = About::read(state, &chosen.name)?.and_then(|about| about.copies) else { return Ok(()) };
        state.still_ours()?;
        About::of(plan, identity, None).save(state, &chosen.name)?;
        (0..copies.receipts).try_for_each(|copy| state.forget_receipt(identity, plan.stages.len(), copy))
    }

    /// What is copied from another version.
    pub(super) fn copied(&self) -> Option<&Copies> {
        self.version.as_ref()?.copies.as_ref()
    }

    /// Objects that tasks leave because they are copied, along each dimension of each variable.
    pub(super) fn left(&self) -> Vec<Vec<u64>> {
        self.copied().map(|copies| copies.counts.clone()).unwrap_or_default()
    }

    /// Receipts that copies may have.
    pub(super) fn copies(&self) -> u64 {
        self.copied().map_or(0, |copies| copies.source().receipts)
    }

    /// Lets the pointer name the version, which is whole and visible under its own name.
    ///
    /// # Errors
    /// [`RunError::Conflict`] if the pointer is not where it was when this run began.
    pub(super) fn point(&self, state: &State, (plan, identity): (&Plan, &str), setting: Setting<'_>) -> Result<(), RunError> {
        let Some(chosen) = &self.version else { return Ok(()) };
        let now_there = Pointer::read(&*chosen.base, &chosen.target)?;
        if now_there != chosen.seen {
            return Err(chosen.overtaken(now_there.as_ref()));
        }
        let (sequence, previous) = chosen.seen.as_ref().map_or((0, None), |seen| (seen.sequence, Some(&seen.version)));
        let next = Pointer {
            version: chosen.name.clone(),
            id: plan.id.clone(),
            plan: identity.to_owned(),
            root: Root::of(root_document(&plan.schema, plan.format)?),
            sequence: sequence + 1,
            previous: previous.filter(|previous| **previous != chosen.name).cloned(),
        };
        if chosen.seen.as_ref().is_none_or(|seen| !seen.names_what(&next)) {
            // Between the look above and this put another run may have moved it: a store that compares refuses then.
            if !next.put(&*chosen.base, &chosen.condition)? {
                return Err(chosen.overtaken(Pointer::read(&*chosen.base, &chosen.target)?.as_ref()));
            }
        }
        chosen.link(setting);
        let mut kept = Kept::read(state)?.unwrap_or_default();
        if kept.follow(Some(&next), now()) { kept.save(state) } else { Ok(()) }
    }
}

impl Chosen {
    /// True if the pointer names this very version and nobody wants it made anew.
    fn is_current(&self, identity: &str) -> bool {
        !self.anew && self.seen.as_ref().is_some_and(|seen| seen.plan == identity)
    }

    /// What this version can take over from the current one, as far as state and receipts tell.
    fn copies_for(&self, plan: &Plan, identity: &str, setting: Setting<'_>, state: &State) -> Result<Option<Copies>, RunError> {
        let Some(seen) = self.seen.as_ref().filter(|seen| seen.plan != identity) else { return Ok(None) };
        let Some(old) = state.committed_plan()?.filter(|old| old.identity() == seen.plan) else { return Ok(None) };
        let before = About::read(state, &seen.version)?.and_then(|about| about.copies).map_or(0, |copies| copies.receipts);
        let from = store::target(&root_of(&self.target, &seen.version), setting.access)?;
        Ok(Copies::of(from, &seen.version, (old, before), plan))
    }

    /// On a local disk, lets the link follow the pointer. Readers of the pointer do not need it, so that it only warns.
    fn link(&self, setting: Setting<'_>) {
        let Some(folder) = local_folder(&self.target) else { return };
        if let Err(error) = pointer::link(&folder, &self.name) {
            let message = format!("{}/{}: the link cannot be made ({error}); open {} instead", self.target, pointer::LINK, self.name);
            setting.reporter.report(Event::Warned { message });
        }
    }

    fn overtaken(&self, now: Option<&Pointer>) -> RunError {
        let by = now.map_or("was removed".to_owned(), |now| format!("names version {} by now", now.version));
        let message = format!(
            "{}/{} {by}, as it did not when this run began: another run was faster. Nothing was changed; run again to go on from there",
            self.target,
            pointer::KEY
        );
        RunError::Conflict { message }
    }
}

/// URL of the Zarr root of a target: the target itself or, where versions are kept, the current one.
///
/// # Errors
/// [`RunError::Store`].
pub(in crate::run) fn current(target: &str, setting: Setting<'_>) -> Result<String, RunError> {
    let base = store::target(target, setting.access)?;
    match Pointer::read(&*base, target) {
        Ok(Some(pointer)) => Ok(root_of(target, &pointer.version)),
        Ok(None) | Err(RunError::Conflict { .. }) => Ok(target.to_owned()),
        Err(error) => Err(error),
    }
}

/// How many receipts of copies the version of a plan may have, if it has any.
pub(in crate::run) fn copies(state: &State, identity: &str) -> Result<Option<u64>, RunError> {
    let about = About::read(state, &name_of(identity))?;
    Ok(about.and_then(|about| about.copies).map(|copies| copies.receipts))
}

/// URL of a version's root.
pub(super) fn root_of(target: &str, version: &str) -> String {
    format!("{}/{version}", target.trim_end_matches('/'))
}

fn is_versioned(target: &str) -> RunError {
    let message = format!("{target} keeps versions of its dataset; run with `--versioned`, or choose another target for a plain store");
    RunError::Conflict { message }
}

/// The empty list of a target that nothing is at yet.
fn fresh(state: &State, base: &dyn TargetStore, target: &str) -> Result<Kept, RunError> {
    let conflict = |message: String| Err(RunError::Conflict { message });
    if state.committed()?.is_some() || state.plan()?.is_some() {
        return conflict(format!(
            "{target} is a plain store, whole or begun; run without `--versioned`, or choose another target for versions"
        ));
    }
    match base.list("", 1)?.pop() {
        Some(example) => {
            conflict(format!("{target} holds objects that gristmill did not write, such as `{example}`; choose another target"))
        }
        None => Ok(Kept::default()),
    }
}
