//! The netCDF formats classic, 64-bit offset and CDF-5.
//!
//! The header is ours ([`header`]); [`Source::read`] is netcdf-reader's own, so that the two check each other. Invariant: a
//! file that is shorter than its header says is refused when it is opened.

mod header;

use std::sync::{Arc, OnceLock};

use header::{Header, HeaderError, RawVariable};
use netcdf_reader::{NcFile, NcMetadataMode, NcOpenOptions, NcSliceInfo, NcSliceInfoElem};

use super::window::Window;
use super::{Format, Source, SourceError, fill};
use crate::array::{Array, DataType, FillValue, Scalar};
use crate::dataset::{Dimension, Encoding, Schema, Variable};
use crate::grid::{Region, elements};
use crate::layout::{ByteOrder, Layout, Stored};

/// First bytes read; most headers are shorter.
const FIRST_READ: u64 = 32 << 10;
/// No sane header is longer.
const LARGEST_HEADER: u64 = 256 << 20;
/// What is made of a header takes at most so many times its bytes, names of dimensions aside.
const EXPANSION: u64 = 8;

/// An open classic file.
pub(super) struct NetCdf3 {
    window: Arc<Window>,
    schema: Schema,
    stored: Vec<Stored>,
    library: OnceLock<Result<NcFile, String>>,
}

/// Opens the classic file behind `window`.
pub(super) fn open(window: Arc<Window>) -> Result<NetCdf3, SourceError> {
    let header = read_header(&window)?;
    let corrupt = |message: String| SourceError::Corrupt { url: window.url().to_owned(), message };
    let damaged = |message: String| corrupt(format!("the NetCDF header is damaged: {message}; fetch the file again"));
    let placed = place(&header, window.size()).map_err(damaged)?;
    window.ceiling().check(window.url(), "the names of the dimensions of all its variables", names_bytes(&header))?;
    if placed.needed > window.size() {
        let message = format!("truncated: its header describes {} bytes but the file has {}; fetch it again", placed.needed, window.size());
        return Err(SourceError::Truncated { url: window.url().to_owned(), message });
    }
    let (schema, stored) = describe(header, &placed);
    Ok(NetCdf3 { window, schema, stored, library: OnceLock::new() })
}

fn read_header(window: &Window) -> Result<Header, SourceError> {
    let corrupt = |message: String| SourceError::Corrupt { url: window.url().to_owned(), message };
    let mut length = FIRST_READ.min(window.size());
    loop {
        match header::parse(&window.read(0..length)?) {
            Ok(header) => return Ok(header),
            Err(HeaderError::Wrong(message)) => {
                return Err(corrupt(format!("the NetCDF header is damaged: {message}; fetch the file again")));
            }
            Err(HeaderError::Short) if length == window.size() => {
                let message = format!("truncated: the file ends at byte {length}, inside its header; fetch it again");
                return Err(SourceError::Truncated { url: window.url().to_owned(), message });
            }
            Err(HeaderError::Short) if length >= LARGEST_HEADER => {
                return Err(corrupt(format!("the NetCDF header is damaged: it does not end within {LARGEST_HEADER} bytes")));
            }
            Err(HeaderError::Short) => {
                length = length.saturating_mul(4).min(window.size());
                window.ceiling().check(window.url(), "its header", length.saturating_mul(EXPANSION))?;
            }
        }
    }
}

/// Bytes of the names of dimensions, written out for every variable.
fn names_bytes(header: &Header) -> u64 {
    let bytes = |&number: &usize| header.dimensions.get(number).map_or(0, |dimension| (dimension.name.len() + size_of::<String>()) as u64);
    header.variables.iter().flat_map(|variable| &variable.dimensions).map(bytes).fold(0, u64::saturating_add)
}

/// Where everything is, once the header is believed.
struct Placement {
    records: u64,
    record_size: u64,
    /// Bytes that the file must have.
    needed: u64,
}

fn is_record(variable: &RawVariable, header: &Header) -> bool {
    variable.dimensions.first().and_then(|&number| header.dimensions.get(number)).is_some_and(|dimension| dimension.length == 0)
}

/// Bytes of a variable, or of one record of it.
fn slab_bytes(variable: &RawVariable, header: &Header) -> Result<u64, String> {
    let inner = usize::from(is_record(variable, header));
    let mut bytes = variable.dtype.size() as u64;
    for &number in variable.dimensions.get(inner..).unwrap_or_default() {
        let dimension =
            header.dimensions.get(number).ok_or_else(|| format!("`{}` names dimension {number}, which does not exist", variable.name))?;
        if dimension.length == 0 {
            return Err(format!("the record dimension is not the first of `{}`", variable.name));
        }
        bytes = bytes.checked_mul(dimension.length).ok_or_else(|| format!("`{}` is larger than any file", variable.name))?;
    }
    Ok(bytes)
}

