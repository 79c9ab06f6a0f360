//! An FTP server that answers by script: faultless but for what the test says.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a transfer ends that does not come to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// Both connections are closed without a word.
    HangUp,
    /// The data connection is closed, and this said.
    Saying(&'static str),
    /// Nothing more comes.
    Silence,
}

type Answer = dyn Fn(&str, usize) -> Option<String> + Send + Sync;
type Cut = dyn Fn(usize) -> Option<(usize, End)> + Send + Sync;

/// What is served, and what goes wrong.
pub(crate) struct Script {
    /// Files by path, with their modification times.
    pub(crate) files: Mutex<BTreeMap<String, (Vec<u8>, String)>>,
    /// The answer to a command (its name, how often any server saw that name before) in place of the usual one.
    pub(crate) answer: Box<Answer>,
    /// Where the n-th transfer is cut.
    pub(crate) cut: Box<Cut>,
    /// The address that `PASV` names.
    pub(crate) claim: [u8; 4],
    /// Every command as it came.
    pub(crate) commands: Mutex<Vec<String>>,
    /// Bytes sent over data connections.
    pub(crate) sent: AtomicUsize,
    pub(crate) transfers: AtomicUsize,
    pub(crate) connections: AtomicUsize,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            files: Mutex::default(),
            answer: Box::new(|_, _| None),
            cut: Box::new(|_| None),
            claim: [127, 0, 0, 1],
            commands: Mutex::default(),
            sent: AtomicUsize::new(0),
            transfers: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        }
    }
}

impl Script {
    /// Puts a file there.
    pub(crate) fn put(&self, path: &str, content: &[u8], modified: &str) {
        self.files.lock().unwrap().insert(path.to_owned(), (content.to_vec(), modified.to_owned()));
    }

    /// How often a command came.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.commands.lock().unwrap().iter().filter(|command| command.split(' ').next() == Some(name)).count()
    }

    /// Connections that were made.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A server that runs until the process ends.
pub(crate) struct Server {
    pub(crate) script: Arc<Script>,
    address: SocketAddr,
}

impl Server {
    pub(crate) fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(script);
        let served = Arc::clone(&script);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let script = Arc::clone(&served);
                script.connections.fetch_add(1, Ordering::SeqCst);
                // A client that hangs up in the middle is no fault of the server.
                std::thread::spawn(move || drop(Talk { script, control: connection, data: None, offset: 0 }.serve()));
            }
        });
        Self { script, address }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("ftp://{}/{path}", self.address)
    }
}

struct Talk {
    script: Arc<Script>,
    control: TcpStream,
    data: Option<TcpListener>,
    offset: usize,
}

impl Talk {
    fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.control.write_all(format!("{text}\r\n").as_bytes())
    }

    fn serve(mut self) -> std::io::Result<()> {
        let mut lines = BufReader::new(self.control.try_clone()?).lines();
        let greeting = (self.script.answer)("connect", self.script.connections().saturating_sub(1));
        self.say(greeting.as_deref().unwrap_or("220-Welcome\r\n to this\r\n220 server"))?;
        while let Some(line) = lines.next().transpose()? {
            let (name, argument) = line.split_once(' ').unwrap_or((&line, ""));
            let before = self.script.count(name);
            self.script.commands.lock().unwrap().push(line.clone());
            match (self.script.answer)(name, before) {
                Some(text) if text.is_empty() => std::thread::sleep(Duration::from_secs(30)),
                Some(text) if text == "hang up" => return Ok(()),
                Some(text) => self.say(&text)?,
                None if self.obey(name, argument)? => {}
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// False if the connection is to be closed.
    fn obey(&mut self, name: &str, argument: &str) -> std::io::Result<bool> {
        let file = self.script.files.lock().unwrap().get(argument).cloned();
        match (name, file) {
            ("USER", _) => self.say("331 Password?")?,
            ("PASS", _) => self.say("230 In")?,
            ("TYPE" | "NOOP", _) => self.say("200 Fine")?,
            ("CWD", _) => self.say("250 Fine")?,
            ("PWD", _) => self.say("257 \"/ho\"\"me\" is where you are")?,
            ("SIZE", Some((content, _))) => self.say(&format!("213 {}", content.len()))?,
            ("MDTM", Some((_, modified))) => self.say(&format!("213 {modified}"))?,
            ("EPSV" | "PASV", _) => self.listen(name == "EPSV")?,
            ("REST", _) => {
                self.offset = argument.parse().unwrap();
                self.say("350 From there")?;
            }
            ("RETR", Some((content, _))) => return self.transfer(&content),
            ("LIST" | "MLSD", _) => {
                let listing = self.script.files.lock().unwrap().get(name).cloned().unwrap_or_default().0;
                return self.transfer(&listing);
            }
            ("SIZE" | "MDTM" | "RETR", None) => self.say("550 No such file")?,
            _ => self.say("500 What?")?,
        }
        Ok(true)
    }

    fn listen(&mut self, extended: bool) -> std::io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        self.data = Some(listener);
        let [a, b, c, d] = self.script.claim;
        if extended {
            return self.say(&format!("229 Entering Extended Passive Mode (|||{port}|)"));
        }
        self.say(&format!("227 Entering Passive Mode ({a},{b},{c},{d},{},{})", port / 256, port % 256))
    }

    fn transfer(&mut self, content: &[u8]) -> std::io::Result<bool> {
        let (mut data, _) = self.data.take().unwrap().accept()?;
        self.say("150 Here it comes")?;
        let rest = &content[std::mem::take(&mut self.offset).min(content.len())..];
        let cut = (self.script.cut)(self.script.transfers.fetch_add(1, Ordering::SeqCst)).filter(|(length, _)| *length < rest.len());
        let sent = &rest[..cut.map_or(rest.len(), |(length, _)| length)];
        let mut passed = true;
        for piece in sent.chunks(16 << 10) {
            passed = passed && data.write_all(piece).is_ok();
            self.script.sent.fetch_add(if passed { piece.len() } else { 0 }, Ordering::SeqCst);
        }
        match cut {
            Some((_, End::HangUp)) => return Ok(false),
            Some((_, End::Silence)) => std::thread::sleep(Duration::from_secs(30)),
            Some((_, End::Saying(text))) => {
                drop(data);
                self.say(text)?;
            }
            None => {
                drop(data);
                self.say(if passed { "226 All of it" } else { "426 You hung up" })?;
            }
        }
        Ok(true)
    }
}
