//! Times counted differently in different inputs: one count for each time variable together with its bounds.
//!
//! The count is the recipe's, else the published one, else the first file's epoch in the coarsest unit. Invariant: a conversion is only
//! given out with units in which every value that was read is exact.

use std::collections::{BTreeMap, BTreeSet};

use super::Scanned;
use super::conflicts::Conflicts;
use super::survey::{Group, Survey, Variant};
use crate::array::{DataType, Scalar};
use crate::cf::calendar::Calendar;
use crate::cf::packing::{marks, packing};
use crate::cf::time::{TARGET_UNITS, TimeError, TimeUnits, Times, join};
use crate::cf::{Conversion, CountedAs};
use crate::recipe::Used;
use crate::recipe::diagnostic::{Code, Span};

/// The format's default fill value of 64-bit integers (`NC_FILL_INT64`), for missing times.
const MISSING_TIME: i64 = -9_223_372_036_854_775_806;

/// A time variable's new count.
#[derive(Debug)]
pub(super) struct Retimed {
    /// One per variant.
    pub(super) conversions: Vec<Conversion>,
    /// `units` of the result.
    pub(super) units: String,
    /// Type of the result.
    pub(super) dtype: DataType,
    /// The mark for missing times, where there may be any; floats have NaN.
    pub(super) fill: Option<Scalar>,
}

/// What a time variable shall count, by the recipe's word, or because it is published so.
struct Asked {
    units: TimeUnits,
    text: String,
    /// Why, for messages.
    reason: &'static str,
    /// True if the recipe says so itself: then it is counted so even where all files agree on something else.
    by_recipe: bool,
}

/// What is to become of a variable's count of time, if it has one.
pub(super) enum Clock<'a> {
    /// Its new count; `None`: it stays.
    Joined(Option<&'a Retimed>),
    /// A conflict was noted.
    Refused,
}

/// What was found for all groups.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    retimed: BTreeMap<usize, Retimed>,
    refused: BTreeSet<usize>,
}

impl Clocks {
    pub(super) fn of(&self, group: usize) -> Clock<'_> {
        if self.refused.contains(&group) { Clock::Refused } else { Clock::Joined(self.retimed.get(&group)) }
    }
}

/// The new count of every group that needs one.
pub(super) fn retime(survey: &Survey<'_>, scanned: &[Scanned], conflicts: &mut Conflicts, used: &mut Vec<Used>) -> Clocks {
    let mut found = Clocks::default();
    for (root, group) in survey.groups.iter().enumerate() {
        let timed = |group: &Group<'_>| group.variants.iter().any(|variant| variant.clock.is_some());
        let inherits = group.parent.and_then(|parent| survey.groups.get(parent)).is_some_and(timed);
        if !timed(group) || inherits {
            continue;
        }
        let children =
            survey.groups.iter().enumerate().filter(|(_, child)| child.parent == Some(root) && timed(child)).map(|(number, _)| number);
        let family: Vec<usize> = std::iter::once(root).chain(children).collect();
        match recount(survey, scanned, &family, conflicts) {
            Ok(retimed) => {
                used.extend(retimed.first().map(|(_, retimed)| used_times(group, retimed)));
                found.retimed.extend(retimed);
            }
            Err(Refused) => found.refused.extend(family),
        }
    }
    refuse_units_of_others(survey, conflicts);
    found
}

/// The recipe asks for a count of what counts no time of its own.
fn refuse_units_of_others(survey: &Survey<'_>, conflicts: &mut Conflicts) {
    for (name, (choice, span)) in &survey.recipe.output.encoding {
        let Some(group) = survey.by_name.get(name.as_str()).and_then(|&number| survey.groups.get(number)) else { continue };
        let timed = |group: &Group<'_>| group.variants.iter().any(|variant| variant.clock.is_some());
        let parent = group.parent.and_then(|parent| survey.groups.get(parent)).filter(|parent| timed(parent));
        let why = match parent {
            Some(parent) => format!("is counted as `{}` is, whose bounds it holds", parent.name),
            None if !timed(group) => "counts no time".to_owned(),
            None => continue,
        };
        if choice.units.is_some() {
            let label = Some((*span, "these units are asked for".to_owned()));
            conflicts.add_at(
                Code::TimeNotJoinable,
                format!("variable `{name}` {why}"),
                label,
                "remove its `units` under `output.encoding`",
            );
        }
    }
}

/// A conflict was noted.
struct Refused;

