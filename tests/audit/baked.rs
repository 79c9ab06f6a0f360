//! Stores baked from real files, and the binary run on them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A folder with recipes over the first files of a real curvilinear archive (five files of 60 months each), and a target.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    /// Lines of `output` in the recipe.
    pub(crate) output: &'static str,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with("  chunks: {time: 60}\n")
    }

    pub(crate) fn with(output: &'static str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), output }
    }

    /// A store of so many files, published.
    pub(crate) fn baked(files: usize) -> Self {
        let bench = Self::new();
        bench.bake(files);
        bench
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.folder.path().join("out.zarr")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("out.zarr.gristmill")
    }

    /// Copies of the files, so that a test may change them.
    pub(crate) fn files(&self, count: usize) -> Vec<PathBuf> {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cmip6-siconc");
        let mut files: Vec<PathBuf> = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let copy = |file: &PathBuf| {
            let copy = self.folder.path().join(file.file_name().unwrap());
            if !copy.exists() {
                std::fs::copy(file, &copy).unwrap();
            }
            copy
        };
        files[..count].iter().map(copy).collect()
    }

    pub(crate) fn recipe(&self, files: usize) -> PathBuf {
        let files = self.files(files);
        let listed: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_string_lossy()).collect();
        let listed = format!("    - {}\n", listed.join("\n    - "));
        let text = format!(
            "schema: 1\nid: ice\ntitle: Sea ice\nlicense: CC-BY-SA-4.0\ninputs:\n  files:\n{listed}combine: {{concat: [time]}}\noutput:\n{}",
            self.output
        );
        let path = self.folder.path().join(format!("ice-{}.yaml", files.len()));
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn bake(&self, files: usize) {
        let recipe = self.recipe(files);
        let output = command().arg("run").arg(recipe).arg("--target").arg(self.target()).output().unwrap();
        exits(&output, 0, "open it");
    }

    /// `gristmill COMMAND TARGET …`
    pub(crate) fn ask(&self, what: &str, more: &[&str]) -> Output {
        command().arg(what).arg(self.target()).args(more).current_dir(self.folder.path()).output().unwrap()
    }

    /// Every file below the target, with its bytes.
    pub(crate) fn bytes(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        bytes_below(&self.target())
    }

    /// Changes a file of the target.
    pub(crate) fn edit(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.target().join(key);
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    }

    /// Changes a JSON document of the target.
    pub(crate) fn edit_json(&self, key: &str, change: impl FnOnce(&mut Value)) {
        self.edit(key, |bytes| {
            let mut document: Value = serde_json::from_slice(bytes).unwrap();
            change(&mut document);
            *bytes = serde_json::to_vec_pretty(&document).unwrap();
        });
    }

    pub(crate) fn remove(&self, key: &str) {
        std::fs::remove_file(self.target().join(key)).unwrap();
    }

    /// A JSON document of the state.
    pub(crate) fn kept(&self, key: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.state().join(key)).unwrap()).unwrap()
    }
}

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command.env_remove("GRISTMILL_UNTRUSTED");
    command
}

pub(crate) fn bytes_below(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// What a command said, after its exit code and some words of it were checked.
pub(crate) fn exits(output: &Output, exit: i32, says: &str) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(exit), "{text}");
    assert!(text.contains(says), "no `{says}` in: {text}");
    text
}

/// Levels, rules, arrays and keys of what `verify --json` found, notes left out.
pub(crate) fn findings(output: &Output) -> Vec<(String, String, String, String)> {
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found = lines.filter(|line| line["event"] == "finding" && line["level"] != "note");
    let word = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    found.map(|line| (word(&line, "level"), word(&line, "rule"), word(&line, "array"), word(&line, "key"))).collect()
}

/// True if an error of that rule is among them.
pub(crate) fn has_error(output: &Output, rule: &str, array: &str, key: &str) -> bool {
    let wanted = ("error".to_owned(), rule.to_owned(), array.to_owned(), key.to_owned());
    findings(output).contains(&wanted)
}
