//! The result of a test, as it crosses from the job that ran a stranger's recipe to the job that may write.
//!
//! Written by `trial`, read by `render`. [`read`] takes it for hostile: whoever opened the pull request can hand over any bytes.
//! Invariant: what [`read`] gives is about the commit that was asked for, fits every limit here, names only ids and paths of plain
//! letters, and calls nothing good that was not written and compared. Texts in it are still foreign.

use serde::{Deserialize, Serialize};

use super::decide::Sha;
use super::feedstock::is_id;
use super::picture::Picture;

/// Version of this format.
pub const VERSION: u32 = 1;
/// Most bytes of a result.
pub const LARGEST: usize = 1 << 20;
/// Most recipes of a result.
pub const MOST_RECIPES: usize = 100;
/// Most entries of any other list.
pub const MOST_ENTRIES: usize = 200;
/// Most characters of a text.
pub const LONGEST_TEXT: usize = 4000;
/// Most lines of a log.
pub const MOST_LINES: usize = 60;
/// Largest number: what JavaScript can count to, and far more bytes than anybody has.
const LARGEST_NUMBER: u64 = 1 << 53;

/// The result of testing what a commit changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// [`VERSION`].
    pub version: u32,
    /// Version of gristmill.
    pub gristmill: String,
    /// The commit.
    pub head: Sha,
    /// Files that differ from the base.
    pub files: u64,
    /// Files that no feedstock may hold.
    pub refused: Vec<Refused>,
    /// Files that say what runs with secrets in reach.
    pub privileged: Vec<String>,
    /// One per recipe that changed.
    pub recipes: Vec<Outcome>,
}

/// A file that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// From the root of the repository.
    pub path: String,
    /// Why, and what to do.
    pub why: String,
}

/// What happened to a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Added,
    /// Its content changed.
    Modified,
    /// Only its place changed.
    Renamed,
    /// It is gone.
    Deleted,
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Written, opened again and compared with its sources.
    Passed,
    /// An error.
    Failed,
    /// Nothing to test: it moved, or it is gone.
    Skipped,
}

/// How far a test came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The recipe alone.
    Lint,
    /// Its files' headers.
    Plan,
    /// A store from a few of its files.
    Bake,
    /// The store, read again.
    Verify,
}

/// The test of one recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Id of the dataset.
    pub id: String,
    /// The recipe, from the root of the repository.
    pub path: String,
    /// What happened to it.
    pub change: Change,
    /// How the test ended.
    pub verdict: Verdict,
    /// How far it came.
    pub stage: Stage,
    /// Exit code.
    pub exit: u8,
    /// What the dataset is, once it is planned.
    pub dataset: Option<Dataset>,
    /// What the test did, once it ran.
    pub tested: Option<Tested>,
    /// What a full run would be, by the test.
    pub full: Option<Full>,
    /// What went wrong.
    pub errors: Vec<Problem>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// A map of what was baked, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Picture>,
    /// The last lines of the log, each with the seconds since the test began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// Something that went wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// Its name in `docs/errors.md`.
    pub code: Option<String>,
    /// What happened.
    pub message: String,
    /// Line of the recipe, from 1.
    pub line: Option<u32>,
    /// What to do.
    pub help: Option<String>,
}

/// What a dataset is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// One line.
    pub title: String,
    /// SPDX id or URL.
    pub license: String,
    /// Keys of its files.
    pub axes: Vec<Axis>,
    /// Its dimensions.
    pub dimensions: Vec<Dimension>,
    /// Its variables.
    pub variables: Vec<Variable>,
    /// From when to when, once it is baked: the first and the last file are always in the sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
}

/// From when to when a dataset goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// Its dimension.
    pub dimension: String,
    /// The first instant: ISO 8601.
    pub first: String,
    /// The last.
    pub last: String,
}

/// Files along one axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// The dimension that files follow one another along, or the keys.
    pub name: String,
    /// Positions.
    pub length: u64,
    /// The first position.
    pub first: String,
    /// The last.
    pub last: String,
}

