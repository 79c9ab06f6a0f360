//! OPeNDAP the whole way, through the program, against a small server of our own that can be wrong by script. `ci/opendap.sh` does the same with
//! pydap, xpublish and recorded answers.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod dataset;
mod recorded;
#[path = "../scripted_server/mod.rs"]
mod server;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use dataset::Served;

/// Runs the program with settings for tests: few attempts.
pub(crate) fn gristmill(folder: &Path, arguments: &[&str]) -> Output {
    let settings = folder.join("quick.toml");
    std::fs::write(&settings, "[network]\nattempts = 4\ngive_up_after_seconds = 20.0\n").unwrap();
    let program = Command::new(env!("CARGO_BIN_EXE_gristmill")).args(["--config", settings.to_str().unwrap()]).args(arguments).output();
    program.unwrap()
}

pub(crate) fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub(crate) fn recipe(folder: &Path, inputs: &str, rest: &str) -> String {
    let path = folder.join("recipe.yaml");
    let text = format!("schema: 1\nid: over-dap\ntitle: Over DAP\nlicense: CC0-1.0\ninputs:\n  {inputs}\n{rest}\n");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

pub(crate) fn inspect(folder: &Path, url: &str) -> Value {
    let output = gristmill(folder, &["inspect", url, "--stats", "--json"]);
    assert!(output.status.success(), "{}", told(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn statistics(description: &Value, name: &str) -> Value {
    let variables = description["variables"].as_array().unwrap();
    variables.iter().find(|variable| variable["name"] == name).unwrap()["statistics"].clone()
}

#[test]
fn two_datasets_become_one_store() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(|_| None);
    let base = served.base("dap2+http");
    let recipe =
        recipe(folder.path(), &format!("files: ['{base}/a', '{base}/b']"), "combine: {concat: [time]}\noutput: {chunks: {time: 3}}");
    let target = folder.path().join("out.zarr");
    let target = target.to_str().unwrap();
    let before = served.asked().len();
    let planned = gristmill(folder.path(), &["plan", &recipe]);
    assert!(planned.status.success(), "{}", told(&planned));
    assert!(served.asked()[before..].iter().all(|path| !path.contains(".dods?sst")), "planning reads no data: {:?}", served.asked());
    let run = gristmill(folder.path(), &["run", &recipe, "--target", target, "--verify", "full"]);
    assert!(run.status.success(), "{}", told(&run));
    let store = inspect(folder.path(), target);
    for (name, expected) in [("sst", dataset::sst_facts(&[0, 1])), ("packed", dataset::packed_facts(&[0, 1]))] {
        let found = statistics(&store, name);
        let told = ["min", "max", "mean"].map(|key| found[key].as_f64().unwrap());
        for (told, expected) in told.iter().zip(expected) {
            assert!((told - expected).abs() < 1e-4, "{name}: {found} {expected:?}");
        }
        assert_eq!(found["total"], 2 * dataset::ELEMENTS as u64);
    }
    assert_eq!(store["attributes"]["comment"], "it says \"as is\" and \\");
    // The report knows what was read, and what the datasets were.
    let report: Value = serde_json::from_slice(&std::fs::read(format!("{target}.gristmill/report.json")).unwrap()).unwrap();
    assert!(report.to_string().contains("dap2-"), "{report}");
    assert!(gristmill(folder.path(), &["verify", target]).status.success());
    let again = gristmill(folder.path(), &["run", &recipe, "--target", target]);
    assert!(again.status.success(), "{}", told(&again));
}

#[test]
fn a_task_asks_for_its_own_box_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(|_| None);
    let base = served.base("dap2+http");
    let rest = "combine: {concat: [time]}\nsteps: [{keep: [sst, time]}, {isel: {y: {start: 1, stop: 3}}}]\noutput: {chunks: {time: 1}}";
    let recipe = recipe(folder.path(), &format!("files: ['{base}/a', '{base}/b']"), rest);
    let target = folder.path().join("out.zarr");
    let run = gristmill(folder.path(), &["run", &recipe, "--target", target.to_str().unwrap()]);
    assert!(run.status.success(), "{}", told(&run));
    let asked: Vec<String> = served.asked().into_iter().filter(|path| path.contains(".dods?sst")).collect();
    // Once by the tasks, and at most once more by the verification.
    let elements: usize = asked.iter().map(|path| dataset::hyperslab(path).iter().map(ExactSizeIterator::len).product::<usize>()).sum();
    assert!((dataset::ELEMENTS..=2 * dataset::ELEMENTS).contains(&elements), "{asked:?}");
    let inside = |path: &String| dataset::hyperslab(path)[1].start >= 1 && dataset::hyperslab(path)[1].end <= 3;
    assert!(asked.iter().all(|path| inside(path) && path.contains("%5B")), "{asked:?}");
}

#[test]
fn a_web_address_that_gives_a_page_is_asked_for_a_description() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(|_| None);
    let description = inspect(folder.path(), &format!("{}/a", served.base("http")));
    assert_eq!(description["format"], "dap2");
    assert_eq!(statistics(&description, "sst")["total"], dataset::ELEMENTS as u64);
    let refused: Vec<&str> = description["refused"].as_array().unwrap().iter().map(|refused| refused["name"].as_str().unwrap()).collect();
    assert_eq!(refused, ["rows", "sst@note"]);
}

#[test]
fn a_server_s_limit_and_its_bad_moments_are_lived_with() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let served = Served::start(move |path| {
        let slabs = dataset::hyperslab(path);
        if path.contains(".dods?") && slabs.iter().map(ExactSizeIterator::len).product::<usize>() > 40 {
            let body = "Error {\n    code = 403;\n    message = \"Request too big=9.0 Mbytes, max=0.1\";\n};\n";
            return Some(server::reply("403 Forbidden", &[("Content-Type", "text/plain")], body.as_bytes()));
        }
        let bad = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 5 == 1;
        bad.then(|| server::reply("503 Busy", &[("Content-Length", "0")], b""))
    });
    let description = inspect(folder.path(), &format!("{}/a", served.base("dap2+http")));
    let found = statistics(&description, "sst");
    assert!((found["mean"].as_f64().unwrap() - dataset::sst_facts(&[0])[2]).abs() < 1e-4, "{found}");
}

