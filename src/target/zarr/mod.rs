//! The Zarr target, versions 3 and 2.
//!
//! `keys` where objects go · `codecs`, `fill`, `attributes` how choices are written down · `metadata3`, `metadata2` the documents ·
//! `encode` values to bytes · `decode`, `read`, `parse` the way back, through zarrs. Invariant: the store is what
//! `xarray.open_zarr` opens without a warning, and its bytes depend on schema and values only.

mod attributes;
mod blosc;
mod codecs;
mod corner;
mod decode;
mod encode;
mod fill;
mod keys;
mod metadata;
mod metadata2;
mod metadata3;
mod parse;
mod read;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use serde_json::Value;

pub use codecs::default_codecs;
pub use decode::Decoder;
pub use encode::Encoder;
pub use keys::{object_index, object_key};
#[cfg(feature = "icechunk")]
pub(super) use read::schema_of_root;
pub use read::{Absent, ZarrReader};

use super::{ChunkPayload, Target, TargetError, bad_metadata, read_back};
use crate::dataset::{Schema, TargetState, Variable};
use crate::receipt::{ChunkRef, checksum};
use crate::recipe::OutputFormat;
use crate::store::{PutMode, TargetStore};

/// The first object that is not larger is read back at once: a larger one would take memory that nobody counted.
const PROOF: usize = 32 << 20;

/// A Zarr store below one target URL.
pub struct ZarrTarget {
    store: Arc<dyn TargetStore>,
    format: OutputFormat,
    /// True once an object was chosen to be read back.
    proven: AtomicBool,
}

impl ZarrTarget {
    /// The store whose root is the root of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn TargetStore>, format: OutputFormat) -> Self {
        Self { store, format, proven: AtomicBool::new(false) }
    }

    /// Stores a document and reads it back; gives what was there before.
    fn publish(&self, key: &str, document: &Value) -> Result<Published, TargetError> {
        let text = text(key, document)?;
        let before = self.store.get(key)?;
        self.store.put(key, text.clone(), PutMode::Overwrite)?;
        let read = read_back(&*self.store, key, &text, before.as_deref());
        Ok(Published { before, read })
    }
}

/// What is stored of a document.
pub(super) fn text(key: &str, document: &Value) -> Result<Bytes, TargetError> {
    let mut text = serde_json::to_vec_pretty(document).map_err(|cause| bad_metadata(key, cause.to_string()))?;
    text.push(b'\n');
    Ok(Bytes::from(text))
}

/// A document that was put in its place.
struct Published {
    before: Option<Bytes>,
    /// Whether the store gives it back.
    read: Result<(), TargetError>,
}

/// Key of the document that makes a store of this format open with its consolidated metadata.
#[must_use]
pub fn root_key(format: OutputFormat) -> &'static str {
    if format == OutputFormat::Zarr2 { metadata2::FILE } else { metadata3::FILE }
}

/// The document whose appearance makes a schema visible, with its key: the one that [`Target::commit`] stores last.
///
/// # Errors
/// [`TargetError::Unsupported`] if the format cannot hold the schema.
pub fn root_document(schema: &Schema, format: OutputFormat) -> Result<(String, Bytes), TargetError> {
    let (key, document) = metadata::documents(schema, format)?.pop().unwrap_or_default();
    let text = text(&key, &document)?;
    Ok((key, text))
}

/// Keys of every metadata document of a schema, the root's last.
///
/// # Errors
/// [`TargetError::Unsupported`] if the format cannot hold the schema.
pub fn metadata_keys(schema: &Schema, format: OutputFormat) -> Result<Vec<String>, TargetError> {
    Ok(metadata::documents(schema, format)?.into_iter().map(|(key, _)| key).collect())
}

/// Fails as [`Target::commit`] would, and as [`Encoder::new`] would for any variable, without writing: for the plan.
///
/// # Errors
/// [`TargetError::Unsupported`].
pub fn check(schema: &Schema, format: OutputFormat) -> Result<(), TargetError> {
    metadata::documents(schema, format)?;
    schema.variables.iter().try_for_each(|variable| Encoder::new(variable).map(drop))
}

/// Every document of Zarr 3 with its key: what is in a group before the group, the root last.
#[cfg(feature = "icechunk")]
pub(super) fn documents(schema: &Schema) -> Result<Vec<(String, Value)>, TargetError> {
    metadata::documents(schema, OutputFormat::Icechunk)
}

/// Objects (chunks, or shards) that the document of a Zarr 3 array asks for; none for a group.
#[cfg(feature = "icechunk")]
pub(super) fn objects_of(document: &Value) -> u64 {
    let object = parse::lengths(&document["chunk_grid"]["configuration"]["chunk_shape"]);
    let (Some(shape), Some(object)) = (parse::lengths(&document["shape"]), object) else { return 0 };
    shape.iter().zip(&object).map(|(length, object)| length.div_ceil((*object).max(1))).product()
}

impl Target for ZarrTarget {
    fn state(&self) -> Result<TargetState, TargetError> {
        match self.schema() {
            Ok(Some(schema)) => {
                Ok(TargetState::Ours { id: String::new(), plan: String::new(), committed: true, schema: Some(Box::new(schema)) })
            }
            Ok(None) => Ok(match self.store.list("", 1)?.pop() {
                Some(example) => TargetState::Foreign { example },
                None => TargetState::Empty,
            }),
            Err(TargetError::Metadata { key, .. }) => {
                Ok(TargetState::Foreign { example: if key.is_empty() { root_key(self.format).to_owned() } else { key } })
            }
            Err(other) => Err(other),
        }
    }

    fn write(&self, variable: &Variable, index: &[u64], payload: ChunkPayload) -> Result<ChunkRef, TargetError> {
        let ChunkPayload::Encoded(bytes) = payload;
        let key = object_key(variable, index, self.format);
        let written = ChunkRef { key: key.clone(), bytes: bytes.len() as u64, checksum: checksum(&bytes) };
        self.store.put(&key, bytes.clone(), PutMode::Overwrite)?;
        if bytes.len() <= PROOF && !self.proven.swap(true, Ordering::Relaxed) {
            read_back(&*self.store, &key, &bytes, None)?;
        }
        Ok(written)
    }

    fn commit(&self, schema: &Schema) -> Result<(), TargetError> {
        let mut documents = metadata::documents(schema, self.format)?;
        let Some((root, last)) = documents.pop() else { return Ok(()) };
        for (key, document) in &documents {
            self.publish(key, document)?.read?;
        }
        let Published { before, read } = self.publish(&root, &last)?;
        if read.is_err() {
            // What readers saw before is better than what nobody can read.
            match before {
                Some(bytes) => self.store.put(&root, bytes, PutMode::Overwrite)?,
                None => self.store.delete(&root)?,
            }
        }
        read
    }

    fn schema(&self) -> Result<Option<Schema>, TargetError> {
        read::published(&self.store, self.format)
    }
}
