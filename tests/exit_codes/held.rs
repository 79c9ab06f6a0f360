//! Runs that a signal meets while they wait for a server that says nothing: they go on, or what rotted meanwhile is found.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::scripted_server::{Server, honest};
use super::{Place, collect, day};

/// A place whose server keeps whoever asks for data waiting, from some state of the run on, while it holds.
struct Held {
    place: Place,
    _server: Server,
    holds: Arc<AtomicBool>,
    waiting: Arc<AtomicUsize>,
}

impl Held {
    /// Of so many files; `from` is asked with the folder of the run's state.
    fn new(files: u32, from: impl Fn(&Path) -> bool + Send + Sync + 'static) -> Self {
        let (holds, waiting, folder) =
            (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)), Arc::new(OnceLock::<PathBuf>::new()));
        let (held, counted, kept) = (Arc::clone(&holds), Arc::clone(&waiting), Arc::clone(&folder));
        let server = Server::start(move |request, _| {
            if request.method != "HEAD" && kept.get().is_some_and(|kept| from(kept)) {
                counted.fetch_add(1, Ordering::SeqCst);
                wait_until("the test lets go", || !held.load(Ordering::SeqCst));
            }
            let number = request.path.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
            honest(request, &day(number).bytes())
        });
        let files: Vec<String> = (0..files).map(|number| format!("'{}'", server.url(&format!("/{number}.dat")))).collect();
        let files = files.join(", ");
        let place = Place::new(&format!("inputs: {{files: [{files}]}}\ncombine: {{concat: [time]}}\noutput:\n  chunks: {{time: 1}}\n"));
        // Nobody loses patience with it.
        place.write("settings.toml", b"[network]\nidle_timeout_seconds = 60\n");
        folder.set(place.path.join("out.zarr.gristmill")).unwrap();
        Self { place, _server: server, holds, waiting }
    }

    /// Starts a run and waits until it waits for the server.
    fn started(&self) -> Child {
        let before = self.waiting.load(Ordering::SeqCst);
        let child = self.place.command(&["--quiet"]).spawn().unwrap();
        wait_until("the run asks for data", || self.waiting.load(Ordering::SeqCst) > before);
        child
    }

    fn holds(&self, holds: bool) {
        self.holds.store(holds, Ordering::SeqCst);
    }
}

/// Texts of the receipts in a folder.
fn receipts(folder: &Path) -> Vec<String> {
    let paths = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    paths
        .flat_map(|path| match path.extension() {
            _ if path.is_dir() => receipts(&path),
            Some(extension) if extension == "json" => vec![fs::read_to_string(&path).unwrap()],
            _ => Vec::new(),
        })
        .collect()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_mins(1), "a minute passed before {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap().success());
}

#[test]
fn signals_end_with_75_and_the_next_run_goes_on() {
    let held = Held::new(20, |state| state.join("plan.json").exists());
    let place = &held.place;
    for name in ["INT", "TERM"] {
        let child = held.started();
        wait_until("what the plan holds itself has its receipt", || !receipts(&place.path.join("out.zarr.gristmill/receipts")).is_empty());
        signal(&child, name);
        // It has been heard by then.
        std::thread::sleep(Duration::from_secs(1));
        held.holds(false);
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(75), "{name}: {errors}");
        assert!(!place.is_visible() && place.report().unwrap()["outcome"] == "interrupted", "{errors}");
        held.holds(true);
    }
    held.holds(false);
    place.succeeds();
    let resumed: u64 = place.report().unwrap()["tasks_run"].as_u64().unwrap();
    assert!(resumed < place.report().unwrap()["tasks"].as_u64().unwrap(), "nothing was resumed");
    let after = place.objects();
    fs::remove_dir_all(place.path.join("out.zarr")).unwrap();
    fs::remove_dir_all(place.path.join("out.zarr.gristmill")).unwrap();
    place.succeeds();
    assert_eq!(place.objects(), after);
}

/// A place where all `x` was stored, and verification asked the server, when the run was killed; the first object of `x` is then that
/// of another day, whole and decodable. Also: the object's file.
fn rotten() -> (Held, String) {
    let held = Held::new(10, |state| receipts(&state.join("receipts")).iter().any(|receipt| receipt.contains("x/c/0/0")));
    let mut child = held.started();
    child.kill().unwrap();
    child.wait().unwrap();
    held.holds(false);
    let objects = held.place.objects();
    let first = |row: &str| objects.keys().find(|name| name.contains(row)).expect("the task of x is done").clone();
    let chunk = first("/x/c/0/");
    fs::copy(first("/x/c/1/"), &chunk).unwrap();
    (held, chunk)
}

#[test]
fn an_object_that_rots_between_receipt_and_commit_is_found_and_written_anew() {
    let (Held { place, .. }, _) = &rotten();
    place.fails(&[], 7, &["error[object-altered]", "`x/c/0/0`"]);
    place.succeeds();
}

#[test]
fn wrong_values_with_a_receipt_are_found() {
    let (Held { place, .. }, chunk) = &rotten();
    // As if the task itself had been wrong: its receipt tells of the very bytes that are there.
    let mut receipts = BTreeMap::new();
    collect(&place.path.join("out.zarr.gristmill/receipts"), &mut receipts);
    let bytes = fs::read(chunk).unwrap();
    for (name, text) in receipts {
        let mut receipt: gristmill::receipt::Receipt = serde_json::from_slice(&text).unwrap();
        for told in receipt.chunks.iter_mut().filter(|told| told.key == "x/c/0/0") {
            (told.bytes, told.checksum) = (bytes.len() as u64, gristmill::receipt::checksum(&bytes));
        }
        fs::write(name, serde_json::to_vec(&receipt).unwrap()).unwrap();
    }
    let errors = place.fails(&[], 7, &["`x`", "/0.dat", "1 instead of 0", "nothing was published"]);
    place.looks_as_recorded("verification-failed", &errors);
}
