//! The binary against a bad world: broken servers, damaged and drifting files, held targets, signals. Each has its exit code
//! (DESIGN §8), its message, nothing visible at the target, and a second run that succeeds once the world is well again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod held;
#[path = "../made_files/mod.rs"]
mod made_files;
#[path = "../scripted_server/mod.rs"]
mod scripted_server;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gristmill::layout::Layout;
use made_files::MadeFile;
use scripted_server::{Reply, Request, Server, Step, cut, head, honest, reply};

const HASTY: &str = "[network]\nattempts = 3\ngive_up_after_seconds = 3\nidle_timeout_seconds = 0.4\nconnect_timeout_seconds = 2\n";

/// A folder with a recipe, its files, settings, and the target `out.zarr`.
struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new(recipe: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        fs::write(path.join("settings.toml"), HASTY).unwrap();
        let place = Self { _folder: folder, path };
        place.recipe(recipe);
        place
    }

    /// Two local files of a day each.
    fn pair() -> Self {
        let place = Self::new("inputs: {files: [a.nc, b.nc]}\ncombine: {concat: [time]}\n");
        place.write("a.nc", &day(0).bytes());
        place.write("b.nc", &day(1).bytes());
        place
    }

    fn recipe(&self, body: &str) {
        self.write("recipe.yaml", format!("schema: 1\nid: sample\ntitle: A sample\nlicense: CC0-1.0\n{body}").as_bytes());
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path.join(name), bytes).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
        command.args(["run", "recipe.yaml", "--target", "out.zarr", "--config", "settings.toml"]).args(arguments);
        command.current_dir(&self.path).env_remove("RUST_LOG").stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs, and holds exit code and stderr to what is expected; nothing may be visible, and the report must tell the same.
    fn fails(&self, arguments: &[&str], exit: i32, says: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(exit), "{errors}");
        for text in says {
            assert!(errors.contains(text), "`{text}` is missing in:\n{errors}");
        }
        assert!(!self.is_visible(), "a store is visible after exit {exit}");
        if let Some(report) = self.report() {
            assert_eq!((&report["exit"], report["errors"].as_array().unwrap().is_empty()), (&exit.into(), false), "{report}");
        }
        errors
    }

    /// Holds what was said from the first error on to the snapshot of its code (`GRISTMILL_BLESS=1` records it).
    fn looks_as_recorded(&self, code: &str, errors: &str) {
        let said = errors.get(errors.find(&format!("error[{code}]")).unwrap()..).unwrap();
        let said = said.replace(&format!("{}/", self.path.display()), "");
        let said = match said.split_once("http://127.0.0.1:") {
            Some((before, after)) => format!("{before}http://SERVER{}", after.trim_start_matches(|letter: char| letter.is_ascii_digit())),
            None => said,
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/invalid_data/{code}.txt"));
        if std::env::var_os("GRISTMILL_BLESS").is_some() {
            fs::write(&path, &said).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), said, "GRISTMILL_BLESS=1 records it");
    }

    fn succeeds(&self) {
        let output = self.run(&[]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(self.is_visible() && self.report().unwrap()["exit"] == 0);
    }

    fn is_visible(&self) -> bool {
        self.path.join("out.zarr/zarr.json").exists()
    }

    fn report(&self) -> Option<serde_json::Value> {
        let text = fs::read(self.path.join("out.zarr.gristmill/report.json")).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }

    /// Every object of the store.
    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(&self.path.join("out.zarr"), &mut found);
        found
    }
}

fn collect(folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            collect(&entry.path(), found);
        } else {
            found.insert(entry.path().display().to_string(), fs::read(entry.path()).unwrap());
        }
    }
}

const DAYS: &[(&str, &str)] = &[("units", "days since 2000-01-01")];

/// A file of one time step: `x` is its day everywhere.
fn day(number: u32) -> MadeFile {
    let value = f64::from(number);
    let (latitudes, values): (Vec<f64>, Vec<f64>) = (0..60).map(|row| (f64::from(row), value)).unzip();
    MadeFile::default()
        .dimension("time", 1)
        .dimension("lat", 60)
        .variable("time", "double", &["time"], &[value], DAYS)
        .variable("lat", "double", &["lat"], &latitudes, &[])
        .variable("x", "double", &["time", "lat"], &values, &[("units", "K")])
}

fn reset(request: &Request, content: &[u8]) -> Reply {
    cut(honest(request, content), 20, &[Step::Reset])
}

