//! What people are shown of a job, and what of it stays on disk.
//!
//! Not for the ledger, which says what was begun and what came of it. Invariant: it holds no secret and no foreign text but names that
//! were checked (ids, repositories, commits), and the reason of a failure, which pages escape.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Task;
use crate::bot::decide::Job;

/// A job as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number on this machine.
    pub number: u64,
    /// The repository, `owner/name`.
    pub repository: String,
    /// True if anybody may see it.
    pub public: bool,
    /// `test`, `bake` or `update`.
    pub kind: String,
    /// The dataset.
    pub recipe: String,
    /// The pull request.
    pub pull: Option<u64>,
    /// The commit, or the day of an update.
    pub at: String,
    /// Counted from 1.
    pub attempt: u32,
    /// How far it is.
    pub stage: Stage,
    /// When it came.
    pub queued: Timestamp,
    /// When it began.
    pub begun: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It waits.
    Waiting,
    /// It runs.
    Running,
    /// It ended.
    Ended(Ending),
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Well.
    Done,
    /// With an error.
    Failed {
        /// Exit code, if it ended by itself.
        exit: Option<i32>,
        /// A limit that it ran into, or what kept it from beginning.
        why: Option<String>,
    },
    /// It was called off.
    Cancelled,
    /// The server stopped; it goes on at the next start.
    Interrupted,
}

/// The record, in the folder of a job.
const RECORD: &str = "job.json";

impl Record {
    /// Of a job that waits.
    pub(super) fn of(task: &Task, queued: Timestamp) -> Self {
        let (kind, pull, at, recipe) = match &task.job {
            Job::Test { pull, head, recipe } => ("test", Some(*pull), head.to_string(), recipe),
            Job::Bake { commit, recipe } => ("bake", None, commit.to_string(), recipe),
            Job::Update { day, recipe } => ("update", None, day.clone(), recipe),
        };
        let (number, repository, public, attempt) = (task.number, task.repository.clone(), task.public, task.attempt);
        let (kind, recipe, stage) = (kind.to_owned(), recipe.clone(), Stage::Waiting);
        Self { number, repository, public, kind, recipe, pull, at, attempt, stage, queued, begun: None, ended: None }
    }

    pub(super) fn save(&self, folder: &Path) {
        let kept = serde_json::to_vec(self).map_err(io::Error::other).and_then(|json| std::fs::write(folder.join(RECORD), json));
        if let Err(error) = kept {
            tracing::warn!(%error, job = self.number, "the record of a job cannot be kept; after a restart it is not shown");
        }
    }
}

impl Stage {
    /// In one word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Waiting => "queued",
            Self::Running => "running",
            Self::Ended(ending) => ending.word(),
        }
    }
}

impl Ending {
    /// In one word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Jobs that ended under an earlier process, newest first, and the next number. What a killed process left of others is removed: those
/// jobs begin anew.
pub(super) fn earlier(folder: &Path) -> io::Result<(VecDeque<Record>, u64)> {
    let (mut records, mut next) = (Vec::new(), 1);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok()) else { continue };
        next = next.max(number.saturating_add(1));
        let read = std::fs::read(entry.path().join(RECORD)).ok().and_then(|json| serde_json::from_slice::<Record>(&json).ok());
        match read.filter(|record| record.number == number) {
            Some(record) => records.push(record),
            None => std::fs::remove_dir_all(entry.path())?,
        }
    }
    records.sort_by_key(|record| std::cmp::Reverse(record.number));
    Ok((records.into(), next))
}
