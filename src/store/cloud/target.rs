//! Writing below `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container@account/prefix`.
//!
//! Puts under a condition are in `conditional`. Invariant: an object is visible under its key only when all of it was accepted; a
//! broken upload in parts is aborted.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetResult, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};

use crate::event::Silent;

use super::super::access::{Access, Retries};
use super::super::limit::Gate;
use super::super::local::check_key;
use super::super::retry::{Fault, Patience};
use super::super::runtime::wait;
use super::super::watch::heard;
use super::super::{Bucket, Cloud, ErrorKind, PutMode, StoreError, TargetStore};
use super::answer::{found, judge};
use super::bucket::{self, object_path};
use super::{Service, persist};

/// Largest object sent in one request.
const SINGLE_PUT: usize = 64 << 20;

/// Bytes of a part of a larger object.
const PART: usize = 16 << 20;

/// Parts under way at once.
const PARTS_AT_ONCE: usize = 4;

/// An upload's answer comes after its last byte: time enough for [`SINGLE_PUT`] at 220 kB/s.
pub(super) const UPLOAD: Duration = Duration::from_mins(5);

/// Writes and reads objects below one prefix.
pub(in super::super) struct CloudTarget {
    pub(super) url: String,
    pub(super) cloud: Cloud,
    pub(super) store: Arc<dyn Service>,
    pub(super) prefix: Path,
    pub(super) retries: Retries,
    pub(super) gate: Arc<Gate>,
    /// True if addresses can be signed, since there are credentials for it.
    pub(super) signs: bool,
    /// For what the library does not ask.
    pub(super) access: Access,
}

impl CloudTarget {
    /// Opens the place with the operator's settings; asks the server nothing yet.
    pub(in super::super) fn open(access: &Access, url: &str, bucket: &Bucket, prefix: &str) -> Result<Self, StoreError> {
        if prefix.is_empty() {
            return Err(StoreError::new(
                ErrorKind::Other,
                url,
                "a target needs a prefix of its own in the bucket, as in `s3://bucket/name`",
            ));
        }
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            cloud: bucket.cloud,
            store: bucket::open(access, url, bucket, true, access.idle_timeout.max(UPLOAD))?.store,
            prefix: object_path(url, prefix)?,
            retries: access.retries.clone(),
            gate: bucket::gate(access, bucket, true),
            signs: match bucket.cloud {
                Cloud::Amazon => access.s3.credentials.is_some(),
                // Only the key of a service account signs without asking Google.
                Cloud::Google => access.google.key_file.is_some() && access.google.token.is_none(),
                Cloud::Azure => false,
            },
            access: access.clone(),
        })
    }

    pub(super) fn path(&self, key: &str) -> Result<Path, StoreError> {
        check_key(key)?;
        object_path(&self.named(key), &format!("{}/{key}", self.prefix))
    }

    pub(super) fn named(&self, key: &str) -> String {
        format!("{}/{key}", self.url)
    }

    /// Tries until it works or patience ends.
    pub(super) fn persist<T>(&self, url: &str, attempt: impl AsyncFn() -> Result<T, Fault>) -> Result<T, StoreError> {
        wait(persist(Patience::new(url, &self.retries, &self.gate, &Silent), &self.gate, attempt))
    }

    async fn overwrite(&self, path: &Path, bytes: Bytes) -> object_store::Result<()> {
        if bytes.len() <= SINGLE_PUT {
            return self.store.put(path, PutPayload::from_bytes(bytes)).await.map(drop);
        }
        let mut upload = WriteMultipart::new_with_chunk_size(self.store.put_multipart(path).await?, PART);
        let parts = (0..bytes.len()).step_by(PART).map(|start| bytes.slice(start..bytes.len().min(start + PART)));
        for part in parts {
            if let Err(error) = upload.wait_for_capacity(PARTS_AT_ONCE).await {
                // The first error is the one to tell; what is left is swept by the bucket's own rules if aborting fails too.
                let _failed = upload.abort().await;
                return Err(error);
            }
            upload.put(part);
        }
        // Aborts by itself when it fails.
        upload.finish().await.map(drop)
    }

    pub(super) async fn read(&self, url: &str, path: &Path) -> Result<Option<Bytes>, Fault> {
        let Some(answer) = found(self.cloud, self.store.get(path).await, url)? else { return Ok(None) };
        let is_tagged = answer.meta.e_tag.is_some();
        let bytes = whole(answer).await.map_err(|error| judge(self.cloud, url, error))?;
        if is_tagged || !is_error(&bytes) {
            Ok(Some(bytes))
        } else {
            Err(Fault::passing("the server sends an error instead of the object"))
        }
    }
}

/// All of an answer, each piece told to the watchdog.
async fn whole(answer: GetResult) -> object_store::Result<Bytes> {
    let mut bytes = BytesMut::new();
    let mut pieces = answer.into_stream();
    while let Some(piece) = pieces.try_next().await? {
        heard(piece.len());
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}

/// True for the XML by which S3 tells an error, which some servers send with a 200. Objects come with a tag, errors do not.
fn is_error(body: &[u8]) -> bool {
    let start = body.get(..body.len().min(200)).unwrap_or_default();
    start.starts_with(b"<") && start.windows(7).any(|text| text == b"<Error>")
}

impl TargetStore for CloudTarget {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let (path, url) = (self.path(key)?, self.named(key));
        let meta = self.persist(&url, || async { found(self.cloud, self.store.head(&path).await, &url) })?;
        Ok(meta.map(|meta| meta.size))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let (path, url) = (self.path(key)?, self.named(key));
        self.persist(&url, || self.read(&url, &path))
    }

    fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        let (path, url) = (self.path(key)?, self.named(key));
        match mode {
            PutMode::Create => wait(self.put_if(&url, &path, bytes, object_store::PutMode::Create)),
            PutMode::Overwrite => {
                self.persist(&url, || async { self.overwrite(&path, bytes.clone()).await.map_err(|error| judge(self.cloud, &url, error)) })
            }
        }
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let below = prefix.trim_end_matches('/');
        let path = if below.is_empty() { self.prefix.clone() } else { self.path(below)? };
        let (own, url) = (format!("{}/", self.prefix), self.named(below));
        let paths: Vec<String> = self.persist(&url, || async {
            let found = self.store.list(Some(&path)).take(limit).map_ok(|meta| meta.location.to_string());
            found.try_collect().await.map_err(|error| judge(self.cloud, &url, error))
        })?;
        let mut keys: Vec<String> = paths.iter().filter_map(|path| path.strip_prefix(&own)).map(str::to_owned).collect();
        keys.sort_unstable();
        Ok(keys)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        let (path, url) = (self.path(key)?, self.named(key));
        self.persist(&url, || async { found(self.cloud, self.store.delete(&path).await, &url).map(drop) })
    }
}
