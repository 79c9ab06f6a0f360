//! What is to be done at a target, given what earlier runs left there.
//!
//! Looks once, decides, clears away what counts no longer, and saves the plan. Not for doing any task. Invariant: a receipt that is
//! believed later belongs to the plan that was begun last, so that no other run can have touched what it tells of.

use std::sync::Arc;

use super::append::{self, Continuation, Hindrance};
use super::report::Report;
use super::state::{self, Committed, State};
use super::versions::Place;
use super::{Options, RunError, Setting, commit, empty, expect, receipts, room};
use crate::dataset::{Schema, TargetState};
use crate::event::Event;
use crate::plan::Plan;
use crate::recipe::{OutputFormat, Recipe};
use crate::store::probe::Mode;
use crate::store::{self, TargetStore};
use crate::target::zarr::ZarrReader;
use crate::target::{self, Intent, Opened, Target, TargetError, Tip};
use crate::work::{Tail, Workshop};

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

/// What earlier runs noted beside the target, read once.
pub(super) struct Earlier {
    saved: Option<Plan>,
    committed: Option<Committed>,
    /// The plan whose result is visible, if it is another than the saved one.
    other: Option<Plan>,
    /// True if there was more, which is forgotten once this run begins.
    replaced: bool,
}

impl Earlier {
    /// Reads what is noted; what a killed run had made visible and could not note any more is noted first.
    pub(super) fn read(state: &State, recipe: &Recipe, options: &Options, setting: Setting<'_>) -> Result<Self, RunError> {
        let (saved, mut committed) = (state.plan()?, state.committed()?);
        if let Some(saved) = saved.as_ref().filter(|_| !options.versioned) {
            let opened = target::open(saved.format, &options.target, setting.access)?;
            committed = commit::catch_up(state, &opened, committed, saved)?;
        }
        if committed.is_some() && replaces_by_commit(recipe, options) {
            return Ok(Self { saved: None, committed: None, other: None, replaced: true });
        }
        let same = |committed: &Committed| saved.as_ref().is_some_and(|saved| saved.identity() == committed.plan);
        let other = if committed.as_ref().is_some_and(|committed| !same(committed)) { state.committed_plan()? } else { None };
        Ok(Self { saved, committed, other, replaced: false })
    }

    /// The plan whose result is visible.
    fn published(&self) -> Option<&Plan> {
        self.committed.as_ref()?;
        self.other.as_ref().or(self.saved.as_ref())
    }

    /// What is published of a dataset: its encoding is kept.
    pub(super) fn schema(&self, id: &str) -> Option<Arc<Schema>> {
        let published = self.published().filter(|plan| plan.id == id)?;
        Some(Arc::new(published.schema.clone()))
    }
}

/// True if whatever is there is replaced by one more commit.
fn replaces_by_commit(recipe: &Recipe, options: &Options) -> bool {
    recipe.output.format == OutputFormat::Icechunk && options.replace.is_some()
}

/// What there is at the target and beside it.
struct Past {
    earlier: Earlier,
    found: TargetState,
    /// The last commit, where the target keeps commits.
    tip: Option<Tip>,
    /// The last commit when the saved plan was begun.
    base: Option<String>,
    /// True if the saved plan is the one that is begun.
    same: bool,
    /// Numbers of inputs that changed upstream and whose published values are kept.
    kept: Vec<usize>,
    /// True if the target keeps commits, and tells which plan made each.
    keeps_commits: bool,
}

impl Past {
    fn of(
        (mut earlier, kept): (Earlier, Vec<usize>),
        (place, state): (&Place, &State),
        opened: &Opened,
        (plan, identity): (&Plan, &str),
    ) -> Result<Self, RunError> {
        let keeps_commits = plan.format == OutputFormat::Icechunk;
        let (found, tip) = (opened.target.state()?, opened.tip()?);
        let base = if keeps_commits { state.base()? } else { None };
        if place.is_plain() {
            let same = earlier.saved.as_ref().is_some_and(|saved| saved.identity() == identity);
            return Ok(Self { earlier, found, tip, base, same, kept, keeps_commits });
        }
        let same = place.is_known();
        earlier.committed = place.committed(identity);
        earlier.saved = earlier.saved.filter(|_| same);
        Ok(Self { earlier, found, tip, base, same, kept, keeps_commits })
    }

