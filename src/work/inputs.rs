//! Inputs opened once and remembered: what each variable of the result is in each file.
//!
//! A file is described (header parsed, steps applied, chunk tables read) and closed again. Descriptions are kept while they
//! fit; an evicted one is made anew. Invariant: a description is handed out only if the file is still the one that was scanned.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::{WorkError, Workshop};
use crate::layout::{Layout, Stored};
use crate::plan::{PlannedContent, PlannedInput};
use crate::source::ceiling::Ceiling;
use crate::source::{self, Source, SourceError};
use crate::store::Head;
use crate::transform::{self, TextRule, Transformed, view::View};

/// Bytes of descriptions to remember.
const REMEMBERED: usize = 24 << 20;
/// Headers fetched at a time from far away.
const FAR_OPENERS: usize = 16;

/// What the variables of the result are in one file.
pub struct Described {
    /// Where the file is.
    pub url: String,
    variables: BTreeMap<String, DescribedVariable>,
    /// Variables of the file that were not asked for.
    left_out: Vec<String>,
}

/// One variable of the result in one file.
#[derive(Clone)]
pub struct DescribedVariable {
    /// Its name in the file.
    pub source_name: String,
    /// Where its elements are in the file's variable.
    pub view: View,
    /// Where the file's variable is.
    pub stored: Arc<Stored>,
    /// How its chars become texts.
    pub rule: Option<TextRule>,
}

/// The cache.
#[derive(Default)]
pub struct Inputs {
    kept: Mutex<Kept>,
    /// Made by the scan of this very run; whether the files are still those is not yet known.
    scanned: Mutex<HashMap<usize, Described>>,
}

#[derive(Default)]
struct Kept {
    descriptions: HashMap<usize, Arc<Described>>,
    order: VecDeque<(usize, usize)>,
    bytes: usize,
}

impl Inputs {
    /// A cache that begins with what the scan found.
    pub(super) fn knowing(scanned: Vec<(usize, Described)>) -> Self {
        Self { scanned: Mutex::new(scanned.into_iter().collect()), ..Self::default() }
    }

    /// Adds the descriptions of some inputs to those `known`, opening several far files at a time.
    pub(super) fn open_all(
        &self,
        workshop: &Workshop,
        inputs: impl Iterator<Item = usize>,
        known: &mut HashMap<usize, Arc<Described>>,
    ) -> Result<(), WorkError> {
        let missing: Vec<usize> = inputs.filter(|input| !known.contains_key(input)).collect();
        let far = missing.iter().any(|&input| !workshop.sources.is_local(&workshop.plan.inputs[input].url));
        let openers = if far { FAR_OPENERS.min(missing.len()) } else { 1 };
        let queue = Mutex::new(missing.into_iter());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let open = || -> Result<Vec<(usize, Arc<Described>)>, WorkError> {
            std::iter::from_fn(next).map(|input| Ok((input, self.get(workshop, input)?))).collect()
        };
        let died = |_| Err(WorkError::Internal("a thread that opens files died".to_owned()));
        let opened: Vec<Result<Vec<_>, WorkError>> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..openers).map(|_| scope.spawn(open)).collect();
            let own = open();
            others.into_iter().map(|opener| opener.join().unwrap_or_else(died)).chain([own]).collect()
        });
        opened.into_iter().try_for_each(|some| some.map(|some| known.extend(some)))
    }

    /// The description of an input, made now if it is not remembered.
    pub(super) fn get(&self, workshop: &Workshop, input: usize) -> Result<Arc<Described>, WorkError> {
        if let Some(described) = self.kept(input) {
            return Ok(described);
        }
        let described = match self.scanned(workshop, input)? {
            Some(described) => described,
            None => describe(workshop, input)?,
        };
        let described = Arc::new(described);
        self.keep(input, &described);
        Ok(described)
    }

    /// What the scan found, if that is all the plan needs and the file is still the same.
    fn scanned(&self, workshop: &Workshop, input: usize) -> Result<Option<Described>, WorkError> {
        let found = self.scanned.lock().unwrap_or_else(PoisonError::into_inner).remove(&input);
        let Some(described) = found.filter(|described| !described.left_out.iter().any(|name| is_read(workshop, name))) else {
            return Ok(None);
        };
        let planned = &workshop.plan.inputs[input];
        // Some servers tell less, or in other words, to a HEAD than to the GET of the scan; who opens the file asks like that again.
        let same = compare(planned, &workshop.sources.head(&planned.url)?).is_ok();
        Ok(same.then_some(described))
    }

    fn kept(&self, input: usize) -> Option<Arc<Described>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).descriptions.get(&input).cloned()
    }

    fn keep(&self, input: usize, described: &Arc<Described>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = described.memory();
        if kept.descriptions.insert(input, Arc::clone(described)).is_none() {
            kept.bytes += bytes;
            kept.order.push_back((input, bytes));
        }
        while kept.bytes > REMEMBERED && kept.order.len() > 1 {
            let Some((oldest, bytes)) = kept.order.pop_front() else { return };
            kept.descriptions.remove(&oldest);
            kept.bytes -= bytes;
        }
    }
}

