//! What the operator says of the server: one TOML file, `gristmill bot serve FILE`.
//!
//! Secrets stand in variables or files of their own, never here. Not for how stores are reached (`gristmill.toml`, `store::access`).
//! Invariant: a file is right or all its problems are told at once; a secret is never printed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reader::Reader;
use super::secret::Hidden;

/// Most bytes of a webhook's body: as many as GitHub sends at most (docs.github.com, webhook events and payloads).
pub const LARGEST_BODY: u64 = 25 << 20;

/// The operator's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Folder for the queue, clones and jobs; on a disk that keeps what it was given.
    pub state: PathBuf,
    /// URL of the folder where the ledger is kept.
    pub ledger: String,
    /// Where people reach the status page, without a slash at the end.
    pub public_url: String,
    /// What webhooks are signed with; two while one replaces the other.
    pub secrets: Vec<Hidden>,
    /// Most bytes of a webhook's body.
    pub largest_body: usize,
    /// How often the code host is asked for deliveries that never came.
    pub reconcile: Duration,
    /// The code host.
    pub host: Host,
    /// What jobs may use.
    pub jobs: Jobs,
    /// Repositories that are served, by `owner/name`.
    pub repositories: BTreeMap<String, Served>,
}

/// The code host and who we are there.
#[derive(Debug, Clone)]
pub struct Host {
    /// URL of its interface.
    pub api: String,
    /// Number of the App.
    pub app: u64,
    /// The App's private key, PEM.
    pub key: Hidden,
}

/// What jobs may use.
#[derive(Debug, Clone)]
pub struct Jobs {
    /// Most jobs at once on this machine.
    pub at_once: usize,
    /// Most jobs at once that read from one server.
    pub per_source: usize,
    /// Bytes of memory of a job.
    pub memory: u64,
    /// Bytes that a job may have in its folder.
    pub disk: u64,
    /// Threads of a job.
    pub threads: usize,
    /// Bytes that a test may read.
    pub test_bytes: u64,
    /// Longest time of a test.
    pub test_time: Duration,
    /// Longest time of a bake; it goes on later where it ended.
    pub bake_time: Duration,
    /// Most processor time of a test.
    pub processor: Duration,
    /// A `gristmill.toml` for tests; of its credentials none is used.
    pub settings: Option<PathBuf>,
    /// Finished jobs whose logs are kept.
    pub kept: usize,
    /// The program that does the work: this one.
    pub program: PathBuf,
}

/// A repository that is served.
#[derive(Debug, Clone)]
pub struct Served {
    /// URL of the folder in which its datasets are published; `None`: pull requests are tested, nothing is baked.
    pub target: Option<String>,
    /// True if anybody may see its jobs.
    pub public: bool,
    /// True if datasets are brought up to date every day.
    pub daily: bool,
    /// True if its merged recipes may use the credentials of `settings`, and no limits of strangers hold.
    pub trusted: bool,
    /// A `gristmill.toml` for its bakes.
    pub settings: Option<PathBuf>,
    /// Variables of its bakes' environment, by name: the credentials of its target and nothing else.
    pub environment: BTreeMap<String, Hidden>,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("`{}`: cannot read the settings", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The file is no TOML.
    #[error("`{}`, line {line}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Why; never quotes the line.
        message: String,
    },
    /// Settings that make no sense: all of them.
    #[error("`{}`: {}", path.display(), problems.join("\n  "))]
    Senseless {
        /// The file.
        path: PathBuf,
        /// Each with its key, what is wrong and what to write.
        problems: Vec<String>,
    },
}