fn place(header: &Header, size: u64) -> Result<Placement, String> {
    let sizes: Vec<u64> = header.variables.iter().map(|variable| slab_bytes(variable, header)).collect::<Result<_, _>>()?;
    let slabs: Vec<(&RawVariable, u64)> = header.variables.iter().zip(sizes).collect();
    let (records, fixed): (Vec<_>, Vec<_>) = slabs.into_iter().partition(|(variable, _)| is_record(variable, header));
    let overflow = || "its variables are larger than any file".to_owned();
    let end_of_fixed = check_order(&fixed, header.length)?;
    let end_of_first_record = check_order(&records, end_of_fixed)?;
    let record_size = match records.as_slice() {
        // A single record variable is not padded (specification, "Note on padding").
        [(_, bytes)] => *bytes,
        _ => records.iter().try_fold(0u64, |sum, (_, bytes)| sum.checked_add(bytes.checked_next_multiple_of(4)?)).ok_or_else(overflow)?,
    };
    let first = records.iter().map(|(variable, _)| variable.begin).min().unwrap_or(end_of_fixed);
    let count = header.records.unwrap_or_else(|| size.saturating_sub(first).checked_div(record_size).unwrap_or(0));
    if i64::try_from(count).is_err() || header.dimensions.iter().any(|dimension| i64::try_from(dimension.length).is_err()) {
        return Err("it has a dimension longer than any file".to_owned());
    }
    let needed = match count {
        0 => end_of_fixed,
        _ if records.is_empty() => end_of_fixed,
        _ => (count - 1).checked_mul(record_size).and_then(|before| before.checked_add(end_of_first_record)).ok_or_else(overflow)?,
    };
    Ok(Placement { records: count, record_size, needed: needed.max(header.length) })
}

/// Variables lie behind `start` in the order of the header, without overlap; returns the end of the last one.
fn check_order(variables: &[(&RawVariable, u64)], start: u64) -> Result<u64, String> {
    variables.iter().try_fold(start, |end, (variable, bytes)| {
        if variable.begin < end {
            return Err(format!("`{}` begins at byte {}, inside what lies before it (up to byte {end})", variable.name, variable.begin));
        }
        variable
            .begin
            .checked_add(*bytes)
            .filter(|&end| i64::try_from(end).is_ok())
            .ok_or_else(|| format!("`{}` ends behind any file", variable.name))
    })
}

fn describe(header: Header, placed: &Placement) -> (Schema, Vec<Stored>) {
    let stored = header.variables.iter().map(|variable| store(variable, &header, placed)).collect();
    let names: Vec<String> = header.dimensions.iter().map(|dimension| dimension.name.clone()).collect();
    let variables = header.variables.into_iter().map(|variable| describe_variable(variable, &names)).collect();
    let dimensions = header
        .dimensions
        .into_iter()
        .map(|raw| Dimension {
            name: raw.name,
            length: if raw.length == 0 { placed.records } else { raw.length },
            unlimited: raw.length == 0,
        })
        .collect();
    (Schema { dimensions, variables, attributes: header.attributes, groups: std::collections::BTreeMap::default() }, stored)
}

fn describe_variable(raw: RawVariable, names: &[String]) -> Variable {
    let dimensions: Vec<String> = raw.dimensions.iter().filter_map(|&number| names.get(number).cloned()).collect();
    let fill = Scalar::from_bytes(raw.dtype, &fill_bytes(&raw)).map(FillValue::Number);
    let encoding = Encoding { fill, ..Encoding::default() };
    let mut variable = Variable { name: raw.name, dtype: raw.dtype, dimensions, attributes: raw.attributes, coordinate: false, encoding };
    variable.coordinate = variable.is_index();
    variable
}

/// The declared fill value if it is of the variable's type, else the default.
fn fill_bytes(raw: &RawVariable) -> Vec<u8> {
    if raw.dtype == DataType::Char {
        return raw.attributes.text("_FillValue").and_then(|text| text.bytes().next()).map_or_else(|| vec![0], |byte| vec![byte]);
    }
    let declared = raw.attributes.number("_FillValue").filter(|number| number.dtype() == raw.dtype);
    declared.map_or_else(|| fill::netcdf_default(raw.dtype), Scalar::to_bytes)
}

