//! Times counted differently in different inputs: one count for each time variable together with its bounds.
//!
//! Invariant: a conversion is only given out with units in which every value that was read is exact (DESIGN: first file's epoch, coarsest unit).

use std::collections::{BTreeMap, BTreeSet};

use super::Scanned;
use super::conflicts::Conflicts;
use super::survey::{Group, Survey, Variant};
use crate::array::{DataType, Scalar};
use crate::cf::Conversion;
use crate::cf::calendar::Calendar;
use crate::cf::packing::{marks, packing};
use crate::cf::time::{TARGET_UNITS, TimeError, TimeUnits, Times, join};
use crate::recipe::diagnostic::Code;

/// The format's default fill value of 64-bit integers (`NC_FILL_INT64`), for missing times.
const MISSING_TIME: i64 = -9_223_372_036_854_775_806;

/// A time variable's new count.
#[derive(Debug)]
pub(super) struct Retimed {
    /// One per variant.
    pub(super) conversions: Vec<Conversion>,
    /// `units` of the result.
    pub(super) units: String,
    /// The mark for missing times, where there may be any.
    pub(super) fill: Option<i64>,
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
pub(super) fn retime(survey: &Survey<'_>, scanned: &[Scanned], conflicts: &mut Conflicts) -> Clocks {
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
        if !calendars_agree(survey, &family, conflicts) {
            found.refused.extend(family);
        } else if !family.iter().all(|&number| same_units(survey, number)) {
            match retime_family(survey, scanned, &family) {
                Ok(retimed) => found.retimed.extend(retimed),
                Err(reason) => {
                    let message = format!("variable `{}` counts time differently from file to file, and {reason}", group.name);
                    conflicts.add(Code::TimeNotJoinable, message, "make the files agree, or bake them as separate datasets");
                    found.refused.extend(family);
                }
            }
        }
    }
    found
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

fn retime_family(survey: &Survey<'_>, scanned: &[Scanned], family: &[usize]) -> Result<Vec<(usize, Retimed)>, String> {
    let groups: Vec<(usize, &Group<'_>)> = family.iter().filter_map(|&number| Some((number, survey.groups.get(number)?))).collect();
    let mut parts = Vec::new();
    for (_, group) in &groups {
        parts.push(prepare(survey, scanned, group)?);
    }
    let times: Vec<Times<'_>> = parts.iter().flat_map(Part::times).collect();
    let epoch = times.first().map(|times| times.units).ok_or("no file holds it")?;
    let (unit, length) = join(&times)
        .and_then(|unit| TARGET_UNITS.get(unit))
        .copied()
        .ok_or("some values are exact in no unit from days to microseconds after the first file's epoch")?;
    groups.iter().zip(&parts).map(|((number, group), part)| Ok((*number, part.retimed(group, epoch, unit, length)?))).collect()
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
        Ok(Retimed { conversions, units: epoch.text(unit), fill })
    }
}

impl Retimed {
    pub(super) const DTYPE: DataType = DataType::Int64;
}
