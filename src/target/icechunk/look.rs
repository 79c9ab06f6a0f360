//! What one snapshot of a repository holds, by Zarr key.
//!
//! Reads only. Metadata is in memory, chunks are looked up in the manifests one by one. Invariant: what is found is of one
//! snapshot, whatever happens to its branch meanwhile.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt;
use icechunk::format::snapshot::{NodeData, SnapshotProperties};
use icechunk::format::{ByteRange, ChunkIndices, Path, SnapshotId};
use icechunk::refs::Ref;
use icechunk::repository::{Repository, VersionInfo};
use icechunk::session::{Session, get_chunk};
use serde_json::{Map, Value, json};

use super::fault;
use super::library::Library;
use super::staged::{Chunk, Chunks};
use crate::dataset::Schema;
use crate::store::library::wait_on;
use crate::target::{TargetError, bad_metadata, zarr};

/// Key of a node's document.
const FILE: &str = "zarr.json";
/// Name of our property of a snapshot.
pub(super) const PROPERTY: &str = "gristmill";

/// What is at a Zarr key.
pub(super) enum Found {
    Nothing,
    /// These bytes: a document, or a chunk that is no object of its own.
    Bytes(Bytes),
    /// One whole object.
    Object(Chunk),
}

/// One snapshot.
pub(super) struct Look {
    url: String,
    session: Session,
    tip: SnapshotId,
    properties: SnapshotProperties,
    /// Documents of all nodes as they are stored, by path without a slash in front.
    nodes: BTreeMap<String, Bytes>,
    /// The root's with the consolidated copy of all; empty if there is no root.
    root: Bytes,
}

/// Splits the key of a chunk; `None` if it is none.
pub(super) fn chunk_of(key: &str) -> Option<(Path, ChunkIndices)> {
    let scalar = || Some((key.strip_suffix("/c")?, Vec::new()));
    let (name, index) = match key.rsplit_once("/c/") {
        Some((name, index)) => (name, index.split('/').map(|number| number.parse().ok()).collect::<Option<Vec<u32>>>()?),
        None => scalar()?,
    };
    Some((Path::new(&format!("/{name}")).ok()?, ChunkIndices(index)))
}

/// The key of a node's document.
pub(super) fn key_of(path: &str) -> String {
    if path.is_empty() { FILE.to_owned() } else { format!("{path}/{FILE}") }
}

impl Look {
    /// The tip of `main`.
    pub(super) fn at_main(url: &str, library: &Library) -> Result<Self, TargetError> {
        wait_on(async {
            let repository = library.repository().await?;
            let tip = repository.lookup_branch(Ref::DEFAULT_BRANCH).await;
            let tip = tip.map_err(|error| fault::told(url, "find `main`", error.kind))?;
            Self::at(url, &repository, tip).await
        })
    }

    /// Any snapshot.
    pub(super) async fn at(url: &str, repository: &Repository, tip: SnapshotId) -> Result<Self, TargetError> {
        let doing = "read a snapshot";
        let info = repository.lookup_snapshot(&tip).await.map_err(|error| fault::told(url, doing, error.kind))?;
        let session = repository.readonly_session(&VersionInfo::SnapshotId(tip.clone())).await;
        let session = session.map_err(|error| fault::told(url, doing, error.kind))?;
        let mut nodes = BTreeMap::new();
        for node in session.list_nodes(&Path::root()).await.map_err(|error| fault::told(url, doing, error.kind))? {
            let node = node.map_err(|error| fault::told(url, doing, error.kind))?;
            nodes.insert(node.path.as_str().trim_start_matches('/').to_owned(), node.user_data);
        }
        let root = consolidated(url, &nodes)?;
        Ok(Self { url: url.to_owned(), session, tip, properties: info.metadata, nodes, root })
    }

    /// The snapshot's id.
    pub(super) fn tip(&self) -> &SnapshotId {
        &self.tip
    }

    /// `id` of the recipe and identity of the plan that made it; empty if we did not.
    pub(super) fn maker(&self) -> (String, String) {
        let said = |name: &str| self.properties.get(PROPERTY).and_then(|ours| ours[name].as_str()).unwrap_or_default().to_owned();
        (said("recipe"), said("plan"))
    }

    /// What the snapshot is a dataset of; `None` if it holds nothing.
    pub(super) fn schema(&self) -> Result<Option<Schema>, TargetError> {
        match (self.nodes.is_empty(), self.root.is_empty()) {
            (true, _) => Ok(None),
            (false, true) => Err(bad_metadata(FILE, "the repository has arrays and no root group")),
            (false, false) => zarr::schema_of_root(&parsed(&self.url, &self.root)?).map(Some),
        }
    }

    /// What is at a key.
    pub(super) fn find(&self, key: &str) -> Result<Found, TargetError> {
        if key == FILE && !self.root.is_empty() {
            return Ok(Found::Bytes(self.root.clone()));
        }
        let document = key.strip_suffix(FILE).map(|path| path.trim_end_matches('/'));
        if let Some(document) = document.and_then(|path| self.nodes.get(path)) {
            return Ok(Found::Bytes(document.clone()));
        }
        chunk_of(key).map_or(Ok(Found::Nothing), |(path, index)| wait_on(self.chunk(&path, &index)))
    }

