//! NetCDF-4 and other HDF5 files.
//!
//! Groups, types and indexes are parsed by hdf5-reader's public low-level modules; names of dimensions, layouts and fill values
//! are ours. [`Source::read`] is the library's own read, so that the two check each other. Invariant: what no array can hold is
//! listed as refused, with the reason; nothing is left out silently.

mod attributes;
mod dimensions;
mod layout;
mod names;
mod numbers;
mod raw_layout;
mod raw_type;
mod texts;
mod tree;
mod types;

use std::sync::Arc;

use attributes::Owner;
use hdf5_reader::error::Error;
use hdf5_reader::{Dataset, Hdf5File, OpenOptions};
use layout::{LayoutError, Storage};
use texts::TextError;
use types::Element;

use super::window::Window;
use super::{Format, Source, SourceError, fill};
use crate::array::{Array, DataType, FillValue, Placed, Scalar, copy_box};
use crate::dataset::{Dimension, Encoding, Schema, Variable};
use crate::grid::{Region, Shape, positions, strides};
use crate::layout::{ByteOrder, Layout, Stored};

/// Opening a file may read so many times its bytes, and so many besides: headers, heaps and indexes are looked at again and again.
const OPENING: (u64, u64) = (16, 256 << 20);
/// Largest box of texts to ask for at once.
const LARGEST_TEXTS: u64 = 64 << 20;

/// Most raw bytes of texts to read at once, and most bytes of a variable that the library can only read whole.
const LARGEST_READ: u64 = 16 << 20;

/// Largest header of one object, continuations included.
const LARGEST_HEADER: usize = 64 << 20;

/// An open HDF5 file.
pub(super) struct Hdf5 {
    window: Arc<Window>,
    file: Hdf5File,
    schema: Schema,
    refused: Vec<(String, String)>,
    /// One per variable of the schema.
    held: Vec<Held>,
}

/// What is kept of a variable besides its description.
struct Held {
    dataset: Dataset,
    element: Element,
    /// With unlimited dimensions at the length of the longest variable.
    shape: Shape,
    /// The declared fill value as the file stores it, or else the value of numbers that were never written.
    fill: Fill,
    /// True if the library can slice it by its number type.
    plain: bool,
    /// True if the library cannot read it at all.
    ours_only: bool,
}

/// What elements are that were never written.
///
/// As netCDF-C reads them: what the header declares; else zeros, the default of HDF5 (`H5Pset_fill_value`), inside the shape that the
/// dataset is stored with, and netCDF's default beyond it, where an unlimited dimension is longer than the dataset (`nc4_get_vars`).
/// Without declared value and never filled (`NC_NOFILL`) they are undefined for netCDF-C: netCDF's default tells that best.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fill {
    Declared(Vec<u8>),
    Zeros,
    /// netCDF's default, beyond what is stored.
    Beyond,
    /// netCDF's default, for what is undefined.
    Undefined,
}

impl Fill {
    fn find(dataset: &Dataset, storage: &Storage, shape: &[u64], netcdf4: bool) -> Self {
        match &storage.fill {
            Some(value) => Self::Declared(value.clone()),
            None if netcdf4 && storage.never_filled => Self::Undefined,
            None if netcdf4 && dataset.shape() != shape => Self::Beyond,
            None => Self::Zeros,
        }
    }

    /// Of one number, in the machine's byte order.
    fn bytes(&self, element: Element) -> Vec<u8> {
        match self {
            Self::Declared(value) if value.len() == element.dtype.size() => {
                let mut value = value.clone();
                crate::codec::swap_to_native(&mut value, element.dtype.size(), element.order);
                value
            }
            Self::Beyond | Self::Undefined => fill::netcdf_default(element.dtype),
            Self::Declared(_) | Self::Zeros => fill::zero(element.dtype),
        }
    }
}

/// Opens the HDF5 file behind `window`.
pub(super) fn open(window: Arc<Window>) -> Result<Hdf5, SourceError> {
    let failed = |error| library_error(window.url(), error);
    // Every read is its own; nothing read once is read again soon enough to be worth the memory.
    let most = usize::try_from(window.ceiling().bytes()).unwrap_or(usize::MAX);
    let options = OpenOptions {
        chunk_cache_bytes: 0,
        max_read_bytes: most,
        max_chunk_bytes: most,
        max_object_header_bytes: most.min(LARGEST_HEADER),
        ..OpenOptions::default()
    };
    let opening = OPENING.0.saturating_mul(window.size()).saturating_add(OPENING.1);
    let file = window.parse(opening, || Hdf5File::from_storage_with_options(window.clone(), options)).map_err(failed)?;
    check_size(&file, &window)?;
    let nodes = window.parse(opening, || tree::walk(&file, window.ceiling())).map_err(failed)?;
    let netcdf4 = tree::is_netcdf4(&nodes);
    let mut reader = Reader { file: &file, netcdf4, schema: Schema::default(), refused: Vec::new(), held: Vec::new() };
    window.parse(opening, || reader.describe(&nodes)).map_err(failed)?;
    let Reader { schema, refused, held, .. } = reader;
    Ok(Hdf5 { window, file, schema, refused, held })
}

