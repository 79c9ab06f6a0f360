//! A stage for stories: an archive of files, a git repository, the fake forge, and the bot's server as a process of its own that can be killed.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use git2::{IndexEntry, IndexTime, Repository as Git, Signature};
use ring::hmac;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fake::{Fake, KEY, Pull};
use super::scripted_server::{Server, honest, reply};

const SECRET: &str = "shared with the host";
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Stage {
    pub(crate) folder: TempDir,
    pub(crate) fake: Fake,
    archive: Server,
    /// Days that the archive has.
    days: Arc<AtomicUsize>,
    server: Mutex<Option<(Child, u16)>>,
    deliveries: AtomicUsize,
}

impl Stage {
    /// A repository without recipes, and an archive with three days.
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let fake = Fake::start();
        let days = Arc::new(AtomicUsize::new(3));
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tcco2-packed");
        let of_archive = Arc::clone(&days);
        let archive = Server::start(move |request, _| {
            let content = if request.path == "/list.txt" {
                let list: String = (1..=of_archive.load(Ordering::SeqCst)).map(|day| format!("tcco2_2006010{day}.nc\n")).collect();
                Ok(list.into_bytes())
            } else {
                std::fs::read(data.join(request.path.trim_start_matches('/')))
            };
            let absent = |_| reply("404 Not Found", &[("Content-Length", "0")], b"");
            content.map_or_else(absent, |content| honest(request, &content))
        });
        let (server, deliveries) = (Mutex::new(None), AtomicUsize::new(0));
        let stage = Self { folder, fake, archive, days, server, deliveries };
        Git::init_bare(stage.git()).unwrap();
        let first = stage.commit("refs/heads/main", &[("README.md", "recipes\n")]);
        stage.fake.repo(|repo| {
            repo.clone_url = format!("file://{}", stage.git().display());
            repo.heads.insert("main".into(), first);
            repo.pulls.clear();
            repo.roles.insert("maintainer".into(), ("write", "maintain"));
        });
        // An operator's word for archives in a network of their own; no recipe can say it.
        std::fs::write(stage.path("tests.toml"), "[policy]\nallow_private = true\nallow_http = true\n").unwrap();
        std::fs::write(stage.path("secret"), SECRET).unwrap();
        std::fs::write(stage.path("key.pem"), KEY).unwrap();
        stage
    }

    fn git(&self) -> PathBuf {
        self.path("host.git")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One more day comes into the archive.
    pub(crate) fn another_day(&self) {
        self.days.fetch_add(1, Ordering::SeqCst);
    }

    /// A recipe of what the archive has.
    pub(crate) fn recipe(&self, id: &str, title: &str) -> String {
        let list = self.archive.url("/list.txt");
        format!(
            "schema: 1\nid: {id}\ntitle: {title}\nlicense: CC-BY-4.0\nmaintainers: [a]\ninputs:\n  find:\n    manifest: \"{list}\"\n    match: 'tcco2_(?<time>\\d{{8}})\\.nc$'\n    keys: {{time: \"%Y%m%d\"}}\ncombine: {{concat: [time]}}\noutput:\n  chunks: {{time: 1}}\n"
        )
    }

    /// A commit with these files on a reference, after its last one or, if it is new, after `main`.
    pub(crate) fn commit(&self, reference: &str, files: &[(&str, &str)]) -> String {
        let git = Git::open_bare(self.git()).unwrap();
        let parent = [reference, "refs/heads/main"].iter().find_map(|name| git.find_reference(name).ok()?.peel_to_commit().ok());
        self.commit_after(reference, parent.map(|parent| parent.id()), files)
    }

    /// The same after a commit of choice, as a push by force.
    pub(crate) fn commit_after(&self, reference: &str, parent: Option<git2::Oid>, files: &[(&str, &str)]) -> String {
        let git = Git::open_bare(self.git()).unwrap();
        let parent = parent.map(|id| git.find_commit(id).unwrap());
        let mut index = git2::Index::new().unwrap();
        if let Some(parent) = &parent {
            index.read_tree(&parent.tree().unwrap()).unwrap();
        }
        for (path, text) in files {
            let zero = IndexTime::new(0, 0);
            let (id, path) = (git.blob(text.as_bytes()).unwrap(), path.as_bytes().to_vec());
            let entry = IndexEntry {
                ctime: zero,
                mtime: zero,
                dev: 0,
                ino: 0,
                mode: 0o100_644,
                uid: 0,
                gid: 0,
                file_size: 0,
                id,
                flags: 0,
                flags_extended: 0,
                path,
            };
            index.add(&entry).unwrap();
        }
        let tree = git.find_tree(index.write_tree_to(&git).unwrap()).unwrap();
        let who = Signature::now("a", "a@example.org").unwrap();
        let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
        let id = git.commit(None, &who, &who, "change", &tree, &parents).unwrap();
        git.reference(reference, id, true, "").unwrap();
        id.to_string()
    }

    /// Pull request 7 at a new commit; the host does not tell yet.
    pub(crate) fn propose(&self, files: &[(&str, &str)]) -> String {
        let head = self.commit("refs/pull/7/head", files);
        self.fake.repo(|repo| drop(repo.pulls.insert(7, Pull { head: head.clone(), open: true })));
        head
    }

    /// Pull request 7 is merged; the host does not tell yet.
    pub(crate) fn merge(&self) -> String {
        let git = Git::open_bare(self.git()).unwrap();
        let head = git.find_reference("refs/pull/7/head").unwrap().peel_to_commit().unwrap().id();
        git.reference("refs/heads/main", head, true, "").unwrap();
        self.fake.repo(|repo| {
            repo.pulls.get_mut(&7).unwrap().open = false;
            repo.heads.insert("main".into(), head.to_string());
        });
        head.to_string()
    }

    /// Straight to the default branch.
    pub(crate) fn push(&self, files: &[(&str, &str)]) -> String {
        let head = self.commit("refs/heads/main", files);
        self.fake.repo(|repo| drop(repo.heads.insert("main".into(), head.clone())));
        head
    }

    /// Starts the server; it listens when this returns.
    pub(crate) fn start(&self, daily: bool) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let place = |name: &str| self.path(name).display().to_string();
        let settings = format!(
            "listen = \"127.0.0.1:{port}\"\nstate = \"{}\"\nledger = \"{}\"\nreconcile_minutes = 10\n[webhook]\nsecrets = [{{file = \"{}\"}}]\n\
             [host]\napi = \"{}\"\napp = 4711\nkey = {{file = \"{}\"}}\n\
             [jobs]\nmemory = \"1GiB\"\nthreads = 1\nsettings = \"{}\"\n\
             [repository.\"sea/ice\"]\npublic = true\ntarget = \"{}\"\nsettings = \"{}\"\ndaily = {daily}\n",
            place("state"),
            place("ledger"),
            place("secret"),
            self.fake.url(),
            place("key.pem"),
            place("tests.toml"),
            place("published"),
            place("tests.toml"),
        );
        std::fs::write(self.path("bot.toml"), settings).unwrap();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
        command.args(["bot", "serve"]).arg(self.path("bot.toml")).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("RUST_LOG", "gristmill=info").stdout(log.try_clone().unwrap()).stderr(log);
        *self.server.lock().unwrap() = Some((command.spawn().unwrap(), port));
        self.wait("the server to listen", || self.get("/healthz").is_some());
    }

    fn port(&self) -> u16 {
        self.server.lock().unwrap().as_ref().map(|(_, port)| *port).unwrap()
    }

    fn get(&self, path: &str) -> Option<String> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    fn send(&self, request: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port())).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 ").then_some(answer)
    }

    /// Delivers as the host does; what the server answered: 0 if nothing.
    pub(crate) fn deliver_as(&self, id: &str, event: &str, payload: &Value) -> u16 {
        let body = payload.to_string();
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body.as_bytes());
        let digits: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let answer = self.send(&format!(
            "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\nX-GitHub-Event: {event}\r\nX-GitHub-Delivery: {id}\r\nX-Hub-Signature-256: sha256={digits}\r\n\r\n{body}",
            body.len()
        ));
        answer.and_then(|answer| answer.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    }

    /// Delivers something new; its id.
    pub(crate) fn deliver(&self, event: &str, payload: &Value) -> String {
        let id = format!("d-{}", self.deliveries.fetch_add(1, Ordering::SeqCst));
        let status = self.deliver_as(&id, event, payload);
        assert!((200..300).contains(&status), "the server answered {status} to {event}\n{}", self.log());
        id
    }

    /// Waits until nothing waits and nothing runs.
    pub(crate) fn settle(&self) {
        self.wait("the server to settle", || self.is_settled());
    }

    pub(crate) fn is_settled(&self) -> bool {
        let idle = |answer: &String| {
            let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
            let health: Value = serde_json::from_str(body).unwrap_or_default();
            [&health["queue"], &health["running"], &health["waiting"]].iter().all(|count| count.as_u64() == Some(0))
        };
        // Between the end of a job and its entry in the queue nothing may seem to wait.
        let twice = || self.get("/healthz").as_ref().is_some_and(idle);
        twice() && {
            std::thread::sleep(Duration::from_millis(150));
            twice()
        }
    }

    /// As when the power goes.
    pub(crate) fn kill(&self) {
        if let Some((mut child, _)) = self.server.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < PATIENCE, "waited too long for {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        log.lines().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// How many days are published.
    pub(crate) fn published(&self, id: &str) -> Option<u64> {
        let place = self.path("published").join(id).join("current");
        let output = Command::new(env!("CARGO_BIN_EXE_gristmill")).args(["--json", "inspect"]).arg(place).output().unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).ok()?;
        found["dimensions"].as_array()?.iter().find(|one| one["name"] == "time")?["length"].as_u64()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.kill();
    }
}

fn repository() -> Value {
    json!({"full_name": "sea/ice"})
}

/// The payload about pull request 7.
pub(crate) fn pull(action: &str, head: &str) -> Value {
    json!({"action": action, "number": 7, "repository": repository(), "pull_request": {"number": 7, "head": {"sha": head}}})
}

/// The payload about a push to the default branch.
pub(crate) fn pushed(after: &str) -> Value {
    json!({"ref": "refs/heads/main", "after": after, "repository": repository()})
}

/// Somebody comments on pull request 7; the payload about it.
pub(crate) fn commented(stage: &Stage, id: u64, by: &str, text: &str) -> Value {
    stage.fake.repo(|repo| repo.comments.push(json!({"id": id, "pull": 7, "user": {"login": by}, "body": text})));
    json!({
        "action": "created", "repository": repository(), "issue": {"number": 7, "pull_request": {"url": "x"}},
        "comment": {"id": id, "body": text, "user": {"login": by, "type": "User"}}, "sender": {"login": by, "type": "User"},
    })
}
