//! From chunks and codecs to tasks: which variables are read together, in what slabs, in one stage or two.
//!
//! Pure. Invariant: the slabs of a task, and one source chunk, scratch object and encoded object per thread, fit the memory.

use std::collections::BTreeMap;

use super::build::{Settings, blamed, problem};
use super::{Overhead, Passage, Plan, PlannedContent, Stage, TaskGrid, Weighed, object_shape};
use crate::cf::Conversion;
use crate::combine::Pieces;
use crate::grid::{ChunkGrid, Shape, elements};
use crate::rechunk::{Effort, Scratch, Slab, SlabProblem};
use crate::recipe::Recipe;
use crate::recipe::diagnostic::{Code, Diagnostic};
use crate::size::ByteSize;

/// Bytes of a row that are worth a read of their own: a page.
const PAGE: u64 = 4096;
/// Largest box of rows that is read at once, as stored.
const LARGEST_ROWS: u64 = 4 << 20;
/// What is remembered of one input, its address, header and place in the plan: measured, 12 kB each of 5,000.
const INPUT: u64 = 12 << 10;

/// Most objects of one variable that a task writes: however small their values are, each of them has a place, reads and a line in the receipt.
const MOST_TOGETHER: u64 = 1 << 13;

/// Bytes that a run may spend, and on what.
struct Budget {
    /// For values of all admitted tasks.
    buffers: u64,
    /// For what goes through scratch.
    scratch: Scratch,
}

/// How the work is cut, and why.
pub(super) struct Cut {
    pub(super) stages: Vec<Stage>,
    pub(super) overhead: Overhead,
    pub(super) weighed: Vec<Weighed>,
}

/// Variables that are read together, and how their slab is to be chosen.
struct Group {
    variables: Vec<usize>,
    slab: SlabProblem,
    /// What decoding the source of one variable once more takes.
    effort: Effort,
    /// Bytes of the largest piece that is read at once, as values before or after conversion, whichever are wider.
    read: u64,
}

/// The tasks of all stages.
pub(super) fn stages(
    plan: &Plan,
    source_chunks: &BTreeMap<String, Shape>,
    settings: &Settings,
    recipe: &Recipe,
) -> Result<Cut, Diagnostic> {
    let known = |content: &PlannedContent| matches!(content, PlannedContent::Known(_));
    let known = plan.contents.iter().enumerate().filter(|(_, content)| known(content)).map(|(position, _)| position).collect();
    let largest_object = (0..plan.contents.len()).map(|position| plan.object_bytes(position)).max().unwrap_or(0);
    let groups = groups(plan, source_chunks, settings);
    let largest_source = groups.iter().map(|group| group.read).max().unwrap_or(0);
    let overhead = overhead(plan, settings, (largest_source, largest_object));
    let Some(budget) = Budget::new(settings, &overhead, (largest_source, largest_object)) else {
        return Err(memory_too_small(plan, largest_object, &overhead, settings, recipe));
    };
    let mut first = Stage { known, grids: Vec::new() };
    let mut second = Stage { known: Vec::new(), grids: Vec::new() };
    let weighed = groups.into_iter().map(|group| group.plan(plan, &budget, (&mut first.grids, &mut second.grids))).collect();
    let stages = if second.grids.is_empty() { vec![first] } else { vec![first, second] };
    Ok(Cut { stages, overhead, weighed })
}

fn overhead(plan: &Plan, settings: &Settings, (source, object): (u64, u64)) -> Overhead {
    Overhead {
        baseline: settings.baseline.saturating_add(INPUT * plan.inputs.len() as u64),
        threads: settings.threads.max(1) as u64,
        thread: Overhead::thread_bytes(source, object),
        waiting: settings.waiting,
    }
}

