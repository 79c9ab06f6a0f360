//! A box out of stored objects without decoding the rest of them: blosc compresses in blocks, and zarrs can decode some.
//!
//! For verification, which reads a few rows of objects of many megabytes. zarrs' own way through the whole chain of codecs would
//! decode and keep each object (0.23.14). Only for our own objects: numbers, codecs `bytes` and `blosc`, blosc's item size the
//! number's. Invariant: what cannot be read this way is left to the way that decodes everything; never guessed.

use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use zarrs::array::{
    Array as ZarrArray, ArrayBytes, ArrayBytesRaw, BytesPartialDecoderTraits, BytesRepresentation, CodecError, CodecMetadataOptions,
    CodecOptions,
};
use zarrs::storage::byte_range::{ByteRange, ByteRangeIterator};
use zarrs::storage::{ReadableStorageTraits, StorageError};

use crate::array::{DataType, Placed, copy_box};
use crate::grid::{ChunkGrid, Region, elements, positions, strides};
use crate::target::Cause;

/// A box is read this way if what surrounds it in an object is at most so many times larger: blocks are decoded whole anyway.
const WORTHWHILE: u64 = 4;

/// The values of `region`, row-major; `None` if the array's codecs, or the box, do not allow it.
pub(super) fn read<S: ReadableStorageTraits + 'static>(
    array: &ZarrArray<S>,
    dtype: DataType,
    region: &Region,
) -> Result<Option<Vec<u8>>, Cause> {
    let chain = array.codecs();
    let names: Vec<String> = chain.create_metadatas(&CodecMetadataOptions::default()).iter().map(|codec| codec.name().to_owned()).collect();
    if dtype.is_text() || region.rank() == 0 || names != ["bytes", "blosc"] {
        return Ok(None);
    }
    let chunk: Vec<u64> = array.chunk_shape(&vec![0; region.rank()])?.iter().map(|length| length.get()).collect();
    let grid = ChunkGrid::new(array.shape().to_vec(), chunk);
    let mut values = vec![0; usize::try_from(region.elements())? * dtype.size()];
    for index in positions(&grid.touching(region)) {
        let whole = Region::new(index.iter().zip(&grid.chunk).map(|(index, length)| index * length).collect(), grid.chunk.clone());
        let Some(common) = whole.intersect(region) else { continue };
        let inside = common.relative_to(&whole.start);
        let Some((first, bytes)) = around(array, dtype, &index, (&inside, &grid.chunk))? else { return Ok(None) };
        let from = placed(&inside, &grid.chunk, first);
        let to = placed(&common.relative_to(&region.start), &region.shape, 0);
        copy_box(dtype.size(), &common.shape, (&bytes, &from), (&mut values, &to))?;
    }
    Ok(Some(values))
}

/// All values of an object from the first to the last of a box in it, and the number of the first.
fn around<S: ReadableStorageTraits + 'static>(
    array: &ZarrArray<S>,
    dtype: DataType,
    index: &[u64],
    (inside, lengths): (&Region, &[u64]),
) -> Result<Option<(u64, Vec<u8>)>, Cause> {
    let item = dtype.size() as u64;
    let strides = strides(lengths);
    let first: u64 = inside.start.iter().zip(&strides).map(|(start, stride)| start * stride).sum();
    let last: u64 = (0..inside.rank()).map(|axis| (inside.end(axis) - 1) * strides[axis]).sum();
    let count = last + 1 - first;
    let Some(object) = array.storage().get(&array.chunk_key(index))? else { return Ok(None) };
    // Byte 3 of a blosc buffer is its item size (c-blosc README_CHUNK_FORMAT).
    if count > inside.elements().saturating_mul(WORTHWHILE) || object.get(3).map(|&size| u64::from(size)) != Some(item) {
        return Ok(None);
    }
    let (chain, options) = (array.codecs(), CodecOptions::default().with_concurrent_target(1));
    let Some(blosc) = chain.bytes_to_bytes_codecs().first() else { return Ok(None) };
    let size = BytesRepresentation::FixedSize(elements(lengths) * item);
    let partial = Arc::clone(blosc).partial_decoder(Arc::new(Object(object)), &size, &options)?;
    let range = ByteRange::FromStart(first * item, Some(count * item));
    let Some(bytes) = partial.partial_decode(range, &options)? else { return Ok(None) };
    if bytes.len() as u64 != count * item {
        return Err(format!("{} bytes were decoded instead of {}", bytes.len(), count * item).into());
    }
    let Some(length) = NonZeroU64::new(count) else { return Ok(None) };
    let decoded = chain.array_to_bytes_codec().decode(bytes, &[length], array.data_type(), array.fill_value(), &options)?;
    match decoded {
        ArrayBytes::Fixed(bytes) => Ok(Some((first, bytes.into_owned()))),
        _ => Ok(None),
    }
}

/// A box inside a row-major buffer of these lengths that begins at element `first`.
fn placed(inside: &Region, lengths: &[u64], first: u64) -> Placed {
    let strides = strides(lengths);
    let offset: u64 = inside.start.iter().zip(&strides).map(|(start, stride)| start * stride).sum();
    Placed { offset: offset.saturating_sub(first), strides: strides.iter().map(|&stride| stride as i64).collect() }
}

/// An encoded object as zarrs wants one.
struct Object(Bytes);

impl BytesPartialDecoderTraits for Object {
    fn exists(&self) -> Result<bool, StorageError> {
        Ok(true)
    }

    fn size_held(&self) -> usize {
        self.0.len()
    }

    fn partial_decode_many(
        &self,
        regions: ByteRangeIterator,
        _options: &CodecOptions,
    ) -> Result<Option<Vec<ArrayBytesRaw<'_>>>, CodecError> {
        let size = self.0.len() as u64;
        let part = |range: ByteRange| {
            let part = self.0.get(range.to_range_usize(size)).ok_or_else(|| CodecError::from("the object is too short"))?;
            Ok(ArrayBytesRaw::Borrowed(part))
        };
        regions.map(part).collect::<Result<_, _>>().map(Some)
    }

    fn supports_partial_decode(&self) -> bool {
        true
    }
}
