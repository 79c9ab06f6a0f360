//! Filter 1: zlib streams (RFC 1950), through libdeflate, which verifies the Adler-32 checksum.

use libdeflater::{DecompressionError, Decompressor};

use super::{CodecError, reserve};

/// Deflate cannot expand more than this (RFC 1951: 258 bytes from two bits, rounded up).
const LARGEST_EXPANSION: usize = 1032;

/// Decoder state, made once per thread.
pub(super) struct Inflater(Decompressor);

impl Default for Inflater {
    fn default() -> Self {
        Self(Decompressor::new())
    }
}

impl Inflater {
    /// Inflates `input` into `output`. `exact`: its size if known; else the buffer grows up to `limit`.
    pub(super) fn inflate(&mut self, input: &[u8], output: &mut Vec<u8>, exact: Option<usize>, limit: usize) -> Result<(), CodecError> {
        let possible = input.len().saturating_mul(LARGEST_EXPANSION);
        if let Some(expected) = exact.filter(|&expected| expected > possible) {
            return Err(CodecError::Size { filter: "deflate".to_owned(), expected: expected as u64, actual: possible as u64 });
        }
        let mut room = exact.unwrap_or_else(|| input.len().saturating_mul(4).min(limit));
        loop {
            reserve(output, room)?;
            output.resize(room, 0);
            match self.0.zlib_decompress(input, output) {
                Ok(size) => {
                    output.truncate(size);
                    return Ok(());
                }
                Err(DecompressionError::InsufficientSpace) if exact.is_none() && room < limit => room = room.saturating_mul(2).min(limit),
                Err(DecompressionError::InsufficientSpace) => return Err(too_long(room)),
                Err(DecompressionError::BadData) => return Err(bad_data()),
            }
        }
    }
}

fn too_long(room: usize) -> CodecError {
    CodecError::Size { filter: "deflate".to_owned(), expected: room as u64, actual: room as u64 + 1 }
}

fn bad_data() -> CodecError {
    CodecError::Damaged { filter: "deflate".to_owned(), message: "invalid data or wrong Adler-32 checksum".to_owned() }
}
