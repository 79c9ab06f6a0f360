//! What a run did, as data: `report.json` and the summary on screen.
//!
//! Invariant: a report is written on every exit that opened the target, and before the first object is, so that a killed run leaves none
//! of an earlier one; it holds no secret.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Origin;
use super::tally::Tally;
use super::{Problem, RunError, Writing};
use crate::combine::Gap;
use crate::event::{Event, Reporter};
use crate::plan::Plan;
use crate::recipe::Used;

/// What a run did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// Version of this format.
    pub version: u32,
    /// Version of gristmill.
    pub gristmill: String,
    /// `id` of the recipe.
    pub recipe: String,
    /// Where the recipe came from.
    #[serde(default)]
    pub origin: Origin,
    /// URL of the target.
    pub target: String,
    /// Folder below the target, where versions are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_version: Option<String>,
    /// `done`, `nothing-to-do`, `interrupted` or `failed`.
    pub outcome: String,
    /// Exit code.
    pub exit: u8,
    /// What went wrong.
    pub errors: Vec<Problem>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// Policies of the recipe that mattered, and lossless conversions.
    #[serde(default)]
    pub used: Vec<Used>,
    /// Gaps of time coordinates.
    #[serde(default)]
    pub gaps: Vec<Gap>,
    /// [`Plan::identity`].
    pub plan: String,
    /// Every file read.
    pub inputs: Vec<InputReport>,
    /// Tasks of the plan, and how many of them this run did.
    pub tasks: u64,
    /// Tasks done by this run; the others were done before.
    pub tasks_run: u64,
    /// Objects written by all runs of the plan.
    pub objects: u64,
    /// Bytes of those objects.
    pub stored_bytes: u64,
    /// Bytes of values before encoding.
    pub value_bytes: u64,
    /// Chunks stored as the sources hold them (`codecs: source`).
    #[serde(default)]
    pub moved_chunks: u64,
    /// What verification compared.
    pub verification: Verification,
    /// True if the run found its result visible already.
    #[serde(default)]
    pub found_complete: bool,
    /// How the target was held against other runs.
    #[serde(default)]
    pub writing: Writing,
    /// Seconds per phase, of this run.
    pub seconds: BTreeMap<String, f64>,
}

/// One file read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InputReport {
    /// Where it is.
    pub url: String,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Its validator.
    pub etag: Option<String>,
    /// Its last modification.
    pub modified: Option<String>,
    /// Bytes read of it to fill objects.
    pub read_bytes: u64,
    /// Sum of the XXH3-128 of every part read.
    pub checksum: String,
}

/// What verification compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verification {
    /// Boxes compared with the sources.
    pub compared: u64,
    /// Boxes there are.
    pub of: u64,
    /// Values compared.
    pub values: u64,
    /// Name of the second reader.
    pub reader: String,
}

impl Report {
    /// A report of a run that has only begun.
    #[must_use]
    pub fn begin(recipe: &str, target: &str) -> Self {
        let gristmill = env!("CARGO_PKG_VERSION").to_owned();
        Self { version: 1, gristmill, recipe: recipe.to_owned(), target: target.to_owned(), ..Self::default() }
    }

    /// Notes how the target is held, and tells if that is best effort only.
    pub fn held(&mut self, writing: Writing, reporter: &dyn Reporter) {
        if let Some(weakness) = writing.weakness.as_ref().filter(|_| !writing.single_writer) {
            reporter.report(Event::Warned { message: format!("{}: {weakness}; see `gristmill store probe`", self.target) });
        }
        self.writing = writing;
    }

    /// Notes the plan.
    pub fn planned(&mut self, plan: &Plan, identity: &str) {
        identity.clone_into(&mut self.plan);
        self.tasks = plan.stages.iter().map(crate::plan::Stage::tasks).sum();
        self.value_bytes = plan.bytes();
        self.warnings.clone_from(&plan.warnings);
        self.used.clone_from(&plan.used);
        self.gaps.clone_from(&plan.gaps);
        let input = |input: &crate::plan::PlannedInput| InputReport {
            url: crate::pattern::without_secrets(&input.url),
            size: input.identity.size,
            etag: input.identity.etag.clone(),
            modified: input.identity.modified.clone(),
            read_bytes: 0,
            checksum: String::new(),
        };
        self.inputs = plan.inputs.iter().map(input).collect();
    }

    /// Notes what tasks left behind.
    pub fn worked(&mut self, tally: &Tally) {
        (self.objects, self.stored_bytes) = (tally.objects, tally.stored_bytes);
        self.moved_chunks = tally.moved_chunks;
        for (number, read) in &tally.reads {
            if let Some(input) = self.inputs.get_mut(*number as usize) {
                input.read_bytes = read.bytes;
                input.checksum.clone_from(&read.checksum);
            }
        }
    }

    /// What is true if the run is killed from now on: it was cut off, and can be resumed. Without inputs, of which there may be many.
    #[must_use]
    pub fn cut_off(&self) -> Self {
        Self { outcome: "interrupted".to_owned(), exit: super::INTERRUPTED, inputs: Vec::new(), ..self.clone() }
    }

    /// Notes how the run ended.
    pub fn ended(&mut self, result: &Result<(), RunError>) {
        let (outcome, exit) = match result {
            Ok(()) if self.found_complete => ("nothing-to-do", 0),
            Ok(()) => ("done", 0),
            Err(error @ (RunError::Interrupted | RunError::Lapsed { .. })) => ("interrupted", error.exit()),
            Err(error) => ("failed", error.exit()),
        };
        outcome.clone_into(&mut self.outcome);
        self.exit = exit;
        self.errors = result.as_ref().err().map(RunError::problems).unwrap_or_default();
    }
}
