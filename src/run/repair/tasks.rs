//! Which tasks of a plan write some of its objects, and which others those read from.
//!
//! Pure. Invariant: doing the tasks found here, stage after stage, writes every object asked for.

use std::collections::BTreeSet;

use crate::grid::{ChunkGrid, Region, positions};
use crate::plan::{Passage, Plan, Stage, TaskGrid};
use crate::run::audit::ObjectNumber;

/// (stage, number) of every task that is needed.
pub(in crate::run) fn of(plan: &Plan, objects: impl Iterator<Item = ObjectNumber>) -> BTreeSet<(usize, u64)> {
    let mut tasks = BTreeSet::new();
    for ObjectNumber { variable, object } in objects {
        let grid = plan.objects(variable);
        let index = grid.index(object);
        for (number, stage) in plan.stages.iter().enumerate() {
            if stage.known.contains(&variable) {
                tasks.insert((number, 0));
            }
            for (first, cut) in grids(stage).filter(|(_, cut)| cut.variables.contains(&variable)) {
                match &cut.passage {
                    Passage::ToScratch(_) => {}
                    Passage::Direct => {
                        tasks.insert((number, first + slab(cut, &index)));
                    }
                    Passage::FromScratch(lengths) => {
                        let slab = slab(cut, &index);
                        tasks.insert((number, first + slab));
                        let covered = grid.covered(&cut.slabs.region(&cut.slabs.index(slab)));
                        tasks.extend(scratch(plan, variable, lengths, &covered));
                    }
                }
            }
        }
    }
    tasks
}

/// Grids of a stage with the number of their first task.
fn grids(stage: &Stage) -> impl Iterator<Item = (u64, &TaskGrid)> {
    let mut next = u64::from(!stage.known.is_empty());
    stage.grids.iter().map(move |grid| {
        let first = next;
        next += grid.slabs.chunks();
        (first, grid)
    })
}

/// Number of the slab that an object is in.
fn slab(cut: &TaskGrid, index: &[u64]) -> u64 {
    let within: Vec<u64> = index.iter().zip(&cut.slabs.chunk).map(|(index, length)| index / length).collect();
    cut.slabs.number(&within)
}

/// Tasks that write the scratch objects of a box of a variable.
fn scratch(plan: &Plan, variable: usize, lengths: &[u64], covered: &Region) -> Vec<(usize, u64)> {
    let touched = ChunkGrid::new(plan.objects(variable).shape, lengths.to_vec()).touching(covered);
    let writes =
        |cut: &TaskGrid| matches!(&cut.passage, Passage::ToScratch(other) if other == lengths) && cut.variables.contains(&variable);
    let stages = plan.stages.iter().enumerate().flat_map(|(number, stage)| grids(stage).map(move |(first, cut)| (number, first, cut)));
    stages
        .filter(|(_, _, cut)| writes(cut))
        .flat_map(|(number, first, cut)| {
            let slabs = cut.slabs.touching(&touched);
            positions(&slabs).map(move |index| (number, first + cut.slabs.number(&index))).collect::<Vec<_>>()
        })
        .collect()
}
