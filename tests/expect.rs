//! `expect` end to end: what holds is published, what does not is exit 4 with nothing visible, and a resumed run judges
//! what earlier processes counted.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gristmill::array::{FillValue, Scalar};
use gristmill::cf::statistics::Statistics;
use gristmill::event::{Event, Phase, Reporter};
use gristmill::grid::{ChunkGrid, Region};
use gristmill::receipt::Receipt;
use gristmill::recipe::{RecipeText, parse};
use gristmill::run::report::Report;
use gristmill::run::{Options, Setting, run};
use gristmill::store::{self, Access};
use gristmill::target::zarr::{Absent, ZarrReader};
use serde_json::Value;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");

/// Currents in two files per hour; chunks that do not divide the grid, so that objects have padding.
fn currents(expect: &str) -> String {
    format!(
        "schema: 1\nid: currents\ntitle: Currents\nlicense: CC-BY-4.0\ninputs:\n  url: {DATA}/imos-currents/{{component}}/IMOS_ACORN_{{component}}_{{TIME:%Y%m%dT%H%M%SZ}}_TURQ_FV01_1-hour-avg.nc\n  keys:\n    component: {{list: [UCUR, VCUR]}}\n    TIME: {{dates: {{start: \"2024-01-01T00:00:00\", end: \"2024-01-01T03:00:00\", step: 1 hour}}}}\ncombine: {{concat: [TIME], merge: [component]}}\noutput:\n  chunks: {{TIME: 3, I: 20, J: 35}}\nexpect:\n{expect}"
    )
}

/// Carbon dioxide that stays packed in integers.
fn packed(expect: &str) -> String {
    let files: Vec<String> = (1..=5).map(|day| format!("{DATA}/tcco2-packed/tcco2_2006010{day}.nc")).collect();
    format!(
        "schema: 1\nid: tcco2\ntitle: Carbon dioxide\nlicense: OGL-UK-3.0\ninputs: {{files: [{}]}}\ncombine: {{concat: [time]}}\noutput:\n  chunks: {{time: 7, latitude: 30, longitude: 30}}\n  encoding:\n    tcco2: {{dtype: int16, scale_factor: 0.001, add_offset: 390, fill_value: -32768}}\nexpect:\n{expect}",
        files.join(", ")
    )
}

