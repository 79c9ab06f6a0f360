//! Which variables keep the compression of their files, so that chunks can be moved as they are: codecs, chunks, shards, and how many fit.
//!
//! From headers only: chunk tables are looked at when a task runs (`work/moves.rs`), and decide chunk by chunk. Invariant: what is
//! chosen here follows from the recipe and the first file that fits, so that an archive that grows keeps its encoding.

use std::collections::BTreeMap;

use serde_json::json;

use super::Moves;
use super::build::item_bytes;
use crate::array::DataType;
use crate::cf::Conversion;
use crate::combine::{ConcatAxis, Content, Pieces, SourceForm, SourceForms};
use crate::dataset::{Codec, Schema, Variable};
use crate::grid::{ChunkGrid, Shape, elements, unravel};
use crate::rechunk::automatic_chunks;
use crate::recipe::{Chunks, CodecsChoice, OutputFormat, Recipe};
use crate::transform::Step;

/// Chunks with fewer bytes of values are gathered in shards: compressed, that is about 1 MiB.
const SMALL: u64 = 4 << 20;
/// Chunks that a Zarr 2 store takes over from its files without being asked.
const HANDY: std::ops::RangeInclusive<u64> = 1 << 20..=64 << 20;
/// Level that zlib takes when nobody names one.
const ZLIB_LEVEL: u64 = 6;

/// How a file compresses a chunk, as far as a decoder sees it, and the level to encode others with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chain {
    shuffle: bool,
    level: u64,
}

/// A variable as its files store it, and the recipe's words about it.
pub(super) struct Kept<'a> {
    recipe: &'a Recipe,
    position: usize,
    variable: Variable,
    shape: Shape,
    axes: &'a [ConcatAxis],
    pieces: &'a Pieces,
    forms: &'a SourceForms,
    /// First element of each position, per axis of the pieces.
    starts: Vec<Vec<u64>>,
}

/// How a variable is stored whose chunks may be moved.
pub(super) struct Choice {
    pub(super) codecs: Vec<Codec>,
    pub(super) chunks: Shape,
    pub(super) shards: Option<Shape>,
    pub(super) moves: Moves,
}

/// Why chunks of a file cannot be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hindrance {
    Reordered,
    Compressed(usize),
    Chunked(usize),
    Converted,
    Misplaced,
}

impl Chain {
    /// Shuffle and deflate, or deflate alone; bytes need no shuffle, and where files name it, it does nothing.
    fn of(form: &SourceForm) -> Option<Self> {
        let level = |name: &str| match name.strip_prefix("deflate")?.trim() {
            "" => Some(ZLIB_LEVEL),
            level => level.parse().ok().filter(|level| *level <= 9),
        };
        match form.filters.as_slice() {
            [deflate] => Some(Self { shuffle: false, level: level(deflate)? }),
            [shuffle, deflate] if shuffle == "shuffle" => Some(Self { shuffle: form.dtype.size() > 1, level: level(deflate)? }),
            _ => None,
        }
    }

    /// The same as Zarr names it (numcodecs; the level is of no matter to a decoder).
    fn codecs(self, dtype: DataType) -> Vec<Codec> {
        let shuffle = Codec { name: "numcodecs.shuffle".to_owned(), configuration: json!({"elementsize": dtype.size()}) };
        let zlib = Codec { name: "numcodecs.zlib".to_owned(), configuration: json!({"level": self.level}) };
        self.shuffle.then_some(shuffle).into_iter().chain([zlib]).collect()
    }
}

impl<'a> Kept<'a> {
    /// `None` for values that no file holds chunk by chunk: those in the plan, and texts.
    pub(super) fn new(
        recipe: &'a Recipe,
        (schema, position): (&Schema, usize),
        axes: &'a [ConcatAxis],
        (content, forms): (&'a Content, &'a SourceForms),
    ) -> Option<Self> {
        let variable = schema.variables.get(position)?.clone();
        let Content::Pieces(pieces) = content else { return None };
        if variable.dtype.is_text() {
            return None;
        }
        let summed = |lengths: &Vec<u64>| {
            lengths.iter().scan(0, |sum: &mut u64, length| Some(std::mem::replace(sum, sum.saturating_add(*length)))).collect()
        };
        let starts = pieces.axes.iter().filter_map(|&(axis, _)| axes.get(axis)).map(|axis| summed(&axis.lengths)).collect();
        Some(Self { recipe, position, shape: schema.shape(&variable), variable, axes, pieces, forms, starts })
    }

