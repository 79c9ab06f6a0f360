//! Packed files, members of archives, and the cache: read as if they lay there plainly, whoever packed them; refused where they lie.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod archives;
mod baked;
mod cache;
mod far;
mod formats;
mod hostile;
#[path = "../scripted_server/mod.rs"]
mod server;

use std::path::PathBuf;
use std::sync::Arc;

use gristmill::event::Silent;
use gristmill::store::access::SharedSpool;
use gristmill::store::{Access, SourceStore, source};

/// A source with the usual settings.
pub(crate) fn client() -> Arc<dyn SourceStore> {
    with(&Access::default())
}

/// A source with these settings.
pub(crate) fn with(access: &Access) -> Arc<dyn SourceStore> {
    // As another process would have it.
    source(&Access { spool: SharedSpool::default(), ..access.clone() }, Arc::new(Silent))
}

/// Archives that other programs made; tests/data/wrapped/make.sh.
pub(crate) fn made(name: &str) -> String {
    data("wrapped").join(name).to_str().unwrap().to_owned()
}

pub(crate) fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// What make.sh writes into the member of this name.
pub(crate) fn lines(name: &str) -> Vec<u8> {
    (0..300).flat_map(|number| format!("{name} {number}\n").into_bytes()).collect()
}

/// Bytes that hardly pack.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// The whole file, read in all the ways there are, which must agree.
pub(crate) fn whole(store: &dyn SourceStore, url: &str) -> Vec<u8> {
    let (head, start) = store.begin(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    let size = head.size.unwrap();
    let mut streamed = Vec::new();
    assert_eq!(store.stream(url, &mut streamed).unwrap(), size, "{url}");
    assert_eq!(streamed.len() as u64, size, "{url}");
    assert!(streamed.starts_with(&start) && start.len() as u64 == size.min(64 << 10), "{url}");
    let asked = [0..size, size / 3..size / 2, size..size, size.saturating_sub(7)..size];
    for (range, bytes) in asked.iter().zip(store.ranges(url, &asked).unwrap()) {
        assert_eq!(bytes, streamed[range.start as usize..range.end as usize], "{url} {range:?}");
    }
    assert!(store.ranges(url, &[0..size + 1]).is_err(), "{url}");
    assert_eq!(store.head(url).unwrap().identity(), head.identity(), "{url}");
    streamed
}
