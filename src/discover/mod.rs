//! Finds inputs: a recipe's rule in, axes and inputs out.
//!
//! The edge between a recipe and a scan; all other planning sees what comes out as if it had been written. Each kind of place has
//! a file that yields [`Found`]s; `settle` makes the matrix of them, `lock` keeps it. Not for reading data files. Invariant: what is
//! found depends on the rule and on what the servers list, never on the order in which they answer.

mod cmr;
mod esgf;
mod limits;
pub mod lock;
mod manifest;
mod members;
mod records;
mod settle;
mod stac;
mod table;
mod thredds;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::event::Reporter;
use crate::pattern::{Axis, Input};
use crate::recipe::diagnostic::{Code, Diagnostic};
use crate::recipe::find::{Find, FindPlace};
use crate::recipe::{LateFile, MissingFile, Recipe, Used};
use crate::store::{self, Access, Documents, StoreError};
use limits::Limits;

/// Something that a place lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Where the file is.
    pub url: String,
    /// What names are matched with: the path below the folder that was searched, or the URL without its query.
    pub path: String,
    /// What else the place says of it, by name.
    pub fields: BTreeMap<String, String>,
    /// Length in bytes, if told.
    pub size: Option<u64>,
    /// Last modification, if told.
    pub modified: Option<String>,
    /// Kind and value of a checksum of the file, if told: `sha256:…`.
    pub checksum: Option<String>,
}

/// What was found, as axes and inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Axes, merge axes first.
    pub axes: Vec<Axis>,
    /// Inputs, row-major.
    pub inputs: Vec<Input>,
    /// What was told of each input; as many as there are inputs.
    pub about: Vec<About>,
    /// Choices that were made among what was found.
    pub used: Vec<Used>,
    /// True if it is what an earlier run kept, not what the servers say now.
    pub frozen: bool,
}

/// What a place tells of a file besides its address.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct About {
    /// Length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Last modification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// Kind and value of a checksum: `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

/// Why inputs could not be found.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// What was found does not fit the rule: every problem, at its place in the recipe.
    #[error("{} problem(s) with what was found", .0.len())]
    Rule(Vec<Diagnostic>),
    /// A server or disk could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Stopped from outside.
    #[error("interrupted")]
    Interrupted,
}

impl DiscoverError {
    /// One problem.
    fn of(problem: Diagnostic) -> Self {
        Self::Rule(vec![problem])
    }
}

/// Everything that looking needs.
#[derive(Clone, Copy)]
struct Search<'a> {
    find: &'a Find,
    access: &'a Access,
    documents: &'a dyn Documents,
    limits: &'a Limits<'a>,
}

impl Search<'_> {
    /// Refuses something at the rule's place in the recipe.
    fn refuse(&self, code: Code, message: impl Into<String>, help: impl Into<String>) -> DiscoverError {
        DiscoverError::of(Diagnostic::error(code, message).at(self.find.span, "").help(help))
    }
}

/// Looks where a rule says, and makes axes and inputs of what is there.
///
/// # Errors
/// [`DiscoverError`]: what was found breaks the rule, a server failed, or `stop` was set.
pub fn discover(
    recipe: &Recipe,
    find: &Find,
    access: &Access,
    reporter: &Arc<dyn Reporter>,
    stop: &AtomicBool,
) -> Result<Discovered, DiscoverError> {
    let found = look(find, access, reporter, stop)?;
    settle::settle(find, found, (recipe.missing == MissingFile::Fail, recipe.late == LateFile::Skip)).map_err(DiscoverError::Rule)
}

/// Everything that is listed at the rule's place, whether its name matches or not.
///
/// # Errors
/// As [`discover`].
pub fn look(find: &Find, access: &Access, reporter: &Arc<dyn Reporter>, stop: &AtomicBool) -> Result<Vec<Found>, DiscoverError> {
    let documents = store::documents(access, Arc::clone(reporter));
    let limits = Limits::new(find.span, access.untrusted, stop);
    let search = Search { find, access, documents: &*documents, limits: &limits };
    let mut found = match &find.place {
        FindPlace::Glob { folder, glob } => walk::walk(search, folder, glob)?,
        FindPlace::Archive { url } => vec![members::archive(url)],
        FindPlace::Manifest { url, column, at } => manifest::read(search, url, column.as_deref(), at.as_deref())?,
        FindPlace::Thredds { url, service, depth } => thredds::search(search, url, *service, *depth)?,
        FindPlace::Cmr(query) => cmr::search(search, query)?,
        FindPlace::Esgf(query) => esgf::search(search, query)?,
        FindPlace::Stac(query) => stac::search(search, query)?,
    };
    if let Some(glob) = &find.members {
        found = members::look_into(search, found, glob, reporter)?;
    }
    for one in &found {
        // The same judgement as when it is opened, but before anything is.
        store::permit(&one.url, access)?;
    }
    found.sort_by(|a, b| a.url.cmp(&b.url));
    Ok(found)
}