    /// Codecs, chunks and shards that let chunks be moved. `chunks`: what they would be else, and whether they may be others.
    pub(super) fn decide(
        self,
        codecs: Option<&CodecsChoice>,
        (chunks, open): (&Shape, bool),
        warnings: &mut Vec<String>,
    ) -> Option<Choice> {
        let asked = matches!(codecs, Some(CodecsChoice::Source));
        if !asked && (codecs.is_some() || self.recipe.output.format != OutputFormat::Zarr2) {
            return None;
        }
        let Some((first, chain)) = self.first().filter(|&(first, _)| asked || first == 0) else {
            warnings.extend(asked.then(|| self.nothing_to_keep()));
            return None;
        };
        let source = self.forms.forms.get(first).and_then(|form| form.chunks.clone());
        let open = open && matches!(self.recipe.output.chunks, Chunks::Auto { .. });
        let chunks = source.filter(|_| open).filter(|source| self.fits(first, chain, source)).unwrap_or_else(|| chunks.clone());
        let fits = self.fits(first, chain, &chunks);
        let wanted = asked || (fits && self.is_welcome(open, &chunks));
        if !wanted {
            return None;
        }
        let shards = if open && fits { self.shards(&chunks) } else { None };
        let moves = self.count(chain, &chunks);
        Some(Choice { codecs: chain.codecs(self.variable.dtype), chunks, shards, moves })
    }

    /// The first form that is shuffle and deflate.
    fn first(&self) -> Option<(usize, Chain)> {
        self.forms.forms.iter().enumerate().find_map(|(number, form)| Some((number, Chain::of(form)?)))
    }

    fn nothing_to_keep(&self) -> String {
        let held: Vec<String> = self.forms.forms.iter().take(3).map(held).collect();
        let name = &self.variable.name;
        format!(
            "variable `{name}`: no file holds it deflated, so there is nothing that `codecs: source` could keep; the files hold it {}. It is encoded as by default; name its `codecs`",
            held.join(", or ")
        )
    }

    /// True if all chunks of the first input of a form can be moved.
    fn fits(&self, form: usize, chain: Chain, chunks: &[u64]) -> bool {
        let holds = |cell: &usize| self.form(*cell) == Some(form);
        let cell = (0..self.pieces.inputs.len()).find(holds);
        cell.is_some_and(|cell| self.moved(cell, chain, chunks).1.is_none())
    }

    /// True if a store that was not asked to keep the files' compression should have these chunks.
    fn is_welcome(&self, open: bool, chunks: &[u64]) -> bool {
        let bytes = elements(chunks).saturating_mul(item_bytes(&self.variable));
        !open || (self.recipe.output.chunks_span.length == 0 && HANDY.contains(&bytes))
    }

    /// Shards of about the size that automatic chunks would have; `None` where chunks are large enough.
    fn shards(&self, chunks: &Shape) -> Option<Shape> {
        let Chunks::Auto { size, favour } = &self.recipe.output.chunks else { return None };
        let bytes = elements(chunks).saturating_mul(item_bytes(&self.variable));
        if bytes >= SMALL {
            return None;
        }
        let counts = ChunkGrid::new(self.shape.clone(), chunks.clone()).counts();
        let weights: Vec<f64> = self.variable.dimensions.iter().map(|name| favour.get(name).copied().unwrap_or(1.0)).collect();
        let together = automatic_chunks(&counts, &weights, bytes, size.0);
        (elements(&together) > 1).then(|| chunks.iter().zip(together).map(|(chunk, count)| chunk * count.max(1)).collect())
    }

    fn form(&self, cell: usize) -> Option<usize> {
        let input = (*self.pieces.inputs.get(cell)?)?;
        Some(self.forms.number(input))
    }

    /// How many chunks can be moved, and the commonest reason why others cannot.
    fn count(&self, chain: Chain, chunks: &[u64]) -> Moves {
        let of = ChunkGrid::new(self.shape.clone(), chunks.to_vec()).chunks();
        let mut moves = Moves { variable: self.position, of, ..Moves::default() };
        let mut reasons: BTreeMap<Hindrance, usize> = BTreeMap::new();
        for cell in (0..self.pieces.inputs.len()).filter(|cell| self.form(*cell).is_some()) {
            let (fitting, hindrance) = self.moved(cell, chain, chunks);
            moves.chunks += fitting;
            moves.whole_only |= fitting > 0 && *self.conversion(cell) != Conversion::Keep;
            if let Some(hindrance) = hindrance {
                *reasons.entry(hindrance).or_default() += 1;
            }
        }
        let commonest = reasons.into_iter().max_by_key(|(_, files)| *files);
        moves.reason = commonest.map(|(hindrance, files)| self.because(hindrance, files));
        moves
    }

