//! The objects that a probe makes, and their end.
//!
//! Invariant: a key is noted before anything is stored under it, so that whatever is stored can be removed.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::super::{StoreError, Upload};
use super::Doors;
use super::question::Stopped;

/// Keys in use by one probe; removed when dropped.
pub(super) struct Scratch<'a> {
    doors: &'a Doors,
    folder: String,
    stop: &'a AtomicBool,
    keys: Mutex<BTreeSet<String>>,
    uploads: Mutex<Vec<Upload>>,
}

impl<'a> Scratch<'a> {
    pub(super) fn new(doors: &'a Doors, folder: &str, stop: &'a AtomicBool) -> Self {
        let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        Self { doors, folder, stop, keys: Mutex::default(), uploads: Mutex::default() }
    }

    /// A key of this probe's own; stops here if the probe is to stop.
    pub(super) fn key(&self, name: &str) -> Result<String, Stopped> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Stopped::Asked);
        }
        let key = format!("{}{name}", self.folder);
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        Ok(key)
    }

    /// Notes an upload that has been begun.
    pub(super) fn begun(&self, upload: &Upload) {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).push(upload.clone());
    }

    /// Removes everything; tells the first failure, and tries the rest all the same.
    pub(super) fn clear(&self) -> Result<(), StoreError> {
        let uploads = std::mem::take(&mut *self.uploads.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(door) = &self.doors.uploads {
            // One that was aborted or finished already is no loss.
            for upload in &uploads {
                drop(door.abort(upload));
            }
        }
        let keys = std::mem::take(&mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner));
        keys.iter().map(|key| self.doors.store.delete(key)).fold(Ok(()), Result::and)
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        // Nobody is left to tell; what was cleared is not cleared again.
        drop(self.clear());
    }
}

/// A random name, for what must not meet another's.
#[must_use]
pub fn nonce() -> String {
    // Two of these hashers never have the same keys in one process, and the keys are the system's random numbers.
    let [one, two] = [(); 2].map(|()| RandomState::new().hash_one(std::process::id()));
    format!("{one:016x}{two:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_differ() {
        let many: BTreeSet<String> = (0..1000).map(|_| nonce()).collect();
        assert_eq!(many.len(), 1000);
        assert!(many.iter().all(|nonce| nonce.len() == 32));
    }
}
