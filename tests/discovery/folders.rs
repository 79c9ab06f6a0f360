//! Globs of local folders.

use super::*;

/// The first files of the archive in folders by year, beside what is none of it.
fn tree(count: usize) -> Place {
    let place = Place::new();
    for file in &archive()[..count] {
        add(&place, file);
    }
    place.write("data/README.nc.txt", "not data");
    place.write("data/1990/notes.nc", "not data");
    place.write("data/.hidden/siconc_x_199001-199412.nc", "not data");
    place.recipe(&format!("find:\n    glob: data/**/*.nc\n    {NAMES}"));
    place
}

fn add(place: &Place, file: &Path) {
    let year = &name(file)[name(file).len() - 16..][..4];
    place.write(&format!("data/{year}/{}", name(file)), fs::read(file).unwrap());
}

#[test]
fn a_found_archive_gives_the_written_one_and_grows_by_an_append() {
    let place = tree(3);
    place.bakes("out.zarr", 3);
    let report: serde_json::Value = serde_json::from_slice(&fs::read(place.path("out.zarr.gristmill/report.json")).unwrap()).unwrap();
    assert!(report["used"].to_string().contains("1990/notes.nc"), "what is left out is told: {}", report["used"]);
    let said = place.run("out.zarr", &[]).ok();
    assert!(said.contains("nothing to do"), "{said}");
    let before = place.bytes("out.zarr");
    add(&place, &archive()[3]);
    place.bakes("out.zarr", 4);
    let after = place.bytes("out.zarr");
    let kept = before.iter().filter(|(path, bytes)| after.get(*path) == Some(bytes)).count();
    assert!(kept >= 3 && kept < after.len(), "{kept} of {} objects are as they were", before.len());
}

#[test]
fn the_list_shows_what_was_found() {
    let place = tree(2);
    let text = place.say(&["inputs", "recipe.yaml"]).ok();
    assert!(text.contains("time=1990-01-01T00:00:00  ") && text.contains("2 inputs") && text.contains("concat  time: 2"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&place.say(&["inputs", "recipe.yaml", "--json"]).ok()).unwrap();
    assert_eq!((json["inputs"].as_array().unwrap().len(), &json["inputs"][1]["keys"]["time"]), (2, &"1995-01-01T00:00:00".into()));
    assert_eq!(json["inputs"][0]["size"], fs::metadata(&archive()[0]).unwrap().len());
    let raw = place.say(&["inputs", "recipe.yaml", "--raw"]).ok();
    assert!(raw.contains("1990/notes.nc\n") && raw.contains("3 files are there"), "{raw}");
    assert!(place.say(&["check", "recipe.yaml"]).ok().contains("found when it is planned"));
    let plan = place.say(&["plan", "recipe.yaml"]).ok();
    assert!(plan.contains("120"), "{plan}");
    place.recipe("files: [a.nc]");
    assert!(place.say(&["inputs", "recipe.yaml"]).ok().contains("a.nc\n1 inputs"));
    place.say(&["inputs", "recipe.yaml", "--raw"]).fails(2, &["writes its inputs"]);
}

#[test]
fn what_is_wrong_is_told_at_its_line() {
    let place = tree(1);
    let find = |more: &str| place.recipe(&format!("find:\n    glob: data/**/*.nc\n    {more}"));
    find("match: 'nothing_(?<time>\\d+)'");
    place.run("out.zarr", &[]).fails(2, &["names-do-not-match", "2 files were found", "`1990/notes.nc`", "recipe.yaml:8"]);
    find("match: '(?<time>\\d{4})'\n    keys: {time: \"%Y\"}");
    place.run("out.zarr", &[]).fails(4, &["found-twice", "{time: 1990-01-01T00:00:00}", "`newest: modified`"]);
    find(&format!("{NAMES}\n    at_least: 12"));
    place.run("out.zarr", &[]).fails(4, &["found-count", "1 inputs were found, at least 12"]);
    place.recipe("find:\n    glob: nowhere/*.nc");
    place.run("out.zarr", &[]).fails(3, &["source-absent", "nowhere"]);
    place.recipe("find:\n    glob: data/*.grib");
    place.run("out.zarr", &[]).fails(3, &["nothing-found", "recipe.yaml:6"]);
    assert!(!place.path("out.zarr").exists());
}

#[test]
fn a_recipe_that_is_not_trusted_lists_no_folder() {
    let place = tree(1);
    let output = place.command(&["inputs", "recipe.yaml"]).env("GRISTMILL_UNTRUSTED", "1").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("may not read files of this machine") && output.stdout.is_empty(), "{error}");
}
