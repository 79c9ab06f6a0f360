//! A stage for stories: an archive of files, a git repository, the fake forge, an S3 server with ledger and datasets, and the bot's
//! server as a process of its own that is killed by word or at a request of choice.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use git2::Repository as Git;
use gristmill::store::{Access, target};
use ring::hmac;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::bare_repository;
use super::fake::{Fake, KEY, Pull};
use super::real_s3;
use super::scripted_server::{Server, honest, reply};
use super::small_s3::{Conditions, SmallS3};

const SECRET: &str = "shared with the host";
/// The ledger's, and that of the datasets, each with its prefix.
const PLACES: [(&str, &str); 2] = [("bot", "ledger"), ("data", "feedstock")];
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct Stage {
    pub(crate) folder: TempDir,
    pub(crate) fake: Fake,
    pub(crate) bucket: SmallS3,
    /// A real server that has ledger and datasets in place of `bucket`.
    real: Option<Access>,
    archive: Server,
    /// Days that the archive has.
    days: Arc<AtomicUsize>,
    /// Milliseconds that the archive thinks before each answer.
    pub(crate) slowness: Arc<AtomicU64>,
    server: Arc<Process>,
    port: AtomicUsize,
    deliveries: AtomicUsize,
}

/// The server's process, and at which request to the forge or the bucket it dies.
#[derive(Default)]
struct Process {
    child: Mutex<Option<Child>>,
    requests: AtomicUsize,
    /// 0: it lives on.
    last: AtomicUsize,
    is_dead: AtomicBool,
}

impl Process {
    /// A request came. Whether what it asks for is done before the server dies is as it happens on a real wire.
    fn step(&self) {
        let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        if number == self.last.load(Ordering::SeqCst)
            && let Some(child) = self.child.lock().unwrap().as_mut()
        {
            child.kill().unwrap();
            self.is_dead.store(true, Ordering::SeqCst);
        }
    }
}

impl Stage {
    /// A repository without recipes, and an archive with three days.
    pub(crate) fn new() -> Self {
        Self::with(None)
    }

    /// The same on moto; `None`, said aloud, where none runs.
    pub(crate) fn on_moto() -> Option<Self> {
        let access = PLACES.map(|(bucket, _)| real_s3::bucket(bucket)).into_iter().next()??;
        for (bucket, prefix) in PLACES {
            // What an earlier run left there would be known already.
            let store = target(&format!("s3://{bucket}/{prefix}"), &access).unwrap();
            store.list("", usize::MAX).unwrap().iter().for_each(|key| store.delete(key).unwrap());
        }
        Some(Self::with(Some(access)))
    }

    fn with(real: Option<Access>) -> Self {
        let folder = TempDir::new().unwrap();
        let fake = Fake::start();
        let days = Arc::new(AtomicUsize::new(3));
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tcco2-packed");
        let slowness = Arc::new(AtomicU64::new(0));
        let (of_archive, wait) = (Arc::clone(&days), Arc::clone(&slowness));
        let archive = Server::start(move |request, _| {
            std::thread::sleep(Duration::from_millis(wait.load(Ordering::SeqCst)));
            let content = if request.path == "/list.txt" {
                let list: String = (1..=of_archive.load(Ordering::SeqCst)).map(|day| format!("tcco2_2006010{day}.nc\n")).collect();
                Ok(list.into_bytes())
            } else {
                std::fs::read(data.join(request.path.trim_start_matches('/')))
            };
            let absent = |_| reply("404 Not Found", &[("Content-Length", "0")], b"");
            content.map_or_else(absent, |content| honest(request, &content))
        });
        let (server, bucket) = (Arc::new(Process::default()), SmallS3::start(Conditions::Honoured));
        let (of_fake, of_bucket) = (Arc::clone(&server), Arc::clone(&server));
        fake.world().watch = Some(Arc::new(move || of_fake.step()));
        bucket.script(move |_| {
            of_bucket.step();
            None
        });
        let (port, deliveries) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let stage = Self { folder, fake, bucket, real, archive, days, slowness, server, port, deliveries };
        Git::init_bare(stage.git()).unwrap();
        let first = stage.commit("refs/heads/main", &[("README.md", "recipes\n")]);
        stage.fake.repo(|repo| {
            repo.clone_url = format!("file://{}", stage.git().display());
            repo.heads.insert("main".into(), first);
            repo.pulls.clear();
            repo.roles.insert("maintainer".into(), ("write", "maintain"));
        });
        let bucket = format!("[s3]\nendpoint = \"{}\"\nregion = \"us-east-1\"\npath_style = true\nallow_http = true\n", stage.endpoint());
        std::fs::write(stage.path("gristmill.toml"), &bucket).unwrap();
        // An operator's word for archives in a network of their own; no recipe can say it.
        std::fs::write(stage.path("jobs.toml"), bucket + "[policy]\nallow_private = true\nallow_http = true\n").unwrap();
        std::fs::write(stage.path("word"), "of-the-bucket").unwrap();
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

    fn endpoint(&self) -> String {
        let real = self.real.as_ref().and_then(|access| access.s3.endpoint.clone());
        real.unwrap_or_else(|| self.bucket.endpoint())
    }

    /// All objects of ledger and datasets, by bucket and key.
    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let Some(access) = &self.real else { return self.bucket.objects() };
        let mut found = BTreeMap::new();
        for (bucket, prefix) in PLACES {
            let place = format!("{bucket}/{prefix}");
            let store = target(&format!("s3://{place}"), access).unwrap();
            for key in store.list("", usize::MAX).unwrap() {
                // One that went in between is none.
                let Some(bytes) = store.get(&key).unwrap() else { continue };
                found.insert(format!("{place}/{key}"), bytes.to_vec());
            }
        }
        found
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
        self.commit_after(reference, bare_repository::tip(&git, reference), files)
    }