/// A folder with a recipe and room for a target.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("out.zarr")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("out.zarr.gristmill")
    }

    fn gristmill(&self, command: &str, recipe: &str) -> Output {
        let path = self.folder.path().join("recipe.yaml");
        std::fs::write(&path, recipe).unwrap();
        let mut gristmill = Command::new(env!("CARGO_BIN_EXE_gristmill"));
        gristmill.args([command, path.to_str().unwrap(), "--memory", "512MiB", "--threads", "2"]);
        if command == "run" {
            gristmill.arg("--target").arg(self.target());
        }
        gristmill.output().unwrap()
    }

    /// Exit code and messages.
    fn run(&self, recipe: &str) -> (i32, String) {
        told(&self.gristmill("run", recipe))
    }

    fn is_visible(&self) -> bool {
        self.target().join("zarr.json").exists()
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.state().join("report.json")).unwrap()).unwrap()
    }

    /// Every receipt, by path, with the text of its file.
    fn receipts(&self) -> Vec<(PathBuf, Receipt)> {
        let mut found = Vec::new();
        for plan in std::fs::read_dir(self.state().join("receipts")).unwrap() {
            for file in std::fs::read_dir(plan.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                let receipt = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
                found.push((path, receipt));
            }
        }
        found.sort_by_key(|(path, _)| path.clone());
        found
    }

    fn counted(&self, variable: &str) -> Statistics {
        let mut sum = Statistics::default();
        self.receipts().iter().filter_map(|(_, receipt)| receipt.statistics.get(variable)).for_each(|part| sum.add(part));
        sum
    }

    /// The same from the store itself, read by another reader: raw values, one after the other.
    fn naive(&self, variable: &str) -> Statistics {
        Statistics { empty: self.naive_empty(variable), ..self.naive_of(variable) }
    }

    /// Chunks without a valid value.
    fn naive_empty(&self, variable: &str) -> u64 {
        let store = store::target(self.target().to_str().unwrap(), &access()).unwrap();
        let reader = ZarrReader::open(store, Absent::Hole).unwrap().expect("a visible store");
        let described = reader.schema().variable(variable).unwrap().clone();
        let fill = match described.encoding.fill {
            Some(FillValue::Number(fill)) => fill.as_f64(),
            _ => f64::NAN,
        };
        let grid = ChunkGrid::new(reader.schema().shape(&described), described.encoding.chunks.clone().unwrap());
        let is_empty = |number: &u64| {
            let values = reader.read(variable, &grid.region(&grid.index(*number))).unwrap();
            values.scalars().map(Scalar::as_f64).all(|value| value.is_nan() || value == fill)
        };
        (0..grid.chunks()).filter(is_empty).count() as u64
    }

    fn naive_of(&self, variable: &str) -> Statistics {
        let store = store::target(self.target().to_str().unwrap(), &access()).unwrap();
        let reader = ZarrReader::open(store, Absent::Hole).unwrap().expect("a visible store");
        let described = reader.schema().variable(variable).unwrap().clone();
        let number = |name| described.attributes.number(name).map(Scalar::as_f64);
        let values = reader.read(variable, &Region::whole(&reader.schema().shape(&described))).unwrap();
        let (scale, offset) = (number("scale_factor").unwrap_or(1.0), number("add_offset").unwrap_or(0.0));
        let raw: Vec<f64> = values.scalars().map(Scalar::as_f64).collect();
        let fill = match described.encoding.fill {
            Some(FillValue::Number(fill)) => fill.as_f64(),
            _ => f64::NAN,
        };
        let valid: Vec<f64> =
            raw.iter().copied().filter(|value| !value.is_nan() && *value != fill).map(|raw| raw * scale + offset).collect();
        Statistics {
            values: raw.len() as u64,
            missing: (raw.len() - valid.len()) as u64,
            smallest: valid.iter().copied().fold(f64::INFINITY, f64::min),
            largest: valid.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            empty: 0,
        }
    }
}

fn told(output: &Output) -> (i32, String) {
    // Lines are wrapped for the terminal; words count.
    let words: Vec<&str> = std::str::from_utf8(&output.stderr).unwrap().split_whitespace().filter(|word| *word != "│").collect();
    (output.status.code().unwrap_or(-1), words.join(" "))
}

fn access() -> Access {
    Access::load(None, &|_| None).unwrap()
}

#[test]
fn what_holds_is_published_and_counted_without_padding() {
    let bench = Bench::new();
    let (exit, told) = bench.run(&currents("  TIME: {regular: 1 hour, length: 4, first: 2024-01-01, last: \"2024-01-01T03\"}\n  UCUR: {values_between: [-1, 1], missing_values: {at_most: 50 %}, units: m s-1}\n  VCUR_quality_control: {missing_values: {at_most: 100 %}}\n"));
    assert_eq!((exit, bench.is_visible()), (0, true), "{told}");
    for variable in ["UCUR", "VCUR_quality_control"] {
        assert_eq!(bench.counted(variable), bench.naive(variable), "{variable}");
    }
    assert_eq!(bench.counted("UCUR").values, 10_000);
    assert_eq!(bench.counted("VCUR"), Statistics::default(), "nothing is expected of it, so nothing is counted");
}

#[test]
fn packed_integers_are_judged_unpacked() {
    let bench = Bench::new();
    let (exit, told) = bench.run(&packed("  tcco2: {values_between: [395, 410]}\n"));
    assert_eq!((exit, bench.is_visible()), (4, false), "{told}");
    assert!(told.contains("`tcco2` has values from 38"), "{told}");
    let (exit, told) = bench.run(&packed("  tcco2: {values_between: [380, 400]}\n"));
    assert_eq!((exit, bench.is_visible()), (0, true), "{told}");
    assert_eq!(bench.counted("tcco2"), bench.naive("tcco2"));
}

