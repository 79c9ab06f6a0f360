//! A folder with files, a recipe and a target, and runs of the binary in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gristmill::array::Array;
use gristmill::dataset::Schema;
use gristmill::grid::Region;
use gristmill::store::{self, Access};
use gristmill::target::zarr::{Absent, ZarrReader};
use serde_json::Value;

use crate::made_files::MadeFile;

/// A folder with files, a recipe, and room for a target.
pub(crate) struct Bench {
    _folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

/// Bytes of every object, by path.
pub(crate) type Objects = BTreeMap<PathBuf, Vec<u8>>;

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        Self { _folder: folder, path }
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.path.join("out.zarr")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path.join("out.zarr.gristmill")
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path.join(name), bytes).unwrap();
    }

    /// Exit code and messages of a run of this recipe.
    pub(crate) fn run(&self, recipe: &str, more: &[&str]) -> (i32, String) {
        self.write("recipe.yaml", recipe.as_bytes());
        let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
        command.args(["run", "recipe.yaml", "--target", "out.zarr", "--threads", "2", "--memory", "512MiB"]).args(more);
        let output =
            command.current_dir(&self.path).env_remove("RUST_LOG").env("XDG_CACHE_HOME", self.path.join("cache")).output().unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8(output.stderr).unwrap().replace(&format!("{}/", self.path.display()), ""))
    }

    pub(crate) fn done(&self, recipe: &str, more: &[&str]) {
        let (exit, told) = self.run(recipe, more);
        assert_eq!(exit, 0, "{told}");
    }

    /// A run that must be refused, and leave every object of the target as it was.
    pub(crate) fn refused(&self, recipe: &str, more: &[&str], exit: i32, says: &[&str]) -> String {
        let before = self.objects();
        let (found, told) = self.run(recipe, more);
        assert_eq!(found, exit, "{told}");
        for text in says {
            assert!(told.contains(text), "no `{text}` in: {told}");
        }
        assert!(self.objects() == before, "something was written");
        told
    }

    pub(crate) fn objects(&self) -> Objects {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.target()];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path.strip_prefix(self.target()).unwrap().to_owned(), fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    pub(crate) fn report(&self) -> Value {
        serde_json::from_slice(&fs::read(self.state().join("report.json")).unwrap()).unwrap()
    }

    /// What the report says was done by a policy.
    pub(crate) fn used(&self, policy: &str) -> Vec<String> {
        let all = self.report()["used"].as_array().cloned().unwrap_or_default();
        all.iter().filter(|used| used["policy"] == policy).map(|used| format!("{}: {}", used["where"], used["what"])).collect()
    }

    pub(crate) fn reader(&self) -> ZarrReader {
        let store = store::target(self.target().to_str().unwrap(), &Access::default()).unwrap();
        ZarrReader::open(store, Absent::Hole).unwrap().expect("a visible store")
    }

    pub(crate) fn values(&self, variable: &str) -> Array {
        let reader = self.reader();
        let shape = reader.schema().shape(reader.schema().variable(variable).unwrap());
        reader.read(variable, &Region::whole(&shape)).unwrap()
    }

    pub(crate) fn numbers(&self, variable: &str) -> Vec<f64> {
        self.values(variable).scalars().map(gristmill::array::Scalar::as_f64).collect()
    }

    /// What a reader sees that opened the store when its schema was this one.
    pub(crate) fn seen_by(&self, schema: &Schema) -> BTreeMap<String, Array> {
        let store = store::target(self.target().to_str().unwrap(), &Access::default()).unwrap();
        let reader = ZarrReader::with_schema(store, gristmill::recipe::OutputFormat::Zarr3, schema).unwrap();
        let read = |name: &str, shape: &[u64]| reader.read(name, &Region::whole(shape)).unwrap();
        schema.variables.iter().map(|variable| (variable.name.clone(), read(&variable.name, &schema.shape(variable)))).collect()
    }

    /// Holds what was said from the first error on to the snapshot of its code (`GRISTMILL_BLESS=1` records it).
    pub(crate) fn looks_as_recorded(&self, code: &str, told: &str) {
        let said = told.get(told.find(&format!("error[{code}]")).unwrap()..).unwrap().replace(&format!("{}/", self.path.display()), "");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/invalid_data/{code}.txt"));
        if std::env::var_os("GRISTMILL_BLESS").is_some() {
            fs::write(&path, &said).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), said, "GRISTMILL_BLESS=1 records it");
    }
}

pub(crate) const HEAD: &str = "schema: 1\nid: sample\ntitle: A sample\nlicense: CC0-1.0\n";

pub(crate) fn recipe(inputs: &str, rest: &str) -> String {
    format!("{HEAD}inputs: {{{inputs}}}\ncombine: {{concat: [time]}}\n{rest}")
}

/// Days `first..first + count` since 2000-01-01, each with three values.
pub(crate) fn days(first: u32, count: u32) -> MadeFile {
    let times: Vec<f64> = (first..first + count).map(f64::from).collect();
    let values: Vec<f64> = times.iter().flat_map(|time| [time * 10.0, time * 10.0 + 1.0, time * 10.0 + 2.0]).collect();
    MadeFile::default()
        .dimension("time", count)
        .dimension("lat", 3)
        .variable("time", "double", &["time"], &times, &[("units", "days since 2000-01-01")])
        .variable("lat", "double", &["lat"], &[10.0, 20.0, 30.0], &[("units", "degrees_north")])
        .variable("x", "float", &["time", "lat"], &values, &[("units", "K")])
}

/// Files `a.nc`, `b.nc`, … of so many days each; their names as a list.
pub(crate) fn series(bench: &Bench, lengths: &[u32]) -> Vec<String> {
    let mut first = 0;
    let mut names = Vec::new();
    for (number, &length) in lengths.iter().enumerate() {
        let name = format!("{}.nc", char::from(b'a' + number as u8));
        bench.write(&name, &days(first, length).bytes());
        names.push(name);
        first += length;
    }
    names
}

pub(crate) fn files(names: &[String]) -> String {
    format!("files: [{}]", names.join(", "))
}