    /// What somebody else has committed, if the last commit is neither this plan's, nor the last one that we know of, nor the one
    /// that this plan was begun with.
    fn moved(&self, identity: &str) -> Option<String> {
        let tip = self.tip.as_ref()?;
        let known = self.earlier.committed.as_ref().map(|committed| committed.plan.as_str());
        let begun = self.same && self.base.as_deref() == Some(&tip.commit);
        if tip.plan == identity || known == Some(&tip.plan) || begun || (known.is_none() && !self.same) {
            return None;
        }
        let message = "its `main` holds a commit that is not the last one of this recipe; nothing was merged and nothing written: \
                       look at that commit, then `--replace` it (the history keeps it), or choose another target";
        Some(message.to_owned())
    }
}

/// Settles what is to be done at the target and saves the plan there; `None` if nothing is to be done.
pub(super) fn begin(
    (mut fresh, earlier): (Plan, Earlier),
    recipe: &Recipe,
    options: &Options,
    setting: Setting<'_>,
    state: &State,
    report: &mut Report,
) -> Result<Option<Begun>, RunError> {
    // A further version is made of the files as they are.
    let kept = if options.versioned { Vec::new() } else { changed(&earlier, &mut fresh, recipe, options, setting)? };
    let mut plan = adopt(fresh, earlier.saved.as_ref(), options)?;
    let identity = plan.identity();
    report.planned(&plan, &identity);
    tracing::info!(plan = identity, tasks = report.tasks, "planned");
    let place = Place::choose(options, setting, state, (&plan, &identity))?;
    report.target_version = place.version().map(str::to_owned);
    let opened = target::open(plan.format, &place.root, setting.access)?;
    let past = Past::of((earlier, kept), (&place, state), &opened, (&plan, &identity))?;
    let mut accounted = true;
    let replacing = replaces_by_commit(recipe, options);
    let permitted = |mode| state.permits(if past.keeps_commits { Mode::Icechunk } else { mode });
    let continuation = match standing(state, &past, (&plan, &identity), recipe, replacing)? {
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
            None
        }
        Standing::Unfinished if place.is_plain() => {
            permitted(Mode::InPlace)?;
            clear_leftovers(state, &*opened.store, &past, &plan, &identity)?;
            None
        }
        Standing::Unfinished => permitted(Mode::Versioned).map(|()| None)?,
        Standing::Continued(continuation) => {
            permitted(Mode::Append)?;
            Some(continuation)
        }
    };
    let old = past.earlier.published().filter(|_| continuation.is_some());
    let unjudged = old.map(|old| append::unjudged(old, &plan)).unwrap_or_default();
    plan.used.extend(unjudged);
    report.used.clone_from(&plan.used);
    opened.begin(intent(&identity, recipe, continuation.as_ref()));
    plan.warnings.iter().for_each(|message| setting.reporter.report(Event::Warned { message: message.clone() }));
    if past.earlier.replaced {
        state.forget()?;
    }
    if past.keeps_commits && (replacing || !past.same) {
        state.save_base(past.tip.as_ref().map(|tip| tip.commit.as_str()))?;
    }
    place.begin(state, (&plan, &identity), &past.found, past.same)?;
    state.save_report(&report.cut_off())?;
    room::check(&plan)?;
    let Opened { target, store, .. } = opened;
    let tail = tail(&store, old, continuation.as_ref())?;
    let left = continuation.map_or_else(|| place.left(), |continuation| continuation.left);
    let scratch = plan.scratch.as_deref().map(|url| store::target(url, setting.access)).transpose()?;
    let sources = store::source(setting.access, Arc::clone(setting.reporter));
    let workshop = Workshop::new(plan, sources, Arc::clone(&target))?.leaving(left).guarding(tail).keeping_scratch(scratch);
    let resumed = past.same && !place.is_anew();
    Ok(Some(Begun { workshop, target, store, place, accounted, resumed }))
}

/// What a commit of this plan is.
fn intent(identity: &str, recipe: &Recipe, continuation: Option<&Continuation>) -> Intent {
    let left = continuation.iter().flat_map(|continuation| &continuation.left).flatten();
    let (id, title, plan) = (recipe.id.clone(), recipe.about.title.clone(), identity.to_owned());
    Intent { id, title, plan, continues: left.copied().any(|left| left > 0) }
}

/// How published values are read back that a task is about to write again.
fn tail(store: &Arc<dyn TargetStore>, old: Option<&Plan>, continuation: Option<&Continuation>) -> Result<Option<Tail>, RunError> {
    let (Some(old), Some(continuation)) = (old, continuation) else { return Ok(None) };
    if continuation.tails.iter().all(Option::is_none) {
        return Ok(None);
    }
    let reader = ZarrReader::with_schema(Arc::clone(store), old.format, &old.schema)?;
    Ok(Some(Tail::new(reader, continuation.tails.clone())))
}

