//! Chunk lengths and slabs: how much of an array one chunk, and one task, should hold.
//!
//! Pure integers: no names, types or files. Invariant: a slab is a whole number of objects along every dimension, and its
//! bytes never exceed the limit it was asked to keep unless a single object already does.

mod choice;
mod scratch;

pub use choice::{Choice, Costs, Counted, Effort, Scratch};
pub use scratch::TwoStages;

use crate::grid::{Shape, elements};

/// Chunk lengths of about `limit` bytes, whose lengths relative to the array's follow `weights`.
///
/// All dimensions shrink alike (times their weight) until a chunk fits. An array that fits is one chunk.
/// ```
/// # use gristmill::rechunk::automatic_chunks;
/// assert_eq!(automatic_chunks(&[1000, 100, 100], &[1.0; 3], 4, 4_000_000), vec![469, 46, 46]);
/// assert_eq!(automatic_chunks(&[10, 10], &[1.0; 2], 4, 4_000_000), vec![10, 10]);
/// ```
#[must_use]
pub fn automatic_chunks(shape: &[u64], weights: &[f64], item: u64, limit: u64) -> Shape {
    let lengths = |scale: f64| -> Shape {
        let length = |(&length, &weight): (&u64, &f64)| ((length as f64 * weight * scale) as u64).clamp(1, length.max(1));
        shape.iter().zip(weights).map(length).collect()
    };
    let fits = |scale: f64| elements(&lengths(scale)).saturating_mul(item) <= limit.max(item);
    let (mut low, mut high) = (0.0, weights.iter().fold(1.0, |top: f64, weight| top.max(1.0 / weight.max(1e-9))));
    if fits(high) {
        return lengths(high);
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if fits(middle) { low = middle } else { high = middle }
    }
    shape.iter().zip(lengths(low)).map(|(&length, chunk)| evened(length.max(1), chunk)).collect()
}

/// A length that cuts `length` into equal parts, unless that makes chunks much smaller.
fn evened(length: u64, chunk: u64) -> u64 {
    let even = length.div_ceil(length.div_ceil(chunk));
    if even * 5 >= chunk * 4 { even } else { chunk }
}

/// What the choice of a slab depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlabProblem {
    /// Lengths of the array.
    pub shape: Shape,
    /// Lengths of one object (chunk or shard).
    pub object: Shape,
    /// Lengths of one source chunk, as seen from the array (a file boundary ends a chunk).
    pub source: Shape,
    /// Bytes of one element in the result.
    pub item: u64,
    /// Largest slab, in bytes.
    pub limit: u64,
}

/// A slab: how many objects along each dimension one task holds, and what that costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Slab {
    /// Objects along each dimension.
    pub objects: Shape,
    /// Bytes of values in the largest slab.
    pub bytes: u64,
    /// How often the average source element is decoded (1 is best).
    pub amplification: f64,
}

/// Of so many objects along an axis every count is tried.
const FEW: u64 = 24;
/// Slabs smaller than this are enlarged when that costs nothing else, so that a task is worth its receipt.
const WORTHWHILE: u64 = 16 << 20;

impl SlabProblem {
    /// The slab that decodes source chunks least often within the limit; of those, the smallest that is worth a task.
    #[must_use]
    pub fn solve(&self) -> Slab {
        let axes: Vec<Vec<Step>> = (0..self.shape.len()).map(|axis| self.steps(axis)).collect();
        let mut best = self.slab(vec![1; self.shape.len()]);
        self.search(&axes, (self.item, 1.0), &mut Vec::new(), &mut best);
        best
    }

    /// What a slab of so many objects costs.
    #[must_use]
    pub fn slab(&self, objects: Shape) -> Slab {
        let amplification = (0..self.shape.len()).map(|axis| self.axis_amplification(axis, objects[axis])).product();
        let bytes = objects.iter().enumerate().fold(self.item, |bytes, (axis, &count)| bytes.saturating_mul(self.length(axis, count)));
        Slab { objects, bytes, amplification }
    }

    /// Counts of objects worth trying along an axis.
    fn steps(&self, axis: usize) -> Vec<Step> {
        let (object, source) = (self.object[axis].max(1), self.source[axis].max(1));
        let total = self.shape[axis].max(1).div_ceil(object);
        // Slabs that end where source chunks end repeat nothing along this axis.
        let aligned = scratch::multiple(object, source) / object;
        let mut counts: Vec<u64> = useful_counts(total.div_ceil(aligned)).into_iter().map(|count| (count * aligned).min(total)).collect();
        counts.extend(useful_counts(total));
        counts.sort_unstable();
        counts.dedup();
        let step = |count| Step { count, length: self.length(axis, count), amplification: self.axis_amplification(axis, count) };
        counts.into_iter().map(step).collect()
    }

