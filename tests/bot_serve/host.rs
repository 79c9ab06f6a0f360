//! A code host in this process: a bare repository, pull requests, and a list of what was said.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use git2::Repository as Git;
use gristmill::bot::decide::{Pull, Role, Sha};
use gristmill::bot::forge::{CloneAccess, Fault, Forge, ForgeError, Found, Progress, Question, Repository, Said, Which};
use gristmill::bot::serve::settings::{Host, Jobs, Served, Settings};
use gristmill::bot::serve::{Hidden, serve};
use gristmill::store::Access;
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bare_repository;
use crate::scripted_server::{Server, Step, honest, reply};

pub(crate) const NAME: &str = "mill/feedstock";
pub(crate) const SECRET: &str = "a secret that the host shares";

/// The host.
pub(crate) struct Played {
    pub(crate) git: PathBuf,
    pulls: Mutex<BTreeMap<u64, Pull>>,
    roles: Mutex<BTreeMap<String, Role>>,
    pub(crate) said: Mutex<Vec<Said>>,
    /// Calls that fail before the next one that does not.
    pub(crate) failing: AtomicUsize,
    pub(crate) redelivered: AtomicUsize,
    pub(crate) public: AtomicBool,
    log: PathBuf,
}

impl Played {
    pub(crate) fn new(folder: &Path) -> Self {
        let git = folder.join("host.git");
        if !git.exists() {
            Git::init_bare(&git).unwrap();
        }
        Self {
            git,
            pulls: Mutex::default(),
            roles: Mutex::default(),
            said: Mutex::default(),
            failing: AtomicUsize::new(0),
            redelivered: AtomicUsize::new(0),
            public: AtomicBool::new(true),
            log: folder.join("said.log"),
        }
    }

    /// A commit with these files on a reference, after its last one or, for a new reference, after `main`.
    pub(crate) fn commit(&self, reference: &str, files: &[(&str, &str)]) -> Sha {
        let git = Git::open_bare(&self.git).unwrap();
        let id = bare_repository::commit(&git, reference, bare_repository::tip(&git, reference), files);
        id.to_string().parse().unwrap()
    }

    /// Puts a pull request at a commit.
    pub(crate) fn pull(&self, number: u64, head: &Sha, open: bool) {
        self.pulls.lock().unwrap().insert(number, Pull { number, head: head.clone(), open });
    }

    pub(crate) fn give_role(&self, name: &str, role: Role) {
        self.roles.lock().unwrap().insert(name.to_owned(), role);
    }

    pub(crate) fn tip(&self) -> Option<Sha> {
        self.reference("refs/heads/main")
    }

    pub(crate) fn said(&self) -> Vec<Said> {
        self.said.lock().unwrap().clone()
    }

    /// A pull request that only git knows, as where the host is played by another process than the one that made it.
    fn pull_in_git(&self, number: u64) -> Option<Pull> {
        let head = self.reference(&format!("refs/pull/{number}/head"))?;
        Some(Pull { number, head, open: true })
    }

    fn reference(&self, name: &str) -> Option<Sha> {
        let git = Git::open_bare(&self.git).unwrap();
        let commit = git.find_reference(name).ok()?.peel_to_commit().ok()?;
        commit.id().to_string().parse().ok()
    }

    fn answer<T>(&self, answer: T) -> Result<T, ForgeError> {
        let failing = self.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if failing.is_ok() { Err(ForgeError::new(Fault::Passing(Duration::from_millis(10)), "answer", "it is down")) } else { Ok(answer) }
    }
}

impl Forge for Played {
    fn look_up(&self, _: &Repository, question: &Question) -> Result<Found, ForgeError> {
        let pulls = self.pulls.lock().unwrap();
        let pull = question.pull.as_ref().and_then(|which| match which {
            Which::Number(number) => pulls.get(number).cloned().or_else(|| self.pull_in_git(*number)),
            Which::Head(head) => pulls.values().find(|pull| pull.open && pull.head == *head).cloned(),
        });
        let role = question.by.as_ref().and_then(|by| self.roles.lock().unwrap().get(by).copied()).unwrap_or(Role::Nobody);
        let (default_head, base) = if question.pull.is_some() { (None, self.tip()) } else { (self.tip(), None) };
        let is_public = self.public.load(Ordering::SeqCst);
        self.answer(Found { default_branch: "main".to_owned(), default_head, is_public, pull, base, role })
    }

