//! Which recipes a pull request changes, and what no feedstock may hold: from git's objects, one test per kind.

use std::fs;
use std::path::Path;

use gristmill::bot::artifact::{Change, is_recipe_path};
use gristmill::bot::changes::{Changes, ChangesError, changes, text_at};
use gristmill::bot::decide::Sha;

use super::sha;

struct Repository {
    folder: tempfile::TempDir,
    git: git2::Repository,
}

impl Repository {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let git = git2::Repository::init(folder.path()).unwrap();
        Self { folder, git }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn commit(&self) -> Sha {
        let mut index = self.git.index().unwrap();
        index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
        index.update_all(["*"], None).unwrap();
        self.commit_index(index)
    }

    fn commit_index(&self, mut index: git2::Index) -> Sha {
        index.write().unwrap();
        let tree = self.git.find_tree(index.write_tree().unwrap()).unwrap();
        let who = git2::Signature::now("Ada", "ada@example.org").unwrap();
        let parent = self.git.head().ok().map(|head| head.peel_to_commit().unwrap());
        let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
        self.git.commit(Some("HEAD"), &who, &who, "x", &tree, &parents).unwrap().to_string().parse().unwrap()
    }

    fn changes(&self, base: &Sha, head: &Sha) -> Changes {
        changes(self.path(), Some(base), head).unwrap()
    }
}

fn recipe(id: &str, title: &str) -> String {
    format!("schema: 1\nid: {id}\ntitle: {title}\nlicense: CC0-1.0\ninputs: {{files: [\"https://h.test/a.nc\"]}}\n")
}

#[test]
fn exactly_the_recipes_whose_meaning_changed_are_told() {
    let repository = Repository::new();
    for id in ["same", "edited", "moved", "gone", "comment", "beside"] {
        repository.write(&format!("recipes/{id}/recipe.yaml"), &recipe(id, "T"));
    }
    let base = repository.commit();
    repository.write("recipes/edited/recipe.yaml", &recipe("edited", "U"));
    repository.write(
        "recipes/comment/recipe.yaml",
        &("# only a comment\n".to_owned()
            + &recipe("comment", "T").replace("title: T\nlicense: CC0-1.0", "license: CC0-1.0\ntitle: T  # other order")),
    );
    repository.write("recipes/beside/files.csv", "https://h.test/b.nc\n");
    repository.write("recipes/same/README.md", "for people");
    repository.write("recipes/new/recipe.yaml", &recipe("new", "T"));
    fs::remove_dir_all(repository.path().join("recipes/gone")).unwrap();
    fs::rename(repository.path().join("recipes/moved"), repository.path().join("recipes/elsewhere")).unwrap();
    repository.write(".github/workflows/x.yml", "on: push");
    (0..400).for_each(|n| repository.write(&format!("notes/{n}.txt"), "x"));
    let head = repository.commit();
    let found = repository.changes(&base, &head);
    let rows: Vec<(&str, Change, Option<&str>)> =
        found.recipes.iter().map(|one| (one.id.as_str(), one.change, one.from.as_deref())).collect();
    let moved = Some("recipes/moved/recipe.yaml");
    let expected = [
        ("beside", Change::Modified, None),
        ("edited", Change::Modified, None),
        ("gone", Change::Deleted, None),
        ("moved", Change::Renamed, moved),
        ("new", Change::Added, None),
    ];
    assert_eq!(rows, expected);
    assert!(found.files > 400 && found.refused.is_empty(), "{found:?}");
    assert_eq!(found.privileged, [".github/workflows/x.yml"]);
    assert_eq!(changes(repository.path(), None, &head).unwrap().recipes.len(), 6, "without a base every recipe is new");
    assert_eq!(changes(repository.path(), Some(&sha('0')), &head).unwrap().recipes.len(), 6);
    assert!(matches!(changes(repository.path(), Some(&sha('1')), &head), Err(ChangesError::NoCommit { .. })));
    assert!(text_at(repository.path(), &base, "recipes/gone/recipe.yaml").unwrap().unwrap().contains("id: gone"));
}

