//! Source chunks that become chunks of the store as they are.
//!
//! Plans say for which variables this may happen ([`Plan::may_move`](crate::plan::Plan::may_move)); here each chunk is looked at: where it
//! lies, how it is compressed, what becomes of its values. Invariant: whether a chunk is moved depends on plan and inputs only,
//! and none is moved that was not inflated to its exact size, its checksum verified, on this very read.

use super::inputs::Described;
use super::reads::{PlacedPiece, Read, ReadFrom, corrupt};
use super::{WorkError, Workshop};
use crate::array::{Array, DataType, Values};
use crate::cf::Conversion;
use crate::cf::statistics::Statistics;
use crate::codec;
use crate::dataset::Variable;
use crate::grid::{ChunkGrid, Region, Shape, elements, strides};
use crate::layout::{ByteOrder, ChunkEntry, ChunkTable, Filter, Layout};

/// Registered numbers of the two HDF5 filters that Zarr codecs undo too.
const DEFLATE: u16 = 1;
const SHUFFLE: u16 = 2;

/// What a source chunk must be to become a chunk of a variable.
#[derive(Debug)]
pub(super) struct Fitting {
    dtype: DataType,
    shuffle: bool,
    grid: ChunkGrid,
}

/// The chunk of the store that a read's bytes may become: an object of the task, and a chunk in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Destination {
    /// Position of the object.
    pub(super) object: u32,
    /// Row-major number of the chunk within the object.
    pub(super) chunk: usize,
}

impl Fitting {
    /// `None` for codecs other than shuffle and zlib.
    pub(super) fn of(variable: &Variable, shape: Shape) -> Option<Self> {
        let codecs: Vec<&str> = variable.encoding.codecs.iter().flatten().map(|codec| codec.name.as_str()).collect();
        let shuffle = match codecs.as_slice() {
            ["numcodecs.zlib"] => false,
            ["numcodecs.shuffle", "numcodecs.zlib"] => true,
            _ => return None,
        };
        Some(Self { dtype: variable.dtype, shuffle, grid: ChunkGrid::new(shape, variable.encoding.chunks.clone()?) })
    }

    /// Lengths of a chunk.
    pub(super) fn chunk(&self) -> &Shape {
        &self.grid.chunk
    }

    /// The index of the chunk that a read's bytes are, as they are stored; `None` if its values have to be encoded.
    pub(super) fn chunk_of(&self, read: &Read) -> Option<Vec<u64>> {
        let (ReadFrom::Chunk(number), Layout::Chunked(table)) = (&read.from, &read.stored.layout) else { return None };
        let entry = table.entries.get(*number)?;
        let [piece] = read.pieces.as_slice() else { return None };
        let like = read.stored.dtype == self.dtype && (read.stored.order == ByteOrder::Little || self.dtype.size() == 1);
        let same = like && read.rule.is_none() && self.is_chain(&table.filters) && self.is_sane(entry) && self.is_laid_out(piece, table);
        let index: Vec<u64> = piece.region.start.iter().zip(&self.grid.chunk).map(|(start, chunk)| start / chunk).collect();
        (same && self.grid.region(&index) == piece.region).then_some(index)
    }

    /// Shuffle and deflate as the store's codecs undo them. To single bytes shuffle does nothing.
    fn is_chain(&self, filters: &[Filter]) -> bool {
        let shuffles = |filter: &Filter| {
            let item = filter.parameters.first().map_or(self.dtype.size(), |&item| item as usize);
            filter.id == SHUFFLE && item == self.dtype.size()
        };
        match filters {
            [deflate] => deflate.id == DEFLATE && !self.shuffle,
            [shuffle, deflate] => deflate.id == DEFLATE && shuffles(shuffle) && (self.shuffle || self.dtype.size() == 1),
            _ => false,
        }
    }

    /// True if every filter was used, and the bytes are no more than deflate ever needs: an object's memory is planned by its values.
    fn is_sane(&self, entry: &ChunkEntry) -> bool {
        let raw = elements(&self.grid.chunk).saturating_mul(self.dtype.size() as u64);
        entry.skipped == 0 && u64::from(entry.length) <= raw + raw / 1024 + 64
    }

    /// True if the elements of the stored chunk are in the order of the store's chunk.
    fn is_laid_out(&self, piece: &PlacedPiece, table: &ChunkTable) -> bool {
        let alike = |((&length, stride), &placed): ((&u64, u64), &i64)| length == 1 || i64::try_from(stride) == Ok(placed);
        elements(&table.grid.chunk) == elements(&self.grid.chunk)
            && piece.placed.offset == 0
            && piece.region.rank() == self.grid.chunk.len()
            && self.grid.chunk.iter().zip(strides(&self.grid.chunk)).zip(&piece.placed.strides).all(alike)
    }
}

/// What a look at a chunk gave.
pub(super) enum Looked {
    /// Its bytes can be moved; its statistics, if wanted.
    Fine(Option<Statistics>),
    /// Its values, because the conversion changes some.
    Changes(Array),
}

impl Workshop {
    /// Inflates a chunk that is to be moved, which verifies it, and looks at its values where anything depends on them.
    pub(super) fn look(&self, described: &Described, read: &Read, part: &[u8], scratch: &mut codec::Scratch) -> Result<Looked, WorkError> {
        let (ReadFrom::Chunk(number), Layout::Chunked(table)) = (&read.from, &read.stored.layout) else { return Err(no_chunk()) };
        let (Some(entry), Some(Some(fitting))) = (table.entries.get(*number), self.fitting.get(read.variable)) else {
            return Err(no_chunk());
        };
        let counting = self.counted.get(read.variable).and_then(Option::as_ref);
        let damaged = |error: codec::CodecError| corrupt(described, read, &error.to_string());
        if read.conversion == Conversion::Keep && counting.is_none() {
            let filters = table.filters.last().cloned().into_iter().collect();
            let inflated = ChunkTable { grid: table.grid.clone(), filters, entries: Vec::new() };
            codec::decode(&read.stored, &inflated, entry, part, scratch).map_err(damaged)?;
            return Ok(Looked::Fine(None));
        }
        codec::decode(&read.stored, table, entry, part, scratch).map_err(damaged)?;
        let values = Array::from_bytes(fitting.dtype, fitting.grid.chunk.clone(), scratch.take()).ok_or_else(no_chunk)?;
        let inside = read.pieces.first().map(|piece| piece.region.shape.clone()).unwrap_or_default();
        // Padding past the array's edge is nobody's data.
        let padded = inside != values.shape;
        let cut = if padded && read.conversion != Conversion::Keep { values.part(&Region::whole(&inside)) } else { None };
        if !read.conversion.keeps(fitting.dtype, cut.as_ref().unwrap_or(&values).bytes()) {
            return Ok(Looked::Changes(Array { shape: read.region.shape.clone(), ..values }));
        }
        let statistics = counting.map(|counting| counting.corner(values.bytes(), &fitting.grid.chunk, &inside));
        if let Values::Bytes(bytes) = values.values {
            scratch.recycle(bytes);
        }
        Ok(Looked::Fine(statistics))
    }
}

fn no_chunk() -> WorkError {
    WorkError::Internal("a chunk to be moved that is none".to_owned())
}
