//! Files of SSH servers, over SFTP (draft-ietf-secsh-filexfer-02).
//!
//! A connection is made to servers only whose key a file of known hosts has (`known`); keys are never taken on trust. Invariant: all
//! bytes handed on of one URL are of one content as far as the server tells (length and modification time), and as long as announced.

mod answer;
mod folder;
mod known;
mod session;
mod site;
mod transfer;

use std::collections::HashMap;
use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::event::Reporter;

use super::access::Access;
use super::limit::Gate;
use super::pool::{Held, Pool};
use super::retry::{Fault, Patience};
use super::runtime::wait;
use super::{Entry, Head, Listing, SourceStore, StoreError, merge};
use session::Session;
use site::Site;

/// Most connections to one server: OpenSSH begins to refuse at ten that are not yet logged in, over all its users.
const CONNECTIONS: usize = 4;

/// Reads `sftp://` URLs.
pub(super) struct SftpSource {
    access: Access,
    reporter: Arc<dyn Reporter>,
    pool: Pool<Session>,
    seen: Mutex<HashMap<String, Head>>,
}

/// One URL being read, with all that this needs.
struct Reading<'a> {
    source: &'a SftpSource,
    /// As the caller names it.
    url: &'a str,
    site: Site,
    path: String,
    gate: Arc<Gate>,
}

impl SftpSource {
    /// A source with the operator's settings; asks no server yet.
    pub(super) fn new(access: &Access, reporter: Arc<dyn Reporter>) -> Self {
        Self { access: access.clone(), reporter, pool: Pool::default(), seen: Mutex::default() }
    }

    fn reading<'a>(&'a self, url: &'a str) -> Result<Reading<'a>, StoreError> {
        let (site, path) = Site::parse(url, &self.access)?;
        let connections = self.access.connections_per_host.min(CONNECTIONS);
        let gate = self.access.manners.gate_of(&site.server(), connections);
        Ok(Reading { source: self, url, site, path, gate })
    }

    fn remember(&self, url: &str, head: &Head) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(url.to_owned(), head.clone());
    }

    fn recall(&self, url: &str) -> Option<Head> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned()
    }
}

impl<'a> Reading<'a> {
    fn patience(&'a self) -> Patience<'a> {
        Patience::new(self.url, &self.source.access.retries, &self.gate, self.source.reporter.as_ref())
    }

    async fn hold(&self) -> Result<Held<'a, Session>, Fault> {
        let open = async || Session::open(self.url, &self.site, &self.source.access).await;
        self.source.pool.hold(self.site.key(), &self.gate, open).await
    }

    /// Tries until it works or patience ends, each attempt on a connection that lives.
    async fn persist<T>(&self, attempt: impl AsyncFn(&mut Session) -> Result<T, Fault>) -> Result<T, StoreError> {
        self.patience().persist(async || attempt(self.hold().await?.session()?).await).await
    }

    /// Asks the server and remembers the answer.
    async fn look(&self) -> Result<Head, StoreError> {
        let head = self.persist(async |session| session.head(self.url, &self.path).await).await?;
        self.source.remember(self.url, &head);
        Ok(head)
    }

    async fn seen(&self) -> Result<Head, StoreError> {
        match self.source.recall(self.url) {
            Some(head) => Ok(head),
            None => self.look().await,
        }
    }

    async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        let head = self.seen().await?;
        merge::check(self.url, ranges, head.size.unwrap_or(u64::MAX))?;
        merge::fetch_all(self.url, ranges, self.gate.room(), |range, buffer| self.fetch(&head, range, buffer)).await
    }

    async fn stream(&self, sink: &mut dyn Write) -> Result<u64, StoreError> {
        let head = self.seen().await?;
        self.download(&head, sink).await
    }
}

impl SourceStore for SftpSource {
    fn head(&self, url: &str) -> Result<Head, StoreError> {
        let reading = self.reading(url)?;
        wait(reading.look())
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

impl Listing for SftpSource {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, StoreError> {
        let reading = self.reading(folder)?;
        let mut entries = wait(reading.persist(async |session| session.list(folder, &reading.path).await))?;
        entries.sort();
        Ok(entries)
    }
}
