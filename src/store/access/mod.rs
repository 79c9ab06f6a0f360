//! The operator's settings: how hard to try, how many at once, which S3, what is allowed.
//!
//! From `gristmill.toml`, the environment (which wins) and defaults. Not for anything a recipe may say. Invariant: a secret
//! is never printed, not by `Debug` either.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::auth::{Auth, AuthError, is_open};
pub use super::cloud::settings::{AzureAccess, GoogleAccess};
use super::manners::Manners;
use super::policy::{Limits, Names};
pub use super::spool::SharedSpool;
use super::watch::Waits;
pub use super::wrapping::Wrapping;
use crate::size::ByteSize;

mod written;

use written::Written;

/// Where settings are looked for when no file is named.
const USUAL_FILE: &str = "gristmill.toml";

/// How this tool names itself.
const AGENT: &str = concat!("gristmill/", env!("CARGO_PKG_VERSION"));

/// The operator's settings.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the operator's by itself")]
pub struct Access {
    /// Most requests under way at once to one host.
    pub connections_per_host: usize,
    /// The same for object stores, which are made for many.
    pub connections_per_bucket: usize,
    /// When to try again.
    pub retries: Retries,
    /// What single hosts are allowed, and the gates that all stores of a run share; clones share them too.
    pub manners: Manners,
    /// How long calls may take, and when their silence is told of.
    pub waits: Waits,
    /// Longest silence of a server in the middle of an answer.
    pub idle_timeout: Duration,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// How this tool names itself to servers, and whom they may write to.
    pub user_agent: String,
    /// Certificates of authorities to trust besides this machine's, PEM.
    pub certificates: Option<PathBuf>,
    /// Keys of SSH servers that are known, as OpenSSH keeps them; `None`: its usual files.
    pub known_hosts: Option<PathBuf>,
    /// Credentials for sources, and the one in use.
    pub auth: Auth,
    /// What the operator should hear about the settings themselves.
    pub warnings: Vec<String>,
    /// Where files are put whose servers cannot send ranges, and what is unpacked; `None`: the system's temporary directory.
    pub spool_directory: Option<PathBuf>,
    /// Where headers that were scanned without a target are remembered, and files if `cache` says so; `None`: nowhere.
    pub cache_directory: Option<PathBuf>,
    /// Which files are kept there for later runs.
    pub cache: CacheUse,
    /// Most bytes of files kept there; those longest unused give way.
    pub cache_limit: ByteSize,
    /// Most bytes that one packed byte may unpack to, in files of more than 64 MiB unpacked.
    pub unpack_ratio: u64,
    /// Most bytes kept there; older files give way and are fetched again when needed.
    pub spool_limit: ByteSize,
    /// True if every object written to a local disk is flushed before its put returns; metadata and state always are, and all
    /// objects before the metadata that tells of them.
    pub flush_chunks: bool,
    /// The S3-compatible server.
    pub s3: S3Access,
    /// Google Cloud Storage.
    pub google: GoogleAccess,
    /// Azure Blob Storage.
    pub azure: AzureAccess,
    /// The operator's word that nobody else writes to the target, for stores that cannot keep two writers apart.
    pub single_writer: bool,
    /// True if the recipe may come from a stranger: no files of this machine, no private addresses, no credentials for sources.
    pub untrusted: bool,
    /// True if private addresses are fine all the same (tests, networks of one's own).
    pub allow_private: bool,
    /// Where what must be whole on disk is kept while it is used.
    pub spool: SharedSpool,
    /// True if such a recipe may read plain `http://`, too.
    pub allow_http: bool,
    /// How much a run may read; a stranger's recipe has limits in any case.
    pub limits: Limits,
    /// How names become addresses; no file and no environment can set it.
    pub names: Names,
    /// What is put around every target store that is opened; no file and no environment can set it.
    pub wrapping: Wrapping,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            connections_per_host: 8,
            connections_per_bucket: 16,
            retries: Retries::default(),
            manners: Manners::default(),
            waits: Waits::default(),
            idle_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(15),
            user_agent: AGENT.to_owned(),
            certificates: None,
            known_hosts: None,
            auth: Auth::default(),
            warnings: Vec::new(),
            spool_directory: None,
            cache_directory: None,
            cache: CacheUse::Off,
            cache_limit: ByteSize(32 << 30),
            unpack_ratio: 400,
            spool_limit: ByteSize(16 << 30),
            flush_chunks: false,
            s3: S3Access::default(),
            google: GoogleAccess::default(),
            azure: AzureAccess::default(),
            single_writer: false,
            untrusted: false,
            allow_private: false,
            spool: SharedSpool::default(),
            allow_http: false,
            limits: Limits::default(),
            names: Names::default(),
            wrapping: Wrapping::default(),
        }
    }
}

