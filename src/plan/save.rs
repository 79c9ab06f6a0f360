//! The plan as a file, and its identity.

use sha2::{Digest, Sha256};

use super::{Moves, Overhead, Plan};
use crate::pattern::without_secrets;

/// Version of the plan format that this tool writes and reads.
pub const VERSION: u32 = 1;

/// Why a saved plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// It is not a plan.
    #[error("the saved plan cannot be read; delete it and run again")]
    Unreadable(#[from] serde_json::Error),
    /// It was written by another version of the tool.
    #[error(
        "the saved plan has version {found}, this gristmill reads version {VERSION}; finish the run with the gristmill that began it, or use `--replace`"
    )]
    Version {
        /// The version found.
        found: u64,
    },
}

impl Plan {
    /// The plan as JSON, without the secrets that addresses may hold.
    ///
    /// # Errors
    /// [`PlanFileError::Unreadable`], which cannot happen for a plan that [`super::build()`] made.
    pub fn to_json(&self) -> Result<Vec<u8>, PlanFileError> {
        let mut public = self.clone();
        public.inputs.iter_mut().for_each(|input| input.url = without_secrets(&input.url));
        Ok(serde_json::to_vec(&public)?)
    }

    /// A plan from JSON.
    ///
    /// # Errors
    /// [`PlanFileError`] if it is not a plan of this version.
    pub fn from_json(bytes: &[u8]) -> Result<Self, PlanFileError> {
        let value: serde_json::Value = serde_json::from_slice(bytes)?;
        let found = value.get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if found != u64::from(VERSION) {
            return Err(PlanFileError::Version { found });
        }
        Ok(serde_json::from_value(value)?)
    }

    /// SHA-256 of everything that decides the bytes of the result and the numbering of its tasks.
    #[must_use]
    pub fn identity(&self) -> String {
        let moves = self.moves.iter().filter(|moves| moves.chunks > 0);
        let moves = moves.map(|moves| Moves { variable: moves.variable, ..Moves::default() }).collect();
        let decisive = Self {
            warnings: Vec::new(),
            memory: 0,
            overhead: Overhead::default(),
            weighed: Vec::new(),
            scratch: None,
            expect: Vec::new(),
            moves,
            ..self.clone()
        };
        let bytes = decisive.to_json().unwrap_or_default();
        let digest = Sha256::digest(&bytes);
        let (half, _) = digest.split_at(16);
        format!("{:032x}", half.iter().fold(0, |number: u128, &byte| (number << 8) | u128::from(byte)))
    }
}
