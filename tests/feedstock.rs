//! Recipes in feedstocks: folders, git repositories, references, and what must not be read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use gristmill::run::feedstock::{FeedstockError, locate};

fn write(folder: &Path, path: &str, content: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Commits everything in the folder; returns the commit's id.
fn commit(repository: &git2::Repository, message: &str) -> String {
    let mut index = repository.index().unwrap();
    index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
    index.write().unwrap();
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    let who = git2::Signature::now("Ada", "ada@example.org").unwrap();
    let parent = repository.head().ok().map(|head| head.peel_to_commit().unwrap());
    let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
    repository.commit(Some("HEAD"), &who, &who, message, &tree, &parents).unwrap().to_string()
}

#[test]
fn a_repository_is_cloned_at_a_branch_a_tag_or_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let repository = git2::Repository::init(folder.path()).unwrap();
    write(folder.path(), "feedstock/recipe.yaml", "id: first\n");
    let first = commit(&repository, "Begin");
    repository.tag_lightweight("v1", repository.head().unwrap().peel_to_commit().unwrap().as_object(), false).unwrap();
    write(folder.path(), "feedstock/recipe.yaml", "id: second\n");
    let second = commit(&repository, "Go on");
    repository.branch("side", &repository.find_commit(git2::Oid::from_str(&first).unwrap()).unwrap(), false).unwrap();

    let url = format!("file://{}", folder.path().display());
    for (reference, id, at) in
        [("", "second", &second), ("@v1", "first", &first), ("@side", "first", &first), (&*format!("@{second}#second"), "second", &second)]
    {
        let located = locate(&format!("{url}{reference}")).unwrap();
        assert_eq!((located.text.text.as_str(), located.commit.as_ref()), (&*format!("id: {id}\n"), Some(at)), "{reference}");
        assert!(located.untrusted && located.clone_folder().unwrap().is_dir());
        assert!(located.text.name.starts_with(&url) && located.text.name.ends_with("feedstock/recipe.yaml"), "{}", located.text.name);
    }
    let local = locate(&folder.path().display().to_string()).unwrap();
    assert_eq!((local.commit, local.untrusted, local.base), (Some(second), false, folder.path().join("feedstock")));
    assert!(matches!(locate(&format!("{url}@none")), Err(FeedstockError::Git { .. })));
}

#[test]
fn meta_yaml_names_recipes() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display().to_string();
    write(folder.path(), "feedstock/meta.yaml", "title: Two\nrecipes:\n  - {id: a, path: one.yaml}\n  - {id: b, path: more/two.yaml}\n");
    write(folder.path(), "feedstock/one.yaml", "id: x\n");
    assert!(matches!(locate(&place), Err(FeedstockError::Meta { .. })), "a named recipe is absent");
    write(folder.path(), "feedstock/more/two.yaml", "id: y\n");
    assert_eq!(locate(&format!("{place}#b")).unwrap().text.text, "id: y\n");
    let Err(FeedstockError::Several { ids, .. }) = locate(&place) else { panic!("two recipes, none named") };
    assert_eq!(ids, ["a", "b"]);
    write(folder.path(), "feedstock/meta.yaml", "recipe: [not, a, path]\n");
    assert!(matches!(locate(&place), Err(FeedstockError::Meta { .. })));
}

#[test]
fn nothing_outside_the_feedstock_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    write(folder.path(), "secret.yaml", "id: secret\n");
    write(&inner, "feedstock/meta.yaml", "recipe: ../../secret.yaml\n");
    assert!(matches!(locate(&inner.display().to_string()), Err(FeedstockError::Outside { .. })));
    write(&inner, "feedstock/meta.yaml", "{}\n");
    std::os::unix::fs::symlink(folder.path().join("secret.yaml"), inner.join("feedstock/recipe.yaml")).unwrap();
    assert!(matches!(locate(&inner.display().to_string()), Err(FeedstockError::Outside { .. })));
}

#[test]
fn what_is_no_text_is_refused_and_what_is_large_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recipe.yaml");
    fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    let reference = path.display().to_string();
    assert!(matches!(locate(&reference), Err(FeedstockError::NotText { .. })));
    fs::write(&path, "é".repeat(5 << 20)).unwrap();
    assert_eq!(locate(&reference).unwrap().text.text.len(), (1 << 20) + 1);
}
