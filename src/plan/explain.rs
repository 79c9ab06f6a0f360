//! What a maintainer wants to know before spending a night.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::{Overhead, Plan, Weighed};
use crate::grid::ChunkGrid;
use crate::rechunk::Counted;
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
    /// Most bytes of memory the run will hold at a time.
    pub peak_bytes: u64,
    /// What of that is not values.
    pub overhead: Overhead,
    /// What each group of variables that are read together moves, and why it does so in one stage or in two.
    pub ways: Vec<Way>,
    /// Dimensions and lengths.
    pub dimensions: Vec<(String, u64)>,
    /// One per variable.
    pub variables: Vec<VariableExplanation>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// Policies that mattered, and lossless conversions.
    pub used: Vec<crate::recipe::Used>,
    /// Gaps of time coordinates.
    pub gaps: Vec<crate::combine::Gap>,
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
}

/// What a group of variables moves, in one stage and in two: the figures that were compared, of all its variables together.
#[derive(Debug, Clone, Serialize)]
pub struct Way {
    /// Their names.
    pub variables: Vec<String>,
    /// Stages that were chosen.
    pub stages: u64,
    /// How often one stage decodes the average source element.
    pub amplification: f64,
    /// What one stage moves.
    pub one: Counted,
    /// What two would move, if they were thought of.
    pub two: Option<Counted>,
    /// The choice in words.
    pub why: String,
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
            peak_bytes: self.peak(),
            overhead: self.overhead,
            ways: self.weighed.iter().map(|weighed| self.explain_way(weighed)).collect(),
            dimensions: self.schema.dimensions.iter().map(|dimension| (dimension.name.clone(), dimension.length)).collect(),
            variables: (0..self.schema.variables.len()).map(|position| self.explain_variable(position)).collect(),
            warnings: self.warnings.clone(),
            used: self.used.clone(),
            gaps: self.gaps.clone(),
        }
    }

    fn explain_scratch(&self) -> Option<ScratchExplanation> {
        let mut explained = ScratchExplanation { url: self.scratch.clone()?, bytes: 0, objects: 0 };
        for grid in self.stages.iter().flat_map(|stage| &stage.grids) {
            let super::Passage::ToScratch(lengths) = &grid.passage else { continue };
            for &position in &grid.variables {
                let variable = &self.schema.variables[position];
                explained.bytes += self.schema.bytes(variable);
                explained.objects += ChunkGrid::new(self.schema.shape(variable), lengths.clone()).chunks();
            }
        }
        Some(explained)
    }

    /// Bytes that lie in scratch between the stages.
    #[must_use]
    pub fn scratch_bytes(&self) -> u64 {
        self.explain_scratch().map_or(0, |scratch| scratch.bytes)
    }

    fn explain_way(&self, weighed: &Weighed) -> Way {
        let members = weighed.variables.len() as u64;
        let (one, two) = (weighed.one.times(members), weighed.two.map(|two| two.times(members)));
        let amplification = weighed.amplification as f64 / 1000.0;
        let name = |&position: &usize| self.schema.variables[position].name.clone();
        let why = why(weighed.scratch, amplification, &one, two.as_ref());
        let stages = if weighed.scratch { 2 } else { 1 };
        Way { variables: weighed.variables.iter().map(name).collect(), stages, amplification, one, two, why }
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
        head.push(("memory", self.memory()));
        head.extend(self.ways.iter().filter(|way| way.amplification > 1.0).map(|way| ("why", way.to_string())));
        for (name, text) in head {
            writeln!(formatter, "{name:<11} {text}")?;
        }
        writeln!(formatter)?;
        write_table(formatter, &self.variables)?;
        for variable in &self.variables {
            let Some(moves) = &variable.moved else { continue };
            writeln!(formatter, "`{}` moved as the files hold it: {moves}", variable.name)?;
        }
        for crate::recipe::Used { policy, place, what } in &self.used {
            writeln!(formatter, "used `{policy}` on `{place}`: {what}")?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(formatter, "warning: {warning}"))
    }
}

impl Explanation {
    fn memory(&self) -> String {
        let Overhead { baseline, threads, thread, waiting } = self.overhead;
        let values = self.peak_bytes.saturating_sub(self.overhead.bytes());
        let mut parts = vec![
            format!("values {}", ByteSize(values)),
            format!("{threads} thread{} with {}", if threads == 1 { "" } else { "s" }, ByteSize(thread)),
            format!("program {}", ByteSize(baseline)),
        ];
        if waiting > 0 {
            parts.push(format!("waiting for the network {}", ByteSize(waiting)));
        }
        format!(
            "peak {} of {}: {}; largest task {}",
            ByteSize(self.peak_bytes),
            ByteSize(self.memory),
            parts.join(", "),
            ByteSize(self.largest_task_bytes)
        )
    }
}

/// The choice in words, with the figures that were compared.
fn why(scratch: bool, amplification: f64, one: &Counted, two: Option<&Counted>) -> String {
    if one.cost == 0 && amplification <= 1.0 {
        return "one stage decodes everything once".to_owned();
    }
    let seconds = |counted: &Counted| format!("{:.1} s of one core", counted.cost as f64 / 1e6);
    let single = format!(
        "one stage {} every source chunk {amplification:.1} times, {} of values and {} stored",
        if scratch { "would decode" } else { "decodes" },
        ByteSize(one.decoded),
        ByteSize(one.read)
    );
    let Some(two) = two else { return format!("{single}, {} more; no two stages fit the memory", seconds(one)) };
    let double = format!("two {} {} of scratch", if scratch { "write and read" } else { "would write and read" }, ByteSize(two.scratch));
    format!("{single}, {} more than once would take; {double}, {} more", seconds(one), seconds(two))
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.variables.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        write!(formatter, "{names}: {}", self.why)
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
        let (bytes, objects, url) = (ByteSize(self.bytes), self.objects, &self.url);
        write!(formatter, "{bytes} in {objects} objects under {url}, deleted at the end")
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
