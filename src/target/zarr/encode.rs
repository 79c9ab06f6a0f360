//! Values to the bytes of one object: little-endian elements or texts, the bytes→bytes codecs, and the shard around them.
//!
//! Not for keys or metadata. Blosc of zstd blocks is our own ([`super::blosc`]); other kinds of Blosc, and Zstandard, run through
//! zarrs (C libraries underneath, one inner thread), gzip and zlib through libdeflate. Invariant: equal values give equal bytes, on any number of threads.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use libdeflater::{CompressionLvl, Compressor};
use serde_json::{Value, json};
use zarrs::array::{BytesToBytesCodecTraits, CodecChain, CodecOptions};
use zarrs::metadata::v3::MetadataV3;

use super::blosc::Blosc;
use super::codecs::{codecs_of, named};
use crate::array::{DataType, Placed, copy_box};
use crate::dataset::{Codec, Variable};
use crate::grid::{ChunkGrid, Region, Shape, elements, positions, strides};
use crate::target::{TargetError, codec_failure, unsupported};

/// Encodes the objects of one variable. Built once, used from many threads.
#[derive(Debug)]
pub struct Encoder {
    variable: String,
    dtype: DataType,
    object: Shape,
    inner: Option<ChunkGrid>,
    steps: Vec<Step>,
    index_checksum: Step,
}

/// One bytes→bytes codec.
#[derive(Debug, Clone)]
enum Step {
    /// gzip or zlib: the same compression in different wrappers.
    Deflate(Wrapper, CompressionLvl),
    /// Blosc of zstd blocks; C-Blosc for buffers that are too short or too long.
    Blosc(Blosc, Arc<dyn BytesToBytesCodecTraits>),
    Library(Arc<dyn BytesToBytesCodecTraits>),
}

#[derive(Debug, Clone, Copy)]
enum Wrapper {
    Gzip,
    Zlib,
}

impl Encoder {
    /// An encoder for the variable's type, `encoding.chunks`, `encoding.shards` and `encoding.codecs`
    /// ([`super::default_codecs`] if none are named).
    ///
    /// # Errors
    /// [`TargetError::Unsupported`] for a codec that does not exist or is not bytes→bytes, and for chunk or shard lengths that
    /// do not fit the dimensions or each other.
    pub fn new(variable: &Variable) -> Result<Self, TargetError> {
        let chunk = chunk_shape(variable)?;
        let object = object_shape(variable)?;
        let inner = variable.encoding.shards.is_some().then(|| ChunkGrid::new(object.clone(), chunk));
        let steps = codecs_of(variable)?.iter().map(|codec| Step::new(variable, codec)).collect::<Result<_, _>>()?;
        let index_checksum = Step::new(variable, &Codec { name: "crc32c".to_owned(), configuration: Value::Null })?;
        Ok(Self { variable: variable.name.clone(), dtype: variable.dtype, object, inner, steps, index_checksum })
    }

    /// Lengths of the object that is written: the chunk, or the shard when sharded. Never clipped at the array's edge.
    #[must_use]
    pub fn object_shape(&self) -> &[u64] {
        &self.object
    }

