//! `status` tells how far a target is from its state alone; `resume` goes on without the recipe.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::baked::{Bench, command, exits};

fn status(bench: &Bench) -> Value {
    let output = bench.ask("status", &["--json"]);
    exits(&output, 0, "standing");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Takes a published store back to where its run stood before its last tasks: as if it had been killed.
fn unfinished(bench: &Bench, keep: usize) {
    let plan = bench.kept("plan.json");
    let identity = bench.kept("committed.json")["plan"].as_str().unwrap().to_owned();
    for key in ["committed.json", "committed-plan.json", "history.json", "provenance.json"] {
        std::fs::remove_file(bench.state().join(key)).unwrap();
    }
    std::fs::remove_file(bench.target().join("zarr.json")).unwrap();
    let receipts = bench.state().join("receipts").join(identity);
    let mut names: Vec<_> = std::fs::read_dir(&receipts).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names[keep..].iter().for_each(|path| std::fs::remove_file(path).unwrap());
    assert!(plan["stages"].is_array());
}

#[test]
fn nothing_is_said_of_nothing_and_nothing_is_made() {
    let bench = Bench::new();
    exits(&bench.ask("status", &[]), 2, "no run of gristmill was begun here");
    exits(&bench.ask("resume", &[]), 2, "no run was begun here");
    assert!(!bench.state().exists() && !bench.target().exists());
}

#[test]
fn a_published_store_is_told_of() {
    let bench = Bench::baked(3);
    let told = status(&bench);
    assert_eq!((told["standing"].as_str(), told["dataset"].as_str()), (Some("published"), Some("ice")));
    assert_eq!((told["published"]["inputs"].as_u64(), told["published"]["commits"].as_u64()), (Some(3), Some(1)));
    assert_eq!((told["last"]["outcome"].as_str(), told["last"]["exit"].as_u64()), (Some("done"), Some(0)));
    assert!(told["begun"].is_null() && told["holder"].is_null());
    let text = exits(&bench.ask("status", &[]), 0, "ice, published");
    assert!(text.contains("held by    nobody") && text.contains("last run   done (exit 0)"), "{text}");
}

#[test]
fn an_interrupted_run_is_told_of_and_resumed_without_its_recipe() {
    let bench = Bench::with("  chunks: {time: 30}\n");
    bench.bake(4);
    let whole = bench.bytes();
    unfinished(&bench, 1);
    std::fs::remove_file(bench.folder.path().join("ice-4.yaml")).unwrap();
    let told = status(&bench);
    assert_eq!(told["standing"].as_str(), Some("unfinished"));
    let stage = &told["begun"]["stages"][0];
    assert_eq!(stage[0].as_u64(), Some(1));
    assert!(stage[1].as_u64() > Some(1), "{told}");
    assert!(told["begun"]["objects"].as_u64() > Some(0) && told["begun"]["stored_bytes"].as_u64() > Some(0), "{told}");
    exits(&bench.ask("status", &[]), 0, "gristmill resume");
    exits(&bench.ask("verify", &[]), 2, "there is no Zarr store here");
    exits(&bench.ask("resume", &[]), 0, "open it");
    assert!(bench.bytes() == whole, "a resumed store differs from the undisturbed one");
    assert_eq!(status(&bench)["standing"].as_str(), Some("published"));
    exits(&bench.ask("resume", &[]), 0, "nothing to do");
}

#[test]
fn an_append_under_way_is_told_apart_from_what_is_published() {
    let bench = Bench::baked(2);
    let kept = ["committed.json", "committed-plan.json", "history.json"].map(|key| std::fs::read(bench.state().join(key)).unwrap());
    let published = bench.bytes();
    bench.bake(4);
    // As if the append had been interrupted before its commit.
    for (key, bytes) in ["committed.json", "committed-plan.json", "history.json"].iter().zip(kept) {
        std::fs::write(bench.state().join(key), bytes).unwrap();
    }
    for (path, bytes) in published.iter().filter(|(path, _)| path.ends_with("zarr.json")) {
        std::fs::write(bench.target().join(path), bytes).unwrap();
    }
    let told = status(&bench);
    assert_eq!(told["standing"].as_str(), Some("continuing"));
    assert_eq!((told["published"]["inputs"].as_u64(), told["begun"]["inputs"].as_u64()), (Some(2), Some(4)));
    exits(&bench.ask("resume", &[]), 0, "open it");
    assert_eq!(status(&bench)["published"]["commits"].as_u64(), Some(2));
}

#[test]
fn a_failed_run_says_why() {
    let bench = Bench::baked(2);
    let recipe = bench.recipe(3);
    std::fs::remove_file(bench.files(3).pop().unwrap()).unwrap();
    let output = command().arg("run").arg(&recipe).arg("--target").arg(bench.target()).output().unwrap();
    exits(&output, 3, "source-absent");
    let told = status(&bench);
    assert_eq!((told["last"]["outcome"].as_str(), told["last"]["exit"].as_u64()), (Some("failed"), Some(3)));
    assert!(told["last"]["errors"][0]["message"].as_str().unwrap().contains("200001-200412"), "{told}");
    exits(&bench.ask("status", &[]), 0, "error[source-absent]");
}

#[test]
fn the_holder_is_named_while_a_run_lasts() {
    let bench = Bench::new();
    let recipe = bench.recipe(5);
    let mut run =
        command().arg("run").arg(recipe).arg("--target").arg(bench.target()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    let mut seen = None;
    while seen.is_none() && begun.elapsed() < Duration::from_secs(20) {
        if let Ok(told) = serde_json::from_slice::<Value>(&bench.ask("status", &["--json"]).stdout) {
            seen = told["holder"]["process"].as_u64();
        }
        if run.try_wait().unwrap().is_some() {
            break;
        }
    }
    let process = u64::from(run.id());
    assert!(run.wait().unwrap().success());
    // On a fast machine the run may be over before anybody asked.
    assert!(seen.is_none_or(|seen| seen == process), "{seen:?} is not {process}");
    assert!(status(&bench)["holder"].is_null());
}

#[test]
fn secrets_of_addresses_are_not_kept_so_the_recipe_is_asked_for() {
    let bench = Bench::new();
    let recipe = bench.folder.path().join("secret.yaml");
    let text = "schema: 1\nid: s\ntitle: S\nlicense: CC0-1.0\ninputs: {url: \"http://127.0.0.1:1/a.nc?key=geheim\"}\n";
    std::fs::write(&recipe, text).unwrap();
    bench.bake(2);
    std::fs::copy(&recipe, bench.state().join("recipe.yaml")).unwrap();
    let origin = r#"{"name": "secret.yaml", "folder": "/", "commit": null, "untrusted": false, "hidden": true}"#;
    std::fs::write(bench.state().join("origin.json"), origin).unwrap();
    exits(&bench.ask("resume", &[]), 2, "hold secrets, which are not kept; give the recipe too");
}
