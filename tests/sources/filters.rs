//! Each filter of the decode path, alone and in pipelines, on bytes made here.

use gristmill::array::DataType;
use gristmill::codec::{self, CodecError, Scratch};
use gristmill::grid::ChunkGrid;
use gristmill::layout::{ByteOrder, ChunkEntry, ChunkTable, Filter, Layout, Stored};

const DEFLATE: u16 = 1;
const SHUFFLE: u16 = 2;
const FLETCHER32: u16 = 3;
const ZSTD: u16 = 32015;

fn values() -> Vec<u8> {
    (0..1000u32).flat_map(|at| (at * at).to_le_bytes()).collect()
}

fn decode(filters: &[(u16, &[u32])], order: ByteOrder, skipped: u32, bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    let filters = filters.iter().map(|(id, parameters)| Filter { id: *id, parameters: parameters.to_vec() }).collect();
    let table = ChunkTable { grid: ChunkGrid::new(vec![1500], vec![1000]), filters, entries: vec![] };
    let fill = vec![1, 2, 3, 4];
    let stored = Stored { dtype: DataType::UInt32, order, shape: vec![1500], fill, layout: Layout::Chunked(table.clone()) };
    let entry = ChunkEntry { offset: 0, length: bytes.len() as u32, skipped };
    codec::decode(&stored, &table, &entry, bytes, &mut Scratch::new()).map(|values| values.to_vec())
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut out = vec![0; compressor.zlib_compress_bound(bytes.len())];
    let size = compressor.zlib_compress(bytes, &mut out).unwrap();
    out.truncate(size);
    out
}

fn shuffled(bytes: &[u8]) -> Vec<u8> {
    (0..4).flat_map(|plane| bytes.chunks(4).map(move |value| value[plane])).collect()
}

fn with_checksum(bytes: &[u8]) -> Vec<u8> {
    [bytes, &hdf5_core::fletcher32(bytes).to_le_bytes()].concat()
}

#[test]
fn pipelines_are_undone_in_reverse() {
    let plain = values();
    let little = ByteOrder::Little;
    let whole = |filters: &[(u16, &[u32])], bytes: &[u8]| assert!(decode(filters, little, 0, bytes).unwrap() == plain, "{filters:?}");
    whole(&[], &plain);
    whole(&[(DEFLATE, &[4])], &zlib(&plain));
    whole(&[(SHUFFLE, &[4]), (DEFLATE, &[4])], &zlib(&shuffled(&plain)));
    whole(&[(SHUFFLE, &[4]), (DEFLATE, &[4]), (FLETCHER32, &[])], &with_checksum(&zlib(&shuffled(&plain))));
    whole(&[(FLETCHER32, &[]), (DEFLATE, &[4])], &zlib(&with_checksum(&plain)));
    whole(&[(DEFLATE, &[9]), (DEFLATE, &[9])], &zlib(&zlib(&plain)));
    whole(&[(SHUFFLE, &[4]), (ZSTD, &[3])], &zstd::bulk::compress(&shuffled(&plain), 3).unwrap());
}

#[test]
fn skipped_filters_and_byte_order_are_respected() {
    let plain = values();
    assert!(decode(&[(SHUFFLE, &[4]), (DEFLATE, &[4])], ByteOrder::Little, 0b10, &shuffled(&plain)).unwrap() == plain);
    let big: Vec<u8> = plain.chunks(4).flat_map(|value| value.iter().rev().copied()).collect();
    assert!(decode(&[(DEFLATE, &[4])], ByteOrder::Big, 0, &zlib(&big)).unwrap() == plain);
    assert_eq!(decode(&[(DEFLATE, &[4])], ByteOrder::Big, 0, &[]).unwrap(), [1, 2, 3, 4].repeat(1000));
}

#[test]
fn wrong_sizes_are_refused() {
    let plain = values();
    let refused = |filters: &[(u16, &[u32])], bytes: &[u8]| {
        matches!(decode(filters, ByteOrder::Little, 0, bytes), Err(CodecError::Size { .. } | CodecError::Damaged { .. }))
    };
    assert!(refused(&[], &plain[1..]));
    for other in [&plain[4..], &[&plain[..], &[0; 4]].concat()[..]] {
        assert!(refused(&[(DEFLATE, &[4])], &zlib(other)));
        assert!(refused(&[(ZSTD, &[4])], &zstd::bulk::compress(other, 3).unwrap()));
    }
    assert!(refused(&[(DEFLATE, &[4])], &zlib(&plain)[..100]));
    assert!(refused(&[(ZSTD, &[4])], &zstd::bulk::compress(&plain, 3).unwrap()[..100]));
}

#[test]
fn every_flipped_bit_of_a_checksummed_stream_is_found_or_harmless() {
    let plain = values();
    let stream = zlib(&plain);
    let mut found = 0;
    for bit in 0..stream.len() * 8 {
        let mut flipped = stream.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match decode(&[(DEFLATE, &[4])], ByteOrder::Little, 0, &flipped) {
            Ok(values) => assert!(values == plain, "bit {bit}"),
            Err(_) => found += 1,
        }
    }
    assert!(found > stream.len() * 8 - 16, "{found}");
}

#[test]
fn unknown_filters_are_named() {
    let error = decode(&[(307, &[9])], ByteOrder::Little, 0, &[1, 2, 3]).unwrap_err();
    assert!(error.to_string().starts_with("filter `filter 307 (bzip2)` is not supported"), "{error}");
}

#[test]
fn nbit_is_undone_only_where_it_did_nothing() {
    let plain = values();
    let filter = |parameters: &[u32]| Filter { id: 5, parameters: parameters.to_vec() };
    let needless = [8, 1, 1000, 1, 4, 0, 32, 0];
    assert!(codec::is_supported(&filter(&needless)));
    assert!(decode(&[(5, &needless)], ByteOrder::Little, 0, &plain).unwrap() == plain);
    // 12 of 32 bits; a compound type that claims 4294967295 members; nothing at all.
    let refused: [&[u32]; 3] = [&[8, 0, 1000, 1, 4, 0, 12, 0], &[8, 0, 1000, 3, 4, u32::MAX, 0, 0], &[]];
    for parameters in refused {
        assert!(!codec::is_supported(&filter(parameters)));
        assert!(matches!(decode(&[(5, parameters)], ByteOrder::Little, 0, &plain), Err(CodecError::Unsupported { .. })), "{parameters:?}");
    }
}
