//! Which recipes a pull request, or a merge, changes: read from git's objects by full commit ids.
//!
//! No checkout: no link is followed, no filter runs, no submodule is entered. Compared is what a recipe *means* (comments and the
//! order of keys do not count) together with the files beside it. Invariant: what is refused is never read, and however many files
//! differ all are looked at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use git2::{Commit, Delta, DiffOptions, FileMode, ObjectType, Oid, Repository, Tree};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::artifact::{Change, MOST_ENTRIES, Refused, is_recipe_path};
use super::decide::Sha;
use super::feedstock::{LFS, Meta, is_id};
use crate::recipe::fit;

/// Most bytes of a file.
const LARGEST_FILE: u64 = 5 << 20;
/// Most bytes of a recipe.
const LARGEST_RECIPE: u64 = 1 << 20;
/// Most bytes of a Git LFS pointer (git-lfs, docs/spec.md).
const LFS_POINTER: u64 = 1024;

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Version of this format.
    pub version: u32,
    /// Where both began; `None`: everything is new.
    pub base: Option<Sha>,
    /// The commit.
    pub head: Sha,
    /// Files that differ.
    pub files: u64,
    /// Recipes that differ, by id.
    pub recipes: Vec<Changed>,
    /// Files that no feedstock may hold.
    pub refused: Vec<Refused>,
    /// Files that say what runs with secrets in reach.
    pub privileged: Vec<String>,
}

/// A recipe that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Id of its dataset.
    pub id: String,
    /// Where it is, or was.
    pub path: String,
    /// What happened to it.
    pub change: Change,
    /// Where it was, if that was elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// Why that cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    /// The folder is no repository.
    #[error("`{}` is no git repository", path.display())]
    NoRepository {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: git2::Error,
    },
    /// A commit is not here.
    #[error("commit {sha} is not here; fetch it, with its history (`fetch-depth: 0`)")]
    NoCommit {
        /// The commit.
        sha: Sha,
        /// Why.
        #[source]
        cause: git2::Error,
    },
    /// Git failed.
    #[error("git could not compare the commits")]
    Git(#[from] git2::Error),
}

/// What `head` changes since it left `base`.
///
/// # Errors
/// [`ChangesError`].
pub fn changes(folder: &Path, base: Option<&Sha>, head: &Sha) -> Result<Changes, ChangesError> {
    let repository = open(folder)?;
    let commit = find(&repository, head)?;
    let begun = match base.filter(|base| !base.is_none()) {
        Some(base) => Some(repository.merge_base(find(&repository, base)?.id(), commit.id())?),
        None => None,
    };
    let old = begun.map(|id| repository.find_commit(id).and_then(|commit| commit.tree())).transpose()?;
    let new = commit.tree()?;
    let mut changes = Changes {
        version: 1,
        base: begun.and_then(|id| id.to_string().parse().ok()),
        head: head.clone(),
        files: 0,
        recipes: Vec::new(),
        refused: Vec::new(),
        privileged: Vec::new(),
    };
    look_at_files(&repository, old.as_ref(), &new, &mut changes)?;
    let before = old.map_or_else(|| Ok(BTreeMap::new()), |old| recipes(&repository, &old, &mut Vec::new()))?;
    let after = recipes(&repository, &new, &mut changes.refused)?;
    changes.recipes = compared(&before, &after);
    changes.refused.truncate(MOST_ENTRIES);
    changes.privileged.truncate(MOST_ENTRIES);
    Ok(changes)
}

/// The text of a recipe at a commit.
///
/// # Errors
/// [`ChangesError`]; `Ok(None)` if no such file is there, or none that is read.
pub fn text_at(folder: &Path, head: &Sha, path: &str) -> Result<Option<String>, ChangesError> {
    let repository = open(folder)?;
    let tree = find(&repository, head)?.tree()?;
    Ok(text(&repository, &tree, path).ok().flatten())
}

fn open(folder: &Path) -> Result<Repository, ChangesError> {
    Repository::discover(folder).map_err(|cause| ChangesError::NoRepository { path: folder.to_owned(), cause })
}

