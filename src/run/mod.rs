//! The workflow: scan, combine, plan, execute, verify, commit.
//!
//! Everything a run does is [`run`], read top to bottom; each step is a room of its own. Not here: deciding (that is pure, in
//! `combine` and `plan`) and moving data (`work`). Invariant: nothing is visible at the target before every object is stored,
//! has a receipt, and the sample read back equals the sources.

pub mod audit;
pub mod doctor;
pub mod expect;
pub mod feedstock;
pub mod found;
pub mod gc;
pub mod inspect;
pub mod origin;
pub mod provenance;
pub mod repair;
pub mod report;
pub mod scan;
pub mod state;
pub mod status;
pub mod verify;
pub mod versions;

mod append;
mod begin;
mod commit;
mod error;
mod lock;
mod parallel;
mod replace;
mod room;
mod tally;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::combine::combine;
use crate::dataset::Schema;
use crate::event::{Activity, Event, Phase, Reporter, spent_stage};
use crate::executor::local::{Resources, execute};
use crate::executor::{Job, Outcome};
use crate::plan::{BASELINE, Plan, Settings, Stage, build};
use crate::receipt::Receipt;
use crate::rechunk::Costs;
use crate::recipe::{ChangedFile, OutputFormat, Recipe, Used};
use crate::source::ceiling::Ceiling;
use crate::store::{self, Access, SourceStore, TargetStore};
use crate::target::zarr::default_codecs;
use crate::work::{Described, WorkError, Workshop};
use begin::{Begun, Earlier, begin};
use commit::Commit;
use report::Report;
use state::State;
use tally::{Look, Tally, TaskNumber, unfinished};
use verify::Verifier;
use versions::Copies;

pub use error::{Problem, RunError, with_causes};
pub(crate) use lock::Lock;
pub use lock::{Holder, Writing};

/// Exit code of an interrupted, resumable run (DESIGN §8).
pub const INTERRUPTED: u8 = 75;

/// What the operator says about a run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// URL or path of the Zarr root.
    pub target: String,
    /// Bytes of memory the process may use in all.
    pub memory: u64,
    /// Threads that decode and encode.
    pub threads: usize,
    /// Build anew what is at the target.
    pub replace: Option<Replace>,
    /// How much of the result to compare with the sources.
    pub verify: verify::Level,
    /// Scan without asking any server: what an earlier scan found holds. Tasks check each file all the same.
    pub frozen: bool,
    /// Where inputs come from that the recipe finds.
    pub inputs: found::InputsFrom,
    /// Keep each state of the dataset as a store of its own below the target, with a pointer to the current one.
    pub versioned: bool,
}

/// How to build anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// Beside the old one, exchanged at the end; local targets only.
    Atomic,
    /// In place: readers see a broken store while the run lasts.
    NonAtomic,
}

/// What a run works with besides its options.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// How stores are reached.
    pub access: &'a Access,
    /// Who listens.
    pub reporter: &'a Arc<dyn Reporter>,
    /// Set from outside to stop; set by the run itself when it loses its hold of the target.
    pub stop: &'a AtomicBool,
}

/// Headers that wait for far servers at a time.
const FAR: usize = 16;
/// By how much the program grows while tasks run, values and threads' buffers aside: descriptions of inputs, receipts.
const GROWS: u64 = 16 << 20;
/// Bytes of what the scan hands to the tasks.
const DESCRIBED: usize = 16 << 20;
/// Threads that verify what is stored while the rest is still written, where something lies far away.
const VERIFIERS: usize = 2;
/// Most bytes of objects remembered between comparisons.
const REMEMBERED: u64 = 64 << 20;
/// Of those, the part that objects may take which are read back while tasks run.
const READ_BACK: u64 = 8;