/// A dimension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dimension {
    /// Its name.
    pub name: String,
    /// Its length in the test.
    pub length: u64,
    /// About its length in a full run.
    pub full: u64,
}

/// A variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its type.
    pub dtype: String,
    /// Its dimensions.
    pub dimensions: Vec<String>,
    /// Lengths of a chunk.
    pub chunks: Vec<u64>,
    /// Bytes of values in a chunk.
    pub chunk_bytes: u64,
    /// About the bytes of all its values in a full run.
    #[serde(default)]
    pub full_bytes: u64,
    /// True if it is a coordinate, as far as the store tells.
    #[serde(default)]
    pub coordinate: bool,
}

/// What a test did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tested {
    /// Files read.
    pub inputs: u64,
    /// Bytes of those.
    pub fetch_bytes: u64,
    /// Bytes of values.
    pub value_bytes: u64,
    /// Bytes of objects.
    pub stored_bytes: u64,
    /// Milliseconds, all in all.
    pub milliseconds: u64,
    /// Parts compared with the sources.
    pub compared: u64,
    /// Parts there are.
    pub of: u64,
}

/// What a full run would be, by the test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Full {
    /// Files.
    pub inputs: u64,
    /// Bytes to fetch.
    pub fetch_bytes: u64,
    /// Bytes to store.
    pub stored_bytes: u64,
    /// Milliseconds on a machine like the one that tested.
    pub milliseconds: u64,
}

/// Why a result is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unbelievable {
    /// More bytes than a result has.
    #[error("the result has more than {LARGEST} bytes")]
    TooLarge,
    /// No such thing.
    #[error("the result is not what `gristmill bot test` writes")]
    Malformed,
    /// Of another version.
    #[error("the result is of another version of gristmill")]
    Version,
    /// About another commit.
    #[error("the result is about another commit")]
    OtherCommit,
    /// Beyond a limit.
    #[error("the result breaks a rule: {0}")]
    Rule(&'static str),
}

impl Artifact {
    /// The result with as many pictures, and then logs, as it may have bytes.
    #[must_use]
    pub fn fitting(mut self) -> Self {
        let length = |result: &Self| serde_json::to_vec(result).map_or(0, |text| text.len());
        for number in (0..self.recipes.len()).rev() {
            if length(&self) <= LARGEST {
                return self;
            }
            self.recipes.iter_mut().skip(number).take(1).for_each(|recipe| recipe.picture = None);
        }
        if length(&self) > LARGEST {
            self.recipes.iter_mut().for_each(|recipe| recipe.log.clear());
        }
        self
    }
}

/// Reads a result that must be about `head`. The error quotes nothing of it.
///
/// # Errors
/// [`Unbelievable`].
pub fn read(bytes: &[u8], head: &Sha) -> Result<Artifact, Unbelievable> {
    if bytes.len() > LARGEST {
        return Err(Unbelievable::TooLarge);
    }
    // serde_json ends at a depth of 128.
    let artifact: Artifact = serde_json::from_slice(bytes).map_err(|_| Unbelievable::Malformed)?;
    if artifact.version != VERSION {
        return Err(Unbelievable::Version);
    }
    if artifact.head != *head {
        return Err(Unbelievable::OtherCommit);
    }
    check(&artifact).map_err(Unbelievable::Rule)?;
    Ok(artifact)
}

/// True for a path that can be written anywhere without harm: plain letters, inside the repository, a YAML file.
#[must_use]
pub fn is_recipe_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    let inside = path.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.starts_with('-'));
    let is_yaml = std::path::Path::new(path).extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    path.len() <= 300 && path.bytes().all(plain) && inside && is_yaml
}

type Rule = Result<(), &'static str>;

