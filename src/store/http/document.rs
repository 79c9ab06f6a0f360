//! Answers that are no files: index pages, tables, pages of catalogues. Read whole, up to a limit, compressed or not as the server likes.
//!
//! Not for data: nothing here is remembered or compared with an earlier answer. Invariant: a document is whole, or it is an error.

use bytes::{Bytes, BytesMut};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};

use super::super::pace::Pace;
use super::super::retry::Fault;
use super::super::runtime::wait;
use super::super::{Document, Documents, ErrorKind, StoreError};
use super::{HttpSource, Reading, answer};

impl Documents for HttpSource {
    fn document(&self, url: &str, headers: &[(&str, &str)], limit: u64) -> Result<Document, StoreError> {
        let reading = self.reading(url)?;
        wait(reading.patience().persist(async || reading.document(headers, limit).await))
    }
}

impl Reading<'_> {
    async fn document(&self, headers: &[(&str, &str)], limit: u64) -> Result<Document, Fault> {
        let _pass = self.gate.enter().await;
        let mut request = self.request(Method::GET).header(ACCEPT, "*/*");
        for (name, value) in headers {
            let pair = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
            let (name, value) = pair.ok_or_else(|| StoreError::new(ErrorKind::Other, self.url, format!("`{name}` cannot be sent")))?;
            request = request.header(name, value);
        }
        let mut response = self.send(request).await?;
        answer::judge_status(self.url, response.status(), response.headers())?;
        answer::judge_encoding(self.url, response.headers())?;
        let announced = answer::announced(response.headers());
        let mut bytes = BytesMut::new();
        let mut pace = Pace::new(self.source.idle);
        while let Some(piece) = self.piece(&mut response).await? {
            pace.keep(piece.len())?;
            if (bytes.len() + piece.len()) as u64 > limit {
                return Err(StoreError::new(ErrorKind::Other, self.url, too_long(limit)).into());
            }
            bytes.extend_from_slice(&piece);
        }
        if announced.is_some_and(|announced| announced != bytes.len() as u64) {
            return Err(Fault::passing("the answer ended before its announced length"));
        }
        let kind = answer::header(response.headers(), CONTENT_TYPE).map(str::to_ascii_lowercase);
        let told = response.headers().iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
        let headers = told.collect();
        // Redirects drop a fragment, and the query of where they lead may hold a secret: it stays inside.
        Ok(Document { url: response.url().to_string(), kind, headers, bytes: bytes.freeze() })
    }
}

fn too_long(limit: u64) -> String {
    format!("the answer is longer than {}, which is the most that is read of a list", crate::size::ByteSize(limit))
}

/// A document of another store, read through its stream.
pub(in super::super) fn streamed(
    url: &str,
    limit: u64,
    stream: impl FnOnce(&mut dyn std::io::Write) -> Result<u64, StoreError>,
) -> Result<Document, StoreError> {
    let mut sink = Limited { bytes: Vec::new(), limit };
    match stream(&mut sink) {
        Ok(_) => Ok(Document { url: url.to_owned(), kind: None, headers: Vec::new(), bytes: Bytes::from(sink.bytes) }),
        Err(_) if sink.limit == 0 => Err(StoreError::new(ErrorKind::Other, url, too_long(limit))),
        Err(error) => Err(error),
    }
}

/// Takes so many bytes and no more; `limit` is 0 once more came.
struct Limited {
    bytes: Vec<u8>,
    limit: u64,
}

impl std::io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if (self.bytes.len() + bytes.len()) as u64 > self.limit {
            self.limit = 0;
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
