//! What the hot loop asks the allocator for, counted: chunk after chunk is decoded, placed and encoded, and once the buffers are
//! warm only the encoded object itself is new. (C libraries have an allocator of their own; zstd's context is kept, see
//! `target/zarr/blosc.rs`.)
#![expect(unsafe_code, reason = "an allocator that counts has to be one")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use gristmill::array::{DataType, Placed, copy_box};
use gristmill::codec::{Scratch, decode, simd};
use gristmill::dataset::{Attributes, Codec, Encoding, Variable};
use gristmill::grid::ChunkGrid;
use gristmill::layout::{ByteOrder, ChunkEntry, ChunkTable, Filter, Stored};
use gristmill::target::zarr::{Decoder, Encoder, default_codecs};
use serde_json::json;

/// Counts, per thread, what the system's allocator is asked for.
struct Counting;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

fn note() {
    // A thread that is ending has no counter any more, and nobody who reads it.
    let _ = ASKED.try_with(|asked| asked.set(asked.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came; counting neither allocates nor touches the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps this trait's contract, which is the system allocator's too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: as in `alloc`; `old` came from the system's allocator, like all that this one gives.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as in `realloc`.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often the work asks for memory.
fn asked(work: impl FnOnce()) -> u64 {
    let before = ASKED.get();
    work();
    ASKED.get() - before
}

const CHUNK: [u64; 3] = [1, 60, 80];
const ROUNDS: u64 = 100;

fn values(item: usize) -> Vec<u8> {
    (0..60 * 80 * item).map(|at| (at / item / 13 + at % item * 7) as u8).collect()
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::new(4).unwrap());
    let mut packed = vec![0; compressor.zlib_compress_bound(bytes.len())];
    let length = compressor.zlib_compress(bytes, &mut packed).unwrap();
    packed.truncate(length);
    packed
}

/// A chunk as a file has it: shuffled and deflated.
fn stored_chunk(dtype: DataType, order: ByteOrder) -> (Stored, ChunkTable, Vec<u8>) {
    let mut planes = values(dtype.size());
    simd::shuffle(&values(dtype.size()), dtype.size(), &mut planes);
    let packed = deflated(&planes);
    let filters = vec![Filter { id: 2, parameters: vec![dtype.size() as u32] }, Filter { id: 1, parameters: vec![4] }];
    let entries = vec![ChunkEntry { offset: 0, length: packed.len() as u32, skipped: 0 }];
    let table = ChunkTable { grid: ChunkGrid::new(CHUNK.to_vec(), CHUNK.to_vec()), filters, entries };
    let layout = gristmill::layout::Layout::Unwritten;
    (Stored { dtype, order, shape: CHUNK.to_vec(), fill: vec![0; dtype.size()], layout }, table, packed)
}

fn variable(dtype: DataType, codecs: Vec<Codec>) -> Variable {
    Variable {
        name: "v".to_owned(),
        dtype,
        dimensions: ["time", "lat", "lon"].map(str::to_owned).to_vec(),
        attributes: Attributes::default(),
        coordinate: false,
        encoding: Encoding { chunks: Some(vec![ROUNDS, 60, 80]), codecs: Some(codecs), ..Encoding::default() },
    }
}

#[test]
fn decoding_asks_for_nothing_once_it_is_warm() {
    for (dtype, order) in
        [(DataType::Int16, ByteOrder::Little), (DataType::Float32, ByteOrder::Big), (DataType::Float64, ByteOrder::Little)]
    {
        let (stored, table, packed) = stored_chunk(dtype, order);
        let mut scratch = Scratch::new();
        let mut chunk = || decode(&stored, &table, &table.entries[0], &packed, &mut scratch).unwrap().len();
        let cold = asked(|| assert_eq!(chunk() + chunk(), 2 * values(dtype.size()).len()));
        assert!(cold >= 2, "the counter does not count");
        assert_eq!(asked(|| (0..ROUNDS).for_each(|_| assert!(chunk() > 0))), 0, "{dtype} {order:?}");
    }
}

#[test]
fn taking_and_giving_back_a_buffer_asks_for_nothing() {
    let (stored, table, packed) = stored_chunk(DataType::Int16, ByteOrder::Little);
    let mut scratch = Scratch::new();
    let mut chunk = || {
        decode(&stored, &table, &table.entries[0], &packed, &mut scratch).unwrap();
        let buffer = scratch.take();
        scratch.recycle(buffer);
    };
    (0..3).for_each(|_| chunk());
    assert_eq!(asked(|| (0..ROUNDS).for_each(|_| chunk())), 0);
}

#[test]
fn placing_asks_for_nothing() {
    let (source, mut target) = (values(4), vec![0; values(4).len() * 2]);
    let placed = |strides: [i64; 3]| Placed { offset: 0, strides: strides.to_vec() };
    let (straight, turned, wide) = (placed([4800, 80, 1]), placed([4800, 1, 60]), placed([9600, 160, 1]));
    for to in [&straight, &turned, &wide] {
        let work = || (0..ROUNDS).for_each(|_| copy_box(4, &CHUNK, (&source, &straight), (&mut target, to)).unwrap());
        assert_eq!(asked(work), 0, "{to:?}");
    }
}

#[test]
fn an_object_asks_for_its_own_bytes_only() {
    let blosc = |level: u8| vec![Codec { name: "blosc".to_owned(), configuration: json!({"clevel": level, "blocksize": 65536}) }];
    for codecs in [default_codecs(DataType::Int16), blosc(1), blosc(3)] {
        let variable = variable(DataType::Int16, codecs);
        let (encoder, decoder) = (Encoder::new(&variable).unwrap(), Decoder::new(&variable).unwrap());
        let object: Vec<u8> = (0..ROUNDS as usize).flat_map(|_| values(2)).collect();
        let stored = encoder.encode(object.clone()).unwrap();
        assert_eq!(decoder.decode(&stored).unwrap(), gristmill::array::Values::Bytes(object.clone()));
        let mut objects = vec![object; 20];
        let work = || objects.drain(..).for_each(|object| assert_eq!(encoder.encode(object).unwrap(), stored));
        // The buffer, and cutting it to its length.
        assert!(asked(work) <= 20 * 2, "{}", variable.encoding.codecs.as_ref().map_or(0, Vec::len));
    }
}

/// The loop as a task has it: a hundred maps into a time series, and that to bytes.
#[test]
fn the_whole_loop_asks_less_than_once_per_chunk() {
    let (stored, table, packed) = stored_chunk(DataType::Int16, ByteOrder::Little);
    let encoder = Encoder::new(&variable(DataType::Int16, default_codecs(DataType::Int16))).unwrap();
    let placed = |offset: u64| Placed { offset, strides: vec![4800, 80, 1] };
    let (from, to): (Placed, Vec<Placed>) = (placed(0), (0..ROUNDS).map(|time| placed(time * 4800)).collect());
    let mut scratch = Scratch::new();
    let length = ROUNDS as usize * values(2).len();
    let mut object = || {
        let mut raw = vec![0; length];
        for to in &to {
            let values = decode(&stored, &table, &table.entries[0], &packed, &mut scratch).unwrap();
            copy_box(2, &CHUNK, (values, &from), (&mut raw, to)).unwrap();
        }
        encoder.encode(raw).unwrap().len()
    };
    object();
    let counted = asked(|| assert!(object() > 0));
    // The object's values, its bytes, and cutting those to their length.
    assert!(counted <= 3, "{counted} allocations for {ROUNDS} chunks");
}
