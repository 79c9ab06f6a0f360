//! Objects of S3-compatible servers, of Google's and of Azure's: sources to read, targets to write.
//!
//! Requests and signatures are `object_store`'s; retries, limits and errors are ours, so that every scheme behaves alike. What differs
//! from cloud to cloud is in `amazon`, `google` and `azure`: who asks, and where.
//! Invariant: `object_store` itself never repeats a request here (but the parts of a large upload), so that a lost answer
//! can be told from a lost race.

mod amazon;
mod answer;
mod azure;
mod bucket;
mod conditional;
mod folders;
mod google;
mod keys;
pub(super) mod settings;
mod source;
mod target;
mod uploads;

#[cfg(feature = "icechunk")]
pub(super) use answer::kind;
pub(super) use bucket::endpoint;
pub(super) use source::CloudSource;
pub(super) use target::CloudTarget;

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::signer::Signer;

use super::StoreError;
use super::limit::Gate;
use super::retry::{Fault, Patience};

/// What the library's client of every cloud can do.
pub(super) trait Service: ObjectStore + MultipartStore + PaginatedListStore + Signer {}

impl<T: ObjectStore + MultipartStore + PaginatedListStore + Signer> Service for T {}

/// The library's client of an operator's bucket, and the prefix of what lies below `path` in it.
#[cfg(feature = "icechunk")]
pub(super) fn client(
    access: &super::Access,
    url: &str,
    bucket: &super::Bucket,
    path: &str,
) -> Result<(std::sync::Arc<dyn ObjectStore>, String), StoreError> {
    let silence = access.idle_timeout.max(target::UPLOAD);
    let objects: std::sync::Arc<dyn ObjectStore> = bucket::open_patient(access, url, bucket, silence)?.store;
    Ok((objects, bucket::object_path(url, path)?.to_string()))
}

/// Tries until it works or patience ends, each attempt with a pass of the gate.
async fn persist<T>(patience: Patience<'_>, gate: &Arc<Gate>, attempt: impl AsyncFn() -> Result<T, Fault>) -> Result<T, StoreError> {
    let passing = async || {
        let _pass = gate.enter().await;
        attempt().await
    };
    patience.persist(passing).await
}
