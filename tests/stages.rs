//! Two stages with scratch between them: the same store, byte for byte, as in one; resumed wherever they were stopped.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot set up its files shall fail")]

mod real_s3;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gristmill::combine::combine;
use gristmill::event::{Event, Phase, Reporter};
use gristmill::plan::{Passage, Plan, Settings, build};
use gristmill::rechunk::Costs;
use gristmill::recipe::parse::parse;
use gristmill::recipe::{Recipe, RecipeText};
use gristmill::run::report::Report;
use gristmill::run::scan::{Memory, Scanner};
use gristmill::run::state::State;
use gristmill::run::{Options, RunError, Setting, run};
use gristmill::store::{self, Access};
use gristmill::target::zarr::default_codecs;

/// Steps of one file; rows are one page long, so that narrow columns of them are dear.
const STEPS: u32 = 100;
const ROWS: u32 = 2;
const COLUMNS: u32 = 1024;
/// Too little for one row of columns over all steps, which is 2 MB.
const LITTLE: u64 = 3 << 19;

/// Name, dimensions, attributes as stored, type number and values.
type Field<'a> = (&'a str, &'a [u32], &'a [u8], u32, Vec<u8>);

/// A classic NetCDF file (CDF-1, NetCDF User's Guide appendix B) with a time axis, a float and a short field and a series.
fn write_archive(path: &Path, number: u32) {
    let word = |number: u32| number.to_be_bytes().to_vec();
    let name = |text: &str| {
        let mut bytes = word(text.len() as u32);
        bytes.extend(text.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let first = number * STEPS;
    let field = |step: u32, row: u32, column: u32| (first + step) * 7 + row * 1000 + column * 3;
    let cells = || (0..STEPS).flat_map(|step| (0..ROWS).flat_map(move |row| (0..COLUMNS).map(move |column| (step, row, column))));
    let time: Vec<u8> = (0..STEPS).flat_map(|step| f64::from(first + step).to_be_bytes()).collect();
    let heat: Vec<u8> = cells().flat_map(|(step, row, column)| (field(step, row, column) as f32 / 8.0).to_be_bytes()).collect();
    let flags: Vec<u8> = cells().flat_map(|(step, row, column)| ((field(step, row, column) % 3001) as i16).to_be_bytes()).collect();
    let series: Vec<u8> = (0..STEPS).flat_map(|step| ((first + step) as f32).to_be_bytes()).collect();
    let units = [word(12), word(1), name("units"), word(2), name("hours since 2000-01-01")].concat();
    let none = [word(0), word(0)].concat();
    let variables: [Field<'_>; 4] = [
        ("time", &[0], &units, 6, time),
        ("heat", &[0, 1, 2], &none, 5, heat),
        ("flags", &[0, 1, 2], &none, 3, flags),
        ("series", &[0], &none, 5, series),
    ];
    let header = |begin: &dyn Fn(usize) -> u32| {
        let dimensions = [("time", STEPS), ("row", ROWS), ("column", COLUMNS)].map(|(text, length)| [name(text), word(length)].concat());
        let described = variables.iter().enumerate().map(|(at, (text, dimensions, attributes, kind, values))| {
            let dimensions = [vec![dimensions.len() as u32], dimensions.to_vec()].concat().into_iter().flat_map(u32::to_be_bytes).collect();
            [name(text), dimensions, attributes.to_vec(), word(*kind), word(values.len() as u32), word(begin(at))].concat()
        });
        let described: Vec<u8> = described.flatten().collect();
        [b"CDF\x01".to_vec(), word(0), word(10), word(3), dimensions.concat(), none.clone(), word(11), word(4), described].concat()
    };
    let length = header(&|_| 0).len() as u32;
    let begin = |at: usize| length + variables[..at].iter().map(|variable| variable.4.len() as u32).sum::<u32>();
    let values: Vec<u8> = variables.iter().flat_map(|variable| variable.4.clone()).collect();
    std::fs::write(path, [header(&begin), values].concat()).unwrap();
}

/// Stops the run once so many tasks are done.
struct Stopper {
    stop: Arc<AtomicBool>,
    left: AtomicU64,
}

impl Reporter for Stopper {
    fn report(&self, event: Event) {
        let done = matches!(event, Event::StepFinished { phase: Phase::Execute, .. });
        if done && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.stop.store(true, Ordering::SeqCst);
        }
    }
}

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        (0..5).for_each(|number| write_archive(&folder.path().join(format!("{number}.nc")), number));
        Self { folder }
    }

    /// Time series in chunks of so many steps, over the first files.
    fn recipe(&self, files: u32, steps: u32) -> Recipe {
        let files = (0..files).map(|number| format!("    - {number}.nc")).collect::<Vec<_>>().join("\n");
        let text = format!(
            "schema: 1\nid: turned\ntitle: Turned over\nlicense: CC0-1.0\ninputs:\n  files:\n{files}\ncombine: {{concat: [time]}}\noutput:\n  chunks: {{time: {steps}, row: 1, column: 16}}\n  encoding:\n    time: {{chunks: {{time: 100}}}}\nexpect:\n  heat: {{values_between: [0, 2000]}}\n"
        );
        let text = RecipeText { name: "turned.yaml".to_owned(), text };
        parse(&text, self.folder.path()).unwrap().0
    }

    fn target(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The plan for a machine that can hold so many bytes of values, where scratch costs so much.
    fn plan(recipe: &Recipe, buffers: u64, scratch: f64) -> Plan {
        let reporter: Arc<dyn Reporter> = Arc::new(Stopper { stop: Arc::default(), left: AtomicU64::new(0) });
        let sources = store::source(&Access::default(), Arc::clone(&reporter));
        let stop = AtomicBool::new(false);
        let scan = Scanner {
            recipe,
            sources,
            memory: Memory::default(),
            reporter: &*reporter,
            stop: &stop,
            width: 1,
            frozen: false,
            described_bytes: 0,
            ceiling: gristmill::source::ceiling::Ceiling::default(),
        };
        let scan = scan.scan().unwrap();
        let combined = combine(recipe, &scan.scanned).unwrap();
        let costs = Costs { scratch, object: 0.0, ..Costs::MEASURED };
        let settings = |memory: u64| Settings {
            memory,
            threads: 1,
            default_codecs,
            baseline: 0,
            waiting: 0,
            far: false,
            scratch: String::new(),
            costs,
        };
        let plan = |memory: u64| build(recipe, combined.clone(), scan.identities.clone(), &settings(memory)).unwrap();
        plan(buffers + plan(1 << 40).overhead.bytes())
    }

    /// Runs as planned until so many tasks are done (0: all).
    fn run(&self, name: &str, recipe: &Recipe, plan: Option<&Plan>, tasks: u64) -> (Result<(), RunError>, Report) {
        run_at(&self.target(name).display().to_string(), &Access::default(), recipe, plan, tasks)
    }

    /// Number of tasks of a plan that are done.
    fn receipts(&self, name: &str, plan: &Plan) -> u64 {
        let state = State::open(&self.target(name).display().to_string(), &Access::default()).unwrap();
        let tasks = (0..plan.stages.len()).flat_map(|stage| (0..plan.stages[stage].tasks()).map(move |task| (stage, task)));
        tasks.filter(|&(stage, task)| state.receipt(&plan.identity(), stage, task).unwrap().is_some()).count() as u64
    }

    fn scratch(&self, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        files(&self.target(&format!("{name}.gristmill")).join("scratch"))
    }
}

