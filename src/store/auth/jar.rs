//! Session cookies, of the hosts that a credential is bound to.
//!
//! As much of RFC 6265 as a login needs. Nothing is kept beyond the process. Invariant: a cookie goes back only to the host that
//! set it, or to those below a domain of two words and more that this host belongs to, and a `Secure` one only where it is safe.

use std::sync::{Mutex, PoisonError};

use url::Url;

use super::redact;
use crate::store::access::Secret;

/// Most cookies kept; the oldest give way.
const MOST: usize = 64;
/// Longest cookie kept, in bytes.
const LONGEST: usize = 8 << 10;

/// The cookies of one credential.
#[derive(Debug, Default)]
pub(super) struct Jar(Mutex<Vec<Cookie>>);

#[derive(Debug)]
struct Cookie {
    name: String,
    value: Secret,
    domain: String,
    /// For this very host.
    exact: bool,
    path: String,
    secure: bool,
}

impl Jar {
    /// Keeps what a `Set-Cookie` says; true if a cookie was set, false if it was none or removed one.
    pub(super) fn keep(&self, url: &Url, header: &str) -> bool {
        let Some((cookie, gone)) = Cookie::parse(url, header) else { return false };
        let mut cookies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cookies.retain(|known| (&known.name, &known.domain, &known.path) != (&cookie.name, &cookie.domain, &cookie.path));
        if gone {
            return false;
        }
        redact::keep(cookie.value.reveal());
        cookies.push(cookie);
        if cookies.len() > MOST {
            cookies.remove(0);
        }
        true
    }

    /// The `Cookie` header for a request to this URL; `safe` if nobody can listen.
    pub(super) fn header(&self, url: &Url, safe: bool) -> Option<String> {
        let cookies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fitting: Vec<&Cookie> = cookies.iter().filter(|cookie| cookie.fits(url) && (safe || !cookie.secure)).collect();
        fitting.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<String> = fitting.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value.reveal())).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Cookie {
    /// A cookie, and whether it is to be removed.
    fn parse(url: &Url, header: &str) -> Option<(Self, bool)> {
        let host = url.host_str()?.to_ascii_lowercase();
        let mut parts = header.split(';').map(str::trim);
        let (name, value) = parts.next()?.split_once('=')?;
        if name.is_empty() || header.len() > LONGEST {
            return None;
        }
        let mut cookie = Self {
            name: name.trim().to_owned(),
            value: Secret::new(value.trim()),
            domain: host.clone(),
            exact: true,
            path: default_path(url),
            secure: false,
        };
        let mut gone = false;
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match (key.trim().to_ascii_lowercase().as_str(), value.trim()) {
                ("domain", value) if !value.is_empty() => {
                    let domain = value.trim_start_matches('.').to_ascii_lowercase();
                    if !is_below(&host, &domain) {
                        return None;
                    }
                    (cookie.exact, cookie.domain) = (domain == host && url.domain().is_none(), domain);
                }
                ("path", value) if value.starts_with('/') => value.clone_into(&mut cookie.path),
                ("secure", _) => cookie.secure = true,
                ("max-age", value) => gone |= value.parse::<i64>().is_ok_and(|seconds| seconds <= 0),
                ("expires", value) => gone |= is_past(value),
                _ => {}
            }
        }
        Some((cookie, gone))
    }

    fn fits(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let host = if self.exact { host == self.domain } else { is_below(&host, &self.domain) };
        let rest = url.path().strip_prefix(self.path.as_str());
        host && rest.is_some_and(|rest| rest.is_empty() || self.path.ends_with('/') || rest.starts_with('/'))
    }
}

/// True if the host is the domain or below it; a domain of one word is nobody's.
fn is_below(host: &str, domain: &str) -> bool {
    host == domain || (domain.contains('.') && host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')))
}

/// RFC 6265 §5.1.4.
fn default_path(url: &Url) -> String {
    match url.path().rfind('/') {
        None | Some(0) => "/".to_owned(),
        Some(end) => url.path().get(..end).unwrap_or("/").to_owned(),
    }
}

fn is_past(date: &str) -> bool {
    let date = date.replace('-', " ");
    jiff::fmt::rfc2822::parse(&date).is_ok_and(|moment| moment.timestamp() < jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn cookies_go_back_to_where_they_came_from() {
        let jar = Jar::default();
        assert!(jar.keep(&url("https://data.example.org/login/x?code=1"), "session=abc; Path=/; Secure; HttpOnly"));
        assert!(jar.keep(&url("https://data.example.org/login/x"), "wide=1; Domain=.example.org; Path=/data"));
        assert_eq!(jar.header(&url("https://data.example.org/data/a.nc"), true).as_deref(), Some("wide=1; session=abc"));
        assert_eq!(jar.header(&url("http://data.example.org/data/a.nc"), false).as_deref(), Some("wide=1"));
        assert_eq!(jar.header(&url("https://other.example.org/data"), true).as_deref(), Some("wide=1"));
        assert_eq!(jar.header(&url("https://other.example.org/database"), true), None);
        assert_eq!(jar.header(&url("https://evilexample.org/data"), true), None);
        assert!(!jar.keep(&url("https://data.example.org/login/x"), "session=; Path=/; Expires=Thu, 01-Jan-1970 00:00:00 GMT"));
        assert_eq!(jar.header(&url("https://data.example.org/"), true), None);
        for bad in ["x=1; Domain=org", "x=1; Domain=other.example", "no pair", "=1"] {
            assert!(!jar.keep(&url("https://data.example.org/"), bad), "{bad}");
        }
    }
}
