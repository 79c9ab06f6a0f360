//! Describes every input: headers, and the few values that inputs must agree on.
//!
//! In parallel, headers only, remembered in the state beside the target so that a killed scan goes on where it was. Invariant:
//! a remembered description is used only for a file with the same URL and validators, under the same steps.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::RunError;
use super::state::{SEGMENT, State};
use crate::array::Array;
use crate::combine::{Scanned, Wanted, digest, wanted};
use crate::dataset::{Identity, Schema};
use crate::event::{Activity, Detail, Event, Phase, Reporter, spent};
use crate::grid::Region;
use crate::layout::Layout;
use crate::pattern::{self, Input};
use crate::recipe::diagnostic::{Code, Diagnostic};
use crate::recipe::{MissingFile, Recipe};
use crate::source::{self, Source, SourceError, fetch::read_stored};
use crate::store::{Begun, ErrorKind, Head, SourceStore, shown};
use crate::transform::{self, Absent, Step, TransformError, Transformed};

/// What scanning found.
pub struct Scan {
    /// One per input that exists, in order.
    pub scanned: Vec<Scanned>,
    /// What each file was, in order.
    pub identities: Vec<Identity>,
    /// Numbers of inputs that do not exist.
    pub missing: Vec<usize>,
}

/// A remembered description.
#[derive(Clone, Serialize, Deserialize)]
struct Record {
    /// Of URL, validators, steps and keys.
    key: String,
    identity: Identity,
    schema: Schema,
    values: BTreeMap<String, Array>,
    digests: BTreeMap<String, String>,
    /// Names in the steps that the file does not have.
    absent: Vec<Absent>,
    /// Variables of the file itself, if any is absent: for the message.
    names: Vec<String>,
}

/// What scanning works with.
pub struct Scanner<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// Where inputs are read.
    pub sources: Arc<dyn SourceStore>,
    /// Where descriptions are remembered; `None`: nowhere.
    pub state: Option<&'a State>,
    /// Who listens.
    pub reporter: &'a dyn Reporter,
    /// Set from outside to stop.
    pub stop: &'a AtomicBool,
    /// Files described at a time.
    pub width: usize,
}

impl Scan {
    /// The recipe with the files that exist first; those that do not are left out, or follow where their places are to be filled.
    #[must_use]
    pub fn present(&self, recipe: &Recipe) -> Recipe {
        if self.missing.is_empty() {
            return recipe.clone();
        }
        let skip = recipe.missing == MissingFile::Skip;
        let (axes, mut inputs) = pattern::without(&recipe.axes, &recipe.inputs, &self.missing, skip);
        if !skip {
            // Listed after those that exist: their cells are holes to fill, not cells that the recipe excepts.
            let missing = self.missing.iter().filter_map(|&number| recipe.inputs.get(number));
            let first = inputs.len();
            inputs.extend(missing.enumerate().map(|(place, input)| Input { number: first + place, ..input.clone() }));
        }
        Recipe { axes, inputs, ..recipe.clone() }
    }
}

type Found = Result<Option<Record>, RunError>;

