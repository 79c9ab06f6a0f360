//! Which hosts a credential is bound to.
//!
//! Invariant: a pattern never matches a host that does not end with the words it is written with.

use url::Url;

/// A host as the operator writes it: `data.example.org`, `data.example.org:8443`, or `*.example.org` for all below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct HostPattern {
    name: String,
    below: bool,
    port: Option<u16>,
}

impl HostPattern {
    /// Reads one; the reason if it is none.
    pub(in crate::store) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("`{text}` in `hosts` {why}"));
        let (name, port) = split(text);
        let (below, name) = name.strip_prefix("*.").map_or((false, name), |rest| (true, rest));
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        if name.is_empty() || !name.chars().all(plain) || (name.contains(':') && !name.starts_with('[')) {
            return wrong("is not a host; write `data.example.org`, `data.example.org:8443` or `*.example.org`");
        }
        if below && !name.contains('.') {
            return wrong("binds the credential to half of the internet; name the hosts");
        }
        Ok(Self { name, below, port })
    }

    /// True if a request to this URL goes to the host: the port is the one named, else the scheme's usual one.
    pub(in crate::store) fn takes_url(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let port = match self.port {
            Some(port) => url.port_or_known_default() == Some(port),
            None => url.port().is_none(),
        };
        port && self.takes_name(host)
    }

    /// True for this server, `host` or `host:port`; a port that is not told is no objection.
    pub(in crate::store) fn takes_server(&self, server: &str) -> bool {
        let (host, port) = split(server);
        let port = match (self.port, port) {
            (Some(bound), Some(asked)) => bound == asked,
            _ => true,
        };
        port && self.takes_name(host)
    }

    fn takes_name(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        if self.below { host.strip_suffix(&self.name).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')) } else { host == self.name }
    }
}

/// Host and port, where a port is written; an IPv6 address stands in brackets.
fn split(text: &str) -> (&str, Option<u16>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && (!host.contains(':') || host.ends_with(']')) => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (text, None),
        },
        _ => (text, None),
    }
}

/// True for a URL of this very machine, to which plain `http` is as good as any.
pub(in crate::store) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_belongs_to_the_binding() {
        let takes = |pattern: &str, url: &str| HostPattern::parse(pattern).unwrap().takes_url(&Url::parse(url).unwrap());
        assert!(takes("a.example", "https://a.example/x") && takes("A.example.", "https://a.EXAMPLE:443/x"));
        assert!(takes("a.example:8443", "https://a.example:8443/x") && takes("a.example:443", "https://a.example/x"));
        assert!(takes("*.example.org", "https://a.b.example.org/") && takes("[::1]:80", "http://[::1]/x"));
        for (pattern, url) in [
            ("a.example", "https://a.example:8443/x"),
            ("a.example:8443", "https://a.example/x"),
            ("*.example.org", "https://example.org/"),
            ("*.example.org", "https://evilexample.org/"),
            ("a.example", "https://b.a.example/"),
            ("a.example", "https://a.example.evil.example/"),
            ("a.example", "https://a.example@evil.example/"),
        ] {
            assert!(!takes(pattern, url), "{pattern} {url}");
        }
    }
}
