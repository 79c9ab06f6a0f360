//! The filters of source files, undone: stored bytes in, values out.
//!
//! Not for finding or fetching the bytes, and not for writing. Invariant: a chunk is decoded whole and to exactly the size that
//! its grid says, or it is an error; there are no partial values and no zeros in place of damaged ones.

mod deflate;
mod fletcher;
mod lzf;
pub mod pages;
pub mod simd;

use hdf5_reader::filters as library;

use crate::grid::elements;
use crate::layout::{ByteOrder, ChunkEntry, ChunkTable, Filter, Stored};

/// Registered HDF5 filter numbers (<https://github.com/HDFGroup/hdf5_plugins/blob/master/docs/RegisteredFilterPlugins.md>).
const DEFLATE: u16 = 1;
const SHUFFLE: u16 = 2;
const FLETCHER32: u16 = 3;
const SZIP: u16 = 4;
const NBIT: u16 = 5;
const SCALEOFFSET: u16 = 6;
const LZF: u16 = 32000;
const BLOSC: u16 = 32001;
const LZ4: u16 = 32004;
/// Which parameter of scale-offset is the length of a number in bytes (`H5Z_SCALEOFFSET_PARM_SIZE`), which the library believes.
const SCALEOFFSET_SIZE: usize = 4;
/// Most bytes of a number: a long double.
const LARGEST_NUMBER: u32 = 16;
const ZSTD: u16 = 32015;

/// Largest chunk that HDF5 can describe: its size field has 32 bits.
const LARGEST_CHUNK: u64 = u32::MAX as u64;

/// Why a chunk cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// A filter gave another number of bytes than the chunk has.
    #[error("`{filter}` gives {actual} bytes instead of {expected}; the file is damaged, fetch it again")]
    Size {
        /// The filter, or `chunk` when none is in use.
        filter: String,
        /// Bytes that the chunk must have at this point.
        expected: u64,
        /// Bytes it has.
        actual: u64,
    },
    /// A stored checksum is not that of the bytes.
    #[error("checksum mismatch (`{filter}`); the file is damaged, fetch it again")]
    Checksum {
        /// The filter that keeps the checksum.
        filter: String,
    },
    /// The bytes are not what the filter writes.
    #[error("`{filter}` cannot decode it ({message}); the file is damaged, fetch it again")]
    Damaged {
        /// The filter.
        filter: String,
        /// What the decoder says.
        message: String,
    },
    /// A filter that we do not know.
    #[error("filter `{filter}` is not supported; rewrite the file with deflate, for example `nccopy -d 4 in.nc out.nc`")]
    Unsupported {
        /// The filter.
        filter: String,
    },
    /// The header describes a chunk that no file can hold.
    #[error("a chunk of {bytes} bytes is larger than HDF5 allows; the header is damaged")]
    TooLarge {
        /// Bytes of the decoded chunk.
        bytes: u64,
    },
}

/// Buffers that decoding reuses from chunk to chunk. One per thread.
#[derive(Default)]
pub struct Scratch {
    values: Vec<u8>,
    spare: Vec<u8>,
    inflater: deflate::Inflater,
}

impl Scratch {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The values of the last decoded chunk, to keep; [`Scratch::recycle`] gives the buffer back.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.values)
    }

    /// Reuses a buffer for the next chunk.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() > self.values.capacity() {
            self.values = buffer;
        }
    }
}

/// Name of a filter as people know it, with its level where it has one: `deflate 4`, `shuffle`, `filter 307 (bzip2)`.
#[must_use]
pub fn name(filter: &Filter) -> String {
    let level = |at: usize| filter.parameters.get(at).map_or_else(String::new, |level| format!(" {level}"));
    match filter.id {
        DEFLATE => format!("deflate{}", level(0)),
        SHUFFLE => "shuffle".to_owned(),
        FLETCHER32 => "fletcher32".to_owned(),
        SZIP => "szip".to_owned(),
        NBIT => "nbit".to_owned(),
        SCALEOFFSET => "scaleoffset".to_owned(),
        LZF => "lzf".to_owned(),
        LZ4 => "lz4".to_owned(),
        ZSTD => format!("zstd{}", level(0)),
        BLOSC => "blosc".to_owned(),
        other => format!("filter {other}{}", foreign_name(other)),
    }
}

