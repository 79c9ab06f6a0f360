//! Room on the disk for scratch, looked at before the work begins.
//!
//! Not for the result, whose size nobody knows before it is encoded: a disk that fills up meanwhile stops the run, and what is
//! done is kept. Invariant: a run that needs local scratch begins only if all of it, unpacked, would fit beside what is there.

use std::path::{Path, PathBuf};

use super::RunError;
use super::state::local_folder;
use crate::plan::Plan;
use crate::size::ByteSize;
use crate::store::{ErrorKind, StoreError};

/// Refuses a plan whose scratch objects the local disk has no room for; what an earlier run left of them counts as theirs.
pub(super) fn check(plan: &Plan) -> Result<(), RunError> {
    let Some(folder) = plan.scratch.as_deref().and_then(local_folder) else { return Ok(()) };
    check_folder(&folder, plan.scratch_bytes())
}

fn check_folder(folder: &Path, need: u64) -> Result<(), RunError> {
    let Some(free) = free_bytes(folder) else { return Ok(()) };
    let have = free.saturating_add(bytes_below(folder));
    if need <= have {
        return Ok(());
    }
    let message = format!(
        "scratch may need {} here and there is room for {}; free some space, or give more `--memory` so that no scratch is needed",
        ByteSize(need),
        ByteSize(have)
    );
    Err(StoreError::new(ErrorKind::NoSpace, &folder.display().to_string(), message).into())
}

/// Bytes that a user may still write in a folder, which need not exist yet; `None` if the system does not tell.
fn free_bytes(folder: &Path) -> Option<u64> {
    let absolute = std::path::absolute(folder).ok()?;
    let existing: PathBuf = absolute.ancestors().find(|path| path.exists())?.to_owned();
    let disk = rustix::fs::statvfs(&existing).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Bytes of all files below a folder.
fn bytes_below(folder: &Path) -> u64 {
    let mut folders = vec![folder.to_owned()];
    let mut bytes = 0_u64;
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                bytes = bytes.saturating_add(metadata.len());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_too_small_for_scratch_is_exit_8_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("not/yet/there");
        check_folder(&scratch, 1).unwrap();
        let error = check_folder(&scratch, u64::MAX).unwrap_err();
        assert_eq!(error.exit(), 8);
        let told = error.to_string();
        assert!(told.contains("not/yet/there") && told.contains("scratch may need"), "{told}");
    }

    #[test]
    fn what_lies_there_already_counts_as_room() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("0")).unwrap();
        std::fs::write(folder.path().join("0/0.0"), [0; 1000]).unwrap();
        assert_eq!(bytes_below(folder.path()), 1000);
        let free = free_bytes(folder.path()).unwrap();
        assert!(free > 0 && check_folder(folder.path(), free / 2).is_ok());
    }
}
