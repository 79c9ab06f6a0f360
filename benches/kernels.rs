//! The loops that every value of an archive goes through, each beside a plain copy of the same bytes.
//!
//! ```text
//! cargo bench                      # all tables
//! cargo bench -- encode            # one of them
//! ```
//! Speeds count raw (decoded) bytes. `memcpy` in a table is the most that the machine gives; the columns of allocations come from
//! divan's counting allocator. Values are smooth fields with noise, made from fixed seeds: integers are hundredths with land.
#![expect(clippy::unwrap_used, clippy::wildcard_imports, reason = "what fails here ends the measurement; each table is a module")]

use std::f64::consts::TAU;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use gristmill::array::DataType;

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

/// One map of W1 and W2 (`../shared/bench/workloads.py`).
const MAP: [u64; 2] = [720, 1440];
/// A mark of missing values.
const LAND: i16 = -999;

fn main() {
    divan::main();
}

/// Values of a smooth field at (time, y, x): waves of many lengths, the long ones high, and a little noise.
struct Field {
    waves: Vec<(f64, f64, f64, f64, f64)>,
    state: u64,
}

impl Field {
    fn new(seed: u64) -> Self {
        let mut field = Self { waves: Vec::new(), state: seed };
        for number in 1..=24 {
            let length = f64::from(number);
            let (angle, phase, drift) = (TAU * field.random(), TAU * field.random(), field.random());
            field.waves.push((length * angle.cos(), length * angle.sin(), phase, 0.2 * drift, 12.0 * length.powf(-1.3)));
        }
        field
    }

    fn random(&mut self) -> f64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Row-major values of a box of (times, rows, columns), a point a quarter of a degree.
    fn values(&mut self, [times, rows, columns]: [u64; 3]) -> Vec<f64> {
        let mut values = Vec::with_capacity((times * rows * columns) as usize);
        for (time, y, x) in (0..times).flat_map(|time| (0..rows).flat_map(move |y| (0..columns).map(move |x| (time, y, x)))) {
            let (time, y, x) = (time as f64, y as f64 / 230.0, x as f64 / 230.0);
            let wave =
                |&(ky, kx, phase, drift, height): &(f64, f64, f64, f64, f64)| height * (ky * y + kx * x + phase + drift * time).sin();
            let smooth: f64 = self.waves.iter().map(wave).sum();
            values.push(smooth + 0.04 * self.random());
        }
        values
    }
}

fn integers(shape: [u64; 3]) -> Vec<u8> {
    let packed = |value: f64| if value > 14.0 { LAND } else { (value * 100.0).round() as i16 };
    Field::new(7).values(shape).into_iter().flat_map(|value| packed(value).to_ne_bytes()).collect()
}

fn floats(shape: [u64; 3]) -> Vec<u8> {
    Field::new(8).values(shape).into_iter().flat_map(|value| (280.0 + value as f32).to_ne_bytes()).collect()
}

fn bytes_of(dtype: DataType, shape: [u64; 3]) -> Vec<u8> {
    if dtype == DataType::Float32 { floats(shape) } else { integers(shape) }
}

/// A map of 2 MB, whatever its values.
fn map() -> Vec<u8> {
    integers([1, MAP[0], MAP[1]])
}

/// What the machine gives: a copy into a buffer that is there already.
fn copying(bencher: Bencher, raw: &[u8]) {
    let mut copy = vec![0; raw.len()];
    bencher.counter(BytesCount::of_slice(raw)).bench_local(|| copy.copy_from_slice(black_box(raw)));
}

mod unshuffle {
    use super::*;
    use gristmill::codec::simd;

    #[divan::bench]
    fn memcpy(bencher: Bencher) {
        copying(bencher, &map());
    }

    #[divan::bench(args = [2, 4, 8])]
    fn item(bencher: Bencher, item: usize) {
        let (planes, mut values) = (map(), map());
        bencher.counter(BytesCount::of_slice(&planes)).bench_local(|| simd::unshuffle(black_box(&planes), item, &mut values));
    }
}

mod shuffle {
    use super::*;
    use gristmill::codec::simd;

    #[divan::bench]
    fn memcpy(bencher: Bencher) {
        copying(bencher, &map());
    }

