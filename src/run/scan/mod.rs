//! Describes every input: headers, and the few values that inputs must agree on.
//!
//! In parallel, headers only, remembered so that a killed scan goes on where it was and a second one asks each server only whether the file is
//! the same (`memory`; `record` is what is remembered). Invariant: a remembered description is used only for a file with the same URL and, unless
//! the scan is frozen, the same validators, under the same keys and steps.

mod late;
mod memory;
mod names;
mod opened;
mod record;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::RunError;
use crate::combine::{Interner, Scanned, SharedSchema, Wanted, guess, wanted};
use crate::dataset::Identity;
use crate::event::{Activity, Detail, Event, Phase, Reporter, spent};
use crate::pattern::{self, Input};
use crate::recipe::diagnostic::{Code, Diagnostic};
use crate::recipe::{LateFile, MissingFile, Recipe};
use crate::source::ceiling::Ceiling;
use crate::store::{ErrorKind, SourceStore, StoreError, shown};
use crate::transform::{Absent, Step};
use crate::work::{Described, WorkError};
use opened::Opened;
use record::{Place, Placer, Record, Segment};

pub use memory::{Memory, cache_folder, is_remembered};

/// What scanning found.
pub struct Scan {
    /// One per input that exists, in order.
    pub scanned: Vec<Scanned>,
    /// What each file was, in order.
    pub identities: Vec<Identity>,
    /// Numbers of inputs that do not exist.
    pub missing: Vec<usize>,
    /// Numbers of inputs, there or not, after the last position of the series whose files are all there: the result ends before them.
    pub late: Vec<usize>,
    /// Where the values of files opened by this scan are, as far as that was asked for; by number among those that exist.
    pub described: Vec<(usize, Described)>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// What scanning works with.
pub struct Scanner<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// Where inputs are read.
    pub sources: Arc<dyn SourceStore>,
    /// Where descriptions are remembered.
    pub memory: Memory,
    /// Who listens.
    pub reporter: &'a dyn Reporter,
    /// Set from outside to stop.
    pub stop: &'a AtomicBool,
    /// Files described at a time.
    pub width: usize,
    /// Ask no server: what is remembered holds.
    pub frozen: bool,
    /// Bytes of [`Scan::described`] to keep: what tasks would otherwise open each file again for.
    pub described_bytes: usize,
    /// What one file may claim.
    pub ceiling: Ceiling,
}

/// Files that are not there and are named; the others are counted.
const NAMED: usize = 20;

impl Scan {
    /// Which files are not there, and what becomes of their places; `None` if all are.
    #[must_use]
    pub fn absences(&self, recipe: &Recipe) -> Option<String> {
        let then = if recipe.missing == MissingFile::Fill { "filled" } else { "skipped" };
        let named = self.missing.iter().take(NAMED).filter_map(|&number| recipe.inputs.get(number));
        let named: Vec<String> = named.map(|input| shown(&input.url)).collect();
        let more = self.missing.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!named.is_empty()).then(|| format!("not there, and {then}: {}{more}", named.join(", ")))
    }

    /// The recipe with the files that exist first; those that do not are left out, or follow where their places are to be filled.
    #[must_use]
    pub fn present<'a>(&self, recipe: &'a Recipe) -> std::borrow::Cow<'a, Recipe> {
        if self.missing.is_empty() && self.late.is_empty() {
            return std::borrow::Cow::Borrowed(recipe);
        }
        let mut used = recipe.used.clone();
        used.extend(late::used(recipe, &self.late));
        used.extend(late::used_missing(recipe, &self.missing));
        let (axes, inputs) = pattern::without(&recipe.axes, &recipe.inputs, &self.late, true);
        let renumbered = |number: &usize| number - self.late.partition_point(|late| late < number);
        let missing: Vec<usize> = self.missing.iter().map(renumbered).collect();
        let skip = recipe.missing == MissingFile::Skip;
        let (shrunk, mut present) = pattern::without(&axes, &inputs, &missing, skip);
        if !skip {
            // Listed after those that exist: their cells are holes to fill, not cells that the recipe excepts.
            let missing = missing.iter().filter_map(|&number| inputs.get(number));
            let first = present.len();
            present.extend(missing.enumerate().map(|(place, input)| Input { number: first + place, ..input.clone() }));
        }
        std::borrow::Cow::Owned(Recipe { axes: shrunk, inputs: present, used, ..recipe.clone() })
    }
}

