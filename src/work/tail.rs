//! The last, partial chunks of a published store while an append writes them again.
//!
//! Whoever reads the old shape meanwhile sees the old part of the new object. Invariant: an object is only written over a published one
//! if what it holds of the published values is equal to them, bit for bit, as decoded from its own encoded bytes.

use super::{Object, WorkError};
use crate::array::{Array, Values};
use crate::grid::{Region, Shape};
use crate::plan::Plan;
use crate::target::zarr::{Decoder, ZarrReader};

/// What is published where an append writes again.
pub struct Tail {
    /// Of what is published, with its published shape.
    published: ZarrReader,
    /// Published lengths of each variable that has objects to be written again.
    lengths: Vec<Option<Shape>>,
}

impl Tail {
    /// From a reader of what is published and, for each variable whose last chunks are written again, its published lengths.
    #[must_use]
    pub fn new(published: ZarrReader, lengths: Vec<Option<Shape>>) -> Self {
        Self { published, lengths }
    }

    /// Compares an encoded object with what is published of it, if anything is.
    pub(super) fn check(&self, plan: &Plan, object: &Object, bytes: &[u8]) -> Result<(), WorkError> {
        let Some(Some(lengths)) = self.lengths.get(object.variable) else { return Ok(()) };
        let Some(common) = object.region().intersect(&Region::whole(lengths)) else { return Ok(()) };
        let variable = &plan.schema.variables[object.variable];
        let published = self.published.read(&variable.name, &common)?;
        let decoded = match Decoder::new(variable)?.decode(bytes)? {
            Values::Bytes(bytes) => Array::from_bytes(variable.dtype, plan.objects(object.variable).chunk, bytes),
            Values::Texts(texts) => Array::from_texts(plan.objects(object.variable).chunk, texts),
        };
        let again = decoded.and_then(|decoded| decoded.part(&common.relative_to(&object.region().start)));
        if again.as_ref() == Some(&published) {
            return Ok(());
        }
        let message = format!(
            "the chunk at {:?} is to be written again, but its published values are no longer those of its files; build the store anew with `--replace`",
            object.index
        );
        Err(WorkError::Published { variable: variable.name.clone(), message })
    }
}
