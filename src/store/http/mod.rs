//! Source files of web servers.
//!
//! Ranges are fetched in parallel, each retried and resumed by itself. A file whose server cannot send ranges is fetched whole
//! once into the spool. Invariant: all bytes handed on of one URL are of one content, the one that was there
//! when it was first looked at, and as long as announced.

mod answer;
mod asked;
mod body;
mod computed;
pub(super) mod courier;
mod document;
mod index;
mod request;

use std::collections::HashMap;
use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use url::Url;

use crate::event::Reporter;

use super::access::{Access, Retries};
use super::address::{Address, shown};
use super::limit::Gate;
use super::manners::Manners;
use super::retry::Patience;
use super::runtime::wait;
use super::spool::{Content, Spool, Spooled};
use super::{ErrorKind, Head, START, SourceStore, StoreError, merge};
pub use asked::{clock, serves_pages};
pub(super) use computed::{Asking, Computed};
use courier::Courier;
pub(super) use document::streamed;

/// Reads `http://` and `https://` URLs.
pub(super) struct HttpSource {
    courier: Courier,
    retries: Retries,
    manners: Manners,
    connections: usize,
    reporter: Arc<dyn Reporter>,
    idle: Duration,
    seen: Mutex<HashMap<String, Arc<Seen>>>,
    spool: Arc<Spool>,
}

/// What was learned of a file when it was first looked at.
#[derive(Debug, Default)]
struct Seen {
    head: Head,
    /// The server ignored a range or says that it knows none.
    no_ranges: AtomicBool,
}

impl Seen {
    fn lacks_ranges(&self) -> bool {
        self.no_ranges.load(Ordering::Relaxed)
    }
}

/// One URL being read, with all that its requests need.
struct Reading<'a> {
    source: &'a HttpSource,
    /// As the caller names it.
    url: &'a str,
    target: Url,
    gate: Arc<Gate>,
}

impl HttpSource {
    /// A source with the operator's settings.
    pub(super) fn new(access: &Access, reporter: Arc<dyn Reporter>) -> Result<Self, StoreError> {
        Ok(Self {
            courier: Courier::new(access)?,
            retries: access.retries.clone(),
            manners: access.manners.clone(),
            connections: access.connections_per_host,
            reporter,
            idle: access.idle_timeout,
            seen: Mutex::default(),
            spool: access.spool.of(access),
        })
    }

    fn reading<'a>(&'a self, url: &'a str) -> Result<Reading<'a>, StoreError> {
        let Address::Http(target) = Address::parse(url)? else {
            return Err(StoreError::new(ErrorKind::Policy, url, "not a web address"));
        };
        let gate = self.manners.gate(&target, self.connections);
        Ok(Reading { source: self, url, target, gate })
    }

    fn remember(&self, url: &str, seen: Seen) -> Arc<Seen> {
        let seen = Arc::new(seen);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(url.to_owned(), Arc::clone(&seen));
        seen
    }

    fn recall(&self, url: &str) -> Option<Arc<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned()
    }
}

impl<'a> Reading<'a> {
    fn patience(&'a self) -> Patience<'a> {
        Patience::new(self.url, &self.source.retries, &self.gate, self.source.reporter.as_ref())
    }

    /// What is known of the file, asking the server if nothing is.
    async fn seen(&self) -> Result<Arc<Seen>, StoreError> {
        match self.source.recall(self.url) {
            Some(seen) => Ok(seen),
            None => self.look().await,
        }
    }

    /// Asks the server and remembers the answer.
    async fn look(&self) -> Result<Arc<Seen>, StoreError> {
        let mut seen = self.patience().persist(async || self.ask_head().await).await?;
        if seen.head.size.is_none() {
            // Neither HEAD nor a range tells the length: only the whole file does.
            seen.no_ranges = AtomicBool::new(true);
            let file = self.spooled(&seen).await?;
            seen.head.size = Some(file.length());
        }
        Ok(self.source.remember(self.url, seen))
    }

    /// Asks the server for the start of the file, which tells all that a HEAD would, and remembers what it tells.
    async fn begin(&self) -> Result<(Head, Bytes), StoreError> {
        let (mut seen, mut start) = self.patience().persist(async || self.ask_start(START).await).await?;
        if seen.lacks_ranges() {
            let file = self.spooled(&seen).await?;
            seen.head.size = Some(file.length());
            start = file.read(self.url, &(0..file.length().min(START)))?;
        }
        let seen = if seen.head.size.is_none() { self.look().await? } else { self.source.remember(self.url, seen) };
        Ok((seen.head.clone(), start))
    }

    async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        let seen = self.seen().await?;
        merge::check(self.url, ranges, seen.head.size.unwrap_or(u64::MAX))?;
        if !seen.lacks_ranges() {
            let answers = merge::fetch_all(self.url, ranges, self.gate.room(), |range, buffer| self.fetch(&seen, range, buffer)).await;
            // Some request may have shown just now that ranges are ignored.
            if !seen.lacks_ranges() {
                return answers;
            }
        }
        let file = self.spooled(&seen).await?;
        merge::check(self.url, ranges, file.length())?;
        ranges.iter().map(|range| file.read(self.url, range)).collect()
    }

    fn content(&self, seen: &Seen) -> Content {
        // The length may be learned only from the file itself.
        Content::new(self.url, shown(self.url), "as stored", &Head { size: None, ..seen.head.clone() })
    }

    /// The whole file on disk, since its server cannot send ranges.
    async fn spooled(&self, seen: &Seen) -> Result<Arc<Spooled>, StoreError> {
        let content = self.content(seen);
        self.source.spool.fetched(&content, async |part| self.download(seen, part).await.map(drop)).await
    }

    async fn stream(&self, sink: &mut dyn Write) -> Result<u64, StoreError> {
        let seen = self.seen().await?;
        if seen.lacks_ranges() && self.source.spool.holds(&self.content(&seen)) {
            return self.spooled(&seen).await?.copy(self.url, sink);
        }
        self.download(&seen, sink).await
    }
}

impl SourceStore for HttpSource {
    fn head(&self, url: &str) -> Result<Head, StoreError> {
        let reading = self.reading(url)?;
        wait(async { reading.look().await.map(|seen| seen.head.clone()) })
    }

    fn begin(&self, url: &str) -> Result<(Head, Bytes), StoreError> {
        let reading = self.reading(url)?;
        wait(reading.begin())
    }

    fn ranges(&self, url: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        let reading = self.reading(url)?;
        wait(reading.ranges(ranges))
    }

    fn stream(&self, url: &str, sink: &mut dyn Write) -> Result<u64, StoreError> {
        let reading = self.reading(url)?;
        wait(reading.stream(sink))
    }

    fn is_local(&self, _url: &str) -> bool {
        false
    }
}
