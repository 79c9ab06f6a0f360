//! The recipe as written: one type per mapping of the file.
//!
//! Serde and schemars only; meaning is [`super::resolve`]'s. The JSON Schema of these types is the one table of allowed keys: [`super::shape`]
//! checks the text against it, with positions, before serde sees anything. Invariant: a key that is required is an `Option`
//! marked `required`, so that one absent key does not hide the other problems.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::find::written::FindWritten;
use crate::transform::Step;

/// A Gristmill recipe: what one analysis-ready dataset is made of.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Version of the recipe contract; 1.
    #[schemars(required)]
    pub schema: Option<i64>,
    /// Name of the dataset for machines: lowercase letters, digits and `-`.
    #[schemars(required)]
    pub id: Option<String>,
    /// Name of the dataset for people, in one line.
    #[schemars(required)]
    pub title: Option<String>,
    /// SPDX id of the data's licence, else the URL of its terms.
    #[schemars(required)]
    pub license: Option<String>,
    /// What the dataset is, in some sentences.
    pub description: Option<String>,
    /// Digital object identifier of the source data: `10.7289/V5SQ8XB5`.
    pub doi: Option<String>,
    /// How to cite the source data.
    pub citation: Option<String>,
    /// Words for search.
    pub keywords: Option<Vec<String>>,
    /// Who looks after the recipe.
    pub maintainers: Option<Vec<String>>,
    /// Who made, licensed, processed or hosts the data.
    pub providers: Option<Vec<ProviderWritten>>,
    /// The files.
    #[schemars(required)]
    pub inputs: Option<Inputs>,
    /// How the files become one dataset.
    pub combine: Option<Combine>,
    /// What is done to each file, in order, before files are combined.
    pub steps: Option<Vec<Step>>,
    /// How the result is stored.
    pub output: Option<OutputWritten>,
    /// What must hold of the result, by variable or dimension.
    pub expect: Option<BTreeMap<String, Expect>>,
}

/// Who made, licensed, processed or hosts the data.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Provider")]
pub struct ProviderWritten {
    /// Name.
    #[schemars(required)]
    pub name: Option<String>,
    /// As in STAC: `producer`, `licensor`, `processor`, `host`.
    pub roles: Option<Vec<String>>,
    /// Home page.
    pub url: Option<String>,
}

/// The files: a URL with keys in braces, a list, or a rule by which they are found.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// URL, or path relative to the recipe, of one file, or of all: `{name:format}` stands for a key, `{{` and `}}` for braces.
    pub url: Option<String>,
    /// The keys of the pattern, by name.
    pub keys: Option<BTreeMap<String, KeyWritten>>,
    /// Cells of the pattern that have no file: values of some of the keys.
    pub except: Option<Vec<BTreeMap<String, Word>>>,
    /// The files one by one, in the order in which they are concatenated.
    pub files: Option<Vec<String>>,
    /// How the files are found, instead of `url` or `files`.
    pub find: Option<FindWritten>,
    /// What a missing file means: `fail` (default), `skip`, or `fill` (only where its length is certain).
    pub missing: Option<Missing>,
    /// Files at the end of the series that are not there yet: `skip` ends the result before them, `fail` refuses them. Where it is
    /// absent they are as `missing` says; with an end that moves (`today`) they are never filled.
    pub late: Option<LateWritten>,
    /// A published file that changed upstream: `fail` (default), `keep` (what is published stays as it is), or `rebake`.
    pub changed: Option<ChangedWritten>,
    /// How much is read before planning: `full` (default).
    pub scan: Option<Scan>,
    /// Name of the credential that the operator binds to the hosts.
    pub auth: Option<String>,
}

/// A text, number or truth value that is read as it is written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("type" = ["string", "number", "boolean"]))]
pub struct Word(pub String);

/// What a missing file means.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Missing {
    Fail,
    Skip,
    Fill,
}

/// Files at the end of the series that are not there yet.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Late")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum LateWritten {
    Fail,
    Skip,
}

/// A published file that changed upstream.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Changed")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum ChangedWritten {
    Fail,
    Keep,
    Rebake,
}

/// How much is read before planning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Scan {
    Full,
    Sampled,
}

/// The values of a key; exactly one of the three.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Key")]
pub struct KeyWritten {
    /// Dates in equal steps.
    pub dates: Option<Dates>,
    /// Whole numbers in equal steps.
    pub range: Option<Range>,
    /// Values one by one.
    pub list: Option<Vec<Word>>,
}