/// Takes a recipe all the way to a visible store, or to where an earlier run had come, and leaves `report.json` beside it.
///
/// # Errors
/// Any [`RunError`]; `report` says how far it came.
pub fn run(recipe: &Recipe, options: &Options, setting: Setting<'_>, report: &mut Report) -> Result<(), RunError> {
    setting.access.manners.listen(setting.reporter);
    let state = State::open(&options.target, setting.access)?;
    report.held(state.lock().writing(), &**setting.reporter);
    let access = &state.lock().fencing(setting.access);
    let setting = Setting { access, ..setting };
    let result = state.lock().guarding(setting.stop, || {
        spent_stage(&**setting.reporter, Activity::Run, || {
            let recipe = &*found::with_inputs(recipe, options, setting, Some(&state))?;
            match options.replace {
                // A version that is made anew takes no other's place: the pointer does.
                Some(how) if !options.versioned => replace::replace(how, recipe, options, setting, &state, report),
                _ => continue_or_rebake(recipe, options, setting, &state, report),
            }
        })
    });
    report.ended(&result);
    if state.lock().is_lost() {
        // What is kept there is another run's by now.
        return result;
    }
    let kept = state.save_report(report);
    result.and(kept.map_err(RunError::from))
}

/// Bakes; where published files changed upstream, and the recipe wants that, everything is built anew where readers cannot see it half done.
fn continue_or_rebake(
    recipe: &Recipe,
    options: &Options,
    setting: Setting<'_>,
    state: &State,
    report: &mut Report,
) -> Result<(), RunError> {
    replace::finish(options, state)?;
    match bake(recipe, options, setting, state, report) {
        Err(RunError::PublishedChanged { .. })
            if recipe.changed == ChangedFile::Rebake
                && (state::local_folder(&options.target).is_some() || recipe.output.format == OutputFormat::Icechunk) =>
        {
            let mut recipe = recipe.clone();
            recipe.used.push(Used::new("changed: rebake", "inputs", "published files changed upstream, so everything was built anew"));
            replace::replace(Replace::Atomic, &recipe, options, setting, state, report)
        }
        result => result,
    }
}

/// The workflow itself.
fn bake(recipe: &Recipe, options: &Options, setting: Setting<'_>, state: &State, report: &mut Report) -> Result<(), RunError> {
    let reporter = &**setting.reporter;
    let earlier = Earlier::read(state, recipe, options, setting)?;
    let published = earlier.schema(&recipe.id);
    let (fresh, described) = timed(report, "scan", || scan_and_plan(recipe, options, setting, (Some(state), published)))?;
    let begun = spent_stage(reporter, Activity::Prepare, || begin((fresh, earlier), recipe, options, setting, state, report))?;
    let Some(Begun { workshop, target, store, place, accounted, resumed }) = begun else { return Ok(()) };
    origin::keep(state, recipe, &report.origin)?;
    let workshop = workshop.knowing(described);
    let far = store::is_far(&options.target);
    let (kept, ahead) = shared(remembered(options.memory), far);
    let verifier = Verifier::new(&workshop, Arc::clone(&store), (options.verify, kept as usize, far), (reporter, setting.stop))?;
    let commit = Commit::new((state, &place, accounted), (&workshop, &*target, &store), (options, setting), ahead);
    let finished = timed_with(report, "execute", |report| {
        let mut work = |again: &BTreeSet<TaskNumber>| {
            let copies = place.copied().map(|copies| (copies, &*store));
            let todo = Todo { again, resumed: resumed || !again.is_empty(), anew: place.is_anew(), copies };
            spent_stage(reporter, Activity::Execute, || {
                self::work(&workshop, (&verifier, &commit), (state, todo), options, setting, report)
            })
        };
        commit.complete(&mut work)
    })?;
    place.renewed(state, (&workshop.plan, &workshop.plan_id))?;
    report.worked(&finished);
    expect::check(&workshop.plan, &finished.judged)?;
    let threads = verifying_threads(options, &workshop);
    report.verification = timed(report, "verify", || spent_stage(reporter, Activity::Verify, || verifier.finish(threads)))?;
    tracing::info!(compared = report.verification.compared, of = report.verification.of, "verified; committing");
    timed_with(report, "commit", |report| {
        spent_stage(reporter, Activity::Commit, || {
            state.still_ours()?;
            provenance::keep(state, recipe, &workshop.plan, report)?;
            commit.publish()
        })
    })
}

