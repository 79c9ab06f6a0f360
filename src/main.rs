//! Entry point of the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    keep_one_arena();
    #[cfg(unix)]
    refusal::explain();
    ExitCode::from(gristmill::cli::run(std::env::args_os()))
}

/// Lets all threads allocate from one place. With an arena per thread, what one has freed is not found by the others: the same
/// run then took from 437 to 731 MB, instead of 421 to 426 (`docs/design/005-two-stage-rechunk.md`).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "there is no safe way to tell malloc")]
fn keep_one_arena() {
    // SAFETY: mallopt(3) sets a parameter of malloc; no other thread runs yet that could be inside malloc.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Only glibc has arenas.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep_one_arena() {}

/// What happens when the system refuses memory (`ulimit -v`, no overcommit): Rust prints how much was asked for and aborts, which a
/// caller would take for a crash. It is exit 8, and the next run goes on from the receipts.
#[cfg(unix)]
mod refusal {
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Set by any panic: an abort is then a panic within a panic, a fault of ours.
    static PANICKED: AtomicBool = AtomicBool::new(false);

    const SAID: &[u8] = b"error[memory-too-small]: the system gave no more memory; allow the process more, or give it a smaller `--memory`; what is done is kept\n";

    /// Turns the signal of an abort into an exit code.
    #[expect(unsafe_code, reason = "signal handlers are C functions")]
    pub(super) fn explain() {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICKED.store(true, Ordering::Relaxed);
            usual(panic);
        }));
        let handler: extern "C" fn(libc::c_int) = aborted;
        // SAFETY: signal(2) replaces the action of one signal before any other thread runs; the handler lives as long as the
        // program and has the type that the system calls it with.
        unsafe { libc::signal(libc::SIGABRT, handler as *const () as libc::sighandler_t) };
    }

    #[expect(unsafe_code, reason = "nothing else may be called from a signal handler")]
    extern "C" fn aborted(_: libc::c_int) {
        let panicked = PANICKED.load(Ordering::Relaxed);
        // SAFETY: write(2) and _exit(2) are async-signal-safe (signal-safety(7)); the buffer is a constant of that length.
        unsafe {
            if !panicked {
                libc::write(libc::STDERR_FILENO, SAID.as_ptr().cast(), SAID.len());
            }
            libc::_exit(if panicked { 1 } else { 8 });
        }
    }
}