impl Described {
    /// What one opened file has of its variables after the steps, but for those that are `left_out`.
    ///
    /// # Errors
    /// As [`Source::stored`].
    pub fn of(url: &str, source: &dyn Source, transformed: &Transformed, left_out: &dyn Fn(&str) -> bool) -> Result<Self, SourceError> {
        let mut described = Self { url: url.to_owned(), variables: BTreeMap::new(), left_out: Vec::new() };
        for (name, (source_name, view)) in &transformed.views {
            if left_out(name) {
                described.left_out.push(name.clone());
                continue;
            }
            let (stored, rule) = (Arc::new(source.stored(source_name)?), transformed.texts.get(name).copied());
            let variable = DescribedVariable { source_name: source_name.clone(), view: view.clone(), stored, rule };
            described.variables.insert(name.clone(), variable);
        }
        Ok(described)
    }

    /// The variable of that name in the result.
    ///
    /// # Errors
    /// [`WorkError::Changed`] if the file no longer has it.
    pub fn variable(&self, name: &str) -> Result<DescribedVariable, WorkError> {
        self.variables.get(name).cloned().ok_or_else(|| changed(&self.url, &format!("it has no variable `{name}` any more")))
    }

    /// Bytes of memory that it takes, roughly.
    #[must_use]
    pub fn memory(&self) -> usize {
        let table = |variable: &DescribedVariable| match &variable.stored.layout {
            Layout::Chunked(table) => table.entries.len() * 16,
            Layout::Inline(bytes) => bytes.len(),
            _ => 0,
        };
        self.variables.values().map(|variable| 800 + table(variable)).sum::<usize>() + 1000 + self.url.len()
    }
}

/// Opens one input of the plan as a source, after checking that it is still the file that was scanned.
pub(super) fn open(workshop: &Workshop, input: usize) -> Result<Box<dyn Source>, WorkError> {
    let planned = &workshop.plan.inputs[input];
    let (head, start) = workshop.sources.begin(&planned.url)?;
    compare(planned, &head)?;
    Ok(source::open_begun(&workshop.sources, &planned.url, (&head, start), Ceiling::of_memory(workshop.plan.memory))?)
}

/// Checks that a file is still the one that was scanned.
fn compare(planned: &PlannedInput, head: &Head) -> Result<(), WorkError> {
    if head.identity() == planned.identity { Ok(()) } else { Err(changed(&planned.url, "it changed since it was scanned")) }
}

fn changed(url: &str, what: &str) -> WorkError {
    WorkError::Changed { url: url.to_owned(), message: format!("{what}; run again to scan it anew") }
}

/// True if tasks read the variable of that name from inputs.
fn is_read(workshop: &Workshop, name: &str) -> bool {
    let mut contents = workshop.plan.schema.variables.iter().zip(&workshop.plan.contents);
    contents.any(|(variable, content)| variable.name == name && matches!(content, PlannedContent::Pieces(_)))
}

fn describe(workshop: &Workshop, input: usize) -> Result<Described, WorkError> {
    let planned = &workshop.plan.inputs[input];
    let source = open(workshop, input)?;
    let mut whole = |name: &str| {
        let shape = source.schema().variable(name).map(|variable| source.schema().shape(variable))?;
        source.read(name, &crate::grid::Region::whole(&shape)).ok()
    };
    let transformed = transform::apply(&workshop.plan.steps, source.schema(), &planned.keys, &mut whole)
        .map_err(|error| changed(&planned.url, &format!("its steps no longer apply ({error})")))?;
    Ok(Described::of(&planned.url, &*source, &transformed, &|name| !is_read(workshop, name))?)
}
