//! What grows with the number of files and chunks, and what must not.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::print_stdout, reason = "the figures are shown with --nocapture")]

mod made_files;
mod scripted_server;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gristmill::combine::combine;
use gristmill::event::{Reporter, Silent};
use gristmill::plan::{BASELINE, Plan, Settings, build};
use gristmill::rechunk::Costs;
use gristmill::recipe::{Recipe, RecipeText, parse};
use gristmill::run::scan::{Memory, Scan, Scanner};
use gristmill::store::{Access, Head, SourceStore, StoreError};
use gristmill::target::zarr::default_codecs;
use made_files::MadeFile;
use scripted_server::{Server, Step, honest, reply};

/// A day of ten fields, with coordinates and a history of its own.
fn day(number: usize) -> Vec<u8> {
    let field: Vec<f64> = (0..6).map(|value| (value + number) as f64).collect();
    let mut file = MadeFile::default()
        .dimension("time", 1)
        .dimension("lat", 2)
        .dimension("lon", 3)
        .variable("time", "double", &["time"], &[number as f64], &[("units", "days since 2000-01-01")])
        .variable("lat", "float", &["lat"], &[0.0, 1.0], &[("units", "degrees_north")])
        .variable("lon", "float", &["lon"], &[0.0, 1.0, 2.0], &[("units", "degrees_east")]);
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        let attributes = [("units", "K"), ("long_name", "a name that is not short"), ("cell_methods", "time: mean")];
        file = file.variable(name, "float", &["time", "lat", "lon"], &field, &attributes);
    }
    file.attributes.insert("history".to_owned(), toml::Value::String(format!("made on day {number:06}")));
    file.bytes()
}

fn recipe(files: impl Iterator<Item = String>, more: &str) -> String {
    let mut text = "schema: 1\nid: days\ntitle: Days\nlicense: CC0-1.0\ninputs:\n  files:\n".to_owned();
    files.for_each(|file| writeln!(text, "    - {file}").unwrap());
    text + "combine: {concat: [time]}\noutput: {chunks: {time: 100}}\n" + more
}

/// Every file there could be, made when asked for; counts what is asked.
struct Made {
    /// The file of day 123456, and where its time and its history have their number.
    template: (Vec<u8>, usize, usize),
    heads: AtomicUsize,
    reads: AtomicUsize,
}

impl Made {
    fn new() -> Self {
        let bytes = day(123_456);
        let find = |wanted: &[u8]| bytes.windows(wanted.len()).position(|window| window == wanted).unwrap();
        let (time, history) = (find(&123_456_f64.to_be_bytes()), find(b"123456"));
        Self { template: (bytes, time, history), heads: AtomicUsize::new(0), reads: AtomicUsize::new(0) }
    }

    fn bytes(&self, number: usize) -> Vec<u8> {
        let (template, time, history) = &self.template;
        let mut bytes = template.clone();
        bytes[*time..time + 8].copy_from_slice(&(number as f64).to_be_bytes());
        bytes[*history..history + 6].copy_from_slice(format!("{number:06}").as_bytes());
        bytes
    }
}

impl SourceStore for Made {
    fn head(&self, _url: &str) -> Result<Head, StoreError> {
        self.heads.fetch_add(1, Ordering::Relaxed);
        Ok(Head { size: Some(self.template.0.len() as u64), etag: Some("\"one\"".to_owned()), ..Head::default() })
    }

    fn ranges(&self, url: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let bytes = Bytes::from(self.bytes(number(url)));
        Ok(ranges.iter().map(|range| bytes.slice(range.start as usize..range.end as usize)).collect())
    }

    fn stream(&self, _url: &str, _sink: &mut dyn std::io::Write) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn is_local(&self, _url: &str) -> bool {
        true
    }
}

