//! STAC: items of a collection, of a search, or below a static catalog.
//!
//! After the STAC API and Features specifications (<https://api.stacspec.org/v1.0.0/ogcapi-features>, `item-search`): a page is a
//! `FeatureCollection` whose link `next` leads to the next; a static catalog or collection leads to `child` and `item` documents
//! (<https://github.com/radiantearth/stac-spec>, 1.0). Assets are taken by key. Invariant: no document is read twice.

use std::collections::BTreeSet;

use serde_json::Value;
use url::Url;

use super::limits::DEEPEST;
use super::records::{fields, path, text};
use super::{DiscoverError, Found, Search};
use crate::recipe::diagnostic::Code;
use crate::recipe::find::Stac;
use crate::store::shown;

/// Items of a page.
const PAGE: usize = 500;

/// The wanted assets of every item.
pub(super) fn search(search: Search<'_>, query: &Stac) -> Result<Vec<Found>, DiscoverError> {
    let mut found = Vec::new();
    let (mut level, mut depth, mut seen) = (vec![address(query)], 0, BTreeSet::new());
    let (mut items, mut keys) = (0_usize, BTreeSet::new());
    while !level.is_empty() {
        if depth > DEEPEST {
            return Err(search.limits.exceeded(format!("catalogs are more than {DEEPEST} deep")));
        }
        let mut next = Vec::new();
        for url in level {
            let mut page = Some(url);
            // Pages are read one after the other, whatever their number; only steps down count as deeper.
            while let Some(url) = page.take().filter(|url| seen.insert(url.clone())) {
                let document = search.limits.read(search.documents, &url, &[])?;
                let value: Value = serde_json::from_slice(&document.bytes).map_err(|_| refuse(search, &url, "it is no JSON"))?;
                let base = Url::parse(&document.url).map_err(|_| refuse(search, &url, "it has no address"))?;
                match value["type"].as_str() {
                    Some("FeatureCollection") => {
                        let features = value["features"].as_array().map(Vec::as_slice).unwrap_or_default();
                        for item in features {
                            take(item, &base, query, (&mut found, &mut keys));
                        }
                        items += features.len();
                        search.limits.files(features.len())?;
                        page = following(search, &value, &base)?;
                    }
                    Some("Feature") => {
                        take(&value, &base, query, (&mut found, &mut keys));
                        items += 1;
                        search.limits.files(1)?;
                    }
                    Some("Collection" | "Catalog") => next.extend(below(&value, &base, query)),
                    _ => return Err(refuse(search, &url, "its `type` is none of FeatureCollection, Feature, Collection and Catalog")),
                }
            }
        }
        level = next;
        depth += 1;
    }
    if found.is_empty() && items > 0 {
        let known = keys.iter().take(20).map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        let message = format!("{items} items were found, and none has an asset `{}`", query.assets.join("` or `"));
        return Err(search.refuse(Code::NothingFound, message, format!("their assets are {known}")));
    }
    Ok(found)
}

fn refuse(search: Search<'_>, url: &str, reason: &str) -> DiscoverError {
    let message = format!("`{}` is no STAC document: {reason}", shown(url));
    search.refuse(Code::NotAnIndex, message, "give the address of a collection, of its `/items`, of a `/search?…`, or of a catalog.json")
}

fn links<'v>(value: &'v Value, rel: &str) -> impl Iterator<Item = &'v Value> {
    let links = value["links"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rel = rel.to_owned();
    links.iter().filter(move |link| link["rel"].as_str() == Some(rel.as_str()))
}

fn joined(base: &Url, href: &str) -> Option<String> {
    base.join(href).ok().filter(|url| url.scheme().starts_with("http")).map(String::from)
}

/// The next page.
fn following(search: Search<'_>, value: &Value, base: &Url) -> Result<Option<String>, DiscoverError> {
    let Some(link) = links(value, "next").next() else { return Ok(None) };
    if link["method"].as_str().is_some_and(|method| !method.eq_ignore_ascii_case("GET")) {
        let message = "the next page of items is asked for with POST, which is not spoken here";
        return Err(search.refuse(Code::NotAnIndex, message, "give the address of the collection's items: …/collections/ID/items"));
    }
    match link["href"].as_str().and_then(|href| joined(base, href)) {
        Some(url) => Ok(Some(url)),
        None => {
            Err(search.refuse(Code::NotAnIndex, "the link to the next page of items leads nowhere", "tell the maintainers of the service"))
        }
    }
}

/// Where a catalog or collection leads: to its items if it has a list of them, else to its items and children one by one.
fn below(value: &Value, base: &Url, query: &Stac) -> Vec<String> {
    if let Some(items) = links(value, "items").next().and_then(|link| link["href"].as_str()).and_then(|href| joined(base, href)) {
        return Url::parse(&items).map(|url| vec![with_query(url, query)]).unwrap_or_default();
    }
    let both = links(value, "item").chain(links(value, "child"));
    both.filter_map(|link| link["href"].as_str()).filter_map(|href| joined(base, href)).collect()
}

/// An address of items with what narrows them.
fn with_query(mut url: Url, query: &Stac) -> String {
    let known: BTreeSet<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    let size = PAGE.to_string();
    let wanted = query.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain([("limit", size.as_str())]);
    let wanted: Vec<_> = wanted.filter(|(name, _)| !known.contains(*name)).collect();
    url.query_pairs_mut().extend_pairs(wanted);
    url.into()
}

/// The first address: what narrows items goes to addresses that list them.
fn address(query: &Stac) -> String {
    let Ok(url) = Url::parse(&query.url) else { return query.url.clone() };
    let path = url.path().trim_end_matches('/');
    if path.ends_with("/items") || path.ends_with("/search") { with_query(url, query) } else { query.url.clone() }
}

fn take(item: &Value, base: &Url, query: &Stac, (found, keys): (&mut Vec<Found>, &mut BTreeSet<String>)) {
    let mut about = fields(&item["properties"]);
    for name in ["id", "collection"] {
        about.extend(text(&item[name]).map(|text| (name.to_owned(), text)));
    }
    // Relative addresses are relative to the item itself, wherever it was listed.
    let own = links(item, "self").next().and_then(|link| link["href"].as_str()).and_then(|href| base.join(href).ok());
    let base = own.unwrap_or_else(|| base.clone());
    for (key, asset) in item["assets"].as_object().into_iter().flatten() {
        if keys.len() < 100 {
            keys.insert(key.clone());
        }
        if !query.assets.contains(key) {
            continue;
        }
        let Some(url) = asset["href"].as_str().and_then(|href| base.join(href).ok()).filter(|url| url.scheme() != "file") else { continue };
        let mut fields = about.clone();
        fields.insert("asset".to_owned(), key.clone());
        let modified = about.get("updated").cloned();
        let checksum = text(&asset["file:checksum"]).map(|sum| format!("multihash:{sum}"));
        let url = String::from(url);
        found.push(Found { path: path(&url), url, fields, size: asset["file:size"].as_u64(), modified, checksum });
    }
}
