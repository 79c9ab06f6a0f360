//! What a box of the result must hold, by another way: netCDF-C where it is built in and can read the file, else the source
//! library's own read; each element's place summed from its dimensions.
//!
//! For verification only; shares no decoding and no placing with the path that writes. Invariant: never called on it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::inputs::{Described, DescribedVariable};
use super::{WorkError, Workshop};
use super::{inputs, reads};
use crate::array::{Array, Values};
use crate::cf::Conversion;
use crate::grid::{Region, strides};
use crate::layout::Layout;
use crate::source::Source;
use crate::store::shown;
use crate::transform;

/// The reader that is always there.
const LIBRARY: &str = "netcdf-reader";

/// The reader of what servers slice.
const SERVER: &str = "opendap";

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

/// An input opened to be read by the other way; may be asked from several threads.
pub struct Witness {
    number: usize,
    described: Arc<Described>,
    source: Box<dyn Source>,
    /// netCDF-C, where it is built in and opens the file, and its name.
    referee: Option<(Box<dyn Source>, &'static str)>,
}

/// Rows that are read at once although nobody asks for some: at most so many times what is asked for.
const TOGETHER: u64 = 2;

impl Workshop {
    /// Names of the readers that [`Workshop::expected`] has read through so far: `netcdf-reader`, `netcdf-c 4.9.0`, or both.
    #[must_use]
    pub fn readers(&self) -> String {
        let names = self.readers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.is_empty() { LIBRARY.to_owned() } else { names.iter().map(String::as_str).collect::<Vec<_>>().join(", ") }
    }

    /// Opens an input to ask it for expected values.
    ///
    /// # Errors
    /// Any [`WorkError`] of opening it.
    pub fn witness(&self, input: usize) -> Result<Witness, WorkError> {
        let described = self.inputs.get(self, input)?;
        let source = inputs::open(self, input)?;
        let referee = self.referee(&described);
        Ok(Witness { number: input, described, source, referee })
    }

    /// Converted values of boxes of one input's part of a variable (they count from the part's corner), in order.
    ///
    /// # Errors
    /// Any [`WorkError`] of reading and converting.
    pub fn expected(
        &self,
        witness: &Witness,
        variable: &str,
        regions: &[Region],
        conversion: Option<&Conversion>,
    ) -> Result<Vec<Array>, WorkError> {
        let found = self.kept(witness.number, witness.described.variable(variable)?, variable);
        let needed: Vec<Region> = regions.iter().map(|region| found.view.source_region(region)).collect();
        let around = needed.iter().cloned().reduce(|one, other| one.around(&other));
        let Some(around) = around.filter(|around| needed.len() > 1 && is_worthwhile(&found, &needed, around)) else {
            let each = regions.iter().zip(needed).map(|(region, needed)| {
                let raw = self.raw(witness, &found, &needed)?;
                self.converted(witness, &found, (&raw, &needed), (region, conversion))
            });
            return each.collect();
        };
        let raw = self.raw(witness, &found, &around)?;
        regions.iter().map(|region| self.converted(witness, &found, (&raw, &around), (region, conversion))).collect()
    }

    fn converted(
        &self,
        witness: &Witness,
        found: &DescribedVariable,
        (raw, needed): (&Array, &Region),
        (region, conversion): (&Region, Option<&Conversion>),
    ) -> Result<Array, WorkError> {
        let picked = pick(raw, &found.view, needed, region).ok_or_else(|| WorkError::Internal("a view outside its file".to_owned()))?;
        let url = self.plan.inputs[witness.number].url.clone();
        let converted = conversion.cloned().unwrap_or_default().apply(picked);
        converted.map_err(|error| WorkError::Conversion { url, variable: found.source_name.clone(), message: error.to_string() })
    }

    /// A box of the file's variable, through the referee if it sees the same variable, else through the library.
    fn raw(&self, witness: &Witness, found: &DescribedVariable, needed: &Region) -> Result<Array, WorkError> {
        if let Some((referee, name)) = &witness.referee
            && let Some(raw) = refereed(&**referee, witness, found, needed)
        {
            self.readers.note(name);
            return Ok(raw);
        }
        self.readers.note(if matches!(found.stored.layout, Layout::Free { server: Some(_), .. }) { SERVER } else { LIBRARY });
        raw_values(&*witness.source, &witness.described, found, needed)
    }

