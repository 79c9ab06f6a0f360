//! Objects of S3-compatible servers: sources to read, targets to write.
//!
//! Requests, signatures and retries are `object_store`'s; this file gives them our names, limits and errors. Invariant: an
//! object created with [`PutMode::Create`] is created by one unretried request at a time, so that a lost answer is told from
//! a lost race.

use std::collections::HashMap;
use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, HeaderValue, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig, WriteMultipart,
};

use crate::event::{Reporter, Silent};

use super::access::{Access, PathStyle, Retries};
use super::address::Address;
use super::error::printable;
use super::limit::{Gate, Gates};
use super::local::check_key;
use super::retry::{Fault, Patience};
use super::runtime::{install_cryptography, wait};
use super::{ErrorKind, Head, PutMode, SourceStore, StoreError, TargetStore, merge};

/// Largest object sent in one request.
const SINGLE_PUT: usize = 64 << 20;

/// Bytes of a part of a larger object.
const PART: usize = 16 << 20;

/// Parts under way at once.
const PARTS_AT_ONCE: usize = 4;

/// Opens a bucket with the operator's settings. Anonymous if there are no credentials, or if the recipe is not to be trusted with them.
fn bucket(access: &Access, url: &str, name: &str, retries: usize, own: bool) -> Result<AmazonS3, StoreError> {
    install_cryptography();
    let agent = HeaderValue::from_str(&access.user_agent).unwrap_or_else(|_| HeaderValue::from_static("gristmill"));
    let options = ClientOptions::new()
        .with_user_agent(agent)
        .with_timeout_disabled()
        .with_connect_timeout(access.connect_timeout)
        .with_read_timeout(access.idle_timeout)
        .with_allow_http(own && allows_http(access));
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(name)
        .with_region(access.s3.region.as_deref().unwrap_or("us-east-1"))
        .with_client_options(options)
        .with_virtual_hosted_style_request(access.s3.path_style == PathStyle::HostName)
        .with_retry(retry_config(&access.retries, retries));
    if let Some(endpoint) = access.s3.endpoint.as_deref().filter(|_| own) {
        builder = builder.with_endpoint(endpoint);
    }
    builder = match access.s3.credentials.as_ref().filter(|_| own) {
        None => builder.with_skip_signature(true),
        Some(known) => {
            let signed = builder.with_access_key_id(known.key_id.as_str()).with_secret_access_key(known.secret.reveal());
            known.token.iter().fold(signed, |signed, token| signed.with_token(token.reveal()))
        }
    };
    builder
        .build()
        .map_err(|error| StoreError::new(ErrorKind::Other, url, "cannot set up S3 access; check endpoint and region").because(error))
}

/// Plain `http://` is for this machine, and for whom the operator says.
fn allows_http(access: &Access) -> bool {
    let host =
        access.s3.endpoint.as_deref().and_then(|endpoint| url::Url::parse(endpoint).ok()).and_then(|url| url.host_str().map(str::to_owned));
    access.s3.allow_http || host.is_some_and(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]")
}

fn retry_config(retries: &Retries, times: usize) -> RetryConfig {
    let backoff = BackoffConfig { init_backoff: retries.first_wait, max_backoff: retries.longest_wait, base: 2.0 };
    RetryConfig { backoff, max_retries: times, retry_timeout: retries.give_up_after }
}

fn attempts(access: &Access) -> usize {
    access.retries.attempts.saturating_sub(1) as usize
}

/// An object's path, taken as it is written.
fn object_path(url: &str, key: &str) -> Result<Path, StoreError> {
    Path::parse(key)
        .map_err(|error| StoreError::new(ErrorKind::Other, url, "not a key that S3 stores; write plain names joined by `/`").because(error))
}

