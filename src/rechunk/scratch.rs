//! Two stages with scratch objects between them, for arrays that memory is too small to turn over in one.
//!
//! Stage 1 reads slabs that hold whole source chunks and writes scratch objects; stage 2 reads these and writes slabs of whole
//! target objects. Pure integers. Invariant: scratch objects are a regular grid, so every element is in exactly one; the slabs
//! of both stages keep the limit, every source chunk is decoded once and every scratch object is read once.

use super::{Slab, SlabProblem, useful_counts};
use crate::grid::{ChunkGrid, Shape};

/// Scratch objects and the slabs of both stages.
#[derive(Debug, Clone, PartialEq)]
pub struct TwoStages {
    /// Lengths of one scratch object; at the far edges it is cut off with the array.
    pub object: Shape,
    /// Slabs of stage 1, in scratch objects; decodes every source chunk once.
    pub first: Slab,
    /// Slabs of stage 2, in the target's objects; reads every scratch object once.
    pub second: Slab,
    /// Number of scratch objects.
    pub objects: u64,
}

/// On axes up to this length every length of scratch objects is tried.
const SHORT: u64 = 32;
/// Divisors are looked for up to here, with what they divide a length into: all of those of a length below its square.
const DIVISORS: u64 = 4096;

/// A length of scratch objects along one axis, and how long the slabs of both stages must then be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Length {
    object: u64,
    first: u64,
    second: u64,
}

/// Products of some axes' lengths.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    count: u64,
    object: u64,
    first: u64,
    second: u64,
}

impl SlabProblem {
    /// The two stages with the fewest scratch objects of at most `object_limit` bytes; `None` where no slab within the limit
    /// decodes everything once.
    #[must_use]
    pub fn two_stages(&self, object_limit: u64) -> Option<TwoStages> {
        let axes: Vec<Vec<Length>> = (0..self.shape.len()).map(|axis| self.lengths(axis)).collect();
        let mut best: Option<(Sizes, Vec<Length>)> = None;
        let one = Sizes { count: 1, object: self.item, first: self.item, second: self.item };
        self.search_stages(&axes, object_limit, (one, &mut Vec::new()), &mut best);
        best.map(|(_, lengths)| self.stages(&lengths))
    }

    /// Lengths worth trying along an axis: whole numbers of source chunks and of target objects, what divides either, and on a short axis
    /// all. Where the slabs of one stage span the axis anyway, scratch objects need to fit the other stage only.
    fn lengths(&self, axis: usize) -> Vec<Length> {
        let (length, source, object) = (self.shape[axis].max(1), self.source[axis].max(1), self.object[axis].max(1));
        let multiples = |unit: u64| useful_counts(length.div_ceil(unit)).into_iter().map(move |count| count.saturating_mul(unit));
        let all = (length <= SHORT).then_some(1..=length).into_iter().flatten();
        let candidates = multiples(source).chain(multiples(object)).chain(divisors(source)).chain(divisors(object)).chain(all);
        let mut lengths: Vec<Length> = candidates
            .map(|scratch| scratch.min(length))
            .map(|scratch| Length {
                object: scratch,
                first: multiple(scratch, source).min(length),
                second: multiple(scratch, object).min(length.next_multiple_of(object)),
            })
            .collect();
        lengths.sort_unstable();
        lengths.dedup();
        worthwhile(&lengths, length)
    }

    fn search_stages(
        &self,
        axes: &[Vec<Length>],
        object_limit: u64,
        (sizes, chosen): (Sizes, &mut Vec<Length>),
        best: &mut Option<(Sizes, Vec<Length>)>,
    ) {
        let fits = sizes.object <= object_limit && sizes.first <= self.limit && sizes.second <= self.limit;
        if !fits || best.as_ref().is_some_and(|(best, _)| best.count < sizes.count) {
            return;
        }
        let Some(lengths) = axes.get(chosen.len()) else {
            let slab = |sizes: &Sizes| sizes.first.max(sizes.second);
            if best.as_ref().is_none_or(|(best, _)| (sizes.count, slab(&sizes)) < (best.count, slab(best))) {
                *best = Some((sizes, chosen.clone()));
            }
            return;
        };
        let whole = self.shape[chosen.len()].max(1);
        // Long ones first: they make few objects, which ends hopeless branches early.
        for length in lengths.iter().rev() {
            let next = Sizes {
                count: sizes.count.saturating_mul(whole.div_ceil(length.object)),
                object: sizes.object.saturating_mul(length.object),
                first: sizes.first.saturating_mul(length.first),
                second: sizes.second.saturating_mul(length.second),
            };
            chosen.push(*length);
            self.search_stages(axes, object_limit, (next, chosen), best);
            chosen.pop();
        }
    }

    fn stages(&self, lengths: &[Length]) -> TwoStages {
        let object: Shape = lengths.iter().map(|length| length.object).collect();
        let first = Self { object: object.clone(), ..self.clone() };
        let second = Self { source: object.clone(), ..self.clone() };
        let counts =
            |slab: fn(&Length) -> u64, unit: &[u64]| lengths.iter().zip(unit).map(|(length, unit)| slab(length).div_ceil(*unit)).collect();
        let mut first = first.slab(counts(|length| length.first, &object));
        // Scratch objects end with the array, so a slab holds no more than its box.
        first.bytes = lengths.iter().fold(self.item, |bytes, length| bytes.saturating_mul(length.first));
        let second = second.slab(counts(|length| length.second, &self.object));
        let objects = ChunkGrid::new(self.shape.clone(), object.clone()).chunks();
        TwoStages { object, first, second, objects }
    }
}

