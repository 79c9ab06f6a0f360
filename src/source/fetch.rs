//! A box of values from stored bytes: the plain, one-thread way, for descriptions, tests and small variables.
//!
//! Not how tasks move data at scale (that is `work`). Invariant: at most [`BATCH`] stored bytes and one decoded chunk are held
//! besides the result.

use std::ops::Range;

use super::SourceError;
use super::ceiling::Ceiling;
use crate::array::{Array, DataType, Placed, copy_box};
use crate::codec::{self, CodecError, Scratch};
use crate::grid::{Region, elements, positions, strides};
use crate::layout::{ChunkEntry, ChunkTable, Layout, Stored};
use crate::store::SourceStore;

/// Stored bytes asked for at once.
const BATCH: u64 = 16 << 20;
/// Bytes that a chunk to be read takes in a list.
const LISTED: u64 = 80;
/// A gap that is cheaper to read than to skip.
const GAP: u64 = 16 << 10;

/// The values of `region` of a variable, from its layout.
///
/// # Errors
/// [`SourceError::Store`] if bytes cannot be had, `Corrupt` naming variable and chunk if they cannot be decoded, `Unsupported`
/// for filters that we do not know and for layouts that only [`super::Source::read`] can read.
pub fn read_stored(store: &dyn SourceStore, url: &str, variable: &str, stored: &Stored, region: &Region) -> Result<Array, SourceError> {
    read_stored_within(store, url, variable, (stored, region), Ceiling::default())
}

/// [`read_stored`], if neither the box nor one chunk of the file takes more memory than `ceiling` allows.
///
/// # Errors
/// As [`read_stored`], and [`SourceError::TooLarge`].
pub fn read_stored_within(
    store: &dyn SourceStore,
    url: &str,
    variable: &str,
    (stored, region): (&Stored, &Region),
    ceiling: Ceiling,
) -> Result<Array, SourceError> {
    super::check_region(url, variable, &stored.shape, region)?;
    super::check_size(url, variable, stored.dtype, region, ceiling)?;
    if let Layout::Chunked(table) = &stored.layout {
        let chunk = elements(&table.grid.chunk).saturating_mul(stored.dtype.size() as u64);
        ceiling.check(url, &format!("variable `{variable}`: one of its chunks"), chunk)?;
        let listed = table.grid.touching(region).elements().saturating_mul(LISTED);
        ceiling.check(url, &format!("variable `{variable}`: the list of its chunks"), listed)?;
    }
    let item = stored.dtype.size();
    let mut fetch = Fetch { store, url, variable, stored, region, values: allocate(url, variable, stored.dtype, region)? };
    if !region.is_empty() {
        match &stored.layout {
            Layout::Chunked(table) => fetch.chunks(table)?,
            Layout::Strided { offset, strides } => fetch.rows(*offset, strides)?,
            Layout::Inline(bytes) => fetch.inline(bytes)?,
            Layout::Unwritten => {
                let size = fetch.values.len();
                codec::repeat(&stored.fill, size, &mut fetch.values);
            }
            Layout::Free { .. } => {
                let message = "only the format library can read its values; this is a mistake in the program, please report it".to_owned();
                return Err(SourceError::Unsupported { url: url.to_owned(), variable: variable.to_owned(), message });
            }
        }
        if matches!(stored.layout, Layout::Strided { .. } | Layout::Inline(_)) {
            codec::swap_to_native(&mut fetch.values, item, stored.order);
        }
    }
    Array::from_bytes(stored.dtype, region.shape.clone(), fetch.values).ok_or_else(|| super::wrong_length(url, variable))
}