/// The new count of a time variable and its bounds; empty where the files' own is kept.
fn recount(
    survey: &Survey<'_>,
    scanned: &[Scanned],
    family: &[usize],
    conflicts: &mut Conflicts,
) -> Result<Vec<(usize, Retimed)>, Refused> {
    if !calendars_agree(survey, family, conflicts) {
        return Err(Refused);
    }
    let Some(group) = family.first().and_then(|&root| survey.groups.get(root)) else { return Ok(Vec::new()) };
    let alike = family.iter().all(|&number| same_units(survey, number));
    let how = if alike { "cannot be counted anew:" } else { "counts time differently from file to file, and" };
    let mut refuse = |reason: String, label| {
        let message = format!("variable `{}` {how} {reason}", group.name);
        conflicts.add_at(Code::TimeNotJoinable, message, label, "make the files agree, or bake them as separate datasets");
        Refused
    };
    if !alike && survey.recipe.combine.strict.times {
        return Err(refuse(format!("the recipe says `times: fail`: {}", spellings(survey, group)), None));
    }
    let asked = asked(survey, group).map_err(|reason| refuse(reason, units_span(survey, group)))?;
    let needed = match &asked {
        Some(asked) => asked.by_recipe || !(alike && counts_so(group, asked)),
        None => !alike,
    };
    if !needed {
        return Ok(Vec::new());
    }
    retime_family(survey, scanned, family, asked.as_ref()).map_err(|reason| refuse(reason, units_span(survey, group)))
}

/// True if the files count as is asked for already.
fn counts_so(group: &Group<'_>, asked: &Asked) -> bool {
    group.variants.iter().filter_map(|variant| variant.clock).all(|clock| read(clock).is_ok_and(|units| units == asked.units))
}

fn spellings(survey: &Survey<'_>, group: &Group<'_>) -> String {
    let said = |variant: &Variant<'_>| Some(format!("`{}` in `{}`", variant.clock?.0, survey.url(variant.member)));
    let said: Vec<String> = group.variants.iter().filter_map(said).take(3).collect();
    said.join(", ")
}

fn used_times(group: &Group<'_>, retimed: &Retimed) -> Used {
    let kinds = group.variants.iter().filter_map(|variant| variant.clock).map(|clock| clock.0).collect::<BTreeSet<_>>().len();
    let counts = if kinds == 1 { "one count".to_owned() } else { format!("{kinds} counts") };
    Used::new("times: convert", group.name, format!("{counts} of the files became `{}` ({}), exactly", retimed.units, retimed.dtype))
}

/// The recipe's line that asks for units.
fn units_span(survey: &Survey<'_>, group: &Group<'_>) -> Option<(Span, String)> {
    let (_, span) = survey.recipe.output.encoding.get(group.name).filter(|(choice, _)| choice.units.is_some())?;
    Some((*span, "these units are asked for".to_owned()))
}

/// What the recipe asks for, else what is published.
fn asked(survey: &Survey<'_>, group: &Group<'_>) -> Result<Option<Asked>, String> {
    let calendar = group.variants.iter().find_map(|variant| variant.clock).and_then(|clock| Calendar::named(clock.1));
    let calendar = calendar.unwrap_or(Calendar::Standard);
    let own = survey.recipe.output.encoding.get(group.name).and_then(|(choice, _)| choice.units.as_ref());
    if let Some(text) = own {
        let units = TimeUnits::parse(text, calendar).map_err(|error| format!("the recipe asks for units that cannot be read: {error}"))?;
        return Ok(Some(Asked { units, text: text.clone(), reason: "which the recipe asks for", by_recipe: true }));
    }
    let published = survey.recipe.published.as_ref().and_then(|schema| schema.variable(group.name));
    let units = published.and_then(|variable| Some((variable.attributes.text("units")?, variable.attributes.text("calendar"))));
    let Some((text, _)) = units.filter(|(_, named)| Calendar::named(*named) == Some(calendar)) else { return Ok(None) };
    let Ok(units) = TimeUnits::parse(text, calendar) else { return Ok(None) };
    Ok(Some(Asked { units, text: text.to_owned(), reason: "which is published", by_recipe: false }))
}

