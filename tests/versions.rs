//! `run --versioned` (docs/design/008-commit-and-versions.md): each state of a dataset a store of its own, and a pointer that moves only
//! to what is whole, only forwards.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod made_files;
mod runs;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use gristmill::array::Array;
use gristmill::receipt::checksum;
use gristmill::recipe::Recipe;
use gristmill::run::versions::Pointer;
use gristmill::run::{Options, Replace};
use gristmill::store::{Access, PutMode, Wrapping, target};
use runs::{Bench, Mischief, Ran, bake, days, dying, mischievous, read, recording};

fn versioned(bench: &Bench) -> Options {
    Options { versioned: true, ..bench.options() }
}

fn run(bench: &Bench, recipe: &Recipe) -> Ran {
    bake(recipe, &versioned(bench), Wrapping::default())
}

fn pointer(target_url: &str) -> Option<Pointer> {
    Pointer::read(&*target(target_url, &Access::default()).unwrap(), target_url).unwrap()
}

/// What readers find who follow the pointer, and those who follow the link: both, or nothing.
fn current(bench: &Bench) -> [Option<BTreeMap<String, Array>>; 2] {
    let by_pointer = pointer(&bench.target()).map(|pointer| {
        let root = format!("{}/{}", bench.target(), pointer.version);
        let document = target(&root, &Access::default()).unwrap().get(&pointer.root.key).unwrap().expect("a root");
        assert_eq!(checksum(&document), pointer.root.checksum);
        read(&root).expect("what the pointer names opens")
    });
    let link = bench.path("out/current");
    [by_pointer, link.exists().then(|| read(&link.display().to_string()).expect("what the link names opens"))]
}

#[test]
fn each_state_is_a_store_of_its_own_and_the_pointer_names_the_latest() {
    let bench = Bench::new(6);
    let first = run(&bench, &bench.recipe(2, "zarr3")).ok();
    let old = pointer(&bench.target()).unwrap();
    assert_eq!((old.sequence, old.previous.as_deref(), old.id.as_str()), (1, None, "sample"));
    assert_eq!((Some(&old.version), old.plan.get(..12)), (first.target_version.as_ref(), Some(old.version.as_str())));
    let before = runs::files(&bench.path(&format!("out/{}", old.version)));

    let (wrapping, changes) = recording();
    assert_eq!(bake(&bench.recipe(2, "zarr3"), &versioned(&bench), wrapping).ok().outcome, "nothing-to-do");
    let count = changes.lock().unwrap().iter().filter(|change| !change.contains("/out.gristmill/")).count();
    assert_eq!(count, 0, "{:?}", changes.lock().unwrap());

    run(&bench, &bench.recipe(6, "zarr3")).ok();
    let new = pointer(&bench.target()).unwrap();
    assert_eq!((new.sequence, new.previous.as_ref()), (2, Some(&old.version)));
    assert_eq!(current(&bench).map(|found| days(&found.unwrap())), [6, 6]);
    assert!(runs::files(&bench.path(&format!("out/{}", old.version))) == before, "the old version was touched");

    // A version is what a plain store would be.
    let plain = Bench::new(6);
    plain.run(&plain.recipe(6, "zarr3")).ok();
    assert!(runs::files(&bench.path(&format!("out/{}", new.version))) == plain.files());

    // Back to the earlier state: forwards for the pointer.
    let (wrapping, changes) = recording();
    bake(&bench.recipe(2, "zarr3"), &versioned(&bench), wrapping).ok();
    let chunks = changes.lock().unwrap().iter().filter(|change| change.contains("/c/")).count();
    assert_eq!(chunks, 0, "a version that is there was written again");
    let back = pointer(&bench.target()).unwrap();
    assert_eq!((back.version, back.sequence, back.previous), (old.version, 3, Some(new.version)));
    assert_eq!(current(&bench).map(|found| days(&found.unwrap())), [2, 2]);
}

