//! Folders of this machine, listed.
//!
//! Not for reading files. Invariant: a name that is no text is refused, never changed; links are what they lead to.

use std::fs;

use super::address::Address;
use super::{Entry, ErrorKind, Listing, StoreError};

/// Lists plain paths and `file://` URLs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Folders;

impl Listing for Folders {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, StoreError> {
        let Address::File(path) = Address::parse(folder)? else {
            return Err(StoreError::new(ErrorKind::Policy, folder, "not a path of this machine"));
        };
        let path = if path.as_os_str().is_empty() { ".".into() } else { path };
        let refuse = |error| StoreError::from_io(folder, "list the folder", error);
        let mut entries = Vec::new();
        for entry in fs::read_dir(&path).map_err(refuse)? {
            let entry = entry.map_err(refuse)?;
            let name = entry.file_name().into_string().map_err(|name| {
                let message = format!("the name `{}` is not UTF-8; rename it", name.to_string_lossy());
                StoreError::new(ErrorKind::Other, folder, message)
            })?;
            // A link that leads nowhere is no file.
            let Ok(about) = fs::metadata(entry.path()) else { continue };
            if !about.is_dir() && !about.is_file() {
                continue;
            }
            let modified = about.modified().ok().and_then(|time| jiff::Timestamp::try_from(time).ok()).map(|time| time.to_string());
            entries.push(Entry { name, folder: about.is_dir(), size: about.is_file().then_some(about.len()), modified });
        }
        entries.sort();
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_files_and_folders_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b.nc"), "12345").unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("c")).unwrap();
        std::os::unix::fs::symlink("b.nc", folder.path().join("d.nc")).unwrap();
        let entries = Folders.list(&folder.path().display().to_string()).unwrap();
        let told: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.folder, entry.size)).collect();
        assert_eq!(told, [("a", true, None), ("b.nc", false, Some(5)), ("d.nc", false, Some(5))]);
        assert_eq!(Folders.list("/no/such/folder").unwrap_err().kind, ErrorKind::NotFound);
    }
}
