//! The commit: from "every task is done" to "readers see it", in this order:
//!
//! 1. every task has a receipt, and every object that one names is in the store, in its size ([`Commit::complete`]); what the
//!    store has lost is written once more;
//! 2. a sample of objects, always the first of each variable, is read back and has the checksum of its receipt; where they lie far
//!    away most of them have been as soon as they were stored ([`Commit::stored`]);
//! 3. the sample of values equals the sources (`verify`, between [`Commit::complete`] and [`Commit::publish`]);
//! 4. metadata: arrays, groups from the deepest up, the root with the consolidated copy last, each read back ([`Target::commit`]);
//! 5. what is published is opened anew and is what was planned;
//! 6. the pointer, where versions are kept (`versions`);
//! 7. what was needed until now goes, and the state notes what is visible.
//!
//! Coordinates are objects of tasks like any other, so they come before any metadata. Invariant: until the root's metadata (the
//! pointer, where versions are kept) is put, readers see what they saw before; after it, the whole new state. A run that is killed
//! between 4 and 7 is [caught up](catch_up) by the next one.

mod sample;
mod stored;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::state::{Committed, State};
use super::tally::{Tally, TaskNumber};
use super::versions::Place;
use super::{Options, RunError, Setting};
use crate::dataset::Schema;
use crate::event::Event;
use crate::plan::Plan;
use crate::recipe::OutputFormat;
use crate::store::{self, TargetStore};
use crate::target::zarr::root_document;
use crate::target::{Opened, Target, TargetError};
use crate::work::Workshop;
use sample::Ahead;

/// Objects looked at, at a time, where each look is a request.
const FAR: usize = 16;

/// What a run is about to commit.
pub(super) struct Commit<'a> {
    state: &'a State,
    workshop: &'a Workshop,
    target: &'a dyn Target,
    store: &'a Arc<dyn TargetStore>,
    place: &'a Place,
    /// True if receipts, and what is left of an earlier state, account for every object.
    accounted: bool,
    /// Receipts of copies from another version there may be.
    copies: u64,
    far: bool,
    /// Threads that look at objects, and those that read them.
    threads: usize,
    readers: usize,
    ahead: Ahead,
    setting: Setting<'a>,
}

