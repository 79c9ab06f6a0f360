//! Steps along a concat dimension that several files hold, or one holds twice: one of them is kept where the recipe says which.
//!
//! Told from the coordinate's values as they are in the result, bit for bit. Invariant: of equal steps exactly one is kept, and the
//! steps that are kept stay in the order of the inputs.

use std::collections::{BTreeMap, HashMap};

use super::survey::{Cells, Group, Survey};
use super::{ConcatAxis, Run, Scanned};
use crate::array::Array;
use crate::cf::Conversion;
use crate::recipe::{OverlapPolicy, Used};

/// Positions named in a record.
const SHOWN: usize = 5;

/// Which steps of an axis are kept: of each position that loses some, the runs of those it keeps.
pub(super) type Kept = BTreeMap<usize, Vec<Run>>;

/// A concat coordinate before its steps are chosen.
pub(super) struct Steps<'a> {
    pub(super) survey: &'a Survey<'a>,
    pub(super) scanned: &'a [Scanned],
    pub(super) group: &'a Group<'a>,
    pub(super) cells: &'a Cells,
    pub(super) conversions: &'a [Conversion],
}

/// One step: its position along the axis and its place in the files there.
type Place = (usize, u64);

impl Steps<'_> {
    /// Chooses among equal steps; nothing where none are equal, or their values were not read.
    pub(super) fn choose(&self, axis: &ConcatAxis) -> (Kept, Vec<Used>) {
        let mut kept: HashMap<Vec<u8>, Place> = HashMap::new();
        let mut dropped: BTreeMap<Place, Place> = BTreeMap::new();
        for position in 0..self.cells.holders.len() {
            let Some(values) = self.values(position) else { continue };
            for (place, value) in bits(&values).into_iter().enumerate() {
                let step = (position, place as u64);
                let Some(&other) = kept.get(&value) else {
                    kept.insert(value, step);
                    continue;
                };
                if self.survey.recipe.combine.overlap == OverlapPolicy::Last {
                    dropped.insert(other, step);
                    kept.insert(value, step);
                } else {
                    dropped.insert(step, other);
                }
            }
        }
        let positions: std::collections::BTreeSet<usize> = dropped.keys().map(|(position, _)| *position).collect();
        let runs = |&position: &usize| {
            let length = axis.lengths.get(position).copied().unwrap_or(0);
            (position, runs((0..length).filter(|&place| !dropped.contains_key(&(position, place)))))
        };
        (positions.iter().map(runs).collect(), self.used(&axis.dimension, &dropped))
    }

    fn values(&self, position: usize) -> Option<Array> {
        let &(member, variant) = self.cells.holders.get(position)?.first()?;
        let values = self.scanned.get(member)?.values.get(self.group.name)?;
        self.conversions.get(variant)?.apply((**values).clone()).ok()
    }

    fn file(&self, position: usize) -> &str {
        self.cells.holders.get(position).and_then(|holders| holders.first()).map_or("", |&(member, _)| self.survey.url(member))
    }

    fn used(&self, dimension: &str, dropped: &BTreeMap<Place, Place>) -> Vec<Used> {
        let mut pairs: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        for ((loses, _), (keeps, _)) in dropped {
            *pairs.entry((*loses, *keeps)).or_default() += 1;
        }
        let policy = if self.survey.recipe.combine.overlap == OverlapPolicy::Last { "overlap: last" } else { "overlap: first" };
        let said = |((loses, keeps), count): (&(usize, usize), &u64)| {
            let steps = if *count == 1 { "1 step".to_owned() } else { format!("{count} steps") };
            Used::new(
                policy,
                dimension,
                format!("{steps} of `{}` left out: they are taken from `{}`", self.file(*loses), self.file(*keeps)),
            )
        };
        let mut used: Vec<Used> = pairs.iter().take(SHOWN).map(said).collect();
        if pairs.len() > SHOWN {
            let rest: u64 = pairs.values().skip(SHOWN).sum();
            used.push(Used::new(policy, dimension, format!("{rest} more steps of {} more pairs of files", pairs.len() - SHOWN)));
        }
        used
    }
}

/// Each value's bits; of texts their bytes.
fn bits(array: &Array) -> Vec<Vec<u8>> {
    if array.dtype.is_text() {
        return array.texts().iter().map(|text| text.as_bytes().to_vec()).collect();
    }
    // -0 and 0 are one step.
    array.scalars().map(|value| if value.as_f64() == 0.0 { vec![0] } else { value.to_bytes() }).collect()
}

fn runs(places: impl Iterator<Item = u64>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for place in places {
        match runs.last_mut() {
            Some((start, length)) if *start + *length == place => *length += 1,
            _ => runs.push((place, 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_make_one_run() {
        assert_eq!(runs([0, 1, 4, 5, 6, 9].into_iter()), [(0, 2), (4, 3), (9, 1)]);
        assert!(runs(std::iter::empty()).is_empty());
    }
}
