//! What a second run on the same target does (DESIGN §4.5): nothing, resume, append, refuse, replace.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its files shall fail")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder with a recipe over the first files of a real curvilinear archive: five files of 60 months each.
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

    /// Writes a recipe over files `first..last` with chunks of so many months.
    fn recipe(&self, id: &str, last: usize, months: u64) -> PathBuf {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cmip6-siconc");
        let mut files: Vec<String> = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path().display().to_string()).collect();
        files.sort();
        let files = format!("    - {}\n", files[..last].join("\n    - "));
        let text = format!(
            "schema: 1\nid: {id}\ntitle: Sea ice\nlicense: CC-BY-SA-4.0\ninputs:\n  files:\n{files}combine: {{concat: [time]}}\nsteps:\n  - drop: [time_bnds]\noutput:\n  chunks: {{time: {months}}}\n"
        );
        let path = self.folder.path().join(format!("{id}-{last}-{months}.yaml"));
        std::fs::write(&path, text).unwrap();
        path
    }

    fn run(&self, recipe: &Path, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_gristmill")).arg("run").arg(recipe).arg("--target").arg(self.target()).args(more).output().unwrap()
    }

    /// Every file below the target, with its bytes and time of modification.
    fn contents(&self) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.target()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(
                        path.strip_prefix(self.target()).unwrap().to_owned(),
                        (std::fs::read(&path).unwrap(), path.metadata().unwrap().modified().unwrap()),
                    );
                }
            }
        }
        found
    }

    fn bytes(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.contents().into_iter().map(|(path, (bytes, _))| (path, bytes)).collect()
    }
}

fn expect(output: &Output, exit: i32, says: &str) {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(exit), "{text}");
    assert!(text.contains(says), "no `{says}` in: {text}");
}

#[test]
fn a_complete_store_is_left_alone() {
    let bench = Bench::new();
    let recipe = bench.recipe("ice", 2, 60);
    expect(&bench.run(&recipe, &[]), 0, "open it");
    let before = bench.contents();
    expect(&bench.run(&recipe, &[]), 0, "nothing to do");
    assert!(bench.contents() == before, "the second run wrote something");
}

#[test]
fn longer_keys_append_without_touching_published_objects() {
    let bench = Bench::new();
    expect(&bench.run(&bench.recipe("ice", 2, 60), &[]), 0, "open it");
    let before = bench.contents();
    expect(&bench.run(&bench.recipe("ice", 4, 60), &[]), 0, "open it");
    let after = bench.contents();
    for (path, (bytes, modified)) in before.iter().filter(|(path, _)| path.starts_with("siconc/c")) {
        assert_eq!((&after[path].0, &after[path].1), (bytes, modified), "{} was written again", path.display());
    }
    let whole = Bench::new();
    expect(&whole.run(&whole.recipe("ice", 4, 60), &[]), 0, "open it");
    assert!(bench.bytes() == whole.bytes(), "an appended store differs from one baked in one go");
}

#[test]
fn an_append_inside_a_chunk_is_refused() {
    let bench = Bench::new();
    expect(&bench.run(&bench.recipe("ice", 3, 120), &[]), 0, "open it");
    let before = bench.contents();
    expect(&bench.run(&bench.recipe("ice", 4, 120), &[]), 6, "inside a chunk of 120");
    assert!(bench.contents() == before);
}

#[test]
fn a_shorter_recipe_does_not_cut_what_is_published() {
    let bench = Bench::new();
    expect(&bench.run(&bench.recipe("ice", 3, 60), &[]), 0, "open it");
    expect(&bench.run(&bench.recipe("ice", 2, 60), &[]), 6, "would become shorter");
}

#[test]
fn another_format_touches_nothing_that_is_published() {
    let bench = Bench::new();
    let recipe = bench.recipe("ice", 2, 60);
    expect(&bench.run(&recipe, &[]), 0, "open it");
    let before = bench.contents();
    let text = std::fs::read_to_string(&recipe).unwrap().replace("output:\n", "output:\n  format: zarr2\n");
    std::fs::write(&recipe, text).unwrap();
    expect(&bench.run(&recipe, &[]), 6, "in another format");
    assert!(bench.contents() == before, "a published store was touched");
    expect(&bench.run(&recipe, &["--replace"]), 0, "open it");
    assert!(bench.bytes().contains_key(Path::new(".zmetadata")) && !bench.bytes().contains_key(Path::new("zarr.json")));
}