impl Scanner<'_> {
    /// Describes every input.
    ///
    /// # Errors
    /// Every file that cannot be read, at once.
    pub fn scan(&self) -> Result<Scan, RunError> {
        let inputs = &self.recipe.inputs;
        let remembered = self.remembered()?;
        let bytes = 0;
        self.reporter.report(Event::PhaseStarted { phase: Phase::Scan, steps: inputs.len() as u64, done: 0, bytes });
        let first = inputs.first().map(|input| self.describe(input, &remembered, &Wanted::default())).transpose()?.flatten();
        let guess = first.map(|record| wanted(self.recipe, &[(0, record.schema)]).pop().unwrap_or_default()).unwrap_or_default();
        let found = self.describe_all(&remembered, &guess)?;
        let missing = found.iter().enumerate().filter(|(_, record)| record.is_none()).map(|(number, _)| number).collect();
        let mut records: Vec<(usize, Record)> =
            found.into_iter().enumerate().filter_map(|(number, record)| Some((number, record?))).collect();
        self.check_names(&records)?;
        self.complete(&mut records)?;
        self.reporter.report(Event::PhaseFinished { phase: Phase::Scan });
        let identities = records.iter().map(|(_, record)| record.identity.clone()).collect();
        let scanned = records.into_iter().enumerate().map(|(input, (_, record))| Scanned {
            input,
            schema: record.schema,
            values: record.values,
            digests: record.digests,
        });
        Ok(Scan { scanned: scanned.collect(), identities, missing })
    }

    fn remembered(&self) -> Result<HashMap<String, Record>, RunError> {
        let mut remembered = HashMap::new();
        let Some(state) = self.state else { return Ok(remembered) };
        for number in 0..self.recipe.inputs.len().div_ceil(SEGMENT) {
            let records: Option<Vec<Record>> = state.scan_segment(number)?;
            remembered.extend(records.unwrap_or_default().into_iter().map(|record| (record.key.clone(), record)));
        }
        Ok(remembered)
    }

    /// Describes segment after segment, remembering each.
    fn describe_all(&self, remembered: &HashMap<String, Record>, guess: &Wanted) -> Result<Vec<Option<Record>>, RunError> {
        let mut all = Vec::with_capacity(self.recipe.inputs.len());
        for (number, segment) in self.recipe.inputs.chunks(SEGMENT).enumerate() {
            let found = self.parallel(segment, &|input| {
                let record = self.describe(input, remembered, guess);
                self.reporter.report(Event::StepFinished { phase: Phase::Scan, bytes: 0 });
                record
            })?;
            let known = found.iter().flatten().all(|record| remembered.contains_key(&record.key));
            if let (Some(state), false) = (self.state, known) {
                state.save_scan_segment(number, &found.iter().flatten().collect::<Vec<_>>())?;
            }
            all.extend(found);
        }
        Ok(all)
    }

    /// Runs `each` on every input, several at a time, and gives the results in order, or every error.
    fn parallel<I: Sync, T: Send>(&self, inputs: &[I], each: &(dyn Fn(&I) -> Result<T, RunError> + Sync)) -> Result<Vec<T>, RunError> {
        let next = AtomicUsize::new(0);
        let results: Mutex<Vec<(usize, Result<T, RunError>)>> = Mutex::new(Vec::with_capacity(inputs.len()));
        let work = || loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(input) = inputs.get(number) else { return };
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let result = each(input);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
        };
        std::thread::scope(|scope| {
            for number in 1..=self.width.min(inputs.len()) {
                // Where no more threads are to be had, the others do the work.
                let _started = std::thread::Builder::new().name(format!("scan {number}")).spawn_scoped(scope, work);
            }
        });
        // What is left if not even one could be started; nothing else.
        work();
        if self.stop.load(Ordering::Relaxed) {
            return Err(RunError::Interrupted);
        }
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_by_key(|(number, _)| *number);
        let (good, bad): (Vec<_>, Vec<_>) = results.into_iter().map(|(_, result)| result).partition(Result::is_ok);
        let errors: Vec<RunError> = bad.into_iter().filter_map(Result::err).collect();
        if errors.is_empty() { Ok(good.into_iter().filter_map(Result::ok).collect()) } else { Err(RunError::several(errors)) }
    }

    /// Describes one input and reports the time that took.
    fn describe(&self, input: &Input, remembered: &HashMap<String, Record>, guess: &Wanted) -> Found {
        let detail = |_: &Found| Detail { about: shown(&input.url), ..Detail::default() };
        spent(self.reporter, Activity::Describe, detail, || self.described(input, remembered, guess))
    }

    /// Describes one input; `None` if there is no such file and the recipe allows that.
    fn described(&self, input: &Input, remembered: &HashMap<String, Record>, guess: &Wanted) -> Found {
        // Where nothing is remembered the file will be read: its first bytes tell what a HEAD would.
        let asked = if remembered.is_empty() {
            self.sources.begin(&input.url).map(|(head, start)| (head, Some(start)))
        } else {
            self.sources.head(&input.url).map(|head| (head, None))
        };
        let (head, start) = match asked {
            Ok(told) => told,
            Err(error) if error.kind == ErrorKind::NotFound && self.recipe.missing != MissingFile::Fail => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let identity = Identity { size: head.size, etag: head.etag.clone(), modified: head.modified.clone() };
        let key = self.key(input, &identity);
        if let Some(record) = remembered.get(&key) {
            return Ok(Some(record.clone()));
        }
        let (head, start) = match start {
            Some(start) => (head, start),
            None => self.sources.begin(&input.url)?,
        };
        let opened = self.open(input, &head, start)?;
        let mut record = opened.record(key, identity);
        opened.read(guess, &mut record)?;
        Ok(Some(record))
    }

    fn open<'b>(&'b self, input: &'b Input, head: &Head, start: Bytes) -> Result<Opened<'b>, RunError> {
        let source = source::open_begun(&self.sources, &input.url, head, start.clone())?;
        let mut whole = |name: &str| whole_variable(&*source, name).ok();
        let steps: Vec<Step> = self.recipe.steps.iter().map(|(step, _)| step.clone()).collect();
        let transformed =
            transform::apply(&steps, source.schema(), &input.values, &mut whole).map_err(|error| self.impossible(input, &error))?;
        Ok(Opened { sources: Begun::new(&*self.sources, start), input, source, transformed })
    }

    /// A step that a file cannot satisfy, with the recipe's line.
    fn impossible(&self, input: &Input, error: &TransformError) -> RunError {
        let message = format!("step `{}` cannot be done to `{}`: {}", error.operation, shown(&input.url), error.message);
        let problem = Diagnostic::error(Code::StepImpossible, message).help("`gristmill inspect` shows what the file holds");
        RunError::Recipe(vec![self.at_step(error.step, problem)])
    }

    fn at_step(&self, step: usize, problem: Diagnostic) -> Diagnostic {
        match self.recipe.steps.get(step) {
            Some((_, span)) => problem.at(*span, ""),
            None => problem,
        }
    }

    /// Names in steps that no file has: slips of the pen, where a name that some files have is none.
    fn check_names(&self, records: &[(usize, Record)]) -> Result<(), RunError> {
        let Some((_, first)) = records.first() else { return Ok(()) };
        let nowhere = first.absent.iter().filter(|name| records.iter().all(|(_, record)| record.absent.contains(name)));
        let known: Vec<String> = first.names.iter().map(|name| format!("`{name}`")).collect();
        let problem = |absent: &Absent| {
            let operation = self.recipe.steps.get(absent.step).map_or("", |(step, _)| step.name());
            let message = format!("step `{operation}` names `{}`, which no file has at that point", absent.name);
            let help = format!("the first file holds {}", known.join(", "));
            self.at_step(absent.step, Diagnostic::error(Code::StepNameAbsent, message).help(help))
        };
        let problems: Vec<Diagnostic> = nowhere.map(problem).collect();
        if problems.is_empty() { Ok(()) } else { Err(RunError::Recipe(problems)) }
    }

    fn key(&self, input: &Input, identity: &Identity) -> String {
        let described =
            serde_json::to_vec(&(&input.url, identity, &input.values, self.recipe.steps.iter().map(|(step, _)| step).collect::<Vec<_>>()));
        crate::receipt::checksum(&described.unwrap_or_default())
    }

    /// Reads the values that the guess from the first input missed.
    fn complete(&self, records: &mut [(usize, Record)]) -> Result<(), RunError> {
        let schemas: Vec<(usize, Schema)> = records.iter().map(|(number, record)| (*number, record.schema.clone())).collect();
        let wanted = wanted(self.recipe, &schemas);
        drop(schemas);
        let lacking = |record: &Record, wanted: &Wanted| Wanted {
            values: wanted.values.iter().filter(|name| !record.values.contains_key(*name)).cloned().collect(),
            digests: wanted
                .digests
                .iter()
                .filter(|name| !record.digests.contains_key(*name) && !record.values.contains_key(*name))
                .cloned()
                .collect(),
        };
        let todo: Vec<(usize, Wanted)> = records
            .iter()
            .zip(&wanted)
            .map(|((_, record), wanted)| lacking(record, wanted))
            .enumerate()
            .filter(|(_, wanted)| *wanted != Wanted::default())
            .collect();
        let read = self.parallel(&todo, &|(position, wanted)| {
            let (number, mut record) = records[*position].clone();
            let input = &self.recipe.inputs[number];
            let (head, start) = self.sources.begin(&input.url)?;
            self.open(input, &head, start)?.read(wanted, &mut record)?;
            Ok(record)
        })?;
        for ((position, _), record) in todo.into_iter().zip(read) {
            records[position].1 = record;
        }
        Ok(())
    }
}

