//! Targets in a directory of this machine.
//!
//! An object is written beside its place under a name that no key can have, then renamed. State and metadata are flushed to
//! the disk before their put returns, and so is an object that takes another's place; new chunks are on their way there from the start
//! and are waited for all at once before the next metadata, or each if the operator asks for it. Invariant: under a key there is a whole object or nothing, whenever the process is killed; after a
//! power cut what metadata tells of is there too.

use std::collections::HashSet;
use std::fs::{self, DirEntry, File};
use std::io::{self, ErrorKind as Io, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tempfile::{Builder, NamedTempFile};

use super::{ErrorKind, PutMode, StoreError, TargetStore};

/// Bytes from which on the system is asked to begin writing an object to the disk at once; smaller ones are better written many together.
const WORTH_A_START: usize = 128 << 10;

/// End of the name of a file that is still being written.
const UNFINISHED: &str = ".gristmill-unfinished";

/// Objects as files below one directory.
#[derive(Debug)]
pub(super) struct LocalTarget {
    root: PathBuf,
    flush_chunks: bool,
    /// True while objects may be in the system's memory only: those of this process, or of one before.
    unflushed: AtomicBool,
    /// Directories already swept of what killed processes left.
    swept: Mutex<HashSet<PathBuf>>,
}

impl LocalTarget {
    /// The objects below `root`, which need not exist yet.
    pub(super) fn new(root: PathBuf, flush_chunks: bool) -> Self {
        Self { root, flush_chunks, unflushed: AtomicBool::new(true), swept: Mutex::default() }
    }

    fn path(&self, key: &str) -> Result<PathBuf, StoreError> {
        check_key(key)?;
        Ok(self.root.join(key))
    }

    fn write(&self, path: &Path, bytes: &[u8], mode: PutMode, flush: bool) -> io::Result<()> {
        let directory = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(directory)?;
        self.sweep(directory);
        let mut unfinished = Builder::new()
            .prefix(".")
            .suffix(UNFINISHED)
            // As any file this user makes: the umask still applies.
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(directory)?;
        // Tells sweepers that its writer lives. Where locks are not supported nothing is swept either.
        let _unsupported = unfinished.as_file().try_lock();
        unfinished.write_all(bytes)?;
        if flush {
            unfinished.as_file().sync_all()?;
        } else if bytes.len() >= WORTH_A_START {
            begin_writing(unfinished.as_file());
        }
        place(unfinished, path, mode)?;
        if flush { File::open(directory)?.sync_all() } else { Ok(()) }
    }

    /// Has everything that was put before on the disk.
    fn flush_all(&self) -> io::Result<()> {
        if !self.unflushed.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let flushed = match File::open(&self.root) {
            Ok(root) => flush_filesystem(&root),
            Err(error) if error.kind() == Io::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        flushed.inspect_err(|_| self.unflushed.store(true, Ordering::Release))
    }

    /// Removes what killed writers left in a directory, once per directory and process.
    fn sweep(&self, directory: &Path) {
        if !self.swept.lock().unwrap_or_else(PoisonError::into_inner).insert(directory.to_owned()) {
            return;
        }
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.filter(is_unfinished).map(|entry| entry.path()).filter(|path| is_abandoned(path)).for_each(|path| {
            // Another sweeper may have been faster.
            let _gone = fs::remove_file(path);
        });
    }
}

/// Lets the disk work while the next chunks are made, so that there is little left to wait for at the commit: Linux begins to write the
/// pages of whoever says that they are not needed, and keeps them until then (mm/fadvise.c).
#[cfg(target_os = "linux")]
fn begin_writing(file: &File) {
    // A wish: whether it was heard is told by the flush.
    let _unheard = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn begin_writing(_file: &File) {}

/// One call for any number of files, where a call for each would be as many waits.
#[cfg(target_os = "linux")]
fn flush_filesystem(root: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(root)?)
}

/// Elsewhere for all disks.
#[cfg(not(target_os = "linux"))]
fn flush_filesystem(_root: &File) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

/// Gives a written file its final name.
fn place(unfinished: NamedTempFile, path: &Path, mode: PutMode) -> io::Result<()> {
    let placed = match mode {
        PutMode::Overwrite => unfinished.persist(path),
        PutMode::Create => unfinished.persist_noclobber(path),
    };
    placed.map(drop).map_err(|failed| failed.error)
}

/// Files below a folder that killed processes were writing, with their lengths; none of a process that lives.
#[must_use]
pub fn unfinished_files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if is_unfinished(&entry) && (metadata.is_symlink() || is_abandoned(&entry.path())) {
                found.push((entry.path(), metadata.len()));
            }
        }
    }
    found.sort();
    found
}

fn is_unfinished(entry: &DirEntry) -> bool {
    entry.file_name().to_string_lossy().ends_with(UNFINISHED)
}

fn is_abandoned(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}

/// Refuses a key that is empty, absolute, climbs, or could be mistaken for an unfinished file.
pub(super) fn check_key(key: &str) -> Result<(), StoreError> {
    let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.ends_with(UNFINISHED);
    if key.chars().any(char::is_control) || key.split('/').any(bad) {
        return Err(StoreError::new(
            ErrorKind::Other,
            key,
            "not a key; keys are names joined by `/`, without `.`, `..` or control characters",
        ));
    }
    Ok(())
}