/// The superblock says where the file ends (HDF5 spec II.A, "End of File Address").
fn check_size(file: &Hdf5File, window: &Window) -> Result<(), SourceError> {
    let end = file.superblock().eof_address;
    if end <= window.size() || hdf5_reader::io::Cursor::is_undefined_offset(end, file.superblock().offset_size) {
        return Ok(());
    }
    let message = format!("truncated: its header says {end} bytes but the file has {}; fetch it again", window.size());
    Err(SourceError::Truncated { url: window.url().to_owned(), message })
}

struct Reader<'a> {
    file: &'a Hdf5File,
    netcdf4: bool,
    schema: Schema,
    refused: Vec<(String, String)>,
    held: Vec<Held>,
}

impl Reader<'_> {
    fn describe(&mut self, nodes: &[tree::Node]) -> Result<(), Error> {
        let dimensions = dimensions::find(nodes);
        for (at, node) in nodes.iter().enumerate() {
            let attributes = attributes::translate(&node.group.attributes()?, Owner::Group(&node.group), &node.path, &mut self.refused);
            if node.path.is_empty() {
                self.schema.attributes = attributes;
            } else {
                self.schema.groups.insert(node.path.clone(), attributes);
            }
            for (number, dataset) in node.datasets.iter().enumerate() {
                if let Some(Some(axes)) = dimensions.of.get(&(at, number)) {
                    let axes: Vec<&Dimension> = axes.iter().filter_map(|&axis| dimensions.all.get(axis)).collect();
                    self.variable(node.join(dataset.name()), dataset, &axes)?;
                }
            }
        }
        self.schema.dimensions = dimensions.all;
        Ok(())
    }

    fn variable(&mut self, name: String, dataset: &Dataset, axes: &[&Dimension]) -> Result<(), Error> {
        let element = match types::translate(dataset.dtype()) {
            Ok(element) => element,
            Err(reason) => {
                self.refused.push((name, reason));
                return Ok(());
            }
        };
        if element.text.is_none() && !raw_type::is_plain(self.file, dataset) {
            self.refused.push((
                name,
                "its numbers do not fill their bytes as a machine's do (HDF5 precision, bit offset or float format)".to_owned(),
            ));
            return Ok(());
        }
        let storage = layout::storage(self.file, dataset)?;
        if storage.null {
            self.refused.push((name, "it has no values (null dataspace)".to_owned()));
            return Ok(());
        }
        let shape: Shape = axes.iter().map(|axis| axis.length).collect();
        let fill = Fill::find(dataset, &storage, &shape, self.netcdf4);
        let found = attributes::translate(&dataset.attributes(), Owner::Dataset(dataset), &name, &mut self.refused);
        let mut variable = Variable {
            name,
            dtype: element.dtype,
            dimensions: axes.iter().map(|axis| axis.name.clone()).collect(),
            attributes: found,
            coordinate: false,
            encoding: encoding(dataset, element, &storage, &fill),
        };
        variable.coordinate = variable.is_index();
        self.schema.variables.push(variable);
        let plain = matches!(dataset.dtype(), hdf5_core::Datatype::FixedPoint { .. } | hdf5_core::Datatype::FloatingPoint { .. });
        let ours_only = storage.mistaken || storage.edges_unfiltered;
        self.held.push(Held { dataset: dataset.clone(), element, shape, fill, plain, ours_only });
        Ok(())
    }
}

fn encoding(dataset: &Dataset, element: Element, storage: &Storage, fill: &Fill) -> Encoding {
    Encoding {
        chunks: dataset.chunks().map(|lengths| lengths.into_iter().map(u64::from).collect()),
        fill: Scalar::from_bytes(element.dtype, &fill.bytes(element)).map(FillValue::Number),
        filters: storage.filters.iter().map(crate::codec::name).collect(),
        ..Encoding::default()
    }
}

