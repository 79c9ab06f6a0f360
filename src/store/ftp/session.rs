//! One control connection: opened, logged in, asked.
//!
//! Data connections go to the address of the control connection, whatever the server names, so that no server can make this
//! machine knock elsewhere (RFC 2577 §3). Invariant: [`Session::in_step`] is true only while no reply is outstanding.

use std::time::{Duration, Instant};

use suppaftp::tokio::{AsyncRustlsConnector, AsyncRustlsFtpStream, AsyncRustlsStream, TransferStream};
use suppaftp::types::FileType;
use suppaftp::{FtpError, FtpResult, Mode, Status};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::super::access::Access;
use super::super::retry::Fault;
use super::super::{ErrorKind, StoreError};
use super::super::{policy, pool};
use super::answer::{self, judge, silent};
use super::site::{Security, Site};
use super::trust::Trust;

/// A connection is asked whether it still lives if it was idle for so long.
const FRESH: Duration = Duration::from_secs(3);

/// Codes by which a server promises data (RFC 959: 125, 150).
const COMING: [Status; 2] = [Status::AboutToSend, Status::AlreadyOpen];

/// Bytes on their way from a server.
pub(super) type Transfer = TransferStream<AsyncRustlsStream>;

/// A connection that is logged in.
pub(super) struct Session {
    stream: AsyncRustlsFtpStream,
    idle: Duration,
    /// No reply is outstanding, as far as one can tell.
    pub(super) in_step: bool,
    /// A transfer was broken off by us: some servers send two replies to that.
    broken_off: bool,
    /// The server knows `EPSV`, as far as known.
    extended: bool,
    used: Instant,
    home: Option<String>,
}

impl pool::Session for Session {
    fn is_in_step(&self) -> bool {
        self.in_step
    }

    async fn is_well(&mut self) -> bool {
        if self.used.elapsed() < FRESH && !self.broken_off {
            return true;
        }
        self.broken_off = false;
        self.ask("NOOP", &[Status::CommandOk]).await.is_ok()
    }
}

impl Session {
    /// Connects and logs in.
    pub(super) async fn open(url: &str, site: &Site, access: &Access, trust: &Trust) -> Result<Self, Fault> {
        let socket = connect(url, site, access).await?;
        let patience = access.idle_timeout;
        let greeted = timeout(patience, greet(url, site, socket, trust)).await;
        let stream = greeted.unwrap_or_else(|_| Err(judge(url, silent())))?;
        let connect = access.connect_timeout;
        let stream = stream.passive_stream_builder(move |address| {
            Box::pin(async move {
                let connected = timeout(connect, TcpStream::connect(address)).await;
                connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(FtpError::ConnectionError)
            })
        });
        let mut session =
            Self { stream, idle: patience, in_step: false, broken_off: false, extended: true, used: Instant::now(), home: None };
        session.begin(site).await.map_err(|error| judge(url, error))?;
        Ok(session)
    }

    async fn begin(&mut self, site: &Site) -> FtpResult<()> {
        self.stream.set_passive_nat_workaround(true);
        let setting = async {
            self.stream.login(site.login.user.as_str(), site.login.password.reveal()).await?;
            if site.security == Security::Implicit {
                self.stream.custom_command("PBSZ 0", &[Status::CommandOk]).await?;
                self.stream.custom_command("PROT P", &[Status::CommandOk]).await?;
            }
            self.stream.transfer_type(FileType::Binary).await
        };
        let begun = timeout(self.idle, setting).await.unwrap_or_else(|_| Err(silent()));
        begun.map_err(|error| without(error, site.login.password.reveal()))?;
        self.in_step = true;
        Ok(())
    }

    /// One command and its reply, which must be one of those.
    pub(super) async fn ask(&mut self, command: impl ToString, expected: &[Status]) -> FtpResult<String> {
        self.in_step = false;
        let reply = timeout(self.idle, self.stream.custom_command(command, expected)).await.unwrap_or_else(|_| Err(silent()));
        // After a 421 the server hangs up.
        self.in_step = reply.as_ref().map_or_else(|error| answer::code(error).is_some_and(|code| code != 421), |_| true);
        self.used = Instant::now();
        reply.map(|response| String::from_utf8_lossy(&response.body).into_owned())
    }

    /// Asks for data, from a byte on.
    pub(super) async fn open_data(&mut self, command: &str, offset: u64) -> FtpResult<Transfer> {
        match self.open_in_mode(command, offset).await {
            // It may be `EPSV` that is unknown.
            Err(error) if self.extended && answer::is_unknown(&error) => {
                self.extended = false;
                let opened = self.open_in_mode(command, offset).await;
                self.extended = opened.is_err();
                opened
            }
            opened => opened,
        }
    }