    #[divan::bench(args = [2, 4, 8])]
    fn item(bencher: Bencher, item: usize) {
        let (values, mut planes) = (map(), map());
        bencher.counter(BytesCount::of_slice(&values)).bench_local(|| simd::shuffle(black_box(&values), item, &mut planes));
    }
}

mod byte_order {
    use super::*;
    use gristmill::codec::swap_to_native;
    use gristmill::layout::ByteOrder;

    #[divan::bench]
    fn memcpy(bencher: Bencher) {
        copying(bencher, &map());
    }

    #[divan::bench(args = [2, 4, 8])]
    fn item(bencher: Bencher, item: usize) {
        let foreign = if cfg!(target_endian = "little") { ByteOrder::Big } else { ByteOrder::Little };
        let mut values = map();
        bencher.counter(BytesCount::of_slice(&values)).bench_local(|| swap_to_native(black_box(&mut values), item, foreign));
    }
}

mod placement {
    use super::*;
    use gristmill::array::{Placed, copy_box};

    #[divan::bench]
    fn memcpy(bencher: Bencher) {
        copying(bencher, &map());
    }

    fn placed(offset: u64, strides: [i64; 2]) -> Placed {
        Placed { offset, strides: strides.to_vec() }
    }

    /// A map into a buffer of its own shape.
    #[divan::bench]
    fn contiguous(bencher: Bencher) {
        let (source, mut target) = (map(), map());
        let whole = placed(0, [MAP[1] as i64, 1]);
        bencher
            .counter(BytesCount::of_slice(&source))
            .bench_local(|| copy_box(2, &MAP, (black_box(&source), &whole), (&mut target, &whole)));
    }

    /// A map into the 128 objects of (365, 90, 90) that it touches: runs of 90 elements.
    #[divan::bench]
    fn tiles(bencher: Bencher) {
        let source = map();
        let mut objects = vec![vec![0; 8 * 90 * 90 * 2]; 128];
        let spread = |objects: &mut [Vec<u8>]| {
            for (number, object) in objects.iter_mut().enumerate() {
                let (row, column) = (number as u64 / 16 * 90, number as u64 % 16 * 90);
                let (from, to) = (placed(row * MAP[1] + column, [MAP[1] as i64, 1]), placed(8100, [90, 1]));
                copy_box(2, &[90, 90], (&source, &from), (object, &to)).unwrap();
            }
        };
        bencher.counter(BytesCount::of_slice(&source)).bench_local(|| spread(black_box(&mut objects)));
    }

    /// Every second column, as a step of two would take.
    #[divan::bench]
    fn strided(bencher: Bencher) {
        let (source, mut target) = (map(), map());
        let (from, to) = (placed(0, [MAP[1] as i64, 2]), placed(0, [MAP[1] as i64 / 2, 1]));
        let half = [MAP[0], MAP[1] / 2];
        bencher
            .counter(BytesCount::new(source.len() / 2))
            .bench_local(|| copy_box(2, &half, (black_box(&source), &from), (&mut target, &to)));
    }

    /// Rows upside down.
    #[divan::bench]
    fn flipped(bencher: Bencher) {
        let (source, mut target) = (map(), map());
        let (from, to) = (placed((MAP[0] - 1) * MAP[1], [-(MAP[1] as i64), 1]), placed(0, [MAP[1] as i64, 1]));
        bencher.counter(BytesCount::of_slice(&source)).bench_local(|| copy_box(2, &MAP, (black_box(&source), &from), (&mut target, &to)));
    }

    /// Rows become columns: runs of one element on the side that is written, or read.
    #[divan::bench(args = [2, 4, 8])]
    fn turned(bencher: Bencher, item: usize) {
        let (source, mut target) = (map(), map());
        let shape = [MAP[0], MAP[1] * 2 / item as u64];
        let (from, to) = (placed(0, [shape[1] as i64, 1]), placed(0, [1, shape[0] as i64]));
        bencher
            .counter(BytesCount::of_slice(&source))
            .bench_local(|| copy_box(item, &shape, (black_box(&source), &from), (&mut target, &to)));
    }
}

