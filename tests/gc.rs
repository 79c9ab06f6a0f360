//! `gristmill gc`: what nobody needs goes, and nothing else does.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod made_files;
mod runs;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use gristmill::recipe::Recipe;
use gristmill::run::gc::{Kind, Swept, Wish, gc};
use gristmill::run::versions::Pointer;
use gristmill::run::{Options, Replace, RunError};
use gristmill::store::{Access, Wrapping, target};
use runs::{Bench, bake, days, dying, files, read, recording};

fn versioned(bench: &Bench) -> Options {
    Options { versioned: true, ..bench.options() }
}

fn make(bench: &Bench, recipe: &Recipe) -> String {
    bake(recipe, &versioned(bench), Wrapping::default()).ok().target_version.unwrap()
}

fn wish(bench: &Bench) -> Wish {
    Wish { target: bench.target(), dry_run: false, older_than: Duration::ZERO, keep: 0 }
}

fn sweep(wish: &Wish) -> Result<Swept, RunError> {
    gc(wish, &Access::default(), &AtomicBool::new(false))
}

/// Everything below target and state but who holds it.
fn everything(bench: &Bench) -> BTreeMap<String, Vec<u8>> {
    let mut all = bench.files();
    all.extend(files(&bench.path("out.gristmill")).into_iter().map(|(name, bytes)| (format!("state/{name}"), bytes)));
    // Whoever takes the lock writes himself down.
    all.retain(|name, _| !["state/lock", "state/epoch.json"].contains(&name.as_str()));
    all
}

/// A dry run changes nothing and foretells what then goes, to the byte.
fn sweep_as_foretold(wish: &Wish, bench: &Bench) -> Swept {
    let before = everything(bench);
    let foretold = sweep(&Wish { dry_run: true, ..wish.clone() }).unwrap();
    assert!(everything(bench) == before, "a dry run changed something");
    let swept = sweep(wish).unwrap();
    // Time goes on between the two.
    let seconds = regex::Regex::new("idle for [0-9]+ s ").unwrap();
    let list = |swept: &Swept| {
        let told = serde_json::to_string(&(&swept.items, &swept.kept, &swept.notes, swept.objects, swept.bytes)).unwrap();
        seconds.replace_all(&told, "idle for some s ").into_owned()
    };
    assert_eq!(list(&swept), list(&foretold));
    let after = everything(bench);
    let gone: Vec<&String> = before.keys().filter(|name| !after.contains_key(*name)).collect();
    // A version's own note is no object of it, and the list of versions stays.
    let notes = gone.iter().filter(|name| name.starts_with("state/versions/")).count();
    let bytes = |name: &&String| before[*name].len() as u64;
    let counted = gone.iter().filter(|name| !name.starts_with("state/versions/"));
    assert_eq!((swept.objects, swept.bytes), ((gone.len() - notes) as u64, counted.map(bytes).sum()), "{gone:#?}");
    let rest = sweep(wish).unwrap();
    assert!(rest.items.is_empty(), "{:?}", rest.items);
    swept
}

#[test]
fn old_versions_go_and_the_current_one_stays() {
    let bench = Bench::new(8);
    let versions = [2, 4, 6, 8].map(|count| make(&bench, &bench.recipe(count, "zarr3")));
    let current = files(&bench.path(&format!("out/{}", versions[3])));
    // All are younger than a week.
    let young = sweep_as_foretold(&Wish { older_than: Duration::from_hours(168), ..wish(&bench) }, &bench);
    assert!(young.items.is_empty() && young.kept.len() == 4, "{young:?}");
    let kept = sweep_as_foretold(&Wish { keep: 2, ..wish(&bench) }, &bench);
    assert_eq!(
        kept.items.iter().map(|item| (&item.kind, item.name.as_str())).collect::<Vec<_>>(),
        [(&Kind::Version, versions[0].as_str())]
    );
    let swept = sweep_as_foretold(&wish(&bench), &bench);
    assert_eq!(swept.items.len(), 2, "{swept:?}");
    let left: Vec<String> =
        std::fs::read_dir(bench.path("out")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.len() == 3 && left.contains(&versions[3]), "{left:?}");
    assert!(files(&bench.path(&format!("out/{}", versions[3]))) == current);
    // The receipts of what is current are still there to copy from, and an old state can be made again.
    let report = bake(&bench.recipe(2, "zarr3"), &versioned(&bench), Wrapping::default()).ok();
    assert_eq!((report.target_version.as_ref(), report.tasks_run), (Some(&versions[0]), report.tasks));
    assert_eq!(days(&read(&bench.path("out/current").display().to_string()).unwrap()), 2);
}

