//! How the elements of a variable after the steps are found in the variable as the file holds it.
//!
//! Every step that moves data (`isel`, `squeeze`, `expand_dims`, `transpose`, `sort`) is a change of this mapping; nothing is
//! copied until a chunk is placed. Invariant: each element of the view is exactly one element of the file's variable.

use serde::{Deserialize, Serialize};

use crate::array::{Array, DataType, Placed, Values, copy_box};
use crate::grid::{Region, Shape, elements, positions, ravel, strides};

/// Where one dimension of the view comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ViewAxis {
    /// Every `step`-th element along a dimension of the file, from `start`.
    Slice {
        /// Dimension of the file's variable.
        source: usize,
        /// First element.
        start: u64,
        /// Elements from one to the next; may be negative, never 0.
        step: i64,
        /// Length of the view along this dimension.
        length: u64,
    },
    /// Listed elements along a dimension of the file.
    List {
        /// Dimension of the file's variable.
        source: usize,
        /// Element for each position of the view.
        elements: Vec<u64>,
    },
    /// A dimension of length 1 that the file does not have.
    New,
}

/// The mapping from a variable after the steps to the variable as the file holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Lengths of the file's variable.
    pub source_shape: Shape,
    /// One per dimension of the view.
    pub axes: Vec<ViewAxis>,
    /// For dimensions of the file that the view lost: (dimension, element kept).
    pub fixed: Vec<(usize, u64)>,
}

/// A box of the view and where it lies in a box of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewPiece {
    /// Box of the view.
    pub region: Region,
    /// Its elements inside the file's box (row-major over that box).
    pub placed: Placed,
}

/// A run of consecutive positions of one view axis: first position, length, first file element, step.
type Run = (u64, u64, u64, i64);

impl View {
    /// The view that shows the file's variable as it is.
    #[must_use]
    pub fn whole(shape: &[u64]) -> Self {
        let axes = shape.iter().enumerate().map(|(source, &length)| ViewAxis::Slice { source, start: 0, step: 1, length }).collect();
        Self { source_shape: shape.to_vec(), axes, fixed: Vec::new() }
    }

    /// Lengths of the view.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.axes.iter().map(ViewAxis::length).collect()
    }

    /// The smallest box of the file that holds every element of a box of the view; empty boxes stay empty.
    #[must_use]
    pub fn source_region(&self, region: &Region) -> Region {
        let mut source = Region::whole(&self.source_shape);
        for &(axis, element) in &self.fixed {
            source.start[axis] = element;
            source.shape[axis] = 1;
        }
        for (axis, mapped) in self.axes.iter().enumerate() {
            if let Some((dimension, low, high)) = mapped.span(region.start[axis], region.shape[axis]) {
                source.start[dimension] = low;
                source.shape[dimension] = high - low;
            }
        }
        source
    }

    /// The boxes of the view whose elements lie inside `source`, a box of the file, limited to `within`, a box of the view.
    #[must_use]
    pub fn pieces(&self, source: &Region, within: &Region) -> Vec<ViewPiece> {
        if self.fixed.iter().any(|&(axis, element)| element < source.start[axis] || element >= source.end(axis)) {
            return Vec::new();
        }
        let source_strides = strides(&source.shape);
        let offset = self.fixed.iter().map(|&(axis, element)| (element - source.start[axis]) * source_strides[axis]).sum();
        let mut pieces = vec![ViewPiece { region: Region::new(vec![], vec![]), placed: Placed { offset, strides: vec![] } }];
        for (axis, mapped) in self.axes.iter().enumerate() {
            let bounds = (within.start[axis], within.end(axis));
            let runs = mapped.runs(source, bounds);
            let stride = mapped.source().map_or(0, |dimension| source_strides[dimension]);
            let base = mapped.source().map_or(0, |dimension| source.start[dimension]);
            pieces = pieces.iter().flat_map(|piece| runs.iter().map(|run| piece.extended(*run, stride, base))).collect();
        }
        pieces
    }

    /// The view's values, from all values of the file's variable. `None` if the array is not of the file's shape.
    #[must_use]
    pub fn apply(&self, array: &Array) -> Option<Array> {
        if array.shape != self.source_shape {
            return None;
        }
        let shape = self.shape();
        let whole = Region::whole(&self.source_shape);
        let pieces = self.pieces(&whole, &Region::whole(&shape));
        let target_strides = strides(&shape);
        match &array.values {
            Values::Bytes(bytes) => {
                let mut out = vec![0; usize::try_from(elements(&shape)).ok()?.checked_mul(array.dtype.size())?];
                for piece in &pieces {
                    let target = piece.target(&target_strides);
                    copy_box(array.dtype.size(), &piece.region.shape, (bytes, &piece.placed), (&mut out, &target)).ok()?;
                }
                Array::from_bytes(array.dtype, shape, out)
            }
            Values::Texts(texts) => {
                let mut out = vec![String::new(); usize::try_from(elements(&shape)).ok()?];
                for piece in &pieces {
                    for position in positions(&Region::whole(&piece.region.shape)) {
                        let target =
                            ravel(&Region::new(position.clone(), vec![1; position.len()]).shifted_by(&piece.region.start).start, &shape);
                        out.get_mut(usize::try_from(target).ok()?)?.clone_from(texts.get(piece.placed.at(&position)?)?);
                    }
                }
                debug_assert_eq!(array.dtype, DataType::String);
                Array::from_texts(shape, out)
            }
        }
    }
}