    /// The object's bytes from its numbers: machine's byte order, row-major, of the full [`Encoder::object_shape`].
    ///
    /// # Errors
    /// [`TargetError::Codec`] if the length does not fit, or a codec fails.
    pub fn encode<'a>(&self, raw: impl Into<Cow<'a, [u8]>>) -> Result<Bytes, TargetError> {
        let (raw, size) = (raw.into(), self.dtype.size());
        if size == 0 || raw.len() as u64 != elements(&self.object).saturating_mul(size as u64) {
            return Err(self.refuse(format!("{} bytes given for an object of shape {:?}", raw.len(), self.object)));
        }
        let raw = little_endian(raw, size);
        match &self.inner {
            None => self.compress(raw).map(Bytes::from),
            Some(inner) => self.shard(inner, |region| self.cut(&raw, region)),
        }
    }

    /// One chunk's bytes from its numbers, as [`Encoder::encode`] has them: an inner chunk of a shard, else the whole object.
    ///
    /// # Errors
    /// [`TargetError::Codec`] if a codec fails.
    pub fn encode_chunk(&self, raw: Vec<u8>) -> Result<Bytes, TargetError> {
        self.compress(little_endian(Cow::Owned(raw), self.dtype.size())).map(Bytes::from)
    }

    /// The object's bytes from its encoded chunks: all inner chunks of a shard in C order, else the one chunk itself.
    ///
    /// # Errors
    /// [`TargetError::Codec`] if there are too few or too many.
    pub fn join(&self, chunks: &[Bytes]) -> Result<Bytes, TargetError> {
        match (&self.inner, chunks) {
            (None, [chunk]) => return Ok(chunk.clone()),
            (Some(inner), chunks) if chunks.len() as u64 == inner.chunks() => {}
            _ => return Err(self.refuse(format!("{} chunks given for an object of shape {:?}", chunks.len(), self.object))),
        }
        let mut index = Vec::with_capacity(chunks.len() * 16);
        let mut offset = 0;
        for chunk in chunks {
            index.extend((offset as u64).to_le_bytes());
            index.extend((chunk.len() as u64).to_le_bytes());
            offset += chunk.len();
        }
        let index = self.run(&self.index_checksum, Cow::Owned(index))?;
        let mut shard = Vec::with_capacity(offset + index.len());
        for chunk in chunks {
            shard.extend_from_slice(chunk);
        }
        shard.extend_from_slice(&index);
        Ok(Bytes::from(shard))
    }

    /// The object's bytes from its texts, row-major, of the full [`Encoder::object_shape`]: codec `vlen-utf8`.
    ///
    /// # Errors
    /// [`TargetError::Codec`] if their number does not fit, or a codec fails.
    pub fn encode_texts(&self, texts: &[String]) -> Result<Bytes, TargetError> {
        if self.dtype != DataType::String || texts.len() as u64 != elements(&self.object) {
            return Err(self.refuse(format!("{} texts given for an object of shape {:?}", texts.len(), self.object)));
        }
        match &self.inner {
            None => self.compress(Cow::Owned(self.vlen_utf8(texts.iter())?)).map(Bytes::from),
            Some(inner) => self.shard(inner, |region| self.cut_texts(texts, region)),
        }
    }

    /// A shard (codec `sharding_indexed`): inner chunks in C order, then offset and length of each, then the checksum of that
    /// index. Inner chunks that hold only the fill value are written like any other: an absent chunk is always a hole.
    fn shard<'a>(&self, inner: &ChunkGrid, cut: impl Fn(&Region) -> Result<Cow<'a, [u8]>, TargetError>) -> Result<Bytes, TargetError> {
        let mut shard = Vec::new();
        let mut index = Vec::with_capacity(inner.chunks() as usize * 16 + 4);
        for number in 0..inner.chunks() {
            let chunk = self.compress(cut(&inner.region(&inner.index(number)))?)?;
            index.extend((shard.len() as u64).to_le_bytes());
            index.extend((chunk.len() as u64).to_le_bytes());
            shard.extend_from_slice(&chunk);
        }
        shard.extend_from_slice(&self.run(&self.index_checksum, Cow::Owned(index))?);
        shard.shrink_to_fit();
        Ok(Bytes::from(shard))
    }

    fn cut<'a>(&self, raw: &'a [u8], region: &Region) -> Result<Cow<'a, [u8]>, TargetError> {
        let size = self.dtype.size();
        let outer = strides(&self.object);
        let offset: u64 = region.start.iter().zip(&outer).map(|(start, stride)| start * stride).sum();
        let length = region.elements() as usize * size;
        if region.shape.get(1..) == self.object.get(1..) {
            let start = offset as usize * size;
            return raw.get(start..start + length).map(Cow::Borrowed).ok_or_else(|| self.refuse("shard too short".to_owned()));
        }
        let mut chunk = vec![0; length];
        let from = Placed { offset, strides: signed(&outer) };
        let to = Placed { offset: 0, strides: signed(&strides(&region.shape)) };
        copy_box(size, &region.shape, (raw, &from), (&mut chunk, &to)).map_err(|cause| self.failure("cannot cut a shard", cause))?;
        Ok(Cow::Owned(chunk))
    }

    fn cut_texts(&self, texts: &[String], region: &Region) -> Result<Cow<'static, [u8]>, TargetError> {
        let outer = strides(&self.object);
        let number = |position: Vec<u64>| position.iter().zip(&outer).map(|(index, stride)| index * stride).sum::<u64>() as usize;
        let cut: Vec<&String> = positions(region).filter_map(|position| texts.get(number(position))).collect();
        self.vlen_utf8(cut.into_iter()).map(Cow::Owned)
    }

    /// Number of texts, then length and UTF-8 bytes of each; numbers are little-endian u32 (zarr-extensions, `vlen-utf8`).
    fn vlen_utf8<'t>(&self, texts: impl ExactSizeIterator<Item = &'t String>) -> Result<Vec<u8>, TargetError> {
        let word =
            |length: usize| u32::try_from(length).map(u32::to_le_bytes).map_err(|cause| self.failure("a text is longer than 4 GiB", cause));
        let mut bytes = word(texts.len())?.to_vec();
        for text in texts {
            bytes.extend(word(text.len())?);
            bytes.extend(text.as_bytes());
        }
        Ok(bytes)
    }

    fn compress(&self, bytes: Cow<'_, [u8]>) -> Result<Vec<u8>, TargetError> {
        let encoded = self.steps.iter().try_fold(bytes, |bytes, step| self.run(step, bytes))?;
        let mut encoded = encoded.into_owned();
        encoded.shrink_to_fit();
        Ok(encoded)
    }

    fn run<'a>(&self, step: &Step, bytes: Cow<'a, [u8]>) -> Result<Cow<'a, [u8]>, TargetError> {
        match step {
            Step::Deflate(wrapper, level) => self.deflate(*wrapper, *level, &bytes).map(Cow::Owned),
            Step::Blosc(blosc, _) if Blosc::takes(bytes.len()) => Ok(Cow::Owned(blosc.encode(&bytes))),
            Step::Blosc(_, codec) | Step::Library(codec) => {
                codec.encode(bytes, &CodecOptions::default()).map_err(|cause| self.failure("encoding failed", cause))
            }
        }
    }

    fn deflate(&self, wrapper: Wrapper, level: CompressionLvl, bytes: &[u8]) -> Result<Vec<u8>, TargetError> {
        let mut compressor = Compressor::new(level);
        let bound = match wrapper {
            Wrapper::Gzip => compressor.gzip_compress_bound(bytes.len()),
            Wrapper::Zlib => compressor.zlib_compress_bound(bytes.len()),
        };
        let mut encoded = vec![0; bound];
        let length = match wrapper {
            Wrapper::Gzip => compressor.gzip_compress(bytes, &mut encoded),
            Wrapper::Zlib => compressor.zlib_compress(bytes, &mut encoded),
        };
        encoded.truncate(length.map_err(|cause| self.failure("deflate failed", cause))?);
        Ok(encoded)
    }

    fn refuse(&self, message: String) -> TargetError {
        TargetError::Codec { variable: self.variable.clone(), message, cause: None }
    }

    fn failure(&self, message: &str, cause: impl std::error::Error + Send + Sync + 'static) -> TargetError {
        codec_failure(&self.variable, message, cause)
    }
}

