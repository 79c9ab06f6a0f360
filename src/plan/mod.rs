//! The plan: everything a run will do, as versioned plain data.
//!
//! `build` makes it, `expect` judges it, `explain` shows it, `save` keeps it, `check` looks at what is read back. It holds grids and rules; a task is computed from its number. No I/O.
//! Invariant: the tasks of all stages together own every object of every variable, and every scratch object, exactly once, and
//! a plan's [`Plan::identity`] changes whenever a byte of the result could.

mod build;
mod check;
pub mod expect;
mod explain;
mod memory;
mod moves;
mod save;
mod stages;

use serde::{Deserialize, Serialize};

use crate::array::Array;
use crate::combine::{ConcatAxis, Gap, KeptSteps, Pieces};
use crate::dataset::{Identity, Schema, Variable};
use crate::grid::{ChunkGrid, Region, Shape, elements, positions};
use crate::pattern::KeyValue;
use crate::rechunk::Counted;
use crate::recipe::{Expectation, OutputFormat, Used};
use crate::transform::Step;

pub use build::{BASELINE, Settings, build};
pub use explain::{Explanation, ScratchExplanation, VariableExplanation, Way};
pub use memory::Overhead;
pub use save::{PlanFileError, VERSION};

/// Everything a run will do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of this format: [`VERSION`].
    pub version: u32,
    /// `id` of the recipe.
    pub id: String,
    /// On-disk format of the result.
    pub format: OutputFormat,
    /// The result: lengths, types, attributes, encodings.
    pub schema: Schema,
    /// Concat axes with the length of each position.
    pub axes: Vec<ConcatAxis>,
    /// The files, by number.
    pub inputs: Vec<PlannedInput>,
    /// What is done to each file.
    pub steps: Vec<Step>,
    /// Where each variable's values come from, in the order of the schema.
    pub contents: Vec<PlannedContent>,
    /// One after the other.
    pub stages: Vec<Stage>,
    /// URL of the store of scratch objects, if any stage has them. No part of the identity: a target may be moved between runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// Bytes of memory the run may use in all.
    pub memory: u64,
    /// What of it is not for values. Not part of the identity, like `memory`.
    #[serde(default)]
    pub overhead: Overhead,
    /// Why each group of variables is cut as it is. Not part of the identity: it follows from the same facts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weighed: Vec<Weighed>,
    /// What must hold of the result. Not part of the identity: no byte of the result depends on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Expectation>,
    /// Variables that keep their files' compression: their source chunks become chunks of the result as they are, wherever they fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<Moves>,
    /// Of inputs that lose steps to others: which they keep.
    #[serde(default, skip_serializing_if = "KeptSteps::is_empty")]
    pub kept: KeptSteps,
    /// Policies that mattered, and lossless conversions. Not part of the identity: what they did to the result is told by the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used: Vec<Used>,
    /// Gaps of time coordinates. Not part of the identity: they follow from the coordinates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
}

/// A variable that keeps its files' compression: source chunks are moved as they are, wherever they fit; any other is encoded alike.
///
/// Which chunks fit is found in the files' own chunk tables when a task runs, and depends on plan and inputs only; the numbers
/// here are what the headers promise, and never too low. Of the identity, only whether any chunk fits is a part.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Moves {
    /// Position in the schema.
    pub variable: usize,
    /// Chunks that fit.
    pub chunks: u64,
    /// Chunks in all.
    pub of: u64,
    /// True if only those without missing values are moved: the marks of the others become NaN.
    #[serde(default)]
    pub whole_only: bool,
    /// Why the others do not fit.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A file of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedInput {
    /// Where it is.
    pub url: String,
    /// What it was when it was scanned.
    pub identity: Identity,
    /// Value of every key.
    pub keys: std::collections::BTreeMap<String, KeyValue>,
}

/// Where a variable's values come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlannedContent {
    /// Values in the plan itself.
    Known(Array),
    /// Read from inputs.
    Pieces(Pieces),
}

/// Tasks that may run in any order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Task 0 writes these variables from the plan itself (none: there is no such task).
    pub known: Vec<usize>,
    /// All other tasks, grid after grid.
    pub grids: Vec<TaskGrid>,
}

/// Tasks of one shape: a slab of whole objects over variables that share their inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskGrid {
    /// Variables, by position in the schema; all have the same dimensions and objects.
    pub variables: Vec<usize>,
    /// Indices of the objects that the tasks write, cut into slabs.
    pub slabs: ChunkGrid,
    /// How often the average element of what is read is decoded, in thousandths.
    pub amplification: u64,
    /// What the tasks read and write.
    #[serde(default, skip_serializing_if = "Passage::is_direct")]
    pub passage: Passage,
}

/// What moving some variables, that are read together, costs in one stage and in two. Counts are those of one variable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Weighed {
    /// Variables, by position in the schema.
    pub variables: Vec<usize>,
    /// How often one stage decodes the average source element, in thousandths.
    pub amplification: u64,
    /// One stage.
    pub one: Counted,
    /// Two, if they were thought of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub two: Option<Counted>,
    /// True if two stages were chosen.
    pub scratch: bool,
}

/// What a task reads and writes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Passage {
    /// From inputs to the target's objects.
    #[default]
    Direct,
    /// From inputs to scratch objects of these lengths, cut off at the variable's edges: converted values, row-major, raw.
    ToScratch(Shape),
    /// From scratch objects of these lengths to the target's objects.
    FromScratch(Shape),
}

impl Passage {
    /// True if no scratch object is read or written.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        *self == Self::Direct
    }
}

