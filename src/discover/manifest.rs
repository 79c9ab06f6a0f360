//! A table of URLs: CSV with a header, a plain list, or JSON.
//!
//! Invariant: a table that lies on a server names nothing on this machine, and one beside a recipe that is not trusted is read only
//! from inside the recipe's own folder.

use std::path::Path;

use serde_json::Value;

use super::records::{fields, path, resolved};
use super::table::rows;
use super::{DiscoverError, Found, Search};
use crate::recipe::diagnostic::Code;
use crate::store::{Access, Document};

/// Columns that usually hold the URL, best first.
const USUAL: [&str; 6] = ["url", "href", "uri", "path", "file", "filename"];
/// Names shown in a message.
const SHOWN: usize = 12;

/// Every row of the table.
pub(super) fn read(search: Search<'_>, url: &str, column: Option<&str>, at: Option<&str>) -> Result<Vec<Found>, DiscoverError> {
    let document = document(search, url)?;
    let text = std::str::from_utf8(&document.bytes).map_err(|_| refuse(search, url, "it is not UTF-8 text"))?;
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let table = if start.starts_with(['[', '{']) { json(start, at, column) } else { csv(text, column) };
    let table = table.map_err(|reason| refuse(search, url, &reason))?;
    if table.is_empty() {
        let message = format!("the table `{}` has no rows", crate::store::shown(url));
        return Err(search.refuse(Code::NothingFound, message, "list at least one file"));
    }
    search.limits.files(table.len())?;
    table.into_iter().enumerate().map(|(number, found)| placed(search, &document, (number, found))).collect()
}

fn refuse(search: Search<'_>, url: &str, reason: &str) -> DiscoverError {
    let message = format!("`{}` is no table of files: {reason}", crate::store::shown(url));
    let help = "write a header with a column `url`, or `manifest: {url, column, at}` with the names that the table has";
    search.refuse(Code::NotAnIndex, message, help)
}

/// The table itself. A file of the recipe's own folder may be read whoever wrote the recipe.
fn document(search: Search<'_>, url: &str) -> Result<Document, DiscoverError> {
    let own = search.access.untrusted && !url.contains("://") && is_inside(&search.find.base, Path::new(url));
    if !own {
        return search.limits.read(search.documents, url, &[]);
    }
    let trusting = Access { untrusted: false, ..search.access.clone() };
    let documents = crate::store::documents(&trusting, std::sync::Arc::new(crate::event::Silent));
    search.limits.read(&*documents, url, &[])
}

/// True if a path, links followed, lies in a folder.
fn is_inside(folder: &Path, path: &Path) -> bool {
    folder.canonicalize().is_ok_and(|folder| path.canonicalize().is_ok_and(|path| path.starts_with(folder)))
}

fn placed(search: Search<'_>, document: &Document, (number, found): (usize, Found)) -> Result<Found, DiscoverError> {
    let row = number + 1;
    let url = resolved(&document.url, &found.url).filter(|url| !url.is_empty());
    let Some(url) = url else {
        let message = format!("row {row} of the table names no file: `{}`", crate::store::shown(&found.url));
        return Err(search.refuse(Code::NotAnIndex, message, "write a URL, or a path relative to the table"));
    };
    let remote = document.url.contains("://") && !document.url.starts_with("file://");
    if remote && (!url.contains("://") || url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file://"))) {
        let message = format!("row {row} of the table names a path of this machine, although the table comes from a server");
        return Err(search.refuse(Code::AddressRefused, message, "a table that is not local may name URLs only"));
    }
    Ok(Found { path: path(&url), url, ..found })
}

fn csv(text: &str, column: Option<&str>) -> Result<Vec<Found>, String> {
    let mut rows = rows(text).into_iter();
    let Some(header) = rows.next() else { return Ok(Vec::new()) };
    let named = |name: &str| header.iter().position(|cell| cell.eq_ignore_ascii_case(name));
    let place = match column {
        Some(column) => named(column),
        None => USUAL.iter().find_map(|name| named(name)),
    };
    let Some(place) = place else {
        if header.len() == 1 && column.is_none() {
            return Ok(std::iter::once(header).chain(rows).filter_map(|row| row.into_iter().next()).map(listed).collect());
        }
        let known = header.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return Err(format!("no column `{}`; there are {known}", column.unwrap_or("url")));
    };
    let mut found = Vec::new();
    for (number, row) in rows.enumerate() {
        if row.len() != header.len() {
            return Err(format!("row {} has {} cells, the header {}", number + 1, row.len(), header.len()));
        }
        let url = row.get(place).cloned().unwrap_or_default();
        found.push(described(url, header.iter().cloned().zip(row).collect()));
    }
    Ok(found)
}