#[test]
fn an_unfinished_version_goes_when_it_is_old() {
    let bench = Bench::new(4);
    let current = make(&bench, &bench.recipe(2, "zarr3"));
    let (wrapping, changes) = recording();
    bake(&bench.recipe(4, "zarr3"), &versioned(&bench), wrapping).ok();
    let count = changes.lock().unwrap().len();
    bench.clear();
    assert_eq!(make(&bench, &bench.recipe(2, "zarr3")), current);
    assert!(bake(&bench.recipe(4, "zarr3"), &versioned(&bench), dying(count as i64 - 8).0).result.is_err());
    assert!(sweep(&Wish { older_than: Duration::from_mins(1), ..wish(&bench) }).unwrap().items.is_empty());
    let swept = sweep_as_foretold(&wish(&bench), &bench);
    assert!(swept.items.len() == 1 && swept.items[0].why.contains("never finished"), "{swept:?}");
    assert_eq!(days(&read(&bench.path("out/current").display().to_string()).unwrap()), 2);
    make(&bench, &bench.recipe(4, "zarr3"));
    assert_eq!(days(&read(&bench.path("out/current").display().to_string()).unwrap()), 4);
}

#[test]
fn a_sweep_that_is_killed_is_ended_by_the_next() {
    let bench = Bench::new(4);
    for changes in 0..40 {
        bench.clear();
        make(&bench, &bench.recipe(2, "zarr3"));
        let current = make(&bench, &bench.recipe(4, "zarr3"));
        let whole = files(&bench.path(&format!("out/{current}")));
        let access = Access { wrapping: dying(changes).0, ..Access::default() };
        let killed = gc(&wish(&bench), &access, &AtomicBool::new(false)).is_err();
        sweep(&wish(&bench)).unwrap();
        assert!(files(&bench.path(&format!("out/{current}"))) == whole);
        assert_eq!(std::fs::read_dir(bench.path("out")).unwrap().count(), 3, "killed after {changes}");
        assert!(sweep(&wish(&bench)).unwrap().items.is_empty());
        if !killed {
            assert!(changes > 8, "{changes}");
            return;
        }
    }
    panic!("a sweep of so few objects should have ended by now");
}

#[test]
fn what_gristmill_did_not_make_stays() {
    let bench = Bench::new(4);
    let old = make(&bench, &bench.recipe(2, "zarr3"));
    make(&bench, &bench.recipe(4, "zarr3"));
    let foreign = ["notes.txt", "x/notes.txt", "x/c/0/notes", "y/c/0/0"].map(|name| bench.path(&format!("out/{old}/{name}")));
    for path in &foreign {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "mine").unwrap();
    }
    std::fs::write(bench.path("out/mine.txt"), "mine").unwrap();
    std::fs::create_dir(bench.path("out/0123456789ab")).unwrap();
    std::fs::write(bench.path("out/0123456789ab/zarr.json"), "mine").unwrap();
    let swept = sweep_as_foretold(&wish(&bench), &bench);
    assert!(swept.notes.iter().any(|note| note.contains("4 objects that gristmill did not make")), "{:?}", swept.notes);
    let mine =
        foreign.iter().chain([&bench.path("out/mine.txt"), &bench.path("out/0123456789ab/zarr.json")]).filter(|path| path.exists()).count();
    assert_eq!(mine, 6);
    assert_eq!(files(&bench.path(&format!("out/{old}"))).len(), 4);
}

#[test]
fn without_its_pointer_no_version_goes() {
    let bench = Bench::new(4);
    make(&bench, &bench.recipe(2, "zarr3"));
    make(&bench, &bench.recipe(4, "zarr3"));
    std::fs::remove_file(bench.path("out/current.json")).unwrap();
    let before = everything(&bench);
    let error = sweep(&wish(&bench)).unwrap_err();
    assert!(error.exit() == 6 && error.to_string().contains("current.json is gone"), "{error}");
    assert!(everything(&bench) == before);
    // What the link names is kept even where the pointer names another.
    let current = make(&bench, &bench.recipe(4, "zarr3"));
    assert_eq!(Pointer::read(&*target(&bench.target(), &Access::default()).unwrap(), "out").unwrap().unwrap().version, current);
}

