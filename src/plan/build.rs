//! From the combined dataset to the plan: chunks, codecs, slabs.

use std::collections::BTreeMap;

use super::moves::Kept;
use super::stages::stages;
use super::{Moves, Overhead, Plan, PlannedContent, PlannedInput, VERSION, object_shape};
use crate::array::DataType;
use crate::combine::{Combined, Content};
use crate::dataset::{Attribute, Codec, Identity, Schema, Variable};
use crate::grid::{ChunkGrid, Shape, elements};
use crate::rechunk::{Costs, automatic_chunks};
use crate::recipe::diagnostic::{Code, Diagnostic, Severity, Span};
use crate::recipe::{Chunks, CodecsChoice, OutputFormat, Recipe};
use crate::size::ByteSize;

/// Most objects that one variable may have (analysis-ready checklist AR30).
const MOST_OBJECTS: u64 = 1_000_000;
/// Blosc and many readers count the bytes of a chunk in signed 32-bit integers.
const LARGEST_CHUNK: u64 = 2 << 30;
/// Chunks to aim for where the recipe names no size.
const CHUNK: u64 = 16 << 20;
/// Chunks of coordinates that grow: constant from the first write, so that appending never changes their grid.
const COORDINATE_CHUNK: u64 = 1 << 20;
/// Variables that describe others, and those that do not grow beside others that do, are one chunk up to this size.
const WHOLE: u64 = 4 << 20;

/// What the operator says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes of memory the run may use in all.
    pub memory: u64,
    /// Threads that decode and encode.
    pub threads: usize,
    /// Codecs of variables for which the recipe names none.
    pub default_codecs: fn(DataType) -> Vec<Codec>,
    /// Bytes of memory that are no buffers: [`BASELINE`].
    pub baseline: u64,
    /// Bytes fetched, encoded or to be verified that may wait at a time; 0 where everything is near.
    pub waiting: u64,
    /// True if inputs are far away, so that reading them again costs their way once more.
    pub far: bool,
    /// Where scratch objects may lie.
    pub scratch: String,
    /// What moving values costs: [`Costs::MEASURED`].
    pub costs: Costs,
}

/// Memory that is not buffers: the program and its tables. Measured: 17 MB when tasks begin, and they need as much again.
pub const BASELINE: u64 = 40 << 20;

/// Decides chunks, codecs and slabs.
///
/// # Errors
/// Every problem that the combined dataset shows in the recipe's sections `output` and `expect`: unknown names, too many objects,
/// a chunk that memory cannot hold, an expectation that does not hold.
pub fn build(recipe: &Recipe, combined: Combined, identities: Vec<Identity>, settings: &Settings) -> Result<Plan, Vec<Diagnostic>> {
    let mut problems = unknown_names(recipe, &combined.schema);
    let Combined { mut schema, axes, contents, mut warnings, used, gaps, kept, source_chunks, source_forms } = combined;
    let mut moves = Vec::new();
    for (position, content) in contents.iter().enumerate() {
        let forms = source_forms.get(&schema.variables[position].name);
        let source = forms.and_then(|forms| Kept::new(recipe, (&schema, position), &axes, (content, forms)));
        moves.extend(encode(recipe, (&mut schema, position), &axes_of(&axes), settings, source, &mut warnings));
    }
    problems.extend(schema.variables.iter().filter_map(|variable| too_many_objects(recipe, &schema, variable)));
    problems.extend(schema.variables.iter().filter_map(|variable| chunk_too_large(recipe, &schema, variable)));
    describe(recipe, &mut schema);
    let inputs = recipe.inputs.iter().zip(identities).map(|(input, identity)| PlannedInput {
        url: input.url.clone(),
        identity,
        keys: input.values.clone(),
    });
    let contents: Vec<PlannedContent> = contents.into_iter().map(planned).collect();
    let mut plan = Plan {
        version: VERSION,
        id: recipe.id.clone(),
        format: recipe.output.format,
        inputs: inputs.collect(),
        steps: recipe.steps.iter().map(|(step, _)| step.clone()).collect(),
        stages: Vec::new(),
        scratch: None,
        memory: settings.memory,
        overhead: Overhead::default(),
        weighed: Vec::new(),
        schema,
        axes,
        contents,
        warnings: Vec::new(),
        expect: recipe.expect.clone(),
        moves,
        kept,
        used,
        gaps,
    };
    problems.extend(plan.broken_expectations());
    if problems.is_empty() {
        match stages(&plan, &source_chunks, settings, recipe) {
            Ok(cut) => (plan.stages, plan.overhead, plan.weighed) = (cut.stages, cut.overhead, cut.weighed),
            Err(problem) => problems.push(problem),
        }
        plan.scratch = (plan.stages.len() > 1).then(|| settings.scratch.clone());
    }
    warnings.extend(plan.advice());
    plan.warnings = warnings;
    if problems.is_empty() { Ok(plan) } else { Err(problems) }
}

