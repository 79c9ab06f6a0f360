//! The plan as a file, and its identity.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Moves, Overhead, Plan, PlannedContent, PlannedInput, Stage, Weighed};
use crate::combine::{ConcatAxis, Gap, KeptSteps};
use crate::dataset::{Identity, Schema};
use crate::pattern::{KeyValue, without_secrets};
use crate::recipe::{Expectation, OutputFormat, Used};
use crate::transform::Step;

/// Version of the plan format that this tool writes and reads.
pub const VERSION: u32 = 2;

/// Why a saved plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// It is not a plan.
    #[error("the saved plan cannot be read; delete it and run again")]
    Unreadable(#[from] serde_json::Error),
    /// It is a plan that nobody can carry out.
    #[error("the saved plan contradicts itself ({what}); delete it and run again")]
    Contradiction {
        /// What does not fit together.
        what: String,
    },
    /// It was written by another version of the tool.
    #[error(
        "the saved plan has version {found}, this gristmill reads version {VERSION}; finish the run with the gristmill that began it, or use `--replace`"
    )]
    Version {
        /// The version found.
        found: u64,
    },
}

/// A plan as it is written: its own parts, without the secrets of addresses.
#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    id: &'a str,
    format: OutputFormat,
    schema: &'a Schema,
    axes: &'a [ConcatAxis],
    inputs: Vec<WrittenInput<'a>>,
    steps: &'a [Step],
    contents: &'a [PlannedContent],
    stages: &'a [Stage],
    #[serde(skip_serializing_if = "Option::is_none")]
    scratch: Option<&'a str>,
    warnings: &'a [String],
    memory: u64,
    overhead: Overhead,
    #[serde(skip_serializing_if = "<[Weighed]>::is_empty")]
    weighed: &'a [Weighed],
    #[serde(skip_serializing_if = "<[Expectation]>::is_empty")]
    expect: &'a [Expectation],
    #[serde(skip_serializing_if = "<[Moves]>::is_empty")]
    moves: &'a [Moves],
    #[serde(skip_serializing_if = "KeptSteps::is_empty")]
    kept: &'a KeptSteps,
    #[serde(skip_serializing_if = "<[Used]>::is_empty")]
    used: &'a [Used],
    #[serde(skip_serializing_if = "<[Gap]>::is_empty")]
    gaps: &'a [Gap],
}

#[derive(Serialize)]
struct WrittenInput<'a> {
    url: String,
    identity: &'a Identity,
    keys: &'a BTreeMap<String, KeyValue>,
}

impl<'a> Written<'a> {
    fn of(plan: &'a Plan) -> Self {
        // Every field by name, so that a new one cannot be forgotten.
        let Plan {
            version,
            id,
            format,
            schema,
            axes,
            inputs,
            steps,
            contents,
            stages,
            scratch,
            warnings,
            memory,
            overhead,
            weighed,
            expect,
            moves,
            kept,
            used,
            gaps,
        } = plan;
        let input = |PlannedInput { url, identity, keys }: &'a PlannedInput| WrittenInput { url: without_secrets(url), identity, keys };
        let (scratch, inputs) = (scratch.as_deref(), inputs.iter().map(input).collect());
        let (version, format, memory, overhead) = (*version, *format, *memory, *overhead);
        Self {
            version,
            id,
            format,
            schema,
            axes,
            inputs,
            steps,
            contents,
            stages,
            scratch,
            warnings,
            memory,
            overhead,
            weighed,
            expect,
            moves,
            kept,
            used,
            gaps,
        }
    }
}

/// What every version of the format begins with.
#[derive(Deserialize)]
struct Versioned {
    #[serde(default)]
    version: u64,
}

/// Bytes on their way into a hash.
struct Hashing(Sha256);

impl std::io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Plan {
    /// The plan as JSON, without the secrets that addresses may hold.
    ///
    /// # Errors
    /// [`PlanFileError::Unreadable`], which cannot happen for a plan that [`super::build()`] made.
    pub fn to_json(&self) -> Result<Vec<u8>, PlanFileError> {
        Ok(serde_json::to_vec(&Written::of(self))?)
    }

    /// A plan from JSON.
    ///
    /// # Errors
    /// [`PlanFileError`] if it is not a plan of this version.
    pub fn from_json(bytes: &[u8]) -> Result<Self, PlanFileError> {
        let Versioned { version: found } = serde_json::from_slice(bytes)?;
        if found != u64::from(VERSION) {
            return Err(PlanFileError::Version { found });
        }
        let plan = serde_json::from_slice(bytes)?;
        match super::check::contradiction(&plan) {
            Some(what) => Err(PlanFileError::Contradiction { what }),
            None => Ok(plan),
        }
    }

    /// SHA-256 of everything that decides the bytes of the result and the numbering of its tasks.
    #[must_use]
    pub fn identity(&self) -> String {
        let moves = self.moves.iter().filter(|moves| moves.chunks > 0);
        let moves: Vec<Moves> = moves.map(|moves| Moves { variable: moves.variable, ..Moves::default() }).collect();
        let (overhead, all) = (Overhead::default(), Written::of(self));
        let decisive = Written { warnings: &[], memory: 0, overhead, weighed: &[], scratch: None, expect: &[], moves: &moves, ..all };
        let decisive = Written { used: &[], gaps: &[], ..decisive };
        let mut hashing = std::io::BufWriter::with_capacity(1 << 16, Hashing(Sha256::new()));
        // A plan that cannot be written has the identity of what could be written of it; `to_json` says what is wrong.
        let _unwritten = serde_json::to_writer(&mut hashing, &decisive);
        let digest = hashing.into_inner().map(|hashing| hashing.0.finalize()).unwrap_or_default();
        let (half, _) = digest.split_at(16);
        format!("{:032x}", half.iter().fold(0, |number: u128, &byte| (number << 8) | u128::from(byte)))
    }
}
