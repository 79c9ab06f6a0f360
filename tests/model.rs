//! Random sequences of what people and machines do to one dataset, against a model in memory: run, crash, resume, append, a file that
//! changes upstream, a shorter recipe, a second writer, replace.
//!
//! After every single put or delete the store is read as any reader would, and through the eyes of one who opened it before the run: what
//! they see is the old dataset or the new one, whole. 50 sequences; `GRISTMILL_MODEL_SEQUENCES=1000` runs more of them, and
//! `GRISTMILL_MODEL_SEED` names the first, which a failure prints.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod made_files;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gristmill::array::Values;
use gristmill::event::{Reporter, Silent};
use gristmill::grid::Region;
use gristmill::recipe::{Recipe, RecipeText, parse};
use gristmill::run::report::Report;
use gristmill::run::state::State;
use gristmill::run::{Options, Replace, RunError, Setting, run, verify};
use gristmill::store::access::Wrapping;
use gristmill::store::{self, Access, ErrorKind, PutMode, StoreError, TargetStore};
use gristmill::target::zarr::{Absent, ZarrReader};
use made_files::MadeFile;

/// Steps in time of one file, and of one chunk.
const STEPS: usize = 2;
const CHUNK: usize = 4;
/// Values of one step.
const WIDTH: usize = 3;
const OPERATIONS: usize = 14;

/// What a dataset holds: the version of each of its files.
type Dataset = Vec<u32>;

/// Numbers that follow from a seed (xorshift*, Vigna 2016).
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }
}

fn value(day: usize, version: u32, step: usize, place: usize) -> f64 {
    (day * 10_000 + version as usize * 100 + step * 10 + place) as f64
}

fn file(day: usize, version: u32) -> Vec<u8> {
    let time: Vec<f64> = (0..STEPS).map(|step| (day * STEPS + step) as f64).collect();
    let values: Vec<f64> = (0..STEPS)
        .flat_map(|step| (0..WIDTH).map(move |place| (step, place)))
        .map(|(step, place)| value(day, version, step, place))
        .collect();
    MadeFile::default()
        .dimension("time", STEPS as u32)
        .dimension("x", WIDTH as u32)
        .variable("time", "double", &["time"], &time, &[("units", "days since 2000-01-01")])
        .variable("v", "float", &["time", "x"], &values, &[("units", "K")])
        .bytes()
}

/// Every value of a store, as versions of files; an error says what no reader should see.
fn seen(reader: &ZarrReader) -> Result<Dataset, String> {
    let numbers = |name: &str| -> Result<Vec<f64>, String> {
        let schema = reader.schema();
        let variable = schema.variables.iter().find(|variable| variable.name == name).ok_or(format!("no `{name}`"))?;
        let array = reader.read(name, &Region::whole(&schema.shape(variable))).map_err(|error| format!("{name}: {error}"))?;
        let Values::Bytes(bytes) = &array.values else { return Err("texts".to_owned()) };
        Ok(match array.dtype.size() {
            4 => bytes.chunks_exact(4).map(|four| f64::from(f32::from_ne_bytes(four.try_into().unwrap()))).collect(),
            _ => bytes.chunks_exact(8).map(|eight| f64::from_ne_bytes(eight.try_into().unwrap())).collect(),
        })
    };
    let (time, values) = (numbers("time")?, numbers("v")?);
    if time.iter().enumerate().any(|(at, &time)| time != at as f64) || values.len() != time.len() * WIDTH || time.len() % STEPS != 0 {
        return Err(format!("times {time:?} beside {} values", values.len()));
    }
    let version = |(day, of): (usize, &[f64])| {
        let version = (of[0] as usize % 10_000 / 100) as u32;
        let wanted = (0..STEPS).flat_map(|step| (0..WIDTH).map(move |place| value(day, version, step, place)));
        if wanted.eq(of.iter().copied()) { Ok(version) } else { Err(format!("file {day} gave {of:?}")) }
    };
    values.chunks(STEPS * WIDTH).enumerate().map(version).collect()
}

fn visible(store: &Arc<dyn TargetStore>) -> Result<Option<Dataset>, String> {
    let reader = ZarrReader::open(Arc::clone(store), Absent::Hole).map_err(|error| error.to_string())?;
    reader.as_ref().map(seen).transpose()
}

/// What may be seen while a run lasts, and the first thing seen that may not.
struct Watch {
    target: Arc<dyn TargetStore>,
    /// One who opened the store before the run.
    early: Option<(ZarrReader, Dataset)>,
    allowed: Vec<Option<Dataset>>,
    wrong: Mutex<Option<String>>,
}

impl Watch {
    fn look(&self, after: &str) {
        let problem = match visible(&self.target) {
            Ok(now) if self.allowed.contains(&now) => None,
            Ok(now) => Some(format!("a reader sees {now:?}")),
            Err(error) => Some(format!("a reader fails: {error}")),
        };
        let early = self.early.as_ref().and_then(|(reader, before)| match seen(reader) {
            Ok(now) if now == *before => None,
            other => Some(format!("an early reader sees {other:?} instead of {before:?}")),
        });
        if let Some(problem) = problem.or(early) {
            self.wrong.lock().unwrap().get_or_insert(format!("after {after}: {problem}; allowed {:?}", self.allowed));
        }
    }
}

