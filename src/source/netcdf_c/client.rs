//! The parent's side: a child process per file, asked and watched.
//!
//! Invariant: a child that crashes, hangs or talks nonsense is an error of its file; it never takes this process down.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::protocol::{self, Answer, Description, Request};
use crate::array::{Array, DataType, FillValue, Scalar};
use crate::dataset::{Schema, Variable};
use crate::grid::Region;
use crate::layout::{ByteOrder, Layout, Stored};
use crate::source::{self, Format, Source, SourceError, fill};

/// Largest box of numbers to ask for at once.
const LARGEST_BOX: u64 = 4 << 20;

/// How to start a child, and how long to wait for it.
#[derive(Debug, Clone)]
pub struct Server {
    /// Our own program.
    pub program: PathBuf,
    /// Longest time that one answer may take.
    pub timeout: Duration,
}

impl Server {
    /// Opens the file at `path` in a child process.
    ///
    /// # Errors
    /// [`SourceError::Corrupt`] if netCDF-C cannot open it, crashes or hangs.
    pub fn open(&self, path: &Path) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(self.open_as(path, &path.to_string_lossy())?))
    }

    /// As [`Server::open`], under the name that people know the file by.
    pub(super) fn open_as(&self, path: &Path, url: &str) -> Result<NetcdfC, SourceError> {
        // What looks like a URL would be asked of the network; an absolute path never does.
        let path = std::path::absolute(path).map_err(|error| failed(url, &error.to_string()))?;
        let path = path.to_str().ok_or_else(|| failed(url, "its path is not UTF-8"))?;
        let mut connection = Connection::start(self).map_err(|error| failed(url, &error.to_string()))?;
        match connection.ask(&Request::Open, path.as_bytes()) {
            Ok((Answer::Opened(described), _)) => {
                let Description { format, schema, refused } = *described;
                let connection = Mutex::new(connection);
                Ok(NetcdfC(Arc::new(Opened { url: url.to_owned(), format, schema, refused, connection })))
            }
            Ok((Answer::Failed(message), _)) => Err(failed(url, &format!("netCDF-C cannot open it: {message}"))),
            Ok(_) => Err(failed(url, "netCDF-C gave another answer than that to the question")),
            Err(message) => Err(failed(url, &message)),
        }
    }

    /// The version of netCDF-C, such as `4.9.0`.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub fn version(&self) -> Result<String, String> {
        let mut connection = Connection::start(self).map_err(|error| error.to_string())?;
        match connection.ask(&Request::Version, &[])?.0 {
            Answer::Version(version) => Ok(version),
            Answer::Failed(message) => Err(message),
            _ => Err("netCDF-C gave another answer than that to the question".to_owned()),
        }
    }
}

fn failed(url: &str, message: &str) -> SourceError {
    SourceError::Corrupt { url: url.to_owned(), message: message.to_owned() }
}

type Received = io::Result<Option<(Answer, Vec<u8>)>>;

/// A running child.
struct Connection {
    child: Child,
    /// `None` once the child is given up.
    input: Option<ChildStdin>,
    answers: Receiver<Received>,
    timeout: Duration,
}

impl Connection {
    fn start(server: &Server) -> io::Result<Self> {
        let mut command = Command::new(&server.program);
        command.arg(super::COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped());
        // HDF5 prints every error, expected ones too. Locks are for writers, and fail on read-only file systems.
        command.stderr(Stdio::null()).env("HDF5_USE_FILE_LOCKING", "FALSE");
        // An interrupt from the terminal is for the parent to act on.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let input = child.stdin.take();
        let (send, answers) = mpsc::channel();
        if let Some(mut output) = child.stdout.take() {
            std::thread::spawn(move || {
                loop {
                    let answer = protocol::read(&mut output);
                    let last = !matches!(answer, Ok(Some(_)));
                    if send.send(answer).is_err() || last {
                        return;
                    }
                }
            });
        }
        Ok(Self { child, input, answers, timeout: server.timeout })
    }

