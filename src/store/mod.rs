//! Bytes at URLs: reading sources by ranges, writing targets by keys.
//!
//! Knows nothing of formats or arrays. One scheme per file; `retry`, `limit`, `policy` and `fault` wrap any of them. Calls are
//! synchronous: network schemes run on one private tokio runtime behind them. Invariant: what a call returns is whole, or it
//! is an error; a short, long or foreign body is never handed on.

pub mod access;
pub mod address;
pub mod auth;
mod begun;
mod bucket;
pub mod cache;
mod cloud;
pub mod dap;
mod error;
pub mod fault;
mod file;
mod folder;
mod ftp;
mod http;
#[cfg(feature = "icechunk")]
pub mod library;
mod limit;
mod local;
pub mod manners;
mod memory;
mod merge;
mod open;
mod pace;
mod passed;
mod policy;
mod pool;
pub mod probe;
mod retry;
mod runtime;
mod sftp;
mod spool;
mod watch;
mod watched;
mod wrapped;
mod wrapping;

pub use access::{Access, AccessError, Wrapping};
pub use address::{shown, sibling};
pub use begun::Begun;
pub use bucket::{Bucket, Cloud};
pub use http::{clock, serves_pages};
pub use local::unfinished_files;
pub use open::{archives, child, conditional, documents, is_far, listing, permit, source, target, uploads};
pub use policy::{Limits, Names};
pub(crate) use runtime::{install_cryptography, wait_on};
pub use watch::Waits;

use std::ops::Range;

use bytes::Bytes;

use crate::dataset::Identity;

/// What a server says of a file before its bytes are read.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Head {
    /// Length in bytes, if told.
    pub size: Option<u64>,
    /// Validator of the content, if told.
    pub etag: Option<String>,
    /// Last modification as told (HTTP date, or nanoseconds of the local clock).
    pub modified: Option<String>,
    /// Where `size` bytes were unpacked on the way: length of the file they came out of; 0 if that holds other files as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<u64>,
}

impl Head {
    /// What tells one content from another. That of a packed file is told by what its server says of it, since its own length
    /// is known only after it was unpacked.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity { size: self.stored.or(self.size), etag: self.etag.clone(), modified: self.modified.clone() }
    }
}

/// What can be done about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// 404, 410, no such file or key.
    NotFound,
    /// 401, 403: wrong or missing credentials.
    Forbidden,
    /// 408, 429, 5xx, reset, timeout, and retries are exhausted: trying again later helps.
    Temporary,
    /// The bytes are not what was announced: truncated, too long, an HTML page, a range spliced.
    Integrity,
    /// Refused by policy: a private address, a file path from an untrusted recipe, an unknown scheme.
    Policy,
    /// A put that must create found an object, or a conditional one lost.
    Exists,
    /// The disk is full or a quota is reached.
    NoSpace,
    /// A limit of the operator's on inputs, bytes or minutes is reached.
    Budget,
    /// Anything else; permanent.
    Other,
}

/// A failed call.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {message}")]
pub struct StoreError {
    /// What can be done about it.
    pub kind: ErrorKind,
    /// The URL or key, without query string or credentials.
    pub url: String,
    /// What happened, and what to do.
    pub message: String,
    /// Why, where a library said it.
    #[source]
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Bytes that [`SourceStore::begin`] reads: most headers are shorter, and a round trip costs more than they do.
pub const START: u64 = 64 << 10;

/// Reads source files. URLs are absolute; plain paths are local files.
pub trait SourceStore: Send + Sync {
    /// Size and validators.
    ///
    /// # Errors
    /// Any [`ErrorKind`] but `Exists`.
    fn head(&self, url: &str) -> Result<Head, StoreError>;

    /// Size, validators and the first [`START`] bytes (all of a shorter file), in one request where the scheme allows it. The description of
    /// a dataset on an OPeNDAP server comes whole, as [`dap::Description`] packs it; so does the answer about a part of it ([`dap::part_url`]).
    ///
    /// # Errors
    /// As [`SourceStore::head`] and [`SourceStore::ranges`].
    fn begin(&self, url: &str) -> Result<(Head, Bytes), StoreError> {
        let head = self.head(url)?;
        let length = head.size.unwrap_or(0).min(START);
        let start = if length == 0 { None } else { self.ranges(url, std::slice::from_ref(&(0..length)))?.pop() };
        Ok((head, start.unwrap_or_default()))
    }

    /// The bytes of each range, in order, each exactly as long as asked. May merge neighbours and fetch in parallel.
    ///
    /// # Errors
    /// `Integrity` if the file is too short for a range; any [`ErrorKind`] but `Exists`.
    fn ranges(&self, url: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError>;

    /// The whole file, in order, into `sink`; returns its length.
    ///
    /// # Errors
    /// `Integrity` if the length is not the announced one; any [`ErrorKind`] but `Exists`.
    fn stream(&self, url: &str, sink: &mut dyn std::io::Write) -> Result<u64, StoreError>;

    /// True if ranges are read from a local disk, so that waiting for them in a compute thread costs nothing.
    fn is_local(&self, url: &str) -> bool;
}

/// What stands in a folder: a file, or a folder in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name in the folder, without any `/`.
    pub name: String,
    /// True for a folder.
    pub folder: bool,
    /// Length in bytes, if told.
    pub size: Option<u64>,
    /// Last modification as told, or nothing.
    pub modified: Option<String>,
}

/// Folders of a source. Web servers have none of their own accord: an index page is read as one where it says so.
pub trait Listing: Send + Sync {
    /// What stands in the folder, sorted by name; the folder itself and its parent are not listed.
    ///
    /// # Errors
    /// `NotFound` if there is no such folder (an object store may give an empty list instead), `Integrity` for a page that is no
    /// index; any other [`ErrorKind`] but `Exists`.
    fn list(&self, folder: &str) -> Result<Vec<Entry>, StoreError>;
}

/// A file in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name there.
    pub name: String,
    /// Its address: `ARCHIVE!MEMBER`.
    pub url: String,
    /// Length in bytes once it is unpacked.
    pub size: u64,
}

