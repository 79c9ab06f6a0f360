//! What a task must read: source chunks or rows, and where their elements go.
//!
//! Invariant: the reads of a slab cover every element that any input holds of it, and each element exactly once.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::inputs::{self, Described, DescribedVariable};
use super::moves::{Destination, Looked};
use super::{WorkError, Workshop};
use crate::array::{Array, Placed, Values};
use crate::cf::Conversion;
use crate::cf::statistics::Statistics;
use crate::codec;
use crate::combine::{ConcatAxis, Pieces};
use crate::grid::{ChunkGrid, Region, elements, positions};
use crate::layout::{ChunkTable, Layout, Stored};
use crate::source::Source;
use crate::source::ceiling::Ceiling;
use crate::source::opendap::{self, Slicing};
use crate::transform::{self, TextRule};

/// Rows are read in boxes of about this many bytes.
const BOX: u64 = 4 << 20;

/// One input's part of a variable.
pub(super) struct Cell {
    pub(super) input: usize,
    pub(super) conversion: usize,
    /// Its box of the variable.
    pub(super) region: Region,
}

/// A box of the variable and where its elements are in the decoded values of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlacedPiece {
    /// Box of the variable.
    pub region: Region,
    /// Its elements in the read's values.
    pub placed: Placed,
}

impl PlacedPiece {
    /// Where a part of the piece is in the read's values.
    pub(super) fn at(&self, part: &Region) -> Result<Placed, WorkError> {
        let mut offset = self.placed.offset as i64;
        for (axis, stride) in self.placed.strides.iter().enumerate() {
            offset += (part.start[axis] - self.region.start[axis]) as i64 * stride;
        }
        let offset = u64::try_from(offset).map_err(|_| WorkError::Internal("a piece before its read".to_owned()))?;
        Ok(Placed { offset, strides: self.placed.strides.clone() })
    }
}

/// One thing to read, decode and place.
pub struct Read {
    /// Variable of the result, by position in the schema.
    pub(super) variable: usize,
    /// Input, by position in the prepared task.
    pub(super) input: usize,
    pub(super) conversion: Conversion,
    /// Box of the file's variable that the decoded values hold; edge chunks reach past the variable.
    pub(super) region: Region,
    pub(super) from: ReadFrom,
    /// Where the values go.
    pub(super) pieces: Vec<PlacedPiece>,
    /// Objects of the task that get some of the values, by position.
    pub(super) touches: Vec<u32>,
    pub(super) stored: Arc<Stored>,
    pub(super) source_name: String,
    pub(super) rule: Option<TextRule>,
    /// The chunk of the store that its bytes are as they stand, if they are.
    pub(super) moves: Option<Destination>,
}

/// Where the bytes of a read are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadFrom {
    /// A stored chunk: its number in the table.
    Chunk(usize),
    /// Rows: one range each, together the box in row-major order.
    Rows(Vec<Range<u64>>),
    /// The header itself holds the values.
    Header,
    /// Nobody wrote these values.
    Nothing,
    /// Only the source itself can read them.
    Source,
    /// A server sends just this box.
    Server,
    /// A scratch object, by its key.
    Scratch(String),
}

impl Read {
    /// Byte ranges of the file to fetch.
    #[must_use]
    pub fn ranges(&self) -> Vec<Range<u64>> {
        match (&self.from, &self.stored.layout) {
            (ReadFrom::Chunk(number), Layout::Chunked(table)) => {
                let entry = table.entries[*number];
                std::iter::once(entry.offset..entry.offset.saturating_add(u64::from(entry.length))).collect()
            }
            (ReadFrom::Rows(ranges), _) => ranges.clone(),
            _ => Vec::new(),
        }
    }

    /// Bytes to fetch.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        match (&self.from, &self.stored.layout) {
            (ReadFrom::Chunk(number), Layout::Chunked(table)) => u64::from(table.entries[*number].length),
            (ReadFrom::Rows(ranges), _) => ranges.iter().map(|range| range.end - range.start).sum(),
            (ReadFrom::Server, _) => opendap::travelling(&self.stored, elements(&self.region.shape)).unwrap_or(0),
            (ReadFrom::Scratch(_), _) => elements(&self.region.shape).saturating_mul(self.stored.dtype.size() as u64),
            _ => 0,
        }
    }

    /// Position of its input in the prepared task: reads of one input can be fetched together.
    #[must_use]
    pub fn input(&self) -> usize {
        self.input
    }
}

