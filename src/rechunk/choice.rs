//! One stage or two: what each would move, counted in bytes, and which costs less.
//!
//! Pure integers and a few measured rates. Invariant: an array that one slab within the limit decodes once is never sent
//! through scratch, and what is chosen costs no more than the other way.

use super::{Slab, SlabProblem, TwoStages};
use crate::grid::{ChunkGrid, elements};

/// What moving values costs, in nanoseconds of one core.
///
/// Only ratios matter. Measured as `docs/design/005-two-stage-rechunk.md` tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs {
    /// Per byte of values: read, inflate and unshuffle a filtered source chunk once more.
    pub chunks: f64,
    /// Per byte of values: read and swap unfiltered rows once more.
    pub rows: f64,
    /// Per byte stored: fetch it once more from far away.
    pub network: f64,
    /// Per byte of values: place into, pack, write, read and unpack a scratch object.
    pub scratch: f64,
    /// Per scratch object, whatever its size.
    pub object: f64,
}

impl Costs {
    /// On local disk and page cache, see `docs/design/005-two-stage-rechunk.md`. The network is taken as 100 MB/s, and to make,
    /// rename, open and delete a small file as 0.1 ms: estimates.
    pub const MEASURED: Self = Self { chunks: 0.8, rows: 0.3, network: 10.0, scratch: 1.3, object: 100_000.0 };
}

/// What it takes to decode an array's source once more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// Nanoseconds per byte of values: [`Costs::chunks`] or [`Costs::rows`].
    pub decode: f64,
    /// Bytes that the array's source has stored, as far as known.
    pub stored: u64,
    /// Nanoseconds to fetch a byte of them: [`Costs::network`], or 0 where they are near.
    pub fetch: f64,
}

/// What scratch may be used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scratch {
    /// Largest scratch object, in bytes.
    pub object: u64,
    /// Nanoseconds per byte of values through scratch: [`Costs::scratch`].
    pub byte: f64,
    /// Nanoseconds per scratch object: [`Costs::object`].
    pub each: f64,
}

/// What a way of moving an array moves, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Counted {
    /// Stored bytes that are read from the source.
    pub read: u64,
    /// Values that are decoded.
    pub decoded: u64,
    /// Values that are encoded: whole objects, also at the far edges.
    pub encoded: u64,
    /// Values that are written to scratch, and read once.
    pub scratch: u64,
    /// Microseconds of one core above what decoding everything once would take.
    pub cost: u64,
}

impl Counted {
    /// The counts of so many arrays alike.
    #[must_use]
    pub fn times(&self, arrays: u64) -> Self {
        let times = |count: u64| count.saturating_mul(arrays);
        Self {
            read: times(self.read),
            decoded: times(self.decoded),
            encoded: times(self.encoded),
            scratch: times(self.scratch),
            cost: times(self.cost),
        }
    }
}

/// Both ways of moving an array.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The best slab of one stage, and what it moves.
    pub one: (Slab, Counted),
    /// The best two stages, if one stage repeats anything and memory allows two.
    pub two: Option<(TwoStages, Counted)>,
}

impl Choice {
    /// The two stages, if they cost less than one.
    #[must_use]
    pub fn detour(&self) -> Option<&TwoStages> {
        self.two.as_ref().filter(|(_, counted)| counted.cost < self.one.1.cost).map(|(stages, _)| stages)
    }

    /// What the cheaper way moves.
    #[must_use]
    pub fn counted(&self) -> &Counted {
        if self.detour().is_some() { self.two.as_ref().map_or(&self.one.1, |(_, counted)| counted) } else { &self.one.1 }
    }
}

impl SlabProblem {
    /// Weighs one stage against two; `scratch` is `None` where the values cannot go through scratch.
    #[must_use]
    pub fn choose(&self, effort: &Effort, scratch: Option<&Scratch>) -> Choice {
        let slab = self.solve();
        let counted = self.count_one(&slab, effort);
        let repeats = slab.amplification > 1.0 + 1e-9;
        let two = scratch.filter(|_| repeats).and_then(|scratch| self.choose_two(effort, scratch));
        Choice { one: (slab, counted), two }
    }

