//! Taking away what was found.
//!
//! Receipts go before the objects they tell of, a store's root before its chunks, and our own note of a version last. Invariant:
//! whatever is still there after a kill is found again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::Swept;
use crate::run::state::State;
use crate::run::versions::kept::Kept;
use crate::run::{RunError, parallel};
use crate::store::{TargetStore, Upload, Uploads};

/// Deletions under way at a time.
const ABREAST: usize = 16;

/// Deletions after which it is asked again whether the target is still ours.
const PAGE: usize = 1000;

/// One thing to do.
#[derive(Clone)]
pub(super) enum Deed {
    /// Deletes the first of these objects, then the others.
    Objects(Arc<dyn TargetStore>, Vec<String>),
    /// Removes files of our own making.
    Files(Vec<PathBuf>),
    /// Removes a folder with everything in it.
    Folder(PathBuf),
    /// Removes the empty folders below one, and itself if it is then empty.
    EmptyFolders(PathBuf),
    /// Aborts uploads in parts.
    Uploads(Arc<dyn Uploads>, Vec<Upload>),
    /// Takes a version off the list.
    Version(String),
}

impl std::fmt::Debug for Deed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Objects(_, keys) => write!(formatter, "Objects({keys:?})"),
            Self::Files(paths) => write!(formatter, "Files({paths:?})"),
            Self::Folder(path) => write!(formatter, "Folder({path:?})"),
            Self::EmptyFolders(path) => write!(formatter, "EmptyFolders({path:?})"),
            Self::Uploads(_, uploads) => write!(formatter, "Uploads({uploads:?})"),
            Self::Version(name) => write!(formatter, "Version({name})"),
        }
    }
}

/// Does everything that a search proposed.
pub(super) fn sweep(swept: &mut Swept, state: &State, stop: &AtomicBool) -> Result<(), RunError> {
    for item in &mut swept.items {
        // A search may take long.
        state.still_ours()?;
        for deed in std::mem::take(&mut item.deeds) {
            deed.carry_out(state, stop)?;
        }
    }
    Ok(())
}

impl Deed {
    fn carry_out(&self, state: &State, stop: &AtomicBool) -> Result<(), RunError> {
        match self {
            Self::Objects(store, keys) => {
                let Some((first, others)) = keys.split_first() else { return Ok(()) };
                state.erase(&**store, first)?;
                others.chunks(PAGE).try_for_each(|page| {
                    // Many take long: another may hold the target by now, and have made some of them anew.
                    state.still_ours()?;
                    parallel::each(ABREAST, page.len(), stop, &|number| state.erase(&**store, &page[number]))
                })
            }
            Self::Files(paths) => paths.iter().try_for_each(|path| done(path, std::fs::remove_file(path))),
            Self::Folder(path) => done(path, std::fs::remove_dir_all(path)),
            Self::EmptyFolders(path) => {
                remove_empty(path);
                Ok(())
            }
            Self::Uploads(store, uploads) => Ok(uploads.iter().try_for_each(|upload| store.abort(upload))?),
            Self::Version(name) => {
                let Some(mut kept) = Kept::read(state)? else { return Ok(()) };
                kept.versions.retain(|version| version.name != *name);
                kept.save(state)
            }
        }
    }
}

fn done(path: &std::path::Path, result: std::io::Result<()>) -> Result<(), RunError> {
    match result {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(RunError::Folder { path: path.to_owned(), cause }),
        _ => Ok(()),
    }
}

/// A folder that is not empty stays, as does one that somebody fills meanwhile.
fn remove_empty(folder: &std::path::Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    let _not_empty = std::fs::remove_dir(folder);
}