/// Which files are kept in the cache for later runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheUse {
    /// None: what must be whole on disk is in temporary files, and the rest is read by ranges.
    #[default]
    Off,
    /// What must be whole on disk: files of servers without ranges, packed files and packed members of archives.
    Needed,
    /// Every file of a server that tells one version from the next.
    All,
}

/// When to try again.
#[derive(Debug, Clone)]
pub struct Retries {
    /// Attempts in a row without progress, the first included.
    pub attempts: u32,
    /// Longest time without progress, waits included.
    pub give_up_after: Duration,
    /// Upper end of the first random wait; doubles each time.
    pub first_wait: Duration,
    /// Upper end of any random wait.
    pub longest_wait: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 7,
            give_up_after: Duration::from_mins(4),
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
        }
    }
}

/// The S3-compatible server and who asks.
#[derive(Debug, Clone, Default)]
pub struct S3Access {
    /// Its URL; `None`: Amazon's.
    pub endpoint: Option<String>,
    /// Region for signatures; `None`: `us-east-1`.
    pub region: Option<String>,
    /// Where requests name the bucket; the path is what most servers want.
    pub path_style: PathStyle,
    /// True if `http://` endpoints other than this machine are fine.
    pub allow_http: bool,
    /// Profile of `~/.aws/credentials` whose keys are used where none are given otherwise.
    pub profile: Option<String>,
    /// True if the operator's account pays for requests and bytes of buckets whose owner does not.
    pub requester_pays: bool,
    /// Key and secret; `None`: anonymous.
    pub credentials: Option<Credentials>,
}

/// Where S3 requests name the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathStyle {
    /// `https://host/bucket/key`.
    #[default]
    Path,
    /// `https://bucket.host/key`.
    HostName,
}

/// Key and secret of an S3 account.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Access key id.
    pub key_id: String,
    /// Secret access key.
    pub secret: Secret,
    /// Session token of temporary credentials.
    pub token: Option<Secret>,
}

impl Credentials {
    /// Has them starred out wherever they would be printed.
    fn keep_from_print(&self) {
        [Some(&self.secret), self.token.as_ref()].into_iter().flatten().for_each(|secret| super::auth::redact::keep(secret.reveal()));
    }
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text from being printed.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the library that signs with it.
    pub(in crate::store) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The file cannot be read.
    #[error("{path}: cannot read the settings: {cause}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The file is not what settings look like.
    #[error("{path}: {message}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why; never quotes a value, which might be a secret.
        message: String,
    },
    /// A credential cannot be used.
    #[error(transparent)]
    Credential(#[from] AuthError),
    /// A value makes no sense.
    #[error("setting `{name}`: {message}")]
    Senseless {
        /// Key of the file, or variable of the environment.
        name: &'static str,
        /// What is wrong and what to write.
        message: String,
    },
}

impl AccessError {
    /// The exit code of a command that fails with this: usage (DESIGN §8).
    #[must_use]
    pub fn exit(&self) -> u8 {
        2
    }
}