/// What the library's error means.
fn refusal(url: &str, error: object_store::Error) -> StoreError {
    use object_store::Error;
    let text = printable(&error.to_string());
    let (kind, message) = match &error {
        Error::NotFound { .. } => (ErrorKind::NotFound, "no such object or bucket; check the URL and the endpoint".to_owned()),
        Error::AlreadyExists { .. } => (ErrorKind::Exists, "the object exists already".to_owned()),
        Error::Precondition { .. } => (ErrorKind::Integrity, "the object changed while it was read; run again".to_owned()),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            (ErrorKind::Forbidden, "access denied; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, region and endpoint".to_owned())
        }
        Error::NotImplemented { .. } | Error::NotSupported { .. } => (ErrorKind::Other, "the server has no such operation".to_owned()),
        _ => by_status(&error.to_string())
            .unwrap_or((ErrorKind::Other, format!("the request failed ({text}); check endpoint, region and bucket"))),
    };
    StoreError::new(kind, url, message).because(error)
}

/// The library keeps the status of an exhausted retry in its text only.
fn by_status(text: &str) -> Option<(ErrorKind, String)> {
    let status = text.split("status code: ").nth(1).and_then(|rest| rest.get(..3)).and_then(|digits| digits.parse::<u16>().ok());
    let later = |what: String| (ErrorKind::Temporary, format!("{what}; run again later: retry helps"));
    match status {
        Some(501) => Some((ErrorKind::Other, "the server answers 501: it has no such operation".to_owned())),
        Some(507) => Some((ErrorKind::NoSpace, "the server is full".to_owned())),
        Some(status @ (408 | 409 | 429 | 500..=599)) => Some(later(format!("the server answers {status}"))),
        None if text.contains("redirect without LOCATION") => {
            Some((ErrorKind::Other, "the bucket is in another region; set AWS_REGION or `s3.region`".to_owned()))
        }
        None if text.contains("Server returned error response") => Some(later("the server reports an error of its own".to_owned())),
        None if text.contains("HTTP error") => Some(later("the connection to the server failed".to_owned())),
        _ => None,
    }
}

/// Reads `s3://bucket/key`.
pub(super) struct S3Source {
    access: Access,
    gates: Gates,
    buckets: Mutex<HashMap<String, Arc<AmazonS3>>>,
    seen: Mutex<HashMap<String, Head>>,
}

/// One object being read.
struct Object {
    store: Arc<AmazonS3>,
    path: Path,
    gate: Arc<Gate>,
}

/// Objects whose validators are remembered.
const REMEMBERED: usize = 1 << 14;

impl S3Source {
    /// A source with the operator's settings.
    pub(super) fn new(access: &Access) -> Self {
        Self { access: access.clone(), gates: Gates::new(access.connections_per_host), buckets: Mutex::default(), seen: Mutex::default() }
    }

    fn object(&self, url: &str) -> Result<Object, StoreError> {
        let Address::S3 { bucket: name, path } = Address::parse(url)? else {
            return Err(StoreError::new(ErrorKind::Policy, url, "not an `s3://` URL"));
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let store = match buckets.get(&name) {
            Some(store) => Arc::clone(store),
            None => Arc::new(bucket(&self.access, url, &name, attempts(&self.access), !self.access.untrusted)?),
        };
        buckets.insert(name.clone(), Arc::clone(&store));
        Ok(Object { store, path: object_path(url, &path)?, gate: self.gates.of(&name) })
    }

    async fn look(&self, url: &str, object: &Object) -> Result<Head, StoreError> {
        let _pass = object.gate.enter().await;
        let meta = object.store.head(&object.path).await.map_err(|error| refusal(url, error))?;
        let head = Head { size: Some(meta.size), etag: meta.e_tag, modified: Some(meta.last_modified.to_rfc2822()) };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED {
            seen.clear();
        }
        seen.insert(url.to_owned(), head.clone());
        Ok(head)
    }

    async fn seen(&self, url: &str, object: &Object) -> Result<Head, StoreError> {
        let known = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned();
        match known {
            Some(head) => Ok(head),
            None => self.look(url, object).await,
        }
    }
}

impl Object {
    fn options(head: &Head, range: Option<Range<u64>>) -> GetOptions {
        GetOptions { if_match: head.etag.clone(), range: range.map(GetRange::Bounded), ..GetOptions::default() }
    }

