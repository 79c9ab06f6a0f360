//! What looking may cost: documents, bytes, files and time, whatever servers list.
//!
//! Invariant: looking ends, since each document counts and their number is limited.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::DiscoverError;
use crate::pattern::MAX_INPUTS;
use crate::recipe::diagnostic::{Code, Diagnostic, Span};
use crate::store::{Document, Documents};

/// Folders below the one that is searched, and catalogues below the first.
pub(super) const DEEPEST: usize = 32;
/// Most documents, or folders.
const DOCUMENTS: u64 = 20_000;
/// Most bytes of one document.
const LONGEST: u64 = 64 << 20;
/// Most bytes of all documents.
const BYTES: u64 = 4 << 30;
/// Longest time.
const TIME: Duration = Duration::from_hours(1);
/// A recipe that is not trusted gets so many times less.
const UNTRUSTED: u64 = 10;

/// What is left of each.
pub(super) struct Limits<'a> {
    span: Span,
    stop: &'a AtomicBool,
    begun: Instant,
    share: u64,
    documents: AtomicU64,
    bytes: AtomicU64,
    files: AtomicU64,
}

impl<'a> Limits<'a> {
    pub(super) fn new(span: Span, untrusted: bool, stop: &'a AtomicBool) -> Self {
        let share = if untrusted { UNTRUSTED } else { 1 };
        let zero = || AtomicU64::new(0);
        Self { span, stop, begun: Instant::now(), share, documents: zero(), bytes: zero(), files: zero() }
    }

    /// Counts a document or folder that is about to be asked for.
    pub(super) fn document(&self) -> Result<(), DiscoverError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(DiscoverError::Interrupted);
        }
        let most = DOCUMENTS / self.share;
        if self.documents.fetch_add(1, Ordering::Relaxed) >= most {
            return Err(self.exceeded(format!("after {most} pages or folders there are still more")));
        }
        let time = TIME / u32::try_from(self.share).unwrap_or(1);
        if self.begun.elapsed() > time {
            return Err(self.exceeded(format!("looking takes longer than {} minutes", time.as_secs() / 60)));
        }
        Ok(())
    }

    /// Counts files that were found.
    pub(super) fn files(&self, count: usize) -> Result<(), DiscoverError> {
        let most = MAX_INPUTS as u64 / self.share;
        let known = self.files.fetch_add(count as u64, Ordering::Relaxed).saturating_add(count as u64);
        if known > most { Err(self.exceeded(format!("more than {most} files are there"))) } else { Ok(()) }
    }

    /// Reads a document, and counts it.
    pub(super) fn read(&self, documents: &dyn Documents, url: &str, headers: &[(&str, &str)]) -> Result<Document, DiscoverError> {
        self.document()?;
        let document = documents.document(url, headers, LONGEST)?;
        let length = document.bytes.len() as u64;
        let known = self.bytes.fetch_add(length, Ordering::Relaxed).saturating_add(length);
        if known > BYTES / self.share {
            return Err(self.exceeded(format!("the lists have more than {}", crate::size::ByteSize(BYTES / self.share))));
        }
        Ok(document)
    }

    /// The refusal of more.
    pub(super) fn exceeded(&self, message: String) -> DiscoverError {
        let help = "narrow the glob or the query, or split the recipe";
        DiscoverError::of(Diagnostic::error(Code::TooManyFound, message).at(self.span, "").help(help))
    }
}
