//! The test of a recipe that a pull request brings: lint → plan → bake a sample into a local store → open and verify it.
//!
//! Runs in the job that has no secrets. Not for judging the result (`render`) or for whole runs (`run`). Invariant: passed means
//! written, opened again, every object read and a part compared with its source; whatever happens there is an outcome.

mod log;
mod sample;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::civil::Date;

pub use sample::{Extent, sample};

use self::log::Log;
use super::artifact::{
    Axis, Change, Dataset, Dimension, Full, LONGEST_TEXT, MOST_ENTRIES, Outcome, Problem, Stage, Tested, Times, Variable, Verdict,
};
use super::decide::Sha;
use super::picture;
use crate::event::Reporter;
use crate::pattern::{KeyValue, Role};
use crate::plan::Explanation;
use crate::recipe::diagnostic::{Code, Diagnostic, exit_of};
use crate::recipe::{Recipe, RecipeText, parse_on};
use crate::run::audit::{self, audit};
use crate::run::report::Report;
use crate::run::{self, Options, RunError, Setting, with_causes};
use crate::size::ByteSize;
use crate::store::Access;

/// Exit code of a recipe that is not right (DESIGN §8).
const RECIPE: u8 = 2;
/// Exit code of what does not fit its limits (DESIGN §8).
const LIMITS: u8 = 8;
/// Exit code of a store that is not what it should be (DESIGN §8).
const VERIFICATION: u8 = 7;

/// A recipe to test.
#[derive(Debug)]
pub struct Subject {
    /// Id of its dataset, as the list of changes has it.
    pub id: String,
    /// Its path from the root of the repository.
    pub path: String,
    /// What happened to it.
    pub change: Change,
    /// Its text; the name is the path.
    pub text: String,
    /// Folder that relative paths in it start from.
    pub base: PathBuf,
}

/// How a test is made.
pub struct Terms<'a> {
    /// The commit, by which the sample is drawn.
    pub head: &'a Sha,
    /// The day that moving ends count from.
    pub day: Date,
    /// Most bytes of files to read.
    pub bytes: u64,
    /// Longest time.
    pub time: Duration,
    /// Bytes of memory.
    pub memory: u64,
    /// Threads.
    pub threads: usize,
    /// Folder for the stores.
    pub work: &'a Path,
    /// How stores are reached.
    pub access: &'a Access,
    /// Who listens.
    pub reporter: &'a Arc<dyn Reporter>,
    /// Set from outside to stop.
    pub stop: &'a AtomicBool,
}

/// Tests a recipe.
#[must_use]
pub fn test(subject: &Subject, terms: &Terms<'_>) -> Outcome {
    let begun_at = Instant::now();
    let log = Arc::new(Log::new(begun_at, Arc::clone(terms.reporter)));
    let reporter: Arc<dyn Reporter> = Arc::clone(&log) as _;
    let mut trial = Trial { subject, terms, reporter, begun: begun_at, late: AtomicBool::new(false), outcome: begun(subject) };
    let ended = trial.go();
    let mut outcome = trial.outcome;
    match ended {
        Ok(()) => (outcome.verdict, outcome.exit) = (Verdict::Passed, 0),
        Err(failure) => {
            (outcome.verdict, outcome.exit) = (Verdict::Failed, failure.exit.max(1));
            outcome.errors = failure.problems.into_iter().take(MOST_ENTRIES).map(cut).collect();
        }
    }
    outcome.warnings = outcome.warnings.into_iter().take(MOST_ENTRIES).map(|text| shortened(&text)).collect();
    outcome.log = log.lines();
    outcome
}

fn begun(subject: &Subject) -> Outcome {
    Outcome {
        id: subject.id.clone(),
        path: subject.path.clone(),
        change: subject.change,
        verdict: Verdict::Failed,
        stage: Stage::Lint,
        exit: 1,
        dataset: None,
        tested: None,
        full: None,
        errors: Vec::new(),
        warnings: Vec::new(),
        picture: None,
        log: Vec::new(),
    }
}

/// Why a test ended.
struct Failure {
    exit: u8,
    problems: Vec<Problem>,
}

impl Failure {
    fn of(exit: u8, message: String, help: &str) -> Self {
        Self { exit, problems: vec![Problem { message, help: Some(help.to_owned()), ..Problem::default() }] }
    }

