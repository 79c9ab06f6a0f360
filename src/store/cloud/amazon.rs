//! Buckets of S3-compatible servers: which server, and who asks there.
//!
//! Invariant: keys of a credential that a recipe names go to the buckets that it is bound to, and nowhere else.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AwsCredentialProvider};

use super::super::access::{Access, Credentials, PathStyle};
use super::super::auth::{Chosen, Kind};
use super::super::{Cloud, ErrorKind, StoreError};
use super::bucket::{Opened, Surroundings};
use super::keys::TemporaryKeys;

/// Which server a bucket is on, and who asks there.
pub(super) struct Door<'a> {
    pub(super) endpoint: Option<&'a str>,
    region: Option<&'a str>,
    pub(super) allow_http: bool,
    /// The recipe's credential, if it is bound to this bucket.
    chosen: Option<&'a Arc<Chosen>>,
    credentials: Option<&'a Credentials>,
    bucket: &'a str,
    /// The operator pays for what is read where its owner does not.
    pays: bool,
}

impl<'a> Door<'a> {
    /// The door of a bucket.
    pub(super) fn of(access: &'a Access, bucket: &'a str, own: bool) -> Self {
        let chosen = access.auth.chosen().filter(|chosen| own && chosen.takes_bucket(bucket));
        let pays = access.s3.requester_pays;
        match chosen {
            Some(bound) => Self {
                endpoint: bound.endpoint.as_deref(),
                region: bound.region.as_deref(),
                allow_http: bound.allow_http,
                credentials: if let Kind::Keys(keys) = &bound.kind { Some(keys) } else { None },
                chosen,
                bucket,
                pays,
            },
            None if own => Self {
                endpoint: access.s3.endpoint.as_deref(),
                region: access.s3.region.as_deref(),
                allow_http: access.s3.allow_http,
                credentials: access.s3.credentials.as_ref(),
                chosen,
                bucket,
                pays,
            },
            None => {
                let region = access.s3.region.as_deref();
                Self { endpoint: None, region, allow_http: false, credentials: None, chosen, bucket, pays: false }
            }
        }
    }

    fn keys(&self, access: &Access) -> Result<Option<Arc<TemporaryKeys>>, StoreError> {
        match self.chosen.map(|chosen| (&chosen.kind, &chosen.name)) {
            Some((Kind::Earthdata { keys: Some(url), .. }, name)) => Ok(Some(Arc::new(TemporaryKeys::new(access, url, name)?))),
            _ => Ok(None),
        }
    }

    /// The bucket, opened.
    pub(super) fn open(&self, access: &Access, url: &str, with: Surroundings) -> Result<Opened, StoreError> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(self.bucket)
            .with_region(self.region.unwrap_or("us-east-1"))
            .with_client_options(with.options)
            // Deleting many at once is what small servers do not know, or know only with checksums of their own.
            .with_disable_bulk_delete(true)
            .with_virtual_hosted_style_request(access.s3.path_style == PathStyle::HostName)
            .with_request_payer(self.pays)
            .with_retry(with.retries);
        if let Some(guarded) = with.guarded {
            builder = builder.with_http_connector(guarded);
        }
        if let Some(endpoint) = self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let keys = self.keys(access)?;
        builder = match (&keys, self.credentials) {
            (Some(keys), _) => builder.with_credentials(Arc::clone(keys) as AwsCredentialProvider),
            (None, None) => builder.with_skip_signature(true),
            (None, Some(known)) => {
                let signed = builder.with_access_key_id(known.key_id.as_str()).with_secret_access_key(known.secret.reveal());
                known.token.iter().fold(signed, |signed, token| signed.with_token(token.reveal()))
            }
        };
        let failed = |error| StoreError::new(ErrorKind::Other, url, "cannot set up S3 access; check endpoint and region").because(error);
        Ok(Opened { cloud: Cloud::Amazon, store: Arc::new(builder.build().map_err(failed)?), keys })
    }
}
