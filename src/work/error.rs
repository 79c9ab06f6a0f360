//! Why a task could not be done, and whether that is the task's own trouble.
//!
//! Exit codes are `run`'s. Invariant: what is no fault of ours names a file, a variable or an object.

use crate::source::SourceError;
use crate::store::{ErrorKind, StoreError, shown};
use crate::target::TargetError;

/// Why a task could not be done.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// A source could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Bytes could not be fetched.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object could not be encoded or stored.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A file is not what it was when it was scanned, or not what the plan says.
    #[error("{}: {message}", shown(url))]
    Changed {
        /// The file.
        url: String,
        /// What differs, and what to do.
        message: String,
    },
    /// A file's values cannot become the result's without loss.
    #[error("{}: variable `{variable}`: {message}", shown(url))]
    Conversion {
        /// The file.
        url: String,
        /// The variable.
        variable: String,
        /// What is wrong.
        message: String,
    },
    /// A task that had been done before gave other bytes this time.
    #[error(
        "task {task} of stage {stage} gave different bytes when it was done again: object `{key}` is not what its receipt says; nothing was published: build the store anew with `--replace`, and report this if it happens again"
    )]
    Unrepeatable {
        /// Its stage.
        stage: u32,
        /// Its number.
        task: u64,
        /// An object that differs.
        key: String,
    },
    /// A chunk that is written again would change what is published.
    #[error("variable `{variable}`: {message}")]
    Published {
        /// The variable.
        variable: String,
        /// What would change, and what to do.
        message: String,
    },
    /// A defect of ours.
    #[error("internal: {0}; please report this")]
    Internal(String),
    /// Memory or processes are short.
    #[error("the system starts no more threads; allow the process more memory and processes, or give fewer `--threads`")]
    NoThreads,
    /// A defect of ours that ended in a panic, whose message is on stderr.
    #[error("internal: a task ended in a panic, whose message stands above; please report this")]
    Panicked,
}

impl WorkError {
    /// What a panic says: a library's that could not start a thread is no defect.
    #[must_use]
    pub fn of_panic(payload: &(dyn std::any::Any + Send)) -> Self {
        let said = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
        let threads = said.is_some_and(|said| said.contains("ThreadPoolBuildError") || said.contains("failed to spawn thread"));
        if threads { Self::NoThreads } else { Self::Panicked }
    }

    /// True if another task may well succeed: the trouble is in a file, and will be there the next time too.
    #[must_use]
    pub fn is_of_its_task(&self) -> bool {
        match self {
            Self::Source(SourceError::Store(error)) | Self::Store(error) => {
                matches!(error.kind, ErrorKind::NotFound | ErrorKind::Forbidden | ErrorKind::Integrity | ErrorKind::Other)
            }
            Self::Source(_) | Self::Changed { .. } | Self::Conversion { .. } | Self::Panicked => true,
            _ => false,
        }
    }
}
