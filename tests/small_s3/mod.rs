//! A small S3 server in memory, right by default and wrong by choice: in what it does with conditions, and by script per request.
//! What real servers do is tried by `ci/stores.sh`.
#![allow(dead_code, reason = "each test binary that shares this uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_128;

/// What becomes of `If-None-Match: *` and `If-Match` on a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conditions {
    /// Held, atomically.
    Honoured,
    /// Answered with 200, and overwritten all the same.
    Ignored,
    /// Answered with 501.
    Refused,
    /// Looked at first, and stored a moment later.
    Racy,
}

/// What a script wants of a request.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    /// A status line such as `503 Slow Down`, and a body; nothing is done.
    Answer(&'static str, String),
    /// 200 with this body and without a tag; nothing is done.
    ErrorWith200(String),
    /// So many bytes are added to what is stored.
    Append(usize),
    /// It is done so much later.
    Wait(Duration),
    /// It is done, but no answer comes.
    Silence,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// `bucket/key`, decoded.
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

type Script = dyn Fn(&Request) -> Option<Wish> + Send + Sync;

struct Upload {
    path: String,
    parts: BTreeMap<u32, Vec<u8>>,
}

struct State {
    conditions: Conditions,
    script: Mutex<Box<Script>>,
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    uploads: Mutex<BTreeMap<String, Upload>>,
    number: AtomicUsize,
    log: Mutex<Vec<(String, String)>>,
    stopped: AtomicBool,
}

/// The server; stops when dropped.
pub(crate) struct SmallS3 {
    address: SocketAddr,
    state: Arc<State>,
}

impl SmallS3 {
    pub(crate) fn start(conditions: Conditions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            conditions,
            script: Mutex::new(Box::new(|_| None)),
            objects: Mutex::default(),
            uploads: Mutex::default(),
            number: AtomicUsize::new(0),
            log: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(connection), state) = (connection, Arc::clone(&shared)) else { continue };
                // A client that goes away is part of the game.
                std::thread::spawn(move || drop(serve(&connection, &state)));
            }
        });
        Self { address, state }
    }

    /// From now on each request is first shown to this.
    pub(crate) fn script(&self, script: impl Fn(&Request) -> Option<Wish> + Send + Sync + 'static) {
        *self.state.script.lock().unwrap() = Box::new(script);
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything stored, by `bucket/key`.
    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.state.objects.lock().unwrap().clone()
    }

    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        self.state.objects.lock().unwrap().insert(path.to_owned(), bytes.to_vec());
    }

    /// Everything whose `bucket/key` begins so is gone.
    pub(crate) fn forget(&self, beginning: &str) {
        self.state.objects.lock().unwrap().retain(|path, _| !path.starts_with(beginning));
    }

    /// Uploads that nobody finished.
    pub(crate) fn unfinished(&self) -> usize {
        self.state.uploads.lock().unwrap().len()
    }

    /// Methods and paths of all requests so far.
    pub(crate) fn log(&self) -> Vec<(String, String)> {
        self.state.log.lock().unwrap().clone()
    }
}

impl Drop for SmallS3 {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _woken = TcpStream::connect(self.address);
    }
}

fn serve(connection: &TcpStream, state: &State) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::new(connection);
    while let Some(request) = read_request(&mut reader)? {
        state.log.lock().unwrap().push((request.method.clone(), request.path.clone()));
        let wish = (state.script.lock().unwrap())(&request);
        let answer = match wish {
            Some(Wish::Answer(status, body)) => Answer { status, headers: Vec::new(), body: body.into_bytes() },
            Some(Wish::ErrorWith200(body)) => Answer { status: "200 OK", headers: Vec::new(), body: body.into_bytes() },
            Some(Wish::Append(more)) => {
                state.answer(&Request { body: [request.body.as_slice(), &vec![b'0'; more]].concat(), ..request.clone() })
            }
            Some(Wish::Wait(time)) => {
                std::thread::sleep(time);
                state.answer(&request)
            }
            Some(Wish::Silence) => {
                state.answer(&request);
                return Ok(());
            }
            None => state.answer(&request),
        };
        answer.send(connection, request.method == "HEAD")?;
    }
    Ok(())
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let query = pairs.map(|(name, value)| (decoded(name), decoded(value))).collect();
    Ok(Some(Request { method, path: decoded(path.trim_start_matches('/')), query, headers, body }))
}

fn decoded(text: &str) -> String {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok())).flatten();
        out.push(hex.unwrap_or(bytes[at]));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

struct Answer {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn send(&self, mut connection: &TcpStream, head: bool) -> std::io::Result<()> {
        let told: String = self.headers.iter().fold(String::new(), |told, (name, value)| told + &format!("{name}: {value}\r\n"));
        let tells_length = self.headers.iter().any(|(name, _)| *name == "Content-Length");
        let length = if tells_length { String::new() } else { format!("Content-Length: {}\r\n", self.body.len()) };
        let text = format!("HTTP/1.1 {}\r\n{told}{length}\r\n", self.status);
        let body = if head { &[][..] } else { &self.body };
        connection.write_all(&[text.as_bytes(), body].concat())
    }
}

fn plain(status: &'static str) -> Answer {
    Answer { status, headers: Vec::new(), body: Vec::new() }
}

fn error(status: &'static str, code: &str) -> Answer {
    Answer { status, headers: Vec::new(), body: error_body(code).into_bytes() }
}

/// The XML by which S3 tells an error.
pub(crate) fn error_body(code: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>scripted</Message></Error>")
}

fn xml(body: String) -> Answer {
    Answer { status: "200 OK", headers: vec![("Content-Type", "application/xml".into())], body: body.into_bytes() }
}

