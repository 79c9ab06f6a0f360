//! Why a run ended without a result, and the exit code that says so.

use std::path::PathBuf;

use crate::plan::PlanFileError;
use crate::recipe::diagnostic::{Diagnostic, Severity};
use crate::source::SourceError;
use crate::store::StoreError;
use crate::target::TargetError;
use crate::work::WorkError;

/// Why a run ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Problems in the recipe, or between its inputs.
    #[error("{} problem(s) in the recipe or its inputs", .0.len())]
    Recipe(Vec<Diagnostic>),
    /// A source could not be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The target could not be written or read.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A task failed.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// A step does not apply to a file.
    #[error("{url}: {message}")]
    Step {
        /// The file.
        url: String,
        /// What is wrong.
        message: String,
    },
    /// Something else is, or writes, at the target.
    #[error("{message}")]
    Conflict {
        /// What, and what to do.
        message: String,
    },
    /// New files cannot join what is published.
    #[error("{target} cannot be continued: {what}; the published encoding is fixed: make the new files agree, or `--replace` the store")]
    Unappendable {
        /// The target.
        target: String,
        /// What differs.
        what: String,
    },
    /// The result differs from its sources.
    #[error("verification failed: {message}; nothing was published")]
    Verification {
        /// Where.
        message: String,
    },
    /// The saved plan cannot be used.
    #[error(transparent)]
    PlanFile(#[from] PlanFileError),
    /// The state folder cannot be used.
    #[error("{}: cannot be used for the state of the run", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Several at once.
    #[error("{} errors", .0.len())]
    Several(Vec<RunError>),
    /// Stopped from outside; the next run goes on.
    #[error("interrupted; run the same command again to go on")]
    Interrupted,
}

impl RunError {
    /// One error as itself, several together.
    #[must_use]
    pub fn several(mut errors: Vec<Self>) -> Self {
        if errors.len() == 1 { errors.swap_remove(0) } else { Self::Several(errors) }
    }

    /// Exit code (DESIGN §8).
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::Recipe(problems) => problems.iter().filter(|problem| problem.severity == Severity::Error).map(|problem| problem.code.exit()).max().unwrap_or(2),
            Self::Source(error) => source_exit(error),
            Self::Store(error) => error.exit(),
            Self::Target(error) => target_exit(error),
            Self::Work(error) => work_exit(error),
            Self::Step { .. } | Self::PlanFile(_) => 2,
            Self::Conflict { .. } => 6,
            Self::Unappendable { .. } => 4,
            Self::Verification { .. } => 7,
            Self::Folder { .. } => 1,
            Self::Several(errors) => errors.first().map_or(1, Self::exit),
            Self::Interrupted => super::INTERRUPTED,
        }
    }

    /// Every message, causes included, one per problem.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        match self {
            Self::Recipe(problems) => problems.iter().map(|problem| problem.message.clone()).collect(),
            Self::Several(errors) => errors.iter().flat_map(Self::messages).collect(),
            error => vec![with_causes(error)],
        }
    }
}

/// An error and everything that caused it, in one line.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

fn source_exit(error: &SourceError) -> u8 {
    match error {
        SourceError::Store(error) => error.exit(),
        _ => 3,
    }
}

fn target_exit(error: &TargetError) -> u8 {
    match error {
        TargetError::Store(error) if error.kind == crate::store::ErrorKind::Other => 1,
        TargetError::Store(error) => error.exit(),
        TargetError::Unsupported { .. } => 2,
        TargetError::Missing { .. } => 7,
        _ => 1,
    }
}

fn work_exit(error: &WorkError) -> u8 {
    match error {
        WorkError::Source(error) => source_exit(error),
        WorkError::Store(error) => error.exit(),
        WorkError::Target(error) => target_exit(error),
        WorkError::Changed { .. } | WorkError::Conversion { .. } => 4,
        WorkError::Internal(_) => 1,
    }
}
