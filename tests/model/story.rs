//! One dataset's life: the archive, the recipe's wish, what must be visible, and runs.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use gristmill::event::{Reporter, Silent};
use gristmill::recipe::{Recipe, RecipeText, parse};
use gristmill::run::report::Report;
use gristmill::run::state::State;
use gristmill::run::{Options, Replace, RunError, Setting, run, verify};
use gristmill::store::{Access, PutMode, sibling};

use super::dataset::{CHUNK, Chance, Dataset, Published, STEPS, file, seen};
use super::process::{Life, Watch};

pub(crate) const MEMORY: u64 = 256 << 20;

pub(crate) struct Story {
    pub(crate) folder: tempfile::TempDir,
    /// On the local disk, else in memory, where a lease keeps writers apart.
    pub(crate) local: bool,
    pub(crate) place: Published,
    format: &'static str,
    pub(crate) upstream: Dataset,
    versions: u32,
    pub(crate) wanted: usize,
    pub(crate) published: Option<Dataset>,
    /// What a replacing run that died wanted.
    replacing: Option<Dataset>,
    /// True if the last run came to its end.
    pub(crate) tidy: bool,
    /// True if a killed `--replace=non-atomic` may have forgotten receipts of what it left visible.
    pub(crate) forgetful: bool,
    told: Vec<String>,
}

impl Story {
    pub(crate) fn new(seed: u64, chance: &mut Chance) -> Self {
        let folder = ["/dev/shm", "."].into_iter().find_map(|place| tempfile::tempdir_in(place).ok()).unwrap();
        let format = if chance.one_in(3) { "zarr2" } else { "zarr3" };
        let (local, versioned) = (!chance.one_in(3), chance.one_in(3));
        let target = if local {
            folder.path().join("out.zarr").display().to_string()
        } else {
            format!("memory://model-{}-{seed}", std::process::id())
        };
        let mut story = Self {
            folder,
            local,
            place: Published { target, versioned },
            format,
            upstream: Vec::new(),
            versions: 0,
            wanted: 1 + chance.below(4),
            published: None,
            replacing: None,
            tidy: false,
            forgetful: false,
            told: Vec::new(),
        };
        (0..8).for_each(|day| story.write(day));
        story
    }

    /// A file is put upstream, or put again with other values.
    pub(crate) fn write(&mut self, day: usize) {
        self.versions += 1;
        let path = self.folder.path().join(format!("day-{day}.nc"));
        std::fs::write(path, file(day, self.versions % 100)).unwrap();
        if day == self.upstream.len() {
            self.upstream.push(0);
        }
        self.upstream[day] = self.versions % 100;
    }

    pub(crate) fn tell(&mut self, what: String) {
        self.told.push(what);
    }