impl ViewPiece {
    fn extended(&self, run: Run, stride: u64, base: u64) -> Self {
        let (first, length, element, step) = run;
        let mut piece = self.clone();
        piece.region.start.push(first);
        piece.region.shape.push(length);
        piece.placed.offset += (element - base) * stride;
        piece.placed.strides.push(step * stride as i64);
        piece
    }

    /// Where the piece goes in a buffer that holds the whole view row-major.
    #[must_use]
    pub fn target(&self, view_strides: &[u64]) -> Placed {
        let offset = self.region.start.iter().zip(view_strides).map(|(start, stride)| start * stride).sum();
        Placed { offset, strides: view_strides.iter().map(|&stride| stride as i64).collect() }
    }
}

impl Placed {
    /// Element number of a position inside the box; `None` if negative.
    #[must_use]
    pub fn at(&self, position: &[u64]) -> Option<usize> {
        let offset = i64::try_from(self.offset).ok()?;
        let element = position.iter().zip(&self.strides).fold(offset, |sum, (index, stride)| sum + *index as i64 * stride);
        usize::try_from(element).ok()
    }
}

impl ViewAxis {
    /// Length of the view along this dimension.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Slice { length, .. } => *length,
            Self::List { elements, .. } => elements.len() as u64,
            Self::New => 1,
        }
    }

    /// The dimension of the file it comes from.
    #[must_use]
    pub fn source(&self) -> Option<usize> {
        match self {
            Self::Slice { source, .. } | Self::List { source, .. } => Some(*source),
            Self::New => None,
        }
    }

    /// Only the elements at `chosen` positions of this axis, in that order; positions past the end are dropped.
    #[must_use]
    pub fn select(&self, chosen: &[u64]) -> Self {
        match self {
            Self::New => Self::New,
            Self::Slice { source, .. } | Self::List { source, .. } => {
                let elements = chosen.iter().filter_map(|&position| self.element(position)).collect();
                Self::List { source: *source, elements }
            }
        }
    }

    /// `count` positions of this axis, `step` apart from `first`, which must all exist; `None` if they do not.
    #[must_use]
    pub fn slice(&self, first: u64, step: u64, count: u64) -> Option<Self> {
        let last = first.checked_add(step.checked_mul(count.checked_sub(1)?)?)?;
        if step == 0 || last >= self.length() {
            return None;
        }
        Some(match self {
            Self::New => Self::New,
            Self::Slice { source, step: own, .. } => {
                let start = self.element(first)?;
                // The step of a single position is never taken, and 0 is none.
                let step = if count == 1 { 1 } else { own.checked_mul(i64::try_from(step).ok()?)? };
                Self::Slice { source: *source, start, step, length: count }
            }
            Self::List { source, elements } => {
                let chosen = elements.iter().skip(usize::try_from(first).ok()?).step_by(usize::try_from(step).ok()?);
                let picked = Self::List { source: *source, elements: chosen.take(usize::try_from(count).ok()?).copied().collect() };
                picked.simplified()
            }
        })
    }

    /// The same axis; listed elements at one constant distance as a slice.
    #[must_use]
    pub fn simplified(self) -> Self {
        let Self::List { source, elements } = &self else { return self };
        let distance = |pair: &[u64]| i64::try_from(pair[1]).ok()?.checked_sub(i64::try_from(pair[0]).ok()?);
        let step = elements.windows(2).next().map_or(Some(1), distance);
        match (elements.first(), step) {
            (Some(&start), Some(step)) if step != 0 && elements.windows(2).all(|pair| distance(pair) == Some(step)) => {
                Self::Slice { source: *source, start, step, length: elements.len() as u64 }
            }
            _ => self,
        }
    }

    /// Element of the file at a position of this axis.
    #[must_use]
    pub fn element(&self, position: u64) -> Option<u64> {
        match self {
            Self::Slice { start, step, length, .. } if position < *length => {
                start.checked_add_signed(step.checked_mul(i64::try_from(position).ok()?)?)
            }
            Self::List { elements, .. } => elements.get(usize::try_from(position).ok()?).copied(),
            _ => None,
        }
    }

    /// (dimension, lowest element, one past the highest) of `length` positions from `first`.
    fn span(&self, first: u64, length: u64) -> Option<(usize, u64, u64)> {
        let source = self.source()?;
        if length == 0 {
            return Some((source, 0, 0));
        }
        if let Self::List { elements, .. } = self {
            let chosen = elements.get(usize::try_from(first).ok()?..usize::try_from(first + length).ok()?)?;
            return Some((source, *chosen.iter().min()?, chosen.iter().max()? + 1));
        }
        let (one, other) = (self.element(first)?, self.element(first + length - 1)?);
        Some((source, one.min(other), one.max(other) + 1))
    }

    /// Runs of positions inside `bounds` (of the view) whose elements lie inside `source` (a box of the file).
    fn runs(&self, source: &Region, bounds: (u64, u64)) -> Vec<Run> {
        match self {
            Self::New => {
                if bounds.0 == 0 && bounds.1 > 0 {
                    vec![(0, 1, 0, 0)]
                } else {
                    vec![]
                }
            }
            Self::Slice { source: dimension, start, step, length } => {
                let limits = (source.start[*dimension], source.end(*dimension));
                slice_run((*start, *step, *length), limits, bounds).into_iter().collect()
            }
            Self::List { source: dimension, elements } => {
                let limits = source.start[*dimension]..source.end(*dimension);
                let inside = |position: &u64| {
                    usize::try_from(*position).ok().and_then(|at| elements.get(at)).copied().filter(|element| limits.contains(element))
                };
                (bounds.0..bounds.1).filter_map(|position| inside(&position).map(|element| (position, 1, element, 1))).collect()
            }
        }
    }
}

