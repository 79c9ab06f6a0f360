//! What the machine may give: `--memory` and `--threads`, and what they are where nobody says.
//!
//! How the memory is shared out is the plan's; watching that it is kept, `watch`'s. Invariant: what is promised to a plan is never
//! more than the machine, a cgroup or a limit of the process allows.

use clap::Args;

use crate::recipe::diagnostic::{Code, Diagnostic};
use crate::run::RunError;
use crate::size::ByteSize;

/// What the machine may give.
#[derive(Debug, Args)]
pub struct Resources {
    /// Memory of the whole process, such as 512MiB; without it 60 % of what the machine or its cgroup allows.
    #[arg(long)]
    pub memory: Option<ByteSize>,
    /// Threads that decode and encode; without it one per core.
    #[arg(long)]
    pub threads: Option<usize>,
}

impl Resources {
    /// Bytes of memory.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory.map_or_else(|| allowed_memory() / 5 * 3, |size| size.0)
    }

    /// Number of threads.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        self.threads.unwrap_or_else(cores).max(1)
    }

    /// Refuses to begin what a limit of the process (`ulimit -v`) would end somewhere in the middle, in a library that cannot say why.
    pub(super) fn check(&self) -> Result<(), RunError> {
        let Some(limit) = address_space() else { return Ok(()) };
        let threads = 2 * (self.thread_count() + cores()) + OTHER_THREADS;
        let needed = self.memory_bytes().saturating_add(PROGRAM + threads as u64 * STACK);
        if needed <= limit {
            return Ok(());
        }
        let message = format!("the process may have {} of address space (`ulimit -v`), and needs {}", ByteSize(limit), ByteSize(needed));
        let help = format!("allow it {} KiB, or give it a smaller `--memory` or fewer `--threads`", needed.div_ceil(1024));
        Err(RunError::Recipe(vec![Diagnostic::error(Code::MemoryTooSmall, message).help(help)]))
    }
}

/// Address space of the program, its libraries and what the C library keeps in hand.
const PROGRAM: u64 = 64 << 20;
/// Address space of a thread: the standard library's stack.
const STACK: u64 = 2 << 20;
/// Threads besides those that compute and those that wait for the network: progress, the watch, calls that block.
const OTHER_THREADS: usize = 16;

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Bytes of address space that this process may have (setrlimit(2), `RLIMIT_AS`).
#[cfg(unix)]
fn address_space() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::As).current
}

/// Only Unix has such limits.
#[cfg(not(unix))]
fn address_space() -> Option<u64> {
    None
}

/// Files that this process may have open at once (setrlimit(2), `RLIMIT_NOFILE`).
#[cfg(unix)]
pub(super) fn open_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// Only Unix has such limits.
#[cfg(not(unix))]
pub(super) fn open_files() -> Option<u64> {
    None
}

/// Bytes that a limit of the process, the cgroup or else the machine allows (Linux); 4 GiB where that cannot be told.
pub(super) fn allowed_memory() -> u64 {
    let number = |path: &str| std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    let machine = total.map_or(4 << 30, |kilobytes| kilobytes * 1024).min(address_space().unwrap_or(u64::MAX));
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limit_files(&own).iter().filter_map(|path| number(path)).fold(machine, u64::min)
}

/// Files that may hold a limit of the cgroups of a process, given its `/proc/self/cgroup` (cgroups(7)): each group's own, and those above.
fn limit_files(cgroups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in cgroups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            names if names.split(',').any(|name| name == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        let groups = std::path::Path::new(path.trim_start_matches('/')).ancestors();
        files.extend(groups.map(|group| std::path::Path::new(root).join(group).join(file).display().to_string()));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::limit_files;

    #[test]
    fn limits_of_all_groups_above_count() {
        let second =
            ["/sys/fs/cgroup/system.slice/slurmd.scope/memory.max", "/sys/fs/cgroup/system.slice/memory.max", "/sys/fs/cgroup/memory.max"];
        assert_eq!(limit_files("0::/system.slice/slurmd.scope\n"), second);
        let first = ["/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
        assert_eq!(limit_files("5:cpu,cpuacct:/job\n4:memory:/job\n"), first);
        assert!(limit_files("").is_empty());
    }
}
