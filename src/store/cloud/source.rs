//! Reading `s3://bucket/key`, `gs://bucket/key`, `az://container@account/key`.
//!
//! Invariant: all bytes handed on of one object have the `ETag` it had when it was first looked at.

use std::collections::HashMap;
use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};

use crate::event::Reporter;

use super::super::access::Access;
use super::super::address::Address;
use super::super::limit::Gate;
use super::super::retry::{Fault, Patience};
use super::super::runtime::wait;
use super::super::watch::heard;
use super::super::{ErrorKind, Head, START, SourceStore, StoreError, merge};
use super::answer::{CHANGED, have_expired, judge};
use super::bucket::{self, Opened, object_path};
use super::persist;

/// Reads objects.
pub(in super::super) struct CloudSource {
    access: Access,
    reporter: Arc<dyn Reporter>,
    buckets: Mutex<HashMap<String, Arc<Opened>>>,
    seen: Mutex<HashMap<String, Head>>,
}

/// One object being read, or a prefix being listed.
pub(super) struct Object<'a> {
    source: &'a CloudSource,
    url: &'a str,
    pub(super) bucket: Arc<Opened>,
    pub(super) path: Path,
    pub(super) gate: Arc<Gate>,
}

impl CloudSource {
    /// A source with the operator's settings.
    pub(in super::super) fn new(access: &Access, reporter: Arc<dyn Reporter>) -> Self {
        Self { access: access.clone(), reporter, buckets: Mutex::default(), seen: Mutex::default() }
    }

    pub(super) fn object<'a>(&'a self, url: &'a str) -> Result<Object<'a>, StoreError> {
        let Address::Bucket { bucket: name, path } = Address::parse(url)? else {
            return Err(StoreError::new(ErrorKind::Policy, url, "not the URL of an object"));
        };
        let key = format!("{:?} {name}", name.cloud);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = match buckets.get(&key) {
            Some(bucket) => Arc::clone(bucket),
            None => Arc::new(bucket::open(&self.access, url, &name, !self.access.untrusted, self.access.idle_timeout)?),
        };
        buckets.insert(key, Arc::clone(&bucket));
        Ok(Object {
            source: self,
            url,
            bucket,
            path: object_path(url, &path)?,
            gate: bucket::gate(&self.access, &name, !self.access.untrusted),
        })
    }
}

