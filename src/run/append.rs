//! Whether a longer plan continues what is published, and which objects it may leave as they are.
//!
//! Pure: two plans in, a verdict out. Invariant: an object is left alone only if every value in it, and its encoding, are the
//! same in both plans; the published encoding never changes (DESIGN §6).

use crate::array::Array;
use crate::combine::Pieces;
use crate::dataset::{Schema, Variable};
use crate::grid::{ChunkGrid, Region, unravel};
use crate::plan::{Plan, PlannedContent};
use crate::recipe::OutputFormat;
use crate::store::shown;

/// Attributes that decide what a stored number means.
const DECISIVE: [&str; 11] = [
    "units",
    "calendar",
    "scale_factor",
    "add_offset",
    "_FillValue",
    "missing_value",
    "_Unsigned",
    "standard_name",
    "positive",
    "cell_methods",
    "grid_mapping",
];

/// Why the published store cannot be continued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// Files or steps that are published are no longer what the recipe gives.
    Rewritten(String),
    /// The new part cannot join the published encoding without loss.
    Encoding(String),
    /// The published part ends inside a chunk.
    Boundary(String),
}

/// For each variable of the new plan, the number of objects along each dimension that are published already.
pub(super) fn published(old: &Plan, new: &Plan) -> Result<Vec<Vec<u64>>, Hindrance> {
    if old.format != new.format || old.steps != new.steps {
        return Err(Hindrance::Rewritten("its steps or its format changed".to_owned()));
    }
    for (before, after) in old.axes.iter().zip(&new.axes) {
        if before.dimension != after.dimension || !after.lengths.starts_with(&before.lengths) {
            return Err(Hindrance::Rewritten(format!(
                "files along `{}` that are published are missing, new or of another length",
                before.dimension
            )));
        }
    }
    if names(&old.schema) != names(&new.schema) || old.axes.len() != new.axes.len() {
        return Err(Hindrance::Encoding("it has other variables".to_owned()));
    }
    (0..new.schema.variables.len()).map(|position| variable(old, new, position)).collect()
}

fn names(schema: &Schema) -> Vec<&str> {
    schema.variables.iter().map(|variable| variable.name.as_str()).collect()
}

fn variable(old: &Plan, new: &Plan, position: usize) -> Result<Vec<u64>, Hindrance> {
    let (before, after) = (&old.schema.variables[position], &new.schema.variables[position]);
    same_encoding(before, after)?;
    let shape = old.schema.shape(before);
    match (&old.contents[position], &new.contents[position]) {
        (PlannedContent::Known(before), PlannedContent::Known(array)) => {
            let unchanged = begins_with(array, before);
            // Values that are in the plan are written again whole: their chunks hold the published ones and more.
            if unchanged {
                Ok(vec![0; shape.len()])
            } else {
                Err(Hindrance::Rewritten(format!("published values of `{}` changed", after.name)))
            }
        }
        (PlannedContent::Pieces(before), PlannedContent::Pieces(pieces)) => {
            same_files((old, before), (new, pieces), &after.name)?;
            whole_objects((&new.objects(position), new.format), &shape, after)
        }
        _ => Err(Hindrance::Encoding(format!("`{}` is read in another way", after.name))),
    }
}

fn same_encoding(before: &Variable, after: &Variable) -> Result<(), Hindrance> {
    let differs = |what: String| Err(Hindrance::Encoding(format!("`{}`: {what}", after.name)));
    if before.dtype != after.dtype {
        return differs(format!("its type would become {} instead of {}", after.dtype, before.dtype));
    }
    if before.dimensions != after.dimensions || written(&before.encoding) != written(&after.encoding) {
        return differs("its dimensions, chunks, codecs or fill value would change".to_owned());
    }
    let plain =
        |variable: &Variable, name: &str| variable.attributes.get(name).map_or("absent".to_owned(), crate::dataset::Attribute::plain);
    let changed = DECISIVE.iter().find(|name| plain(before, name) != plain(after, name));
    changed.map_or(Ok(()), |name| {
        differs(format!("attribute `{name}` would become {} instead of {}", plain(after, name), plain(before, name)))
    })
}

/// An encoding as text: two NaN fills are equal there, as they are not as numbers.
fn written(encoding: &crate::dataset::Encoding) -> String {
    serde_json::to_string(encoding).unwrap_or_default()
}

