//! What is asked of a file: length and time, a part, all of it; each taken up again where it broke.
//!
//! Invariant: a transfer is whole only if the server's last word says so and the length is the one announced.

use std::io::Write;
use std::ops::Range;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use suppaftp::{FtpError, FtpResult, Status};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::super::pace::{PROGRESS, Pace, silence};
use super::super::passed::Passed;
use super::super::retry::Fault;
use super::super::watch::heard;
use super::super::{ErrorKind, Head, StoreError};
use super::answer::{self, judge};
use super::session::{Session, Transfer};
use super::{Reading, Seen};

/// Bytes read from a connection at once.
const PIECE: usize = 256 << 10;

impl Reading<'_> {
    /// Length and modification time, as far as the server tells them.
    pub(super) async fn ask_head(&self, session: &mut Session) -> Result<Head, Fault> {
        let size = match session.ask(format!("SIZE {}", self.path), &[Status::File]).await {
            Ok(reply) => number(&reply),
            // Some servers refuse the length of files that they give.
            Err(error) if answer::is_unknown(&error) || answer::code(&error) == Some(550) => None,
            Err(error) => return Err(judge(self.url, error)),
        };
        if size.is_none() {
            self.ask_for_a_start(session).await?;
        }
        let modified = match session.ask(format!("MDTM {}", self.path), &[Status::File]).await {
            Ok(reply) => moment(&reply),
            Err(error) if answer::code(&error).is_some_and(|code| (500..600).contains(&code)) => None,
            Err(error) => return Err(judge(self.url, error)),
        };
        Ok(Head { size, modified, ..Head::default() })
    }

    /// Whether the file is there can be told from a transfer, where its length cannot be asked for.
    async fn ask_for_a_start(&self, session: &mut Session) -> Result<(), Fault> {
        let transfer = session.open_data(&format!("RETR {}", self.path), 0).await.map_err(|error| judge(self.url, error))?;
        session.break_off(transfer).await;
        Ok(())
    }

    /// Asks once more what the file is: other than at first, and what was read of it is not of one content.
    pub(super) async fn judge_unchanged(&self, seen: &Seen) -> Result<(), StoreError> {
        let now = self.persist(async |session| self.ask_head(session).await).await?;
        if now == seen.head {
            return Ok(());
        }
        let told =
            |head: &Head| format!("{} bytes of {}", head.size.unwrap_or_default(), head.modified.as_deref().unwrap_or("unknown time"));
        let message = format!(
            "the file changed on the server while it was read ({} before, {} now); run again, and check whether it is complete there",
            told(&seen.head),
            told(&now)
        );
        Err(StoreError::new(ErrorKind::Integrity, self.url, message))
    }

    /// One part of the file, whole, into an empty buffer that has room for it.
    pub(super) async fn fetch(&self, seen: &Seen, range: Range<u64>, mut buffer: BytesMut) -> Result<BytesMut, StoreError> {
        let mut patience = self.patience();
        loop {
            let before = buffer.len() as u64;
            match self.fetch_on(seen, &range, &mut buffer).await {
                Ok(()) => return Ok(buffer),
                Err(fault) => {
                    if buffer.len() as u64 >= before.saturating_add(PROGRESS) {
                        patience.renew();
                    }
                    patience.after(fault).await?;
                }
            }
        }
    }

    /// What is still missing of a part.
    async fn fetch_on(&self, seen: &Seen, range: &Range<u64>, buffer: &mut BytesMut) -> Result<(), Fault> {
        let mut held = self.hold().await?;
        self.fetch_with(held.session()?, seen, range, buffer).await
    }

    async fn fetch_with(&self, session: &mut Session, seen: &Seen, range: &Range<u64>, buffer: &mut BytesMut) -> Result<(), Fault> {
        let length = (range.end - range.start) as usize;
        let mut transfer = self.open(session, seen, range.start.saturating_add(buffer.len() as u64)).await?;
        let mut pace = Pace::new(self.source.access.idle_timeout);
        let mut piece = BytesMut::with_capacity(PIECE);
        while buffer.len() < length {
            let count = self.piece(&mut transfer, &mut piece).await?;
            if count == 0 {
                return Err(self.ended_early(session, transfer).await);
            }
            let wanted = piece.len().min(length - buffer.len());
            buffer.extend_from_slice(piece.get(..wanted).unwrap_or_default());
            pace.keep(wanted)?;
            piece.clear();
        }
        session.break_off(transfer).await;
        self.gate.praise();
        Ok(())
    }

    /// The whole file into a sink; its length.
    pub(super) async fn download(&self, seen: &Seen, sink: &mut dyn Write) -> Result<u64, StoreError> {
        let mut patience = self.patience();
        let mut passed = Passed::new(sink);
        loop {
            let before = passed.length();
            match self.download_on(seen, &mut passed).await {
                Ok(()) => break,
                Err(fault) => {
                    if passed.length() >= before.saturating_add(PROGRESS) {
                        patience.renew();
                    }
                    patience.after(fault).await?;
                }
            }
        }
        self.judge_unchanged(seen).await?;
        Ok(passed.length())
    }

    async fn download_on(&self, seen: &Seen, passed: &mut Passed<'_>) -> Result<(), Fault> {
        let mut held = self.hold().await?;
        self.download_with(held.session()?, seen, passed).await
    }

    async fn download_with(&self, session: &mut Session, seen: &Seen, passed: &mut Passed<'_>) -> Result<(), Fault> {
        let mut transfer = if passed.length() > 0 && !seen.no_restart.load(Ordering::Relaxed) {
            passed.go_on();
            self.open(session, seen, passed.length()).await?
        } else {
            passed.begin_anew();
            self.open(session, seen, 0).await?
        };
        let mut pace = Pace::new(self.source.access.idle_timeout);
        let mut piece = BytesMut::with_capacity(PIECE);
        while self.piece(&mut transfer, &mut piece).await? > 0 {
            if seen.head.size.is_some_and(|size| passed.place().saturating_add(piece.len() as u64) > size) {
                session.break_off(transfer).await;
                return Err(self.longer());
            }
            passed.pass(self.url, &piece)?;
            pace.keep(piece.len())?;
            piece.clear();
        }
        if seen.head.size.is_some_and(|size| passed.place() < size) || passed.place() < passed.length() {
            return Err(self.ended_early(session, transfer).await);
        }
        session.finish(transfer).await.map_err(|error| judge(self.url, error))?;
        self.gate.praise();
        Ok(())
    }

    /// A transfer from a byte on. That the server cannot begin there is noted, so that callers turn to the whole file.
    async fn open(&self, session: &mut Session, seen: &Seen, offset: u64) -> Result<Transfer, Fault> {
        session.open_data(&format!("RETR {}", self.path), offset).await.map_err(|error| {
            if offset > 0 && answer::is_unknown(&error) {
                seen.no_restart.store(true, Ordering::Relaxed);
                return Fault::passing("the server cannot begin in the middle of a file");
            }
            judge(self.url, error)
        })
    }

    /// The next bytes, at least one; 0 at the end. A server that just hangs up an encrypted connection ended as well: whether
    /// that was the end of the file is judged by its last word and the length.
    async fn piece(&self, transfer: &mut Transfer, piece: &mut BytesMut) -> Result<usize, Fault> {
        let idle = self.source.access.idle_timeout;
        match timeout(idle, transfer.read_buf(piece)).await {
            Ok(Ok(count)) => {
                heard(count);
                Ok(count)
            }
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(0),
            Ok(Err(error)) => Err(judge(self.url, FtpError::ConnectionError(error))),
            Err(_) => Err(silence(idle)),
        }
    }

    /// Fewer bytes came than announced. The server's last word may tell why.
    async fn ended_early(&self, session: &mut Session, transfer: Transfer) -> Fault {
        let last: FtpResult<()> = session.finish(transfer).await;
        match last {
            Err(error @ FtpError::UnexpectedResponse(_)) => match judge(self.url, error) {
                Fault::Passing(passing) => Fault::Passing(passing),
                Fault::Final(error) => Fault::passing(format!("the transfer ended before its announced length: {}", error.message)),
            },
            _ => Fault::passing("the transfer ended before its announced length"),
        }
    }

    fn longer(&self) -> Fault {
        let message = "more bytes came than the server announced; run again, and check the file on the server";
        StoreError::new(ErrorKind::Integrity, self.url, message).into()
    }
}

/// `213 1234`.
fn number(reply: &str) -> Option<u64> {
    reply.lines().next()?.get(4..)?.trim().parse().ok()
}

/// `213 20200102030405.678`, as told, if it is a time.
fn moment(reply: &str) -> Option<String> {
    let text = reply.lines().next()?.get(4..)?.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (digits == 14 && text.len() <= 24).then(|| text.to_owned())
}