fn find<'r>(repository: &'r Repository, sha: &Sha) -> Result<Commit<'r>, ChangesError> {
    let found = Oid::from_str(sha.as_str()).and_then(|id| repository.find_commit(id));
    found.map_err(|cause| ChangesError::NoCommit { sha: sha.clone(), cause })
}

/// Counts every file that differs, and refuses what no feedstock may hold.
fn look_at_files(repository: &Repository, old: Option<&Tree<'_>>, new: &Tree<'_>, changes: &mut Changes) -> Result<(), git2::Error> {
    let mut options = DiffOptions::new();
    options.include_typechange(true).ignore_submodules(false).context_lines(0);
    let diff = repository.diff_tree_to_tree(old, Some(new), Some(&mut options))?;
    let database = repository.odb()?;
    for delta in diff.deltas() {
        changes.files += 1;
        let file = if delta.status() == Delta::Deleted { delta.old_file() } else { delta.new_file() };
        let path = file.path().map_or_else(|| "?".to_owned(), |path| path.to_string_lossy().into_owned());
        if is_privileged(&path) {
            changes.privileged.push(path.clone());
        }
        if delta.status() == Delta::Deleted {
            continue;
        }
        let unreadable = file.path().and_then(Path::to_str).is_none_or(|path| path.chars().any(char::is_control));
        let why = match file.mode() {
            _ if unreadable => Some("its name has control characters, or is no UTF-8; give it another"),
            FileMode::Commit => Some("a submodule; put its files here"),
            FileMode::Link => Some("a symbolic link; put the file itself here"),
            _ if path == ".gitmodules" => Some("submodules; put their files here"),
            _ => blob_problem(repository, &database, file.id())?,
        };
        changes.refused.extend(why.map(|why| Refused { path, why: why.to_owned() }));
    }
    Ok(())
}

/// Files that say what runs with secrets in reach, and who must agree to it.
fn is_privileged(path: &str) -> bool {
    [".github/", ".forgejo/", ".gitea/", ".gitlab"].iter().any(|start| path.starts_with(start)) || path.ends_with("CODEOWNERS")
}

fn blob_problem(repository: &Repository, database: &git2::Odb<'_>, id: Oid) -> Result<Option<&'static str>, git2::Error> {
    let (size, _) = database.read_header(id)?;
    if size as u64 > LARGEST_FILE {
        return Ok(Some("more than 5 MiB; data belong into a store"));
    }
    let pointer = size as u64 <= LFS_POINTER && repository.find_blob(id)?.content().starts_with(LFS.as_bytes());
    Ok(pointer.then_some("a Git LFS pointer; commit the file itself"))
}

/// A recipe in a tree.
#[derive(Debug)]
struct Found {
    path: String,
    /// Hash of what it means, and of the files beside it.
    identity: String,
}

/// Every recipe of a tree, by id.
fn recipes(repository: &Repository, tree: &Tree<'_>, refused: &mut Vec<Refused>) -> Result<BTreeMap<String, Found>, git2::Error> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for path in paths(repository, tree) {
        let mut refuse = |why: &str| refused.push(Refused { path: path.clone(), why: why.to_owned() });
        if !is_recipe_path(&path) {
            refuse("recipes are named with a-z, A-Z, 0-9, `.`, `_` and `-`");
            continue;
        }
        let Some(text) = text(repository, tree, &path)? else { continue };
        let meaning = fit(&text, &serde_json::Value::Bool(true)).value;
        let stated = meaning.as_ref().and_then(|value| value["id"].as_str()).map(str::to_owned);
        let folder = path.rsplit('/').nth(1).unwrap_or("recipe").to_ascii_lowercase();
        let Some(id) = stated.filter(|id| is_id(id)).or_else(|| Some(folder).filter(|folder| is_id(folder))) else {
            refuse("neither its `id` nor its folder is an id of a dataset: 1 to 80 of a-z, 0-9 and `-`");
            continue;
        };
        if let Some(other) = found.get(&id) {
            refuse(&format!("`{id}` belongs to `{}` already; give this one another id", other.path));
            continue;
        }
        let identity = identity(tree, repository, &path, meaning.as_ref().map_or(text, canonical))?;
        found.insert(id, Found { path, identity });
    }
    Ok(found)
}

