//! Problems that a user can fix: code, place, message, help; all of them at once.
//!
//! Rendering for a terminal, as JSON or as a code host's annotation lives here too. Invariant: every code is listed in
//! [`Code`] and has a page entry in `docs/errors.md` and a snapshot test.

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

/// Every problem we know, by its stable name. `Code::exit` gives its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// A key that no recipe has.
    UnknownKey,
    /// Coordinates of two inputs differ.
    CoordinateMismatch,
    /// Units differ and are no time units that could be converted.
    UnitsMismatch,
    /// Calendars differ, or one is none of CF's.
    CalendarMismatch,
    /// Times cannot be counted together without loss.
    TimeNotJoinable,
    /// A concat coordinate does not grow (or fall) from file to file.
    NotMonotonic,
    /// A value of a concat coordinate occurs twice.
    DuplicatedCoordinate,
    /// Contract attributes differ between inputs.
    AttributeConflict,
    /// Types of a variable have no common one that holds every value.
    TypeMismatch,
    /// A dimension has different lengths, or a variable different dimensions.
    DimensionLengthMismatch,
    /// A variable is in some files only.
    VariableAbsent,
    /// A concat dimension is in no file.
    ConcatDimensionAbsent,
    /// A variable without concat dimension differs between files.
    StaticVariableDiffers,
}
