//! `gristmill feedstock init` and `lint`: what is written lints clean, what exists is left, and everything wrong is told at once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use gristmill::bot::feedstock::{Forge, Lint, Wanted, init, is_id, lint};

const BINARY: (&str, &str) = ("https://example.org/gristmill", "0000000000000000000000000000000000000000000000000000000000000000");

fn wanted(forge: Forge, staging: bool) -> Wanted {
    let binary = Some((BINARY.0.to_owned(), BINARY.1.to_owned()));
    Wanted {
        forge,
        staging,
        id: "sea-ice".into(),
        title: Some("Sea \"ice\": a title".into()),
        maintainer: "ada".into(),
        binary,
        action: None,
    }
}

fn linted(folder: &Path) -> Lint {
    lint(folder, jiff::civil::date(2026, 11, 21)).unwrap()
}

fn rules(lint: &Lint) -> Vec<(String, usize, String)> {
    lint.findings.iter().map(|finding| (finding.file.clone(), finding.line, finding.rule.clone())).collect()
}

fn write(folder: &Path, path: &str, text: &str) {
    fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
    fs::write(folder.join(path), text).unwrap();
}

#[test]
fn what_init_writes_lints_clean_at_every_forge() {
    for forge in [Forge::Github, Forge::Gitlab, Forge::Forgejo] {
        for staging in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let (written, left) = init(folder.path(), &wanted(forge, staging)).unwrap();
            assert!(left.is_empty() && written.iter().any(|path| path == "CODEOWNERS"));
            assert!(written.iter().all(|path| !fs::read_to_string(folder.path().join(path)).unwrap().contains("@ID@")));
            let lint = linted(folder.path());
            // Only the inputs are still to be written.
            let expected = if staging { vec![] } else { vec![("recipes/sea-ice/recipe.yaml".to_owned(), 6, "template".to_owned())] };
            assert_eq!((rules(&lint), lint.errors()), (expected, 0), "{forge:?} {staging}");
        }
    }
}

#[test]
fn the_recipe_that_init_writes_is_found_by_its_id() {
    let folder = tempfile::tempdir().unwrap();
    init(folder.path(), &wanted(Forge::Github, false)).unwrap();
    let located = gristmill::run::feedstock::locate(&format!("{}#sea-ice", folder.path().display())).unwrap();
    assert!(located.text.text.contains("id: sea-ice\n"));
}

#[test]
fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("README.md"), "mine").unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("LICENSE")).unwrap();
    let (_, left) = init(folder.path(), &wanted(Forge::Github, false)).unwrap();
    assert_eq!(left, ["README.md", "LICENSE"]);
    assert_eq!(fs::read_to_string(folder.path().join("README.md")).unwrap(), "mine");
    let (written, left) = init(folder.path(), &wanted(Forge::Github, false)).unwrap();
    assert!(written.is_empty() && left.len() == 10, "{left:?}");
}

#[test]
fn words_that_could_leave_their_place_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = wanted(Forge::Github, false);
    let bad = [
        Wanted { id: "../up".into(), ..good.clone() },
        Wanted { id: "A".into(), ..good.clone() },
        Wanted { maintainer: "ada\nroot: x".into(), ..good.clone() },
        Wanted { title: Some("a\nb".into()), ..good.clone() },
        Wanted { binary: Some(("https://h/$(id)".into(), BINARY.1.into())), ..good.clone() },
        Wanted { binary: Some((BINARY.0.into(), "00".into())), ..good.clone() },
        Wanted { action: Some("o/r/ci@v1".into()), ..good.clone() },
        Wanted { action: Some(format!("o/../ci@{}", "a".repeat(40))), ..good.clone() },
        Wanted { action: Some(format!("o/r/ci@{}", "a".repeat(40))), forge: Forge::Forgejo, ..good },
    ];
    assert!(bad.iter().all(|wanted| init(folder.path(), wanted).is_err()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(is_id("a") && is_id("a-1") && !is_id("-a") && !is_id("") && !is_id(&"a".repeat(81)));
}

#[test]
fn every_problem_is_told_at_once_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let recipe =
        |id: &str, license: &str| format!("schema: 1\nid: {id}\ntitle: T\nlicense: {license}\ninputs:\n  files: [https://h.test/a.nc]\n");
    write(root, "recipes/one/recipe.yaml", &recipe("one", "CC0-1.0"));
    write(root, "recipes/two/recipe.yaml", &recipe("one", "CC0-1.0"));
    write(root, "recipes/three/recipe.yaml", "schema: 1\nid: three\ntitel: T\n");
    write(root, "recipes/four/recipe.yaml", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n");
    let meta = "title: T\nrecipes:\n  - {id: uno, path: ../recipes/one/recipe.yaml}\n  - {id: x, object: \"recipe:x\"}\n  - {path: ../../secret.yaml}\n  - {path: none.yaml}\n\
                provenance: {providers: [], license: free}\nmaintainers:\n  - {name: A, orcid: 0000-0002-1825-0098, github: \"@ada\"}\nbakery: {id: any}\npangeo_forge_version: 0.9.2\ntpyo: 1\n";
    write(root, "feedstock/meta.yaml", meta);
    write(root, "CODEOWNERS", "# nobody\n");
    write(root, ".github/workflows/x.yml", "on:\n  pull_request_target:\n");
    std::os::unix::fs::symlink("/etc/passwd", root.join("recipes/link")).unwrap();
    fs::File::create(root.join("big.nc")).unwrap().set_len(6 << 20).unwrap();
    let lint = linted(root);
    let found = rules(&lint);
    let has = |file: &str, line: usize, rule: &str| {
        assert!(found.contains(&(file.to_owned(), line, rule.to_owned())), "{file}:{line} {rule} not in {found:#?}");
    };
    has("recipes/two/recipe.yaml", 2, "id-and-folder");
    has("recipes/two/recipe.yaml", 2, "two-owners");
    has("recipes/three/recipe.yaml", 3, "unknown-key");
    has("recipes/four/recipe.yaml", 1, "lfs");
    has("recipes/link", 1, "link");
    has("big.nc", 1, "large-file");
    for (line, rule) in [
        (3, "id"),
        (4, "python-recipe"),
        (5, "outside"),
        (6, "absent"),
        (7, "license"),
        (7, "providers"),
        (9, "maintainers"),
        (12, "unknown-key"),
    ] {
        has("feedstock/meta.yaml", line, rule);
    }
    has("CODEOWNERS", 1, "owners");
    has(".github/workflows/x.yml", 2, "pull-request-target");
    has("LICENSE", 1, "repository-license");
    assert_eq!(lint.recipes.len(), 2);
}

#[test]
fn keys_of_pangeo_forge_and_leap_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    init(folder.path(), &wanted(Forge::Github, false)).unwrap();
    let meta = fs::read_to_string(folder.path().join("feedstock/meta.yaml")).unwrap();
    let more = "pangeo_forge_version: \"0.9.4\"\npangeo_notebook_version: \"2023.02.27\"\nbakery:\n  id: pangeo-ldeo-nsf-earthcube\nthumbnail: https://h.test/a.png\ntags: [ice]\nlinks: [{title: a, url: https://h.test}]\nstores: [{id: a, name: A, url: s3://b/a}]\nmeta_yaml_url: https://h.test/meta.yaml\n";
    fs::write(folder.path().join("feedstock/meta.yaml"), meta + more).unwrap();
    assert_eq!(linted(folder.path()).errors(), 0);
}
