//! What an SFTP URL says: which server, who asks, which file.
//!
//! No I/O. Invariant: a path is text without line breaks.

use url::Url;

use super::super::access::{Access, Secret};
use super::super::address::Address;
use super::super::auth::SshLogin;
use super::super::ftp::site::decode;
use super::super::{ErrorKind, StoreError};

/// The port of SSH (RFC 4253 §4.1).
const PORT: u16 = 22;

/// Who asks where nobody says.
const NOBODY: &str = "anonymous";

/// A server and who asks it.
pub(super) struct Site {
    /// The URL; only its host is looked at.
    pub(super) url: Url,
    /// Its port.
    pub(super) port: u16,
    /// Who asks.
    pub(super) login: SshLogin,
}

impl Site {
    /// The server and the path of a URL, with the operator's credential for it unless the URL names a user and a password itself.
    pub(super) fn parse(text: &str, access: &Access) -> Result<(Self, String), StoreError> {
        let Address::Sftp(url) = Address::parse(text)? else {
            return Err(StoreError::new(ErrorKind::Policy, text, "not an `sftp://` URL"));
        };
        let path = path(text, &url)?;
        let port = url.port().unwrap_or(PORT);
        let user = Some(decode(text, url.username())?).filter(|user| !user.is_empty());
        let password = url.password().map(|password| decode(text, password)).transpose()?;
        let known = || access.auth.ssh(&format!("{}:{port}", url.host_str().unwrap_or_default()));
        let login = match (user, password) {
            (Some(user), Some(password)) => SshLogin { user, password: Some(Secret::new(password)), key: None },
            (user, _) => {
                let found = known().unwrap_or(SshLogin { user: NOBODY.to_owned(), password: None, key: None });
                SshLogin { user: user.unwrap_or(found.user), ..found }
            }
        };
        Ok((Self { url, port, login }, path))
    }

    /// The host as the URL names it.
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// `host:port`.
    pub(super) fn server(&self) -> String {
        format!("{}:{}", self.url.host_str().unwrap_or_default(), self.port)
    }

    /// What connections to it are kept under: same server, same user.
    pub(super) fn key(&self) -> String {
        format!("{} {}", self.server(), self.login.user)
    }
}

/// The path from the root, as curl and others have it; `/~/` begins at the folder of the login.
fn path(text: &str, url: &Url) -> Result<String, StoreError> {
    let raw = match url.query() {
        Some(query) => decode(text, &format!("{}?{query}", url.path()))?,
        None => decode(text, url.path())?,
    };
    Ok(match raw.strip_prefix("/~/") {
        Some("") => ".".to_owned(),
        Some(below) => below.to_owned(),
        None if raw.is_empty() => "/".to_owned(),
        None => raw,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_at_the_root_unless_they_say_otherwise() {
        let parse = |text: &str| Site::parse(text, &Access::default()).ok();
        for (text, path) in [
            ("sftp://h/a/b%20c.nc", "/a/b c.nc"),
            ("sftp://h/~/b.nc", "b.nc"),
            ("sftp://h/~/", "."),
            ("sftp://h", "/"),
            ("sftp://h/a?b", "/a?b"),
        ] {
            assert_eq!(parse(text).map(|(_, path)| path).as_deref(), Some(path), "{text}");
        }
        assert!(parse("sftp://h/a%0ab").is_none() && parse("ftp://h/a").is_none() && parse("sftp:///a").is_none());
        let (site, _) = parse("sftp://me@[::1]:2222/a").unwrap();
        assert_eq!((site.host(), site.server().as_str(), site.login.user.as_str()), ("::1", "[::1]:2222", "me"));
        assert_eq!(parse("sftp://h/a").unwrap().0.login.user, "anonymous");
        let ports = ["h", "h:22", "h:21", "h:80", "me@h:21", "[::1]:21"].map(|host| parse(&format!("sftp://{host}/a")).unwrap().0.port);
        assert_eq!(ports, [22, 22, 21, 80, 21, 21]);
    }
}
