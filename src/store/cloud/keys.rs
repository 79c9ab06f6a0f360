//! Short-lived keys, fetched from where the operator says and fetched again before they end.
//!
//! As NASA's data centres give them (`GET …/s3credentials`, after a login): `accessKeyId`, `secretAccessKey`, `sessionToken`,
//! `expiration`. Invariant: keys are used for the buckets they are bound to only; that is `amazon`'s to see to.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::super::access::Access;
use super::super::auth::{Expiring, redact};
use super::super::http::courier::Courier;
use super::super::retry::{Fault, Passing};
use super::super::{ErrorKind, StoreError};

/// Longest answer that is read.
const LONGEST: usize = 64 << 10;

/// Keys, and where to fetch the next ones.
pub(in super::super) struct TemporaryKeys {
    courier: Courier,
    url: Url,
    name: String,
    kept: Mutex<Option<Expiring<Arc<AwsCredential>>>>,
}

impl std::fmt::Debug for TemporaryKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TemporaryKeys").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What the server of keys says.
#[derive(Deserialize)]
struct Answer {
    #[serde(alias = "AccessKeyId")]
    #[serde(rename = "accessKeyId")]
    key_id: String,
    #[serde(alias = "SecretAccessKey")]
    #[serde(rename = "secretAccessKey")]
    secret: String,
    #[serde(alias = "SessionToken", alias = "Token")]
    #[serde(rename = "sessionToken")]
    token: Option<String>,
    #[serde(alias = "Expiration")]
    expiration: Option<String>,
}

impl TemporaryKeys {
    /// Keys from this URL, fetched with the credential in use.
    pub(super) fn new(access: &Access, url: &Url, name: &str) -> Result<Self, StoreError> {
        Ok(Self { courier: Courier::new(access)?, url: url.clone(), name: name.to_owned(), kept: Mutex::default() })
    }

    /// Has the next request fetch new ones: the server of objects says that these are over.
    pub(super) fn forget(&self) {
        // Whoever holds the lock is fetching new ones.
        if let Ok(mut kept) = self.kept.try_lock() {
            *kept = None;
        }
    }

    async fn keys(&self) -> Result<Arc<AwsCredential>, Fault> {
        let mut kept = self.kept.lock().await;
        if let Some(keys) = kept.as_ref().and_then(Expiring::fresh) {
            return Ok(Arc::clone(keys));
        }
        let (keys, life) = self.fetch().await?;
        let keys = Arc::new(keys);
        *kept = Some(Expiring::new(Arc::clone(&keys), life));
        Ok(keys)
    }

    async fn fetch(&self) -> Result<(AwsCredential, Option<Duration>), Fault> {
        let url = self.url.as_str();
        let request = self.courier.client().get(self.url.clone()).build().map_err(|_| self.senseless())?;
        let mut response = self.courier.send(url, request).await?;
        let status = response.status();
        if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
            return Err(Fault::passing(format!("the server of S3 keys answers {}", status.as_u16())));
        }
        if !status.is_success() {
            let message = format!("the server of S3 keys answers {}; check the credential `{}` and `keys_url`", status.as_u16(), self.name);
            return Err(StoreError::new(ErrorKind::Forbidden, url, message).into());
        }
        let mut body = Vec::new();
        loop {
            match tokio::time::timeout(self.courier.idle(), response.chunk()).await {
                Ok(Ok(Some(piece))) if body.len() + piece.len() <= LONGEST => body.extend_from_slice(&piece),
                Ok(Ok(None)) => break,
                Ok(Ok(Some(_))) => return Err(self.senseless().into()),
                Ok(Err(_)) | Err(_) => return Err(Fault::passing("the server of S3 keys broke off")),
            }
        }
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| self.senseless())?;
        Ok(answer.keys())
    }

    fn senseless(&self) -> StoreError {
        StoreError::new(
            ErrorKind::Other,
            self.url.as_str(),
            "the answer holds no S3 keys (`accessKeyId`, `secretAccessKey`, `sessionToken`); check `keys_url`",
        )
    }
}

impl Answer {
    fn keys(self) -> (AwsCredential, Option<Duration>) {
        redact::keep(&self.secret);
        self.token.iter().for_each(|token| redact::keep(token));
        let life = self.expiration.as_deref().and_then(until);
        (AwsCredential { key_id: self.key_id, secret_key: self.secret, token: self.token }, life)
    }
}

/// Time until a moment, as servers of keys write it (`2021-01-27 00:50:09+00:00`, RFC 3339); none is left of one that is over.
fn until(text: &str) -> Option<Duration> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    Some(Duration::try_from(moment.duration_since(jiff::Timestamp::now())).unwrap_or(Duration::ZERO))
}

impl CredentialProvider for TemporaryKeys {
    type Credential = AwsCredential;

    fn get_credential<'a, 'b>(&'a self) -> Pin<Box<dyn Future<Output = object_store::Result<Arc<AwsCredential>>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            self.keys().await.map_err(|fault| {
                let error = match fault {
                    Fault::Final(error) => error,
                    Fault::Passing(Passing { reason, .. }) => StoreError::new(ErrorKind::Temporary, self.url.as_str(), reason),
                };
                object_store::Error::Generic { store: "S3", source: Box::new(error) }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_data_centres_send() {
        let text =
            r#"{"accessKeyId": "A", "secretAccessKey": "keep-me-quiet", "sessionToken": "T", "expiration": "2999-01-27 00:50:09+00:00"}"#;
        let (keys, life) = serde_json::from_str::<Answer>(text).unwrap().keys();
        assert_eq!((keys.key_id.as_str(), keys.token.as_deref()), ("A", Some("T")));
        assert!(life.is_some_and(|life| life > Duration::from_hours(24 * 365)));
        assert_eq!(until("2001-01-01T00:00:00Z"), Some(Duration::ZERO));
        assert_eq!(until("soon"), None);
    }
}