    fn of_run(error: &RunError, text: &str) -> Self {
        let told = |error: &RunError| match error {
            RunError::Recipe(problems) => problems.iter().filter(|one| one.is_error()).map(|one| told(one, text)).collect(),
            other => {
                other.problems().into_iter().map(|one| Problem { code: one.code, message: one.message, ..Problem::default() }).collect()
            }
        };
        let problems: Vec<Vec<Problem>> = error.each().into_iter().map(told).collect();
        Self { exit: error.exit(), problems: problems.concat() }
    }
}

fn told(problem: &Diagnostic, text: &str) -> Problem {
    let line = problem.label.as_ref().map(|(span, _)| span.line_and_column(text).0 as u32);
    let label = problem.label.as_ref().map(|(_, label)| label.as_str()).filter(|label| !label.is_empty());
    let help = [label, problem.help.as_deref()].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let help = (!help.is_empty()).then_some(help);
    Problem { code: Some(problem.code.name().to_owned()), message: problem.message.clone(), line, help }
}

fn cut(problem: Problem) -> Problem {
    Problem { message: shortened(&problem.message), help: problem.help.as_deref().map(shortened), ..problem }
}

/// A text that the artifact takes.
fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}

struct Trial<'a> {
    subject: &'a Subject,
    terms: &'a Terms<'a>,
    /// Keeps the log, and tells whoever listens besides.
    reporter: Arc<dyn Reporter>,
    begun: Instant,
    /// True if the time ran out.
    late: AtomicBool,
    outcome: Outcome,
}