    /// The same after a commit of choice, as a push by force.
    pub(crate) fn commit_after(&self, reference: &str, parent: Option<git2::Oid>, files: &[(&str, &str)]) -> String {
        let git = Git::open_bare(self.git()).unwrap();
        bare_repository::commit(&git, reference, parent, files).to_string()
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

    /// The commit of the default branch.
    pub(crate) fn main(&self) -> String {
        self.fake.repo(|repo| repo.heads["main"].clone())
    }

    /// Straight to the default branch.
    pub(crate) fn push(&self, files: &[(&str, &str)]) -> String {
        let head = self.commit("refs/heads/main", files);
        self.fake.repo(|repo| drop(repo.heads.insert("main".into(), head.clone())));
        head
    }

    /// Starts the server; it listens when this returns.
    pub(crate) fn start(&self, daily: bool) {
        self.begin(daily, 0);
        self.wait("the server to listen", || self.get("/healthz").is_some());
    }

    /// Starts a server that dies at a request of that number to the forge or the bucket, perhaps before it listens.
    pub(crate) fn start_to_die(&self, request: usize) {
        self.begin(false, request);
        self.wait("the server to listen", || self.is_dead() || self.get("/healthz").is_some());
    }

    fn begin(&self, daily: bool, last: usize) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let place = |name: &str| self.path(name).display().to_string();
        let settings = format!(
            "listen = \"127.0.0.1:{port}\"\nstate = \"{}\"\nledger = \"s3://bot/ledger\"\nreconcile_minutes = 10\npublic_url = \"https://bot.example.org\"\n\
             [webhook]\nsecrets = [{{file = \"{}\"}}]\n[host]\napi = \"{}\"\napp = 4711\nkey = {{file = \"{}\"}}\n\
             [jobs]\nmemory = \"1GiB\"\nthreads = 1\nsettings = \"{}\"\n\
             [repository.\"sea/ice\"]\npublic = true\ntarget = \"s3://data/feedstock\"\nsettings = \"{}\"\ndaily = {daily}\n\
             environment = {{AWS_ACCESS_KEY_ID = {{file = \"{word}\"}}, AWS_SECRET_ACCESS_KEY = {{file = \"{word}\"}}}}\n",
            place("state"),
            place("secret"),
            self.fake.url(),
            place("key.pem"),
            place("jobs.toml"),
            place("jobs.toml"),
            word = place("word"),
        );
        std::fs::write(self.path("bot.toml"), settings).unwrap();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = self.gristmill(&["bot", "serve", &place("bot.toml")]);
        command.env("RUST_LOG", "gristmill=info").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.port.store(port.into(), Ordering::SeqCst);
        self.server.is_dead.store(false, Ordering::SeqCst);
        self.server.requests.store(0, Ordering::SeqCst);
        let mut child = self.server.child.lock().unwrap();
        *child = Some(command.spawn().unwrap());
        self.server.last.store(last, Ordering::SeqCst);
    }

