//! What is to be done at a target, given what earlier runs left there.
//!
//! Looks once, decides, clears away what counts no longer, and saves the plan. Not for doing any task. Invariant: a receipt that is
//! believed later belongs to the plan that was begun last, so that no other run can have touched what it tells of.

use std::sync::Arc;

use super::append::{self, Hindrance};
use super::report::Report;
use super::state::{self, Committed, State};
use super::versions::Place;
use super::{Options, RunError, Setting, empty, expect, receipts, room};
use crate::dataset::TargetState;
use crate::event::Event;
use crate::plan::Plan;
use crate::recipe::OutputFormat;
use crate::store::{self, TargetStore};
use crate::target::{self, Intent, Opened, Target, TargetError};
use crate::work::Workshop;

/// A plan ready to be executed.
pub(super) struct Begun {
    pub(super) workshop: Workshop,
    pub(super) target: Arc<dyn Target>,
    pub(super) store: Arc<dyn TargetStore>,
    pub(super) place: Place,
    /// True if receipts, and what is left of an earlier state, account for every object.
    pub(super) accounted: bool,
    /// True if an earlier run of the same plan may have left receipts.
    pub(super) resumed: bool,
}

/// What earlier runs left, asked for once.
struct Past {
    saved: Option<Plan>,
    committed: Option<Committed>,
    found: TargetState,
    /// True if the saved plan is the one that is begun.
    same: bool,
    /// True if the target itself tells which plan made it.
    tells_plan: bool,
}

/// Settles what is to be done at the target and saves the plan there; `None` if nothing is to be done.
pub(super) fn begin(
    (fresh, title): (Plan, &str),
    options: &Options,
    setting: Setting<'_>,
    state: &State,
    report: &mut Report,
) -> Result<Option<Begun>, RunError> {
    let saved = state.plan()?;
    let plan = adopt(fresh, saved.as_ref(), options)?;
    let identity = plan.identity();
    report.planned(&plan, &identity);
    tracing::info!(plan = identity, tasks = report.tasks, "planned");
    let place = Place::choose(options, setting, state, (&plan, &identity))?;
    report.target_version = place.version().map(str::to_owned);
    let opened = target::open(plan.format, &place.root, setting.access)?;
    let same = if place.is_plain() { saved.as_ref().is_some_and(|saved| saved.identity() == identity) } else { place.is_known() };
    let tells_plan = plan.format == OutputFormat::Icechunk;
    let committed = if tells_plan { state.committed()? } else { place.committed(state, &opened.store, saved.as_ref(), &identity)? };
    let saved = saved.filter(|_| place.is_plain() || same);
    let past = Past { saved, committed, found: opened.target.state()?, same, tells_plan };
    let mut accounted = true;
    let published = match standing(state, &past, (&plan, &identity), tells_plan && options.replace.is_some())? {
        Standing::Complete => {
            place.catch_up(state, (&plan, &identity), setting)?;
            let (uncounted, finished) = receipts(state, &plan, &identity, &|_, _| Ok(true))?;
            // A rule that is newer than the store may ask for what its tasks did not count: they are then done again.
            if uncounted.is_empty() || !expect::is_wanted(&plan) {
                report.worked(&finished);
                report.found_complete = true;
                return expect::check(&plan, &finished.judged).map(|()| None);
            }
            accounted = false;
            Vec::new()
        }
        Standing::Unfinished if place.is_plain() => {
            clear_leftovers(state, &*opened.store, &past, &plan, &identity)?;
            Vec::new()
        }
        Standing::Unfinished => place.left(),
        Standing::Continued(published) => published,
    };
    opened.begin(Intent {
        id: plan.id.clone(),
        title: title.to_owned(),
        plan: identity.clone(),
        continues: published.iter().flatten().any(|left| *left > 0),
    });
    plan.warnings.iter().for_each(|message| setting.reporter.report(Event::Warned { message: message.clone() }));
    place.begin(state, (&plan, &identity), &past.found, past.same)?;
    room::check(&plan)?;
    let scratch = plan.scratch.as_deref().map(|url| store::target(url, setting.access)).transpose()?;
    let sources = store::source(setting.access, Arc::clone(setting.reporter));
    let Opened { target, store, .. } = opened;
    let workshop = Workshop::new(plan, sources, Arc::clone(&target))?.leaving(published).keeping_scratch(scratch);
    Ok(Some(Begun { workshop, target, store, place, accounted, resumed: past.same }))
}

