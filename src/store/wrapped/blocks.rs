//! A file from its beginning to its end, for those who unpack it.
//!
//! Invariant: at most one block is held, and a failure of the store comes out of the reader as what it is.

use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes};

use super::Wrapped;
use super::file::File;

/// Bytes asked for at once.
const BLOCK: u64 = 4 << 20;

/// A file being read.
pub(super) struct Blocks<'a> {
    store: &'a Wrapped,
    name: &'a str,
    file: &'a File,
    /// Bytes that were fetched and not yet taken, and where the next ones begin.
    block: Bytes,
    next: u64,
}

impl<'a> Blocks<'a> {
    /// Reads a file whose first bytes may be known.
    pub(super) fn new(store: &'a Wrapped, name: &'a str, file: &'a File, mut start: Bytes) -> Self {
        start.truncate(usize::try_from(file.length).unwrap_or(usize::MAX));
        Self { store, name, file, next: start.len() as u64, block: start }
    }

    /// Goes on behind so many bytes, of which none was taken yet.
    pub(super) fn skip(&mut self, bytes: u64) {
        if bytes > 0 {
            (self.next, self.block) = (bytes, Bytes::new());
        }
    }
}

impl BufRead for Blocks<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.block.is_empty() && self.next < self.file.length {
            let range = self.next..self.file.length.min(self.next + BLOCK);
            self.next = range.end;
            let fetched = self.store.read(self.name, self.file, std::slice::from_ref(&range)).map_err(io::Error::other)?;
            self.block = fetched.into_iter().next().unwrap_or_default();
        }
        Ok(&self.block)
    }

    fn consume(&mut self, taken: usize) {
        self.block.advance(taken.min(self.block.len()));
    }
}

impl Read for Blocks<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let block = self.fill_buf()?;
        let length = block.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..length), block.get(..length)) {
            to.copy_from_slice(from);
        }
        self.consume(length);
        Ok(length)
    }
}