/// Scans the inputs and plans, without touching the target.
///
/// # Errors
/// Any [`RunError`] of scanning, combining and planning.
pub fn plan_with(recipe: &Recipe, options: &Options, setting: Setting<'_>, state: Option<&State>) -> Result<Plan, RunError> {
    let recipe = found::with_inputs(recipe, options, setting, state)?;
    Ok(scan_and_plan(&recipe, options, setting, (state, None))?.0)
}

/// The plan and, where tasks may follow at once (there is a state), what they need not find out again.
fn scan_and_plan(
    recipe: &Recipe,
    options: &Options,
    setting: Setting<'_>,
    (state, published): (Option<&State>, Option<Arc<Schema>>),
) -> Result<(Plan, Vec<(usize, Described)>), RunError> {
    let sources: Arc<dyn SourceStore> = store::source(setting.access, Arc::clone(setting.reporter));
    let far = recipe.inputs.iter().any(|input| !sources.is_local(&input.url));
    let width = if far { FAR } else { options.threads };
    let (memory, frozen) = (scan::Memory::of(state, setting.access)?, options.frozen);
    let described_bytes = if state.is_some() { DESCRIBED } else { 0 };
    let (reporter, stop) = (&**setting.reporter, setting.stop);
    let ceiling = Ceiling::of_memory(options.memory);
    let scanner = scan::Scanner { recipe, sources, memory, reporter, stop, width, frozen, described_bytes, ceiling };
    let scan = spent_stage(reporter, Activity::Scan, || scanner.scan())?;
    let mut present = scan.present(recipe);
    if published.is_some() {
        present.to_mut().published = published;
    }
    let combined = spent_stage(reporter, Activity::Combine, || combine(&present, &scan.scanned)).map_err(RunError::Recipe)?;
    let settings = Settings {
        memory: options.memory,
        threads: options.threads,
        default_codecs,
        baseline: BASELINE,
        waiting: if far || store::is_far(&options.target) { 2 * waiting(options.memory) + remembered(options.memory) } else { 0 },
        far,
        scratch: state::scratch_url(&options.target)?,
        costs: Costs::MEASURED,
    };
    let absences = scan.absences(recipe);
    let mut plan =
        spent_stage(reporter, Activity::Plan, || build(&present, combined, scan.identities, &settings)).map_err(RunError::Recipe)?;
    plan.warnings.extend(absences.into_iter().chain(scan.warnings));
    Ok((plan, scan.described))
}

fn timed<T>(report: &mut Report, phase: &str, step: impl FnOnce() -> Result<T, RunError>) -> Result<T, RunError> {
    timed_with(report, phase, |_| step())
}

fn timed_with<T>(report: &mut Report, phase: &str, step: impl FnOnce(&mut Report) -> Result<T, RunError>) -> Result<T, RunError> {
    let begun = Instant::now();
    let result = step(report);
    report.seconds.insert(phase.to_owned(), (begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0);
    result
}

/// What is to be done of a plan.
struct Todo<'a> {
    /// Tasks to do again, though they have receipts.
    again: &'a BTreeSet<TaskNumber>,
    /// True if there may be receipts.
    resumed: bool,
    /// True if receipts of an earlier run are not believed but replaced.
    anew: bool,
    /// What is copied instead, and where to.
    copies: Option<(&'a Copies, &'a dyn TargetStore)>,
}

