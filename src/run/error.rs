//! Why a run ended without a result, and the exit code that says so.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::plan::PlanFileError;
use crate::recipe::diagnostic::{Class, Code, Diagnostic, Severity, inert};
use crate::source::SourceError;
use crate::store::{ErrorKind, StoreError};
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
    /// Another run writes at the target.
    #[error("{message}")]
    Held {
        /// Which, and what to do.
        message: String,
    },
    /// The hold of the target could not be kept up; the next run goes on.
    #[error("{message}")]
    Lapsed {
        /// Why, and what to do.
        message: String,
    },
    /// The target's store cannot do what this way of writing needs.
    #[error("{message}")]
    Unable {
        /// What, why, and what to do.
        message: String,
    },
    /// Something else is at the target.
    #[error("{message}")]
    Conflict {
        /// What, and what to do.
        message: String,
    },
    /// Files that the published data were made from changed upstream.
    #[error("{message}")]
    PublishedChanged {
        /// Which, and what to do.
        message: String,
    },
    /// The recipe does not go on where the published data end.
    #[error("{message}")]
    AppendRefused {
        /// Why, and what to do.
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
    #[error("verification failed: {message}; nothing was published: build it anew with `--replace`, and report it if that fails too")]
    Verification {
        /// Where.
        message: String,
    },
    /// The command cannot do that here.
    #[error("{message}")]
    Usage {
        /// What is wrong, and what to do.
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
    /// A frozen scan has nothing to go by.
    #[error(
        "{}: `--frozen` trusts an earlier scan, and none under these steps holds all that is needed of this file; run the command once without `--frozen`",
        crate::store::shown(url)
    )]
    NotRemembered {
        /// The file.
        url: String,
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

    /// Exit code (DESIGN §8). Of several errors one that trying again does not help decides.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::Recipe(problems) => {
                let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
                errors.map(|problem| problem.code.exit()).max().unwrap_or(2)
            }
            Self::Several(errors) => {
                let lasting = errors.iter().map(Self::exit).filter(|exit| *exit != Class::Temporary.exit()).min();
                lasting.unwrap_or_else(|| Class::Temporary.exit())
            }
            Self::Interrupted | Self::Lapsed { .. } => super::INTERRUPTED,
            Self::PlanFile(_)
            | Self::Usage { .. }
            | Self::Target(TargetError::Unsupported { .. })
            | Self::Work(WorkError::Target(TargetError::Unsupported { .. })) => 2,
            error => error.code().map_or(1, Code::exit),
        }
    }

    /// True if what is published stands in the way, so that a run where nothing is published would not have met it.
    #[must_use]
    pub fn is_about_the_published(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::PublishedChanged { .. } | Self::AppendRefused { .. } | Self::Unappendable { .. })
    }

    /// What `docs/errors.md` calls it; `None` for faults of ours and for several at once.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Source(error) => Some(error.code()),
            Self::Store(error) => Some(error.code()),
            Self::Work(error) => work_code(error),
            Self::NotRemembered { .. } => Some(Code::SourceNotRemembered),
            Self::Held { .. } => Some(Code::TargetHeld),
            Self::Conflict { .. } => Some(Code::TargetForeign),
            Self::PublishedChanged { .. } => Some(Code::PublishedChanged),
            Self::AppendRefused { .. } => Some(Code::AppendRefused),
            Self::Unappendable { .. } => Some(Code::Unappendable),
            // Tasks encode; what decodes outside of them is verification.
            Self::Verification { .. } | Self::Target(TargetError::Codec { .. }) => Some(Code::VerificationFailed),
            Self::Target(error) => target_code(error),
            Self::Unable { .. } => Some(Code::TargetUnable),
            Self::Folder { path, cause } => folder_code(path, cause),
            Self::Recipe(_) | Self::Usage { .. } | Self::PlanFile(_) | Self::Several(_) | Self::Interrupted | Self::Lapsed { .. } => None,
        }
    }

    /// Every single error, with several taken apart.
    #[must_use]
    pub fn each(&self) -> Vec<&Self> {
        match self {
            Self::Several(errors) => errors.iter().flat_map(Self::each).collect(),
            error => vec![error],
        }
    }

    /// Every problem with its code and its message, causes included.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let told = |error: &Self| match error {
            Self::Recipe(problems) => problems.iter().map(Problem::of).collect(),
            error => vec![Problem { code: error.code().map(|code| code.name().to_owned()), message: with_causes(error) }],
        };
        self.each().into_iter().flat_map(told).collect()
    }
}

/// A problem as reports show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its name in `docs/errors.md`; `None` for faults of ours.
    pub code: Option<String>,
    /// What happened, where, and what to do.
    pub message: String,
}

impl Problem {
    fn of(diagnostic: &Diagnostic) -> Self {
        let help = diagnostic.help.as_ref().map_or(String::new(), |help| format!("; {help}"));
        Self { code: Some(diagnostic.code.name().to_owned()), message: format!("{}{help}", diagnostic.message) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(formatter, "error[{code}]: {}", inert(&self.message)),
            None => write!(formatter, "error: {}", inert(&self.message)),
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
    crate::store::auth::redact::scrub(&text).into_owned()
}

/// As if a store had met it.
fn folder_code(path: &Path, cause: &std::io::Error) -> Option<Code> {
    let error = StoreError::from_io(&path.to_string_lossy(), "use", cause.kind().into());
    (error.kind != ErrorKind::Other).then(|| error.code())
}

fn target_code(error: &TargetError) -> Option<Code> {
    match error {
        TargetError::Store(error) if error.kind == ErrorKind::Other => None,
        TargetError::Store(error) => Some(error.code()),
        TargetError::Missing { .. } => Some(Code::VerificationFailed),
        TargetError::Conflict { .. } => Some(Code::TargetMoved),
        TargetError::Altered { .. } => Some(Code::ObjectAltered),
        _ => None,
    }
}

fn work_code(error: &WorkError) -> Option<Code> {
    match error {
        WorkError::Source(error) => Some(error.code()),
        WorkError::Store(error) => Some(error.code()),
        WorkError::Target(error) => target_code(error),
        WorkError::Changed { .. } => Some(Code::SourceChanged),
        WorkError::Conversion { .. } => Some(Code::ConversionInexact),
        WorkError::Unrepeatable { .. } => Some(Code::TaskUnrepeatable),
        WorkError::Published { .. } => Some(Code::PublishedChanged),
        WorkError::NoThreads => Some(Code::MemoryTooSmall),
        WorkError::Internal(_) | WorkError::Panicked => None,
    }
}