/// Runs as planned, at any target, until so many tasks are done (0: all).
fn run_at(target: &str, access: &Access, recipe: &Recipe, plan: Option<&Plan>, tasks: u64) -> (Result<(), RunError>, Report) {
    if let Some(plan) = plan {
        State::open(target, access).unwrap().save_plan(plan).unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let reporter: Arc<dyn Reporter> = Arc::new(Stopper { stop: Arc::clone(&stop), left: AtomicU64::new(tasks) });
    let options = Options { target: target.to_owned(), memory: 1 << 30, threads: 2, ..Options::default() };
    let mut report = Report::begin("turned", target);
    let result = run(recipe, &options, Setting { access, reporter: &reporter, stop: &stop }, &mut report);
    (result, report)
}

/// Every file below a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn modified(path: &Path) -> std::time::SystemTime {
    path.metadata().unwrap().modified().unwrap()
}

fn assert_two_stages(plan: &Plan) {
    assert_eq!(plan.stages.len(), 2, "{:?}", plan.stages);
    let (first, second) = (&plan.stages[0], &plan.stages[1]);
    let of = |grids: &[gristmill::plan::TaskGrid], wanted: fn(&Passage) -> bool| {
        let variables = grids.iter().filter(|grid| wanted(&grid.passage)).flat_map(|grid| grid.variables.clone());
        let mut names: Vec<String> = variables.map(|variable| plan.schema.variables[variable].name.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(of(&first.grids, |passage| matches!(passage, Passage::ToScratch(_))), ["flags", "heat"]);
    assert_eq!(of(&second.grids, |passage| matches!(passage, Passage::FromScratch(_))), ["flags", "heat"]);
    assert_eq!(of(&first.grids, Passage::is_direct), ["series"]);
    assert!(plan.stages.iter().flat_map(|stage| &stage.grids).all(|grid| grid.amplification == 1000), "{:?}", plan.stages);
}

#[test]
fn stages_memory_and_scratch_do_not_change_a_byte() {
    let bench = Bench::new();
    let recipe = bench.recipe(5, 5 * STEPS);
    let (once, again, twice) = (Bench::plan(&recipe, 64 << 20, 1.0), Bench::plan(&recipe, LITTLE, 1e9), Bench::plan(&recipe, LITTLE, 0.1));
    assert_eq!((once.stages.len(), again.stages.len(), &once.scratch), (1, 1, &None));
    assert!(again.stages[0].grids.iter().any(|grid| grid.amplification > 1500), "{:?}", again.stages);
    assert_two_stages(&twice);
    let held = |stage: usize| (0..twice.stages[stage].tasks()).map(move |task| (stage, task));
    let largest = held(0).chain(held(1)).map(|(stage, task)| twice.task(stage, task).unwrap().bytes).max().unwrap();
    assert!(largest <= LITTLE, "a task holds {largest} bytes");
    let explained = twice.explain();
    let scratch = explained.scratch.as_ref().unwrap();
    assert_eq!(scratch.bytes, 5 * u64::from(STEPS * ROWS * COLUMNS) * 6);
    assert!(explained.to_string().contains("in 2 stages") && explained.to_string().contains("deleted at the end"), "{explained}");

    for (name, plan) in [("once", &once), ("again", &again), ("twice", &twice)] {
        let (result, report) = bench.run(name, &recipe, Some(plan), 0);
        result.unwrap();
        let tasks: u64 = plan.stages.iter().map(gristmill::plan::Stage::tasks).sum();
        assert_eq!((report.plan, report.tasks_run, report.objects), (plan.identity(), tasks, plan.object_count()), "{name}");
        assert!(report.inputs.iter().all(|input| input.read_bytes > 0));
        assert!(!bench.target(&format!("{name}.gristmill")).join("scratch").exists());
    }
    let expected = files(&bench.target("once"));
    assert!(expected.len() as u64 > once.object_count());
    assert!(files(&bench.target("again")) == expected, "repeated decoding changed the store");
    assert!(files(&bench.target("twice")) == expected, "two stages changed the store");
    assert!(bench.run("twice", &recipe, None, 0).1.tasks_run == 0, "a complete store was written again");
}

#[test]
fn a_run_stopped_between_or_within_stages_goes_on() {
    let bench = Bench::new();
    let recipe = bench.recipe(5, 5 * STEPS);
    let plan = Bench::plan(&recipe, LITTLE, 0.1);
    let (first, all) = (plan.stages[0].tasks(), plan.stages.iter().map(gristmill::plan::Stage::tasks).sum::<u64>());
    bench.run("whole", &recipe, None, 0).0.unwrap();
    let expected = files(&bench.target("whole"));
    for (name, tasks) in [("within-first", 2), ("between", first), ("within-second", first + 2)] {
        let (result, report) = bench.run(name, &recipe, Some(&plan), tasks);
        assert!(matches!(result, Err(RunError::Interrupted)), "{name}: {result:?}");
        assert!(!bench.scratch(name).is_empty() && !bench.target(name).join("zarr.json").exists(), "{name}");
        let done = bench.receipts(name, &plan);
        assert!(done >= tasks && done < all, "{name}: {done} of {all}, {report:?}");
        let (result, report) = bench.run(name, &recipe, None, 0);
        result.unwrap();
        assert_eq!(report.tasks_run, all - done, "{name}");
        assert!(files(&bench.target(name)) == expected, "{name}");
        assert!(bench.scratch(name).is_empty(), "{name}");
    }
}

#[test]
fn scratch_that_vanished_is_written_again() {
    let bench = Bench::new();
    let recipe = bench.recipe(5, 5 * STEPS);
    let plan = Bench::plan(&recipe, LITTLE, 0.1);
    let (first, second) = (plan.stages[0].tasks(), plan.stages[1].tasks());
    bench.run("whole", &recipe, None, 0).0.unwrap();
    for name in ["one", "cut"] {
        assert!(bench.run(name, &recipe, Some(&plan), first).0.is_err());
        let folder = bench.target(&format!("{name}.gristmill")).join("scratch");
        let (path, bytes) = bench.scratch(name).into_iter().next().unwrap();
        match name {
            "one" => std::fs::remove_file(folder.join(path)).unwrap(),
            _ => std::fs::write(folder.join(path), &bytes[1..]).unwrap(),
        }
        let (result, report) = bench.run(name, &recipe, None, 0);
        result.unwrap();
        assert_eq!(report.tasks_run, second + 1, "{name}");
        assert!(files(&bench.target(name)) == files(&bench.target("whole")), "{name}");
    }
}

#[test]
fn an_append_in_two_stages_leaves_what_is_published() {
    let bench = Bench::new();
    let (short, long) = (bench.recipe(2, STEPS), bench.recipe(5, STEPS));
    bench.run("whole", &long, None, 0).0.unwrap();
    bench.run("grown", &short, Some(&Bench::plan(&short, LITTLE / 4, 0.0)), 0).0.unwrap();
    let plan = Bench::plan(&long, LITTLE / 4, 0.0);
    assert_eq!(plan.stages.len(), 2, "{:?}", plan.stages);
    let published: Vec<PathBuf> =
        files(&bench.target("grown").join("heat/c")).into_keys().map(|path| bench.target("grown/heat/c").join(path)).collect();
    let begun = std::time::SystemTime::now();
    let (result, report) = bench.run("grown", &long, Some(&plan), 0);
    result.unwrap();
    // Scratch need not end where the published part does, so a little of the last published file may be read again.
    let read: Vec<u64> = report.inputs.iter().map(|input| input.read_bytes).collect();
    assert!(read[0] == 0 && read[1] < read[2] / 2 && read[2..].iter().all(|&bytes| bytes == read[2]), "{read:?} {:?}", plan.stages);
    assert!(published.iter().all(|path| modified(path) < begun), "a published object was written again");
    assert!(files(&bench.target("grown")) == files(&bench.target("whole")));
}

#[test]
fn scratch_on_an_object_store_is_fetched_though_the_files_are_near() {
    let Some(access) = real_s3::bucket("gristmill-stages") else { return };
    let bench = Bench::new();
    let recipe = bench.recipe(5, 5 * STEPS);
    let url = format!("s3://gristmill-stages/{}/out.zarr", std::process::id());
    let plan = Bench::plan(&recipe, LITTLE, 0.1);
    assert_two_stages(&plan);
    run_at(&url, &access, &recipe, Some(&plan), 0).0.unwrap();
    bench.run("near", &recipe, None, 0).0.unwrap();
    let stored = store::target(&url, &access).unwrap();
    let stored: BTreeMap<PathBuf, Vec<u8>> = stored
        .list("", 100_000)
        .unwrap()
        .into_iter()
        .map(|key| (PathBuf::from(&key), stored.get(&key).unwrap().unwrap().to_vec()))
        .collect();
    assert!(stored == files(&bench.target("near")), "{} objects", stored.len());
}