    pub(crate) fn tale(&self) -> String {
        let place = if self.local { "local disk" } else { "memory" };
        let kind = if self.place.versioned { "versions" } else { "one store" };
        format!("{}, {place}, {kind}\n  {}", self.format, self.told.join("\n  "))
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
    pub(crate) fn asked(&self) -> Dataset {
        self.upstream[..self.wanted].to_vec()
    }

    /// True if another run was begun since what is published, and not ended.
    pub(crate) fn has_begun(&self) -> bool {
        let state = State::read_only(&self.place.target, &Access::default()).unwrap();
        let begun = state.plan().unwrap().map(|plan| plan.identity());
        begun != state.committed().unwrap().map(|committed| committed.plan)
    }

    /// True if the files of what is published are still as they were.
    pub(crate) fn is_as_upstream(&self) -> bool {
        self.published.as_ref().is_some_and(|published| self.upstream.starts_with(published))
    }

    /// What is published, or will be as soon as a run ends the exchange that another died in.
    fn settled(&self) -> Option<&Dataset> {
        self.replacing.as_ref().filter(|_| self.exchange().is_some()).or(self.published.as_ref())
    }

    /// The journal of an exchange that was begun.
    fn exchange(&self) -> Option<Vec<u8>> {
        std::fs::read(format!("{}.gristmill/exchange.json", self.place.target)).ok()
    }

    /// True if a run has to refuse what is asked.
    pub(crate) fn must_refuse(&self) -> bool {
        let asked = self.asked();
        !self.place.versioned
            && self.settled().is_some_and(|published| {
                asked != *published && (!asked.starts_with(published) || !(published.len() * STEPS).is_multiple_of(CHUNK))
            })
    }

    /// How this kind of target is replaced: where nothing can be exchanged, readers see nothing for a while.
    fn how_to_replace(&self) -> Replace {
        if self.local || self.place.versioned { Replace::Atomic } else { Replace::NonAtomic }
    }

    /// Runs, and dies at a put or delete unless `life` is long; checks everything that was to be seen meanwhile and after.
    pub(crate) fn run(&mut self, replaces: bool, life: &Life) {
        let asked = self.asked();
        let refuse = !replaces && self.must_refuse();
        let (settled, exchange) = (self.settled().cloned(), self.exchange());
        let replace = replaces.then(|| self.how_to_replace());
        let mut allowed = vec![self.published.clone(), settled.clone()];
        allowed.extend((!refuse).then(|| Some(asked.clone())));
        allowed.extend((replace == Some(Replace::NonAtomic)).then_some(None));
        let watch = self.watch(allowed, self.place.versioned || (!replaces && settled == self.published));
        let result = self.bake(replace, &Access { wrapping: life.wrapping(&watch), ..Access::default() });
        let died = life.is_over();
        self.tell(format!(
            "run of {asked:?}{}: {}{}",
            if replaces { ", replacing" } else { "" },
            result.as_ref().map_or_else(|error| format!("exit {}: {error}", error.exit()), |()| "done".to_owned()),
            if died { ", died" } else { "" }
        ));
        self.tidy = result.is_ok();
        self.forgetful |= died && replace == Some(Replace::NonAtomic);
        self.judge((&result, died, refuse), (&watch, settled));
        // A run that dies while it ends the exchange of another has not begun its own.
        let is_older = exchange.is_some() && self.exchange() == exchange;
        self.replacing = if died && replaces && !is_older { Some(asked) } else { self.replacing.take().filter(|_| died) };
        self.buried(died);
        if result.is_ok() {
            self.look_closely();
        }
    }

    /// Somebody who reads all the while, and who must see one of these; with or without somebody who opened the store before.
    pub(crate) fn watch(&self, allowed: Vec<Option<Dataset>>, with_early: bool) -> Arc<Watch> {
        let early = if with_early { self.place.open().unwrap() } else { None };
        let early = early.map(|reader| seen(&reader).map(|before| (reader, before)).unwrap());
        Arc::new(Watch { published: self.place.clone(), early, allowed, wrong: Mutex::default() })
    }

    fn judge(&mut self, (result, died, refuse): (&Result<(), RunError>, bool, bool), (watch, settled): (&Watch, Option<Dataset>)) {
        let now = self.seen_after(watch);
        match result {
            Ok(()) => assert!(now == Some(self.asked()) && !refuse, "done, but {now:?} is visible\n{}", self.tale()),
            Err(error) if !died => assert!(refuse && error.exit() == 6 && now == settled, "{error}\n{}", self.tale()),
            Err(_) => assert!(watch.allowed.contains(&now), "{now:?} is visible after death\n{}", self.tale()),
        }
        self.published = now;
    }

    /// What is visible after something that nobody saw anything wrong in.
    pub(crate) fn seen_after(&self, watch: &Watch) -> Option<Dataset> {
        let wrong = watch.wrong.lock().unwrap().clone();
        assert!(wrong.is_none(), "{}\n{}", wrong.unwrap_or_default(), self.tale());
        self.place.visible().unwrap_or_else(|error| panic!("{error}\n{}", self.tale()))
    }

    pub(crate) fn bake(&self, replace: Option<Replace>, access: &Access) -> Result<(), RunError> {
        let reporter: Arc<dyn Reporter> = Arc::new(Silent);
        let stop = AtomicBool::new(false);
        let setting = Setting { access, reporter: &reporter, stop: &stop };
        let options = Options { replace, ..self.options() };
        run(&self.recipe(), &options, setting, &mut Report::begin("model", &options.target))
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            target: self.place.target.clone(),
            memory: MEMORY,
            threads: 2,
            verify: verify::Level::Sample,
            versioned: self.place.versioned,
            ..Options::default()
        }
    }

    /// Where there is no kernel to tell that the holder is dead, the 20 s that others would wait are left out.
    pub(crate) fn buried(&self, died: bool) {
        if self.local || !died {
            return;
        }
        let state = self.place.store(&sibling(&self.place.target, ".gristmill").unwrap());
        let Some(key) = state.list("lease", 10_000).unwrap().pop() else { return };
        let mut record: serde_json::Value = serde_json::from_slice(&state.get(&key).unwrap().unwrap()).unwrap();
        record["released"] = true.into();
        state.put(&key, record.to_string().into(), PutMode::Overwrite).unwrap();
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if self.local {
            return;
        }
        for url in [self.place.target.clone(), sibling(&self.place.target, ".gristmill").unwrap()] {
            let store = self.place.store(&url);
            for key in store.list("", usize::MAX).unwrap_or_default() {
                let _gone = store.delete(&key);
            }
        }
    }
}
