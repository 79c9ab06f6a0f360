//! One input while it is described: opened, its steps applied, the values that are wanted read.
//!
//! Invariant: what goes into a record is raw; nothing is unpacked or masked.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::Scanning;
use super::names::misplaced;
use super::record::{Absence, Record};
use crate::array::Array;
use crate::combine::{Wanted, digest};
use crate::dataset::Identity;
use crate::grid::Region;
use crate::layout::Layout;
use crate::pattern::Input;
use crate::recipe::diagnostic::{Code, Diagnostic};
use crate::run::RunError;
use crate::source::ceiling::Ceiling;
use crate::source::fetch::read_stored_within;
use crate::source::{self, Source, SourceError};
use crate::store::{Begun, Head, shown};
use crate::transform::{self, TransformError, Transformed};
use crate::work::Described;

/// An opened input after the steps.
pub(super) struct Opened<'a> {
    sources: Begun<'a>,
    input: &'a Input,
    source: Box<dyn Source>,
    transformed: Transformed,
    ceiling: Ceiling,
}

impl<'a> Opened<'a> {
    pub(super) fn open(scanning: &'a Scanning<'_>, input: &'a Input, (head, start): (&Head, Bytes)) -> Result<Self, RunError> {
        let sources = &scanning.scanner.sources;
        let source = source::open_begun(sources, &input.url, (head, start.clone()), scanning.scanner.ceiling)?;
        let mut whole = |name: &str| whole_variable(&*source, name).ok();
        let transformed = transform::apply(&scanning.steps, source.schema(), &input.values, &mut whole)
            .map_err(|error| impossible(scanning, input, &error))?;
        if let Some((variable, wrong)) = misplaced(&transformed.schema) {
            let message = format!("its name cannot be that of a place in a store ({wrong}); rename or drop it");
            return Err(SourceError::Unsupported { url: input.url.clone(), variable, message }.into());
        }
        let (sources, ceiling) = (Begun::new(&**sources, start), scanning.scanner.ceiling);
        Ok(Self { sources, input, source, transformed, ceiling })
    }

    /// A record without values.
    pub(super) fn record(&self, scanning: &Scanning<'_>, identity: Identity) -> Record {
        let absent = self.transformed.absent.clone();
        let variables = self.source.schema().variables.iter().map(|variable| variable.name.clone());
        let names = if absent.is_empty() { Vec::new() } else { variables.collect() };
        Record {
            identity,
            schema: scanning.interner.schema(self.transformed.schema.clone()),
            values: BTreeMap::new(),
            digests: scanning.interner.digests(BTreeMap::new()),
            absence: Arc::new(Absence { absent, names, refused: self.refused(scanning) }),
        }
    }

    /// Variables that the file's reader makes no sense of, but for those that the recipe does not want anyway.
    fn refused(&self, scanning: &Scanning<'_>) -> Vec<(String, String)> {
        let unwanted = |name: &str| scanning.steps.iter().any(|step| step.takes_away(name));
        self.source.refused().iter().filter(|(name, _)| !unwanted(name)).cloned().collect()
    }

    /// Adds the values and digests that are wanted.
    pub(super) fn read(&self, scanning: &Scanning<'_>, wanted: &Wanted, record: &mut Record) -> Result<(), RunError> {
        for name in &wanted.values {
            if let Some(array) = self.variable(name)? {
                record.values.insert(scanning.interner.name(name), scanning.interner.array(array));
            }
        }
        if wanted.digests.is_empty() {
            return Ok(());
        }
        let mut digests = (*record.digests).clone();
        for name in &wanted.digests {
            if let Some(array) = self.variable(name)? {
                digests.insert(name.clone(), digest(&array));
            }
        }
        record.digests = scanning.interner.digests(digests);
        Ok(())
    }

    /// Where the values of the variables are that were not read.
    pub(super) fn described(&self, is_read: &dyn Fn(&str) -> bool) -> Result<Described, SourceError> {
        Described::of(&self.input.url, &*self.source, &self.transformed, is_read)
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
            None => {
                let whole = Region::whole(&stored.shape);
                read_stored_within(&self.sources, &self.input.url, source_name, (&stored, &whole), self.ceiling)?
            }
        };
        Ok(view.apply(&array))
    }
}

/// A step that a file cannot satisfy, with the recipe's line.
fn impossible(scanning: &Scanning<'_>, input: &Input, error: &TransformError) -> RunError {
    let message = format!("step `{}` cannot be done to `{}`: {}", error.operation, shown(&input.url), error.message);
    let problem = Diagnostic::error(Code::StepImpossible, message).help("`gristmill inspect` shows what the file holds");
    RunError::Recipe(vec![scanning.at_step(error.step, problem)])
}

/// All values of a file's variable through the source's own reader.
fn whole_variable(source: &dyn Source, name: &str) -> Result<Array, SourceError> {
    let shape = source.schema().variable(name).map(|variable| source.schema().shape(variable)).unwrap_or_default();
    source.read(name, &Region::whole(&shape))
}
