//! Reads the result back and compares it with the sources, through another reader.
//!
//! The store is decoded by zarrs, the sources by netCDF-C (where built in) or their library's own high-level read: neither shares
//! code with the path that wrote. A deterministic sample (first, last, file boundaries up to a cap), or everything. Invariant: a value that differs, or
//! an object that is not there, is an error; "n of N" says how much was compared.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::RunError;
use super::report::Verification;
use crate::array::{Array, Values};
use crate::combine::{Pieces, placement};
use crate::event::{Event, Phase, Reporter};
use crate::grid::Region;
use crate::plan::PlannedContent;
use crate::target::zarr::ZarrReader;
use crate::work::Workshop;

/// How much to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// First, last and some file boundaries.
    #[default]
    Sample,
    /// Everything.
    Full,
}

/// File boundaries compared per variable, besides first and last.
const BOUNDARIES: usize = 2;
/// Elements compared of one input in a sample.
const ELEMENTS: u64 = 1 << 16;

/// One comparison: an input's part of a variable.
struct Check {
    variable: usize,
    cell: usize,
    input: usize,
    conversion: usize,
}

/// Compares the result of a finished, uncommitted plan with its sources.
///
/// # Errors
/// [`RunError::Verification`] naming variable, file and box of the first value that differs; [`RunError::Interrupted`].
pub fn verify(
    workshop: &Workshop,
    target: &ZarrReader,
    level: Level,
    reporter: &dyn Reporter,
    stop: &AtomicBool,
) -> Result<Verification, RunError> {
    let mut verification = Verification::default();
    let mut checks = Vec::new();
    for (variable, content) in workshop.plan.contents.iter().enumerate() {
        match content {
            PlannedContent::Known(array) => {
                verification.of += 1;
                verification.compared += 1;
                verification.values += array.elements();
                compare_known(workshop, target, variable, array)?;
            }
            PlannedContent::Pieces(pieces) => {
                verification.of += pieces.inputs.iter().flatten().count() as u64;
                checks.extend(chosen(variable, pieces, level));
            }
        }
    }
    reporter.report(Event::PhaseStarted { phase: Phase::Verify, steps: checks.len() as u64, done: 0, bytes: 0 });
    for check in &checks {
        if stop.load(Ordering::Relaxed) {
            return Err(RunError::Interrupted);
        }
        verification.values += compare(workshop, target, check, level)?;
        verification.compared += 1;
        reporter.report(Event::StepFinished { phase: Phase::Verify, bytes: 0 });
    }
    reporter.report(Event::PhaseFinished { phase: Phase::Verify });
    verification.reader = workshop.readers();
    Ok(verification)
}

/// Which inputs of a variable to compare: all, or the first, the last and some in between.
fn chosen(variable: usize, pieces: &Pieces, level: Level) -> Vec<Check> {
    let present: Vec<usize> = (0..pieces.inputs.len()).filter(|&number| pieces.inputs[number].is_some()).collect();
    let last = present.len().saturating_sub(1);
    let sample: BTreeSet<usize> = (0..=BOUNDARIES + 1).map(|step| step * last / (BOUNDARIES + 1)).collect();
    let wanted = |position: &usize| level == Level::Full || sample.contains(position);
    let check = |position: usize| {
        let number = *present.get(position)?;
        let input = pieces.inputs[number]? as usize;
        Some((number, input))
    };
    (0..present.len())
        .filter(wanted)
        .filter_map(check)
        .map(|(number, input)| Check {
            variable,
            cell: number,
            input,
            conversion: pieces.converted.get(number).map_or(0, |&at| at as usize),
        })
        .collect()
}

fn compare_known(workshop: &Workshop, target: &ZarrReader, variable: usize, array: &Array) -> Result<(), RunError> {
    let named = &workshop.plan.schema.variables[variable];
    let region = Region::whole(&array.shape);
    let stored = target.read(&named.name, &region)?;
    if same(&stored, array) { Ok(()) } else { Err(differs(&named.name, "the plan", &region, &stored, array)) }
}