    /// Asks and waits; after an error the child is gone.
    fn ask(&mut self, request: &Request, body: &[u8]) -> Result<(Answer, Vec<u8>), String> {
        let input = self.input.as_mut().ok_or("netCDF-C failed on this file before")?;
        let sent = protocol::write(input, request, body);
        let answer = match sent {
            // A child that is gone has its reason in its exit status.
            Err(_) => Ok(Ok(None)),
            Ok(()) => self.answers.recv_timeout(self.timeout),
        };
        let message = match answer {
            Ok(Ok(Some(answer))) => return Ok(answer),
            Err(RecvTimeoutError::Timeout) => {
                format!("netCDF-C did not answer within {} s and was stopped; check the file with `ncdump`", self.timeout.as_secs_f64())
            }
            Ok(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => format!("netCDF-C gave no answer that makes sense: {error}"),
            _ => return Err(self.give_up().map_or_else(|| crashed("for no known reason"), |status| crashed(&status.to_string()))),
        };
        self.give_up();
        Err(message)
    }

    fn is_alive(&self) -> bool {
        self.input.is_some()
    }

    /// Ends the child: at once, as it only reads.
    fn give_up(&mut self) -> Option<std::process::ExitStatus> {
        self.input = None;
        // A child that crashed gets a moment to become the exit status that tells how.
        let ended = (0..20).find_map(|_| {
            let ended = self.child.try_wait().ok().flatten();
            ended.is_none().then(|| std::thread::sleep(Duration::from_millis(5)));
            ended
        });
        ended.or_else(|| self.child.kill().and_then(|()| self.child.wait()).ok())
    }
}

fn crashed(status: &str) -> String {
    format!("netCDF-C broke down while reading it ({status}); the file may be damaged, fetch it again")
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.input = None;
        // Nobody is left who could be told that these failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An open file in a child process.
#[derive(Clone)]
pub(super) struct NetcdfC(Arc<Opened>);

struct Opened {
    url: String,
    format: Format,
    schema: Schema,
    refused: Vec<(String, String)>,
    connection: Mutex<Connection>,
}

impl NetcdfC {
    /// False once the child has failed.
    pub(super) fn is_alive(&self) -> bool {
        self.0.connection.lock().unwrap_or_else(PoisonError::into_inner).is_alive()
    }

    fn variable(&self, name: &str) -> Result<&Variable, SourceError> {
        if let Some(variable) = self.0.schema.variable(name) {
            return Ok(variable);
        }
        let Some((_, reason)) = self.0.refused.iter().find(|(refused, _)| refused == name) else {
            return Err(source::no_such_variable(&self.0.url, name, &self.0.schema));
        };
        let message = format!("{reason}; drop it in the recipe");
        Err(SourceError::Unsupported { url: self.0.url.clone(), variable: name.to_owned(), message })
    }

    fn values(&self, variable: &str, region: &Region) -> Result<Vec<u8>, SourceError> {
        let request = Request::Read { variable: variable.to_owned(), region: region.clone() };
        let answer = self.0.connection.lock().unwrap_or_else(PoisonError::into_inner).ask(&request, &[]);
        match answer {
            Ok((Answer::Values, bytes)) => Ok(bytes),
            Ok((Answer::Failed(message), _)) => Err(self.corrupt(variable, &format!("netCDF-C cannot read it: {message}"))),
            Ok(_) => Err(self.corrupt(variable, "netCDF-C gave another answer than that to the question")),
            Err(message) => Err(self.corrupt(variable, &message)),
        }
    }

    fn corrupt(&self, variable: &str, message: &str) -> SourceError {
        failed(&self.0.url, &format!("variable `{variable}`: {message}"))
    }
}

impl Source for NetcdfC {
    fn format(&self) -> Format {
        self.0.format
    }

    fn schema(&self) -> &Schema {
        &self.0.schema
    }

    fn refused(&self) -> &[(String, String)] {
        &self.0.refused
    }

    fn stored(&self, variable: &str) -> Result<Stored, SourceError> {
        let found = self.variable(variable)?;
        let fill = match &found.encoding.fill {
            Some(FillValue::Number(number)) => Scalar::to_bytes(*number),
            _ => fill::netcdf_default(found.dtype),
        };
        let order = if cfg!(target_endian = "big") { ByteOrder::Big } else { ByteOrder::Little };
        let layout = Layout::Free { max_bytes: LARGEST_BOX, server: None };
        Ok(Stored { dtype: found.dtype, order, shape: self.0.schema.shape(found), fill, layout })
    }

    fn read(&self, variable: &str, region: &Region) -> Result<Array, SourceError> {
        let found = self.variable(variable)?;
        source::check_region(&self.0.url, variable, &self.0.schema.shape(found), region)?;
        let bytes = if region.is_empty() { Vec::new() } else { self.values(variable, region)? };
        let array = match found.dtype {
            DataType::String => protocol::texts_from_bytes(&bytes).and_then(|texts| Array::from_texts(region.shape.clone(), texts)),
            dtype => Array::from_bytes(dtype, region.shape.clone(), bytes),
        };
        array.ok_or_else(|| source::wrong_length(&self.0.url, variable))
    }
}
