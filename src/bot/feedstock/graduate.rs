//! `gristmill feedstock graduate`: a dataset leaves the staging repository for a feedstock of its own.
//!
//! write → commit → (its maintainers push it) → leave: a branch of the staging repository without it. No state is kept of how far it
//! came: every step looks at the two repositories and does what is missing, so it may be stopped anywhere and run again. What is
//! published stays where it is and goes on from there, since the dataset keeps its id. Not for code hosts: creating the repository,
//! pushing, and opening the pull request that merges the branch are for people. Invariant: nothing of the staging repository's work
//! tree or branches but `graduate/ID` changes, and the dataset leaves it only once the feedstock can be fetched with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use git2::{Commit, FileMode, ObjectType, Repository, Signature, Tree};
use serde_json::{Value, json};

use super::init::{self, Forge, InitError, Wanted};
use super::{is_account, is_id};
use crate::recipe::fit;

/// Most files beside a recipe, and most bytes of one.
const MOST_FILES: usize = 1000;
const LARGEST: usize = 5 << 20;
/// Where the staging repository says what went where.
const GRADUATED: &str = "GRADUATED.md";
/// Line of a commit message by which it is known what was taken over.
const TRAILER: &str = "Graduated-from:";

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Graduation {
    /// The dataset.
    pub id: String,
    /// The staging repository; its commit now counts, not its work tree.
    pub staging: PathBuf,
    /// The feedstock's folder: absent, empty, or a clone.
    pub to: PathBuf,
    /// Where the feedstock can be fetched, once it was pushed.
    pub url: Option<String>,
    /// Where the feedstock lives.
    pub forge: Forge,
    /// Where its workflows get gristmill from, and its SHA-256.
    pub binary: Option<(String, String)>,
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The feedstock's files are there and committed.
    Committed,
    /// The branch of the staging repository is there.
    Left,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graduated {
    /// The last step that is done.
    pub step: Step,
    /// What people have to do now; empty when all is done.
    pub next: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Why it stopped.
#[derive(Debug, thiserror::Error)]
pub enum GraduateError {
    /// What is asked for makes no sense.
    #[error("{message}; {help}")]
    Refused {
        /// What is wrong.
        message: String,
        /// What to do.
        help: &'static str,
    },
    /// A file of the feedstock is another one already.
    #[error("`{}` is there and is not what the staging repository has; remove it, or take the dataset elsewhere", path.display())]
    Conflict {
        /// The file.
        path: PathBuf,
    },
    /// A word cannot be filled into a template.
    #[error(transparent)]
    Init(#[from] InitError),
    /// A file cannot be read or written.
    #[error("cannot read or write below `{}`", path.display())]
    Files {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Git failed.
    #[error("git failed")]
    Git(#[from] git2::Error),
    /// It was stopped; run it again.
    #[error("stopped; run it again, it goes on from there")]
    Stopped,
}

/// Asked before everything that changes something; false stops there.
pub type Leave<'a> = &'a mut dyn FnMut(&str) -> bool;

/// Goes as far as can be gone now.
///
/// # Errors
/// [`GraduateError`].
pub fn graduate(wanted: &Graduation, leave: Leave<'_>) -> Result<Graduated, GraduateError> {
    if !is_id(&wanted.id) {
        return Err(refused(format!("`{}` is no id of a dataset", wanted.id), "give the name of its folder below `recipes/`"));
    }
    let staging = Repository::discover(&wanted.staging)?;
    let head = staging.head()?.peel_to_commit()?;
    if let Some(row) = left(&staging, &head, &wanted.id)? {
        return Ok(Graduated { step: Step::Left, next: Vec::new(), warnings: vec![format!("it left already: {row}")] });
    }
    let move_of = Move { wanted, staging: &staging, head: &head, source: source(&staging, &head, &wanted.id)? };
    let feedstock = move_of.write(leave)?;
    let commit = move_of.commit(&feedstock, leave)?;
    move_of.depart(&commit, leave)
}

fn refused(message: String, help: &'static str) -> GraduateError {
    GraduateError::Refused { message, help }
}

/// The row of [`GRADUATED`] about a dataset that is not in the staging repository any more.
fn left(staging: &Repository, head: &Commit<'_>, id: &str) -> Result<Option<String>, GraduateError> {
    let tree = head.tree()?;
    let there = tree.get_path(&Path::new("recipes").join(id)).is_ok();
    let row = text(staging, &tree, &format!("recipes/{GRADUATED}"))
        .and_then(|text| text.lines().find(|line| is_row(line, id)).map(str::to_owned));
    Ok(row.filter(|_| !there))
}

fn is_row(line: &str, id: &str) -> bool {
    line.starts_with(&format!("| {id} |"))
}

fn text(repository: &Repository, tree: &Tree<'_>, path: &str) -> Option<String> {
    let entry = tree.get_path(Path::new(path)).ok()?;
    let plain = entry.kind() == Some(ObjectType::Blob) && entry.filemode() != i32::from(FileMode::Link);
    let blob = plain.then(|| repository.find_blob(entry.id()).ok())??;
    String::from_utf8(blob.content().to_vec()).ok()
}

/// A file: path from the root of the repository, and its bytes.
type File = (String, Vec<u8>);

/// The files of a recipe at a commit, each a plain one.
fn source(repository: &Repository, head: &Commit<'_>, id: &str) -> Result<Vec<File>, GraduateError> {
    let folder = format!("recipes/{id}");
    let tree = head.tree()?;
    let absent = || refused(format!("`{folder}/recipe.yaml` is not in the staging repository"), "commit it, or name another dataset");
    let entry = tree.get_path(Path::new(&folder)).map_err(|_| absent())?;
    let mut files = Vec::new();
    let mut folders = vec![(folder.clone(), repository.find_tree(entry.id())?)];
    while let Some((path, tree)) = folders.pop() {
        for entry in &tree {
            let name = entry.name().ok().filter(|name| is_plain(name));
            let name = name.ok_or_else(|| refused(format!("a file below `{path}` has a strange name"), "give it another"))?;
            let below = format!("{path}/{name}");
            match entry.kind() {
                Some(ObjectType::Tree) => folders.push((below, repository.find_tree(entry.id())?)),
                Some(ObjectType::Blob) if entry.filemode() != i32::from(FileMode::Link) => {
                    let content = repository.find_blob(entry.id())?.content().to_vec();
                    files.push((below, content));
                }
                _ => return Err(refused(format!("`{below}` is a link or a submodule"), "put the file itself there")),
            }
        }
        if files.len() > MOST_FILES || files.iter().any(|(_, content)| content.len() > LARGEST) {
            return Err(refused(format!("`{folder}` holds more than recipes do"), "data belong into a store"));
        }
    }
    files.sort();
    if files.iter().any(|(path, _)| *path == format!("{folder}/recipe.yaml")) { Ok(files) } else { Err(absent()) }
}

fn is_plain(name: &str) -> bool {
    let strange = |letter: char| letter.is_control() || matches!(letter, '/' | '\\' | ':');
    !name.is_empty() && ![".", ".."].contains(&name) && !name.eq_ignore_ascii_case(".git") && !name.chars().any(strange)
}

struct Move<'a> {
    wanted: &'a Graduation,
    staging: &'a Repository,
    head: &'a Commit<'a>,
    source: Vec<File>,
}

impl Move<'_> {
    fn recipe(&self) -> String {
        format!("recipes/{}/recipe.yaml", self.wanted.id)
    }

    /// The feedstock with all of its files. What is committed there already is not looked at again: it may have gone on.
    fn write(&self, leave: Leave<'_>) -> Result<Repository, GraduateError> {
        let to = &self.wanted.to;
        let failed = |cause| GraduateError::Files { path: to.clone(), cause };
        let feedstock = if let Ok(there) = Repository::open(to) {
            there
        } else {
            ask(leave, "create the repository")?;
            fs::create_dir_all(to).map_err(failed)?;
            Repository::init(to)?
        };
        if committed(&feedstock, &self.recipe()).is_some() {
            return Ok(feedstock);
        }
        for (path, content) in self.files()? {
            let place = to.join(&path);
            let there = match fs::symlink_metadata(&place) {
                Ok(about) if about.is_file() => Some(fs::read(&place).map_err(failed)?),
                Ok(_) => return Err(GraduateError::Conflict { path: place }),
                Err(_) => None,
            };
            match there {
                Some(there) if there != content && self.source.iter().any(|(own, _)| *own == path) => {
                    return Err(GraduateError::Conflict { path: place });
                }
                Some(_) => {}
                None => {
                    ask(leave, &path)?;
                    put(&place, &content, feedstock.path()).map_err(failed)?;
                }
            }
        }
        Ok(feedstock)
    }

    /// Everything that the feedstock begins with.
    fn files(&self) -> Result<Vec<File>, GraduateError> {
        let text = self.source.iter().find(|(path, _)| *path == self.recipe()).map(|(_, content)| String::from_utf8_lossy(content));
        let recipe = text.and_then(|text| fit(&text, &Value::Bool(true)).value).unwrap_or_default();
        if recipe["id"] != self.wanted.id {
            return Err(refused(format!("`{}` has another `id` than its folder", self.recipe()), "let them be the same"));
        }
        let people: Vec<String> =
            recipe["maintainers"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let accounts: Vec<&String> = people.iter().filter(|name| is_account(name)).collect();
        let Some(first) = accounts.first() else {
            return Err(refused(format!("`{}` names no account as maintainer", self.recipe()), "add `maintainers: [ACCOUNT]`"));
        };
        let title = recipe["title"].as_str().unwrap_or(&self.wanted.id);
        let words = Wanted {
            forge: self.wanted.forge,
            staging: false,
            id: self.wanted.id.clone(),
            title: Some(title.to_owned()),
            maintainer: (*first).clone(),
            binary: self.wanted.binary.clone(),
            action: None,
        };
        let owners: String = accounts.iter().map(|account| format!(" @{account}")).collect();
        let own = |path: &str, text: String| match path {
            "feedstock/meta.yaml" => meta(&self.wanted.id, &recipe, &people),
            "CODEOWNERS" => text.replace(&format!("* @{first}"), &format!("*{owners}")),
            _ => text,
        };
        let begun = init::plan(&words)?.into_iter().filter(|file| file.path != self.recipe());
        let begun = begun.map(|file| (file.path.clone(), own(&file.path, file.text).into_bytes()));
        Ok(self.source.iter().cloned().chain(begun).collect())
    }

    /// The commit that the dataset came with.
    fn commit<'r>(&self, feedstock: &'r Repository, leave: Leave<'_>) -> Result<Commit<'r>, GraduateError> {
        if let Some(commit) = committed(feedstock, &self.recipe()) {
            return Ok(commit);
        }
        let mut index = feedstock.index()?;
        for (path, _) in self.files()? {
            index.add_path(Path::new(&path))?;
        }
        ask(leave, "commit")?;
        index.write()?;
        let tree = feedstock.find_tree(index.write_tree()?)?;
        let parent = feedstock.head().ok().and_then(|head| head.peel_to_commit().ok());
        let who = signature(feedstock)?;
        let message = format!(
            "Take over {} from the staging repository\n\n{}{TRAILER} {}\n",
            self.wanted.id,
            self.authors()?.iter().map(|author| format!("Co-authored-by: {author}\n")).collect::<String>(),
            self.head.id()
        );
        let id = feedstock.commit(Some("HEAD"), &who, &who, &message, &tree, &parent.iter().collect::<Vec<_>>())?;
        Ok(feedstock.find_commit(id)?)
    }

    /// Who worked on the recipe, so that its own repository names them.
    fn authors(&self) -> Result<Vec<String>, GraduateError> {
        let path = PathBuf::from(format!("recipes/{}", self.wanted.id));
        let entry = |commit: &Commit<'_>| commit.tree().and_then(|tree| tree.get_path(&path).map(|entry| entry.id())).ok();
        let mut walk = self.staging.revwalk()?;
        walk.push(self.head.id())?;
        let mut authors = Vec::new();
        for id in walk.take(MOST_FILES) {
            let commit = self.staging.find_commit(id?)?;
            let (now, author) = (entry(&commit), commit.author());
            let changed = now.is_some() && commit.parents().all(|parent| entry(&parent) != now);
            let plain =
                |text: &str| text.chars().filter(|letter| !letter.is_control() && !"<>".contains(*letter)).take(100).collect::<String>();
            let author = format!("{} <{}>", plain(author.name().unwrap_or("?")), plain(author.email().unwrap_or_default()));
            if changed && !authors.contains(&author) {
                authors.push(author);
            }
        }
        authors.sort();
        Ok(authors)
    }

    /// The branch of the staging repository without the dataset, once the feedstock can be fetched.
    fn depart(&self, commit: &Commit<'_>, leave: Leave<'_>) -> Result<Graduated, GraduateError> {
        let (id, mut warnings) = (&self.wanted.id, Vec::new());
        let Some(url) = &self.wanted.url else {
            let next = vec![
                format!("create an empty repository for it and push `{}` there", self.wanted.to.display()),
                "run this again with `--url` and the repository's address".to_owned(),
            ];
            return Ok(Graduated { step: Step::Committed, next, warnings });
        };
        if url.chars().any(|letter| letter.is_control() || letter.is_whitespace() || "|`<>".contains(letter)) {
            return Err(refused("the address has letters that no address has".to_owned(), "give the feedstock's address"));
        }
        match fetched(url) {
            Some(heads) if !heads.contains(&commit.id()) => {
                return Err(refused(format!("`{url}` does not have commit {} at the head of any branch", commit.id()), "push it first"));
            }
            Some(_) => {}
            None => {
                warnings.push(format!("`{url}` cannot be looked at from here: that it has commit {} is taken at your word", commit.id()));
            }
        }
        let branch = format!("graduate/{id}");
        let there = self.staging.find_branch(&branch, git2::BranchType::Local).ok();
        let tip = there.and_then(|branch| branch.get().peel_to_commit().ok());
        let done = tip.is_some_and(|tip| {
            tip.parent_id(0).ok() == Some(self.head.id()) && left(self.staging, &tip, id).is_ok_and(|row| row.is_some())
        });
        if !done {
            ask(leave, "branch")?;
            self.branch(&branch, url, commit)?;
        }
        let next = vec![format!("push the branch `{branch}` of the staging repository and open a pull request for it")];
        Ok(Graduated { step: Step::Left, next, warnings })
    }

    fn branch(&self, branch: &str, url: &str, commit: &Commit<'_>) -> Result<(), GraduateError> {
        let (id, root) = (&self.wanted.id, self.head.tree()?);
        let recipes = self.staging.find_tree(root.get_path(Path::new("recipes"))?.id())?;
        let before = text(self.staging, &recipes, GRADUATED).unwrap_or_else(|| {
            "# Datasets with a feedstock of their own\n\n| dataset | feedstock | since |\n| --- | --- | --- |\n".to_owned()
        });
        let kept: String = before.lines().filter(|line| !is_row(line, id)).map(|line| format!("{line}\n")).collect();
        let row = self.staging.blob(format!("{kept}| {id} | {url} | {} |\n", commit.id()).as_bytes())?;
        let mut fewer = self.staging.treebuilder(Some(&recipes))?;
        fewer.remove(id.as_str())?;
        fewer.insert(GRADUATED, row, FileMode::Blob.into())?;
        let mut whole = self.staging.treebuilder(Some(&root))?;
        whole.insert("recipes", fewer.write()?, FileMode::Tree.into())?;
        let tree = self.staging.find_tree(whole.write()?)?;
        let who = signature(self.staging)?;
        let message = format!("Let {id} go: it has a feedstock of its own\n\n{url}\n");
        let made = self.staging.commit(None, &who, &who, &message, &tree, &[self.head])?;
        self.staging.branch(branch, &self.staging.find_commit(made)?, true)?;
        Ok(())
    }
}

fn ask(leave: Leave<'_>, what: &str) -> Result<(), GraduateError> {
    if leave(what) { Ok(()) } else { Err(GraduateError::Stopped) }
}

/// The commit at the head of a repository, if it has the recipe.
fn committed<'r>(repository: &'r Repository, recipe: &str) -> Option<Commit<'r>> {
    let commit = repository.head().ok()?.peel_to_commit().ok()?;
    commit.tree().ok()?.get_path(Path::new(recipe)).is_ok().then_some(commit)
}

fn put(path: &Path, content: &[u8], git: &Path) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(git))?;
    super::place(path, content, git)
}

