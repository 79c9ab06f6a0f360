//! Where a recipe comes from: a file, a folder or git repository of recipes, or `GIT_URL@REF#id`.
//!
//! Reads the recipe's text and nothing else of it. A feedstock is a folder with `feedstock/recipe.yaml` (and `feedstock/meta.yaml`,
//! whose `recipe` or `recipes` say where else recipes are), `recipes/<name>/recipe.yaml`, or a `recipe.yaml` at its root.
//! Invariant: what was cloned from elsewhere is marked untrusted, and no file outside the feedstock is read from it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::recipe::RecipeText;

/// Bytes of a recipe that are read; one more than a recipe may have, so that a larger one is noticed.
const READ_LIMIT: u64 = (1 << 20) + 1;

/// A recipe's text and where it was.
#[derive(Debug)]
pub struct Located {
    /// The text, and its name for messages.
    pub text: RecipeText,
    /// Folder that relative paths in it start from.
    pub base: PathBuf,
    /// Commit it was read at; `None` outside git. A local repository's working copy may differ from it.
    pub commit: Option<String>,
    /// True if it was cloned from elsewhere: paths of this machine are then refused by whoever opens inputs.
    pub untrusted: bool,
    /// Keeps a clone alive as long as the recipe is in use.
    clone: Option<tempfile::TempDir>,
}

impl Located {
    /// Folder of the clone, if there is one.
    #[must_use]
    pub fn clone_folder(&self) -> Option<&Path> {
        self.clone.as_ref().map(tempfile::TempDir::path)
    }
}

/// Why a recipe cannot be found or read.
#[derive(Debug, thiserror::Error)]
pub enum FeedstockError {
    /// There is no such file or folder.
    #[error("there is no recipe at `{reference}`; RECIPE is a file, a folder of recipes (`DIR#id`) or `GIT_URL@REF#id`")]
    Absent {
        /// What was asked for.
        reference: String,
    },
    /// A file cannot be read.
    #[error("cannot read `{path}`")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The file is not text.
    #[error("`{path}` is not UTF-8 text, so it is no recipe")]
    NotText {
        /// The file.
        path: String,
    },
    /// The folder holds no recipe.
    #[error("`{place}` holds no recipe; looked for recipe.yaml, feedstock/recipe.yaml, feedstock/meta.yaml and recipes/*/recipe.yaml")]
    NoRecipe {
        /// The folder or repository.
        place: String,
    },
    /// The folder holds several recipes and none was named.
    #[error("`{place}` holds several recipes; add one of: {}", ids.iter().map(|id| format!("#{id}")).collect::<Vec<_>>().join(", "))]
    Several {
        /// The folder or repository.
        place: String,
        /// Their ids.
        ids: Vec<String>,
    },
    /// The folder holds no recipe of that id.
    #[error("`{place}` holds no recipe `{id}`; it has: {}", ids.join(", "))]
    UnknownId {
        /// The folder or repository.
        place: String,
        /// What was asked for.
        id: String,
        /// Their ids.
        ids: Vec<String>,
    },
    /// `feedstock/meta.yaml` cannot be understood.
    #[error("`{path}` is not a feedstock's meta.yaml: {reason}")]
    Meta {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A path leaves the feedstock.
    #[error("`{path}` lies outside the feedstock; recipes are read from inside only")]
    Outside {
        /// The path.
        path: String,
    },
    /// Git failed.
    #[error("cannot clone `{url}`: {reason}")]
    Git {
        /// The repository, without credentials.
        url: String,
        /// What happened, and what to do.
        reason: String,
        /// Why.
        #[source]
        cause: Option<git2::Error>,
    },
}

/// Finds a recipe and reads its text.
///
/// # Errors
/// [`FeedstockError`], each naming what was looked for.
pub fn locate(reference: &str) -> Result<Located, FeedstockError> {
    let whole = Path::new(reference);
    if whole.exists() && !whole.is_dir() {
        let located = file(whole)?;
        return Ok(Located { commit: committed(whole, &located.text.text), ..located });
    }
    let (place, id) = reference.rsplit_once('#').map_or((reference, None), |(place, id)| (place, Some(id)));
    let folder = Path::new(place);
    if folder.is_dir() {
        let path = choose(folder, place, id)?;
        let commit = git2::Repository::discover(folder).ok().and_then(|repository| head(&repository));
        return Ok(Located { commit, ..file(&path)? });
    }
    if is_git(place) { cloned(place, id) } else { Err(FeedstockError::Absent { reference: reference.to_owned() }) }
}

fn is_git(place: &str) -> bool {
    let scp = place.split_once(':').is_some_and(|(host, path)| host.contains('@') && !host.contains('/') && !path.starts_with("//"));
    place.contains("://") || scp || Path::new(place).extension().is_some_and(|extension| extension == "git")
}

fn file(path: &Path) -> Result<Located, FeedstockError> {
    let text = read(path)?;
    // Without links, so that `..` in a recipe means the folder above in text and on disk alike.
    let absolute = fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
    let base = absolute.parent().map_or_else(PathBuf::new, Path::to_owned);
    let commit = None;
    Ok(Located { text: RecipeText { name: path.display().to_string(), text }, base, commit, untrusted: false, clone: None })
}

fn read(path: &Path) -> Result<String, FeedstockError> {
    let unreadable = |cause| FeedstockError::Unreadable { path: path.display().to_string(), cause };
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(unreadable)?.take(READ_LIMIT).read_to_end(&mut bytes).map_err(unreadable)?;
    let truncated = bytes.len() as u64 == READ_LIMIT;
    String::from_utf8(bytes).or_else(|error| {
        // A limit may cut a character in two; the size is then the only problem worth telling.
        let whole = error.utf8_error().valid_up_to();
        let cut = truncated && error.as_bytes().len() - whole < 4;
        if cut { Ok("\n".repeat(READ_LIMIT as usize)) } else { Err(FeedstockError::NotText { path: path.display().to_string() }) }
    })
}

/// The commit that has a file as it is on disk; `None` outside of git and for what was changed since.
fn committed(path: &Path, text: &str) -> Option<String> {
    let path = fs::canonicalize(path).ok()?;
    let repository = git2::Repository::discover(path.parent()?).ok()?;
    let below = path.strip_prefix(fs::canonicalize(repository.workdir()?).ok()?).ok()?;
    let entry = repository.head().ok()?.peel_to_tree().ok()?.get_path(below).ok()?;
    let same = repository.find_blob(entry.id()).ok()?.content() == text.as_bytes();
    if same { head(&repository) } else { None }
}

fn head(repository: &git2::Repository) -> Option<String> {
    repository.head().ok()?.peel_to_commit().ok().map(|commit| commit.id().to_string())
}

/// The path of the recipe of that id, or of the only one.
fn choose(folder: &Path, place: &str, id: Option<&str>) -> Result<PathBuf, FeedstockError> {
    let mut recipes = listed(folder)?;
    recipes.sort();
    recipes.dedup();
    let place = place.to_owned();
    let ids = || recipes.iter().map(|(id, _)| id.clone()).collect();
    match (id, recipes.as_slice()) {
        (_, []) => Err(FeedstockError::NoRecipe { place }),
        (None, [(_, path)]) => Ok(path.clone()),
        (None, _) => Err(FeedstockError::Several { place, ids: ids() }),
        (Some(id), _) => match recipes.iter().find(|(known, _)| known == id) {
            Some((_, path)) => Ok(path.clone()),
            None => Err(FeedstockError::UnknownId { place, id: id.to_owned(), ids: ids() }),
        },
    }
}

/// What `feedstock/meta.yaml` says of recipes; all its other keys are for people and for the catalogue.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Meta {
    recipe: Option<String>,
    recipes: Vec<MetaRecipe>,
}

