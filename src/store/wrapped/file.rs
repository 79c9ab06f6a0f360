//! Where the bytes of an address are: as they are stored, a part of another file, or unpacked in the spool.
//!
//! Invariant: a file's bytes are addressed from 0 to its length, whatever they lie in.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::spool::Content;
use super::super::{Head, StoreError};
use super::packing::{Packing, Promise};
use super::tar::Members;
use super::zip::Directory;

/// A file as its address names it.
pub(super) struct File {
    /// What whoever begins it is told.
    pub(super) head: Head,
    /// What was said of the stored file itself, or of the archive for a member.
    pub(super) told: Head,
    /// Bytes that it has.
    pub(super) length: u64,
    /// Where they are.
    pub(super) body: Body,
    /// What it holds, if it was asked for.
    index: Mutex<Option<Arc<Index>>>,
}

/// Where bytes are.
pub(super) enum Body {
    /// The store below has them, at this URL.
    Stored(String),
    /// In place in another file; what its archive promises of them is checked when all of them are read.
    Part {
        /// The other file.
        of: Arc<File>,
        /// Where they begin in it.
        offset: u64,
        /// What its archive says.
        promise: Option<Promise>,
    },
    /// Unpacked in the spool.
    Unpacked {
        /// The packed bytes, all of them.
        of: Arc<File>,
        /// How they are packed.
        packing: Packing,
        /// What its archive says.
        promise: Option<Promise>,
        /// What the spool calls it.
        content: Content,
    },
    /// Copied as it is into the operator's cache.
    Copied {
        /// The file as it is stored.
        of: Arc<File>,
        /// What the cache calls it.
        content: Content,
    },
}

/// What an archive holds.
pub(super) enum Index {
    /// A zip archive.
    Zip(Directory),
    /// A tar archive.
    Tar(Members),
}

impl Index {
    /// Names of the members that are files, sorted.
    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Self::Zip(directory) => directory.names(),
            Self::Tar(members) => members.names(),
        }
    }

    /// Names and lengths of the members that are files, sorted by name.
    pub(super) fn files(&self) -> Vec<(&str, u64)> {
        let length = |name: &str| match self {
            Self::Zip(directory) => directory.get(name).map(|entry| entry.promise().length),
            Self::Tar(members) => members.length(name),
        };
        self.names().into_iter().filter_map(|name| Some((name, length(name)?))).collect()
    }
}

impl File {
    /// A file that was not asked for what it holds.
    pub(super) fn new(head: Head, told: Head, length: u64, body: Body) -> Self {
        Self { head, told, length, body, index: Mutex::default() }
    }

    /// A file as the store below has it.
    pub(super) fn stored(url: &str, head: &Head, length: u64) -> Self {
        Self::new(head.clone(), head.clone(), length, Body::Stored(url.to_owned()))
    }

    /// What it holds, read now by `read` if nobody asked before.
    pub(super) fn index(&self, read: impl FnOnce() -> Result<Index, StoreError>) -> Result<Arc<Index>, StoreError> {
        // Held while it is read, so that it is read once.
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = &*index {
            return Ok(Arc::clone(index));
        }
        Ok(Arc::clone(index.insert(Arc::new(read()?))))
    }

    /// Ranges of it as ranges of what it lies in. They were checked against its length, which ends inside.
    pub(super) fn shifted(ranges: &[Range<u64>], offset: u64) -> Vec<Range<u64>> {
        ranges.iter().map(|range| range.start.saturating_add(offset)..range.end.saturating_add(offset)).collect()
    }
}
