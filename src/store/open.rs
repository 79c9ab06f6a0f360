//! From a URL to the store that serves it.
//!
//! Invariant: policy is asked before any store is.

use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::event::{Reporter, Silent};

use super::access::Access;
use super::address::{Address, READ_ONLY, shown};
use super::file::FileSource;
use super::ftp::FtpSource;
use super::http::HttpSource;
use super::local::LocalTarget;
use super::memory::MemoryTarget;
use super::s3::{S3Source, S3Target};
use super::{Conditional, ErrorKind, Head, Listing, SourceStore, StoreError, TargetStore, Uploads, policy};

/// Reads every supported scheme: paths, `file://`, `http(s)://`, `ftp(s)://`, `s3://`. Make one per run: it holds the limits per host.
#[must_use]
pub fn source(access: &Access, reporter: Arc<dyn Reporter>) -> Arc<dyn SourceStore> {
    let s3 = S3Source::new(access, Arc::clone(&reporter));
    let ftp = FtpSource::new(access, Arc::clone(&reporter));
    Arc::new(AnySource { access: access.clone(), reporter, file: FileSource::default(), http: OnceLock::new(), ftp, s3 })
}

/// Folders of a source, where its scheme has them; `None` where it has none.
///
/// # Errors
/// `Policy` for an unknown scheme or what a stranger's recipe may not read, `Other` for URLs that make no sense.
pub fn listing(url: &str, access: &Access) -> Result<Option<Arc<dyn Listing>>, StoreError> {
    let address = Address::parse(url)?;
    policy::permit(access, url, &address)?;
    Ok(match address {
        Address::Ftp { .. } => Some(Arc::new(FtpSource::new(access, Arc::new(Silent)))),
        Address::File(_) | Address::Http(_) | Address::S3 { .. } | Address::Memory(_) => None,
    })
}

/// Opens the place where objects are written: a path, `file://`, `s3://bucket/prefix` or `memory://name`. Asks no server yet.
///
/// # Errors
/// `Policy` for a scheme that cannot be written to, `Other` for settings or URLs that make no sense.
pub fn target(url: &str, access: &Access) -> Result<Arc<dyn TargetStore>, StoreError> {
    let store: Arc<dyn TargetStore> = match Address::parse(url)? {
        Address::File(path) => Arc::new(LocalTarget::new(path, access.flush_chunks)),
        Address::Memory(name) => Arc::new(MemoryTarget::open(&name)),
        Address::S3 { bucket, path } => Arc::new(S3Target::open(access, url, &bucket, &path)?),
        Address::Http(_) | Address::Ftp { .. } => return Err(StoreError::new(ErrorKind::Policy, url, READ_ONLY)),
    };
    Ok(access.wrapping.around(url, store))
}

/// The place opened for puts under a condition on the version; `None` where there are no versions. Whether the server holds to
/// such a condition is for `store::probe` to find out.
///
/// # Errors
/// As [`target`].
pub fn conditional(url: &str, access: &Access) -> Result<Option<Arc<dyn Conditional>>, StoreError> {
    Ok(match Address::parse(url)? {
        Address::Memory(name) => Some(Arc::new(MemoryTarget::open(&name))),
        Address::S3 { bucket, path } => Some(Arc::new(S3Target::open(access, url, &bucket, &path)?)),
        Address::File(_) | Address::Http(_) | Address::Ftp { .. } => None,
    })
}

/// The place opened for uploads in parts; `None` where objects are stored whole.
///
/// # Errors
/// As [`target`].
pub fn uploads(url: &str, access: &Access) -> Result<Option<Arc<dyn Uploads>>, StoreError> {
    Ok(match Address::parse(url)? {
        Address::S3 { bucket, path } => Some(Arc::new(S3Target::open(access, url, &bucket, &path)?)),
        Address::Memory(_) | Address::File(_) | Address::Http(_) | Address::Ftp { .. } => None,
    })
}

/// True if reading from or writing to a URL means waiting for a server.
#[must_use]
pub fn is_far(url: &str) -> bool {
    !matches!(Address::parse(url), Ok(Address::File(_) | Address::Memory(_)))
}

/// Sends each URL to the store of its scheme.
struct AnySource {
    access: Access,
    reporter: Arc<dyn Reporter>,
    file: FileSource,
    /// Made when first needed: loading certificates takes its time.
    http: OnceLock<HttpSource>,
    ftp: FtpSource,
    s3: S3Source,
}

impl AnySource {
    fn of(&self, url: &str) -> Result<&dyn SourceStore, StoreError> {
        let address = Address::parse(url)?;
        policy::permit(&self.access, url, &address)?;
        match address {
            Address::File(_) => Ok(&self.file),
            Address::Http(_) => Ok(self.http()?),
            Address::Ftp { .. } => Ok(&self.ftp),
            Address::S3 { .. } => Ok(&self.s3),
            Address::Memory(_) => {
                Err(StoreError::new(ErrorKind::Policy, url, "memory holds targets only; give a path or an `https://` URL"))
            }
        }
    }

    fn http(&self) -> Result<&HttpSource, StoreError> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let made = HttpSource::new(&self.access, Arc::clone(&self.reporter))?;
        Ok(self.http.get_or_init(|| made))
    }
}

impl SourceStore for AnySource {
    fn head(&self, url: &str) -> Result<Head, StoreError> {
        tracing::debug!(url = %shown(url), "head");
        self.of(url)?.head(url)
    }

    fn begin(&self, url: &str) -> Result<(Head, Bytes), StoreError> {
        tracing::debug!(url = %shown(url), "begin");
        self.of(url)?.begin(url)
    }

    fn ranges(&self, url: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        tracing::debug!(url = %shown(url), ranges = ranges.len(), bytes = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum::<u64>(), "read");
        self.of(url)?.ranges(url, ranges)
    }

    fn stream(&self, url: &str, sink: &mut dyn Write) -> Result<u64, StoreError> {
        tracing::debug!(url = %shown(url), "read whole");
        self.of(url)?.stream(url, sink)
    }

    fn is_local(&self, url: &str) -> bool {
        matches!(Address::parse(url), Ok(Address::File(_)))
    }
}
