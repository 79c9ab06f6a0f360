//! Files of FTP servers, plain and encrypted.
//!
//! FTP has no ranges: a part is a transfer from a byte on that is broken off, which costs several round trips. So parts are
//! rented until that has cost as much as the file, which is then bought whole (`docs/design/014-protocols.md`). Invariant: all
//! bytes handed on of one URL are of one content as far as the server tells (length and modification time), and as long as
//! announced.

mod answer;
mod folder;
mod listing;
mod session;
pub(super) mod site;
mod transfer;
mod trust;

use std::collections::HashMap;
use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::event::Reporter;

use super::access::Access;
use super::address::shown;
use super::limit::Gate;
use super::policy;
use super::pool::{Held, Pool};
use super::retry::{Fault, Patience};
use super::runtime::wait;
use super::spool::{Content, Spool, Spooled};
use super::{Entry, ErrorKind, Head, Listing, SourceStore, StoreError, merge};
use session::Session;
use site::Site;
use trust::Trust;

/// Most connections to one server: agencies allow few, and refuse who opens more.
const CONNECTIONS: usize = 4;

/// What a transfer costs besides its bytes, in bytes: six round trips, in which a usual line carries so many.
const TRANSFER: u64 = 4 << 20;

/// Reads `ftp://` and `ftps://` URLs.
pub(super) struct FtpSource {
    access: Access,
    reporter: Arc<dyn Reporter>,
    pool: Pool<Session>,
    trust: Trust,
    seen: Mutex<HashMap<String, Arc<Seen>>>,
    spool: Arc<Spool>,
}

/// What was learned of a file when it was last looked at.
#[derive(Debug, Default)]
struct Seen {
    head: Head,
    /// The server cannot begin in the middle of a file.
    no_restart: AtomicBool,
    /// What parts of it have cost so far.
    spent: AtomicU64,
}

impl Seen {
    fn is_whole_only(&self) -> bool {
        self.head.size.is_none() || self.no_restart.load(Ordering::Relaxed)
    }

    /// True if these parts are still cheaper than the whole file, or if it is too long to be kept.
    fn rents(&self, ranges: &[Range<u64>], longest: u64) -> bool {
        let Some(size) = self.head.size.filter(|_| !self.is_whole_only()) else { return false };
        let (requests, bytes) = merge::cost(ranges);
        let cost = requests.saturating_mul(TRANSFER).saturating_add(bytes);
        let before = self.spent.fetch_add(cost, Ordering::Relaxed);
        before.saturating_add(cost) <= size || size > longest
    }
}

/// One URL being read, with all that this needs.
struct Reading<'a> {
    source: &'a FtpSource,
    /// As the caller names it.
    url: &'a str,
    site: Site,
    path: String,
    gate: Arc<Gate>,
}

impl FtpSource {
    /// A source with the operator's settings; asks no server yet.
    pub(super) fn new(access: &Access, reporter: Arc<dyn Reporter>) -> Self {
        Self {
            access: access.clone(),
            reporter,
            pool: Pool::default(),
            trust: Trust::new(access),
            seen: Mutex::default(),
            spool: access.spool.of(access),
        }
    }

    fn reading<'a>(&'a self, url: &'a str) -> Result<Reading<'a>, StoreError> {
        let (site, path) = Site::parse(url, |server| self.access.auth.login(server))?;
        policy::permit_url(&self.access, &site.url).map_err(|refusal| StoreError::new(ErrorKind::Policy, url, refusal.to_string()))?;
        let connections = self.access.connections_per_host.min(CONNECTIONS);
        let gate = self.access.manners.gate_of(&format!("{}:{}", site.url.host_str().unwrap_or_default(), site.port), connections);
        Ok(Reading { source: self, url, site, path, gate })
    }

    fn remember(&self, url: &str, head: Head) -> Arc<Seen> {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(url).filter(|known| known.head == head) {
            return Arc::clone(known);
        }
        let seen = Arc::new(Seen { head, ..Seen::default() });
        all.insert(url.to_owned(), Arc::clone(&seen));
        seen
    }

    fn recall(&self, url: &str) -> Option<Arc<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned()
    }
}