    fn conversion(&self, cell: usize) -> &Conversion {
        let number = self.pieces.converted.get(cell).map_or(0, |&number| number as usize);
        self.pieces.conversions.get(number).unwrap_or(&Conversion::Keep)
    }

    /// Chunks of one file that can be moved, and why others cannot.
    fn moved(&self, cell: usize, chain: Chain, chunks: &[u64]) -> (u64, Option<Hindrance>) {
        if let Some(hindrance) = self.hindrance(cell, chain, chunks) {
            return (0, Some(hindrance));
        }
        let (mut start, mut length) = (vec![0; self.shape.len()], self.shape.clone());
        let counts: Shape = self.starts.iter().map(|starts| starts.len() as u64).collect();
        for ((&(axis, dimension), starts), position) in self.pieces.axes.iter().zip(&self.starts).zip(unravel(cell as u64, &counts)) {
            let lengths = self.axes.get(axis).map_or(&[][..], |axis| &axis.lengths);
            start[dimension] = starts.get(position as usize).copied().unwrap_or(0);
            length[dimension] = lengths.get(position as usize).copied().unwrap_or(0);
        }
        let (mut all, mut moved): (u64, u64) = (1, 1);
        for (((&start, &length), &chunk), &whole) in start.iter().zip(&length).zip(chunks).zip(&self.shape) {
            let cut = u64::from(start + length == whole && !length.is_multiple_of(chunk));
            all = all.saturating_mul(length.div_ceil(chunk));
            moved = moved.saturating_mul(if start.is_multiple_of(chunk) { length / chunk + cut } else { 0 });
        }
        (moved, (moved < all).then_some(Hindrance::Misplaced))
    }

    /// What keeps all chunks of one file from being moved.
    fn hindrance(&self, cell: usize, chain: Chain, chunks: &[u64]) -> Option<Hindrance> {
        let number = self.form(cell)?;
        let form = self.forms.forms.get(number);
        match form {
            _ if self.recipe.steps.iter().any(|(step, _)| self.is_reordered(step)) => Some(Hindrance::Reordered),
            None => Some(Hindrance::Compressed(number)),
            Some(form) if Chain::of(form).is_none_or(|other| other.shuffle != chain.shuffle) => Some(Hindrance::Compressed(number)),
            _ if !matches!(self.conversion(cell), Conversion::Keep | Conversion::MissingToNan { .. }) => Some(Hindrance::Converted),
            Some(form) if form.chunks.as_deref() != Some(chunks) => Some(Hindrance::Chunked(number)),
            Some(_) => None,
        }
    }

    /// True if a step may cut the variable's chunks or change the order of their elements; chunk tables tell for sure.
    fn is_reordered(&self, step: &Step) -> bool {
        let named = |name: &str| self.variable.dimensions.iter().any(|dimension| dimension == name.trim_start_matches('-'));
        match step {
            Step::Isel(step) => step.0.keys().any(|name| named(name)),
            Step::Sort(step) => step.0.iter().any(|name| named(name)),
            Step::Transpose(step) => step.0.iter().any(|name| named(name)),
            _ => false,
        }
    }

    fn because(&self, hindrance: Hindrance, files: usize) -> String {
        let of = self.pieces.inputs.iter().flatten().count();
        let form = |number: usize| self.forms.forms.get(number);
        match hindrance {
            Hindrance::Reordered => "a step cuts or reorders values".to_owned(),
            Hindrance::Converted => format!("the values of {files} of {of} files are converted"),
            Hindrance::Misplaced => format!("chunks of {files} of {of} files do not begin and end where the result's do"),
            Hindrance::Compressed(number) => {
                format!("{files} of {of} files hold it {}", form(number).map_or("in many ways".to_owned(), held))
            }
            Hindrance::Chunked(number) => {
                let lengths = form(number).and_then(|form| form.chunks.as_ref());
                let lengths = lengths.map_or("none".to_owned(), |lengths| lengths.iter().map(u64::to_string).collect::<Vec<_>>().join("×"));
                format!("the chunks of {files} of {of} files are {lengths}")
            }
        }
    }
}

/// How a file holds a variable, for a sentence.
fn held(form: &SourceForm) -> String {
    match form.filters.as_slice() {
        [] if form.chunks.is_none() => "in one piece".to_owned(),
        [] => "in chunks without filters".to_owned(),
        filters => format!("with {}", filters.join(" + ")),
    }
}