/// An input while it is described.
struct Opened<'a> {
    sources: Begun<'a>,
    input: &'a Input,
    source: Box<dyn Source>,
    transformed: Transformed,
}

impl Opened<'_> {
    fn record(&self, key: String, identity: Identity) -> Record {
        let schema = self.transformed.schema.clone();
        let absent = self.transformed.absent.clone();
        let variables = self.source.schema().variables.iter().map(|variable| variable.name.clone());
        let names = if absent.is_empty() { Vec::new() } else { variables.collect() };
        Record { key, identity, schema, values: BTreeMap::new(), digests: BTreeMap::new(), absent, names }
    }

    fn read(&self, wanted: &Wanted, record: &mut Record) -> Result<(), RunError> {
        for name in &wanted.values {
            if let Some(array) = self.variable(name)? {
                record.values.insert(name.clone(), array);
            }
        }
        for name in &wanted.digests {
            if let Some(array) = self.variable(name)? {
                record.digests.insert(name.clone(), digest(&array));
            }
        }
        Ok(())
    }

    /// All raw values of a variable after the steps.
    fn variable(&self, name: &str) -> Result<Option<Array>, RunError> {
        if let Some(array) = self.transformed.made.get(name) {
            return Ok(Some(array.clone()));
        }
        let Some((source_name, view)) = self.transformed.views.get(name) else { return Ok(None) };
        let stored = self.source.stored(source_name)?;
        let array = match self.transformed.texts.get(name) {
            Some(rule) => {
                let chars = whole_variable(&*self.source, source_name)?;
                rule.apply(&chars).unwrap_or(chars)
            }
            None if stored.dtype.is_text() || matches!(stored.layout, Layout::Free { .. }) => whole_variable(&*self.source, source_name)?,
            None => read_stored(&self.sources, &self.input.url, source_name, &stored, &Region::whole(&stored.shape))?,
        };
        Ok(view.apply(&array))
    }
}

/// All values of a file's variable through the source's own reader.
fn whole_variable(source: &dyn Source, name: &str) -> Result<Array, SourceError> {
    let shape = source.schema().variable(name).map(|variable| source.schema().shape(variable)).unwrap_or_default();
    source.read(name, &Region::whole(&shape))
}
