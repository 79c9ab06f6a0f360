//! Opening a bucket with the operator's settings.
//!
//! Invariant: credentials and the operator's endpoint are used only where `own` says so.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredentialProvider};
use object_store::path::Path;
use object_store::{Certificate, ClientOptions, HeaderValue, RetryConfig};

use super::super::access::{Access, Credentials, PathStyle};
use super::super::auth::{Chosen, Kind};
use super::super::limit::Gate;
use super::super::policy::Guarded;
use super::super::runtime::install_cryptography;
use super::super::{ErrorKind, StoreError};
use super::keys::TemporaryKeys;

/// A bucket, and its keys if they are fetched.
pub(super) struct Opened {
    pub(super) store: AmazonS3,
    pub(super) keys: Option<Arc<TemporaryKeys>>,
}

/// Which server a bucket is on, and who asks there.
struct Door<'a> {
    endpoint: Option<&'a str>,
    region: Option<&'a str>,
    allow_http: bool,
    /// The recipe's credential, if it is bound to this bucket.
    chosen: Option<&'a Arc<Chosen>>,
    credentials: Option<&'a Credentials>,
}

impl<'a> Door<'a> {
    fn of(access: &'a Access, name: &str, own: bool) -> Self {
        let chosen = access.auth.chosen().filter(|chosen| own && chosen.takes_bucket(name));
        match chosen {
            Some(bound) => Self {
                endpoint: bound.endpoint.as_deref(),
                region: bound.region.as_deref(),
                allow_http: bound.allow_http,
                credentials: if let Kind::Keys(keys) = &bound.kind { Some(keys) } else { None },
                chosen,
            },
            None if own => Self {
                endpoint: access.s3.endpoint.as_deref(),
                region: access.s3.region.as_deref(),
                allow_http: access.s3.allow_http,
                credentials: access.s3.credentials.as_ref(),
                chosen,
            },
            None => Self { endpoint: None, region: access.s3.region.as_deref(), allow_http: false, credentials: None, chosen },
        }
    }

    fn keys(&self, access: &Access) -> Result<Option<Arc<TemporaryKeys>>, StoreError> {
        match self.chosen.map(|chosen| (&chosen.kind, &chosen.name)) {
            Some((Kind::Earthdata { keys: Some(url), .. }, name)) => Ok(Some(Arc::new(TemporaryKeys::new(access, url, name)?))),
            _ => Ok(None),
        }
    }

    /// Plain `http://` is for this machine, and for whom the operator says.
    fn allows_http(&self) -> bool {
        let host = self.endpoint.and_then(|endpoint| url::Url::parse(endpoint).ok()).and_then(|url| url.host_str().map(str::to_owned));
        self.allow_http || host.is_some_and(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]")
    }
}

/// Opens a bucket with the operator's settings, or with those of the recipe's credential if it is bound to it. Anonymous if there
/// are no credentials, or if the recipe is not to be trusted with them (not `own`).
///
/// `silence` is the longest wait for an answer, an upload's own time included.
pub(super) fn open(access: &Access, url: &str, name: &str, own: bool, silence: Duration) -> Result<Opened, StoreError> {
    open_with(once(), access, url, name, own, silence)
}

/// The operator's own bucket for a library that asks by itself: what can be repeated is repeated below it.
#[cfg(feature = "icechunk")]
pub(super) fn open_patient(access: &Access, url: &str, name: &str, silence: Duration) -> Result<Opened, StoreError> {
    open_with(patient(&access.retries), access, url, name, true, silence)
}

fn open_with(retries: RetryConfig, access: &Access, url: &str, name: &str, own: bool, silence: Duration) -> Result<Opened, StoreError> {
    install_cryptography();
    let door = Door::of(access, name, own);
    let agent = HeaderValue::from_str(&access.user_agent).unwrap_or_else(|_| HeaderValue::from_static("gristmill"));
    let options = ClientOptions::new()
        .with_user_agent(agent)
        .with_timeout_disabled()
        .with_connect_timeout(access.connect_timeout)
        .with_read_timeout(silence)
        .with_allow_http(door.allows_http());
    let options = authorities(access)?.into_iter().fold(options, ClientOptions::with_root_certificate);
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(name)
        .with_region(door.region.unwrap_or("us-east-1"))
        .with_client_options(options)
        // Deleting many at once is what small servers do not know, or know only with checksums of their own.
        .with_disable_bulk_delete(true)
        .with_virtual_hosted_style_request(access.s3.path_style == PathStyle::HostName)
        .with_retry(retries);
    if let Some(guarded) = Guarded::of(access, url, silence)?.filter(|_| !own) {
        builder = builder.with_http_connector(guarded);
    }
    if let Some(endpoint) = door.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let keys = door.keys(access)?;
    builder = match (&keys, door.credentials) {
        (Some(keys), _) => builder.with_credentials(Arc::clone(keys) as AwsCredentialProvider),
        (None, None) => builder.with_skip_signature(true),
        (None, Some(known)) => {
            let signed = builder.with_access_key_id(known.key_id.as_str()).with_secret_access_key(known.secret.reveal());
            known.token.iter().fold(signed, |signed, token| signed.with_token(token.reveal()))
        }
    };
    let failed = |error| StoreError::new(ErrorKind::Other, url, "cannot set up S3 access; check endpoint and region").because(error);
    Ok(Opened { store: builder.build().map_err(failed)?, keys })
}

/// Authorities to trust besides this machine's.
fn authorities(access: &Access) -> Result<Vec<Certificate>, StoreError> {
    let Some(path) = &access.certificates else { return Ok(Vec::new()) };
    let place = path.display().to_string();
    let pem = std::fs::read(path).map_err(|error| StoreError::from_io(&place, "read the certificates", error))?;
    Certificate::from_pem_bundle(&pem)
        .map_err(|error| StoreError::new(ErrorKind::Other, &place, "`certificates` holds no certificates in PEM form").because(error))
}

/// The gate that requests to a bucket go through: the server's, where the operator names one; else the bucket's own host.
pub(super) fn gate(access: &Access, name: &str, own: bool) -> Arc<Gate> {
    let endpoint = Door::of(access, name, own).endpoint.and_then(|endpoint| url::Url::parse(endpoint).ok());
    match endpoint {
        Some(endpoint) => access.manners.gate(&endpoint, access.connections_per_host),
        None => access.manners.gate_of(&format!("{name}.s3.amazonaws.com:443"), access.connections_per_host),
    }
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