fn number(url: &str) -> usize {
    Path::new(url).file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

/// An archive of so many days and what is remembered of it.
struct Archive {
    recipe: Recipe,
    access: Access,
    made: Arc<Made>,
}

impl Archive {
    fn new(days: usize, cache: &Path) -> Self {
        let pattern = format!(
            "schema: 1\nid: days\ntitle: Days\nlicense: CC0-1.0\ninputs:\n  url: /archive/{{n:06d}}.nc\n  keys: {{n: {{range: {{start: 0, end: {}}}}}}}\ncombine: {{concat: [{{dim: time, keys: [n]}}]}}\noutput: {{chunks: {{time: 100}}}}\n",
            days - 1
        );
        let text = RecipeText { name: "days.yaml".to_owned(), text: pattern };
        let recipe = parse(&text, Path::new("/")).unwrap().0;
        Self { recipe, access: Access { cache_directory: Some(cache.to_owned()), ..Access::default() }, made: Arc::new(Made::new()) }
    }

    fn scan(&self, frozen: bool) -> Scan {
        let (reporter, stop): (Arc<dyn Reporter>, _) = (Arc::new(Silent), AtomicBool::new(false));
        let memory = Memory::of(None, &self.access).unwrap();
        let sources = Arc::clone(&self.made) as Arc<dyn SourceStore>;
        let recipe = &self.recipe;
        Scanner {
            recipe,
            sources,
            memory,
            reporter: &*reporter,
            stop: &stop,
            width: 2,
            frozen,
            described_bytes: 0,
            ceiling: gristmill::source::ceiling::Ceiling::default(),
        }
        .scan()
        .unwrap()
    }

    /// Seconds of each step of planning from memory, and the plan.
    fn plan(&self) -> (Seconds, Plan) {
        let mut seconds = Seconds::new();
        let mut begun = Instant::now();
        let mut lap = |step| {
            seconds.insert(step, begun.elapsed().as_secs_f64());
            begun = Instant::now();
        };
        let scan = self.scan(true);
        lap("scan");
        let combined = combine(&self.recipe, &scan.scanned).unwrap();
        lap("combine");
        let costs = Costs::MEASURED;
        let settings = Settings {
            memory: 1 << 30,
            threads: 2,
            default_codecs,
            baseline: BASELINE,
            waiting: 0,
            far: false,
            scratch: String::new(),
            costs,
        };
        let plan = build(&self.recipe, combined, scan.identities, &settings).unwrap();
        lap("build");
        let saved = plan.to_json().unwrap();
        let identity = plan.identity();
        lap("save");
        assert!(Plan::from_json(&saved).unwrap().identity() == identity);
        println!("{} inputs: {} bytes of plan", self.recipe.inputs.len(), saved.len());
        assert!(saved.len() < 500 * self.recipe.inputs.len() + 100_000, "{}", saved.len());
        (seconds, plan)
    }
}

/// Fewer and more inputs: both too many for the caches of a processor, whose end would look like growth.
const FEW: usize = 6_000;
const MANY: usize = 24_000;

type Seconds = BTreeMap<&'static str, f64>;

/// Plans the smaller and the larger archive in turns and judges the least seconds of each step, until they are linear or it is certain
/// that other work on the machine does not account for it.
fn judged(archives: &[Archive; 2]) -> Result<(), String> {
    let mut least = [Seconds::new(), Seconds::new()];
    let mut verdict = Ok(());
    for round in 1..=15 {
        for (archive, least) in archives.iter().zip(&mut least) {
            for (step, seconds) in archive.plan().0 {
                let known = least.entry(step).or_insert(seconds);
                *known = known.min(seconds);
            }
        }
        verdict = is_linear(&least);
        if round >= 3 && verdict.is_ok() {
            break;
        }
    }
    let [few, many] = least;
    for (step, seconds) in &many {
        println!("{step:<8} {:.4} s for {FEW}, {seconds:.4} s for {MANY}: exponent {:.2}", few[step], exponent(few[step], *seconds));
    }
    verdict
}

fn exponent(few: f64, many: f64) -> f64 {
    (many / few).ln() / (MANY as f64 / FEW as f64).ln()
}

/// Linear is 1, quadratic 2; a step that is quadratic in half of its time at the end has 1.36.
fn is_linear([few, many]: &[Seconds; 2]) -> Result<(), String> {
    let whole = exponent(few.values().sum(), many.values().sum());
    if whole > 1.35 {
        return Err(format!("exponent {whole:.2}: {few:?}, {many:?}"));
    }
    // Other work on the machine may add some milliseconds to any step.
    let is_steep = |(step, seconds): &(&&str, &f64)| **seconds > 0.05 && exponent(few[**step].max(0.01), **seconds) > 1.5;
    many.iter().find(is_steep).map_or(Ok(()), |(step, seconds)| Err(format!("{step}: {:.4} s became {seconds:.4}", few[step])))
}

#[test]
fn planning_from_memory_is_linear_in_the_inputs() {
    let cache = tempfile::tempdir().unwrap();
    let archives = [FEW, MANY].map(|days| Archive::new(days, cache.path()));
    // The larger one holds all that is scanned of the smaller.
    for archive in archives.iter().rev() {
        archive.scan(false);
    }
    assert!(archives[0].made.reads.load(Ordering::Relaxed) <= FEW / 10, "its files were scanned before");
    let asked = archives[1].made.heads.load(Ordering::Relaxed);
    let verdict = judged(&archives);
    assert_eq!(archives[1].made.heads.load(Ordering::Relaxed), asked, "a frozen scan asked for files");
    assert_eq!(verdict, Ok(()));
}

#[test]
fn what_is_steeper_than_linear_is_told() {
    let seconds = |build: f64, save: f64| Seconds::from([("build", build), ("save", save)]);
    assert_eq!(is_linear(&[seconds(0.1, 0.1), seconds(0.5, 0.5)]), Ok(()));
    assert!(is_linear(&[seconds(0.1, 0.1), seconds(0.4, 1.6)]).unwrap_err().contains("exponent 1.66"));
    assert!(is_linear(&[seconds(0.5, 0.02), seconds(2.0, 0.32)]).unwrap_err().contains("save"));
}

#[test]
fn remembered_and_fresh_scans_give_one_plan() {
    let cache = tempfile::tempdir().unwrap();
    let archive = Archive::new(300, cache.path());
    let fresh = archive.scan(false);
    let remembered = archive.scan(false);
    assert_eq!(archive.made.heads.load(Ordering::Relaxed), 600, "one head for each file and scan");
    let settings = Settings {
        memory: 1 << 30,
        threads: 2,
        default_codecs,
        baseline: BASELINE,
        waiting: 0,
        far: false,
        scratch: String::new(),
        costs: Costs::MEASURED,
    };
    let plans = [fresh, remembered]
        .map(|scan| build(&archive.recipe, combine(&archive.recipe, &scan.scanned).unwrap(), scan.identities, &settings).unwrap());
    // As text: a fill value that is no number is not equal to itself.
    assert!(plans[0].to_json().unwrap() == plans[1].to_json().unwrap());
    assert_eq!(plans[0].schema.dimension("time").unwrap().length, 300);
}

fn gristmill(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command.args(arguments).current_dir(folder).env("XDG_CACHE_HOME", folder.join("cache")).output().unwrap()
}

fn expect_exit(output: &Output, exit: i32) {
    assert_eq!(output.status.code(), Some(exit), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_second_plan_asks_once_for_each_file_and_a_frozen_one_never() {
    const FILES: usize = 9;
    let server = Server::start(|request, _| match request.path.trim_matches('/').strip_suffix(".nc").map(str::parse) {
        // As a server far away, so that requests are under way together.
        Some(Ok(number)) => [vec![Step::Wait(Duration::from_millis(20))], honest(request, &day(number))].concat(),
        _ => reply("404 Not Found", &[("Content-Length", "0")], b""),
    });
    let folder = tempfile::tempdir().unwrap();
    let write = |more: &str| {
        let text = recipe((0..FILES).map(|number| server.url(&format!("/{number}.nc"))), more);
        std::fs::write(folder.path().join("days.yaml"), text).unwrap();
    };
    let requests = |arguments: &[&str], exit: i32| {
        let before = server.requests().len();
        expect_exit(&gristmill(folder.path(), arguments), exit);
        server.requests().split_off(before)
    };
    write("");
    expect_exit(&gristmill(folder.path(), &["plan", "days.yaml", "--frozen"]), 2);
    let first = requests(&["plan", "days.yaml", "--json"], 0);
    assert!(first.len() >= FILES && server.most_open() > 1, "files are scanned side by side");
    assert!(server.most_open() <= Access::default().connections_per_host, "{} requests at once to one host", server.most_open());
    let second = requests(&["plan", "days.yaml"], 0);
    assert_eq!((second.len(), second.iter().filter(|request| request.method == "HEAD").count()), (FILES, FILES), "{second:?}");
    assert!(requests(&["plan", "days.yaml", "--frozen"], 0).is_empty());
    // A run makes use of what a plan found; frozen, it asks for each file only before it reads it.
    let run = requests(&["run", "days.yaml", "--target", "out.zarr", "--frozen", "--quiet"], 0);
    assert!(!run.is_empty());
    assert!(folder.path().join("out.zarr/zarr.json").exists());
    // Other steps may find something else in the files.
    write("steps:\n  - drop: [a]\n");
    assert!(requests(&["plan", "days.yaml", "--frozen"], 2).is_empty());
}

#[test]
fn a_frozen_run_notices_a_file_that_changed() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..3 {
        std::fs::write(folder.path().join(format!("{number}.nc")), day(number)).unwrap();
    }
    std::fs::write(folder.path().join("days.yaml"), recipe((0..3).map(|number| format!("{number}.nc")), "")).unwrap();
    expect_exit(&gristmill(folder.path(), &["plan", "days.yaml"]), 0);
    std::fs::write(folder.path().join("1.nc"), [day(1), vec![0]].concat()).unwrap();
    let output = gristmill(folder.path(), &["run", "days.yaml", "--target", "out.zarr", "--frozen"]);
    expect_exit(&output, 4);
    assert!(String::from_utf8_lossy(&output.stderr).contains("1.nc"));
    assert!(!folder.path().join("out.zarr/zarr.json").exists());
    expect_exit(&gristmill(folder.path(), &["run", "days.yaml", "--target", "out.zarr"]), 0);
}

/// Peak of memory, in bytes, of a run over one file cut into so many chunks.
fn peak(folder: &Path, chunks: usize) -> u64 {
    let values: Vec<f64> = (0..chunks * 2).map(|value| value as f64).collect();
    let file = MadeFile::default().dimension("x", values.len() as u32).variable("v", "float", &["x"], &values, &[]);
    let name = format!("{chunks}.nc");
    std::fs::write(folder.join(&name), file.bytes()).unwrap();
    let text = format!("schema: 1\nid: tiny\ntitle: Tiny\nlicense: CC0-1.0\ninputs: {{files: [{name}]}}\noutput: {{chunks: {{x: 2}}}}\n");
    std::fs::write(folder.join("tiny.yaml"), text).unwrap();
    let target: PathBuf = folder.join(format!("{chunks}.zarr"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command.args(["run", "tiny.yaml", "--quiet", "--memory", "256MiB", "--threads", "2", "--target"]).arg(&target).current_dir(folder);
    let mut child = command.env("XDG_CACHE_HOME", folder.join("cache")).spawn().unwrap();
    let mut highest = 0;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line =
            status.lines().find(|line| line.starts_with("VmHWM:")).and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        highest = highest.max(line.unwrap_or(0) * 1024);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            assert!(target.join("zarr.json").exists());
            return highest;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_number_of_chunks() {
    /// The number of a task per 8,192 chunks, and the noise of allocators: nothing is kept of a chunk.
    const MOST_PER_CHUNK: f64 = 250.0;
    let folder = tempfile::tempdir().unwrap();
    let [few, many] = [16_000, 64_000].map(|chunks| (chunks, peak(folder.path(), chunks)));
    let growth = (many.1 as f64 - few.1 as f64) / (many.0 - few.0) as f64;
    println!("peak {} MB at {} chunks, {} MB at {}: {growth:.0} bytes for each more", few.1 >> 20, few.0, many.1 >> 20, many.0);
    assert!(growth <= MOST_PER_CHUNK, "{growth:.0} bytes for each chunk");
}