impl<'a> Commit<'a> {
    /// What will be committed once the tasks of `workshop` are done; so many bytes of objects may be read back while tasks run.
    pub(super) fn new(
        (state, place, accounted): (&'a State, &'a Place, bool),
        (workshop, target, store): (&'a Workshop, &'a dyn Target, &'a Arc<dyn TargetStore>),
        (options, setting): (&Options, Setting<'a>),
        room: u64,
    ) -> Self {
        let far = store::is_far(&options.target);
        let threads = if far { FAR.max(options.threads) } else { options.threads };
        let readers = super::verifying_threads(options, workshop);
        let ahead = Ahead::new(workshop.plan.object_count().saturating_sub(workshop.left_objects()), room);
        Self { state, workshop, target, store, place, accounted, copies: place.copies(), far, threads, readers, ahead, setting }
    }

    /// Has every task done (`work` does all without a receipt, and those it is given), looks whether the store holds what it
    /// acknowledged, and has done once more what it has lost, or what only a former holder of the target tells of. Nothing is
    /// visible yet.
    ///
    /// # Errors
    /// Those of `work`; [`TargetError::Altered`] where the store loses objects twice or alters one.
    pub(super) fn complete(&self, mut work: impl FnMut(&BTreeSet<TaskNumber>) -> Result<Tally, RunError>) -> Result<Tally, RunError> {
        let mut finished = work(&BTreeSet::new())?;
        let (mut seen, lost) = self.look(&finished.own)?;
        if let Some(example) = lost.values().next() {
            let message = format!("the store has lost what it acknowledged (`{example}`): {} tasks are done again", lost.len());
            self.setting.reporter.report(Event::Warned { message });
            let first = std::mem::take(&mut finished.own);
            finished = work(&lost.into_keys().collect())?;
            finished.own.extend(first);
            finished.own.sort_unstable();
            let (again, lost) = self.look(&finished.own)?;
            if let Some((_, key)) = lost.into_iter().next() {
                let message = "it was written twice, acknowledged twice, and is not there".to_owned();
                return Err(TargetError::Altered { key, message }.into());
            }
            seen = again;
        }
        self.count(seen.objects)?;
        self.compare(seen)?;
        Ok(finished)
    }

    /// Holds the number of objects to the plan's.
    fn count(&self, named: u64) -> Result<(), RunError> {
        let left = if self.copies > 0 { 0 } else { self.workshop.left_objects() };
        let all = self.workshop.plan.object_count();
        if !self.accounted || named + left >= all {
            return Ok(());
        }
        Err(RunError::Verification { message: format!("the receipts account for {} of {all} objects", named + left) })
    }

    /// Makes the result visible.
    ///
    /// # Errors
    /// [`TargetError::Altered`] if the store loses or alters metadata, [`RunError::Conflict`] if another run was faster,
    /// [`RunError::Held`] and [`RunError::Lapsed`] if this one no longer holds the target, [`RunError::Store`].
    pub(super) fn publish(&self) -> Result<(), RunError> {
        let plan = &self.workshop.plan;
        self.state.still_ours()?;
        self.target.commit(&plan.schema)?;
        let found = self.target.schema()?.unwrap_or_default();
        if let Some(message) = difference(&plan.schema, &found) {
            return Err(RunError::Verification { message });
        }
        self.state.still_ours()?;
        self.place.point(self.state, (plan, &self.workshop.plan_id), self.setting)?;
        settle(self.state, plan, &self.workshop.plan_id)
    }

    fn is_stopped(&self) -> bool {
        self.setting.stop.load(Ordering::Relaxed)
    }
}

/// The last step: what only the run needed goes, and the state says what is visible.
pub(super) fn settle(state: &State, plan: &Plan, identity: &str) -> Result<(), RunError> {
    // Whoever took over finds out by himself what became visible.
    state.still_ours()?;
    state.clear_scratch()?;
    state.save_committed(&Committed { id: plan.id.clone(), plan: identity.to_owned() }, plan)
}

/// Notes as committed what an earlier run made visible and was killed before it noted it: the root's metadata, which comes last, is
/// that of the plan that was begun last, and of no other. Gives what is committed then.
pub(super) fn catch_up(state: &State, opened: &Opened, committed: Option<Committed>, begun: &Plan) -> Result<Option<Committed>, RunError> {
    let identity = begun.identity();
    if committed.as_ref().is_some_and(|committed| committed.plan == identity) || !shows(state, opened, begun)? {
        return Ok(committed);
    }
    if let (Some(_), Some(before)) = (&committed, state.committed_plan()?)
        && shows(state, opened, &before)?
    {
        return Ok(committed);
    }
    opened.finish()?;
    settle(state, begun, &identity)?;
    state.committed()
}

/// True if the last commit is this plan's, made since it was begun, or, where there are no commits, if the root's metadata is the
/// one that it publishes.
fn shows(state: &State, opened: &Opened, plan: &Plan) -> Result<bool, RunError> {
    if plan.format == OutputFormat::Icechunk {
        let base = state.base()?;
        return Ok(opened.tip()?.is_some_and(|tip| tip.plan == plan.identity() && base.as_deref() != Some(&tip.commit)));
    }
    let (key, planned) = root_document(&plan.schema, plan.format)?;
    Ok(opened.store.get(&key)?.is_some_and(|found| found == planned))
}

/// What of a plan's schema is not as it was found.
pub(super) fn difference(planned: &Schema, found: &Schema) -> Option<String> {
    if planned.variables.len() != found.variables.len() {
        return Some(format!("{} variables are visible of {}", found.variables.len(), planned.variables.len()));
    }
    planned.variables.iter().find_map(|variable| {
        let Some(other) = found.variable(&variable.name) else { return Some(format!("`{}` is not visible", variable.name)) };
        let (shape, visible) = (planned.shape(variable), found.shape(other));
        let same = (variable.dtype, &shape) == (other.dtype, &visible);
        (!same).then(|| format!("`{}` is visible as {} {visible:?} instead of {} {shape:?}", variable.name, other.dtype, variable.dtype))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_that_is_not_the_planned_one_is_told() {
        let schema = |length: u64| -> Schema {
            serde_json::from_value(serde_json::json!({
                "dimensions": [{"name": "time", "length": length}],
                "variables": [{"name": "x", "dtype": "int16", "dimensions": ["time"], "attributes": []}],
                "attributes": [],
            }))
            .unwrap()
        };
        assert_eq!(difference(&schema(3), &schema(3)), None);
        assert!(difference(&schema(3), &schema(2)).unwrap().contains("[2] instead of int16 [3]"));
        assert_eq!(difference(&schema(3), &Schema::default()).as_deref(), Some("0 variables are visible of 1"));
    }
}