fn axes_of(axes: &[crate::combine::ConcatAxis]) -> Vec<String> {
    axes.iter().map(|axis| axis.dimension.clone()).collect()
}

fn planned(content: Content) -> PlannedContent {
    match content {
        Content::Known(array) => PlannedContent::Known(array),
        Content::Pieces(pieces) => PlannedContent::Pieces(pieces),
    }
}

pub(super) fn problem(code: Code, message: String, label: Option<(Span, String)>, help: String) -> Diagnostic {
    Diagnostic { code, severity: Severity::Error, message, label, help: Some(help) }
}

/// The line that chose a variable's chunks: its own, else that of all; none if the tool chose them.
pub(super) fn blamed(recipe: &Recipe, variable: &Variable, label: &str) -> Option<(Span, String)> {
    let own = recipe.output.encoding.get(&variable.name).filter(|(choice, _)| choice.chunks.is_some()).map(|(_, span)| *span);
    let span = own.or(Some(recipe.output.chunks_span).filter(|span| span.length > 0))?;
    Some((span, label.to_owned()))
}

/// Names in `output` that the dataset does not have.
fn unknown_names(recipe: &Recipe, schema: &Schema) -> Vec<Diagnostic> {
    let span = recipe.output.chunks_span;
    let dimensions = || schema.dimensions.iter().map(|dimension| format!("`{}`", dimension.name)).collect::<Vec<_>>().join(", ");
    let mut named: Vec<&String> = match &recipe.output.chunks {
        Chunks::Sizes(sizes) => sizes.keys().collect(),
        Chunks::Auto { favour, .. } => favour.keys().collect(),
    };
    named.extend(recipe.output.shards.iter().flat_map(BTreeMap::keys));
    let unknown = named.into_iter().filter(|name| schema.dimension(name).is_none()).map(|name| {
        let label = Some((span, format!("no dimension `{name}`")));
        problem(
            Code::ChunkDimensionUnknown,
            format!("the dataset has no dimension `{name}`"),
            label,
            format!("dimensions after the steps: {}", dimensions()),
        )
    });
    let variables =
        recipe.output.encoding.iter().filter(|(name, _)| *name != "*" && schema.variable(name).is_none()).map(|(name, (_, span))| {
            let known = schema.variables.iter().map(|variable| format!("`{}`", variable.name)).collect::<Vec<_>>().join(", ");
            let label = Some((*span, format!("no variable `{name}`")));
            problem(
                Code::VariableUnknown,
                format!("the dataset has no variable `{name}`"),
                label,
                format!("variables after the steps: {known}"),
            )
        });
    unknown.chain(variables).collect()
}

/// Chooses chunks, shards and codecs of one variable; tells of chunks that are moved as they are, if any may be.
fn encode(
    recipe: &Recipe,
    (schema, position): (&mut Schema, usize),
    concat: &[String],
    settings: &Settings,
    source: Option<Kept<'_>>,
    warnings: &mut Vec<String>,
) -> Option<Moves> {
    let variable = schema.variables[position].clone();
    let shape = schema.shape(&variable);
    let choices = [recipe.output.encoding.get(&variable.name), recipe.output.encoding.get("*")];
    let own = choices[0].and_then(|(choice, _)| choice.chunks.as_ref());
    let codecs = choices.iter().flatten().find_map(|(choice, _)| choice.codecs.as_ref());
    let whole = own.is_none() && stays_whole(schema, &variable, concat);
    let mut chunks = if whole { whole_chunk(&shape) } else { chunk_lengths(recipe, &variable, &shape, concat, own) };
    let open = own.is_none() && !whole && !is_axis(&variable, &shape);
    let kept = source.and_then(|source| source.decide(codecs, (&chunks, open), warnings));
    let listed = match codecs {
        Some(CodecsChoice::Listed(codecs)) => codecs.clone(),
        _ => (settings.default_codecs)(variable.dtype),
    };
    let sharded = !variable.coordinate && recipe.output.format != OutputFormat::Zarr2;
    let mut shards = None;
    let (codecs, moves) = kept.map_or((listed, None), |kept| {
        (chunks, shards) = (kept.chunks, kept.shards.filter(|_| sharded));
        (kept.codecs, Some(kept.moves))
    });
    if let Some(sizes) = recipe.output.shards.as_ref().filter(|_| sharded) {
        shards = Some(shard_lengths(&variable, &chunks, sizes));
    }
    let encoding = &mut schema.variables[position].encoding;
    (encoding.shards, encoding.codecs, encoding.chunks) = (shards, Some(codecs), Some(chunks));
    moves
}

