//! Kills in the middle of an append.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gristmill::event::{Event, Phase, Reporter};
use gristmill::recipe::{RecipeText, parse};
use gristmill::run::report::Report;
use gristmill::run::{Options, Setting, run, verify};
use gristmill::store::Access;

use crate::bench::{Bench, files, recipe, series};

/// Dies, without any farewell, when so many tasks are done.
struct Mortal {
    left: AtomicU64,
    dead: AtomicBool,
}

impl Reporter for Mortal {
    fn report(&self, event: Event) {
        if matches!(event, Event::StepFinished { phase: Phase::Execute, .. })
            && self.left.fetch_sub(1, Ordering::Relaxed) == 1
            && !self.dead.swap(true, Ordering::Relaxed)
        {
            std::process::abort();
        }
    }
}

fn bake_and_die(recipe: &str, target: &Path, tasks: u64) -> ! {
    let base = target.parent().unwrap();
    let (recipe, _) = parse(&RecipeText { name: "recipe.yaml".into(), text: recipe.into() }, base).expect("a recipe");
    let reporter: Arc<dyn Reporter> = Arc::new(Mortal { left: AtomicU64::new(tasks), dead: AtomicBool::new(false) });
    let options = Options {
        target: target.display().to_string(),
        memory: 512 << 20,
        threads: 1,
        replace: None,
        verify: verify::Level::Sample,
        ..Options::default()
    };
    let (access, stop) = (Access::default(), AtomicBool::new(false));
    let setting = Setting { access: &access, reporter: &reporter, stop: &stop };
    let outcome = run(&recipe, &options, setting, &mut Report::begin("", &options.target));
    unreachable!("the process should be dead by now: {outcome:?}");
}

/// The test runs itself in processes of their own, which die while they rewrite the tail.
#[test]
fn a_kill_while_the_tail_is_rewritten_harms_no_reader() {
    const TARGET: &str = "GRISTMILL_TEST_APPEND_TARGET";
    const TASKS: &str = "GRISTMILL_TEST_APPEND_TASKS";
    let lengths = [3, 2, 4];
    let names: Vec<String> = ["a.nc", "b.nc", "c.nc"].map(str::to_owned).to_vec();
    // One object per latitude, so that a task's end lies between two objects that are rewritten.
    let tailed = "output:\n  chunks: {time: 4, lat: 1}\n  append: rewrite-tail\n";
    if let Some(target) = std::env::var_os(TARGET) {
        let tasks = std::env::var(TASKS).unwrap().parse().unwrap();
        let target = PathBuf::from(target);
        let placed: Vec<String> = names.iter().map(|name| target.parent().unwrap().join(name).display().to_string()).collect();
        bake_and_die(&recipe(&files(&placed), tailed), &target, tasks);
    }
    let whole = Bench::new();
    series(&whole, &lengths);
    whole.done(&recipe(&files(&names), tailed), &[]);
    let mut kills = 0;
    for tasks in 1..=4 {
        let bench = Bench::new();
        series(&bench, &lengths);
        let placed: Vec<String> = names.iter().map(|name| bench.path.join(name).display().to_string()).collect();
        bench.done(&recipe(&files(&placed[..1]), tailed), &[]);
        let schema = bench.reader().schema().clone();
        let before = bench.seen_by(&schema);
        let dying = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kills::a_kill_while_the_tail_is_rewritten_harms_no_reader"])
            .env(TARGET, bench.target())
            .env(TASKS, tasks.to_string())
            .output()
            .unwrap();
        if dying.status.code().is_some() {
            // There are fewer tasks than that.
            continue;
        }
        kills += 1;
        // NaN equals NaN here.
        let visible = bench.reader().schema().clone();
        assert_eq!(format!("{visible:?}"), format!("{schema:?}"), "the new shape is visible too early");
        assert!(bench.seen_by(&schema) == before, "a reader of the old shape sees other values");
        bench.done(&recipe(&files(&placed), tailed), &[]);
        assert!(bench.seen_by(&schema) == before);
        assert!(bench.objects() == whole.objects(), "a resumed append differs from one that was not killed");
    }
    assert!(kills >= 2, "only {kills} kills came in time");
}