/// Looks for inputs that changed upstream since they were published; their numbers where what is published is kept.
fn changed(earlier: &Earlier, fresh: &mut Plan, recipe: &Recipe, options: &Options, setting: Setting<'_>) -> Result<Vec<usize>, RunError> {
    let Some(old) = earlier.published().filter(|old| old.id == fresh.id) else { return Ok(Vec::new()) };
    let opened = target::open(fresh.format, &options.target, setting.access)?;
    if !matches!(opened.target.state()?, TargetState::Ours { .. }) {
        return Ok(Vec::new());
    }
    append::reconcile(old, fresh, recipe.changed).map_err(|hindrance| refused(&options.target, &fresh.id, hindrance))
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

/// How a plan stands to what is at its target.
enum Standing {
    /// Its result is there.
    Complete,
    /// Nothing, or a part of its objects, is there.
    Unfinished,
    /// A shorter result is there.
    Continued(Continuation),
}

/// Looks at the target before anything is written; an error if it holds anything that is not ours to write over.
fn standing(state: &State, past: &Past, (plan, identity): (&Plan, &str), recipe: &Recipe, replacing: bool) -> Result<Standing, RunError> {
    let place = state.target();
    let conflict = |message: String| Err(RunError::Conflict { message });
    if replacing {
        return Ok(Standing::Unfinished);
    }
    if let Some(message) = past.moved(identity) {
        return Err(TargetError::Conflict { target: place.to_owned(), message }.into());
    }
    match (&past.earlier.committed, &past.found) {
        (_, TargetState::Foreign { .. }) if past.earlier.saved.as_ref().is_some_and(|saved| saved.format != plan.format) => {
            conflict(format!(
                "{place} holds the result, or a part of it, in another format than this recipe's; choose another target, or `--replace` it"
            ))
        }
        (Some(committed), TargetState::Ours { .. }) if committed.plan == identity => Ok(Standing::Complete),
        (Some(committed), TargetState::Ours { .. }) if committed.id != plan.id => {
            conflict(format!("{place} holds the dataset `{}`, not `{}`; choose another target, or `--replace` it", committed.id, plan.id))
        }
        (Some(_), TargetState::Ours { .. }) => continued(place, past, plan, recipe),
        (None, TargetState::Ours { .. }) if !past.same => conflict(format!(
            "{place} already holds a dataset that gristmill did not make, or has lost its state of; choose another target"
        )),
        (_, TargetState::Foreign { example }) if past.earlier.saved.is_none() => {
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
        let known = past.earlier.saved.is_some() || past.earlier.committed.is_some();
        return if known && (lost || !past.same) { state.forget() } else { Ok(()) };
    }
    // What a repository does not refer to is in nobody's way.
    let saved = past.earlier.saved.iter().filter(|_| !past.same && !past.keeps_commits);
    let mut names = saved.flat_map(|saved| &saved.schema.variables).map(|variable| variable.name.as_str());
    names.try_for_each(|name| empty(state, store, name))
}

/// How an append continues what is published.
fn continued(place: &str, past: &Past, plan: &Plan, recipe: &Recipe) -> Result<Standing, RunError> {
    let Some(old) = past.earlier.published() else {
        return Err(RunError::Conflict { message: format!("{place} has lost the plan it was made by; `--replace` it") });
    };
    let found = append::published(old, plan, recipe.output.rewrite_tail, &past.kept);
    found.map(Standing::Continued).map_err(|hindrance| refused(place, &plan.id, hindrance))
}

fn refused(place: &str, id: &str, hindrance: Hindrance) -> RunError {
    match hindrance {
        Hindrance::Changed(files) => RunError::PublishedChanged {
            message: format!(
                "{place} was made from files that have changed upstream since then: {files}; keep what is published with `--changed keep`, or build it anew with `--replace`"
            ),
        },
        Hindrance::Retracted(what) => RunError::AppendRefused {
            message: format!("{place} would become shorter: {what}; nothing that is published is taken back without `--replace`"),
        },
        Hindrance::Rewritten(what) => RunError::AppendRefused {
            message: format!("{place} holds another state of `{id}`: {what}; choose another target, or `--replace` it"),
        },
        Hindrance::Boundary(what) => RunError::AppendRefused {
            message: format!(
                "{place} cannot be continued in place: {what}; choose chunks that end where files end, let the last one grow with `output: {{append: rewrite-tail}}`, choose another target, or `--replace`"
            ),
        },
        Hindrance::Encoding(what) => RunError::Unappendable { target: place.to_owned(), what },
    }
}