    fn say(&self, _: &Repository, said: &Said) -> Result<(), ForgeError> {
        self.answer(())?;
        let mut all = self.said.lock().unwrap();
        all.push(said.clone());
        // For those who look from another process.
        let line = format!("{said:?}\n");
        File::options().create(true).append(true).open(&self.log).unwrap().write_all(line.as_bytes()).unwrap();
        Ok(())
    }

    fn published(&self, _: &Repository, recipe: &str) -> Result<Option<Sha>, ForgeError> {
        let is_it = |said: &Said| match said {
            Said::Deployment(one) if one.recipe == recipe && one.progress == Progress::Passed => Some(one.commit.clone()),
            _ => None,
        };
        let commit = self.said.lock().unwrap().iter().rev().find_map(is_it);
        self.answer(commit)
    }

    fn clone_access(&self, _: &Repository) -> Result<CloneAccess, ForgeError> {
        let url = format!("file://{}", self.git.display());
        self.answer(CloneAccess { url, user: "x".to_owned(), secret: "y".to_owned(), until: Timestamp::now() })
    }

    fn redeliver(&self, _: Timestamp) -> Result<u64, ForgeError> {
        self.redelivered.fetch_add(1, Ordering::SeqCst);
        Ok(0)
    }

    fn repositories(&self) -> Result<Vec<Repository>, ForgeError> {
        Ok(vec![NAME.parse().unwrap()])
    }
}

/// An archive of files, a host, and a folder for a server.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) host: Arc<Played>,
    pub(crate) archive: Server,
    /// Milliseconds that the archive thinks before each answer.
    pub(crate) slowness: Arc<AtomicU64>,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let host = Arc::new(Played::new(folder.path()));
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tcco2-packed");
        let slowness = Arc::new(AtomicU64::new(0));
        let slow = Arc::clone(&slowness);
        let archive = Server::start(move |request, _| {
            let answer = match std::fs::read(data.join(request.path.trim_start_matches('/'))) {
                Ok(content) => honest(request, &content),
                Err(_) => reply("404 Not Found", &[("Content-Length", "0")], b""),
            };
            let wait = Step::Wait(Duration::from_millis(slow.load(Ordering::SeqCst)));
            std::iter::once(wait).chain(answer).collect()
        });
        host.commit("refs/heads/main", &[("README.md", "recipes\n")]);
        // What an operator says for archives in a network of their own; no recipe can say it.
        std::fs::write(folder.path().join("tests.toml"), "[policy]\nallow_private = true\nallow_http = true\n").unwrap();
        Self { folder, host, archive, slowness }
    }

    /// A recipe of the archive.
    pub(crate) fn recipe(&self, id: &str, days: u32) -> String {
        let url = self.archive.url("/tcco2_{time:%Y%m%d}.nc");
        format!(
            "schema: 1\nid: {id}\ntitle: Carbon dioxide\nlicense: CC-BY-4.0\nmaintainers: [a]\ninputs:\n  url: \"{url}\"\n  keys:\n    time: {{dates: {{start: 2006-01-01, end: 2006-01-0{days}, step: 1 day}}}}\ncombine: {{concat: [time]}}\n"
        )
    }

    pub(crate) fn path(id: &str) -> String {
        format!("recipes/{id}/recipe.yaml")
    }

    pub(crate) fn settings(&self) -> Settings {
        settings(self.folder.path())
    }

    pub(crate) fn serve(&self) -> Running {
        self.serve_with(self.settings())
    }

    pub(crate) fn serve_with(&self, settings: Settings) -> Running {
        Running::start(settings, Arc::clone(&self.host))
    }
}