fn longer(_: &Request, content: &[u8]) -> Reply {
    let told = content.len() - 100;
    reply("200 OK", &[("Content-Length", &told.to_string()), ("ETag", "\"one\"")], &content[..told])
}

fn page(_: &Request, _: &[u8]) -> Reply {
    let page = b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>";
    reply("200 OK", &[("Content-Length", &page.len().to_string()), ("Content-Type", "text/html")], page)
}

fn no_ranges(request: &Request, content: &[u8]) -> Reply {
    let body = if request.method == "HEAD" { &[][..] } else { content };
    reply("200 OK", &[("Content-Length", &content.len().to_string())], body)
}

fn no_head(request: &Request, content: &[u8]) -> Reply {
    if request.method == "HEAD" { reply("405 Method Not Allowed", &[("Content-Length", "0")], b"") } else { honest(request, content) }
}

fn stalled(request: &Request, content: &[u8]) -> Reply {
    cut(honest(request, content), 20, &[Step::Wait(Duration::from_secs(2))])
}

fn status(line: &'static str) -> impl Fn(&Request, &[u8]) -> Reply + Send + Sync {
    move |_, _| reply(line, &[("Content-Length", "0")], b"")
}

type Fault = Box<dyn Fn(&Request, &[u8]) -> Reply + Send + Sync>;

/// A place whose second file is on a server with a fault, and the switch that heals it.
fn faulty(fault: Fault) -> (Place, Server, Arc<AtomicBool>) {
    let content = day(1).bytes();
    let well = Arc::new(AtomicBool::new(false));
    let healed = Arc::clone(&well);
    let server =
        Server::start(move |request, _| if healed.load(Ordering::SeqCst) { honest(request, &content) } else { fault(request, &content) });
    let place = Place::new(&format!("inputs: {{files: [a.nc, '{}']}}\ncombine: {{concat: [time]}}\n", server.url("/b.nc")));
    place.write("a.nc", &day(0).bytes());
    (place, server, well)
}

#[test]
fn faults_of_servers_end_with_their_code_and_heal() {
    let late =
        |line: &'static str| move |_: &Request, _: &[u8]| vec![Step::Send(head(line, &[("Content-Length", "0"), ("Retry-After", "1")]))];
    let faults: Vec<(&str, Fault, i32, &str)> = vec![
        ("404", Box::new(status("404 Not Found")), 3, "error[source-absent]"),
        ("401", Box::new(status("401 Unauthorized")), 3, "error[source-forbidden]"),
        ("403", Box::new(status("403 Forbidden")), 3, "error[source-forbidden]"),
        ("429 with Retry-After", Box::new(late("429 Too Many Requests")), 5, "error[source-temporary]"),
        ("503", Box::new(status("503 Service Unavailable")), 5, "error[source-temporary]"),
        ("stalled", Box::new(stalled), 5, "error[source-temporary]"),
        ("reset half-way", Box::new(reset), 5, "error[source-temporary]"),
        ("truncated", Box::new(longer), 3, "error[source-corrupt]"),
        ("a page with 200", Box::new(page), 3, "web page instead of the file"),
    ];
    for (name, fault, exit, says) in faults {
        let (place, _server, well) = faulty(fault);
        let errors = place.fails(&[], exit, &[says, "/b.nc"]);
        assert!(place.report().is_some(), "{name}: no report");
        assert_eq!(errors.contains("hint: this may pass"), exit == 5, "{name}: {errors}");
        well.store(true, Ordering::SeqCst);
        place.succeeds();
    }
}

#[test]
fn passing_and_harmless_faults_are_got_over() {
    let undisturbed = Place::pair();
    undisturbed.succeeds();
    let twice = std::sync::atomic::AtomicUsize::new(0);
    let passing = move |request: &Request, content: &[u8]| match twice.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => reply("503 Service Unavailable", &[("Content-Length", "0")], b""),
        _ => honest(request, content),
    };
    let redirect = |request: &Request, content: &[u8]| {
        if request.path == "/b.nc" {
            reply("302 Found", &[("Location", "/real.nc"), ("Content-Length", "0")], b"")
        } else {
            honest(request, content)
        }
    };
    let faults: Vec<Fault> = vec![Box::new(passing), Box::new(redirect), Box::new(no_ranges), Box::new(no_head)];
    for fault in faults {
        let (place, _server, _) = faulty(fault);
        place.succeeds();
        let names = |place: &Place| {
            place
                .objects()
                .into_iter()
                .map(|(name, bytes)| (name.replace(&place.path.display().to_string(), ""), bytes))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&place), names(&undisturbed));
    }
}

