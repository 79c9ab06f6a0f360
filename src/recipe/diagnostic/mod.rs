//! Problems that a user can fix: code, place, message, help; all of them at once.
//!
//! Rendering for a terminal, as JSON or as a code host's annotation lives here too. Invariant: every code is listed in
//! [`Code`] and has a page entry in `docs/errors.md`; those that a recipe alone can cause have a snapshot test.

mod code;
mod inert;
mod render;

pub use code::{Class, Code};
pub use inert::inert;
pub use render::{render_annotation, render_json, render_terminal};

use serde::{Deserialize, Serialize};

/// A place in the recipe's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Span {
    /// Byte offset.
    pub offset: usize,
    /// Length in bytes.
    pub length: usize,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing can be done until it is fixed.
    Error,
    /// Worth knowing.
    Warning,
}

/// A problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Which problem.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// One sentence, lowercase, no full stop: what is wrong.
    pub message: String,
    /// Where in the recipe, if the recipe can be blamed, and what to say there.
    pub label: Option<(Span, String)>,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error.
    #[must_use]
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Error, message: message.into(), label: None, help: None }
    }

    /// A warning.
    #[must_use]
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Blames a place in the recipe and says something there; the text may be empty.
    #[must_use]
    pub fn at(mut self, span: Span, label: impl Into<String>) -> Self {
        self.label = Some((span, label.into()));
        self
    }

    /// What to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// True if nothing can be done until it is fixed.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl Span {
    /// Line and column, both from 1; columns count characters.
    #[must_use]
    pub fn line_and_column(self, text: &str) -> (usize, usize) {
        let before = text.get(..self.offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before.get(line_start..).unwrap_or_default().chars().count() + 1)
    }
}

/// The exit code (DESIGN section 8) for these problems: that of the first error, 0 if all are warnings.
#[must_use]
pub fn exit_of(diagnostics: &[Diagnostic]) -> u8 {
    diagnostics.iter().find(|diagnostic| diagnostic.is_error()).map_or(0, |diagnostic| diagnostic.code.exit())
}
