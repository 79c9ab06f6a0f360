//! What tests of whole runs share: a folder with made files and a recipe over them, runs through the library, readers, and stores
//! that record, die, lose, alter or lag.
#![allow(dead_code, reason = "each test binary that shares this uses a part of it")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gristmill::array::Array;
use gristmill::event::{Reporter, Silent};
use gristmill::grid::Region;
use gristmill::recipe::{Recipe, RecipeText, parse};
use gristmill::run::report::Report;
use gristmill::run::{Options, RunError, Setting, run};
use gristmill::store::{Access, ErrorKind, PutMode, StoreError, TargetStore, Wrapping, target};
use gristmill::target::zarr::{Absent, ZarrReader};

use crate::made_files::MadeFile;

/// Rows of a file.
const ROWS: u32 = 60;

/// A folder of daily files.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

/// How a run went.
pub(crate) struct Ran {
    pub(crate) result: Result<(), RunError>,
    pub(crate) report: Report,
}

impl Ran {
    pub(crate) fn ok(self) -> Report {
        assert!(self.result.is_ok(), "{:?}", self.report.errors);
        self.report
    }

    /// The error, which must have this exit code and say all this.
    pub(crate) fn fails(self, exit: u8, says: &[&str]) -> String {
        let error = self.result.expect_err("the run should fail");
        let text = gristmill::run::with_causes(&error);
        assert_eq!(error.exit(), exit, "{text}");
        for word in says {
            assert!(text.contains(word), "no `{word}` in: {text}");
        }
        text
    }
}

impl Bench {
    /// Files of so many days, one value everywhere in each.
    pub(crate) fn new(days: u32) -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        (0..days).for_each(|day| std::fs::write(bench.path(&format!("{day}.nc")), file(day).bytes()).unwrap());
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn target(&self) -> String {
        self.path("out").display().to_string()
    }

    /// The recipe over the first days, two of them in an object.
    pub(crate) fn recipe(&self, days: u32, format: &str) -> Recipe {
        self.recipe_with("sample", days, &format!("output: {{format: {format}, chunks: {{time: 2, lat: 30}}}}\n"))
    }

    pub(crate) fn recipe_with(&self, id: &str, days: u32, more: &str) -> Recipe {
        let text = Self::text(id, days, more);
        let (recipe, _) = parse(&RecipeText { name: "recipe.yaml".into(), text }, self.folder.path()).expect("a recipe");
        recipe
    }

    pub(crate) fn text(id: &str, days: u32, more: &str) -> String {
        let files: Vec<String> = (0..days).map(|day| format!("{day}.nc")).collect();
        format!(
            "schema: 1\nid: {id}\ntitle: A sample\nlicense: CC0-1.0\ninputs: {{files: [{}]}}\ncombine: {{concat: [time]}}\n{more}",
            files.join(", ")
        )
    }

    pub(crate) fn options(&self) -> Options {
        Options { target: self.target(), memory: 512 << 20, threads: 2, ..Options::default() }
    }

    pub(crate) fn run(&self, recipe: &Recipe) -> Ran {
        bake(recipe, &self.options(), Wrapping::default())
    }

    pub(crate) fn run_through(&self, recipe: &Recipe, wrapping: Wrapping) -> Ran {
        bake(recipe, &self.options(), wrapping)
    }

    /// Takes away the target and its state.
    pub(crate) fn clear(&self) {
        for name in ["out", "out.gristmill"] {
            let _absent = std::fs::remove_dir_all(self.path(name));
        }
    }

    /// Everything below the target, by path: bytes of files, and where links lead.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files(&self.path("out"))
    }
}

/// Everything below a folder, by path: bytes of files, and where links lead.
pub(crate) fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_symlink() {
                found.insert(name, std::fs::read_link(path).unwrap().display().to_string().into_bytes());
            } else {
                found.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    found
}

/// A file of one day: `x` is the day's number everywhere, `lat` the same in all.
pub(crate) fn file(day: u32) -> MadeFile {
    let rows: Vec<f64> = (0..ROWS).map(f64::from).collect();
    let values = vec![f64::from(day); ROWS as usize];
    MadeFile::default()
        .dimension("time", 1)
        .dimension("lat", ROWS)
        .variable("time", "double", &["time"], &[f64::from(day)], &[("units", "days since 2000-01-01")])
        .variable("lat", "double", &["lat"], &rows, &[])
        .variable("x", "double", &["time", "lat"], &values, &[("units", "K")])
}

pub(crate) fn bake(recipe: &Recipe, options: &Options, wrapping: Wrapping) -> Ran {
    let access = Access { wrapping, ..Access::default() };
    let (reporter, stop): (Arc<dyn Reporter>, _) = (Arc::new(Silent), AtomicBool::new(false));
    let mut report = Report::begin(&recipe.id, &options.target);
    let result = run(recipe, options, Setting { access: &access, reporter: &reporter, stop: &stop }, &mut report);
    report.ended(&result);
    Ran { result, report }
}