#[test]
fn everything_that_does_not_hold_is_said_at_once_with_its_line() {
    let bench = Bench::new();
    let recipe = currents("  UCUR: {values_between: [-0.5, 0.5], missing_values: {at_most: 10 %}}\n  VCUR: {values_between: [0, 1]}\n");
    let (exit, told) = bench.run(&recipe);
    assert_eq!((exit, bench.is_visible()), (4, false), "{told}");
    assert_eq!(told.matches("expectation-failed").count(), 3, "{told}");
    let line = recipe.lines().position(|line| line.contains("UCUR: {values")).unwrap() + 1;
    for part in [
        "`UCUR` has values from -0.",
        "% of `UCUR` is missing (",
        "`VCUR` has values from -",
        "nothing new was published",
        &format!("recipe.yaml:{line}:"),
        &format!("recipe.yaml:{}:", line + 1),
        "/UCUR/IMOS_ACORN_UCUR_20240101T000000Z",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!((bench.report()["exit"].clone(), bench.report()["errors"].as_array().unwrap().len()), (4.into(), 3));
    // The rule was wrong, not the data: nothing is read or written again.
    let written: Vec<_> =
        bench.receipts().into_iter().map(|(path, _)| (std::fs::metadata(&path).unwrap().modified().unwrap(), path)).collect();
    let (exit, told) = bench.run(&recipe.replace("[-0.5, 0.5]", "[-1, 1]").replace("10 %", "50 %").replace("[0, 1]", "[-2, 2]"));
    assert_eq!((exit, bench.is_visible()), (0, true), "{told}");
    assert_eq!(bench.report()["tasks_run"], 0);
    assert!(written.iter().all(|(time, path)| std::fs::metadata(path).unwrap().modified().unwrap() == *time));
}

#[test]
fn the_plan_tells_what_it_can_before_anything_is_written() {
    let bench = Bench::new();
    let recipe = currents("  TIME: {regular: 30 minutes, length: 5, first: 2024-01-02}\n  UCRU: {units: K}\n  VCUR: {units: K}\n");
    for command in ["plan", "run"] {
        let (exit, told) = told(&bench.gristmill(command, &recipe));
        assert_eq!((exit, bench.target().exists()), (4, false), "{told}");
        assert_eq!((told.matches("expectation-failed").count(), told.matches("variable-unknown").count()), (4, 1), "{told}");
        for part in [
            "2024-01-01T01:00:00 at position 1 follows 2024-01-01 at position 0; 2024-01-01T00:30:00 was due",
            "`TIME` has the length 4, not 5",
            "`TIME` begins with 2024-01-01, not 2024-01-02",
            "did you mean `UCUR`?",
            "`VCUR` has the units `m s-1`, not `K`",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}

#[test]
fn a_rule_that_is_newer_than_the_store_is_judged_too() {
    let bench = Bench::new();
    assert_eq!(bench.run(&currents("  TIME: {length: 4}\n")).0, 0);
    let (exit, told) = bench.run(&currents("  UCUR: {values_between: [-0.5, 0.5]}\n"));
    assert_eq!((exit, bench.is_visible()), (4, true), "{told}");
    assert_eq!(bench.report()["tasks_run"], 1, "only what must be counted is read again");
    assert_eq!(bench.run(&currents("  UCUR: {values_between: [-1, 1]}\n")).0, 0);
    assert_eq!((bench.report()["outcome"].clone(), bench.counted("UCUR")), ("nothing-to-do".into(), bench.naive("UCUR")));
    let (exit, told) = bench.run(&currents("  UCUR: {values_between: [0.1, 1]}\n"));
    assert_eq!((exit, bench.is_visible()), (4, true), "{told}");
}

#[test]
fn an_append_judges_what_it_adds() {
    let bench = Bench::new();
    let recipe = |hour: u8, low: &str| {
        let whole = currents(&format!("  UCUR: {{values_between: [{low}, 1]}}\n"));
        whole.replace("T03:00:00", &format!("T{hour:02}:00:00")).replace("TIME: 3, I: 20, J: 35", "TIME: 2")
    };
    assert_eq!(bench.run(&recipe(1, "-1")).0, 0);
    let (exit, told) = bench.run(&recipe(3, "0.5"));
    assert_eq!(exit, 4, "{told}");
    let (exit, told) = bench.run(&recipe(3, "-1"));
    assert_eq!((exit, bench.is_visible()), (0, true), "{told}");
    let (exit, told) = bench.run(&recipe(3, "-1"));
    assert_eq!((exit, bench.report()["outcome"].clone()), (0, "nothing-to-do".into()), "{told}");
}

/// Dies, without any farewell, after some tasks.
struct Mortal {
    tasks: AtomicU64,
}

impl Reporter for Mortal {
    fn report(&self, event: Event) {
        if matches!(event, Event::StepFinished { phase: Phase::Execute, .. }) && self.tasks.fetch_sub(1, Ordering::Relaxed) == 1 {
            std::process::abort();
        }
    }
}

fn bake_and_die(recipe: &str, target: &Path) {
    let (recipe, _) = parse(&RecipeText { name: "recipe.yaml".into(), text: recipe.into() }, target.parent().unwrap()).expect("a recipe");
    let reporter: Arc<dyn Reporter> = Arc::new(Mortal { tasks: AtomicU64::new(2) });
    let options = Options { target: target.display().to_string(), memory: 512 << 20, threads: 1, ..Options::default() };
    let (access, stop) = (access(), AtomicBool::new(false));
    let setting = Setting { access: &access, reporter: &reporter, stop: &stop };
    let outcome = run(&recipe, &options, setting, &mut Report::begin("", &options.target));
    unreachable!("the process should be dead by now: {outcome:?}");
}

/// The test runs itself in a process of its own, which dies.
#[test]
fn a_resumed_run_judges_what_a_dead_one_counted() {
    const TARGET: &str = "GRISTMILL_TEST_TARGET";
    let recipe = currents("  UCUR: {values_between: [-0.5, 0.5]}\n  VCUR: {values_between: [-0.1, 0.1]}\n");
    if let Some(target) = std::env::var_os(TARGET) {
        bake_and_die(&recipe, Path::new(&target));
    }
    let bench = Bench::new();
    let dying = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_resumed_run_judges_what_a_dead_one_counted"])
        .env(TARGET, bench.target())
        .output()
        .unwrap();
    assert_eq!(dying.status.code(), None, "ended by a signal: {}", String::from_utf8_lossy(&dying.stdout));
    let before = bench.receipts();
    assert_eq!((before.len(), bench.is_visible()), (2, false));
    assert!(before.iter().any(|(_, receipt)| receipt.statistics.contains_key("UCUR")), "{before:?}");
    let (exit, resumed) = bench.run(&recipe);
    assert_eq!((exit, bench.report()["tasks_run"].clone()), (4, 1.into()), "{resumed}");
    let whole = Bench::new();
    let (_, at_once) = whole.run(&recipe);
    let problems = |told: &str| {
        told[told.find("expectation-failed").unwrap()..]
            .replace(whole.folder.path().to_str().unwrap(), "")
            .replace(bench.folder.path().to_str().unwrap(), "")
    };
    assert_eq!(bench.report()["errors"], whole.report()["errors"]);
    assert_eq!(problems(&resumed), problems(&at_once));
    let receipts = |bench: &Bench| bench.receipts().into_iter().map(|(_, receipt)| Receipt { epoch: 0, ..receipt }).collect::<Vec<_>>();
    assert_eq!(receipts(&bench), receipts(&whole), "receipts do not depend on who counted");
}