fn signature(repository: &Repository) -> Result<Signature<'static>, GraduateError> {
    repository.signature().map_err(|_| refused("git does not know who you are".to_owned(), "set `user.name` and `user.email` of git"))
}

/// Commits at the heads of a repository; `None` if nobody can tell from here (an address that takes a login, or another program).
fn fetched(url: &str) -> Option<Vec<git2::Oid>> {
    let mut remote = git2::Remote::create_detached(url).ok()?;
    remote.connect(git2::Direction::Fetch).ok()?;
    Some(remote.list().ok()?.iter().map(git2::RemoteHead::oid).collect())
}

/// `feedstock/meta.yaml` from what the recipe says. JSON is YAML, so no text of the recipe leaves its place.
fn meta(id: &str, recipe: &Value, people: &[String]) -> String {
    let title = &recipe["title"];
    let description = if recipe["description"].is_string() { &recipe["description"] } else { title };
    let provider = |one: &Value| {
        let keys = ["name", "description", "roles", "url"].into_iter().filter(|key| !one[*key].is_null());
        format!("    - {}\n", keys.map(|key| (key.to_owned(), one[key].clone())).collect::<Value>())
    };
    let providers: String = recipe["providers"].as_array().into_iter().flatten().map(provider).collect();
    let providers = if providers.is_empty() { " []\n".to_owned() } else { format!("\n{providers}") };
    let person = |name: &String| {
        let account = is_account(name).then(|| json!({"name": name, "github": name}));
        format!("  - {}\n", account.unwrap_or_else(|| json!({"name": name})))
    };
    format!(
        "# What this feedstock holds, with the keys of Pangeo Forge and LEAP. `gristmill feedstock lint` checks it.\ntitle: {title}\ndescription: {description}\nrecipes:\n  - id: {id}\n    path: ../recipes/{id}/recipe.yaml\nprovenance:\n  providers:{providers}  license: {}\nmaintainers:\n{}",
        recipe["license"],
        people.iter().map(person).collect::<String>()
    )
}
