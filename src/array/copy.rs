//! The hot loop: copies a box of elements from one buffer to another, with any strides.
//!
//! Not for converting values. Invariant: nothing is copied unless the whole box lies inside both buffers.

use crate::grid::Shape;

/// A box inside a buffer: element offset of its first element and element strides, one per dimension (may be negative).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Elements before the box's first element.
    pub offset: u64,
    /// Elements between neighbours along each dimension.
    pub strides: Vec<i64>,
}

/// A copy would have read or written outside its buffers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a box of shape {shape:?} does not lie inside its buffers")]
pub struct OutsideBuffer {
    /// Shape of the box.
    pub shape: Shape,
}

/// Copies a box of `shape` elements of `item` bytes from one buffer to another.
///
/// # Errors
/// [`OutsideBuffer`] before anything is copied, if either side would leave its buffer.
#[expect(clippy::needless_pass_by_value, reason = "a pair of borrows")]
pub fn copy_box(item: usize, shape: &[u64], source: (&[u8], &Placed), target: (&mut [u8], &Placed)) -> Result<(), OutsideBuffer> {
    if shape.contains(&0) {
        return Ok(());
    }
    let refuse = || OutsideBuffer { shape: shape.to_vec() };
    check_inside(item, shape, source.1, source.0.len()).ok_or_else(refuse)?;
    check_inside(item, shape, target.1, target.0.len()).ok_or_else(refuse)?;
    let axes = merged_axes(shape, &source.1.strides, &target.1.strides);
    let start = (source.1.offset as i64, target.1.offset as i64);
    match item {
        1 => copy_axes::<1>(&axes, source.0, target.0, start),
        2 => copy_axes::<2>(&axes, source.0, target.0, start),
        4 => copy_axes::<4>(&axes, source.0, target.0, start),
        8 => copy_axes::<8>(&axes, source.0, target.0, start),
        _ => return Err(refuse()),
    }
    Ok(())
}

fn check_inside(item: usize, shape: &[u64], placed: &Placed, bytes: usize) -> Option<()> {
    if shape.len() != placed.strides.len() || item == 0 {
        return None;
    }
    let (mut low, mut high) = (i64::try_from(placed.offset).ok()?, i64::try_from(placed.offset).ok()?);
    for (length, stride) in shape.iter().zip(&placed.strides) {
        let reach = i64::try_from(length - 1).ok()?.checked_mul(*stride)?;
        low = low.checked_add(reach.min(0))?;
        high = high.checked_add(reach.max(0))?;
    }
    (low >= 0 && high < (bytes / item) as i64).then_some(())
}

/// (length, source stride, target stride), with neighbours that are contiguous on both sides made one.
fn merged_axes(shape: &[u64], source: &[i64], target: &[i64]) -> Vec<(usize, i64, i64)> {
    let mut axes: Vec<(usize, i64, i64)> = Vec::with_capacity(shape.len());
    for axis in 0..shape.len() {
        let next = (shape[axis] as usize, source[axis], target[axis]);
        if next.0 == 1 {
            continue;
        }
        match axes.last_mut() {
            Some(last) if last.1 == next.1 * next.0 as i64 && last.2 == next.2 * next.0 as i64 => {
                *last = (last.0 * next.0, next.1, next.2);
            }
            _ => axes.push(next),
        }
    }
    axes
}

fn copy_axes<const ITEM: usize>(axes: &[(usize, i64, i64)], source: &[u8], target: &mut [u8], start: (i64, i64)) {
    match axes {
        [] => copy_run::<ITEM>(1, source, target, start),
        [(length, 1, 1)] => copy_run::<ITEM>(*length, source, target, start),
        [(length, from, to)] => copy_strided::<ITEM>(*length, (*from, *to), source, target, start),
        [(length, from, to), inner @ ..] => {
            for step in 0..*length as i64 {
                copy_axes::<ITEM>(inner, source, target, (start.0 + step * from, start.1 + step * to));
            }
        }
    }
}

fn copy_run<const ITEM: usize>(length: usize, source: &[u8], target: &mut [u8], start: (i64, i64)) {
    let (from, to) = (start.0 as usize * ITEM, start.1 as usize * ITEM);
    target[to..to + length * ITEM].copy_from_slice(&source[from..from + length * ITEM]);
}

fn copy_strided<const ITEM: usize>(length: usize, strides: (i64, i64), source: &[u8], target: &mut [u8], start: (i64, i64)) {
    let (source, _) = source.as_chunks::<ITEM>();
    let (target, _) = target.as_chunks_mut::<ITEM>();
    for step in 0..length as i64 {
        target[(start.1 + step * strides.1) as usize] = source[(start.0 + step * strides.0) as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::{Region, elements, positions, ravel, strides};
    use proptest::prelude::*;

    #[test]
    fn a_copy_outside_is_refused() {
        let placed = |offset, stride| Placed { offset, strides: vec![stride] };
        let copy = |from: Placed, to: Placed| copy_box(2, &[3], (&[0; 6], &from), (&mut [0; 6], &to)).is_ok();
        assert!(copy(placed(2, -1), placed(0, 1)));
        assert!(!copy(placed(1, 1), placed(0, 1)));
        assert!(!copy(placed(0, 1), placed(1, -1)));
    }

    proptest! {
        #[test]
        fn copy_equals_the_naive_loop(shape in prop::collection::vec(1u64..5, 0..4), flip in any::<[bool; 4]>(), turn in any::<bool>()) {
            let count = elements(&shape);
            let source: Vec<u8> = (0..count as u16).flat_map(u16::to_ne_bytes).collect();
            let plain: Vec<i64> = strides(&shape).iter().map(|&stride| stride as i64).collect();
            let mut from = Placed { offset: 0, strides: plain.clone() };
            for axis in 0..shape.len() {
                if flip[axis] {
                    from.offset = (from.offset as i64 + (shape[axis] as i64 - 1) * from.strides[axis]) as u64;
                    from.strides[axis] *= -1;
                }
            }
            let turned: Vec<u64> = if turn { shape.iter().rev().copied().collect() } else { shape.clone() };
            let mut to = Placed { offset: 0, strides: strides(&turned).iter().map(|&stride| stride as i64).collect() };
            if turn { to.strides.reverse(); }
            let mut target = vec![0; source.len()];
            copy_box(2, &shape, (&source, &from), (&mut target, &to)).unwrap();
            for position in positions(&Region::whole(&shape)) {
                let at = |placed: &Placed| position.iter().zip(&placed.strides).fold(placed.offset as i64, |sum, (p, s)| sum + *p as i64 * s) as usize;
                prop_assert_eq!(&source[2 * at(&from)..][..2], &target[2 * at(&to)..][..2]);
            }
            prop_assert_eq!(ravel(&vec![0; shape.len()], &shape), 0);
        }
    }
}
