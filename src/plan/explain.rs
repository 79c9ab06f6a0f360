//! What a maintainer wants to know before spending a night.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::Plan;
use crate::grid::ChunkGrid;
use crate::size::ByteSize;

/// A plan in numbers.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// `id` of the recipe.
    pub id: String,
    /// Number of input files.
    pub inputs: usize,
    /// Bytes of the input files as far as their servers told.
    pub fetch_bytes: u64,
    /// Bytes of values before encoding.
    pub value_bytes: u64,
    /// Number of objects.
    pub objects: u64,
    /// Number of stages.
    pub stages: usize,
    /// Number of tasks.
    pub tasks: u64,
    /// What lies in scratch between the stages, if there are two.
    pub scratch: Option<ScratchExplanation>,
    /// Bytes of values that the largest task holds.
    pub largest_task_bytes: u64,
    /// Bytes of memory the run may use in all.
    pub memory: u64,
    /// Dimensions and lengths.
    pub dimensions: Vec<(String, u64)>,
    /// One per variable.
    pub variables: Vec<VariableExplanation>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Scratch objects in numbers.
#[derive(Debug, Clone, Serialize)]
pub struct ScratchExplanation {
    /// Where they lie while the run lasts.
    pub url: String,
    /// Bytes of all.
    pub bytes: u64,
    /// Number of all.
    pub objects: u64,
    /// Why: variables that pass through scratch, and how often one stage would decode their average source element.
    pub instead_of: Vec<(String, f64)>,
}

/// A variable in numbers.
#[derive(Debug, Clone, Serialize)]
pub struct VariableExplanation {
    /// Its name.
    pub name: String,
    /// Its type.
    pub dtype: String,
    /// Its dimensions.
    pub dimensions: Vec<String>,
    /// Its lengths.
    pub shape: Vec<u64>,
    /// Lengths of a chunk.
    pub chunks: Vec<u64>,
    /// Lengths of a shard.
    pub shards: Option<Vec<u64>>,
    /// Bytes of values in one chunk, as far as it lies in the array.
    pub chunk_bytes: u64,
    /// Number of objects.
    pub objects: u64,
    /// How often the average source element is decoded; `None` for values that are in the plan.
    pub amplification: Option<f64>,
    /// Chunks that are moved as the files hold them, where the variable keeps its files' compression.
    pub moved: Option<super::Moves>,
    /// Chunks a reader fetches for one step of the first dimension, all of the others.
    pub map_requests: u64,
    /// Chunks a reader fetches for all steps of the first dimension at one point.
    pub series_requests: u64,
}

