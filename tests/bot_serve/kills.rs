//! The server killed (SIGKILL) at work, and what the next one makes of it. The killed one is this test program again.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::host::{Played, Running, World, comment, deliver, push, settings, wait};

/// Where the other process finds its folder.
const FOLDER: &str = "BOT_SERVE_FOLDER";

/// The other process: serves until it is killed.
#[test]
fn other_process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let running = Running::start(settings(folder), Arc::new(Played::new(folder)));
    std::fs::write(folder.join("address.new"), running.address.to_string()).unwrap();
    std::fs::rename(folder.join("address.new"), folder.join("address")).unwrap();
    wait("the word to stop", || folder.join("stop").exists());
    running.stop();
}

struct Other {
    child: Child,
    address: SocketAddr,
}

impl Other {
    fn start(folder: &Path, environment: &[(&str, &str)]) -> Self {
        let _ = std::fs::remove_file(folder.join("address"));
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "kills::other_process", "--nocapture"]).env(FOLDER, folder).envs(environment.iter().copied());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait("the other process to listen", || folder.join("address").exists());
        let address = std::fs::read_to_string(folder.join("address")).unwrap().parse().unwrap();
        Self { child, address }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn stop(mut self, folder: &Path) {
        std::fs::write(folder.join("stop"), "").unwrap();
        assert!(self.child.wait().unwrap().success());
        std::fs::remove_file(folder.join("stop")).unwrap();
    }
}

fn said(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("said.log")).unwrap_or_default()
}

fn published(folder: &Path) -> bool {
    said(folder).lines().any(|line| line.starts_with("Deployment") && line.contains("progress: Passed"))
}

/// Processes whose command line names a folder, but for the other process itself.
fn jobs_in(folder: &Path) -> Vec<String> {
    let name = folder.join("state").display().to_string();
    let lines = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(&name)).collect()
}

#[test]
fn what_was_accepted_survives_a_kill_and_is_done() {
    let world = World::new();
    let folder = world.folder.path();
    world.host.commit("refs/pull/1/head", &[(&World::path("one"), &world.recipe("one", 2))]);
    let mut accepted = BTreeSet::new();
    for round in 0..4 {
        let other = Other::start(folder, &[]);
        for number in 0..15 {
            let id = format!("d-{round}-{number}");
            let payload = comment(1, round * 100 + number, "somebody", &format!("/gristmill help\n{id}")).to_string();
            assert_eq!(deliver(other.address, &id, "issue_comment", &payload).status, 202);
            accepted.insert(id);
        }
        // Right after the last answer: most of them wait.
        other.kill();
    }
    let other = Other::start(folder, &[]);
    let replies = || said(folder).lines().filter(|line| line.starts_with("Reply")).map(str::to_owned).collect::<Vec<_>>();
    let answered = |id: &String| replies().iter().any(|line| line.contains(&format!("to: \"{id}\"")));
    wait("every delivery to be worked on", || accepted.iter().all(answered));
    // What came before is known, also to this process.
    let payload = comment(1, 3, "somebody", "/gristmill help\nd-0-3").to_string();
    assert_eq!(deliver(other.address, "d-0-3", "issue_comment", &payload).status, 200);
    other.stop(folder);
    // A kill between the answer at the host and its mark has it said again, under the same name: at most once per kill.
    let count = replies().len();
    assert!((60..=60 + 4 * 4).contains(&count), "{count} replies for 60 comments");
}

#[test]
fn a_bake_ends_with_its_server_and_goes_on_with_the_next() {
    let world = World::new();
    let folder = world.folder.path();
    let other = Other::start(folder, &[]);
    wait("the branch to be noted", || folder.join("ledger/mill/feedstock/branch").exists());
    world.slowness.store(400, Ordering::SeqCst);
    let commit = world.host.commit("refs/heads/main", &[(&World::path("one"), &world.recipe("one", 5))]);
    assert_eq!(deliver(other.address, "d-1", "push", &push(&commit).to_string()).status, 202);
    wait("the bake to run", || !jobs_in(folder).is_empty());
    let requests = world.archive.requests().len();
    wait("the bake to read", || world.archive.requests().len() > requests + 1);
    other.kill();
    wait("the bake to end with its server", || jobs_in(folder).is_empty());
    assert!(!published(folder));
    world.slowness.store(0, Ordering::SeqCst);
    let other = Other::start(folder, &[]);
    wait("the bake to be published", || published(folder));
    other.stop(folder);
    // One attempt, begun once and ended once.
    let ledger = folder.join(format!("ledger/mill/feedstock/jobs/bake/{commit}/one"));
    let mut names: Vec<String> =
        std::fs::read_dir(ledger).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["0001.begun", "0001.done", "0001.result.json"]);
    assert!(folder.join("published/one/current/zarr.json").exists());
}

#[test]
fn t13_no_secret_of_the_server_reaches_a_job_or_anything_that_is_written() {
    const CANARY: &str = "canary-1f9d2c77-never-to-be-seen";
    let world = World::new();
    let folder = world.folder.path();
    let other = Other::start(folder, &[("AWS_SECRET_ACCESS_KEY", CANARY), ("GITHUB_TOKEN", CANARY)]);
    wait("the branch to be noted", || folder.join("ledger/mill/feedstock/branch").exists());
    world.slowness.store(300, Ordering::SeqCst);
    world.host.commit("refs/pull/1/head", &[(&World::path("one"), &world.recipe("one", 3))]);
    let head = world.host.commit("refs/pull/1/head", &[("README.md", "more\n")]);
    let payload = crate::host::pull_request("opened", 1, &head).to_string();
    assert_eq!(deliver(other.address, "d-1", "pull_request", &payload).status, 202);
    wait("the test to run", || !jobs_in(folder).is_empty());
    // The environment of the job, as the system shows it.
    let environment = || -> Option<String> {
        let name = folder.join("state").display().to_string();
        let of_job = |path: &Path| std::fs::read(path.join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&name));
        let job = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()).find(|path| of_job(path))?;
        let bytes = std::fs::read(job.join("environ")).ok().filter(|bytes| !bytes.is_empty())?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    wait("a look at the job's environment", || {
        environment().is_some_and(|variables| {
            let mut names: Vec<&str> = variables.split('\0').filter_map(|variable| Some(variable.split_once('=')?.0)).collect();
            names.sort_unstable();
            assert_eq!(names, ["HOME", "LANG", "PATH", "TMPDIR"]);
            true
        })
    });
    world.slowness.store(0, Ordering::SeqCst);
    wait("the result", || said(folder).lines().any(|line| line.starts_with("Comment")));
    let commit = world.host.commit("refs/heads/main", &[(&World::path("one"), &world.recipe("one", 3))]);
    assert_eq!(deliver(other.address, "d-2", "push", &push(&commit).to_string()).status, 202);
    wait("the bake to be published", || published(folder));
    other.stop(folder);
    assert!(!holds(folder, CANARY), "the canary was written");
    assert!(holds(folder, "one"), "the search finds what is there");
}

/// True if any file below a folder holds a text.
fn holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, text);
        }
        std::fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    })
}
