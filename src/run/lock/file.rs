//! The lock of a folder: a file lock, which the kernel releases however the process ends.
//!
//! Who holds it is written in the file, for people. Invariant: the file that is locked is the one that lies in the folder.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::held;
use super::holder::Holder;
use crate::run::RunError;

/// A locked file.
pub(super) struct FileLock {
    file: File,
    path: PathBuf,
}

/// Who only looks who holds the lock has it for a moment: so many tries before somebody holds it.
const TRIES: usize = 3;

/// Locks a folder, making it if need be.
pub(super) fn take(folder: &Path, target: &str) -> Result<FileLock, RunError> {
    let cannot = |cause: std::io::Error| RunError::Folder { path: folder.to_owned(), cause };
    std::fs::create_dir_all(folder).map_err(cannot)?;
    let path = folder.join("lock");
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(cannot)?;
    for left in (0..TRIES).rev() {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if left > 0 => std::thread::sleep(Duration::from_millis(30)),
            Err(TryLockError::WouldBlock) => {
                let by = read(&mut file).map_or("another process on this machine".to_owned(), |holder| holder.to_string());
                return Err(held(target, &by));
            }
            Err(TryLockError::Error(cause)) => return Err(cannot(cause)),
        }
    }
    let text = serde_json::to_string(&Holder::this_process()).unwrap_or_default();
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{text}"));
    written.map_err(cannot)?;
    Ok(FileLock { file, path })
}

fn read(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Who holds the lock of a folder right now.
pub(super) fn holder(folder: &Path) -> Option<Holder> {
    let mut file = File::open(folder.join("lock")).ok()?;
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)).then(|| read(&mut file)).flatten()
}

impl FileLock {
    /// That the folder was not taken away and made anew by somebody, whose lock is then another.
    pub(super) fn still_ours(&self, target: &str) -> Result<(), RunError> {
        let identity = |found: std::io::Result<std::fs::Metadata>| found.map(|found| (found.dev(), found.ino())).ok();
        let (ours, there) = (identity(self.file.metadata()), identity(std::fs::metadata(&self.path)));
        if ours.is_some() && ours == there {
            return Ok(());
        }
        let what = if there.is_some() { "was made anew by somebody else" } else { "was removed" };
        let message =
            format!("{target}: its state ({}) {what} while this run was under way; nothing more was written", self.path.display());
        Err(RunError::Held { message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("out.gristmill");
        assert_eq!(holder(&place), None);
        let first = take(&place, "out").unwrap();
        let seen = holder(&place).unwrap();
        assert_eq!(seen.process, std::process::id());
        let refused = take(&place, "out").err().unwrap();
        assert_eq!(refused.exit(), 6);
        assert!(refused.to_string().contains(&format!("out is being written by {seen}")), "{refused}");
        drop(first);
        assert_eq!(holder(&place), None);
        take(&place, "out").unwrap().still_ours("out").unwrap();
    }

    #[test]
    fn a_folder_taken_away_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("out.gristmill");
        let first = take(&place, "out").unwrap();
        std::fs::remove_dir_all(&place).unwrap();
        assert_eq!(first.still_ours("out").map_err(|error| error.exit()), Err(6));
        let second = take(&place, "out").unwrap();
        assert!(first.still_ours("out").is_err());
        second.still_ours("out").unwrap();
    }
}
