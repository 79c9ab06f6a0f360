//! The Icechunk target: what a bake, an append, a resumed run, a conflict and a replacement leave in a repository.
#![cfg(feature = "icechunk")]
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its files shall fail")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use gristmill::dataset::TargetState;
use gristmill::store::{self, Access};
use gristmill::target::icechunk::IcechunkTarget;
use gristmill::target::{ChunkPayload, Intent, Target, TargetError, existing};
use icechunk::Store;
use icechunk::format::format_constants::SpecVersionBin;
use icechunk::format::snapshot::SnapshotInfo;
use icechunk::repository::{Repository, VersionInfo};
use tokio::runtime::Runtime;
use tokio::sync::RwLock;

/// A folder with recipes over the first files of a real curvilinear archive: five files of 60 months each.
struct Bench {
    folder: tempfile::TempDir,
}

/// Every key with its bytes.
type Content = BTreeMap<String, Bytes>;

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("out.icechunk")
    }

    fn url(&self) -> String {
        self.target().display().to_string()
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("out.icechunk.gristmill")
    }

    /// Writes a recipe over files `..last` with chunks of so many months.
    fn recipe_as(&self, format: &str, id: &str, last: usize, months: u64) -> PathBuf {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cmip6-siconc");
        let mut files: Vec<String> = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path().display().to_string()).collect();
        files.sort();
        let files = format!("    - {}\n", files[..last].join("\n    - "));
        let text = format!(
            "schema: 1\nid: {id}\ntitle: Sea ice\nlicense: CC-BY-SA-4.0\ninputs:\n  files:\n{files}combine: {{concat: [time]}}\nsteps:\n  - drop: [time_bnds]\noutput:\n  format: {format}\n  chunks: {{time: {months}}}\n"
        );
        let path = self.folder.path().join(format!("{format}-{id}-{last}-{months}.yaml"));
        std::fs::write(&path, text).unwrap();
        path
    }

    fn recipe(&self, id: &str, last: usize, months: u64) -> PathBuf {
        self.recipe_as("icechunk", id, last, months)
    }

    fn run(&self, recipe: &Path, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_gristmill")).arg("run").arg(recipe).arg("--target").arg(self.target()).args(more).output().unwrap()
    }

    /// Bakes and expects success.
    fn bake(&self, id: &str, last: usize, months: u64) {
        expect(&self.run(&self.recipe(id, last, months), &[]), 0, "open it");
    }

    fn plan(&self) -> String {
        let committed: serde_json::Value = serde_json::from_slice(&std::fs::read(self.state().join("committed.json")).unwrap()).unwrap();
        committed["plan"].as_str().unwrap().to_owned()
    }

    /// What `main` holds, by Zarr key; of a plain store, its objects.
    fn content(&self) -> Content {
        let store = existing(&self.url(), &Access::default()).unwrap();
        let keys = store.list("", usize::MAX).unwrap();
        keys.into_iter().map(|key| (key.clone(), store.get(&key).unwrap().unwrap())).collect()
    }

    /// Every file below the target with its time of modification.
    fn files(&self) -> BTreeMap<PathBuf, std::time::SystemTime> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.target()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path.strip_prefix(self.target()).unwrap().to_owned(), path.metadata().unwrap().modified().unwrap());
                }
            }
        }
        found
    }

    fn chunks(&self) -> BTreeMap<PathBuf, std::time::SystemTime> {
        self.files().into_iter().filter(|(path, _)| path.starts_with("chunks")).collect()
    }

    fn history(&self) -> History {
        History { target: IcechunkTarget::open(&self.url(), &Access::default()).unwrap(), runtime: Runtime::new().unwrap() }
    }
}

/// A repository through its own library.
struct History {
    target: IcechunkTarget,
    runtime: Runtime,
}

impl History {
    fn repository(&self) -> Repository {
        self.target.repository().unwrap()
    }

