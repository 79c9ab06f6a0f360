//! What netCDF4-python found in the shared files (`facts.json`).

use serde_json::{Map, Value};

use crate::local::shared;

/// One file and its facts.
pub(crate) struct Fact {
    /// `set/file`
    pub(crate) name: String,
    /// Path of the file.
    pub(crate) path: String,
    pub(crate) facts: Map<String, Value>,
}

impl Fact {
    pub(crate) fn text(&self, key: &str) -> &str {
        self.facts.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// True for files that are, or claim to be, netCDF or HDF5.
    pub(crate) fn is_netcdf(&self) -> bool {
        let format = self.text("format");
        format.starts_with("NetCDF") || format.starts_with("HDF5") || format.starts_with("CDF")
    }
}

/// The files of every set.
pub(crate) fn all() -> Vec<Fact> {
    let mut found = Vec::new();
    let mut sets: Vec<_> = std::fs::read_dir(shared().join("data")).unwrap().map(|entry| entry.unwrap().path()).collect();
    sets.sort();
    for set in sets.iter().filter(|set| set.join("facts.json").is_file()) {
        let text = std::fs::read_to_string(set.join("facts.json")).unwrap();
        // Python writes numbers that JSON lacks.
        let text = text.replace(": NaN", ": null").replace(": -Infinity", ": null").replace(": Infinity", ": null");
        let Value::Object(files) = serde_json::from_str(&text).unwrap() else { panic!("{}", set.display()) };
        for (file, facts) in files {
            let Value::Object(facts) = facts else { continue };
            let name = format!("{}/{file}", set.file_name().unwrap().to_string_lossy());
            found.push(Fact { name, path: set.join(&file).to_string_lossy().into_owned(), facts });
        }
    }
    found
}
