//! netCDF-C, in a child process: referee of verification, and second try for HDF5 files that the pure-Rust reader cannot open.
//!
//! Only in builds with the feature `netcdf-c`, and only once a program has said that it can serve ([`use_server`]); the C library
//! has a global lock, prints what it likes and may crash, so it never runs in the process that bakes. Not a way around
//! damage: see [`may_read_instead`]. Invariant: C code is called by [`server`] alone.

mod client;
mod protocol;
pub mod server;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub use client::Server;

use super::{Format, Source, SourceError};
use crate::store::address::Address;
use crate::store::{ErrorKind, Head, SourceStore, StoreError};
use client::NetcdfC;

/// The hidden command that [`server::serve`]s.
pub const COMMAND: &str = "netcdf-c-server";

/// Files kept open: each is a process, and far ones were copied whole.
const KEPT: usize = 4;

static SERVER: OnceLock<Server> = OnceLock::new();
static OPEN: Mutex<VecDeque<(String, Head, NetcdfC)>> = Mutex::new(VecDeque::new());

/// Says which program serves, for the rest of the process. Without it nothing here is ever used.
pub fn use_server(server: Server) {
    // A second call (tests) keeps the first server.
    let _ = SERVER.set(server);
}

fn chosen(url: &str) -> Result<&'static Server, SourceError> {
    let none = || SourceError::Corrupt { url: url.to_owned(), message: "no program was named that serves netCDF-C".to_owned() };
    SERVER.get().ok_or_else(none)
}

/// The second reader's name and version, `netcdf-c 4.9.0`; `None` if it cannot be had.
#[must_use]
pub fn name() -> Option<&'static str> {
    static NAME: OnceLock<Option<String>> = OnceLock::new();
    let server = SERVER.get()?;
    NAME.get_or_init(|| server.version().ok().map(|version| format!("netcdf-c {version}"))).as_deref()
}

/// Opens a local file.
///
/// # Errors
/// [`SourceError::Corrupt`] if netCDF-C cannot open it, crashes or hangs.
pub fn open(path: &Path) -> Result<Box<dyn Source>, SourceError> {
    chosen(&path.to_string_lossy())?.open(path)
}

/// Opens the file at `url`; what is not on this machine's disk is copied there first. The last few files stay open.
///
/// # Errors
/// [`SourceError::Store`] if it cannot be copied, else as [`open`].
pub fn open_url(store: &Arc<dyn SourceStore>, url: &str) -> Result<Box<dyn Source>, SourceError> {
    let server = chosen(url)?;
    let head = store.head(url)?;
    if let Some(kept) = kept(url, &head) {
        return Ok(Box::new(kept));
    }
    let opened = match local(store, url) {
        Some(path) => server.open_as(&path, url)?,
        None => open_copy(server, store, url)?,
    };
    keep(url, head, &opened);
    Ok(Box::new(opened))
}

fn local(store: &Arc<dyn SourceStore>, url: &str) -> Option<std::path::PathBuf> {
    match Address::parse(url) {
        Ok(Address::File(path)) if store.is_local(url) && path.is_file() => Some(path),
        _ => None,
    }
}

/// The copy is removed as soon as the child has it open, so that no kill leaves it behind.
fn open_copy(server: &Server, store: &Arc<dyn SourceStore>, url: &str) -> Result<NetcdfC, SourceError> {
    let unwritable = |error: std::io::Error| StoreError {
        kind: ErrorKind::NoSpace,
        url: url.to_owned(),
        message: "it cannot be copied to this machine for netCDF-C; check the folder for temporary files (TMPDIR)".to_owned(),
        cause: Some(Box::new(error)),
    };
    let mut copy = tempfile::Builder::new().prefix("gristmill-netcdf-c-").tempfile().map_err(unwritable)?;
    store.stream(url, &mut copy)?;
    server.open_as(copy.path(), url)
}

/// An open file, if it is still the same; without validators nobody knows.
fn kept(url: &str, head: &Head) -> Option<NetcdfC> {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let position = open.iter().position(|(kept, of, source)| kept == url && of == head && source.is_alive())?;
    let found = open.remove(position)?;
    open.push_back(found.clone());
    Some(found.2)
}

fn keep(url: &str, head: Head, opened: &NetcdfC) {
    if head.etag.is_none() && head.modified.is_none() {
        return;
    }
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|(kept, ..)| kept != url);
    open.push_back((url.to_owned(), head, opened.clone()));
    while open.len() > KEPT {
        open.pop_front();
    }
}

/// True if netCDF-C may try a file that our reader refused with this error.
///
/// | the file begins like | our reader says | netCDF-C may try |
/// | --- | --- | --- |
/// | neither format | anything | no: there is nothing for it to read |
/// | classic | anything | no: the format has no checksums, our parser knows all of it, and netCDF-C gives zeros for what is missing |
/// | HDF5 | truncated | no: the same |
/// | HDF5 | a connection failed | no: it would fail again |
/// | HDF5 | a part of HDF5 that is not read, a structure it makes no sense of | yes: the C library checks structure and size by itself |
///
/// A damaged chunk is found when it is read, long after this, and stays an error.
#[must_use]
pub fn may_read_instead(format: Format, error: &SourceError) -> bool {
    match (format, error) {
        (Format::NetCdf3 | Format::Dap2 | Format::Dap4, _)
        | (_, SourceError::Store(_) | SourceError::Truncated { .. } | SourceError::TooLarge { .. }) => false,
        (Format::Hdf5, SourceError::Format { .. } | SourceError::Corrupt { .. } | SourceError::Unsupported { .. }) => true,
    }
}

/// The second try for a file that our reader refused; our own error if it may not be made or fails too.
///
/// # Errors
/// `error`.
pub(super) fn instead(store: &Arc<dyn SourceStore>, url: &str, format: Format, error: SourceError) -> Result<Box<dyn Source>, SourceError> {
    if SERVER.get().is_none() || !may_read_instead(format, &error) {
        return Err(error);
    }
    match open_url(store, url) {
        Ok(opened) => {
            tracing::info!("{error}; it is read through netCDF-C instead");
            Ok(opened)
        }
        Err(second) => {
            tracing::debug!("{second}");
            Err(error)
        }
    }
}