/// Without those to which a shorter one is preferable in everything: as few objects along the axis, and slabs as short.
fn worthwhile(ascending: &[Length], whole: u64) -> Vec<Length> {
    let count = |length: &Length| whole.div_ceil(length.object);
    let mut kept: Vec<Length> = Vec::new();
    for length in ascending {
        let is_better = |other: &Length| count(other) <= count(length) && other.first <= length.first && other.second <= length.second;
        if !kept.iter().any(is_better) {
            kept.push(*length);
        }
    }
    kept
}

/// Divisors of a length that is not 0.
fn divisors(length: u64) -> impl Iterator<Item = u64> {
    (1..=length.isqrt().min(DIVISORS))
        .filter(move |divisor| length.is_multiple_of(*divisor))
        .flat_map(move |divisor| [divisor, length / divisor])
}

/// Greatest common divisor of two lengths, neither 0.
fn divisor(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { divisor(other, one % other) }
}

/// Least common multiple of two lengths.
pub(super) fn multiple(one: u64, other: u64) -> u64 {
    (one / divisor(one, other).max(1)).saturating_mul(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::{elements, positions, ravel};
    use proptest::prelude::*;

    fn transposition(limit: u64) -> SlabProblem {
        SlabProblem { shape: vec![365, 1, 720, 1440], object: vec![365, 1, 90, 90], source: vec![1, 1, 720, 1440], item: 2, limit }
    }

    #[test]
    fn a_tenth_of_the_memory_still_decodes_once() {
        let problem = transposition(80 << 20);
        let stages = problem.two_stages(16 << 20).unwrap();
        assert_eq!((stages.first.amplification, stages.second.amplification), (1.0, 1.0));
        assert!(stages.objects < 200, "{stages:?}");
    }

    #[test]
    fn objects_that_divide_a_chunk_serve_where_the_other_slab_spans_the_axis() {
        let problem = SlabProblem { shape: vec![8, 16], object: vec![7, 5], source: vec![8, 8], item: 4, limit: 280 };
        assert_eq!(problem.two_stages(16).map(|stages| stages.objects), Some(32));
    }

    #[test]
    fn huge_lengths_are_looked_through_at_once() {
        let length = (1 << 61) - 1;
        let problem =
            SlabProblem { shape: vec![length, length], object: vec![length, 1], source: vec![1, length], item: 8, limit: 1 << 40 };
        assert_eq!(problem.two_stages(1 << 30), None);
    }

    #[test]
    fn a_source_chunk_larger_than_memory_has_no_two_stages() {
        assert_eq!(transposition(2 << 20).two_stages(1 << 20), None);
    }

    /// How often each position is written, and how many bytes the largest slab holds, where slabs of `counts` objects cover a grid.
    fn covering(grid: &ChunkGrid, counts: &[u64]) -> (Vec<u32>, u64) {
        let slabs = ChunkGrid::new(grid.counts(), counts.to_vec());
        let mut seen = vec![0; usize::try_from(elements(&grid.shape)).unwrap()];
        let mut largest = 0;
        for slab in 0..slabs.chunks() {
            let mut held = 0;
            for object in positions(&slabs.region(&slabs.index(slab))) {
                let region = grid.region(&object);
                held += region.elements();
                positions(&region).for_each(|position| seen[usize::try_from(ravel(&position, &grid.shape)).unwrap()] += 1);
            }
            largest = largest.max(held);
        }
        (seen, largest)
    }

    /// How often the chunks of `read` are read by all slabs of `counts` objects of `written` together.
    fn reads(read: &ChunkGrid, written: &ChunkGrid, counts: &[u64]) -> u64 {
        let slabs = ChunkGrid::new(written.counts(), counts.to_vec());
        (0..slabs.chunks()).map(|number| read.touching(&written.covered(&slabs.region(&slabs.index(number)))).elements()).sum()
    }

    proptest! {
        #[test]
        fn both_stages_cover_once_read_once_and_keep_the_limit(
            shape in prop::collection::vec(1u64..24, 3), object in prop::collection::vec(1u64..12, 3),
            source in prop::collection::vec(1u64..12, 3), limit in 1u64..40_000, object_limit in 1u64..8_000,
        ) {
            let problem = SlabProblem { shape: shape.clone(), object: object.clone(), source: source.clone(), item: 4, limit };
            let Some(stages) = problem.two_stages(object_limit) else {
                // Slabs of one source chunk and of one object, and scratch objects that divide both, would have done.
                let small = |lengths: &[u64], clip: bool| lengths.iter().zip(&shape).fold(4, |bytes, (length, whole)| bytes * if clip { *length.min(whole) } else { *length });
                let common: Vec<u64> = source.iter().zip(&object).map(|(one, other)| divisor(*one, *other)).collect();
                prop_assert!(small(&source, true) > limit || small(&object, false) > limit || small(&common, true) > object_limit);
                return Ok(());
            };
            let [scratch, target, chunks] = [&stages.object, &object, &source].map(|chunk| ChunkGrid::new(shape.clone(), chunk.clone()));
            prop_assert!(elements(&scratch.region(&[0, 0, 0]).shape) * 4 <= object_limit);
            for (grid, slab) in [(&scratch, &stages.first), (&target, &stages.second)] {
                let (seen, largest) = covering(grid, &slab.objects);
                prop_assert!(seen.iter().all(|&times| times == 1));
                prop_assert!(largest * 4 <= slab.bytes && slab.bytes <= limit);
            }
            prop_assert_eq!(reads(&chunks, &scratch, &stages.first.objects), chunks.chunks());
            prop_assert_eq!(reads(&scratch, &target, &stages.second.objects), scratch.chunks());
            prop_assert_eq!(stages.objects, scratch.chunks());
        }
    }
}
