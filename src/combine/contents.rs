//! Values: compared where several inputs hold the same, joined where they were read, else listed as pieces.
//!
//! Invariant: of inputs that hold the same part of a variable one is used, and all others were found equal to it.

use std::collections::HashMap;
use std::sync::Arc;

use super::conflicts::Conflicts;
use super::storage::Storage;
use super::survey::{Cells, Group, Survey};
use super::{ConcatAxis, Content, KeptSteps, Pieces, Run, Scanned, digest};
use crate::array::{Array, DataType, FillValue, Placed, Values, copy_box};
use crate::cf::{Conversion, ConversionError};
use crate::grid::{Region, Shape, elements, positions, ravel, strides};
use crate::recipe::diagnostic::Code;
use crate::recipe::{AbsentPolicy, Join, MissingFile, Used};

/// Why values that were read cannot be joined.
enum Trouble {
    /// Of a member.
    Conversion(usize, ConversionError),
    /// A coordinate's value at a cell whose file is missing.
    Uncertain(usize),
}

/// What is needed to look at one variable in all inputs.
pub(super) struct View<'a> {
    pub(super) survey: &'a Survey<'a>,
    pub(super) scanned: &'a [Scanned],
    pub(super) group: &'a Group<'a>,
    pub(super) storage: &'a Storage,
    pub(super) axes: &'a [ConcatAxis],
    pub(super) shape: &'a Shape,
    pub(super) cells: &'a Cells,
    /// Of inputs that lose steps to others: which they keep.
    pub(super) kept: &'a KeptSteps,
}

/// The first cell that has a length but no file.
pub(super) fn hole(group: &Group<'_>, cells: &Cells, axes: &[ConcatAxis]) -> Option<usize> {
    let lacks = cells.holders.iter().enumerate().filter(|(_, holders)| holders.is_empty());
    lacks.map(|(cell, _)| cell).find(|&cell| !is_empty(group, axes, &cells.position(cell)))
}

fn is_empty(group: &Group<'_>, axes: &[ConcatAxis], position: &[usize]) -> bool {
    let length = |(&(axis, _), &position): (&(usize, usize), &usize)| axes.get(axis).and_then(|axis| axis.lengths.get(position)).copied();
    group.axes.iter().zip(position).any(|pair| length(pair) == Some(0))
}

impl<'a> View<'a> {
    /// The variable's content; `None` after a conflict was noted. `present`: no file lacks the variable.
    pub(super) fn content(&self, present: bool, conflicts: &mut Conflicts, used: &mut Vec<Used>) -> Option<Content> {
        let hole = hole(self.group, self.cells, self.axes);
        if let Some(cell) = hole.filter(|_| !self.allows_holes()) {
            if present {
                self.report_hole(cell, "no file holds variable", conflicts);
            }
            return None;
        }
        let (mut equal, mut tolerated) = (true, None);
        for holders in self.cells.holders.iter().filter(|holders| holders.len() > 1) {
            equal &= self.compare(holders, conflicts, &mut tolerated);
        }
        if let Some(what) = tolerated.filter(|_| equal) {
            used.push(Used::new(format!("join: {{tolerance: {}}}", self.tolerance()), self.group.name, what));
        }
        let pieces = self.pieces();
        if !equal {
            return None;
        }
        match self.joined(hole) {
            None => Some(Content::Pieces(pieces)),
            Some(Ok(array)) => Some(Content::Known(array)),
            Some(Err(Trouble::Uncertain(cell))) => {
                self.report_hole(
                    cell,
                    "the file is missing, and its place in time or space does not follow from the others: coordinate",
                    conflicts,
                );
                None
            }
            Some(Err(Trouble::Conversion(member, error))) => {
                let code = if matches!(error, ConversionError::NotExact(_)) { Code::TimeNotJoinable } else { Code::TypeMismatch };
                conflicts.add(code, format!("variable `{}` in `{}`: {error}", self.group.name, self.survey.url(member)), "");
                None
            }
        }
    }

    fn allows_holes(&self) -> bool {
        self.survey.recipe.missing == MissingFile::Fill || self.survey.recipe.combine.absent == AbsentPolicy::Fill
    }