impl Scanner<'_> {
    /// Describes every input.
    ///
    /// # Errors
    /// Every file that cannot be read, at once.
    pub fn scan(&self) -> Result<Scan, RunError> {
        let steps: Vec<Step> = self.recipe.steps.iter().map(|(step, _)| step.clone()).collect();
        let remembering = Placer::new(&steps);
        let places: Vec<Place> = self.recipe.inputs.iter().map(|input| remembering.place(input)).collect();
        let segments = memory::segments(&places);
        let (interner, guess, described, absent) = (Interner::default(), OnceLock::new(), Mutex::default(), Mutex::default());
        let scanning = Scanning { scanner: self, steps, places, segments, interner, guess, described, absent };
        self.reporter.report(Event::PhaseStarted { phase: Phase::Scan, steps: self.recipe.inputs.len() as u64, done: 0, bytes: 0 });
        let found = scanning.describe_all()?;
        let scan = scanning.settle(found)?;
        self.reporter.report(Event::PhaseFinished { phase: Phase::Scan });
        Ok(scan)
    }
}

/// What is found of each input; `None`: no such file.
type Found = Vec<Option<Record>>;

/// A scan under way.
struct Scanning<'a> {
    scanner: &'a Scanner<'a>,
    steps: Vec<Step>,
    /// One per input.
    places: Vec<Place>,
    /// Inputs that are remembered together.
    segments: Vec<Range<usize>>,
    interner: Interner,
    /// What is read of each file at once, told from the first that is opened.
    guess: OnceLock<Wanted>,
    described: Mutex<Handed>,
    /// What servers said of files that are not there.
    absent: Mutex<BTreeMap<usize, StoreError>>,
}

/// Descriptions for the tasks, with the bytes they take.
#[derive(Default)]
struct Handed {
    inputs: Vec<(usize, Described)>,
    bytes: usize,
}

