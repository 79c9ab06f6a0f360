//! One entry: its bytes, and beside them what they are.
//!
//! Invariant: the description is written last and removed first.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::removed;

/// Changes when entries of an earlier version cannot be used.
const FORMAT: u32 = 1;

/// Longest description.
const LONGEST: u64 = 64 << 10;

/// Bytes hashed at once.
const BLOCK: usize = 1 << 20;

/// What an entry is. No secrets: the URL goes without query and credentials.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Description {
    /// Version of this format.
    #[serde(default)]
    pub format: u32,
    /// The file, and the member of it.
    pub url: String,
    /// How it was made of what is stored there.
    pub how: String,
    /// Validator that the server told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Last modification that the server told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// Length in bytes.
    #[serde(default)]
    pub length: u64,
    /// XXH3 (64 bits) of the bytes, in hexadecimal digits.
    #[serde(default)]
    pub xxh3: String,
}

/// Where the files of one entry are.
#[derive(Debug, Clone)]
pub(super) struct Place {
    stem: PathBuf,
}

impl Place {
    pub(super) fn new(folder: &Path, key: &str) -> Self {
        Self { stem: folder.join(key.get(..2).unwrap_or("__")).join(key) }
    }

    /// The entry whose description is at `path`.
    pub(super) fn of_description(path: &Path) -> Option<Self> {
        (path.extension()? == "json").then(|| Self { stem: path.with_extension("") })
    }

    pub(super) fn data(&self) -> PathBuf {
        self.stem.with_extension("data")
    }

    pub(super) fn description(&self) -> PathBuf {
        self.stem.with_extension("json")
    }

    /// What is not yet an entry.
    pub(super) fn part(&self) -> PathBuf {
        self.stem.with_extension("part")
    }

    /// How far that was when it was last looked at.
    pub(super) fn progress(&self) -> PathBuf {
        self.stem.with_extension("progress")
    }

    pub(super) fn read(&self) -> Option<Description> {
        let mut text = Vec::new();
        File::open(self.description()).ok()?.take(LONGEST).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok().filter(|description: &Description| description.format == FORMAT)
    }

    /// The bytes, open and in use until dropped, if they are what their description says; else the entry goes.
    pub(super) fn open(&self) -> Option<(File, u64)> {
        let description = self.read()?;
        let file = File::open(self.data()).ok()?;
        file.lock_shared().ok()?;
        if !is_right(&file, &description) {
            tracing::warn!(url = %description.url, "an entry of the cache is damaged; it is removed and made anew");
            self.remove();
            return None;
        }
        self.touch();
        Some((file, description.length))
    }

    /// Notes that it was used now; of no consequence if it cannot be.
    fn touch(&self) {
        let _unimportant = File::open(self.description()).and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// Writes the description of bytes that are in place.
    pub(super) fn describe(&self, description: &Description, length: u64, hash: u64) -> io::Result<()> {
        let description = Description { format: FORMAT, length, xxh3: format!("{hash:016x}"), ..description.clone() };
        let path = self.description();
        let folder = path.parent().ok_or(io::ErrorKind::NotFound)?;
        let mut file = tempfile::Builder::new().prefix(".").suffix(".new").tempfile_in(folder)?;
        file.write_all(&serde_json::to_vec(&description).unwrap_or_default())?;
        file.persist(&path).map(drop).map_err(|error| error.error)
    }

    /// Takes the entry away; true if there was one.
    pub(super) fn remove(&self) -> bool {
        let described = removed(&self.description());
        removed(&self.data()) || described
    }

    /// Takes the entry away unless somebody reads it; `None` if somebody does.
    pub(super) fn remove_unused(&self) -> Option<bool> {
        match File::open(self.data()) {
            Ok(file) if is_used(&file).unwrap_or(true) => None,
            // The lock is held until both are gone: who waits for it reads what was whole.
            Ok(_file) => Some(self.remove()),
            Err(_) => Some(self.remove()),
        }
    }
}

/// True if another open file holds a lock; else it is locked now.
pub(super) fn is_used(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// True if the bytes are those described.
pub(super) fn is_right(file: &File, description: &Description) -> bool {
    let told = file.metadata().is_ok_and(|metadata| metadata.len() == description.length);
    told && hash(file, description.length).is_ok_and(|hash| format!("{:016x}", hash.digest()) == description.xxh3)
}

/// Hash of the first bytes of a file, which stays positioned behind them.
pub(super) fn hash(mut file: &File, length: u64) -> io::Result<Xxh3> {
    io::Seek::rewind(&mut file)?;
    let (mut hash, mut left, mut block) = (Xxh3::new(), length, vec![0; BLOCK]);
    while left > 0 {
        let most = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let piece = block.get_mut(..most).unwrap_or_default();
        file.read_exact(piece)?;
        hash.update(piece);
        left -= piece.len() as u64;
    }
    Ok(hash)
}

/// All files of entries below a folder, in no order.
pub(super) fn walk(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let folders = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        folders => folders?,
    };
    for inner in folders {
        for file in fs::read_dir(inner?.path()).into_iter().flatten() {
            found.push(file?.path());
        }
    }
    Ok(found)
}
