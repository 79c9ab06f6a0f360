//! Attributes of many inputs into one set.
//!
//! Contract attributes must be equal everywhere; the rest follows the recipe's policy; attributes that speak of one file (its
//! history, its id, its time range) go as soon as they differ, or only some files have them, since they are false for the whole.
//! Files that follow several versions of CF follow the newest of them (AR27, AR28). Invariant: nothing goes silently.

use std::collections::HashMap;

use super::conflicts::Conflicts;
use super::storage::Storage;
use super::survey::{Group, Survey};
use crate::array::Scalar;
use crate::cf::packing::{PACKING_ATTRIBUTES, packing};
use crate::dataset::{Attribute, Attributes};
use crate::recipe::AttributePolicy;
use crate::recipe::diagnostic::Code;

const CONTRACT: [&str; 5] = ["units", "standard_name", "positive", "cell_methods", "grid_mapping"];
const VALID: [&str; 3] = ["valid_min", "valid_max", "valid_range"];

/// Attributes that speak of one file, by name or beginning.
const OF_ONE_FILE: [&str; 16] = [
    "history",
    "tracking_id",
    "creation_date",
    "date_",
    "time_coverage_",
    "uuid",
    "file_name",
    "filename",
    "source_file",
    "input_file",
    "granule",
    "production_date",
    "processing_time",
    "start_",
    "stop_",
    "NCO",
];

/// What became of one attribute.
struct Merged<'a> {
    name: &'a str,
    value: &'a Attribute,
    /// Where it was first seen.
    first: usize,
    /// In how many sets it is.
    seen: usize,
    /// Another value, and where.
    other: Option<(&'a Attribute, usize)>,
    /// Every different value of `Conventions`; of others none.
    values: Vec<&'a Attribute>,
}

/// Attributes of the sets, in the order of the first that has each.
fn merged<'a>(sets: impl Iterator<Item = (usize, impl Iterator<Item = (&'a str, &'a Attribute)>)>) -> (Vec<Merged<'a>>, usize) {
    let (mut all, mut places, mut count) = (Vec::<Merged<'a>>::new(), HashMap::<&str, usize>::new(), 0);
    for (member, attributes) in sets {
        count += 1;
        for (name, value) in attributes {
            let place = *places.entry(name).or_insert(all.len());
            match all.get_mut(place) {
                None => {
                    let values = if name == "Conventions" { vec![value] } else { Vec::new() };
                    all.push(Merged { name, value, first: member, seen: 1, other: None, values });
                }
                Some(known) => {
                    known.seen += 1;
                    if name == "Conventions" && !known.values.iter().any(|seen| alike(seen, value)) {
                        known.values.push(value);
                    }
                    if known.other.is_none() && !std::ptr::eq(known.value, value) && !alike(known.value, value) {
                        known.other = Some((value, member));
                    }
                }
            }
        }
    }
    (all, count)
}

/// Equal as texts or as numbers, whatever their types; NaN equals NaN.
pub(super) fn alike(left: &Attribute, right: &Attribute) -> bool {
    match (left, right) {
        (Attribute::Numbers(left), Attribute::Numbers(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same_number(*left, *right))
        }
        (left, right) => left == right || (left.text().is_some() && left.text() == right.text()),
    }
}

fn same_number(left: Scalar, right: Scalar) -> bool {
    left.identical(right)
        || left.cast(right.dtype()).is_some_and(|left| left == right || (left.as_f64().is_nan() && right.as_f64().is_nan()))
}

/// Attributes of the whole, or of a group of it.
pub(super) fn of_whole<'a>(
    survey: &Survey<'_>,
    sets: impl Iterator<Item = (usize, impl Iterator<Item = (&'a str, &'a Attribute)>)>,
    conflicts: &mut Conflicts,
    warnings: &mut Vec<String>,
) -> Attributes {
    rest(survey, "the dataset", merged(sets), conflicts, warnings)
}

