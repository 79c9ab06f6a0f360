//! A file as the format libraries want it: any bytes, at once, through few requests.
//!
//! Small reads come from cached blocks, large reads pass through. The start of the file is there from the beginning; what lies
//! behind it is fetched in steps that grow, so that a header of any length takes few requests and a few numbers somewhere cost few bytes. Not for bulk data of tasks: those ask the store for their
//! ranges themselves. Invariant: at most [`BLOCKS`] blocks are held, and a read past the announced size is an error.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hdf5_reader::error::Error as Hdf5Error;
use hdf5_reader::{Storage, StorageBuffer};

use crate::store::{SourceStore, StoreError};

/// Bytes of one cached block.
const BLOCK: u64 = 64 << 10;
/// Blocks held: 4 MiB per open file.
const BLOCKS: usize = 64;
/// Most blocks of one step, and the share of the file that a step may be.
const LONGEST_STEP: u64 = 16;
const SHARE: u64 = 32;
/// Reads longer than this are not cached.
const LARGEST_CACHED: u64 = 4 * BLOCK;

/// Random access to one file of known size.
pub(super) struct Window {
    store: Arc<dyn SourceStore>,
    url: String,
    size: u64,
    start: Bytes,
    cache: Mutex<Cache>,
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
    pub(super) fn new(store: Arc<dyn SourceStore>, url: &str, size: u64, start: Bytes) -> Self {
        Self { store, url: url.to_owned(), size, start, cache: Mutex::default() }
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

impl Storage for Window {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_range(&self, offset: u64, len: usize) -> Result<StorageBuffer, Hdf5Error> {
        let end = offset.checked_add(len as u64).filter(|&end| end <= self.size);
        let Some(end) = end else {
            return Err(Hdf5Error::UnexpectedEof { offset, needed: len as u64, available: self.size.saturating_sub(offset) });
        };
        let bytes = self.read(offset..end).map_err(|error| Hdf5Error::Io(std::io::Error::other(error)))?;
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
