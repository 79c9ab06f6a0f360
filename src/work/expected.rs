//! What a box of the result must hold, by another way: the source library's own read, element by element.
//!
//! For verification only; shares no decoding and no placing with the path that writes. Invariant: never called on it.

use super::{inputs, reads};
use super::{WorkError, Workshop};
use crate::array::{Array, DataType, Values};
use crate::cf::Conversion;
use crate::grid::{Region, positions};
use crate::transform;

impl Workshop {
    /// Converted values of a box of one input's part of a variable (`region` counts from the part's corner).
    ///
    /// # Errors
    /// Any [`WorkError`] of opening and reading the input.
    pub fn expected(&self, input: usize, variable: &str, region: &Region, conversion: Option<&Conversion>) -> Result<Array, WorkError> {
        let described = self.inputs.get(self, input)?;
        let found = described.variable(variable)?;
        let source = inputs::open(self, input)?;
        let needed = found.view.source_region(region);
        let raw = if found.stored.dtype.is_text() {
            reads::texts_of(&*source, &described, &found.source_name, &needed, found.rule)?
        } else {
            source.read(&found.source_name, &needed)?
        };
        let picked = pick(&raw, &found.view, &needed, region).ok_or_else(|| WorkError::Internal("a view outside its file".to_owned()))?;
        let url = self.plan.inputs[input].url.clone();
        let converted = conversion.cloned().unwrap_or_default().apply(picked);
        converted.map_err(|error| WorkError::Conversion { url, variable: found.source_name.clone(), message: error.to_string() })
    }
}

/// The view's elements of `region`, one after the other, out of the file's box `needed`.
fn pick(raw: &Array, view: &transform::view::View, needed: &Region, region: &Region) -> Option<Array> {
    let size = raw.dtype.size();
    let mut bytes = Vec::new();
    let mut texts = Vec::new();
    for position in positions(region) {
        let mut element = needed.start.clone();
        for &(axis, kept) in &view.fixed {
            element[axis] = kept;
        }
        for (axis, &index) in view.axes.iter().zip(&position) {
            if let Some(dimension) = axis.source() {
                element[dimension] = axis.element(index)?;
            }
        }
        let number = crate::grid::ravel(&Region::new(element, needed.shape.clone()).relative_to(&needed.start).start, &needed.shape) as usize;
        match &raw.values {
            Values::Bytes(all) => bytes.extend_from_slice(all.get(number * size..(number + 1) * size)?),
            Values::Texts(all) => texts.push(all.get(number)?.clone()),
        }
    }
    if raw.dtype == DataType::String { Array::from_texts(region.shape.clone(), texts) } else { Array::from_bytes(raw.dtype, region.shape.clone(), bytes) }
}
