//! Chunk grids and the copying of boxes, against the plainest way to do the same.

use gristmill::array::{Placed, copy_box};
use gristmill::grid::{ChunkGrid, Region, elements, positions, ravel, strides};

use super::Numbers;

/// First byte: which of the three; then shapes and boxes.
pub(crate) fn placement(bytes: &[u8]) {
    let mut numbers = Numbers(bytes);
    match numbers.byte() % 3 {
        0 => grids(&mut numbers),
        1 => copies(&mut numbers),
        _ => absurd(&mut numbers),
    }
}

/// The chunks that a box touches are those that have an element in common with it.
fn grids(numbers: &mut Numbers<'_>) {
    let rank = usize::from(numbers.byte() % 4);
    let list = |numbers: &mut Numbers<'_>, most: u8| (0..rank).map(|_| u64::from(numbers.byte() % most)).collect::<Vec<_>>();
    let (shape, chunk) = (list(numbers, 12), list(numbers, 7));
    let grid = ChunkGrid::new(shape.clone(), chunk);
    let Some(region) = Region::new(list(numbers, 12), list(numbers, 12)).intersect(&Region::whole(&shape)) else { return };
    let touching = grid.touching(&region);
    let mut covered = 0;
    for number in 0..grid.chunks() {
        let index = grid.index(number);
        assert_eq!(grid.number(&index), number);
        let part = grid.region(&index).intersect(&region);
        let listed = touching.contains(&Region::new(index, vec![1; rank]));
        assert_eq!(part.is_some(), listed);
        covered += part.map_or(0, |part| part.elements());
    }
    assert_eq!(covered, region.elements());
    assert!(grid.covered(&touching).contains(&region));
}

/// A copy is what copying element by element gives, or nothing is copied at all.
fn copies(numbers: &mut Numbers<'_>) {
    let item = [1, 2, 4, 8, 3][usize::from(numbers.byte() % 5)];
    let rank = usize::from(numbers.byte() % 5);
    let shape: Vec<u64> = (0..rank).map(|_| u64::from(numbers.byte() % 6)).collect();
    let placed = |numbers: &mut Numbers<'_>| Placed {
        offset: u64::from(numbers.byte()),
        strides: (0..rank).map(|_| i64::from(numbers.byte() as i8)).collect(),
    };
    let (from, to) = (placed(numbers), placed(numbers));
    let source: Vec<u8> = (0..usize::from(numbers.byte()) * item).map(|at| at as u8).collect();
    let before = vec![0xee; usize::from(numbers.byte()) * item];
    let mut target = before.clone();
    let copied = copy_box(item, &shape, (&source, &from), (&mut target, &to));
    if copied.is_err() {
        assert_eq!(target, before);
        return;
    }
    let mut expected = before;
    let place = |placed: &Placed, position: &[u64]| {
        placed.strides.iter().zip(position).fold(placed.offset as i64, |sum, (stride, index)| sum + stride * *index as i64) as usize
    };
    let mut written = std::collections::HashMap::new();
    for position in positions(&Region::whole(&shape)) {
        let (at, into) = (place(&from, &position), place(&to, &position));
        expected[into * item..(into + 1) * item].copy_from_slice(&source[at * item..(at + 1) * item]);
        *written.entry(into).or_insert(0) += 1;
    }
    // Where a box lies over itself the order of copying decides, and nobody does that.
    if written.values().all(|&times| times == 1) {
        assert_eq!(target, expected);
    }
}

/// Numbers as large as they come: nothing overflows, nothing lies inside anything.
fn absurd(numbers: &mut Numbers<'_>) {
    let rank = usize::from(numbers.byte() % 4);
    let list = |numbers: &mut Numbers<'_>| (0..rank).map(|_| numbers.long()).collect::<Vec<_>>();
    let (shape, chunk) = (list(numbers), list(numbers));
    let region = Region::new(list(numbers), list(numbers));
    let grid = ChunkGrid::new(shape.clone(), chunk);
    let (_, _, _) = (elements(&shape), strides(&shape), ravel(&region.start, &shape));
    let (counts, _) = (grid.counts(), grid.chunks());
    let touching = grid.touching(&region);
    let (_, _) = (grid.covered(&touching), grid.region(&region.start));
    assert!(grid.index(numbers.long()).iter().zip(&counts).all(|(index, count)| index < count || *count == 0));
    if let Some(common) = region.intersect(&Region::whole(&shape)) {
        assert!(Region::whole(&shape).contains(&common));
    }
    let signed = |list: Vec<u64>| list.into_iter().map(|number| number as i64).collect();
    let from = Placed { offset: numbers.long(), strides: signed(list(numbers)) };
    let to = Placed { offset: numbers.long(), strides: signed(list(numbers)) };
    let _ = copy_box(4, &region.shape, (&[0; 64], &from), (&mut [0; 64], &to));
}
