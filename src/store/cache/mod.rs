//! The operator's cache: whole files on disk, for this run and those to come.
//!
//! An entry is named by a hash of URL, validators and how the file was made, and says beside its bytes what they are and their
//! checksum. Runs share a folder: whoever makes an entry holds a lock on it, whoever reads one holds another, and both end with their
//! process. Not for headers that were scanned (`run/scan`). Invariant: bytes are believed only if a description lies beside them and
//! their checksum is the one it tells; so a kill at any time, or a power cut, leaves nothing that is believed and wrong.

mod draft;
mod entry;
mod sweep;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub use entry::Description;
pub use sweep::{Listed, Pruned, Wish, list, prune, verify};

pub(super) use draft::Draft;
use entry::Place;

use super::access::{Access, CacheUse};

/// Folder of the entries in the operator's cache folder, beside what else is kept there.
const FILES: &str = "files";

/// Share of the limit that is left after room was made, in percent: not every new entry shall look through all of them.
const SHARE: u64 = 90;

/// Entries made by one process before it looks again how much there is: others fill the same folder.
const LOOK_AGAIN: u32 = 64;

/// The cache, as a run uses it.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    limit: u64,
    filling: Mutex<Filling>,
}

/// How full it is, as far as this process knows.
#[derive(Debug, Default)]
struct Filling {
    bytes: u64,
    made: u32,
}

/// An entry that is there, or one to be made.
pub(super) enum Begun {
    /// Open, its checksum right.
    There(File, u64),
    /// Held by this process alone.
    Draft(Box<Draft>),
}

impl Cache {
    /// The cache of the operator's settings; `None` if they want none.
    pub(super) fn of(access: &Access) -> Option<Self> {
        let folder = access.cache_directory.as_ref().filter(|_| access.cache != CacheUse::Off)?;
        Some(Self { folder: folder.join(FILES), limit: access.cache_limit.0, filling: Mutex::default() })
    }

    /// The entry of that key, waited for if another process is making it; else begun, or taken up if `resume` says that what was
    /// written before a kill can be gone on with.
    ///
    /// # Errors
    /// What the file system refuses.
    pub(super) fn begin(&self, key: &str, resume: bool) -> io::Result<Begun> {
        let place = Place::new(&self.folder, key);
        loop {
            if let Some((file, length)) = place.open() {
                return Ok(Begun::There(file, length));
            }
            if let Some(draft) = Draft::begin(place.clone(), resume)? {
                // Whoever held it before may have finished it meanwhile.
                return Ok(match place.open() {
                    Some((file, length)) => Begun::There(file, length),
                    None => Begun::Draft(Box::new(draft)),
                });
            }
        }
    }

    /// Makes an entry of a draft that is whole; it stays open and in use until the file is dropped.
    ///
    /// # Errors
    /// What the file system refuses.
    pub(super) fn finish(&self, draft: Draft, description: &Description) -> io::Result<(File, u64)> {
        let (file, length) = draft.finish(description)?;
        self.make_room(length);
        Ok((file, length))
    }

    /// Takes an entry away that is of no more use; whoever reads it goes on reading.
    pub(super) fn discard(&self, key: &str) {
        Place::new(&self.folder, key).remove();
    }

    /// Takes away all that nobody uses; true if that was anything.
    pub(super) fn empty(&self) -> bool {
        sweep::shrink(&self.folder, 0, &|_| true).is_ok_and(|pruned| pruned.entries > 0)
    }

    /// Keeps the folder below its limit. What goes wrong there is no reason to stop a run.
    fn make_room(&self, more: u64) {
        let mut filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        let first = filling.made == 0;
        (filling.made, filling.bytes) = (filling.made.saturating_add(1), filling.bytes.saturating_add(more));
        if !first && filling.bytes <= self.limit && !filling.made.is_multiple_of(LOOK_AGAIN) {
            return;
        }
        match sweep::shrink_above(&self.folder, self.limit, self.limit / 100 * SHARE) {
            Ok(pruned) => filling.bytes = pruned.left,
            Err(error) => tracing::warn!("the cache cannot be kept below its limit: {error}"),
        }
    }
}

/// Folder of the entries in a cache folder.
fn files(folder: &Path) -> PathBuf {
    folder.join(FILES)
}

/// Fine if it is gone.
fn removed(path: &Path) -> bool {
    fs::remove_file(path).is_ok()
}
