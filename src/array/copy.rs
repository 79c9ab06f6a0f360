//! The hot loop: copies a box of elements from one buffer to another, with any strides.
//!
//! Not for converting values. Invariant: nothing is copied unless the whole box lies inside both buffers.

use crate::grid::{Shape, elements};

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
/// [`OutsideBuffer`] before anything is copied, if either side would leave its buffer, or the box has more elements than the target.
#[expect(clippy::needless_pass_by_value, reason = "a pair of borrows")]
pub fn copy_box(item: usize, shape: &[u64], source: (&[u8], &Placed), target: (&mut [u8], &Placed)) -> Result<(), OutsideBuffer> {
    if shape.contains(&0) {
        return Ok(());
    }
    let refuse = || OutsideBuffer { shape: shape.to_vec() };
    check_inside(item, shape, source.1, source.0.len()).ok_or_else(refuse)?;
    check_inside(item, shape, target.1, target.0.len()).ok_or_else(refuse)?;
    // A box that lies over itself may have any number of elements.
    if elements(shape) > (target.0.len() / item) as u64 {
        return Err(refuse());
    }
    let (mut few, mut many) = ([Axis::default(); FEW], Vec::new());
    let room = if shape.len() <= FEW {
        few.as_mut_slice()
    } else {
        many.resize(shape.len(), Axis::default());
        many.as_mut_slice()
    };
    let mut start = (source.1.offset as i64, target.1.offset as i64);
    let axes = ordered(shape, &source.1.strides, &target.1.strides, &mut start, room);
    match item {
        1 => copy_axes::<1>(axes, source.0, target.0, start),
        2 => copy_axes::<2>(axes, source.0, target.0, start),
        4 => copy_axes::<4>(axes, source.0, target.0, start),
        8 => copy_axes::<8>(axes, source.0, target.0, start),
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

/// Boxes of up to this many dimensions are copied without allocating.
const FEW: usize = 8;

/// One dimension of a box.
#[derive(Debug, Clone, Copy, Default)]
struct Axis {
    length: usize,
    /// Source elements between neighbours.
    from: i64,
    /// Target elements between neighbours.
    to: i64,
}

/// The box's dimensions such that the target is written forwards and mostly in order: longest target stride first, none of them
/// negative, neighbours that are contiguous on both sides made one. The order of copying does not matter to the result.
fn ordered<'a>(shape: &[u64], source: &[i64], target: &[i64], start: &mut (i64, i64), room: &'a mut [Axis]) -> &'a [Axis] {
    let mut count = 0;
    for ((&length, &from), &to) in shape.iter().zip(source).zip(target).filter(|((length, _), _)| **length != 1) {
        let mut axis = Axis { length: length as usize, from, to };
        if to < 0 {
            let last = length as i64 - 1;
            *start = (start.0 + last * from, start.1 + last * to);
            (axis.from, axis.to) = (-from, -to);
        }
        room[count] = axis;
        count += 1;
    }
    let axes = &mut room[..count];
    axes.sort_by_key(|axis| std::cmp::Reverse(axis.to));
    let merged = merge(axes);
    &room[..merged]
}

/// Joins neighbours in place; how many are left.
fn merge(axes: &mut [Axis]) -> usize {
    let mut merged = 0;
    for at in 0..axes.len() {
        let next = axes[at];
        let joined = |last: &Axis| last.from == next.from * next.length as i64 && last.to == next.to * next.length as i64;
        if let Some(last) = axes[..merged].last_mut().filter(|last| joined(last)) {
            *last = Axis { length: last.length * next.length, ..next };
        } else {
            axes[merged] = next;
            merged += 1;
        }
    }
    merged
}

fn copy_axes<const ITEM: usize>(axes: &[Axis], source: &[u8], target: &mut [u8], start: (i64, i64)) {
    match axes {
        [] => copy_run::<ITEM>(1, source, target, start),
        [Axis { length, from: 1, to: 1 }] => copy_run::<ITEM>(*length, source, target, start),
        [only] => copy_strided::<ITEM>(only, source, target, start),
        [rows, Axis { length, from: 1, to: 1 }] => copy_rows::<ITEM>(rows, *length, source, target, start),
        [rows, columns] if columns.from != 1 && rows.from.abs() < columns.from.abs() => {
            copy_turned::<ITEM>(rows, columns, source, target, start);
        }
        [outer, inner @ ..] => {
            for step in 0..outer.length as i64 {
                copy_axes::<ITEM>(inner, source, target, (start.0 + step * outer.from, start.1 + step * outer.to));
            }
        }
    }
}

