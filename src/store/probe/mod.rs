//! What a target store can do, found out by asking it.
//!
//! Servers that speak S3 differ in the one thing that two writers need: some hold "create, or fail", some answer that they have
//! no such thing, some say yes and overwrite, and some are right as long as nobody else asks at the same moment. A success
//! proves nothing, so a probe asks for what must fail. Not for deciding what a run does with the answers (that is `run`).
//! Invariant: a probe touches nothing outside its own folder and leaves nothing behind, unless its process is killed.

mod lag;
mod modes;
mod question;
mod rows;
mod scratch;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use super::access::{Access, PathStyle};
use super::address::{Address, shown};
use super::{Cloud, Conditional, StoreError, TargetStore, Uploads, cloud, conditional, target, uploads};

pub use lag::Lag;
pub use modes::{Answer, Mode, Verdict};
pub use scratch::nonce;

/// Who creates at once in a race.
pub const RACERS: usize = 8;

/// What a store does with a condition on a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Support {
    /// The put that must fail fails.
    Honoured,
    /// It succeeds silently.
    Ignored,
    /// The store answers that it has no such thing.
    Refused,
}

/// What a store can do, as it showed itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// Version of gristmill that asked.
    pub gristmill: String,
    /// Which server it was.
    pub endpoint: String,
    /// What became of "create, or fail", asked by one alone.
    pub create: Support,
    /// How many of [`RACERS`] that created one object at once were told that they did, per round; the first round with more than one
    /// is the last. Chance has its part: a store that races seldom may look exclusive.
    pub winners: Vec<usize>,
    /// What became of "replace this version only".
    pub replace: Support,
    /// How bytes came back that were not those sent; `None`: all came back as they were.
    pub altered: Option<String>,
    /// What only a thorough probe asks.
    #[serde(default)]
    pub further: Option<Further>,
}

/// What a run need not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Further {
    /// How long an overwritten object was still read as it was before.
    pub stale: Lag,
    /// How long a new object was missing in listings.
    pub unlisted: Lag,
    /// How long a deleted object could still be read.
    pub undeleted: Lag,
    /// What became of an object uploaded in two parts.
    pub parts: Parts,
    /// Whether uploads that were begun and never finished can be found and aborted.
    pub unfinished: Support,
}

/// What became of an object uploaded in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parts {
    /// It reads back as it was sent.
    Whole,
    /// This kind of store needs no parts.
    Needless,
    /// It failed, or reads back otherwise.
    Broken(String),
}

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What a run must know before it takes a lease: about a hundred and fifty small requests.
    Lease,
    /// Everything.
    Thorough,
}

impl Abilities {
    /// True if of several that create one object at once exactly one can win: the ground that a lease stands on.
    #[must_use]
    pub fn creates_exclusively(&self) -> bool {
        self.create == Support::Honoured && self.winners.iter().all(|&winners| winners <= 1)
    }

    /// True if these answers are still to be believed: from this version of gristmill, about this server.
    #[must_use]
    pub fn hold(&self, endpoint: &str) -> bool {
        self.gristmill == env!("CARGO_PKG_VERSION") && self.endpoint == endpoint
    }
}

/// A store to be asked, by every door it has.
pub struct Doors {
    /// Objects by key.
    pub store: Arc<dyn TargetStore>,
    /// Puts under a condition on the version, if this kind of store may have them.
    pub conditional: Option<Arc<dyn Conditional>>,
    /// Uploads in parts, if this kind of store has them.
    pub uploads: Option<Arc<dyn Uploads>>,
    /// Which server it is.
    pub endpoint: String,
}

impl Doors {
    /// The doors of a place; asks nothing yet.
    ///
    /// # Errors
    /// As [`target`].
    pub fn open(url: &str, access: &Access) -> Result<Self, StoreError> {
        Ok(Self {
            store: target(url, access)?,
            conditional: conditional(url, access)?,
            uploads: uploads(url, access)?,
            endpoint: endpoint(url, access)?,
        })
    }
}

/// Which server serves a URL: that of the settings for buckets, without secrets; else `local disk` or `memory`.
///
/// # Errors
/// If the URL is none.
pub fn endpoint(url: &str, access: &Access) -> Result<String, StoreError> {
    Ok(match Address::parse(url)? {
        Address::File(_) => "local disk".to_owned(),
        Address::Memory(_) => "memory".to_owned(),
        Address::Http(_) | Address::Ftp { .. } | Address::Sftp(_) => shown(url),
        Address::Dap(dataset) => shown(dataset.url.as_str()),
        Address::Bucket { bucket, .. } => cloud::endpoint(access, &bucket),
    })
}

/// The address that web pages know a place in a bucket by; `None` for places that have none.
#[must_use]
pub fn web_address(url: &str, access: &Access) -> Option<String> {
    let Address::Bucket { bucket, path } = Address::parse(url).ok()? else { return None };
    let endpoint = endpoint(url, access).ok()?;
    let name = &bucket.name;
    Some(match (access.s3.path_style, endpoint.split_once("://")) {
        (PathStyle::HostName, Some((scheme, host))) if bucket.cloud == Cloud::Amazon => format!("{scheme}://{name}.{host}/{path}"),
        _ => format!("{endpoint}/{name}/{path}"),
    })
}

/// Where a probe of a target may write: beside it, never in it. Of a bucket's root, a prefix in it.
///
/// # Errors
/// As [`super::sibling`].
pub fn place_beside(url: &str) -> Result<String, StoreError> {
    let name = format!("gristmill-probe-{}", nonce());
    match Address::parse(url)? {
        Address::Bucket { path, .. } if path.is_empty() => Ok(format!("{}/{name}", url.trim_end_matches('/'))),
        _ => super::sibling(url, &format!(".{name}")),
    }
}

/// Asks a store what it can do, writing below `folder` of it (empty: anywhere); `None` if it was stopped.
///
/// # Errors
/// Any [`super::ErrorKind`] that says nothing about abilities: no access, no server, no space.
pub fn ask(doors: &Doors, folder: &str, depth: Depth, stop: &AtomicBool) -> Result<Option<Abilities>, StoreError> {
    let scratch = scratch::Scratch::new(doors, folder, stop);
    let asked = question::ask(doors, &scratch, depth);
    let cleared = scratch.clear();
    match asked {
        Err(question::Stopped::Asked) => Ok(None),
        Err(question::Stopped::Failed(error)) => Err(error),
        Ok(abilities) => cleared.map(|()| Some(abilities)),
    }
}
