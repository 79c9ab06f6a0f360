//! The Icechunk target: what a bake, an append, a resumed run, a conflict and a replacement leave in a repository.
#![cfg(feature = "icechunk")]
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its files shall fail")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use gristmill::dataset::TargetState;
use gristmill::store::Access;
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

    fn gristmill(&self, command: &str, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_gristmill")).arg(command).arg(self.target()).args(more).output().unwrap()
    }

    /// Leaves what a run leaves that is killed after its last task: objects and receipts, and no repository.
    fn forget_repository(&self) {
        for below in ["refs", "snapshots", "manifests", "transactions"] {
            std::fs::remove_dir_all(self.target().join(below)).unwrap();
        }
        for state in ["committed.json", "committed-plan.json", "history.json"] {
            std::fs::remove_file(self.state().join(state)).unwrap();
        }
    }

    /// The largest object of a chunk.
    fn largest_chunk(&self) -> PathBuf {
        let chunks = self.chunks().into_keys().map(|path| self.target().join(path));
        chunks.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
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

    /// The objects of chunks with their bytes.
    fn chunks(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let chunks = self.files().into_keys().filter(|path| path.starts_with("chunks"));
        chunks.map(|path| (path.clone(), std::fs::read(self.target().join(path)).unwrap())).collect()
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

/// Holds what was said from the first error on to the snapshot of its code (`GRISTMILL_BLESS=1` records it); ids of snapshots are drawn.
fn looks_as_recorded(code: &str, bench: &Bench, errors: &str) {
    let said = errors.get(errors.find(&format!("error[{code}]")).unwrap()..).unwrap();
    let said = said.replace(&format!("{}/", bench.folder.path().display()), "");
    let said = regex::Regex::new("[0-9A-Z]{20}").unwrap().replace_all(&said, "SNAPSHOT");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/invalid_data/{code}.txt"));
    if std::env::var_os("GRISTMILL_BLESS").is_some() {
        std::fs::write(&path, said.as_bytes()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), said, "GRISTMILL_BLESS=1 records it");
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
    let whole = Bench::new();
    expect(&whole.run(&whole.recipe_as("zarr3", "ice", 2, 60), &[]), 0, "open it");
    assert!(bench.content() == whole.content(), "the root with its consolidated copy too");
    let tip = history.content(&VersionInfo::BranchTipRef("main".to_owned()));
    assert!(without_root(&tip) == without_root(&whole.content()), "as the library reads it");
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
    assert!(chunks.iter().all(|(path, bytes)| after.get(path) == Some(bytes)), "an object that a snapshot refers to has changed");
    assert_eq!(after.len(), chunks.len() + 3, "two chunks of values, and the times");
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
    assert!(chunks.iter().all(|(path, bytes)| after.get(path) == Some(bytes)), "an object that a snapshot refers to has changed");
}

#[test]
fn a_run_killed_before_its_commit_goes_on_from_its_receipts() {
    let bench = Bench::new();
    bench.bake("ice", 3, 60);
    let (content, chunks) = (bench.content(), bench.chunks());
    bench.forget_repository();
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
    let (commits, repository) = (history.commits(), history.repository());
    // As if it had been killed between its snapshot and the move of `main`.
    history.runtime.block_on(async {
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
    expect(&bench.run(&bench.recipe("ice", 2, 60), &[]), 0, "nothing to do");
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
        let output = bench.run(&recipe, &[]);
        expect(&output, 6, "target-moved");
        looks_as_recorded("target-moved", &bench, &String::from_utf8(output.stderr).unwrap());
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
fn a_chunk_that_was_lost_before_the_commit_is_written_again() {
    let bench = Bench::new();
    bench.bake("ice", 3, 60);
    let content = bench.content();
    bench.forget_repository();
    let lost = bench.largest_chunk();
    std::fs::remove_file(&lost).unwrap();
    expect(&bench.run(&bench.recipe("ice", 3, 60), &[]), 0, "the store has lost what it acknowledged");
    assert!(lost.exists() && bench.content() == content);
}

#[test]
fn who_commits_before_the_first_bake_is_done_is_not_overwritten() {
    let bench = Bench::new();
    bench.bake("ice", 2, 60);
    bench.forget_repository();
    // The killed run had found no repository; by now somebody else has made one.
    let others = Bench::new();
    others.bake("water", 3, 120);
    for path in others.files().into_keys() {
        let to = bench.target().join(&path);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(others.target().join(&path), to).unwrap();
    }
    let content = bench.content();
    assert!(content == others.content());
    expect(&bench.run(&bench.recipe("ice", 2, 60), &[]), 6, "target-moved");
    assert!(bench.content() == content);
    expect(&bench.run(&bench.recipe("ice", 2, 60), &["--replace"]), 0, "open it");
    assert_eq!(bench.history().commits().len(), 3, "theirs is in the history");
}

#[test]
fn what_a_killed_run_had_made_visible_is_continued_by_the_next() {
    let bench = Bench::new();
    bench.bake("ice", 2, 60);
    let before: Vec<_> = ["committed.json", "committed-plan.json", "history.json"]
        .map(|name| (bench.state().join(name), std::fs::read(bench.state().join(name)).unwrap()))
        .to_vec();
    bench.bake("ice", 3, 60);
    // Killed after `main` had moved, before anybody noted it; the archive has grown meanwhile.
    let tag = bench.plan()[..12].to_owned();
    std::fs::remove_dir_all(bench.target().join(format!("refs/tag.{tag}"))).unwrap();
    for (path, bytes) in before {
        std::fs::write(path, bytes).unwrap();
    }
    bench.bake("ice", 4, 60);
    let history = bench.history();
    assert_eq!((history.commits().len(), history.branches_and_tags().1.len()), (4, 3));
    assert!(history.branches_and_tags().1.contains(&tag));
    let whole = Bench::new();
    whole.bake("ice", 4, 60);
    assert!(bench.content() == whole.content());
    expect(&bench.gristmill("verify", &["--receipts", "--read-data"]), 0, "clean");
}

#[test]
fn a_replacement_that_cannot_be_made_changes_nothing() {
    let bench = Bench::new();
    bench.bake("ice", 2, 60);
    let content = bench.content();
    let broken = bench.recipe("ice", 3, 60);
    let text = std::fs::read_to_string(&broken).unwrap().replacen("siconc_", "no_such_", 1);
    std::fs::write(&broken, text).unwrap();
    assert_ne!(bench.run(&broken, &["--replace"]).status.code(), Some(0));
    assert!(bench.content() == content);
    expect(&bench.run(&bench.recipe("ice", 2, 60), &[]), 0, "nothing to do");
    bench.bake("ice", 3, 60);
}

#[test]
fn branches_of_killed_commits_go_and_others_stay() {
    let bench = Bench::new();
    bench.bake("ice", 2, 60);
    let history = bench.history();
    let repository = history.repository();
    history.runtime.block_on(async {
        let tip = repository.lookup_branch("main").await.unwrap();
        for branch in ["gristmill-0123456789ab", "gristmill-tests", "somebody"] {
            repository.create_branch(branch, &tip).await.unwrap();
        }
    });
    bench.bake("ice", 3, 60);
    assert_eq!(bench.history().branches_and_tags().0, ["gristmill-tests", "main", "somebody"]);
}

#[test]
fn of_two_runs_at_once_one_is_told_of_the_other() {
    let bench = Bench::new();
    let recipes = [bench.recipe("ice", 4, 60), bench.recipe("ice", 5, 60)];
    let start = |recipe: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
        command.arg("run").arg(recipe).arg("--target").arg(bench.target()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let both: Vec<Output> =
        recipes.iter().map(|recipe| start(recipe)).collect::<Vec<_>>().into_iter().map(|run| run.wait_with_output().unwrap()).collect();
    let exits: Vec<i32> = both.iter().map(|output| output.status.code().unwrap()).collect();
    assert!(exits.contains(&0) && exits.iter().all(|exit| [0, 6].contains(exit)), "{both:?}");
    for output in both.iter().filter(|output| output.status.code() == Some(6)) {
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("target-held") || told.contains("shorter"), "{told}");
    }
    // Unless the longer one was it, it goes on from there.
    expect(&bench.run(&recipes[1], &[]), 0, "");
    let whole = Bench::new();
    whole.bake("ice", 5, 60);
    assert!(bench.content() == whole.content());
}

#[test]
fn verify_finds_what_is_broken_and_repair_puts_it_back() {
    let bench = Bench::new();
    bench.bake("ice", 3, 120);
    bench.bake("ice", 4, 120);
    expect(&bench.gristmill("verify", &["--receipts", "--read-data", "--against-source"]), 0, "clean");
    let (content, tip) = (bench.content(), bench.history().commits()[0].id.clone());
    let broken = bench.largest_chunk();
    let bytes = std::fs::read(&broken).unwrap();
    std::fs::remove_file(&broken).unwrap();
    expect(&bench.gristmill("verify", &["--receipts"]), 7, "AR06");
    expect(&bench.gristmill("repair", &[]), 0, "siconc");
    assert!(std::fs::read(&broken).unwrap() == bytes && bench.content() == content);
    assert_eq!(bench.history().commits()[0].id, tip, "a repair is no commit");
    expect(&bench.gristmill("repair", &[]), 0, "nothing");
    bench.history().commit_something_else();
    for command in ["repair", "verify"] {
        let more: &[&str] = if command == "verify" { &["--receipts"] } else { &[] };
        expect(&bench.gristmill(command, more), 6, "target-moved");
    }
}

#[test]
fn status_and_gc_know_what_a_repository_is() {
    let bench = Bench::new();
    bench.bake("ice", 2, 60);
    expect(&bench.gristmill("status", &[]), 0, "published");
    let files = bench.files();
    expect(&bench.gristmill("gc", &["--older-than", "0s"]), 0, "garbage_collect");
    assert!(bench.files() == files);
    expect(&bench.run(&bench.recipe("ice", 2, 60), &["--versioned"]), 6, "keeps every version");
}

#[test]
fn inspect_shows_what_main_holds() {
    let bench = Bench::new();
    bench.bake("ice", 2, 60);
    let output = Command::new(env!("CARGO_BIN_EXE_gristmill")).arg("inspect").arg(bench.target()).output().unwrap();
    expect(&output, 0, "siconc");
}
