//! The commit (docs/design/008-commit-and-versions.md): nothing visible before it is whole, whatever the store does and whenever
//! the process is killed.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod made_files;
mod runs;

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill::receipt::{ChunkRef, Receipt};
use gristmill::run::RunError;
use gristmill::run::report::Report;
use gristmill::run::state::State;
use gristmill::store::Access;
use runs::{Bench, Mischief, days, dying, mischievous, read, recording};

/// Key of the document that makes a store open.
fn root(format: &str) -> &'static str {
    if format == "zarr2" { ".zmetadata" } else { "zarr.json" }
}

/// Holds what is said of an error to the snapshot of its code (`GRISTMILL_BLESS=1` records it).
fn looks_as_recorded(code: &str, error: &RunError) {
    let said: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
    let said = said.join("\n") + "\n";
    assert!(said.starts_with(&format!("error[{code}]")), "{said}");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/invalid_data/{code}.txt"));
    if std::env::var_os("GRISTMILL_BLESS").is_some() {
        std::fs::write(&path, &said).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), said, "GRISTMILL_BLESS=1 records it");
}

const FORMATS: [&str; 2] = ["zarr3", "zarr2"];

#[test]
fn chunks_and_receipts_come_before_arrays_and_the_root_comes_last() {
    for format in FORMATS {
        let bench = Bench::new(4);
        let (wrapping, changes) = recording();
        bench.run_through(&bench.recipe(4, format), wrapping).ok();
        let changes = changes.lock().unwrap().clone();
        let store = format!("put {}/", bench.target());
        let is_metadata = |change: &&String| change.ends_with("zarr.json") || change.contains("/.z");
        let first_metadata = changes.iter().position(|change| change.starts_with(&store) && is_metadata(&change)).unwrap();
        let last_root = changes.iter().rposition(|change| *change == format!("{store}{}", root(format))).unwrap();
        let last_chunk = changes.iter().rposition(|change| change.starts_with(&store) && !is_metadata(&change)).unwrap();
        let last_receipt = changes.iter().rposition(|change| change.contains("/receipts/")).unwrap();
        assert!(last_chunk < first_metadata && last_receipt < first_metadata, "{changes:#?}");
        assert_eq!(changes.iter().rposition(|change| change.starts_with(&store)), Some(last_root), "{changes:#?}");
        let after: Vec<&str> = changes[last_root + 1..].iter().map(|change| change.rsplit('/').next().unwrap()).collect();
        assert_eq!(after, ["history.json", "committed-plan.json", "committed.json", "report.json"]);
    }
}

#[test]
fn a_killed_run_leaves_no_report_of_an_earlier_one() {
    let bench = Bench::new(6);
    let recorded = || serde_json::from_slice::<Report>(&std::fs::read(bench.path("out.gristmill/report.json")).unwrap()).unwrap();
    bench.run(&bench.recipe(4, "zarr3")).ok();
    let before = recorded();
    let (recipe, store) = (bench.recipe(6, "zarr3"), format!("put {}/", bench.target()));
    let (wrapping, changes) = recording();
    bench.run_through(&recipe, wrapping).ok();
    let first = changes.lock().unwrap().iter().position(|change| change.starts_with(&store)).unwrap();
    bench.clear();
    bench.run(&bench.recipe(4, "zarr3")).ok();
    bench.run_through(&recipe, dying(first as i64 + 1).0).result.expect_err("it was killed");
    let report = recorded();
    assert_eq!((report.outcome.as_str(), report.exit, before.outcome.as_str()), ("interrupted", 75, "done"));
    assert!(report.plan != before.plan && report.tasks > 0);
}

/// Lets a run of `after` days die after each of its changes, over what a run of `before` days left.
fn killed_everywhere(format: &str, before: u32, after: u32) {
    let bench = Bench::new(after);
    let prepare = || {
        bench.clear();
        if before > 0 {
            bench.run(&bench.recipe(before, format)).ok();
        }
    };
    prepare();
    let old = read(&bench.target());
    let (wrapping, changes) = recording();
    let recipe = bench.recipe(after, format);
    bench.run_through(&recipe, wrapping).ok();
    let (new, whole, count) = (read(&bench.target()), bench.files(), changes.lock().unwrap().len());
    assert!(new != old && days(new.as_ref().unwrap()) == after as usize && count > 12, "{count}");
    let (mut old_seen, mut new_seen) = (0, 0);
    for changes in 0..=count {
        prepare();
        let ran = bench.run_through(&recipe, dying(changes as i64).0);
        assert_eq!(ran.result.is_ok(), changes == count, "killed after {changes} of {count}");
        let seen = read(&bench.target());
        assert!(seen == old || seen == new, "after {changes} changes readers see neither the old nor the new");
        *(if seen == old { &mut old_seen } else { &mut new_seen }) += 1;
        bench.run(&recipe).ok();
        assert!(bench.files() == whole, "resumed after {changes} of {count} changes: other bytes");
        assert_eq!(bench.run(&recipe).ok().outcome, "nothing-to-do");
    }
    assert!(old_seen > 10 && new_seen >= 3, "old {old_seen}, new {new_seen}");
}

