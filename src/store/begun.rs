//! A store whose one file has been begun: what lies in its first bytes is not asked for again.
//!
//! For the few small values that a scan reads of each header. Invariant: every other range goes to the store.

use std::io::Write;
use std::ops::Range;

use bytes::Bytes;

use super::{Head, SourceStore, StoreError};

/// A store and the start of the file that is read through it.
pub struct Begun<'a> {
    store: &'a dyn SourceStore,
    start: Bytes,
}

impl<'a> Begun<'a> {
    /// Serves ranges of the one file that is read through it from its first bytes, as [`SourceStore::begin`] gave them.
    #[must_use]
    pub fn new(store: &'a dyn SourceStore, start: Bytes) -> Self {
        Self { store, start }
    }
}

impl SourceStore for Begun<'_> {
    fn head(&self, url: &str) -> Result<Head, StoreError> {
        self.store.head(url)
    }

    fn ranges(&self, url: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        let length = self.start.len() as u64;
        if ranges.iter().all(|range| range.start <= range.end && range.end <= length) {
            return Ok(ranges.iter().map(|range| self.start.slice(range.start as usize..range.end as usize)).collect());
        }
        self.store.ranges(url, ranges)
    }

    fn stream(&self, url: &str, sink: &mut dyn Write) -> Result<u64, StoreError> {
        self.store.stream(url, sink)
    }

    fn is_local(&self, url: &str) -> bool {
        self.store.is_local(url)
    }
}
