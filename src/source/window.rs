//! A file as the format libraries want it: any bytes, at once, through few requests.
//!
//! Small reads come from cached blocks, large reads pass through. The start of the file is there from the beginning; what lies
//! behind it is fetched in steps that grow, so that a header of any length takes few requests and a few numbers somewhere cost few bytes. Not for bulk data of tasks: those ask the store for their
//! ranges themselves. Invariant: at most [`BLOCKS`] blocks are held, and a read past the announced size is an error.

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hdf5_reader::error::Error as Hdf5Error;
use hdf5_reader::{Storage, StorageBuffer};

use super::ceiling::Ceiling;
use crate::store::{SourceStore, StoreError, shown};

/// Bytes of one cached block.
const BLOCK: u64 = 64 << 10;
/// Blocks held: 4 MiB per open file.
const BLOCKS: usize = 64;
/// Most blocks of one step, and the share of the file that a step may be.
const LONGEST_STEP: u64 = 16;
const SHARE: u64 = 32;
/// What a read costs besides its bytes, for a parser that may ask for so many.
const READ: u64 = 64;

thread_local! {
    /// Bytes that the parser running on this thread may still ask for, if one runs. Thread by thread, since parsing never leaves
    /// its thread and one window serves several.
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
}
/// Reads longer than this are not cached.
const LARGEST_CACHED: u64 = 4 * BLOCK;

/// Files whose structures a library is parsing now.
static PARSING: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The files whose structures are being parsed in this process now, without secrets: for whoever must say what took so much memory.
#[must_use]
pub fn parsing() -> Vec<String> {
    let mut files = PARSING.lock().unwrap_or_else(PoisonError::into_inner).clone();
    files.sort();
    files.dedup();
    files
}

/// A file that is parsed while this lives.
struct Parsing(String);

impl Parsing {
    fn begin(url: &str) -> Self {
        let url = shown(url);
        PARSING.lock().unwrap_or_else(PoisonError::into_inner).push(url.clone());
        Self(url)
    }
}

impl Drop for Parsing {
    fn drop(&mut self) {
        let mut files = PARSING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = files.iter().position(|url| *url == self.0) {
            files.swap_remove(place);
        }
    }
}

/// Random access to one file of known size.
pub(super) struct Window {
    store: Arc<dyn SourceStore>,
    url: String,
    size: u64,
    start: Bytes,
    cache: Mutex<Cache>,
    ceiling: Ceiling,
    /// The first failure of the store while a library parsed, which may have taken it for a part of the file that is not there.
    failure: Mutex<Option<StoreError>>,
}

#[derive(Default)]
struct Cache {
    /// Block behind the last step, and how many blocks that step had.
    next: u64,
    length: u64,
    blocks: HashMap<u64, (Bytes, u64)>,
    clock: u64,
}

impl Cache {
    fn get(&mut self, number: u64) -> Option<Bytes> {
        self.clock += 1;
        let (block, used) = self.blocks.get_mut(&number)?;
        *used = self.clock;
        Some(block.clone())
    }

    fn put(&mut self, number: u64, block: Bytes) {
        if self.blocks.len() >= BLOCKS
            && let Some(oldest) = self.blocks.iter().min_by_key(|(_, (_, used))| *used).map(|(number, _)| *number)
        {
            self.blocks.remove(&oldest);
        }
        self.clock += 1;
        self.blocks.insert(number, (block, self.clock));
    }
}

impl Window {
    /// A window on the file at `url`, `size` bytes long, of which the first ones are known.
    pub(super) fn new(store: Arc<dyn SourceStore>, url: &str, (size, start): (u64, Bytes), ceiling: Ceiling) -> Self {
        Self { store, url: url.to_owned(), size, start, cache: Mutex::default(), ceiling, failure: Mutex::default() }
    }

    /// What one call may hold of what the file claims.
    pub(super) fn ceiling(&self) -> Ceiling {
        self.ceiling
    }