impl Trial<'_> {
    fn go(&mut self) -> Result<(), Failure> {
        let recipe = self.lint()?;
        self.outcome.stage = Stage::Plan;
        // What is to be found is found first: a sample is of files.
        let recipe = self.within(|setting| run::found::whole(&recipe, &self.options(String::new()), setting))?;
        let (sampled, explanation) = self.plan(&recipe)?;
        self.outcome.dataset = Some(dataset(&recipe, &sampled, &explanation));
        self.outcome.stage = Stage::Bake;
        let (target, report) = self.bake(&sampled)?;
        self.outcome.stage = Stage::Verify;
        self.verify(&target, &report)?;
        self.look(&target);
        let is_sample = sampled.inputs.len() < recipe.inputs.len();
        self.outcome.warnings.extend(report.warnings.iter().filter(|text| !(is_sample && is_gap(text))).cloned());
        self.count(&recipe, &sampled, &explanation, &report);
        Ok(())
    }

    fn lint(&mut self) -> Result<Recipe, Failure> {
        let text = RecipeText { name: self.subject.path.clone(), text: self.subject.text.clone() };
        match parse_on(&text, &self.subject.base, Some(self.terms.day)) {
            Ok((_, advice)) if advice.iter().any(|one| one.code == Code::LicenseUnknown) => {
                // Advice to whoever bakes at home; nobody can publish under a licence that nobody can look up (T19).
                let unknown = advice.iter().filter(|one| one.code == Code::LicenseUnknown);
                Err(Failure { exit: RECIPE, problems: unknown.map(|one| told(one, &text.text)).collect() })
            }
            Ok((recipe, advice)) => {
                self.outcome.warnings.extend(advice.iter().map(|one| one.message.clone()));
                Ok(recipe)
            }
            Err(problems) => {
                let errors = problems.iter().filter(|one| one.is_error()).map(|one| told(one, &text.text));
                Err(Failure { exit: exit_of(&problems), problems: errors.collect() })
            }
        }
    }

    /// The largest sample whose files may be read, and its plan.
    fn plan(&mut self, recipe: &Recipe) -> Result<(Recipe, Explanation), Failure> {
        let mut large = 0;
        for extent in [Extent::Four, Extent::Ends, Extent::First] {
            let (sampled, untold) = sample(recipe, self.terms.head.as_str(), extent);
            let plan = self.within(|setting| run::plan_with(&sampled, &self.options(String::new()), setting, None))?;
            let explanation = plan.explain();
            if explanation.fetch_bytes <= self.terms.bytes {
                self.outcome.warnings.extend(untold);
                return Ok((sampled, explanation));
            }
            large = explanation.fetch_bytes;
        }
        let message = format!("the first file alone has {}, and a test may read {}", ByteSize(large), ByteSize(self.terms.bytes));
        Err(Failure::of(LIMITS, message, "a maintainer can test it on a machine of their own, with a larger `--max-bytes`"))
    }

    fn bake(&self, sampled: &Recipe) -> Result<(String, Report), Failure> {
        let folder = tempfile::Builder::new().prefix(&format!("{}-", self.subject.id)).tempdir_in(self.terms.work);
        let folder = folder.map_err(|error| Failure::of(1, format!("no folder for the store: {error}"), "name another with `--work`"))?;
        let target = folder.keep().join("store.zarr").display().to_string();
        let mut report = Report::begin(&sampled.id, &target);
        self.within(|setting| run::run(sampled, &self.options(target.clone()), setting, &mut report))?;
        Ok((target, report))
    }

    /// Opens the store and reads every object of it.
    fn verify(&self, target: &str, report: &Report) -> Result<(), Failure> {
        let (memory, threads) = (self.terms.memory, self.terms.threads);
        let options = audit::Options { receipts: true, read: 1.0, sources: false, memory, threads };
        let audit = self.within(|setting| audit(target, None, &options, setting))?;
        let errors = audit.findings.iter().filter(|finding| finding.level == audit::Level::Error);
        let problems: Vec<Problem> = errors
            .map(|finding| Problem { code: Some(finding.rule.clone()), message: finding.message.clone(), ..Problem::default() })
            .collect();
        if !problems.is_empty() {
            return Err(Failure { exit: VERIFICATION, problems });
        }
        if report.verification.compared == 0 || report.stored_bytes == 0 {
            return Err(Failure::of(
                VERIFICATION,
                "nothing was written that could be compared with its source".to_owned(),
                "the files hold no values",
            ));
        }
        Ok(())
    }

    /// What a person sees of the store at a glance: from when to when, and a map. A store without either is as good.
    fn look(&mut self, target: &str) {
        let Ok(Some(reader)) = run::inspect::open_store(target, self.terms.access) else { return };
        self.outcome.picture = picture::draw(&reader);
        let times = picture::period(&reader).map(|period| Times {
            dimension: shortened(&period.dimension),
            first: period.first,
            last: period.last,
        });
        if let Some(dataset) = &mut self.outcome.dataset {
            dataset.times = times;
            let is_one = |name: &str| reader.schema().variable(name).is_some_and(|variable| variable.coordinate);
            dataset.variables.iter_mut().for_each(|variable| variable.coordinate |= is_one(&variable.name));
        }
    }

    fn options(&self, target: String) -> Options {
        Options { target, memory: self.terms.memory, threads: self.terms.threads, ..Options::default() }
    }

    /// Does something that stops when the time has run out, or when it is stopped from outside.
    fn within<T>(&self, work: impl FnOnce(Setting<'_>) -> Result<T, RunError>) -> Result<T, Failure> {
        let stop = AtomicBool::new(self.late.load(Ordering::Relaxed));
        let (done, ended) = crossbeam_channel::bounded::<()>(0);
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                while ended.recv_timeout(Duration::from_millis(200)) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
                    if self.begun.elapsed() > self.terms.time {
                        self.late.store(true, Ordering::Relaxed);
                    }
                    stop.fetch_or(self.late.load(Ordering::Relaxed) || self.terms.stop.load(Ordering::Relaxed), Ordering::Relaxed);
                }
            });
            let result = work(Setting { access: self.terms.access, reporter: &self.reporter, stop: &stop });
            drop(done);
            result
        });
        result.map_err(|error| match error {
            RunError::Interrupted if self.late.load(Ordering::Relaxed) => {
                let message = format!("the test took longer than {} minutes", self.terms.time.as_secs() / 60);
                Failure::of(
                    LIMITS,
                    message,
                    "smaller chunks or a faster server would help; a maintainer can allow more with `--max-minutes`",
                )
            }
            error => Failure::of_run(&error, &self.subject.text),
        })
    }

    fn count(&mut self, recipe: &Recipe, sampled: &Recipe, explanation: &Explanation, report: &Report) {
        let milliseconds = self.begun.elapsed().as_millis() as u64;
        let inputs = sampled.inputs.len() as u64;
        let all = |part: u64| (u128::from(part) * recipe.inputs.len() as u128).checked_div(u128::from(inputs)).unwrap_or(0) as u64;
        let fetch_bytes = explanation.fetch_bytes;
        self.outcome.tested = Some(Tested {
            inputs,
            fetch_bytes,
            value_bytes: explanation.value_bytes,
            stored_bytes: report.stored_bytes,
            milliseconds,
            compared: report.verification.compared,
            of: report.verification.of,
        });
        self.outcome.full = Some(Full {
            inputs: recipe.inputs.len() as u64,
            fetch_bytes: all(fetch_bytes),
            stored_bytes: all(report.stored_bytes),
            milliseconds: all(milliseconds),
        });
    }
}

