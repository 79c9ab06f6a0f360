//! What `verify` says of our own stores: receipts, bytes, sources; after appends too.

use crate::baked::{Bench, command, exits, findings, has_error};
use crate::made_files::MadeFile;

const ALL: [&str; 3] = ["--receipts", "--read-data", "--json"];

/// Objects of `siconc`, in the order of time.
fn chunk(number: usize) -> String {
    format!("siconc/c/{number}/0/0")
}

#[test]
fn what_a_run_left_is_clean() {
    for output in ["  chunks: {time: 60}\n", "  chunks: {time: 30}\n  format: zarr2\n", "  chunks: {time: 30}\n  shards: {time: 60}\n"] {
        let bench = Bench::with(output);
        bench.bake(3);
        let verified = bench.ask("verify", &[&ALL[..], &["--against-source"]].concat());
        let text = exits(&verified, 0, "\"clean\":true");
        let errors: Vec<_> = findings(&verified).into_iter().filter(|(level, ..)| level == "error").collect();
        assert!(errors.is_empty(), "{output}: {errors:?}");
        assert!(text.contains("\"compared\":{"), "{text}");
        exits(&bench.ask("verify", &[]), 0, "clean");
        exits(&bench.ask("verify", &["--read-data=5%"]), 0, "objects read");
    }
}

#[test]
fn a_deleted_object_is_a_hole() {
    let bench = Bench::baked(3);
    bench.remove(&chunk(1));
    for options in [&["--json"][..], &["--json", "--receipts"], &ALL] {
        let output = bench.ask("verify", options);
        assert!(has_error(&output, "AR06", "siconc", &chunk(1)), "{:?}", findings(&output));
        assert_eq!(output.status.code(), Some(7));
        let told = findings(&output).iter().filter(|(level, ..)| level == "error").count();
        assert_eq!(told, 1, "told once: {:?}", findings(&output));
    }
    exits(&bench.ask("verify", &["--quiet"]), 7, "`siconc/c/1/0/0`");
}

#[test]
fn a_flipped_byte_is_seen_by_reading() {
    let bench = Bench::baked(3);
    bench.edit(&chunk(2), |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
    });
    exits(&bench.ask("verify", &["--receipts"]), 0, "clean");
    let output = bench.ask("verify", &ALL);
    assert!(has_error(&output, "AR44", "siconc", &chunk(2)), "{:?}", findings(&output));
    assert_eq!(output.status.code(), Some(7));
    let again = bench.ask("verify", &["--read-data=1%", "--json"]);
    assert!(has_error(&again, "AR44", "siconc", &chunk(2)), "first and last are always read: {:?}", findings(&again));
}

#[test]
fn a_truncated_object_has_the_wrong_size() {
    let bench = Bench::baked(3);
    bench.edit(&chunk(0), |bytes| bytes.truncate(100));
    let output = bench.ask("verify", &["--receipts", "--json"]);
    assert!(has_error(&output, "AR44", "siconc", &chunk(0)), "{:?}", findings(&output));
    assert_eq!(output.status.code(), Some(7));
    exits(&bench.ask("verify", &ALL), 7, "AR44");
}