pub(super) fn item_bytes(variable: &Variable) -> u64 {
    if variable.dtype == DataType::String { 16 } else { variable.dtype.size().max(1) as u64 }
}

fn whole_chunk(shape: &[u64]) -> Shape {
    shape.iter().map(|length| (*length).max(1)).collect()
}

/// True for small variables that the recipe's chunks are not meant for: they describe others, or do not grow where others do.
fn stays_whole(schema: &Schema, variable: &Variable, concat: &[String]) -> bool {
    let small = elements(&schema.shape(variable)).saturating_mul(item_bytes(variable)) <= WHOLE;
    let describes = variable.coordinate || variable.is_index() || is_descriptive(schema, variable);
    small && !grows(variable, concat) && (describes || !concat.is_empty())
}

fn grows(variable: &Variable, concat: &[String]) -> bool {
    variable.dimensions.iter().any(|dimension| concat.contains(dimension))
}

/// True if another variable names it as its bounds (CF §7.1), climatology (§7.4) or grid mapping (§5.6).
fn is_descriptive(schema: &Schema, variable: &Variable) -> bool {
    let leaf = variable.name.rsplit('/').next().unwrap_or_default();
    let names = |other: &Variable| {
        let said = ["bounds", "climatology", "grid_mapping"].into_iter().filter_map(|name| other.attributes.text(name));
        said.flat_map(str::split_whitespace).any(|word| [leaf, &variable.name].contains(&word.trim_end_matches(':')))
    };
    schema.variables.iter().any(names)
}

/// True for coordinates along one dimension, which have chunks of their own kind.
fn is_axis(variable: &Variable, shape: &[u64]) -> bool {
    (variable.coordinate || variable.is_index()) && shape.len() == 1
}

fn chunk_lengths(recipe: &Recipe, variable: &Variable, shape: &[u64], concat: &[String], own: Option<&BTreeMap<String, u64>>) -> Shape {
    let item = item_bytes(variable);
    if own.is_none() && is_axis(variable, shape) {
        return if grows(variable, concat) { vec![COORDINATE_CHUNK / item] } else { whole_chunk(shape) };
    }
    let sizes = match (own, &recipe.output.chunks) {
        (Some(sizes), _) | (None, Chunks::Sizes(sizes)) => sizes,
        (None, Chunks::Auto { size, favour }) => {
            if let Some(published) = published_chunks(recipe, variable) {
                return published;
            }
            let weights: Vec<f64> = variable.dimensions.iter().map(|name| favour.get(name).copied().unwrap_or(1.0)).collect();
            let size = if size.0 == 0 { CHUNK } else { size.0 };
            return automatic_chunks(shape, &weights, item, size);
        }
    };
    let length = |(name, &whole): (&String, &u64)| match sizes.get(name) {
        Some(&size) if concat.contains(name) => size,
        Some(&size) => size.clamp(1, whole.max(1)),
        None => whole.max(1),
    };
    variable.dimensions.iter().zip(shape).map(length).collect()
}

/// The chunks that a variable is published with: an append keeps what the recipe leaves open.
fn published_chunks(recipe: &Recipe, variable: &Variable) -> Option<Shape> {
    let published = recipe.published.as_ref()?.variable(&variable.name)?;
    published
        .encoding
        .chunks
        .clone()
        .filter(|chunks| published.dimensions == variable.dimensions && chunks.len() == variable.dimensions.len())
}

/// Shards are whole numbers of chunks: the recipe's lengths rounded up; a dimension not listed is one chunk long.
fn shard_lengths(variable: &Variable, chunks: &[u64], sizes: &BTreeMap<String, u64>) -> Shape {
    let length = |(name, &chunk): (&String, &u64)| sizes.get(name).map_or(chunk, |size| size.div_ceil(chunk).max(1) * chunk);
    variable.dimensions.iter().zip(chunks).map(length).collect()
}