/// Archives, looked into.
pub trait Archives: Send + Sync {
    /// The files that an archive holds and that can be addressed, sorted by name. Of a zip its directory is read, of a tar its headers; a packed
    /// tar is fetched whole.
    ///
    /// # Errors
    /// `Integrity` for what is no archive or a damaged one; any other [`ErrorKind`] but `Exists`.
    fn members(&self, archive: &str) -> Result<Vec<Member>, StoreError>;
}

/// An answer that is no file: a page, a table, a part of a catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where it came from, redirects followed: what its links are relative to.
    pub url: String,
    /// Its media type in small letters, if told.
    pub kind: Option<String>,
    /// Headers of the answer; their names in small letters.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub bytes: Bytes,
}

/// Reads documents. Not for data: web pages are welcome, and nothing is remembered.
pub trait Documents: Send + Sync {
    /// A document of at most `limit` bytes; `headers` go with the request where the scheme has any.
    ///
    /// # Errors
    /// `Other` if it is longer; any [`ErrorKind`] but `Exists`.
    fn document(&self, url: &str, headers: &[(&str, &str)], limit: u64) -> Result<Document, StoreError>;
}

/// How a put treats an object that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutMode {
    /// Replaces it.
    Overwrite,
    /// Fails with [`ErrorKind::Exists`].
    Create,
}

/// Writes and reads the objects below one target URL. Keys are relative, `/`-separated, never empty and never `..`.
pub trait TargetStore: Send + Sync {
    /// Size of the object; `None` if there is none.
    ///
    /// # Errors
    /// Any [`ErrorKind`] but `NotFound`.
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError>;

    /// The object; `None` if there is none.
    ///
    /// # Errors
    /// Any [`ErrorKind`] but `NotFound`.
    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError>;

    /// Stores the whole object or nothing: no reader ever sees a part of it under its key.
    ///
    /// # Errors
    /// `Exists` in mode `Create`; any other [`ErrorKind`].
    fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<(), StoreError>;

    /// Keys below `prefix` (empty: all), sorted, at most `limit`. Never used to decide what a run has done.
    ///
    /// # Errors
    /// Any [`ErrorKind`].
    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError>;

    /// Removes the object; fine if there is none.
    ///
    /// # Errors
    /// Any [`ErrorKind`] but `NotFound`.
    fn delete(&self, key: &str) -> Result<(), StoreError>;
}

/// What tells two states of one object apart, as the store calls it (S3 and Azure: the `ETag`; Google: the generation).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(pub String);

/// Replacing an object only if nobody else did. Not every store can, and some only say so: `store::probe` finds out.
pub trait Conditional: Send + Sync {
    /// The object and its version; `None` if there is none, or if the store tells no versions.
    ///
    /// # Errors
    /// Any [`ErrorKind`] but `NotFound`.
    fn read(&self, key: &str) -> Result<Option<(Bytes, Version)>, StoreError>;

    /// Replaces the object if it still has this version.
    ///
    /// # Errors
    /// `Exists` if it has another by now, or is gone; `Other` if the store has no such operation; any other [`ErrorKind`].
    fn replace(&self, key: &str, bytes: Bytes, version: &Version) -> Result<(), StoreError>;
}

/// An upload in parts that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Key of the object that it would become.
    pub key: String,
    /// What the store calls it.
    pub id: String,
    /// When it was begun, as the store tells it (RFC 3339); `None` if it does not.
    pub begun: Option<String>,
}

/// Uploads in parts. One that is never finished is no object, but is kept, and paid for, until it is aborted.
pub trait Uploads: Send + Sync {
    /// Stores an object in the given parts, whatever their number; each but the last has at least 5 MiB (S3 `UploadPart`).
    ///
    /// # Errors
    /// Any [`ErrorKind`].
    fn in_parts(&self, key: &str, parts: &[Bytes]) -> Result<(), StoreError>;

    /// Begins an upload, sends its first part and leaves it.
    ///
    /// # Errors
    /// Any [`ErrorKind`].
    fn begin(&self, key: &str, part: Bytes) -> Result<Upload, StoreError>;

    /// Uploads below this target that were begun and not finished, at most a thousand.
    ///
    /// # Errors
    /// `Other` if the store cannot list them; any other [`ErrorKind`].
    fn unfinished(&self) -> Result<Vec<Upload>, StoreError>;

    /// Aborts one; fine if there is none.
    ///
    /// # Errors
    /// Any [`ErrorKind`] but `NotFound`.
    fn abort(&self, upload: &Upload) -> Result<(), StoreError>;
}
