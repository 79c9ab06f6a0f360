//! What the library's errors mean.
//!
//! Invariant: a conflict is told as one, and an error is temporary only if the store below says so.

use std::error::Error;

use icechunk::refs::RefErrorKind;
use icechunk::repository::RepositoryErrorKind;
use icechunk::session::SessionErrorKind;

use crate::store::{ErrorKind, StoreError, library, shown};
use crate::target::TargetError;

/// An error of the library, at a repository, in the middle of doing something.
pub(super) fn told(url: &str, doing: &str, error: impl Error + Send + Sync + 'static) -> TargetError {
    match library::kind(&error) {
        Some(kind) => StoreError::new(kind, url, format!("cannot {doing}")).because(error).into(),
        None => TargetError::Metadata { key: shown(url), message: format!("cannot {doing}"), cause: Some(Box::new(error)) },
    }
}

/// True if somebody else moved, or made, a branch.
pub(super) fn is_conflict(error: &RepositoryErrorKind) -> bool {
    matches!(error, RepositoryErrorKind::Conflict { .. } | RepositoryErrorKind::Ref(RefErrorKind::Conflict { .. }))
}

/// True if there is no such branch or tag.
pub(super) fn is_absent(error: &RepositoryErrorKind) -> bool {
    matches!(error, RepositoryErrorKind::Ref(RefErrorKind::RefNotFound(_)))
}

/// True if there is no such array.
pub(super) fn is_no_node(error: &SessionErrorKind) -> bool {
    matches!(error, SessionErrorKind::NodeNotFound { .. } | SessionErrorKind::NotAnArray { .. })
}

/// An error of the target where a store's is wanted.
pub(super) fn as_store(key: &str, error: TargetError) -> StoreError {
    match error {
        TargetError::Store(error) => error,
        other => StoreError::new(ErrorKind::Other, key, "cannot be read from the repository").because(other),
    }
}