impl Budget {
    /// What is left once the overhead is subtracted; `None` if that is less than one object.
    fn new(settings: &Settings, overhead: &Overhead, (source, object): (u64, u64)) -> Option<Self> {
        let buffers = settings.memory.saturating_sub(overhead.bytes());
        // A thread holds a scratch object twice: in place of its source chunks, and out of the eighth that no slab takes.
        let largest = source + source / 2 + buffers / 16 / overhead.threads;
        let scratch = Scratch { object: largest, byte: settings.costs.scratch, each: settings.costs.object };
        (buffers >= object).then_some(Self { buffers, scratch })
    }

    fn slab(&self) -> u64 {
        self.buffers - self.buffers / 8
    }
}

impl Group {
    /// Adds the group's tasks to the first stage, or to both; tells why.
    fn plan(mut self, plan: &Plan, budget: &Budget, (first, second): (&mut Vec<TaskGrid>, &mut Vec<TaskGrid>)) -> Weighed {
        let object = elements(&self.slab.object).saturating_mul(self.slab.item);
        self.slab.limit = budget.slab().min(object.saturating_mul(MOST_TOGETHER));
        let text = plan.schema.variables[self.variables[0]].dtype.is_text();
        // What may be moved as it is must not depend on memory, so it never passes through scratch.
        let moves = self.variables.iter().any(|&variable| plan.may_move(variable));
        let choice = self.slab.choose(&self.effort, (!text && !moves).then_some(&budget.scratch));
        let objects = plan.objects(self.variables[0]).counts();
        if let Some(stages) = choice.detour() {
            let scratch = ChunkGrid::new(self.slab.shape.clone(), stages.object.clone());
            self.add(budget, (&stages.first, scratch.counts(), Passage::ToScratch(stages.object.clone())), first);
            self.add(budget, (&stages.second, objects, Passage::FromScratch(stages.object.clone())), second);
        } else {
            self.add(budget, (&choice.one.0, objects, Passage::Direct), first);
        }
        Weighed {
            amplification: thousandths(choice.one.0.amplification),
            scratch: choice.detour().is_some(),
            one: choice.one.1,
            two: choice.two.map(|(_, counted)| counted),
            variables: self.variables,
        }
    }

    /// Adds grids of tasks that each hold as many of the variables as fit.
    fn add(&self, budget: &Budget, (slab, objects, passage): (&Slab, Shape, Passage), grids: &mut Vec<TaskGrid>) {
        let members = self.variables.len();
        let together = ((budget.buffers / 3) / slab.bytes.max(1)).clamp(1, members as u64) as usize;
        grids.extend(self.variables.chunks(members.div_ceil(members.div_ceil(together))).map(|variables| TaskGrid {
            variables: variables.to_vec(),
            slabs: ChunkGrid::new(objects.clone(), slab.objects.clone()),
            amplification: thousandths(slab.amplification),
            passage: passage.clone(),
        }));
    }
}

fn thousandths(amplification: f64) -> u64 {
    (amplification * 1000.0).round() as u64
}

/// Variables that are read together: same dimensions, same objects, same inputs.
fn groups(plan: &Plan, source_chunks: &BTreeMap<String, Shape>, settings: &Settings) -> Vec<Group> {
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
            // The largest counts for all: what fits it fits the others.
            let chunks = variables.iter().filter_map(|&variable| source_chunks.get(&plan.schema.variables[variable].name));
            let largest = chunks.max_by_key(|chunk| elements(chunk));
            group(plan, variables, pieces, (largest, settings))
        })
        .collect()
}

