//! Boxes and chunk grids: which chunks of a regular grid touch which box.
//!
//! Integers only; knows nothing of data types, files or names. Invariant: a `Region` and everything
//! it is compared with have the same rank, and the chunks of a `ChunkGrid` cover its shape exactly once.

use serde::{Deserialize, Serialize};

/// Lengths along each dimension, slowest first.
pub type Shape = Vec<u64>;

/// Number of elements of a shape; 1 for a scalar. Saturates instead of wrapping.
#[must_use]
pub fn elements(shape: &[u64]) -> u64 {
    shape.iter().fold(1, |product: u64, &length| product.saturating_mul(length))
}

/// Row-major strides in elements (the last dimension has stride 1).
#[must_use]
pub fn strides(shape: &[u64]) -> Vec<u64> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        // Only of a shape that no array has can this be too large; nothing then lies inside any buffer.
        strides[axis - 1] = u64::saturating_mul(strides[axis], shape[axis]);
    }
    strides
}

/// A box: `start[d] .. start[d] + shape[d]` along each dimension.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "WrittenRegion")]
pub struct Region {
    /// First element along each dimension.
    pub start: Vec<u64>,
    /// Number of elements along each dimension.
    pub shape: Shape,
}

impl Region {
    /// A box from its corner and lengths.
    #[must_use]
    pub fn new(start: Vec<u64>, shape: Shape) -> Self {
        debug_assert_eq!(start.len(), shape.len());
        Self { start, shape }
    }

    /// The box that covers all of `shape`.
    #[must_use]
    pub fn whole(shape: &[u64]) -> Self {
        Self { start: vec![0; shape.len()], shape: shape.to_vec() }
    }

    /// Number of dimensions.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> u64 {
        elements(&self.shape)
    }

    /// True if it holds no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// One past the last element along `axis`.
    #[must_use]
    pub fn end(&self, axis: usize) -> u64 {
        self.start[axis].saturating_add(self.shape[axis])
    }

    /// The common part of two boxes; `None` when they do not touch.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let mut start = Vec::with_capacity(self.rank());
        let mut shape = Vec::with_capacity(self.rank());
        for axis in 0..self.rank() {
            let low = self.start[axis].max(other.start[axis]);
            let high = self.end(axis).min(other.end(axis));
            if low >= high {
                return None;
            }
            start.push(low);
            shape.push(high - low);
        }
        Some(Self { start, shape })
    }

    /// True if `other` lies wholly inside.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        (0..self.rank()).all(|axis| self.start[axis] <= other.start[axis] && other.end(axis) <= self.end(axis))
    }

    /// The smallest box that holds both.
    #[must_use]
    pub fn around(&self, other: &Self) -> Self {
        let start: Vec<u64> = self.start.iter().zip(&other.start).map(|(one, other)| *one.min(other)).collect();
        let shape = start.iter().enumerate().map(|(axis, start)| self.end(axis).max(other.end(axis)) - start).collect();
        Self { start, shape }
    }

    /// The same box seen from `origin`: `origin` becomes 0. Every start must be at or past `origin`.
    #[must_use]
    pub fn relative_to(&self, origin: &[u64]) -> Self {
        let start = self.start.iter().zip(origin).map(|(start, origin)| start - origin).collect();
        Self { start, shape: self.shape.clone() }
    }

    /// The same box moved away from 0 by `offset`.
    #[must_use]
    pub fn shifted_by(&self, offset: &[u64]) -> Self {
        let start = self.start.iter().zip(offset).map(|(start, offset)| start + offset).collect();
        Self { start, shape: self.shape.clone() }
    }
}

/// A regular grid of chunks over an array; chunks at the far edges are clipped to the array.
///
/// ```
/// # use gristmill::grid::{ChunkGrid, Region};
/// let grid = ChunkGrid::new(vec![5, 4], vec![2, 4]);   // rows 0-1, 2-3 and 4
/// assert_eq!(grid.counts(), vec![3, 1]);
/// assert_eq!(grid.region(&[2, 0]), Region::new(vec![4, 0], vec![1, 4]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "WrittenGrid")]
pub struct ChunkGrid {
    /// Lengths of the array.
    pub shape: Shape,
    /// Lengths of one chunk; never 0. May exceed the array along a dimension.
    pub chunk: Shape,
}

impl ChunkGrid {
    /// A grid over `shape`; a chunk length of 0 is taken as 1.
    #[must_use]
    pub fn new(shape: Shape, chunk: Shape) -> Self {
        debug_assert_eq!(shape.len(), chunk.len());
        let chunk = chunk.into_iter().map(|length| length.max(1)).collect();
        Self { shape, chunk }
    }

    /// Number of chunks along each dimension.
    #[must_use]
    pub fn counts(&self) -> Vec<u64> {
        self.shape.iter().zip(&self.chunk).map(|(length, chunk)| length.div_ceil(*chunk)).collect()
    }

    /// Number of chunks in all (1 for a scalar).
    #[must_use]
    pub fn chunks(&self) -> u64 {
        elements(&self.counts())
    }

    /// The box of the chunk at `index` (one number per dimension), clipped to the array.
    #[must_use]
    pub fn region(&self, index: &[u64]) -> Region {
        let start: Vec<u64> = index.iter().zip(&self.chunk).map(|(index, chunk)| index.saturating_mul(*chunk)).collect();
        let shape = (0..self.shape.len()).map(|axis| self.chunk[axis].min(self.shape[axis].saturating_sub(start[axis]))).collect();
        Region { start, shape }
    }