    /// Scratch objects and slabs: small enough for two tasks at a time, unless that is impossible or much dearer.
    fn choose_two(&self, effort: &Effort, scratch: &Scratch) -> Option<(TwoStages, Counted)> {
        let cost = |stages: &TwoStages| micros(self.bytes() as f64 * scratch.byte + stages.objects as f64 * scratch.each);
        let within = |limit: u64| Self { limit, ..self.clone() }.two_stages(scratch.object);
        let (half, whole) = (within(self.limit / 2), within(self.limit)?);
        let stages = half.filter(|half| cost(half) / 11 <= cost(&whole) / 10).unwrap_or(whole);
        let counted = Counted { scratch: self.bytes(), cost: cost(&stages), ..self.count_times(1.0, effort) };
        Some((stages, counted))
    }

    /// What one stage of such slabs moves.
    #[must_use]
    pub fn count_one(&self, slab: &Slab, effort: &Effort) -> Counted {
        let again = (slab.amplification - 1.0).max(0.0);
        let cost = again * (self.bytes() as f64 * effort.decode + effort.stored as f64 * effort.fetch);
        Counted { cost: micros(cost), ..self.count_times(slab.amplification, effort) }
    }

    fn count_times(&self, times: f64, effort: &Effort) -> Counted {
        let encoded = ChunkGrid::new(self.shape.clone(), self.object.clone()).chunks().saturating_mul(elements(&self.object));
        Counted {
            read: (effort.stored as f64 * times) as u64,
            decoded: (self.bytes() as f64 * times) as u64,
            encoded: encoded.saturating_mul(self.item),
            scratch: 0,
            cost: 0,
        }
    }

    /// Bytes of values.
    fn bytes(&self) -> u64 {
        elements(&self.shape).saturating_mul(self.item)
    }
}

fn micros(nanoseconds: f64) -> u64 {
    (nanoseconds / 1000.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: Effort = Effort { decode: Costs::MEASURED.chunks, stored: 120 << 20, fetch: 0.0 };
    const DISK: Scratch = Scratch { object: 16 << 20, byte: Costs::MEASURED.scratch, each: Costs::MEASURED.object };

    /// The full transposition of a year of daily maps: maps in, 90 × 90 time series out.
    fn transposition(limit: u64) -> SlabProblem {
        SlabProblem { shape: vec![365, 1, 720, 1440], object: vec![365, 1, 90, 90], source: vec![1, 1, 720, 1440], item: 2, limit }
    }

    #[test]
    fn what_fits_repeats_nothing() {
        let choice = transposition(800 << 20).choose(&NEAR, Some(&DISK));
        assert_eq!((choice.two.is_none(), choice.one.1.cost, choice.one.1.decoded), (true, 0, 365 * 720 * 1440 * 2));
        assert_eq!(choice.one.1.read, NEAR.stored);
    }

    #[test]
    fn near_files_are_decoded_again_for_few_bands() {
        let choice = transposition(400 << 20).choose(&NEAR, Some(&DISK));
        assert_eq!((choice.one.0.amplification, choice.detour()), (2.0, None));
        assert_eq!(choice.counted().read, 2 * NEAR.stored);
    }

    #[test]
    fn far_files_and_many_bands_go_through_scratch() {
        let far = Effort { fetch: Costs::MEASURED.network, stored: 700 << 20, ..NEAR };
        assert!(transposition(400 << 20).choose(&far, Some(&DISK)).detour().is_some());
        let many = transposition(50 << 20).choose(&NEAR, Some(&DISK));
        assert!(many.detour().is_some() && many.one.0.amplification > 10.0, "{many:?}");
        assert_eq!(many.counted().scratch, many.counted().decoded);
        assert!(transposition(50 << 20).choose(&NEAR, None).detour().is_none());
    }
}