fn store(raw: &RawVariable, header: &Header, placed: &Placement) -> Stored {
    let length = |&number: &usize| header.dimensions.get(number).map_or(0, |dimension| dimension.length);
    let mut shape: Vec<u64> = raw.dimensions.iter().map(length).collect();
    let mut strides: Vec<u64> = crate::grid::strides(&shape).iter().map(|stride| stride.saturating_mul(raw.dtype.size() as u64)).collect();
    if is_record(raw, header)
        && let (Some(length), Some(stride)) = (shape.first_mut(), strides.first_mut())
    {
        (*length, *stride) = (placed.records, placed.record_size);
    }
    let layout = if elements(&shape) == 0 { Layout::Unwritten } else { Layout::Strided { offset: raw.begin, strides } };
    Stored { dtype: raw.dtype, order: ByteOrder::Big, shape, fill: fill_bytes(raw), layout }
}

impl NetCdf3 {
    fn position(&self, variable: &str) -> Result<usize, SourceError> {
        self.schema
            .variables
            .iter()
            .position(|found| found.name == variable)
            .ok_or_else(|| super::no_such_variable(self.window.url(), variable, &self.schema))
    }

    fn library(&self) -> Result<&NcFile, SourceError> {
        let options = NcOpenOptions { metadata_mode: NcMetadataMode::Lossy, ..NcOpenOptions::default() };
        let opened =
            self.library.get_or_init(|| NcFile::from_storage_with_options(self.window.clone(), options).map_err(|error| error.to_string()));
        opened.as_ref().map_err(|message| SourceError::Corrupt { url: self.window.url().to_owned(), message: message.clone() })
    }
}

impl Source for NetCdf3 {
    fn format(&self) -> Format {
        Format::NetCdf3
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn refused(&self) -> &[(String, String)] {
        &[]
    }

    fn stored(&self, variable: &str) -> Result<Stored, SourceError> {
        let position = self.position(variable)?;
        self.stored.get(position).cloned().ok_or_else(|| super::no_such_variable(self.window.url(), variable, &self.schema))
    }

    fn read(&self, variable: &str, region: &Region) -> Result<Array, SourceError> {
        let stored = self.stored(variable)?;
        super::check_region(self.window.url(), variable, &stored.shape, region)?;
        if region.is_empty() || stored.dtype == DataType::Char {
            // The library reads chars only as texts, with their padding lost.
            let ceiling = self.window.ceiling();
            return super::fetch::read_stored_within(self.window.store(), self.window.url(), variable, (&stored, region), ceiling);
        }
        super::check_size(self.window.url(), variable, stored.dtype, region, self.window.ceiling())?;
        let bytes = self.read_numbers(self.position(variable)?, stored.dtype, region)?;
        Array::from_bytes(stored.dtype, region.shape.clone(), bytes).ok_or_else(|| super::wrong_length(self.window.url(), variable))
    }
}

impl NetCdf3 {
    fn read_numbers(&self, position: usize, dtype: DataType, region: &Region) -> Result<Vec<u8>, SourceError> {
        let file = self.library()?;
        let failed = |error: netcdf_reader::Error| library_error(self.window.url(), error);
        let name = file.variables().map_err(failed)?.get(position).map_or_else(String::new, |variable| variable.name().to_owned());
        let selections =
            (0..region.rank()).map(|axis| NcSliceInfoElem::Slice { start: region.start[axis], end: region.end(axis), step: 1 });
        let selection = NcSliceInfo { selections: selections.collect() };
        /// Reads one type and gives its bytes.
        macro_rules! read {
            ($native:ty) => {
                file.read_variable_slice::<$native>(&name, &selection)
                    .map(|array| array.iter().flat_map(|value| value.to_ne_bytes()).collect())
            };
        }
        match dtype {
            DataType::Int8 => read!(i8),
            DataType::Int16 => read!(i16),
            DataType::Int32 => read!(i32),
            DataType::Int64 => read!(i64),
            DataType::UInt8 => read!(u8),
            DataType::UInt16 => read!(u16),
            DataType::UInt32 => read!(u32),
            DataType::UInt64 => read!(u64),
            DataType::Float32 => read!(f32),
            DataType::Float64 => read!(f64),
            DataType::Char | DataType::String => Ok(Vec::new()),
        }
        .map_err(failed)
    }
}

fn library_error(url: &str, error: netcdf_reader::Error) -> SourceError {
    match error {
        netcdf_reader::Error::Hdf5(error) => super::hdf5::library_error(url, error),
        other => SourceError::Corrupt { url: url.to_owned(), message: other.to_string() },
    }
}
