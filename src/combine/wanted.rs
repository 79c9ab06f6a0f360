//! Which values and digests the scan must read so that inputs can be compared and coordinates joined.
//!
//! Values where they are needed or tiny, digests where equality is all that matters. Invariant: whatever [`super::combine`] compares was asked
//! for here, by the same rules.

use std::collections::HashMap;
use std::sync::Arc;

use super::survey::{Group, Survey};
use super::{SharedSchema, Wanted};
use crate::dataset::Dimension;
use crate::recipe::{Join, Recipe};

/// Largest variable whose values are held at all.
const LARGE: u64 = 16 << 20;
/// Largest variable that is no coordinate and yet held.
const SMALL: u64 = 64 << 10;
/// Largest variable whose values, rather than a digest, are compared.
const TINY: u64 = 4 << 10;

/// Which variables of each input must be read before inputs can be combined; in the order of `schemas` (number of the input, schema
/// after the steps).
#[must_use]
pub fn wanted(recipe: &Recipe, schemas: &[(usize, SharedSchema)]) -> Vec<Arc<Wanted>> {
    let survey = Survey::new(recipe, schemas.iter().map(|(number, schema)| (*number, schema)));
    // (group, values) of each member: nearly all of them want the same.
    let mut all: Vec<Vec<(usize, bool)>> = vec![Vec::new(); schemas.len()];
    for (number, group) in survey.groups.iter().enumerate() {
        for (member, values) in reads(&survey, group, 1) {
            if let Some(wanted) = all.get_mut(member) {
                wanted.push((number, values));
            }
        }
    }
    let mut known: HashMap<Vec<(usize, bool)>, Arc<Wanted>> = HashMap::new();
    all.into_iter().map(|reads| Arc::clone(known.entry(reads).or_insert_with_key(|reads| Arc::new(named(&survey, reads))))).collect()
}

/// What [`wanted`] will want of an input, guessed from one of them as if all were like it.
#[must_use]
pub fn guess(recipe: &Recipe, schema: &SharedSchema) -> Wanted {
    let survey = Survey::new(recipe, std::iter::once((0, schema)));
    let alike = recipe.inputs.len() as u64;
    let groups = survey.groups.iter().enumerate();
    let all: Vec<(usize, bool)> =
        groups.flat_map(|(number, group)| reads(&survey, group, alike).into_iter().map(move |(_, values)| (number, values))).collect();
    named(&survey, &all)
}

fn named(survey: &Survey<'_>, reads: &[(usize, bool)]) -> Wanted {
    let mut wanted = Wanted::default();
    for &(group, values) in reads {
        let names = if values { &mut wanted.values } else { &mut wanted.digests };
        names.extend(survey.groups.get(group).map(|group| group.name.to_owned()));
    }
    wanted
}

/// Members to read the variable of, and whether their values are needed; each stands for `alike` inputs.
fn reads(survey: &Survey<'_>, group: &Group<'_>, alike: u64) -> Vec<(usize, bool)> {
    let mut known: HashMap<(*const Vec<Dimension>, usize), u64> = HashMap::new();
    let mut bytes = |&(member, variant): &(usize, usize)| {
        let dimensions = survey.members.get(member).map_or(std::ptr::null(), |member| Arc::as_ptr(&member.schema.dimensions));
        *known.entry((dimensions, variant)).or_insert_with(|| size(survey, group, member, variant))
    };
    let sizes: Vec<u64> = group.holders.iter().map(&mut bytes).collect();
    let largest = sizes.iter().copied().max().unwrap_or(0);
    let total = sizes.iter().fold(0, |sum: u64, size| sum.saturating_add(*size)).saturating_mul(alike);
    let joined = group.is_index() || is_joined(group, total);
    let values_needed =
        largest <= LARGE && (differently_stored(survey, group) || (group.is_coordinate() && survey.recipe.combine.join != Join::Exact));
    let limit = if group.is_coordinate() || group.descriptive { LARGE } else { SMALL };
    let mut reads = Vec::new();
    for holders in &group.cells(survey).holders {
        let alone = holders.len() == 1;
        for (place, &(member, _)) in holders.iter().enumerate() {
            let values = match place {
                0 if !group.axes.is_empty() => joined || (!alone && values_needed),
                0 => largest <= limit,
                _ => values_needed || largest <= TINY || (group.is_index() && !group.axes.is_empty()),
            };
            if values || !alone {
                reads.push((member, values));
            }
        }
    }
    reads
}

/// True if pieces along concat axes are joined before the run: whatever describes data, and times, which a file more may have to be
/// counted anew.
fn is_joined(group: &Group<'_>, total: u64) -> bool {
    let described = group.is_coordinate() || group.descriptive;
    let timed = group.variants.iter().any(|variant| variant.clock.is_some());
    (described || timed) && total <= 4 * LARGE
}

/// True if raw values of different inputs may mean different things.
fn differently_stored(survey: &Survey<'_>, group: &Group<'_>) -> bool {
    let family = group.parent.and_then(|parent| survey.groups.get(parent)).into_iter().chain([group]);
    let mut variants = family.map(|group| &group.variants).filter(|variants| variants.len() > 1);
    variants.any(|variants| {
        let Some((first, others)) = variants.split_first() else { return false };
        let stored = |variable: &crate::dataset::Variable| {
            (variable.dtype, crate::cf::packing::PACKING_ATTRIBUTES.map(|name| variable.attributes.get(name).cloned()))
        };
        others.iter().any(|other| other.clock != first.clock || stored(other.variable) != stored(first.variable))
    })
}

fn size(survey: &Survey<'_>, group: &Group<'_>, member: usize, variant: usize) -> u64 {
    match (survey.members.get(member), group.variant(variant)) {
        (Some(member), Some(variant)) => member.schema.bytes(variant.variable),
        _ => 0,
    }
}
