//! A store of local files and of byte strings, as small as can be.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use gristmill::store::{ErrorKind, Head, SourceStore, StoreError};

/// Files by path, or bytes by name.
#[derive(Default)]
pub(crate) struct Local {
    pub(crate) held: HashMap<String, Bytes>,
}

impl Local {
    /// A store of local files.
    pub(crate) fn files() -> Arc<dyn SourceStore> {
        Arc::new(Self::default())
    }

    /// A store of one byte string, named `file`.
    pub(crate) fn bytes(bytes: impl Into<Bytes>) -> Arc<dyn SourceStore> {
        Arc::new(Self { held: HashMap::from([("file".to_owned(), bytes.into())]) })
    }
}

fn failed(url: &str, kind: ErrorKind, message: impl std::fmt::Display) -> StoreError {
    StoreError { kind, url: url.to_owned(), message: format!("{message}"), cause: None }
}

impl SourceStore for Local {
    fn head(&self, url: &str) -> Result<Head, StoreError> {
        let size = match self.held.get(url) {
            Some(bytes) => bytes.len() as u64,
            None => std::fs::metadata(url).map_err(|error| failed(url, ErrorKind::NotFound, error))?.len(),
        };
        Ok(Head { size: Some(size), ..Head::default() })
    }

    fn ranges(&self, url: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        if let Some(bytes) = self.held.get(url) {
            let cut = |range: &Range<u64>| {
                bytes.get(range.start as usize..range.end as usize).map(|_| bytes.slice(range.start as usize..range.end as usize))
            };
            return ranges.iter().map(|range| cut(range).ok_or_else(|| failed(url, ErrorKind::Integrity, "the file is shorter"))).collect();
        }
        let file = File::open(url).map_err(|error| failed(url, ErrorKind::NotFound, error))?;
        let read = |range: &Range<u64>| {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut bytes, range.start)
                .map(|()| Bytes::from(bytes))
                .map_err(|error| failed(url, ErrorKind::Integrity, error))
        };
        ranges.iter().map(read).collect()
    }

    fn stream(&self, url: &str, sink: &mut dyn Write) -> Result<u64, StoreError> {
        let size = self.head(url)?.size.unwrap_or(0);
        let bytes = self.ranges(url, std::slice::from_ref(&(0..size)))?.concat();
        sink.write_all(&bytes).map(|()| size).map_err(|error| failed(url, ErrorKind::Other, error))
    }

    fn is_local(&self, _url: &str) -> bool {
        true
    }
}

/// The folder of shared test data.
pub(crate) fn shared() -> PathBuf {
    let given = std::env::var_os("GRISTMILL_SHARED").map(PathBuf::from);
    given.unwrap_or_else(|| {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        // A checkout lies beside `shared`, a git work tree one folder deeper.
        ["../shared", "../../shared"]
            .iter()
            .map(|path| root.join(path))
            .find(|path| path.is_dir())
            .expect("shared data beside the repository")
    })
}

/// A store whose connection breaks after some calls.
pub(crate) struct Breaking {
    pub(crate) inner: Arc<dyn SourceStore>,
    pub(crate) calls: std::sync::atomic::AtomicUsize,
}

impl SourceStore for Breaking {
    fn head(&self, url: &str) -> Result<Head, StoreError> {
        self.inner.head(url)
    }

    fn ranges(&self, url: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        let left =
            self.calls.fetch_update(std::sync::atomic::Ordering::SeqCst, std::sync::atomic::Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            return Err(failed(url, ErrorKind::Temporary, "the connection was reset"));
        }
        self.inner.ranges(url, ranges)
    }

    fn stream(&self, url: &str, sink: &mut dyn Write) -> Result<u64, StoreError> {
        self.inner.stream(url, sink)
    }

    fn is_local(&self, _url: &str) -> bool {
        false
    }
}
