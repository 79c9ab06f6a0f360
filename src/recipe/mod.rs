//! The recipe: YAML text in, resolved intent or every problem at once out.
//!
//! `parse` is the door. Behind it `tree` is the YAML with positions, `document` the file as written, `shape` holds the one
//! against the other, `resolve` gives the [`Recipe`] that the rest of the tool sees. `diagnostic` is how problems look, `lint` is
//! advice. No network and no files. Invariant: nothing in a recipe executes.

pub mod diagnostic;
pub mod document;
pub mod find;
mod fit;
pub mod lint;
pub mod parse;
mod resolve;
mod shape;
mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::array::DataType;
use crate::dataset::{Codec, Schema};
use crate::pattern::{Axis, Input};
use crate::size::ByteSize;
use crate::transform::Step;
use diagnostic::Span;
pub use find::Find;
pub(crate) use fit::fit;
pub use parse::{parse, parse_on};
pub(crate) use shape::similar;

/// A recipe, resolved: no option that has a default, names checked, units parsed.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The text it came from, for diagnostics that only the files can cause.
    pub text: RecipeText,
    /// `[a-z0-9-]`.
    pub id: String,
    /// What the dataset is, for people.
    pub about: About,
    /// Axes of the input matrix, merge axes first, then concat axes in the order of `combine.concat`.
    pub axes: Vec<Axis>,
    /// The files, in matrix order.
    pub inputs: Vec<Input>,
    /// How axes and inputs are found that are not written; there are none until `discover` has looked.
    pub find: Option<Arc<find::Find>>,
    /// What a missing file means.
    pub missing: MissingFile,
    /// What a missing file means at the end of the series, where it may still come.
    pub late: LateFile,
    /// What a published file means that changed upstream.
    pub changed: ChangedFile,
    /// Name of the credential that the operator binds to the hosts.
    pub auth: Option<String>,
    /// How files become one.
    pub combine: CombineRules,
    /// Per input, in order.
    pub steps: Vec<(Step, Span)>,
    /// How the result is stored.
    pub output: Output,
    /// What must hold of the result: checked after the plan where the plan can tell, else after the run.
    pub expect: Vec<Expectation>,
    /// Policies that have mattered already: of ends that move, of files that are missing.
    pub used: Vec<Used>,
    /// What is published at the target, whose encoding an append keeps where the recipe leaves it open.
    pub published: Option<Arc<Schema>>,
}

/// A policy of the recipe, or a lossless conversion, that mattered: what it was applied to, and what came of it.
///
/// Plans, reports and provenance list all of them. No byte of the result depends on the list itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Used {
    /// As the recipe writes it, or could: `missing: skip`, `units: convert`.
    pub policy: String,
    /// Where: `inputs`, a variable, a dimension.
    #[serde(rename = "where")]
    pub place: String,
    /// What was done, and to which files.
    pub what: String,
}

impl Used {
    /// A policy that mattered.
    #[must_use]
    pub fn new(policy: impl Into<String>, place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { policy: policy.into(), place: place.into(), what: what.into() }
    }
}

/// The text of a recipe and its name.
#[derive(Debug, Clone, Default)]
pub struct RecipeText {
    /// Path or URL, for messages.
    pub name: String,
    /// The text.
    pub text: String,
}

/// What the dataset is, for people; goes into the attributes of the result.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// One line.
    pub title: String,
    /// SPDX id or URL.
    pub license: String,
    /// Some paragraphs.
    pub description: Option<String>,
    /// Digital object identifier.
    pub doi: Option<String>,
    /// How to cite.
    pub citation: Option<String>,
    /// For search.
    pub keywords: Vec<String>,
    /// Who looks after the recipe.
    pub maintainers: Vec<String>,
    /// Who made the data: name, roles (as in STAC), URL.
    pub providers: Vec<Provider>,
}

/// Who made, licensed, processed or hosts the data.
#[derive(Debug, Clone, Default)]
pub struct Provider {
    /// Name.
    pub name: String,
    /// `producer`, `licensor`, `processor`, `host`.
    pub roles: Vec<String>,
    /// Home page.
    pub url: Option<String>,
}

/// What a missing file means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingFile {
    /// The run stops.
    #[default]
    Fail,
    /// Its position is left out.
    Skip,
    /// Its position is filled, where its length is certain (every other file along that axis has one and the same).
    Fill,
}

/// What a missing file means at the end of the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LateFile {
    /// What it means anywhere.
    #[default]
    AsMissing,
    /// The run stops.
    Fail,
    /// The series ends before it.
    Skip,
}

/// What a published file means that changed upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChangedFile {
    /// The run stops.
    #[default]
    Fail,
    /// What is published stays, made from the older file.
    Keep,
    /// What is published is built anew, where readers cannot see it half done.
    Rebake,
}

