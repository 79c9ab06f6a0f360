//! From a format and a URL to what writes and reads there.
//!
//! The one place that knows which formats are built in. Invariant: what is read through `store` is what was written through
//! `target`, by Zarr key, before and after a commit.

use std::sync::Arc;

use super::zarr::ZarrTarget;
use super::{Intent, Target, TargetError};
use crate::recipe::OutputFormat;
use crate::store::{self, Access, TargetStore};

#[cfg(feature = "icechunk")]
use super::icechunk::{IcechunkTarget, is_repository};

/// A build without the feature makes none, and cannot read others'.
#[cfg(not(feature = "icechunk"))]
fn is_repository(_: &dyn TargetStore) -> Result<bool, store::StoreError> {
    Ok(false)
}

/// A place opened to be written in one format.
pub struct Opened {
    /// Where objects and schema go.
    pub target: Arc<dyn Target>,
    /// The same place, by Zarr key.
    pub store: Arc<dyn TargetStore>,
    #[cfg(feature = "icechunk")]
    repository: Option<Arc<IcechunkTarget>>,
}

/// Opens a place to be written. Asks no server yet.
///
/// # Errors
/// [`TargetError::Store`]; [`TargetError::Unsupported`] for a format that this build has not.
pub fn open(format: OutputFormat, url: &str, access: &Access) -> Result<Opened, TargetError> {
    if format == OutputFormat::Icechunk {
        return repository(url, access);
    }
    let store = store::target(url, access)?;
    let target = Arc::new(ZarrTarget::new(Arc::clone(&store), format));
    Ok(Opened {
        target,
        store,
        #[cfg(feature = "icechunk")]
        repository: None,
    })
}

#[cfg(feature = "icechunk")]
fn repository(url: &str, access: &Access) -> Result<Opened, TargetError> {
    let repository = Arc::new(IcechunkTarget::open(url, access)?);
    Ok(Opened {
        target: Arc::clone(&repository) as Arc<dyn Target>,
        store: Arc::clone(&repository) as Arc<dyn TargetStore>,
        repository: Some(repository),
    })
}

#[cfg(not(feature = "icechunk"))]
fn repository(url: &str, _: &Access) -> Result<Opened, TargetError> {
    Err(super::unsupported(&store::shown(url), format!("Icechunk is not in this build of gristmill; {}", super::WITHOUT_ICECHUNK)))
}

impl Opened {
    /// Says what the next commit is, to a format that writes it down.
    pub fn begin(&self, intent: Intent) {
        #[cfg(feature = "icechunk")]
        if let Some(repository) = &self.repository {
            repository.intend(intent);
        }
        #[cfg(not(feature = "icechunk"))]
        drop(intent);
    }
}

/// Opens what is at a place, to be read by Zarr key: `main` of a repository, else the objects themselves.
///
/// # Errors
/// [`TargetError::Store`], [`TargetError::Metadata`].
pub fn existing(url: &str, access: &Access) -> Result<Arc<dyn TargetStore>, TargetError> {
    let objects = store::target(url, access)?;
    if is_repository(&*objects)? { Ok(repository(url, access)?.store) } else { Ok(objects) }
}

/// True if there is an Icechunk repository at a place, and this build can write it: a new dataset is then one more commit.
///
/// # Errors
/// [`TargetError::Store`].
pub fn keeps_history(url: &str, access: &Access) -> Result<bool, TargetError> {
    let objects = store::target(url, access)?;
    Ok(is_repository(&*objects)?)
}