#[test]
fn a_first_write_killed_after_any_change_is_nothing_or_whole() {
    killed_everywhere("zarr3", 0, 4);
}

#[test]
fn a_first_write_of_zarr_2_killed_after_any_change_is_nothing_or_whole() {
    killed_everywhere("zarr2", 0, 4);
}

#[test]
fn an_append_killed_after_any_change_is_old_or_new() {
    killed_everywhere("zarr3", 2, 6);
}

#[test]
fn an_append_to_zarr_2_killed_after_any_change_is_old_or_new() {
    killed_everywhere("zarr2", 2, 6);
}

#[test]
fn a_run_killed_after_the_root_was_visible_is_what_the_next_one_continues() {
    let bench = Bench::new(6);
    bench.run(&bench.recipe(2, "zarr3")).ok();
    let (wrapping, changes) = recording();
    bench.run_through(&bench.recipe(4, "zarr3"), wrapping).ok();
    let root = format!("put {}/zarr.json", bench.target());
    let until_root = changes.lock().unwrap().iter().position(|change| *change == root).unwrap() + 1;
    bench.clear();
    bench.run(&bench.recipe(2, "zarr3")).ok();
    assert!(bench.run_through(&bench.recipe(4, "zarr3"), dying(until_root as i64).0).result.is_err());
    assert_eq!(days(&read(&bench.target()).unwrap()), 4);
    // What is visible is published, though nobody could note it: none of its chunks is written again.
    let (wrapping, changes) = recording();
    bench.run_through(&bench.recipe(6, "zarr3"), wrapping).ok();
    let mut again: Vec<String> = changes.lock().unwrap().iter().filter(|change| change.contains("/x/c/")).cloned().collect();
    again.sort_unstable();
    assert_eq!(again, [0, 1].map(|row| format!("put {}/x/c/2/{row}", bench.target())));
    let appended = bench.files();
    bench.clear();
    bench.run(&bench.recipe(6, "zarr3")).ok();
    assert!(bench.files() == appended);
}

#[test]
fn a_store_that_alters_bytes_stops_the_run_at_the_first_object() {
    for mischief in [Mischief::Lengthen, Mischief::Turn] {
        let bench = Bench::new(40);
        let options = gristmill::run::Options { threads: 1, ..bench.options() };
        let said = runs::bake(&bench.recipe(40, "zarr3"), &options, mischievous("/out", "", i64::MAX, mischief))
            .fails(7, &["gristmill store probe"]);
        assert!(said.contains("came back"), "{said}");
        assert_eq!(read(&bench.target()), None);
        assert!(bench.files().len() < 5, "{} objects were written", bench.files().len());
    }
}

#[test]
fn an_object_altered_later_is_found_before_anything_is_visible_and_written_anew_by_the_next_run() {
    let whole = Bench::new(8);
    whole.run(&whole.recipe(8, "zarr3")).ok();
    for (mischief, says) in [(Mischief::Turn, "checksum"), (Mischief::Lengthen, "bytes in the store")] {
        let bench = Bench::new(8);
        let wrapping = mischievous("/out", "x/c/3/1", 1, mischief);
        // Others are stored before it, and fare well.
        let error = bench.run_through(&bench.recipe(8, "zarr3"), wrapping).result.unwrap_err();
        assert!(error.exit() == 7 && error.to_string().contains("x/c/3/1") && error.to_string().contains(says), "{error}");
        if matches!(mischief, Mischief::Lengthen) {
            looks_as_recorded("object-altered", &error);
        }
        assert_eq!(read(&bench.target()), None);
        bench.run(&bench.recipe(8, "zarr3")).ok();
        assert!(bench.files() == whole.files());
    }
}

#[test]
fn a_lost_object_is_written_once_more() {
    let whole = Bench::new(8);
    whole.run(&whole.recipe(8, "zarr3")).ok();
    let bench = Bench::new(8);
    let report = bench.run_through(&bench.recipe(8, "zarr3"), mischievous("/out", "x/c/2/1", 1, Mischief::Lose)).ok();
    assert!(bench.files() == whole.files());
    assert!(report.tasks_run > report.tasks, "{} of {}", report.tasks_run, report.tasks);
    let receipts = runs::files(&bench.path("out.gristmill/receipts"));
    let attempts: Vec<u64> = receipts.values().map(|text| serde_json::from_slice::<Receipt>(text).unwrap().attempt).collect();
    assert_eq!(attempts.iter().sum::<u64>(), 1, "{attempts:?}");
    assert_eq!(bench.run(&bench.recipe(8, "zarr3")).ok().outcome, "nothing-to-do");
}