fn foreign_name(id: u16) -> &'static str {
    match id {
        307 => " (bzip2)",
        32008 => " (bitshuffle)",
        32013 => " (zfp)",
        32017 => " (sz)",
        32022 => " (bitgroom)",
        32023 => " (granular bitround)",
        32026 => " (blosc2)",
        _ => "",
    }
}

/// True if [`decode`] can undo the filter.
#[must_use]
pub fn is_supported(filter: &Filter) -> bool {
    match filter.id {
        NBIT => changes_nothing(filter),
        id => matches!(id, DEFLATE | SHUFFLE | FLETCHER32 | SZIP | SCALEOFFSET | LZF | LZ4 | ZSTD),
    }
}

/// True if HDF5 noted for nbit that its numbers fill their bytes (H5Znbit.c: second parameter), so that it passed the bytes on as they
/// were. Numbers that do not are none of ours, and their description in the other parameters is not to be trusted.
fn changes_nothing(nbit: &Filter) -> bool {
    nbit.parameters.get(1).is_some_and(|&needless| needless != 0)
}

/// The values of one chunk, full size (also at the edges), in the machine's byte order. `bytes` are its stored bytes; a chunk
/// that was never written (`bytes` empty) is all fill value. The result lives in `scratch` until the next call.
///
/// # Errors
/// Any [`CodecError`]; no part of a damaged chunk is ever given out.
pub fn decode<'a>(
    stored: &Stored,
    table: &ChunkTable,
    entry: &ChunkEntry,
    bytes: &[u8],
    scratch: &'a mut Scratch,
) -> Result<&'a mut [u8], CodecError> {
    let size = chunk_size(stored, table)?;
    if entry.is_unwritten() {
        repeat(&stored.fill, size, &mut scratch.values);
        return Ok(&mut scratch.values);
    }
    let active = Active { filters: &table.filters, skipped: entry.skipped };
    let mut last = None;
    for at in (0..table.filters.len()).rev().filter(|&at| active.holds(at)) {
        let Scratch { values, spare, inflater } = scratch;
        let filter = &table.filters[at];
        let input = if last.is_none() { bytes } else { values.as_slice() };
        undo(filter, input, spare, &Expected::new(active.before(at, size), size, stored.dtype.size()), inflater)?;
        std::mem::swap(values, spare);
        last = Some(filter);
    }
    if last.is_none() {
        scratch.values.clear();
        scratch.values.extend_from_slice(bytes);
    }
    if scratch.values.len() != size {
        let filter = last.map_or_else(|| "chunk".to_owned(), name);
        return Err(CodecError::Size { filter, expected: size as u64, actual: scratch.values.len() as u64 });
    }
    swap_to_native(&mut scratch.values, stored.dtype.size(), stored.order);
    Ok(&mut scratch.values)
}

/// The filters that one chunk went through: those whose bit in the chunk's mask is not set.
struct Active<'a> {
    filters: &'a [Filter],
    skipped: u32,
}

impl Active<'_> {
    fn holds(&self, at: usize) -> bool {
        self.skipped.checked_shr(at as u32).is_none_or(|mask| mask & 1 == 0)
    }

    /// Bytes that undoing filter `end` must give, when the filters before it keep or predictably change the size.
    fn before(&self, end: usize, size: usize) -> Option<usize> {
        self.filters.iter().enumerate().take(end).filter(|&(at, _)| self.holds(at)).try_fold(size, |size, (_, filter)| match filter.id {
            SHUFFLE => Some(size),
            FLETCHER32 => size.checked_add(4),
            _ => None,
        })
    }
}

/// Bytes of one decoded chunk.
fn chunk_size(stored: &Stored, table: &ChunkTable) -> Result<usize, CodecError> {
    let bytes = elements(&table.grid.chunk).saturating_mul(stored.dtype.size() as u64);
    if bytes > LARGEST_CHUNK {
        return Err(CodecError::TooLarge { bytes });
    }
    Ok(bytes as usize)
}

/// What undoing one filter needs to know.
struct Expected {
    /// Exact size of the output, if known.
    exact: Option<usize>,
    /// Largest size of the output.
    limit: usize,
    /// Bytes of one element.
    item: usize,
}

