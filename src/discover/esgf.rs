//! The search of the Earth System Grid Federation: files by facets.
//!
//! After the `ESGF_Search_RESTful_API` (<https://esgf.github.io/esg-search/ESGF_Search_RESTful_API.html>): `type=File` in Solr's JSON, paged by
//! `offset` and `limit`; each entry of `url` is `address|media type|service`. Invariant: as many files come out as `numFound` says.

use std::collections::BTreeSet;

use serde_json::Value;

use super::records::{fields, path, text};
use super::{DiscoverError, Found, Search};
use crate::recipe::diagnostic::Code;
use crate::recipe::find::{Esgf, Service};

/// Files of a page.
const PAGE: usize = 1000;

/// Every file that matches.
pub(super) fn search(search: Search<'_>, query: &Esgf) -> Result<Vec<Found>, DiscoverError> {
    let (mut found, mut seen, mut without) = (Vec::new(), 0_u64, 0);
    let mut ids = BTreeSet::new();
    loop {
        let document = search.limits.read(search.documents, &address(query, seen), &[])?;
        let value: Value = serde_json::from_slice(&document.bytes).map_err(|_| refuse(search, query, "it sends no JSON"))?;
        let response = &value["response"];
        let (Some(total), Some(files)) = (response["numFound"].as_u64(), response["docs"].as_array()) else {
            return Err(refuse(search, query, "it sends no `response` with `numFound` and `docs`"));
        };
        search.limits.files(files.len())?;
        seen += files.len() as u64;
        for file in files {
            // A file that comes twice pushed another one out of the page.
            if !text(&file["id"]).is_none_or(|id| ids.insert(id)) {
                return Err(refuse(search, query, "its pages shifted while they were read; run again"));
            }
            match record(file, query.service) {
                Some(record) => found.push(record),
                None => without += 1,
            }
        }
        if seen >= total {
            return if found.is_empty() && without > 0 { Err(unserved(search, query, without)) } else { Ok(found) };
        }
        if files.is_empty() {
            return Err(refuse(search, query, &format!("it announces {total} files and sends {seen}; run again")));
        }
    }
}

fn refuse(search: Search<'_>, query: &Esgf, reason: &str) -> DiscoverError {
    let message = format!("`{}` does not answer as an ESGF search does: {reason}", crate::store::shown(&query.server));
    search.refuse(Code::NotAnIndex, message, "`server` is the address of a search, such as https://esgf-node.example/esg-search/search")
}

fn unserved(search: Search<'_>, query: &Esgf, files: usize) -> DiscoverError {
    let message = format!("{files} files were found, and none is offered by {}", query.service.name());
    search.refuse(Code::NothingFound, message, "choose another `service`: http or opendap")
}

fn address(query: &Esgf, offset: u64) -> String {
    let mut pairs = url::form_urlencoded::Serializer::new(String::new());
    pairs.extend_pairs([
        ("type", "File"),
        ("format", "application/solr+json"),
        ("distrib", if query.distributed { "true" } else { "false" }),
    ]);
    if let Some(replica) = query.replica {
        pairs.append_pair("replica", if replica { "true" } else { "false" });
    }
    if query.latest {
        pairs.append_pair("latest", "true");
    }
    for (facet, values) in &query.facets {
        pairs.append_pair(facet, &values.join(","));
    }
    pairs.append_pair("limit", &PAGE.to_string()).append_pair("offset", &offset.to_string());
    format!("{}?{}", query.server.trim_end_matches('/'), pairs.finish())
}

fn record(file: &Value, service: Service) -> Option<Found> {
    let urls = file["url"].as_array().map(Vec::as_slice).unwrap_or_default();
    let offered = urls.iter().filter_map(Value::as_str).find_map(|entry| {
        let mut parts = entry.split('|');
        let (url, _, kind) = (parts.next()?, parts.next()?, parts.next()?);
        service.is_of(&kind.to_ascii_lowercase()).then_some(url)
    })?;
    // The page that describes the dataset is what is listed for OPeNDAP.
    let url = if service == Service::Opendap { offered.strip_suffix(".html").unwrap_or(offered) } else { offered };
    let checksum =
        text(&file["checksum_type"]).zip(text(&file["checksum"])).map(|(kind, sum)| format!("{}:{sum}", kind.to_ascii_lowercase()));
    let modified = text(&file["timestamp"]);
    Some(Found { url: service.address(url), path: path(url), fields: fields(file), size: file["size"].as_u64(), modified, checksum })
}
