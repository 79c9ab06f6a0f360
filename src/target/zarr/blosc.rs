//! Blosc containers of zstd blocks: what C-Blosc 1.21 writes with one thread, without what it does again and again.
//!
//! C-Blosc makes a zstd context for each block (half a megabyte to clear for 32 KiB of values), and its shuffle is plain SSE2 unless
//! the whole build asks for more. Here block buffers live as long as their thread, and so does the context of the lower levels; the
//! higher ones have one per container. Not for other compressors than zstd, bit shuffle, or blocks of more than 4 MiB: those stay
//! C-Blosc's own. Format: `README_CHUNK_FORMAT.rst` of c-blosc. Invariant: the bytes depend on settings and values only, neither on
//! threads nor on what was compressed before; at levels 1 and 2 they are C-Blosc's (a property test holds both against each other).
//! Level 3, the most used one, has an effort of its own where the block length is left open (`docs/design/004-kernels.md`).

use std::cell::RefCell;

use serde_json::Value;
use zstd::zstd_safe::{self, CCtx};

use crate::codec::{pages, simd};

/// Bytes before the table of blocks.
const HEADER: usize = 16;
/// Shorter buffers are stored as they are (`MIN_BUFFERSIZE`).
const SHORTEST: usize = 128;
/// Longest buffer (`BLOSC_MAX_BUFFERSIZE`).
const LONGEST: usize = i32::MAX as usize - HEADER;
/// Longest block for which a thread keeps buffers.
const LONGEST_BLOCK: usize = 4 << 20;
/// Of Blosc's format and of its zstd blocks (`BLOSC_VERSION_FORMAT`, `BLOSC_ZSTD_VERSION_FORMAT`).
const VERSIONS: [u8; 2] = [2, 1];
/// Flags of the header: byte shuffle, stored as it is, blocks not split by byte of element, zstd.
const SHUFFLED: u8 = 1;
const STORED: u8 = 2;
const WHOLE_ZSTD: u8 = 0x10 | 4 << 5;
/// zstd levels up to this one find matches in tables that may be used again. Higher ones salt their hashes with what came before, so
/// that only a container that begins with a fresh context gives the same bytes again.
const LAST_REUSABLE_LEVEL: i32 = 3;

/// Blocks that level 3 makes where it may choose. zstd finds in 256 KiB with two hash tables (its level 3) what takes a search through
/// rows in 128 KiB (its level 5, C-Blosc's choice): as much or more, in half the time.
const LONG_BLOCK: usize = 256 << 10;
/// Up to this length zstd's level 3 looks for matches of five bytes only.
const SHORT_BLOCK: usize = 128 << 10;

/// Settings of one variable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blosc {
    item: usize,
    shuffled: bool,
    /// Blosc's own level, 1 to 9.
    level: i32,
    /// Wanted bytes of a block; 0 leaves it to the level.
    block: usize,
}

/// What a thread keeps from chunk to chunk.
struct Room {
    context: CCtx<'static>,
    planes: Vec<u8>,
    packed: Vec<u8>,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::new(Room { context: CCtx::create(), planes: Vec::new(), packed: Vec::new() });
}

impl Blosc {
    /// From a complete configuration; `None` if C-Blosc must do it.
    pub(super) fn of(configuration: &Value) -> Option<Self> {
        let number = |key: &str| configuration.get(key).and_then(Value::as_u64);
        let text = |key: &str| configuration.get(key).and_then(Value::as_str);
        let shuffled = match text("shuffle")? {
            "shuffle" => true,
            "noshuffle" => false,
            _ => return None,
        };
        let level = i32::try_from(number("clevel")?).ok().filter(|level| (1..=9).contains(level))?;
        let item = usize::try_from(number("typesize")?).ok().filter(|item| (1..=16).contains(item))?;
        let block = usize::try_from(number("blocksize")?).ok().filter(|&block| block <= LONGEST_BLOCK)?;
        (text("cname")? == "zstd").then_some(Self { item, shuffled, level, block })
    }

    /// True if [`Blosc::encode`] takes a buffer of this length.
    pub(super) fn takes(length: usize) -> bool {
        (SHORTEST..=LONGEST).contains(&length)
    }

