//! What a dataset was made of and how: `provenance.json` beside the store.
//!
//! Written with every commit, right before anything becomes visible; one more copy per plan stays under `provenance/`, by which what is
//! committed is told from what was about to be. Not for what went wrong (`report.json`). Invariant: a committed store has the provenance
//! of its plan, it holds no secret, and nothing of it is in the store, whose bytes follow from the plan alone.

use std::collections::BTreeMap;
use std::fmt::Debug;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RunError;
use super::origin::{self, Origin};
use super::report::{InputReport, Report, Verification};
use super::state::State;
use crate::cf::Conversion;
use crate::combine::{Gap, Pieces};
use crate::plan::{Plan, PlannedContent};
use crate::recipe::{Recipe, Used};

const LATEST: &str = "provenance.json";
/// Version of this format.
const VERSION: u32 = 1;

/// What a dataset was made of and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "Provenance of a Gristmill store, version 1")]
pub struct Provenance {
    /// Version of this format.
    pub version: u32,
    /// Version of gristmill that committed it.
    pub gristmill: String,
    /// `id` of the recipe.
    pub dataset: String,
    /// `title` of the recipe.
    pub title: String,
    /// `license` of the recipe.
    pub license: String,
    /// When it was committed: RFC 3339, UTC.
    pub committed: String,
    /// Identity of the plan: the bytes of the store follow from it.
    pub plan: String,
    /// Identities of the plans whose objects were left as they were, oldest first.
    pub continues: Vec<String>,
    /// The recipe.
    pub recipe: RecipeUsed,
    /// Every file, in the order of the plan.
    pub inputs: Vec<InputReport>,
    /// What the recipe says, or leaves at its default, of files that disagree or are missing.
    pub policies: BTreeMap<String, String>,
    /// Where that mattered, and lossless conversions.
    pub used: Vec<Used>,
    /// Gaps of time coordinates.
    pub gaps: Vec<Gap>,
    /// What was done to raw values on their way.
    pub conversions: Vec<Converted>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// What was compared with the sources before the commit.
    pub verification: Verification,
    /// Objects that the tasks of this plan wrote; those of the plans it continues not counted.
    pub objects: u64,
    /// Bytes of those objects.
    pub stored_bytes: u64,
    /// Bytes of all values, before encoding.
    pub value_bytes: u64,
    /// Chunks stored as the sources hold them.
    pub moved_chunks: u64,
    /// Seconds per phase of the run that committed.
    pub seconds: BTreeMap<String, f64>,
}

/// The recipe as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecipeUsed {
    /// Where it came from.
    pub origin: Origin,
    /// Its text; secrets in addresses are hidden.
    pub text: String,
}

/// A conversion of a variable's raw values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Converted {
    /// The variable.
    pub variable: String,
    /// What was done.
    pub what: String,
    /// To the values of so many files.
    pub files: u64,
}

impl Provenance {
    /// Of a plan whose objects are all stored.
    fn of(recipe: &Recipe, plan: &Plan, report: &Report) -> Self {
        Self {
            version: VERSION,
            gristmill: env!("CARGO_PKG_VERSION").to_owned(),
            dataset: recipe.id.clone(),
            title: recipe.about.title.clone(),
            license: recipe.about.license.clone(),
            committed: jiff::Timestamp::now().to_string(),
            plan: report.plan.clone(),
            continues: Vec::new(),
            recipe: RecipeUsed { origin: report.origin.clone(), text: origin::shown(&recipe.text.text) },
            inputs: report.inputs.clone(),
            policies: policies(recipe),
            used: plan.used.clone(),
            gaps: plan.gaps.clone(),
            conversions: conversions(plan),
            warnings: plan.warnings.clone(),
            verification: report.verification.clone(),
            objects: report.objects,
            stored_bytes: report.stored_bytes,
            value_bytes: report.value_bytes,
            moved_chunks: report.moved_chunks,
            seconds: report.seconds.clone(),
        }
    }

    /// Takes over what an earlier commit read of files that this one had no need to read.
    fn continuing(mut self, before: &Self) -> Self {
        self.continues = before.continues.iter().chain([&before.plan]).filter(|plan| **plan != self.plan).cloned().collect();
        let known: BTreeMap<&str, &InputReport> = before.inputs.iter().map(|input| (input.url.as_str(), input)).collect();
        for input in &mut self.inputs {
            let same = |known: &&&InputReport| (&known.size, &known.etag, &known.modified) == (&input.size, &input.etag, &input.modified);
            if let Some(known) = known.get(input.url.as_str()).filter(same).filter(|_| input.read_bytes == 0) {
                (input.read_bytes, input.checksum) = (known.read_bytes, known.checksum.clone());
            }
        }
        self
    }
}