    /// The box of chunk *indices* that touch `region`; empty if the region is.
    #[must_use]
    pub fn touching(&self, region: &Region) -> Region {
        let start: Vec<u64> = region.start.iter().zip(&self.chunk).map(|(start, chunk)| start / chunk).collect();
        let shape = (0..region.rank())
            .map(|axis| if region.shape[axis] == 0 { 0 } else { region.end(axis).div_ceil(self.chunk[axis]) - start[axis] })
            .collect();
        Region { start, shape }
    }

    /// The box of elements that a box of chunk indices covers, clipped to the array.
    #[must_use]
    pub fn covered(&self, chunks: &Region) -> Region {
        let start: Vec<u64> = chunks.start.iter().zip(&self.chunk).map(|(index, chunk)| index.saturating_mul(*chunk)).collect();
        let end = |axis: usize| chunks.end(axis).saturating_mul(self.chunk[axis]).min(self.shape[axis]);
        let shape = (0..chunks.rank()).map(|axis| end(axis).saturating_sub(start[axis])).collect();
        Region { start, shape }
    }

    /// Index (one number per dimension) of the `number`-th chunk in row-major order.
    #[must_use]
    pub fn index(&self, number: u64) -> Vec<u64> {
        unravel(number, &self.counts())
    }

    /// Row-major number of the chunk at `index`.
    #[must_use]
    pub fn number(&self, index: &[u64]) -> u64 {
        ravel(index, &self.counts())
    }
}

/// A box as it is written; read back only if both lists are of one length and it ends somewhere.
#[derive(Deserialize)]
struct WrittenRegion {
    start: Vec<u64>,
    shape: Shape,
}

impl TryFrom<WrittenRegion> for Region {
    type Error = &'static str;

    fn try_from(WrittenRegion { start, shape }: WrittenRegion) -> Result<Self, Self::Error> {
        let ends = start.len() == shape.len() && start.iter().zip(&shape).all(|(start, length)| start.checked_add(*length).is_some());
        if ends { Ok(Self { start, shape }) } else { Err("a box without an end") }
    }
}

/// A grid as it is written; read back only if it is one.
#[derive(Deserialize)]
struct WrittenGrid {
    shape: Shape,
    chunk: Shape,
}

impl TryFrom<WrittenGrid> for ChunkGrid {
    type Error = &'static str;

    fn try_from(WrittenGrid { shape, chunk }: WrittenGrid) -> Result<Self, Self::Error> {
        if shape.len() == chunk.len() && !chunk.contains(&0) { Ok(Self { shape, chunk }) } else { Err("a grid without chunks") }
    }
}

/// Row-major number of a position in a box of lengths `shape`.
#[must_use]
pub fn ravel(index: &[u64], shape: &[u64]) -> u64 {
    index.iter().zip(shape).fold(0, |number: u64, (index, length)| number.saturating_mul(*length).saturating_add(*index))
}

/// Position in a box of lengths `shape` of the row-major `number`.
#[must_use]
pub fn unravel(mut number: u64, shape: &[u64]) -> Vec<u64> {
    let mut index = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        let length = shape[axis].max(1);
        index[axis] = number % length;
        number /= length;
    }
    index
}

/// Every position inside `region`, in row-major order. A scalar box has one position, an empty box none.
pub fn positions(region: &Region) -> impl Iterator<Item = Vec<u64>> + use<> {
    let region = region.clone();
    (0..region.elements())
        .map(move |number| unravel(number, &region.shape).iter().zip(&region.start).map(|(index, start)| index + start).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scalar_has_one_chunk() {
        let grid = ChunkGrid::new(vec![], vec![]);
        assert_eq!((grid.chunks(), grid.index(0)), (1, vec![]));
        assert_eq!(positions(&Region::whole(&[])).count(), 1);
    }

    #[test]
    fn what_is_no_grid_and_no_box_is_not_read() {
        let grid = |text: &str| serde_json::from_str::<ChunkGrid>(text);
        assert_eq!(grid(r#"{"shape":[5],"chunk":[2]}"#).unwrap(), ChunkGrid::new(vec![5], vec![2]));
        assert!(grid(r#"{"shape":[5],"chunk":[0]}"#).is_err() && grid(r#"{"shape":[5],"chunk":[1,1]}"#).is_err());
        let region = |text: &str| serde_json::from_str::<Region>(text);
        assert!(region(r#"{"start":[1],"shape":[2]}"#).is_ok());
        assert!(region(r#"{"start":[1],"shape":[]}"#).is_err() && region(r#"{"start":[2],"shape":[18446744073709551615]}"#).is_err());
    }

    proptest! {
        #[test]
        fn chunks_cover_exactly_once(shape in prop::collection::vec(0u64..9, 0..4), seed in prop::collection::vec(1u64..5, 4)) {
            let grid = ChunkGrid::new(shape.clone(), seed[..shape.len()].to_vec());
            let mut seen = vec![0; usize::try_from(elements(&shape)).unwrap()];
            for number in 0..grid.chunks() {
                for position in positions(&grid.region(&grid.index(number))) {
                    seen[usize::try_from(ravel(&position, &shape)).unwrap()] += 1;
                }
            }
            prop_assert!(seen.iter().all(|&times| times == 1));
        }

        #[test]
        fn touching_finds_every_intersecting_chunk(start in prop::collection::vec(0u64..7, 2), length in prop::collection::vec(1u64..7, 2)) {
            let grid = ChunkGrid::new(vec![13, 11], vec![4, 3]);
            let Some(region) = Region::new(start, length).intersect(&Region::whole(&grid.shape)) else { return Ok(()) };
            let touched = grid.touching(&region);
            for number in 0..grid.chunks() {
                let index = grid.index(number);
                let inside = touched.contains(&Region::new(index.clone(), vec![1, 1]));
                prop_assert_eq!(inside, grid.region(&index).intersect(&region).is_some());
            }
        }
    }
}
