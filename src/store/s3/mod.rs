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

pub(super) use source::S3Source;
pub(super) use target::S3Target;

use std::future::Future;

use super::StoreError;
use super::limit::Gate;
use super::retry::{Fault, Patience};

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
