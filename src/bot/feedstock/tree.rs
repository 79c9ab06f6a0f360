//! The files of a repository's working copy, as they are: no link followed, no ignored history entered.
//!
//! Invariant: at most [`MOST_FILES`] entries are looked at, and none is read whole that is larger than a recipe may be.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// Entries looked at; a feedstock has some dozens.
pub(super) const MOST_FILES: usize = 20_000;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Link,
    /// A repository of its own.
    Repository,
}

/// One entry.
#[derive(Debug)]
pub(super) struct Entry {
    /// From the root, with `/`.
    pub(super) path: String,
    pub(super) kind: Kind,
    /// Bytes.
    pub(super) size: u64,
}

/// Every file and link below `root`, sorted; true if there were more than are looked at.
pub(super) fn entries(root: &Path) -> io::Result<(Vec<Entry>, bool)> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let about = fs::symlink_metadata(entry.path())?;
            let nested = !folder.is_empty() && name == ".git";
            if about.is_symlink() {
                found.push(Entry { path, kind: Kind::Link, size: 0 });
            } else if nested {
                found.push(Entry { path: folder.clone(), kind: Kind::Repository, size: 0 });
            } else if about.is_dir() {
                folders.extend((name != ".git" && !is_output(&name)).then_some(path));
            } else {
                found.push(Entry { path, kind: Kind::File, size: about.len() });
            }
            if found.len() >= MOST_FILES {
                return Ok((found, true));
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok((found, false))
}

/// What runs leave in a working copy and nobody commits (`.gitignore` has them).
fn is_output(name: &str) -> bool {
    [".zarr", ".gristmill"].iter().any(|end| name.ends_with(end))
}

/// At most `most` bytes of a file, as text; what is no UTF-8 becomes U+FFFD.
pub(super) fn text(path: &Path, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
