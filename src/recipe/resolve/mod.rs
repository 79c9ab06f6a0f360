//! The document into the [`Recipe`] that the rest of the tool sees: defaults, names, dates, units.
//!
//! One file per section. Every problem is collected; nothing stops at the first. No I/O and no clock. Invariant: a `Recipe`
//! comes out only if no error was found, here or before.

mod about;
mod catalogues;
mod codecs;
mod combine;
mod credential;
mod expect;
mod find;
mod inputs;
mod output;
mod steps;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use jiff::civil::Date;

use super::diagnostic::{Code, Diagnostic, Span};
use super::document::Document;
use super::tree::Place;
use super::{CombineRules, LateFile, MissingFile, Recipe, RecipeText, Used};

/// What was read, and where problems go.
pub(super) struct Resolver<'t> {
    pub(super) text: &'t RecipeText,
    pub(super) root: Place<'t>,
    /// Folder that relative paths start from.
    pub(super) base: &'t Path,
    /// The day that ends count from which move.
    pub(super) today: Option<Date>,
    /// Top-level keys that already have a problem: what follows from several of their values is not judged.
    pub(super) broken: BTreeSet<String>,
    pub(super) problems: Vec<Diagnostic>,
    /// Policies that have mattered already.
    pub(super) used: Vec<Used>,
}

impl Resolver<'_> {
    fn error(&mut self, code: Code, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.labelled(code, span, message, "", help);
    }

    fn labelled(&mut self, code: Code, span: Span, message: impl Into<String>, label: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Diagnostic::error(code, message).at(span, label).help(help));
    }

    fn warn(&mut self, code: Code, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Diagnostic::warning(code, message).at(span, "").help(help));
    }

    fn has_errors(&self) -> bool {
        self.problems.iter().any(Diagnostic::is_error)
    }

    /// Everything, section by section; `None` if any error was found.
    pub(super) fn recipe(&mut self, document: Document) -> Option<Recipe> {
        self.schema(document.schema);
        let (id, about) = self.about(&document);
        let combine = document.combine.unwrap_or_default();
        let inputs = document.inputs.unwrap_or_default();
        let (missing, changed) = self.input_options(&inputs);
        let auth = self.credential(&inputs);
        let (expansion, find) = self.inputs(&inputs, &combine);
        let late = self.late(&inputs, &combine);
        let concat = self.concat_places(&combine);
        let rules = CombineRules { concat, ..self.combine_rules(&combine) };
        let steps = self.steps(document.steps.unwrap_or_default());
        let output = self.output(&document.output.unwrap_or_default());
        let expect = self.expectations(document.expect.unwrap_or_default());
        let expansion = expansion.filter(|_| !self.has_errors())?;
        let (axes, inputs) = (expansion.axes, expansion.inputs);
        let used = std::mem::take(&mut self.used);
        // What may still come is never filled.
        let moving = !used.is_empty() && late == LateFile::AsMissing && missing != MissingFile::Fail;
        let late = if moving { LateFile::Skip } else { late };
        let (text, published) = (self.text.clone(), None);
        let find = find.map(Arc::new);
        Some(Recipe {
            text,
            id,
            about,
            axes,
            inputs,
            find,
            missing,
            late,
            changed,
            auth,
            combine: rules,
            steps,
            output,
            expect,
            used,
            published,
        })
    }

    fn schema(&mut self, schema: Option<i64>) {
        if let Some(version) = schema.filter(|version| *version != 1) {
            let span = self.root.get("schema").span();
            let message = format!("`schema: {version}` is not known to this version of gristmill");
            self.error(Code::UnsupportedSchema, span, message, "write `schema: 1`, or use a newer gristmill");
        }
    }
}
