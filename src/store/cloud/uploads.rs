//! Uploads in parts, one by one: to see whether a server can, and to find those that nobody finished.
//!
//! Large objects of a run go through `target`, which aborts what it cannot finish; this is for what a killed process left.
//! Invariant: a key that a server lists is believed only if it lies below our own prefix.

use std::time::Duration;

use bytes::Bytes;
use object_store::PutPayload;
use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions};

use super::super::http::courier::{build, builder};
use super::super::retry::{Fault, Passing};
use super::super::{Cloud, ErrorKind, StoreError, Upload, Uploads};
use super::answer::{found, judge};
use super::target::CloudTarget;

/// How long a signed request is good for.
const VALID: Duration = Duration::from_mins(5);

/// Longest wait for a listing.
const ANSWER: Duration = Duration::from_secs(30);

impl Uploads for CloudTarget {
    fn in_parts(&self, key: &str, parts: &[Bytes]) -> Result<(), StoreError> {
        let (path, url) = (self.path(key)?, self.named(key));
        self.persist(&url, || async {
            let id = self.store.create_multipart(&path).await.map_err(|error| judge(self.cloud, &url, error))?;
            let sent = self.send(&path, &id, parts).await;
            if sent.is_err() {
                // The first error is the one to tell.
                let _failed = self.store.abort_multipart(&path, &id).await;
            }
            sent.map_err(|error| judge(self.cloud, &url, error))
        })
    }

    fn begin(&self, key: &str, part: Bytes) -> Result<Upload, StoreError> {
        if self.cloud == Cloud::Azure {
            return Err(
                self.refusal(ErrorKind::Other, "blocks that nobody puts together are listed nowhere; Azure removes them after a week")
            );
        }
        let (path, url) = (self.path(key)?, self.named(key));
        self.persist(&url, || async {
            let id = self.store.create_multipart(&path).await.map_err(|error| judge(self.cloud, &url, error))?;
            let put = self.store.put_part(&path, &id, 0, PutPayload::from_bytes(part.clone())).await;
            put.map_err(|error| judge(self.cloud, &url, error))?;
            Ok(Upload { key: key.to_owned(), id, begun: None })
        })
    }

    fn unfinished(&self) -> Result<Vec<Upload>, StoreError> {
        if self.cloud == Cloud::Azure {
            return Ok(Vec::new());
        }
        let own = format!("{}/", self.prefix);
        let listing = self.persist(&self.url, || self.listing(&own))?;
        Ok(uploads(&listing, &own))
    }

    fn abort(&self, upload: &Upload) -> Result<(), StoreError> {
        let (path, url) = (self.path(&upload.key)?, self.named(&upload.key));
        self.persist(&url, || async { found(self.cloud, self.store.abort_multipart(&path, &upload.id).await, &url).map(drop) })
    }
}

impl CloudTarget {
    async fn send(&self, path: &Path, id: &String, parts: &[Bytes]) -> object_store::Result<()> {
        let mut sent = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            sent.push(self.store.put_part(path, id, number, PutPayload::from_bytes(part.clone())).await?);
        }
        self.store.complete_multipart(path, id, sent).await.map(drop)
    }

    /// The server's `ListMultipartUploads`, which `object_store` does not offer: it signs, we ask.
    async fn listing(&self, prefix: &str) -> Result<String, Fault> {
        if !self.signs {
            let kind = if self.cloud == Cloud::Google { ErrorKind::Other } else { ErrorKind::Forbidden };
            return Err(self.refusal(kind, "unfinished uploads are listed only for who has credentials to sign with").into());
        }
        let options = SignedUrlOptions::new().with_query([("uploads", ""), ("prefix", prefix)]);
        let signed = self.store.signed_url_opts(Method::GET, &Path::default(), VALID, &options).await;
        let signed = signed.map_err(|error| judge(self.cloud, &self.url, error))?;
        let client = build(builder(&self.access)?.timeout(ANSWER))?;
        // The signature is in the URL, which must not get into a message.
        let failed = |error: reqwest::Error| {
            let cause = Some(Box::new(error.without_url()) as Box<dyn std::error::Error + Send + Sync>);
            Fault::Passing(Passing { reason: "the connection to the server failed".to_owned(), cause, ..Passing::default() })
        };
        let answer = client.get(signed).send().await.map_err(failed)?;
        match answer.status().as_u16() {
            200 => answer.text().await.map_err(failed),
            401 | 403 => Err(self.refusal(ErrorKind::Forbidden, "the server lists no unfinished uploads for these credentials").into()),
            status @ (408 | 409 | 429 | 500 | 502..=599) => Err(Fault::passing(format!("the server answers {status}"))),
            status => {
                Err(self.refusal(ErrorKind::Other, &format!("the server answers {status}: it cannot list unfinished uploads")).into())
            }
        }
    }

    fn refusal(&self, kind: ErrorKind, message: &str) -> StoreError {
        StoreError::new(kind, &self.url, message)
    }
}

/// The uploads in an answer that belong to us.
fn uploads(listing: &str, own: &str) -> Vec<Upload> {
    let each = listing.split("<Upload>").skip(1).filter_map(|text| {
        let inside = text.split("</Upload>").next()?;
        let key = plain(element(inside, "Key")?);
        let begun = element(inside, "Initiated").map(plain);
        Some(Upload { key: key.strip_prefix(own)?.to_owned(), id: plain(element(inside, "UploadId")?), begun })
    });
    each.collect()
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(&format!("<{name}>"))?;
    Some(after.split_once(&format!("</{name}>"))?.0)
}

/// The text that XML wrote with entities; `&amp;` last, or `&amp;lt;` would be taken for `<`.
fn plain(text: &str) -> String {
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    pairs.iter().fold(text.to_owned(), |text, (entity, letter)| text.replace(entity, letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_list() {
        let listing = "<?xml version='1.0'?><R xmlns='x'><Bucket>b</Bucket><Upload><Key>p/out/a&amp;b</Key><UploadId>one</UploadId>\
                       <Initiated>2026-01-02T03:04:05.000Z</Initiated></Upload><Upload><Key>elsewhere/c</Key><UploadId>two</UploadId></Upload>\
                       <Upload><Key>p/out/torn</Key></Upload></R>";
        let begun = Some("2026-01-02T03:04:05.000Z".to_owned());
        assert_eq!(uploads(listing, "p/out/"), [Upload { key: "a&b".into(), id: "one".into(), begun }]);
        assert!(uploads("<html>", "p/").is_empty());
    }
}