impl Settings {
    /// Reads a file; secrets come from `environment` or from the files that it names.
    ///
    /// # Errors
    /// [`SettingsError`], with every problem there is.
    pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|cause| SettingsError::Unreadable { path: path.to_owned(), cause })?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| malformed(path, &text, &error))?;
        let mut problems = Vec::new();
        let settings = Self::read(Reader::new(table, environment, &mut problems));
        match settings {
            Some(settings) if problems.is_empty() => Ok(settings),
            _ => Err(SettingsError::Senseless { path: path.to_owned(), problems }),
        }
    }

    fn read(mut file: Reader<'_>) -> Option<Self> {
        let listen = file.parsed("listen", "127.0.0.1:8080", "an address and a port, such as \"127.0.0.1:8080\"");
        let state = file.needed("state", "a folder for the queue, clones and jobs");
        let ledger = file.needed("ledger", "a folder where the ledger is kept, such as \"s3://bucket/ledger\"");
        let public_url = file.text("public_url").unwrap_or_default().trim_end_matches('/').to_owned();
        let reconcile = file.minutes("reconcile_minutes", 10);
        let (secrets, largest_body) = file.table("webhook", |webhook| {
            let secrets = webhook.secrets("secrets");
            if !(1..=2).contains(&secrets.len()) {
                webhook.tell("secrets", "give one secret, or two while one replaces the other: [{env = \"NAME\"}] or [{file = \"PATH\"}]");
            }
            (secrets, webhook.size("largest_body", LARGEST_BODY, LARGEST_BODY) as usize)
        });
        let host = file.table("host", Host::read);
        let jobs = file.table("jobs", Jobs::read);
        let repositories = file.tables("repository", Served::read);
        if repositories.is_empty() {
            file.tell("repository", "no repository is served; add [repository.\"owner/name\"]");
        }
        file.end();
        let (state, ledger, host) = (state?.into(), ledger?, host?);
        Some(Self { listen: listen?, state, ledger, public_url, secrets, largest_body, reconcile, host, jobs, repositories })
    }
}

impl Host {
    fn read(host: &mut Reader<'_>) -> Option<Self> {
        let api = host.text("api").unwrap_or_else(|| "https://api.github.com".to_owned());
        let app = host.count("app", 0, 0..=u64::MAX);
        if app == 0 {
            host.tell("app", "give the number of the App");
        }
        let key = host.needed_secret("key", "the App's private key, {file = \"PATH\"} or {env = \"NAME\"}");
        Some(Self { api: api.trim_end_matches('/').to_owned(), app, key: key? })
    }
}

impl Jobs {
    fn read(jobs: &mut Reader<'_>) -> Self {
        let program = jobs.text("program").map(PathBuf::from).or_else(|| std::env::current_exe().ok());
        if program.is_none() {
            jobs.tell("program", "this program does not know where it is; name it here");
        }
        Self {
            at_once: jobs.count("at_once", 2, 1..=256) as usize,
            per_source: jobs.count("per_source", 2, 1..=256) as usize,
            memory: jobs.size("memory", 2 << 30, u64::MAX >> 2).max(64 << 20),
            disk: jobs.size("disk", 20 << 30, u64::MAX >> 2),
            threads: jobs.count("threads", 2, 1..=1024) as usize,
            test_bytes: jobs.size("test_bytes", 2 << 30, u64::MAX >> 2),
            test_time: jobs.minutes("test_minutes", 30),
            bake_time: jobs.minutes("bake_minutes", 24 * 60),
            processor: jobs.minutes("test_processor_minutes", 60),
            settings: jobs.text("settings").map(PathBuf::from),
            kept: jobs.count("kept", 500, 1..=100_000) as usize,
            program: program.unwrap_or_default(),
        }
    }
}

impl Served {
    fn read(served: &mut Reader<'_>) -> Self {
        let target = served.text("target").map(|target| target.trim_end_matches('/').to_owned());
        let environment = served.hidden_texts("environment");
        let daily = served.flag("daily", target.is_some());
        if daily && target.is_none() {
            served.tell("daily", "there is nothing to bring up to date without a `target`");
        }
        Self {
            public: served.flag("public", false),
            trusted: served.flag("trusted", false),
            settings: served.text("settings").map(PathBuf::from),
            target,
            daily,
            environment,
        }
    }
}

/// The library's own rendering quotes the line, which may hold what should not be there.
fn malformed(path: &Path, text: &str, error: &toml::de::Error) -> SettingsError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count().saturating_add(1);
    SettingsError::Malformed { path: path.to_owned(), line, message: error.message().replace('\n', "; ") }
}
