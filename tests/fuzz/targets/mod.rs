//! What is done to arbitrary bytes: by cargo-fuzz (`tests/fuzz`), and by `tests/fuzz_corpus.rs` to the bytes it has found interesting.
//!
//! Each function takes any bytes and must return: no panic, no endless loop, no memory beyond what is stated. Where something comes
//! out, what must hold of it is asserted.
#![allow(dead_code, unused_imports, reason = "each fuzz target uses one of them")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is a finding")]

mod files;
mod filters;
mod placement;
mod state;
mod texts;

pub(crate) use files::{hdf5, netcdf3};
pub(crate) use filters::filters;
pub(crate) use placement::placement;
pub(crate) use state::{state, zarr};
pub(crate) use texts::{recipe, template};

/// Numbers from the start of some bytes; zeros where they end.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().map_or((0, self.0), |(&first, rest)| (first, rest));
        self.0 = rest;
        first
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    fn long(&mut self) -> u64 {
        u64::from(self.word()) | u64::from(self.word()) << 32
    }
}