#[test]
fn another_dataset_and_foreign_objects_are_refused() {
    let bench = Bench::new();
    expect(&bench.run(&bench.recipe("ice", 2, 60), &[]), 0, "open it");
    expect(&bench.run(&bench.recipe("water", 2, 60), &[]), 6, "holds the dataset `ice`");
    let foreign = Bench::new();
    std::fs::create_dir(foreign.target()).unwrap();
    std::fs::write(foreign.target().join("thesis.tex"), "years of work").unwrap();
    expect(&foreign.run(&foreign.recipe("ice", 2, 60), &[]), 6, "thesis.tex");
    assert_eq!(foreign.contents().len(), 1);
}

#[test]
fn replace_builds_anew_and_is_whole() {
    let bench = Bench::new();
    expect(&bench.run(&bench.recipe("water", 3, 120), &[]), 0, "open it");
    let recipe = bench.recipe("ice", 2, 60);
    expect(&bench.run(&recipe, &["--replace"]), 0, "open it");
    let fresh = Bench::new();
    expect(&fresh.run(&fresh.recipe("ice", 2, 60), &[]), 0, "open it");
    assert!(bench.bytes() == fresh.bytes());
    expect(&bench.run(&recipe, &[]), 0, "nothing to do");
    expect(&bench.run(&bench.recipe("ice", 3, 60), &["--replace=non-atomic"]), 0, "open it");
    expect(&bench.run(&bench.recipe("ice", 4, 60), &[]), 0, "open it");
}

#[test]
fn a_deleted_store_is_baked_anew() {
    let bench = Bench::new();
    let recipe = bench.recipe("ice", 2, 60);
    expect(&bench.run(&recipe, &[]), 0, "open it");
    let before = bench.bytes();
    std::fs::remove_dir_all(bench.target()).unwrap();
    expect(&bench.run(&recipe, &[]), 0, "open it");
    assert!(bench.bytes() == before);
}

#[test]
fn nothing_is_left_of_an_interrupted_run_of_another_plan() {
    let bench = Bench::new();
    expect(&bench.run(&bench.recipe("ice", 2, 7), &[]), 0, "open it");
    // As if it had been killed in its commit, before the root's metadata.
    std::fs::remove_file(bench.target().join("zarr.json")).unwrap();
    std::fs::remove_file(bench.folder.path().join("out.zarr.gristmill/committed.json")).unwrap();
    expect(&bench.run(&bench.recipe("ice", 2, 60), &[]), 0, "open it");
    let fresh = Bench::new();
    expect(&fresh.run(&fresh.recipe("ice", 2, 60), &[]), 0, "open it");
    assert!(bench.bytes() == fresh.bytes());
}

#[test]
fn receipts_from_before_another_plan_was_begun_are_not_believed() {
    let first = Bench::new();
    expect(&first.run(&first.recipe("ice", 2, 60), &[]), 0, "open it");
    let bench = Bench::new();
    expect(&bench.run(&bench.recipe("ice", 2, 40), &[]), 0, "open it");
    // As if that had been interrupted, after an interrupted run of the first plan that had finished every task.
    let state = |bench: &Bench| bench.folder.path().join("out.zarr.gristmill");
    let unfinished = [bench.target().join("zarr.json"), state(&bench).join("committed.json"), state(&bench).join("committed-plan.json")];
    for path in unfinished {
        std::fs::remove_file(path).unwrap();
    }
    for plan in std::fs::read_dir(state(&first).join("receipts")).unwrap().map(Result::unwrap) {
        let copies = state(&bench).join("receipts").join(plan.file_name());
        std::fs::create_dir(&copies).unwrap();
        for receipt in std::fs::read_dir(plan.path()).unwrap().map(Result::unwrap) {
            std::fs::copy(receipt.path(), copies.join(receipt.file_name())).unwrap();
        }
    }
    expect(&bench.run(&bench.recipe("ice", 2, 60), &[]), 0, "open it");
    assert!(bench.bytes() == first.bytes(), "objects are missing or another plan's");
}