impl Hdf5 {
    fn held(&self, variable: &str) -> Result<&Held, SourceError> {
        let position = self.schema.variables.iter().position(|found| found.name == variable);
        if let Some(held) = position.and_then(|position| self.held.get(position)) {
            return Ok(held);
        }
        match self.refused.iter().find(|(name, _)| name == variable) {
            Some((_, reason)) => Err(self.unsupported(variable, format!("{reason}; drop it in the recipe"))),
            None => Err(super::no_such_variable(self.window.url(), variable, &self.schema)),
        }
    }

    fn unsupported(&self, variable: &str, message: String) -> SourceError {
        SourceError::Unsupported { url: self.window.url().to_owned(), variable: variable.to_owned(), message }
    }

    fn too_large(&self, variable: &str, message: &str) -> SourceError {
        let message = format!("variable `{variable}`: {message}; give more `--memory`, or drop the variable");
        SourceError::TooLarge { url: self.window.url().to_owned(), message }
    }

    fn corrupt(&self, variable: &str, message: &str) -> SourceError {
        SourceError::Corrupt { url: self.window.url().to_owned(), message: format!("variable `{variable}`: {message}") }
    }

    /// The layout of the raw elements, whatever their type.
    fn raw_layout(&self, variable: &str, held: &Held, item: u64) -> Result<Layout, SourceError> {
        let storage = layout::storage(&self.file, &held.dataset).map_err(|error| library_error(self.window.url(), error))?;
        if let Some(filter) = storage.filters.iter().find(|filter| !crate::codec::is_supported(filter)) {
            let name = crate::codec::name(filter);
            return Err(self
                .unsupported(variable, format!("filter `{name}` is not supported; drop the variable, or rewrite the file with deflate")));
        }
        let mut found = Err(LayoutError::Corrupt("its layout was not looked at".to_owned()));
        // An index of chunks is kept at several times its size.
        let parsed = self.window.parse(self.window.ceiling().bytes() / 2, || {
            found = layout::layout(&self.file, (&held.dataset, &storage), &held.shape, item, self.window.ceiling());
            Ok(())
        });
        parsed.map_err(|error| library_error(self.window.url(), error))?;
        found.map_err(|error| match error {
            LayoutError::Library(error) => library_error(self.window.url(), error),
            LayoutError::Corrupt(message) => self.corrupt(variable, &message),
            LayoutError::Unsupported(message) => self.unsupported(variable, message),
            LayoutError::TooLarge(message) => self.too_large(variable, &message),
        })
    }

    fn blank(held: &Held) -> Stored {
        let fill = held.fill.bytes(held.element);
        Stored { dtype: held.element.dtype, order: held.element.order, shape: held.shape.clone(), fill, layout: Layout::Unwritten }
    }

    fn read_texts(&self, variable: &str, held: &Held, kind: types::TextKind, region: &Region) -> Result<Array, SourceError> {
        let element = texts::element_size(&held.dataset, kind);
        let layout = self.raw_layout(variable, held, element)?;
        let declared = if let Fill::Declared(value) = &held.fill { Some(value.as_slice()) } else { None };
        let wide = texts::as_bytes(&Stored { order: ByteOrder::Little, ..Self::blank(held) }, layout, element, declared);
        let ceiling = self.window.ceiling();
        let (mut all, mut left) = (Vec::new(), ceiling.bytes());
        for part in texts::parts(region, element, LARGEST_READ.min(ceiling.bytes())) {
            let part = texts::widened(&part, element);
            let raw = super::fetch::read_stored_within(self.window.store(), self.window.url(), variable, (&wide, &part), ceiling)?;
            all.extend(texts::decode(&held.dataset, kind, &raw, &mut left).map_err(|error| match error {
                TextError::Lost(message) => self.corrupt(variable, &message),
                TextError::TooLong => self.too_large(variable, "its texts take more memory at once than is allowed"),
            })?);
        }
        Array::from_texts(region.shape.clone(), all).ok_or_else(|| self.corrupt(variable, "it has fewer texts than its shape says"))
    }

    fn read_numbers(&self, variable: &str, held: &Held, region: &Region) -> Result<Array, SourceError> {
        let failed = |error| library_error(self.window.url(), error);
        let stored = self.stored(variable)?;
        let bytes = crate::grid::elements(&held.shape).saturating_mul(stored.dtype.size() as u64);
        let whole = !held.plain && bytes > LARGEST_READ;
        if held.ours_only || whole || matches!(stored.layout, Layout::Unwritten) {
            let ceiling = self.window.ceiling();
            return super::fetch::read_stored_within(self.window.store(), self.window.url(), variable, (&stored, region), ceiling);
        }
        let dataset = held.dataset.clone().with_padded_shape(&held.shape).map_err(failed)?;
        let mut bytes = numbers::read(&dataset, held.element.dtype, held.plain, region).map_err(failed)?;
        fill_unwritten(&stored, region, &mut bytes).map_err(|message| self.corrupt(variable, &message))?;
        Array::from_bytes(held.element.dtype, region.shape.clone(), bytes).ok_or_else(|| super::wrong_length(self.window.url(), variable))
    }
}

