//! How far a target has come, from its state alone: `gristmill status`.
//!
//! Reads plan, receipts, lock and last report by their keys; never lists, never takes the lock, needs no recipe. Invariant: nothing is
//! written, whatever is going on there.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::lock::Holder;
use super::report::Report;
use super::state::State;
use super::tally::unfinished;
use super::{Problem, RunError, Setting};
use crate::plan::{Plan, Stage};
use crate::receipt::Receipt;
use crate::store;

/// How far a target has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// URL of the target.
    pub target: String,
    /// `published`, `unfinished`, or `continuing` where a published store is being added to.
    pub standing: String,
    /// `id` of the recipe.
    pub dataset: String,
    /// What is published.
    pub published: Option<Published>,
    /// The plan that was begun last, if its result is not published.
    pub begun: Option<Begun>,
    /// Who writes now.
    pub holder: Option<Holder>,
    /// How the last run ended.
    pub last: Option<LastRun>,
}

/// What is published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Identity of the plan.
    pub plan: String,
    /// Files it was made of.
    pub inputs: u64,
    /// Bytes of values before encoding.
    pub value_bytes: u64,
    /// Commits that its objects come from.
    pub commits: u64,
}

/// A plan under way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Identity of the plan.
    pub plan: String,
    /// Files it reads.
    pub inputs: u64,
    /// Tasks, by stage: done, and in all.
    pub stages: Vec<(u64, u64)>,
    /// Objects stored.
    pub objects: u64,
    /// Bytes of those objects.
    pub stored_bytes: u64,
    /// Bytes of values before encoding, done and in all.
    pub value_bytes: (u64, u64),
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LastRun {
    /// `done`, `nothing-to-do`, `interrupted` or `failed`.
    pub outcome: String,
    /// Exit code.
    pub exit: u8,
    /// What went wrong.
    pub errors: Vec<Problem>,
    /// Tasks it did.
    pub tasks_run: u64,
    /// Seconds it took.
    pub seconds: f64,
}

/// Looks at the state of a target.
///
/// # Errors
/// [`RunError::Usage`] if nothing was ever begun there; [`RunError::Store`]; [`RunError::PlanFile`] for a plan of another version.
pub fn status(target: &str, setting: Setting<'_>) -> Result<Status, RunError> {
    let state = State::read_only(target, setting.access)?;
    let (committed, plan, report) = (state.committed()?, state.plan()?, state.json::<Report>("report.json")?);
    if committed.is_none() && plan.is_none() && report.is_none() {
        let message = format!("{}: no run of gristmill was begun here (there is no state beside it)", store::shown(target));
        return Err(RunError::Usage { message });
    }
    let published = match (&committed, state.committed_plan()?) {
        (Some(committed), Some(plan)) => Some(Published {
            plan: committed.plan.clone(),
            inputs: plan.inputs.len() as u64,
            value_bytes: plan.bytes(),
            commits: state.history()?.len().max(1) as u64,
        }),
        _ => None,
    };
    let unfinished = plan.as_ref().map(|plan| (plan, plan.identity()));
    let unfinished = unfinished.filter(|(_, identity)| published.as_ref().is_none_or(|published| published.plan != *identity));
    let begun = unfinished.map(|(plan, identity)| begun(&state, plan, identity)).transpose()?;
    let standing = match (&published, &begun) {
        (Some(_), None) => "published",
        (Some(_), Some(_)) => "continuing",
        (None, _) => "unfinished",
    };
    let dataset = plan.map(|plan| plan.id).or_else(|| committed.map(|committed| committed.id));
    let dataset = dataset.or_else(|| report.as_ref().map(|report| report.recipe.clone())).unwrap_or_default();
    let holder = State::holder(target, setting.access)?;
    let (target, standing, last) = (store::shown(target), standing.to_owned(), report.map(last));
    Ok(Status { target, standing, dataset, published, begun, holder, last })
}

fn last(report: Report) -> LastRun {
    let seconds = report.seconds.values().sum();
    LastRun { outcome: report.outcome, exit: report.exit, errors: report.errors, tasks_run: report.tasks_run, seconds }
}

fn begun(state: &State, plan: &Plan, identity: String) -> Result<Begun, RunError> {
    let sums = Mutex::new((0_u64, 0_u64, 0_u64));
    let add = |receipt: &Receipt, _| {
        let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.0 += receipt.chunks.len() as u64;
        sums.1 += receipt.chunks.iter().map(|chunk| chunk.bytes).sum::<u64>();
        let last = receipt.stage as usize + 1 == plan.stages.len();
        sums.2 += if last || receipt.scratch.is_empty() { receipt.raw_bytes } else { 0 };
        Ok(true)
    };
    let todo = unfinished(state, plan, &identity, &add)?;
    let of = |(number, stage): (usize, &Stage)| {
        let left = todo.iter().filter(|(of, _)| *of == number).count() as u64;
        (stage.tasks().saturating_sub(left), stage.tasks())
    };
    let stages = plan.stages.iter().enumerate().map(of).collect();
    let (objects, stored_bytes, done) = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    let value_bytes = (done.min(plan.bytes()), plan.bytes());
    Ok(Begun { plan: identity, inputs: plan.inputs.len() as u64, stages, objects, stored_bytes, value_bytes })
}