/// True if the box of `array` that `before` covers holds the same values.
fn begins_with(array: &Array, before: &Array) -> bool {
    let region = Region::whole(&before.shape);
    Region::whole(&array.shape).contains(&region) && array.dtype == before.dtype && array.part(&region).as_ref() == Some(before)
}

fn same_files((old, before): (&Plan, &Pieces), (new, after): (&Plan, &Pieces), name: &str) -> Result<(), Hindrance> {
    let counts =
        |plan: &Plan, pieces: &Pieces| pieces.axes.iter().map(|&(axis, _)| plan.axes[axis].lengths.len() as u64).collect::<Vec<_>>();
    let (few, many) = (counts(old, before), counts(new, after));
    let input = |plan: &Plan, number: Option<u32>| {
        number.and_then(|number| plan.inputs.get(number as usize)).map(|input| (shown(&input.url), input.identity.clone()))
    };
    for (cell, &number) in before.inputs.iter().enumerate() {
        let at = crate::grid::ravel(&unravel(cell as u64, &few), &many) as usize;
        let conversion =
            |pieces: &Pieces, cell: usize| pieces.conversions.get(pieces.converted.get(cell).map_or(0, |&number| number as usize)).cloned();
        if input(old, number) != input(new, after.inputs.get(at).copied().flatten()) {
            let which = input(old, number).map_or("a missing file".to_owned(), |(url, _)| url);
            return Err(Hindrance::Rewritten(format!("`{name}` was published from {which}, which changed")));
        }
        if conversion(before, cell) != conversion(after, at) {
            return Err(Hindrance::Encoding(format!("`{name}`: published values would be converted in another way")));
        }
    }
    Ok(())
}

/// Objects along each dimension that the published lengths fill exactly. Where a format keeps every object that was ever published, an
/// object that they fill in part is written anew, and what was published stays as it is.
fn whole_objects((objects, format): (&ChunkGrid, OutputFormat), published: &[u64], variable: &Variable) -> Result<Vec<u64>, Hindrance> {
    (0..published.len())
        .map(|axis| {
            let (before, after, object) = (published[axis], objects.shape[axis], objects.chunk[axis]);
            if before == after || before.is_multiple_of(object) {
                return Ok(before.div_ceil(object));
            }
            if format == OutputFormat::Icechunk {
                return Ok(before / object);
            }
            let place = &variable.dimensions[axis];
            Err(Hindrance::Boundary(format!("`{}` is published up to {before} along `{place}`, inside a chunk of {object}", variable.name)))
        })
        .collect()
}

/// For each variable of the new plan, the number of whole objects along each dimension that hold the same values in both plans: what
/// a new version may copy of an old one. Zeros for a variable that is not continued, and for all where the plans are of different kinds.
pub(super) fn shared(old: &Plan, new: &Plan) -> Vec<Vec<u64>> {
    let axes = old.axes.iter().zip(&new.axes);
    let continues =
        axes.into_iter().all(|(before, after)| before.dimension == after.dimension && after.lengths.starts_with(&before.lengths));
    let alike = continues && old.axes.len() == new.axes.len() && old.format == new.format && old.steps == new.steps;
    (0..new.schema.variables.len())
        .map(|position| {
            let objects = new.objects(position);
            let nothing = vec![0; objects.shape.len()];
            if alike { shared_objects((old, new), position, &objects).unwrap_or(nothing) } else { nothing }
        })
        .collect()
}

fn shared_objects((old, new): (&Plan, &Plan), position: usize, objects: &ChunkGrid) -> Option<Vec<u64>> {
    let after = &new.schema.variables[position];
    let before = old.schema.variables.iter().position(|variable| variable.name == after.name)?;
    let variable = &old.schema.variables[before];
    let (PlannedContent::Pieces(old_pieces), PlannedContent::Pieces(pieces)) = (&old.contents[before], &new.contents[position]) else {
        return None;
    };
    same_encoding(variable, after).and_then(|()| same_files((old, old_pieces), (new, pieces), &after.name)).ok()?;
    let whole = old.may_move(before) == new.may_move(position) && old.objects(before).chunk == objects.chunk;
    let counts = old.schema.shape(variable).into_iter().zip(objects.shape.iter().zip(&objects.chunk));
    // An object that the old state ends in holds fill where the new one has values.
    whole.then(|| counts.map(|(length, (&all, &object))| if length == all { length.div_ceil(object) } else { length / object }).collect())
}