/// How files become one.
#[derive(Debug, Clone, Default)]
pub struct CombineRules {
    /// Where `combine.concat` names each dimension, for diagnostics; same order as the concat axes.
    pub concat: Vec<(String, Span)>,
    /// How far coordinates of different inputs may differ.
    pub join: Join,
    /// What to do with attributes (other than contract attributes) that differ.
    pub attributes: AttributePolicy,
    /// What to do with a duplicated or non-monotonic concat coordinate.
    pub order: OrderPolicy,
    /// What to do with a variable that some files lack.
    pub absent: AbsentPolicy,
    /// What to do with steps along a concat dimension that several files hold.
    pub overlap: OverlapPolicy,
    /// Whether units that differ are converted; else the run stops.
    pub convert_units: bool,
    /// What the run must not convert although nothing would be lost.
    pub strict: Strict,
}

/// Lossless conversions that the recipe forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Strict {
    /// `dtype: fail`.
    pub dtype: bool,
    /// `packing: fail`.
    pub packing: bool,
    /// `times: fail`.
    pub times: bool,
}

/// What to do with steps along a concat dimension that several files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverlapPolicy {
    /// Stop.
    #[default]
    Fail,
    /// Keep the first in the order of the inputs.
    First,
    /// Keep the last.
    Last,
}

/// How far coordinates of different inputs may differ.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Join {
    /// Not at all.
    #[default]
    Exact,
    /// By at most this much; the first input's values are kept.
    Tolerance(f64),
}

/// What to do with attributes that differ between inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttributePolicy {
    /// Leave out those that differ.
    #[default]
    DropConflicts,
    /// Keep the first input's.
    Override,
    /// Stop.
    Fail,
}

/// What to do with a duplicated or non-monotonic concat coordinate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OrderPolicy {
    /// Stop.
    #[default]
    Strict,
    /// Keep files and values in the order of the inputs.
    AsListed,
}

/// What to do with a variable that some files lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AbsentPolicy {
    /// Stop.
    #[default]
    Fail,
    /// Fill its part.
    Fill,
}

/// How the result is stored.
#[derive(Debug, Clone)]
pub struct Output {
    /// Chunk lengths.
    pub chunks: Chunks,
    /// Where the recipe says so, for diagnostics.
    pub chunks_span: Span,
    /// Shard lengths per dimension; `None`: no shards.
    pub shards: Option<BTreeMap<String, u64>>,
    /// Encoding per variable name; `*` stands for all others.
    pub encoding: BTreeMap<String, (EncodingChoice, Span)>,
    /// Zarr 3, Zarr 2 or Icechunk.
    pub format: OutputFormat,
    /// Whether an append may rewrite a last, partial chunk.
    pub rewrite_tail: bool,
}

/// Chunk lengths.
#[derive(Debug, Clone)]
pub enum Chunks {
    /// By dimension; dimensions not listed are whole. -1 is resolved to "not listed".
    Sizes(BTreeMap<String, u64>),
    /// Chosen by the planner.
    Auto {
        /// Bytes of one chunk to aim for.
        size: ByteSize,
        /// Weights: a dimension with 10 gets chunks ten times as long, relative to its length, as one with 1.
        favour: BTreeMap<String, f64>,
    },
}

/// How one variable is encoded; `None` leaves it to `*` or the default.
#[derive(Debug, Clone, Default)]
pub struct EncodingChoice {
    /// Bytes→bytes codecs.
    pub codecs: Option<CodecsChoice>,
    /// Own chunk lengths by dimension.
    pub chunks: Option<BTreeMap<String, u64>>,
    /// Stored type, with `scale_factor` and `add_offset` for packed integers.
    pub dtype: Option<DataType>,
    /// Packing of an integer `dtype`.
    pub packing: Option<(f64, f64)>,
    /// Fill value of a packed integer.
    pub fill: Option<i64>,
    /// What a time variable counts.
    pub units: Option<String>,
}

/// Which bytes→bytes codecs a variable is stored with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodecsChoice {
    /// `codecs: source`: the files' own shuffle and deflate, so that their chunks can be moved as they are.
    Source,
    /// These, in Zarr v3 form.
    Listed(Vec<Codec>),
}

/// On-disk format of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// Zarr version 3.
    #[default]
    Zarr3,
    /// Zarr version 2.
    Zarr2,
    /// An Icechunk repository of Zarr version 3.
    Icechunk,
}

/// What must hold of the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// Variable or dimension it is about.
    pub name: String,
    /// Where the recipe says so.
    pub span: Span,
    /// What must hold.
    pub rule: ExpectRule,
}

/// One rule of `expect`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpectRule {
    /// A time coordinate with this constant step (months and years are calendar steps).
    Regular(crate::pattern::Period),
    /// A dimension of this length.
    Length(u64),
    /// Every valid value lies between these, unpacked.
    ValuesBetween(#[serde(with = "crate::cf::exact")] f64, #[serde(with = "crate::cf::exact")] f64),
    /// At most this share (0 to 1) of the values is missing.
    MissingAtMost(#[serde(with = "crate::cf::exact")] f64),
    /// No chunk without a valid value.
    NoEmptyChunks,
    /// A coordinate that only grows, or only falls.
    Monotonic,
    /// Units attribute.
    Units(String),
    /// The first and last value of a coordinate.
    FirstLast(Option<String>, Option<String>),
}
