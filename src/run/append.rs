//! Whether a longer plan continues what is published, and which objects it may leave as they are.
//!
//! Pure: two plans in, a verdict out. Three guards: of structure (the published encoding never changes, DESIGN §6), of retraction
//! (what is published never shrinks), of overwriting (a published object is written again only where the recipe lets a last, partial chunk
//! grow, and then its published values stay, which tasks check). Invariant: an object is left alone only if every value in it, and its
//! encoding, are the same in both plans.

use std::collections::HashMap;

use crate::array::Array;
use crate::combine::{Pieces, Run, placement};
use crate::dataset::{Identity, Schema, Variable};
use crate::grid::{ChunkGrid, Region, Shape, unravel};
use crate::plan::expect::values::is_of_values;
use crate::plan::{Plan, PlannedContent};
use crate::recipe::{ChangedFile, ExpectRule, OutputFormat, Used};
use crate::store::shown;

/// Files named in a message.
const SHOWN: usize = 5;

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
    /// It would become shorter.
    Retracted(String),
    /// Files or steps that are published are no longer what the recipe gives.
    Rewritten(String),
    /// Files that are published changed upstream.
    Changed(String),
    /// The new part cannot join the published encoding without loss.
    Encoding(String),
    /// The published part ends inside a chunk.
    Boundary(String),
}

/// How a longer plan continues what is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Continuation {
    /// For each variable, the number of objects along each dimension that are left as they are.
    pub(super) left: Vec<Vec<u64>>,
    /// For each variable whose last, partial chunks are written again, its published lengths.
    pub(super) tails: Vec<Option<Shape>>,
}

/// Compares the inputs of a fresh plan with those that the published store was made from; those that changed upstream get their published
/// identity back where the recipe keeps what is published. Gives their numbers.
///
/// # Errors
/// [`Hindrance::Changed`] naming the files, where the recipe does not keep them.
pub(super) fn reconcile(old: &Plan, fresh: &mut Plan, changed: ChangedFile) -> Result<Vec<usize>, Hindrance> {
    let known: HashMap<String, &Identity> = old.inputs.iter().map(|input| (shown(&input.url), &input.identity)).collect();
    let (mut names, mut numbers) = (Vec::new(), Vec::new());
    for (number, input) in fresh.inputs.iter_mut().enumerate() {
        let url = shown(&input.url);
        if let Some(identity) = known.get(&url).filter(|identity| ***identity != input.identity) {
            input.identity = (*identity).clone();
            names.push(format!("`{url}`"));
            numbers.push(number);
        }
    }
    if names.is_empty() {
        return Ok(numbers);
    }
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    names.truncate(SHOWN);
    let files = format!("{}{more}", names.join(", "));
    if changed != ChangedFile::Keep {
        return Err(Hindrance::Changed(files));
    }
    keep_attributes(old, fresh);
    fresh.used.push(Used::new(
        "changed: keep",
        "inputs",
        format!("published values are of the older state of {files}, which changed upstream"),
    ));
    Ok(numbers)
}

/// The published attributes, if nothing else distinguishes a plan from the published one: those of a newer file are not true of older values.
fn keep_attributes(old: &Plan, fresh: &mut Plan) {
    let mut kept = fresh.clone();
    kept.schema.attributes.clone_from(&old.schema.attributes);
    kept.schema.groups.clone_from(&old.schema.groups);
    for variable in &mut kept.schema.variables {
        if let Some(published) = old.schema.variable(&variable.name) {
            variable.attributes.clone_from(&published.attributes);
        }
    }
    // How the work is cut is no difference.
    kept.stages.clone_from(&old.stages);
    if kept.identity() == old.identity() {
        fresh.schema = kept.schema;
    }
}

