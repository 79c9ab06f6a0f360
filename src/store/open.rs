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
use super::bucket;
use super::cloud::{CloudSource, CloudTarget};
use super::dap::{self, DapSource};
use super::file::FileSource;
use super::folder::Folders;
use super::ftp::FtpSource;
use super::http::{HttpSource, streamed};
use super::local::LocalTarget;
use super::memory::MemoryTarget;
use super::policy::{Counted, Limits};
use super::sftp::SftpSource;
use super::watch::Watchdog;
use super::wrapped::Wrapped;
use super::{
    Archives, Conditional, Document, Documents, ErrorKind, Head, Listing, START, SourceStore, StoreError, TargetStore, Uploads, policy,
};

/// Reads every supported scheme: paths, `file://`, `http(s)://`, `ftp(s)://`, `sftp://`, `s3://`, `gs://`, `az://`, `dap2://`, `dap4://`; packed files and members of archives as well. Make one per run: it holds the limits per host.
#[must_use]
pub fn source(access: &Access, reporter: Arc<dyn Reporter>) -> Arc<dyn SourceStore> {
    Arc::new(Wrapped::around(Arc::new(AnySource::new(access, reporter)), access))
}

/// Looks into archives, wherever [`source`] reads them.
#[must_use]
pub fn archives(access: &Access, reporter: Arc<dyn Reporter>) -> Arc<dyn Archives> {
    Arc::new(Wrapped::around(Arc::new(AnySource::new(access, reporter)), access))
}

/// Opens the place where objects are written: a path, `file://`, `s3://bucket/prefix` (so `gs://`, `az://`) or `memory://name`. Asks no server yet.
///
/// # Errors
/// `Policy` for a scheme that cannot be written to, `Other` for settings or URLs that make no sense.
pub fn target(url: &str, access: &Access) -> Result<Arc<dyn TargetStore>, StoreError> {
    let store: Arc<dyn TargetStore> = match Address::parse(url)? {
        Address::File(path) => Arc::new(LocalTarget::new(path, access.flush_chunks)),
        Address::Memory(name) => Arc::new(MemoryTarget::open(&name)),
        Address::Bucket { bucket, path } => Arc::new(CloudTarget::open(access, url, &bucket, &path)?),
        Address::Http(_) | Address::Ftp { .. } | Address::Sftp(_) | Address::Dap(_) => {
            return Err(StoreError::new(ErrorKind::Policy, url, READ_ONLY));
        }
    };
    let watched = if is_far(url) { Arc::new(access.manners.watch().around(url, &access.waits, store)) } else { store };
    Ok(access.wrapping.around(url, watched))
}

/// The place opened for puts under a condition on the version; `None` where there are no versions. Whether the server holds to
/// such a condition is for `store::probe` to find out.
///
/// # Errors
/// As [`target`].
pub fn conditional(url: &str, access: &Access) -> Result<Option<Arc<dyn Conditional>>, StoreError> {
    Ok(match Address::parse(url)? {
        Address::Memory(name) => Some(Arc::new(MemoryTarget::open(&name))),
        Address::Bucket { bucket, path } => {
            let store = Arc::new(CloudTarget::open(access, url, &bucket, &path)?);
            Some(Arc::new(access.manners.watch().around(url, &access.waits, store)))
        }
        Address::File(_) | Address::Http(_) | Address::Ftp { .. } | Address::Sftp(_) | Address::Dap(_) => None,
    })
}

/// The place opened for uploads in parts; `None` where objects are stored whole.
///
/// # Errors
/// As [`target`].
pub fn uploads(url: &str, access: &Access) -> Result<Option<Arc<dyn Uploads>>, StoreError> {
    Ok(match Address::parse(url)? {
        Address::Bucket { bucket, path } => Some(Arc::new(CloudTarget::open(access, url, &bucket, &path)?)),
        Address::Memory(_) | Address::File(_) | Address::Http(_) | Address::Ftp { .. } | Address::Sftp(_) | Address::Dap(_) => None,
    })
}