    /// netCDF-C on a file; `None` where it cannot read it.
    #[cfg(feature = "netcdf-c")]
    fn referee(&self, described: &Described) -> Option<(Box<dyn Source>, &'static str)> {
        use crate::source::netcdf_c;
        let name = netcdf_c::name()?;
        let referee = netcdf_c::open_url(&self.sources, &described.url);
        Some((referee.inspect_err(|error| tracing::info!("not refereed: {error}")).ok()?, name))
    }

    /// Nobody is built in.
    #[cfg(not(feature = "netcdf-c"))]
    #[expect(clippy::unused_self, reason = "the other build's signature")]
    fn referee(&self, _: &Described) -> Option<(Box<dyn Source>, &'static str)> {
        None
    }
}

/// The values through the referee; `None` where it sees another variable or fails.
fn refereed(referee: &dyn Source, witness: &Witness, found: &DescribedVariable, needed: &Region) -> Option<Array> {
    let told = |source: &dyn Source| {
        source.schema().variable(&found.source_name).map(|variable| (variable.dtype, source.schema().shape(variable)))
    };
    if told(referee) != told(&*witness.source) {
        tracing::info!("not refereed: {}: netCDF-C sees another `{}`", shown(&witness.described.url), found.source_name);
        return None;
    }
    let raw = raw_values(referee, &witness.described, found, needed);
    raw.inspect_err(|error| tracing::info!("not refereed: {error}")).ok()
}

/// True if reading the box around some boxes costs no more than reading each: they share their chunks, or lie close together.
fn is_worthwhile(found: &DescribedVariable, needed: &[Region], around: &Region) -> bool {
    let cost = |region: &Region| match &found.stored.layout {
        Layout::Chunked(table) => table.grid.touching(region).elements(),
        _ => region.elements(),
    };
    let each: u64 = needed.iter().map(cost).sum();
    let most = if matches!(found.stored.layout, Layout::Chunked(_)) { each } else { each.saturating_mul(TOGETHER) };
    !found.stored.dtype.is_text() && cost(around) <= most
}

fn raw_values(source: &dyn Source, described: &Described, found: &DescribedVariable, needed: &Region) -> Result<Array, WorkError> {
    if found.stored.dtype.is_text() {
        return reads::texts_of(source, described, &found.source_name, needed, found.rule);
    }
    Ok(source.read(&found.source_name, needed)?)
}

/// The view's elements of `region`, one after the other, out of the file's box `needed`.
fn pick(raw: &Array, view: &transform::view::View, needed: &Region, region: &Region) -> Option<Array> {
    let offsets = offsets(view, needed, region)?;
    match &raw.values {
        Values::Bytes(all) => {
            let size = raw.dtype.size();
            let mut bytes = Vec::with_capacity(offsets.len() * size);
            for at in offsets {
                bytes.extend_from_slice(all.get(at * size..(at + 1) * size)?);
            }
            Array::from_bytes(raw.dtype, region.shape.clone(), bytes)
        }
        Values::Texts(all) => {
            let texts: Option<Vec<String>> = offsets.into_iter().map(|at| all.get(at).cloned()).collect();
            Array::from_texts(region.shape.clone(), texts?)
        }
    }
}

/// Where each element of `region` is in the row-major values of `needed`: the sum of what each dimension adds.
fn offsets(view: &transform::view::View, needed: &Region, region: &Region) -> Option<Vec<usize>> {
    let strides = strides(&needed.shape);
    let mut all = vec![0];
    for &(axis, kept) in &view.fixed {
        let offset = kept.checked_sub(*needed.start.get(axis)?)? * strides.get(axis)?;
        for sum in &mut all {
            *sum += offset as usize;
        }
    }
    for (axis, (&start, &length)) in view.axes.iter().zip(region.start.iter().zip(&region.shape)) {
        let along = |index: u64| match axis.source() {
            None => Some(0),
            Some(dimension) => {
                let inside = axis.element(index)?.checked_sub(*needed.start.get(dimension)?)?;
                Some((inside * strides.get(dimension)?) as usize)
            }
        };
        let along: Vec<usize> = (start..start + length).map(along).collect::<Option<_>>()?;
        all = all.iter().flat_map(|sum| along.iter().map(move |offset| sum + offset)).collect();
    }
    Some(all)
}
