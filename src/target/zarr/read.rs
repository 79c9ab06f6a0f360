//! A Zarr store read back: its schema, and boxes of its variables, through zarrs.
//!
//! For verification, `inspect` and appends; not for a run's sources. Invariant: with [`Absent::Hole`] a missing object is an
//! error, never a box of fill values.

use std::sync::Arc;

use serde_json::Value;
use zarrs::array::{Array as ZarrArray, ArrayBytes, ArrayMetadata, ArraySubset, CodecOptions};
use zarrs::storage::byte_range::ByteRangeIterator;
use zarrs::storage::{MaybeBytes, MaybeBytesIterator, ReadableStorageTraits, StorageError, StoreKey};

use super::parse::Nodes;
use super::{corner, decode, fill, metadata, metadata2, metadata3};
use crate::array::{Array, DataType, Scalar, Values};
use crate::dataset::Schema;
use crate::grid::{Region, elements};
use crate::recipe::OutputFormat;
use crate::store::TargetStore;
use crate::target::{Cause, TargetError, bad_metadata, codec_failure, unsupported};

/// Most bytes of values of one object: far more than any that we write, and than readers can handle.
const LARGEST: u64 = 4 << 30;

/// What a missing chunk means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Data that should be there: an error. So it is in what we write.
    Hole,
    /// The fill value, as the Zarr specification has it: for stores of others.
    Fill,
}

/// An opened store.
pub struct ZarrReader {
    store: Arc<dyn TargetStore>,
    format: OutputFormat,
    absent: Absent,
    schema: Schema,
    nodes: Nodes,
}

impl ZarrReader {
    /// Opens a store by its root's consolidated metadata (v3 `zarr.json`, else v2 `.zmetadata`); `None` if there is neither.
    ///
    /// # Errors
    /// [`TargetError::Metadata`] if the metadata makes no sense or, with [`Absent::Hole`], holds types that no array can have;
    /// [`TargetError::Store`].
    pub fn open(store: Arc<dyn TargetStore>, absent: Absent) -> Result<Option<Self>, TargetError> {
        for (format, key) in [(OutputFormat::Zarr3, metadata3::FILE), (OutputFormat::Zarr2, metadata2::FILE)] {
            let Some(bytes) = store.get(key)? else { continue };
            let cause = |cause: serde_json::Error| TargetError::Metadata {
                key: key.to_owned(),
                message: "this is not JSON".to_owned(),
                cause: Some(cause.into()),
            };
            let root: Value = serde_json::from_slice(&bytes).map_err(cause)?;
            return Self::from_root(store, format, absent, (key, &root)).map(Some);
        }
        Ok(None)
    }

    /// A store whose objects are there but whose metadata is not visible yet; a missing object is a hole.
    ///
    /// # Errors
    /// [`TargetError::Unsupported`] if the schema cannot be stored.
    pub fn with_schema(store: Arc<dyn TargetStore>, format: OutputFormat, schema: &Schema) -> Result<Self, TargetError> {
        // The root's consolidated metadata is written, and so listed, last.
        let (key, root) = metadata::documents(schema, format)?.pop().unwrap_or_default();
        Self::from_root(store, format, Absent::Hole, (&key, &root))
    }

    fn from_root(store: Arc<dyn TargetStore>, format: OutputFormat, absent: Absent, root: (&str, &Value)) -> Result<Self, TargetError> {
        let mut nodes = match format {
            OutputFormat::Zarr3 | OutputFormat::Icechunk => metadata3::nodes(root.1)?,
            OutputFormat::Zarr2 => metadata2::nodes(root.1)?,
        };
        if absent == Absent::Hole && !nodes.refused.is_empty() {
            return Err(nodes.refused.swap_remove(0).1);
        }
        let schema = nodes.schema(root.0)?;
        Ok(Self { store, format, absent, schema, nodes })
    }

    /// What the store holds.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Arrays of others' stores that are left out of the schema, with the reason.
    #[must_use]
    pub fn refused(&self) -> &[(String, TargetError)] {
        &self.nodes.refused
    }

    /// Which version of Zarr it is.
    #[must_use]
    pub fn format(&self) -> OutputFormat {
        self.format
    }

    /// The raw value that xarray takes as missing: v3's attribute `_FillValue`, v2's `fill_value`. What an absent chunk of a v3
    /// array holds is data unless that attribute says otherwise.
    #[must_use]
    pub fn missing(&self, variable: &str) -> Option<Scalar> {
        let stored = self.nodes.arrays.iter().find(|array| array.path == variable)?;
        match self.format {
            OutputFormat::Zarr3 | OutputFormat::Icechunk => {
                fill::missing_from_json(stored.dtype, &stored.document["attributes"]["_FillValue"])
            }
            OutputFormat::Zarr2 => fill::number_from_json(stored.dtype, &stored.document["fill_value"]),
        }
    }