impl<'a> Reading<'a> {
    fn patience(&'a self) -> Patience<'a> {
        Patience::new(self.url, &self.source.access.retries, &self.gate, self.source.reporter.as_ref())
    }

    async fn hold(&self) -> Result<Held<'a, Session>, Fault> {
        let open = async || Session::open(self.url, &self.site, &self.source.access, &self.source.trust).await;
        self.source.pool.hold(self.site.key(), &self.gate, open).await
    }

    /// Tries until it works or patience ends, each attempt on a connection that lives.
    async fn persist<T>(&self, attempt: impl AsyncFn(&mut Session) -> Result<T, Fault>) -> Result<T, StoreError> {
        self.patience().persist(async || attempt(self.hold().await?.session()?).await).await
    }

    /// Asks the server and remembers the answer.
    async fn look(&self) -> Result<Arc<Seen>, StoreError> {
        let head = self.persist(async |session| self.ask_head(session).await).await?;
        let seen = self.source.remember(self.url, head);
        if seen.head.size.is_some() {
            return Ok(seen);
        }
        // Only the whole file tells its length.
        let length = self.spooled(&seen).await?.length();
        let head = Head { size: Some(length), ..seen.head.clone() };
        Ok(Arc::new(Seen { head, ..Seen::default() }))
    }

    async fn seen(&self) -> Result<Arc<Seen>, StoreError> {
        match self.source.recall(self.url) {
            Some(seen) => Ok(seen),
            None => self.look().await,
        }
    }

    /// The whole file on disk, fetched now if it is not there.
    async fn spooled(&self, seen: &Seen) -> Result<Arc<Spooled>, StoreError> {
        self.source.spool.fetched(&self.content(seen), async |part| self.download(seen, part).await.map(drop)).await
    }

    fn content(&self, seen: &Seen) -> Content {
        Content::new(self.url, shown(self.url), "as stored", &seen.head)
    }

    async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        let seen = self.seen().await?;
        merge::check(self.url, ranges, seen.head.size.unwrap_or(u64::MAX))?;
        if ranges.iter().all(|range| range.start == range.end) {
            return Ok(vec![Bytes::new(); ranges.len()]);
        }
        let is_here = self.source.spool.holds(&self.content(&seen));
        if !is_here && seen.rents(ranges, self.source.access.spool_limit.0) {
            let answers = merge::fetch_all(self.url, ranges, self.gate.room(), |range, buffer| self.fetch(&seen, range, buffer)).await;
            // Some transfer may have shown just now that the server cannot begin in the middle.
            if !seen.is_whole_only() {
                let answers = answers?;
                self.judge_unchanged(&seen).await?;
                return Ok(answers);
            }
        }
        let file = self.spooled(&seen).await?;
        merge::check(self.url, ranges, file.length())?;
        ranges.iter().map(|range| file.read(self.url, range)).collect()
    }

    async fn stream(&self, sink: &mut dyn Write) -> Result<u64, StoreError> {
        let seen = self.seen().await?;
        if self.source.spool.holds(&self.content(&seen)) {
            return self.spooled(&seen).await?.copy(self.url, sink);
        }
        self.download(&seen, sink).await
    }
}

impl SourceStore for FtpSource {
    fn head(&self, url: &str) -> Result<Head, StoreError> {
        let reading = self.reading(url)?;
        wait(async { reading.look().await.map(|seen| seen.head.clone()) })
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

impl Listing for FtpSource {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, StoreError> {
        let reading = self.reading(folder)?;
        let mut entries = wait(reading.persist(async |session| reading.list(session).await))?;
        entries.sort();
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_rented_until_they_cost_as_much_as_the_whole() {
        let seen = |size: u64| Seen { head: Head { size: Some(size), ..Head::default() }, ..Seen::default() };
        let small = seen(TRANSFER);
        assert!(!small.rents(&[0..10], u64::MAX));
        let large = seen(10 * TRANSFER);
        let rented = (0..20).filter(|_| large.rents(&[0..1024], u64::MAX)).count();
        assert_eq!(rented, 9);
        assert!(!large.rents(&[0..10], u64::MAX) && large.rents(&[0..10], 9 * TRANSFER));
        assert!(!Seen::default().rents(&[0..1], 0));
    }
}