    async fn open_in_mode(&mut self, command: &str, offset: u64) -> FtpResult<Transfer> {
        self.in_step = false;
        self.stream.set_mode(if self.extended { Mode::ExtendedPassive } else { Mode::Passive });
        let offset = usize::try_from(offset).map_err(|_| FtpError::BadResponse)?;
        let opening = async {
            self.stream.resume_transfer(offset).await?;
            self.stream.custom_data_command(command, &COMING).await
        };
        let opened = timeout(self.idle, opening).await.unwrap_or_else(|_| Err(silent()));
        self.in_step = opened.as_ref().is_err_and(|error| answer::code(error).is_some_and(|code| code != 421));
        opened.map(|(_, transfer)| transfer)
    }

    /// Ends a transfer that came to its end, and says whether the server holds it to be whole.
    pub(super) async fn finish(&mut self, transfer: Transfer) -> FtpResult<()> {
        let reply = timeout(self.idle, transfer.finish()).await.unwrap_or_else(|_| Err(silent()));
        self.in_step = reply.as_ref().map_or_else(|error| answer::code(error).is_some_and(|code| code != 421), |()| true);
        self.used = Instant::now();
        reply
    }

    /// Ends a transfer of which enough came. Whatever the server says of that is fine.
    pub(super) async fn break_off(&mut self, transfer: Transfer) {
        let _what_it_says = self.finish(transfer).await;
        self.broken_off = true;
    }

    /// The folder of the login.
    pub(super) async fn home(&mut self) -> FtpResult<String> {
        if let Some(home) = &self.home {
            return Ok(home.clone());
        }
        let reply = self.ask("PWD", &[Status::PathCreated]).await?;
        // `257 "/the ""quoted"" path" is current` (RFC 959, appendix II).
        let quoted = reply.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"')).ok_or(FtpError::BadResponse)?.0;
        let home = quoted.replace("\"\"", "\"");
        self.home = Some(home.clone());
        Ok(home)
    }
}

/// A refusal that does not repeat a password, whatever the server says.
fn without(error: FtpError, password: &str) -> FtpError {
    match error {
        FtpError::UnexpectedResponse(mut response) if !password.is_empty() => {
            let text = String::from_utf8_lossy(&response.body).replace(password, "***");
            response.body = text.into_bytes();
            FtpError::UnexpectedResponse(response)
        }
        error => error,
    }
}

/// A socket to one of the server's addresses; in guarded mode only if all of them are public.
async fn connect(url: &str, site: &Site, access: &Access) -> Result<TcpStream, Fault> {
    let mut failure = None;
    for address in policy::reach(access, url, site.url.host_str().unwrap_or_default(), site.port).await? {
        match timeout(access.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                let _fine_without = socket.set_nodelay(true);
                return Ok(socket);
            }
            Ok(Err(error)) => failure = Some(error),
            Err(_) => failure = Some(std::io::ErrorKind::TimedOut.into()),
        }
    }
    let why = failure.map_or_else(|| "no address".to_owned(), |error| super::super::error::printable(&error.to_string()));
    Err(Fault::passing(format!("cannot connect to the server ({why})")))
}

/// Waits for the server's first word, and encrypts the connection.
async fn greet(url: &str, site: &Site, socket: TcpStream, trust: &Trust) -> Result<AsyncRustlsFtpStream, Fault> {
    let connector = || -> Result<AsyncRustlsConnector, Fault> { Ok(TlsConnector::from(trust.config(url)?).into()) };
    let greeted = match site.security {
        Security::Plain => AsyncRustlsFtpStream::connect_with_stream(socket).await,
        Security::Explicit => {
            let connector = connector()?;
            let stream = AsyncRustlsFtpStream::connect_with_stream(socket).await.map_err(|error| judge(url, error))?;
            stream.into_secure(connector, site.host()).await
        }
        Security::Implicit => {
            // The library opens its own socket here: to the address that was chosen and permitted.
            let address = socket.peer_addr().map_err(|error| judge(url, FtpError::ConnectionError(error)))?;
            drop(socket);
            AsyncRustlsFtpStream::connect_secure_implicit(address, connector()?, site.host()).await
        }
    };
    greeted.map_err(|error| match answer::code(&error) {
        Some(500..=504 | 530..=534) if site.security == Security::Explicit => {
            StoreError::new(ErrorKind::Other, url, "the server offers no encryption; write `ftp://` if it may be read in the clear").into()
        }
        _ => judge(url, error),
    })
}
