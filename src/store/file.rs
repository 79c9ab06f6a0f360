//! Source files of this machine.
//!
//! Positioned reads, never a memory map (its pages count against the memory limit and a shrinking file kills the process).
//! Invariant: a file whose length or modification time moved since it was first looked at is refused.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::address::Address;
use super::{ErrorKind, Head, START, SourceStore, StoreError, merge};

/// Bytes copied at once when a file is streamed.
const BLOCK: usize = 1 << 20;

/// Reads plain paths and `file://` URLs.
#[derive(Debug, Default)]
pub(super) struct FileSource {
    seen: Mutex<HashMap<PathBuf, Identity>>,
}

/// What tells one content of a file from another: length, seconds and nanoseconds of the modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity(u64, i64, i64);

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self(metadata.len(), metadata.mtime(), metadata.mtime_nsec())
    }
}

impl FileSource {
    /// Opens a file, refusing what is not one.
    fn open(url: &str) -> Result<(PathBuf, File, Metadata), StoreError> {
        let path = path_of(url)?;
        let refuse = |error| StoreError::from_io(url, "open", error);
        // Asked before opening: opening a named pipe would wait for its writer.
        if !std::fs::metadata(&path).map_err(refuse)?.is_file() {
            return Err(StoreError::new(ErrorKind::Other, url, "not a file; name a file, or a pattern that gives files"));
        }
        let file = File::open(&path).map_err(refuse)?;
        let metadata = file.metadata().map_err(refuse)?;
        Ok((path, file, metadata))
    }

    /// Opens a file that must still be what it was when first seen.
    fn reopen(&self, url: &str) -> Result<(File, u64), StoreError> {
        let (path, file, metadata) = Self::open(url)?;
        let identity = Identity::of(&metadata);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen.entry(path).or_insert(identity) == identity { Ok((file, metadata.len())) } else { Err(changed(url)) }
    }

    fn remember(&self, path: &Path, metadata: &Metadata) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), Identity::of(metadata));
    }
}

fn head_of(metadata: &Metadata) -> Head {
    let nanoseconds = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    Head { size: Some(metadata.len()), etag: None, modified: Some(nanoseconds.to_string()), stored: None }
}

fn path_of(url: &str) -> Result<PathBuf, StoreError> {
    match Address::parse(url)? {
        Address::File(path) => Ok(path),
        _ => Err(StoreError::new(ErrorKind::Policy, url, "not a path of this machine")),
    }
}

fn changed(url: &str) -> StoreError {
    StoreError::new(ErrorKind::Integrity, url, "the file changed while it was read; run again when nobody writes to it")
}

impl SourceStore for FileSource {
    fn head(&self, url: &str) -> Result<Head, StoreError> {
        let (path, _, metadata) = Self::open(url)?;
        self.remember(&path, &metadata);
        Ok(head_of(&metadata))
    }

    fn begin(&self, url: &str) -> Result<(Head, Bytes), StoreError> {
        let (path, file, metadata) = Self::open(url)?;
        self.remember(&path, &metadata);
        let start = read_at(url, &file, &(0..metadata.len().min(START)))?;
        Ok((head_of(&metadata), start))
    }

    fn ranges(&self, url: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        let (file, size) = self.reopen(url)?;
        merge::check(url, ranges, size)?;
        ranges.iter().map(|range| read_at(url, &file, range)).collect()
    }

    fn stream(&self, url: &str, sink: &mut dyn Write) -> Result<u64, StoreError> {
        let (file, size) = self.reopen(url)?;
        let copied = copy(url, &mut file.take(size), sink)?;
        if copied != size || self.reopen(url)?.1 != size { Err(changed(url)) } else { Ok(copied) }
    }

    fn is_local(&self, _url: &str) -> bool {
        true
    }
}

/// One range of an open file; short if and only if it is an error.
pub(super) fn read_at(url: &str, file: &File, range: &Range<u64>) -> Result<Bytes, StoreError> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    match file.read_exact_at(&mut bytes, range.start) {
        Ok(()) => Ok(bytes.into()),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(changed(url)),
        Err(error) => Err(StoreError::from_io(url, "read", error)),
    }
}

fn copy(url: &str, file: &mut dyn Read, sink: &mut dyn Write) -> Result<u64, StoreError> {
    let mut block = vec![0; BLOCK];
    let mut copied = 0_u64;
    loop {
        let length = file.read(&mut block).map_err(|error| StoreError::from_io(url, "read", error))?;
        let Some(part) = block.get(..length).filter(|part| !part.is_empty()) else { return Ok(copied) };
        sink.write_all(part).map_err(|error| StoreError::from_io(url, "pass on what was read", error))?;
        copied = copied.saturating_add(length as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(content: &[u8]) -> (tempfile::TempDir, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a b.nc");
        std::fs::write(&path, content).unwrap();
        let url = path.to_string_lossy().into_owned();
        (directory, url)
    }

    #[test]
    fn reads_paths_and_file_urls() {
        let (_keep, path) = sample(b"0123456789");
        let url = url::Url::from_file_path(&path).unwrap().to_string();
        let source = FileSource::default();
        for name in [&path, &url] {
            assert_eq!(source.head(name).unwrap().size, Some(10));
            assert_eq!(source.ranges(name, &[8..10, 0..3, 4..4]).unwrap(), ["89", "012", ""]);
            let mut whole = Vec::new();
            assert_eq!(source.stream(name, &mut whole).unwrap(), 10);
            assert_eq!(whole, b"0123456789");
        }
    }

    #[test]
    fn refuses_what_is_absent_short_or_no_file() {
        let (keep, path) = sample(b"0123456789");
        let source = FileSource::default();
        let kind = |url: &str, range: Range<u64>| source.ranges(url, &[range]).unwrap_err().kind;
        assert_eq!(kind(&path, 5..11), ErrorKind::Integrity);
        assert_eq!(kind(&path, 0..u64::MAX), ErrorKind::Integrity);
        assert_eq!(kind("absent.nc", 0..1), ErrorKind::NotFound);
        assert_eq!(kind(&keep.path().to_string_lossy(), 0..1), ErrorKind::Other);
    }

    #[test]
    fn refuses_a_file_that_changes() {
        let (_keep, path) = sample(b"0123456789");
        let source = FileSource::default();
        source.head(&path).unwrap();
        std::fs::write(&path, b"0123456789ab").unwrap();
        assert_eq!(source.ranges(&path, &[0..1]).unwrap_err().kind, ErrorKind::Integrity);
        source.head(&path).unwrap();
        assert!(source.ranges(&path, &[0..1]).is_ok());
    }
}