fn group(plan: &Plan, variables: Vec<usize>, pieces: &Pieces, (chunks, settings): (Option<&Shape>, &Settings)) -> Group {
    let objects = plan.objects(variables[0]);
    // The widest counts for all: what fits it fits the others.
    let item = variables.iter().map(|&variable| plan.item_bytes(variable)).max().unwrap_or(1);
    let chunks = chunks.filter(|chunk| chunk.len() == objects.shape.len());
    let costs = &settings.costs;
    let within_file = |mut lengths: Shape| {
        for &(axis, dimension) in &pieces.axes {
            let longest = plan.axes[axis].lengths.iter().copied().max().unwrap_or(1).max(1);
            lengths[dimension] = lengths[dimension].min(longest);
        }
        lengths
    };
    // A chunk is decoded whole, also where it reaches beyond its file's end.
    let read = chunks.cloned().unwrap_or_else(|| within_file(objects.shape.clone()));
    // What is converted may be as wide as 8 bytes before or after.
    let kept = |variable: &usize| match &plan.contents[*variable] {
        PlannedContent::Pieces(pieces) => pieces.conversions.iter().all(|conversion| *conversion == Conversion::Keep),
        PlannedContent::Known(_) => true,
    };
    let kept = variables.iter().all(kept);
    // Two stored bytes may become eight.
    let (decode, most) = match (chunks, kept) {
        (Some(_), _) => (costs.chunks, u64::MAX),
        (None, true) => (costs.rows, LARGEST_ROWS),
        (None, false) => (costs.rows, 4 * LARGEST_ROWS),
    };
    let wide = if kept { item } else { 8 };
    let read = elements(&read).saturating_mul(wide).min(most);
    let source = within_file(chunks.cloned().unwrap_or_else(|| page(&objects.shape, item)));
    let stored = stored(plan, pieces, elements(&objects.shape).saturating_mul(item));
    let effort = Effort { decode, stored, fetch: if settings.far { costs.network } else { 0.0 } };
    let slab = SlabProblem { shape: objects.shape.clone(), object: objects.chunk, source, item, limit: 0 };
    Group { variables, slab, effort, read }
}

/// Bytes that the inputs have stored of one variable of so many bytes of values: its share, as far as their servers told.
fn stored(plan: &Plan, pieces: &Pieces, values: u64) -> u64 {
    let size = |input: &Option<u32>| plan.inputs.get((*input)? as usize)?.identity.size;
    let files: u64 = pieces.inputs.iter().filter_map(size).fold(0, u64::saturating_add);
    let all: u64 = plan
        .schema
        .variables
        .iter()
        .zip(&plan.contents)
        .filter(|(_, content)| shares(content, pieces))
        .map(|(variable, _)| plan.schema.bytes(variable))
        .sum();
    (files as f64 * (values as f64 / all.max(1) as f64).min(1.0)) as u64
}

fn shares(content: &PlannedContent, pieces: &Pieces) -> bool {
    matches!(content, PlannedContent::Pieces(other) if other.inputs == pieces.inputs)
}

/// Where values lie in rows, only what is needed is read, but whole pages of it.
fn page(shape: &[u64], item: u64) -> Shape {
    let mut lengths = vec![1; shape.len()];
    if let (Some(last), Some(&row)) = (lengths.last_mut(), shape.last()) {
        *last = (PAGE / item.max(1)).clamp(1, row.max(1));
    }
    lengths
}

/// Memory in which so many bytes have room, part of them a share of the memory itself, which grows with it (or stays).
fn enough(needed: u64, share: u64, memory: u64) -> u64 {
    let (fixed, rest) = (needed.saturating_sub(share), memory.saturating_sub(share).max(1));
    u64::try_from((u128::from(fixed) * u128::from(memory)).div_ceil(u128::from(rest))).unwrap_or(u64::MAX)
}

fn memory_too_small(plan: &Plan, object: u64, overhead: &Overhead, settings: &Settings, recipe: &Recipe) -> Diagnostic {
    let needed = enough(overhead.bytes().saturating_add(object), overhead.waiting, settings.memory);
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

#[cfg(test)]
mod tests {
    use super::enough;

    #[test]
    fn what_is_asked_for_is_enough() {
        let share = |memory: u64| 2 * (memory / 12).clamp(1 << 20, 48 << 20) + (memory / 8).min(64 << 20);
        for fixed in [50_u64 << 20, 300 << 20, 5 << 30] {
            let memory = fixed / 2;
            let asked = enough(fixed + share(memory), share(memory), memory);
            assert!(fixed + share(asked) <= asked, "{fixed}: {asked}");
            assert_eq!(enough(fixed, 0, memory), fixed, "no share, no more");
        }
    }
}
