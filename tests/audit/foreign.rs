//! Zarr stores as others write them, by hand: uncompressed, each array in one chunk, so that a test can say every value.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use serde_json::{Map, Value, json};

use crate::baked::command;

/// One array: its document and the bytes of its only chunk.
pub(crate) struct Made {
    pub(crate) document: Value,
    pub(crate) chunk: Option<Vec<u8>>,
}

/// A store of version 3 in the making.
pub(crate) struct Foreign {
    pub(crate) attributes: Value,
    pub(crate) arrays: BTreeMap<String, Made>,
}

impl Foreign {
    /// A small dataset that nothing is to be said against.
    pub(crate) fn good() -> Self {
        let attributes = json!({
            "Conventions": "CF-1.8", "title": "t", "institution": "i", "source": "s", "references": "r", "license": "CC0-1.0",
        });
        let mut store = Self { attributes, arrays: BTreeMap::new() };
        let time = json!({"units": "days since 2000-01-01", "calendar": "standard", "standard_name": "time"});
        store.add("time", &["time"], &[0.0, 1.0, 2.0, 3.0], &[4], &time);
        store.add("lat", &["lat"], &[-45.0, 0.0, 45.0], &[3], &json!({"units": "degrees_north", "bounds": "lat_bnds"}));
        store.add("lat_bnds", &["lat", "bnds"], &[-67.5, -22.5, -22.5, 22.5, 22.5, 67.5], &[3, 2], &json!({}));
        store.add("lon", &["lon"], &[0.0, 180.0], &[2], &json!({"units": "degrees_east"}));
        let values: Vec<f64> = (0..24).map(f64::from).collect();
        store.add("t", &["time", "lat", "lon"], &values, &[4, 3, 2], &json!({"units": "K"}));
        store
    }

    /// Adds an array of float64.
    pub(crate) fn add(&mut self, name: &str, dimensions: &[&str], values: &[f64], shape: &[u64], attributes: &Value) {
        let document = json!({
            "zarr_format": 3, "node_type": "array", "shape": shape, "data_type": "float64",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shape}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": "NaN", "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "dimension_names": dimensions, "attributes": attributes,
        });
        let chunk = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.arrays.insert(name.to_owned(), Made { document, chunk: Some(chunk) });
    }

    pub(crate) fn document(&mut self, name: &str) -> &mut Value {
        &mut self.arrays.get_mut(name).unwrap().document
    }

    /// Other values of an array of the same length.
    pub(crate) fn values(&mut self, name: &str, values: &[f64]) {
        self.arrays.get_mut(name).unwrap().chunk = Some(values.iter().flat_map(|value| value.to_le_bytes()).collect());
    }

    pub(crate) fn write(&self, root: &Path) {
        let mut copies = Map::new();
        for (name, Made { document, chunk }) in &self.arrays {
            let folder = root.join(name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("zarr.json"), document.to_string()).unwrap();
            copies.insert(name.clone(), document.clone());
            let rank = document["shape"].as_array().unwrap().len();
            let key = std::iter::once("c").chain(std::iter::repeat_n("0", rank)).collect::<Vec<_>>().join("/");
            if let Some(chunk) = chunk {
                let path = folder.join(key);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, chunk).unwrap();
            }
        }
        let copies = json!({"kind": "inline", "must_understand": false, "metadata": copies});
        let root_document = json!({"zarr_format": 3, "node_type": "group", "attributes": self.attributes, "consolidated_metadata": copies});
        std::fs::write(root.join("zarr.json"), root_document.to_string()).unwrap();
    }

    /// What `verify --json` says of it.
    pub(crate) fn verify(&self, more: &[&str]) -> Output {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("theirs.zarr");
        std::fs::create_dir(&root).unwrap();
        self.write(&root);
        command().arg("verify").arg(&root).arg("--json").args(more).output().unwrap()
    }
}
