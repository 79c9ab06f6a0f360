//! Where a variable's bytes are inside its file, and which filters turn them into values.
//!
//! Plain data, no I/O and no decoding (that is [`crate::codec`]). Invariant: offsets come from foreign headers, so nothing
//! here says that they lie inside the file; whoever reads checks.

use serde::{Deserialize, Serialize};

use crate::array::DataType;
use crate::grid::{ChunkGrid, Shape};

/// Byte order of stored numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum ByteOrder {
    Little,
    Big,
}

/// One filter of a chunk's pipeline, by its registered HDF5 filter number
/// (1 deflate, 2 shuffle, 3 fletcher32, 4 szip, 5 nbit, 6 scaleoffset, 32000 lzf, 32001 blosc, 32015 zstd…).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Registered number.
    pub id: u16,
    /// Client data of the filter message.
    pub parameters: Vec<u32>,
}

/// Where one chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkEntry {
    /// First byte in the file.
    pub offset: u64,
    /// Stored (filtered) bytes; 0: never written.
    pub length: u32,
    /// Bit k set: filter k of the pipeline was skipped for this chunk.
    pub skipped: u32,
}

impl ChunkEntry {
    /// A chunk that was never written.
    pub const UNWRITTEN: Self = Self { offset: u64::MAX, length: 0, skipped: 0 };

    /// True if no bytes were ever stored for it.
    #[must_use]
    pub fn is_unwritten(&self) -> bool {
        self.length == 0
    }
}

/// A grid of separately stored chunks. Every stored chunk is full size, at the edges too (HDF5 spec III.C).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkTable {
    /// The grid.
    pub grid: ChunkGrid,
    /// Applied in this order when writing, in reverse when reading.
    pub filters: Vec<Filter>,
    /// One entry per chunk, row-major.
    pub entries: Vec<ChunkEntry>,
}

/// A protocol of servers that slice (OPeNDAP's Data Access Protocol).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// DAP 2.0: DDS, DAS and XDR (NASA ESE-RFC-004.1.2).
    Dap2,
    /// DAP 4.0: DMR and chunked binary (OPeNDAP, DAP4 Specification Volume 1).
    Dap4,
}

/// How values lie in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// Separately stored, filtered chunks.
    Chunked(ChunkTable),
    /// Unfiltered rows at computable offsets: NetCDF-3 and contiguous HDF5.
    Strided {
        /// Byte offset of the first element.
        offset: u64,
        /// Bytes between neighbours along each dimension.
        strides: Vec<u64>,
    },
    /// The values themselves, small enough to live in the header (stored byte order).
    Inline(Vec<u8>),
    /// Only the source itself can slice it (variable-length texts, OPeNDAP): ask [`crate::source::Source::read`] for boxes of at most so many bytes.
    Free {
        /// Largest box to ask for.
        max_bytes: u64,
        /// The protocol of the server that slices; `None` where the format library does.
        server: Option<Protocol>,
    },
    /// No storage was ever allocated: every element is the fill value.
    Unwritten,
}

/// Everything needed to turn a variable's stored bytes into values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Type of one element.
    pub dtype: DataType,
    /// Its byte order in the file.
    pub order: ByteOrder,
    /// Lengths of the variable.
    pub shape: Shape,
    /// Bytes (machine's byte order) of an element that was never written: the declared, else the format's default fill.
    pub fill: Vec<u8>,
    /// Where the bytes are.
    pub layout: Layout,
}