/// Settings of a server in a folder.
pub(crate) fn settings(folder: &Path) -> Settings {
    {
        let mut repositories = BTreeMap::new();
        let served = Served {
            target: Some(folder.join("published").display().to_string()),
            public: true,
            daily: false,
            trusted: false,
            settings: Some(folder.join("tests.toml")),
            environment: ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
                .map(|name| (name.to_owned(), Hidden::new("key-of-the-target")))
                .into(),
        };
        repositories.insert(NAME.to_owned(), served);
        Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            state: folder.join("state"),
            ledger: folder.join("ledger").display().to_string(),
            public_url: "https://bot.example.org".to_owned(),
            secrets: vec![Hidden::new(SECRET)],
            largest_body: 1 << 20,
            reconcile: Duration::from_mins(10),
            host: Host { api: String::new(), app: 1, key: Hidden::new("none") },
            jobs: Jobs {
                at_once: 2,
                per_source: 2,
                memory: 1 << 30,
                disk: 1 << 30,
                threads: 1,
                test_bytes: 1 << 30,
                test_time: Duration::from_mins(5),
                bake_time: Duration::from_mins(5),
                processor: Duration::from_mins(5),
                settings: Some(folder.join("tests.toml")),
                kept: 100,
                program: env!("CARGO_BIN_EXE_gristmill").into(),
            },
            repositories,
        }
    }
}

/// A server in this process; stopped in order when dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(settings: Settings, host: Arc<Played>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, told) = std::sync::mpsc::channel();
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            serve(settings, &Access::default(), host, &flag, |address| tell.send(address).unwrap()).unwrap();
        });
        Self { address: told.recv_timeout(Duration::from_mins(1)).unwrap(), stop, thread: Some(thread) }
    }

    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server failed");
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        ask(self.address, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
    }

    /// Delivers a payload as the host would.
    pub(crate) fn deliver(&self, id: &str, event: &str, payload: &Value) -> Answer {
        deliver(self.address, id, event, &payload.to_string())
    }

    /// Waits until nothing waits and nothing runs.
    pub(crate) fn settle(&self) {
        wait("the server to settle", || {
            let health: Value = serde_json::from_str(&self.get("/healthz").body).unwrap();
            [&health["queue"], &health["running"], &health["waiting"]].iter().all(|count| count.as_u64() == Some(0))
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) fn deliver(address: SocketAddr, id: &str, event: &str, body: &str) -> Answer {
    post(address, &[("X-GitHub-Event", event), ("X-GitHub-Delivery", id), ("X-Hub-Signature-256", &sign(SECRET, body))], body)
}

pub(crate) fn post(address: SocketAddr, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    ask(address, (head + body).as_bytes())
}

pub(crate) fn ask(address: SocketAddr, request: &[u8]) -> Answer {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    // A server that refuses early stops reading.
    let _ = connection.write_all(request);
    let mut bytes = Vec::new();
    let _ = connection.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    assert!(!chunked, "answers have a length");
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

pub(crate) fn sign(secret: &str, body: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let digits: String = ring::hmac::sign(&key, body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

pub(crate) fn pull_request(action: &str, number: u64, head: &Sha) -> Value {
    json!({"action": action, "repository": {"full_name": NAME}, "pull_request": {"number": number, "head": {"sha": head}}})
}

pub(crate) fn push(after: &Sha) -> Value {
    json!({"ref": "refs/heads/main", "after": after, "repository": {"full_name": NAME}})
}

pub(crate) fn comment(pull: u64, id: u64, by: &str, text: &str) -> Value {
    let user = json!({"login": by, "type": "User"});
    json!({"action": "created", "repository": {"full_name": NAME}, "issue": {"number": pull, "pull_request": {}},
        "comment": {"id": id, "body": text, "user": user}, "sender": user})
}

/// Waits for something that takes seconds on an idle machine.
pub(crate) fn wait(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_mins(5), "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
