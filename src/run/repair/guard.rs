//! A target that takes only the bytes that receipts name.
//!
//! Invariant: an object that has a receipt is never stored with other bytes than that receipt says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::dataset::{Schema, TargetState, Variable};
use crate::receipt::{ChunkRef, checksum};
use crate::recipe::OutputFormat;
use crate::target::zarr::object_key;
use crate::target::{ChunkPayload, Target, TargetError};

/// Stores what is expected, refuses what is not.
pub(super) struct Guard {
    target: Arc<dyn Target>,
    format: OutputFormat,
    /// By key; an object that is not here may have any bytes.
    expected: BTreeMap<String, ChunkRef>,
    refused: Mutex<Option<String>>,
}

impl Guard {
    pub(super) fn new(target: Arc<dyn Target>, format: OutputFormat, expected: BTreeMap<String, ChunkRef>) -> Self {
        Self { target, format, expected, refused: Mutex::default() }
    }

    /// Why an object was refused, if one was.
    pub(super) fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Target for Guard {
    fn state(&self) -> Result<TargetState, TargetError> {
        self.target.state()
    }

    fn write(&self, variable: &Variable, index: &[u64], payload: ChunkPayload) -> Result<ChunkRef, TargetError> {
        let key = object_key(variable, index, self.format);
        let ChunkPayload::Encoded(bytes) = &payload;
        let same = |known: &ChunkRef| known.bytes == bytes.len() as u64 && known.checksum == checksum(bytes);
        if self.expected.get(&key).is_some_and(|known| !same(known)) {
            let message = format!(
                "object `{key}` would not become what it was: this gristmill, or this machine, makes other bytes of the same files"
            );
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(message.clone());
            return Err(TargetError::Codec { variable: variable.name.clone(), message, cause: None });
        }
        self.target.write(variable, index, payload)
    }

    fn commit(&self, schema: &Schema) -> Result<(), TargetError> {
        self.target.commit(schema)
    }

    fn schema(&self) -> Result<Option<Schema>, TargetError> {
        self.target.schema()
    }
}
