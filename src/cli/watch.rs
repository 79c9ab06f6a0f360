//! The last word on memory: a process that grows far beyond what it was allowed ends itself, and says what it was reading.
//!
//! Nothing of ours should come to this: plans count their bytes, and claims of foreign headers are checked before memory is taken
//! for them. Libraries that parse foreign bytes may miss one. Invariant: whoever is ended so loses no more than a kill would cost
//! them, and the next run goes on from the receipts.

use std::io::Write as _;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::exit;
use crate::size::ByteSize;

/// How often the process is looked at. A page is touched at some GB a second, so that little grows unseen.
const LOOK: Duration = Duration::from_millis(20);
/// What the process may hold beyond its allowance, besides a quarter of it, before it is ended.
const LEEWAY: u64 = 128 << 20;

/// Watches until it is dropped.
pub(super) struct Watch {
    _until: Option<Sender<()>>,
}

/// Watches this process, which may take so many bytes in all. Does nothing where the system does not tell what a process holds.
pub(super) fn memory(allowed: u64) -> Watch {
    let most = allowed.saturating_add(allowed / 4).saturating_add(LEEWAY);
    let (until, ended) = channel();
    let look = move || {
        while matches!(ended.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout)) {
            match crate::run::resident_bytes() {
                Some(held) if held > most => end(held, allowed),
                Some(_) => {}
                None => return,
            }
        }
    };
    // Where no more threads are to be had, the run says so itself.
    let started = std::thread::Builder::new().name("watch".to_owned()).spawn(look);
    Watch { _until: started.ok().map(|_| until) }
}

#[expect(clippy::exit, reason = "the threads that take the memory cannot be told to stop")]
fn end(held: u64, allowed: u64) {
    let parsing = crate::source::parsing();
    let what = if parsing.is_empty() { String::new() } else { format!("; it was reading the headers of {}", parsing.join(", ")) };
    let message = format!(
        "error[memory-too-small]: the process holds {} where {} are allowed{what}: such a file is damaged or hostile, or needs more `--memory`; what is done is kept\n",
        ByteSize(held),
        ByteSize(allowed)
    );
    // Nobody is left to tell if this fails.
    let _ = std::io::stderr().write_all(message.as_bytes());
    std::process::exit(i32::from(exit::RESOURCES));
}
