//! The matrix without the files that turned out not to exist.

use super::{Axis, Input};

/// Takes inputs out of the matrix, by number. `shrink`: a position whose every cell is gone goes too; otherwise it stays, as a hole.
/// The inputs that are left are numbered anew.
#[must_use]
pub fn without(axes: &[Axis], inputs: &[Input], missing: &[usize], shrink: bool) -> (Vec<Axis>, Vec<Input>) {
    let gone: std::collections::HashSet<usize> = missing.iter().copied().collect();
    let left: Vec<&Input> = inputs.iter().filter(|input| !gone.contains(&input.number)).collect();
    let mut live: Vec<Vec<bool>> = axes.iter().map(|axis| vec![!shrink; axis.positions.len()]).collect();
    for input in &left {
        for (axis, &position) in input.position.iter().enumerate() {
            live[axis][position] = true;
        }
    }
    let renumbered: Vec<Vec<usize>> = live.iter().map(|live| ranks(live)).collect();
    let kept = |(axis, live): (&Axis, &Vec<bool>)| Axis {
        positions: axis.positions.iter().zip(live).filter(|(_, live)| **live).map(|(position, _)| position.clone()).collect(),
        ..axis.clone()
    };
    let moved = |(number, input): (usize, &Input)| Input {
        number,
        position: input.position.iter().enumerate().map(|(axis, &position)| renumbered[axis][position]).collect(),
        ..input.clone()
    };
    (axes.iter().zip(&live).map(kept).collect(), left.into_iter().enumerate().map(moved).collect())
}

/// How many live positions come before each position.
fn ranks(live: &[bool]) -> Vec<usize> {
    live.iter()
        .scan(0, |before, live| {
            let rank = *before;
            *before += usize::from(*live);
            Some(rank)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::{KeyValue, Role};

    #[test]
    fn a_missing_file_takes_its_position_along_only_when_shrinking() {
        let axis = Axis {
            role: Role::Concat("time".into()),
            keys: vec!["n".into()],
            positions: (0..3).map(|n| vec![KeyValue::Integer(n)]).collect(),
        };
        let input =
            |number: usize| Input { number, url: number.to_string(), position: vec![number], values: std::collections::BTreeMap::new() };
        let inputs: Vec<Input> = (0..3).map(input).collect();
        let (shrunk, left) = without(std::slice::from_ref(&axis), &inputs, &[1], true);
        assert_eq!((shrunk[0].positions.len(), left[1].position[0], left[1].number, left[1].url.as_str()), (2, 1, 1, "2"));
        let (full, left) = without(&[axis], &inputs, &[1], false);
        assert_eq!((full[0].positions.len(), left[1].position[0], left[1].number), (3, 2, 1));
    }
}