    fn report_hole(&self, cell: usize, problem: &str, conflicts: &mut Conflicts) {
        let position = self.cells.position(cell);
        let said = |(&(axis, _), position): (&(usize, usize), &usize)| {
            Some(format!("position {position} of `{}`", self.axes.get(axis)?.dimension))
        };
        let place: Vec<String> = self.group.axes.iter().zip(&position).filter_map(said).collect();
        let message = format!("{problem} `{}` at {}", self.group.name, place.join(", "));
        let help = if self.allows_holes() {
            "leave the position out with `missing: skip` or `except`"
        } else {
            "write `missing: fill` under `inputs`, or leave the whole position out with `except`"
        };
        conflicts.add(Code::VariableAbsent, message, help);
    }

    fn values(&self, member: usize) -> Option<&'a Array> {
        self.scanned.get(member)?.values.get(self.group.name).map(AsRef::as_ref)
    }

    fn digest(&self, member: usize) -> Option<String> {
        self.scanned.get(member)?.digests.get(self.group.name).cloned().or_else(|| self.values(member).map(digest))
    }

    /// True if both have the same digests in memory, with one of this variable.
    fn share_digests(&self, left: usize, right: usize) -> bool {
        let digests = |member: usize| self.scanned.get(member).map(|one| &one.digests);
        let (Some(left), Some(right)) = (digests(left), digests(right)) else { return false };
        Arc::ptr_eq(left, right) && left.contains_key(self.group.name)
    }

    fn conversion(&self, variant: usize) -> &'a Conversion {
        self.storage.conversions.get(variant).unwrap_or(&Conversion::Keep)
    }

    /// True if all holders of one cell agree.
    fn compare(&self, holders: &[(usize, usize)], conflicts: &mut Conflicts, tolerated: &mut Option<String>) -> bool {
        let Some((&first, others)) = holders.split_first() else { return true };
        let mut same = true;
        for &other in others {
            let compared = self.compare_two(first, other);
            if let (Ok(Some(difference)), None) = (&compared, &tolerated) {
                let (left, right) = (self.survey.url(first.0), self.survey.url(other.0));
                *tolerated =
                    Some(format!("the first file's are kept; the first difference is between `{left}` and `{right}`: {difference}"));
            }
            if let Err(difference) = compared {
                same = false;
                if self.lengths_differ(first.0, other.0) && conflicts.holds(Code::DimensionLengthMismatch) {
                    continue;
                }
                let code = if self.group.is_coordinate() { Code::CoordinateMismatch } else { Code::StaticVariableDiffers };
                let (left, right) = (self.survey.url(first.0), self.survey.url(other.0));
                let kind = if self.group.is_coordinate() { "coordinate" } else { "variable" };
                let message = format!("{kind} `{}` differs between `{left}` and `{right}`: {difference}", self.group.name);
                conflicts.add(code, message, self.advice());
            }
        }
        same
    }

    /// True if the variable has other lengths in two members; that was said of the dimension already.
    fn lengths_differ(&self, left: usize, right: usize) -> bool {
        let shape = |member: usize| {
            self.survey.members.get(member).and_then(|member| Some(member.schema.shape(member.schema.variable(self.group.name)?)))
        };
        shape(left) != shape(right)
    }

    fn advice(&self) -> &'static str {
        if self.group.is_coordinate() {
            "files must share their coordinates; `join: {tolerance: x}` under `combine` accepts small differences"
        } else {
            "drop the variable, or give it the concat dimension with `expand_dims`"
        }
    }

    /// The difference that the tolerance forgives, if there is any.
    fn compare_two(&self, (left, left_variant): (usize, usize), (right, right_variant): (usize, usize)) -> Result<Option<String>, String> {
        let (left_conversion, right_conversion) = (self.conversion(left_variant), self.conversion(right_variant));
        let alike = left_conversion == right_conversion;
        if let (Some(one), Some(other)) = (self.values(left), self.values(right)) {
            // Conversions can make different raw values equal (marks of missing ones), so unequal raw values are not yet a difference.
            if alike && (std::ptr::eq(one, other) || one == other) {
                return Ok(None);
            }
            let convert = |conversion: &Conversion, array: &Array| conversion.apply(array.clone()).map_err(|error| error.to_string());
            let (one, other) = (convert(left_conversion, one)?, convert(right_conversion, other)?);
            let exactly = difference(&one, &other, 0.0);
            return if exactly.is_none() { Ok(None) } else { difference(&one, &other, self.tolerance()).map_or(Ok(exactly), Err) };
        }
        if alike && self.share_digests(left, right) {
            return Ok(None);
        }
        match (self.digest(left), self.digest(right)) {
            (Some(one), Some(other)) if alike && one == other => Ok(None),
            (Some(_), Some(_)) if alike => Err("their checksums are not equal".to_owned()),
            (Some(_), Some(_)) => Err("they are stored differently and too large to compare value by value".to_owned()),
            _ => Err("their values could not be compared".to_owned()),
        }
    }

    fn tolerance(&self) -> f64 {
        match self.survey.recipe.combine.join {
            Join::Tolerance(tolerance) if self.group.is_coordinate() => tolerance,
            _ => 0.0,
        }
    }

    fn pieces(&self) -> Pieces {
        let mut pieces = Pieces { axes: self.group.axes.clone(), inputs: vec![], conversions: vec![], converted: vec![] };
        let mut numbers: HashMap<usize, u32> = HashMap::new();
        let mut known: HashMap<Vec<u8>, u32> = HashMap::new();
        for holders in &self.cells.holders {
            let chosen = holders.first();
            pieces.inputs.push(chosen.and_then(|&(member, _)| u32::try_from(self.survey.members.get(member)?.input).ok()));
            // A hole needs no conversion; it takes the number of the cell before.
            let Some(&(_, variant)) = chosen else {
                pieces.converted.push(pieces.converted.last().copied().unwrap_or(0));
                continue;
            };
            let number = *numbers.entry(variant).or_insert_with(|| {
                let conversion = self.conversion(variant);
                *known.entry(serde_json::to_vec(conversion).unwrap_or_default()).or_insert_with(|| {
                    pieces.conversions.push(conversion.clone());
                    pieces.conversions.len() as u32 - 1
                })
            });
            pieces.converted.push(number);
        }
        if pieces.conversions.len() <= 1 {
            pieces.converted.clear();
        }
        pieces
    }

    /// All values, if every cell's were read.
    fn joined(&self, hole: Option<usize>) -> Option<Result<Array, Trouble>> {
        let firsts = || self.cells.holders.iter().enumerate().filter_map(|(cell, holders)| Some((cell, *holders.first()?)));
        if firsts().next().is_none() || firsts().any(|(_, (member, _))| self.values(member).is_none()) {
            return None;
        }
        let starts: Vec<Vec<u64>> = self.group.axes.iter().map(|&(axis, _)| starts(self.axes.get(axis))).collect();
        let mut whole = filled(self.storage.dtype, self.shape, self.storage.fill.as_ref())?;
        for (cell, (member, variant)) in firsts() {
            let array = match self.conversion(variant).apply(self.values(member)?.clone()) {
                Ok(array) => self.without_lost(member, array)?,
                Err(error) => return Some(Err(Trouble::Conversion(member, error))),
            };
            let region = self.region(&starts, &self.cells.position(cell))?;
            if region.is_empty() && array.shape == region.shape {
                continue;
            }
            if array.shape != region.shape || array.dtype != whole.dtype {
                return None;
            }
            place(&array, &region, &mut whole)?;
        }
        Some(match hole {
            Some(cell) if self.group.is_index() => self.fill_index(&whole).ok_or(Trouble::Uncertain(cell)),
            _ => Ok(whole),
        })
    }

    /// A member's values without the steps that it loses to others.
    fn without_lost(&self, member: usize, array: Array) -> Option<Array> {
        let input = u32::try_from(self.survey.members.get(member)?.input).ok()?;
        let Some(kept) = self.kept.get(&input) else { return Some(array) };
        let mut lost =
            self.group.axes.iter().filter_map(|&(axis, dimension)| Some((kept.get(&self.axes.get(axis)?.dimension)?, dimension)));
        lost.try_fold(array, |array, (runs, dimension)| only(&array, dimension, runs))
    }

    /// Where a cell's box lies in the whole ([`super::placement`], without adding up all lengths each time).
    fn region(&self, starts: &[Vec<u64>], position: &[usize]) -> Option<Region> {
        let mut region = Region::whole(self.shape);
        for ((&(axis, dimension), &position), starts) in self.group.axes.iter().zip(position).zip(starts) {
            *region.start.get_mut(dimension)? = *starts.get(position)?;
            *region.shape.get_mut(dimension)? = *self.axes.get(axis)?.lengths.get(position)?;
        }
        Some(region)
    }

    /// An index must have a value at every place, also where its file is missing.
    fn fill_index(&self, whole: &Array) -> Option<Array> {
        let lengths = &self.axes.get(self.group.axes.first()?.0)?.lengths;
        let known = lengths
            .iter()
            .zip(&self.cells.holders)
            .flat_map(|(&length, holders)| std::iter::repeat_n(!holders.is_empty(), length as usize));
        super::gaps::fill_evenly(whole, &known.collect::<Vec<_>>())
    }
}

