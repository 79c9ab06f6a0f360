//! A folder with a recipe over files of a day each, and the program that bakes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::made_files::MadeFile;

/// Short waits.
const SETTINGS: &str = "[network]\nattempts = 3\ngive_up_after_seconds = 5\nidle_timeout_seconds = 0.5\nconnect_timeout_seconds = 2\n";
const DAYS: &[(&str, &str)] = &[("units", "days since 2000-01-01")];

/// A file of one time step: `x` is its day everywhere.
pub(crate) fn day(number: u32) -> Vec<u8> {
    let value = f64::from(number);
    let (rows, values): (Vec<f64>, Vec<f64>) = (0..60).map(|row| (f64::from(row), value)).unzip();
    MadeFile::default()
        .dimension("time", 1)
        .dimension("row", 60)
        .variable("time", "double", &["time"], &[value], DAYS)
        .variable("row", "double", &["row"], &rows, &[])
        .variable("x", "double", &["time", "row"], &values, &[("units", "K")])
        .bytes()
}

/// The folder.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// Over these files, a task for each; `more` are further lines of `inputs`.
    pub(crate) fn of(files: &[String], more: &str) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        place.write("settings.toml", SETTINGS.as_bytes());
        place.recipe(files, more);
        place
    }

    pub(crate) fn recipe(&self, files: &[String], more: &str) {
        let files: String = files.iter().fold(String::new(), |list, file| list + &format!("    - '{file}'\n"));
        let text = format!(
            "schema: 1\nid: sample\ntitle: A sample\nlicense: CC0-1.0\ninputs:\n  files:\n{files}{more}combine: {{concat: [time]}}\noutput:\n  chunks: {{time: 1}}\n"
        );
        self.write("recipe.yaml", text.as_bytes());
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path().join(name), bytes).unwrap();
    }

    pub(crate) fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
        command.args(["run", "recipe.yaml", "--target", "out.zarr", "--config", "settings.toml", "--quiet"]).args(more);
        command.current_dir(self.path()).env_remove("RUST_LOG").stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs, and holds the exit code to what is expected; gives what was said.
    pub(crate) fn ends(&self, exit: i32, says: &[&str]) -> String {
        let Output { status, stderr, .. } = self.command(&[]).output().unwrap();
        let errors = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(exit), "{errors}");
        for text in says {
            assert!(errors.contains(text), "`{text}` is missing in:\n{errors}");
        }
        assert_eq!(self.report()["exit"], exit, "{errors}");
        errors
    }

    pub(crate) fn is_visible(&self) -> bool {
        self.path().join("out.zarr/zarr.json").exists()
    }

    pub(crate) fn report(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.path().join("out.zarr.gristmill/report.json")).unwrap()).unwrap()
    }

    /// Every file below the target or its state.
    pub(crate) fn objects(&self, root: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut found, mut folders) = (BTreeMap::new(), vec![self.path().join(root)]);
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path.strip_prefix(self.path()).unwrap().to_owned(), fs::read(&path).unwrap());
                }
            }
        }
        found
    }
}
