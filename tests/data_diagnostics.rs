//! What only files, servers, targets and machines can show to be wrong: one case per code in `tests/invalid_data`, and how the
//! binary tells of it. A case is a recipe and a description (`.toml`) of what it meets; `GRISTMILL_BLESS=1` writes the snapshots anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod made_files;
mod scripted_server;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gristmill::recipe::diagnostic::{Class, Code};
use made_files::MadeFile;
use scripted_server::{Server, reply};
use serde::Deserialize;

/// What a recipe meets.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// Exit code.
    exit: i32,
    /// Arguments of `run` besides recipe and target.
    #[serde(default)]
    arguments: Vec<String>,
    /// `gristmill.toml`.
    #[serde(default)]
    settings: String,
    /// Status line with which a server answers everything; the recipe calls it `SERVER`.
    answer: Option<String>,
    /// Files may not grow beyond so many blocks: a full disk.
    file_size_limit: Option<u64>,
    /// Somebody else's file is at the target.
    #[serde(default)]
    foreign: bool,
    /// Another run holds the target.
    #[serde(default)]
    held: bool,
    /// Files beside the recipe.
    #[serde(default)]
    files: BTreeMap<String, MadeFile>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/invalid_data")
}

/// Names of the cases.
fn cases() -> Vec<String> {
    let paths = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let recipes = paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let mut names: Vec<String> = recipes.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Runs a case; what the binary says on stderr, with the machine's paths and ports made alike.
fn shown(name: &str) -> String {
    let case: Case = toml::from_str(&fs::read_to_string(folder().join(format!("{name}.toml"))).unwrap()).expect(name);
    let recipe = fs::read_to_string(folder().join(format!("{name}.yaml"))).unwrap();
    let work = tempfile::tempdir().unwrap();
    // The name that files are reported by is the one without links.
    let place = work.path().canonicalize().unwrap();
    let status = case.answer.clone().unwrap_or_default();
    let server = Server::start(move |_, _| reply(&status, &[("Content-Length", "0")], b""));
    let server_url = server.url("");
    fs::write(place.join("recipe.yaml"), recipe.replace("SERVER", &server_url)).unwrap();
    fs::write(place.join("settings.toml"), &case.settings).unwrap();
    for (file, made) in &case.files {
        fs::write(place.join(file), made.bytes()).unwrap();
    }
    if case.foreign {
        fs::create_dir(place.join("out.zarr")).unwrap();
        fs::write(place.join("out.zarr/thesis.txt"), "mine").unwrap();
    }
    let lock = case.held.then(|| hold(&place));
    let mut command = command(&case);
    let output = command.args(["run", "recipe.yaml", "--target", "out.zarr", "--quiet", "--config", "settings.toml"]);
    let output = output
        .args(&case.arguments)
        .current_dir(&place)
        .env_remove("RUST_LOG")
        .env("XDG_CACHE_HOME", place.join("cache"))
        .output()
        .unwrap();
    drop(lock);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(case.exit), "{name}: {errors}");
    assert!(!place.join("out.zarr/zarr.json").exists(), "{name}: something is visible at the target");
    let place = format!("{}/", place.display());
    without_random_names(&errors.replace(&place, "").replace(&server_url, "http://SERVER"))
}

/// `.Ab12Cd.gristmill-unfinished` becomes `.….gristmill-unfinished`, and the names of scanned segments, which depend on where files are, `….json.zst`.
fn without_random_names(text: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    for word in &mut words {
        if let Some((before, after)) = word.split_once("/scan/") {
            *word = format!("{before}/scan/…{}", &after[after.find("/.").or(after.find('.')).unwrap_or(0)..]);
        }
    }
    let text = words.join(" ");
    let mut parts = text.split(".gristmill-unfinished").map(str::to_owned).collect::<Vec<_>>();
    let last = parts.len() - 1;
    for part in &mut parts[..last] {
        part.truncate(part.rfind("/.").map_or(part.len(), |at| at + 2));
        part.push('…');
    }
    parts.join(".gristmill-unfinished")
}

fn command(case: &Case) -> Command {
    let binary = env!("CARGO_BIN_EXE_gristmill");
    let Some(limit) = case.file_size_limit else { return Command::new(binary) };
    let mut command = Command::new("sh");
    // The signal is ignored, so that writing fails as it does on a full disk.
    command.args(["-c", &format!("trap '' XFSZ; ulimit -f {limit}; exec \"$@\""), "sh", binary]);
    command
}

fn hold(place: &Path) -> fs::File {
    fs::create_dir(place.join("out.zarr.gristmill")).unwrap();
    let lock = fs::File::create(place.join("out.zarr.gristmill/lock")).unwrap();
    lock.try_lock().unwrap();
    lock
}

/// Codes without a case here: their snapshot is held by this test. Those of recipes have theirs in `tests/invalid`.
const ELSEWHERE: [(Code, &str); 12] = [
    (Code::BudgetExceeded, "tests/exit_codes/main.rs"),
    (Code::TooManyFound, "tests/discovery/web.rs"),
    (Code::TargetUnable, "tests/faults_store/weak.rs"),
    (Code::PublishedChanged, "tests/append/upstream.rs"),
    (Code::AppendRefused, "tests/append/guards.rs"),
    (Code::Unappendable, "tests/exit_codes/main.rs"),
    (Code::SourceChanged, "tests/exit_codes/main.rs"),
    (Code::VerificationFailed, "tests/exit_codes/held.rs"),
    (Code::SourceUnsupported, "tests/exit_codes/main.rs"),
    (Code::ObjectAltered, "tests/commit.rs"),
    (Code::TaskUnrepeatable, "tests/commit.rs"),
    (Code::TargetMoved, "tests/icechunk.rs"),
];

#[test]
fn every_case_looks_as_recorded() {
    let mut changed = Vec::new();
    for name in cases() {
        let (text, path) = (shown(&name), folder().join(format!("{name}.txt")));
        assert!(text.contains(&name), "{name}: its code is not shown:\n{text}");
        if std::env::var_os("GRISTMILL_BLESS").is_some() {
            fs::write(&path, &text).unwrap();
        } else if fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            changed.push(format!("{name}:\n{text}"));
        }
    }
    assert!(changed.is_empty(), "changed (GRISTMILL_BLESS=1 records them):\n{}", changed.join("\n"));
}

#[test]
fn every_code_is_shown_somewhere() {
    let cases: BTreeSet<String> = cases().into_iter().collect();
    let elsewhere = |code: &Code| {
        let Some((_, file)) = ELSEWHERE.iter().find(|(known, _)| known == code) else { return false };
        let test = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_default();
        test.contains(&format!("looks_as_recorded(\"{}\"", code.name())) && folder().join(format!("{}.txt", code.name())).exists()
    };
    let others = Code::all().iter().filter(|code| code.class() != Class::Recipe);
    let absent: Vec<&str> = others.filter(|code| !cases.contains(code.name()) && !elsewhere(code)).map(|code| code.name()).collect();
    assert!(absent.is_empty(), "no tests/invalid_data/<code>.yaml shows {absent:?}");
}