/// Dates in equal steps, ends inclusive.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dates {
    /// First date: `1981`, `1981-09`, `1981-09-01` or `1981-09-01T06:30`.
    #[schemars(required)]
    pub start: Option<Word>,
    /// Last date; `2024-12` is the whole month, `2024-12-31` the whole day; or one that moves: `today`, `today - 2 days`.
    #[schemars(required)]
    pub end: Option<Word>,
    /// `1 day`, `6 hours`, `3 months`, `1 year`; months and years are calendar steps.
    #[schemars(required)]
    pub step: Option<String>,
}

/// Whole numbers in equal steps, ends inclusive.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// First number.
    #[schemars(required)]
    pub start: Option<i64>,
    /// Last number, if a step hits it.
    #[schemars(required)]
    pub end: Option<i64>,
    /// From one to the next; 1 if absent.
    pub step: Option<i64>,
}

/// How the files become one dataset.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Combine {
    /// Dimensions along which files follow one another: keys named like the dimension, or `{dim: time, keys: [year, month]}`.
    pub concat: Option<Vec<ConcatEntry>>,
    /// Keys along which files hold different variables.
    pub merge: Option<Vec<String>>,
    /// How far coordinates that all files share may differ: `exact` (default) or `{tolerance: 1e-6}`.
    pub join: Option<JoinWritten>,
    /// Attributes that differ: `drop_conflicts` (default), `override` (the first file's), or `fail`.
    pub attributes: Option<AttributesWritten>,
    /// A coordinate that goes back or repeats: `strict` (default) refuses it, `as_listed` keeps the order of the inputs.
    pub order: Option<Order>,
    /// A variable that some files lack: `fail` (default) or `fill`.
    pub absent: Option<Absent>,
    /// Steps along a concat dimension that several files hold: `fail` (default), or keep the `first` or the `last` file's.
    pub overlap: Option<OverlapWritten>,
    /// `units` that differ: `fail` (default), or `convert` to the first file's, in float64, where the factor is exactly known.
    pub units: Option<UnitsWritten>,
    /// Types that differ: `widen` (default) to one that holds every value exactly, or `fail`.
    pub dtype: Option<TypesWritten>,
    /// Packing that differs: `unpack` (default) to float64, or `fail`.
    pub packing: Option<PackingWritten>,
    /// Times that are counted differently: `convert` (default) exactly, or `fail`.
    pub times: Option<TimesWritten>,
}

/// One dimension along which files follow one another.
// Untagged is harmless here and below: positions come from `tree`, and `shape` has already chosen the alternative.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ConcatEntry {
    /// A key named like the dimension.
    Key(String),
    /// A dimension, and the keys whose combinations follow one another along it.
    Grouped(Grouped),
}

/// A dimension and its keys.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grouped {
    /// The dimension.
    #[schemars(required)]
    pub dim: Option<String>,
    /// Its keys; the last varies fastest.
    #[schemars(required)]
    pub keys: Option<Vec<String>>,
}

/// How far coordinates may differ.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Join")]
pub enum JoinWritten {
    /// Not at all.
    Exact,
    /// By at most this much, in the coordinate's own unit.
    Tolerance(f64),
}

/// What happens to attributes that differ.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "AttributePolicy")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum AttributesWritten {
    DropConflicts,
    Override,
    Fail,
}

/// What happens to a coordinate that goes back or repeats.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Order {
    Strict,
    AsListed,
}

/// What happens to a variable that some files lack.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Absent {
    Fail,
    Fill,
}

/// What happens to steps that several files hold.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Overlap")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum OverlapWritten {
    Fail,
    First,
    Last,
}

/// What happens to units that differ.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "UnitsPolicy")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum UnitsWritten {
    Fail,
    Convert,
}

/// What happens to types that differ.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "TypesPolicy")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum TypesWritten {
    Widen,
    Fail,
}

/// What happens to packing that differs.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "PackingPolicy")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum PackingWritten {
    Unpack,
    Fail,
}

/// What happens to times that are counted differently.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "TimesPolicy")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum TimesWritten {
    Convert,
    Fail,
}

/// How the result is stored.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Output")]
pub struct OutputWritten {
    /// Chunk lengths by dimension (unlisted dimensions are whole, as is -1), or `{auto: {size: 64 MiB, favour: {time: 10}}}`.
    pub chunks: Option<ChunksWritten>,
    /// Shard lengths by dimension, multiples of the chunk's; unlisted dimensions as the chunk. Absent: no shards.
    pub shards: Option<BTreeMap<String, i64>>,
    /// Encoding by variable; `"*"` is for all others.
    pub encoding: Option<BTreeMap<String, EncodingWritten>>,
    /// `zarr3` (default) or `zarr2`.
    pub format: Option<FormatWritten>,
    /// How a published store grows: `aligned` (default) only by whole chunks, `rewrite-tail` by rewriting a last, partial chunk.
    pub append: Option<AppendWritten>,
}

