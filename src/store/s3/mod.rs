//! Objects of S3-compatible servers: sources to read, targets to write.
//!
//! Requests and signatures are `object_store`'s; retries, limits and errors are ours, so that every scheme behaves alike.
//! Invariant: `object_store` itself never repeats a request here (but the parts of a large upload), so that a lost answer
//! can be told from a lost race.

mod answer;
mod bucket;
mod conditional;
mod folders;
mod keys;
mod source;
mod target;
mod uploads;

#[cfg(feature = "icechunk")]
pub(super) use answer::kind;
pub(super) use source::S3Source;
pub(super) use target::S3Target;

use std::future::Future;

use super::StoreError;
use super::limit::Gate;
use super::retry::{Fault, Patience};

/// The library's client of an operator's bucket, and the prefix of what lies below `path` in it.
#[cfg(feature = "icechunk")]
pub(super) fn client(
    access: &super::Access,
    url: &str,
    name: &str,
    path: &str,
) -> Result<(object_store::aws::AmazonS3, String), StoreError> {
    let silence = access.idle_timeout.max(target::UPLOAD);
    Ok((bucket::open_patient(access, url, name, silence)?.store, bucket::object_path(url, path)?.to_string()))
}

/// Tries until it works or patience ends, each attempt with a pass of the gate.
async fn persist<T, A>(mut patience: Patience<'_>, gate: &std::sync::Arc<Gate>, attempt: impl Fn() -> A) -> Result<T, StoreError>
where
    A: Future<Output = Result<T, Fault>>,
{
    loop {
        let pass = gate.enter().await;
        let outcome = attempt().await;
        drop(pass);
        match outcome {
            Ok(value) => {
                gate.praise();
                return Ok(value);
            }
            Err(fault) => patience.after(fault).await?,
        }
    }
}
