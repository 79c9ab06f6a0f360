//! URLs of datasets on OPeNDAP servers, and of parts of them.
//!
//! Pure. `dap2://host/path` is DAP2 over https, `dap2+http://host/path` says the transport; a query is a constraint expression.
//! Invariant: what is asked of a dataset goes to its own host.

use std::borrow::Cow;

use url::Url;

use super::super::{ErrorKind, StoreError};
use crate::layout::Protocol;

/// A dataset of an OPeNDAP server, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Where it is: `http(s)`, without query and fragment.
    pub url: Url,
    /// What its server is asked in.
    pub protocol: Protocol,
    /// The part, as a percent-encoded constraint expression; `None` for the whole.
    pub constraint: Option<String>,
    /// Most bytes that the answer about a part may have.
    pub most: Option<u64>,
}

/// Endings of paths that servers put behind the name of a dataset, where people copy it from.
const ENDINGS: [&str; 8] = [".dds", ".das", ".dods", ".dmr.xml", ".dmr.html", ".dmr", ".dap", ".html"];

/// Begins the fragment of a part's URL.
const MOST: &str = "at-most=";

/// The scheme of the transport, if `scheme` is one of OPeNDAP.
fn transport(scheme: &str) -> Option<(Protocol, &'static str)> {
    let (name, transport) = scheme.split_once('+').unwrap_or((scheme, "https"));
    let protocol = match name {
        "dap2" => Protocol::Dap2,
        "dap4" => Protocol::Dap4,
        _ => return None,
    };
    let transport = ["https", "http"].into_iter().find(|known| *known == transport)?;
    Some((protocol, transport))
}

/// Reads an OPeNDAP URL whose scheme (lowercase) and rest are given; `None` if the scheme is another.
pub(in super::super) fn parse(text: &str, scheme: &str, rest: &str) -> Option<Result<Dataset, StoreError>> {
    let (protocol, transport) = transport(scheme)?;
    Some(at(text, &format!("{transport}://{rest}"), protocol))
}

fn at(text: &str, plain: &str, protocol: Protocol) -> Result<Dataset, StoreError> {
    let refuse = |why: &str| StoreError::new(ErrorKind::Other, text, format!("not a usable URL: {why}"));
    let mut url = Url::parse(plain).map_err(|error| refuse(&error.to_string()))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(refuse("it has no host"));
    }
    let constraint = url.query().filter(|query| !query.is_empty()).map(str::to_owned);
    let most = url.fragment().and_then(|fragment| fragment.strip_prefix(MOST)?.parse().ok());
    url.set_query(None);
    url.set_fragment(None);
    Ok(Dataset { url, protocol, constraint, most })
}

impl Dataset {
    /// Where one of its documents is: the dataset's path and an ending such as `dds`.
    pub(super) fn document(&self, ending: &str, query: Option<&str>) -> String {
        let mut url = self.url.clone();
        url.set_path(&format!("{}.{ending}", self.url.path()));
        url.set_query(query);
        url.into()
    }

    /// The whole dataset, or why the URL is not that of one.
    pub(super) fn whole(&self, text: &str) -> Result<&Self, StoreError> {
        if self.constraint.is_some() {
            let advice = "the URL of a dataset has no query; name it alone, and say with `keep` and `isel` in `steps` what is wanted";
            return Err(StoreError::new(ErrorKind::Other, text, advice));
        }
        if let Some(ending) = ENDINGS.into_iter().find(|ending| self.url.path().ends_with(ending)) {
            let advice =
                format!("this is one of a dataset's documents; leave out `{ending}` at the end, which is added where it is needed");
            return Err(StoreError::new(ErrorKind::Other, text, advice));
        }
        Ok(self)
    }
}

/// True if a URL says that it is a dataset, or a part of one.
#[must_use]
pub fn is_dataset(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| transport(&scheme.to_ascii_lowercase()).is_some())
}

/// The web address of the dataset of which a URL names a part; any other URL as it is.
pub(in super::super) fn whole_of(url: &str) -> Cow<'_, str> {
    match url.split_once("://").and_then(|(scheme, rest)| parse(url, &scheme.to_ascii_lowercase(), rest)) {
        Some(Ok(dataset)) => Cow::Owned(dataset.url.into()),
        _ => Cow::Borrowed(url),
    }
}

/// The URL of a part of a dataset, given the URL of the dataset (or of a web file that turned out to be one) and the most bytes that
/// the answer may have; [`super::super::SourceStore::begin`] gives the answer.
#[must_use]
pub fn part_url(url: &str, protocol: Protocol, constraint: &str, most: u64) -> String {
    let name = match protocol {
        Protocol::Dap2 => "dap2",
        Protocol::Dap4 => "dap4",
    };
    let whole = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = whole.split_once("://").unwrap_or(("https", whole));
    let transport = match scheme.split_once('+') {
        Some((_, transport)) => transport,
        None if scheme.eq_ignore_ascii_case("http") => "http",
        None => "https",
    };
    format!("{name}+{transport}://{rest}?{constraint}#{MOST}{most}")
}

#[cfg(test)]
mod tests {
    use super::super::super::address::Address;
    use super::*;

    fn dataset(text: &str) -> Dataset {
        match Address::parse(text) {
            Ok(Address::Dap(dataset)) => dataset,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn schemes_say_protocol_and_transport() {
        let told = |text: &str| (dataset(text).protocol, dataset(text).url.to_string());
        assert_eq!(told("dap2://h/a/b.nc"), (Protocol::Dap2, "https://h/a/b.nc".to_owned()));
        assert_eq!(told("DAP4+http://h:8080/b"), (Protocol::Dap4, "http://h:8080/b".to_owned()));
        assert!(Address::parse("dap2+ftp://h/b").is_err() && Address::parse("dap3://h/b").is_err() && Address::parse("dap2://").is_err());
    }

    #[test]
    fn parts_go_to_the_dataset_s_own_host() {
        for whole in ["dap2+http://h:1/a.nc", "http://h:1/a.nc", "http://h:1/a.nc?x#y"] {
            let part = dataset(&part_url(whole, Protocol::Dap2, "SST%5B0:3%5D", 7));
            assert_eq!(part.most, Some(7));
            assert_eq!(part.document("dods", part.constraint.as_deref()), "http://h:1/a.nc.dods?SST%5B0:3%5D");
        }
        assert_eq!(whole_of("dap2+http://h/a?x#at-most=1"), "http://h/a");
        assert_eq!(whole_of("https://h/a?x"), "https://h/a?x");
        assert_eq!(part_url("dap4://h/a", Protocol::Dap4, "x", 1), "dap4+https://h/a?x#at-most=1");
    }

    #[test]
    fn a_dataset_is_named_alone() {
        assert!(dataset("dap2://h/a.nc").whole("u").is_ok());
        for wrong in ["dap2://h/a.nc?sst", "dap2://h/a.nc.dds", "dap2://h/a.nc.html"] {
            assert!(dataset(wrong).whole(wrong).is_err(), "{wrong}");
        }
    }
}
