//! What a box of the result must hold, by another way: netCDF-C where it is built in and can read the file, else the source
//! library's own read; element by element.
//!
//! For verification only; shares no decoding and no placing with the path that writes. Invariant: never called on it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::inputs::{Described, DescribedVariable};
use super::{WorkError, Workshop};
use super::{inputs, reads};
use crate::array::{Array, DataType, Values};
use crate::cf::Conversion;
use crate::grid::{Region, positions};
use crate::source::Source;
use crate::transform;

/// The reader that is always there.
const LIBRARY: &str = "netcdf-reader";

/// Names of the readers that gave expected values.
#[derive(Default)]
pub(super) struct Readers(Mutex<BTreeSet<String>>);

impl Readers {
    fn note(&self, name: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
    }
}

impl Workshop {
    /// Names of the readers that [`Workshop::expected`] has read through so far: `netcdf-reader`, `netcdf-c 4.9.0`, or both.
    #[must_use]
    pub fn readers(&self) -> String {
        let names = self.readers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.is_empty() { LIBRARY.to_owned() } else { names.iter().map(String::as_str).collect::<Vec<_>>().join(", ") }
    }

    /// Converted values of a box of one input's part of a variable (`region` counts from the part's corner).
    ///
    /// # Errors
    /// Any [`WorkError`] of opening and reading the input.
    pub fn expected(&self, input: usize, variable: &str, region: &Region, conversion: Option<&Conversion>) -> Result<Array, WorkError> {
        let described = self.inputs.get(self, input)?;
        let found = described.variable(variable)?;
        let source = inputs::open(self, input)?;
        let needed = found.view.source_region(region);
        let raw = if let Some(raw) = self.refereed(&*source, &described, &found, &needed) {
            raw
        } else {
            self.readers.note(LIBRARY);
            raw_values(&*source, &described, &found, &needed)?
        };
        let picked = pick(&raw, &found.view, &needed, region).ok_or_else(|| WorkError::Internal("a view outside its file".to_owned()))?;
        let url = self.plan.inputs[input].url.clone();
        let converted = conversion.cloned().unwrap_or_default().apply(picked);
        converted.map_err(|error| WorkError::Conversion { url, variable: found.source_name.clone(), message: error.to_string() })
    }

    /// The values through netCDF-C; `None` where it cannot read them or sees another variable.
    #[cfg(feature = "netcdf-c")]
    fn refereed(&self, source: &dyn Source, described: &Described, found: &DescribedVariable, needed: &Region) -> Option<Array> {
        use crate::source::netcdf_c;
        let name = netcdf_c::name()?;
        let referee =
            netcdf_c::open_url(&self.sources, &described.url).inspect_err(|error| tracing::info!("not refereed: {error}")).ok()?;
        let told = |source: &dyn Source| {
            source.schema().variable(&found.source_name).map(|variable| (variable.dtype, source.schema().shape(variable)))
        };
        if told(&*referee) != told(source) {
            tracing::info!("not refereed: {}: netCDF-C sees another `{}`", described.url, found.source_name);
            return None;
        }
        let raw = raw_values(&*referee, described, found, needed).inspect_err(|error| tracing::info!("not refereed: {error}")).ok()?;
        self.readers.note(name);
        Some(raw)
    }

    /// Nobody is built in.
    #[cfg(not(feature = "netcdf-c"))]
    #[expect(clippy::unused_self, reason = "the other build's signature")]
    fn refereed(&self, _: &dyn Source, _: &Described, _: &DescribedVariable, _: &Region) -> Option<Array> {
        None
    }
}

fn raw_values(source: &dyn Source, described: &Described, found: &DescribedVariable, needed: &Region) -> Result<Array, WorkError> {
    if found.stored.dtype.is_text() {
        return reads::texts_of(source, described, &found.source_name, needed, found.rule);
    }
    Ok(source.read(&found.source_name, needed)?)
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
        let number =
            crate::grid::ravel(&Region::new(element, needed.shape.clone()).relative_to(&needed.start).start, &needed.shape) as usize;
        match &raw.values {
            Values::Bytes(all) => bytes.extend_from_slice(all.get(number * size..(number + 1) * size)?),
            Values::Texts(all) => texts.push(all.get(number)?.clone()),
        }
    }
    if raw.dtype == DataType::String {
        Array::from_texts(region.shape.clone(), texts)
    } else {
        Array::from_bytes(raw.dtype, region.shape.clone(), bytes)
    }
}