/// The library gives zeros for chunks that were never written, where the file declares no fill value.
fn fill_unwritten(stored: &Stored, region: &Region, bytes: &mut [u8]) -> Result<(), String> {
    let Layout::Chunked(table) = &stored.layout else { return Ok(()) };
    for index in positions(&table.grid.touching(region)) {
        let entry = table.entries.get(table.grid.number(&index) as usize);
        let Some(piece) = table.grid.region(&index).intersect(region).filter(|_| entry.is_none_or(crate::layout::ChunkEntry::is_unwritten))
        else {
            continue;
        };
        let inside = piece.relative_to(&region.start);
        let signed: Vec<i64> = strides(&region.shape).iter().map(|&stride| stride as i64).collect();
        let offset = inside.start.iter().zip(strides(&region.shape)).map(|(start, stride)| start * stride).sum();
        let same = Placed { offset: 0, strides: vec![0; region.rank()] };
        let target = Placed { offset, strides: signed };
        copy_box(stored.dtype.size(), &piece.shape, (&stored.fill, &same), (bytes, &target)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

impl Source for Hdf5 {
    fn format(&self) -> Format {
        Format::Hdf5
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn refused(&self) -> &[(String, String)] {
        &self.refused
    }

    fn stored(&self, variable: &str) -> Result<Stored, SourceError> {
        let held = self.held(variable)?;
        let layout = match held.element.text {
            Some(_) => Layout::Free { max_bytes: LARGEST_TEXTS, server: None },
            None => self.raw_layout(variable, held, held.element.dtype.size() as u64)?,
        };
        let shorter = held.fill == Fill::Beyond && held.element.text.is_none();
        if shorter && layout::has_unwritten(&layout, held.dataset.shape(), &held.shape) {
            let message = "it is shorter than its dimension and declares no fill value, so that what was never written has two values; \
                           rewrite the file with `nccopy`";
            return Err(self.unsupported(variable, message.to_owned()));
        }
        Ok(Stored { layout, ..Self::blank(held) })
    }

    fn read(&self, variable: &str, region: &Region) -> Result<Array, SourceError> {
        let held = self.held(variable)?;
        super::check_region(self.window.url(), variable, &held.shape, region)?;
        super::check_size(self.window.url(), variable, held.element.dtype, region, self.window.ceiling())?;
        match held.element.text {
            Some(kind) => self.read_texts(variable, held, kind, region),
            None if region.is_empty() => Ok(empty(held.element.dtype, region)),
            None => self.read_numbers(variable, held, region),
        }
    }
}

fn empty(dtype: DataType, region: &Region) -> Array {
    Array { dtype, shape: region.shape.clone(), values: crate::array::Values::Bytes(Vec::new()) }
}

/// An error of the library: a broken connection stays one, an unknown feature is not damage.
pub(super) fn library_error(url: &str, error: Error) -> SourceError {
    let error = match super::window::store_error(error) {
        Ok(store) => return SourceError::Store(store),
        Err(error) => error,
    };
    let message = error.to_string();
    if asks_too_much(&error) {
        let message =
            format!("{message} in its HDF5 structure is more than memory allows; it is damaged or hostile, or needs more `--memory`");
        return SourceError::TooLarge { url: url.to_owned(), message };
    }
    if ends_early(&error) {
        let message = format!("truncated, or the HDF5 structure is damaged: {message}; fetch the file again");
        return SourceError::Truncated { url: url.to_owned(), message };
    }
    if message.contains("unsupported") {
        return SourceError::Format {
            url: url.to_owned(),
            message: format!("it uses a part of HDF5 that is not read: {message}; rewrite it with `h5repack` or `nccopy`"),
        };
    }
    SourceError::Corrupt { url: url.to_owned(), message: format!("the HDF5 structure is damaged: {message}; fetch the file again") }
}

/// True if the file claims more than there is memory for.
fn asks_too_much(error: &Error) -> bool {
    match error {
        Error::ResourceLimit(_) => true,
        Error::Context { source, .. } => asks_too_much(source),
        _ => false,
    }
}

/// True if something lies behind the end of the file.
fn ends_early(error: &Error) -> bool {
    match error {
        Error::UnexpectedEof { .. } | Error::OffsetOutOfBounds(_) => true,
        Error::Context { source, .. } => ends_early(source),
        _ => false,
    }
}
