//! One connection: opened, its server's key judged, logged in, asked.
//!
//! Invariant: nothing of a credential is sent before the server's key was found to be good.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::client::{AuthResult, Config, Handle, connect_stream};
use russh::keys::{PrivateKeyWithHashAlg, decode_secret_key};
use russh::{Disconnect, Preferred};
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error;
use russh_sftp::protocol::FileAttributes;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::access::{Access, Secret};
use super::super::error::printable;
use super::super::retry::Fault;
use super::super::{ErrorKind, Head, StoreError, policy, pool};
use super::answer::{broken, is_answer, judge, turned_away};
use super::known::{Judge, Known};
use super::site::Site;

/// A connection is asked whether it still lives if it was idle for so long.
const FRESH: Duration = Duration::from_secs(3);

/// A connection that is logged in.
pub(super) struct Session {
    /// The connection, kept for as long as its channel is used.
    _ssh: Handle<Judge>,
    pub(super) sftp: RawSftpSession,
    pub(super) idle: Duration,
    in_step: bool,
    used: Instant,
}

impl pool::Session for Session {
    fn is_in_step(&self) -> bool {
        self.in_step
    }

    async fn is_well(&mut self) -> bool {
        self.used.elapsed() < FRESH || timeout(self.idle, self.sftp.realpath(".")).await.is_ok_and(|answer| answer.is_ok())
    }
}

impl Session {
    /// Connects, judges the server and logs in.
    pub(super) async fn open(url: &str, site: &Site, access: &Access) -> Result<Self, Fault> {
        let socket = connect(url, site, access).await?;
        let opened = timeout(access.idle_timeout, begin(url, site, access, socket)).await;
        opened.unwrap_or_else(|_| Err(Fault::passing("the server fell silent")))
    }

    /// Takes note of an answer: after one that did not come, the connection is not used again.
    pub(super) fn note<T>(&mut self, url: &str, answer: Result<T, Error>) -> Result<T, Fault> {
        self.used = Instant::now();
        answer.map_err(|error| {
            self.in_step &= is_answer(&error);
            judge(url, &error)
        })
    }

    /// Closes a handle, if anybody still answers: one that stays open is the server's to close when the connection ends.
    pub(super) async fn close(&mut self, url: &str, handle: String) {
        if self.in_step {
            let closed = self.sftp.close(handle).await;
            let _fine_without = self.note(url, closed);
        }
    }

    /// Length and modification time of a file.
    pub(super) async fn head(&mut self, url: &str, path: &str) -> Result<Head, Fault> {
        let answer = self.sftp.stat(path).await;
        let told = self.note(url, answer)?.attrs;
        if told.file_type().is_dir() {
            return Err(StoreError::new(ErrorKind::NotFound, url, "this is a folder on the server; name a file in it").into());
        }
        of_attributes(url, &told)
    }
}

/// What a server tells of a file.
pub(super) fn of_attributes(url: &str, told: &FileAttributes) -> Result<Head, Fault> {
    if told.size.is_none() {
        return Err(StoreError::new(ErrorKind::Other, url, "the server does not tell how long the file is").into());
    }
    Ok(Head { size: told.size, modified: told.mtime.and_then(modified), ..Head::default() })
}

/// Seconds since 1970 as people write times.
pub(super) fn modified(seconds: u32) -> Option<String> {
    jiff::Timestamp::from_second(i64::from(seconds)).ok().map(|time| time.to_string())
}

async fn connect(url: &str, site: &Site, access: &Access) -> Result<TcpStream, Fault> {
    let mut failure = "no address".to_owned();
    for address in policy::reach(access, url, site.url.host_str().unwrap_or_default(), site.port).await? {
        match timeout(access.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                let _fine_without = socket.set_nodelay(true);
                return Ok(socket);
            }
            Ok(Err(error)) => failure = printable(&error.to_string()),
            Err(_) => "no answer".clone_into(&mut failure),
        }
    }
    Err(Fault::passing(format!("cannot connect to the server ({failure})")))
}

async fn begin(url: &str, site: &Site, access: &Access, socket: TcpStream) -> Result<Session, Fault> {
    let known = Known::of(access, site.host(), site.port);
    let preferred = Preferred { key: Cow::Owned(known.kinds()), ..Preferred::DEFAULT };
    let config = Arc::new(Config { preferred, keepalive_interval: Some(access.idle_timeout), ..Config::default() });
    let (asked, objection) = Judge::new(known, site.host(), site.port);
    let mut ssh = connect_stream(config, socket, asked).await.map_err(|error| match (objection.take(), error) {
        (Some(why), _) => Fault::Final(StoreError::new(ErrorKind::Forbidden, url, format!("this server is not trusted: {why}"))),
        (None, error @ russh::Error::NoCommonAlgo { .. }) => {
            let message = "the server has no key of a kind that is known of it here (Ed25519 or ECDSA; RSA is not spoken), or no cipher that is safe today";
            Fault::Final(StoreError::new(ErrorKind::Other, url, message).because(error))
        }
        (None, error) => turned_away(&error.to_string()),
    })?;
    log_in(url, site, &mut ssh).await?;
    let channel = ssh.channel_open_session().await.map_err(|error| broken(&error.to_string()))?;
    channel.request_subsystem(true, "sftp").await.map_err(|error| broken(&error.to_string()))?;
    let sftp = RawSftpSession::new(channel.into_stream());
    sftp.set_timeout(access.idle_timeout.as_secs().max(1));
    sftp.init().await.map_err(|error| judge(url, &error))?;
    Ok(Session { _ssh: ssh, sftp, idle: access.idle_timeout, in_step: true, used: Instant::now() })
}

async fn log_in(url: &str, site: &Site, ssh: &mut Handle<Judge>) -> Result<(), Fault> {
    let user = site.login.user.as_str();
    let failed = |error: russh::Error| broken(&error.to_string());
    let outcome = match (&site.login.key, &site.login.password) {
        (Some(text), phrase) => {
            // What the library says of a key might quote it.
            let key = decode_secret_key(text.reveal(), phrase.as_ref().map(Secret::reveal)).map_err(|_| {
                let message = "the private key of the credential cannot be read; give an Ed25519 or ECDSA key in OpenSSH's form, and its passphrase as `password`";
                StoreError::new(ErrorKind::Forbidden, url, message)
            })?;
            ssh.authenticate_publickey(user, PrivateKeyWithHashAlg::new(Arc::new(key), None)).await.map_err(failed)?
        }
        (None, Some(password)) => ssh.authenticate_password(user, password.reveal()).await.map_err(failed)?,
        (None, None) => ssh.authenticate_none(user).await.map_err(failed)?,
    };
    if matches!(outcome, AuthResult::Success) {
        return Ok(());
    }
    let _gone = ssh.disconnect(Disconnect::ByApplication, "", "").await;
    let message = if site.login.key.is_none() && site.login.password.is_none() {
        "the server lets nobody in without a credential; name one with `auth` in the recipe, of kind `ssh-key` or `login`"
    } else {
        "the server refuses this user; check the user and the key or password of the credential"
    };
    Err(StoreError::new(ErrorKind::Forbidden, url, message).into())
}
