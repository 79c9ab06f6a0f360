//! Credentials for sources: which the operator has, which one a recipe switches on, and where it may go.
//!
//! The recipe names one; `gristmill.toml` binds the name to a kind and to hosts (docs/design/018-credentials-and-manners.md).
//! Not for targets' keys (`access::S3Access`). Invariant: nothing secret leaves this room for a request to a host, port or
//! scheme that the operator has not bound, and nothing at all for a recipe that is not trusted.

mod chosen;
mod expiring;
mod hosts;
mod jar;
mod netrc;
mod profile;
pub mod redact;
mod session;
mod written;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub(in crate::store) use chosen::{Chosen, Kind};
pub(in crate::store) use expiring::Expiring;
pub(in crate::store) use hosts::HostPattern;
pub(in crate::store) use session::{Signed, Ticket};
pub(super) use written::WrittenAuth;

use super::access::{Credentials, Secret};
use written::Kept;

/// User and password for servers of files: FTP, FTPS, SFTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Name of the account.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

/// User and private key, or password, for servers of files over SSH. Without both the server is asked to let the user in as he is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshLogin {
    /// Name of the account.
    pub user: String,
    /// Its password; of a private key the passphrase, if there is one.
    pub password: Option<Secret>,
    /// The text of a private key.
    pub key: Option<Secret>,
}

/// The operator's credentials, and the one in use. Clones share what a run learns: cookies, tokens.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    known: BTreeMap<String, Arc<Kept>>,
    chosen: Option<Arc<Chosen>>,
    surroundings: Surroundings,
}

/// Where files are looked for whose place is not told.
#[derive(Debug, Clone, Default)]
struct Surroundings {
    home: Option<PathBuf>,
    netrc: Option<PathBuf>,
    aws_file: Option<PathBuf>,
    aws_profile: Option<String>,
}

/// Why a credential cannot be used. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Its table in the settings makes no sense.
    #[error("`[auth.{name}]`: {message}")]
    Senseless {
        /// Name of the credential.
        name: String,
        /// What is wrong and what to write.
        message: String,
    },
    /// A file or variable that should hold a secret does not.
    #[error("credential `{name}`: {message}")]
    Absent {
        /// Name of the credential.
        name: String,
        /// What is missing, and where.
        message: String,
    },
    /// The recipe names one that the settings do not know.
    #[error(
        "the recipe asks for the credential `{name}`, which is not bound here; add `[auth.{name}]` with `kind` and `hosts` to gristmill.toml{known}"
    )]
    Unbound {
        /// Name of the credential.
        name: String,
        /// Which ones there are.
        known: String,
    },
    /// The recipe is a stranger's.
    #[error("the recipe asks for the credential `{name}`, but a recipe that is not trusted gets none; read it, and run it as your own")]
    Untrusted {
        /// Name of the credential.
        name: String,
    },
}

impl Auth {
    /// Credentials as the settings write them.
    pub(super) fn of(written: BTreeMap<String, WrittenAuth>, read: &dyn Fn(&str) -> Option<String>) -> Result<(Self, bool), AuthError> {
        let literal = written.values().any(WrittenAuth::holds_literals);
        let surroundings = Surroundings {
            home: read("HOME").map(PathBuf::from),
            netrc: read("NETRC").map(PathBuf::from),
            aws_file: read("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from),
            aws_profile: read("AWS_PROFILE"),
        };
        let known = written.into_iter().map(|(name, written)| {
            let kept = written.keep(&name, read)?;
            Ok((name, Arc::new(kept)))
        });
        Ok((Self { known: known.collect::<Result<_, AuthError>>()?, chosen: None, surroundings }, literal))
    }

    /// Switches on the one that a recipe names: its secrets are read now.
    ///
    /// # Errors
    /// If there is none of that name, or its secrets are not where they should be.
    pub(super) fn choose(&mut self, name: &str) -> Result<(), AuthError> {
        let Some(kept) = self.known.get(name) else {
            let known: Vec<&str> = self.known.keys().map(String::as_str).collect();
            let known = if known.is_empty() { String::new() } else { format!("; there is {}", known.join(", ")) };
            return Err(AuthError::Unbound { name: name.to_owned(), known });
        };
        self.chosen = Some(Arc::new(Chosen::resolve(name, kept, &self.surroundings)?));
        Ok(())
    }

    /// Adds a credential and switches it on: the table of a `gristmill.toml` for callers of the library and tests.
    ///
    /// # Errors
    /// As [`Auth::choose`], and if the text is no such table.
    pub fn with(name: &str, table: &str) -> Result<Self, AuthError> {
        let written: WrittenAuth = toml::from_str(table)
            .map_err(|error| AuthError::Senseless { name: name.to_owned(), message: error.message().replace('\n', "; ") })?;
        let (mut auth, _) = Self::of(BTreeMap::from([(name.to_owned(), written)]), &|variable| std::env::var(variable).ok())?;
        auth.choose(name)?;
        Ok(auth)
    }

    /// User and password for a server of files, `host` or `host:port`, if the credential in use is bound to it.
    #[must_use]
    pub fn login(&self, host: &str) -> Option<Login> {
        self.chosen.as_ref()?.login(host)
    }

    /// User and key or password for a server of files over SSH, as [`Auth::login`].
    pub(super) fn ssh(&self, server: &str) -> Option<SshLogin> {
        self.chosen.as_ref()?.ssh(server)
    }

    /// The operator's home directory.
    pub(super) fn home(&self) -> Option<&std::path::Path> {
        self.surroundings.home.as_deref()
    }

    /// Name of the credential in use.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.chosen.as_ref().map(|chosen| chosen.name.as_str())
    }