    /// Snapshots of `main`, newest first.
    fn commits(&self) -> Vec<SnapshotInfo> {
        let repository = self.repository();
        let main = VersionInfo::BranchTipRef("main".to_owned());
        self.runtime.block_on(async { repository.ancestry(&main).await.unwrap().try_collect().await.unwrap() })
    }

    fn branches_and_tags(&self) -> (Vec<String>, Vec<String>) {
        let repository = self.repository();
        self.runtime.block_on(async {
            let (branches, tags) = (repository.list_branches().await.unwrap(), repository.list_tags().await.unwrap());
            (branches.into_iter().collect(), tags.into_iter().collect())
        })
    }

    /// Everything that a version holds, as the library tells it.
    fn content(&self, version: &VersionInfo) -> Content {
        let repository = self.repository();
        self.runtime.block_on(async {
            let session = repository.readonly_session(version).await.unwrap();
            let store = Store::from_session(Arc::new(RwLock::new(session))).await;
            let keys: Vec<String> = store.list().await.unwrap().try_collect().await.unwrap();
            let mut content = Content::new();
            for key in keys {
                let bytes = store.get(&key, &icechunk::format::ByteRange::ALL).await.unwrap();
                content.insert(key, bytes);
            }
            content
        })
    }

    /// What another program does to `main`.
    fn commit_something_else(&self) {
        let repository = self.repository();
        self.runtime.block_on(async {
            let session = repository.writable_session("main").await.unwrap();
            let store = Store::from_session(Arc::new(RwLock::new(session))).await;
            let group = br#"{"zarr_format": 3, "node_type": "group", "attributes": {"by": "somebody else"}}"#;
            store.set("zarr.json", Bytes::from_static(group)).await.unwrap();
            store.session().write().await.commit("by somebody else").execute().await.unwrap();
        });
    }
}

fn expect(output: &Output, exit: i32, says: &str) {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(exit), "{text}");
    assert!(text.contains(says), "no `{says}` in: {text}");
}

/// Documents and chunks without the root, whose consolidated copy only plain Zarr has.
fn without_root(content: &Content) -> Content {
    content.iter().filter(|(key, _)| *key != "zarr.json").map(|(key, bytes)| (key.clone(), bytes.clone())).collect()
}

#[test]
fn a_bake_is_one_commit_and_holds_what_plain_zarr_would() {
    let bench = Bench::new();
    bench.bake("ice", 2, 60);
    let history = bench.history();
    let commits = history.commits();
    assert_eq!(commits.len(), 2, "one of ours, and the beginning");
    let plan = bench.plan();
    assert_eq!(commits[0].message, format!("ice: Sea ice (plan {})", &plan[..12]));
    assert_eq!(commits[0].metadata["gristmill"]["plan"], plan.as_str());
    assert_eq!(history.branches_and_tags(), (vec!["main".to_owned()], vec![plan[..12].to_owned()]));
    assert_eq!(history.repository().spec_version(), SpecVersionBin::V1, "what PyPI's icechunk for Python 3.11 opens");
    let plain = Bench::new();
    expect(&plain.run(&plain.recipe_as("zarr3", "ice", 2, 60), &[]), 0, "open it");
    assert!(bench.content() == plain.content(), "the root with its consolidated copy too");
    let tip = history.content(&VersionInfo::BranchTipRef("main".to_owned()));
    assert!(without_root(&tip) == without_root(&plain.content()), "as the library reads it");
}

#[test]
fn a_complete_repository_is_left_alone() {
    let bench = Bench::new();
    bench.bake("ice", 2, 60);
    let before = bench.files();
    expect(&bench.run(&bench.recipe("ice", 2, 60), &[]), 0, "nothing to do");
    assert!(bench.files() == before, "the second run wrote something");
}

