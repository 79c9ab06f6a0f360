//! Making, reading and numbering [`StoreError`]s.
//!
//! Not for deciding whether to retry (that is `retry`). Invariant: a text from a server reaches a message only through
//! [`printable`], and a URL only through [`shown`](super::address::shown).

use std::error::Error;
use std::io;

use super::address::shown;
use super::auth::redact::scrub;
use super::{ErrorKind, StoreError};
use crate::recipe::diagnostic::Code;

/// Most characters of a foreign text that a message quotes.
const QUOTED: usize = 120;

impl StoreError {
    /// A failure at a URL, path or key; the URL loses its query and credentials here.
    #[must_use]
    pub fn new(kind: ErrorKind, url: &str, message: impl Into<String>) -> Self {
        Self { kind, url: scrub(&shown(url)).into_owned(), message: scrub(&message.into()).into_owned(), cause: None }
    }

    /// The same failure with what a library said about it.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The exit code of a command that fails with this (DESIGN §8).
    #[must_use]
    pub fn exit(&self) -> u8 {
        self.code().exit()
    }

    /// What `docs/errors.md` calls it.
    #[must_use]
    pub fn code(&self) -> Code {
        match self.kind {
            ErrorKind::Policy => Code::AddressRefused,
            ErrorKind::NotFound => Code::SourceAbsent,
            ErrorKind::Forbidden => Code::SourceForbidden,
            ErrorKind::Integrity => Code::SourceCorrupt,
            ErrorKind::Other => Code::SourceUnreadable,
            ErrorKind::Temporary => Code::SourceTemporary,
            ErrorKind::Exists => Code::TargetHeld,
            ErrorKind::NoSpace => Code::DiskTooSmall,
            ErrorKind::Budget => Code::BudgetExceeded,
        }
    }

    /// What the operating system refused, at a path.
    #[must_use]
    pub fn from_io(url: &str, doing: &str, error: io::Error) -> Self {
        let (kind, advice) = match error.kind() {
            io::ErrorKind::NotFound => (ErrorKind::NotFound, "check the path"),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => (ErrorKind::Forbidden, "check the permissions"),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                (ErrorKind::NoSpace, "free some space and run again; what is done is kept")
            }
            io::ErrorKind::AlreadyExists => (ErrorKind::Exists, "another run may have made it"),
            io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => (ErrorKind::Temporary, "try again later: retry helps"),
            _ => (ErrorKind::Other, "check the path and the disk"),
        };
        Self::new(kind, url, format!("cannot {doing}: {error}; {advice}")).because(error)
    }
}

/// Foreign text made safe to print: control and direction characters out, one line, at most 120 characters.
#[must_use]
pub(crate) fn printable(text: &str) -> String {
    let text = &*scrub(text);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let clean: String = line.chars().filter(|c| !c.is_control() && !is_direction(*c)).take(QUOTED).collect();
    if line.chars().count() > QUOTED { format!("{clean}…") } else { clean }
}

/// Characters that turn the writing direction or hide others (Unicode TR36).
fn is_direction(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_made_safe() {
        assert_eq!(printable("\r\n  <html>\u{1b}]0;x\u{7}\u{202e}\nmore"), "<html>]0;x");
        assert_eq!(printable(&"a".repeat(500)).chars().count(), 121);
        assert_eq!(printable(""), "");
    }

    #[test]
    fn a_full_disk_is_exit_8() {
        let error = StoreError::from_io("a", "write", io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!((error.kind, error.exit()), (ErrorKind::NoSpace, 8));
    }
}
