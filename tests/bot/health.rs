//! Whether what is published is looked after: drift of its files, failed runs, broken stores. T18 rests on it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gristmill::bot::drift::{Health, Terms, examine, issue};
use gristmill::event::{Reporter, Silent};
use gristmill::recipe::Recipe;
use gristmill::run::Setting;
use gristmill::run::report::Report;
use gristmill::store::Access;

use super::runs::Bench;

fn examined(recipe: &Recipe, bench: &Bench, last: Option<&Report>) -> Health {
    let reporter: Arc<dyn Reporter> = Arc::new(Silent);
    let setting = Setting { access: &Access::default(), reporter: &reporter, stop: &AtomicBool::new(false) };
    let terms = Terms { day: jiff::civil::date(2026, 11, 21), memory: 256 << 20, threads: 1 };
    examine(recipe, &bench.target(), last, terms, setting).unwrap()
}

#[test]
fn what_nobody_published_and_what_is_published_and_whole_is_well() {
    let bench = Bench::new(3);
    let recipe = bench.recipe(3, "zarr3");
    let before = examined(&recipe, &bench, None);
    assert!(before.is_well() && before.published.is_none());
    bench.run(&recipe).ok();
    let after = examined(&recipe, &bench, None);
    assert!(after.is_well() && after.published.is_some(), "{after:?}");
    assert_eq!((after.asked, after.of, after.silent), (3, 3, 0));
    assert!(issue(&after).ok);
}

#[test]
fn t18_a_file_that_changed_after_it_was_read_is_told() {
    let bench = Bench::new(3);
    let recipe = bench.recipe(3, "zarr3");
    bench.run(&recipe).ok();
    let bytes = std::fs::read(bench.path("1.nc")).unwrap();
    std::fs::write(bench.path("1.nc"), [bytes.as_slice(), b"more"].concat()).unwrap();
    std::fs::remove_file(bench.path("2.nc")).unwrap();
    let found = examined(&recipe, &bench, None);
    assert_eq!((found.changes, found.changed.len()), (2, 2), "{found:?}");
    assert!(found.changed[0].url.ends_with("1.nc") && found.changed[0].what.contains("bytes"));
    assert!(found.changed[1].url.ends_with("2.nc") && found.changed[1].what.contains("gone"));
    let told = issue(&found);
    assert!(!told.ok && told.body.contains("2 of its files changed"));
}

#[test]
fn a_failed_run_and_a_broken_store_are_told_and_what_is_published_stays() {
    let bench = Bench::new(3);
    let recipe = bench.recipe(2, "zarr3");
    bench.run(&recipe).ok();
    // The next run finds a file that is none; what its state keeps of it is enough.
    std::fs::write(bench.path("2.nc"), "<html>not found</html>").unwrap();
    let longer = bench.recipe(3, "zarr3");
    let ran = bench.run(&longer);
    assert!(ran.result.is_err());
    let found = examined(&longer, &bench, Some(&ran.report));
    assert!(found.failed.concat().contains("2.nc") && found.published.is_some(), "{found:?}");
    assert!(issue(&found).body.contains("The last run failed"));
    std::fs::remove_file(bench.path("out/zarr.json")).unwrap();
    let broken = examined(&recipe, &bench, None);
    assert!(!broken.broken.is_empty(), "{broken:?}");
}

/// The program in a folder.
fn gristmill(folder: &std::path::Path, words: &[&str]) -> (i32, String) {
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_gristmill")).args(words).current_dir(folder).output().unwrap();
    let text = [ended.stdout, ended.stderr].concat();
    (ended.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn what_is_due_and_not_published_is_late_and_every_dataset_has_its_issue() {
    let folder = tempfile::tempdir().unwrap();
    let recipes = folder.path().join("recipes");
    std::fs::create_dir_all(recipes.join("daily")).unwrap();
    std::fs::create_dir_all(recipes.join("unborn")).unwrap();
    let text = "schema: 1\nid: daily\ntitle: T\nlicense: CC0-1.0\nmaintainers: [ada]\ninputs:\n  url: \"{time:%Y%m%d}.nc\"\n  keys: {time: {dates: {start: 2000-01-01, end: today, step: 1 day}}}\ncombine: {concat: [time]}\noutput: {chunks: {time: 1}}\n";
    std::fs::write(recipes.join("daily/recipe.yaml"), text).unwrap();
    let unborn = "schema: 1\nid: unborn\ntitle: T\nlicense: CC0-1.0\nmaintainers: [ada]\ninputs: {files: [\"https://h.test/a.nc\"]}\n";
    std::fs::write(recipes.join("unborn/recipe.yaml"), unborn).unwrap();
    for day in 0..2 {
        std::fs::write(recipes.join(format!("daily/2000010{}.nc", day + 1)), super::runs::file(day).bytes()).unwrap();
    }
    let run = ["--today", "2000-01-02", "run", "recipes/daily/recipe.yaml", "--target", "out/daily"];
    let (exit, text) = gristmill(folder.path(), &run);
    assert_eq!(exit, 0, "{text}");
    let (exit, text) = gristmill(folder.path(), &["feedstock", "health", "--target", "out", "--out", "health"]);
    assert_eq!(exit, 0, "{text}");
    assert!(text.contains("late") && text.contains("not published yet"), "{text}");
    let health = folder.path().join("health");
    let found: serde_json::Value = serde_json::from_slice(&std::fs::read(health.join("health.json")).unwrap()).unwrap();
    let rows: Vec<(&str, bool)> =
        found.as_array().unwrap().iter().map(|one| (one["id"].as_str().unwrap(), one["ok"].as_bool().unwrap())).collect();
    assert_eq!(rows, [("daily", false), ("unborn", true)]);
    let issue = std::fs::read_to_string(health.join("daily.md")).unwrap();
    assert!(issue.contains("#### It is late") && issue.contains("files more than are published"), "{issue}");
    assert!(std::fs::read_to_string(health.join("summary.md")).unwrap().contains("| `unborn` | - |"));
}
