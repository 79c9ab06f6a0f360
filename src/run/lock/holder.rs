//! Who holds a target.
//!
//! Names a process for people, and for itself by a random number. Invariant: a process is called dead only by one that could see it
//! if it lived: on the same machine since the same start, and among the same processes.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::store::probe::nonce;

/// A process that holds a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Name of its machine.
    pub host: String,
    /// Its number there.
    pub process: u32,
    /// When it took hold, by its own clock (RFC 3339).
    pub since: String,
    /// Which start of which machine, and which processes (a container has its own): numbers mean something only within.
    #[serde(default)]
    realm: String,
    /// A random number that nobody else has.
    #[serde(default)]
    nonce: String,
}

impl Holder {
    /// This process, from now on.
    pub(super) fn this_process() -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
        Self { host, process: std::process::id(), since: now(), realm: realm(), nonce: nonce() }
    }

    /// True if both are the same holder, not merely alike.
    pub(super) fn is(&self, other: &Self) -> bool {
        !self.nonce.is_empty() && self.nonce == other.nonce
    }

    /// True if this holder was among our own processes and is no longer.
    pub(super) fn is_dead_neighbour(&self, ours: &Self) -> bool {
        !self.realm.is_empty()
            && self.realm == ours.realm
            && Path::new("/proc/self").exists()
            && !Path::new(&format!("/proc/{}", self.process)).exists()
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let safe = |text: &str| text.chars().filter(char::is_ascii_graphic).take(100).collect::<String>();
        write!(formatter, "process {} on {} since {}", self.process, safe(&self.host), safe(&self.since))
    }
}

/// This moment by this machine's clock, for people.
pub(super) fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}

/// Empty where that cannot be told.
fn realm() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let processes = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    if boot.is_empty() || processes.as_os_str().is_empty() { String::new() } else { format!("{} {}", boot.trim(), processes.display()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_neighbours_are_called_dead() {
        let ours = Holder::this_process();
        // The largest number a process can have is 2^22.
        let gone = Holder { process: u32::MAX, ..Holder::this_process() };
        assert!(gone.is_dead_neighbour(&ours) && !ours.is_dead_neighbour(&gone));
        let container = Holder { realm: "another".into(), ..gone.clone() };
        assert!(!container.is_dead_neighbour(&ours));
        let unknown = Holder { realm: String::new(), ..gone };
        assert!(!unknown.is_dead_neighbour(&Holder { realm: String::new(), ..Holder::this_process() }));
    }

    #[test]
    fn two_holders_of_one_process_differ() {
        let (one, other) = (Holder::this_process(), Holder::this_process());
        assert!(one.is(&one) && !one.is(&other));
        assert!(Holder { host: "a\u{1b}[2Jb".into(), ..one }.to_string().contains("on a[2Jb since 2"));
    }
}