#[test]
fn what_both_versions_have_in_common_is_copied() {
    for (before, copied) in [(4, 4), (5, 4)] {
        let bench = Bench::new(8);
        run(&bench, &bench.recipe(before, "zarr2")).ok();
        let report = run(&bench, &bench.recipe(8, "zarr2")).ok();
        let read: Vec<u64> = report.inputs.iter().map(|input| input.read_bytes).collect();
        let day = u64::from(60_u32) * 8;
        assert_eq!(read, (0..8).map(|number| if number < copied { 0 } else { day }).collect::<Vec<_>>(), "{before}");
        let plain = Bench::new(8);
        plain.run(&plain.recipe(8, "zarr2")).ok();
        assert!(runs::files(&bench.path(&format!("out/{}", report.target_version.unwrap()))) == plain.files());
        assert_eq!((report.objects, report.stored_bytes > 0), (2 + 4 * 2, true));
        // And from copies.
        std::fs::write(bench.path("8.nc"), runs::file(8).bytes()).unwrap();
        std::fs::write(bench.path("9.nc"), runs::file(9).bytes()).unwrap();
        let report = run(&bench, &bench.recipe(10, "zarr2")).ok();
        assert_eq!(report.inputs.iter().filter(|input| input.read_bytes > 0).count(), 2);
        assert_eq!(current(&bench).map(|found| days(&found.unwrap())), [10, 10]);
    }
}

#[test]
fn a_file_that_changed_makes_a_new_version() {
    let bench = Bench::new(4);
    run(&bench, &bench.recipe(4, "zarr3")).ok();
    let old = pointer(&bench.target()).unwrap();
    let mut changed = runs::file(1);
    changed.variables.get_mut("x").unwrap().values[7] = 1000.0;
    std::fs::write(bench.path("1.nc"), changed.bytes()).unwrap();
    run(&bench, &bench.recipe(4, "zarr3")).ok();
    let new = pointer(&bench.target()).unwrap();
    assert!(new.version != old.version && new.previous == Some(old.version.clone()));
    let value = |found: &BTreeMap<String, Array>| found["x"].scalar(60 + 7).unwrap().as_f64();
    assert_eq!(value(current(&bench)[0].as_ref().unwrap()), 1000.0);
    assert_eq!(value(&read(&format!("{}/{}", bench.target(), old.version)).unwrap()), 1.0);
}

fn killed_everywhere(format: &str, before: u32, after: u32) {
    let bench = Bench::new(after);
    let prepare = || {
        bench.clear();
        if before > 0 {
            run(&bench, &bench.recipe(before, format)).ok();
        }
    };
    prepare();
    let [old, _] = current(&bench);
    let (recipe, options) = (bench.recipe(after, format), versioned(&bench));
    let (wrapping, changes) = recording();
    bake(&recipe, &options, wrapping).ok();
    let ([new, _], whole, count) = (current(&bench), bench.files(), changes.lock().unwrap().len());
    let mut switched = 0;
    for changes in 0..=count {
        prepare();
        let ran = bake(&recipe, &options, dying(changes as i64).0);
        assert_eq!(ran.result.is_ok(), changes == count, "killed after {changes} of {count}");
        for seen in current(&bench) {
            assert!(seen == old || seen == new, "after {changes} changes readers see neither the old nor the new");
            switched += u32::from(seen == new);
        }
        run(&bench, &recipe).ok();
        assert!(bench.files() == whole, "resumed after {changes} of {count} changes: other bytes");
        let (kept, committed) = (bench.path("out.gristmill/versions.json"), bench.path("out.gristmill/committed.json"));
        let version = pointer(&bench.target()).unwrap();
        assert!(std::fs::read_to_string(kept).unwrap().contains(&version.version));
        assert!(std::fs::read_to_string(committed).unwrap().contains(&version.plan));
        assert_eq!(run(&bench, &recipe).ok().outcome, "nothing-to-do");
    }
    assert!(switched >= 6, "{switched}");
}

#[test]
fn a_first_version_killed_after_any_change_is_nothing_or_whole() {
    killed_everywhere("zarr3", 0, 4);
}