/// How a published store grows.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Append")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum AppendWritten {
    Aligned,
    RewriteTail,
}

/// Chunk lengths: automatic, or by dimension.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Chunks")]
pub enum ChunksWritten {
    /// Chosen by the planner.
    Auto(AutoKey),
    /// By dimension.
    Lengths(BTreeMap<String, i64>),
}

/// `{auto: …}`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AutoKey {
    /// What to aim for.
    #[schemars(required)]
    pub auto: Option<Auto>,
}

/// What automatic chunks aim for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auto {
    /// Bytes of one chunk before compression; `64 MiB` if absent.
    pub size: Option<Word>,
    /// Weights: a dimension with 10 gets chunks ten times as long, relative to its length, as one with 1.
    pub favour: Option<BTreeMap<String, f64>>,
}

/// On-disk format of the result.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Format")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum FormatWritten {
    Zarr3,
    Zarr2,
    Icechunk,
    Virtual,
}

/// How one variable is encoded.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Encoding")]
pub struct EncodingWritten {
    /// The bytes→bytes part as Zarr v3 writes it, or a shorthand: `zstd`, `gzip`, `blosc`, `"blosc:lz4"`, `none`;
    /// or `source`: keep the files' own shuffle and deflate, and move their chunks as they are where they fit.
    pub codecs: Option<Codecs>,
    /// Own chunk lengths by dimension.
    pub chunks: Option<BTreeMap<String, i64>>,
    /// Stored type: `int16`, `float32`, …
    pub dtype: Option<String>,
    /// Packing of an integer `dtype`: stored = (value − `add_offset`) ÷ `scale_factor`.
    pub scale_factor: Option<f64>,
    /// Packing of an integer `dtype`.
    pub add_offset: Option<f64>,
    /// Missing-value mark of a packed integer.
    pub fill_value: Option<i64>,
    /// What a time variable counts, whatever its files count: `days since 1970-01-01`; as int64, or as `dtype` says.
    pub units: Option<String>,
}

/// Codecs: a shorthand, or a list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Codecs {
    /// One codec in short, or `none`, or `source`.
    Short(String),
    /// Applied in this order.
    List(Vec<CodecEntry>),
}

/// One codec.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum CodecEntry {
    /// In short.
    Short(String),
    /// In full.
    Full(CodecWritten),
}

/// One codec as Zarr v3 writes it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Codec")]
pub struct CodecWritten {
    /// `blosc`, `zstd`, `gzip`, `crc32c`; or `numcodecs.*`, which not every reader knows.
    #[schemars(required)]
    pub name: Option<String>,
    /// Its settings.
    pub configuration: Option<BTreeMap<String, serde_json::Value>>,
}

/// What must hold of one variable or dimension.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Constant step of a time coordinate: `1 day`.
    pub regular: Option<String>,
    /// True: each value of a coordinate is greater than the one before, or each is less.
    pub monotonic: Option<bool>,
    /// Length of a dimension.
    pub length: Option<i64>,
    /// Bounds of every valid value, unpacked.
    pub values_between: Option<Vec<f64>>,
    /// How many values may be missing.
    pub missing_values: Option<MissingValues>,
    /// True: every chunk holds at least one value that is not missing.
    pub no_empty_chunks: Option<bool>,
    /// The `units` attribute.
    pub units: Option<String>,
    /// First value of a coordinate; of time: a date.
    pub first: Option<Word>,
    /// Last value of a coordinate; of time: a date.
    pub last: Option<Word>,
}

/// How many values may be missing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MissingValues {
    /// Share of all values: `60 %` or 0.6.
    #[schemars(required)]
    pub at_most: Option<Word>,
}

/// The JSON Schema of a recipe, as `schemas/recipe.v1.json` holds it.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Document);
    schema.insert("title".to_owned(), "Gristmill recipe, schema 1".into());
    schema.to_value()
}

/// [`json_schema`] as the text of `schemas/recipe.v1.json`.
#[must_use]
pub fn schema_text() -> String {
    // The alternate form of a JSON value's Display is indented, and cannot fail.
    format!("{:#}\n", json_schema())
}