impl Scanning<'_> {
    /// Describes segment after segment, remembering each.
    fn describe_all(&self) -> Result<Found, RunError> {
        let mut all = Vec::with_capacity(self.places.len());
        for segment in &self.segments {
            let Some(&first) = self.places.get(segment.start) else { continue };
            let known = self.scanner.memory.load(first, &self.interner)?;
            let fresh = AtomicBool::new(false);
            let numbers: Vec<usize> = segment.clone().collect();
            let describe = |&number: &usize| {
                let known = self.places.get(number).and_then(|place| known.get(place));
                let about = || self.scanner.recipe.inputs.get(number).map(|input| shown(&input.url)).unwrap_or_default();
                let detail = |_: &Result<Option<Record>, RunError>| Detail { about: about(), ..Detail::default() };
                let record = spent(self.scanner.reporter, Activity::Describe, detail, || self.describe(number, known, &fresh));
                self.scanner.reporter.report(Event::StepFinished { phase: Phase::Scan, bytes: 0 });
                record
            };
            // The first file alone: what is wrong with the recipe is then told once, and what to read of the others is known.
            let (first_alone, others) = numbers.split_at(usize::from(segment.start == 0));
            let mut found = self.parallel(first_alone, &describe)?;
            found.extend(self.parallel(others, &describe)?);
            all.extend(found);
            if fresh.into_inner() {
                self.remember(segment, &all)?;
            }
        }
        Ok(all)
    }

    fn remember(&self, segment: &Range<usize>, all: &[Option<Record>]) -> Result<(), RunError> {
        let (Some(places), Some(found)) = (self.places.get(segment.clone()), all.get(segment.clone())) else { return Ok(()) };
        let Some(&first) = places.first() else { return Ok(()) };
        self.scanner.memory.save(first, &Segment::pack(places.iter().copied().zip(found.iter().map(Option::as_ref))))
    }

    /// Runs `each` on every item, several at a time, and gives the results in order, or every error.
    fn parallel<I: Sync, T: Send>(&self, items: &[I], each: &(dyn Fn(&I) -> Result<T, RunError> + Sync)) -> Result<Vec<T>, RunError> {
        let Scanner { stop, width, .. } = *self.scanner;
        let next = AtomicUsize::new(0);
        let results: Mutex<Vec<(usize, Result<T, RunError>)>> = Mutex::new(Vec::with_capacity(items.len()));
        let work = || loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { return };
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let result = each(item);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
        };
        std::thread::scope(|scope| {
            for number in 1..=width.min(items.len()) {
                // Where no more threads are to be had, the others do the work.
                let _started = std::thread::Builder::new().name(format!("scan {number}")).spawn_scoped(scope, work);
            }
        });
        // What is left if not even one could be started; nothing else.
        work();
        if stop.load(Ordering::Relaxed) {
            return Err(RunError::Interrupted);
        }
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_by_key(|(number, _)| *number);
        let (good, bad): (Vec<_>, Vec<_>) = results.into_iter().map(|(_, result)| result).partition(Result::is_ok);
        let errors: Vec<RunError> = bad.into_iter().filter_map(Result::err).collect();
        if errors.is_empty() { Ok(good.into_iter().filter_map(Result::ok).collect()) } else { Err(RunError::several(errors)) }
    }

    /// Describes one input; `None` if there is no such file and the recipe allows that. Sets `fresh` if that is not what is known.
    fn describe(&self, number: usize, known: Option<&Option<Record>>, fresh: &AtomicBool) -> Result<Option<Record>, RunError> {
        let Some(input) = self.scanner.recipe.inputs.get(number) else { return Ok(None) };
        let may_miss = self.scanner.recipe.missing != MissingFile::Fail || self.scanner.recipe.late == LateFile::Skip;
        if self.scanner.frozen {
            let known = known.filter(|known| known.is_some() || may_miss);
            return known.cloned().ok_or_else(|| RunError::NotRemembered { url: input.url.clone() });
        }
        let sources = &self.scanner.sources;
        // Where nothing is remembered the file will be read: its first bytes tell what a HEAD would.
        let asked = match known {
            None | Some(None) => sources.begin(&input.url).map(|(head, start)| (head, Some(start))),
            Some(Some(_)) => sources.head(&input.url).map(|head| (head, None)),
        };
        let (head, start) = match asked {
            Ok(told) => told,
            Err(error) if error.kind == ErrorKind::NotFound && may_miss => {
                fresh.fetch_or(!matches!(known, Some(None)), Ordering::Relaxed);
                self.absent.lock().unwrap_or_else(PoisonError::into_inner).insert(number, error);
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(record) =
            known.and_then(Option::as_ref).filter(|record| record.identity.tells_versions_apart() && record.identity == head.identity())
        {
            return Ok(Some(record.clone()));
        }
        fresh.store(true, Ordering::Relaxed);
        let (head, start) = match start {
            Some(start) => (head, start),
            None => sources.begin(&input.url)?,
        };
        let identity = head.identity();
        let opened = Opened::open(self, input, (&head, start))?;
        let mut record = opened.record(self, identity);
        opened.read(self, self.guess.get_or_init(|| guess(self.scanner.recipe, &record.schema)), &mut record)?;
        self.hand_over(number, &opened, &record);
        Ok(Some(record))
    }

    /// Keeps where the values are, for the tasks of this run, as long as there is room.
    fn hand_over(&self, number: usize, opened: &Opened<'_>, record: &Record) {
        let lock = || self.described.lock().unwrap_or_else(PoisonError::into_inner);
        if lock().bytes >= self.scanner.described_bytes {
            return;
        }
        let is_read = |name: &str| record.values.contains_key(name) || record.digests.contains_key(name);
        // What is wrong with a variable that is dropped later is nobody's business; else a task says it.
        let Ok(described) = opened.described(&is_read) else { return };
        let mut handed = lock();
        handed.bytes += described.memory();
        handed.inputs.push((number, described));
    }

    /// Reads what is still lacking, and puts the scan together.
    fn settle(self, mut found: Found) -> Result<Scan, RunError> {
        let late = self.late(&mut found)?;
        self.check_names(&found)?;
        let wanted = self.complete(&mut found)?;
        let warnings = self.refused(&found);
        let gone: Vec<usize> = found.iter().enumerate().filter(|(_, record)| record.is_none()).map(|(number, _)| number).collect();
        let position = |number: usize| number - gone.partition_point(|&gone| gone < number);
        let handed = self.described.into_inner().unwrap_or_else(PoisonError::into_inner).inputs;
        let handed = handed.into_iter().filter(|(number, _)| gone.binary_search(number).is_err());
        let described = handed.map(|(number, described)| (position(number), described)).collect();
        let missing = gone.iter().copied().filter(|number| late.binary_search(number).is_err()).collect();
        let (mut scanned, mut identities) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
        for ((input, mut record), wanted) in found.into_iter().flatten().enumerate().zip(wanted) {
            // What an earlier scan read for other reasons shall not decide anything.
            record.values.retain(|name, _| wanted.values.contains(&**name) || wanted.digests.contains(&**name));
            scanned.push(Scanned { input, schema: record.schema, values: record.values, digests: record.digests });
            identities.push(record.identity);
        }
        Ok(Scan { scanned, identities, missing, late, described, warnings })
    }

    /// Says once of each variable that cannot be read that it is left out, and of how many files.
    fn refused(&self, found: &[Option<Record>]) -> Vec<String> {
        let mut left_out: BTreeMap<&str, (&str, &str, usize)> = BTreeMap::new();
        for (record, input) in found.iter().zip(&self.scanner.recipe.inputs) {
            for (name, reason) in record.iter().flat_map(|record| &record.absence.refused) {
                left_out.entry(name).or_insert((reason, &input.url, 0)).2 += 1;
            }
        }
        let told = |(name, (reason, url, count)): (&str, (&str, &str, usize))| {
            let others = if count > 1 { format!(" and {} other files", count - 1) } else { String::new() };
            format!(
                "variable `{name}` of `{}`{others} cannot be read and is left out: {reason}; `- drop: [{name}]` says that it is not wanted",
                shown(url)
            )
        };
        left_out.into_iter().map(told).collect()
    }

    /// Ends the series where the recipe wants that, and tells of every other file that must not be missing.
    fn late(&self, found: &mut Found) -> Result<Vec<usize>, RunError> {
        let recipe = self.scanner.recipe;
        let late = late::late(recipe, &|number| found.get(number).is_some_and(Option::is_some));
        let is_late = |number: &usize| late.binary_search(number).is_ok();
        let absent = std::mem::take(&mut *self.absent.lock().unwrap_or_else(PoisonError::into_inner));
        let refused = |number: &usize| match (recipe.missing, recipe.late) {
            (MissingFile::Fail, LateFile::Skip) => !is_late(number),
            (_, LateFile::Fail) => is_late(number),
            _ => false,
        };
        let refused: Vec<usize> =
            (0..found.len()).filter(|number| found.get(*number).is_some_and(Option::is_none)).filter(refused).collect();
        let errors: Vec<RunError> =
            absent.into_iter().filter(|(number, _)| refused.contains(number)).map(|(_, error)| error.into()).collect();
        let frozen = || {
            refused.iter().filter_map(|&number| recipe.inputs.get(number)).map(|input| RunError::NotRemembered { url: input.url.clone() })
        };
        match (errors.is_empty(), refused.is_empty()) {
            (false, _) => return Err(RunError::several(errors)),
            (true, false) => return Err(RunError::several(frozen().collect())),
            (true, true) => {}
        }
        if recipe.late != LateFile::Skip {
            return Ok(Vec::new());
        }
        for &number in &late {
            if let Some(record) = found.get_mut(number) {
                *record = None;
            }
        }
        Ok(late)
    }

    /// Reads the values that the guess from the first input missed; gives what was wanted of each file that exists.
    fn complete(&self, found: &mut Found) -> Result<Vec<Arc<Wanted>>, RunError> {
        let present = || found.iter().enumerate().filter_map(|(number, record)| Some((number, record.as_ref()?)));
        let schemas: Vec<(usize, SharedSchema)> = present().map(|(number, record)| (number, record.schema.clone())).collect();
        let wanted = wanted(self.scanner.recipe, &schemas);
        drop(schemas);
        let lacks = present().zip(&wanted).map(|((number, record), wanted)| (number, record.lacking(wanted)));
        let todo: Vec<(usize, Wanted)> = lacks.filter(|(_, lacking)| *lacking != Wanted::default()).collect();
        let read = self.parallel(&todo, &|(number, lacking)| self.reread(*number, lacking, found))?;
        for ((number, _), record) in todo.iter().zip(read) {
            if let Some(slot) = found.get_mut(*number) {
                *slot = Some(record);
            }
        }
        let changed = |segment: &&Range<usize>| {
            let after = todo.partition_point(|(number, _)| *number < segment.start);
            todo.get(after).is_some_and(|(number, _)| segment.contains(number))
        };
        self.segments.iter().filter(changed).try_for_each(|segment| self.remember(segment, found))?;
        Ok(wanted)
    }

    /// A record with what it lacked.
    fn reread(&self, number: usize, lacking: &Wanted, found: &[Option<Record>]) -> Result<Record, RunError> {
        let missing =
            || RunError::NotRemembered { url: self.scanner.recipe.inputs.get(number).map(|input| input.url.clone()).unwrap_or_default() };
        let input = self.scanner.recipe.inputs.get(number).filter(|_| !self.scanner.frozen).ok_or_else(missing)?;
        let mut record = found.get(number).cloned().flatten().ok_or_else(missing)?;
        let (head, start) = self.scanner.sources.begin(&input.url)?;
        if record.identity != head.identity() {
            return Err(
                WorkError::Changed { url: input.url.clone(), message: "it changed while it was scanned; run again".to_owned() }.into()
            );
        }
        Opened::open(self, input, (&head, start))?.read(self, lacking, &mut record)?;
        Ok(record)
    }

    /// Names in steps that no file has: slips of the pen, where a name that some files have is none.
    fn check_names(&self, found: &[Option<Record>]) -> Result<(), RunError> {
        let Some(first) = found.iter().flatten().next() else { return Ok(()) };
        let lacks = |record: &Record, name: &Absent| Arc::ptr_eq(&record.absence, &first.absence) || record.absence.absent.contains(name);
        let nowhere = first.absence.absent.iter().filter(|name| found.iter().flatten().all(|record| lacks(record, name)));
        let known: Vec<String> = first.absence.names.iter().map(|name| format!("`{name}`")).collect();
        let problem = |absent: &Absent| {
            let operation = self.scanner.recipe.steps.get(absent.step).map_or("", |(step, _)| step.name());
            let message = format!("step `{operation}` names `{}`, which no file has at that point", absent.name);
            let help = format!("the first file holds {}", known.join(", "));
            self.at_step(absent.step, Diagnostic::error(Code::StepNameAbsent, message).help(help))
        };
        let problems: Vec<Diagnostic> = nowhere.map(problem).collect();
        if problems.is_empty() { Ok(()) } else { Err(RunError::Recipe(problems)) }
    }

    fn at_step(&self, step: usize, problem: Diagnostic) -> Diagnostic {
        match self.scanner.recipe.steps.get(step) {
            Some((_, span)) => problem.at(*span, ""),
            None => problem,
        }
    }
}