/// One entry of `recipes` in `meta.yaml`: `{id: …, path: …}`.
#[derive(Debug, Deserialize)]
struct MetaRecipe {
    id: Option<String>,
    path: Option<String>,
}

/// Ids and paths of all recipes of a feedstock.
fn listed(folder: &Path) -> Result<Vec<(String, PathBuf)>, FeedstockError> {
    let mut paths: Vec<(Option<String>, PathBuf)> = meta_recipes(folder)?;
    paths.extend(["recipe.yaml", "feedstock/recipe.yaml"].map(|path| (None, folder.join(path))));
    let mut children: Vec<PathBuf> =
        fs::read_dir(folder.join("recipes")).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    children.sort();
    paths.extend(children.into_iter().map(|child| (None, child.join("recipe.yaml"))));
    let mut recipes: Vec<(String, PathBuf)> = Vec::new();
    for (id, path) in paths.into_iter().filter(|(_, path)| path.is_file()) {
        inside(folder, &path)?;
        if recipes.iter().all(|(_, known)| fs::canonicalize(known).ok() != fs::canonicalize(&path).ok()) {
            recipes.push((id.unwrap_or_else(|| id_of(&path)), path));
        }
    }
    Ok(recipes)
}

fn meta_recipes(folder: &Path) -> Result<Vec<(Option<String>, PathBuf)>, FeedstockError> {
    let path = folder.join("feedstock/meta.yaml");
    if !path.is_file() {
        return Ok(Vec::new());
    }
    inside(folder, &path)?;
    let refuse = |reason: String| FeedstockError::Meta { path: path.display().to_string(), reason };
    let meta: Meta = serde_saphyr::from_str(&read(&path)?).map_err(|error| refuse(error.without_snippet().to_string()))?;
    let mut recipes = Vec::new();
    for (id, written) in
        meta.recipe.map(|path| (None, Some(path))).into_iter().chain(meta.recipes.into_iter().map(|one| (one.id, one.path)))
    {
        let written = written.unwrap_or_else(|| "recipe.yaml".to_owned());
        let target = folder.join("feedstock").join(&written);
        if !target.is_file() {
            return Err(refuse(format!("it names `{written}`, which is not there")));
        }
        recipes.push((id, target));
    }
    Ok(recipes)
}