mod decode {
    use super::*;
    use gristmill::codec::{Scratch, decode, simd};
    use gristmill::grid::ChunkGrid;
    use gristmill::layout::{ByteOrder, ChunkEntry, ChunkTable, Filter, Layout, Stored};

    const TYPES: [DataType; 2] = [DataType::Int16, DataType::Float32];

    #[divan::bench]
    fn memcpy(bencher: Bencher) {
        copying(bencher, &map());
    }

    fn deflated(raw: &[u8]) -> Vec<u8> {
        let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::new(4).unwrap());
        let mut packed = vec![0; compressor.zlib_compress_bound(raw.len())];
        let length = compressor.zlib_compress(raw, &mut packed).unwrap();
        packed.truncate(length);
        packed
    }

    fn described(dtype: DataType, filters: &[u16], length: usize) -> (Stored, ChunkTable, ChunkEntry) {
        let item = dtype.size() as u32;
        let filters = filters.iter().map(|&id| Filter { id, parameters: if id == 2 { vec![item] } else { vec![4] } }).collect();
        let entry = ChunkEntry { offset: 0, length: length as u32, skipped: 0 };
        let table = ChunkTable { grid: ChunkGrid::new(MAP.to_vec(), MAP.to_vec()), filters, entries: vec![entry] };
        let fill = vec![0; dtype.size()];
        (Stored { dtype, order: ByteOrder::Little, shape: MAP.to_vec(), fill, layout: Layout::Unwritten }, table, entry)
    }

    fn run(bencher: Bencher, dtype: DataType, filters: &[u16]) {
        let raw = bytes_of(dtype, [1, MAP[0], MAP[1]]);
        let mut planes = raw.clone();
        if filters.contains(&2) {
            simd::shuffle(&raw, dtype.size(), &mut planes);
        }
        let packed = deflated(&planes);
        let (stored, table, entry) = described(dtype, filters, packed.len());
        let mut scratch = Scratch::new();
        assert!(decode(&stored, &table, &entry, &packed, &mut scratch).unwrap() == raw);
        bencher
            .counter(BytesCount::of_slice(&raw))
            .bench_local(|| decode(&stored, &table, &entry, black_box(&packed), &mut scratch).unwrap().len());
    }

    #[divan::bench(args = TYPES)]
    fn inflate(bencher: Bencher, dtype: DataType) {
        run(bencher, dtype, &[1]);
    }

    /// Shuffle and deflate, as nearly every NetCDF-4 file has them.
    #[divan::bench(args = TYPES)]
    fn whole_chunk(bencher: Bencher, dtype: DataType) {
        run(bencher, dtype, &[2, 1]);
    }
}

mod count {
    use super::*;
    use gristmill::array::Scalar;
    use gristmill::cf::statistics::Counting;
    use gristmill::dataset::{Attribute, Attributes, Encoding, Variable};

    #[divan::bench]
    fn memcpy(bencher: Bencher) {
        copying(bencher, &map());
    }

    fn run(bencher: Bencher, dtype: DataType, mark: Scalar) {
        let raw = bytes_of(dtype, [1, MAP[0], MAP[1]]);
        let mut attributes = Attributes::default();
        attributes.set("_FillValue", Attribute::Numbers(vec![mark]));
        let (name, dimensions, encoding) = ("v".to_owned(), Vec::new(), Encoding::default());
        let counting = Counting::of(&Variable { name, dtype, dimensions, attributes, coordinate: false, encoding }).unwrap();
        bencher.counter(BytesCount::of_slice(&raw)).bench_local(|| counting.corner(black_box(&raw), &MAP, &MAP));
    }

    #[divan::bench]
    fn int16(bencher: Bencher) {
        run(bencher, DataType::Int16, Scalar::Int16(LAND));
    }

    #[divan::bench]
    fn float32(bencher: Bencher) {
        run(bencher, DataType::Float32, Scalar::Float32(1e20));
    }
}

mod mask {
    use super::*;
    use gristmill::array::Scalar;
    use gristmill::cf::Conversion;

    #[divan::bench]
    fn memcpy(bencher: Bencher) {
        copying(bencher, &map());
    }