fn calendars_agree(survey: &Survey<'_>, family: &[usize], conflicts: &mut Conflicts) -> bool {
    let groups = family.iter().filter_map(|&number| survey.groups.get(number));
    let mut first: Option<(Calendar, &Variant<'_>)> = None;
    for (group, variant) in groups.flat_map(|group| group.variants.iter().map(move |variant| (group, variant))) {
        let Some((_, name)) = variant.clock else { continue };
        let (url, help) = (survey.url(variant.member), "bake files of different calendars as separate datasets");
        let Some(calendar) = Calendar::named(name) else {
            let message =
                format!("variable `{}` in `{url}` has the calendar `{}`, which CF does not know", group.name, name.unwrap_or_default());
            conflicts.add(Code::CalendarMismatch, message, "correct it with the step `attrs`");
            return false;
        };
        let (expected, before) = *first.get_or_insert((calendar, variant));
        if expected != calendar {
            let message = format!(
                "variable `{}` has the calendar `{}` in `{}` but `{}` in `{url}`",
                group.name,
                expected.name(),
                survey.url(before.member),
                calendar.name()
            );
            conflicts.add(Code::CalendarMismatch, message, help);
            return false;
        }
    }
    true
}

/// True if all inputs count alike, in whatever spelling.
fn same_units(survey: &Survey<'_>, number: usize) -> bool {
    let Some(group) = survey.groups.get(number) else { return true };
    let mut clocks = group.variants.iter().filter_map(|variant| variant.clock);
    let Some(first) = clocks.next() else { return true };
    let parsed = read(first).ok();
    clocks.all(|clock| clock.0 == first.0 || (parsed.is_some() && read(clock).ok() == parsed))
}

pub(super) fn read((units, calendar): (&str, Option<&str>)) -> Result<TimeUnits, TimeError> {
    TimeUnits::parse(units, Calendar::named(calendar).unwrap_or(Calendar::Standard))
}

fn retime_family(
    survey: &Survey<'_>,
    scanned: &[Scanned],
    family: &[usize],
    asked: Option<&Asked>,
) -> Result<Vec<(usize, Retimed)>, String> {
    let groups: Vec<(usize, &Group<'_>)> = family.iter().filter_map(|&number| Some((number, survey.groups.get(number)?))).collect();
    let mut parts = Vec::new();
    for (_, group) in &groups {
        parts.push(prepare(survey, scanned, group)?);
    }
    if let Some(asked) = asked {
        let root = groups.first().map(|(_, group)| *group);
        let counted = groups
            .iter()
            .zip(&parts)
            .map(|((number, group), part)| Ok((*number, part.counted_as(group, asked, published_as(survey, group, root, asked))?)));
        return counted.collect();
    }
    let times: Vec<Times<'_>> = parts.iter().flat_map(Part::times).collect();
    let epoch = times.first().map(|times| times.units).ok_or("no file holds it")?;
    let (unit, length) = join(&times)
        .and_then(|unit| TARGET_UNITS.get(unit))
        .copied()
        .ok_or("some values are exact in no unit from days to microseconds after the first file's epoch")?;
    groups.iter().zip(&parts).map(|((number, group), part)| Ok((*number, part.retimed(group, epoch, unit, length)?))).collect()
}

/// Type, and mark of missing times, that a variable is published with, or that the recipe wants, for itself or for what it bounds.
fn published_as(survey: &Survey<'_>, group: &Group<'_>, root: Option<&Group<'_>>, asked: &Asked) -> (DataType, Option<Scalar>, bool) {
    let published = survey.recipe.published.as_ref().and_then(|schema| schema.variable(group.name));
    let mark = published.and_then(|variable| variable.attributes.number("_FillValue"));
    let wanted = |group: &Group<'_>| survey.recipe.output.encoding.get(group.name).and_then(|(choice, _)| choice.dtype);
    let dtype = match published.filter(|_| !asked.by_recipe) {
        Some(variable) => variable.dtype,
        None => wanted(group).or_else(|| root.and_then(wanted)).unwrap_or(DataType::Int64),
    };
    (dtype, mark.and_then(|mark| mark.cast(dtype)), published.is_some())
}

/// One variable of a family with its units, marks and values.
struct Part<'a> {
    /// Per variant.
    units: Vec<TimeUnits>,
    marks: Vec<Vec<Scalar>>,
    whole: Vec<bool>,
    /// Per holder: variant and values.
    values: Vec<(usize, Option<&'a crate::array::Array>)>,
}

fn prepare<'a>(survey: &Survey<'_>, scanned: &'a [Scanned], group: &Group<'_>) -> Result<Part<'a>, String> {
    let mut part = Part { units: vec![], marks: vec![], whole: vec![], values: vec![] };
    for variant in &group.variants {
        let url = survey.url(variant.member);
        let clock = variant.clock.ok_or_else(|| format!("`{url}` gives no units for `{}`", group.name))?;
        if packing(variant.variable).is_some() {
            return Err(format!("`{}` is packed in `{url}`", group.name));
        }
        part.units.push(read(clock).map_err(|error| format!("in `{url}` {error}"))?);
        part.marks.push(marks(variant.variable).all);
        part.whole.push(variant.variable.dtype.is_integer());
    }
    part.values = group
        .holders
        .iter()
        .map(|&(member, variant)| (variant, scanned.get(member).and_then(|one| one.values.get(group.name)).map(AsRef::as_ref)))
        .collect();
    Ok(part)
}