/// The one run of `first + step * position` that stays inside `limits` for positions inside `bounds`.
fn slice_run(slice: (u64, i64, u64), limits: (u64, u64), bounds: (u64, u64)) -> Option<Run> {
    let (start, step, length) = (i128::from(slice.0), i128::from(slice.1), i128::from(slice.2));
    let (low, high) = (i128::from(limits.0), i128::from(limits.1) - 1);
    // Positions where start + step * position lies in low..=high, for either sign of step.
    let (near, far) = if step > 0 { (low - start, high - start) } else { (high - start, low - start) };
    let first = ceil_div(near, step).max(i128::from(bounds.0)).max(0);
    let last = floor_div(far, step).min(i128::from(bounds.1) - 1).min(length - 1);
    if first > last {
        return None;
    }
    Some((first as u64, (last - first + 1) as u64, (start + step * first) as u64, slice.1))
}

fn floor_div(dividend: i128, divisor: i128) -> i128 {
    dividend.div_euclid(divisor) - i128::from(divisor < 0 && dividend.rem_euclid(divisor) != 0)
}

fn ceil_div(dividend: i128, divisor: i128) -> i128 {
    -floor_div(-dividend, divisor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::ChunkGrid;
    use proptest::prelude::*;

    fn numbers(shape: &[u64]) -> Array {
        let bytes = (0..elements(shape) as i32).flat_map(i32::to_ne_bytes).collect();
        Array::from_bytes(DataType::Int32, shape.to_vec(), bytes).unwrap()
    }

    #[test]
    fn division_rounds_both_ways() {
        for (dividend, divisor) in [(7, 2), (-7, 2), (7, -2), (-7, -2), (6, -2)] {
            let exact = dividend as f64 / divisor as f64;
            assert_eq!(floor_div(dividend, divisor), exact.floor() as i128);
            assert_eq!(ceil_div(dividend, divisor), exact.ceil() as i128);
        }
    }

    proptest! {
        /// Placing every chunk of the file piece by piece gives the same values as indexing element by element.
        #[test]
        fn pieces_cover_the_view_exactly_once(step in prop::sample::select(vec![-3i64, -2, -1, 1, 2, 3]), list in prop::collection::vec(0u64..6, 1..6), chunk in prop::collection::vec(1u64..5, 3)) {
            let shape = vec![7, 6, 3];
            let start = if step < 0 { 6 } else { 0 };
            let length = 6 / step.unsigned_abs() + 1;
            let view = View {
                source_shape: shape.clone(),
                axes: vec![ViewAxis::List { source: 1, elements: list.clone() }, ViewAxis::New, ViewAxis::Slice { source: 0, start, step, length }],
                fixed: vec![(2, 1)],
            };
            let source = numbers(&shape);
            let out = view.shape();
            let mut values = vec![-1i32; elements(&out) as usize];
            let grid = ChunkGrid::new(shape.clone(), chunk);
            for number in 0..grid.chunks() {
                let region = grid.region(&grid.index(number));
                for piece in view.pieces(&region, &Region::whole(&out)) {
                    for position in positions(&Region::whole(&piece.region.shape)) {
                        let inside = crate::grid::unravel(piece.placed.at(&position).unwrap() as u64, &region.shape);
                        let from = ravel(&Region::new(inside, vec![1; 3]).shifted_by(&region.start).start, &shape);
                        let to = ravel(&Region::new(position, vec![1; 3]).shifted_by(&piece.region.start).start, &out);
                        prop_assert_eq!(values[to as usize], -1);
                        values[to as usize] = from as i32;
                    }
                }
            }
            let applied: Vec<i32> = view.apply(&source).unwrap().scalars().map(|s| s.as_i64().unwrap() as i32).collect();
            prop_assert_eq!(&values, &applied);
            for (at, element) in list.iter().enumerate() {
                prop_assert_eq!(values[at * length as usize], (start * 18 + element * 3 + 1) as i32);
            }
            let needed = view.source_region(&Region::whole(&out));
            prop_assert!(Region::whole(&shape).contains(&needed));
        }
    }
}
