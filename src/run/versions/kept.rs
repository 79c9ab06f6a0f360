//! Which versions of a target there are: told by our own state, never by a listing.
//!
//! `versions.json` names them with the times that `gc` counts from; `versions/NAME.json` holds what one consists of. Invariant: a
//! version is entered before its first object is stored, and leaves only after its last is gone.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::pointer::Pointer;
use crate::dataset::Schema;
use crate::plan::Plan;
use crate::recipe::OutputFormat;
use crate::run::RunError;
use crate::run::state::State;

const KEY: &str = "versions.json";

/// The versions of a target. That there is such a list at all tells a target with versions from a plain store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::run) struct Kept {
    pub(in crate::run) versions: Vec<Version>,
}

/// One version. Times are seconds since 1970, by the clock of whoever ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::run) struct Version {
    /// Its folder below TARGET.
    pub(in crate::run) name: String,
    /// [`Plan::identity`].
    pub(in crate::run) plan: String,
    /// When a run last began to make it.
    pub(in crate::run) begun: u64,
    /// When the pointer first named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::run) published: Option<u64>,
    /// When the pointer went on to another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::run) retired: Option<u64>,
}

impl Version {
    /// Since when nobody has had a reason to touch or read it anew.
    pub(in crate::run) fn idle_since(&self) -> u64 {
        self.begun.max(self.published.unwrap_or(0)).max(self.retired.unwrap_or(0))
    }
}

/// What a version consists of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::run) struct About {
    pub(in crate::run) plan: String,
    pub(in crate::run) format: OutputFormat,
    pub(in crate::run) schema: Schema,
    /// Where objects are copied from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::run) copies: Option<CopiedFrom>,
}

/// The version that objects are copied from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::run) struct CopiedFrom {
    pub(in crate::run) version: String,
    pub(in crate::run) plan: String,
    /// Receipts that the copies may have.
    pub(in crate::run) receipts: u64,
}

/// Folder of the version that a plan makes: the first 12 digits of its identity.
pub(in crate::run) fn name_of(identity: &str) -> String {
    identity.chars().take(12).collect()
}

/// Seconds since 1970.
pub(in crate::run) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Kept {
    /// The list; `None` for a target without versions.
    pub(in crate::run) fn read(state: &State) -> Result<Option<Self>, RunError> {
        strict(state, KEY)
    }

    pub(in crate::run) fn save(&self, state: &State) -> Result<(), RunError> {
        Ok(state.put(KEY, serde_json::to_vec_pretty(self).unwrap_or_default())?)
    }

    pub(in crate::run) fn of_plan(&self, identity: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.plan == identity)
    }

    /// Notes that a run begins to make the version of a plan.
    pub(super) fn enter(&mut self, name: &str, identity: &str, now: u64) {
        if let Some(version) = self.versions.iter_mut().find(|version| version.plan == identity) {
            version.begun = now;
            return;
        }
        let (name, plan) = (name.to_owned(), identity.to_owned());
        self.versions.push(Version { name, plan, begun: now, published: None, retired: None });
    }

    /// Notes where the pointer is; true if that is news.
    pub(super) fn follow(&mut self, pointer: Option<&Pointer>, now: u64) -> bool {
        let Some(pointer) = pointer else { return false };
        let before = self.clone();
        for version in &mut self.versions {
            if version.name == pointer.version {
                version.published.get_or_insert(now);
                version.retired = None;
            } else if version.published.is_some() {
                version.retired.get_or_insert(now);
            }
        }
        *self != before
    }
}

impl About {
    pub(super) fn of(plan: &Plan, identity: &str, copies: Option<CopiedFrom>) -> Self {
        Self { plan: identity.to_owned(), format: plan.format, schema: plan.schema.clone(), copies }
    }

    pub(in crate::run) fn read(state: &State, version: &str) -> Result<Option<Self>, RunError> {
        strict(state, &key(version))
    }

    pub(super) fn save(&self, state: &State, version: &str) -> Result<(), RunError> {
        Ok(state.put(&key(version), serde_json::to_vec(self).unwrap_or_default())?)
    }
}

/// Where the state says what a version consists of.
pub(in crate::run) fn key(version: &str) -> String {
    format!("versions/{version}.json")
}

/// An object of the state that must make sense if it is there: much would be lost if it were taken for absent.
fn strict<T: serde::de::DeserializeOwned>(state: &State, key: &str) -> Result<Option<T>, RunError> {
    let Some(bytes) = state.store().get(key)? else { return Ok(None) };
    let unreadable = |cause| RunError::Conflict {
        message: format!("{}.gristmill/{key} cannot be read ({cause}); restore it, or choose another target", state.target()),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::super::pointer::Root;
    use super::*;

    #[test]
    fn times_follow_the_pointer() {
        let pointer = |version: &str| Pointer {
            version: version.into(),
            id: "x".into(),
            plan: version.into(),
            root: Root { key: "zarr.json".into(), checksum: String::new() },
            sequence: 1,
            previous: None,
        };
        let mut kept = Kept::default();
        kept.enter("a", "a", 1);
        kept.enter("b", "b", 2);
        assert!(!kept.follow(None, 3) && kept.follow(Some(&pointer("a")), 3) && !kept.follow(Some(&pointer("a")), 4));
        assert!(kept.follow(Some(&pointer("b")), 5));
        assert_eq!(kept.versions.iter().map(Version::idle_since).collect::<Vec<_>>(), [5, 5]);
        assert_eq!((kept.versions[0].retired, kept.versions[1].retired), (Some(5), None));
        // Back again: neither time of publication changes.
        assert!(kept.follow(Some(&pointer("a")), 9));
        assert_eq!((kept.versions[0].published, kept.versions[0].retired, kept.versions[1].retired), (Some(3), None, Some(9)));
        assert_eq!(name_of("0123456789abcdef0123456789abcdef"), "0123456789ab");
    }
}
