//! Where descriptions of files are remembered: beside the target, and in the operator's cache folder.
//!
//! In segments of some hundred inputs, each under the name of its first input. Segments end where the hash of an input says so, so that a file
//! more or less moves one end, not all of them. Safe for runs at the same time: a segment is stored whole or not at all, and whichever comes
//! last is as good as the other. Invariant: a segment that cannot be read is one that is not there.

use std::collections::HashMap;
use std::io::Read as _;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::record::{Place, Record, Segment};
use crate::combine::Interner;
use crate::run::RunError;
use crate::run::state::State;
use crate::store::{self, Access, PutMode, StoreError, TargetStore};

/// One input in so many ends a segment.
const ENDS: u128 = 256;
/// Most bytes of a segment unpacked: a few KB for each input, and few bytes may unpack to many.
const LARGEST: u64 = 256 << 20;
/// Longest segment.
const LONGEST: usize = 1024;

/// Where descriptions are remembered.
#[derive(Clone, Default)]
pub struct Memory {
    /// Beside the target; what fails there fails the run.
    state: Option<Arc<dyn TargetStore>>,
    /// The operator's; what fails there is done without.
    cache: Option<Arc<dyn TargetStore>>,
}

impl Memory {
    /// Remembers beside a target, and makes use of what the operator's cache folder holds; without a target, remembers there.
    ///
    /// # Errors
    /// [`RunError::Store`] if the cache folder has no name that can be used.
    pub fn of(state: Option<&State>, access: &Access) -> Result<Self, RunError> {
        let folder = access.cache_directory.as_ref().map(|folder| folder.display().to_string());
        let cache = folder.map(|folder| store::target(&folder, access)).transpose()?;
        Ok(Self { state: state.map(State::store), cache })
    }

    /// What is known of the inputs of a segment.
    pub(super) fn load(&self, first: Place, interner: &Interner) -> Result<HashMap<Place, Option<Record>>, RunError> {
        let key = key(first);
        let mut bytes = match &self.state {
            Some(state) => state.get(&key)?,
            None => None,
        };
        if bytes.is_none() {
            bytes = self.cache.as_ref().and_then(|cache| forgiven(cache.get(&key))).flatten();
        }
        Ok(bytes.and_then(|bytes| unpack(&bytes, interner)).unwrap_or_default())
    }

    /// Remembers the inputs of a segment.
    pub(super) fn save(&self, first: Place, segment: &Segment) -> Result<(), RunError> {
        let json = serde_json::to_vec(segment).unwrap_or_default();
        let packed = Bytes::from(zstd::encode_all(&json[..], 1).unwrap_or_default());
        match (&self.state, &self.cache) {
            (Some(state), _) => state.put(&key(first), packed, PutMode::Overwrite)?,
            (None, Some(cache)) => drop(forgiven(cache.put(&key(first), packed, PutMode::Overwrite))),
            (None, None) => {}
        }
        Ok(())
    }
}

/// The operator's cache folder by the XDG Base Directory Specification; `None` where there is no home either.
#[must_use]
pub fn cache_folder(environment: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let absolute = |name: &str| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("gristmill"))
}

fn forgiven<T>(result: Result<T, StoreError>) -> Option<T> {
    result.inspect_err(|error| tracing::warn!("the cache of scanned headers cannot be used: {error}")).ok()
}

fn key(first: Place) -> String {
    format!("scan/{:02x}/{first:032x}.json.zst", first >> 120)
}

fn unpack(bytes: &[u8], interner: &Interner) -> Option<HashMap<Place, Option<Record>>> {
    let mut json = Vec::new();
    zstd::Decoder::new(bytes).ok()?.take(LARGEST).read_to_end(&mut json).ok()?;
    // One that was cut off there is no JSON.
    serde_json::from_slice::<Segment>(&json).ok()?.unpack(interner)
}

/// True if some bytes are a segment that can be read: what a scan does with a file it finds, for tests that give it any.
#[must_use]
pub fn is_remembered(bytes: &[u8]) -> bool {
    unpack(bytes, &Interner::default()).is_some()
}

/// Cuts inputs into segments.
pub(super) fn segments(places: &[Place]) -> Vec<Range<usize>> {
    let mut segments = Vec::new();
    let mut start = 0;
    for (number, place) in places.iter().enumerate() {
        let end = number + 1;
        if place % ENDS == 0 || end - start == LONGEST || end == places.len() {
            segments.push(start..end);
            start = end;
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_more_moves_one_segment() {
        let place = |number: u128| xxhash_rust::xxh3::xxh3_128(&number.to_le_bytes());
        let few: Vec<Place> = (0..10_000).map(place).collect();
        let more: Vec<Place> = std::iter::once(place(77_777)).chain(few.iter().copied()).collect();
        let firsts = |places: &[Place]| segments(places).into_iter().map(|segment| places[segment.start]).collect::<Vec<_>>();
        let (before, after) = (firsts(&few), firsts(&more));
        assert!((20..200).contains(&before.len()), "{}", before.len());
        assert!(before.iter().filter(|first| !after.contains(first)).count() <= 1);
        assert_eq!(segments(&few).iter().map(ExactSizeIterator::len).sum::<usize>(), 10_000);
        assert!(segments(&[]).is_empty());
    }

    #[test]
    fn the_cache_is_where_xdg_says() {
        let from =
            |known: &[(&str, &str)]| cache_folder(&|name| known.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()));
        assert_eq!(from(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]), Some("/c/gristmill".into()));
        assert_eq!(from(&[("XDG_CACHE_HOME", "relative"), ("HOME", "/h")]), Some("/h/.cache/gristmill".into()));
        assert_eq!(from(&[]), None);
    }
}