fn too_many_objects(recipe: &Recipe, schema: &Schema, variable: &Variable) -> Option<Diagnostic> {
    let shape = schema.shape(variable);
    let objects = ChunkGrid::new(shape.clone(), object_shape(variable, &shape)).chunks();
    if objects <= MOST_OBJECTS {
        return None;
    }
    Some(problem(
        Code::TooManyObjects,
        format!("`{}` would be {objects} objects; at most {MOST_OBJECTS} are sane", variable.name),
        blamed(recipe, variable, "these chunks are too small"),
        format!("{}; or add `shards`", sane_chunks(variable, &shape)),
    ))
}

fn chunk_too_large(recipe: &Recipe, schema: &Schema, variable: &Variable) -> Option<Diagnostic> {
    let shape = schema.shape(variable);
    let chunk = variable.encoding.chunks.as_ref()?;
    let bytes = elements(chunk).saturating_mul(item_bytes(variable));
    if bytes < LARGEST_CHUNK {
        return None;
    }
    Some(problem(
        Code::ChunkTooLarge,
        format!("one chunk of `{}` would hold {}; codecs take less than {}", variable.name, ByteSize(bytes), ByteSize(LARGEST_CHUNK)),
        blamed(recipe, variable, "these chunks are too large"),
        sane_chunks(variable, &shape),
    ))
}

/// Chunk lengths that readers like, for a help line.
fn sane_chunks(variable: &Variable, shape: &[u64]) -> String {
    let sane = automatic_chunks(shape, &vec![1.0; shape.len()], item_bytes(variable), CHUNK);
    let sane: Vec<String> = variable.dimensions.iter().zip(sane).map(|(name, length)| format!("{name}: {length}")).collect();
    format!("chunks of about 16 MiB would be {{{}}}", sane.join(", "))
}

/// Writes what the recipe says of the dataset into its attributes.
fn describe(recipe: &Recipe, schema: &mut Schema) {
    let about = &recipe.about;
    let mut set = |name: &str, text: &str| {
        if !text.is_empty() {
            schema.attributes.set(name, Attribute::Text(text.to_owned()));
        }
    };
    set("title", &about.title);
    set("license", &about.license);
    set("summary", about.description.as_deref().unwrap_or_default());
    set("doi", about.doi.as_deref().unwrap_or_default());
    set("citation", about.citation.as_deref().unwrap_or_default());
    set("keywords", &about.keywords.join(", "));
    set("gristmill_id", &recipe.id);
    let producers = about.providers.iter().filter(|provider| provider.roles.iter().any(|role| role == "producer"));
    let producers: Vec<&str> = producers.map(|provider| provider.name.as_str()).collect();
    let reference = about.doi.as_ref().map(|doi| format!("https://doi.org/{doi}")).or_else(|| about.citation.clone());
    // What all files agree on is nearer to the data than what the recipe says.
    for (name, text) in [("institution", producers.join(", ")), ("references", reference.unwrap_or_default())] {
        if !text.is_empty() && schema.attributes.get(name).is_none() {
            schema.attributes.set(name, Attribute::Text(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Attributes, Dimension, Encoding};

    fn variable(name: &str, dimensions: &[&str]) -> Variable {
        Variable {
            name: name.into(),
            dtype: DataType::Float32,
            dimensions: dimensions.iter().map(|name| (*name).to_owned()).collect(),
            attributes: Attributes::default(),
            coordinate: false,
            encoding: Encoding::default(),
        }
    }

    fn schema() -> Schema {
        let dimension = |(name, length): (&str, u64)| Dimension { name: name.into(), length, unlimited: false };
        let mut latitude = variable("lat", &["lat"]);
        latitude.attributes.set("bounds", Attribute::Text("lat_bnds".into()));
        Schema {
            dimensions: [("time", 12), ("lat", 90), ("bnds", 2)].map(dimension).to_vec(),
            variables: vec![variable("t", &["time", "lat"]), latitude, variable("lat_bnds", &["lat", "bnds"]), variable("mask", &["lat"])],
            ..Schema::default()
        }
    }

    #[test]
    fn what_describes_or_stands_still_is_one_chunk() {
        let schema = schema();
        let stays = |name: &str, concat: &[String]| stays_whole(&schema, schema.variable(name).unwrap(), concat);
        let names = ["t", "lat", "lat_bnds", "mask"];
        assert_eq!(names.map(|name| stays(name, &[])), [false, true, true, false]);
        assert_eq!(names.map(|name| stays(name, &["time".to_owned()])), [false, true, true, true]);
    }
}
