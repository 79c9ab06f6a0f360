//! The end of a series whose last files may still come.
//!
//! Invariant: a series is only ever cut after its last position that has all its files, so that no hole is left before its end.

use std::collections::BTreeSet;

use crate::pattern::{KeyValue, Role};
use crate::recipe::{MissingFile, Recipe, Used};
use crate::store::shown;

/// Files named in a record.
const SHOWN: usize = 5;

/// Inputs, there or not, at the positions after the last one whose files are all there; none if no position is whole.
pub(super) fn late(recipe: &Recipe, is_there: &dyn Fn(usize) -> bool) -> Vec<usize> {
    let Some(axis) = series(recipe) else { return Vec::new() };
    let at = |position: &[usize]| position.get(axis).copied().unwrap_or(0);
    let incomplete: BTreeSet<usize> =
        recipe.inputs.iter().filter(|input| !is_there(input.number)).map(|input| at(&input.position)).collect();
    let whole = recipe.inputs.iter().map(|input| at(&input.position)).filter(|position| !incomplete.contains(position)).max();
    let Some(last) = whole else { return Vec::new() };
    recipe.inputs.iter().filter(|input| at(&input.position) > last).map(|input| input.number).collect()
}

/// The axis that grows: the concatenated one that counts dates, else the last that is concatenated.
fn series(recipe: &Recipe) -> Option<usize> {
    let concat = || recipe.axes.iter().enumerate().filter(|(_, axis)| matches!(axis.role, Role::Concat(_)));
    let dated = |values: &Vec<KeyValue>| values.iter().any(|value| matches!(value, KeyValue::Date(_)));
    let found = concat().find(|(_, axis)| axis.positions.first().is_some_and(dated)).or_else(|| concat().next_back());
    found.map(|(number, _)| number)
}

/// What became of the end of the series, if anything did.
pub(super) fn used(recipe: &Recipe, late: &[usize]) -> Option<Used> {
    let dimension = series(recipe).and_then(|axis| recipe.axes.get(axis)).map(|axis| match &axis.role {
        Role::Concat(dimension) => dimension.clone(),
        Role::Merge => String::new(),
    });
    let what = || format!("the result ends before {}", listed(recipe, late));
    (!late.is_empty()).then(|| Used::new("late: skip", dimension.unwrap_or_default(), what()))
}

/// What became of files that are missing elsewhere.
pub(super) fn used_missing(recipe: &Recipe, missing: &[usize]) -> Option<Used> {
    let (policy, done) = match recipe.missing {
        MissingFile::Fail => return None,
        MissingFile::Skip => ("missing: skip", "left out"),
        MissingFile::Fill => ("missing: fill", "filled in place of"),
    };
    (!missing.is_empty()).then(|| Used::new(policy, "inputs", format!("{done} {}", listed(recipe, missing))))
}

fn listed(recipe: &Recipe, numbers: &[usize]) -> String {
    let urls = numbers.iter().filter_map(|&number| recipe.inputs.get(number)).take(SHOWN);
    let urls: Vec<String> = urls.map(|input| format!("`{}`", shown(&input.url))).collect();
    let more = if numbers.len() > SHOWN { format!(" and {} more", numbers.len() - SHOWN) } else { String::new() };
    format!("{}{more}", urls.join(", "))
}