    /// The program, with what reaches the bucket.
    fn gristmill(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
        command.args(arguments).current_dir(self.folder.path());
        command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "of-the-ledger");
        command
    }

    /// True if the server died at the request at which it was to die.
    pub(crate) fn is_dead(&self) -> bool {
        self.server.is_dead.load(Ordering::SeqCst)
    }

    /// What the server shows at a path: head and body.
    pub(crate) fn page(&self, path: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port.load(Ordering::SeqCst) as u16)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        (String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end..].to_vec())
    }

    fn get(&self, path: &str) -> Option<String> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    fn send(&self, request: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port.load(Ordering::SeqCst) as u16)).ok()?;
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

    /// Waits until the server has looked at the default branch for the first time.
    pub(crate) fn know_the_branch(&self) {
        self.wait("a look at the branch", || self.objects().contains_key("bot/ledger/sea/ice/branch"));
        self.settle();
    }

    pub(crate) fn is_settled(&self) -> bool {
        let idle = |answer: &String| {
            let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
            let health: Value = serde_json::from_str(body).unwrap_or_default();
            [&health["queue"], &health["running"], &health["waiting"]].iter().all(|count| count.as_u64() == Some(0))
        };
        let is_idle = || self.get("/healthz").as_ref().is_some_and(idle);
        // A server that just began has not yet looked at what was under way.
        is_idle() && self.under_way().is_empty() && is_idle()
    }

    /// Jobs that the ledger knows to be under way.
    fn under_way(&self) -> Vec<String> {
        let ended = ["done", "failed", "cancelled"];
        let objects = self.objects();
        let begun = objects.keys().filter_map(|key| key.strip_suffix(".begun"));
        begun.filter(|job| !ended.iter().any(|end| objects.contains_key(&format!("{job}.{end}")))).map(str::to_owned).collect()
    }

    /// Names of what the ledger has about jobs, after `jobs/`.
    pub(crate) fn ledger(&self) -> Vec<String> {
        let objects = self.objects();
        objects.keys().filter_map(|key| key.strip_prefix("bot/ledger/sea/ice/jobs/")).map(str::to_owned).collect()
    }

    /// As when the power goes; what reached the forge before is done.
    pub(crate) fn kill(&self) {
        self.end();
        self.fake.catch_up();
    }

    fn end(&self) {
        if let Some(mut child) = self.server.child.lock().unwrap().take() {
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

    /// The last lines of the server, and what its jobs printed.
    pub(crate) fn log(&self) -> String {
        let end = |text: String, most: usize| text.lines().skip(text.lines().count().saturating_sub(most)).collect::<Vec<_>>().join("\n");
        let mut log = end(std::fs::read_to_string(self.path("log")).unwrap_or_default(), 60);
        for job in std::fs::read_dir(self.path("state/jobs")).into_iter().flatten().flatten() {
            let printed = std::fs::read_to_string(job.path().join("log.txt")).unwrap_or_default();
            log += &format!("\njob {}:\n{}", job.file_name().display(), end(printed, 5));
        }
        log
    }

    /// How many times are published, if everything that is there is right.
    pub(crate) fn published(&self, id: &str) -> Option<u64> {
        let target = format!("s3://data/feedstock/{id}");
        let pointer: Value = serde_json::from_slice(self.objects().get(&format!("data/feedstock/{id}/current.json"))?).unwrap();
        let current = format!("{target}/{}", pointer["version"].as_str().unwrap());
        let output = self.gristmill(&["--json", "inspect", &current]).output().unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).ok()?;
        let times = found["dimensions"].as_array()?.iter().find(|one| one["name"] == "time")?["length"].as_u64();
        let verified = self.gristmill(&["--config", "jobs.toml", "verify", &target, "--against-source"]).output().unwrap();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
        times
    }

    /// Versions of a dataset that are in the bucket, whole or not.
    pub(crate) fn versions(&self, id: &str) -> usize {
        let prefix = format!("data/feedstock/{id}/");
        let objects = self.objects();
        let folders = objects.keys().filter_map(|key| key.strip_prefix(&prefix)?.split_once('/').map(|(version, _)| version.to_owned()));
        folders.filter(|name| !name.contains(".gristmill")).collect::<std::collections::BTreeSet<_>>().len()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.end();
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
pub(crate) fn pushed(before: &str, after: &str) -> Value {
    json!({"ref": "refs/heads/main", "before": before, "after": after, "repository": repository()})
}

/// Somebody comments on pull request 7; the payload about it.
pub(crate) fn commented(stage: &Stage, id: u64, by: &str, text: &str) -> Value {
    stage.fake.repo(|repo| repo.comments.push(json!({"id": id, "pull": 7, "user": {"login": by}, "body": text})));
    json!({
        "action": "created", "repository": repository(), "issue": {"number": 7, "pull_request": {"url": "x"}},
        "comment": {"id": id, "body": text, "user": {"login": by, "type": "User"}}, "sender": {"login": by, "type": "User"},
    })
}
