//! A Zarr store as its metadata says it is, ours or not: every node, its own document beside the consolidated copy.
//!
//! Where readers go by the consolidated copy, so do the checks that follow; else by the nodes' own documents. Invariant: metadata
//! that makes no sense is a finding and never stops the audit of the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use super::crew::Crew;
use super::finding::Findings;
use super::node::{Node, below};
use crate::recipe::OutputFormat;
use crate::run::RunError;
use crate::store::TargetStore;

/// Documents by key.
type Documents = BTreeMap<String, Value>;

/// What the metadata says.
pub(super) struct Stored {
    pub(super) format: OutputFormat,
    /// Attributes of every group, by path; the root's is empty and always there.
    pub(super) groups: BTreeMap<String, Map<String, Value>>,
    pub(super) arrays: Vec<Node>,
    /// Keys of all metadata objects.
    pub(super) metadata: BTreeSet<String>,
    /// True if the root holds a copy of every node's metadata.
    pub(super) is_consolidated: bool,
    /// Documents that checks go by, the root's not among them.
    documents: Documents,
    /// Every document by its key as it lies in the store.
    pub(super) own: Documents,
}

const ROOT_THREE: &str = "zarr.json";
const CONSOLIDATED_TWO: &str = ".zmetadata";
const REPAIR: &str = "`gristmill repair` writes the metadata of its own stores again; else run zarr.consolidate_metadata on the store";

/// Looks at the metadata of a store; `keys` are all that it has. `None` if it is no store.
pub(super) fn look(
    store: &Arc<dyn TargetStore>,
    keys: &[String],
    expected: Option<OutputFormat>,
    (crew, findings): (Crew<'_>, &Findings),
) -> Result<Option<Stored>, RunError> {
    let Some(format) = format_of(&**store)?.or(expected) else { return Ok(None) };
    let root_key = if format == OutputFormat::Zarr2 { CONSOLIDATED_TWO } else { ROOT_THREE };
    let root = root(&**store, root_key, findings)?;
    let copies = copies(&root, format);
    let listed = keys.iter().filter(|key| is_document(key, format)).cloned();
    let wanted: BTreeSet<String> = listed.chain(copies.keys().cloned()).filter(|key| key != root_key).collect();
    let own = own(store, wanted, (crew, findings))?;
    if copies.is_empty() {
        findings.warning("AR03", ("", root_key), "there is no consolidated metadata: opening the store takes a request per array", REPAIR);
    } else {
        compare(&copies, &own, findings);
    }
    let is_consolidated = !copies.is_empty();
    let documents = if is_consolidated { copies } else { own.clone() };
    let mut metadata: BTreeSet<String> = own.keys().chain(documents.keys()).cloned().collect();
    metadata.insert(root_key.to_owned());
    let mut own = own;
    own.insert(root_key.to_owned(), root.clone());
    let mut stored = Stored { format, groups: BTreeMap::new(), arrays: Vec::new(), metadata, is_consolidated, documents, own };
    stored.groups.insert(String::new(), attributes(&root));
    stored.read_nodes(findings);
    Ok(Some(stored))
}

/// Which version of Zarr lies here; `None` if neither.
fn format_of(store: &dyn TargetStore) -> Result<Option<OutputFormat>, RunError> {
    if store.head(ROOT_THREE)?.is_some() {
        return Ok(Some(OutputFormat::Zarr3));
    }
    let two = store.head(CONSOLIDATED_TWO)?.is_some() || store.head(".zgroup")?.is_some();
    Ok(two.then_some(OutputFormat::Zarr2))
}

/// The root's document; null if it is absent or no JSON.
fn root(store: &dyn TargetStore, key: &str, findings: &Findings) -> Result<Value, RunError> {
    let Some(bytes) = store.get(key)? else {
        return Ok(Value::Null);
    };
    Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        findings.error("AR03", ("", key), format!("the root's metadata is no JSON: {error}"), REPAIR);
        Value::Null
    }))
}

fn attributes(node: &Value) -> Map<String, Value> {
    node["attributes"].as_object().cloned().unwrap_or_default()
}

/// The consolidated copies, by the key of the document that each is a copy of.
fn copies(root: &Value, format: OutputFormat) -> Documents {
    let (map, is_three) = match format {
        OutputFormat::Zarr3 | OutputFormat::Icechunk => (&root["consolidated_metadata"]["metadata"], true),
        OutputFormat::Zarr2 => (&root["metadata"], false),
    };
    let key = |path: &String| if is_three { below(path, ROOT_THREE) } else { path.clone() };
    map.as_object().into_iter().flatten().map(|(path, document)| (key(path), document.clone())).collect()
}

fn is_document(key: &str, format: OutputFormat) -> bool {
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    match format {
        OutputFormat::Zarr3 | OutputFormat::Icechunk => name == ROOT_THREE,
        OutputFormat::Zarr2 => [".zarray", ".zattrs", ".zgroup"].contains(&name),
    }
}

