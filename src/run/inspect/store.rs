//! Zarr stores, ours and others', shown as files are.
//!
//! Not for running: a run knows its own store by its state. Invariant: nothing is written, and an object that is absent is the
//! fill value, as the Zarr specification has it.

use super::statistics::{Blocks, sum_up};
use super::{Description, Kind, Statistics, describe_schema};
use crate::dataset::{Codec, Variable};
use crate::run::with_causes;
use crate::source::SourceError;
use crate::store::address::Address;
use crate::store::{Access, ErrorKind, shown};
use crate::target::zarr::{Absent, ZarrReader};
use crate::target::{self, TargetError};

/// Opens the store at `url`; `None` if a file is there, or may be: a path that is no folder, or an address whose name tells nothing.
///
/// # Errors
/// [`SourceError::Format`] for a folder that is no store and for stores on web servers, [`SourceError::Corrupt`] if its metadata
/// makes no sense, [`SourceError::Store`].
pub fn open_store(url: &str, access: &Access) -> Result<Option<ZarrReader>, SourceError> {
    let named = std::path::Path::new(&shown(url)).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zarr"));
    match Address::parse(url)? {
        Address::File(path) if path.is_dir() => {}
        Address::Bucket { .. } if named || url.ends_with('/') => {}
        Address::Memory(_) => {}
        Address::Http(_) if named => {
            return Err(no_store(url, "Zarr stores on web servers cannot be read yet; give a path or an `s3://` URL"));
        }
        _ => return Ok(None),
    }
    let none =
        || no_store(url, "there is neither `zarr.json` nor `.zmetadata` here; give a file, or the root of a consolidated Zarr store");
    open_at(url, access)?.ok_or_else(none).map(Some)
}

/// The store below a prefix whose name does not tell that it is one; `None` unless `failed` says that no file is there.
///
/// # Errors
/// As [`open_store`], but not [`SourceError::Store`]: then `failed` says more.
pub fn open_unnamed(url: &str, access: &Access, failed: &SourceError) -> Result<Option<ZarrReader>, SourceError> {
    // Without the right to list, S3 answers 403 for a key that does not exist.
    let absent = matches!(failed, SourceError::Store(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Forbidden));
    if !absent || !matches!(Address::parse(url), Ok(Address::Bucket { .. })) {
        return Ok(None);
    }
    match open_at(url, access) {
        Err(SourceError::Store(_)) => Ok(None),
        opened => opened,
    }
}

fn open_at(url: &str, access: &Access) -> Result<Option<ZarrReader>, SourceError> {
    let opened = target::existing(url, access).and_then(|store| ZarrReader::open(store, Absent::Fill));
    opened.map_err(|error| told(url, error))
}

/// Describes an opened store, without reading values.
#[must_use]
pub fn describe_store(reader: &ZarrReader) -> Description {
    let refused: Vec<_> = reader.refused().iter().map(|(name, error)| (name.clone(), with_causes(error))).collect();
    let mut description = describe_schema(Kind::Store(reader.format()), reader.schema(), &refused);
    for (described, variable) in description.variables.iter_mut().zip(&reader.schema().variables) {
        described.filters = variable.encoding.codecs.iter().flatten().map(codec).collect();
    }
    description
}

/// As [`super::statistics`], for a variable of a store. Valid is what xarray shows: Zarr has no default fill of a type.
///
/// # Errors
/// [`SourceError::Corrupt`] for damaged objects, [`SourceError::Unsupported`] for codecs that we do not read,
/// [`SourceError::Store`].
pub fn store_statistics(url: &str, reader: &ZarrReader, variable: &Variable) -> Result<Option<Statistics>, SourceError> {
    let shape = reader.schema().shape(variable);
    // An object is fetched whole: smaller blocks would fetch it again and again.
    let object = variable.encoding.shards.as_ref().or(variable.encoding.chunks.as_ref());
    let blocks = Blocks::new(shape.clone(), object.unwrap_or(&shape));
    let missing = reader.missing(&variable.name);
    sum_up(variable, &missing.into_iter().collect::<Vec<_>>(), &blocks, |region| {
        reader.read(&variable.name, region).map_err(|error| told(url, error))
    })
}

/// `blosc cname=zstd clevel=1`.
fn codec(codec: &Codec) -> String {
    let plain = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let settings = codec.configuration.as_object().into_iter().flatten().map(|(key, value)| format!(" {key}={}", plain(value)));
    format!("{}{}", codec.name, settings.collect::<String>())
}

fn no_store(url: &str, message: &str) -> SourceError {
    SourceError::Format { url: url.to_owned(), message: message.to_owned() }
}

/// A store that is looked at is a source: what is wrong with it is no fault of ours.
fn told(url: &str, error: TargetError) -> SourceError {
    let message = with_causes(&error);
    match error {
        TargetError::Store(error) => SourceError::Store(error),
        TargetError::Unsupported { variable, message, .. } => SourceError::Unsupported { url: url.to_owned(), variable, message },
        TargetError::Codec { .. }
        | TargetError::Metadata { .. }
        | TargetError::Missing { .. }
        | TargetError::Altered { .. }
        | TargetError::Conflict { .. } => SourceError::Corrupt { url: url.to_owned(), message },
    }
}