/// Keeps the provenance of a plan that is about to be committed.
pub(super) fn keep(state: &State, recipe: &Recipe, plan: &Plan, report: &Report) -> Result<(), RunError> {
    let provenance = Provenance::of(recipe, plan, report);
    match published(state)? {
        Some(before) => save(state, &provenance.continuing(&before)),
        None => save(state, &provenance),
    }
}

fn save(state: &State, provenance: &Provenance) -> Result<(), RunError> {
    let text = serde_json::to_vec_pretty(provenance).unwrap_or_default();
    state.put(&key(&provenance.plan), text.clone())?;
    Ok(state.put(LATEST, text)?)
}

fn key(plan: &str) -> String {
    format!("provenance/{plan}.json")
}

/// The provenance of what is published.
///
/// # Errors
/// [`RunError::Store`].
pub fn published(state: &State) -> Result<Option<Provenance>, RunError> {
    let Some(committed) = state.committed()? else { return Ok(None) };
    state.json(&key(&committed.plan))
}

/// The JSON Schema of `provenance.json`, as `schemas/provenance.v1.json` holds it.
#[must_use]
pub fn schema_text() -> String {
    // The alternate form of a JSON value's Display is indented, and cannot fail.
    format!("{:#}\n", schemars::schema_for!(Provenance).to_value())
}

fn policies(recipe: &Recipe) -> BTreeMap<String, String> {
    let rules = &recipe.combine;
    [
        ("inputs.missing", words(&recipe.missing)),
        ("inputs.late", words(&recipe.late)),
        ("inputs.changed", words(&recipe.changed)),
        ("combine.join", words(&rules.join)),
        ("combine.attributes", words(&rules.attributes)),
        ("combine.order", words(&rules.order)),
        ("combine.absent", words(&rules.absent)),
        ("combine.overlap", words(&rules.overlap)),
        ("combine.units", if rules.convert_units { "convert" } else { "fail" }.to_owned()),
    ]
    .map(|(name, word)| (name.to_owned(), word))
    .into()
}

/// The name of a variant as recipes write it: `DropConflicts` is `drop_conflicts`.
fn words(value: &dyn Debug) -> String {
    let mut words = String::new();
    for letter in format!("{value:?}").chars() {
        if letter.is_uppercase() && words.ends_with(char::is_alphabetic) {
            words.push('_');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

fn conversions(plan: &Plan) -> Vec<Converted> {
    let mut all = Vec::new();
    for (variable, content) in plan.schema.variables.iter().zip(&plan.contents) {
        let PlannedContent::Pieces(pieces) = content else { continue };
        for (number, conversion) in pieces.conversions.iter().enumerate() {
            let files = files(pieces, number);
            all.extend(told(conversion).map(|what| Converted { variable: variable.name.clone(), what, files }));
        }
    }
    all
}

/// Files whose values a conversion is for.
fn files(pieces: &Pieces, conversion: usize) -> u64 {
    let of = |cell: usize| pieces.converted.get(cell).map_or(0, |&number| number as usize);
    pieces.inputs.iter().enumerate().filter(|(cell, input)| input.is_some() && of(*cell) == conversion).count() as u64
}

/// A conversion in words; `None` if nothing is done.
fn told(conversion: &Conversion) -> Option<String> {
    Some(match conversion {
        Conversion::Keep => return None,
        Conversion::MissingToNan { .. } => "marks of missing values became NaN".to_owned(),
        Conversion::Unpack { scale, offset, .. } => format!("unpacked: raw × {scale} + {offset}, as float64"),
        Conversion::Rescale { .. } => "converted to other units, as float64".to_owned(),
        Conversion::Retime { multiply, divide, add, .. } => format!("times counted anew: (raw × {multiply} + {add}) ÷ {divide}, as int64"),
        Conversion::Refill { to, .. } => format!("marks of missing values became {}", to.plain()),
        Conversion::Widen { to, .. } => format!("widened to {to}"),
        Conversion::Repack { pack: (scale, offset), fill, .. } => {
            format!("packed by the recipe: (value − {offset}) ÷ {scale}, as {}", fill.dtype())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{AttributePolicy, Join, MissingFile};

    #[test]
    fn policies_are_written_as_recipes_write_them() {
        assert_eq!(words(&AttributePolicy::DropConflicts), "drop_conflicts");
        assert_eq!(words(&MissingFile::Fail), "fail");
        assert_eq!(words(&Join::Tolerance(1e-6)), "tolerance(1e-6)");
    }

    #[test]
    fn conversions_are_told_but_for_none() {
        assert_eq!(told(&Conversion::Keep), None);
        let unpack = Conversion::Unpack { scale: 0.01, offset: 273.15, missing: vec![], unsigned: false };
        assert_eq!(told(&unpack).as_deref(), Some("unpacked: raw × 0.01 + 273.15, as float64"));
    }
}