fn tag(bytes: &[u8]) -> String {
    format!("\"{:032x}\"", xxh3_128(bytes))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl State {
    fn answer(&self, request: &Request) -> Answer {
        let asks = |name: &str| request.query.contains_key(name);
        let is_bucket = !request.path.trim_end_matches('/').contains('/');
        match request.method.as_str() {
            "GET" if is_bucket && asks("uploads") => self.list_uploads(),
            "GET" if is_bucket => self.list(request),
            "PUT" if is_bucket => plain("200 OK"),
            "PUT" if asks("uploadId") => self.part(request),
            "PUT" => self.store(request),
            "POST" if asks("uploads") => self.begin(request),
            "POST" => self.complete(request),
            "DELETE" if asks("uploadId") => {
                self.uploads.lock().unwrap().remove(&request.query["uploadId"]);
                plain("204 No Content")
            }
            "DELETE" => {
                self.objects.lock().unwrap().remove(&request.path);
                plain("204 No Content")
            }
            _ => self.read(request),
        }
    }

    fn read(&self, request: &Request) -> Answer {
        let objects = self.objects.lock().unwrap();
        let Some(bytes) = objects.get(&request.path) else { return error("404 Not Found", "NoSuchKey") };
        if request.header("if-match").is_some_and(|asked| asked != tag(bytes)) {
            return error("412 Precondition Failed", "PreconditionFailed");
        }
        let mut headers = vec![("ETag", tag(bytes)), ("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT".to_owned())];
        let range = request.header("range").and_then(|range| range.strip_prefix("bytes=")).and_then(|range| range.split_once('-'));
        let Some((first, last)) = range else {
            headers.push(("Content-Length", bytes.len().to_string()));
            return Answer { status: "200 OK", headers, body: bytes.clone() };
        };
        let first: usize = first.parse().unwrap();
        let end = last.parse().map_or(bytes.len(), |last: usize| (last + 1).min(bytes.len()));
        headers.push(("Content-Range", format!("bytes {first}-{}/{}", end - 1, bytes.len())));
        Answer { status: "206 Partial Content", headers, body: bytes[first..end].to_vec() }
    }

    fn store(&self, request: &Request) -> Answer {
        let conditional = request.header("if-none-match").is_some() || request.header("if-match").is_some();
        if conditional && self.conditions == Conditions::Refused {
            return error("501 Not Implemented", "NotImplemented");
        }
        let holds = |objects: &BTreeMap<String, Vec<u8>>| {
            let now = objects.get(&request.path);
            let is_new = request.header("if-none-match").is_none() || now.is_none();
            is_new && request.header("if-match").is_none_or(|asked| now.is_some_and(|bytes| tag(bytes) == asked))
        };
        if self.conditions == Conditions::Racy && conditional {
            let held = holds(&self.objects.lock().unwrap());
            std::thread::sleep(Duration::from_millis(30));
            if !held {
                return error("412 Precondition Failed", "PreconditionFailed");
            }
        }
        let mut objects = self.objects.lock().unwrap();
        if conditional && self.conditions == Conditions::Honoured && !holds(&objects) {
            return error("412 Precondition Failed", "PreconditionFailed");
        }
        objects.insert(request.path.clone(), request.body.clone());
        Answer { status: "200 OK", headers: vec![("ETag", tag(&request.body))], body: Vec::new() }
    }

    fn list(&self, request: &Request) -> Answer {
        let bucket = request.path.trim_end_matches('/');
        let start = format!("{bucket}/{}", request.query.get("prefix").cloned().unwrap_or_default());
        let objects = self.objects.lock().unwrap();
        let found = objects.iter().filter(|(path, _)| path.starts_with(&start)).map(|(path, bytes)| {
            let key = escaped(path.split_once('/').unwrap().1);
            let (tag, size) = (escaped(&tag(bytes)), bytes.len());
            format!("<Contents><Key>{key}</Key><LastModified>2015-10-21T07:28:00.000Z</LastModified><ETag>{tag}</ETag><Size>{size}</Size></Contents>")
        });
        xml(format!("<ListBucketResult><IsTruncated>false</IsTruncated>{}</ListBucketResult>", found.collect::<String>()))
    }

    fn list_uploads(&self) -> Answer {
        let uploads = self.uploads.lock().unwrap();
        let each = uploads.iter().map(|(id, upload)| {
            let key = escaped(upload.path.split_once('/').unwrap().1);
            format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>2026-01-02T03:04:05.000Z</Initiated></Upload>")
        });
        xml(format!("<ListMultipartUploadsResult>{}</ListMultipartUploadsResult>", each.collect::<String>()))
    }

    fn begin(&self, request: &Request) -> Answer {
        let id = format!("upload-{}", self.number.fetch_add(1, Ordering::SeqCst));
        let upload = Upload { path: request.path.clone(), parts: BTreeMap::new() };
        self.uploads.lock().unwrap().insert(id.clone(), upload);
        xml(format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"))
    }

    fn part(&self, request: &Request) -> Answer {
        let mut uploads = self.uploads.lock().unwrap();
        let Some(upload) = uploads.get_mut(&request.query["uploadId"]) else { return error("404 Not Found", "NoSuchUpload") };
        upload.parts.insert(request.query["partNumber"].parse().unwrap(), request.body.clone());
        Answer { status: "200 OK", headers: vec![("ETag", tag(&request.body))], body: Vec::new() }
    }

    fn complete(&self, request: &Request) -> Answer {
        let Some(upload) = self.uploads.lock().unwrap().remove(&request.query["uploadId"]) else {
            return error("404 Not Found", "NoSuchUpload");
        };
        let whole: Vec<u8> = upload.parts.into_values().flatten().collect();
        let tag = escaped(&tag(&whole));
        self.objects.lock().unwrap().insert(request.path.clone(), whole);
        xml(format!("<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>"))
    }
}