/// The saved plan, if it makes the same store from the same files and still fits; else the fresh one.
fn adopt(fresh: Plan, saved: Option<&Plan>, options: &Options) -> Result<Plan, RunError> {
    let Some(saved) = saved else { return Ok(fresh) };
    // A saved plan lacks the secrets of its addresses, what is expected is no part of its identity, and the target may have been
    // moved: only how it cut the work is taken over.
    let scratch = (saved.stages.len() > 1).then(|| state::scratch_url(&options.target)).transpose()?;
    let (stages, weighed) = (saved.stages.clone(), saved.weighed.clone());
    let resumed = Plan { stages, weighed, memory: saved.memory, scratch, ..fresh.clone() };
    let same = resumed.identity() == saved.identity();
    Ok(if same && saved.memory <= options.memory { resumed } else { fresh })
}

impl Past {
    /// What somebody else has done to a target that tells which plan made it, if it is neither the last one that we know of nor this.
    fn moved(&self, identity: &str) -> Option<String> {
        let TargetState::Ours { plan: tip, .. } = &self.found else { return None };
        let known = self.committed.as_ref().map(|committed| committed.plan.as_str());
        if !self.tells_plan || tip == identity || known == Some(tip) || (known.is_none() && !self.same) {
            return None;
        }
        let message = "its `main` holds a commit that is not the last one of this recipe; nothing was merged and nothing written: \
                       look at that commit, then `--replace` it (the history keeps it), or choose another target";
        Some(message.to_owned())
    }
}

/// How a plan stands to what is at its target.
enum Standing {
    /// Its result is there.
    Complete,
    /// Nothing, or a part of its objects, is there.
    Unfinished,
    /// A shorter result is there; objects to leave as they are, per variable and dimension.
    Continued(Vec<Vec<u64>>),
}

/// Looks at the target before anything is written; an error if it holds anything that is not ours to write over.
fn standing(state: &State, past: &Past, (plan, identity): (&Plan, &str), replacing: bool) -> Result<Standing, RunError> {
    let place = state.target();
    let conflict = |message: String| Err(RunError::Conflict { message });
    if replacing {
        return Ok(Standing::Unfinished);
    }
    if let Some(message) = past.moved(identity) {
        return Err(TargetError::Conflict { target: place.to_owned(), message }.into());
    }
    match (&past.committed, &past.found) {
        (_, TargetState::Foreign { .. }) if past.saved.as_ref().is_some_and(|saved| saved.format != plan.format) => conflict(format!(
            "{place} holds the result, or a part of it, in another format than this recipe's; choose another target, or `--replace` it"
        )),
        (Some(committed), TargetState::Ours { .. }) if committed.plan == identity => Ok(Standing::Complete),
        (Some(committed), TargetState::Ours { .. }) if committed.id != plan.id => {
            conflict(format!("{place} holds the dataset `{}`, not `{}`; choose another target, or `--replace` it", committed.id, plan.id))
        }
        (Some(_), TargetState::Ours { .. }) => continued(state, plan),
        (None, TargetState::Ours { .. }) if !past.same => conflict(format!(
            "{place} already holds a dataset that gristmill did not make, or has lost its state of; choose another target"
        )),
        (_, TargetState::Foreign { example }) if past.saved.is_none() => {
            conflict(format!("{place} holds objects that gristmill did not write, such as `{example}`; choose another target"))
        }
        _ => Ok(Standing::Unfinished),
    }
}

/// Takes away what counts no longer: receipts of objects that somebody deleted, and objects that an interrupted run of another plan left.
fn clear_leftovers(state: &State, store: &dyn TargetStore, past: &Past, plan: &Plan, identity: &str) -> Result<(), RunError> {
    if past.found == TargetState::Empty {
        // Tasks that wrote scratch only have lost nothing.
        let lost = past.same && receipts(state, plan, identity, &|_, _| Ok(true))?.1.objects > 0;
        let known = past.saved.is_some() || past.committed.is_some();
        return if known && (lost || !past.same) { state.forget() } else { Ok(()) };
    }
    // What a repository does not refer to is in nobody's way.
    let saved = past.saved.iter().filter(|_| !past.same && !past.tells_plan);
    let mut names = saved.flat_map(|saved| &saved.schema.variables).map(|variable| variable.name.as_str());
    Ok(names.try_for_each(|name| empty(store, name))?)
}

/// What an append may leave as it is.
fn continued(state: &State, plan: &Plan) -> Result<Standing, RunError> {
    let place = state.target();
    let Some(old) = state.committed_plan()? else {
        return Err(RunError::Conflict { message: format!("{place} has lost the plan it was made by; `--replace` it") });
    };
    append::published(&old, plan).map(Standing::Continued).map_err(|hindrance| match hindrance {
        Hindrance::Rewritten(what) => RunError::Conflict {
            message: format!("{place} holds another state of `{}`: {what}; choose another target, or `--replace` it", plan.id),
        },
        Hindrance::Boundary(what) => RunError::Conflict {
            message: format!(
                "{place} cannot be continued in place: {what}; choose chunks that end where files end, another target, or `--replace`"
            ),
        },
        Hindrance::Encoding(what) => RunError::Unappendable { target: place.to_owned(), what },
    })
}