fn copy_run<const ITEM: usize>(length: usize, source: &[u8], target: &mut [u8], start: (i64, i64)) {
    let (from, to) = (start.0 as usize * ITEM, start.1 as usize * ITEM);
    target[to..to + length * ITEM].copy_from_slice(&source[from..from + length * ITEM]);
}

/// Runs of `length` elements, short ones mostly.
fn copy_rows<const ITEM: usize>(rows: &Axis, length: usize, source: &[u8], target: &mut [u8], start: (i64, i64)) {
    let (mut from, mut to) = start;
    for _ in 0..rows.length {
        copy_run::<ITEM>(length, source, target, (from, to));
        (from, to) = (from + rows.from, to + rows.to);
    }
}

/// Elements one by one; without a check for each where the source goes forwards.
fn copy_strided<const ITEM: usize>(axis: &Axis, source: &[u8], target: &mut [u8], start: (i64, i64)) {
    let (source, _) = source.as_chunks::<ITEM>();
    let (target, _) = target.as_chunks_mut::<ITEM>();
    match (usize::try_from(axis.from), usize::try_from(axis.to)) {
        (Ok(from @ 1..), Ok(to @ 1..)) => {
            let targets = target[start.1 as usize..].iter_mut().step_by(to).take(axis.length);
            targets.zip(source[start.0 as usize..].iter().step_by(from)).for_each(|(to, from)| *to = *from);
        }
        _ => (0..axis.length as i64).for_each(|step| {
            target[(start.1 + step * axis.to) as usize] = source[(start.0 + step * axis.from) as usize];
        }),
    }
}

/// A plane that is read along one dimension and written along the other: in tiles, so that every line of memory that is fetched
/// for one element still lies in the cache for its neighbours.
fn copy_turned<const ITEM: usize>(rows: &Axis, columns: &Axis, source: &[u8], target: &mut [u8], start: (i64, i64)) {
    const TILE: usize = 32;
    for row in (0..rows.length).step_by(TILE) {
        for column in (0..columns.length).step_by(TILE) {
            let tile = Axis { length: TILE.min(columns.length - column), ..*columns };
            for row in row..rows.length.min(row + TILE) {
                let at = |axes: (i64, i64), start: i64| start + row as i64 * axes.0 + column as i64 * axes.1;
                copy_strided::<ITEM>(&tile, source, target, (at((rows.from, columns.from), start.0), at((rows.to, columns.to), start.1)));
            }
        }
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
        fn turned_planes_equal_the_naive_loop(lengths in (1u64..90, 1u64..5, 1u64..90), order in 0usize..6, item in prop::sample::select(vec![1usize, 2, 4, 8]), flip in any::<bool>()) {
            let shape = [lengths.0, lengths.1, lengths.2];
            let order = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]][order];
            let count = elements(&shape) as usize;
            let source: Vec<u8> = (0..count * item).map(|at| (at * 31 + at / 251) as u8).collect();
            let signed = |shape: &[u64]| strides(shape).iter().map(|&stride| stride as i64).collect::<Vec<i64>>();
            let mut from = Placed { offset: 0, strides: signed(&shape) };
            if flip {
                from.offset = (shape[2] - 1) * from.strides[2] as u64;
                from.strides[2] *= -1;
            }
            let turned = signed(&order.map(|axis| shape[axis]));
            let mut to = Placed { offset: 0, strides: vec![0; 3] };
            order.iter().zip(turned).for_each(|(&axis, stride)| to.strides[axis] = stride);
            let mut target = vec![0; source.len()];
            copy_box(item, &shape, (&source, &from), (&mut target, &to)).unwrap();
            for position in positions(&Region::whole(&shape)) {
                let at = |placed: &Placed| position.iter().zip(&placed.strides).fold(placed.offset as i64, |sum, (p, s)| sum + *p as i64 * s) as usize;
                prop_assert_eq!(&source[item * at(&from)..][..item], &target[item * at(&to)..][..item]);
            }
        }

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