/// Attributes of a variable; those that its storage decides are replaced by the storage's own.
pub(super) fn of_variable(
    survey: &Survey<'_>,
    group: &Group<'_>,
    storage: &Storage,
    conflicts: &mut Conflicts,
    warnings: &mut Vec<String>,
) -> Attributes {
    let timed = group.variants.iter().all(|variant| variant.clock.is_some());
    let special = |name: &str| {
        PACKING_ATTRIBUTES.contains(&name)
            || (timed && ["units", "calendar"].contains(&name))
            || (storage.revalued && VALID.contains(&name))
            || (storage.units.is_some() && name == "units")
    };
    let (all, count) = merged(group.variants.iter().map(|variant| (variant.member, variant.variable.attributes.iter())));
    let (contract, others): (Vec<_>, Vec<_>) = all.into_iter().filter(|one| !special(one.name)).partition(|one| is_contract(one.name));
    for one in &contract {
        check_contract(survey, group, one, count, conflicts);
    }
    let label = format!("variable `{}`", group.name);
    let mut attributes = rest(survey, &label, (others, count), conflicts, warnings);
    attributes.0.extend(contract.iter().map(|one| (one.name.to_owned(), one.value.clone())));
    if storage.rescaled {
        warn_limits(group, warnings);
    } else if storage.revalued {
        revalue(group, storage, &mut attributes, warnings);
    }
    in_order_of_first(group, attributes)
}

fn is_contract(name: &str) -> bool {
    CONTRACT.contains(&name) || VALID.contains(&name) || name.starts_with("flag_")
}

fn check_contract(survey: &Survey<'_>, group: &Group<'_>, one: &Merged<'_>, count: usize, conflicts: &mut Conflicts) {
    let code = if one.name == "units" { Code::UnitsMismatch } else { Code::AttributeConflict };
    let help = "make the files agree with the step `attrs`, or bake them as separate datasets";
    let (name, attribute, value, first) = (group.name, one.name, one.value.plain(), survey.url(one.first));
    if let Some((other, member)) = one.other {
        let message = format!("variable `{name}`: `{attribute}` is {value} in `{first}` but {} in `{}`", other.plain(), survey.url(member));
        conflicts.add(code, message, help);
    } else if one.seen < count {
        let lacks = group.variants.iter().find(|variant| variant.variable.attributes.get(attribute).is_none());
        let without = lacks.map_or("", |variant| survey.url(variant.member));
        conflicts.add(code, format!("variable `{name}`: `{attribute}` is {value} in `{first}` but absent from `{without}`"), help);
    }
}

/// Attributes that no contract names, by the recipe's policy; so many sets were merged.
fn rest(
    survey: &Survey<'_>,
    label: &str,
    (all, count): (Vec<Merged<'_>>, usize),
    conflicts: &mut Conflicts,
    warnings: &mut Vec<String>,
) -> Attributes {
    let (mut kept, mut dropped, mut overridden) = (Attributes::default(), Vec::new(), Vec::new());
    let mut keep = |one: &Merged<'_>, value: &Attribute| kept.0.push((one.name.to_owned(), value.clone()));
    for one in all {
        let name = format!("`{}`", one.name);
        let of_one_file = is_of_one_file(one.name);
        match (one.other, survey.recipe.combine.attributes) {
            (None, _) if of_one_file && one.seen < count => dropped.push(name),
            (None, _) => keep(&one, one.value),
            (Some(_), AttributePolicy::DropConflicts | AttributePolicy::Override) if newest(&one).is_some() => {
                if let Some(newest) = newest(&one) {
                    keep(&one, newest);
                }
            }
            (Some(_), AttributePolicy::Override) if !of_one_file => {
                overridden.push(name);
                keep(&one, one.value);
            }
            (Some(_), AttributePolicy::DropConflicts | AttributePolicy::Override) => dropped.push(name),
            (Some(_), AttributePolicy::Fail) if of_one_file => dropped.push(name),
            (Some((other, member)), AttributePolicy::Fail) => {
                let (first, second) = (survey.url(one.first), survey.url(member));
                let message = format!("{label}: {name} is {} in `{first}` but {} in `{second}`", one.value.plain(), other.plain());
                conflicts.add(Code::AttributeConflict, message, "delete it with the step `attrs`, or write `attributes: drop_conflicts`");
            }
        }
    }
    if !overridden.is_empty() {
        warnings.push(format!("{label}: attributes that differ between files are the first file's: {}", overridden.join(", ")));
    }
    if !dropped.is_empty() {
        warnings.push(format!("{label}: attributes that differ between files are left out: {}", dropped.join(", ")));
    }
    kept
}

/// True if an attribute speaks of one file, going by its name.
fn is_of_one_file(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    OF_ONE_FILE.iter().any(|beginning| name.starts_with(&beginning.to_ascii_lowercase()))
}

/// Of `Conventions` that differ by the version of CF alone, the newest: what follows an older version follows a newer one too.
fn newest<'a>(one: &Merged<'a>) -> Option<&'a Attribute> {
    let versions = one.values.iter().map(|value| Some((version(value.text()?)?, *value))).collect::<Option<Vec<_>>>()?;
    versions.into_iter().max_by_key(|(version, _)| *version).map(|(_, value)| value)
}

