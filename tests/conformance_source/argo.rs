//! The tree of an Argo data centre, found over the servers that serve its files: the same inputs as on disk.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::places::{Place, places};

/// One float's folder of the global data assembly centre.
const TREE: &str = "argo-gdac-13857";

/// Its 140 cycles, told by their names among the other files of the float.
const RULE: &str = "match: 'R13857_(?<cycle>\\d{3})\\.nc$'";

fn tree() -> Option<PathBuf> {
    let shared = std::env::var_os("GRISTMILL_SHARED").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let folder = shared.join("data").join(TREE);
    if !folder.is_dir() {
        println!("SKIP: no {} (set GRISTMILL_SHARED)", folder.display());
        return None;
    }
    Some(folder.canonicalize().unwrap())
}

fn copy(from: &Path, below: &str, place: &Place) {
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            copy(&entry.path(), &format!("{name}/"), place);
        } else {
            place.put(&name, &std::fs::read(entry.path()).unwrap());
        }
    }
}

/// What `gristmill inputs` finds below a root: of each input its path there, its keys and its length.
fn found(root: &str, place: &Place, folder: &Path) -> Vec<(String, serde_json::Value, serde_json::Value)> {
    let recipe = format!(
        "schema: 1\nid: argo\ntitle: Argo float 13857\nlicense: CC-BY-4.0\ninputs:\n  find:\n    glob: \"{root}/dac/*/13857/**/*.nc\"\n    {RULE}\n{}\
         combine: {{concat: [{{dim: N_PROF, keys: [cycle]}}]}}\n",
        place.auth()
    );
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("recipe.yaml"), recipe).unwrap();
    std::fs::write(folder.join("settings.toml"), place.settings()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command.current_dir(folder).args(["inputs", "recipe.yaml", "--json", "--config", "settings.toml"]);
    let output = command.env("XDG_CACHE_HOME", folder.join("cache")).output().unwrap();
    assert!(output.status.success(), "{}: {}", place.name, String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let inputs = told["inputs"].as_array().unwrap().iter();
    let mut inputs: Vec<_> = inputs
        .map(|input| {
            let path = input["url"].as_str().unwrap().strip_prefix(root).unwrap().to_owned();
            (path, input["keys"].clone(), input["size"].clone())
        })
        .collect();
    inputs.sort_by(|a, b| a.0.cmp(&b.0));
    inputs
}

#[test]
fn the_argo_tree_is_found_over_every_server_as_it_is_on_disk() {
    let Some(tree) = tree() else { return };
    let work = tempfile::tempdir().unwrap();
    let all = places("argo");
    let local = found(&tree.to_string_lossy(), &all[0], &work.path().join("local"));
    assert!(local.len() == 140 && local[0].0.ends_with("/dac/aoml/13857/profiles/R13857_001.nc"), "{} {:?}", local.len(), local[0]);
    for (number, place) in all.into_iter().filter(|place| place.lists).enumerate() {
        copy(&tree, "", &place);
        assert_eq!(found(&place.url, &place, &work.path().join(number.to_string())), local, "{}", place.name);
    }
}
