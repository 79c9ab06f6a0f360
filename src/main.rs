//! Entry point of the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    keep_one_arena();
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
