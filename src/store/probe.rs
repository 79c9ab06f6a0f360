//! Whether a target store can be trusted with "create, or fail".
//!
//! Some S3-compatible servers take `If-None-Match: *`, answer 200 and overwrite all the same, so a success proves nothing;
//! asking twice does. Invariant: no object is left behind by a probe that ends.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

use super::{ErrorKind, PutMode, StoreError, TargetStore};

/// What a store does with [`PutMode::Create`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateSupport {
    /// The second of two creations of one key fails, as it must.
    Honoured,
    /// The second succeeds silently: the store must not be used for leases.
    Ignored,
    /// The store answers that it has no such thing.
    Refused,
}

/// Creates a scratch object twice and removes it. Ask it of the place beside the target, never of the target.
///
/// # Errors
/// Any [`ErrorKind`] that says nothing about creating: no access, no server, no space.
pub fn creates_exclusively(store: &dyn TargetStore) -> Result<CreateSupport, StoreError> {
    let key = format!("probe-{:016x}", RandomState::new().hash_one(std::process::id()));
    let create = |content: &'static str| store.put(&key, Bytes::from_static(content.as_bytes()), PutMode::Create);
    let outcome = match create("first") {
        Ok(()) => judge(create("second")),
        Err(error) if error.kind == ErrorKind::Other => return Ok(CreateSupport::Refused),
        Err(error) => return Err(error),
    };
    store.delete(&key)?;
    outcome
}

fn judge(second: Result<(), StoreError>) -> Result<CreateSupport, StoreError> {
    match second {
        Ok(()) => Ok(CreateSupport::Ignored),
        Err(error) if error.kind == ErrorKind::Exists => Ok(CreateSupport::Honoured),
        Err(error) if error.kind == ErrorKind::Other => Ok(CreateSupport::Refused),
        Err(error) => Err(error),
    }
}
