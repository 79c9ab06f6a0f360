//! A whole answer of a web server that is no file: one GET, without HEAD, ranges or validators.
//!
//! For servers that compute their answers. Invariant: an answer is whole and as long as announced, or it is an error; one that is longer than
//! the caller allows is left where it passes that.

use reqwest::{Method, StatusCode};

use super::super::pace::Pace;
use super::super::retry::Fault;
use super::super::{ErrorKind, Head, StoreError};
use super::answer;
use super::{HttpSource, Reading};
use crate::size::ByteSize;

/// Bytes of an error's body that are read to tell it.
const ERROR_START: usize = 4096;
/// Bytes for which room is made at once, whatever a server announces.
const LARGEST_ROOM: u64 = 64 << 20;

/// Tells the fault that an answer is, by URL, status and first bytes.
type Judge<'a> = &'a (dyn Fn(&str, u16, &[u8]) -> Option<Fault> + Sync);

/// What an answer must be.
pub(in super::super) struct Asking<'a> {
    /// Most bytes that it may have.
    pub(in super::super) most: u64,
    /// `None` if nothing tells of a fault.
    pub(in super::super) judge: Judge<'a>,
    /// False if it is cut; asked where only the end of the connection ends it.
    pub(in super::super) is_whole: &'a (dyn Fn(&[u8]) -> bool + Sync),
}

/// An answer.
pub(in super::super) struct Computed {
    /// Size and validators, as far as they were told.
    pub(in super::super) head: Head,
    /// All of it.
    pub(in super::super) bytes: Vec<u8>,
}

impl HttpSource {
    /// What a URL answers, tried as often as it takes, within the gate of its host.
    pub(in super::super) async fn computed(&self, url: &str, asking: &Asking<'_>) -> Result<Computed, StoreError> {
        let reading = self.reading(url)?;
        reading.patience().persist(async || reading.computed(asking).await).await
    }
}

impl Reading<'_> {
    async fn computed(&self, asking: &Asking<'_>) -> Result<Computed, Fault> {
        let _pass = self.gate.enter().await;
        let mut response = self.send(self.request(Method::GET)).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status != StatusCode::OK {
            let start = self.body(&mut response, ERROR_START as u64, true).await.unwrap_or_default();
            let told = (asking.judge)(self.url, status.as_u16(), &start).map_or(Ok(()), Err);
            // Servers that are asked for too much at once say so by status, whatever their document says.
            let by_status = answer::judge_status(self.url, status, &headers);
            return match (by_status, told) {
                (Err(Fault::Passing(mut passing)), Err(Fault::Passing(words))) => {
                    passing.reason = format!("{} ({})", passing.reason, words.reason);
                    Err(Fault::Passing(passing))
                }
                (_, Err(told)) | (Err(told), Ok(())) => Err(told),
                (Ok(()), Ok(())) => Err(Fault::passing(format!("the server answers {}", status.as_u16()))),
            };
        }
        answer::judge_encoding(self.url, &headers)?;
        let bytes = self.body(&mut response, asking.most, false).await?;
        if let Some(fault) = (asking.judge)(self.url, status.as_u16(), &bytes) {
            return Err(fault);
        }
        if answer::is_page(&headers) || answer::looks_like_page(&bytes) {
            return Err(answer::page(self.url, &bytes));
        }
        if answer::is_endless(response.version(), &headers) && !(asking.is_whole)(&bytes) {
            return Err(Fault::passing("the answer ended before its end"));
        }
        Ok(Computed { head: answer::head(&headers), bytes })
    }

    /// The bytes of an answer; of a longer one the first `most` if `cut`, else an error.
    async fn body(&self, response: &mut reqwest::Response, most: u64, cut: bool) -> Result<Vec<u8>, Fault> {
        let announced = answer::announced(response.headers());
        let mut bytes = Vec::new();
        // Where there is no room for it all, growing fails in its own way.
        let _room = bytes.try_reserve_exact(announced.unwrap_or(0).min(most).min(LARGEST_ROOM) as usize);
        let mut pace = Pace::new(self.source.idle);
        while let Some(piece) = self.piece(response).await? {
            let left = usize::try_from(most.saturating_sub(bytes.len() as u64)).unwrap_or(usize::MAX);
            bytes.extend_from_slice(piece.get(..left).unwrap_or(&piece));
            if piece.len() > left {
                return if cut { Ok(bytes) } else { Err(self.too_long(most)) };
            }
            pace.keep(piece.len())?;
        }
        match announced {
            Some(length) if length > bytes.len() as u64 => Err(Fault::passing("the answer ended before its announced length")),
            _ => Ok(bytes),
        }
    }

    fn too_long(&self, most: u64) -> Fault {
        let message = format!("the server's answer is longer than the {} that it can be; tell its maintainers", ByteSize(most));
        StoreError::new(ErrorKind::Integrity, self.url, message).into()
    }
}