fn dataset(recipe: &Recipe, sampled: &Recipe, explanation: &Explanation) -> Dataset {
    let position =
        |values: Option<&Vec<KeyValue>>| shortened(&values.into_iter().flatten().map(KeyValue::to_string).collect::<Vec<_>>().join(" "));
    let axis = |axis: &crate::pattern::Axis| Axis {
        name: match &axis.role {
            Role::Concat(dimension) => shortened(dimension),
            Role::Merge => shortened(&axis.keys.join(", ")),
        },
        length: axis.positions.len() as u64,
        first: position(axis.positions.first()),
        last: position(axis.positions.last()),
    };
    let full = |name: &str, length: u64| {
        let along = |axis: &&crate::pattern::Axis| axis.role == Role::Concat(name.to_owned());
        let (all, some) = (recipe.axes.iter().find(along), sampled.axes.iter().find(along));
        let scaled = all
            .zip(some)
            .and_then(|(all, some)| length.saturating_mul(all.positions.len() as u64).checked_div(some.positions.len() as u64));
        scaled.unwrap_or(length)
    };
    let dimension = |(name, length): &(String, u64)| Dimension { name: shortened(name), length: *length, full: full(name, *length) };
    let variable = |one: &crate::plan::VariableExplanation| Variable {
        name: shortened(&one.name),
        dtype: one.dtype.clone(),
        dimensions: one.dimensions.iter().map(|name| shortened(name)).collect(),
        chunks: one.chunks.clone(),
        chunk_bytes: one.chunk_bytes,
        full_bytes: full_bytes(one, &full),
        coordinate: one.dimensions == [one.name.as_str()],
    };
    Dataset {
        title: shortened(&recipe.about.title),
        license: shortened(&recipe.about.license),
        axes: recipe.axes.iter().take(MOST_ENTRIES).map(axis).collect(),
        dimensions: explanation.dimensions.iter().take(MOST_ENTRIES).map(dimension).collect(),
        variables: explanation.variables.iter().take(MOST_ENTRIES).map(variable).collect(),
        times: None,
    }
}

/// True for a warning about what lies between the files of a sample, where there always is something (`combine::whole` words them).
fn is_gap(warning: &str) -> bool {
    let of_time = warning.starts_with("coordinate `") && (warning.contains("` has a gap") || warning.contains(" gaps, the first"));
    of_time || (warning.starts_with("bounds `") && warning.ends_with(" do not touch"))
}

/// About the bytes of a variable's values in a full run, by what one chunk of the sample holds.
fn full_bytes(variable: &crate::plan::VariableExplanation, full: &dyn Fn(&str, u64) -> u64) -> u64 {
    let count = |lengths: &mut dyn Iterator<Item = u64>| lengths.fold(1_u64, u64::saturating_mul);
    let held = count(&mut variable.chunks.iter().zip(&variable.shape).map(|(chunk, length)| *chunk.min(length)));
    let all = count(&mut variable.dimensions.iter().zip(&variable.shape).map(|(name, length)| full(name, *length)));
    (u128::from(variable.chunk_bytes) * u128::from(all)).checked_div(u128::from(held)).map_or(0, |bytes| bytes.min(1 << 53) as u64)
}

/// An outcome for a recipe that is not tested: it moved, or it is gone.
#[must_use]
pub fn skipped(subject: &Subject) -> Outcome {
    Outcome { verdict: Verdict::Skipped, exit: 0, ..begun(subject) }
}

/// An outcome for a recipe whose text cannot be read from git.
#[must_use]
pub fn unreadable(subject: &Subject, error: &dyn std::error::Error) -> Outcome {
    let problem = Problem { message: shortened(&with_causes(error)), ..Problem::default() };
    Outcome { exit: 2, errors: vec![problem], ..begun(subject) }
}
