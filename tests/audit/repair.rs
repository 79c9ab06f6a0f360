//! `repair` gives back the very bytes of the undisturbed store, or says why it cannot.

use crate::baked::{Bench, exits};

#[test]
fn what_is_broken_becomes_what_it_was() {
    for output in ["  chunks: {time: 30}\n", "  chunks: {time: 30}\n  format: zarr2\n"] {
        let bench = Bench::with(output);
        bench.bake(4);
        let whole = bench.bytes();
        let is_two = output.contains("zarr2");
        let chunk = |number: usize| if is_two { format!("siconc/{number}.0.0") } else { format!("siconc/c/{number}/0/0") };
        let (time, root) = if is_two { ("time/0", ".zmetadata") } else { ("time/c/0", "zarr.json") };
        bench.remove(&chunk(0));
        bench.edit(&chunk(3), |bytes| bytes[50] ^= 4);
        bench.edit(&chunk(7), |bytes| bytes.truncate(9));
        bench.remove(time);
        bench.edit(root, |bytes| bytes.truncate(20));
        let broken = bench.bytes();
        let planned = exits(&bench.ask("repair", &["--dry-run"]), 0, "would be written again");
        assert!([&chunk(0), &chunk(3), &chunk(7), time, root].iter().all(|key| planned.contains(&format!("`{key}`"))), "{planned}");
        assert!(bench.bytes() == broken, "a dry run wrote something");
        exits(&bench.ask("repair", &[]), 0, "4 objects and 1 documents written again");
        assert!(bench.bytes() == whole, "a repaired store differs from the undisturbed one");
        exits(&bench.ask("repair", &[]), 0, "nothing to repair");
        exits(&bench.ask("verify", &["--receipts", "--read-data"]), 0, "clean");
    }
}

#[test]
fn a_whole_object_is_not_written_again() {
    let bench = Bench::with("  chunks: {time: 30}\n");
    bench.bake(2);
    let modified = |key: &str| bench.target().join(key).metadata().unwrap().modified().unwrap();
    let before = modified("siconc/c/1/0/0");
    bench.remove("siconc/c/0/0/0");
    exits(&bench.ask("repair", &["--sizes"]), 0, "1 objects and 0 documents written again");
    assert_eq!(modified("siconc/c/1/0/0"), before);
}

#[test]
fn objects_of_every_append_are_repaired() {
    let bench = Bench::baked(2);
    bench.bake(4);
    let whole = bench.bytes();
    bench.remove("siconc/c/0/0/0");
    bench.remove("siconc/c/3/0/0");
    bench.remove("longitude/c/0/0");
    exits(&bench.ask("repair", &[]), 0, "3 objects");
    assert!(bench.bytes() == whole);
    exits(&bench.ask("verify", &["--receipts", "--read-data"]), 0, "clean");
}

#[test]
fn two_stages_are_repaired_through_scratch() {
    // Chunks of one cell over all time from files of five years, with little memory: the planner takes scratch, or does not; either way
    // the bytes are the same.
    let bench = Bench::with("  chunks: {i: 1, j: 1}\n");
    bench.bake(5);
    let whole = bench.bytes();
    let keys: Vec<_> = whole.keys().filter(|key| key.starts_with("siconc/c")).collect();
    std::fs::remove_file(bench.target().join(keys[0])).unwrap();
    std::fs::remove_file(bench.target().join(keys[keys.len() - 1])).unwrap();
    exits(&bench.ask("repair", &[]), 0, "2 objects");
    assert!(bench.bytes() == whole);
    assert!(!bench.state().join("scratch").exists());
}

#[test]
fn lost_receipts_are_made_again() {
    let bench = Bench::baked(3);
    let whole = bench.bytes();
    let plan = bench.kept("committed.json")["plan"].as_str().unwrap().to_owned();
    std::fs::remove_file(bench.state().join("receipts").join(plan).join("0-1.json")).unwrap();
    exits(&bench.ask("verify", &["--receipts"]), 7, "no receipt tells of this object");
    exits(&bench.ask("repair", &[]), 0, "it has no receipt");
    assert!(bench.bytes() == whole);
    exits(&bench.ask("verify", &["--receipts", "--read-data"]), 0, "clean");
}

#[test]
fn a_changed_file_is_named_and_nothing_is_written() {
    let bench = Bench::baked(2);
    let file = bench.files(2).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.extend([0; 8]);
    std::fs::write(&file, bytes).unwrap();
    bench.remove("siconc/c/0/0/0");
    let broken = bench.bytes();
    let text = exits(&bench.ask("repair", &[]), 4, "not the file any more");
    assert!(text.contains(&*file.file_name().unwrap().to_string_lossy()), "{text}");
    assert!(bench.bytes() == broken);
}

#[test]
fn other_bytes_than_the_receipts_are_refused() {
    let bench = Bench::baked(2);
    let plan = bench.kept("committed.json")["plan"].as_str().unwrap().to_owned();
    // A receipt that no run can fulfil, as if another machine had made other bytes.
    let receipts = bench.state().join("receipts").join(plan);
    for entry in std::fs::read_dir(&receipts).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut receipt: serde_json::Value = serde_json::from_str(&text).unwrap();
        for chunk in receipt["chunks"].as_array_mut().unwrap() {
            if chunk["key"] == "siconc/c/0/0/0" {
                chunk["checksum"] = "0".repeat(32).into();
            }
        }
        std::fs::write(&path, receipt.to_string()).unwrap();
    }
    let before = bench.bytes();
    exits(&bench.ask("repair", &[]), 7, "would not become what it was");
    assert!(bench.bytes() == before);
}

#[test]
fn only_what_was_published_can_be_repaired() {
    let bench = Bench::new();
    exits(&bench.ask("repair", &[]), 2, "nothing was published here");
    assert!(!bench.state().exists(), "looking made a state");
}
