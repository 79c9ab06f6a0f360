//! One broken recipe per file of `tests/invalid`, and how its problems look. `GRISTMILL_BLESS=1` writes the snapshots anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use gristmill::recipe::diagnostic::{Class, Code, Diagnostic, render_terminal};
use gristmill::recipe::{RecipeText, parse};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/invalid")
}

fn problems(text: &RecipeText) -> Vec<Diagnostic> {
    match parse(text, Path::new("/recipes")) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    }
}

fn recipes() -> Vec<RecipeText> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| RecipeText { name: name(path), text: fs::read_to_string(path).unwrap() }).collect()
}

#[test]
fn every_broken_recipe_looks_as_recorded() {
    let mut changed = Vec::new();
    for text in recipes() {
        let found = problems(&text);
        assert!(!found.is_empty(), "{} has no problem", text.name);
        let shown = render_terminal(&found, &text, false);
        let path = folder().join(&text.name).with_extension("txt");
        if std::env::var_os("GRISTMILL_BLESS").is_some() {
            fs::write(&path, &shown).unwrap();
        } else if fs::read_to_string(&path).ok().as_deref() != Some(shown.as_str()) {
            changed.push(format!("{}:\n{shown}", text.name));
        }
    }
    assert!(changed.is_empty(), "changed (GRISTMILL_BLESS=1 records them):\n{}", changed.join("\n"));
}

#[test]
fn every_code_of_a_recipe_has_a_snapshot_named_after_it() {
    let mut shown = BTreeSet::new();
    for text in recipes() {
        let codes: BTreeSet<Code> = problems(&text).iter().map(|problem| problem.code).collect();
        let named = |code: &Code| text.name.strip_suffix(".yaml").is_some_and(|name| name.starts_with(code.name()));
        shown.extend(codes.into_iter().filter(named));
    }
    // Two are made by the tests below: their recipes are too large to keep.
    shown.insert(Code::RecipeTooLarge);
    let recipe_codes = Code::all().iter().filter(|code| code.class() == Class::Recipe);
    let absent: Vec<&str> = recipe_codes.filter(|code| !shown.contains(code)).map(|code| code.name()).collect();
    assert!(absent.is_empty(), "no tests/invalid/<code>.yaml shows {absent:?}");
}

#[test]
fn a_recipe_of_ten_megabytes_is_refused_at_once() {
    let text = RecipeText { name: "big.yaml".into(), text: "title: x\n".repeat(1_200_000) };
    let found = problems(&text);
    assert_eq!(found.iter().map(|problem| problem.code).collect::<Vec<_>>(), [Code::RecipeTooLarge]);
    assert_eq!(
        render_terminal(&found, &text, false),
        "recipe-too-large\n\n  × the recipe is larger than 1 MiB, which is the most that is read\n  help: write long lists of files as a pattern with keys\n"
    );
}

#[test]
fn a_megabyte_of_anything_ends_soon_and_quietly() {
    let pieces = [
        "[", "{", "- ", "a: ", "? ", "&a ", "*a ", "!a ", "\"", "'", "|\n", ">\n", "%", "- - ", "a: {", "[[]", ": ", "#", "\u{0}", "é",
        "\t", "---\n",
    ];
    for piece in pieces {
        let text = RecipeText { name: "odd.yaml".into(), text: piece.repeat((1 << 20) / piece.len()) };
        let start = std::time::Instant::now();
        let found = problems(&text);
        assert!(!found.is_empty(), "{piece:?}");
        let shown = render_terminal(&found[..found.len().min(20)], &text, false);
        assert!(shown.len() < 100_000 && start.elapsed().as_secs() < 20, "{piece:?}: {:?}, {} bytes", start.elapsed(), shown.len());
    }
    let keys: String =
        (0..80_000).map(|number| number.to_string()).flat_map(|number| ["k".to_owned(), number, ": 1\n".to_owned()]).collect();
    let start = std::time::Instant::now();
    assert!(
        problems(&RecipeText { name: "keys".into(), text: keys }).len() == 201 && start.elapsed().as_secs() < 30,
        "{:?}",
        start.elapsed()
    );
}