fn allocate(url: &str, variable: &str, dtype: DataType, region: &Region) -> Result<Vec<u8>, SourceError> {
    let bytes = region.elements().saturating_mul(dtype.size() as u64);
    let mut values = Vec::new();
    let refuse =
        || SourceError::Corrupt { url: url.to_owned(), message: format!("variable `{variable}`: {bytes} bytes do not fit into memory") };
    let length = usize::try_from(bytes).map_err(|_| refuse())?;
    values.try_reserve_exact(length).map_err(|_| refuse())?;
    values.resize(length, 0);
    Ok(values)
}

struct Fetch<'a> {
    store: &'a dyn SourceStore,
    url: &'a str,
    variable: &'a str,
    stored: &'a Stored,
    region: &'a Region,
    values: Vec<u8>,
}

impl Fetch<'_> {
    fn corrupt(&self, message: &str) -> SourceError {
        SourceError::Corrupt { url: self.url.to_owned(), message: format!("variable `{}`: {message}", self.variable) }
    }

    fn chunks(&mut self, table: &ChunkTable) -> Result<(), SourceError> {
        let mut wanted = Vec::new();
        for index in positions(&table.grid.touching(self.region)) {
            let entry = table.entries.get(table.grid.number(&index) as usize).copied();
            wanted.push((index, entry.ok_or_else(|| self.corrupt("its chunk table is too short"))?));
        }
        wanted.sort_by_key(|(_, entry)| entry.offset);
        let mut scratch = Scratch::new();
        let mut rest = wanted.as_slice();
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_length(rest.iter().map(|(_, entry)| u64::from(entry.length))));
            self.batch(table, batch, &mut scratch)?;
            rest = after;
        }
        Ok(())
    }

    fn batch(&mut self, table: &ChunkTable, batch: &[(Vec<u64>, ChunkEntry)], scratch: &mut Scratch) -> Result<(), SourceError> {
        let written = batch.iter().filter(|(_, entry)| !entry.is_unwritten());
        let ranges: Vec<Range<u64>> =
            written.map(|(_, entry)| entry.offset..entry.offset.saturating_add(u64::from(entry.length))).collect();
        let fetched = if ranges.is_empty() { Vec::new() } else { self.store.ranges(self.url, &ranges)? };
        let mut fetched = fetched.into_iter();
        for (index, entry) in batch {
            let bytes = if entry.is_unwritten() { bytes::Bytes::new() } else { fetched.next().unwrap_or_default() };
            let chunk =
                codec::decode(self.stored, table, entry, &bytes, scratch).map_err(|error| self.codec_error(index, entry, &error))?;
            self.place(table, index, chunk)?;
        }
        Ok(())
    }

    fn codec_error(&self, index: &[u64], entry: &ChunkEntry, error: &CodecError) -> SourceError {
        if let CodecError::Unsupported { .. } = error {
            return SourceError::Unsupported { url: self.url.to_owned(), variable: self.variable.to_owned(), message: error.to_string() };
        }
        self.corrupt(&format!("chunk {index:?} ({} bytes at {}): {error}", entry.length, entry.offset))
    }

    fn place(&mut self, table: &ChunkTable, index: &[u64], chunk: &[u8]) -> Result<(), SourceError> {
        let whole = table.grid.region(index);
        let Some(piece) = whole.intersect(self.region) else { return Ok(()) };
        let from = placed(&piece.relative_to(&whole.start), &table.grid.chunk);
        let to = placed(&piece.relative_to(&self.region.start), &self.region.shape);
        let copied = copy_box(self.stored.dtype.size(), &piece.shape, (chunk, &from), (&mut self.values, &to));
        copied.map_err(|error| self.corrupt(&error.to_string()))
    }

    fn inline(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        let from = placed(self.region, &self.stored.shape);
        let to = placed(&Region::whole(&self.region.shape), &self.region.shape);
        let copied = copy_box(self.stored.dtype.size(), &self.region.shape, (bytes, &from), (&mut self.values, &to));
        copied.map_err(|error| self.corrupt(&error.to_string()))
    }

    fn rows(&mut self, offset: u64, strides: &[u64]) -> Result<(), SourceError> {
        let item = self.stored.dtype.size() as u64;
        let mut boxes = Vec::new();
        split(self.region, strides, item, &mut boxes);
        let spans: Option<Vec<Range<u64>>> = boxes.iter().map(|piece| span(piece, offset, strides, item)).collect();
        let spans = spans.ok_or_else(|| self.corrupt("its values lie outside any file"))?;
        let (mut boxes, mut spans) = (boxes.as_slice(), spans.as_slice());
        while !spans.is_empty() {
            let count = batch_length(spans.iter().map(|span| span.end - span.start));
            let fetched = self.store.ranges(self.url, &spans[..count])?;
            for (piece, bytes) in boxes.iter().zip(&fetched) {
                self.place_rows(piece, bytes, strides)?;
            }
            (boxes, spans) = (&boxes[count..], &spans[count..]);
        }
        Ok(())
    }

    /// Copies byte by byte along one more dimension, because rows need not lie at multiples of the item size.
    fn place_rows(&mut self, piece: &Region, bytes: &[u8], strides: &[u64]) -> Result<(), SourceError> {
        let item = self.stored.dtype.size() as u64;
        let mut shape = piece.shape.clone();
        shape.push(item);
        let mut from = Placed { offset: 0, strides: strides.iter().map(|&stride| stride as i64).collect() };
        from.strides.push(1);
        let mut wide = piece.relative_to(&self.region.start);
        wide.start.push(0);
        let mut whole = self.region.shape.clone();
        whole.push(item);
        let to = placed(&Region::new(wide.start, shape.clone()), &whole);
        let copied = copy_box(1, &shape, (bytes, &from), (&mut self.values, &to));
        copied.map_err(|error| self.corrupt(&error.to_string()))
    }
}

