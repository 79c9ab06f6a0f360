//! `gristmill run --profile`: a trace that is whole however the run ends, in which every task has its span and spans nest.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod made_files;
mod scripted_server;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill::event::{Activity, Detail, Silent, spent};
use scripted_server::{Server, Step, honest};
use serde_json::Value;

const RECIPE: &str = "schema: 1\nid: sample\ntitle: A sample\nlicense: CC0-1.0\n";

/// A file of one day.
fn day(number: u32) -> Vec<u8> {
    let (rows, values): (Vec<f64>, Vec<f64>) = (0..200).map(|row| (f64::from(row), f64::from(number * row))).unzip();
    let file = made_files::MadeFile::default().dimension("time", 1).dimension("lat", 200);
    let file = file.variable("time", "double", &["time"], &[f64::from(number)], &[("units", "days since 2000-01-01")]);
    file.variable("lat", "double", &["lat"], &rows, &[]).variable("x", "double", &["time", "lat"], &values, &[("units", "K")]).bytes()
}

fn run(folder: &Path, more: &[&str]) -> i32 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command.args(["run", "recipe.yaml", "--target", "out.zarr", "--quiet", "--profile", "trace.json"]).args(more).current_dir(folder);
    command.output().unwrap().status.code().unwrap()
}

/// Complete events by (process, thread), each as (begin, end, event), in nanoseconds.
type Lanes = BTreeMap<(u64, u64), Vec<(u64, u64, Value)>>;

fn lanes(folder: &Path) -> Lanes {
    let trace: Value = serde_json::from_slice(&std::fs::read(folder.join("trace.json")).unwrap()).unwrap();
    let mut lanes = Lanes::new();
    let nanoseconds = |value: &Value| (value.as_f64().unwrap() * 1000.0).round() as u64;
    for event in trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "X") {
        let (begin, length) = (nanoseconds(&event["ts"]), nanoseconds(&event["dur"]));
        let lane = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        lanes.entry(lane).or_default().push((begin, begin + length, event.clone()));
    }
    lanes
}

fn named(lanes: &Lanes, process: u64) -> impl Iterator<Item = (&str, u64)> {
    let of = lanes.iter().filter(move |((pid, _), _)| *pid == process).flat_map(|(_, spans)| spans);
    of.map(|(begin, end, event)| (event["name"].as_str().unwrap(), end - begin))
}

/// Any two spans of a lane lie apart, or one lies in the other.
fn assert_nested(lanes: &Lanes) {
    for (lane, spans) in lanes {
        let mut spans: Vec<(u64, u64)> = spans.iter().map(|&(begin, end, _)| (begin, end)).collect();
        spans.sort_by_key(|&(begin, end)| (begin, u64::MAX - end));
        let mut around: Vec<u64> = Vec::new();
        for (begin, end) in spans {
            while around.last().is_some_and(|last| *last <= begin) {
                around.pop();
            }
            assert!(around.last().is_none_or(|last| end <= *last), "{lane:?}: a span from {begin} to {end} crosses another");
            around.push(end);
        }
    }
}

#[test]
fn every_task_has_a_span_and_spans_nest() {
    let folder = tempfile::tempdir().unwrap();
    (0..6).for_each(|number| std::fs::write(folder.path().join(format!("{number}.nc")), day(number)).unwrap());
    let files = "inputs: {files: [0.nc, 1.nc, 2.nc, 3.nc, 4.nc, 5.nc]}\ncombine: {concat: [time]}\noutput: {chunks: {time: 1}}\n";
    std::fs::write(folder.path().join("recipe.yaml"), format!("{RECIPE}{files}")).unwrap();
    assert_eq!(run(folder.path(), &["--threads", "3", "--report", "report.json"]), 0);
    let lanes = lanes(folder.path());
    assert_nested(&lanes);
    let report: Value = serde_json::from_slice(&std::fs::read(folder.path().join("report.json")).unwrap()).unwrap();
    let tasks = named(&lanes, 2).filter(|(name, _)| name.starts_with("task ")).count() as u64;
    assert_eq!(Some(tasks), report["tasks"].as_u64());
    let stages: BTreeMap<&str, u64> = named(&lanes, 1).collect();
    let order = ["run", "scan", "combine", "plan", "prepare", "execute", "verify", "commit"];
    assert!(order.iter().all(|name| stages.contains_key(name)), "{stages:?}");
    // Stages follow each other, so none of the run's time is told twice.
    let sum: u64 = order[1..].iter().map(|name| stages[name]).sum();
    assert!(sum <= stages["run"] && sum * 10 >= stages["run"] * 7, "{stages:?}");
    let steps: BTreeMap<&str, u64> = named(&lanes, 3).collect();
    assert!(
        ["open", "fetch", "place", "encode", "write", "keep", "compare", "describe"].iter().all(|name| steps.contains_key(name)),
        "{steps:?}"
    );
}

#[test]
fn the_trace_of_a_failed_run_is_whole_and_tells_no_secret() {
    let content = day(0);
    let cut = content.len() / 2;
    let server = Server::start(move |request, _| {
        let mut reply = honest(request, &content[..cut]);
        reply.insert(0, Step::Wait(Duration::from_millis(5)));
        reply
    });
    let folder = tempfile::tempdir().unwrap();
    let inputs = format!("inputs: {{files: ['{}']}}\n", server.url("/a.nc?v=canary"));
    std::fs::write(folder.path().join("recipe.yaml"), format!("{RECIPE}{inputs}")).unwrap();
    assert_eq!(run(folder.path(), &[]), 3);
    let text = std::fs::read_to_string(folder.path().join("trace.json")).unwrap();
    assert!(text.contains("a.nc") && !text.contains("canary"), "{text}");
    assert!(named(&lanes(folder.path()), 1).any(|(name, _)| name == "run"));
}

#[test]
fn a_profile_that_cannot_be_written_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("0.nc"), day(0)).unwrap();
    std::fs::write(folder.path().join("recipe.yaml"), format!("{RECIPE}inputs: {{files: [0.nc]}}\n")).unwrap();
    std::fs::create_dir(folder.path().join("trace.json")).unwrap();
    assert_eq!(run(folder.path(), &[]), 2);
    assert!(!folder.path().join("out.zarr").exists());
}

/// What telling costs when nobody listens: a call, no more. A million spans in well under the time of one chunk's encoding.
#[test]
fn spans_that_nobody_wants_cost_next_to_nothing() {
    let reporter: Arc<dyn gristmill::event::Reporter> = Arc::new(Silent);
    let mut sum = 0_u64;
    let begun = Instant::now();
    for number in 0..1_000_000_u64 {
        let detail = |_: &u64| Detail { about: format!("never made {number}"), ..Detail::default() };
        sum += spent(&*reporter, Activity::Place, detail, || std::hint::black_box(number) & 1);
    }
    let silent = begun.elapsed();
    let begun = Instant::now();
    let made: usize = (0..1_000_000_u64).map(|number| std::hint::black_box(format!("made {number}")).len()).sum();
    assert!(sum == 500_000 && made > 0);
    assert!(silent < begun.elapsed(), "{silent:?}: names are made although nobody wants them");
}
