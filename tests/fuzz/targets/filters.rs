//! The filters of source files: any bytes decode to exactly the chunk's size or are refused; what was encoded comes back.

use gristmill::array::DataType;
use gristmill::codec::{self, Scratch};
use gristmill::grid::ChunkGrid;
use gristmill::layout::{ByteOrder, ChunkEntry, ChunkTable, Filter, Layout, Stored};

use super::Numbers;

const DEFLATE: u16 = 1;
const SHUFFLE: u16 = 2;
const FLETCHER32: u16 = 3;
const ZSTD: u16 = 32015;
/// Every filter that is decoded, and one that is not.
const FILTERS: [u16; 10] = [DEFLATE, SHUFFLE, FLETCHER32, 4, 5, 6, 32000, 32004, ZSTD, 307];
/// Most elements of a chunk.
const LARGEST: u64 = 1 << 14;
const TYPES: [DataType; 5] = [DataType::UInt8, DataType::Int16, DataType::UInt32, DataType::Float64, DataType::Char];

/// First byte: which filter (any of them with `GRISTMILL_FILTER` unset), then type, length, parameters, and the stored bytes.
pub(crate) fn filters(bytes: &[u8]) {
    let mut numbers = Numbers(bytes);
    let first = FILTERS[usize::from(numbers.byte()) % FILTERS.len()];
    let first = std::env::var("GRISTMILL_FILTER").ok().and_then(|id| id.parse().ok()).unwrap_or(first);
    let mut pipeline = vec![Filter { id: first, parameters: Vec::new() }];
    if numbers.byte() % 4 == 0 {
        pipeline.insert(0, Filter { id: FILTERS[usize::from(numbers.byte()) % FILTERS.len()], parameters: Vec::new() });
    }
    for filter in &mut pipeline {
        filter.parameters = (0..numbers.byte() % 24).map(|_| numbers.word()).collect();
    }
    let dtype = TYPES[usize::from(numbers.byte()) % TYPES.len()];
    let length = u64::from(numbers.word()) % LARGEST + 1;
    let order = if numbers.byte() % 2 == 0 { ByteOrder::Little } else { ByteOrder::Big };
    let skipped = u32::from(numbers.byte() & numbers.byte());
    decode(pipeline, dtype, length, order, (skipped, numbers.0));
    round_trips(numbers.0);
}

fn chunk(pipeline: Vec<Filter>, dtype: DataType, length: u64, order: ByteOrder) -> (Stored, ChunkTable) {
    let table = ChunkTable { grid: ChunkGrid::new(vec![length], vec![length]), filters: pipeline, entries: Vec::new() };
    let stored = Stored { dtype, order, shape: vec![length], fill: vec![1; dtype.size()], layout: Layout::Unwritten };
    (stored, table)
}

fn decode(pipeline: Vec<Filter>, dtype: DataType, length: u64, order: ByteOrder, (skipped, bytes): (u32, &[u8])) {
    let (stored, table) = chunk(pipeline, dtype, length, order);
    let entry = ChunkEntry { offset: 0, length: bytes.len() as u32, skipped };
    let mut scratch = Scratch::new();
    let first = codec::decode(&stored, &table, &entry, bytes, &mut scratch).map(|values| values.to_vec());
    if let Ok(values) = &first {
        assert_eq!(values.len() as u64, length * dtype.size() as u64);
    }
    // What an earlier chunk left in the buffers changes nothing.
    let second = codec::decode(&stored, &table, &entry, bytes, &mut scratch).map(|values| values.to_vec());
    assert_eq!(first.ok(), second.ok());
}

fn round_trips(values: &[u8]) {
    if values.is_empty() || values.len() as u64 > LARGEST {
        return;
    }
    let shuffled = |item: usize| -> Vec<u8> {
        let whole = values.len() / item * item;
        let planes = (0..item).flat_map(|plane| values[..whole].chunks_exact(item).map(move |element| element[plane]));
        planes.chain(values[whole..].iter().copied()).collect()
    };
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut deflated = vec![0; compressor.zlib_compress_bound(values.len())];
    let size = compressor.zlib_compress(values, &mut deflated).unwrap();
    deflated.truncate(size);
    let checked = [values, &hdf5_core::fletcher32(values).to_le_bytes()].concat();
    let zstd = zstd::bulk::compress(values, 1).unwrap();
    for (filter, parameters, stored) in [
        (DEFLATE, vec![], deflated),
        (SHUFFLE, vec![4], shuffled(4)),
        (SHUFFLE, vec![7], shuffled(7)),
        (FLETCHER32, vec![], checked),
        (ZSTD, vec![], zstd),
    ] {
        let pipeline = vec![Filter { id: filter, parameters }];
        let (described, table) = chunk(pipeline, DataType::UInt8, values.len() as u64, ByteOrder::Little);
        let entry = ChunkEntry { offset: 0, length: stored.len() as u32, skipped: 0 };
        let mut scratch = Scratch::new();
        assert_eq!(codec::decode(&described, &table, &entry, &stored, &mut scratch).unwrap(), values, "filter {filter}");
    }
}
