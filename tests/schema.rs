//! The generated files equal the types they are made from; every shipped recipe and every example of the manual parses.
//! `GRISTMILL_BLESS=1` writes the generated files anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use gristmill::recipe::diagnostic::{Code, render_terminal};
use gristmill::recipe::{RecipeText, document, parse_on};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn same(path: &str, generated: &str) {
    let path = root().join(path);
    if std::env::var_os("GRISTMILL_BLESS").is_some() {
        fs::write(&path, generated).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == generated, "{} is not what the code says; GRISTMILL_BLESS=1 writes it anew", path.display());
}

#[test]
fn the_schema_file_equals_the_types() {
    same("schemas/recipe.v1.json", &document::schema_text());
    same("schemas/provenance.v1.json", &gristmill::run::provenance::schema_text());
}

#[test]
fn the_page_of_errors_equals_the_codes() {
    same("docs/errors.md", &Code::page());
}

fn assert_parses(text: &RecipeText) {
    if let Err(problems) = parse_on(text, Path::new("/recipes"), Some(jiff::civil::date(2026, 11, 21))) {
        panic!("{}", render_terminal(&problems, text, false));
    }
}

#[test]
fn every_shipped_recipe_parses() {
    for entry in fs::read_dir(root().join("recipes")).into_iter().flatten().flatten() {
        let path = entry.path().join("recipe.yaml");
        if path.is_file() {
            assert_parses(&RecipeText { name: path.display().to_string(), text: fs::read_to_string(&path).unwrap() });
        }
    }
}

/// Fenced `yaml` blocks with the line each begins at.
fn examples(page: &str) -> Vec<(usize, String)> {
    let mut examples: Vec<(usize, String)> = Vec::new();
    let mut inside = false;
    for (number, line) in page.lines().enumerate() {
        match (inside, line) {
            (false, "```yaml") => examples.push((number + 2, String::new())),
            (true, "```") => {}
            (true, line) => examples.last_mut().unwrap().1.extend([line, "\n"]),
            _ => continue,
        }
        inside = line != "```";
    }
    examples
}

/// A fragment gets the required keys that it does not have.
fn completed(fragment: &str) -> String {
    let has = |key: &str| fragment.lines().any(|line| line.starts_with(&format!("{key}:")));
    let required = [
        ("schema", "schema: 1\n"),
        ("id", "id: example\n"),
        ("title", "title: An example\n"),
        ("license", "license: CC0-1.0\n"),
        ("inputs", "inputs: {url: a.nc}\n"),
    ];
    let mut text: String = required.iter().filter(|(key, _)| !has(key)).map(|(_, line)| *line).collect();
    if has("inputs") && fragment.contains("keys:") && !has("combine") {
        text.push_str("combine: {concat: [time]}\n");
    }
    text + fragment
}

#[test]
fn every_example_of_the_manual_parses_and_every_key_has_one() {
    let page = fs::read_to_string(root().join("docs/recipe.md")).unwrap();
    let examples = examples(&page);
    for (line, fragment) in &examples {
        let text = RecipeText { name: format!("docs/recipe.md, example at line {line}"), text: completed(fragment) };
        assert_parses(&text);
    }
    let shown: String = examples.into_iter().map(|(_, fragment)| fragment).collect();
    let mut absent = Vec::new();
    for name in keys(&document::json_schema()) {
        let later = ["scan"].contains(&name.as_str());
        if !later && ![' ', '{', '\n'].iter().any(|before| format!("\n{shown}").contains(&format!("{before}{name}:"))) {
            absent.push(name);
        }
    }
    assert!(absent.is_empty(), "no example in docs/recipe.md shows {absent:?}");
}

/// Names of all properties of a schema, definitions included.
fn keys(schema: &serde_json::Value) -> Vec<String> {
    let mut names = Vec::new();
    for (name, inner) in schema.as_object().into_iter().flatten() {
        if name == "properties" {
            names.extend(inner.as_object().into_iter().flatten().map(|(name, _)| name.clone()));
        }
        names.extend(keys(inner));
    }
    names.extend(schema.as_array().into_iter().flatten().flat_map(keys));
    names
}
