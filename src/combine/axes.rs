//! Dimensions of the whole, and the order of values along its concat axes.
//!
//! Invariant: a length is taken over only if every input that has the dimension agrees.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::ConcatAxis;
use super::conflicts::{Conflicts, listed};
use super::survey::{Group, Survey, concat_axes};
use crate::array::{Array, Scalar};
use crate::cf::time::TimeUnits;
use crate::dataset::Dimension;
use crate::recipe::diagnostic::Code;
use crate::recipe::{AbsentPolicy, MissingFile, OrderPolicy, Used};

/// Concat axes with their lengths, and the dimensions of the whole in the order in which inputs name them.
pub(super) fn measure(survey: &Survey<'_>, conflicts: &mut Conflicts) -> (Vec<ConcatAxis>, Vec<Dimension>) {
    let names: HashMap<&str, usize> = concat_axes(survey.recipe).enumerate().map(|(axis, (name, _))| (name, axis)).collect();
    let mut axes: Vec<ConcatAxis> = Vec::new();
    for (axis, (name, _)) in concat_axes(survey.recipe).enumerate() {
        let mut lengths = axis_lengths(survey, axis, name, conflicts);
        if lengths.iter().try_fold(0u64, |sum, length| sum.checked_add(*length)).is_none_or(|sum| i64::try_from(sum).is_err()) {
            let message = format!("dimension `{name}` of all inputs together is longer than any array can be");
            conflicts.add(
                Code::DimensionLengthMismatch,
                message,
                "a header is damaged; `gristmill inspect` shows the lengths in each file",
            );
            lengths.fill(0);
        }
        axes.push(ConcatAxis { dimension: name.to_owned(), lengths });
    }
    let mut dimensions: Vec<Dimension> = Vec::new();
    let mut seen: HashMap<&str, (usize, usize)> = HashMap::new();
    // Lists that are one in memory, and were found to fit, say nothing new.
    let mut fitting = HashSet::new();
    for (number, member) in survey.members.iter().enumerate() {
        if !fitting.insert(Arc::as_ptr(&member.schema.dimensions)) {
            continue;
        }
        for dimension in &*member.schema.dimensions {
            let Some(&(place, first)) = seen.get(dimension.name.as_str()) else {
                seen.insert(&dimension.name, (dimensions.len(), number));
                dimensions.push(dimension.clone());
                continue;
            };
            let Some(known) = dimensions.get(place).filter(|known| known.length != dimension.length) else { continue };
            if !names.contains_key(dimension.name.as_str()) {
                let message = format!(
                    "dimension `{}` has length {} in `{}` but {} in `{}`",
                    dimension.name,
                    known.length,
                    survey.url(first),
                    dimension.length,
                    member.url
                );
                conflicts.add(Code::DimensionLengthMismatch, message, "only concat dimensions may change their length from file to file");
                fitting.remove(&Arc::as_ptr(&member.schema.dimensions));
            }
        }
    }
    for dimension in &mut dimensions {
        if let Some(axis) = names.get(dimension.name.as_str()).and_then(|&axis| axes.get(axis)) {
            dimension.length = axis.lengths.iter().sum();
        }
    }
    (axes, dimensions)
}

fn axis_lengths(survey: &Survey<'_>, axis: usize, name: &str, conflicts: &mut Conflicts) -> Vec<u64> {
    let mut found: BTreeMap<usize, (u64, usize)> = BTreeMap::new();
    for (number, member) in survey.members.iter().enumerate() {
        let Some(dimension) = member.schema.dimension(name) else { continue };
        let position = member.cell.get(axis).copied().unwrap_or(0);
        let &mut (length, first) = found.entry(position).or_insert((dimension.length, number));
        if length != dimension.length {
            let (before, here) = (survey.url(first), member.url);
            let message =
                format!("dimension `{name}` has length {length} in `{before}` but {} in `{here}`, at the same position", dimension.length);
            conflicts.add(Code::DimensionLengthMismatch, message, "files at one position of a concat axis must have one length");
        }
    }
    if found.is_empty() {
        report_absent(survey, axis, name, conflicts);
    }
    let certain = certain_length(&found);
    let listed = listed_positions(survey, axis);
    let mut lengths = Vec::new();
    for position in 0..survey.counts.get(axis).copied().unwrap_or(0) {
        match (found.get(&position), listed.contains(&position) && survey.recipe.missing == MissingFile::Fill, certain) {
            (Some(&(length, _)), ..) | (None, true, Some(length)) => lengths.push(length),
            (None, true, None) if !found.is_empty() => {
                let message = format!(
                    "the file at position {position} of `{name}` is missing, and its length is not certain: the others differ in length"
                );
                conflicts.add(Code::FillLengthUncertain, message, "write `missing: skip`, or list the date under `except`");
                lengths.push(0);
            }
            _ => lengths.push(0),
        }
    }
    lengths
}

