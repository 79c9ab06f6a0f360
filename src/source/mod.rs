//! Source files: sniffed, opened, described.
//!
//! One file per format. A source says what a file holds and where the bytes are; decoding the bulk of them is `codec` and
//! `work`. Invariant: foreign bytes can make any call here fail, but never panic, hang or return invented values.

pub mod ceiling;
pub mod fetch;
pub mod fill;
mod hdf5;
mod names;
mod netcdf3;
#[cfg(feature = "netcdf-c")]
pub mod netcdf_c;
pub mod opendap;
mod sniff;
mod window;

pub use window::parsing;

use std::sync::Arc;

use bytes::Bytes;
use ceiling::Ceiling;

use crate::array::{Array, DataType};
use crate::dataset::Schema;
use crate::grid::Region;
use crate::layout::Stored;
use crate::recipe::diagnostic::Code;
use crate::store::{Head, SourceStore, shown};

/// Opens the file at `url`: sniffs its format and reads its headers, nothing more.
///
/// # Errors
/// [`SourceError::Store`] if the file cannot be read, `Format` if it is not one of ours, `Truncated` if its end is missing,
/// `Corrupt` if it is damaged, `TooLarge` if its headers claim more memory than there is.
pub fn open(store: &Arc<dyn SourceStore>, url: &str) -> Result<Box<dyn Source>, SourceError> {
    let (head, start) = store.begin(url)?;
    open_begun(store, url, (&head, start), Ceiling::default())
}

/// [`open`] for a file that the store has just begun: `head` and `start` are what it gave. No call on the source takes more memory
/// for what the file claims than `ceiling` allows.
///
/// # Errors
/// As [`open`].
pub fn open_begun(
    store: &Arc<dyn SourceStore>,
    url: &str,
    (head, start): (&Head, Bytes),
    ceiling: Ceiling,
) -> Result<Box<dyn Source>, SourceError> {
    if let Some(dataset) = opendap::open(store, url, &start, ceiling) {
        return dataset.map(|opened| Box::new(opened) as Box<dyn Source>);
    }
    let size = head.size.ok_or_else(|| SourceError::Format {
        url: url.to_owned(),
        message: "the server does not tell the size of the file, so it cannot be read by ranges; download it and use the local file"
            .to_owned(),
    })?;
    let window = Arc::new(window::Window::new(Arc::clone(store), url, (size, start), ceiling));
    let format = sniff::sniff(&window)?;
    let opened = match format {
        Format::NetCdf3 => netcdf3::open(window).map(|opened| Box::new(opened) as Box<dyn Source>),
        Format::Hdf5 => hdf5::open(window).map(|opened| Box::new(opened) as Box<dyn Source>),
        // No bytes of a file say that.
        Format::Dap2 | Format::Dap4 => {
            Err(SourceError::Format { url: url.to_owned(), message: "it is a dataset without a description".to_owned() })
        }
    };
    #[cfg(feature = "netcdf-c")]
    let opened = opened.or_else(|error| netcdf_c::instead(store, url, format, error));
    let opened = opened?;
    names::distinct(url, opened.schema())?;
    Ok(opened)
}

/// How a file is laid out, told by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The netCDF formats classic, 64-bit offset and CDF-5.
    NetCdf3,
    /// netCDF-4 or any HDF5.
    Hdf5,
    /// A dataset of an OPeNDAP server, in its protocol 2.0.
    Dap2,
    /// The same in protocol 4.0.
    Dap4,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The bytes could not be read.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The file is not of a format we read; says what it looks like.
    #[error("{}: {message}", shown(url))]
    Format {
        /// The file.
        url: String,
        /// What it is instead, and what to do.
        message: String,
    },
    /// The file is of a known format, but its end is missing.
    #[error("{}: {message}", shown(url))]
    Truncated {
        /// The file.
        url: String,
        /// What is missing, and what to do.
        message: String,
    },
    /// The file is of a known format, but damaged.
    #[error("{}: {message}", shown(url))]
    Corrupt {
        /// The file.
        url: String,
        /// Where and how.
        message: String,
    },
    /// The file claims more memory at once than there is.
    #[error("{}: {message}", shown(url))]
    TooLarge {
        /// The file.
        url: String,
        /// What is too large, and what to do.
        message: String,
    },
    /// A variable of a type or filter that we do not read.
    #[error("{}: variable `{variable}`: {message}", shown(url))]
    Unsupported {
        /// The file.
        url: String,
        /// The variable.
        variable: String,
        /// What is not supported, and what to do.
        message: String,
    },
}