    /// Raw values of a box: nothing unpacked, nothing masked.
    ///
    /// # Errors
    /// [`TargetError::Unsupported`] if there is no such variable or box, [`TargetError::Missing`] for a hole,
    /// [`TargetError::Codec`] for damaged objects.
    pub fn read(&self, variable: &str, region: &Region) -> Result<Array, TargetError> {
        let stored = self.nodes.arrays.iter().find(|array| array.path == variable);
        let stored = stored.ok_or_else(|| unsupported(variable, "there is no such variable in the store"))?;
        if region.rank() != stored.shape.len() || !Region::whole(&stored.shape).contains(region) {
            return Err(unsupported(variable, format!("box {region:?} lies outside of its shape {:?}", stored.shape)));
        }
        let item = if stored.dtype == DataType::String { size_of::<String>() } else { stored.dtype.size() } as u64;
        let object = stored.encoding.shards.as_ref().or(stored.encoding.chunks.as_ref()).map_or(0, |lengths| elements(lengths));
        if object.max(region.elements()).saturating_mul(item) > LARGEST {
            return Err(unsupported(
                variable,
                format!("one of its chunks has {object} elements, more than fit into memory; its metadata is damaged or hostile"),
            ));
        }
        let values =
            if region.is_empty() { no_values(stored.dtype) } else { self.decode((variable, stored.dtype), &stored.document, region)? };
        let array = match values {
            Values::Bytes(bytes) => Array::from_bytes(stored.dtype, region.shape.clone(), bytes),
            Values::Texts(texts) => Array::from_texts(region.shape.clone(), texts),
        };
        array.ok_or_else(|| codec_failure(variable, "decoded values do not fill the box", "wrong length"))
    }

    fn decode(&self, (variable, dtype): (&str, DataType), document: &Value, region: &Region) -> Result<Values, TargetError> {
        let objects = Arc::new(Objects { store: Arc::clone(&self.store), absent: self.absent, missing: std::sync::Mutex::default() });
        let read = || -> Result<ArrayBytes<'static>, Cause> {
            let metadata: ArrayMetadata = serde_json::from_value(document.clone())?;
            let array = ZarrArray::new_with_metadata(Arc::clone(&objects), &format!("/{variable}"), metadata)?;
            // Only of our own objects do we know how they were encoded.
            let corner = if self.absent == Absent::Hole { corner::read(&array, dtype, region)? } else { None };
            if let Some(values) = corner {
                return Ok(ArrayBytes::new_flen(values));
            }
            let subset = ArraySubset::new_with_start_shape(region.start.clone(), region.shape.clone())?;
            Ok(array.retrieve_array_subset_opt(&subset, &CodecOptions::default().with_concurrent_target(1))?)
        };
        let bytes =
            decode::without_panic(read).map_err(|cause| match objects.missing.lock().ok().and_then(|mut missing| missing.take()) {
                Some(key) => TargetError::Missing { variable: variable.to_owned(), key },
                None => codec_failure(variable, "stored values cannot be read", cause),
            })?;
        decode::values(variable, bytes)
    }
}

fn no_values(dtype: DataType) -> Values {
    if dtype == DataType::String { Values::Texts(Vec::new()) } else { Values::Bytes(Vec::new()) }
}

/// Our store as zarrs wants one; remembers the first object that should have been there.
struct Objects {
    store: Arc<dyn TargetStore>,
    absent: Absent,
    missing: std::sync::Mutex<Option<String>>,
}

impl ReadableStorageTraits for Objects {
    fn get(&self, key: &StoreKey) -> Result<MaybeBytes, StorageError> {
        let found = self.store.get(key.as_str()).map_err(|error| StorageError::Other(error.to_string()))?;
        if found.is_none() && self.absent == Absent::Hole {
            if let Ok(mut missing) = self.missing.lock() {
                missing.get_or_insert_with(|| key.as_str().to_owned());
            }
            return Err(StorageError::Other(format!("object `{key}` is missing")));
        }
        Ok(found)
    }

    fn get_partial_many<'a>(&'a self, key: &StoreKey, ranges: ByteRangeIterator<'a>) -> Result<MaybeBytesIterator<'a>, StorageError> {
        let Some(bytes) = self.get(key)? else { return Ok(None) };
        let length = bytes.len() as u64;
        let cut = move |range: zarrs::storage::byte_range::ByteRange| {
            let range = range.to_range_usize(length);
            if range.start <= range.end && range.end <= bytes.len() {
                Ok(bytes.slice(range))
            } else {
                Err(StorageError::Other("object too short".to_owned()))
            }
        };
        Ok(Some(Box::new(ranges.map(cut))))
    }

    fn size_key(&self, key: &StoreKey) -> Result<Option<u64>, StorageError> {
        self.store.head(key.as_str()).map_err(|error| StorageError::Other(error.to_string()))
    }

    fn supports_get_partial(&self) -> bool {
        false
    }
}

/// The schema that the document of a Zarr 3 root, consolidated copy included, describes.
#[cfg(feature = "icechunk")]
pub(in crate::target) fn schema_of_root(root: &Value) -> Result<Schema, TargetError> {
    let mut nodes = metadata3::nodes(root)?;
    if nodes.refused.is_empty() { nodes.schema(metadata3::FILE) } else { Err(nodes.refused.swap_remove(0).1) }
}

/// The schema of the store's root metadata of one format.
pub(super) fn published(store: &Arc<dyn TargetStore>, format: OutputFormat) -> Result<Option<Schema>, TargetError> {
    match ZarrReader::open(Arc::clone(store), Absent::Hole)? {
        Some(reader) if reader.format == format => Ok(Some(reader.schema)),
        Some(reader) => {
            let key = if reader.format == OutputFormat::Zarr3 { metadata3::FILE } else { metadata2::FILE };
            Err(bad_metadata(key, "the store has another version of Zarr than the recipe's `format`"))
        }
        None => Ok(None),
    }
}