/// Compares one input's part of a variable; returns how many values were compared.
fn compare(workshop: &Workshop, target: &ZarrReader, check: &Check, level: Level) -> Result<u64, RunError> {
    let plan = &workshop.plan;
    let named = &plan.schema.variables[check.variable];
    let PlannedContent::Pieces(pieces) = &plan.contents[check.variable] else { return Ok(0) };
    let counts: Vec<u64> = pieces.axes.iter().map(|&(axis, _)| plan.axes[axis].lengths.len() as u64).collect();
    let cell: Vec<usize> = crate::grid::unravel(check.cell as u64, &counts).into_iter().map(|index| index as usize).collect();
    let whole = placement(&plan.axes, pieces, &plan.schema.shape(named), &cell);
    let parts = if level == Level::Full { parts(&whole, 1 << 22) } else { ends(&whole) };
    let mut values = 0;
    for part in parts {
        let expected =
            workshop.expected(check.input, &named.name, &part.relative_to(&whole.start), pieces.conversions.get(check.conversion))?;
        let stored = target.read(&named.name, &part)?;
        if !same(&stored, &expected) {
            return Err(differs(&named.name, &crate::store::shown(&plan.inputs[check.input].url), &part, &stored, &expected));
        }
        values += part.elements();
    }
    Ok(values)
}

/// Boxes of at most `limit` elements that cover a box, cut along its first dimension.
fn parts(whole: &Region, limit: u64) -> Vec<Region> {
    let Some(&length) = whole.shape.first() else { return vec![whole.clone()] };
    let row = crate::grid::elements(&whole.shape[1..]).max(1);
    let step = (limit / row).clamp(1, length.max(1));
    (0..length.div_ceil(step))
        .map(|number| {
            let mut part = whole.clone();
            part.start[0] += number * step;
            part.shape[0] = step.min(length - number * step);
            part
        })
        .collect()
}

/// The first and the last corner of a box, a few rows each.
fn ends(whole: &Region) -> Vec<Region> {
    if whole.is_empty() {
        return Vec::new();
    }
    let mut shape = whole.shape.clone();
    for axis in 0..shape.len() {
        let others = crate::grid::elements(&shape) / shape[axis].max(1);
        shape[axis] = (ELEMENTS / others.max(1)).clamp(1, shape[axis]);
    }
    let last = (0..whole.rank()).map(|axis| whole.end(axis) - shape[axis]).collect();
    let first = Region::new(whole.start.clone(), shape.clone());
    let last = Region::new(last, shape);
    if first == last { vec![first] } else { vec![first, last] }
}

/// Equal type, shape and bits; NaNs are equal to NaNs.
fn same(one: &Array, other: &Array) -> bool {
    one == other
        || (one.dtype == other.dtype
            && one.shape == other.shape
            && one.dtype.is_float()
            && one
                .scalars()
                .zip(other.scalars())
                .all(|(one, other)| one.identical(other) || (one.as_f64().is_nan() && other.as_f64().is_nan())))
}

fn differs(variable: &str, source: &str, region: &Region, stored: &Array, expected: &Array) -> RunError {
    let pair = |position: usize| match (&stored.values, &expected.values) {
        (Values::Texts(one), Values::Texts(other)) => Some((one.get(position)?.clone(), other.get(position)?.clone())),
        _ => Some((stored.scalar(position)?.plain(), expected.scalar(position)?.plain())),
    };
    let example = (0..expected.elements() as usize).filter_map(pair).find(|(one, other)| one != other);
    let example = example.map_or_else(
        || format!("{} {:?} instead of {} {:?}", stored.dtype, stored.shape, expected.dtype, expected.shape),
        |(one, other)| format!("{one} instead of {other}"),
    );
    RunError::Verification {
        message: format!("`{variable}` in the box {:?} + {:?} differs from {source}: {example}", region.start, region.shape),
    }
}
