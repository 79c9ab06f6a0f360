//! What happened at a code host, in words that no single host owns.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Asked, Job};

/// A full commit id: 40 hexadecimal digits, or 64 where git uses SHA-256. An abbreviated one is no id: another commit can take it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha(String);

/// Not a full commit id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a full commit id; give all 40 hexadecimal digits")]
pub struct ShaError;

impl FromStr for Sha {
    type Err = ShaError;

    fn from_str(text: &str) -> Result<Self, ShaError> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if digits && matches!(text.len(), 40 | 64) { Ok(Self(text.to_owned())) } else { Err(ShaError) }
    }
}

impl TryFrom<String> for Sha {
    type Error = ShaError;

    fn try_from(text: String) -> Result<Self, ShaError> {
        text.parse()
    }
}

impl From<Sha> for String {
    fn from(sha: Sha) -> Self {
        sha.0
    }
}

impl fmt::Display for Sha {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Sha {
    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for the id of no commit, which code hosts write where there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'0')
    }
}

/// An event and the id of its delivery, which is the same when it is delivered again.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Id of the delivery.
    pub id: String,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// Something about a pull request.
    PullRequest {
        /// What.
        action: PullAction,
        /// Its number.
        number: u64,
        /// Its head, when it happened.
        head: Sha,
    },
    /// Commits came to a branch.
    Push {
        /// The branch.
        branch: String,
        /// The commit that was there before, as the event says; `None` if the branch is new.
        before: Option<Sha>,
        /// The commit now; `None` if the branch was deleted.
        after: Option<Sha>,
    },
    /// A day began.
    Schedule {
        /// ISO 8601.
        day: String,
    },
    /// The untrusted job of a commit ended (GitHub's `workflow_run`).
    TestEnded {
        /// The commit.
        head: Sha,
    },
    /// A job of ours ended with an error.
    JobFailed(Job),
    /// A comment was written or edited on a pull request.
    Comment(Asked),
    /// Somebody asks at the checks of a commit that they be run again.
    Again {
        /// The commit.
        head: Sha,
        /// One recipe, or all that changed.
        recipe: Option<String>,
        /// Who.
        by: Actor,
    },
}

/// What happened to a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullAction {
    /// It was opened.
    Opened,
    /// Its head moved.
    Synchronized,
    /// It was opened again.
    Reopened,
    /// It was closed or merged; what is merged is a push to the default branch besides.
    Closed,
}

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor {
    /// True for apps and for ourselves.
    pub is_bot: bool,
    /// Permission on this repository, looked up when the event is worked on.
    pub role: Role,
}

/// Permission on a repository, least first (GitHub's roles; other hosts have the same under other names).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A passer-by.
    Nobody,
    /// May read.
    Read,
    /// May sort issues.
    Triage,
    /// May push.
    Write,
    /// May merge.
    Maintain,
    /// May do anything.
    Admin,
}
