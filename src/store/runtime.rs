//! One private tokio runtime behind synchronous calls.
//!
//! Not for computing: its few threads only move bytes. Invariant: whoever waits here is an ordinary thread, never one of the
//! runtime's own.

use std::future::Future;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

use super::{ErrorKind, StoreError};

/// Threads that serve sockets and TLS for the whole process.
const THREADS: usize = 2;

static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();

/// Runs a future to its end on the calling thread; its sockets are served by the runtime.
pub(super) fn wait<T>(future: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match RUNTIME.get_or_init(start) {
        Ok(runtime) => runtime.block_on(super::watch::in_time(future)),
        Err(message) => Err(StoreError::new(ErrorKind::Other, "network", format!("cannot start network threads: {message}"))),
    }
}

/// As [`wait`], for callers with errors of their own; a failure to start the runtime is the store's.
pub(crate) fn wait_on<T, E: From<StoreError>>(future: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    match RUNTIME.get_or_init(start) {
        Ok(runtime) => runtime.block_on(future),
        Err(message) => Err(StoreError::new(ErrorKind::Other, "network", format!("cannot start network threads: {message}")).into()),
    }
}

fn start() -> Result<Runtime, String> {
    install_cryptography();
    Builder::new_multi_thread().worker_threads(THREADS).thread_name("network").enable_all().build().map_err(|error| error.to_string())
}

/// Makes *ring* the process's TLS provider. Another one installed before by an embedding program serves as well.
pub(crate) fn install_cryptography() {
    static ONCE: OnceLock<bool> = OnceLock::new();
    ONCE.get_or_init(|| rustls::crypto::ring::default_provider().install_default().is_ok());
}
