//! Containers of Azure Blob Storage.
//!
//! Invariant: the operator's key goes to the operator's account only; containers of other accounts are read as anybody.

use std::sync::Arc;

use object_store::azure::{MicrosoftAzureBuilder, split_sas};

use super::super::access::Access;
use super::super::{Bucket, Cloud, ErrorKind, StoreError};
use super::bucket::{Opened, Surroundings};

/// A container, opened with the operator's key or signature if they are for its account.
pub(super) fn open(access: &Access, url: &str, bucket: &Bucket, own: bool, with: Surroundings) -> Result<Opened, StoreError> {
    let door = access.azure.of(bucket);
    let Some(account) = door.account else {
        let message = "which account the container is in is not told; write `az://container@account/path`, or `account` under `[azure]`";
        return Err(StoreError::new(ErrorKind::Other, url, message));
    };
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(account)
        .with_container_name(bucket.name.as_str())
        .with_client_options(with.options)
        .with_retry(with.retries);
    if let Some(guarded) = with.guarded {
        builder = builder.with_http_connector(guarded);
    }
    if let Some(endpoint) = door.endpoint.filter(|_| own) {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    // What the library says of a key that is none might quote it.
    let failed =
        |_| StoreError::new(ErrorKind::Other, url, "cannot set up access to Azure; check `endpoint` and `key` or `sas` under `[azure]`");
    builder = match (door.key, door.sas) {
        (Some(key), _) if own => builder.with_access_key(key.reveal()),
        (None, Some(sas)) if own => builder.with_sas_authorization(split_sas(sas.reveal()).map_err(failed)?),
        _ => builder.with_skip_signature(true),
    };
    Ok(Opened { cloud: Cloud::Azure, store: Arc::new(builder.build().map_err(failed)?), keys: None })
}
