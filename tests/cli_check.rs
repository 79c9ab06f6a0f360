//! `gristmill check`, `schema` and `completions` through the binary: exit code, stdout, stderr.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const RECIPE: &str = "schema: 1
id: sample
title: A sample
license: CC0-1.0
inputs:
  url: data/{variable}/{time:%Y%m%d}.nc
  keys:
    variable: {list: [pr, tas]}
    time: {dates: {start: 2000-01-01, end: 2000-01-31, step: 1 day}}
  except: [{time: 2000-01-31}]
combine: {concat: [time], merge: [variable]}
";

fn gristmill(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gristmill")).args(arguments).env_remove("RUST_LOG").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn write(folder: &Path, path: &str, content: &str) -> String {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path.display().to_string()
}

#[test]
fn a_good_recipe_is_summed_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "recipe.yaml", RECIPE);
    let output = gristmill(&["check", &path]);
    let base = folder.path().display();
    let expected = format!(
        "ok: sample (A sample)\n  inputs  60\n  first   {base}/data/pr/20000101.nc\n  last    {base}/data/tas/20000130.nc\n  \
         merge   variable: 2 positions\n  concat  time: 30 positions\n"
    );
    assert_eq!((output.status.code(), text(&output.stdout), text(&output.stderr)), (Some(0), expected, String::new()));
    let quiet = gristmill(&["check", &path, "--quiet"]);
    assert_eq!((quiet.status.code(), quiet.stdout.len(), quiet.stderr.len()), (Some(0), 0, 0));
    let json: serde_json::Value = serde_json::from_slice(&gristmill(&["--json", "check", &path]).stdout).unwrap();
    assert_eq!((&json["ok"], &json["inputs"], &json["axes"][1]["length"]), (&true.into(), &60.into(), &30.into()));
}

#[test]
fn a_broken_recipe_exits_with_2_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "recipe.yaml", &RECIPE.replace("1 day", "1 dya").replace("title", "titel"));
    let output = gristmill(&["check", &path, "--color", "never"]);
    let shown = text(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    for part in ["did you mean `title`?", "`1 dya` is not a step in time", "recipe.yaml:9:62", "2 errors in "] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'));
    assert!(text(&gristmill(&["check", &path, "--color", "always"]).stderr).contains('\u{1b}'));
    let quiet = gristmill(&["check", &path, "--quiet"]);
    assert!(quiet.stdout.is_empty() && text(&quiet.stderr).contains("2 errors"));
    let annotations = text(&gristmill(&["check", &path, "--format", "github"]).stdout);
    assert!(annotations.starts_with("::error file=") && annotations.lines().count() == 2, "{annotations}");
    let json: serde_json::Value = serde_json::from_slice(&gristmill(&["check", &path, "--json"]).stdout).unwrap();
    assert_eq!(json["diagnostics"][0]["code"], "unknown-key");
}

#[test]
fn a_folder_with_several_recipes_lists_their_ids() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display();
    assert!(text(&gristmill(&["check", &place.to_string()]).stderr).contains("holds no recipe"));
    write(folder.path(), "recipes/one/recipe.yaml", &RECIPE.replace("id: sample", "id: one"));
    assert_eq!(gristmill(&["check", &place.to_string()]).status.code(), Some(0));
    write(folder.path(), "recipes/two/recipe.yaml", &RECIPE.replace("id: sample", "id: \"two\" # second"));
    let several = gristmill(&["check", &place.to_string()]);
    assert_eq!(several.status.code(), Some(2));
    assert!(text(&several.stderr).contains("add one of: #one, #two"), "{}", text(&several.stderr));
    assert!(text(&gristmill(&["check", &format!("{place}#two")]).stdout).starts_with("ok: two"));
    assert!(text(&gristmill(&["check", &format!("{place}#three")]).stderr).contains("holds no recipe `three`; it has: one, two"));
}

#[test]
fn what_is_not_there_exits_with_2() {
    for reference in ["no/such/recipe.yaml", "https://[bad/x.git", "file:///no/such/repository@main"] {
        let output = gristmill(&["check", reference]);
        assert_eq!(output.status.code(), Some(2), "{reference}");
        assert!(text(&output.stderr).starts_with("error: "), "{}", text(&output.stderr));
    }
    assert_eq!(gristmill(&["chekc"]).status.code(), Some(2));
    assert_eq!(gristmill(&["--help"]).status.code(), Some(0));
}

#[test]
fn schema_and_completions_print() {
    let schema: serde_json::Value = serde_json::from_slice(&gristmill(&["schema"]).stdout).unwrap();
    assert_eq!(schema["required"], serde_json::json!(["schema", "id", "title", "license", "inputs"]));
    assert!(text(&gristmill(&["completions", "bash"]).stdout).contains("_gristmill"));
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut child =
        Command::new(env!("CARGO_BIN_EXE_gristmill")).arg("schema").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}