fn check(artifact: &Artifact) -> Rule {
    must(artifact.recipes.len() <= MOST_RECIPES, "too many recipes")?;
    must(artifact.refused.len() <= MOST_ENTRIES && artifact.privileged.len() <= MOST_ENTRIES, "too many files")?;
    texts([&artifact.gristmill].into_iter().chain(&artifact.privileged))?;
    texts(artifact.refused.iter().flat_map(|refused| [&refused.path, &refused.why]))?;
    numbers([artifact.files])?;
    artifact.recipes.iter().try_for_each(outcome)?;
    let mut ids: Vec<&str> = artifact.recipes.iter().map(|recipe| recipe.id.as_str()).collect();
    ids.sort_unstable();
    must(ids.windows(2).all(|pair| pair.first() != pair.last()), "a recipe twice")
}

fn outcome(outcome: &Outcome) -> Rule {
    must(is_id(&outcome.id), "an id that is none")?;
    must(is_recipe_path(&outcome.path), "a path that is none of a recipe")?;
    must(outcome.errors.len() <= MOST_ENTRIES && outcome.warnings.len() <= MOST_ENTRIES, "too many errors or warnings")?;
    texts(outcome.warnings.iter())?;
    texts(outcome.errors.iter().flat_map(|error| error.code.iter().chain([&error.message]).chain(&error.help)))?;
    must(outcome.log.len() <= MOST_LINES, "too many lines of a log")?;
    texts(&outcome.log)?;
    outcome.dataset.as_ref().map_or(Ok(()), dataset)?;
    if let Some(picture) = &outcome.picture {
        must(picture.is_sound(), "a picture that is none")?;
        texts([&picture.variable, &picture.at, &picture.units])?;
    }
    if let Some(tested) = &outcome.tested {
        let Tested { inputs, fetch_bytes, value_bytes, stored_bytes, milliseconds, compared, of } = *tested;
        numbers([inputs, fetch_bytes, value_bytes, stored_bytes, milliseconds, compared, of])?;
    }
    if let Some(Full { inputs, fetch_bytes, stored_bytes, milliseconds }) = outcome.full {
        numbers([inputs, fetch_bytes, stored_bytes, milliseconds])?;
    }
    let shown = outcome.tested.as_ref().is_some_and(|tested| tested.compared > 0 && tested.stored_bytes > 0);
    let good = outcome.exit == 0 && outcome.errors.is_empty() && outcome.stage == Stage::Verify && shown && outcome.dataset.is_some();
    let honest = match outcome.verdict {
        Verdict::Passed => good,
        Verdict::Failed => outcome.exit != 0 && !outcome.errors.is_empty(),
        Verdict::Skipped => outcome.errors.is_empty() && matches!(outcome.change, Change::Renamed | Change::Deleted),
    };
    must(honest, "a verdict without its grounds")
}

fn dataset(dataset: &Dataset) -> Rule {
    let Dataset { title, license, axes, dimensions, variables, times } = dataset;
    must([axes.len(), dimensions.len(), variables.len()].into_iter().all(|count| count <= MOST_ENTRIES), "too many variables")?;
    texts([title, license].into_iter().chain(axes.iter().flat_map(|axis| [&axis.name, &axis.first, &axis.last])))?;
    texts(dimensions.iter().map(|dimension| &dimension.name))?;
    numbers(axes.iter().map(|axis| axis.length).chain(dimensions.iter().flat_map(|dimension| [dimension.length, dimension.full])))?;
    texts(times.iter().flat_map(|times| [&times.dimension, &times.first, &times.last]))?;
    for variable in variables {
        must(variable.dimensions.len() <= 32 && variable.chunks.len() <= 32, "too many dimensions")?;
        texts([&variable.name, &variable.dtype].into_iter().chain(&variable.dimensions))?;
        numbers(variable.chunks.iter().copied().chain([variable.chunk_bytes, variable.full_bytes]))?;
    }
    Ok(())
}

fn must(holds: bool, rule: &'static str) -> Rule {
    if holds { Ok(()) } else { Err(rule) }
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> Rule {
    must(texts.into_iter().all(|text| text.chars().count() <= LONGEST_TEXT), "a text that is too long")
}

fn numbers(numbers: impl IntoIterator<Item = u64>) -> Rule {
    must(numbers.into_iter().all(|number| number <= LARGEST_NUMBER), "a number that is too large")
}