/// True for objects that others rely on once they are there: metadata, plans, receipts.
fn is_state(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    name.starts_with(".z") || Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

/// True for what tells readers which objects there are.
fn is_metadata(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    name.starts_with(".z") || name == "zarr.json"
}

/// `None` for what is not there, a directory included.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), Io::NotFound | Io::NotADirectory | Io::IsADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

impl TargetStore for LocalTarget {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let path = self.path(key)?;
        let metadata = found(fs::metadata(&path)).map_err(|error| refusal(&path, "look at", error))?;
        Ok(metadata.filter(fs::Metadata::is_file).map(|metadata| metadata.len()))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let path = self.path(key)?;
        Ok(found(fs::read(&path)).map_err(|error| refusal(&path, "read", error))?.map(Bytes::from))
    }

    fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        let path = self.path(key)?;
        if is_metadata(key) {
            self.flush_all().map_err(|error| refusal(&path, "write", error))?;
        }
        // Readers may have what is replaced: a power cut must not leave them with neither.
        let flush = self.flush_chunks || mode == PutMode::Create || is_state(key) || path.exists();
        let written = match self.write(&path, &bytes, mode, flush) {
            // A sweeper met the new file before its lock, or an emptied directory was removed: once more.
            Err(error) if error.kind() == Io::NotFound => self.write(&path, &bytes, mode, flush),
            written => written,
        };
        if !flush {
            self.unflushed.store(true, Ordering::Release);
        }
        written.map_err(|error| refusal(&path, "write", error))
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let below = prefix.trim_end_matches('/');
        let start = if below.is_empty() { self.root.clone() } else { self.path(below)? };
        let mut keys = Vec::new();
        collect(&start, below, limit, &mut keys).map_err(|error| refusal(&start, "list", error))?;
        Ok(keys)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = self.path(key)?;
        found(fs::remove_file(&path)).map(drop).map_err(|error| refusal(&path, "delete", error))
    }
}

fn refusal(path: &Path, doing: &str, error: io::Error) -> StoreError {
    StoreError::from_io(&path.to_string_lossy(), doing, error)
}

/// Keys below a directory in the order of whole keys: a directory sorts as its name and a slash.
fn collect(directory: &Path, key: &str, limit: usize, keys: &mut Vec<String>) -> io::Result<()> {
    let Some(entries) = found(fs::read_dir(directory))? else { return Ok(()) };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let slash = if entry.path().is_dir() { "/" } else { "" };
        if !is_unfinished(&entry) {
            names.push(format!("{name}{slash}"));
        }
    }
    names.sort_unstable();
    for name in names {
        if keys.len() >= limit {
            return Ok(());
        }
        let full = if key.is_empty() { name } else { format!("{key}/{name}") };
        match full.strip_suffix('/') {
            Some(inner) => collect(&directory.join(inner.rsplit('/').next().unwrap_or(inner)), inner, limit, keys)?,
            None => keys.push(full),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> (tempfile::TempDir, LocalTarget) {
        let directory = tempfile::tempdir().unwrap();
        let target = LocalTarget::new(directory.path().join("out.zarr"), false);
        (directory, target)
    }

    #[test]
    fn unfinished_files_are_no_objects_and_the_abandoned_go() {
        let (_keep, target) = open();
        let directory = target.root.join("c");
        fs::create_dir_all(&directory).unwrap();
        let abandoned = directory.join(format!(".a{UNFINISHED}"));
        let alive = directory.join(format!(".b{UNFINISHED}"));
        fs::write(&abandoned, b"half").unwrap();
        fs::write(&alive, b"half").unwrap();
        let writer = File::open(&alive).unwrap();
        writer.lock().unwrap();
        assert_eq!(target.list("", 10).unwrap(), Vec::<String>::new());
        target.put("c/0", Bytes::from_static(b"whole"), PutMode::Overwrite).unwrap();
        assert_eq!((abandoned.exists(), alive.exists()), (false, true));
        assert_eq!(target.list("", 10).unwrap(), ["c/0"]);
        assert!(target.put(&format!("c/x{UNFINISHED}"), Bytes::new(), PutMode::Overwrite).is_err());
    }

    #[test]
    fn objects_are_as_readable_as_any_file() {
        let (keep, target) = open();
        target.put("zarr.json", Bytes::from_static(b"{}"), PutMode::Create).unwrap();
        let plain = keep.path().join("plain");
        fs::write(&plain, b"").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&target.root.join("zarr.json")), mode(&plain));
    }

    #[test]
    fn chunks_are_on_the_disk_before_metadata_tells_of_them() {
        let (_keep, target) = open();
        let put = |key: &str| target.put(key, Bytes::from_static(b"{}"), PutMode::Overwrite).unwrap();
        let unflushed = || target.unflushed.load(Ordering::Acquire);
        // Who was killed before us may have left some.
        assert!(unflushed());
        put("x/c/0");
        put("x/zarr.json");
        assert!(!unflushed());
        put("x/c/1");
        assert!(unflushed());
        put("zarr.json");
        assert!(!unflushed());
        put("x/c/1");
        assert!(!unflushed(), "what is replaced is flushed at once");
        put("receipts/0.json");
        put(".zgroup");
        assert!(!unflushed());
    }

    #[test]
    fn a_full_disk_says_so() {
        let full = Path::new("/dev/full");
        if full.exists() {
            let error = File::create(full).and_then(|mut file| file.write_all(b"x")).unwrap_err();
            assert_eq!(refusal(full, "write", error).kind, ErrorKind::NoSpace);
        }
    }
}