#[test]
fn complaints_pages_and_cuts_are_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |reply: fn(&str) -> Option<server::Reply>, code: i32, words: &str| {
        let served = Served::start(reply);
        let output = gristmill(folder.path(), &["inspect", &format!("{}/a", served.base("dap2+http")), "--stats"]);
        assert_eq!(output.status.code(), Some(code), "{}", told(&output));
        assert!(told(&output).contains(words), "{words}: {}", told(&output));
    };
    fails(
        |path| path.contains(".dds").then(|| server::reply("404 Not Found", &[], b"Error { code = 404; message = \"no such dataset\"; };")),
        3,
        "no such dataset",
    );
    fails(
        |path| path.contains(".dds").then(|| server::reply("200 OK", &[], b"Error { code = 3; message = \"no such file\"; };")),
        3,
        "no such file",
    );
    fails(
        |path| path.contains(".das").then(|| server::reply("200 OK", &[("Content-Type", "text/html")], b"<html><title>Log in</title>")),
        3,
        "web page",
    );
    fails(|path| path.contains(".dds").then(|| server::reply("200 OK", &[], b"Dataset { Float32 x[")), 5, "ended");
    fails(|path| path.contains(".dds").then(|| server::reply("200 OK", &[], b"Dataset { Float32 x[y]; } d;")), 3, "is no length");
    fails(
        |path| {
            path.contains(".dods?sst").then(|| {
                server::reply("200 OK", &[], b"Dataset {\n Float32 sst[time = 6][y = 4][x = 5];\n} d;\nData:\n\0\0\0\x78\0\0\0\x78")
            })
        },
        3,
        "is cut",
    );
    fails(
        |path| {
            path.contains(".dods?sst")
                .then(|| server::reply("200 OK", &[], b"Dataset {\n Int32 sst[time = 1];\n} d;\nData:\n\0\0\0\x01\0\0\0\x01\0\0\0\0"))
        },
        3,
        "was described as",
    );
}

#[test]
fn a_stranger_s_recipe_reaches_no_private_server() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(|_| None);
    for scheme in ["dap2+http", "dap4+http", "http"] {
        let recipe = recipe(folder.path(), &format!("files: ['{}/a']", served.base(scheme)), "");
        let target = folder.path().join("out.zarr");
        let mut program = Command::new(env!("CARGO_BIN_EXE_gristmill"));
        let output = program.args(["run", &recipe, "--target", target.to_str().unwrap()]).env("GRISTMILL_UNTRUSTED", "1").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    }
    assert_eq!(served.asked(), Vec::<String>::new());
}
