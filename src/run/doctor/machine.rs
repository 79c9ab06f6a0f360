//! Memory, open files, disk.
//!
//! Invariant: what cannot be told is not judged.

use std::path::{Path, PathBuf};

use super::{Finding, Patient};
use crate::run::state::local_folder;
use crate::size::ByteSize;

/// Memory below which most plans do not fit.
const LITTLE_MEMORY: u64 = 512 << 20;
/// Open files that a run may need: connections, inputs, objects being written.
const OPEN_FILES: u64 = 1024;
/// Free room below which a disk is all but full.
const LITTLE_ROOM: u64 = 1 << 30;

/// What the machine gives to this process.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Bytes of memory that the machine, its cgroup or a limit of the process allows.
    pub memory: u64,
    /// Bytes that a run would use.
    pub promised: u64,
    /// Files that may be open at once; `None` if that cannot be told.
    pub open_files: Option<u64>,
}

impl Machine {
    pub(super) fn examine(&self, patient: &Patient<'_>) -> Vec<Finding> {
        let mut findings = vec![self.memory(), self.open_files()];
        let spool = patient.access.spool_directory.clone().unwrap_or_else(std::env::temp_dir);
        findings.push(room("disk for spooled files", &spool));
        if let Some(folder) = patient.target.and_then(local_folder) {
            let parent = Path::new(&folder).ancestors().find(|path| path.exists() && !path.as_os_str().is_empty()).map(PathBuf::from);
            findings.push(room("disk of the target", &parent.unwrap_or_else(|| PathBuf::from("."))));
        }
        findings
    }

    fn memory(&self) -> Finding {
        let told = format!("{} are allowed, of which a run uses {}", ByteSize(self.memory), ByteSize(self.promised));
        if self.promised > self.memory {
            return Finding::bad("memory", 8, told, "give a smaller `--memory`, or run where more is allowed");
        }
        if self.promised < LITTLE_MEMORY {
            return Finding::weak("memory", told, "most plans want 512 MiB; ask for more memory, or make chunks smaller");
        }
        Finding::good("memory", told)
    }

    fn open_files(&self) -> Finding {
        match self.open_files {
            Some(limit) if limit < OPEN_FILES => {
                Finding::weak("open files", format!("{limit} files may be open at once"), format!("`ulimit -n {OPEN_FILES}` before a run"))
            }
            Some(limit) => Finding::good("open files", format!("{limit} may be open at once")),
            None => Finding::good("open files", "no limit is told"),
        }
    }
}

#[cfg(unix)]
fn room(check: &'static str, folder: &Path) -> Finding {
    let shown = folder.display();
    match rustix::fs::statvfs(folder) {
        Ok(known) => {
            let free = ByteSize(known.f_bavail.saturating_mul(known.f_frsize));
            let told = format!("{free} are free at {shown}");
            if free.0 < LITTLE_ROOM {
                Finding::weak(check, told, "free some space, or choose another folder")
            } else {
                Finding::good(check, told)
            }
        }
        Err(error) => Finding::bad(check, 3, format!("{shown}: cannot be looked at: {error}"), "make the folder, or choose another one"),
    }
}

#[cfg(not(unix))]
fn room(check: &'static str, folder: &Path) -> Finding {
    Finding::good(check, format!("{}: how much is free cannot be told here", folder.display()))
}
