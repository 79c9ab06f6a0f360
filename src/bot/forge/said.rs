//! What the bot says at a code host.
//!
//! Each is found again by what it is about: a comment by its pull request, a reply by what it answers, a check by commit and name,
//! a deployment by commit and environment, an issue by its dataset. Texts are Markdown, and already made harmless by `render`.

use serde_json::Value;

use crate::bot::decide::{Reaction, Sha};

/// Something to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The one comment of a pull request: written once, then edited.
    Comment {
        /// The pull request.
        pull: u64,
        /// All of it; the mark by which it is found is added if it is not there.
        text: String,
    },
    /// The one check of a recipe at a commit.
    Check(Check),
    /// A comment was seen.
    Reaction {
        /// The comment.
        comment: u64,
        /// How it is taken.
        reaction: Reaction,
    },
    /// An answer, below the comments of a pull request; one per `to`.
    Reply {
        /// The pull request.
        pull: u64,
        /// What is answered: the id of the delivery, say. Of letters, digits and `-`.
        to: String,
        /// The answer.
        text: String,
    },
    /// How far the publishing of a recipe is.
    Deployment(Deployment),
    /// The one issue of a dataset: opened or edited while something is wrong, closed when it is not.
    Issue {
        /// The dataset.
        recipe: String,
        /// First line.
        title: String,
        /// What is wrong and what to do.
        text: String,
        /// False: nothing is wrong any more. An issue that there is not is then not opened.
        open: bool,
    },
}

/// How far something is that people see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It waits.
    Queued,
    /// It runs.
    Running,
    /// It ended well.
    Passed,
    /// It ended with an error.
    Failed,
    /// There was nothing to do.
    Skipped,
    /// It was called off.
    Cancelled,
}

/// The check of a recipe at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The commit.
    pub head: Sha,
    /// What it is called: `gristmill: ID`.
    pub name: String,
    /// How far it is.
    pub progress: Progress,
    /// One line.
    pub title: String,
    /// Markdown.
    pub summary: String,
    /// What is wrong where; all are shown, however many a request may hold.
    pub annotations: Vec<Annotation>,
    /// Where to read more.
    pub details: Option<String>,
}

/// A remark at a line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// From the root of the repository.
    pub path: String,
    /// From 1.
    pub line: u64,
    /// A few words.
    pub title: String,
    /// What is wrong.
    pub message: String,
}

/// The publishing of a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The commit that is published.
    pub commit: Sha,
    /// The dataset.
    pub recipe: String,
    /// How far it is.
    pub progress: Progress,
    /// One line, at most 140 characters of it.
    pub description: String,
    /// Where the log is.
    pub log: Option<String>,
    /// Where the dataset is.
    pub address: Option<String>,
}

impl Check {
    /// The name of a recipe's check.
    #[must_use]
    pub fn name_of(recipe: &str) -> String {
        format!("gristmill: {recipe}")
    }

    /// One of [`render::checks`](crate::bot::render::checks); `None` if it is none.
    #[must_use]
    pub fn rendered(check: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let progress = match (check["status"].as_str()?, check["conclusion"].as_str()) {
            ("queued", _) => Progress::Queued,
            ("in_progress", _) => Progress::Running,
            (_, Some("success")) => Progress::Passed,
            (_, Some("skipped" | "neutral")) => Progress::Skipped,
            (_, Some("cancelled")) => Progress::Cancelled,
            _ => Progress::Failed,
        };
        let output = &check["output"];
        let annotation = |one: &Value| {
            let line = one["start_line"].as_u64()?;
            Some(Annotation { path: text(&one["path"])?, line, title: text(&one["title"])?, message: text(&one["message"])? })
        };
        Some(Self {
            head: check["head_sha"].as_str()?.parse().ok()?,
            name: text(&check["name"])?,
            progress,
            title: text(&output["title"])?,
            summary: text(&output["summary"])?,
            annotations: output["annotations"].as_array().into_iter().flatten().filter_map(annotation).collect(),
            details: text(&check["details_url"]),
        })
    }
}
