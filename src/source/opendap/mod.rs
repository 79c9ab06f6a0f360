//! Datasets of OPeNDAP servers, which slice them for us: DAP2 and DAP4, without a C library.
//!
//! `store::dap` asks; here answers are understood. `dds`, `das` and `xdr` are the parsers of DAP2, `dmr` (with `xml`) and `binary` those of DAP4,
//! `schema` what they make together, `slices` boxes of values. Invariant: parsers do no I/O, and no bytes make them panic, loop, or take
//! memory that is not in proportion to what was received.

mod binary;
mod dap2;
mod das;
mod dds;
mod declared;
mod dmr;
mod schema;
mod slices;
mod text;
mod xdr;
mod xml;

use std::sync::Arc;

use bytes::Bytes;

use super::ceiling::Ceiling;
use super::{Format, Source, SourceError};
use crate::array::{Array, DataType};
use crate::dataset::Schema;
use crate::grid::Region;
use crate::layout::{ByteOrder, Layout, Protocol, Stored};
use crate::store::SourceStore;
use crate::store::dap::Description;
use declared::WireError;
use schema::Described;
pub use slices::{Slicing, travelling};

/// What is made of a description takes at most so many times its bytes.
const EXPANSION: u64 = 8;

/// A dataset of an OPeNDAP server.
pub(super) struct OpenDap {
    store: Arc<dyn SourceStore>,
    url: String,
    protocol: Protocol,
    described: Described,
    ceiling: Ceiling,
}

/// The dataset whose description a store has begun with; `None` if the store has begun something else.
pub(super) fn open(store: &Arc<dyn SourceStore>, url: &str, start: &Bytes, ceiling: Ceiling) -> Option<Result<OpenDap, SourceError>> {
    let description = Description::unpack(start)?;
    Some(describe(url, &description, ceiling).map(|described| OpenDap {
        store: Arc::clone(store),
        url: url.to_owned(),
        protocol: description.protocol,
        described,
        ceiling,
    }))
}

fn describe(url: &str, description: &Description, ceiling: Ceiling) -> Result<Described, SourceError> {
    let bytes = (description.first.len() as u64).saturating_add(description.second.len() as u64);
    ceiling.check(url, "its description", bytes.saturating_mul(EXPANSION))?;
    let contents = match description.protocol {
        Protocol::Dap2 => dap2::contents(&description.first, &description.second),
        Protocol::Dap4 => dmr::parse(&description.first).map_err(|error| ("DMR", error)),
    };
    let damaged = |(document, error): (&str, WireError)| {
        let message = format!("the {document} of the dataset cannot be read: {error}; tell the server's maintainers");
        match error {
            WireError::Short => SourceError::Truncated { url: url.to_owned(), message },
            WireError::Wrong(_) => SourceError::Corrupt { url: url.to_owned(), message },
        }
    };
    Ok(schema::describe(contents.map_err(damaged)?))
}

impl Source for OpenDap {
    fn format(&self) -> Format {
        match self.protocol {
            Protocol::Dap2 => Format::Dap2,
            Protocol::Dap4 => Format::Dap4,
        }
    }

    fn schema(&self) -> &Schema {
        &self.described.schema
    }

    fn refused(&self) -> &[(String, String)] {
        &self.described.refused
    }

    fn stored(&self, variable: &str) -> Result<Stored, SourceError> {
        let schema = &self.described.schema;
        let position = schema.variables.iter().position(|found| found.name == variable);
        let found = position.and_then(|position| Some((schema.variables.get(position)?, *self.described.kinds.get(position)?)));
        let (found, kind) = found.ok_or_else(|| super::no_such_variable(&self.url, variable, schema))?;
        let fill =
            if found.dtype == DataType::String { Vec::new() } else { schema::fill_bytes(kind, found.attributes.number("_FillValue")) };
        let order = if cfg!(target_endian = "big") { ByteOrder::Big } else { ByteOrder::Little };
        let layout = Layout::Free { max_bytes: slices::LARGEST_BOX, server: Some(self.protocol) };
        Ok(Stored { dtype: found.dtype, order, shape: schema.shape(found), fill, layout })
    }

    fn read(&self, variable: &str, region: &Region) -> Result<Array, SourceError> {
        let stored = self.stored(variable)?;
        super::check_region(&self.url, variable, &stored.shape, region)?;
        super::check_size(&self.url, variable, stored.dtype, region, self.ceiling)?;
        Slicing { store: &*self.store, url: &self.url, variable, stored: &stored, ceiling: self.ceiling }.read(region)
    }
}
