//! Names of objects: where chunks and metadata of an array or group go below the target.
//!
//! Text only. Invariant: two different objects of one schema never share a key.

use crate::dataset::Variable;
use crate::recipe::OutputFormat;

/// Key of the object (chunk, or shard) at `index`: `sst/c/0/0/0` and `sst/c` for a scalar in Zarr v3 (chunk key encoding
/// `default` with `/`), `sst/0.0.0` and `sst/0` in v2.
///
/// ```
/// # use gristmill::{dataset::Variable, recipe::OutputFormat, target::zarr::object_key};
/// # let sst: Variable = serde_json::from_str(r#"{"name": "sst", "dtype": "int16", "dimensions": [], "attributes": []}"#).unwrap();
/// assert_eq!(object_key(&sst, &[4, 0, 1], OutputFormat::Zarr3), "sst/c/4/0/1");
/// assert_eq!(object_key(&sst, &[4, 0, 1], OutputFormat::Zarr2), "sst/4.0.1");
/// assert_eq!(object_key(&sst, &[], OutputFormat::Zarr3), "sst/c");
/// assert_eq!(object_key(&sst, &[], OutputFormat::Zarr2), "sst/0");
/// ```
#[must_use]
pub fn object_key(variable: &Variable, index: &[u64], format: OutputFormat) -> String {
    let numbers: Vec<String> = index.iter().map(ToString::to_string).collect();
    match format {
        OutputFormat::Zarr3 | OutputFormat::Icechunk => [&[variable.name.clone(), "c".to_owned()], numbers.as_slice()].concat().join("/"),
        OutputFormat::Zarr2 if numbers.is_empty() => format!("{}/0", variable.name),
        OutputFormat::Zarr2 => format!("{}/{}", variable.name, numbers.join(".")),
    }
}

/// Index of the object that a key names, if it is one of the variable's: the way back from [`object_key`].
///
/// ```
/// # use gristmill::{dataset::Variable, recipe::OutputFormat, target::zarr::object_index};
/// # let sst: Variable = serde_json::from_str(r#"{"name": "sst", "dtype": "int16", "dimensions": ["t", "x"], "attributes": []}"#).unwrap();
/// assert_eq!(object_index(&sst, "sst/c/4/0", OutputFormat::Zarr3), Some(vec![4, 0]));
/// assert_eq!(object_index(&sst, "sst/4.0", OutputFormat::Zarr2), Some(vec![4, 0]));
/// assert_eq!(object_index(&sst, "sst/c/04/0", OutputFormat::Zarr3), None);
/// assert_eq!(object_index(&sst, "sst/zarr.json", OutputFormat::Zarr3), None);
/// ```
#[must_use]
pub fn object_index(variable: &Variable, key: &str, format: OutputFormat) -> Option<Vec<u64>> {
    let rest = key.strip_prefix(variable.name.as_str())?.strip_prefix('/')?;
    let numbers = |text: &str, separator: char| text.split(separator).map(|number| number.parse().ok()).collect::<Option<Vec<u64>>>();
    let index = match (format, variable.dimensions.is_empty()) {
        (_, true) => Vec::new(),
        (OutputFormat::Zarr2, false) => numbers(rest, '.')?,
        (OutputFormat::Zarr3 | OutputFormat::Icechunk, false) => numbers(rest.strip_prefix("c/")?, '/')?,
    };
    (index.len() == variable.dimensions.len() && object_key(variable, &index, format) == key).then_some(index)
}

/// Key of a metadata object of the node at `path` (empty: the root).
pub(super) fn node_key(path: &str, file: &str) -> String {
    if path.is_empty() { file.to_owned() } else { format!("{path}/{file}") }
}

/// The group a variable or dimension lies in; empty for the root.
pub(super) fn group_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(group, _)| group)
}

/// The name without the path of its group.
pub(super) fn leaf(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, leaf)| leaf)
}