/// A repository with one recipe, and its commit.
fn begun() -> (Repository, Sha) {
    let repository = Repository::new();
    repository.write("recipes/a/recipe.yaml", &recipe("a", "T"));
    let base = repository.commit();
    (repository, base)
}

/// Paths that are refused, and why.
fn refused(repository: &Repository, base: &Sha, head: &Sha) -> Vec<(String, String)> {
    repository.changes(base, head).refused.into_iter().map(|one| (one.path, one.why)).collect()
}

fn only(found: &[(String, String)], path: &str, why: &str) {
    assert!(found.len() == 1 && found[0].0 == path && found[0].1.contains(why), "{found:?}");
}

#[test]
fn a_symbolic_link_is_refused_and_not_followed() {
    let (repository, base) = begun();
    fs::create_dir_all(repository.path().join("recipes/link")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", repository.path().join("recipes/link/recipe.yaml")).unwrap();
    let head = repository.commit();
    only(&refused(&repository, &base, &head), "recipes/link/recipe.yaml", "symbolic link");
    assert_eq!(text_at(repository.path(), &head, "recipes/link/recipe.yaml").unwrap(), None);
    assert!(repository.changes(&base, &head).recipes.is_empty(), "a link is no recipe");
}

#[test]
fn a_folder_that_is_a_link_hides_no_recipe() {
    let (repository, base) = begun();
    std::os::unix::fs::symlink("a", repository.path().join("recipes/b")).unwrap();
    let head = repository.commit();
    only(&refused(&repository, &base, &head), "recipes/b", "symbolic link");
}

#[test]
fn a_submodule_is_refused_and_not_entered() {
    let (repository, base) = begun();
    let mut index = repository.git.index().unwrap();
    let zero = git2::IndexTime::new(0, 0);
    let module = git2::IndexEntry {
        ctime: zero,
        mtime: zero,
        dev: 0,
        ino: 0,
        mode: 0o160_000,
        uid: 0,
        gid: 0,
        file_size: 0,
        id: git2::Oid::from_str(base.as_str()).unwrap(),
        flags: 0,
        flags_extended: 0,
        path: b"recipes/module".to_vec(),
    };
    index.add(&module).unwrap();
    let head = repository.commit_index(index);
    only(&refused(&repository, &base, &head), "recipes/module", "submodule");
    repository.write(".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = ../x\n");
    let told = repository.commit();
    only(&refused(&repository, &head, &told), ".gitmodules", "submodules");
}

#[test]
fn a_pointer_of_git_lfs_is_refused_and_not_fetched() {
    let (repository, base) = begun();
    repository.write("recipes/c/recipe.yaml", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
    let head = repository.commit();
    only(&refused(&repository, &base, &head), "recipes/c/recipe.yaml", "Git LFS");
}

#[test]
fn a_large_file_is_refused_and_not_read() {
    let (repository, base) = begun();
    repository.write("data.nc", &"x".repeat((5 << 20) + 1));
    let head = repository.commit();
    only(&refused(&repository, &base, &head), "data.nc", "5 MiB");
}

#[test]
fn a_dataset_has_one_owner_and_a_path_of_plain_letters() {
    let (repository, base) = begun();
    repository.write("recipes/b/recipe.yaml", &recipe("a", "another's id"));
    repository.write("recipes/d e/recipe.yaml", &recipe("d", "T"));
    let head = repository.commit();
    let found = refused(&repository, &base, &head);
    assert!(
        found.iter().any(|(path, why)| path == "recipes/b/recipe.yaml" && why.contains("belongs to `recipes/a/recipe.yaml`")),
        "{found:?}"
    );
    assert!(found.iter().any(|(path, _)| path == "recipes/d e/recipe.yaml") && found.len() == 2, "{found:?}");
    assert!(!is_recipe_path("recipes/d e/recipe.yaml"));
}

#[test]
fn more_than_three_hundred_files_are_all_looked_at() {
    let (repository, base) = begun();
    (0..700).for_each(|n| repository.write(&format!("notes/{n:03}.txt"), "x"));
    // What is last in every order must be found too.
    repository.write("zzz.txt", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
    repository.write("recipes/zzz/recipe.yaml", &recipe("zzz", "T"));
    let head = repository.commit();
    let found = repository.changes(&base, &head);
    assert_eq!((found.files, found.recipes.len()), (702, 1));
    only(&refused(&repository, &base, &head), "zzz.txt", "Git LFS");
}

#[test]
fn a_renamed_recipe_is_the_same_dataset() {
    let (repository, base) = begun();
    fs::rename(repository.path().join("recipes/a"), repository.path().join("recipes/moved")).unwrap();
    let head = repository.commit();
    let found = repository.changes(&base, &head).recipes;
    assert_eq!(found.len(), 1);
    let one = &found[0];
    let told = (one.id.as_str(), one.path.as_str(), one.change, one.from.as_deref());
    assert_eq!(told, ("a", "recipes/moved/recipe.yaml", Change::Renamed, Some("recipes/a/recipe.yaml")));
    // Renamed and changed is changed.
    repository.write("recipes/moved/recipe.yaml", &recipe("a", "U"));
    assert_eq!(repository.changes(&base, &repository.commit()).recipes[0].change, Change::Modified);
}

#[test]
fn a_deleted_recipe_is_told_and_another_may_take_its_folder() {
    let (repository, base) = begun();
    fs::remove_dir_all(repository.path().join("recipes/a")).unwrap();
    let gone = repository.commit();
    let found = repository.changes(&base, &gone).recipes;
    assert_eq!((found.len(), found[0].change), (1, Change::Deleted));
    repository.write("recipes/a/recipe.yaml", &recipe("b", "T"));
    let changes: Vec<_> = repository.changes(&base, &repository.commit()).recipes.into_iter().map(|one| (one.id, one.change)).collect();
    assert_eq!(changes, [("a".to_owned(), Change::Deleted), ("b".to_owned(), Change::Added)]);
}

#[test]
fn only_what_the_pull_request_did_counts_and_not_what_the_base_did_since() {
    let (repository, base) = begun();
    repository.write("recipes/b/recipe.yaml", &recipe("b", "T"));
    let head = repository.commit();
    // The default branch goes on elsewhere.
    let commit = repository.git.find_commit(git2::Oid::from_str(base.as_str()).unwrap()).unwrap();
    repository.git.reset(commit.as_object(), git2::ResetType::Hard, None).unwrap();
    repository.write("recipes/a/recipe.yaml", &recipe("a", "elsewhere"));
    let main = repository.commit();
    let found = repository.changes(&main, &head);
    assert_eq!((found.base, found.recipes.len(), found.recipes[0].id.as_str()), (Some(base), 1, "b"));
}

#[test]
fn a_feedstock_of_one_dataset_is_read_as_a_staging_repository_is() {
    let repository = Repository::new();
    repository.write(
        "feedstock/meta.yaml",
        "title: T\nrecipes:\n  - {id: odd, path: ../odd/place.yaml}\nprovenance: {providers: [], license: CC0-1.0}\nmaintainers: []\n",
    );
    repository.write("odd/place.yaml", &recipe("odd", "T"));
    repository.write("feedstock/recipe.yaml", &recipe("beside", "T"));
    let head = repository.commit();
    let mut found: Vec<_> = changes(repository.path(), None, &head).unwrap().recipes.into_iter().map(|one| one.path).collect();
    found.sort();
    assert_eq!(found, ["feedstock/recipe.yaml", "odd/place.yaml"]);
}
