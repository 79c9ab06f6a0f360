//! From chunks and codecs to tasks: which variables are read together, in what slabs, in one stage or two.
//!
//! Pure. Invariant: the slabs of a task, and one source chunk, scratch object and encoded object per thread, fit the memory.

use std::collections::BTreeMap;

use super::build::{Settings, blamed, problem};
use super::{Passage, Plan, PlannedContent, Stage, TaskGrid, object_shape};
use crate::combine::Pieces;
use crate::grid::{ChunkGrid, Shape, elements};
use crate::rechunk::{Costs, Slab, SlabProblem, TwoStages};
use crate::recipe::Recipe;
use crate::recipe::diagnostic::{Code, Diagnostic};
use crate::size::ByteSize;

/// Bytes of a row that are worth a read of their own: a page.
const PAGE: u64 = 4096;
/// Largest source chunk that is planned for, in values of 8 bytes.
const LARGEST_CHUNK: u64 = 64 << 20;
/// Largest box of rows that is read at once (`work` reads 4 MiB), in values of up to twice their stored bytes.
const LARGEST_ROWS: u64 = 8 << 20;

/// Bytes that a run may spend, and on what.
struct Budget {
    /// For values of all admitted tasks.
    buffers: u64,
    /// For one scratch object.
    scratch: u64,
    /// What moving values costs.
    costs: Costs,
}

/// Variables that are read together, and how their slab is to be chosen.
struct Group {
    variables: Vec<usize>,
    slab: SlabProblem,
    /// Nanoseconds to decode a byte of values once more.
    decode: f64,
    /// Bytes of the largest piece that is read at once, as values of 8 bytes.
    read: u64,
}

/// The tasks of all stages.
pub(super) fn stages(
    plan: &Plan,
    source_chunks: &BTreeMap<String, Shape>,
    settings: &Settings,
    recipe: &Recipe,
) -> Result<Vec<Stage>, Diagnostic> {
    let known = |content: &PlannedContent| matches!(content, PlannedContent::Known(_));
    let known = plan.contents.iter().enumerate().filter(|(_, content)| known(content)).map(|(position, _)| position).collect();
    let largest_object = (0..plan.contents.len()).map(|position| plan.object_bytes(position)).max().unwrap_or(0);
    let groups = groups(plan, source_chunks, settings.costs);
    let largest_source = groups.iter().map(|group| group.read).max().unwrap_or(0);
    let Some(budget) = Budget::new(settings, largest_source, largest_object) else {
        return Err(memory_too_small(plan, largest_object, largest_source, settings, recipe));
    };
    let mut first = Stage { known, grids: Vec::new() };
    let mut second = Stage { known: Vec::new(), grids: Vec::new() };
    for group in groups {
        group.plan(plan, &budget, (&mut first.grids, &mut second.grids));
    }
    Ok([first, second]
        .into_iter()
        .enumerate()
        .filter(|(number, stage)| *number == 0 || !stage.grids.is_empty())
        .map(|(_, stage)| stage)
        .collect())
}

/// Per thread: a stored and a decoded source chunk, a converted copy, and one encoded object.
fn thread_bytes(largest_source: u64, largest_object: u64) -> u64 {
    largest_source.saturating_mul(3) + largest_object + (largest_object >> 4)
}

impl Budget {
    /// What is left once the program and its threads' own buffers are subtracted; `None` if that is less than one object.
    fn new(settings: &Settings, largest_source: u64, largest_object: u64) -> Option<Self> {
        let threads = settings.threads.max(1) as u64;
        let own = thread_bytes(largest_source, largest_object).saturating_mul(threads);
        let buffers = settings.memory.saturating_sub(settings.baseline).saturating_sub(own);
        // A thread holds a scratch object twice: in place of its source chunks, and out of the eighth that no slab takes.
        let scratch = largest_source + largest_source / 2 + buffers / 16 / threads;
        (buffers >= largest_object).then_some(Self { buffers, scratch, costs: settings.costs })
    }

    fn slab(&self) -> u64 {
        self.buffers - self.buffers / 8
    }

    /// Scratch objects and slabs: small enough for two tasks at a time, if that is possible.
    fn two_stages(&self, group: &Group) -> Option<TwoStages> {
        let within = |limit: u64| SlabProblem { limit, ..group.slab.clone() }.two_stages(self.scratch, self.costs);
        within(self.slab() / 2).or_else(|| within(self.slab()))
    }
}

impl Group {
    /// Adds the group's tasks to the first stage, or to both.
    fn plan(mut self, plan: &Plan, budget: &Budget, (first, second): (&mut Vec<TaskGrid>, &mut Vec<TaskGrid>)) {
        self.slab.limit = budget.slab();
        let slab = self.slab.solve();
        let repeats = self.slab.cost_of_repeats(&slab, self.decode);
        let text = plan.schema.variables[self.variables[0]].dtype.is_text();
        // What may be moved as it is must not depend on memory, so it never passes through scratch.
        let moves = self.variables.iter().any(|&variable| plan.may_move(variable));
        let detour = if repeats > 0.0 && !text && !moves { budget.two_stages(&self) } else { None };
        let Some(stages) = detour.filter(|stages| stages.cost < repeats) else {
            let objects = plan.objects(self.variables[0]).counts();
            return self.add(budget, (&slab, objects, Passage::Direct, None), first);
        };
        let scratch = ChunkGrid::new(self.slab.shape.clone(), stages.object.clone());
        let avoided = Some(thousandths(slab.amplification));
        self.add(budget, (&stages.first, scratch.counts(), Passage::ToScratch(stages.object.clone()), avoided), first);
        let objects = plan.objects(self.variables[0]).counts();
        self.add(budget, (&stages.second, objects, Passage::FromScratch(stages.object), None), second);
    }

