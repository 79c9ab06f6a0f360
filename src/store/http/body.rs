//! Bodies: a range into memory, a file into a sink, each taken up again where it broke.
//!
//! Invariant: what was received before a break is kept only if the rest is of the same content.

use std::io::Write;
use std::ops::Range;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use reqwest::StatusCode;

use super::super::pace::{PROGRESS, Pace};
use super::super::passed::Passed;
use super::super::retry::Fault;
use super::super::{ErrorKind, StoreError};
use super::answer;
use super::{Reading, Seen};

impl Reading<'_> {
    /// One range of the file, whole, into an empty buffer that has room for it.
    pub(super) async fn fetch(&self, seen: &Seen, range: Range<u64>, mut buffer: BytesMut) -> Result<BytesMut, StoreError> {
        let mut patience = self.patience();
        loop {
            let before = buffer.len() as u64;
            match self.fetch_on(seen, &range, &mut buffer).await {
                Ok(()) if buffer.len() as u64 == range.end - range.start => return Ok(buffer),
                Ok(()) => patience.renew(),
                Err(fault) => {
                    if buffer.len() as u64 >= before + PROGRESS {
                        patience.renew();
                    }
                    patience.after(fault).await?;
                }
            }
        }
    }

    /// Asks for what is still missing of a range. Fine and short: the server chose to send a part only.
    async fn fetch_on(&self, seen: &Seen, range: &Range<u64>, buffer: &mut BytesMut) -> Result<(), Fault> {
        let _pass = self.gate.enter().await;
        let asked = range.start + buffer.len() as u64..range.end;
        let mut response = self.ask(seen, Some(&asked)).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Err(self.learn_no_ranges(seen));
        }
        let sent = answer::judge_range(self.url, response.headers(), &asked, seen.head.size)?;
        let end = sent.end - range.start;
        let mut pace = Pace::new(self.source.idle);
        while let Some(piece) = self.piece(&mut response).await? {
            if buffer.len() as u64 + piece.len() as u64 > end {
                return Err(self.longer());
            }
            buffer.extend_from_slice(&piece);
            pace.keep(piece.len())?;
        }
        if range.start == 0 && answer::looks_like_page(buffer) {
            return Err(answer::page(self.url, buffer));
        }
        if (buffer.len() as u64) < end {
            return Err(Fault::passing("the answer ended before its announced length"));
        }
        self.gate.praise();
        Ok(())
    }

    /// The server sent the whole file for a range. Noted, so that the caller turns to the spool; the fault itself is never shown.
    fn learn_no_ranges(&self, seen: &Seen) -> Fault {
        seen.no_ranges.store(true, Ordering::Relaxed);
        StoreError::new(ErrorKind::Other, self.url, "the server ignores ranges").into()
    }

    pub(super) fn longer(&self) -> Fault {
        StoreError::new(ErrorKind::Integrity, self.url, "more bytes came than the server announced; run again, and tell its maintainers")
            .into()
    }

    /// The whole file into a sink; its length.
    pub(super) async fn download(&self, seen: &Seen, sink: &mut dyn Write) -> Result<u64, StoreError> {
        let mut patience = self.patience();
        let mut passed = Passed::new(sink);
        let endless = loop {
            let before = passed.length();
            match self.download_on(seen, &mut passed).await {
                Ok(endless) => break endless,
                Err(fault) => {
                    if passed.length() >= before + PROGRESS {
                        patience.renew();
                    }
                    patience.after(fault).await?;
                }
            }
        };
        self.judge_length(seen, passed.length())?;
        if endless && seen.head.size.is_none() {
            self.read_again(seen, &passed).await?;
        }
        Ok(passed.length())
    }

    /// Passes on what is still missing of the file. True if only the closed connection told its end.
    async fn download_on(&self, seen: &Seen, passed: &mut Passed<'_>) -> Result<bool, Fault> {
        let _pass = self.gate.enter().await;
        let rest = seen.head.size.filter(|size| passed.length() > 0 && *size > passed.length()).map(|size| passed.length()..size);
        let mut response = self.ask(seen, rest.as_ref()).await?;
        let end = match rest.filter(|_| response.status() == StatusCode::PARTIAL_CONTENT) {
            Some(rest) => {
                passed.go_on();
                Some(answer::judge_range(self.url, response.headers(), &rest, seen.head.size)?.end)
            }
            None if response.status() == StatusCode::PARTIAL_CONTENT => {
                return Err(
                    StoreError::new(ErrorKind::Integrity, self.url, "the server sends a part although the whole was asked for").into()
                );
            }
            None => {
                let announced = answer::announced(response.headers());
                self.judge_announced(seen, announced)?;
                passed.begin_anew();
                announced
            }
        };
        let mut pace = Pace::new(self.source.idle);
        while let Some(piece) = self.piece(&mut response).await? {
            if passed.place() == 0 && answer::looks_like_page(&piece) {
                return Err(answer::page(self.url, &piece));
            }
            if end.or(seen.head.size).is_some_and(|end| passed.place() + piece.len() as u64 > end) {
                return Err(self.longer());
            }
            passed.pass(self.url, &piece)?;
            pace.keep(piece.len())?;
        }
        if end.or(seen.head.size).is_some_and(|end| passed.place() < end)
            || seen.head.size.is_some_and(|size| passed.place() < size)
            || passed.place() < passed.length()
        {
            return Err(Fault::passing("the answer ended before its announced length"));
        }
        self.gate.praise();
        Ok(answer::is_endless(response.version(), response.headers()))
    }

    fn judge_announced(&self, seen: &Seen, announced: Option<u64>) -> Result<(), Fault> {
        match (seen.head.size, announced) {
            (Some(known), Some(now)) if known != now => Err(answer::changed(self.url, &format!("{known} bytes before, {now} now"))),
            _ => Ok(()),
        }
    }

    fn judge_length(&self, seen: &Seen, length: u64) -> Result<(), StoreError> {
        match seen.head.size {
            Some(size) if size != length => {
                let message = format!("{length} bytes came, {size} were announced; run again, and check the file on the server");
                Err(StoreError::new(ErrorKind::Integrity, self.url, message))
            }
            _ => Ok(()),
        }
    }

    /// Reads a file of unannounced length once more: two equal readings are no cut ones.
    async fn read_again(&self, seen: &Seen, passed: &Passed<'_>) -> Result<(), StoreError> {
        let mut nowhere = std::io::sink();
        let mut again = Passed::new(&mut nowhere);
        let mut patience = self.patience();
        while let Err(fault) = self.download_on(seen, &mut again).await {
            patience.after(fault).await?;
        }
        if again.content() == passed.content() {
            return Ok(());
        }
        let message = "the server announces no length and two readings differ; one was cut short: run again later";
        Err(StoreError::new(ErrorKind::Integrity, self.url, message))
    }
}
