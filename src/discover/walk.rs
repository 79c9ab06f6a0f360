//! Folders below an address, listed level by level, several at a time.
//!
//! Invariant: a folder is listed only if something below it can match, and at most [`DEEPEST`] below the first.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::limits::DEEPEST;
use super::{DiscoverError, Found, Search};
use crate::pattern::glob::{Glob, Way};
use crate::recipe::diagnostic::Code;
use crate::store::{self, Entry, Listing};

/// Folders listed at a time; each host's own limit is the store's.
const WIDTH: usize = 8;

/// A folder on the way.
struct Folder {
    url: String,
    /// Its path below the first folder, with a `/` at its end; empty for the first.
    path: String,
    way: Way,
}

/// Every file that matches.
pub(super) fn walk(search: Search<'_>, folder: &str, glob: &Glob) -> Result<Vec<Found>, DiscoverError> {
    let Some(listing) = store::listing(folder, search.access)? else {
        let help = "a glob is of a path, a bucket, a file server or the index pages of a web server; write a `manifest:` of the files";
        return Err(search.refuse(Code::BadFind, "files of this kind of address cannot be listed", help));
    };
    let mut level = vec![Folder { url: folder.to_owned(), path: String::new(), way: glob.start() }];
    let (mut found, mut depth) = (Vec::new(), 0);
    while !level.is_empty() {
        if depth > DEEPEST {
            return Err(search.limits.exceeded(format!("folders are more than {DEEPEST} deep")));
        }
        let listed = at_once(&level, &|folder| list(search, &*listing, folder))?;
        let (mut next, before) = (Vec::new(), found.len());
        for (folder, entries) in level.iter().zip(listed) {
            sort_out(folder, entries, glob, (&mut found, &mut next));
        }
        search.limits.files(found.len() - before)?;
        level = next;
        depth += 1;
    }
    Ok(found)
}

fn list(search: Search<'_>, listing: &dyn Listing, folder: &Folder) -> Result<Vec<Entry>, DiscoverError> {
    search.limits.document()?;
    match listing.list(&folder.url) {
        Ok(entries) => Ok(entries),
        // A folder that a page names may be gone a moment later, or never have been one; the first must be there.
        Err(error) if error.kind == store::ErrorKind::NotFound && !folder.path.is_empty() => Ok(Vec::new()),
        Err(error) if error.kind == store::ErrorKind::Integrity => Err(search.refuse(
            Code::NotAnIndex,
            error.to_string(),
            "a `glob` of a web address needs its index pages; else write a `manifest:` or name the service, such as `thredds:`",
        )),
        Err(error) => Err(error.into()),
    }
}

fn sort_out(folder: &Folder, entries: Vec<Entry>, glob: &Glob, (found, next): (&mut Vec<Found>, &mut Vec<Folder>)) {
    for entry in entries {
        let way = glob.after(&folder.way, &entry.name);
        let path = format!("{}{}", folder.path, entry.name);
        let url = store::child(&folder.url, &entry.name);
        if entry.folder && glob.leads_on(&way) {
            next.push(Folder { url: format!("{url}/"), path: format!("{path}/"), way });
        } else if !entry.folder && glob.ends(&way) {
            found.push(Found { url, path, size: entry.size, modified: entry.modified, ..Found::default() });
        }
    }
}

/// Does the same for every item, several at a time; the results in order, or the first error.
pub(super) fn at_once<I: Sync, T: Send>(
    items: &[I],
    each: &(dyn Fn(&I) -> Result<T, DiscoverError> + Sync),
) -> Result<Vec<T>, DiscoverError> {
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
    let results: Mutex<Vec<(usize, Result<T, DiscoverError>)>> = Mutex::new(Vec::with_capacity(items.len()));
    let work = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(item) = items.get(number).filter(|_| number < failed.load(Ordering::Relaxed)) else { return };
        let result = each(item);
        if result.is_err() {
            failed.fetch_min(number, Ordering::Relaxed);
        }
        results.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
    };
    std::thread::scope(|scope| {
        for number in 1..WIDTH.min(items.len()) {
            // Where no more threads are to be had, this one does the work.
            let _started = std::thread::Builder::new().name(format!("find {number}")).spawn_scoped(scope, work);
        }
        work();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