/// The folders of the server that a URL names; `None` for a scheme that has none.
///
/// # Errors
/// `Policy` for what the operator's policy refuses, `Other` for settings or URLs that make no sense.
pub fn listing(url: &str, access: &Access) -> Result<Option<Arc<dyn Listing>>, StoreError> {
    let address = Address::parse(url)?;
    policy::permit(access, url, &address)?;
    Ok(match address {
        Address::File(_) => Some(Arc::new(Folders)),
        Address::Http(_) => Some(Arc::new(HttpSource::new(access, Arc::new(Silent))?)),
        Address::Ftp { .. } => Some(Arc::new(FtpSource::new(access, Arc::new(Silent)))),
        Address::Sftp(_) => Some(Arc::new(SftpSource::new(access, Arc::new(Silent)))),
        Address::Bucket { .. } => Some(Arc::new(CloudSource::new(access, Arc::new(Silent)))),
        Address::Memory(_) | Address::Dap(_) => None,
    })
}

/// Reads documents of every scheme that [`source`] reads.
#[must_use]
pub fn documents(access: &Access, reporter: Arc<dyn Reporter>) -> Arc<dyn Documents> {
    Arc::new(AnySource::new(access, reporter))
}

/// Asks the operator's policy, before anything is opened.
///
/// # Errors
/// `Policy` if it refuses the URL or knows no such scheme; `Other` for a URL that makes no sense.
pub fn permit(url: &str, access: &Access) -> Result<(), StoreError> {
    policy::permit(access, url, &Address::parse(url)?)
}

/// The URL of a file or folder in a folder.
#[must_use]
pub fn child(folder: &str, name: &str) -> String {
    let joined = || if folder.is_empty() || folder.ends_with('/') { format!("{folder}{name}") } else { format!("{folder}/{name}") };
    let web = folder.split_once("://").is_some_and(|(scheme, _)| !bucket::is_scheme(scheme));
    if !web {
        return joined();
    }
    let Ok(mut url) = url::Url::parse(folder) else { return joined() };
    // Cannot fail where there is a host: such a URL has a path.
    if let Ok(mut parts) = url.path_segments_mut() {
        parts.pop_if_empty().push(name);
    }
    url.to_string()
}

/// True if reading from or writing to a URL means waiting for a server.
#[must_use]
pub fn is_far(url: &str) -> bool {
    !matches!(Address::parse(url), Ok(Address::File(_) | Address::Memory(_)))
}

/// Sends each URL to the store of its scheme.
struct AnySource {
    access: Access,
    limits: Limits,
    watchdog: Watchdog,
    reporter: Arc<dyn Reporter>,
    file: FileSource,
    /// Made when first needed: loading certificates takes its time.
    http: OnceLock<Arc<HttpSource>>,
    dap: OnceLock<DapSource>,
    ftp: FtpSource,
    sftp: SftpSource,
    cloud: CloudSource,
}

impl AnySource {
    fn new(access: &Access, reporter: Arc<dyn Reporter>) -> Self {
        let cloud = CloudSource::new(access, Arc::clone(&reporter));
        let (ftp, sftp) = (FtpSource::new(access, Arc::clone(&reporter)), SftpSource::new(access, Arc::clone(&reporter)));
        let (watchdog, limits) = (Watchdog::new(&access.waits, Arc::clone(&reporter)), access.limits());
        let (file, http, dap) = (FileSource::default(), OnceLock::new(), OnceLock::new());
        Self { access: access.clone(), limits, watchdog, reporter, file, http, dap, ftp, sftp, cloud }
    }

    fn of(&self, url: &str) -> Result<&dyn SourceStore, StoreError> {
        let address = Address::parse(url)?;
        policy::permit(&self.access, url, &address)?;
        match address {
            Address::File(_) => Ok(&self.file),
            Address::Http(_) if self.dap.get().is_some_and(|dap| dap.knows(url)) => Ok(self.dap()?),
            Address::Http(_) => Ok(&**self.http()?),
            Address::Dap(_) => Ok(self.dap()?),
            Address::Ftp { .. } => Ok(&self.ftp),
            Address::Sftp(_) => Ok(&self.sftp),
            Address::Bucket { .. } => Ok(&self.cloud),
            Address::Memory(_) => {
                Err(StoreError::new(ErrorKind::Policy, url, "memory holds targets only; give a path or an `https://` URL"))
            }
        }
    }