    async fn fetch(&self, url: &str, head: &Head, range: Range<u64>) -> Result<Bytes, StoreError> {
        let _pass = self.gate.enter().await;
        let answer = self.store.get_opts(&self.path, Self::options(head, Some(range))).await.map_err(|error| refusal(url, error))?;
        let bytes = answer.bytes().await.map_err(|error| refusal(url, error))?;
        self.gate.praise();
        Ok(bytes)
    }

    async fn download(&self, url: &str, head: &Head, sink: &mut dyn Write) -> Result<u64, StoreError> {
        let _pass = self.gate.enter().await;
        let answer = self.store.get_opts(&self.path, Self::options(head, None)).await.map_err(|error| refusal(url, error))?;
        let mut pieces = answer.into_stream();
        let mut length = 0_u64;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| refusal(url, error))?;
            sink.write_all(&piece).map_err(|error| StoreError::from_io(url, "pass on what was read", error))?;
            length = length.saturating_add(piece.len() as u64);
        }
        if head.size == Some(length) { Ok(length) } else { Err(wrong_length(url, length, head)) }
    }
}

fn wrong_length(url: &str, length: u64, head: &Head) -> StoreError {
    let announced = head.size.unwrap_or_default();
    StoreError::new(ErrorKind::Integrity, url, format!("{length} bytes came, {announced} were announced; run again"))
}

impl SourceStore for S3Source {
    fn head(&self, url: &str) -> Result<Head, StoreError> {
        let object = self.object(url)?;
        wait(self.look(url, &object))
    }

    fn ranges(&self, url: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        let object = self.object(url)?;
        wait(async {
            let head = self.seen(url, &object).await?;
            merge::check(url, ranges, head.size.unwrap_or(u64::MAX))?;
            merge::fetch_all(url, ranges, object.gate.room(), |range| object.fetch(url, &head, range)).await
        })
    }

    fn stream(&self, url: &str, sink: &mut dyn Write) -> Result<u64, StoreError> {
        let object = self.object(url)?;
        wait(async {
            let head = self.seen(url, &object).await?;
            object.download(url, &head, sink).await
        })
    }

    fn is_local(&self, _url: &str) -> bool {
        false
    }
}

/// Writes below `s3://bucket/prefix`.
pub(super) struct S3Target {
    url: String,
    store: AmazonS3,
    /// The same bucket without retries, for creations.
    once: AmazonS3,
    prefix: Path,
    retries: Retries,
    gates: Gates,
}

