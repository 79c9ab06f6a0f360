//! Source files: sniffed, opened, described.
//!
//! One file per format. A source says what a file holds and where the bytes are; decoding the bulk of them is `codec` and
//! `work`. Invariant: foreign bytes can make any call here fail, but never panic, hang or return invented values.

use crate::array::Array;
use crate::dataset::Schema;
use crate::grid::Region;
use crate::layout::Stored;

/// How a file is laid out, told by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// NetCDF classic, 64-bit offset or CDF-5.
    NetCdf3,
    /// NetCDF-4 or any HDF5.
    Hdf5,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The bytes could not be read.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The file is not of a format we read; says what it looks like.
    #[error("{url}: {message}")]
    Format {
        /// The file.
        url: String,
        /// What it is instead, and what to do.
        message: String,
    },
    /// The file is of a known format, but damaged or truncated.
    #[error("{url}: {message}")]
    Corrupt {
        /// The file.
        url: String,
        /// Where and how.
        message: String,
    },
    /// A variable of a type or filter that we do not read.
    #[error("{url}: variable `{variable}`: {message}")]
    Unsupported {
        /// The file.
        url: String,
        /// The variable.
        variable: String,
        /// What is not supported, and what to do.
        message: String,
    },
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
    /// [`SourceError::Unsupported`] for unknown filters, [`SourceError::Corrupt`] for damaged indexes.
    fn stored(&self, variable: &str) -> Result<Stored, SourceError>;

    /// Values of a box, through the format library's own high-level read: for texts, and as the independent second reader of
    /// verification. Raw: nothing unpacked, nothing masked.
    ///
    /// # Errors
    /// As [`Source::stored`].
    fn read(&self, variable: &str, region: &Region) -> Result<Array, SourceError>;
}
