//! Inputs that are found: folders, buckets, index pages, tables and catalogues, through the program.
//!
//! Every kind of place bakes the same archive (five years of sea ice, tests/data/cmip6-siconc) to the same bytes as the recipe that
//! writes the files out.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(clippy::panic, reason = "a test fails by panicking")]

#[path = "../scripted_server/mod.rs"]
mod scripted_server;

#[allow(dead_code, reason = "another test binary uses the rest")]
#[path = "../wrapping/archives.rs"]
mod archives;
mod catalogues;
mod folders;
mod frozen;
mod manifests;
mod members;
mod real;
mod web;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder with recipes, settings, a cache of its own, and targets.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

/// What a command left: exit code, stdout, stderr.
pub(crate) struct Said {
    pub(crate) exit: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// It succeeded; its stdout.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.exit, 0, "{}{}", self.out, self.err);
        self.out
    }

    /// It failed like this; its stderr.
    pub(crate) fn fails(self, exit: i32, says: &[&str]) -> String {
        assert_eq!(self.exit, exit, "{}{}", self.out, self.err);
        let told = self.err.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in says {
            assert!(told.contains(word), "no `{word}` in:\n{}", self.err);
        }
        self.err
    }
}

/// The archive's files, oldest first.
pub(crate) fn archive() -> Vec<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cmip6-siconc");
    let mut files: Vec<PathBuf> = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

pub(crate) fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// How names of the archive become keys.
pub(crate) const NAMES: &str = "match: 'siconc_.*_(?<time>\\d{6})-\\d{6}\\.nc$'\n    keys: {time: \"%Y%m\"}";

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        let settings = "[network]\nattempts = 2\ngive_up_after_seconds = 3\nidle_timeout_seconds = 20\nconnect_timeout_seconds = 2\n";
        fs::write(place.path("settings.toml"), settings).unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        // The name that messages show is the one without links.
        self.folder.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A recipe with these lines below `inputs:`, two spaces in.
    pub(crate) fn recipe(&self, inputs: &str) {
        let text = format!(
            "schema: 1\nid: ice\ntitle: Sea ice\nlicense: CC-BY-SA-4.0\ninputs:\n  {inputs}\ncombine: {{concat: [time]}}\nsteps:\n  - drop: [time_bnds]\noutput:\n  chunks: {{time: 60}}\n"
        );
        self.write("recipe.yaml", text);
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
        command.args(arguments).args(["--config", "settings.toml"]).current_dir(self.path(""));
        command.env_remove("RUST_LOG").env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    pub(crate) fn say(&self, arguments: &[&str]) -> Said {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { exit: status.code().unwrap(), out: text(stdout), err: text(stderr) }
    }

    pub(crate) fn run(&self, target: &str, more: &[&str]) -> Said {
        self.say(&[&["run", "recipe.yaml", "--target", target], more].concat())
    }

    /// Every file below a target, with its bytes; the number of the archive's files that the recipe which writes them out takes.
    pub(crate) fn bytes(&self, target: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut found, root) = (BTreeMap::new(), self.path(target));
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path.strip_prefix(&root).unwrap().to_owned(), fs::read(path).unwrap());
                }
            }
        }
        found
    }

    /// Holds what was said to the snapshot of its code (`GRISTMILL_BLESS=1` records it).
    pub(crate) fn looks_as_recorded(code: &str, errors: &str, server: &str) {
        let said = errors.replace(server, "http://SERVER");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/invalid_data/{code}.txt"));
        if std::env::var_os("GRISTMILL_BLESS").is_some() {
            fs::write(&path, &said).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), said, "GRISTMILL_BLESS=1 records it");
    }

    /// What the first files give, written out.
    pub(crate) fn written(count: usize) -> BTreeMap<PathBuf, Vec<u8>> {
        let place = Self::new();
        let files: Vec<String> = archive()[..count].iter().map(|path| path.display().to_string()).collect();
        place.recipe(&format!("files:\n    - {}", files.join("\n    - ")));
        place.run("written.zarr", &[]).ok();
        place.bytes("written.zarr")
    }

    /// Bakes the recipe, and compares with what the first files give.
    pub(crate) fn bakes(&self, target: &str, count: usize) {
        self.run(target, &[]).ok();
        assert!(self.bytes(target) == Self::written(count), "the found archive gives another store than the written one");
    }
}