/// Paths of the recipes of a tree: the usual places, and what `feedstock/meta.yaml` names.
fn paths(repository: &Repository, tree: &Tree<'_>) -> Vec<String> {
    let mut paths = vec!["recipe.yaml".to_owned(), "feedstock/recipe.yaml".to_owned()];
    if let Some(folder) = tree.get_name("recipes").and_then(|entry| repository.find_tree(entry.id()).ok()) {
        paths.extend(folder.iter().map(|entry| format!("recipes/{}/recipe.yaml", String::from_utf8_lossy(entry.name_bytes()))));
    }
    let meta = text(repository, tree, "feedstock/meta.yaml").ok().flatten().unwrap_or_default();
    let meta = fit(&meta, &Meta::schema()).value.and_then(|value| serde_json::from_value::<Meta>(value).ok());
    let listed =
        meta.iter().flat_map(|meta| meta.listings().iter().filter_map(|listing| listing.path.as_deref()).chain(meta.recipe.as_deref()));
    paths.extend(listed.filter_map(|path| super::feedstock::inside("feedstock", path)));
    paths.retain(|path| tree.get_path(Path::new(path)).is_ok());
    paths.sort();
    paths.dedup();
    paths
}

/// The text of a file; `None` for links, submodules, folders, large files and what is no UTF-8.
fn text(repository: &Repository, tree: &Tree<'_>, path: &str) -> Result<Option<String>, git2::Error> {
    let Ok(entry) = tree.get_path(Path::new(path)) else { return Ok(None) };
    let plain = entry.kind() == Some(ObjectType::Blob) && entry.filemode() != i32::from(FileMode::Link);
    if !plain || repository.odb()?.read_header(entry.id())?.0 as u64 > LARGEST_RECIPE {
        return Ok(None);
    }
    Ok(String::from_utf8(repository.find_blob(entry.id())?.content().to_vec()).ok())
}

/// A value as text, keys sorted: the trees of `recipe` are at most 32 deep.
fn canonical(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, String> = map.iter().map(|(key, value)| (key, canonical(value))).collect();
            format!("{sorted:?}")
        }
        Value::Array(items) => format!("{:?}", items.iter().map(canonical).collect::<Vec<_>>()),
        other => other.to_string(),
    }
}

/// Hash of what a recipe means, and of the files beside it that are for machines.
fn identity(tree: &Tree<'_>, repository: &Repository, path: &str, meaning: String) -> Result<String, git2::Error> {
    let mut hash = Sha256::new();
    hash.update(meaning);
    let folder = path.strip_prefix("recipes/").and_then(|_| path.rsplit_once('/')).map(|(folder, _)| folder);
    if let Some(folder) = folder {
        let folder = repository.find_tree(tree.get_path(Path::new(folder))?.id())?;
        let for_people = |name: &[u8]| name.ends_with(b".md") || name == b"meta.yaml" || name == b"recipe.yaml";
        for entry in folder.iter().filter(|entry| !for_people(entry.name_bytes())) {
            hash.update(entry.name_bytes());
            hash.update(entry.id().as_bytes());
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn compared(before: &BTreeMap<String, Found>, after: &BTreeMap<String, Found>) -> Vec<Changed> {
    let changed = |(id, new): (&String, &Found)| {
        let old = before.get(id);
        let from = old.map(|old| old.path.clone()).filter(|path| *path != new.path);
        let change = match old {
            None => Change::Added,
            Some(old) if old.identity != new.identity => Change::Modified,
            Some(_) if from.is_some() => Change::Renamed,
            Some(_) => return None,
        };
        Some(Changed { id: id.clone(), path: new.path.clone(), change, from })
    };
    let gone = before.iter().filter(|(id, _)| !after.contains_key(*id));
    let gone = gone.map(|(id, old)| Changed { id: id.clone(), path: old.path.clone(), change: Change::Deleted, from: None });
    let mut all: Vec<Changed> = after.iter().filter_map(changed).chain(gone).collect();
    all.sort_by(|one, other| one.id.cmp(&other.id));
    all
}