    fn http(&self) -> Result<&Arc<HttpSource>, StoreError> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let made = Arc::new(HttpSource::new(&self.access, Arc::clone(&self.reporter))?);
        Ok(self.http.get_or_init(|| made))
    }

    /// The dataset of an OPeNDAP server at a web address that gave no file.
    fn dataset_instead(&self, url: &str, error: StoreError) -> Result<(Head, Bytes), StoreError> {
        match dap::candidate(url, &error) {
            Some(plain) => self.call(
                url,
                || "a description".to_owned(),
                |(_, start): &(Head, Bytes)| start.len(),
                |_| self.dap()?.instead(url, &plain, error),
            ),
            None => Err(error),
        }
    }

    fn dap(&self) -> Result<&DapSource, StoreError> {
        let http = self.http()?;
        Ok(self.dap.get_or_init(|| DapSource::new(Arc::clone(http))))
    }

    /// Makes a call as policy, budget and watchdog want it.
    fn call<T>(
        &self,
        url: &str,
        part: impl FnOnce() -> String,
        length: impl FnOnce(&T) -> usize,
        make: impl FnOnce(&dyn SourceStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let store = self.of(url)?;
        let budget = self.access.manners.budget();
        budget.permit(&self.limits, &dap::whole_of(url))?;
        let result = if store.is_local(url) { make(store) } else { self.watchdog.during(url, part(), || make(store)) }?;
        budget.spend(&self.limits, url, length(&result) as u64)?;
        Ok(result)
    }
}

impl SourceStore for AnySource {
    fn head(&self, url: &str) -> Result<Head, StoreError> {
        tracing::debug!(url = %shown(url), "head");
        self.call(url, || "the size".to_owned(), |_| 0, |store| store.head(url)).or_else(|error| Ok(self.dataset_instead(url, error)?.0))
    }

    fn begin(&self, url: &str) -> Result<(Head, Bytes), StoreError> {
        tracing::debug!(url = %shown(url), "begin");
        self.call(url, || format!("bytes 0-{}", START - 1), |(_, start): &(Head, Bytes)| start.len(), |store| store.begin(url))
            .or_else(|error| self.dataset_instead(url, error))
    }

    fn ranges(&self, url: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        tracing::debug!(url = %shown(url), ranges = ranges.len(), bytes = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum::<u64>(), "read");
        let length = |found: &Vec<Bytes>| found.iter().map(Bytes::len).sum();
        self.call(url, || part(ranges), length, |store| store.ranges(url, ranges))
    }

    fn stream(&self, url: &str, sink: &mut dyn Write) -> Result<u64, StoreError> {
        tracing::debug!(url = %shown(url), "read whole");
        let mut counted = Counted { sink, budget: self.access.manners.budget(), limits: &self.limits, url, exceeded: None };
        let result = self.call(url, || "the whole file".to_owned(), |_| 0, |store| store.stream(url, &mut counted));
        counted.exceeded.map_or(result, Err)
    }

    fn is_local(&self, url: &str) -> bool {
        matches!(Address::parse(url), Ok(Address::File(_)))
    }
}

/// Ranges as a person wants to hear of them.
fn part(ranges: &[Range<u64>]) -> String {
    let (first, last) =
        (ranges.iter().map(|range| range.start).min().unwrap_or(0), ranges.iter().map(|range| range.end).max().unwrap_or(0));
    match ranges.len() {
        1 => format!("bytes {first}-{}", last.saturating_sub(1)),
        many => format!("{many} ranges in bytes {first}-{}", last.saturating_sub(1)),
    }
}

impl Documents for AnySource {
    fn document(&self, url: &str, headers: &[(&str, &str)], limit: u64) -> Result<Document, StoreError> {
        tracing::debug!(url = %shown(url), "read list");
        let store = self.of(url)?;
        match Address::parse(url)? {
            Address::Http(_) => self.watchdog.during(url, "a list".to_owned(), || self.http()?.document(url, headers, limit)),
            _ => streamed(url, limit, |sink| store.stream(url, sink)),
        }
    }
}