#[test]
fn a_target_that_is_not_ours_is_left_alone() {
    let place = Place::pair();
    fs::create_dir(place.path.join("out.zarr")).unwrap();
    place.write("out.zarr/thesis.txt", b"mine");
    place.fails(&[], 6, &["error[target-foreign]", "thesis.txt"]);
    assert_eq!(fs::read(place.path.join("out.zarr/thesis.txt")).unwrap(), b"mine");

    let place = Place::pair();
    fs::create_dir(place.path.join("out.zarr.gristmill")).unwrap();
    let lock = fs::File::create(place.path.join("out.zarr.gristmill/lock")).unwrap();
    lock.try_lock().unwrap();
    place.fails(&[], 6, &["error[target-held]", "out.zarr"]);
    drop(lock);
    place.succeeds();

    let before = place.objects();
    let text = fs::read_to_string(place.path.join("recipe.yaml")).unwrap();
    place.write("recipe.yaml", text.replace("id: sample", "id: other").as_bytes());
    let output = place.run(&[]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(6), "{errors}");
    assert!(errors.contains("`sample`") && errors.contains("`other`"), "{errors}");
    assert_eq!(place.objects(), before);
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is_written() {
    let place = Place::pair();
    place.fails(&["--memory", "8MiB"], 8, &["memory-too-small", "--memory"]);
    assert!(place.objects().is_empty());
    let place = Place::new("inputs: {files: [a.nc]}\noutput:\n  chunks: {n: 1, m: 1}\n");
    let wide = MadeFile::default().dimension("n", 26_000).dimension("m", 1000);
    place.write("a.nc", &wide.variable("x", "byte", &["n", "m"], &[], &[]).bytes());
    place.fails(&[], 2, &["too-many-objects", "26000000", "chunks of about 16 MiB would be {n: "]);
}

#[test]
fn files_that_disagree_are_named_with_both_values() {
    let place = Place::pair();
    let mut other = day(1);
    let last = &mut other.variables.get_mut("lat").unwrap().values[59];
    *last = f64::from_bits(last.to_bits() + 1);
    place.write("b.nc", &other.bytes());
    place.fails(&[], 4, &["coordinate-mismatch", "`lat`", "a.nc", "b.nc", "59 against 59.00000000000001"]);

    let place = Place::pair();
    for (name, number, calendar) in [("a.nc", 0, "360_day"), ("b.nc", 1, "julian")] {
        let mut file = day(number);
        file.variables.get_mut("time").unwrap().attributes.insert("calendar".into(), toml::Value::String(calendar.into()));
        place.write(name, &file.bytes());
    }
    place.fails(&[], 4, &["calendar-mismatch", "`360_day`", "`julian`", "a.nc", "b.nc"]);
}

#[test]
fn what_joins_the_published_must_fit_its_encoding() {
    let place = Place::pair();
    place.recipe("inputs: {files: [a.nc, b.nc]}\ncombine: {concat: [time]}\noutput:\n  chunks: {time: 1}\n");
    place.succeeds();
    let before = place.objects();
    place.recipe("inputs: {files: [a.nc, b.nc, c.nc]}\ncombine: {concat: [time]}\noutput:\n  chunks: {time: 1}\n  encoding:\n    x: {codecs: [{name: zstd, configuration: {level: 3, checksum: false}}]}\n");
    place.write("c.nc", &day(2).bytes());
    let output = place.run(&[]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{errors}");
    place.looks_as_recorded("unappendable", &errors);
    assert_eq!(place.objects(), before);
}

#[test]
fn a_file_that_changes_between_scan_and_execution_is_noticed() {
    let (first, second) = (day(1).bytes(), day(7).bytes());
    let plan = Arc::new(OnceLock::<PathBuf>::new());
    let scanned = Arc::clone(&plan);
    let server = Server::start(move |request, _| {
        // What the scan found is no longer there once the plan is saved.
        let changed = scanned.get().is_some_and(|plan| plan.exists());
        let (content, tag) = if changed { (&second, "\"two\"") } else { (&first, "\"one\"") };
        scripted_server::tagged(request, content, tag)
    });
    let place = Place::new(&format!("inputs: {{files: [a.nc, '{}']}}\ncombine: {{concat: [time]}}\n", server.url("/b.nc")));
    place.write("a.nc", &day(0).bytes());
    plan.set(place.path.join("out.zarr.gristmill/plan.json")).unwrap();
    let errors = place.fails(&[], 4, &["/b.nc", "run again"]);
    place.looks_as_recorded("source-changed", &errors);
    place.succeeds();
}

#[test]
fn a_bit_flipped_in_a_compressed_chunk_is_found() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cmip6-siconc");
    let name = "siconc_SImon_MPI-ESM1-2-HR_historical_r1i1p1f1_gn_199001-199412.nc";
    let mut bytes = fs::read(folder.join(name)).unwrap();
    let store = gristmill::store::source(&gristmill::store::Access::default(), Arc::new(gristmill::event::Silent));
    let source = gristmill::source::open(&store, &folder.join(name).display().to_string()).unwrap();
    let Layout::Chunked(chunks) = source.stored("siconc").unwrap().layout else { panic!("siconc is compressed") };
    let chunk = chunks.entries[chunks.entries.len() / 2];
    bytes[(chunk.offset + u64::from(chunk.length) / 2) as usize] ^= 0x10;
    let place = Place::new("inputs: {files: [a.nc]}\n");
    place.write("a.nc", &bytes);
    place.fails(&[], 3, &["error[source-corrupt]", "a.nc"]);
    place.write("a.nc", &fs::read(folder.join(name)).unwrap());
    place.succeeds();
}

#[test]
fn more_bytes_than_the_operator_allows_are_not_read() {
    let place = Place::pair();
    place.recipe("inputs: {files: [a.nc, b.nc]}\ncombine: {concat: [time]}\n");
    let errors = place.fails(&["--max-bytes", "100B"], 8, &["error[budget-exceeded]"]);
    place.looks_as_recorded("budget-exceeded", &errors);
    place.succeeds();
}

/// No small file with a filter of its own is at hand whose header is not guarded by checksums, so the error is made here.
#[test]
fn a_type_or_filter_that_is_not_read_has_its_code() {
    use gristmill::run::RunError;
    use gristmill::source::SourceError;
    let (url, variable, message) = ("a.nc?token=hush".to_owned(), "x".to_owned(), "filter 32099 is not known".to_owned());
    let error = RunError::from(SourceError::Unsupported { url: format!("https://h/{url}"), variable, message });
    assert_eq!(error.exit(), 3);
    let shown: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
    Place::new("").looks_as_recorded("source-unsupported", &(shown.join("\n") + "\n"));
}

#[test]
fn secrets_stay_out_of_everything_that_is_kept_or_said() {
    let content = day(1).bytes();
    let server = Server::start(move |request, _| honest(request, &content));
    let place =
        Place::new(&format!("inputs: {{files: [a.nc, '{}?file=b&key=hush-query']}}\ncombine: {{concat: [time]}}\n", server.url("/b.nc")));
    place.write("a.nc", &day(0).bytes());
    place.write("settings.toml", format!("{HASTY}[s3]\naccess_key_id = 'known'\nsecret_access_key = 'hush-file'\n").as_bytes());
    let mut said = Vec::new();
    for arguments in [&["-vvv"][..], &["--json"], &["--replace", "--report", "extra.json"]] {
        let mut command = place.command(arguments);
        command.env("AWS_ACCESS_KEY_ID", "known").env("AWS_SECRET_ACCESS_KEY", "hush-environment").env("AWS_SESSION_TOKEN", "hush-session");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        said.extend([output.stdout, output.stderr]);
    }
    for command in ["check", "plan"] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_gristmill")).args([command, "recipe.yaml"]).current_dir(&place.path).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        said.extend([output.stdout, output.stderr]);
    }
    let mut kept = BTreeMap::new();
    collect(&place.path, &mut kept);
    kept.retain(|name, _| !name.ends_with("/recipe.yaml") && !name.ends_with("/settings.toml"));
    assert!(kept.len() > 10, "{:?}", kept.keys());
    let unpacked = |bytes: &Vec<u8>| zstd::decode_all(&bytes[..]).unwrap_or_else(|_| bytes.clone());
    let texts =
        said.into_iter().map(|bytes| ("output".to_owned(), bytes)).chain(kept.iter().map(|(name, bytes)| (name.clone(), unpacked(bytes))));
    for (name, bytes) in texts {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!text.contains("hush"), "{name}: {}", text.lines().find(|line| line.contains("hush")).unwrap_or_default());
    }
}
