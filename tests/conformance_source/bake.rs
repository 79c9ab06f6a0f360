//! A real archive baked through the program from every server of files: each store equal, byte for byte, to the one from paths.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::places::{Place, places};

/// Sixteen files of a public archive.
const ARCHIVE: &str = "cmip5-ecearth-tas-day";

fn archive() -> Option<Vec<PathBuf>> {
    let shared = std::env::var_os("GRISTMILL_SHARED").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let folder = shared.join("data").join(ARCHIVE);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("SKIP: no {} (set GRISTMILL_SHARED)", folder.display());
        return None;
    };
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "nc")).collect();
    files.sort();
    Some(files)
}

/// Every file of a store, by path.
fn contents(root: &Path, below: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(below).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            contents(root, &path, into);
        } else {
            into.insert(path.strip_prefix(root).unwrap().to_owned(), std::fs::read(&path).unwrap());
        }
    }
}

fn bake(place: &Place, urls: &[String], folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files: Vec<String> = urls.iter().map(|url| format!("  - \"{url}\"\n")).collect();
    let recipe = format!(
        "schema: 1\nid: ec-earth\ntitle: EC-EARTH\nlicense: CC-BY-4.0\ninputs:\n  files:\n{}combine: {{concat: [time]}}\n",
        files.iter().map(|line| format!("  {line}")).collect::<String>()
    );
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("recipe.yaml"), recipe).unwrap();
    std::fs::write(folder.join("gristmill.toml"), place.settings()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    let output = command.current_dir(folder).args(["run", "recipe.yaml", "--target", "out.zarr", "--quiet"]).output().unwrap();
    assert!(output.status.success(), "{}: {}", place.name, String::from_utf8_lossy(&output.stderr));
    let mut found = BTreeMap::new();
    contents(&folder.join("out.zarr"), &folder.join("out.zarr"), &mut found);
    found
}

#[test]
fn an_archive_baked_from_a_server_is_the_one_baked_from_files() {
    let Some(files) = archive() else { return };
    let work = tempfile::tempdir().unwrap();
    let mut expected = None;
    for (number, place) in places("bake").into_iter().filter(Place::serves_folder).enumerate() {
        let urls: Vec<String> =
            files.iter().map(|path| place.put(&path.file_name().unwrap().to_string_lossy(), &std::fs::read(path).unwrap())).collect();
        let store = bake(&place, &urls, &work.path().join(number.to_string()));
        assert!(store.len() > 5, "{}: {} objects", place.name, store.len());
        let expected = expected.get_or_insert_with(|| store.clone());
        assert!(*expected == store, "{}: another store", place.name);
    }
}