/// The cells of a variable that a slab touches, holes left out.
pub(super) fn cells(axes: &[ConcatAxis], pieces: &Pieces, shape: &[u64], slab: &Region) -> Vec<Cell> {
    let counts: Vec<u64> = pieces.axes.iter().map(|&(axis, _)| axes[axis].lengths.len() as u64).collect();
    let along: Vec<Vec<(u64, u64, u64)>> =
        pieces.axes.iter().map(|&(axis, dimension)| touched(&axes[axis].lengths, slab, dimension)).collect();
    let choices = Region::whole(&along.iter().map(|positions| positions.len() as u64).collect::<Vec<_>>());
    let cell = |choice: Vec<u64>| {
        let mut region = Region::whole(shape);
        let mut index = Vec::with_capacity(choice.len());
        for (number, &(_, dimension)) in pieces.axes.iter().enumerate() {
            let (position, start, length) = along[number][choice[number] as usize];
            (region.start[dimension], region.shape[dimension]) = (start, length);
            index.push(position);
        }
        let number = crate::grid::ravel(&index, &counts) as usize;
        let input = (*pieces.inputs.get(number)?)? as usize;
        Some(Cell { input, conversion: pieces.converted.get(number).map_or(0, |&conversion| conversion as usize), region })
    };
    positions(&choices).filter_map(cell).collect()
}

/// (position, start, length) of the files along one axis that a slab touches.
fn touched(lengths: &[u64], slab: &Region, dimension: usize) -> Vec<(u64, u64, u64)> {
    let (low, high) = (slab.start[dimension], slab.end(dimension));
    let mut start = 0;
    let mut found = Vec::new();
    for (position, &length) in lengths.iter().enumerate() {
        if start < high && start + length > low && length > 0 {
            found.push((position as u64, start, length));
        }
        start += length;
    }
    found
}

/// The reads of one cell for a slab; `into` is the grid of objects, the slab's box of indices and the position of its first object.
pub(super) fn list(found: &DescribedVariable, cell: &Cell, slab: &Region, into: (&ChunkGrid, &Region, usize)) -> Vec<Read> {
    let Some(common) = slab.intersect(&cell.region) else { return Vec::new() };
    let within = common.relative_to(&cell.region.start);
    let needed = found.view.source_region(&within);
    let read = |(region, from): (Region, ReadFrom)| {
        let shifted =
            |piece: transform::view::ViewPiece| PlacedPiece { region: piece.region.shifted_by(&cell.region.start), placed: piece.placed };
        let pieces: Vec<PlacedPiece> = found.view.pieces(&region, &within).into_iter().map(shifted).collect();
        let touches = touched_objects(&pieces, into);
        let (stored, source_name) = (Arc::clone(&found.stored), found.source_name.clone());
        let conversion = Conversion::Keep;
        Read { variable: 0, input: 0, conversion, region, from, pieces, touches, stored, source_name, rule: found.rule, moves: None }
    };
    boxes(&found.stored, &needed).into_iter().map(read).filter(|read| !read.touches.is_empty()).collect()
}

pub(super) fn touched_objects(pieces: &[PlacedPiece], (grid, objects, first): (&ChunkGrid, &Region, usize)) -> Vec<u32> {
    let mut touched: Vec<u32> = Vec::new();
    for piece in pieces {
        let Some(indices) = grid.touching(&piece.region).intersect(objects) else { continue };
        let number = |index: Vec<u64>| {
            crate::grid::ravel(&Region::new(index, vec![1; objects.rank()]).relative_to(&objects.start).start, &objects.shape)
        };
        touched.extend(positions(&indices).map(|index| (first as u64 + number(index)) as u32));
    }
    touched.sort_unstable();
    touched.dedup();
    touched
}

/// The boxes to read of a file's variable so that `needed` is covered, and where each is.
fn boxes(stored: &Stored, needed: &Region) -> Vec<(Region, ReadFrom)> {
    let item = stored.dtype.size().max(1) as u64;
    match &stored.layout {
        _ if stored.dtype.is_text() => split(needed, 64, BOX).into_iter().map(|region| (region, ReadFrom::Source)).collect(),
        Layout::Free { max_bytes, server } => {
            let from = if server.is_some() { ReadFrom::Server } else { ReadFrom::Source };
            split(needed, item, *max_bytes).into_iter().map(|region| (region, from.clone())).collect()
        }
        Layout::Inline(_) => vec![(Region::whole(&stored.shape), ReadFrom::Header)],
        Layout::Unwritten => split(needed, item, BOX).into_iter().map(|region| (region, ReadFrom::Nothing)).collect(),
        Layout::Strided { offset, strides } => split(needed, item, BOX)
            .into_iter()
            .map(|region| {
                let rows = rows(&region, *offset, strides, item);
                (region, ReadFrom::Rows(rows))
            })
            .collect(),
        Layout::Chunked(table) => chunks(table, needed),
    }
}