    /// The container; never more than 16 bytes longer than `raw`.
    pub(super) fn encode(&self, raw: &[u8]) -> Vec<u8> {
        let mut out = pages::with_capacity(raw.len() + HEADER);
        let packed = ROOM.with_borrow_mut(|room| {
            if self.zstd_level(raw.len()) > LAST_REUSABLE_LEVEL {
                room.context = CCtx::create();
            }
            self.blocks(raw, room, &mut out)
        });
        if packed.is_none() {
            out.clear();
            self.header(raw.len(), STORED, &mut out);
            out.extend_from_slice(raw);
        }
        let length = (out.len() as u32).to_le_bytes();
        out[12..16].copy_from_slice(&length);
        out
    }

    fn header(&self, length: usize, flags: u8, out: &mut Vec<u8>) {
        let shuffled = if self.shuffled { SHUFFLED } else { 0 };
        out.extend([VERSIONS[0], VERSIONS[1], flags | shuffled | WHOLE_ZSTD, self.item as u8]);
        out.extend((length as u32).to_le_bytes());
        out.extend((self.block_length(length) as u32).to_le_bytes());
        out.extend([0; 4]);
    }

    /// Header, table of block starts, blocks; `None` if that is longer than the values.
    fn blocks(&self, raw: &[u8], room: &mut Room, out: &mut Vec<u8>) -> Option<()> {
        let (block, level) = (self.block_length(raw.len()), self.zstd_level(raw.len()));
        self.header(raw.len(), 0, out);
        out.resize(HEADER + raw.len().div_ceil(block) * 4, 0);
        for (number, values) in raw.chunks(block).enumerate() {
            let start = (out.len() as u32).to_le_bytes();
            out.get_mut(HEADER + number * 4..HEADER + number * 4 + 4)?.copy_from_slice(&start);
            self.block(values, level, room, raw.len() + HEADER, out)?;
        }
        Some(())
    }

