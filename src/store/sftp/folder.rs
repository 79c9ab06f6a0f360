//! What stands in a folder.
//!
//! Invariant: no more than [`MOST`] names are held, and a name that is not one plain name in this folder is an error.

use russh_sftp::protocol::{File, FileAttributes, FileType};

use super::super::error::printable;
use super::super::retry::Fault;
use super::super::{Entry, ErrorKind, StoreError};
use super::answer::{is_answer, is_end};
use super::session::{Session, modified};

/// Most names of one folder.
const MOST: usize = 1 << 20;

/// The bits of permissions that say what something is (POSIX `S_IFMT`).
const KIND: u32 = 0o170_000;

impl Session {
    /// The folder's entries, as the server orders them. Links count as what they lead to.
    pub(super) async fn list(&mut self, url: &str, path: &str) -> Result<Vec<Entry>, Fault> {
        let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
        let opened = self.sftp.opendir(path).await;
        let handle = match self.note(url, opened) {
            Ok(opened) => opened.handle,
            Err(fault) => return Err(self.no_folder(url, path, fault).await),
        };
        let listed = self.entries(url, path, &handle).await;
        self.close(url, handle).await;
        listed
    }

    async fn entries(&mut self, url: &str, path: &str, handle: &str) -> Result<Vec<Entry>, Fault> {
        let mut entries = Vec::new();
        loop {
            let files = match self.sftp.readdir(handle).await {
                Ok(names) => names.files,
                Err(error) if is_end(&error) => return Ok(entries),
                Err(error) => return self.note(url, Err(error)),
            };
            if files.is_empty() || entries.len() > MOST {
                let why = if files.is_empty() {
                    "its listing never ends"
                } else {
                    "it holds more than a million files; name a folder further down"
                };
                return Err(StoreError::new(ErrorKind::Other, url, why).into());
            }
            for file in files.into_iter().filter(|file| !matches!(file.filename.as_str(), "." | "..")) {
                entries.extend(self.entry(url, path, file).await?);
            }
        }
    }

    /// One name of a folder; `None` for what is neither a file nor a folder, and for links that lead nowhere.
    async fn entry(&mut self, url: &str, path: &str, file: File) -> Result<Option<Entry>, Fault> {
        let (name, mut told) = (file.filename, file.attrs);
        if name.is_empty() || name.contains(['/', '\u{fffd}']) || name.chars().any(char::is_control) {
            let message = format!("the server lists `{}`, which is no name of a file; name its files in the recipe", printable(&name));
            return Err(StoreError::new(ErrorKind::Integrity, url, message).into());
        }
        // A server that tells no kinds lists files.
        let kind = |told: &FileAttributes| if told.permissions.unwrap_or(0) & KIND == 0 { FileType::File } else { told.file_type() };
        if kind(&told) == FileType::Symlink {
            match self.sftp.stat(format!("{}/{name}", path.trim_end_matches('/'))).await {
                Ok(led) => told = led.attrs,
                Err(error) if is_answer(&error) => return Ok(None),
                Err(error) => return self.note(url, Err(error)),
            }
        }
        let modified = told.mtime.and_then(modified);
        Ok(match kind(&told) {
            FileType::Dir => Some(Entry { name, folder: true, size: None, modified: None }),
            FileType::File => Some(Entry { name, folder: false, size: told.size, modified }),
            FileType::Symlink | FileType::Other => None,
        })
    }

    /// OpenSSH calls it a mere failure if a file is opened as a folder.
    async fn no_folder(&mut self, url: &str, path: &str, fault: Fault) -> Fault {
        match self.sftp.stat(path).await {
            Ok(told) if !told.attrs.file_type().is_dir() => {
                StoreError::new(ErrorKind::NotFound, url, "this is no folder on the server").into()
            }
            _ => fault,
        }
    }
}