impl Step {
    fn new(variable: &Variable, codec: &Codec) -> Result<Self, TargetError> {
        match codec.name.as_str() {
            "gzip" => deflate_level(variable, codec).map(|level| Self::Deflate(Wrapper::Gzip, level)),
            "numcodecs.zlib" => deflate_level(variable, codec).map(|level| Self::Deflate(Wrapper::Zlib, level)),
            "blosc" => {
                let library = library_codec(variable, codec)?;
                Ok(Blosc::of(&codec.configuration).map_or(Self::Library(Arc::clone(&library)), |blosc| Self::Blosc(blosc, library)))
            }
            _ => library_codec(variable, codec).map(Self::Library),
        }
    }
}

fn deflate_level(variable: &Variable, codec: &Codec) -> Result<CompressionLvl, TargetError> {
    let level = codec.configuration.get("level").and_then(Value::as_i64).filter(|level| (0..=9).contains(level));
    level
        .and_then(|level| CompressionLvl::new(level as i32).ok())
        .ok_or_else(|| unsupported(&variable.name, format!("codec `{}`: level must be a number from 0 to 9", codec.name)))
}

fn library_codec(variable: &Variable, codec: &Codec) -> Result<Arc<dyn BytesToBytesCodecTraits>, TargetError> {
    let refuse = |cause: Option<crate::target::Cause>| TargetError::Unsupported {
        variable: variable.name.clone(),
        message: format!(
            "codec `{}` with configuration {} cannot be used; known are `blosc`, `zstd`, `gzip`, `crc32c` (and, unknown to other readers, `numcodecs.zlib`, `numcodecs.shuffle`)",
            codec.name, codec.configuration
        ),
        cause,
    };
    let metadata = [json!({"name": "bytes", "configuration": {"endian": "little"}}), named(codec)];
    let metadata: Vec<MetadataV3> = serde_json::from_value(json!(metadata)).map_err(|cause| refuse(Some(cause.into())))?;
    let chain = CodecChain::from_metadata(&metadata).map_err(|cause| refuse(Some(cause.into())))?;
    match (chain.array_to_array_codecs(), chain.bytes_to_bytes_codecs()) {
        ([], [codec]) => Ok(Arc::clone(codec)),
        _ => Err(refuse(None)),
    }
}