/// What an append leaves, and what it writes again.
pub(super) fn published(old: &Plan, new: &Plan, rewrite_tail: bool, kept: &[usize]) -> Result<Continuation, Hindrance> {
    if old.format != new.format || old.steps != new.steps {
        return Err(Hindrance::Rewritten("its steps or its format changed".to_owned()));
    }
    if names(&old.schema) != names(&new.schema) || old.axes.len() != new.axes.len() {
        return Err(Hindrance::Encoding(other_variables(&old.schema, &new.schema)));
    }
    for (before, after) in old.axes.iter().zip(&new.axes) {
        if before.dimension != after.dimension {
            return Err(Hindrance::Rewritten(format!("it is concatenated along `{}` instead of `{}`", after.dimension, before.dimension)));
        }
        if before.lengths.len() > after.lengths.len() && before.lengths.starts_with(&after.lengths) {
            let sum = |lengths: &[u64]| lengths.iter().sum::<u64>();
            return Err(Hindrance::Retracted(format!(
                "`{}` is published with {} steps, and the recipe now gives {}",
                before.dimension,
                sum(&before.lengths),
                sum(&after.lengths)
            )));
        }
        if !after.lengths.starts_with(&before.lengths) {
            return Err(Hindrance::Rewritten(format!(
                "files along `{}` that are published are missing, new or of another length",
                before.dimension
            )));
        }
    }
    let ends = (0..new.schema.variables.len()).map(|position| variable(old, new, position, rewrite_tail));
    let (left, tails): (Vec<_>, Vec<_>) = ends.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let continuation = Continuation { left, tails };
    kept_files_are_not_read(new, &continuation, kept)?;
    Ok(continuation)
}

/// What an append cannot say of the values that are published, because the recipe did not expect it when they were written.
pub(super) fn unjudged(old: &Plan, new: &Plan) -> Vec<Used> {
    let known = |name: &str, rule: &ExpectRule| old.expect.iter().any(|one| one.name == name && one.rule == *rule);
    let newer = new.expect.iter().filter(|one| is_of_values(&one.rule) && !known(&one.name, &one.rule));
    let said =
        |name: &String| Used::new("expect", name, "a rule is newer than what is published: only the part that the append adds was judged");
    let mut used: Vec<Used> = newer.map(|one| said(&one.name)).collect();
    used.dedup();
    used
}

fn names(schema: &Schema) -> Vec<&str> {
    schema.variables.iter().map(|variable| variable.name.as_str()).collect()
}

fn other_variables(old: &Schema, new: &Schema) -> String {
    let lacks = |one: &Schema, other: &Schema| {
        let names: Vec<String> = one
            .variables
            .iter()
            .filter(|variable| other.variable(&variable.name).is_none())
            .map(|variable| format!("`{}`", variable.name))
            .collect();
        names.join(", ")
    };
    match (lacks(old, new), lacks(new, old)) {
        (gone, new) if gone.is_empty() && new.is_empty() => "its variables come in another order".to_owned(),
        (gone, new) if gone.is_empty() => format!("it would gain the variables {new}"),
        (gone, new) if new.is_empty() => format!("it would lose the variables {gone}"),
        (gone, new) => format!("it would lose the variables {gone} and gain {new}"),
    }
}