impl SourceError {
    /// What `docs/errors.md` calls it; decides the exit code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Store(error) => error.code(),
            Self::Format { .. } => Code::SourceNotData,
            Self::Corrupt { .. } | Self::Truncated { .. } => Code::SourceCorrupt,
            Self::Unsupported { .. } => Code::SourceUnsupported,
            Self::TooLarge { .. } => Code::MemoryTooSmall,
        }
    }
}

/// One opened input.
pub trait Source: Send + Sync {
    /// What format it is.
    fn format(&self) -> Format;

    /// What it holds, groups included: names below the root carry their group's path (`product/no2`).
    /// Variables of types that no array can hold (compound, opaque, reference, …) are left out and listed by [`Source::refused`].
    fn schema(&self) -> &Schema;

    /// Variables left out of the schema, with the reason.
    fn refused(&self) -> &[(String, String)];

    /// Where the bytes of a variable are.
    ///
    /// # Errors
    /// [`SourceError::Unsupported`] for unknown filters, [`SourceError::Corrupt`] for damaged indexes, [`SourceError::TooLarge`] for
    /// indexes of more chunks than there is memory for.
    fn stored(&self, variable: &str) -> Result<Stored, SourceError>;

    /// Values of a box, through the format library's own high-level read: for texts, and as the independent second reader of
    /// verification. Raw: nothing unpacked, nothing masked.
    ///
    /// # Errors
    /// As [`Source::stored`].
    fn read(&self, variable: &str, region: &Region) -> Result<Array, SourceError>;
}

/// `region` must lie inside `shape`.
fn check_region(url: &str, variable: &str, shape: &[u64], region: &Region) -> Result<(), SourceError> {
    let inside = region.rank() == shape.len()
        && region
            .start
            .iter()
            .zip(&region.shape)
            .zip(shape)
            .all(|((start, length), whole)| start.checked_add(*length).is_some_and(|end| end <= *whole));
    if inside {
        return Ok(());
    }
    let message = format!("a box at {:?} of shape {:?} does not lie inside its shape {shape:?}", region.start, region.shape);
    Err(SourceError::Unsupported { url: url.to_owned(), variable: variable.to_owned(), message })
}

/// Bytes of a box of values of a variable, if they may be held at once; elements without a fixed size count as a reference.
fn check_size(url: &str, variable: &str, dtype: DataType, region: &Region, ceiling: Ceiling) -> Result<(), SourceError> {
    let item = if dtype == DataType::String { size_of::<String>() } else { dtype.size() } as u64;
    ceiling.check(url, &format!("variable `{variable}`: its values"), region.elements().saturating_mul(item))
}

fn no_such_variable(url: &str, variable: &str, schema: &Schema) -> SourceError {
    let names: Vec<&str> = schema.variables.iter().map(|found| found.name.as_str()).take(20).collect();
    let message = format!("there is no such variable; the file has {}", names.join(", "));
    SourceError::Unsupported { url: url.to_owned(), variable: variable.to_owned(), message }
}

fn wrong_length(url: &str, variable: &str) -> SourceError {
    SourceError::Corrupt {
        url: url.to_owned(),
        message: format!("variable `{variable}`: the number of values read is not that of its shape"),
    }
}
