//! What the library's errors mean.
//!
//! Invariant: an error is passing only if the same request may work later.

use object_store::Error;

use super::super::error::printable;
use super::super::http::courier::{find, mistrust};
use super::super::policy::Refusal;
use super::super::retry::{Fault, Passing};
use super::super::{Cloud, ErrorKind, StoreError};

/// What is said of an object that is another than the one that was looked at.
pub(super) const CHANGED: &str = "the object changed while it was read; run again";

/// Codes of keys that are over.
const EXPIRED: [&str; 3] = ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"];

/// The fault that an error is.
pub(super) fn judge(cloud: Cloud, url: &str, error: Error) -> Fault {
    if let Some(refusal) = find::<Refusal>(&error) {
        return StoreError::new(ErrorKind::Policy, url, refusal.to_string()).into();
    }
    if let Some((kind, message)) = mistrust(&error) {
        return StoreError::new(kind, url, message).because(error).into();
    }
    if let Some(of_keys) = find::<StoreError>(&error) {
        return match of_keys.kind {
            ErrorKind::Temporary => Fault::passing(of_keys.message.clone()),
            kind => StoreError::new(kind, url, format!("{}: {}", of_keys.url, of_keys.message)).into(),
        };
    }
    let (kind, message) = match &error {
        // 412 comes here as well; a 409 says that others were at work on the object, and to try again; Azure's may say that it is there.
        Error::AlreadyExists { source, .. } if is_conflict(&source.to_string()) => return by_text(url, error),
        Error::PermissionDenied { source, .. } if told(&source.to_string()).is_some() => return by_text(url, error),
        Error::NotFound { .. } => (ErrorKind::NotFound, "no such object or bucket; check the URL and the endpoint"),
        Error::AlreadyExists { .. } => (ErrorKind::Exists, "the object exists already"),
        Error::Precondition { .. } => (ErrorKind::Integrity, CHANGED),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => (ErrorKind::Forbidden, denied(cloud)),
        Error::NotImplemented { .. } | Error::NotSupported { .. } => (ErrorKind::Other, "the server has no such operation"),
        _ => return by_text(url, error),
    };
    StoreError::new(kind, url, message).because(error).into()
}

/// True if the server could not do it now, since somebody else is at work on the object.
fn is_conflict(text: &str) -> bool {
    status(text) == Some(409) && !text.contains("<Code>BlobAlreadyExists</Code>")
}

/// What to look at where access is denied.
fn denied(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Amazon => "access denied; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, region and endpoint",
        Cloud::Google => "access denied; check GOOGLE_APPLICATION_CREDENTIALS (`google.key_file`) and the account's rights to the bucket",
        Cloud::Azure => "access denied; check AZURE_STORAGE_ACCOUNT, AZURE_STORAGE_KEY (or the signature) and the container's access level",
    }
}

/// The library keeps statuses and broken connections in its text only.
fn by_text(url: &str, error: Error) -> Fault {
    let text = error.to_string();
    let last = |kind, message: &str, error| StoreError::new(kind, url, message).because(error).into();
    let passing = |reason: String, crowded, error| Fault::Passing(Passing { reason, wait: None, crowded, cause: Some(Box::new(error)) });
    if let Some((kind, message)) = told(&text) {
        return last(kind, message, error);
    }
    match status(&text) {
        Some(501) => last(ErrorKind::Other, "the server answers 501: it has no such operation", error),
        Some(507) => last(ErrorKind::NoSpace, "the server is full; free some space and run again", error),
        Some(status @ (408 | 409 | 429 | 500..=599)) => passing(format!("the server answers {status}"), matches!(status, 429 | 503), error),
        None if text.contains("redirect without LOCATION") => {
            last(ErrorKind::Other, "the bucket is in another region; set AWS_REGION or `s3.region`", error)
        }
        None if text.contains("Server returned error response") => {
            passing("the server reports an error of its own".to_owned(), true, error)
        }
        // A put that was answered with 200 and an error in place of the object's tag.
        None if text.contains("metadata from headers") => passing("the server does not confirm what it stored".to_owned(), false, error),
        None if text.contains("HTTP error") => passing("the connection to the server failed".to_owned(), false, error),
        _ => last(ErrorKind::Other, &format!("the request failed ({}); check endpoint, region and bucket", printable(&text)), error),
    }
}

/// What can be done about an error of the library that has asked by itself.
#[cfg(feature = "icechunk")]
pub(in super::super) fn kind(error: &Error) -> ErrorKind {
    match error {
        Error::NotFound { .. } => ErrorKind::NotFound,
        Error::AlreadyExists { .. } | Error::Precondition { .. } => ErrorKind::Exists,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => ErrorKind::Forbidden,
        other => {
            let text = other.to_string();
            match status(&text) {
                Some(507) => ErrorKind::NoSpace,
                Some(408 | 409 | 429 | 500 | 502..=599) => ErrorKind::Temporary,
                None if text.contains("HTTP error") || text.contains("Server returned error response") => ErrorKind::Temporary,
                _ => ErrorKind::Other,
            }
        }
    }
}

/// True if the server says that the keys are over.
pub(super) fn have_expired(error: &Error) -> bool {
    let text = error.to_string();
    EXPIRED.into_iter().any(|code| text.contains(&format!("<Code>{code}</Code>")))
}

/// Error codes of S3 that have a remedy of their own, whatever status they come with.
fn told(text: &str) -> Option<(ErrorKind, &'static str)> {
    let says = |code: &str| text.contains(&format!("<Code>{code}</Code>"));
    if EXPIRED.into_iter().any(says) {
        return Some((ErrorKind::Forbidden, "the credentials have expired; renew them and run again: what is done is kept"));
    }
    if says("AuthorizationHeaderMalformed") {
        return Some((
            ErrorKind::Forbidden,
            "the server wants requests signed for another region than they are; set `region` under `[s3]` (AWS_REGION) to the one it is set up with",
        ));
    }
    if says("InvalidAccessKeyId") {
        return Some((
            ErrorKind::Forbidden,
            "the server does not know the access key id; check AWS_ACCESS_KEY_ID, and that the endpoint is the one it is for",
        ));
    }
    if says("SignatureDoesNotMatch") {
        return Some((
            ErrorKind::Forbidden,
            "the server finds the signature wrong; check AWS_SECRET_ACCESS_KEY, and `region` under `[s3]`",
        ));
    }
    if says("RequestTimeTooSkewed") {
        return Some((
            ErrorKind::Forbidden,
            "the clock of this machine is wrong by more than the server allows (S3: 15 minutes); set it and run again",
        ));
    }
    None
}

fn status(text: &str) -> Option<u16> {
    text.split("status code: ").nth(1)?.get(..3)?.parse().ok()
}

/// `None` for what is not there.
pub(super) fn found<T>(cloud: Cloud, result: object_store::Result<T>, url: &str) -> Result<Option<T>, Fault> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(judge(cloud, url, error)),
    }
}