/// What one task does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Writes variables whose values are in the plan.
    Known {
        /// Positions in the schema.
        variables: Vec<usize>,
    },
    /// Writes a slab of objects of each variable.
    Slab {
        /// Positions in the schema.
        variables: Vec<usize>,
        /// Box of object indices.
        objects: Region,
        /// What is read, and which kind of objects is written.
        passage: Passage,
    },
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Stage, from 0.
    pub stage: usize,
    /// Number within the stage.
    pub number: u64,
    /// What it does.
    pub work: Work,
    /// Bytes of values of its objects: what it holds in memory at most, buffers of threads aside.
    pub bytes: u64,
}

/// Lengths of the objects of a variable: its shards, else its chunks, else all of it.
#[must_use]
pub fn object_shape(variable: &Variable, shape: &[u64]) -> Shape {
    let encoding = &variable.encoding;
    let lengths = encoding.shards.as_ref().or(encoding.chunks.as_ref());
    lengths.cloned().unwrap_or_else(|| shape.iter().map(|length| (*length).max(1)).collect())
}

impl Stage {
    /// Number of tasks.
    #[must_use]
    pub fn tasks(&self) -> u64 {
        u64::from(!self.known.is_empty()) + self.grids.iter().map(|grid| grid.slabs.chunks()).sum::<u64>()
    }

    fn work(&self, number: u64) -> Option<Work> {
        let mut rest = number;
        if !self.known.is_empty() {
            if rest == 0 {
                return Some(Work::Known { variables: self.known.clone() });
            }
            rest -= 1;
        }
        for grid in &self.grids {
            if rest < grid.slabs.chunks() {
                let objects = grid.slabs.region(&grid.slabs.index(rest));
                return Some(Work::Slab { variables: grid.variables.clone(), objects, passage: grid.passage.clone() });
            }
            rest -= grid.slabs.chunks();
        }
        None
    }
}

impl Work {
    /// True if it writes scratch objects instead of the target's.
    #[must_use]
    pub fn is_to_scratch(&self) -> bool {
        matches!(self, Self::Slab { passage: Passage::ToScratch(_), .. })
    }
}

impl Plan {
    /// The grid of a variable's objects that some work writes: the target's, or scratch.
    #[must_use]
    pub fn written(&self, work: &Work, variable: usize) -> ChunkGrid {
        match work {
            Work::Slab { passage: Passage::ToScratch(lengths), .. } => ChunkGrid::new(self.objects(variable).shape, lengths.clone()),
            _ => self.objects(variable),
        }
    }

    /// The grid of a variable's objects.
    #[must_use]
    pub fn objects(&self, variable: usize) -> ChunkGrid {
        let variable = &self.schema.variables[variable];
        let shape = self.schema.shape(variable);
        let object = object_shape(variable, &shape);
        ChunkGrid::new(shape, object)
    }

    /// A task by its number; `None` past the last.
    #[must_use]
    pub fn task(&self, stage: usize, number: u64) -> Option<Task> {
        let work = self.stages.get(stage)?.work(number)?;
        let bytes = self.held(&work);
        Some(Task { stage, number, work, bytes })
    }

    /// Values that a task writes: what its objects hold inside their variables.
    #[must_use]
    pub fn values(&self, task: &Task) -> u64 {
        match &task.work {
            Work::Known { variables } => variables.iter().map(|&variable| elements(&self.objects(variable).shape)).sum(),
            Work::Slab { variables, objects, .. } => {
                variables.iter().map(|&variable| self.written(&task.work, variable).covered(objects).elements()).sum()
            }
        }
    }

    /// Bytes of values that some work holds at most.
    fn held(&self, work: &Work) -> u64 {
        match work {
            Work::Known { variables } => variables.iter().map(|&variable| self.object_bytes(variable)).max().unwrap_or(0),
            Work::Slab { variables, objects, passage: Passage::ToScratch(_) } => {
                let bytes = |&variable: &usize| {
                    elements(&self.written(work, variable).covered(objects).shape).saturating_mul(self.item_bytes(variable))
                };
                variables.iter().map(bytes).sum()
            }
            Work::Slab { variables, objects, .. } => {
                variables.iter().map(|&variable| self.object_bytes(variable).saturating_mul(objects.elements())).sum()
            }
        }
    }

    fn item_bytes(&self, variable: usize) -> u64 {
        let dtype = self.schema.variables[variable].dtype;
        if dtype.is_text() { 16 } else { dtype.size().max(1) as u64 }
    }

    /// Bytes of values of one whole object of a variable (texts count as 16 bytes each).
    #[must_use]
    pub fn object_bytes(&self, variable: usize) -> u64 {
        elements(&self.objects(variable).chunk).saturating_mul(self.item_bytes(variable))
    }

    /// (variable, object index) of everything a task owns, scratch or not, in the order of variables, then row-major.
    #[must_use]
    pub fn owned(&self, task: &Task) -> Vec<(usize, Vec<u64>)> {
        let all = |variable: usize, objects: &Region| positions(objects).map(move |index| (variable, index)).collect::<Vec<_>>();
        match &task.work {
            Work::Known { variables } => {
                variables.iter().flat_map(|&variable| all(variable, &Region::whole(&self.objects(variable).counts()))).collect()
            }
            Work::Slab { variables, objects, .. } => variables.iter().flat_map(|&variable| all(variable, objects)).collect(),
        }
    }

    /// Bytes of all values before encoding.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.schema.variables.iter().map(|variable| self.schema.bytes(variable)).sum()
    }

    /// True if source chunks of a variable may be moved as they are; it then has no scratch objects.
    #[must_use]
    pub fn may_move(&self, variable: usize) -> bool {
        self.moves.iter().any(|moves| moves.variable == variable && moves.chunks > 0)
    }

    /// Number of objects of all variables.
    #[must_use]
    pub fn object_count(&self) -> u64 {
        (0..self.schema.variables.len()).map(|variable| self.objects(variable).chunks()).sum()
    }
}