    /// Length and bytes of one block, stored as it is where zstd gains nothing; `None` if the container would pass `limit`.
    fn block(&self, values: &[u8], level: i32, room: &mut Room, limit: usize, out: &mut Vec<u8>) -> Option<()> {
        let Room { context, planes, packed } = room;
        for buffer in [&mut *planes, &mut *packed] {
            buffer.resize(buffer.len().max(values.len()), 0);
        }
        let mut values = values;
        if self.shuffled && self.item > 1 {
            let planes = planes.get_mut(..values.len())?;
            simd::shuffle(values, self.item, planes);
            values = planes;
        }
        let left = limit.checked_sub(out.len() + 4).filter(|&left| left > 0)?;
        // As much as C-Blosc allows, because zstd's choices may depend on it.
        let allowed = packed.get_mut(..values.len().min(left))?;
        let packed = context.compress(allowed, values, level).ok().filter(|&length| length > 0);
        let bytes = match packed {
            Some(length) if length != values.len() => allowed.get(..length)?,
            _ if left < values.len() => return None,
            _ => values,
        };
        out.extend((bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(bytes);
        Some(())
    }

    /// zstd's own level for a buffer of `length` bytes, the same for all its blocks.
    fn zstd_level(&self, length: usize) -> i32 {
        match self.level {
            3 if self.block == 0 && length > SHORT_BLOCK => 3,
            9 => zstd_safe::max_c_level(),
            level => level * 2 - 1,
        }
    }

    /// Bytes of each block but the last (`compute_blocksize`, but for level 3).
    fn block_length(&self, length: usize) -> usize {
        const KIB: usize = 1024;
        let by_level = match self.level {
            1 => 32 * KIB,
            2 => 64 * KIB,
            3 => LONG_BLOCK,
            4 | 5 => 256 * KIB,
            6..=8 => 512 * KIB,
            _ => 1024 * KIB,
        };
        let wanted = match self.block {
            0 if length < 32 * KIB => length,
            0 => by_level,
            block => block.max(SHORTEST),
        };
        let block = wanted.min(length);
        if block > self.item { block / self.item * self.item } else { block.max(1) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use zarrs::array::codec::bytes_to_bytes::blosc::{
        BloscCompressor, BloscShuffleMode, blosc_compress_bytes, blosc_decompress_bytes, blosc_nbytes,
    };

    use super::*;

    /// Smooth numbers, noise, or both in turns: blocks that shrink and blocks that do not.
    fn made(length: usize, seed: u64, noise: u8) -> Vec<u8> {
        let mut state = seed | 1;
        let byte = |at: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let random = (state >> 33) as u8;
            match noise {
                0 => ((at / 7 + at * at / 9001) >> (at % 2 * 8)) as u8,
                1 => random,
                2 => random & 7,
                _ if (at / 40_000).is_multiple_of(2) => random,
                _ => (at / 700) as u8,
            }
        };
        (0..length).map(byte).collect()
    }

    fn decoded(container: &[u8]) -> Vec<u8> {
        let length = blosc_nbytes(container).unwrap();
        blosc_decompress_bytes(container, length, 1).unwrap()
    }

    fn encoded(settings: &Value, raw: &[u8]) -> Vec<u8> {
        Blosc::of(settings).unwrap().encode(raw)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
        #[test]
        fn bytes_are_those_of_c_blosc(
            length in prop_oneof![128usize..3000, 3000usize..400_000],
            seed in any::<u64>(),
            noise in 0u8..4,
            item in prop::sample::select(vec![1usize, 2, 3, 4, 8, 16]),
            level in 1u8..6,
            shuffled in any::<bool>(),
            block in prop::sample::select(vec![0usize, 1, 1000, 65_536, 262_144]),
        ) {
            let raw = made(length, seed, noise);
            let (name, mode) = if shuffled { ("shuffle", BloscShuffleMode::Shuffle) } else { ("noshuffle", BloscShuffleMode::NoShuffle) };
            let settings = json!({"cname": "zstd", "clevel": level, "shuffle": name, "typesize": item, "blocksize": block});
            let ours = encoded(&settings, &raw);
            let theirs = blosc_compress_bytes(&raw, level.try_into().unwrap(), mode, item, BloscCompressor::Zstd, block, 1).unwrap();
            let told = format!("{} and {} bytes for {settings}, {length} bytes of kind {noise}", ours.len(), theirs.len());
            if level <= 2 {
                prop_assert!(ours == theirs, "{told}");
            } else {
                // Archives become smaller (note 004); of what is made here one in a thousand grows, by 2 to 3 %.
                prop_assert!(decoded(&ours) == raw && ours.len() <= theirs.len() + theirs.len() / 20 + 16, "{told}");
                // Whatever else this thread, or another, compresses in between.
                drop(encoded(&settings, &made(length / 2 + 128, seed ^ 7, 3)));
                prop_assert!(ours == encoded(&settings, &raw), "other bytes the second time: {told}");
                prop_assert!(ours == std::thread::scope(|scope| scope.spawn(|| encoded(&settings, &raw)).join().unwrap()), "{told}");
            }
        }
    }

    #[test]
    fn high_levels_are_as_small_as_c_bloscs() {
        let raw = made(50_000, 3, 2);
        for level in 6u8..=9 {
            let settings = json!({"cname": "zstd", "clevel": level, "shuffle": "shuffle", "typesize": 2, "blocksize": 0});
            let theirs = blosc_compress_bytes(&raw, level.try_into().unwrap(), BloscShuffleMode::Shuffle, 2, BloscCompressor::Zstd, 0, 1);
            let ours = encoded(&settings, &raw);
            // One block, so one fresh context in both.
            assert!(ours == theirs.unwrap() && decoded(&ours) == raw, "level {level}");
        }
    }

    #[test]
    fn what_c_blosc_must_do_is_left_to_it() {
        let settings = |key: &str, value: Value| {
            let mut settings = json!({"cname": "zstd", "clevel": 1, "shuffle": "shuffle", "typesize": 2, "blocksize": 0});
            settings[key] = value;
            Blosc::of(&settings).is_some()
        };
        assert!(settings("clevel", json!(9)));
        assert!(!settings("clevel", json!(0)));
        assert!(!settings("cname", json!("lz4")));
        assert!(!settings("shuffle", json!("bitshuffle")));
        assert!(!settings("blocksize", json!(8 << 20)));
        assert!(!settings("typesize", json!(64)));
        assert!(!Blosc::takes(127) && Blosc::takes(128));
    }
}