    /// The credential in use.
    pub(super) fn chosen(&self) -> Option<&Arc<Chosen>> {
        self.chosen.as_ref()
    }

    /// Keys of a profile of `~/.aws/credentials`, for the settings' own S3 server.
    pub(super) fn profile(&self, name: Option<&str>) -> Result<Option<Credentials>, AuthError> {
        match name.or(self.surroundings.aws_profile.as_deref()) {
            None => Ok(None),
            Some(name) => profile::read("s3.profile", name, None, &self.surroundings).map(Some),
        }
    }
}

impl Surroundings {
    /// A path as the operator wrote it: `~/` is the home directory.
    fn path(&self, written: &std::path::Path) -> PathBuf {
        match (written.strip_prefix("~"), &self.home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => written.to_owned(),
        }
    }
}

/// True if others than the owner may read a file.
#[cfg(unix)]
pub(super) fn is_open(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|known| known.permissions().mode() & 0o077 != 0)
}

/// Only Unix tells it so simply.
#[cfg(not(unix))]
pub(super) fn is_open(_path: &std::path::Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(table: &str) -> String {
        Auth::with("x", table).unwrap_err().to_string()
    }

    #[test]
    fn a_login_goes_to_bound_hosts_only() {
        let auth = Auth::with(
            "x",
            "kind = 'login'\nhosts = ['ftp.example.org', '*.agency.example', 'h.example:2121']\nuser = 'me'\npassword = 'hush-hush'",
        )
        .unwrap();
        for host in ["ftp.example.org", "FTP.example.org.", "a.agency.example", "a.b.agency.example:21", "h.example:2121", "h.example"] {
            assert_eq!(auth.login(host).map(|login| login.user).as_deref(), Some("me"), "{host}");
        }
        for host in ["example.org", "agency.example", "ftp.example.org.evil.example", "xagency.example", "h.example:22", ""] {
            assert_eq!(auth.login(host), None, "{host}");
        }
        assert!(!format!("{auth:?}").contains("hush"), "{auth:?}");
    }

    #[test]
    fn tables_that_make_no_sense_are_refused_by_what_is_wrong() {
        for (table, part) in [
            ("kind = 'basic'\nhosts = ['a.example']\nuser = 'u'", "`password`"),
            ("kind = 'basic'\nhosts = ['a.example']\nuser = 'u'\npassword = 'p'\ntoken = 't'", "`token`"),
            ("kind = 'bearer'\ntoken = 't'", "`hosts`"),
            ("kind = 'bearer'\nhosts = ['*']\ntoken = 't'", "`*`"),
            ("kind = 'bearer'\nhosts = ['*.org']\ntoken = 't'", "`*.org`"),
            ("kind = 'bearer'\nhosts = ['https://a.example']\ntoken = 't'", "`https://a.example`"),
            ("kind = 'bearer'\nhosts = ['a.example']\ntoken = {env = 'GRISTMILL_NO_SUCH_VARIABLE'}", "GRISTMILL_NO_SUCH_VARIABLE"),
            ("kind = 'bearer'\nhosts = ['a.example']\ntoken = {file = '/no/such/file'}", "/no/such/file"),
            ("kind = 'oauth2'\nhosts = ['a.example']\nclient_id = 'i'\nclient_secret = 's'\ntoken_url = 'http://a.example/t'", "https"),
            ("kind = 'header'\nhosts = ['a.example']\nheader = 'not a name'\ntoken = 't'", "header"),
        ] {
            assert!(refusal(table).contains(part), "{table}: {}", refusal(table));
        }
    }

    #[test]
    fn a_file_gives_its_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "from-a-file\n\n").unwrap();
        let auth =
            Auth::with("x", &format!("kind = 'login'\nhosts = ['a.example']\nuser = 'u'\npassword = {{file = '{}'}}", path.display()))
                .unwrap();
        assert_eq!(auth.login("a.example").map(|login| login.password), Some(Secret::new("from-a-file")));
    }
}