/// Chunk lengths of a variable, at least 1 each; those of a scalar need not be named.
pub(super) fn chunk_shape(variable: &Variable) -> Result<Shape, TargetError> {
    match &variable.encoding.chunks {
        Some(chunks) => checked_rank(variable, "chunk", chunks),
        None if variable.dimensions.is_empty() => Ok(Vec::new()),
        None => Err(unsupported(&variable.name, "no chunk lengths are decided; the plan must name them")),
    }
}

/// Lengths of the objects of a variable: of its shards if it has any, else of its chunks.
pub(super) fn object_shape(variable: &Variable) -> Result<Shape, TargetError> {
    let chunks = chunk_shape(variable)?;
    let Some(shards) = &variable.encoding.shards else { return Ok(chunks) };
    let shards = checked_rank(variable, "shard", shards)?;
    if shards.iter().zip(&chunks).any(|(shard, chunk)| shard % chunk != 0) {
        return Err(unsupported(&variable.name, format!("shard lengths {shards:?} are not multiples of the chunk lengths {chunks:?}")));
    }
    Ok(shards)
}

fn checked_rank(variable: &Variable, what: &str, lengths: &[u64]) -> Result<Shape, TargetError> {
    if lengths.len() != variable.dimensions.len() {
        return Err(unsupported(&variable.name, format!("{what} lengths {lengths:?} do not fit its dimensions {:?}", variable.dimensions)));
    }
    Ok(lengths.iter().map(|&length| length.max(1)).collect())
}

fn signed(strides: &[u64]) -> Vec<i64> {
    strides.iter().map(|&stride| stride as i64).collect()
}

fn little_endian(mut bytes: Cow<'_, [u8]>, size: usize) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "big") && size > 1 {
        bytes.to_mut().chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    bytes
}