#[test]
fn an_append_is_one_more_commit_and_the_old_one_stays() {
    let bench = Bench::new();
    bench.bake("ice", 2, 60);
    let (first, chunks, tag) = (bench.content(), bench.chunks(), bench.plan()[..12].to_owned());
    bench.bake("ice", 4, 60);
    let history = bench.history();
    assert_eq!(history.commits().len(), 3);
    let after = bench.chunks();
    assert!(chunks.iter().all(|(path, modified)| after.get(path) == Some(modified)), "a published chunk was written again");
    let old = history.content(&VersionInfo::TagRef(tag));
    assert!(without_root(&old) == without_root(&first), "the tag of the first commit is not what it was");
    let whole = Bench::new();
    whole.bake("ice", 4, 60);
    assert!(bench.content() == whole.content(), "an appended repository differs from one baked in one go");
}

#[test]
fn an_append_may_begin_inside_a_chunk() {
    let bench = Bench::new();
    bench.bake("ice", 3, 120);
    let (first, chunks, tag) = (bench.content(), bench.chunks(), bench.plan()[..12].to_owned());
    bench.bake("ice", 4, 120);
    let whole = Bench::new();
    whole.bake("ice", 4, 120);
    assert!(bench.content() == whole.content());
    assert!(without_root(&bench.history().content(&VersionInfo::TagRef(tag))) == without_root(&first));
    let after = bench.chunks();
    assert!(chunks.iter().all(|(path, modified)| after.get(path) == Some(modified)), "an object that a snapshot refers to has changed");
}

#[test]
fn a_run_killed_before_its_commit_goes_on_from_its_receipts() {
    let bench = Bench::new();
    bench.bake("ice", 3, 60);
    let (content, chunks) = (bench.content(), bench.chunks());
    // As if it had been killed after its last task: objects and receipts, and no repository.
    for below in ["refs", "snapshots", "manifests", "transactions"] {
        std::fs::remove_dir_all(bench.target().join(below)).unwrap();
    }
    std::fs::remove_file(bench.state().join("committed.json")).unwrap();
    assert!(existing(&bench.url(), &Access::default()).unwrap().get("zarr.json").unwrap().is_none(), "nothing is visible");
    bench.bake("ice", 3, 60);
    assert!(bench.content() == content && bench.chunks() == chunks, "an object was written again");
    assert_eq!(bench.history().commits().len(), 2);
}

#[test]
fn a_run_killed_in_its_commit_leaves_main_where_it_was_and_can_go_on() {
    let bench = Bench::new();
    bench.bake("ice", 2, 60);
    let first = bench.content();
    let (committed, plan) = (bench.state().join("committed.json"), bench.state().join("committed-plan.json"));
    let (old_committed, old_plan) = (std::fs::read(&committed).unwrap(), std::fs::read(&plan).unwrap());
    bench.bake("ice", 4, 60);
    let second = bench.content();
    let (tag, history) = (bench.plan()[..12].to_owned(), bench.history());
    let commits = history.commits();
    // As if it had been killed between its snapshot and the move of `main`.
    history.runtime.block_on(async {
        let repository = history.repository();
        repository.create_branch(&format!("gristmill-{tag}"), &commits[0].id).await.unwrap();
        repository.reset_branch("main", &commits[1].id, Some(&commits[0].id)).await.unwrap();
    });
    std::fs::remove_dir_all(bench.target().join(format!("refs/tag.{tag}"))).unwrap();
    std::fs::write(&committed, old_committed).unwrap();
    std::fs::write(&plan, old_plan).unwrap();
    assert!(bench.content() == first, "readers see the old dataset");
    let chunks = bench.chunks();
    bench.bake("ice", 4, 60);
    assert!(bench.content() == second && bench.chunks() == chunks);
    let history = bench.history();
    assert_eq!(history.commits().len(), 3);
    let (branches, tags) = history.branches_and_tags();
    assert_eq!((branches, tags.len(), tags.contains(&tag)), (vec!["main".to_owned()], 2, true));
}