/// The one length that all files along the axis have.
fn certain_length(found: &BTreeMap<usize, (u64, usize)>) -> Option<u64> {
    let mut lengths = found.values().map(|&(length, _)| length);
    let first = lengths.next()?;
    lengths.all(|length| length == first).then_some(first)
}

/// Positions of a concat axis for which the recipe lists a file.
fn listed_positions(survey: &Survey<'_>, axis: usize) -> BTreeSet<usize> {
    let mut concat = survey.recipe.axes.iter().enumerate().filter(|(_, one)| matches!(one.role, crate::pattern::Role::Concat(_)));
    let place = concat.nth(axis).map_or(usize::MAX, |(place, _)| place);
    survey.recipe.inputs.iter().filter_map(|input| input.position.get(place).copied()).collect()
}

fn report_absent(survey: &Survey<'_>, axis: usize, name: &str, conflicts: &mut Conflicts) {
    let label = survey.recipe.combine.concat.get(axis).map(|(_, span)| (*span, "no file has this dimension".to_owned()));
    let known: Vec<String> =
        survey.members.first().map_or(vec![], |member| member.schema.dimensions.iter().map(|one| format!("`{}`", one.name)).collect());
    let message = format!("concat dimension `{name}` is in no file (after the steps); the first file has {}", known.join(", "));
    conflicts.add_at(
        Code::ConcatDimensionAbsent,
        message,
        label,
        &format!("correct the name, rename the dimension, or make it with `expand_dims: [{name}]`"),
    );
}

/// Variables must have the same dimensions in the same order everywhere.
pub(super) fn check_dimensions(survey: &Survey<'_>, group: &Group<'_>, conflicts: &mut Conflicts) -> bool {
    let Some(first) = group.variants.first() else { return false };
    let Some(other) = group.variants.iter().find(|other| other.variable.dimensions != first.variable.dimensions) else { return true };
    let shown = |names: &[String]| format!("({})", names.join(", "));
    let message = format!(
        "variable `{}` has dimensions {} in `{}` but {} in `{}`",
        group.name,
        shown(&first.variable.dimensions),
        survey.url(first.member),
        shown(&other.variable.dimensions),
        survey.url(other.member)
    );
    conflicts.add(Code::DimensionsDiffer, message, "make them agree with `transpose`, `squeeze` or `expand_dims`");
    false
}

/// The variable must be in every file of the merge positions that hold it at all.
pub(super) fn check_presence(survey: &Survey<'_>, group: &Group<'_>, conflicts: &mut Conflicts, used: &mut Vec<Used>) -> bool {
    let merges: BTreeSet<usize> = group.holders.iter().filter_map(|&(member, _)| Some(survey.members.get(member)?.merge)).collect();
    let expected = survey.members.iter().filter(|member| merges.contains(&member.merge)).count();
    if expected == group.holders.len() {
        return true;
    }
    let holders: BTreeSet<usize> = group.holders.iter().map(|&(member, _)| member).collect();
    let lacking = survey.members.iter().enumerate().filter(|(number, member)| merges.contains(&member.merge) && !holders.contains(number));
    let lacking: Vec<&str> = lacking.map(|(_, member)| member.url).collect();
    if survey.recipe.combine.absent == AbsentPolicy::Fill {
        used.push(Used::new("absent: fill", group.name, format!("filled in place of {}", listed(lacking.iter().copied()))));
        return true;
    }
    let first = group.holders.first().map_or("", |&(member, _)| survey.url(member));
    let message = format!("variable `{}` is in `{first}` but not in {}", group.name, listed(lacking.iter().copied()));
    conflicts.add(Code::VariableAbsent, message, "drop the variable, or write `absent: fill` under `combine`");
    false
}

