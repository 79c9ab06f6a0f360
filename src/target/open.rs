//! From a format and a URL to what writes and reads there.
//!
//! The one place that knows which formats are built in. Invariant: what is read through `store` is what was written through
//! `target`, by Zarr key, before and after a commit.

use std::sync::Arc;

use super::zarr::ZarrTarget;
use super::{Intent, Target, TargetError, Tip};
use crate::recipe::OutputFormat;
use crate::store::{self, Access, StoreError, TargetStore};

#[cfg(feature = "icechunk")]
use super::icechunk::IcechunkTarget;

/// Objects that only a repository has: the reference of `main` in version 1 of the format, and what replaced it in version 2.
const MARKS: [&str; 2] = ["refs/branch.main/ref.json", "repo"];

/// True if there is an Icechunk repository at a place, whether or not this build can read it.
///
/// # Errors
/// The store's.
pub(super) fn is_repository(objects: &dyn TargetStore) -> Result<bool, StoreError> {
    for mark in MARKS {
        if objects.head(mark)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A place opened to be written in one format. Formats without a history of their own have no tip, and nothing to finish.
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
/// [`TargetError::Store`], of kind `Policy` for a format that this build has not.
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
    let message = format!("Icechunk is not in this build of gristmill; {}", super::WITHOUT_ICECHUNK);
    Err(StoreError::new(store::ErrorKind::Policy, url, message).into())
}

impl Opened {
    /// The last commit there, where the format keeps commits and there is one.
    ///
    /// # Errors
    /// [`TargetError::Store`], [`TargetError::Metadata`].
    pub fn tip(&self) -> Result<Option<Tip>, TargetError> {
        #[cfg(feature = "icechunk")]
        if let Some(repository) = &self.repository {
            return repository.tip();
        }
        Ok(None)
    }

    /// Does what a run that was killed right after its commit could not do any more.
    ///
    /// # Errors
    /// [`TargetError::Store`], [`TargetError::Metadata`].
    pub fn finish(&self) -> Result<(), TargetError> {
        #[cfg(feature = "icechunk")]
        if let Some(repository) = &self.repository {
            return repository.finish();
        }
        Ok(())
    }

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
    Ok(existing_of(url, access)?.0)
}

/// As [`existing`], with the identity of the plan that made it where the place itself tells: of a repository, which is empty
/// where somebody else's commit is the last one.
///
/// # Errors
/// [`TargetError::Store`], [`TargetError::Metadata`].
pub fn existing_of(url: &str, access: &Access) -> Result<(Arc<dyn TargetStore>, Option<String>), TargetError> {
    let objects = store::target(url, access)?;
    if !is_repository(&*objects)? {
        return Ok((objects, None));
    }
    let opened = repository(url, access)?;
    let maker = opened.tip()?.map(|tip| tip.plan).unwrap_or_default();
    Ok((opened.store, Some(maker)))
}

/// True if there is an Icechunk repository at a place: a new dataset is then one more commit.
///
/// # Errors
/// [`TargetError::Store`].
pub fn keeps_history(url: &str, access: &Access) -> Result<bool, TargetError> {
    let objects = store::target(url, access)?;
    Ok(is_repository(&*objects)?)
}

#[cfg(all(test, not(feature = "icechunk")))]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_icechunk_says_so() {
        let refused = open(OutputFormat::Icechunk, "somewhere", &Access::default()).map(drop).unwrap_err().to_string();
        assert!(refused.contains("not in this build") && refused.contains("--features icechunk"), "{refused}");
    }
}