    /// Adds grids of tasks that each hold as many of the variables as fit.
    fn add(&self, budget: &Budget, (slab, objects, passage, avoided): (&Slab, Shape, Passage, Option<u64>), grids: &mut Vec<TaskGrid>) {
        let members = self.variables.len();
        let together = ((budget.buffers / 3) / slab.bytes.max(1)).clamp(1, members as u64) as usize;
        grids.extend(self.variables.chunks(members.div_ceil(members.div_ceil(together))).map(|variables| TaskGrid {
            variables: variables.to_vec(),
            slabs: ChunkGrid::new(objects.clone(), slab.objects.clone()),
            amplification: thousandths(slab.amplification),
            passage: passage.clone(),
            avoided,
        }));
    }
}

fn thousandths(amplification: f64) -> u64 {
    (amplification * 1000.0).round() as u64
}

/// Variables that are read together: same dimensions, same objects, same inputs.
fn groups(plan: &Plan, source_chunks: &BTreeMap<String, Shape>, costs: Costs) -> Vec<Group> {
    let mut groups: Vec<(Vec<usize>, &Pieces)> = Vec::new();
    for (position, content) in plan.contents.iter().enumerate() {
        let PlannedContent::Pieces(pieces) = content else { continue };
        let variable = &plan.schema.variables[position];
        let alike = |other: &usize| {
            let other = &plan.schema.variables[*other];
            other.dimensions == variable.dimensions
                && plan.objects(position).chunk == object_shape(other, &plan.schema.shape(other))
                && !other.dtype.is_text()
        };
        let found =
            groups.iter_mut().find(|(members, shared)| alike(&members[0]) && shared.axes == pieces.axes && shared.inputs == pieces.inputs);
        match found {
            Some((members, _)) if !variable.dtype.is_text() => members.push(position),
            _ => groups.push((vec![position], pieces)),
        }
    }
    groups
        .into_iter()
        .map(|(variables, pieces)| {
            let chunks = source_chunks.get(&plan.schema.variables[variables[0]].name);
            group(plan, variables, pieces, (chunks, costs))
        })
        .collect()
}

fn group(plan: &Plan, variables: Vec<usize>, pieces: &Pieces, (chunks, costs): (Option<&Shape>, Costs)) -> Group {
    let objects = plan.objects(variables[0]);
    // The widest counts for all: what fits it fits the others.
    let item = variables.iter().map(|&variable| plan.item_bytes(variable)).max().unwrap_or(1);
    let chunks = chunks.filter(|chunk| chunk.len() == objects.shape.len());
    let (decode, most) = if chunks.is_some() { (costs.chunks, LARGEST_CHUNK) } else { (costs.rows, LARGEST_ROWS) };
    let within_file = |mut lengths: Shape| {
        for &(axis, dimension) in &pieces.axes {
            let longest = plan.axes[axis].lengths.iter().copied().max().unwrap_or(1).max(1);
            lengths[dimension] = lengths[dimension].min(longest);
        }
        lengths
    };
    let read = within_file(chunks.unwrap_or(&objects.shape).clone());
    let read = elements(&read).saturating_mul(8).min(most);
    let source = within_file(chunks.cloned().unwrap_or_else(|| page(&objects.shape, item)));
    let slab = SlabProblem { shape: objects.shape.clone(), object: objects.chunk, source, item, limit: 0 };
    Group { variables, slab, decode, read }
}

/// Where values lie in rows, only what is needed is read, but whole pages of it.
fn page(shape: &[u64], item: u64) -> Shape {
    let mut lengths = vec![1; shape.len()];
    if let (Some(last), Some(&row)) = (lengths.last_mut(), shape.last()) {
        *last = (PAGE / item.max(1)).clamp(1, row.max(1));
    }
    lengths
}

fn memory_too_small(plan: &Plan, object: u64, source: u64, settings: &Settings, recipe: &Recipe) -> Diagnostic {
    let needed = settings.baseline + object + thread_bytes(source, object) * settings.threads as u64;
    let worst = (0..plan.contents.len()).max_by_key(|&position| plan.object_bytes(position));
    let name = worst.map_or("", |position| plan.schema.variables[position].name.as_str());
    problem(
        Code::MemoryTooSmall,
        format!(
            "one object of `{name}` holds {}; with {} threads that cannot be done within {}",
            ByteSize(object),
            settings.threads,
            ByteSize(settings.memory)
        ),
        worst.and_then(|worst| blamed(recipe, &plan.schema.variables[worst], "these chunks are too large for the memory")),
        format!("give `--memory {}` or fewer `--threads`, or make the chunks smaller", ByteSize(needed.next_multiple_of(1 << 20))),
    )
}
