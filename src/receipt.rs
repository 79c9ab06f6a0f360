//! The small object that a finished task leaves: what it wrote, from what.
//!
//! Plain data; who writes and reads receipts is `run` and `executor`. Invariant: a receipt is written after every object it
//! names is safely stored, holds no time or host, and two runs of one task leave receipts that [tell the same](Receipt::agrees_with).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cf::statistics::Statistics;

/// One stored object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    /// Key below the target: `sst/c/0/0/0`.
    pub key: String,
    /// Stored bytes.
    pub bytes: u64,
    /// XXH3-128 of the stored bytes, hexadecimal.
    pub checksum: String,
}

/// What a task read of one input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRead {
    /// Number of the input in the plan.
    pub input: u32,
    /// Bytes read.
    pub bytes: u64,
    /// Sum (modulo 2^128) of the XXH3-128 of every part read, hexadecimal: the same in whatever order parts were read.
    pub checksum: String,
}

impl InputRead {
    /// Adds what another task read of the same input.
    pub fn add(&mut self, other: &Self) {
        let sum = |text: &str| u128::from_str_radix(text, 16).unwrap_or(0);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.checksum = format!("{:032x}", sum(&self.checksum).wrapping_add(sum(&other.checksum)));
    }
}

/// What a finished task leaves behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Identity of the plan the task belongs to.
    pub plan: String,
    /// Stage of the plan, from 0.
    pub stage: u32,
    /// Number of the task within the stage.
    pub task: u64,
    /// Every object of the target the task owns, in key order.
    pub chunks: Vec<ChunkRef>,
    /// Every scratch object the task owns, in key order: no part of the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scratch: Vec<ChunkRef>,
    /// What was read, input by input, ascending.
    pub inputs: Vec<InputRead>,
    /// Bytes of values before encoding.
    pub raw_bytes: u64,
    /// What the values of the task's objects are, for variables of which the recipe expects something that only values tell.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub statistics: BTreeMap<String, Statistics>,
    /// Chunks of those objects that are stored as the sources hold them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub moved: u64,
    /// How often the task had been done before: more than never only where the store had lost what it acknowledged.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempt: u64,
    /// Number of the target's holder who kept it (`run::lock`): a holder whose target was taken over by another, and who does not know
    /// it yet, has a smaller one. 0 in receipts of an older gristmill, and until one is kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u64,
}

impl Receipt {
    /// True if both tell of the same task and the same objects with the same bytes. How often, under whose lease and from which
    /// requests they came does not count.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        (self.stage, self.task) == (other.stage, other.task)
            && (&self.plan, &self.chunks, &self.scratch) == (&other.plan, &other.chunks, &other.scratch)
    }

    /// Every object it names, of the target and of scratch.
    pub fn objects(&self) -> impl Iterator<Item = &ChunkRef> {
        self.chunks.iter().chain(&self.scratch)
    }

    /// Key of an object that only this receipt names, or that has other bytes in the other one.
    #[must_use]
    pub fn differs_in(&self, other: &Self) -> Option<&str> {
        let known: BTreeMap<&str, &ChunkRef> = other.objects().map(|chunk| (chunk.key.as_str(), chunk)).collect();
        self.objects().find(|chunk| known.get(chunk.key.as_str()) != Some(chunk)).map(|chunk| chunk.key.as_str())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// XXH3-128 of some bytes, hexadecimal: the checksum used in receipts.
#[must_use]
pub fn checksum(bytes: &[u8]) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(bytes))
}
