//! Measures codecs on made and on given values: the table of `docs/design/002-default-codec.md`.
//!
//! ```text
//! cargo run --release --example codec_table [-- NAME:DTYPE:FILE_OF_RAW_LITTLE_ENDIAN_VALUES …]
//! ```
//! Every line is one codec on chunks of 2 MiB, one thread, at least half a second each; speeds in MB of raw values per CPU second (Linux; elsewhere per second).
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a table for people; what fails here ends the measurement")]

use std::time::Instant;

use gristmill::array::DataType;
use gristmill::dataset::{Attributes, Codec, Encoding, Variable};
use gristmill::target::zarr::{Decoder, Encoder};
use serde_json::json;

const CHUNK: usize = 2 << 20;

fn main() {
    let (integers, floats) = made();
    let mut sets = vec![("made".to_owned(), DataType::Int16, integers), ("made".to_owned(), DataType::Float32, floats)];
    for argument in std::env::args().skip(1) {
        let parts: Vec<&str> = argument.splitn(3, ':').collect();
        let dtype = if parts[1] == "int16" { DataType::Int16 } else { DataType::Float32 };
        sets.push((parts[0].to_owned(), dtype, std::fs::read(parts[2]).unwrap()));
    }
    println!("| values | codec | ratio | encode MB/s | decode MB/s |\n|---|---|---|---|---|");
    for (name, dtype, bytes) in &sets {
        for (label, codecs) in candidates() {
            measure(name, *dtype, bytes, label, codecs);
        }
        direct(name, *dtype, bytes);
    }
}

/// Smooth fields with noise of a few counts: int16 hundredths, and float32 with all its mantissa in use.
fn made() -> (Vec<u8>, Vec<u8>) {
    let (mut integers, mut floats) = (Vec::new(), Vec::new());
    let mut state = 1u64;
    for number in 0..8 * 1024 * 1024u32 {
        let (x, y) = (f64::from(number % 1440), f64::from(number / 1440));
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let noise = ((state >> 40) as f64 / f64::from(1 << 24)) - 0.5;
        let value = 15.0 + 12.0 * (y / 97.0).cos() + 3.0 * (x / 41.0).sin() * (y / 23.0).cos() + 0.05 * noise;
        integers.extend(((value * 100.0) as i16).to_le_bytes());
        floats.extend((value as f32).to_le_bytes());
    }
    (integers, floats)
}

fn candidates() -> Vec<(&'static str, Vec<Codec>)> {
    let blosc = |cname: &str, clevel: u8, shuffle: &str, blocksize: u32| {
        vec![codec("blosc", json!({"cname": cname, "clevel": clevel, "shuffle": shuffle, "blocksize": blocksize}))]
    };
    let large = 256 << 10;
    vec![
        ("blosc lz4 5 shuffle", blosc("lz4", 5, "shuffle", 0)),
        ("blosc zstd 1 shuffle", blosc("zstd", 1, "shuffle", 0)),
        ("blosc zstd 1 shuffle, 256 KiB", blosc("zstd", 1, "shuffle", large)),
        ("blosc zstd 1 shuffle, 512 KiB", blosc("zstd", 1, "shuffle", 2 * large)),
        ("blosc zstd 1 shuffle, 1 MiB", blosc("zstd", 1, "shuffle", 4 * large)),
        ("blosc zstd 2 shuffle", blosc("zstd", 2, "shuffle", 0)),
        ("blosc zstd 2 shuffle, 256 KiB", blosc("zstd", 2, "shuffle", large)),
        ("blosc zstd 2 shuffle, 512 KiB", blosc("zstd", 2, "shuffle", 2 * large)),
        ("blosc zstd 3 shuffle", blosc("zstd", 3, "shuffle", 0)),
        ("blosc zstd 1 bitshuffle, 256 KiB", blosc("zstd", 1, "bitshuffle", large)),
        ("blosc zstd 1 bitshuffle, 1 MiB", blosc("zstd", 1, "bitshuffle", 4 * large)),
        ("zstd 3 (zarr-python's default)", vec![codec("zstd", json!({"level": 3}))]),
        ("gzip 5 (libdeflate)", vec![codec("gzip", json!({"level": 5}))]),
    ]
}

fn codec(name: &str, configuration: serde_json::Value) -> Codec {
    Codec { name: name.to_owned(), configuration }
}

fn measure(name: &str, dtype: DataType, bytes: &[u8], label: &str, codecs: Vec<Codec>) {
    let chunk = (CHUNK / dtype.size()) as u64;
    let encoding = Encoding { chunks: Some(vec![chunk]), codecs: Some(codecs), ..Encoding::default() };
    let variable = Variable {
        name: "v".to_owned(),
        dtype,
        dimensions: vec!["x".to_owned()],
        attributes: Attributes::default(),
        coordinate: false,
        encoding,
    };
    let (encoder, reader) = (Encoder::new(&variable).unwrap(), Decoder::new(&variable).unwrap());
    let chunks: Vec<&[u8]> = bytes.chunks_exact(CHUNK).collect();
    let stored: Vec<_> = chunks.iter().map(|chunk| encoder.encode(chunk.to_vec()).unwrap()).collect();
    let raw = chunks.len() * CHUNK;
    let small: usize = stored.iter().map(bytes::Bytes::len).sum();
    let encode = speed(raw, || chunks.iter().for_each(|chunk| drop(encoder.encode(chunk.to_vec()).unwrap())));
    let decode = speed(raw, || stored.iter().for_each(|chunk| drop(reader.decode(chunk).unwrap())));
    println!("| {name} {dtype} | {label} | {:.2} | {encode:.0} | {decode:.0} |", raw as f64 / small as f64);
}

/// What C-Blosc itself reaches with the same settings, through zarrs' plain function: no codec chain, no checks.
fn direct(name: &str, dtype: DataType, bytes: &[u8]) {
    use zarrs::array::codec::bytes_to_bytes::blosc::{BloscCompressor, BloscShuffleMode, blosc_compress_bytes};
    let chunks: Vec<&[u8]> = bytes.chunks_exact(CHUNK).collect();
    let level = 1u8.try_into().unwrap();
    let compress =
        |chunk: &[u8]| blosc_compress_bytes(chunk, level, BloscShuffleMode::Shuffle, dtype.size(), BloscCompressor::Zstd, 0, 1).unwrap();
    let direct = speed(chunks.len() * CHUNK, || chunks.iter().for_each(|chunk| drop(compress(chunk))));
    println!("| {name} {dtype} | C-Blosc called directly, zstd 1 shuffle | | {direct:.0} | |");
}

/// MB of raw values per second over at least half a second, so that a coarse clock (10 ms is usual) is exact to 2 %.
fn speed(raw: usize, mut work: impl FnMut()) -> f64 {
    let now = |start: Instant| on_cpu().unwrap_or_else(|| start.elapsed().as_secs_f64());
    let start = Instant::now();
    let (first, mut rounds) = (now(start), 0);
    loop {
        work();
        rounds += 1;
        let seconds = now(start) - first;
        if seconds >= 0.5 {
            return (raw * rounds) as f64 / 1e6 / seconds;
        }
    }
}

/// Seconds this thread has spent on a processor; a busy machine does not change it. Only Linux tells.
fn on_cpu() -> Option<f64> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    told.split_whitespace().next()?.parse::<f64>().ok().map(|nanoseconds| nanoseconds / 1e9)
}