/// A store of a process that dies at its n-th put or delete: that one is done or not, and nothing is from then on.
struct Mortal {
    inner: Arc<dyn TargetStore>,
    left: Arc<AtomicI64>,
    last_is_done: bool,
    watch: Arc<Watch>,
}

impl Mortal {
    fn changing(&self, what: &str, key: &str, call: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        let result = if left > 1 || (left == 1 && self.last_is_done) { call() } else { Ok(()) };
        self.watch.look(&format!("{what} {key}"));
        if left > 1 { result } else { Err(Self::dead(key)) }
    }

    fn reading<T>(&self, key: &str, call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.left.load(Ordering::SeqCst) > 0 { call() } else { Err(Self::dead(key)) }
    }

    fn dead(key: &str) -> StoreError {
        StoreError { kind: ErrorKind::Other, url: key.to_owned(), message: "the process is dead".to_owned(), cause: None }
    }
}

impl TargetStore for Mortal {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.reading(key, || self.inner.head(key))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.reading(key, || self.inner.get(key))
    }

    fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        self.changing("put", key, || self.inner.put(key, bytes, mode))
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        self.reading(prefix, || self.inner.list(prefix, limit))
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.changing("delete", key, || self.inner.delete(key))
    }
}

/// The archive, the recipe's wish, and what must be visible.
struct Story {
    folder: tempfile::TempDir,
    format: &'static str,
    upstream: Dataset,
    versions: u32,
    wanted: usize,
    published: Option<Dataset>,
    /// What a replacing run that died wanted.
    replacing: Option<Dataset>,
    told: Vec<String>,
}

impl Story {
    fn new(chance: &mut Chance) -> Self {
        let folder = ["/dev/shm", "."].into_iter().find_map(|place| tempfile::tempdir_in(place).ok()).unwrap();
        let format = if chance.below(3) == 0 { "zarr2" } else { "zarr3" };
        let mut story =
            Self { folder, format, upstream: Vec::new(), versions: 0, wanted: 0, published: None, replacing: None, told: Vec::new() };
        (0..8).for_each(|day| story.write(day));
        story.wanted = 1 + chance.below(4);
        story
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("out.zarr")
    }

    fn store(&self) -> Arc<dyn TargetStore> {
        store::target(&self.target().display().to_string(), &Access::default()).unwrap()
    }

    /// A file is put upstream, or put again with other values.
    fn write(&mut self, day: usize) {
        self.versions += 1;
        let path = self.folder.path().join(format!("day-{day}.nc"));
        std::fs::write(path, file(day, self.versions % 100)).unwrap();
        if day == self.upstream.len() {
            self.upstream.push(0);
        }
        self.upstream[day] = self.versions % 100;
    }

    fn recipe(&self) -> Recipe {
        let files: String = (0..self.wanted).fold(String::new(), |list, day| list + &format!("    - day-{day}.nc\n"));
        let text = format!(
            "schema: 1\nid: model\ntitle: Model\nlicense: CC0-1.0\ninputs:\n  files:\n{files}combine: {{concat: [time]}}\noutput:\n  format: {}\n  chunks: {{time: {CHUNK}}}\n",
            self.format
        );
        parse(&RecipeText { name: "model.yaml".to_owned(), text }, self.folder.path()).expect("a recipe").0
    }

    /// What the recipe asks for now.
    fn asked(&self) -> Dataset {
        self.upstream[..self.wanted].to_vec()
    }

    /// What is published, or will be as soon as a run ends the exchange that another died in.
    fn settled(&self) -> Option<&Dataset> {
        let begun = self.folder.path().join("out.zarr.gristmill/exchange.json").exists();
        self.replacing.as_ref().filter(|_| begun).or(self.published.as_ref())
    }

    /// True if a run has to refuse what is asked.
    fn must_refuse(&self) -> bool {
        let asked = self.asked();
        self.settled().is_some_and(|published| {
            asked != *published && (!asked.starts_with(published) || !(published.len() * STEPS).is_multiple_of(CHUNK))
        })
    }

    /// Runs, and dies at a put or delete unless `life` is long; checks everything that was to be seen meanwhile and after.
    fn run(&mut self, replace: Option<Replace>, life: i64, last_is_done: bool) {
        let asked = self.asked();
        let refuse = replace.is_none() && self.must_refuse();
        let settled = self.settled().cloned();
        let mut allowed = vec![self.published.clone(), settled.clone()];
        allowed.extend((!refuse).then(|| Some(asked.clone())));
        let early = ZarrReader::open(self.store(), Absent::Hole).unwrap().filter(|_| replace.is_none() && settled == self.published);
        let early = early.map(|reader| seen(&reader).map(|before| (reader, before)).unwrap());
        let watch = Arc::new(Watch { target: self.store(), early, allowed, wrong: Mutex::default() });
        let left = Arc::new(AtomicI64::new(life));
        let (counter, witness) = (Arc::clone(&left), Arc::clone(&watch));
        let wrapping = Wrapping::with(move |_, inner| {
            Arc::new(Mortal { inner, left: Arc::clone(&counter), last_is_done, watch: Arc::clone(&witness) })
        });
        let result = self.bake(replace, &Access { wrapping, ..Access::default() });
        let died = left.load(Ordering::SeqCst) <= 0;
        self.told.push(format!(
            "run of {asked:?}{}: {}{}",
            if replace.is_some() { ", replacing" } else { "" },
            result.as_ref().map_or_else(|error| format!("exit {}: {error}", error.exit()), |()| "done".to_owned()),
            if died { ", died" } else { "" }
        ));
        self.judge((&result, died, refuse), (&watch, settled));
        self.replacing = if died && replace.is_some() { Some(asked) } else { self.replacing.take().filter(|_| died) };
    }