impl Plan {
    /// The plan in numbers.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let tasks = self.stages.iter().map(super::Stage::tasks).sum();
        Explanation {
            id: self.id.clone(),
            inputs: self.inputs.len(),
            fetch_bytes: self.inputs.iter().filter_map(|input| input.identity.size).sum(),
            value_bytes: self.bytes(),
            objects: self.object_count(),
            stages: self.stages.len(),
            tasks,
            scratch: self.explain_scratch(),
            largest_task_bytes: self.largest_task(),
            memory: self.memory,
            dimensions: self.schema.dimensions.iter().map(|dimension| (dimension.name.clone(), dimension.length)).collect(),
            variables: (0..self.schema.variables.len()).map(|position| self.explain_variable(position)).collect(),
            warnings: self.warnings.clone(),
        }
    }

    fn explain_scratch(&self) -> Option<ScratchExplanation> {
        let mut explained = ScratchExplanation { url: self.scratch.clone()?, bytes: 0, objects: 0, instead_of: Vec::new() };
        for grid in self.stages.iter().flat_map(|stage| &stage.grids) {
            let super::Passage::ToScratch(lengths) = &grid.passage else { continue };
            for &position in &grid.variables {
                let variable = &self.schema.variables[position];
                explained.bytes += self.schema.bytes(variable);
                explained.objects += ChunkGrid::new(self.schema.shape(variable), lengths.clone()).chunks();
                explained.instead_of.push((variable.name.clone(), grid.avoided.unwrap_or(1000) as f64 / 1000.0));
            }
        }
        Some(explained)
    }

    fn largest_task(&self) -> u64 {
        let grid_bytes = |grid: &super::TaskGrid| -> u64 {
            let objects = grid.slabs.region(&vec![0; grid.slabs.shape.len()]);
            self.held(&super::Work::Slab { variables: grid.variables.clone(), objects, passage: grid.passage.clone() })
        };
        self.stages.iter().flat_map(|stage| stage.grids.iter().map(grid_bytes)).max().unwrap_or(0)
    }

    fn explain_variable(&self, position: usize) -> VariableExplanation {
        let variable = &self.schema.variables[position];
        let shape = self.schema.shape(variable);
        let chunks = variable.encoding.chunks.clone().unwrap_or_else(|| shape.clone());
        // Coordinates that grow have a chunk for all that may come, most of it empty.
        let filled: u64 = chunks.iter().zip(&shape).map(|(&chunk, &length)| chunk.min(length)).product();
        let counts = ChunkGrid::new(shape.clone(), chunks.clone()).counts();
        let item = if variable.dtype.is_text() { 16 } else { variable.dtype.size() as u64 };
        let grid = self.stages.iter().flat_map(|stage| &stage.grids).find(|grid| grid.variables.contains(&position));
        VariableExplanation {
            name: variable.name.clone(),
            dtype: variable.dtype.to_string(),
            dimensions: variable.dimensions.clone(),
            chunk_bytes: filled.saturating_mul(item),
            objects: self.objects(position).chunks(),
            amplification: grid.map(|grid| grid.amplification as f64 / 1000.0),
            map_requests: counts.iter().skip(1).product(),
            series_requests: counts.first().copied().unwrap_or(1),
            shards: variable.encoding.shards.clone(),
            moved: self.moves.iter().find(|moves| moves.variable == position).cloned(),
            shape,
            chunks,
        }
    }

    /// Warnings that follow from the plan's own numbers.
    pub(super) fn advice(&self) -> Vec<String> {
        let data = |explanation: &VariableExplanation| explanation.amplification.is_some();
        let explained: Vec<_> = (0..self.schema.variables.len()).map(|position| self.explain_variable(position)).filter(data).collect();
        let large = explained
            .iter()
            .filter(|variable| variable.chunk_bytes > 100 << 20)
            .map(|variable| format!("`{}`: chunks hold {}; readers like 1 to 100 MiB", variable.name, ByteSize(variable.chunk_bytes)));
        let small = explained.iter().filter(|variable| variable.objects > 10_000 && variable.chunk_bytes < 1 << 20).map(|variable| {
            format!(
                "`{}`: {} chunks of only {}; make them larger or add `shards`",
                variable.name,
                variable.objects,
                ByteSize(variable.chunk_bytes)
            )
        });
        let again = explained.iter().filter(|variable| variable.amplification.is_some_and(|times| times > 2.0)).map(|variable| {
            format!(
                "`{}`: source chunks are decoded {:.1} times; more `--memory` makes it less",
                variable.name,
                variable.amplification.unwrap_or(1.0)
            )
        });
        large.chain(small).chain(again).collect()
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut head = vec![
            ("recipe", self.id.clone()),
            ("inputs", format!("{} files, {}", self.inputs, ByteSize(self.fetch_bytes))),
            ("dimensions", self.dimensions.iter().map(|(name, length)| format!("{name} {length}")).collect::<Vec<_>>().join(", ")),
            ("result", format!("{} of values in {} objects", ByteSize(self.value_bytes), self.objects)),
            ("work", format!("{} tasks in {} stage{}", self.tasks, self.stages, if self.stages == 1 { "" } else { "s" })),
        ];
        if let Some(scratch) = &self.scratch {
            head.push(("scratch", scratch.to_string()));
        }
        head.push(("memory", format!("largest task {}, whole run within {}", ByteSize(self.largest_task_bytes), ByteSize(self.memory))));
        for (name, text) in head {
            writeln!(formatter, "{name:<11} {text}")?;
        }
        writeln!(formatter)?;
        write_table(formatter, &self.variables)?;
        for variable in &self.variables {
            let Some(moves) = &variable.moved else { continue };
            writeln!(formatter, "`{}` moved as the files hold it: {moves}", variable.name)?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(formatter, "warning: {warning}"))
    }
}

impl fmt::Display for super::Moves {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.of == 1 { "" } else { "s" };
        write!(formatter, "{} of {} chunk{plural}", self.chunks, self.of)?;
        if self.whole_only {
            write!(formatter, ", but for those with missing values")?;
        }
        self.reason.iter().try_for_each(|reason| write!(formatter, "; {reason}"))
    }
}

impl fmt::Display for ScratchExplanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = self.instead_of.iter().map(|(name, times)| format!("`{name}` {times:.1}×")).collect::<Vec<_>>().join(", ");
        let (bytes, objects, url) = (ByteSize(self.bytes), self.objects, &self.url);
        write!(formatter, "{bytes} in {objects} objects under {url}, deleted at the end; one stage would decode {why}")
    }
}

fn write_table(formatter: &mut fmt::Formatter<'_>, variables: &[VariableExplanation]) -> fmt::Result {
    let titles = ["variable", "type", "shape", "chunks", "chunk", "objects", "decoded", "one map", "one series"].map(str::to_owned);
    let rows: Vec<[String; 9]> = std::iter::once(titles).chain(variables.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..9).map(width).collect();
    for row in &rows {
        let mut line = String::new();
        for (text, width) in row.iter().zip(&widths) {
            write!(line, "{text:<width$}  ")?;
        }
        writeln!(formatter, "{}", line.trim_end())?;
    }
    writeln!(formatter)
}

fn row(variable: &VariableExplanation) -> [String; 9] {
    let lengths = |lengths: &[u64]| lengths.iter().map(u64::to_string).collect::<Vec<_>>().join("×");
    let requests = |count: u64| format!("{count} GET{}", if count == 1 { "" } else { "s" });
    // What one step and one point are, is told apart only by a second dimension.
    let access = |count: u64| if variable.shape.len() < 2 { "-".to_owned() } else { requests(count) };
    let chunks = lengths(&variable.chunks);
    let chunks = variable.shards.as_ref().map_or(chunks.clone(), |shards| format!("{chunks} in {}", lengths(shards)));
    let scalar = variable.shape.is_empty();
    [
        variable.name.clone(),
        variable.dtype.clone(),
        if scalar { "scalar".to_owned() } else { lengths(&variable.shape) },
        if scalar { "scalar".to_owned() } else { chunks },
        ByteSize(variable.chunk_bytes).to_string(),
        variable.objects.to_string(),
        variable.amplification.map_or("-".to_owned(), |times| format!("{times:.1}×")),
        access(variable.map_requests),
        access(variable.series_requests),
    ]
}