impl Todo<'_> {
    fn is_again(&self, receipt: &Receipt) -> bool {
        self.again.contains(&(receipt.stage as usize, receipt.task))
    }

    /// Keeps the receipt of a task that was just done.
    fn keep(&self, state: &State, receipt: &Receipt) -> Result<(), WorkError> {
        match (self.is_again(receipt), self.anew) {
            (true, _) => state.save_receipt(&Receipt { attempt: 1, ..receipt.clone() }),
            (_, true) => state.renew_receipt(receipt),
            _ => state.save_receipt(receipt),
        }
    }
}

/// Runs every task without a receipt, verifying meanwhile what lies far away; gives what all receipts tell.
fn work(
    workshop: &Workshop,
    (verifier, commit): (&Verifier<'_>, &Commit<'_>),
    (state, wanted): (&State, Todo<'_>),
    options: &Options,
    setting: Setting<'_>,
    report: &mut Report,
) -> Result<Tally, RunError> {
    let look = |receipt: &Receipt, scratch_is_needed: bool| {
        let holds = !wanted.is_again(receipt) && (!scratch_is_needed || workshop.keeps_scratch_of(receipt)?);
        if holds {
            workshop.target.remember(&receipt.chunks);
            verifier.stored(receipt);
        }
        Ok(holds)
    };
    let (todo, finished) = if wanted.resumed {
        receipts(state, &workshop.plan, &workshop.plan_id, &look)?
    } else {
        (every_task(&workshop.plan), Tally::default())
    };
    let finished = Mutex::new(finished);
    if let Some((copies, store)) = wanted.copies {
        let threads = verifying_threads(options, workshop);
        copies.make(state, (&workshop.plan, &workshop.plan_id, store), wanted.again, (threads, setting.stop), &finished)?;
    }
    let before = finished.lock().unwrap_or_else(PoisonError::into_inner).tasks;
    let bytes = |stage: usize, task: u64| workshop.plan.task(stage, task).map_or(0, |task| task.bytes);
    let steps = report.tasks;
    let todo_bytes = todo.iter().map(|&(stage, task)| bytes(stage, task)).sum();
    setting.reporter.report(Event::PhaseStarted { phase: Phase::Execute, steps, done: steps - todo.len() as u64, bytes: todo_bytes });
    let keep = |receipt: &Receipt| -> Result<(), WorkError> {
        wanted.keep(state, receipt)?;
        verifier.stored(receipt);
        commit.stored(receipt);
        finished.lock().unwrap_or_else(PoisonError::into_inner).add(&workshop.plan, receipt);
        Ok(())
    };
    let verifiers = if is_far(options, workshop) { VERIFIERS } else { 0 };
    std::thread::scope(|scope| {
        for number in 1..=verifiers {
            // What these do not compare is compared at the end.
            let _started = std::thread::Builder::new().name(format!("verify {number}")).spawn_scoped(scope, || verifier.ahead());
        }
        let result = work_through(workshop, &todo, options, (&keep, verifiers), setting);
        verifier.hold();
        result
    })?;
    setting.reporter.report(Event::PhaseFinished { phase: Phase::Execute });
    workshop.rest();
    let mut finished = finished.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.tasks_run += finished.tasks - before;
    finished.own.extend(todo);
    finished.own.sort_unstable();
    Ok(finished)
}

/// What keeps a receipt.
type Keep<'a> = &'a (dyn Fn(&Receipt) -> Result<(), WorkError> + Sync);

fn work_through(
    workshop: &Workshop,
    todo: &[TaskNumber],
    options: &Options,
    (keep, verifiers): (Keep<'_>, usize),
    setting: Setting<'_>,
) -> Result<(), RunError> {
    for stage in 0..workshop.plan.stages.len() {
        let tasks = todo.iter().filter(|(of, _)| *of == stage).map(|(_, task)| *task).collect();
        let job = Job { workshop, stage, tasks, keep, reporter: &**setting.reporter, stop: setting.stop };
        let mut resources = resources(options, &workshop.plan);
        resources.budget = resources.budget.saturating_sub(verifying_bytes(&workshop.plan, options.verify) * verifiers as u64);
        match execute(&job, resources) {
            Outcome::Done => {}
            Outcome::Stopped => return Err(RunError::Interrupted),
            Outcome::Failed(errors) => return Err(RunError::several(errors.into_iter().map(RunError::Work).collect())),
        }
    }
    Ok(())
}

/// True if comparing means waiting for a server.
fn is_far(options: &Options, workshop: &Workshop) -> bool {
    store::is_far(&options.target) || workshop.plan.inputs.iter().any(|input| !workshop.sources.is_local(&input.url))
}

/// Bytes that a thread may need to compare one part: an object, encoded and decoded, what it reads of a source chunk, and the part.
fn verifying_bytes(plan: &Plan, level: verify::Level) -> u64 {
    let object = (0..plan.schema.variables.len()).map(|variable| plan.object_bytes(variable)).max().unwrap_or(0);
    let source = plan.overhead.thread.saturating_sub(object + (object >> 4));
    2 * object + source + level.part_bytes()
}

/// Threads that verify when everything is written: as many as compute, or as wait, while their objects fit into the memory.
fn verifying_threads(options: &Options, workshop: &Workshop) -> usize {
    let wanted = if is_far(options, workshop) { FAR.max(options.threads) } else { options.threads };
    let room = options.memory.saturating_sub(resident_bytes().unwrap_or(64 << 20)) / verifying_bytes(&workshop.plan, options.verify);
    wanted.min(room as usize).max(1)
}

fn every_task(plan: &Plan) -> Vec<TaskNumber> {
    let tasks = |(stage, of): (usize, &Stage)| (0..of.tasks()).map(move |task| (stage, task));
    plan.stages.iter().enumerate().flat_map(tasks).collect()
}

/// (tasks to do, what the others left) of a plan.
fn receipts(state: &State, plan: &Plan, identity: &str, look: Look<'_>) -> Result<(Vec<TaskNumber>, Tally), RunError> {
    let tally = Mutex::new(Tally::default());
    let todo = unfinished(state, plan, identity, &|receipt, needed| {
        let holds = expect::is_counted(plan, receipt) && look(receipt, needed)?;
        if holds {
            tally.lock().unwrap_or_else(PoisonError::into_inner).add(plan, receipt);
        }
        Ok(holds)
    })?;
    Ok((todo, tally.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

/// Deletes every object below a prefix of the target or its state, as long as this run holds the target.
fn empty(state: &State, store: &dyn TargetStore, prefix: &str) -> Result<(), RunError> {
    loop {
        let keys = store.list(prefix, 1000)?;
        if keys.is_empty() {
            return Ok(());
        }
        // What another has written since may lie below the same prefix.
        state.still_ours()?;
        keys.iter().try_for_each(|key| state.erase(store, key))?;
    }
}

/// What the plan leaves for values, or less where the program holds more already than the plan counts for it.
fn resources(options: &Options, plan: &Plan) -> Resources {
    let used = resident_bytes().unwrap_or(0).saturating_add(GROWS);
    tracing::info!(used, counted = plan.overhead.baseline, peak = plan.peak(), "memory");
    let more = used.saturating_sub(plan.overhead.baseline);
    Resources {
        threads: options.threads,
        far_threads: FAR,
        budget: plan.buffers().saturating_sub(more),
        waiting: waiting(plan.memory),
        far_target: store::is_far(&options.target),
    }
}

/// Bytes fetched, and as many encoded, that may wait.
fn waiting(memory: u64) -> u64 {
    (memory / 12).clamp(1 << 20, 48 << 20)
}

/// Bytes of objects that verification remembers.
fn remembered(memory: u64) -> u64 {
    (memory / 8).min(REMEMBERED)
}

/// Bytes that verification remembers, and those that objects may take which are read back while tasks run: only where that is far.
fn shared(remembered: u64, far: bool) -> (u64, u64) {
    let ahead = if far { remembered / READ_BACK } else { 0 };
    (remembered - ahead, ahead)
}

/// Bytes of memory this process holds now (Linux).
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
