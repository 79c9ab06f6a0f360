//! One request and the start of its answer.
//!
//! Invariant: every request asks for the bytes as they are stored (`Accept-Encoding: identity`), and no answer is waited for
//! longer than the idle timeout.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_RANGE, IF_MATCH, RANGE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};

use super::super::Head;
use super::super::pace::Pace;
use super::super::retry::Fault;
use super::super::watch::heard;
use super::answer::{self, header};
use super::courier::{broken, stalled};
use super::{Reading, Seen};

/// Bytes of a web page that are read to quote its first line.
const PAGE_START: usize = 1024;

impl Reading<'_> {
    /// Size and validators, by HEAD; by the first byte where HEAD is refused or tells no length.
    pub(super) async fn ask_head(&self) -> Result<Seen, Fault> {
        let _pass = self.gate.enter().await;
        let response = self.send(self.request(Method::HEAD)).await?;
        let status = response.status();
        if answer::is_page(response.headers()) && status.is_success() {
            return Err(self.refuse_page().await);
        }
        // Some servers know no HEAD, and signed URLs are often good for GET only.
        let unusable = matches!(status.as_u16(), 400 | 403 | 405 | 501);
        if !unusable {
            answer::judge_status(self.url, status, response.headers())?;
            answer::judge_encoding(self.url, response.headers())?;
        }
        let head = answer::head(response.headers());
        if unusable || head.size.is_none() {
            return self.ask_first_byte().await;
        }
        let none = header(response.headers(), ACCEPT_RANGES).is_some_and(|value| value.eq_ignore_ascii_case("none"));
        Ok(Seen { head, no_ranges: none.into() })
    }

    async fn ask_first_byte(&self) -> Result<Seen, Fault> {
        Ok(self.ask_for_start(1).await?.0)
    }

    /// Size, validators and the first bytes of the file, by asking for them.
    pub(super) async fn ask_start(&self, length: u64) -> Result<(Seen, Bytes), Fault> {
        let _pass = self.gate.enter().await;
        self.ask_for_start(length).await
    }

    async fn ask_for_start(&self, length: u64) -> Result<(Seen, Bytes), Fault> {
        let mut response = self.send(self.request(Method::GET).header(RANGE, format!("bytes=0-{}", length - 1))).await?;
        let headers = response.headers();
        let head = answer::head(headers);
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE && header(headers, CONTENT_RANGE) == Some("bytes */0") {
            return Ok((Seen { head: Head { size: Some(0), ..head }, no_ranges: false.into() }, Bytes::new()));
        }
        answer::judge_status(self.url, response.status(), headers)?;
        answer::judge_encoding(self.url, headers)?;
        if answer::is_page(headers) {
            return Err(page_of(self, response).await);
        }
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok((Seen { head, no_ranges: true.into() }, Bytes::new()));
        }
        let sent = answer::judge_range(self.url, headers, &(0..length), None)?;
        let size = answer::content_range(headers).and_then(|(_, total)| total);
        let mut start = BytesMut::with_capacity((sent.end - sent.start) as usize);
        let mut pace = Pace::new(self.source.idle);
        while let Some(piece) = self.piece(&mut response).await? {
            start.extend_from_slice(&piece);
            pace.keep(piece.len())?;
            if start.len() as u64 > sent.end {
                return Err(self.longer());
            }
        }
        if (start.len() as u64) < sent.end.min(size.unwrap_or(u64::MAX)) {
            return Err(Fault::passing("the answer ended before its announced length"));
        }
        if answer::looks_like_page(&start) {
            return Err(answer::page(self.url, &start));
        }
        Ok((Seen { head: Head { size, ..head }, no_ranges: false.into() }, start.freeze()))
    }

    async fn refuse_page(&self) -> Fault {
        let request = self.request(Method::GET).header(RANGE, format!("bytes=0-{}", PAGE_START - 1));
        match self.send(request).await {
            Ok(response) => page_of(self, response).await,
            Err(_) => answer::page(self.url, b""),
        }
    }

    /// Asks for a part of the file, or for all of it, and judges the head of the answer.
    pub(super) async fn ask(&self, seen: &Seen, range: Option<&Range<u64>>) -> Result<Response, Fault> {
        let mut request = self.request(Method::GET);
        if let Some(range) = range {
            request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        }
        // Weak tags never match (RFC 9110 §13.1.1).
        if let Some(etag) = seen.head.etag.as_deref().filter(|etag| etag.starts_with('"')) {
            request = request.header(IF_MATCH, etag);
        }
        let response = self.send(request).await?;
        answer::judge_status(self.url, response.status(), response.headers())?;
        if answer::is_page(response.headers()) {
            return Err(page_of(self, response).await);
        }
        answer::judge_encoding(self.url, response.headers())?;
        answer::judge_identity(self.url, &seen.head, &answer::head(response.headers()))?;
        Ok(response)
    }

    /// The next piece of a body; `None` at its end.
    pub(super) async fn piece(&self, response: &mut Response) -> Result<Option<Bytes>, Fault> {
        match tokio::time::timeout(self.source.idle, response.chunk()).await {
            Ok(Ok(piece)) => {
                heard(piece.as_ref().map_or(0, Bytes::len));
                Ok(piece)
            }
            Ok(Err(error)) => Err(broken(self.url, error)),
            Err(_) => Err(self.stalled()),
        }
    }

    pub(super) fn request(&self, method: Method) -> RequestBuilder {
        self.source.courier.client().request(method, self.target.clone()).header(ACCEPT_ENCODING, "identity")
    }

    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Fault> {
        let request = request.build().map_err(|error| broken(self.url, error))?;
        self.source.courier.send(self.url, request).await
    }

    pub(super) fn stalled(&self) -> Fault {
        stalled(self.source.idle)
    }
}

async fn page_of(reading: &Reading<'_>, mut response: Response) -> Fault {
    let start = reading.piece(&mut response).await.ok().flatten().unwrap_or_default();
    answer::page(reading.url, start.get(..PAGE_START).unwrap_or(&start))
}