#[test]
fn a_run_killed_after_main_had_moved_commits_nothing_again() {
    let bench = Bench::new();
    bench.bake("ice", 2, 60);
    let (content, tag) = (bench.content(), bench.plan()[..12].to_owned());
    std::fs::remove_dir_all(bench.target().join(format!("refs/tag.{tag}"))).unwrap();
    std::fs::remove_file(bench.state().join("committed.json")).unwrap();
    bench.bake("ice", 2, 60);
    let history = bench.history();
    assert_eq!((history.commits().len(), history.branches_and_tags().1), (2, vec![tag]));
    assert!(bench.content() == content);
}

#[test]
fn a_commit_of_somebody_else_is_told_and_never_merged() {
    let bench = Bench::new();
    bench.bake("ice", 2, 60);
    bench.history().commit_something_else();
    let theirs = bench.content();
    for recipe in [bench.recipe("ice", 2, 60), bench.recipe("ice", 4, 60)] {
        expect(&bench.run(&recipe, &[]), 6, "target-moved");
        assert!(bench.content() == theirs);
    }
    expect(&bench.run(&bench.recipe("ice", 4, 60), &["--replace"]), 0, "open it");
    let commits = bench.history().commits();
    assert_eq!(commits.iter().map(|commit| commit.message.as_str()).nth(1), Some("by somebody else"), "their work is in the history");
    let whole = Bench::new();
    whole.bake("ice", 4, 60);
    assert!(bench.content() == whole.content());
    bench.bake("ice", 5, 60);
}

#[test]
fn a_commit_while_a_run_works_is_a_conflict() {
    let (bench, baked) = (Bench::new(), Bench::new());
    bench.bake("ice", 2, 60);
    baked.bake("ice", 3, 60);
    let ours = IcechunkTarget::open(&bench.url(), &Access::default()).unwrap();
    let state = ours.state().unwrap();
    assert!(matches!(&state, TargetState::Ours { plan, schema: Some(_), .. } if *plan == bench.plan()), "{state:?}");
    // All of another plan's objects, written by a run that began before somebody else committed.
    let source = IcechunkTarget::open(&baked.url(), &Access::default()).unwrap();
    let schema = source.schema().unwrap().unwrap();
    let objects = existing(&baked.url(), &Access::default()).unwrap();
    for key in objects.list("", usize::MAX).unwrap().iter().filter(|key| !key.ends_with("zarr.json")) {
        let (name, index) = key.split_once("/c").unwrap();
        let index: Vec<u64> = index.split('/').skip(1).map(|number| number.parse().unwrap()).collect();
        let payload = ChunkPayload::Encoded(objects.get(key).unwrap().unwrap());
        ours.write(schema.variable(name).unwrap(), &index, payload).unwrap();
    }
    let intent = Intent { id: "ice".to_owned(), title: "Sea ice".to_owned(), plan: baked.plan(), continues: false };
    ours.intend(intent.clone());
    bench.history().commit_something_else();
    let theirs = bench.content();
    let error = ours.commit(&schema).unwrap_err();
    assert!(matches!(error, TargetError::Conflict { .. }), "{error}");
    assert!(error.to_string().contains("by somebody else"), "{error}");
    assert!(bench.content() == theirs, "their commit is what readers see");
    assert_eq!(bench.history().branches_and_tags().0, ["main"], "the branch of the commit that failed is gone");
    // The same objects, told of by their receipts, commit where nobody interferes.
    let again = IcechunkTarget::open(&bench.url(), &Access::default()).unwrap();
    again.intend(intent);
    assert!(matches!(again.commit(&schema), Err(TargetError::Metadata { .. })), "a dataset with holes was committed");
    assert!(bench.content() == theirs);
}

