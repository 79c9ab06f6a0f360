//! The sample of a recipe's files that a test bakes.
//!
//! Pure. Invariant: the same recipe and the same commit give the same files, and every axis keeps its first position.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64;

use crate::pattern::{Axis, KeyValue, without};
use crate::recipe::{ExpectRule, Recipe};

/// How much of each axis is kept, most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// First, last, the one after a boundary, and one drawn.
    Four,
    /// First and last.
    Ends,
    /// The first.
    First,
}

/// The recipe with a sample of its files, and what cannot be told from a sample.
#[must_use]
pub fn sample(recipe: &Recipe, seed: &str, extent: Extent) -> (Recipe, Vec<String>) {
    let chosen: Vec<BTreeSet<usize>> =
        recipe.axes.iter().enumerate().map(|(number, axis)| positions(axis, &format!("{seed}/{}/{number}", recipe.id), extent)).collect();
    let kept = |input: &crate::pattern::Input| input.position.iter().zip(&chosen).all(|(position, chosen)| chosen.contains(position));
    let mut gone: Vec<usize> = recipe.inputs.iter().filter(|input| !kept(input)).map(|input| input.number).collect();
    if gone.len() == recipe.inputs.len() {
        // Every file drawn is one of the exceptions.
        gone.retain(|number| recipe.inputs.first().is_none_or(|input| input.number != *number));
    }
    let (axes, inputs) = without(&recipe.axes, &recipe.inputs, &gone, true);
    let mut sampled = Recipe { axes, inputs, ..recipe.clone() };
    let mut untold = Vec::new();
    if sampled.inputs.len() < recipe.inputs.len() {
        sampled.expect.retain(|expectation| {
            let word = whole(&expectation.rule);
            untold.extend(word.map(|word| format!("`{}: {word}` is not checked on a sample of the files", expectation.name)));
            word.is_none()
        });
    }
    (sampled, untold)
}

/// The rule's name, if only the whole dataset can keep it.
fn whole(rule: &ExpectRule) -> Option<&'static str> {
    match rule {
        ExpectRule::Regular(_) => Some("regular"),
        ExpectRule::Length(_) => Some("length"),
        ExpectRule::MissingAtMost(_) => Some("missing_values"),
        ExpectRule::FirstLast(..) => Some("first and last"),
        ExpectRule::ValuesBetween(..) | ExpectRule::NoEmptyChunks | ExpectRule::Monotonic | ExpectRule::Units(_) => None,
    }
}

fn positions(axis: &Axis, seed: &str, extent: Extent) -> BTreeSet<usize> {
    let length = axis.positions.len();
    let last = length.saturating_sub(1);
    let drawn = xxh3_64(seed.as_bytes()).checked_rem(length as u64).unwrap_or(0) as usize;
    match extent {
        Extent::First => [0].into(),
        Extent::Ends => [0, last].into(),
        Extent::Four => [0, last, boundary(axis), drawn].into(),
    }
}

/// The first position after the middlemost turn of a year, else of a month, else the middle.
fn boundary(axis: &Axis) -> usize {
    let date = |position: usize| {
        let values = axis.positions.get(position)?;
        values.iter().find_map(|value| if let KeyValue::Date(date) = value { Some((date.year(), date.month())) } else { None })
    };
    let turns = |unit: &dyn Fn((i16, i8)) -> i32| -> Vec<usize> {
        (1..axis.positions.len()).filter(|&at| date(at - 1).map(unit) != date(at).map(unit)).collect()
    };
    let years = turns(&|(year, _)| i32::from(year));
    let found = if years.is_empty() { turns(&|(year, month)| i32::from(year) * 12 + i32::from(month)) } else { years };
    found.get(found.len() / 2).copied().unwrap_or(axis.positions.len() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Role;

    fn daily(days: i64) -> Axis {
        let day = |offset: i64| KeyValue::Date(jiff::civil::date(2000, 1, 1).saturating_add(jiff::Span::new().days(offset)).at(0, 0, 0, 0));
        Axis {
            role: Role::Concat("time".into()),
            keys: vec!["time".into()],
            positions: (0..days).map(|offset| vec![day(offset)]).collect(),
        }
    }

    #[test]
    fn first_last_a_boundary_and_one_drawn_by_the_commit() {
        let axis = daily(3000);
        let drawn: BTreeSet<_> = ["a", "b", "c", "d"].map(|seed| positions(&axis, seed, Extent::Four)).into_iter().collect();
        assert!(drawn.len() > 1, "another commit draws another file");
        // 2000 is a leap year: days 366, 731, 1096, 1461, … begin years; the middlemost of eight turns is the fifth.
        assert!(drawn.iter().all(|chosen| [0, 1827, 2999].iter().all(|position| chosen.contains(position)) && chosen.len() <= 4));
        assert_eq!(positions(&axis, "a", Extent::Four), positions(&axis, "a", Extent::Four));
        assert_eq!((positions(&axis, "a", Extent::Ends).len(), positions(&axis, "a", Extent::First).len()), (2, 1));
        assert_eq!(boundary(&daily(40)), 31, "a month turns where no year does");
        assert_eq!(positions(&daily(1), "a", Extent::Four), [0].into());
    }
}