/// Only some runs of an array along one dimension.
fn only(array: &Array, dimension: usize, runs: &[Run]) -> Option<Array> {
    let mut shape = array.shape.clone();
    *shape.get_mut(dimension)? = runs.iter().map(|(_, length)| length).sum();
    let mut left = filled(array.dtype, &shape, None)?;
    let mut start = 0;
    for &(first, length) in runs {
        let (mut from, mut to) = (Region::whole(&array.shape), Region::whole(&shape));
        (*from.start.get_mut(dimension)?, *from.shape.get_mut(dimension)?) = (first, length);
        (*to.start.get_mut(dimension)?, *to.shape.get_mut(dimension)?) = (start, length);
        place(&array.part(&from)?, &to, &mut left)?;
        start += length;
    }
    Some(left)
}

/// First place of each position of an axis.
fn starts(axis: Option<&ConcatAxis>) -> Vec<u64> {
    let mut end = 0;
    let next = |length: &u64| {
        end += *length;
        end - *length
    };
    axis.map_or(vec![], |axis| axis.lengths.iter().map(next).collect())
}

/// An array of the fill value; zeros or empty texts where there is none (every element is then written).
fn filled(dtype: DataType, shape: &Shape, fill: Option<&FillValue>) -> Option<Array> {
    let count = usize::try_from(elements(shape)).ok()?;
    match fill {
        _ if dtype == DataType::String => Array::from_texts(shape.clone(), vec![String::new(); count]),
        Some(FillValue::Number(mark)) => Array::from_bytes(dtype, shape.clone(), mark.to_bytes().repeat(count)),
        _ => Array::from_bytes(dtype, shape.clone(), vec![0; count.checked_mul(dtype.size())?]),
    }
}