/// A joined concat coordinate, for [`check_order`].
pub(super) struct Joined<'a> {
    pub(super) name: &'a str,
    /// File at each position of the axis; empty where there is none.
    pub(super) files: &'a [&'a str],
    pub(super) values: &'a Array,
    pub(super) units: Option<TimeUnits>,
    /// End of each position of the axis.
    pub(super) ends: Vec<u64>,
}

/// Values must strictly grow or strictly fall; texts must only differ.
pub(super) fn check_order(survey: &Survey<'_>, joined: &Joined<'_>, conflicts: &mut Conflicts, used: &mut Vec<Used>) {
    if survey.recipe.combine.order == OrderPolicy::AsListed {
        let mut found = Conflicts::default();
        judge_order(joined, &mut found);
        used.extend(found.first().map(|what| Used::new("order: as_listed", joined.name, what)));
        return;
    }
    judge_order(joined, conflicts);
}

fn judge_order(joined: &Joined<'_>, conflicts: &mut Conflicts) {
    if joined.values.dtype.is_text() {
        let mut seen = HashMap::new();
        for (place, text) in joined.values.texts().iter().enumerate() {
            if let Some(before) = seen.insert(text, place) {
                joined.report(Code::DuplicatedCoordinate, before, place, conflicts);
            }
        }
        return;
    }
    let values: Vec<Scalar> = joined.values.scalars().collect();
    let rising = values.windows(2).find_map(|pair| grows(pair[0], pair[1])).unwrap_or(true);
    let ordered = |pair: &[Scalar]| grows(pair[0], pair[1]) == Some(rising);
    if !values.windows(2).all(ordered) || values.iter().any(|value| !value.as_f64().is_finite()) {
        joined.explain(&values, rising, conflicts);
    }
}

/// Whether the second is greater; `None` if equal or not comparable.
fn grows(left: Scalar, right: Scalar) -> Option<bool> {
    match (left, right) {
        (Scalar::UInt64(left), Scalar::UInt64(right)) => (left != right).then_some(left < right),
        _ if left.dtype().is_float() => {
            left.as_f64().partial_cmp(&right.as_f64()).filter(|order| order.is_ne()).map(std::cmp::Ordering::is_lt)
        }
        _ => (left.as_i64() != right.as_i64()).then(|| left.as_i64() < right.as_i64()),
    }
}

impl Joined<'_> {
    /// Says of each offending value whether it occurred before or is out of order.
    fn explain(&self, values: &[Scalar], rising: bool, conflicts: &mut Conflicts) {
        let mut seen: HashMap<Vec<u8>, usize> = HashMap::new();
        for (place, &value) in values.iter().enumerate() {
            if !value.as_f64().is_finite() {
                self.report(Code::NotMonotonic, place.saturating_sub(1), place, conflicts);
            } else if let Some(before) = seen.insert(value.to_bytes(), place) {
                self.report(Code::DuplicatedCoordinate, before, place, conflicts);
            } else if place > 0 && values.get(place - 1).is_some_and(|&before| grows(before, value) != Some(rising)) {
                self.report(Code::NotMonotonic, place - 1, place, conflicts);
            }
        }
    }

    fn report(&self, code: Code, before: usize, place: usize, conflicts: &mut Conflicts) {
        let (first, second) = (self.file(before), self.file(place));
        let files = if first == second { format!("within `{first}`") } else { format!("between `{first}` and `{second}`") };
        let message = match code {
            Code::DuplicatedCoordinate => format!("coordinate `{}` has the value {} twice, {files}", self.name, self.value(place)),
            _ => format!(
                "coordinate `{}` goes from {} to {} {files}, against its order so far",
                self.name,
                self.value(before),
                self.value(place)
            ),
        };
        conflicts.add(
            code,
            message,
            "list the files in order, `sort` within files, keep one of equal steps with `overlap: first` or `last`, or write `order: as_listed`",
        );
    }

    fn file(&self, place: usize) -> &str {
        let position = self.ends.partition_point(|end| *end <= place as u64);
        self.files.get(position).copied().unwrap_or_default()
    }

    fn value(&self, place: usize) -> String {
        match (self.values.texts().get(place), self.values.scalar(place)) {
            (Some(text), _) => format!("{text:?}"),
            (None, Some(value)) => {
                self.units.map_or_else(|| value.plain(), |units| format!("{} ({})", value.plain(), units.instant(value)))
            }
            (None, None) => String::new(),
        }
    }
}
