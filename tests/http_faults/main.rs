//! Broken web servers: each fault has its outcome, and no fault ever hands on wrong bytes.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::print_stdout, reason = "what is left out for want of a server is said aloud")]

mod answers;
mod nginx;
mod passing;
#[path = "../patience/mod.rs"]
mod patience;
mod reach;
mod s3;
#[path = "../scripted_server/mod.rs"]
mod server;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gristmill::event::{Event, Reporter};
use gristmill::store::{Access, ErrorKind, SourceStore, StoreError, source};
use patience::Recorder;

impl Recorder {
    /// Reasons of all retries.
    pub(crate) fn retries(&self) -> Vec<String> {
        let reason = |event: &Event| if let Event::Retried { reason, .. } = event { Some(reason.clone()) } else { None };
        self.0.lock().unwrap().iter().filter_map(reason).collect()
    }
}

/// Settings with short waits.
pub(crate) fn hasty() -> Access {
    patience::hasty(Duration::from_millis(400))
}

/// A source with short waits, and who listens to it.
pub(crate) fn client() -> (Arc<dyn SourceStore>, Arc<Recorder>) {
    with(&hasty())
}

/// A source with these settings, and who listens to it.
pub(crate) fn with(access: &Access) -> (Arc<dyn SourceStore>, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    (source(access, Arc::clone(&recorder) as Arc<dyn Reporter>), recorder)
}

/// 300,000 bytes, no two kilobytes alike.
pub(crate) fn content() -> Vec<u8> {
    (0..300_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 22) as u8).collect()
}

/// The whole file as a stream.
pub(crate) fn whole(store: &dyn SourceStore, url: &str) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    let length = store.stream(url, &mut bytes)?;
    assert_eq!(length, bytes.len() as u64);
    Ok(bytes)
}

/// One range.
pub(crate) fn one(store: &dyn SourceStore, url: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
    let mut answers = store.ranges(url, std::slice::from_ref(&range))?;
    assert_eq!(answers.len(), 1);
    Ok(answers.remove(0))
}

/// Asserts what kind of failure it is, and that the message is one line that names the place.
pub(crate) fn expect_failure<T>(result: Result<T, StoreError>, kind: ErrorKind, exit: u8, says: &str) {
    let error = result.map(|_| "it worked").unwrap_err();
    let message = error.to_string();
    assert_eq!((error.kind, error.exit()), (kind, exit), "{message}");
    assert!(message.contains(says), "`{says}` is missing in: {message}");
    assert!(message.starts_with("http://127.0.0.1:") && !message.contains('\n'), "{message}");
    assert_eq!(message.contains("retry helps"), kind == ErrorKind::Temporary, "{message}");
}
