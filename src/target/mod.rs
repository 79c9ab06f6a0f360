//! Array stores that a run writes: chunks first, metadata last.
//!
//! One folder per kind. A target knows how chunks and metadata look and under which keys they go; where the bytes lie is
//! [`crate::store`], and what a run has done is told by receipts, not here. Invariant: nothing that a reader could open exists
//! before [`Target::commit`], and the bytes written follow from schema and values alone (no time, host, threads or run id).

#[cfg(feature = "icechunk")]
pub mod icechunk;
mod open;
pub mod zarr;

use std::time::{Duration, Instant};

pub use open::{Opened, existing, existing_of, keeps_history, open};

use bytes::Bytes;

use crate::dataset::{Schema, TargetState, Variable};
use crate::receipt::{ChunkRef, checksum};
use crate::store::{StoreError, TargetStore};

/// What is stored for one object (a chunk, or a shard when sharded).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChunkPayload {
    /// The object's bytes, encoded.
    Encoded(Bytes),
}

/// What a commit is, for formats that keep a history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intent {
    /// `id` of the recipe.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Identity of the plan.
    pub plan: String,
    /// True if objects that are published and not written again stay.
    pub continues: bool,
}

/// The last commit of a place that keeps a history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tip {
    /// Which one: a word of the format's own, different for any two commits.
    pub commit: String,
    /// Identity of the plan that made it; empty if we did not.
    pub plan: String,
}

/// What to do where a recipe wants Icechunk and the build has it not.
pub const WITHOUT_ICECHUNK: &str = "use a released binary, build with `--features icechunk`, or write `zarr3`";

/// Why a target cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The variable cannot be stored as asked; nothing was written for it.
    #[error("variable `{variable}`: {message}")]
    Unsupported {
        /// The variable.
        variable: String,
        /// What is not possible, and what to do.
        message: String,
        /// Why, where a library said it.
        #[source]
        cause: Option<Cause>,
    },
    /// Values could not be encoded, or stored bytes could not be decoded.
    #[error("variable `{variable}`: {message}")]
    Codec {
        /// The variable.
        variable: String,
        /// What failed.
        message: String,
        /// Why, where a library said it.
        #[source]
        cause: Option<Cause>,
    },
    /// The target's own metadata does not make sense.
    #[error("`{key}`: {message}")]
    Metadata {
        /// Key of the metadata object.
        key: String,
        /// What is wrong, and what to do.
        message: String,
        /// Why, where a library said it.
        #[source]
        cause: Option<Cause>,
    },
    /// Somebody else has published there meanwhile; nothing of ours is visible.
    #[error("{target}: {message}")]
    Conflict {
        /// The target.
        target: String,
        /// What was found, and what to do.
        message: String,
    },
    /// The store does not give back what was stored, though it said that it had stored it.
    #[error(
        "object `{key}`: {message}; the store, or something before it, loses or alters what it is given: see what `gristmill store probe` says of it, then run again"
    )]
    Altered {
        /// The object.
        key: String,
        /// What came back.
        message: String,
    },
    /// An object that must exist does not: a hole in the data.
    #[error("object `{key}` of variable `{variable}` is missing from the target; run the recipe again to write it")]
    Missing {
        /// The variable.
        variable: String,
        /// The object.
        key: String,
    },
}

/// An error of a library below.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An array store that a run writes.
pub trait Target: Send + Sync {
    /// What is there. A store with root metadata counts as [`TargetState::Ours`] with empty `id` and `plan`, committed: whose it
    /// is, is told by the state directory beside the target (DESIGN §4.5), which this room does not read.
    ///
    /// # Errors
    /// [`TargetError::Store`].
    fn state(&self) -> Result<TargetState, TargetError>;

    /// Stores the object at `index` (one number per dimension, in units of objects). Writing it again with the same payload
    /// changes nothing. The first object is read back at once, so that a store that alters bytes stops a run before hours of work.
    ///
    /// # Errors
    /// [`TargetError::Store`], [`TargetError::Altered`].
    fn write(&self, variable: &Variable, index: &[u64], payload: ChunkPayload) -> Result<ChunkRef, TargetError>;

    /// Objects that receipts tell of, written by an earlier process or another machine: a part of the next commit. Formats whose
    /// objects are found by their keys need not be told.
    fn remember(&self, chunks: &[ChunkRef]) {
        let _ = chunks;
    }

    /// Makes everything visible; the root's metadata is written last, and each document is read back. Again with the same schema:
    /// the same bytes.
    ///
    /// # Errors
    /// [`TargetError::Unsupported`] before anything is written, if the format cannot hold the schema; [`TargetError::Store`];
    /// [`TargetError::Altered`] where the store lost or altered a document: the root's is then as it was before.
    fn commit(&self, schema: &Schema) -> Result<(), TargetError>;

    /// The published schema; `None` before the first commit.
    ///
    /// # Errors
    /// [`TargetError::Store`], [`TargetError::Metadata`].
    fn schema(&self) -> Result<Option<Schema>, TargetError>;
}

/// Longest wait for an object that a store has acknowledged and does not show yet.
pub(crate) const LATE: Duration = Duration::from_secs(10);
/// Longest wait where a store shows something that it was never given: an older object, if not an altered one.
const ODD: Duration = Duration::from_secs(1);
/// Between two looks at first, and at most.
const LOOKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// Reads an object back until it is what was stored. Stores may show a new object, or a new state of one (`before` is the old), late.
///
/// # Errors
/// [`TargetError::Altered`] if it stays absent, stays as it was before, or is something else; [`TargetError::Store`].
pub(crate) fn read_back(store: &dyn TargetStore, key: &str, stored: &[u8], before: Option<&[u8]>) -> Result<(), TargetError> {
    let (begun, mut pause) = (Instant::now(), LOOKS.0);
    loop {
        let found = store.get(key)?;
        if found.as_deref() == Some(stored) {
            return Ok(());
        }
        let is_late = found.is_none() || found.as_deref() == before;
        if begun.elapsed() >= if is_late { LATE } else { ODD } {
            return Err(TargetError::Altered { key: key.to_owned(), message: difference(found.as_deref(), stored) });
        }
        std::thread::sleep(pause);
        pause = LOOKS.1.min(pause * 2);
    }
}

/// What came back instead of what was stored.
fn difference(found: Option<&[u8]>, stored: &[u8]) -> String {
    match found {
        None => format!("its {} bytes were acknowledged and are not there", stored.len()),
        Some(found) if found.len() != stored.len() => format!("{} bytes came back of {} that were stored", found.len(), stored.len()),
        Some(found) => format!("the bytes that came back have the checksum {}, those stored {}", checksum(found), checksum(stored)),
    }
}

pub(crate) fn unsupported(variable: &str, message: impl Into<String>) -> TargetError {
    TargetError::Unsupported { variable: variable.to_owned(), message: message.into(), cause: None }
}

pub(crate) fn codec_failure(variable: &str, message: &str, cause: impl Into<Cause>) -> TargetError {
    TargetError::Codec { variable: variable.to_owned(), message: message.to_owned(), cause: Some(cause.into()) }
}

pub(crate) fn bad_metadata(key: &str, message: impl Into<String>) -> TargetError {
    TargetError::Metadata { key: key.to_owned(), message: message.into(), cause: None }
}
