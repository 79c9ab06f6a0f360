//! Guarded connections for the library of object stores.
//!
//! Invariant: a bucket that is opened for a stranger's recipe resolves names as [`Pinned`] does, and follows no redirect.

use std::time::Duration;

use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector};

use super::super::access::Access;
use super::super::runtime::install_cryptography;
use super::super::{ErrorKind, StoreError};
use super::Pinned;

/// Makes connections for `object_store` with names looked up and judged by us.
#[derive(Debug)]
pub(in super::super) struct Guarded(reqwest::Client);

impl Guarded {
    /// With the operator's settings; `None` where the library's own connections will do.
    ///
    /// # Errors
    /// If web access cannot be set up.
    pub(in super::super) fn of(access: &Access, url: &str, silence: Duration) -> Result<Option<Self>, StoreError> {
        let Some(pinned) = Pinned::of(access) else { return Ok(None) };
        install_cryptography();
        let client = reqwest::Client::builder()
            .user_agent(access.user_agent.as_str())
            .connect_timeout(access.connect_timeout)
            .read_timeout(silence)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .dns_resolver(pinned)
            .build();
        let failed = |error| StoreError::new(ErrorKind::Other, url, "cannot set up web access; check the user agent").because(error);
        Ok(Some(Self(client.map_err(failed)?)))
    }
}

impl HttpConnector for Guarded {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}
