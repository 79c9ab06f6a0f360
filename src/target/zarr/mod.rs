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

use bytes::Bytes;

pub use codecs::default_codecs;
pub use decode::Decoder;
pub use encode::Encoder;
pub use keys::object_key;
#[cfg(feature = "icechunk")]
pub(super) use read::schema_of_root;
pub use read::{Absent, ZarrReader};

use super::{ChunkPayload, Target, TargetError, bad_metadata};
use crate::dataset::{Schema, TargetState, Variable};
use crate::receipt::{ChunkRef, checksum};
use crate::recipe::OutputFormat;
use crate::store::{PutMode, TargetStore};

/// A Zarr store below one target URL.
pub struct ZarrTarget {
    store: Arc<dyn TargetStore>,
    format: OutputFormat,
}

impl ZarrTarget {
    /// The store whose root is the root of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn TargetStore>, format: OutputFormat) -> Self {
        Self { store, format }
    }
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
pub(super) fn documents(schema: &Schema) -> Result<Vec<(String, serde_json::Value)>, TargetError> {
    metadata::documents(schema, OutputFormat::Icechunk)
}

/// A document as it is stored.
pub(super) fn text(key: &str, document: &serde_json::Value) -> Result<Bytes, TargetError> {
    let mut text = serde_json::to_vec_pretty(document).map_err(|cause| bad_metadata(key, cause.to_string()))?;
    text.push(b'\n');
    Ok(Bytes::from(text))
}

/// Objects (chunks, or shards) that the document of a Zarr 3 array asks for; none for a group.
#[cfg(feature = "icechunk")]
pub(super) fn objects_of(document: &serde_json::Value) -> u64 {
    let object = parse::lengths(&document["chunk_grid"]["configuration"]["chunk_shape"]);
    let (Some(shape), Some(object)) = (parse::lengths(&document["shape"]), object) else { return 0 };
    shape.iter().zip(&object).map(|(length, object)| length.div_ceil((*object).max(1))).product()
}

impl Target for ZarrTarget {
    fn state(&self) -> Result<TargetState, TargetError> {
        let own = if self.format == OutputFormat::Zarr2 { metadata2::FILE } else { metadata3::FILE };
        match self.schema() {
            Ok(Some(schema)) => {
                Ok(TargetState::Ours { id: String::new(), plan: String::new(), committed: true, schema: Some(Box::new(schema)) })
            }
            Ok(None) => Ok(match self.store.list("", 1)?.pop() {
                Some(example) => TargetState::Foreign { example },
                None => TargetState::Empty,
            }),
            Err(TargetError::Metadata { key, .. }) => {
                Ok(TargetState::Foreign { example: if key.is_empty() { own.to_owned() } else { key } })
            }
            Err(other) => Err(other),
        }
    }

    fn write(&self, variable: &Variable, index: &[u64], payload: ChunkPayload) -> Result<ChunkRef, TargetError> {
        let ChunkPayload::Encoded(bytes) = payload;
        let key = object_key(variable, index, self.format);
        let written = ChunkRef { key: key.clone(), bytes: bytes.len() as u64, checksum: checksum(&bytes) };
        self.store.put(&key, bytes, PutMode::Overwrite)?;
        Ok(written)
    }

    fn commit(&self, schema: &Schema) -> Result<(), TargetError> {
        for (key, document) in metadata::documents(schema, self.format)? {
            self.store.put(&key, text(&key, &document)?, PutMode::Overwrite)?;
        }
        Ok(())
    }

    fn schema(&self) -> Result<Option<Schema>, TargetError> {
        read::published(&self.store, self.format)
    }
}
