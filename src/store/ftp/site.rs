//! What an FTP URL says: which server, who asks, which file.
//!
//! No I/O. Invariant: a path is text without line breaks, so that it cannot become a second command.

use url::Url;

use super::super::access::Secret;
use super::super::address::Address;
use super::super::auth::Login;
use super::super::{ErrorKind, StoreError};

/// The port of the control connection (RFC 959), and the one where encryption begins before the first word.
const PORT: u16 = 21;
const IMPLICIT_PORT: u16 = 990;

/// Who asks where there is nothing else to say (RFC 1635).
const ANONYMOUS: &str = "anonymous";
const NO_PASSWORD: &str = "anonymous@";

/// How the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// Not at all.
    Plain,
    /// From the client's word on (RFC 4217, `AUTH TLS`).
    Explicit,
    /// From the first byte on.
    Implicit,
}

/// A server and who asks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    /// The URL without path; only its host is looked at.
    pub(super) url: Url,
    /// Its port.
    pub(super) port: u16,
    /// How the connection is encrypted.
    pub(super) security: Security,
    /// Who asks.
    pub(super) login: Login,
}

impl Site {
    /// The server and the path of a URL. `known` tells the operator's login for `host:port`; one in the URL goes before it.
    pub(super) fn parse(text: &str, known: impl FnOnce(&str) -> Option<Login>) -> Result<(Self, String), StoreError> {
        let Address::Ftp { url, secure } = Address::parse(text)? else {
            return Err(StoreError::new(ErrorKind::Policy, text, "not an `ftp://` or `ftps://` URL"));
        };
        let path = path(text, &url)?;
        let port = url.port().unwrap_or(PORT);
        let security = match (secure, port) {
            (false, _) => Security::Plain,
            (true, IMPLICIT_PORT) => Security::Implicit,
            (true, _) => Security::Explicit,
        };
        let login = match written(text, &url)? {
            Some(login) => login,
            None => known(&format!("{}:{port}", url.host_str().unwrap_or_default())).unwrap_or_else(nobody),
        };
        Ok((Self { url, port, security, login }, path))
    }

    /// The host as the URL names it.
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// What connections to it are kept under: same server, same encryption, same user.
    pub(super) fn key(&self) -> String {
        format!("{:?} {}:{} {}", self.security, self.host(), self.port, self.login.user)
    }
}

fn nobody() -> Login {
    Login { user: ANONYMOUS.to_owned(), password: Secret::new(NO_PASSWORD) }
}

fn written(text: &str, url: &Url) -> Result<Option<Login>, StoreError> {
    if url.username().is_empty() {
        return Ok(None);
    }
    let user = decode(text, url.username())?;
    let password = url.password().map(|password| decode(text, password)).transpose()?;
    Ok(Some(Login { user, password: Secret::new(password.unwrap_or_default()) }))
}

/// The path as commands take it (RFC 1738 §3.2.2): from the folder of the login, or from the root after `//` or `/%2F`.
fn path(text: &str, url: &Url) -> Result<String, StoreError> {
    let raw = url.path().strip_prefix('/').unwrap_or(url.path());
    let raw = [";type=i", ";type=I"].into_iter().find_map(|end| raw.strip_suffix(end)).unwrap_or(raw);
    match url.query() {
        Some(query) => decode(text, &format!("{raw}?{query}")),
        None => decode(text, raw),
    }
}

/// Resolves `%XX`; the result must be text of one line.
pub(in super::super) fn decode(text: &str, raw: &str) -> Result<String, StoreError> {
    let refuse = |why: &str| StoreError::new(ErrorKind::Other, text, format!("not a usable URL: {why}"));
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match byte {
            b'%' => match (digit(rest.next()), digit(rest.next())) {
                (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
                _ => return Err(refuse("`%` must be followed by two hexadecimal digits; write `%25` for the sign itself")),
            },
            byte => bytes.push(byte),
        }
    }
    let decoded = String::from_utf8(bytes).map_err(|_| refuse("its path is not UTF-8"))?;
    if decoded.chars().any(char::is_control) { Err(refuse("its path holds control characters")) } else { Ok(decoded) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(Site, String)> {
        Site::parse(text, |_| None).ok()
    }

    #[test]
    fn paths_are_relative_to_the_login_unless_doubly_slashed() {
        for (text, path) in [
            ("ftp://h/a/b%20c.nc", "a/b c.nc"),
            ("ftp://h//a/b", "/a/b"),
            ("ftp://h/%2Fa/b", "/a/b"),
            ("ftp://h/a.nc;type=i", "a.nc"),
            ("ftp://h/a?b", "a?b"),
            ("ftp://h", ""),
            ("ftp://h/%C3%A4", "ä"),
        ] {
            assert_eq!(parse(text).unwrap().1, path, "{text}");
        }
        for text in ["ftp://h/a%0d%0aDELE%20b", "ftp://h/a%2", "ftp://h/%ff", "ftp://u%0ax@h/a", "http://h/a"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn who_asks_and_how() {
        let site = parse("ftps://me:p%40ss@h:990/a").unwrap().0;
        assert_eq!(
            (site.port, site.security, site.login.user.as_str(), site.login.password.reveal()),
            (990, Security::Implicit, "me", "p@ss")
        );
        assert_eq!(parse("ftps://h/a").unwrap().0.security, Security::Explicit);
        let site = parse("ftp://[::1]/a").unwrap().0;
        assert_eq!((site.host(), site.port, site.login.user.as_str()), ("::1", 21, "anonymous"));
        let known = Login { user: "them".into(), password: Secret::new("x") };
        let given = Site::parse("ftp://h/a", |host| (host == "h:21").then(|| known.clone())).unwrap().0;
        assert_eq!(given.login, known);
        assert!(!format!("{given:?}").contains("\"x\""));
    }
}
