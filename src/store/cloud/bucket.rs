//! Opening a bucket with the operator's settings: what is the same for every cloud.
//!
//! Invariant: credentials and the operator's endpoint are used only where `own` says so.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{Certificate, ClientOptions, HeaderValue, RetryConfig};

use super::super::access::Access;
use super::super::address::shown;
use super::super::limit::Gate;
use super::super::policy::Guarded;
use super::super::runtime::install_cryptography;
use super::super::{Bucket, Cloud, ErrorKind, StoreError};
use super::amazon::Door;
use super::keys::TemporaryKeys;
use super::{Service, azure, google};

/// A bucket, and its keys if they are fetched.
pub(super) struct Opened {
    pub(super) cloud: Cloud,
    pub(super) store: Arc<dyn Service>,
    pub(super) keys: Option<Arc<TemporaryKeys>>,
}

/// Opens a bucket with the operator's settings, or with those of the recipe's credential if it is bound to it. Anonymous if there
/// are no credentials, or if the recipe is not to be trusted with them (not `own`).
///
/// `silence` is the longest wait for an answer, an upload's own time included.
pub(super) fn open(access: &Access, url: &str, bucket: &Bucket, own: bool, silence: Duration) -> Result<Opened, StoreError> {
    open_with(once(), access, url, bucket, own, silence)
}

/// The operator's own bucket for a library that asks by itself: what can be repeated is repeated below it.
#[cfg(feature = "icechunk")]
pub(super) fn open_patient(access: &Access, url: &str, bucket: &Bucket, silence: Duration) -> Result<Opened, StoreError> {
    open_with(patient(&access.retries), access, url, bucket, true, silence)
}

/// What every cloud's client is built with.
pub(super) struct Surroundings {
    pub(super) options: ClientOptions,
    pub(super) retries: RetryConfig,
    /// Connections of our own, for a stranger's recipe.
    pub(super) guarded: Option<Guarded>,
}

fn open_with(
    retries: RetryConfig,
    access: &Access,
    url: &str,
    bucket: &Bucket,
    own: bool,
    silence: Duration,
) -> Result<Opened, StoreError> {
    install_cryptography();
    let agent = HeaderValue::from_str(&access.user_agent).unwrap_or_else(|_| HeaderValue::from_static("gristmill"));
    let options = ClientOptions::new()
        .with_user_agent(agent)
        .with_timeout_disabled()
        .with_connect_timeout(access.connect_timeout)
        .with_read_timeout(silence)
        .with_allow_http(allows_http(access, bucket, own));
    let options = authorities(access)?.into_iter().fold(options, ClientOptions::with_root_certificate);
    let guarded = Guarded::of(access, url, silence)?.filter(|_| !own);
    let surroundings = Surroundings { options, retries, guarded };
    match bucket.cloud {
        Cloud::Amazon => Door::of(access, &bucket.name, own).open(access, url, surroundings),
        Cloud::Google => google::open(access, url, bucket, own, surroundings),
        Cloud::Azure => azure::open(access, url, bucket, own, surroundings),
    }
}

/// Authorities to trust besides this machine's.
fn authorities(access: &Access) -> Result<Vec<Certificate>, StoreError> {
    let Some(path) = &access.certificates else { return Ok(Vec::new()) };
    let place = path.display().to_string();
    let pem = std::fs::read(path).map_err(|error| StoreError::from_io(&place, "read the certificates", error))?;
    Certificate::from_pem_bundle(&pem)
        .map_err(|error| StoreError::new(ErrorKind::Other, &place, "`certificates` holds no certificates in PEM form").because(error))
}

/// The server that the operator names for such buckets, where it is theirs to use.
fn named<'a>(access: &'a Access, bucket: &'a Bucket, own: bool) -> Option<&'a str> {
    match bucket.cloud {
        Cloud::Amazon => Door::of(access, &bucket.name, own).endpoint,
        Cloud::Google => access.google.endpoint.as_deref().filter(|_| own),
        Cloud::Azure => access.azure.of(bucket).endpoint.filter(|_| own),
    }
}

/// Plain `http://` is for this machine, and for whom the operator says.
fn allows_http(access: &Access, bucket: &Bucket, own: bool) -> bool {
    let said = bucket.cloud == Cloud::Amazon && Door::of(access, &bucket.name, own).allow_http;
    let host =
        named(access, bucket, own).and_then(|endpoint| url::Url::parse(endpoint).ok()).and_then(|url| url.host_str().map(str::to_owned));
    said || host.is_some_and(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]")
}

/// Which server serves the operator's bucket, without secrets.
pub(in super::super) fn endpoint(access: &Access, bucket: &Bucket) -> String {
    match (named(access, bucket, true), bucket.cloud) {
        (Some(endpoint), _) => shown(endpoint).trim_end_matches('/').to_owned(),
        (None, Cloud::Amazon) => format!("https://s3.{}.amazonaws.com", access.s3.region.as_deref().unwrap_or("us-east-1")),
        (None, Cloud::Google) => google::ENDPOINT.to_owned(),
        (None, Cloud::Azure) => format!("https://{}.blob.core.windows.net", access.azure.of(bucket).account.unwrap_or("ACCOUNT")),
    }
}

/// The gate that requests to a bucket go through: the server's, where the operator names one; else the bucket's own host.
pub(super) fn gate(access: &Access, bucket: &Bucket, own: bool) -> Arc<Gate> {
    if let Some(endpoint) = named(access, bucket, own).and_then(|endpoint| url::Url::parse(endpoint).ok()) {
        return access.manners.gate(&endpoint, access.connections_per_bucket);
    }
    let host = match bucket.cloud {
        Cloud::Amazon => format!("{}.s3.amazonaws.com:443", bucket.name),
        Cloud::Google => "storage.googleapis.com:443".to_owned(),
        Cloud::Azure => format!("{}.blob.core.windows.net:443", access.azure.of(bucket).account.unwrap_or_default()),
    };
    access.manners.gate_of(&host, access.connections_per_bucket)
}

/// Retries are ours.
fn once() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// Repeats as the operator says.
#[cfg(feature = "icechunk")]
fn patient(retries: &super::super::access::Retries) -> RetryConfig {
    let backoff = object_store::BackoffConfig { init_backoff: retries.first_wait, max_backoff: retries.longest_wait, base: 2.0 };
    RetryConfig { backoff, max_retries: retries.attempts.saturating_sub(1) as usize, retry_timeout: retries.give_up_after }
}

/// An object's path, taken as it is written.
pub(super) fn object_path(url: &str, key: &str) -> Result<Path, StoreError> {
    Path::parse(key)
        .map_err(|error| StoreError::new(ErrorKind::Other, url, "not a key of an object; write plain names joined by `/`").because(error))
}