impl Object<'_> {
    pub(super) fn patience(&self) -> Patience<'_> {
        Patience::new(self.url, &self.source.access.retries, &self.gate, self.source.reporter.as_ref())
    }

    /// What an error means; keys that are over are fetched anew for the next try.
    fn judge(&self, error: object_store::Error) -> Fault {
        match &self.bucket.keys {
            Some(keys) if have_expired(&error) => {
                keys.forget();
                Fault::passing("the S3 keys have expired")
            }
            _ => judge(self.bucket.cloud, self.url, error),
        }
    }

    async fn look(&self) -> Result<Head, StoreError> {
        let ask = || async { self.bucket.store.head(&self.path).await.map_err(|error| self.judge(error)) };
        Ok(self.remember(persist(self.patience(), &self.gate, ask).await?))
    }

    /// The first bytes, whose answer tells all that a HEAD would; an empty object has none to give.
    async fn begin(&self) -> Result<(Head, Bytes), StoreError> {
        let ask = || async {
            let options = GetOptions { range: Some(GetRange::Bounded(0..START)), ..GetOptions::default() };
            let answer = match self.bucket.store.get_opts(&self.path, options).await {
                Ok(answer) => answer,
                Err(error) => match self.judge(error) {
                    // An empty object has no part to send (416), and says so in one of many ways; the HEAD that follows tells.
                    Fault::Final(error) if error.kind == ErrorKind::Other => return Ok(None),
                    fault => return Err(fault),
                },
            };
            let meta = answer.meta.clone();
            let start = answer.bytes().await.map_err(|error| self.judge(error))?;
            Ok(Some((meta, start)))
        };
        if let Some((meta, start)) = persist(self.patience(), &self.gate, ask).await? {
            return Ok((self.remember(meta), start));
        }
        let head = self.look().await?;
        let length = head.size.unwrap_or(0).min(START);
        if length == 0 {
            return Ok((head, Bytes::new()));
        }
        let start = self.fetch(&head, 0..length, BytesMut::with_capacity(length as usize)).await?;
        Ok((head, start.freeze()))
    }

    fn remember(&self, meta: object_store::ObjectMeta) -> Head {
        let head = Head { size: Some(meta.size), etag: meta.e_tag, modified: Some(meta.last_modified.to_rfc2822()), stored: None };
        self.source.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(self.url.to_owned(), head.clone());
        head
    }

    async fn seen(&self) -> Result<Head, StoreError> {
        let known = self.source.seen.lock().unwrap_or_else(PoisonError::into_inner).get(self.url).cloned();
        match known {
            Some(head) => Ok(head),
            None => self.look().await,
        }
    }

    async fn get(&self, head: &Head, range: GetRange) -> Result<object_store::GetResult, Fault> {
        let options = GetOptions { if_match: head.etag.clone(), range: Some(range), ..GetOptions::default() };
        let answer = self.bucket.store.get_opts(&self.path, options).await.map_err(|error| self.judge(error))?;
        // There are servers that do not know the condition and send what they have now.
        let has_other_tag = answer.meta.e_tag.as_ref().zip(head.etag.as_ref()).is_some_and(|(now, then)| now != then);
        if has_other_tag || head.size.is_some_and(|size| size != answer.meta.size) {
            Err(StoreError::new(ErrorKind::Integrity, self.url, CHANGED).into())
        } else {
            Ok(answer)
        }
    }

    /// One range into a buffer that has room for it.
    async fn fetch(&self, head: &Head, range: Range<u64>, mut buffer: BytesMut) -> Result<BytesMut, StoreError> {
        let ask = || async {
            let answer = self.get(head, GetRange::Bounded(range.clone())).await?;
            answer.bytes().await.map_err(|error| self.judge(error))
        };
        let bytes = persist(self.patience(), &self.gate, ask).await?;
        heard(bytes.len());
        buffer.extend_from_slice(&bytes);
        Ok(buffer)
    }

    /// The whole object into a sink, taken up again where it broke.
    async fn download(&self, head: &Head, sink: &mut dyn Write) -> Result<u64, StoreError> {
        let size = head.size.unwrap_or_default();
        let mut patience = self.patience();
        let mut length = 0;
        while length < size {
            let before = length;
            let pass = self.gate.enter().await;
            let passed = self.pass_on(head, &mut length, sink).await;
            drop(pass);
            if let Err(fault) = passed {
                if length > before {
                    patience.renew();
                }
                patience.after(fault).await?;
            }
        }
        if length == size { Ok(length) } else { Err(self.wrong_length(length, size)) }
    }

    async fn pass_on(&self, head: &Head, length: &mut u64, sink: &mut dyn Write) -> Result<(), Fault> {
        let mut pieces = self.get(head, GetRange::Offset(*length)).await?.into_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.judge(error))?;
            heard(piece.len());
            sink.write_all(&piece).map_err(|error| StoreError::from_io(self.url, "pass on what was read", error))?;
            *length = length.saturating_add(piece.len() as u64);
        }
        if head.size.is_some_and(|size| *length < size) {
            Err(Fault::passing("the answer ended before its announced length"))
        } else {
            Ok(())
        }
    }

    fn wrong_length(&self, length: u64, size: u64) -> StoreError {
        StoreError::new(ErrorKind::Integrity, self.url, format!("{length} bytes came, {size} were announced; run again"))
    }
}

impl SourceStore for CloudSource {
    fn head(&self, url: &str) -> Result<Head, StoreError> {
        let object = self.object(url)?;
        wait(object.look())
    }

    fn begin(&self, url: &str) -> Result<(Head, Bytes), StoreError> {
        let object = self.object(url)?;
        wait(object.begin())
    }

    fn ranges(&self, url: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        let object = self.object(url)?;
        wait(async {
            let head = object.seen().await?;
            merge::check(url, ranges, head.size.unwrap_or(u64::MAX))?;
            merge::fetch_all(url, ranges, object.gate.room(), |range, buffer| object.fetch(&head, range, buffer)).await
        })
    }

    fn stream(&self, url: &str, sink: &mut dyn Write) -> Result<u64, StoreError> {
        let object = self.object(url)?;
        wait(async {
            let head = object.seen().await?;
            object.download(&head, sink).await
        })
    }

    fn is_local(&self, _url: &str) -> bool {
        false
    }
}