impl Access {
    /// Reads settings: the file (or `gristmill.toml` of the working directory, if there is one and recipes are trusted),
    /// then the environment: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_ENDPOINT_URL_S3`,
    /// `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_DEFAULT_REGION`, `AWS_ALLOW_HTTP`, `AWS_REQUEST_PAYER`, `GRISTMILL_UNTRUSTED`, and
    /// those of [`GoogleAccess`] and [`AzureAccess`].
    ///
    /// # Errors
    /// If the named file is absent or any setting is unknown or makes no sense.
    pub fn load(path: Option<&Path>, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, AccessError> {
        let read = |name: &str| environment(name).filter(|value| !value.is_empty());
        let untrusted = read("GRISTMILL_UNTRUSTED").is_some_and(|value| is_yes(&value));
        let mut access = match path {
            Some(path) => Self::from_file(path, &read)?,
            // The working directory of an untrusted run is the stranger's own checkout.
            None if !untrusted && Path::new(USUAL_FILE).exists() => Self::from_file(Path::new(USUAL_FILE), &read)?,
            None => Self::default(),
        };
        access.untrusted |= untrusted;
        access.s3.take_environment(&read)?;
        access.google.take_environment(&read);
        access.azure.take_environment(&read)?;
        if access.s3.credentials.is_none() && !access.untrusted {
            access.s3.credentials = access.auth.profile(access.s3.profile.as_deref())?;
        }
        access.s3.credentials.iter().for_each(Credentials::keep_from_print);
        Ok(access)
    }

    /// How much the run may read.
    #[must_use]
    pub fn limits(&self) -> Limits {
        if self.untrusted { self.limits.or(Limits::STRANGER) } else { self.limits }
    }

    /// Switches on the credential that a recipe names.
    ///
    /// # Errors
    /// If the settings know none of that name, its secrets cannot be read, or the recipe is not trusted.
    pub fn authorise(&mut self, name: Option<&str>) -> Result<(), AccessError> {
        let Some(name) = name else { return Ok(()) };
        if self.untrusted {
            return Err(AuthError::Untrusted { name: name.to_owned() }.into());
        }
        Ok(self.auth.choose(name)?)
    }

    fn from_file(path: &Path, read: &dyn Fn(&str) -> Option<String>) -> Result<Self, AccessError> {
        let text = std::fs::read_to_string(path).map_err(|cause| AccessError::Unreadable { path: path.to_owned(), cause })?;
        let written: Written = toml::from_str(&text).map_err(|error| malformed(path, &text, &error))?;
        let mut access = written.into_access(read)?;
        access.warnings.retain(|_| is_open(path));
        Ok(access)
    }
}

fn is_yes(value: &str) -> bool {
    ["1", "true", "yes", "on"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// The library's own rendering quotes the line, which may hold a secret: say where and why only.
fn malformed(path: &Path, text: &str, error: &toml::de::Error) -> AccessError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count().saturating_add(1);
    AccessError::Malformed { path: path.to_owned(), message: format!("line {line}: {}", error.message().replace('\n', "; ")) }
}

impl S3Access {
    fn take_environment(&mut self, read: &dyn Fn(&str) -> Option<String>) -> Result<(), AccessError> {
        let first = |names: [&str; 2]| names.into_iter().find_map(read);
        self.endpoint = first(["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]).or_else(|| self.endpoint.take());
        self.region = first(["AWS_REGION", "AWS_DEFAULT_REGION"]).or_else(|| self.region.take());
        self.allow_http |= read("AWS_ALLOW_HTTP").is_some_and(|value| is_yes(&value));
        self.requester_pays |= read("AWS_REQUEST_PAYER").is_some_and(|payer| payer.eq_ignore_ascii_case("requester"));
        let token = read("AWS_SESSION_TOKEN").map(Secret);
        match (read("AWS_ACCESS_KEY_ID"), read("AWS_SECRET_ACCESS_KEY").map(Secret)) {
            (Some(key_id), Some(secret)) => self.credentials = Some(Credentials { key_id, secret, token }),
            (None, None) => {}
            (Some(_), None) => return Err(half("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
            (None, Some(_)) => return Err(half("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")),
        }
        Ok(())
    }
}

fn half(given: &'static str, missing: &str) -> AccessError {
    AccessError::Senseless { name: given, message: format!("is given without `{missing}`; give both or neither") }
}

#[cfg(test)]
mod tests;