fn chunks(table: &ChunkTable, needed: &Region) -> Vec<(Region, ReadFrom)> {
    let whole = |index: Vec<u64>| {
        let number = table.grid.number(&index) as usize;
        let start = index.iter().zip(&table.grid.chunk).map(|(index, chunk)| index * chunk).collect();
        let region = Region::new(start, table.grid.chunk.clone());
        let written = table.entries.get(number).is_some_and(|entry| !entry.is_unwritten());
        (region, if written { ReadFrom::Chunk(number) } else { ReadFrom::Nothing })
    };
    positions(&table.grid.touching(needed)).map(whole).collect()
}

/// Cuts a box into boxes of at most `limit` bytes, along the slowest dimensions.
fn split(region: &Region, item: u64, limit: u64) -> Vec<Region> {
    let Some(axis) = (0..region.rank()).find(|&axis| elements(&region.shape[axis + 1..]).saturating_mul(item) <= limit) else {
        return vec![region.clone()];
    };
    let row = elements(&region.shape[axis + 1..]).saturating_mul(item).max(1);
    let mut lengths = vec![1; axis];
    lengths.push((limit / row).clamp(1, region.shape[axis].max(1)));
    lengths.extend_from_slice(&region.shape[axis + 1..]);
    let grid = ChunkGrid::new(region.shape.clone(), lengths);
    (0..grid.chunks()).map(|number| grid.region(&grid.index(number)).shifted_by(&region.start)).collect()
}

/// Byte ranges of a box in a strided layout, in row-major order, neighbours joined.
fn rows(region: &Region, offset: u64, strides: &[u64], item: u64) -> Vec<Range<u64>> {
    let mut joined = region.rank();
    let mut run = item;
    while joined > 0 && strides[joined - 1] == run {
        joined -= 1;
        run = run.saturating_mul(region.shape[joined]);
    }
    let outer = Region::new(region.start[..joined].to_vec(), region.shape[..joined].to_vec());
    let inner: u64 = (joined..region.rank()).map(|axis| region.start[axis].saturating_mul(strides[axis])).fold(0, u64::saturating_add);
    let mut rows: Vec<Range<u64>> = Vec::new();
    for position in positions(&outer) {
        let start = position
            .iter()
            .zip(strides)
            .fold(offset.saturating_add(inner), |sum, (index, stride)| sum.saturating_add(index.saturating_mul(*stride)));
        match rows.last_mut() {
            Some(last) if last.end == start => last.end = start.saturating_add(run),
            _ => rows.push(start..start.saturating_add(run)),
        }
    }
    rows
}

/// The values of a read's box from the server that slices the variable, in the machine's byte order.
pub(super) fn from_server(workshop: &Workshop, described: &Described, read: &Read) -> Result<Bytes, WorkError> {
    let ceiling = Ceiling::of_memory(workshop.plan.memory);
    let slicing = Slicing { store: &*workshop.sources, url: &described.url, variable: &read.source_name, stored: &read.stored, ceiling };
    match slicing.read(&read.region)?.values {
        Values::Bytes(bytes) => Ok(bytes.into()),
        Values::Texts(_) => Err(WorkError::Internal("texts came where numbers were asked for".to_owned())),
    }
}

/// The converted values of a read's box.
pub(super) fn values(
    workshop: &Workshop,
    (number, described): (usize, &Described),
    read: &Read,
    parts: &[Bytes],
    scratch: &mut codec::Scratch,
) -> Result<Array, WorkError> {
    let raw = match &read.from {
        ReadFrom::Source => from_source(workshop, (number, described), read)?,
        _ => from_bytes(described, read, parts, scratch)?,
    };
    converted(described, read, raw)
}

fn converted(described: &Described, read: &Read, raw: Array) -> Result<Array, WorkError> {
    read.conversion.apply(raw).map_err(|error| WorkError::Conversion {
        url: described.url.clone(),
        variable: read.source_name.clone(),
        message: error.to_string(),
    })
}

/// What a read gives: bytes to store as they are, or converted values.
pub(super) enum Given {
    /// The destination, and statistics of the values if they are wanted.
    Moved(Destination, Option<Statistics>),
    /// To be placed.
    Values(Array),
}