    fn run(bencher: Bencher, dtype: DataType, conversion: &Conversion) {
        let raw = bytes_of(dtype, [1, MAP[0], MAP[1]]);
        bencher
            .counter(BytesCount::of_slice(&raw))
            .with_inputs(|| raw.clone())
            .bench_local_values(|raw| conversion.apply_bytes(dtype, black_box(raw)).unwrap());
    }

    #[divan::bench]
    fn fill_to_nan(bencher: Bencher) {
        run(bencher, DataType::Float32, &Conversion::MissingToNan { missing: vec![Scalar::Float32(1e20)] });
    }

    /// Another mark for missing values, and a look whether it was free.
    #[divan::bench]
    fn fill_to_another(bencher: Bencher) {
        run(bencher, DataType::Int16, &Conversion::Refill { from: vec![Scalar::Int16(LAND)], to: Scalar::Int16(i16::MIN) });
    }

    #[divan::bench]
    fn unpack(bencher: Bencher) {
        let missing = vec![Scalar::Int16(LAND)];
        run(bencher, DataType::Int16, &Conversion::Unpack { scale: 0.01, offset: 0.0, missing, unsigned: false });
    }
}

mod encode {
    use super::*;
    use gristmill::dataset::{Attributes, Codec, Encoding, Variable};
    use gristmill::target::zarr::{Encoder, default_codecs};
    use serde_json::json;
    use zarrs::array::codec::bytes_to_bytes::blosc::{BloscCompressor, BloscShuffleMode, blosc_compress_bytes};

    /// Time series of W2, small.
    const SHAPE: [u64; 3] = [100, 90, 90];
    const INTEGERS: DataType = DataType::Int16;
    const FLOATS: DataType = DataType::Float32;
    const LEVELS: [(DataType, u8); 4] = [(INTEGERS, 1), (INTEGERS, 3), (FLOATS, 1), (FLOATS, 3)];

    #[divan::bench]
    fn memcpy(bencher: Bencher) {
        copying(bencher, &integers(SHAPE));
    }

    fn run(bencher: Bencher, dtype: DataType, codecs: Vec<Codec>) {
        let encoding = Encoding { chunks: Some(SHAPE.to_vec()), codecs: Some(codecs), ..Encoding::default() };
        let dimensions = vec!["t".to_owned(), "y".to_owned(), "x".to_owned()];
        let (name, attributes) = ("v".to_owned(), Attributes::default());
        let encoder = Encoder::new(&Variable { name, dtype, dimensions, attributes, coordinate: false, encoding }).unwrap();
        let raw = bytes_of(dtype, SHAPE);
        bencher
            .counter(BytesCount::of_slice(&raw))
            .with_inputs(|| raw.clone())
            .bench_local_values(|raw| encoder.encode(black_box(raw)).unwrap());
    }

    fn blosc(cname: &str, clevel: u8) -> Vec<Codec> {
        vec![Codec { name: "blosc".to_owned(), configuration: json!({"cname": cname, "clevel": clevel, "shuffle": "shuffle"}) }]
    }

    /// What a recipe gets that does not name a codec.
    #[divan::bench(args = [INTEGERS, FLOATS])]
    fn default(bencher: Bencher, dtype: DataType) {
        run(bencher, dtype, default_codecs(dtype));
    }

    #[divan::bench(args = LEVELS)]
    fn blosc_zstd(bencher: Bencher, (dtype, level): (DataType, u8)) {
        run(bencher, dtype, blosc("zstd", level));
    }

    /// The same bytes, made by C-Blosc as it is built here.
    #[divan::bench(args = LEVELS)]
    fn c_blosc_zstd(bencher: Bencher, (dtype, level): (DataType, u8)) {
        let raw = bytes_of(dtype, SHAPE);
        let level = level.try_into().unwrap();
        let compress = || blosc_compress_bytes(&raw, level, BloscShuffleMode::Shuffle, dtype.size(), BloscCompressor::Zstd, 0, 1).unwrap();
        bencher.counter(BytesCount::of_slice(&raw)).bench_local(compress);
    }

    #[divan::bench(args = [INTEGERS, FLOATS])]
    fn blosc_lz4(bencher: Bencher, dtype: DataType) {
        run(bencher, dtype, blosc("lz4", 5));
    }
}
