//! `run --replace`: the old store or the new one, whole, whenever the run is killed; and the next run goes on.
//! The steps of the exchange itself are tested where they are (`run/replace/exchange.rs`).

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod made_files;
mod runs;

use gristmill::recipe::Recipe;
use gristmill::run::{Options, Replace};
use gristmill::store::Wrapping;
use runs::{Bench, bake, dying, read, recording};

fn options(bench: &Bench, how: Replace) -> Options {
    Options { replace: Some(how), ..bench.options() }
}

/// The old dataset has another id, fewer days and other chunks.
fn old(bench: &Bench) -> Recipe {
    bench.recipe_with("water", 3, "output: {chunks: {time: 3}}\n")
}

fn leftovers(bench: &Bench) -> Vec<String> {
    let names = std::fs::read_dir(bench.path("out.gristmill")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("next") || name.starts_with("exchange")).collect()
}

#[test]
fn a_replacement_killed_after_any_change_is_the_old_or_the_new() {
    let bench = Bench::new(4);
    let recipe = bench.recipe(4, "zarr3");
    let prepare = || {
        bench.clear();
        bench.run(&old(&bench)).ok();
    };
    prepare();
    let before = read(&bench.target());
    let (wrapping, changes) = recording();
    bake(&recipe, &options(&bench, Replace::Atomic), wrapping).ok();
    let (after, whole, count) = (read(&bench.target()), bench.files(), changes.lock().unwrap().len());
    let journal = changes.lock().unwrap().iter().position(|change| change.contains("/exchange.json")).unwrap();
    assert!(leftovers(&bench).is_empty() && before != after);
    for changes in 0..=count {
        for again in [Some(Replace::Atomic), None] {
            prepare();
            let ran = bake(&recipe, &options(&bench, Replace::Atomic), dying(changes as i64).0);
            assert_eq!(ran.result.is_ok(), changes == count, "killed after {changes} of {count}");
            let seen = read(&bench.target());
            assert!(seen == before || seen == after, "killed after {changes}");
            let next = bake(&recipe, &Options { replace: again, ..bench.options() }, Wrapping::default());
            if again.is_some() || changes > journal {
                let report = next.ok();
                assert!(bench.files() == whole && leftovers(&bench).is_empty(), "killed after {changes}: {:?}", leftovers(&bench));
                // What had been exchanged, or begun to be, was not baked a second time.
                let is_over = changes + 1 >= count && again.is_some();
                assert!(is_over || changes <= journal || report.tasks_run == 0, "killed after {changes}: {} tasks", report.tasks_run);
            } else {
                // The replacement was not ready: without the word for it, what is there stays.
                next.fails(6, &["water"]);
                assert!(read(&bench.target()) == before, "killed after {changes}");
            }
        }
    }
}

#[test]
fn a_replacement_in_place_killed_after_any_change_can_be_followed_by_any_run() {
    let bench = Bench::new(4);
    let recipe = bench.recipe(4, "zarr3");
    let prepare = || {
        bench.clear();
        bench.run(&old(&bench)).ok();
    };
    prepare();
    let before = read(&bench.target());
    let (wrapping, changes) = recording();
    bake(&recipe, &options(&bench, Replace::NonAtomic), wrapping).ok();
    let (after, whole, count) = (read(&bench.target()), bench.files(), changes.lock().unwrap().len());
    for changes in 0..=count {
        for again in [Some(Replace::NonAtomic), None] {
            prepare();
            drop(bake(&recipe, &options(&bench, Replace::NonAtomic), dying(changes as i64).0));
            let seen = read(&bench.target());
            assert!(seen.is_none() || seen == before || seen == after, "killed after {changes}");
            let was_there = seen == before;
            let next = bake(&recipe, &Options { replace: again, ..bench.options() }, Wrapping::default());
            if again.is_none() && was_there {
                next.fails(6, &["water"]);
                assert!(read(&bench.target()) == before);
            } else {
                next.ok();
                assert!(bench.files() == whole, "killed after {changes}");
            }
        }
    }
}

#[test]
fn what_another_killed_replacement_left_does_not_matter() {
    let third = |bench: &Bench| bench.recipe_with("third", 2, "output: {chunks: {time: 1}}\n");
    let (probe, fresh) = (Bench::new(4), Bench::new(4));
    let (wrapping, changes) = recording();
    bake(&third(&probe), &probe.options(), wrapping).ok();
    fresh.run(&fresh.recipe(4, "zarr3")).ok();
    let most = changes.lock().unwrap().len() as i64;
    for changes in [6, most / 2, most - 1] {
        let bench = Bench::new(4);
        bench.run(&old(&bench)).ok();
        assert!(bake(&third(&bench), &options(&bench, Replace::Atomic), dying(changes).0).result.is_err());
        bake(&bench.recipe(4, "zarr3"), &options(&bench, Replace::Atomic), Wrapping::default()).ok();
        assert!(bench.files() == fresh.files() && leftovers(&bench).is_empty());
    }
}

#[test]
fn a_folder_that_is_no_store_is_not_replaced() {
    for how in [Replace::Atomic, Replace::NonAtomic] {
        let bench = Bench::new(2);
        std::fs::create_dir(bench.path("out")).unwrap();
        std::fs::write(bench.path("out/thesis.tex"), "years of work").unwrap();
        bake(&bench.recipe(2, "zarr3"), &options(&bench, how), Wrapping::default()).fails(6, &["thesis.tex", "replaces stores only"]);
        assert_eq!(bench.files().len(), 1);
    }
}

#[test]
fn a_trailing_slash_does_not_matter() {
    let bench = Bench::new(4);
    bench.run(&old(&bench)).ok();
    let slash = Options { target: format!("{}/", bench.target()), ..options(&bench, Replace::Atomic) };
    bake(&bench.recipe(4, "zarr3"), &slash, Wrapping::default()).ok();
    assert!(leftovers(&bench).is_empty());
    assert_eq!(bench.run(&bench.recipe(4, "zarr3")).ok().outcome, "nothing-to-do");
    assert_eq!(runs::days(&read(&bench.target()).unwrap()), 4);
}