#[test]
fn a_further_version_killed_after_any_change_is_old_or_new() {
    killed_everywhere("zarr3", 4, 6);
}

#[test]
fn a_further_version_of_zarr_2_killed_after_any_change_is_old_or_new() {
    killed_everywhere("zarr2", 4, 6);
}

#[test]
fn a_link_that_a_killed_run_could_not_move_is_moved_by_the_next() {
    let bench = Bench::new(4);
    run(&bench, &bench.recipe(2, "zarr3")).ok();
    let old = pointer(&bench.target()).unwrap();
    run(&bench, &bench.recipe(4, "zarr3")).ok();
    let link = bench.path("out/current");
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&old.version, &link).unwrap();
    assert_eq!(run(&bench, &bench.recipe(4, "zarr3")).ok().outcome, "nothing-to-do");
    assert_eq!(days(&read(&link.display().to_string()).unwrap()), 4);
}

#[test]
fn plain_stores_and_versions_are_not_mixed() {
    let bench = Bench::new(4);
    bench.run(&bench.recipe(2, "zarr3")).ok();
    let before = bench.files();
    run(&bench, &bench.recipe(4, "zarr3")).fails(6, &["is a plain store", "without `--versioned`"]);
    assert!(bench.files() == before);
    bench.clear();
    run(&bench, &bench.recipe(2, "zarr3")).ok();
    let before = bench.files();
    bench.run(&bench.recipe(2, "zarr3")).fails(6, &["keeps versions", "`--versioned`"]);
    assert!(bench.files() == before);
    bench.clear();
    std::fs::create_dir(bench.path("out")).unwrap();
    std::fs::write(bench.path("out/thesis.tex"), "years of work").unwrap();
    run(&bench, &bench.recipe(2, "zarr3")).fails(6, &["thesis.tex"]);
}

#[test]
fn another_dataset_needs_replace_and_leaves_the_old_version() {
    let bench = Bench::new(4);
    run(&bench, &bench.recipe(2, "zarr3")).ok();
    let old = pointer(&bench.target()).unwrap();
    let other = bench.recipe_with("other", 4, "output: {chunks: {time: 2}}\n");
    run(&bench, &other).fails(6, &["`sample`", "`other`", "--replace"]);
    let anew = Options { replace: Some(Replace::Atomic), ..versioned(&bench) };
    bake(&other, &anew, Wrapping::default()).ok();
    let new = pointer(&bench.target()).unwrap();
    assert_eq!((new.id.as_str(), new.previous.as_ref()), ("other", Some(&old.version)));
    assert_eq!(days(&read(&format!("{}/{}", bench.target(), old.version)).unwrap()), 2);
    // The same once more: made anew, byte by byte the same, and the pointer has no reason to move.
    let (before, (wrapping, changes)) = (bench.files(), recording());
    bake(&other, &anew, wrapping).ok();
    assert!(bench.files() == before && changes.lock().unwrap().iter().any(|change| change.contains("/c/")));
}

#[test]
fn the_pointer_never_goes_back() {
    let bench = Bench::new(4);
    run(&bench, &bench.recipe(2, "zarr3")).ok();
    let base = target(&bench.target(), &Access::default()).unwrap();
    // While this run is at work another one, which did not see our lock, goes ahead.
    let overtaken = Arc::clone(&base);
    let wrapping = Wrapping::with(move |url, inner| {
        if url.contains("/out/") {
            let mut pointer = Pointer::read(&*overtaken, "out").unwrap().unwrap();
            pointer.sequence = 7;
            overtaken.put("current.json", Bytes::from(serde_json::to_vec(&pointer).unwrap()), PutMode::Overwrite).unwrap();
        }
        inner
    });
    bake(&bench.recipe(4, "zarr3"), &versioned(&bench), wrapping).fails(6, &["current.json", "another run was faster"]);
    assert_eq!(pointer(&bench.target()).unwrap().sequence, 7);
    assert_eq!(days(&current(&bench)[0].clone().unwrap()), 2);
    run(&bench, &bench.recipe(4, "zarr3")).ok();
    assert_eq!(pointer(&bench.target()).unwrap().sequence, 8);
}