impl Expected {
    fn new(exact: Option<usize>, chunk: usize, item: usize) -> Self {
        // An inner filter may have made the data a little longer; far longer is a bomb.
        Self { exact, limit: exact.unwrap_or_else(|| chunk.saturating_mul(2).saturating_add(4096)), item }
    }
}

/// Undoes one filter: `input` into `output`.
fn undo(
    filter: &Filter,
    input: &[u8],
    output: &mut Vec<u8>,
    expected: &Expected,
    inflater: &mut deflate::Inflater,
) -> Result<(), CodecError> {
    let Expected { exact, limit, item } = *expected;
    let parameter = |at: usize| filter.parameters.get(at).map(|&parameter| parameter as usize);
    match filter.id {
        DEFLATE => inflater.inflate(input, output, exact, limit)?,
        SHUFFLE => {
            // Every byte is overwritten, so what an earlier chunk left here need not be cleared.
            output.resize(input.len(), 0);
            simd::unshuffle(input, parameter(0).unwrap_or(item), output);
        }
        FLETCHER32 => fletcher::verify(input, output)?,
        NBIT if changes_nothing(filter) => {
            output.clear();
            output.extend_from_slice(input);
        }
        LZF => lzf::expand(input, output, exact.or_else(|| parameter(2)).unwrap_or(limit).min(limit))?,
        ZSTD => expand_zstd(input, output, limit)?,
        _ => *output = undo_by_library(filter, input, limit)?,
    }
    match exact {
        Some(expected) if output.len() != expected => {
            Err(CodecError::Size { filter: name(filter), expected: expected as u64, actual: output.len() as u64 })
        }
        _ => Ok(()),
    }
}

/// Filters that are rare enough to leave to hdf5-reader.
fn undo_by_library(filter: &Filter, input: &[u8], limit: usize) -> Result<Vec<u8>, CodecError> {
    if filter.id == SCALEOFFSET && filter.parameters.get(SCALEOFFSET_SIZE).is_some_and(|&bytes| bytes > LARGEST_NUMBER) {
        return Err(CodecError::Damaged { filter: name(filter), message: "its numbers have no size that numbers have".to_owned() });
    }
    match filter.id {
        SZIP => library::szip::decompress_with_limit(input, &filter.parameters, limit),
        SCALEOFFSET => library::scaleoffset::decompress_with_limit(input, &filter.parameters, limit),
        LZ4 => library::lz4::decompress_with_limit(input, limit),
        _ => return Err(CodecError::Unsupported { filter: name(filter) }),
    }
    .map_err(|cause| CodecError::Damaged { filter: name(filter), message: cause.to_string() })
}

fn expand_zstd(input: &[u8], output: &mut Vec<u8>, limit: usize) -> Result<(), CodecError> {
    output.clear();
    reserve(output, limit)?;
    let refuse = |cause: std::io::Error| CodecError::Damaged { filter: "zstd".to_owned(), message: cause.to_string() };
    output.resize(limit, 0);
    let size = zstd::bulk::decompress_to_buffer(input, output.as_mut_slice()).map_err(refuse)?;
    output.truncate(size);
    Ok(())
}

/// Makes room without aborting the process when a damaged header asks for too much.
fn reserve(buffer: &mut Vec<u8>, bytes: usize) -> Result<(), CodecError> {
    buffer.try_reserve(bytes.saturating_sub(buffer.len())).map_err(|_| CodecError::TooLarge { bytes: bytes as u64 })
}

/// `size` bytes of the same element again and again; zeros if the element is empty.
pub fn repeat(element: &[u8], size: usize, buffer: &mut Vec<u8>) {
    buffer.clear();
    if element.iter().all(|&byte| byte == 0) {
        buffer.resize(size, 0);
    } else {
        buffer.extend(element.iter().copied().cycle().take(size));
    }
}

/// Turns stored numbers of `item` bytes into the machine's byte order, in place.
pub fn swap_to_native(bytes: &mut [u8], item: usize, order: ByteOrder) {
    let native = if cfg!(target_endian = "little") { ByteOrder::Little } else { ByteOrder::Big };
    if order == native {
        return;
    }
    simd::reverse(bytes, item);
}
