//! One request and the start of its answer.
//!
//! Invariant: every request asks for the bytes as they are stored (`Accept-Encoding: identity`), and no answer is waited for
//! longer than the idle timeout.

use std::error::Error;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_RANGE, IF_MATCH, RANGE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};

use super::super::pace::{Pace, silence};
use super::super::policy::PrivateAddress;
use super::super::retry::{Fault, Passing};
use super::super::{ErrorKind, Head, StoreError};
use super::answer::{self, header};
use super::{Reading, Seen};

/// Bytes of a web page that are read to quote its first line.
const PAGE_START: usize = 1024;

/// A server that sends its clients in a circle.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("more than {} redirects", super::REDIRECTS)]
pub(super) struct TooManyRedirects;

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
        self.gate.praise();
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
        self.gate.praise();
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
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(self.broken(error)),
            Err(_) => Err(self.stalled()),
        }
    }

    pub(super) fn request(&self, method: Method) -> RequestBuilder {
        self.source.client.request(method, self.target.clone()).header(ACCEPT_ENCODING, "identity")
    }

    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Fault> {
        match tokio::time::timeout(self.source.idle, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.broken(error)),
            Err(_) => Err(self.stalled()),
        }
    }

    pub(super) fn stalled(&self) -> Fault {
        silence(self.source.idle)
    }

    /// What a failed connection means. The library's message would name the URL with its query: it goes without.
    fn broken(&self, error: reqwest::Error) -> Fault {
        let error = error.without_url();
        if let Some(refusal) = find::<PrivateAddress>(&error) {
            return StoreError::new(ErrorKind::Policy, self.url, refusal.to_string()).into();
        }
        if error.is_redirect() {
            return StoreError::new(ErrorKind::Other, self.url, "the server redirects in circles; check the URL").because(error).into();
        }
        if let Some(rustls::Error::InvalidCertificate(_)) = find::<rustls::Error>(&error) {
            let message = "the server's certificate is not valid; check the host name and this machine's certificates and clock";
            return StoreError::new(ErrorKind::Other, self.url, message).because(error).into();
        }
        let reason = if error.is_connect() { "cannot connect to the server" } else { "the connection broke" };
        let reason = format!("{reason} ({})", deepest(&error));
        Fault::Passing(Passing { reason, cause: Some(error.into()), ..Passing::default() })
    }
}

async fn page_of(reading: &Reading<'_>, mut response: Response) -> Fault {
    let start = reading.piece(&mut response).await.ok().flatten().unwrap_or_default();
    answer::page(reading.url, start.get(..PAGE_START).unwrap_or(&start))
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    // An I/O error that wraps another error shows it only here.
    let inside =
        |error: &'a (dyn Error + 'static)| error.downcast_ref::<std::io::Error>().and_then(|outer| outer.get_ref()?.downcast_ref::<E>());
    chain(error).find_map(|error| error.downcast_ref::<E>().or_else(|| inside(error)))
}

fn deepest(error: &(dyn Error + 'static)) -> String {
    super::super::error::printable(&chain(error).last().map(ToString::to_string).unwrap_or_default())
}
