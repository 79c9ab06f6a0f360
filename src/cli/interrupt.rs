//! Ctrl-C and SIGTERM: the first asks the run to stop in order, the second, or [`PATIENCE`], stops it at once.
//!
//! Either way the next run goes on from the receipts. Invariant: a signal never leaves a half object under its key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::run::INTERRUPTED;

/// Longest time that a run may take to stop in order: batch systems and cloud machines kill 30 s after they asked. A server that
/// does not answer is waited for longer than that.
const PATIENCE: Duration = Duration::from_secs(25);

/// A flag that the first signal sets.
pub(super) fn stop_flag() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let listen = move || {
        // Without a runtime for signals the system's own behaviour stays: the process ends, resumable.
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            signal().await;
            flag.store(true, Ordering::Relaxed);
            tokio::select! {
                () = signal() => {}
                () = tokio::time::sleep(PATIENCE) => {}
            }
        });
        leave();
    };
    // Without a thread for it the system's own behaviour stays, as below.
    let _listening = std::thread::Builder::new().name("signals".to_owned()).spawn(listen);
    stop
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

#[cfg(not(unix))]
async fn signal() {
    drop(tokio::signal::ctrl_c().await);
}

#[expect(clippy::exit, reason = "the user asked twice; whatever still runs is done again by the next run")]
fn leave() {
    std::process::exit(i32::from(INTERRUPTED));
}