/// Refuses what links or `..` lead out of the feedstock.
fn inside(folder: &Path, path: &Path) -> Result<(), FeedstockError> {
    let real = fs::canonicalize(folder).and_then(|folder| fs::canonicalize(path).map(|path| path.starts_with(folder)));
    if matches!(real, Ok(true)) { Ok(()) } else { Err(FeedstockError::Outside { path: path.display().to_string() }) }
}

/// The id that the recipe itself states, else its folder's name.
fn id_of(path: &Path) -> String {
    let text = read(path).unwrap_or_default();
    let stated = text
        .lines()
        .find_map(|line| line.strip_prefix("id:"))
        .map(|rest| rest.split('#').next().unwrap_or_default().trim().trim_matches(['"', '\'']));
    let folder = || path.parent().and_then(Path::file_name).map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    stated.filter(|id| !id.is_empty()).map_or_else(folder, str::to_owned)
}

/// `GIT_URL@REF#id`: cloned into a temporary folder.
fn cloned(place: &str, id: Option<&str>) -> Result<Located, FeedstockError> {
    let (url, reference) = split_reference(place);
    let shown = without_credentials(url);
    let fail = |reason: String, cause| FeedstockError::Git { url: shown.clone(), reason, cause };
    if url.starts_with("https://") && !cfg!(feature = "git-https") {
        let reason = "this gristmill was built without https for git; build it with `--features git-https`, or clone it yourself and give the folder";
        return Err(fail(reason.to_owned(), None));
    }
    let folder = tempfile::tempdir().map_err(|error| fail(format!("no temporary folder: {error}"), None))?;
    let repository = check_out(url, reference, folder.path()).map_err(|error| {
        let what = reference.map_or_else(String::new, |name| format!(" (wanted `{name}`)"));
        fail(format!("{}{what}", error.message()), Some(error))
    })?;
    let path = choose(folder.path(), &shown, id)?;
    let located = file(&path)?;
    let relative = path.strip_prefix(folder.path()).unwrap_or(&path).display().to_string();
    let name = format!("{shown}{}:{relative}", reference.map_or_else(String::new, |name| format!("@{name}")));
    let text = RecipeText { name, text: located.text.text };
    Ok(Located { text, commit: head(&repository), untrusted: true, clone: Some(folder), ..located })
}

/// The `@REF` at the end, if it comes after the path has begun (`git@host:path` and `user@host/…` are no references).
fn split_reference(place: &str) -> (&str, Option<&str>) {
    let path = place.find("://").map_or_else(
        || place.find(':').unwrap_or(0),
        |scheme| place.get(scheme + 3..).and_then(|rest| rest.find('/')).map_or(place.len(), |slash| scheme + 3 + slash),
    );
    match place.rsplit_once('@') {
        Some((url, name)) if url.len() > path && !name.is_empty() => (url, Some(name)),
        _ => (place, None),
    }
}

fn without_credentials(url: &str) -> String {
    let Ok(mut parsed) = url::Url::parse(url) else { return url.to_owned() };
    if parsed.username().is_empty() && parsed.password().is_none() {
        return url.to_owned();
    }
    // Only URLs without a host cannot hold credentials, and those were returned above.
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    parsed.to_string()
}

fn check_out(url: &str, reference: Option<&str>, folder: &Path) -> Result<git2::Repository, git2::Error> {
    let mut fetch = git2::FetchOptions::new();
    // A commit can only be found in the whole history; libgit2 has no shallow clones of local repositories.
    let shallow = reference.is_none() && url.contains("://") && !url.starts_with("file://");
    if shallow {
        fetch.depth(1);
    }
    let repository = git2::build::RepoBuilder::new().fetch_options(fetch).clone(url, folder)?;
    if let Some(name) = reference {
        let object = ["refs/remotes/origin/", "refs/tags/", ""]
            .iter()
            .find_map(|prefix| repository.revparse_single(&format!("{prefix}{name}")).ok());
        let object = object.ok_or_else(|| git2::Error::from_str("there is no such branch, tag or commit"))?;
        let commit = object.peel_to_commit()?;
        repository.checkout_tree(commit.as_object(), Some(git2::build::CheckoutBuilder::new().force()))?;
        repository.set_head_detached(commit.id())?;
    }
    Ok(repository)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_from_users_and_hosts() {
        assert_eq!(split_reference("https://h/o/r@v1"), ("https://h/o/r", Some("v1")));
        assert_eq!(split_reference("https://u@h/o/r"), ("https://u@h/o/r", None));
        assert_eq!(split_reference("git@h:o/r.git"), ("git@h:o/r.git", None));
        assert_eq!(split_reference("git@h:o/r.git@main"), ("git@h:o/r.git", Some("main")));
        assert_eq!(split_reference("file:///a/b@feature/x"), ("file:///a/b", Some("feature/x")));
        assert_eq!(without_credentials("https://u:p@h/r"), "https://h/r");
    }
}