impl Part<'_> {
    fn times(&self) -> impl Iterator<Item = Times<'_>> {
        self.values.iter().filter_map(|&(variant, values)| {
            let units = *self.units.get(variant)?;
            Some(Times { units, values, missing: self.marks.get(variant)?, whole: *self.whole.get(variant)? })
        })
    }

    /// True if some value is missing, or may be because it was not read.
    fn has_missing(&self) -> bool {
        self.times().any(|times| {
            let missing = crate::cf::Missing::new(times.missing);
            match times.values {
                Some(values) => values.scalars().any(|value| missing.holds(value) || value.as_f64().is_nan()),
                None => !times.whole || !times.missing.is_empty(),
            }
        })
    }

    fn retimed(&self, group: &Group<'_>, epoch: TimeUnits, unit: &str, length: i64) -> Result<Retimed, String> {
        // An index has no missing times: a NaN there is then an error of the conversion.
        let fill = (!group.is_index() && self.has_missing()).then_some(MISSING_TIME);
        let convert = |(units, marks): (&TimeUnits, &Vec<Scalar>)| {
            let missing = fill.map(|fill| (marks.clone(), fill));
            units.retimed(epoch.epoch, length, missing).ok_or_else(|| "the reference dates lie too far apart".to_owned())
        };
        let conversions = self.units.iter().zip(&self.marks).map(convert).collect::<Result<_, _>>()?;
        Ok(Retimed { conversions, units: epoch.text(unit), dtype: DataType::Int64, fill: fill.map(Scalar::Int64) })
    }

    /// Counted as is asked for, in a type that must hold every value that was read exactly.
    fn counted_as(
        &self,
        group: &Group<'_>,
        asked: &Asked,
        (dtype, mark, published): (DataType, Option<Scalar>, bool),
    ) -> Result<Retimed, String> {
        let missing = !group.is_index() && self.has_missing();
        let mark = match mark {
            None if missing && !published && dtype == DataType::Int64 => Some(Scalar::Int64(MISSING_TIME)),
            None if missing && dtype.is_integer() => return Err(format!("some times are missing, for which {dtype} has no mark")),
            mark => mark.filter(|_| dtype.is_integer()),
        };
        let unit = asked.units.nanoseconds / 1000;
        if unit * 1000 != asked.units.nanoseconds || unit == 0 {
            return Err(format!("`{}` counts in something finer than microseconds", asked.text));
        }
        let (length, unit) = if dtype.is_float() { (1, unit) } else { (unit, 1) };
        let stored = (dtype != DataType::Int64).then_some(CountedAs { dtype, unit });
        let fill = mark.and_then(Scalar::as_i64);
        let convert = |(units, marks): (&TimeUnits, &Vec<Scalar>)| {
            let marked = (dtype.is_float() && !group.is_index()) || fill.is_some();
            let missing = marked.then(|| (marks.clone(), fill.unwrap_or(0)));
            let mut conversion = units.retimed(asked.units.epoch, length, missing);
            if let Some(Conversion::Retime { stored: slot, .. }) = &mut conversion {
                *slot = stored;
            }
            conversion.ok_or_else(|| "the reference dates lie too far apart".to_owned())
        };
        let conversions: Vec<Conversion> = self.units.iter().zip(&self.marks).map(convert).collect::<Result<_, _>>()?;
        for &(variant, values) in &self.values {
            let (Some(conversion), Some(values)) = (conversions.get(variant), values) else { continue };
            if let Err(error) = conversion.apply(values.clone()) {
                return Err(format!("{error}: `{}` ({dtype}), {}", asked.text, asked.reason));
            }
        }
        Ok(Retimed { conversions, units: asked.text.clone(), dtype, fill: mark })
    }
}
