//! Buckets of Google Cloud Storage, by its XML API.
//!
//! Invariant: without a key file or a token requests are anonymous; nothing is looked for on this machine by itself.

use std::path::Path;
use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};

use super::super::access::Access;
use super::super::auth::redact;
use super::super::{Bucket, Cloud, ErrorKind, StoreError};
use super::bucket::{Opened, Surroundings};

/// Google's own server.
pub(super) const ENDPOINT: &str = "https://storage.googleapis.com";

/// Parts of a key file that must not be printed.
const SECRETS: [&str; 3] = ["private_key", "client_secret", "refresh_token"];

/// A bucket, opened with the operator's key file or token if it is theirs to use.
pub(super) fn open(access: &Access, url: &str, bucket: &Bucket, own: bool, with: Surroundings) -> Result<Opened, StoreError> {
    let settings = &access.google;
    let mut builder =
        GoogleCloudStorageBuilder::new().with_bucket_name(bucket.name.as_str()).with_client_options(with.options).with_retry(with.retries);
    if let Some(guarded) = with.guarded {
        builder = builder.with_http_connector(guarded);
    }
    if let Some(endpoint) = settings.endpoint.as_deref().filter(|_| own) {
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    let bearer = |token: &str| Arc::new(StaticCredentialProvider::new(GcpCredential { bearer: token.to_owned() }));
    builder = match (&settings.token, &settings.key_file) {
        (Some(token), _) if own => builder.with_credentials(bearer(token.reveal())),
        (None, Some(file)) if own => with_key(builder, file)?,
        // With credentials of its own the library does not look for others.
        _ => builder.with_credentials(bearer("")).with_skip_signature(true),
    };
    let failed = |error| {
        let message = "cannot set up access to Google's storage; check `endpoint` and `key_file` under `[google]`";
        StoreError::new(ErrorKind::Other, url, message).because(error)
    };
    Ok(Opened { cloud: Cloud::Google, store: Arc::new(builder.build().map_err(failed)?), keys: None })
}

/// The key of a service account, or what `gcloud auth application-default login` wrote.
fn with_key(builder: GoogleCloudStorageBuilder, file: &Path) -> Result<GoogleCloudStorageBuilder, StoreError> {
    let place = file.to_string_lossy();
    let text = std::fs::read_to_string(file).map_err(|error| StoreError::from_io(&place, "read the key file", error))?;
    // What the library would say of it might quote it.
    let wrong = || StoreError::new(ErrorKind::Other, &place, "not a key file of Google's; give the JSON of a service account");
    let key: serde_json::Value = serde_json::from_str(&text).map_err(|_| wrong())?;
    // A private key is lines of text, which are written in one way here and in another there.
    let secrets = SECRETS.iter().filter_map(|name| key[name].as_str());
    secrets.flat_map(str::lines).filter(|line| !line.starts_with("-----")).for_each(redact::keep);
    match key["type"].as_str() {
        Some("service_account") => Ok(builder.with_service_account_key(text)),
        Some("authorized_user") => Ok(builder.with_application_credentials(place)),
        _ => Err(wrong()),
    }
}
