//! `gc`: takes away what earlier runs left at a target and nobody needs.
//!
//! `find` looks for it, `sweep` takes it away; a dry run is the first without the second, so that both tell the same. What is
//! needed follows from our own state (the pointer, what is committed, the plan that was begun last), and so do ages; a listing only
//! ever finds what goes. Invariant: what the pointer names, what a run holds, what an interrupted run may go on from, and objects
//! that gristmill did not make are never touched; a sweep that is killed is ended by the next.

mod find;
mod sweep;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::Serialize;

use super::RunError;
use super::state::State;
use crate::store::Access;
use find::Finder;
use sweep::Deed;

/// What the operator wants swept.
#[derive(Debug, Clone)]
pub struct Wish {
    /// URL or path of the target.
    pub target: String,
    /// Only look.
    pub dry_run: bool,
    /// Versions and unfinished replacements stay until they have been idle for so long.
    pub older_than: Duration,
    /// The newest of the versions that were published and are not current stay, so many of them.
    pub keep: usize,
}

/// What goes, or went.
#[derive(Debug, Clone, Serialize)]
pub struct Swept {
    /// The target.
    pub target: String,
    /// True if nothing was removed.
    pub dry_run: bool,
    /// In the order of removal.
    pub items: Vec<Item>,
    /// Objects of all items.
    pub objects: u64,
    /// Bytes of all items.
    pub bytes: u64,
    /// Versions that stay, and why.
    pub kept: Vec<Stays>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Something that goes.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    /// Of what kind.
    pub kind: Kind,
    /// A version, the identity of a plan, a folder.
    pub name: String,
    /// Objects, or files.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Why nobody needs it.
    pub why: String,
    #[serde(skip)]
    deeds: Vec<Deed>,
}

/// Kinds of things that go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A version that is not current.
    Version,
    /// A store that `--replace` did not bring to its end.
    Replacement,
    /// Receipts of a plan.
    Receipts,
    /// Scratch objects of a plan.
    Scratch,
    /// Objects that an abandoned append wrote beyond what is published.
    Unpublished,
    /// Files that killed processes were writing.
    UnfinishedFiles,
    /// Uploads in parts that killed processes were sending.
    Uploads,
}

/// A version that stays.
#[derive(Debug, Clone, Serialize)]
pub struct Stays {
    /// Its name.
    pub version: String,
    /// Why.
    pub why: String,
}

/// Finds what nobody needs at a target and, unless it is a dry run, removes it.
///
/// # Errors
/// [`RunError::Held`] while a run holds the target; [`RunError::Conflict`] if there is nothing of ours, or if our state does not
/// make sense; [`RunError::Store`], [`RunError::Interrupted`].
pub fn gc(wish: &Wish, access: &Access, stop: &AtomicBool) -> Result<Swept, RunError> {
    if !State::is_there(&wish.target, access)? {
        let message = format!("{}: no run of gristmill has been here; give the TARGET of a run", wish.target);
        return Err(RunError::Conflict { message });
    }
    let state = State::open(&wish.target, access)?;
    let mut swept = Finder::new(wish, access, &state, stop)?.find()?;
    if !wish.dry_run {
        sweep::sweep(&mut swept, &state, stop)?;
    }
    Ok(swept)
}

impl Kind {
    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Replacement => "unfinished replacement",
            Self::Receipts => "receipts of plan",
            Self::Scratch => "scratch of plan",
            Self::Unpublished => "unpublished objects",
            Self::UnfinishedFiles => "unfinished files",
            Self::Uploads => "unfinished uploads",
        }
    }
}
