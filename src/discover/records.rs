//! JSON values as records: what catalogues and tables of JSON have in common.
//!
//! Invariant: only scalars, and lists of one scalar, become fields; what is deeper is left out.

use std::collections::BTreeMap;

use serde_json::Value;

/// A scalar, or the only item of a list, as text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Array(items) => match items.as_slice() {
            [only] if !only.is_array() => text(only),
            _ => None,
        },
        Value::Null | Value::Object(_) => None,
    }
}

/// The scalar members of an object.
pub(super) fn fields(value: &Value) -> BTreeMap<String, String> {
    let members = value.as_object().into_iter().flatten();
    members.filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
}

/// A URL without query, fragment and user, as names are matched with it; a path as it is.
pub(super) fn path(url: &str) -> String {
    if url.contains("://") { crate::store::shown(url) } else { url.to_owned() }
}

/// An address relative to the document that names it.
pub(super) fn resolved(document: &str, address: &str) -> Option<String> {
    if address.contains("://") {
        return Some(address.to_owned());
    }
    let web = document.split_once("://").is_some_and(|(scheme, _)| scheme.to_ascii_lowercase().starts_with("http"));
    if web {
        return url::Url::parse(document).ok()?.join(address).ok().map(String::from);
    }
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    match document.split_once("://") {
        // Keys of a bucket are taken as they are written: an address that climbs means nothing there.
        Some(_) if address.starts_with('/') || address.split('/').any(|part| part == "..") => None,
        Some(_) => Some(format!("{folder}/{address}")),
        None if address.starts_with('/') => Some(address.to_owned()),
        None => Some(std::path::Path::new(folder).join(address).to_string_lossy().into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_relative_to_what_names_them() {
        let all =
            |document: &str| ["a.nc", "../b.nc", "/c.nc", "https://o/d.nc"].map(|address| resolved(document, address).unwrap_or_default());
        assert_eq!(all("https://h/x/y/list.csv?z=1"), ["https://h/x/y/a.nc", "https://h/x/b.nc", "https://h/c.nc", "https://o/d.nc"]);
        assert_eq!(all("s3://bucket/x/list.csv"), ["s3://bucket/x/a.nc", "", "", "https://o/d.nc"]);
        assert_eq!(all("/data/list.csv"), ["/data/a.nc", "/data/../b.nc", "/c.nc", "https://o/d.nc"]);
    }

    #[test]
    fn scalars_are_fields() {
        let value = serde_json::json!({"a": 1, "b": ["x"], "c": ["x", "y"], "d": null, "e": {"f": 1}, "g": true});
        let expected = [("a", "1"), ("b", "x"), ("g", "true")].map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(fields(&value), BTreeMap::from(expected));
    }
}