impl S3Target {
    /// Opens the place with the operator's settings; asks the server nothing yet.
    pub(super) fn open(access: &Access, url: &str, name: &str, prefix: &str) -> Result<Self, StoreError> {
        if prefix.is_empty() {
            return Err(StoreError::new(ErrorKind::Other, url, "a target needs a prefix of its own in the bucket: `s3://bucket/name`"));
        }
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            store: bucket(access, url, name, attempts(access), true)?,
            once: bucket(access, url, name, 0, true)?,
            prefix: object_path(url, prefix)?,
            retries: access.retries.clone(),
            gates: Gates::new(access.connections_per_host),
        })
    }

    fn path(&self, key: &str) -> Result<Path, StoreError> {
        check_key(key)?;
        object_path(&self.named(key), &format!("{}/{key}", self.prefix))
    }

    fn named(&self, key: &str) -> String {
        format!("{}/{key}", self.url)
    }

    fn gate(&self) -> Arc<Gate> {
        self.gates.of(&self.url)
    }

    async fn overwrite(&self, path: &Path, bytes: Bytes) -> object_store::Result<()> {
        if bytes.len() <= SINGLE_PUT {
            return self.store.put(path, PutPayload::from_bytes(bytes)).await.map(drop);
        }
        let mut upload = WriteMultipart::new_with_chunk_size(self.store.put_multipart(path).await?, PART);
        let parts = (0..bytes.len()).step_by(PART).map(|start| bytes.slice(start..bytes.len().min(start + PART)));
        for part in parts {
            if let Err(error) = upload.wait_for_capacity(PARTS_AT_ONCE).await {
                // The first error is the one to tell; left parts are swept by the bucket's own rules if aborting fails too.
                let _failed = upload.abort().await;
                return Err(error);
            }
            upload.put(part);
        }
        // Aborts by itself when it fails.
        upload.finish().await.map(drop)
    }

    /// Creates an object, telling "somebody was first" from "the answer to my own first try got lost".
    async fn create(&self, key: &str, path: &Path, bytes: Bytes) -> Result<(), StoreError> {
        let (url, gate, silent) = (self.named(key), self.gate(), Silent);
        let mut patience = Patience::new(&url, &self.retries, &gate, &silent as &dyn Reporter);
        let mut unsure = false;
        loop {
            let payload = PutPayload::from_bytes(bytes.clone());
            let tried = self.once.put_opts(path, payload, object_store::PutMode::Create.into()).await;
            match tried.map_err(|error| refusal(&url, error)) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind == ErrorKind::Exists && unsure => return self.settle(&url, path, &bytes, error).await,
                Err(error) if error.kind == ErrorKind::Temporary => {
                    unsure = true;
                    patience.after(Fault::passing(error.message)).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// After an unanswered creation: the object is ours if it holds what we sent.
    async fn settle(&self, url: &str, path: &Path, bytes: &Bytes, exists: StoreError) -> Result<(), StoreError> {
        let stored = self.store.get(path).await.map_err(|error| refusal(url, error))?;
        let stored = stored.bytes().await.map_err(|error| refusal(url, error))?;
        if stored == *bytes { Ok(()) } else { Err(exists) }
    }
}

/// `None` for what is not there.
fn found<T>(result: object_store::Result<T>, url: &str) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(refusal(url, error)),
    }
}

impl TargetStore for S3Target {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let (path, gate, url) = (self.path(key)?, self.gate(), self.named(key));
        wait(async {
            let _pass = gate.enter().await;
            Ok(found(self.store.head(&path).await, &url)?.map(|meta| meta.size))
        })
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let (path, gate, url) = (self.path(key)?, self.gate(), self.named(key));
        wait(async {
            let _pass = gate.enter().await;
            match found(self.store.get(&path).await, &url)? {
                Some(answer) => answer.bytes().await.map(Some).map_err(|error| refusal(&url, error)),
                None => Ok(None),
            }
        })
    }

    fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        let (path, gate) = (self.path(key)?, self.gate());
        wait(async {
            let _pass = gate.enter().await;
            match mode {
                PutMode::Overwrite => self.overwrite(&path, bytes).await.map_err(|error| refusal(&self.named(key), error)),
                PutMode::Create => self.create(key, &path, bytes).await,
            }
        })
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let below = prefix.trim_end_matches('/');
        let path = if below.is_empty() { self.prefix.clone() } else { self.path(below)? };
        let own = format!("{}/", self.prefix);
        wait(async {
            let found = self.store.list(Some(&path)).take(limit).map_ok(|meta| meta.location.to_string());
            let paths: Vec<String> = found.try_collect().await.map_err(|error| refusal(&self.named(below), error))?;
            let mut keys: Vec<String> = paths.iter().filter_map(|path| path.strip_prefix(&own)).map(str::to_owned).collect();
            keys.sort_unstable();
            Ok(keys)
        })
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        let (path, gate, url) = (self.path(key)?, self.gate(), self.named(key));
        wait(async {
            let _pass = gate.enter().await;
            found(self.store.delete(&path).await, &url).map(drop)
        })
    }
}