    /// Runs a parser that asks for no more than so many bytes in all: structures that overlap or refer to one another in circles
    /// would let it read, and keep, many times the file. What it could not read is an error, even where it went on without, and so is a
    /// panic of the library's: its state is thrown away after that.
    pub(super) fn parse<T>(&self, most: u64, parse: impl FnOnce() -> Result<T, Hdf5Error>) -> Result<T, Hdf5Error> {
        let _parsing = Parsing::begin(&self.url);
        let before = LEFT.replace(Some(most));
        let parsed = catch_unwind(AssertUnwindSafe(parse));
        let left = LEFT.replace(before);
        if let Some(failure) = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(Hdf5Error::Io(std::io::Error::other(failure)));
        }
        if left == Some(0) {
            return Err(Hdf5Error::ResourceLimit(ENDLESS.to_owned()));
        }
        parsed.unwrap_or_else(|_| Err(Hdf5Error::InvalidData(GAVE_UP.to_owned())))
    }

    /// Takes a read from what the parser may ask for; nothing is left once it asked for too much.
    fn take(&self, length: u64) -> Result<(), Hdf5Error> {
        if length > self.ceiling.bytes() {
            return Err(Hdf5Error::ResourceLimit(format!("a structure of {length} bytes")));
        }
        let left = LEFT.get().map(|left| left.saturating_sub(length.saturating_add(READ)));
        LEFT.set(left);
        if left == Some(0) { Err(Hdf5Error::ResourceLimit(ENDLESS.to_owned())) } else { Ok(()) }
    }

    /// A library's error about a failure of the store; while a parser runs, kept for the end of [`Window::parse`].
    fn failed(&self, error: StoreError) -> Hdf5Error {
        if LEFT.get().is_some() {
            let kept = StoreError { kind: error.kind, url: error.url.clone(), message: error.message.clone(), cause: None };
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(kept);
        }
        Hdf5Error::Io(std::io::Error::other(error))
    }

    /// Bytes of the file.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The file.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The store that the file is read from.
    pub(super) fn store(&self) -> &dyn SourceStore {
        self.store.as_ref()
    }

    /// The bytes of `range`, which must lie inside the file.
    pub(super) fn read(&self, range: Range<u64>) -> Result<Bytes, StoreError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if range.end <= self.start.len() as u64 {
            return Ok(self.start.slice(range.start as usize..range.end as usize));
        }
        if range.end - range.start > LARGEST_CACHED {
            return self.fetch(range);
        }
        let (first, last) = (range.start / BLOCK, (range.end - 1) / BLOCK);
        let blocks = self.blocks(first, last)?;
        let skip = (range.start - first * BLOCK) as usize;
        let length = (range.end - range.start) as usize;
        match blocks.as_slice() {
            [block] if skip + length <= block.len() => Ok(block.slice(skip..skip + length)),
            _ => Ok(Bytes::from(blocks.concat().into_iter().skip(skip).take(length).collect::<Vec<u8>>())),
        }
    }

    fn fetch(&self, range: Range<u64>) -> Result<Bytes, StoreError> {
        let length = range.end - range.start;
        let bytes = self.store.ranges(&self.url, &[range])?.into_iter().next().unwrap_or_default();
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(self.short()) }
    }

    fn short(&self) -> StoreError {
        StoreError {
            kind: crate::store::ErrorKind::Integrity,
            url: self.url.clone(),
            message: "the server sent fewer bytes than asked for; run again".to_owned(),
            cause: None,
        }
    }

    /// Blocks `first..=last`; those that are missing are fetched in one request.
    fn blocks(&self, first: u64, last: u64) -> Result<Vec<Bytes>, StoreError> {
        let known = |number: u64| {
            let (from, to) = (number * BLOCK, ((number + 1) * BLOCK).min(self.size));
            (to <= self.start.len() as u64).then(|| self.start.slice(from as usize..to as usize))
        };
        let mut held: Vec<Option<Bytes>> = {
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            (first..=last).map(|number| known(number).or_else(|| cache.get(number))).collect()
        };
        let missing: Vec<u64> = (first..=last).zip(&held).filter(|(_, block)| block.is_none()).map(|(number, _)| number).collect();
        if !missing.is_empty() {
            let missing = self.step(missing, last);
            let ranges: Vec<Range<u64>> = missing.iter().map(|number| number * BLOCK..((number + 1) * BLOCK).min(self.size)).collect();
            let fetched = self.store.ranges(&self.url, &ranges)?;
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            for ((number, block), range) in missing.iter().zip(fetched).zip(&ranges) {
                if block.len() as u64 != range.end - range.start {
                    return Err(self.short());
                }
                cache.put(*number, block.clone());
                if let Some(slot) = held.get_mut((number - first) as usize) {
                    *slot = Some(block);
                }
            }
        }
        Ok(held.into_iter().flatten().collect())
    }
}

impl Window {
    /// The blocks to fetch now: those that are missing, and some that follow; far files only, where a request costs more than bytes.
    fn step(&self, mut missing: Vec<u64>, last: u64) -> Vec<u64> {
        if self.store.is_local(&self.url) {
            return missing;
        }
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let most = (self.size / SHARE / BLOCK).clamp(1, LONGEST_STEP);
        let behind = cache.next.max(self.start.len() as u64 / BLOCK);
        // Whoever reads on where the last step ended will go on reading; whoever jumps looks for a few bytes.
        let length = if missing.first() == Some(&behind) { (cache.length.max(1) * 2).min(most) } else { 1 };
        let end = (last + length).min(self.size.div_ceil(BLOCK));
        missing.extend((last + 1..end).filter(|number| !cache.blocks.contains_key(number)));
        (cache.next, cache.length) = (end.max(last + 1), length);
        missing
    }
}

/// What is said of a parser that would read for ever.
const ENDLESS: &str = "structures that refer to one another again and again";
/// What is said of a parser that panicked.
const GAVE_UP: &str = "the library gave up on these structures; they are damaged";

impl Storage for Window {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_range(&self, offset: u64, len: usize) -> Result<StorageBuffer, Hdf5Error> {
        let end = offset.checked_add(len as u64).filter(|&end| end <= self.size);
        let Some(end) = end else {
            return Err(Hdf5Error::UnexpectedEof { offset, needed: len as u64, available: self.size.saturating_sub(offset) });
        };
        self.take(len as u64)?;
        let bytes = self.read(offset..end).map_err(|error| self.failed(error))?;
        StorageBuffer::from_shared_owner(Arc::new(bytes), 0, len)
    }
}

/// The store's own error inside a library's error, so that a broken connection is never told as a broken file.
pub(super) fn store_error(error: Hdf5Error) -> Result<StoreError, Hdf5Error> {
    match error {
        Hdf5Error::Io(cause) => cause.downcast::<StoreError>().map_err(Hdf5Error::Io),
        Hdf5Error::Context { path, source } => store_error(*source).map_err(|inner| Hdf5Error::Context { path, source: Box::new(inner) }),
        other => Err(other),
    }
}
