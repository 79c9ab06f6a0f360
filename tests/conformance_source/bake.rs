//! A real archive baked through the program from every server of files: each store equal, byte for byte, to the one from paths.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use gristmill::store::target;

use super::places::{Place, places};
use super::real_clouds;

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
    write(folder, urls, place.auth(), &place.settings());
    run(folder, "out.zarr", place.name);
    let mut found = BTreeMap::new();
    contents(&folder.join("out.zarr"), &folder.join("out.zarr"), &mut found);
    found
}

fn write(folder: &Path, urls: &[String], auth: &str, settings: &str) {
    let files: Vec<String> = urls.iter().map(|url| format!("  - \"{url}\"\n")).collect();
    let recipe = format!(
        "schema: 1\nid: ec-earth\ntitle: EC-EARTH\nlicense: CC-BY-4.0\ninputs:\n{auth}  files:\n{}combine: {{concat: [time]}}\n",
        files.iter().map(|line| format!("  {line}")).collect::<String>()
    );
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("recipe.yaml"), recipe).unwrap();
    std::fs::write(folder.join("gristmill.toml"), settings).unwrap();
}

fn run(folder: &Path, target: &str, name: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    let output = command.current_dir(folder).args(["run", "recipe.yaml", "--target", target, "--quiet"]).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_archive_baked_from_a_server_is_the_one_baked_from_files() {
    let Some(files) = archive() else { return };
    let work = tempfile::tempdir().unwrap();
    let mut expected = None;
    for (number, place) in places("bake").into_iter().enumerate() {
        let urls: Vec<String> =
            files.iter().map(|path| place.put(&path.file_name().unwrap().to_string_lossy(), &std::fs::read(path).unwrap())).collect();
        let store = bake(&place, &urls, &work.path().join(number.to_string()));
        assert!(store.len() > 5, "{}: {} objects", place.name, store.len());
        let expected = expected.get_or_insert_with(|| store.clone());
        assert!(*expected == store, "{}: another store", place.name);
    }
}

#[test]
fn an_archive_baked_into_a_bucket_is_the_one_baked_into_a_folder() {
    let Some(files) = archive() else { return };
    let work = tempfile::tempdir().unwrap();
    let urls: Vec<String> = files.iter().map(|path| path.canonicalize().unwrap().display().to_string()).collect();
    let local = &places("into")[0];
    let expected = bake(local, &urls, &work.path().join("local"));
    for store in real_clouds::stores("gristmill-baked").into_iter().chain(real_clouds::swift()) {
        let folder = work.path().join(store.name.replace(' ', "-"));
        write(&folder, &urls, "", &store.settings);
        let url = format!("{}/baked-{}/out.zarr", store.bucket, std::process::id());
        run(&folder, &url, store.name);
        // Again: nothing is left to do.
        run(&folder, &url, store.name);
        let objects = target(&url, &store.access).unwrap();
        let keys = objects.list("", 100_000).unwrap();
        let baked: BTreeMap<PathBuf, Vec<u8>> =
            keys.iter().map(|key| (PathBuf::from(key), objects.get(key).unwrap().unwrap().to_vec())).collect();
        assert!(baked == expected, "{}: another store", store.name);
    }
}
