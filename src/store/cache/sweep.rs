//! Looking through the cache: what is there, what goes, what is damaged.
//!
//! Invariant: what somebody reads or makes at the moment is never taken away.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::entry::{Description, Place, is_right, is_used, walk};
use super::{files, removed};

/// Drafts that nobody took up for so long, and other leftovers of kills, go.
const ABANDONED: Duration = Duration::from_hours(7 * 24);

/// One entry, or the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Name of its files.
    pub key: String,
    /// What it is; `None` for one that is not finished.
    #[serde(flatten)]
    pub description: Option<Description>,
    /// Bytes on disk.
    pub bytes: u64,
    /// Seconds since it was last used.
    pub unused_seconds: u64,
    /// Somebody reads or makes it now.
    pub in_use: bool,
    #[serde(skip)]
    used: SystemTime,
    #[serde(skip)]
    path: PathBuf,
}

/// What shall go.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// What was not used for so long.
    pub older_than: Option<Duration>,
    /// What was not used for longest, until no more than so many bytes are left.
    pub down_to: u64,
}

/// What went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Pruned {
    /// Entries and beginnings of entries.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that are left.
    pub left: u64,
    /// Entries that would have gone but are in use.
    pub in_use: u64,
}

impl Listed {
    fn read(path: PathBuf, now: SystemTime) -> Option<Self> {
        let (description, bytes, about) = match path.extension()?.to_str()? {
            "json" => {
                let place = Place::of_description(&path)?;
                (place.read(), fs::metadata(place.data()).map_or(0, |metadata| metadata.len()), place.data())
            }
            "part" => (None, fs::metadata(&path).ok()?.len(), path.clone()),
            _ => return None,
        };
        let used = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok()?;
        let unused_seconds = now.duration_since(used).unwrap_or_default().as_secs();
        let in_use = File::open(about).is_ok_and(|file| is_used(&file).unwrap_or(true));
        let key = path.file_stem()?.to_string_lossy().into_owned();
        Some(Self { key, description, bytes, unused_seconds, in_use, used, path })
    }

    /// Takes it away; `false` if it is in use.
    fn remove(&self) -> bool {
        match Place::of_description(&self.path) {
            Some(place) => place.remove_unused().is_some(),
            None => match File::open(&self.path) {
                Ok(file) if is_used(&file).unwrap_or(true) => false,
                _ => {
                    removed(&self.path.with_extension("progress"));
                    removed(&self.path) || !self.path.exists()
                }
            },
        }
    }
}

/// What is in a cache folder, that unused for longest first.
///
/// # Errors
/// What the file system refuses; a folder that does not exist is an empty one.
pub fn list(folder: &Path) -> io::Result<Vec<Listed>> {
    listed(&files(folder))
}

fn listed(files: &Path) -> io::Result<Vec<Listed>> {
    let now = SystemTime::now();
    let mut listed: Vec<Listed> = walk(files)?.into_iter().filter_map(|path| Listed::read(path, now)).collect();
    listed.sort_by(|one, other| one.used.cmp(&other.used).then_with(|| one.key.cmp(&other.key)));
    Ok(listed)
}

/// Takes entries away, those unused for longest first, and what kills left behind.
///
/// # Errors
/// As [`list`].
pub fn prune(folder: &Path, wish: Wish) -> io::Result<Pruned> {
    let files = files(folder);
    for path in walk(&files)? {
        let is_leftover = |metadata: fs::Metadata| metadata.modified().is_ok_and(|used| used.elapsed().is_ok_and(|age| age > ABANDONED));
        let orphan = match path.extension().and_then(|extension| extension.to_str()) {
            Some("data") => !path.with_extension("json").exists(),
            Some("progress") => !path.with_extension("part").exists(),
            Some("part" | "new") => true,
            _ => false,
        };
        if orphan && fs::metadata(&path).is_ok_and(is_leftover) && File::open(&path).is_ok_and(|file| !is_used(&file).unwrap_or(true)) {
            removed(&path);
        }
    }
    let old = |entry: &Listed| wish.older_than.is_some_and(|age| entry.unused_seconds >= age.as_secs());
    shrink(&files, wish.down_to, &old)
}

/// Takes away all entries that are `unwanted`, and then others until at most so many bytes are left.
pub(super) fn shrink(files: &Path, down_to: u64, unwanted: &dyn Fn(&Listed) -> bool) -> io::Result<Pruned> {
    let listed = listed(files)?;
    let mut pruned = Pruned { left: listed.iter().map(|entry| entry.bytes).sum(), ..Pruned::default() };
    let (first, rest): (Vec<&Listed>, Vec<&Listed>) = listed.iter().partition(|entry| unwanted(entry));
    let wanted_gone = first.len();
    for (number, entry) in first.into_iter().chain(rest).enumerate() {
        if number >= wanted_gone && pruned.left <= down_to {
            break;
        }
        if entry.in_use || !entry.remove() {
            pruned.in_use += 1;
            continue;
        }
        pruned.entries += 1;
        pruned.bytes += entry.bytes;
        pruned.left = pruned.left.saturating_sub(entry.bytes);
    }
    Ok(pruned)
}

/// [`shrink`] to `down_to`, if there is more than `limit`.
pub(super) fn shrink_above(files: &Path, limit: u64, down_to: u64) -> io::Result<Pruned> {
    let bytes = listed(files)?.iter().map(|entry| entry.bytes).sum();
    if bytes <= limit { Ok(Pruned { left: bytes, ..Pruned::default() }) } else { shrink(files, down_to, &|_| false) }
}

/// Reads every entry; those that are not what they say are taken away, and given back.
///
/// # Errors
/// As [`list`].
pub fn verify(folder: &Path) -> io::Result<(u64, Vec<Listed>)> {
    let (mut right, mut wrong) = (0, Vec::new());
    for entry in list(folder)? {
        let Some(place) = Place::of_description(&entry.path) else { continue };
        let whole = entry.description.as_ref().is_some_and(|told| File::open(place.data()).is_ok_and(|file| is_right(&file, told)));
        if whole {
            right += 1;
        } else {
            place.remove();
            wrong.push(entry);
        }
    }
    Ok((right, wrong))
}