/// Every node's own document, several fetched at a time; what is absent is left out.
fn own(store: &Arc<dyn TargetStore>, keys: BTreeSet<String>, (crew, findings): (Crew<'_>, &Findings)) -> Result<Documents, RunError> {
    let (keys, found) = (Vec::from_iter(keys), Mutex::new(Documents::new()));
    crew.each(keys.len() as u64, &|number| {
        let Some(key) = keys.get(number as usize) else { return Ok(()) };
        let Some(bytes) = store.get(key)? else { return Ok(()) };
        match serde_json::from_slice(&bytes) {
            Ok(document) => drop(found.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), document)),
            Err(error) => findings.error("AR03", (array_of(key), key), format!("this metadata is no JSON: {error}"), REPAIR),
        }
        Ok(())
    })?;
    Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The path of the node that a document is of.
fn array_of(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(path, _)| path)
}

/// Consolidated copies must equal the nodes' own documents: which of the two a reader goes by is its own choice.
fn compare(copies: &Documents, own: &Documents, findings: &Findings) {
    for (key, copy) in copies {
        let place = (array_of(key), key.as_str());
        match own.get(key) {
            None => findings.error("AR03", place, "the consolidated metadata has this node, whose own metadata is absent", REPAIR),
            Some(own) if without_copies(own) != without_copies(copy) => {
                let what = differing(copy, own);
                findings.error("AR03", place, format!("the consolidated copy is not what the node itself says: {what}"), REPAIR);
            }
            Some(_) => {}
        }
    }
    for key in own.keys().filter(|key| !copies.contains_key(*key)) {
        let message = "the consolidated metadata lacks this node: most readers do not see it";
        findings.error("AR03", (array_of(key), key), message, REPAIR);
    }
}

/// A group may carry a consolidated copy of its own children, which the copy of the group does not.
fn without_copies(document: &Value) -> Value {
    let mut document = document.clone();
    if let Some(map) = document.as_object_mut() {
        map.shift_remove("consolidated_metadata");
    }
    document
}

/// The first keys in which two documents differ.
pub(super) fn differing(one: &Value, other: &Value) -> String {
    let (Some(left), Some(right)) = (one.as_object(), other.as_object()) else { return "they are of different kinds".to_owned() };
    let keys: BTreeSet<&String> = left.keys().chain(right.keys()).filter(|key| left.get(*key) != right.get(*key)).collect();
    keys.into_iter().take(3).map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

impl Stored {
    fn read_nodes(&mut self, findings: &Findings) {
        let documents = std::mem::take(&mut self.documents);
        for (key, document) in &documents {
            let (path, file) = key.rsplit_once('/').unwrap_or(("", key));
            let node = match (self.format, file) {
                (OutputFormat::Zarr3 | OutputFormat::Icechunk, _) if document["node_type"] == "array" => Node::three(path, document),
                (OutputFormat::Zarr2, ".zarray") => Node::two(path, document, &attributes_of_two(&documents, path)),
                (OutputFormat::Zarr3 | OutputFormat::Icechunk, _) => {
                    self.groups.insert(path.to_owned(), attributes(document));
                    continue;
                }
                (OutputFormat::Zarr2, ".zgroup") => {
                    self.groups.insert(path.to_owned(), attributes_of_two(&documents, path));
                    continue;
                }
                (OutputFormat::Zarr2, _) => continue,
            };
            match node {
                Ok(node) => self.arrays.push(node),
                Err(message) => findings.error("AR04", (path, key), format!("this metadata makes no sense: {message}"), REPAIR),
            }
        }
        self.documents = documents;
    }

    pub(super) fn node(&self, path: &str) -> Option<&Node> {
        self.arrays.iter().find(|node| node.path == path)
    }

    /// The array that `name` means beside an array of some group: in that group, else in the root.
    pub(super) fn named(&self, group: &str, name: &str) -> Option<&Node> {
        self.node(&below(group, name)).or_else(|| self.node(name))
    }

    /// Arrays of a group.
    pub(super) fn members(&self, group: &str) -> impl Iterator<Item = &Node> {
        self.arrays.iter().filter(move |node| node.group() == group)
    }

    /// A root document with these arrays and all groups, for a reader that goes by consolidated metadata; and its key.
    pub(super) fn document_of(&self, arrays: &dyn Fn(&Node) -> bool) -> (&'static str, Value) {
        let of_array = |key: &str| self.node(array_of(key)).map(arrays);
        let kept = self.documents.iter().filter(|(key, _)| of_array(key).unwrap_or_else(|| self.groups.contains_key(array_of(key))));
        match self.format {
            OutputFormat::Zarr3 | OutputFormat::Icechunk => {
                let nodes: Map<String, Value> = kept.map(|(key, document)| (array_of(key).to_owned(), document.clone())).collect();
                let copies = json!({"kind": "inline", "must_understand": false, "metadata": nodes});
                let root =
                    json!({"zarr_format": 3, "node_type": "group", "attributes": self.groups.get(""), "consolidated_metadata": copies});
                (ROOT_THREE, root)
            }
            OutputFormat::Zarr2 => {
                let nodes: Map<String, Value> = kept.map(|(key, document)| (key.clone(), document.clone())).collect();
                (CONSOLIDATED_TWO, json!({"zarr_consolidated_format": 1, "metadata": nodes}))
            }
        }
    }
}

fn attributes_of_two(documents: &Documents, path: &str) -> Map<String, Value> {
    documents.get(&below(path, ".zattrs")).and_then(Value::as_object).cloned().unwrap_or_default()
}