fn place(array: &Array, region: &Region, whole: &mut Array) -> Option<()> {
    let steps = strides(&whole.shape);
    let offset = region.start.iter().zip(&steps).map(|(start, stride)| start * stride).sum();
    let source = Placed { offset: 0, strides: strides(&array.shape).iter().map(|&stride| stride as i64).collect() };
    let target = Placed { offset, strides: steps.iter().map(|&stride| stride as i64).collect() };
    let shape = whole.shape.clone();
    match (&array.values, &mut whole.values) {
        (Values::Bytes(from), Values::Bytes(to)) => copy_box(array.dtype.size(), &array.shape, (from, &source), (to, &target)).ok(),
        (Values::Texts(from), Values::Texts(to)) => {
            for (position, text) in positions(region).zip(from) {
                to.get_mut(usize::try_from(ravel(&position, &shape)).ok()?)?.clone_from(text);
            }
            Some(())
        }
        _ => None,
    }
}

/// The first difference of two arrays, in words; NaN equals NaN.
fn difference(left: &Array, right: &Array, tolerance: f64) -> Option<String> {
    if left.shape != right.shape {
        return Some(format!("shape {:?} against {:?}", left.shape, right.shape));
    }
    if left.dtype != right.dtype {
        return Some(format!("type {} against {}", left.dtype, right.dtype));
    }
    let at = |place: usize| crate::grid::unravel(place as u64, &left.shape);
    if left.dtype.is_text() {
        let place = left.texts().iter().zip(right.texts()).position(|(left, right)| left != right)?;
        return Some(format!("{:?} against {:?} at {:?}", left.texts().get(place)?, right.texts().get(place)?, at(place)));
    }
    let same = |(left, right): (crate::array::Scalar, crate::array::Scalar)| {
        left == right
            || (left.as_f64().is_nan() && right.as_f64().is_nan())
            || (left.as_f64() - right.as_f64()).abs() <= tolerance && tolerance > 0.0
    };
    let place = left.scalars().zip(right.scalars()).position(|pair| !same(pair))?;
    Some(format!("{} against {} at {:?}", left.scalar(place)?.plain(), right.scalar(place)?.plain(), at(place)))
}