#[test]
fn what_a_plain_store_accumulates_goes() {
    let bench = Bench::new(8);
    let recipe = |count| bench.recipe(count, "zarr3");
    bench.run(&recipe(2)).ok();
    // An append that is given up half-way ...
    let (wrapping, changes) = recording();
    bench.run_through(&recipe(8), wrapping).ok();
    let root = format!("put {}/zarr.json", bench.target());
    let before_root = changes.lock().unwrap().iter().position(|change| *change == root).unwrap();
    bench.clear();
    bench.run(&recipe(2)).ok();
    assert!(bench.run_through(&recipe(8), dying(before_root as i64).0).result.is_err());
    // ... may still be taken up again, so that nothing of it goes,
    let swept = sweep_as_foretold(&wish(&bench), &bench);
    assert!(swept.items.is_empty(), "{swept:?}");
    // until another, shorter one was made instead.
    bench.run(&recipe(4)).ok();
    let unfinished = bench.path("out/x/c/0/.abc.gristmill-unfinished");
    std::fs::write(&unfinished, "half").unwrap();
    let alive = std::fs::File::create(bench.path("out/x/c/0/.def.gristmill-unfinished")).unwrap();
    alive.lock().unwrap();
    std::fs::create_dir_all(bench.path("out.gristmill/scratch/0123/0")).unwrap();
    std::fs::write(bench.path("out.gristmill/scratch/0123/0/0.0"), "scratch").unwrap();
    let store = read(&bench.target());
    let swept = sweep_as_foretold(&wish(&bench), &bench);
    let kinds: Vec<Kind> = swept.items.iter().map(|item| item.kind).collect();
    assert_eq!(kinds, [Kind::Receipts, Kind::Scratch, Kind::Unpublished, Kind::UnfinishedFiles], "{swept:#?}");
    assert_eq!(swept.items[2].objects, 4);
    assert!(!unfinished.exists() && bench.path("out/x/c/0/.def.gristmill-unfinished").exists());
    drop(alive);
    std::fs::remove_file(bench.path("out/x/c/0/.def.gristmill-unfinished")).unwrap();
    assert!(read(&bench.target()) == store);
    let fresh = Bench::new(4);
    fresh.run(&fresh.recipe(4, "zarr3")).ok();
    assert!(bench.files() == fresh.files());
    assert_eq!(bench.run(&recipe(4)).ok().outcome, "nothing-to-do");
}

#[test]
fn an_unfinished_replacement_goes_when_it_is_old() {
    let bench = Bench::new(4);
    bench.run(&bench.recipe(2, "zarr3")).ok();
    let before = bench.files();
    let replace = Options { replace: Some(Replace::Atomic), ..bench.options() };
    assert!(bake(&bench.recipe(4, "zarr3"), &replace, dying(9).0).result.is_err());
    assert!(bench.path("out.gristmill/next").exists());
    let young = sweep(&Wish { older_than: Duration::from_hours(1), ..wish(&bench) }).unwrap();
    assert!(young.items.is_empty() && young.notes[0].contains("stays"), "{young:?}");
    let swept = sweep_as_foretold(&wish(&bench), &bench);
    assert_eq!(swept.items.iter().map(|item| item.kind).collect::<Vec<_>>(), [Kind::Replacement]);
    assert!(bench.files() == before && !bench.path("out.gristmill/next").exists() && !bench.path("out.gristmill/next.gristmill").exists());
}

fn binary(bench: &Bench, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_gristmill")).arg("gc").args(arguments).current_dir(bench.path(".")).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_command_tells_what_goes_in_text_and_json() {
    let bench = Bench::new(4);
    let (exit, _, errors) = binary(&bench, &["out"]);
    assert!(exit == 6 && errors.contains("no run of gristmill has been here") && !bench.path("out.gristmill").exists(), "{errors}");
    let old = make(&bench, &bench.recipe(2, "zarr3"));
    make(&bench, &bench.recipe(4, "zarr3"));
    let (exit, text, _) = binary(&bench, &["out", "--dry-run", "--older-than", "0"]);
    assert!(
        exit == 0 && text.contains("would remove") && text.contains(&format!("version {old}: ")) && text.contains("(current)"),
        "{text}"
    );
    let (exit, json, _) = binary(&bench, &["out", "--dry-run", "--older-than", "0s", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((exit, &value["items"][0]["kind"], &value["items"][0]["name"]), (0, &"version".into(), &old.clone().into()));
    assert!(value["bytes"].as_u64().unwrap() > 100 && bench.path(&format!("out/{old}")).exists());
    let (_, text, _) = binary(&bench, &["out"]);
    assert!(text.starts_with("out: nothing to remove"), "{text}");
    let (exit, text, _) = binary(&bench, &["out", "--older-than", "0"]);
    assert!(exit == 0 && text.contains("removed") && !bench.path(&format!("out/{old}")).exists(), "{text}");
    let (exit, _, errors) = binary(&bench, &["out", "--older-than", "a week"]);
    assert!(exit == 2 && errors.contains("such as 7d"), "{errors}");
}

#[test]
fn a_target_that_a_run_holds_is_left_alone() {
    let bench = Bench::new(4);
    make(&bench, &bench.recipe(2, "zarr3"));
    let lock = std::fs::File::options().write(true).open(bench.path("out.gristmill/lock")).unwrap();
    lock.try_lock().unwrap();
    let (exit, _, errors) = binary(&bench, &["out", "--older-than", "0"]);
    assert!(exit == 6 && errors.contains("target-held"), "{errors}");
}