/// What a reader finds at a root that opens by its consolidated metadata: every variable, whole; `None` if nothing opens.
///
/// # Panics
/// If a store opens and is not whole.
pub(crate) fn read(root: &str) -> Option<BTreeMap<String, Array>> {
    let reader = ZarrReader::open(target(root, &Access::default()).unwrap(), Absent::Hole).expect("metadata that makes sense")?;
    let whole = |name: &str, shape: Vec<u64>| reader.read(name, &Region::whole(&shape)).expect("a store without holes");
    let schema = reader.schema();
    Some(schema.variables.iter().map(|variable| (variable.name.clone(), whole(&variable.name, schema.shape(variable)))).collect())
}

/// Days that a reader finds.
pub(crate) fn days(found: &BTreeMap<String, Array>) -> usize {
    found["time"].shape[0] as usize
}

/// A change of a store: `put` or `delete`, and the URL with the key.
pub(crate) type Changes = Arc<Mutex<Vec<String>>>;

/// Lets so many changes through, of all stores together, and notes them; then every change fails, as if the process were gone.
pub(crate) fn dying(after: i64) -> (Wrapping, Changes) {
    let (left, changes) = (Arc::new(AtomicI64::new(after)), Changes::default());
    let noted = Arc::clone(&changes);
    let wrapping = Wrapping::with(move |url, inner| {
        let (url, left, changes) = (url.to_owned(), Arc::clone(&left), Arc::clone(&noted));
        Arc::new(Dying { url, inner, left, changes })
    });
    (wrapping, changes)
}

/// Notes every change.
pub(crate) fn recording() -> (Wrapping, Changes) {
    dying(i64::MAX)
}

struct Dying {
    url: String,
    inner: Arc<dyn TargetStore>,
    left: Arc<AtomicI64>,
    changes: Changes,
}

impl Dying {
    fn live(&self, doing: &str, key: &str) -> Result<(), StoreError> {
        if self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(StoreError::new(ErrorKind::Other, key, "killed"));
        }
        self.changes.lock().unwrap().push(format!("{doing} {}/{key}", self.url));
        Ok(())
    }
}

impl TargetStore for Dying {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.inner.head(key)
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(key)
    }

    fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        self.live("put", key)?;
        self.inner.put(key, bytes, mode)
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        self.inner.list(prefix, limit)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.live("delete", key)?;
        self.inner.delete(key)
    }
}

/// What a store does to objects with certain keys, so many times in all; other objects fare well.
#[derive(Clone, Copy)]
pub(crate) enum Mischief {
    /// Acknowledges a put and stores nothing.
    Lose,
    /// Stores the bytes with one bit turned.
    Turn,
    /// Stores more than it was given, as servers do that take checksum trailers for data.
    Lengthen,
    /// Shows what was put only after a while; until then what was there before.
    Lag(Duration),
}

/// Does mischief to puts below a URL that ends with `place` (empty: any), of keys that contain `name`, or are what follows its `=`.
pub(crate) fn mischievous(place: &str, name: &str, times: i64, mischief: Mischief) -> Wrapping {
    let (place, name, left) = (place.to_owned(), name.to_owned(), Arc::new(AtomicI64::new(times)));
    let hidden = Arc::default();
    Wrapping::with(move |url, inner| {
        if !url.ends_with(&place) {
            return inner;
        }
        Arc::new(Mischievous { inner, name: name.clone(), left: Arc::clone(&left), mischief, hidden: Arc::clone(&hidden) })
    })
}

/// Objects that are not shown yet: from when they are, and what was there before.
type Hidden = Arc<Mutex<HashMap<String, (Instant, Option<Bytes>)>>>;

struct Mischievous {
    inner: Arc<dyn TargetStore>,
    name: String,
    left: Arc<AtomicI64>,
    mischief: Mischief,
    hidden: Hidden,
}

impl Mischievous {
    /// What the store shows of an object.
    fn shown(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let hidden = self.hidden.lock().unwrap();
        match hidden.get(key).filter(|(until, _)| Instant::now() < *until) {
            Some((_, before)) => Ok(before.clone()),
            None => self.inner.get(key),
        }
    }
}

impl TargetStore for Mischievous {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.shown(key)?.map(|bytes| bytes.len() as u64))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.shown(key)
    }

    fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        let is_meant = self.name.strip_prefix('=').map_or_else(|| key.contains(&self.name), |name| key == name);
        if !is_meant || self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return self.inner.put(key, bytes, mode);
        }
        let mut altered = bytes.to_vec();
        match self.mischief {
            Mischief::Lose => return Ok(()),
            Mischief::Turn => *altered.last_mut().unwrap() ^= 1,
            Mischief::Lengthen => altered.extend(b"\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n"),
            Mischief::Lag(time) => {
                let before = self.inner.get(key)?;
                self.hidden.lock().unwrap().insert(key.to_owned(), (Instant::now() + time, before));
            }
        }
        self.inner.put(key, altered.into(), mode)
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        self.inner.list(prefix, limit)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key)
    }
}

/// Distinct elements.
pub(crate) fn distinct<T: std::hash::Hash + Eq>(all: impl IntoIterator<Item = T>) -> HashSet<T> {
    all.into_iter().collect()
}
