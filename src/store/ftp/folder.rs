//! What stands in a folder.
//!
//! By `MLSD`, whose lines are meant for machines, else by `LIST` from within the folder, since what it does with arguments is
//! anyone's guess. Invariant: no more than [`LONGEST`] bytes of a listing are held.

use suppaftp::Status;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::super::pace::silence;
use super::super::retry::Fault;
use super::super::watch::heard;
use super::super::{Entry, ErrorKind, StoreError};
use super::Reading;
use super::answer::{self, judge};
use super::listing::{self, Odd};
use super::session::Session;

/// Longest listing: half a million files.
const LONGEST: usize = 64 << 20;

impl Reading<'_> {
    /// The folder's entries, as the server orders them.
    pub(super) async fn list(&self, session: &mut Session) -> Result<Vec<Entry>, Fault> {
        let path = self.path.trim_end_matches('/');
        let path = if path.is_empty() { self.path.as_str() } else { path };
        let command = if path.is_empty() { "MLSD".to_owned() } else { format!("MLSD {path}") };
        match self.lines(session, &command).await? {
            Some(text) => self.entries(&text, listing::machine),
            None => self.list_from_within(session, path).await,
        }
    }

    async fn list_from_within(&self, session: &mut Session, path: &str) -> Result<Vec<Entry>, Fault> {
        let moved = [Status::RequestedFileActionOk, Status::CommandOk];
        let home = session.home().await.map_err(|error| judge(self.url, error))?;
        if !path.is_empty() {
            session.ask(format!("CWD {path}"), &moved).await.map_err(|error| judge(self.url, error))?;
        }
        let listed = self.lines(session, "LIST").await;
        if !path.is_empty() && session.ask(format!("CWD {home}"), &moved).await.is_err() {
            // In another folder the next relative path would mean something else.
            session.in_step = false;
        }
        match listed? {
            Some(text) => {
                let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
                self.entries(&text, |line| listing::plain(line, today))
            }
            None => Err(StoreError::new(ErrorKind::Other, self.url, "the server lists no folders; name its files in the recipe").into()),
        }
    }

    /// The answer to a listing command; `None` if the server does not know it.
    async fn lines(&self, session: &mut Session, command: &str) -> Result<Option<String>, Fault> {
        let mut transfer = match session.open_data(command, 0).await {
            Ok(transfer) => transfer,
            Err(error) if answer::is_unknown(&error) => return Ok(None),
            Err(error) => return Err(judge(self.url, error)),
        };
        let idle = self.source.access.idle_timeout;
        let mut text = Vec::new();
        loop {
            match timeout(idle, transfer.read_buf(&mut text)).await {
                Ok(Ok(0)) => break,
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Ok(Ok(count)) if text.len() <= LONGEST => heard(count),
                Ok(Ok(_)) => {
                    let message = "its listing is longer than 64 MiB; name a folder further down";
                    return Err(StoreError::new(ErrorKind::Other, self.url, message).into());
                }
                Ok(Err(error)) => return Err(judge(self.url, suppaftp::FtpError::ConnectionError(error))),
                Err(_) => return Err(silence(idle)),
            }
        }
        session.finish(transfer).await.map_err(|error| judge(self.url, error))?;
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    fn entries(&self, text: &str, parse: impl Fn(&str) -> Result<Option<Entry>, Odd>) -> Result<Vec<Entry>, Fault> {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let parsed: Result<Vec<Option<Entry>>, &str> = lines.map(|line| parse(line).map_err(|Odd| line)).collect();
        match parsed {
            Ok(entries) => Ok(entries.into_iter().flatten().collect()),
            Err(line) => {
                let quoted = super::super::error::printable(line);
                let message = format!("the server lists the folder in a way that cannot be read: `{quoted}`; name its files in the recipe");
                Err(StoreError::new(ErrorKind::Integrity, self.url, message).into())
            }
        }
    }
}