/// How many of these lengths go into one batch: at least one, at most [`BATCH`] bytes.
fn batch_length(lengths: impl Iterator<Item = u64>) -> usize {
    let mut sum = 0u64;
    let fitting = lengths.take_while(|length| {
        sum = sum.saturating_add(*length);
        sum <= BATCH
    });
    fitting.count().max(1)
}

/// A box of `region`'s shape at its start, inside a row-major buffer of lengths `shape`.
fn placed(region: &Region, shape: &[u64]) -> Placed {
    let strides = strides(shape);
    let offset = region.start.iter().zip(&strides).map(|(start, stride)| start * stride).sum();
    Placed { offset, strides: strides.iter().map(|&stride| stride as i64).collect() }
}

/// Bytes from the first to behind the last element of a box.
fn extent(region: &Region, strides: &[u64], item: u64) -> Option<u64> {
    region.shape.iter().zip(strides).try_fold(item, |sum, (length, stride)| sum.checked_add((length - 1).checked_mul(*stride)?))
}

fn span(region: &Region, offset: u64, strides: &[u64], item: u64) -> Option<Range<u64>> {
    let start = region.start.iter().zip(strides).try_fold(offset, |sum, (start, stride)| sum.checked_add(start.checked_mul(*stride)?))?;
    Some(start..start.checked_add(extent(region, strides, item)?)?)
}

/// Halves a box until each part is read in one go without too many bytes that nobody wants.
fn split(region: &Region, strides: &[u64], item: u64, parts: &mut Vec<Region>) {
    let wanted = region.elements().saturating_mul(item);
    let read = extent(region, strides, item).unwrap_or(u64::MAX);
    let wasteful = read > GAP && read / 4 > wanted;
    match region.shape.iter().position(|&length| length > 1) {
        Some(axis) if read > BATCH || wasteful => {
            let half = region.shape[axis] / 2;
            let (mut near, mut far) = (region.clone(), region.clone());
            near.shape[axis] = half;
            far.start[axis] += half;
            far.shape[axis] -= half;
            split(&near, strides, item, parts);
            split(&far, strides, item, parts);
        }
        _ => parts.push(region.clone()),
    }
}