#[test]
fn a_damaged_old_version_is_not_copied() {
    let bench = Bench::new(6);
    run(&bench, &bench.recipe(4, "zarr3")).ok();
    let old = pointer(&bench.target()).unwrap();
    let object = bench.path(&format!("out/{}/x/c/1/0", old.version));
    let mut bytes = std::fs::read(&object).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&object, bytes).unwrap();
    run(&bench, &bench.recipe(6, "zarr3")).fails(7, &["x/c/1/0", "--replace"]);
    assert_eq!(pointer(&bench.target()), Some(old));
    let anew = Options { replace: Some(Replace::Atomic), ..versioned(&bench) };
    bake(&bench.recipe(6, "zarr3"), &anew, Wrapping::default()).ok();
    let plain = Bench::new(6);
    plain.run(&plain.recipe(6, "zarr3")).ok();
    let new = pointer(&bench.target()).unwrap();
    assert!(runs::files(&bench.path(&format!("out/{}", new.version))) == plain.files());
}

#[test]
fn a_version_made_anew_and_killed_on_the_way_can_be_copied_from() {
    let plain = Bench::new(6);
    plain.run(&plain.recipe(6, "zarr3")).ok();
    // All objects are its own; some of them it has copied itself.
    for before in [0, 2] {
        let bench = Bench::new(6);
        let recipe = bench.recipe(4, "zarr3");
        let prepare = || {
            bench.clear();
            if before > 0 {
                run(&bench, &bench.recipe(before, "zarr3")).ok();
            }
            run(&bench, &recipe).ok();
        };
        let anew = Options { replace: Some(Replace::Atomic), ..versioned(&bench) };
        prepare();
        let (wrapping, changes) = recording();
        let report = bake(&recipe, &anew, wrapping).ok();
        assert_eq!((report.tasks_run, report.outcome.as_str()), (report.tasks, "done"), "nothing that is there is believed");
        let count = changes.lock().unwrap().len();
        // What is replaced is flushed each by itself, which takes its time.
        for changes in (0..count).step_by(3).chain([count]) {
            prepare();
            let ran = bake(&recipe, &anew, dying(changes as i64).0);
            assert_eq!(ran.result.is_ok(), changes == count, "killed after {changes} of {count}");
            run(&bench, &bench.recipe(6, "zarr3")).ok();
            let new = pointer(&bench.target()).unwrap();
            assert!(runs::files(&bench.path(&format!("out/{}", new.version))) == plain.files(), "after {changes} of {count} changes");
        }
    }
}

#[test]
fn a_copy_that_the_store_loses_is_made_again() {
    let bench = Bench::new(6);
    run(&bench, &bench.recipe(4, "zarr3")).ok();
    let report = bake(&bench.recipe(6, "zarr3"), &versioned(&bench), mischievous("", "x/c/1/1", 1, Mischief::Lose)).ok();
    let plain = Bench::new(6);
    plain.run(&plain.recipe(6, "zarr3")).ok();
    assert!(runs::files(&bench.path(&format!("out/{}", report.target_version.unwrap()))) == plain.files());
}

#[test]
fn stores_without_folders_keep_versions_too() {
    let bench = Bench::new(4);
    let url = format!("memory://versions-{}", std::process::id());
    let options = Options { target: url.clone(), ..versioned(&bench) };
    for (number, count) in [2, 4].into_iter().enumerate() {
        bake(&bench.recipe(count, "zarr3"), &options, Wrapping::default()).ok();
        let pointer = pointer(&url).unwrap();
        assert_eq!(pointer.sequence, number as u64 + 1);
        assert_eq!(days(&read(&format!("{url}/{}", pointer.version)).unwrap()), count as usize);
    }
    let replace = Options { replace: Some(Replace::Atomic), versioned: false, target: format!("{url}-plain"), ..bench.options() };
    bake(&bench.recipe(2, "zarr3"), &replace, Wrapping::default()).fails(6, &["--versioned", "--replace=non-atomic"]);
}