    fn judge(&mut self, (result, died, refuse): (&Result<(), RunError>, bool, bool), (watch, settled): (&Watch, Option<Dataset>)) {
        let wrong = watch.wrong.lock().unwrap().clone();
        assert!(wrong.is_none(), "{}\n{}", wrong.unwrap_or_default(), self.tale());
        let now = visible(&watch.target).unwrap_or_else(|error| panic!("{error}\n{}", self.tale()));
        match result {
            Ok(()) => assert!(now == Some(self.asked()) && !refuse, "done, but {now:?} is visible\n{}", self.tale()),
            Err(error) if !died => assert!(refuse && error.exit() == 6 && now == settled, "{error}\n{}", self.tale()),
            Err(_) => assert!(watch.allowed.contains(&now), "{now:?} is visible after death\n{}", self.tale()),
        }
        self.published = now;
    }

    fn bake(&self, replace: Option<Replace>, access: &Access) -> Result<(), RunError> {
        let reporter: Arc<dyn Reporter> = Arc::new(Silent);
        let stop = AtomicBool::new(false);
        let setting = Setting { access, reporter: &reporter, stop: &stop };
        let target = self.target().display().to_string();
        let options = Options {
            target: target.clone(),
            memory: 256 << 20,
            threads: 2,
            replace,
            verify: verify::Level::Sample,
            ..Options::default()
        };
        run(&self.recipe(), &options, setting, &mut Report::begin("model", &target))
    }

    /// Somebody else holds the target: a run is refused and changes nothing.
    fn run_beside_another(&mut self) {
        self.told.push("another writer".to_owned());
        let held = State::open(&self.target().display().to_string(), &Access::default()).unwrap();
        let refused = self.bake(None, &Access::default()).expect_err("the target is held");
        assert_eq!(refused.exit(), 6, "{refused}\n{}", self.tale());
        drop(held);
        assert_eq!(visible(&self.store()), Ok(self.published.clone()), "{}", self.tale());
    }

    fn step(&mut self, chance: &mut Chance) {
        match chance.below(12) {
            0..=2 => self.run(None, i64::MAX, true),
            3..=6 => {
                let (life, done) = (1 + chance.below(40) as i64, chance.below(2) == 0);
                self.run(None, life, done);
            }
            7 | 8 => {
                self.wanted = (self.wanted + 1 + chance.below(2)).min(self.upstream.len());
                self.told.push(format!("{} files wanted", self.wanted));
            }
            9 => {
                let day = chance.below(self.upstream.len());
                self.write(day);
                self.told.push(format!("file {day} changes to {}", self.upstream[day]));
            }
            10 if chance.below(2) == 0 => self.run_beside_another(),
            10 => {
                self.wanted = 1 + chance.below(self.wanted);
                self.told.push(format!("only {} files wanted", self.wanted));
            }
            _ if chance.below(2) == 0 => self.run(Some(Replace::Atomic), i64::MAX, true),
            _ => {
                let life = 1 + chance.below(40) as i64;
                self.run(Some(Replace::Atomic), life, true);
            }
        }
    }

    fn tale(&self) -> String {
        format!("{}\n  {}", self.format, self.told.join("\n  "))
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn whatever_happens_readers_see_the_old_dataset_or_the_new_one() {
    let (count, first) = (number("GRISTMILL_MODEL_SEQUENCES", 50), number("GRISTMILL_MODEL_SEED", 1));
    let next = std::sync::atomic::AtomicU64::new(first);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    play(seed);
                }
            });
        }
    });
    println!("{count} sequences of {OPERATIONS} operations, seeds {first} to {}", first + count - 1);
}

fn play(seed: u64) {
    let told = std::panic::catch_unwind(|| {
        let mut chance = Chance::new(seed);
        let mut story = Story::new(&mut chance);
        (0..OPERATIONS).for_each(|_| story.step(&mut chance));
        // In the end a run without mishap publishes what is asked, or refuses; replacing always publishes.
        story.run(None, i64::MAX, true);
        story.run(Some(Replace::Atomic), i64::MAX, true);
        assert!(!Path::new(&story.target().join(".gristmill")).exists());
    });
    assert!(told.is_ok(), "seed {seed} failed: GRISTMILL_MODEL_SEED={seed} GRISTMILL_MODEL_SEQUENCES=1 repeats it");
}