    async fn chunk(&self, path: &Path, index: &ChunkIndices) -> Result<Found, TargetError> {
        let told = |error| fault::told(&self.url, "look a chunk up", error);
        let payload = match self.session.get_chunk_ref(path, index).await {
            Err(error) if fault::is_no_node(&error.kind) => None,
            found => found.map_err(|error| told(error.kind))?,
        };
        let Some(payload) = payload else { return Ok(Found::Nothing) };
        if let Some(chunk) = Chunk::referred(&payload) {
            return Ok(Found::Object(chunk));
        }
        // Parts of objects and chunks inside of manifests are others' work.
        let reader = self.session.get_chunk_reader(path, index, &ByteRange::ALL).await.map_err(|error| told(error.kind))?;
        let bytes = get_chunk(reader).await.map_err(|error| told(error.kind))?;
        Ok(bytes.map_or(Found::Nothing, Found::Bytes))
    }

    /// Keys below a prefix, sorted.
    pub(super) fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, TargetError> {
        let below = if prefix.is_empty() { String::new() } else { format!("{}/", prefix.trim_end_matches('/')) };
        let told = |error| fault::told(&self.url, "list the chunks", error);
        let mut keys: Vec<String> = wait_on(async {
            let chunks = self.session.all_chunks().await.map_err(|error| told(error.kind))?;
            let keys = chunks.map_ok(|(path, chunk)| key_of_chunk(&path, &chunk.coord)).map_err(|error| told(error.kind));
            keys.try_collect().await
        })?;
        keys.extend(self.nodes.keys().map(|path| key_of(path)));
        keys.retain(|key| key.starts_with(&below));
        keys.sort_unstable();
        keys.truncate(limit);
        Ok(keys)
    }

    /// Why the snapshot is not what these documents and chunks say, if it is not.
    ///
    /// Every document, every chunk and the number of chunks of every array are compared: an array without holes.
    pub(super) async fn differs(&self, documents: &[(String, Value, Bytes)], chunks: &Chunks) -> Result<Option<String>, TargetError> {
        let same = |(path, _, bytes): &(String, Value, Bytes)| self.nodes.get(path) == Some(bytes);
        if let Some((path, ..)) = documents.iter().find(|document| !same(document)) {
            return Ok(Some(format!("`{}` is not as it was written", key_of(path))));
        }
        if self.nodes.len() != documents.len() {
            return Ok(Some(format!("there are {} nodes instead of {}", self.nodes.len(), documents.len())));
        }
        for (key, chunk) in chunks {
            let Some((path, index)) = chunk_of(key) else { return Ok(Some(format!("`{key}` is no key of a chunk"))) };
            if !matches!(self.chunk(&path, &index).await?, Found::Object(found) if found == *chunk) {
                return Ok(Some(format!("chunk `{key}` is not the object that was written")));
            }
        }
        for (path, document, _) in documents {
            let (have, need) = (self.count(path).await?, zarr::objects_of(document));
            if have != need {
                return Ok(Some(format!("`{path}` has {have} chunks instead of {need}")));
            }
        }
        Ok(None)
    }

    /// Chunks of an array; none of a group.
    async fn count(&self, path: &str) -> Result<u64, TargetError> {
        let told = |error| fault::told(&self.url, "count the chunks", error);
        let path = Path::new(&format!("/{path}")).map_err(|error| told_path(&self.url, error))?;
        let node = self.session.get_node(&path).await.map_err(|error| told(error.kind))?;
        if matches!(node.node_data, NodeData::Group) {
            return Ok(0);
        }
        let chunks = self.session.array_chunk_iterator(&path).await;
        chunks.map_err(|error| told(error.kind)).try_fold(0, |count, _| async move { Ok(count + 1) }).await
    }
}

fn told_path(url: &str, error: icechunk::format::PathError) -> TargetError {
    fault::told(url, "name a node", error)
}

fn key_of_chunk(path: &Path, index: &ChunkIndices) -> String {
    let numbers = index.0.iter().map(|number| format!("/{number}"));
    format!("{}/c{}", path.as_str().trim_start_matches('/'), numbers.collect::<String>())
}

fn parsed(url: &str, document: &Bytes) -> Result<Value, TargetError> {
    serde_json::from_slice(document).map_err(|error| fault::told(url, "read a document", error))
}

/// The root's document with the copy that readers of plain Zarr open a store by.
fn consolidated(url: &str, nodes: &BTreeMap<String, Bytes>) -> Result<Bytes, TargetError> {
    let Some(root) = nodes.get("") else { return Ok(Bytes::new()) };
    let mut root = parsed(url, root)?;
    let others = nodes.iter().filter(|(path, _)| !path.is_empty());
    let copies = others.map(|(path, document)| Ok((path.clone(), parsed(url, document)?))).collect::<Result<Map<_, _>, TargetError>>()?;
    let Some(members) = root.as_object_mut() else { return Err(bad_metadata(FILE, "the root's document is no mapping")) };
    members.insert("consolidated_metadata".to_owned(), json!({"kind": "inline", "must_understand": false, "metadata": copies}));
    zarr::text(FILE, &root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_chunks_are_told_apart() {
        let split = |key: &str| chunk_of(key).map(|(path, index)| (path.to_string(), index.0));
        assert_eq!(split("sst/c/4/0/1"), Some(("/sst".to_owned(), vec![4, 0, 1])));
        assert_eq!(split("group/c/c/4"), Some(("/group/c".to_owned(), vec![4])));
        assert_eq!(split("crs/c"), Some(("/crs".to_owned(), vec![])));
        assert_eq!(["sst/zarr.json", "zarr.json", "sst/c/x", "sst"].map(split), [const { None }; 4]);
        for key in ["sst/c/4/0/1", "group/c/c/4", "crs/c"] {
            let (path, index) = chunk_of(key).unwrap();
            assert_eq!(key_of_chunk(&path, &index), key);
        }
    }
}
