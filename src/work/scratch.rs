//! Scratch objects: what the first stage of two leaves for the second.
//!
//! Converted values in memory order, shuffled and packed with LZ4: that costs less than writing what it saves
//! (`docs/design/005-two-stage-rechunk.md`). Keys begin with the plan's identity, so what another plan left is never read. Not here: which values go through scratch (the plan says) and when they
//! are deleted (`run` does). Invariant: a scratch object of another length than its box is never placed.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use zarrs::array::{BytesRepresentation, BytesToBytesCodecTraits, CodecChain, CodecOptions};
use zarrs::metadata::v3::MetadataV3;

use super::reads::{PlacedPiece, Read, ReadFrom, touched_objects};
use super::{Object, Prepared, WorkError, Workshop};
use crate::array::{Array, Placed};
use crate::cf::Conversion;
use crate::grid::{ChunkGrid, Region, elements, positions, strides};
use crate::layout::{ByteOrder, Layout, Stored};
use crate::receipt::{ChunkRef, Receipt, checksum};
use crate::store::{PutMode, TargetStore};

/// [`Read::input`] of reads that have no input.
const NO_INPUT: usize = usize::MAX;

impl Workshop {
    /// Keeps scratch objects in this store, which is where [`crate::plan::Plan::scratch`] says.
    #[must_use]
    pub fn keeping_scratch(self, scratch: Option<Arc<dyn TargetStore>>) -> Self {
        Self { scratch, ..self }
    }

    /// True if every scratch object that a task's receipt names is there, in its full length.
    ///
    /// # Errors
    /// [`WorkError::Store`].
    pub fn keeps_scratch_of(&self, receipt: &Receipt) -> Result<bool, WorkError> {
        for chunk in &receipt.scratch {
            if self.scratch_store()?.head(&chunk.key)? != Some(chunk.bytes) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds the reads that fill a slab of objects of one variable; `into` is the slab and the position of its first object.
    pub(super) fn list_scratch_reads(&self, prepared: &mut Prepared, variable: usize, into: (&Region, usize), lengths: &[u64]) {
        let objects = self.plan.objects(variable);
        let scratch = ChunkGrid::new(objects.shape.clone(), lengths.to_vec());
        let slab = objects.covered(into.0);
        for index in positions(&scratch.touching(&slab)) {
            let region = scratch.region(&index);
            let Some(common) = region.intersect(&slab) else { continue };
            let strides = strides(&region.shape);
            let offset = common.relative_to(&region.start).start.iter().zip(&strides).map(|(start, stride)| start * stride).sum();
            let placed = Placed { offset, strides: strides.iter().map(|&stride| stride as i64).collect() };
            let pieces = vec![PlacedPiece { region: common, placed }];
            let mut touches = touched_objects(&pieces, (&objects, into.0, into.1));
            touches.retain(|&object| !prepared.objects[object as usize].is_left());
            if !touches.is_empty() {
                prepared.reads.push(self.scratch_read(variable, &index, region, (pieces, touches)));
            }
        }
    }

    fn scratch_read(&self, variable: usize, index: &[u64], region: Region, (pieces, touches): (Vec<PlacedPiece>, Vec<u32>)) -> Read {
        let named = &self.plan.schema.variables[variable];
        let order = if cfg!(target_endian = "big") { ByteOrder::Big } else { ByteOrder::Little };
        let stored = Stored { dtype: named.dtype, order, shape: region.shape.clone(), fill: Vec::new(), layout: Layout::Unwritten };
        Read {
            variable,
            input: NO_INPUT,
            conversion: Conversion::Keep,
            region,
            from: ReadFrom::Scratch(self.scratch_key(variable, index)),
            pieces,
            touches,
            stored: Arc::new(stored),
            source_name: named.name.clone(),
            rule: None,
            moves: None,
        }
    }

    /// The whole object, in one part.
    pub(super) fn fetch_scratch(&self, key: &str) -> Result<Vec<Bytes>, WorkError> {
        let bytes = self.scratch_store()?.get(key)?.ok_or_else(|| self.vanished(key))?;
        Ok(vec![bytes])
    }

    /// The values of a scratch object.
    pub(super) fn scratch_values(&self, read: &Read, parts: &[Bytes]) -> Result<Array, WorkError> {
        let damaged = || self.vanished(if let ReadFrom::Scratch(key) = &read.from { key } else { "" });
        let item = read.stored.dtype.size();
        let whole = BytesRepresentation::FixedSize(elements(&read.region.shape).saturating_mul(item as u64));
        let packed = Cow::Borrowed(parts.first().map_or(&[][..], |part| part));
        let bytes = packer(item)?.decode(packed, &whole, &CodecOptions::default()).map_err(|_| damaged())?;
        Array::from_bytes(read.stored.dtype, read.region.shape.clone(), bytes.into_owned()).ok_or_else(damaged)
    }

    /// Stores a scratch object.
    pub(super) fn write_scratch(&self, object: &Object, bytes: Bytes) -> Result<ChunkRef, WorkError> {
        let key = self.scratch_key(object.variable, &object.index);
        let chunk = ChunkRef { key: key.clone(), bytes: bytes.len() as u64, checksum: checksum(&bytes) };
        self.scratch_store()?.put(&key, bytes, PutMode::Overwrite)?;
        Ok(chunk)
    }

    /// What is stored of a scratch object's values.
    pub(super) fn pack(&self, object: &Object) -> Result<Bytes, WorkError> {
        let item = self.plan.schema.variables[object.variable].dtype.size();
        let raw = object.raw()?;
        let packed = packer(item)?.encode(Cow::Borrowed(&raw), &CodecOptions::default()).map(Cow::into_owned);
        self.buffers.give(raw);
        Ok(Bytes::from(packed.map_err(|cause| WorkError::Internal(format!("scratch cannot be packed: {cause}")))?))
    }

    fn scratch_key(&self, variable: usize, index: &[u64]) -> String {
        let index: Vec<String> = index.iter().map(u64::to_string).collect();
        format!("{}/{variable}/{}", self.plan_id, index.join("."))
    }

    fn scratch_store(&self) -> Result<&dyn TargetStore, WorkError> {
        self.scratch.as_deref().ok_or_else(|| WorkError::Internal("a plan with two stages has no scratch".to_owned()))
    }

    fn vanished(&self, key: &str) -> WorkError {
        let url = self.plan.scratch.as_deref().unwrap_or_default();
        WorkError::Changed {
            url: format!("{url}/{key}"),
            message: "this scratch object was removed or cut; run again to write it anew".to_owned(),
        }
    }
}

/// Blosc with LZ4 behind a byte shuffle of items of so many bytes, on the calling thread alone.
fn packer(item: usize) -> Result<Arc<dyn BytesToBytesCodecTraits>, WorkError> {
    let blosc = json!({"cname": "lz4", "clevel": 1, "shuffle": "shuffle", "typesize": item, "blocksize": 0});
    let codecs = json!([{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "blosc", "configuration": blosc}]);
    let refuse = |cause: String| WorkError::Internal(format!("scratch cannot be packed: {cause}"));
    let codecs: Vec<MetadataV3> = serde_json::from_value(codecs).map_err(|cause| refuse(cause.to_string()))?;
    let chain = CodecChain::from_metadata(&codecs).map_err(|cause| refuse(cause.to_string()))?;
    chain.bytes_to_bytes_codecs().first().cloned().ok_or_else(|| refuse("no codec".to_owned()))
}
