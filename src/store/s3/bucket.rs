//! Opening a bucket with the operator's settings.
//!
//! Invariant: credentials and the operator's endpoint are used only where `own` says so.

use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ClientOptions, HeaderValue, RetryConfig};

use super::super::access::{Access, PathStyle};
use super::super::runtime::install_cryptography;
use super::super::{ErrorKind, StoreError};

/// Opens a bucket with the operator's settings. Anonymous if there are no credentials, or if the recipe is not to be trusted with them.
///
/// `silence` is the longest wait for an answer, an upload's own time included.
pub(super) fn open(access: &Access, url: &str, name: &str, own: bool, silence: Duration) -> Result<AmazonS3, StoreError> {
    finish(url, settings(access, name, own, silence).with_retry(once()))
}

/// The operator's own bucket for a library that asks by itself: what can be repeated is repeated below it.
#[cfg(feature = "icechunk")]
pub(super) fn open_patient(access: &Access, url: &str, name: &str, silence: Duration) -> Result<AmazonS3, StoreError> {
    finish(url, settings(access, name, true, silence).with_retry(patient(&access.retries)))
}

fn settings(access: &Access, name: &str, own: bool, silence: Duration) -> AmazonS3Builder {
    install_cryptography();
    let agent = HeaderValue::from_str(&access.user_agent).unwrap_or_else(|_| HeaderValue::from_static("gristmill"));
    let options = ClientOptions::new()
        .with_user_agent(agent)
        .with_timeout_disabled()
        .with_connect_timeout(access.connect_timeout)
        .with_read_timeout(silence)
        .with_allow_http(own && allows_http(access));
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(name)
        .with_region(access.s3.region.as_deref().unwrap_or("us-east-1"))
        .with_client_options(options)
        // Deleting many at once is what small servers do not know, or know only with checksums of their own.
        .with_disable_bulk_delete(true)
        .with_virtual_hosted_style_request(access.s3.path_style == PathStyle::HostName);
    if let Some(endpoint) = access.s3.endpoint.as_deref().filter(|_| own) {
        builder = builder.with_endpoint(endpoint);
    }
    match access.s3.credentials.as_ref().filter(|_| own) {
        None => builder.with_skip_signature(true),
        Some(known) => {
            let signed = builder.with_access_key_id(known.key_id.as_str()).with_secret_access_key(known.secret.reveal());
            known.token.iter().fold(signed, |signed, token| signed.with_token(token.reveal()))
        }
    }
}

fn finish(url: &str, builder: AmazonS3Builder) -> Result<AmazonS3, StoreError> {
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
        .map_err(|error| StoreError::new(ErrorKind::Other, url, "not a key that S3 stores; write plain names joined by `/`").because(error))
}
