//! The pointer: which version of a target is the one to read.
//!
//! One small object, `TARGET/current.json`, and on a local disk also a symbolic link `TARGET/current`. Invariant: either names only
//! versions that are whole, and the object's `sequence` only ever grows: where the store can, by the store's own comparison.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::receipt::checksum;
use crate::run::RunError;
use crate::store::{Conditional, ErrorKind, PutMode, StoreError, TargetStore, Version};
use crate::target::read_back;

/// Key of the pointer, below TARGET.
pub(in crate::run) const KEY: &str = "current.json";
/// Name of the link, below TARGET.
pub(in crate::run) const LINK: &str = "current";
/// The link while it is made: named as any unfinished file.
const UNFINISHED_LINK: &str = ".current.gristmill-unfinished";

/// What `TARGET/current.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// Folder of the version below TARGET: a whole Zarr store.
    pub version: String,
    /// `id` of the recipe.
    pub id: String,
    /// [`crate::plan::Plan::identity`] of what is there.
    pub plan: String,
    /// The document that makes the version open.
    pub root: Root,
    /// One more than that of the pointer before.
    pub sequence: u64,
    /// The version that was current before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
}

/// The root's metadata of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Key below the version: `zarr.json`, or `.zmetadata`.
    pub key: String,
    /// XXH3-128 of its bytes, hexadecimal.
    pub checksum: String,
}

impl Root {
    pub(super) fn of((key, document): (String, Bytes)) -> Self {
        Self { key, checksum: checksum(&document) }
    }
}

/// What must still hold of the object when it is put.
pub(super) enum Condition {
    /// Nothing that the store could compare: the lock alone keeps others away.
    None,
    /// There is none.
    Absent,
    /// It is the very one that was read.
    Unchanged(Arc<dyn Conditional>, Version),
}

impl Pointer {
    /// The pointer of a target; `None` if there is none.
    ///
    /// # Errors
    /// [`RunError::Conflict`] if something else has its name; [`RunError::Store`].
    pub fn read(base: &dyn TargetStore, target: &str) -> Result<Option<Self>, RunError> {
        base.get(KEY)?.map(|bytes| Self::parse(&bytes, target)).transpose()
    }

    fn parse(bytes: &Bytes, target: &str) -> Result<Self, RunError> {
        let unreadable = |_| RunError::Conflict {
            message: format!("{target}/{KEY} is not a pointer that gristmill wrote; move it away, or choose another target"),
        };
        serde_json::from_slice(bytes).map_err(unreadable)
    }

    /// The pointer, and the condition under which it may be moved on: that nobody else moved it since. `creates` and `door` are what
    /// the store can do.
    ///
    /// # Errors
    /// As [`Pointer::read`].
    pub(super) fn read_to_move(
        base: &dyn TargetStore,
        (creates, door): (bool, Option<Arc<dyn Conditional>>),
        target: &str,
    ) -> Result<(Option<Self>, Condition), RunError> {
        if let Some(door) = door
            && let Some((bytes, version)) = door.read(KEY)?
        {
            return Ok((Some(Self::parse(&bytes, target)?), Condition::Unchanged(door, version)));
        }
        let seen = Self::read(base, target)?;
        let condition = if seen.is_none() && creates { Condition::Absent } else { Condition::None };
        Ok((seen, condition))
    }

    /// True if both name the same state of the same version.
    pub(super) fn names_what(&self, other: &Self) -> bool {
        (&self.version, &self.id, &self.plan, &self.root) == (&other.version, &other.id, &other.plan, &other.root)
    }

    /// Puts the pointer in its place and reads it back; false if the condition did not hold, and nothing was changed.
    pub(super) fn put(&self, base: &dyn TargetStore, condition: &Condition) -> Result<bool, RunError> {
        let before = base.get(KEY)?;
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        match condition.put(base, Bytes::from(text.clone())) {
            Err(error) if error.kind == ErrorKind::Exists => return Ok(false),
            put => put?,
        }
        read_back(base, KEY, &text, before.as_deref())?;
        Ok(true)
    }
}

impl Condition {
    fn put(&self, base: &dyn TargetStore, text: Bytes) -> Result<(), StoreError> {
        match self {
            Self::None => base.put(KEY, text, PutMode::Overwrite),
            Self::Absent => base.put(KEY, text, PutMode::Create),
            Self::Unchanged(door, version) => door.replace(KEY, text, version),
        }
    }
}

/// Lets the link of a local target name a version: in one step, so that there is always a link once there was one.
pub(super) fn link(folder: &Path, version: &str) -> std::io::Result<()> {
    let link = folder.join(LINK);
    if std::fs::read_link(&link).is_ok_and(|to| to == Path::new(version)) {
        return Ok(());
    }
    let unfinished = folder.join(UNFINISHED_LINK);
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::os::unix::fs::symlink(version, &unfinished)?;
    std::fs::rename(&unfinished, &link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_moves_in_one_step() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(UNFINISHED_LINK), "left by a killed run").unwrap();
        for version in ["a", "a", "b"] {
            link(folder.path(), version).unwrap();
            assert_eq!(std::fs::read_link(folder.path().join(LINK)).unwrap(), Path::new(version));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