/// Objects to leave, and the published lengths if partial ones are written again.
fn variable(old: &Plan, new: &Plan, position: usize, rewrite_tail: bool) -> Result<(Vec<u64>, Option<Shape>), Hindrance> {
    let (before, after) = (&old.schema.variables[position], &new.schema.variables[position]);
    same_encoding(before, after)?;
    let shape = old.schema.shape(before);
    match (&old.contents[position], &new.contents[position]) {
        (PlannedContent::Known(before), PlannedContent::Known(array)) => {
            let unchanged = begins_with(array, before);
            // Values that are in the plan are written again whole: their chunks hold the published ones and more.
            if unchanged {
                Ok((vec![0; shape.len()], None))
            } else {
                Err(Hindrance::Rewritten(format!("published values of `{}` changed", after.name)))
            }
        }
        (PlannedContent::Pieces(before), PlannedContent::Pieces(pieces)) => {
            same_files((old, before), (new, pieces), &after.name)?;
            whole_objects((&new.objects(position), new.format), &shape, after, rewrite_tail)
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

/// What decides an input's values: its address, what it was, which of its steps are kept.
type Origin<'p> = (String, &'p Identity, Option<&'p std::collections::BTreeMap<String, Vec<Run>>>);

fn origin(plan: &Plan, number: Option<u32>) -> Option<Origin<'_>> {
    let input = plan.inputs.get(number? as usize)?;
    Some((shown(&input.url), &input.identity, plan.kept.get(&number?)))
}

fn same_files((old, before): (&Plan, &Pieces), (new, after): (&Plan, &Pieces), name: &str) -> Result<(), Hindrance> {
    let counts =
        |plan: &Plan, pieces: &Pieces| pieces.axes.iter().map(|&(axis, _)| plan.axes[axis].lengths.len() as u64).collect::<Vec<_>>();
    let (few, many) = (counts(old, before), counts(new, after));
    for (cell, &number) in before.inputs.iter().enumerate() {
        let at = crate::grid::ravel(&unravel(cell as u64, &few), &many) as usize;
        let conversion =
            |pieces: &Pieces, cell: usize| pieces.conversions.get(pieces.converted.get(cell).map_or(0, |&number| number as usize)).cloned();
        let (was, is) = (origin(old, number), origin(new, after.inputs.get(at).copied().flatten()));
        if was != is {
            let which = was.map_or("a missing file".to_owned(), |(url, ..)| format!("`{url}`"));
            let now = is.map_or("nothing".to_owned(), |(url, ..)| format!("`{url}`"));
            return Err(Hindrance::Rewritten(format!(
                "`{name}` was published from {which}, in whose place there is now {now}, or other steps of it"
            )));
        }
        if conversion(before, cell) != conversion(after, at) {
            return Err(Hindrance::Encoding(format!("`{name}`: published values would be converted in another way")));
        }
    }
    Ok(())
}

/// Objects along each dimension that the published lengths fill exactly; and the published lengths, if others are to be written again.
/// Where a format keeps every object that was ever published, that is done unasked: whoever reads the old state reads the old object.
fn whole_objects(
    (objects, format): (&ChunkGrid, OutputFormat),
    published: &[u64],
    variable: &Variable,
    rewrite_tail: bool,
) -> Result<(Vec<u64>, Option<Shape>), Hindrance> {
    let (mut left, mut tail) = (Vec::with_capacity(published.len()), None);
    for axis in 0..published.len() {
        let (before, after, object) = (published[axis], objects.shape[axis], objects.chunk[axis]);
        if before == after || before.is_multiple_of(object) {
            left.push(before.div_ceil(object));
            continue;
        }
        let place =
            format!("`{}` is published up to {before} along `{}`, inside a chunk of {object}", variable.name, variable.dimensions[axis]);
        let keeps_all = format == OutputFormat::Icechunk;
        match (rewrite_tail || keeps_all, variable.encoding.shards.as_ref().filter(|_| !keeps_all)) {
            (true, None) => {
                left.push(before / object);
                tail = Some(published.to_vec());
            }
            (true, Some(_)) => {
                return Err(Hindrance::Boundary(format!(
                    "{place}, which is a shard: whoever reads it meanwhile would mix the old and the new one"
                )));
            }
            (false, _) => return Err(Hindrance::Boundary(place)),
        }
    }
    Ok((left, tail))
}

/// Files that changed upstream cannot be read again: whatever they fill must be left as it is.
fn kept_files_are_not_read(new: &Plan, continuation: &Continuation, kept: &[usize]) -> Result<(), Hindrance> {
    let rewritten = continuation.left.iter().enumerate().filter(|_| !kept.is_empty());
    for (position, left) in rewritten {
        let PlannedContent::Pieces(pieces) = &new.contents[position] else { continue };
        let (grid, variable) = (new.objects(position), &new.schema.variables[position]);
        let counts: Vec<u64> = pieces.axes.iter().map(|&(axis, _)| new.axes[axis].lengths.len() as u64).collect();
        for (cell, number) in pieces.inputs.iter().enumerate() {
            let Some(number) = number.map(|number| number as usize).filter(|number| kept.contains(number)) else { continue };
            let cell: Vec<usize> = unravel(cell as u64, &counts).into_iter().map(|place| place as usize).collect();
            let objects = grid.touching(&placement(&new.axes, pieces, &grid.shape, &cell));
            if left.iter().enumerate().any(|(axis, count)| objects.end(axis) > *count) {
                let url = new.inputs.get(number).map(|input| shown(&input.url)).unwrap_or_default();
                return Err(Hindrance::Changed(format!("`{url}`, which fills a chunk of `{}` that must be written again", variable.name)));
            }
        }
    }
    Ok(())
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