#[test]
fn a_store_that_loses_an_object_every_time_is_given_up() {
    let bench = Bench::new(8);
    let lost = |times| mischievous("/out", "x/c/2/1", times, Mischief::Lose);
    bench.run_through(&bench.recipe(8, "zarr3"), lost(i64::MAX)).fails(7, &["x/c/2/1", "written twice"]);
    assert_eq!(read(&bench.target()), None);
    bench.run(&bench.recipe(8, "zarr3")).ok();
}

#[test]
fn an_object_that_somebody_deleted_since_is_written_again() {
    let bench = Bench::new(8);
    let recipe = bench.recipe(8, "zarr3");
    let (wrapping, changes) = recording();
    bench.run_through(&recipe, wrapping).ok();
    let whole = bench.files();
    bench.clear();
    let root = format!("put {}/zarr.json", bench.target());
    let before_root = changes.lock().unwrap().iter().position(|change| *change == root).unwrap();
    assert!(bench.run_through(&recipe, dying(before_root as i64).0).result.is_err());
    std::fs::remove_file(bench.path("out/x/c/1/0")).unwrap();
    let report = bench.run(&recipe).ok();
    assert!(bench.files() == whole && report.tasks_run >= 1, "{}", report.tasks_run);
}

#[test]
fn objects_that_are_shown_late_are_waited_for() {
    let bench = Bench::new(8);
    let late = Mischief::Lag(Duration::from_millis(300));
    let report = bench.run_through(&bench.recipe(8, "zarr3"), mischievous("", "", i64::MAX, late)).ok();
    assert_eq!(report.tasks_run, report.tasks, "a task was done again for an object that was only late");
    let whole = bench.files();
    bench.clear();
    bench.run(&bench.recipe(8, "zarr3")).ok();
    assert!(bench.files() == whole);
}

#[test]
fn metadata_that_the_store_alters_leaves_readers_what_they_had() {
    for format in FORMATS {
        let bench = Bench::new(4);
        let altered = || mischievous("/out", &format!("={}", root(format)), 1, Mischief::Lengthen);
        bench.run_through(&bench.recipe(2, format), altered()).fails(7, &[root(format), "came back"]);
        assert_eq!(read(&bench.target()), None);
        bench.run(&bench.recipe(2, format)).ok();
        let old = read(&bench.target());
        bench.run_through(&bench.recipe(4, format), altered()).fails(7, &[root(format), "came back"]);
        assert!(read(&bench.target()) == old && days(&old.unwrap()) == 2);
        bench.run(&bench.recipe(4, format)).ok();
        assert_eq!(days(&read(&bench.target()).unwrap()), 4);
    }
}

#[test]
fn a_root_that_the_store_shows_late_is_waited_for() {
    let bench = Bench::new(4);
    bench.run(&bench.recipe(2, "zarr3")).ok();
    let late = Mischief::Lag(Duration::from_millis(400));
    bench.run_through(&bench.recipe(4, "zarr3"), mischievous("/out", "zarr.json", i64::MAX, late)).ok();
    assert_eq!(days(&read(&bench.target()).unwrap()), 4);
}

#[test]
fn a_task_that_gives_other_bytes_is_told() {
    let bench = Bench::new(1);
    let state = State::open(&bench.target(), &Access::default()).unwrap();
    let chunk = |key: &str, checksum: &str| ChunkRef { key: key.into(), bytes: 3, checksum: checksum.into() };
    let receipt = |chunks: Vec<ChunkRef>, attempt| Receipt {
        plan: "p".into(),
        stage: 0,
        task: 7,
        chunks,
        scratch: Vec::new(),
        inputs: Vec::new(),
        raw_bytes: 3,
        statistics: BTreeMap::new(),
        moved: 0,
        attempt,
        epoch: 0,
    };
    let first = receipt(vec![chunk("x/c/0", "a"), chunk("x/c/1", "b")], 0);
    state.save_receipt(&first).unwrap();
    state.save_receipt(&first).unwrap();
    state.save_receipt(&Receipt { attempt: 1, ..first.clone() }).unwrap();
    assert_eq!(state.receipt("p", 0, 7).unwrap().unwrap().attempt, 1);
    let others = [
        (receipt(vec![chunk("x/c/0", "a"), chunk("x/c/1", "c")], 1), "x/c/1"),
        (receipt(vec![chunk("x/c/0", "a")], 1), "x/c/1"),
        (receipt(vec![chunk("x/c/0", "a"), chunk("x/c/1", "b"), chunk("x/c/2", "d")], 1), "x/c/2"),
    ];
    for (other, key) in others {
        let error = RunError::from(state.save_receipt(&other).unwrap_err());
        let told = error.to_string();
        assert!(error.exit() == 7 && told.contains("gave different bytes") && told.contains(key), "{told}");
        if key == "x/c/2" {
            looks_as_recorded("task-unrepeatable", &error);
        }
    }
    assert_eq!(state.receipt("p", 0, 7).unwrap().unwrap().chunks, first.chunks);
}
