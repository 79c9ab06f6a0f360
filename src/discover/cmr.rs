//! NASA's Common Metadata Repository: granules of a collection.
//!
//! After the CMR Search API (<https://cmr.earthdata.nasa.gov/search/site/docs/search/api.html>): `granules.json`, paged by the header
//! `CMR-Search-After`, which an answer gives and the next request repeats; `CMR-Hits` says how many there are. Links of files are those
//! whose `rel` ends in `/data#` (https) or `/s3#`; inherited ones are the collection's. Invariant: what comes out is as many granules as `CMR-Hits` says.

use serde_json::Value;

use super::records::{fields, path};
use super::{DiscoverError, Found, Search};
use crate::recipe::diagnostic::Code;
use crate::recipe::find::Cmr;
use crate::store::Document;

/// Granules of a page: the most that the service gives.
const PAGE: usize = 2000;

/// Every file of every granule.
pub(super) fn search(search: Search<'_>, query: &Cmr) -> Result<Vec<Found>, DiscoverError> {
    let url = address(query);
    let (mut found, mut granules, mut after) = (Vec::new(), 0_u64, None::<String>);
    loop {
        let headers: Vec<(&str, &str)> = after.iter().map(|after| ("CMR-Search-After", after.as_str())).collect();
        let document = search.limits.read(search.documents, &url, &headers)?;
        let entries = entries(&document).ok_or_else(|| refuse(search, query, "it sends no `feed.entry`"))?;
        granules += entries.len() as u64;
        let files: Vec<Found> = entries.iter().flat_map(|entry| files(entry, query.direct)).collect();
        search.limits.files(files.len())?;
        found.extend(files);
        let next = header(&document, "cmr-search-after").map(str::to_owned);
        if entries.is_empty() || next.is_none() || next == after {
            let hits = header(&document, "cmr-hits").and_then(|hits| hits.parse::<u64>().ok());
            return match hits.filter(|hits| *hits != granules) {
                Some(hits) => Err(refuse(search, query, &format!("it announces {hits} granules and sends {granules}; run again"))),
                None if found.is_empty() && granules > 0 => Err(without_links(search, query, granules)),
                None => Ok(found),
            };
        }
        after = next;
    }
}

fn refuse(search: Search<'_>, query: &Cmr, reason: &str) -> DiscoverError {
    let message = format!("`{}` does not answer as the CMR does: {reason}", crate::store::shown(&query.server));
    search.refuse(Code::NotAnIndex, message, "`server` is the address of the service, such as https://cmr.earthdata.nasa.gov/search")
}

fn without_links(search: Search<'_>, query: &Cmr, granules: u64) -> DiscoverError {
    let message =
        format!("{granules} granules were found, and none has a link to a file {}", if query.direct { "at s3://" } else { "over https" });
    search.refuse(Code::NothingFound, message, "choose the other of `links: data` and `links: s3`")
}

fn address(query: &Cmr) -> String {
    let pairs = query.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let size = PAGE.to_string();
    // A fixed order, so that pages do not shift while granules come in.
    let own = [("page_size", size.as_str()), ("sort_key[]", "start_date"), ("sort_key[]", "entry_title")];
    let query_text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs.chain(own)).finish();
    format!("{}/granules.json?{query_text}", query.server.trim_end_matches('/'))
}

fn header<'a>(document: &'a Document, name: &str) -> Option<&'a str> {
    document.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn entries(document: &Document) -> Option<Vec<Value>> {
    let value: Value = serde_json::from_slice(&document.bytes).ok()?;
    value.pointer("/feed/entry")?.as_array().cloned()
}

fn files(entry: &Value, direct: bool) -> Vec<Found> {
    let about = fields(entry);
    let links = entry["links"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ending = if direct { "/s3#" } else { "/data#" };
    let is_file = |link: &&Value| link["rel"].as_str().is_some_and(|rel| rel.ends_with(ending)) && link["inherited"] != Value::Bool(true);
    let known = |url: &&str| if direct { url.starts_with("s3://") } else { url.starts_with("https://") || url.starts_with("http://") };
    let urls = links.iter().filter(is_file).filter_map(|link| link["href"].as_str()).filter(known);
    let found = |url: &str| {
        let modified = about.get("updated").cloned();
        Found { url: url.to_owned(), path: path(url), fields: about.clone(), modified, ..Found::default() }
    };
    urls.map(found).collect()
}
