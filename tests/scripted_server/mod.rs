//! A web server that answers by script, byte for byte, one request per connection.
#![allow(dead_code, reason = "each test binary that shares this uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    /// When it came.
    pub(crate) when: Instant,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The range asked for, end exclusive.
    pub(crate) fn range(&self, size: usize) -> Option<Range<usize>> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let last = last.parse::<usize>().map_or(size, |last| (last + 1).min(size));
        Some(first.parse().ok()?..last)
    }
}

/// What is done with a connection, step by step.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    /// The connection is reset instead of closed.
    Reset,
}

pub(crate) type Reply = Vec<Step>;

/// Status line, headers and body, with nothing added but `Connection: close`.
pub(crate) fn reply(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    vec![Step::Send(head(status, headers)), Step::Send(body.to_vec())]
}

pub(crate) fn head(status: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{}\r\n", lines.concat()).into_bytes()
}

/// What a faultless server answers about a file.
pub(crate) fn honest(request: &Request, content: &[u8]) -> Reply {
    tagged(request, content, "\"one\"")
}

/// The same with a tag of choice; honours `If-Match`.
pub(crate) fn tagged(request: &Request, content: &[u8], etag: &str) -> Reply {
    if request.header("if-match").is_some_and(|asked| asked != etag) {
        return reply("412 Precondition Failed", &[("Content-Length", "0")], b"");
    }
    let Some(range) = request.range(content.len()) else {
        let length = content.len().to_string();
        let body = if request.method == "HEAD" { &[] } else { content };
        return reply("200 OK", &[("Content-Length", &length), ("ETag", etag), ("Accept-Ranges", "bytes")], body);
    };
    partial(content, range, etag)
}

/// A right answer to a range.
pub(crate) fn partial(content: &[u8], range: Range<usize>, etag: &str) -> Reply {
    let told = format!("bytes {}-{}/{}", range.start, range.end - 1, content.len());
    let length = range.len().to_string();
    reply("206 Partial Content", &[("Content-Length", &length), ("Content-Range", &told), ("ETag", etag)], &content[range])
}

/// Cuts the body of a reply after so many bytes and goes on with other steps.
pub(crate) fn cut(reply: Reply, bytes: usize, then: &[Step]) -> Reply {
    let mut steps = reply;
    if let Some(Step::Send(body)) = steps.last_mut() {
        body.truncate(bytes);
    }
    steps.extend_from_slice(then);
    steps
}

/// The server; stops when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<State>,
}

type Script = dyn Fn(&Request, usize) -> Reply + Send + Sync;

struct State {
    script: Box<Script>,
    requests: Mutex<Vec<Request>>,
    open: AtomicUsize,
    most_open: AtomicUsize,
    stopped: AtomicBool,
}

impl Server {
    /// Starts a server whose answers `script` decides from the request and its number, counted from 1.
    pub(crate) fn start(script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            script: Box::new(script),
            requests: Mutex::default(),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || accept(&listener, &shared));
        Self { address, state }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// How many of a method.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.requests().iter().filter(|request| request.method == method).count()
    }

    /// Most requests that were answered at the same time.
    pub(crate) fn most_open(&self) -> usize {
        self.state.most_open.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _woken = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for connection in listener.incoming() {
        if state.stopped.load(Ordering::SeqCst) {
            return;
        }
        let (Ok(connection), shared) = (connection, Arc::clone(state)) else { continue };
        std::thread::spawn(move || {
            // A client that goes away early is part of the game.
            let _gone = serve(connection, &shared);
        });
    }
}

fn serve(mut connection: TcpStream, state: &State) -> std::io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (request, length) = read_request(&connection)?;
    let number = {
        let mut requests = state.requests.lock().unwrap();
        requests.push(request.clone());
        requests.len()
    };
    let open = state.open.fetch_add(1, Ordering::SeqCst) + 1;
    state.most_open.fetch_max(open, Ordering::SeqCst);
    let steps = (state.script)(&request, number);
    // A socket closed with unread bytes is reset by the kernel.
    let unread = usize::from(steps.iter().any(|step| matches!(step, Step::Reset)));
    let body = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    connection.read_exact(&mut vec![0; length + body - unread])?;
    let (before, answer) = steps.split_at(steps.iter().position(|step| !matches!(step, Step::Wait(_))).unwrap_or(steps.len()));
    let waited = before.iter().try_for_each(|step| act(&mut connection, step));
    // Before the client can know that it was answered, or its next request would count beside this one.
    state.open.fetch_sub(1, Ordering::SeqCst);
    waited.and_then(|()| answer.iter().try_for_each(|step| act(&mut connection, step)))
}

fn act(connection: &mut TcpStream, step: &Step) -> std::io::Result<()> {
    match step {
        Step::Send(bytes) => connection.write_all(bytes),
        Step::Wait(time) => {
            std::thread::sleep(*time);
            Ok(())
        }
        // Lets what was sent arrive first.
        Step::Reset => {
            std::thread::sleep(Duration::from_millis(60));
            Ok(())
        }
    }
}

/// Looks at a request without consuming it.
fn read_request(connection: &TcpStream) -> std::io::Result<(Request, usize)> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let length = connection.peek(&mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            return Ok((parse(&text[..end]), end + 4));
        }
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn parse(text: &str) -> Request {
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers = lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Request { method, path, headers, when: Instant::now() }
}