fn listed(url: String) -> Found {
    Found { url, ..Found::default() }
}

/// A row with what it tells under the usual names.
fn described(url: String, fields: std::collections::BTreeMap<String, String>) -> Found {
    let told = |name: &str| fields.get(name).filter(|text| !text.is_empty()).cloned();
    let (size, modified, checksum) = (told("size").and_then(|text| text.parse().ok()), told("modified"), told("checksum"));
    Found { url, fields, size, modified, checksum, ..Found::default() }
}

fn json(text: &str, at: Option<&str>, column: Option<&str>) -> Result<Vec<Found>, String> {
    // A list of objects on lines of their own is JSON too, to many.
    let lines = || text.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
    let document: Value = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(error) => lines().map(Value::Array).map_err(|_| format!("its JSON is broken: {error}"))?,
    };
    let list = match at {
        Some(pointer) => document.pointer(pointer).ok_or_else(|| format!("nothing is at `{pointer}`"))?,
        None => &document,
    };
    let items = list.as_array().ok_or_else(|| match list.as_object() {
        Some(members) => {
            let names = members.keys().take(SHOWN).map(|name| format!("`/{name}`")).collect::<Vec<_>>().join(", ");
            format!("it is an object, not a list; say where the list is with `at`: {names}")
        }
        None => "it is not a list".to_owned(),
    })?;
    items.iter().enumerate().map(|(number, item)| record(item, column).ok_or_else(|| unnamed(number, item, column))).collect()
}

fn record(item: &Value, column: Option<&str>) -> Option<Found> {
    if let Some(url) = item.as_str() {
        return Some(listed(url.to_owned()));
    }
    let fields = fields(item);
    let url = match column {
        Some(column) => fields.get(column)?,
        None => USUAL.iter().find_map(|name| fields.get(*name))?,
    };
    Some(described(url.clone(), fields.clone()))
}

fn unnamed(number: usize, item: &Value, column: Option<&str>) -> String {
    let known = item.as_object().map(|members| members.keys().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "));
    format!("item {} has no member `{}`; it has {}", number + 1, column.unwrap_or("url"), known.unwrap_or_else(|| "none".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(table: Result<Vec<Found>, String>) -> Vec<String> {
        table.unwrap().into_iter().map(|found| found.url).collect()
    }

    #[test]
    fn reads_tables_and_lists() {
        let table = csv("time,URL,size\n2001,a.nc,7\n2002,b.nc,\n", None).unwrap();
        assert_eq!((table[0].url.as_str(), table[0].size, table[1].size), ("a.nc", Some(7), None));
        assert_eq!(table[1].fields["time"], "2002");
        assert_eq!(urls(csv("a.nc\nb.nc\n", None)), ["a.nc", "b.nc"]);
        assert_eq!(urls(csv("x,where\n1,c.nc\n", Some("where"))), ["c.nc"]);
        assert_eq!(urls(json("[\"a.nc\", {\"href\": \"b.nc\", \"n\": 1}]", None, None)), ["a.nc", "b.nc"]);
        assert_eq!(urls(json("{\"d\": {\"list\": [{\"loc\": \"a.nc\"}]}}", Some("/d/list"), Some("loc"))), ["a.nc"]);
        assert_eq!(urls(json("{\"url\": \"a.nc\"}\n{\"url\": \"b.nc\"}\n", None, None)), ["a.nc", "b.nc"]);
        let refused = |table: Result<Vec<Found>, String>| table.unwrap_err();
        assert!(refused(csv("time,where\n1,a.nc\n", None)).contains("`time`, `where`"));
        assert!(refused(csv("url,n\na.nc\n", None)).contains("row 1 has 1 cells"));
        assert!(refused(json("{\"files\": []}", None, None)).contains("`/files`"));
        assert!(refused(json("[{\"n\": 1}]", None, None)).contains("`n`"));
        assert!(refused(json("[1", None, None)).contains("broken"));
    }
}
