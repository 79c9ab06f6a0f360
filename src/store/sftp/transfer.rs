//! Parts of files and whole files, many questions at a time, each taken up again where it broke.
//!
//! Invariant: before the first and after the last byte of an attempt the server tells the same of the file as when it was first
//! looked at.

use std::io::Write;
use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream;
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{FileAttributes, OpenFlags};
use tokio::time::timeout;

use super::super::pace::PROGRESS;
use super::super::passed::Passed;
use super::super::retry::Fault;
use super::super::watch::heard;
use super::super::{ErrorKind, Head, StoreError};
use super::Reading;
use super::answer::is_end;
use super::session::{Session, of_attributes};

/// Bytes of one question: what servers of every kind answer (OpenSSH up to 255 KiB).
const QUESTION: u64 = 32 << 10;

/// Questions under way at once.
const AHEAD: usize = 32;

/// Longest time of a question that waits behind others; that something comes at all is seen to besides.
const LONGEST: Duration = Duration::from_mins(10);

impl Reading<'_> {
    /// One part of the file, whole, into an empty buffer that has room for it.
    pub(super) async fn fetch(&self, head: &Head, range: Range<u64>, mut buffer: BytesMut) -> Result<BytesMut, StoreError> {
        let mut patience = self.patience();
        let length = (range.end - range.start) as usize;
        while buffer.len() < length {
            let before = buffer.len() as u64;
            let rest = range.start.saturating_add(before)..range.end;
            let mut keep = |piece: &[u8]| {
                buffer.extend_from_slice(piece);
                Ok(())
            };
            let outcome = self.pass_on(head, rest, &mut keep).await;
            if let Err(fault) = outcome {
                if buffer.len() as u64 >= before.saturating_add(PROGRESS) {
                    patience.renew();
                }
                patience.after(fault).await?;
            }
        }
        Ok(buffer)
    }

    /// The whole file into a sink; its length.
    pub(super) async fn download(&self, head: &Head, sink: &mut dyn Write) -> Result<u64, StoreError> {
        let size = head.size.unwrap_or_default();
        let mut patience = self.patience();
        let mut passed = Passed::new(sink);
        loop {
            let before = passed.length();
            passed.go_on();
            let mut keep = |piece: &[u8]| passed.pass(self.url, piece);
            let outcome = self.pass_on(head, before..size, &mut keep).await;
            match outcome {
                Ok(()) => return Ok(passed.length()),
                Err(fault) => {
                    if passed.length() >= before.saturating_add(PROGRESS) {
                        patience.renew();
                    }
                    patience.after(fault).await?;
                }
            }
        }
    }

    /// A range of the file, piece by piece, in order.
    async fn pass_on(&self, head: &Head, range: Range<u64>, to: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), Fault> {
        let mut held = self.hold().await?;
        let session = held.session()?;
        let opened = session.sftp.open(self.path.as_str(), OpenFlags::READ, FileAttributes::empty()).await;
        let handle = session.note(self.url, opened)?.handle;
        let outcome = self.pass_on_opened(session, &handle, head, range, to).await;
        session.close(self.url, handle).await;
        if outcome.is_ok() {
            self.gate.praise();
        }
        outcome
    }

    async fn pass_on_opened(
        &self,
        session: &mut Session,
        handle: &str,
        head: &Head,
        range: Range<u64>,
        to: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), Fault> {
        self.judge_unchanged(session, handle, head).await?;
        session.sftp.set_timeout(LONGEST.as_secs());
        let outcome = self.pieces(session, handle, range, to).await;
        session.sftp.set_timeout(session.idle.as_secs().max(1));
        match outcome {
            Ok(None) => self.judge_unchanged(session, handle, head).await,
            Ok(Some(error)) if is_end(&error) => Err(self.shorter(session, handle, head).await),
            Ok(Some(error)) => session.note(self.url, Err(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// Hands on the pieces of a range; what ended them, if not the last.
    async fn pieces(
        &self,
        session: &Session,
        handle: &str,
        range: Range<u64>,
        to: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<Option<Error>, StoreError> {
        let starts = (range.start..range.end).step_by(QUESTION as usize);
        let sftp = &session.sftp;
        let ask = |start: u64| piece(sftp, handle, start..range.end.min(start.saturating_add(QUESTION)));
        let mut pieces = stream::iter(starts).map(ask).buffered(AHEAD);
        loop {
            // Many questions wait for their turn on a slow line: silence is counted from one answer to the next.
            match timeout(session.idle, pieces.next()).await.unwrap_or(Some(Err(Error::Timeout))) {
                Some(Ok(bytes)) => {
                    heard(bytes.len());
                    to(&bytes)?;
                }
                Some(Err(error)) => return Ok(Some(error)),
                None => return Ok(None),
            }
        }
    }

    /// The file ended before the length that it was told to have: it changed, or the server is wrong.
    async fn shorter(&self, session: &mut Session, handle: &str, head: &Head) -> Fault {
        match self.judge_unchanged(session, handle, head).await {
            Err(fault) => fault,
            Ok(()) => Fault::passing("the file ended before its announced length"),
        }
    }

    /// Asks once more what the file is: other than at first, and what was read of it is not of one content.
    async fn judge_unchanged(&self, session: &mut Session, handle: &str, head: &Head) -> Result<(), Fault> {
        let answer = session.sftp.fstat(handle).await;
        let now = of_attributes(self.url, &session.note(self.url, answer)?.attrs)?;
        if now == *head {
            return Ok(());
        }
        let told =
            |head: &Head| format!("{} bytes of {}", head.size.unwrap_or_default(), head.modified.as_deref().unwrap_or("unknown time"));
        let message = format!(
            "the file changed on the server while it was read ({} before, {} now); run again, and check whether it is complete there",
            told(head),
            told(&now)
        );
        Err(StoreError::new(ErrorKind::Integrity, self.url, message).into())
    }
}

/// The bytes of one question. Servers may give fewer than asked for; at the end of a file they say so.
async fn piece(sftp: &russh_sftp::client::RawSftpSession, handle: &str, range: Range<u64>) -> Result<Bytes, Error> {
    let length = (range.end - range.start) as usize;
    let first = sftp.read(handle, range.start, length as u32).await?.data;
    let mut bytes = BytesMut::from(first.as_slice());
    while bytes.len() < length {
        let more = sftp.read(handle, range.start + bytes.len() as u64, (length - bytes.len()) as u32).await?.data;
        if more.is_empty() {
            return Err(Error::UnexpectedBehavior("the server sends nothing".to_owned()));
        }
        bytes.extend_from_slice(&more);
    }
    bytes.truncate(length);
    Ok(bytes.freeze())
}