#[test]
fn an_object_too_many_is_told() {
    let bench = Bench::baked(2);
    std::fs::create_dir_all(bench.target().join("siconc/c/9/0")).unwrap();
    std::fs::write(bench.target().join("siconc/c/9/0/0"), b"x").unwrap();
    let output = bench.ask("verify", &["--json"]);
    assert!(has_error(&output, "AR06", "siconc", "siconc/c/9/0/0"), "{:?}", findings(&output));
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn metadata_that_was_changed_is_told_however_well_it_was_done() {
    let bench = Bench::baked(2);
    bench.edit_json("siconc/zarr.json", |document| document["attributes"]["units"] = "m".into());
    exits(&bench.ask("verify", &["--json"]), 7, "the consolidated copy is not what the node itself says");
    bench.edit_json("zarr.json", |root| root["consolidated_metadata"]["metadata"]["siconc"]["attributes"]["units"] = "m".into());
    let output = bench.ask("verify", &["--json"]);
    assert!(has_error(&output, "AR03", "siconc", "siconc/zarr.json"), "{:?}", findings(&output));
    exits(&output, 7, "this metadata is not what was committed");
    bench.remove("zarr.json");
    exits(&bench.ask("verify", &[]), 7, "AR03");
}

#[test]
fn a_coordinate_in_the_wrong_order_is_told() {
    let bench = Bench::with("  chunks: {time: 60}\n  encoding: {time: {codecs: []}}\n");
    bench.bake(2);
    exits(&bench.ask("verify", &["--receipts"]), 0, "clean");
    bench.edit("time/c/0", |bytes| bytes[..120 * 8].chunks_exact_mut(16).for_each(|pair| pair.rotate_left(8)));
    let output = bench.ask("verify", &["--json"]);
    assert!(has_error(&output, "AR11", "time", ""), "{:?}", findings(&output));
    assert_eq!(output.status.code(), Some(7));
    exits(&bench.ask("verify", &["--against-source"]), 7, "AR40");
}

#[test]
fn receipts_that_are_gone_are_told() {
    let bench = Bench::baked(3);
    let plan = bench.kept("committed.json")["plan"].as_str().unwrap().to_owned();
    std::fs::remove_dir_all(bench.state().join("receipts").join(plan)).unwrap();
    exits(&bench.ask("verify", &[]), 0, "clean");
    let output = bench.ask("verify", &["--receipts", "--json"]);
    assert!(has_error(&output, "AR06", "siconc", &chunk(0)), "{:?}", findings(&output));
    exits(&output, 7, "no receipt tells of this object");
}

#[test]
fn after_an_append_all_receipts_count() {
    let bench = Bench::baked(2);
    bench.bake(4);
    bench.bake(5);
    assert_eq!(bench.kept("history.json").as_array().unwrap().len(), 3);
    exits(&bench.ask("gc", &[]), 0, "");
    let text = exits(&bench.ask("verify", &[&ALL[..], &["--against-source"]].concat()), 0, "\"clean\":true");
    assert!(!text.contains("AR41"), "{text}");
    bench.edit(&chunk(0), |bytes| bytes[60] ^= 1);
    bench.edit(&chunk(4), |bytes| bytes[60] ^= 1);
    let output = bench.ask("verify", &ALL);
    assert!(has_error(&output, "AR44", "siconc", &chunk(0)) && has_error(&output, "AR44", "siconc", &chunk(4)), "{:?}", findings(&output));
}

#[test]
fn a_begun_append_is_no_fault() {
    let bench = Bench::baked(2);
    let committed = ["committed.json", "committed-plan.json", "history.json"].map(|key| std::fs::read(bench.state().join(key)).unwrap());
    let published = bench.bytes();
    bench.bake(3);
    // As if the append had been interrupted before its commit.
    for (key, bytes) in ["committed.json", "committed-plan.json", "history.json"].iter().zip(committed) {
        std::fs::write(bench.state().join(key), bytes).unwrap();
    }
    for (path, bytes) in published.iter().filter(|(path, _)| path.ends_with("zarr.json")) {
        std::fs::write(bench.target().join(path), bytes).unwrap();
    }
    let output = bench.ask("verify", &["--json"]);
    let text = exits(&output, 0, "belongs to a run that was begun");
    assert!(text.contains(&chunk(2)), "{text}");
    // The time coordinate is longer already, which readers of the published shape do not see.
    exits(&bench.ask("verify", &ALL), 0, "\"clean\":true");
    exits(&bench.ask("repair", &[]), 6, "was begun and is not finished");
}

#[test]
fn a_source_that_changed_cannot_be_compared() {
    let bench = Bench::baked(2);
    let file = bench.files(2).remove(1);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.extend([0; 8]);
    std::fs::write(&file, bytes).unwrap();
    exits(&bench.ask("verify", &["--against-source"]), 4, "not the file any more that the store was made from");
}

#[test]
fn the_settings_are_checked() {
    let bench = Bench::baked(2);
    exits(&bench.ask("verify", &["--against-source=nowhere.yaml"]), 2, "nowhere.yaml");
    exits(&command().args(["verify"]).output().unwrap(), 2, "STORE");
    let little = bench.ask("verify", &["--receipts", "--read-data", "--memory", "64MiB", "--threads", "1"]);
    exits(&little, 0, "clean");
}

#[test]
fn of_versions_the_current_one_is_looked_at_and_repaired() {
    let bench = Bench::new();
    for files in [2, 4] {
        let recipe = bench.recipe(files);
        let output = command().arg("run").arg(recipe).arg("--target").arg(bench.target()).arg("--versioned").output().unwrap();
        exits(&output, 0, "open it");
    }
    let text = exits(&bench.ask("verify", &ALL), 0, "\"clean\":true");
    assert!(!text.contains("no receipt"), "{text}");
    let whole = bench.bytes();
    let current = std::fs::read_link(bench.target().join("current")).unwrap();
    for number in [0, 3] {
        bench.remove(&format!("{}/{}", current.display(), chunk(number)));
    }
    let output = bench.ask("verify", &["--receipts", "--json"]);
    assert!(has_error(&output, "AR06", "siconc", &chunk(0)) && has_error(&output, "AR06", "siconc", &chunk(3)), "{:?}", findings(&output));
    exits(&bench.ask("repair", &[]), 0, "2 objects");
    assert!(bench.bytes() == whole);
    exits(&bench.ask("status", &[]), 0, "ice, published");
    exits(&bench.ask("resume", &[]), 0, "nothing to do");
}

#[test]
fn a_run_killed_right_after_it_published_is_known() {
    let bench = Bench::baked(2);
    let kept = ["committed.json", "committed-plan.json", "history.json"].map(|key| std::fs::read(bench.state().join(key)).unwrap());
    bench.bake(4);
    for (key, bytes) in ["committed.json", "committed-plan.json", "history.json"].iter().zip(kept) {
        std::fs::write(bench.state().join(key), bytes).unwrap();
    }
    exits(&bench.ask("verify", &ALL), 0, "\"clean\":true");
}

#[test]
fn what_is_due_and_not_published_is_told_ar43() {
    let folder = tempfile::tempdir().unwrap();
    for day in 1..=2_u32 {
        let file = MadeFile::default()
            .dimension("time", 1)
            .variable("time", "double", &["time"], &[f64::from(day)], &[("units", "days since 2025-12-31"), ("calendar", "standard")])
            .variable("v", "float", &["time"], &[f64::from(day)], &[("units", "K")]);
        std::fs::write(folder.path().join(format!("2026010{day}.nc")), file.bytes()).unwrap();
    }
    let recipe = |end: &str| {
        let text = format!(
            "schema: 1\nid: late\ntitle: Late\nlicense: CC0-1.0\ninputs:\n  url: \"{{time:%Y%m%d}}.nc\"\n  keys:\n    time: {{dates: {{start: 2026-01-01, end: {end}, step: 1 day}}}}\ncombine: {{concat: [time]}}\n"
        );
        std::fs::write(folder.path().join("late.yaml"), text).unwrap();
    };
    let run = |target: &str| {
        let mut command = command();
        command.args(["run", "late.yaml", "--target", target, "--today", "2026-01-04"]).current_dir(folder.path());
        exits(&command.output().unwrap(), 0, "open it");
        command_of(folder.path(), &["verify", target, "--json"])
    };
    recipe("today - 2 days");
    let output = run("moving.zarr");
    let late = ("warning".to_owned(), "AR43".to_owned(), String::new(), String::new());
    assert!(findings(&output).contains(&late), "{:?}", findings(&output));
    exits(&output, 0, "files more than are published, the last of them");
    recipe("2026-01-02");
    assert!(!findings(&run("still.zarr")).contains(&late));
}

fn command_of(folder: &std::path::Path, arguments: &[&str]) -> std::process::Output {
    command().args(arguments).current_dir(folder).output().unwrap()
}
