//! Whether a plan that was read can be carried out at all: every number in it points at something that is there.
//!
//! A plan file may be torn, edited or foreign, and whoever executes a plan indexes its lists without looking. Not for whether the
//! plan is a good one. Invariant: no number of a plan that passes leads out of the plan.

use super::{Passage, Plan, PlannedContent, Stage, TaskGrid, object_shape};
use crate::array::Array;
use crate::combine::Pieces;
use crate::grid::ChunkGrid;

/// Most objects of a plan that is read: their numbers stay countable, and sums of them too.
const MOST_OBJECTS: u64 = 1 << 40;

/// What does not fit together, for people.
pub(super) fn contradiction(plan: &Plan) -> Option<String> {
    let variables = plan.schema.variables.len();
    if plan.contents.len() != variables {
        return Some(format!("it has {variables} variables and the contents of {}", plan.contents.len()));
    }
    let moves = plan.moves.iter().map(|moves| moves.variable);
    let weighed = plan.weighed.iter().flat_map(|weighed| weighed.variables.iter().copied());
    if moves.chain(weighed).any(|variable| variable >= variables) {
        return Some("it speaks of a variable that it does not have".to_owned());
    }
    (0..variables)
        .find_map(|variable| {
            variable_contradiction(plan, variable).map(|what| format!("`{}`: {what}", plan.schema.variables[variable].name))
        })
        .or_else(|| plan.stages.iter().find_map(|stage| stage_contradiction(plan, stage)))
}

fn variable_contradiction(plan: &Plan, number: usize) -> Option<&'static str> {
    let variable = &plan.schema.variables[number];
    if variable.dimensions.iter().any(|name| plan.schema.dimension(name).is_none()) {
        return Some("a dimension is not described");
    }
    let shape = plan.schema.shape(variable);
    let fits = |lengths: &Vec<u64>| lengths.len() == shape.len() && !lengths.contains(&0);
    if ![&variable.encoding.chunks, &variable.encoding.shards].into_iter().flatten().all(fits) {
        return Some("its chunks do not fit its dimensions");
    }
    if shape.iter().any(|&length| i64::try_from(length).is_err()) || plan.objects(number).chunks() > MOST_OBJECTS {
        return Some("it is larger than any array");
    }
    match &plan.contents[number] {
        PlannedContent::Known(Array { shape: known, dtype, .. }) => {
            (*known != shape || *dtype != variable.dtype).then_some("its values do not fit its dimensions and type")
        }
        PlannedContent::Pieces(pieces) => pieces_contradiction(plan, pieces, shape.len()),
    }
}

fn pieces_contradiction(plan: &Plan, pieces: &Pieces, rank: usize) -> Option<&'static str> {
    let mut cells = 1_usize;
    for &(axis, dimension) in &pieces.axes {
        let Some(axis) = plan.axes.get(axis).filter(|_| dimension < rank) else { return Some("an axis is not there") };
        cells = cells.saturating_mul(axis.lengths.len());
        if axis.lengths.iter().try_fold(0_u64, |sum, length| sum.checked_add(*length)).is_none_or(|sum| i64::try_from(sum).is_err()) {
            return Some("an axis is longer than any array");
        }
    }
    if pieces.inputs.len() != cells || !(pieces.converted.is_empty() || pieces.converted.len() == cells) {
        return Some("the cells of its axes are not those of its inputs");
    }
    if pieces.inputs.iter().flatten().any(|&input| input as usize >= plan.inputs.len()) {
        return Some("an input is not there");
    }
    // Conversion 0 may be left out: nothing is done to the values.
    let most = pieces.conversions.len().max(1);
    pieces.converted.iter().any(|&conversion| conversion as usize >= most).then_some("a conversion is not there")
}

fn stage_contradiction(plan: &Plan, stage: &Stage) -> Option<String> {
    let known = |&variable: &usize| matches!(plan.contents.get(variable), Some(PlannedContent::Known(_)));
    if !stage.known.iter().all(known) {
        return Some("a stage writes values that the plan does not hold".to_owned());
    }
    stage.grids.iter().find_map(|grid| grid_contradiction(plan, grid)).map(|what| format!("tasks: {what}"))
}

fn grid_contradiction(plan: &Plan, grid: &TaskGrid) -> Option<&'static str> {
    for &variable in &grid.variables {
        if !matches!(plan.contents.get(variable), Some(PlannedContent::Pieces(_))) {
            return Some("they write a variable that is not read from inputs");
        }
        let Some(written) = written(plan, grid, variable) else { return Some("their scratch objects fit no variable") };
        if grid.slabs.shape != written.counts() {
            return Some("they do not cover the objects of their variables");
        }
    }
    None
}

/// The objects that the tasks of a grid write of a variable, if they can be cut so.
fn written(plan: &Plan, grid: &TaskGrid, variable: usize) -> Option<ChunkGrid> {
    let described = plan.schema.variables.get(variable)?;
    let shape = plan.schema.shape(described);
    let fits = |lengths: &Vec<u64>| lengths.len() == shape.len() && !lengths.contains(&0);
    match &grid.passage {
        Passage::ToScratch(lengths) if fits(lengths) => Some(ChunkGrid::new(shape, lengths.clone())),
        Passage::FromScratch(lengths) if fits(lengths) => Some(plan.objects(variable)),
        Passage::Direct => Some(ChunkGrid::new(shape.clone(), object_shape(described, &shape))),
        Passage::ToScratch(_) | Passage::FromScratch(_) => None,
    }
}