    /// Tries every count along the axes that are left; `so_far` is bytes and amplification of those chosen.
    fn search(&self, axes: &[Vec<Step>], so_far: (u64, f64), chosen: &mut Shape, best: &mut Slab) {
        let Some((steps, rest)) = axes.split_first() else {
            let slab = Slab { objects: chosen.clone(), bytes: so_far.0, amplification: so_far.1 };
            if better(&slab, best) {
                *best = slab;
            }
            return;
        };
        for step in steps {
            let (bytes, amplification) = (so_far.0.saturating_mul(step.length), so_far.1 * step.amplification);
            // What is one object along every other axis must fit already, and more axes never decode less often.
            let least = rest.iter().filter_map(|steps| steps.first()).fold(bytes, |bytes, step| bytes.saturating_mul(step.length));
            if least > self.limit || amplification > best.amplification + 1e-9 {
                continue;
            }
            chosen.push(step.count);
            self.search(rest, (bytes, amplification), chosen, best);
            chosen.pop();
        }
    }

    /// Elements along `axis` that `count` objects hold; objects are stored whole, also at the far edge.
    fn length(&self, axis: usize, count: u64) -> u64 {
        self.object[axis].max(1).saturating_mul(count)
    }

    /// How often the average source chunk along `axis` is touched by slabs of `count` objects.
    fn axis_amplification(&self, axis: usize, count: u64) -> f64 {
        let (length, source) = (self.shape[axis].max(1), self.source[axis].max(1));
        let slab = self.length(axis, count).clamp(1, length);
        let slabs = length.div_ceil(slab);
        if slabs > 100_000 {
            return (1.0 + source as f64 / slab as f64).min(slabs as f64);
        }
        let touched: u64 = (0..slabs).map(|number| (number * slab + slab).min(length).div_ceil(source) - number * slab / source).sum();
        touched as f64 / length.div_ceil(source) as f64
    }
}

/// A number of objects along one axis.
struct Step {
    count: u64,
    length: u64,
    amplification: f64,
}

fn better(slab: &Slab, than: &Slab) -> bool {
    let gain = than.amplification - slab.amplification;
    if gain.abs() > 1e-9 {
        return gain > 0.0;
    }
    match (slab.bytes >= WORTHWHILE, than.bytes >= WORTHWHILE) {
        (true, true) => slab.bytes < than.bytes,
        (true, false) => true,
        (false, true) => false,
        (false, false) => slab.bytes > than.bytes,
    }
}

/// Counts that split `total` objects evenly: 1 slab, 2 slabs, 3 slabs… down to one object per slab, thinned to a few dozen.
fn useful_counts(total: u64) -> Vec<u64> {
    let total = total.max(1);
    if total <= FEW {
        return (1..=total).collect();
    }
    let mut counts: Vec<u64> = (1..=total.min(12))
        .chain((4..=63).map(|power| total.div_ceil(1 << power.min(62))))
        .map(|slabs| total.div_ceil(slabs.max(1)))
        .collect();
    counts.extend([1, 2, 3, 4, 6, 8, 16, 32, 64, 128].into_iter().filter(|count| *count <= total));
    counts.sort_unstable();
    counts.dedup();
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The full transposition of a year of daily maps: maps in, 90 × 90 time series out.
    fn transposition(limit: u64) -> SlabProblem {
        SlabProblem { shape: vec![365, 1, 720, 1440], object: vec![365, 1, 90, 90], source: vec![1, 1, 720, 1440], item: 2, limit }
    }

    #[test]
    fn enough_memory_decodes_once() {
        let slab = transposition(800 << 20).solve();
        assert_eq!((slab.objects, slab.amplification), (vec![1, 1, 8, 16], 1.0));
    }

    #[test]
    fn less_memory_decodes_in_few_bands() {
        let slab = transposition(290 << 20).solve();
        assert_eq!(slab.amplification, 3.0, "{slab:?}");
        assert!(slab.bytes <= 290 << 20);
    }

    #[test]
    fn concatenation_takes_one_object() {
        let problem =
            SlabProblem { shape: vec![365, 720, 1440], object: vec![20, 720, 1440], source: vec![1, 720, 1440], item: 2, limit: 300 << 20 };
        assert_eq!(problem.solve().objects, vec![1, 1, 1]);
    }

    #[test]
    fn tiny_objects_are_gathered() {
        let problem = SlabProblem { shape: vec![100_000], object: vec![10], source: vec![10], item: 8, limit: 64 << 20 };
        assert_eq!(problem.solve().bytes, 800_000);
    }

    proptest! {
        #[test]
        fn a_slab_keeps_the_limit(shape in prop::collection::vec(1u64..400, 3), object in prop::collection::vec(1u64..50, 3), source in prop::collection::vec(1u64..80, 3), limit in 1u64..100_000_000) {
            let problem = SlabProblem { shape, object: object.clone(), source, item: 4, limit };
            let slab = problem.solve();
            let single = elements(&object) * 4;
            prop_assert!(slab.bytes <= limit || slab.bytes == single);
            prop_assert!(slab.amplification >= 1.0 - 1e-9);
        }

        #[test]
        fn automatic_chunks_keep_the_limit(shape in prop::collection::vec(1u64..5000, 1..4), limit in 4u64..100_000_000) {
            let weights = vec![1.0; shape.len()];
            let chunks = automatic_chunks(&shape, &weights, 4, limit);
            prop_assert!(elements(&chunks) * 4 <= limit);
            prop_assert!(chunks.iter().zip(&shape).all(|(chunk, length)| (1..=*length).contains(chunk)));
        }
    }
}
