//! Stored objects back to values, through zarrs only: the check on what `encode` made.
//!
//! Shares no code with the encoder but the metadata. Invariant: bytes that do not decode to exactly one full object are an
//! error.

use std::borrow::Cow;
use std::num::NonZeroU64;

use serde_json::json;
use zarrs::array::{ArrayBytes, ArrayToBytesCodecTraits, CodecChain, CodecOptions, DataType as ZarrType, FillValue};
use zarrs::metadata::FillValueMetadata;
use zarrs::metadata::v3::MetadataV3;

use super::encode::object_shape;
use super::{fill, metadata3};
use crate::array::Values;
use crate::dataset::Variable;
use crate::target::{Cause, TargetError, codec_failure};

/// Decodes the objects of one variable.
#[derive(Debug)]
pub struct Decoder {
    variable: String,
    shape: Vec<NonZeroU64>,
    dtype: ZarrType,
    fill: FillValue,
    chain: CodecChain,
}

impl Decoder {
    /// A decoder for what [`super::Encoder`] makes of the same variable.
    ///
    /// # Errors
    /// [`TargetError::Unsupported`] and [`TargetError::Codec`] as for the encoder.
    pub fn new(variable: &Variable) -> Result<Self, TargetError> {
        let shape = object_shape(variable)?.into_iter().filter_map(NonZeroU64::new).collect();
        let codecs = metadata3::codecs(variable)?;
        let fill = fill::fill3(variable)?;
        let build = || -> Result<_, Cause> {
            let codecs: Vec<MetadataV3> = serde_json::from_value(json!(codecs))?;
            let dtype = ZarrType::from_metadata(&MetadataV3::new(variable.dtype.name()))?;
            let fill: FillValueMetadata = serde_json::from_value(fill)?;
            let fill = dtype.fill_value_v3(&fill)?;
            Ok((CodecChain::from_metadata(&codecs)?, dtype, fill))
        };
        let (chain, dtype, fill) = build().map_err(|cause| codec_failure(&variable.name, "no decoder for its codecs", cause))?;
        Ok(Self { variable: variable.name.clone(), shape, dtype, fill, chain })
    }

    /// The values of one stored object, row-major, of the full object shape; numbers in the machine's byte order.
    ///
    /// # Errors
    /// [`TargetError::Codec`] if the bytes are damaged.
    pub fn decode(&self, bytes: &[u8]) -> Result<Values, TargetError> {
        let options = CodecOptions::default().with_concurrent_target(1);
        let decode = || Ok(self.chain.decode(Cow::Borrowed(bytes), &self.shape, &self.dtype, &self.fill, &options)?);
        let decoded = without_panic(decode).map_err(|cause| codec_failure(&self.variable, "a stored object cannot be decoded", cause))?;
        values(&self.variable, decoded)
    }
}

/// Runs a library's decoder. zarrs unwraps what a shard's index says (seen in 0.23.14), so damaged bytes can make it panic; its
/// state is thrown away after that.
pub(super) fn without_panic<T>(decode: impl FnOnce() -> Result<T, Cause>) -> Result<T, Cause> {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode));
    outcome.unwrap_or_else(|_| Err("the decoder gave up on these bytes; they are damaged".into()))
}

/// Values from what zarrs gives.
pub(super) fn values(variable: &str, bytes: ArrayBytes<'_>) -> Result<Values, TargetError> {
    let fault = |cause: Cause| codec_failure(variable, "a stored text cannot be decoded", cause);
    match bytes {
        ArrayBytes::Fixed(bytes) => Ok(Values::Bytes(bytes.into_owned())),
        ArrayBytes::Variable(texts) => {
            let (bytes, offsets) = texts.into_parts();
            let text = |pair: &[usize]| -> Result<String, Cause> {
                let bytes = bytes.get(pair[0]..pair[1]).ok_or("offsets leave the chunk")?;
                Ok(std::str::from_utf8(bytes)?.to_owned())
            };
            offsets.windows(2).map(|pair| text(pair).map_err(fault)).collect::<Result<_, _>>().map(Values::Texts)
        }
        ArrayBytes::Optional(_) => Err(fault("optional values are not supported".into())),
    }
}