#[test]
fn replace_keeps_the_history() {
    let bench = Bench::new();
    bench.bake("water", 3, 120);
    let tag = bench.plan()[..12].to_owned();
    let before = bench.history().content(&VersionInfo::TagRef(tag.clone()));
    expect(&bench.run(&bench.recipe("ice", 2, 60), &[]), 6, "holds the dataset `water`");
    expect(&bench.run(&bench.recipe("ice", 2, 60), &["--replace"]), 0, "open it");
    let fresh = Bench::new();
    fresh.bake("ice", 2, 60);
    assert!(bench.content() == fresh.content());
    let history = bench.history();
    assert_eq!(history.commits().len(), 3);
    assert!(history.content(&VersionInfo::TagRef(tag)) == before, "the old dataset can still be read");
    expect(&bench.run(&bench.recipe("ice", 2, 60), &[]), 0, "nothing to do");
    bench.bake("ice", 3, 60);
}

#[test]
fn formats_do_not_mix_at_one_target() {
    let bench = Bench::new();
    expect(&bench.run(&bench.recipe_as("zarr3", "ice", 2, 60), &[]), 0, "open it");
    let plain = bench.content();
    expect(&bench.run(&bench.recipe("ice", 2, 60), &[]), 6, "another format");
    assert!(bench.content() == plain);
    expect(&bench.run(&bench.recipe("ice", 2, 60), &["--replace"]), 0, "open it");
    assert!(bench.content() == plain && bench.history().commits().len() == 2);
    let files = bench.files();
    expect(&bench.run(&bench.recipe_as("zarr3", "ice", 2, 60), &[]), 6, "another format");
    assert!(bench.files() == files);
    let foreign = Bench::new();
    std::fs::create_dir(foreign.target()).unwrap();
    std::fs::write(foreign.target().join("thesis.tex"), "years of work").unwrap();
    expect(&foreign.run(&foreign.recipe("ice", 2, 60), &[]), 6, "thesis.tex");
    assert_eq!(foreign.files().len(), 1);
}

#[test]
fn a_repository_of_others_is_not_touched() {
    let bench = Bench::new();
    bench.bake("ice", 2, 60);
    std::fs::remove_dir_all(bench.state()).unwrap();
    bench.history().commit_something_else();
    let files = bench.files();
    expect(&bench.run(&bench.recipe("ice", 2, 60), &[]), 6, "did not make");
    assert!(bench.files() == files);
}

#[test]
fn a_deleted_repository_is_baked_anew() {
    let bench = Bench::new();
    bench.bake("ice", 2, 60);
    let before = bench.content();
    std::fs::remove_dir_all(bench.target()).unwrap();
    bench.bake("ice", 2, 60);
    assert!(bench.content() == before);
}

#[test]
fn a_lost_chunk_is_a_hole_and_never_committed() {
    let bench = Bench::new();
    bench.bake("ice", 3, 60);
    for below in ["refs", "snapshots", "manifests", "transactions"] {
        std::fs::remove_dir_all(bench.target().join(below)).unwrap();
    }
    std::fs::remove_file(bench.state().join("committed.json")).unwrap();
    let objects = store::target(&bench.url(), &Access::default()).unwrap();
    let largest = objects.list("chunks", 100).unwrap().into_iter().max_by_key(|key| objects.head(key).unwrap()).unwrap();
    objects.delete(&largest).unwrap();
    let output = bench.run(&bench.recipe("ice", 3, 60), &["--verify", "full"]);
    let healed = output.status.code() == Some(0);
    let visible = existing(&bench.url(), &Access::default()).unwrap().get("zarr.json").unwrap().is_some();
    assert_eq!(healed, visible, "{output:?}");
    assert!(healed || output.status.code() == Some(7), "{output:?}");
    assert!(!healed || objects.head(&largest).unwrap().is_some(), "committed with a hole");
}

#[test]
fn inspect_shows_what_main_holds() {
    let bench = Bench::new();
    bench.bake("ice", 2, 60);
    let output = Command::new(env!("CARGO_BIN_EXE_gristmill")).arg("inspect").arg(bench.target()).output().unwrap();
    expect(&output, 0, "siconc");
}