/// What a read gives.
pub(super) fn given(
    workshop: &Workshop,
    (number, described): (usize, &Described),
    read: &Read,
    parts: &[Bytes],
    scratch: &mut codec::Scratch,
) -> Result<Given, WorkError> {
    let (Some(destination), [part]) = (read.moves, parts) else {
        return values(workshop, (number, described), read, parts, scratch).map(Given::Values);
    };
    match workshop.look(described, read, part, scratch)? {
        Looked::Fine(statistics) => Ok(Given::Moved(destination, statistics)),
        Looked::Changes(raw) => converted(described, read, raw).map(Given::Values),
    }
}

fn from_bytes(described: &Described, read: &Read, parts: &[Bytes], scratch: &mut codec::Scratch) -> Result<Array, WorkError> {
    let stored = &*read.stored;
    let count = elements(&read.region.shape) as usize;
    let bytes = match (&read.from, &stored.layout) {
        (ReadFrom::Chunk(number), Layout::Chunked(table)) => {
            let part = parts.first().map_or(&[][..], |part| part);
            codec::decode(stored, table, &table.entries[*number], part, scratch)
                .map_err(|error| corrupt(described, read, &error.to_string()))?;
            scratch.take()
        }
        (ReadFrom::Nothing, _) => stored.fill.repeat(count),
        (ReadFrom::Header, Layout::Inline(bytes)) => native(bytes.clone(), stored),
        _ => native(parts.concat(), stored),
    };
    Array::from_bytes(stored.dtype, read.region.shape.clone(), bytes)
        .ok_or_else(|| corrupt(described, read, "its values do not have the announced size"))
}

fn native(mut bytes: Vec<u8>, stored: &Stored) -> Vec<u8> {
    codec::swap_to_native(&mut bytes, stored.dtype.size(), stored.order);
    bytes
}

pub(super) fn corrupt(described: &Described, read: &Read, what: &str) -> WorkError {
    let message = format!(
        "variable `{}`, box {:?} + {:?}: {what}; fetch the file anew or ask its provider",
        read.source_name, read.region.start, read.region.shape
    );
    WorkError::Source(crate::source::SourceError::Corrupt { url: described.url.clone(), message })
}

/// Texts: read by the source itself, chars joined along their last dimension.
fn from_source(workshop: &Workshop, (number, described): (usize, &Described), read: &Read) -> Result<Array, WorkError> {
    let source = inputs::open(workshop, number)?;
    texts_of(&*source, described, &read.source_name, &read.region, read.rule)
}

/// The texts of a box of a file's variable; `region` does not count the dimension that joining loses.
pub(super) fn texts_of(
    source: &dyn Source,
    described: &Described,
    name: &str,
    region: &Region,
    rule: Option<TextRule>,
) -> Result<Array, WorkError> {
    let mut region = region.clone();
    if rule == Some(TextRule::Joined) {
        let shape = source.schema().variable(name).map(|variable| source.schema().shape(variable)).unwrap_or_default();
        if shape.len() == region.rank() + 1 {
            region.start.push(0);
            region.shape.extend(shape.last());
        }
    }
    let array = source.read(name, &region)?;
    let Some(rule) = rule else { return Ok(array) };
    let message = format!("variable `{name}`: its chars cannot be joined");
    rule.apply(&array).ok_or_else(|| WorkError::Source(crate::source::SourceError::Corrupt { url: described.url.clone(), message }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_join_what_is_contiguous() {
        // A record variable: 3 records of 2 × 4 two-byte items, records 100 bytes apart.
        let strides = [100, 8, 2];
        assert_eq!(rows(&Region::whole(&[3, 2, 4]), 10, &strides, 2), vec![10..26, 110..126, 210..226]);
        assert_eq!(rows(&Region::new(vec![1, 1, 1], vec![1, 1, 2]), 10, &strides, 2), vec![120..124]);
        assert_eq!(rows(&Region::whole(&[3, 2, 4]), 0, &[16, 8, 2], 2), vec![0..48]);
        assert_eq!(rows(&Region::whole(&[]), 7, &[], 4), vec![7..11]);
        assert_eq!(rows(&Region::new(vec![0, 0, 0], vec![1, 2, 3]), 0, &[16, 8, 2], 2), vec![0..6, 8..14]);
    }

    #[test]
    fn split_keeps_the_limit_and_covers() {
        let region = Region::new(vec![5, 0, 3], vec![7, 10, 4]);
        let parts = split(&region, 2, 100);
        assert!(parts.iter().all(|part| part.elements() * 2 <= 100));
        assert_eq!(parts.iter().map(Region::elements).sum::<u64>(), region.elements());
        assert!(parts.iter().all(|part| region.contains(part)));
        assert_eq!(split(&Region::whole(&[]), 8, 4).len(), 1);
    }
}