/// `CF-1.10` as (1, 10).
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().strip_prefix("CF-")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Limits that count in other units than the result.
fn warn_limits(group: &Group<'_>, warnings: &mut Vec<String>) {
    let limited = |name: &&str| group.variants.iter().any(|variant| variant.variable.attributes.get(name).is_some());
    for name in VALID.iter().filter(|name| limited(name)) {
        warnings.push(format!("variable `{}`: `{name}` counts in units of the files and is left out", group.name));
    }
}

/// `valid_min` and its like, unpacked where that gives the same for all files, else left out.
fn revalue(group: &Group<'_>, storage: &Storage, attributes: &mut Attributes, warnings: &mut Vec<String>) {
    for name in VALID {
        let mut values = group.variants.iter().map(|variant| {
            let (scale, offset) = packing(variant.variable).map_or((1.0, 0.0), |packing| (packing.scale, packing.offset));
            match variant.variable.attributes.get(name) {
                Some(Attribute::Numbers(numbers)) => {
                    // CF §2.5.1: limits of another type than the packed one count in unpacked values already.
                    let packed = |limit: &Scalar| limit.dtype().is_float() == variant.variable.dtype.is_float();
                    let unpacked = |limit: &Scalar| if packed(limit) { limit.as_f64() * scale + offset } else { limit.as_f64() };
                    Some(numbers.iter().map(|limit| Scalar::Float64(unpacked(limit))).collect::<Vec<_>>())
                }
                _ => None,
            }
        });
        let Some(first) = values.next() else { continue };
        let same = storage.dtype.is_float() && values.all(|other| other == first);
        match first {
            Some(numbers) if same => attributes.set(name, Attribute::Numbers(numbers)),
            None if group.variants.iter().all(|variant| variant.variable.attributes.get(name).is_none()) => {}
            _ => warnings.push(format!("variable `{}`: `{name}` counts in raw values of the files and is left out", group.name)),
        }
    }
}

/// The order of the first file; what it lacks comes last.
fn in_order_of_first(group: &Group<'_>, mut attributes: Attributes) -> Attributes {
    let order: HashMap<&str, usize> = group
        .variants
        .first()
        .map(|variant| variant.variable.attributes.iter().enumerate().map(|(place, (name, _))| (name, place)).collect())
        .unwrap_or_default();
    attributes.0.sort_by_key(|(name, _)| order.get(name.as_str()).copied().unwrap_or(usize::MAX));
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one<'a>(name: &'a str, values: &'a [Attribute]) -> Merged<'a> {
        let (all, _) = merged(values.iter().enumerate().map(|(member, value)| (member, std::iter::once((name, value)))));
        all.into_iter().next().unwrap()
    }

    #[test]
    fn of_versions_of_cf_the_newest_holds_and_of_anything_else_none() {
        let texts = |texts: &[&str]| texts.iter().map(|text| Attribute::Text((*text).to_owned())).collect::<Vec<_>>();
        let values = texts(&["CF-1.4", "CF-1.10", "CF-1.6"]);
        assert_eq!(newest(&one("Conventions", &values)).and_then(Attribute::text), Some("CF-1.10"));
        let values = texts(&["CF-1.4", "CF-1.6, ACDD-1.3"]);
        assert_eq!(newest(&one("Conventions", &values)), None);
        assert_eq!(newest(&one("source", &texts(&["CF-1.4", "CF-1.5"]))), None);
    }

    #[test]
    fn attributes_of_one_file_are_known_by_their_names() {
        for name in ["history", "History", "time_coverage_end", "date_created", "tracking_id", "creation_date", "NCO"] {
            assert!(is_of_one_file(name), "{name}");
        }
        for name in ["title", "institution", "source", "references", "Conventions", "license", "id"] {
            assert!(!is_of_one_file(name), "{name}");
        }
    }
}
