//! `gristmill feedstock init`: a repository that tests, bakes and updates its recipes, ready to be committed.
//!
//! The files are templates in `templates/`, filled with words that are checked first. Invariant: a file that exists is never
//! touched, and whatever is filled in cannot leave its place in YAML, Markdown or a shell.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{is_account, is_id};

/// Where the repository lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forge {
    /// GitHub.
    Github,
    /// GitLab.
    Gitlab,
    /// Forgejo or Gitea.
    Forgejo,
}

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where the repository lives.
    pub forge: Forge,
    /// True for a repository of many datasets by many contributors.
    pub staging: bool,
    /// Id of the dataset, or of the staging repository.
    pub id: String,
    /// One line about the dataset.
    pub title: Option<String>,
    /// Account of who looks after it.
    pub maintainer: String,
    /// Where workflows get gristmill from, and its SHA-256 in hexadecimal.
    pub binary: Option<(String, String)>,
    /// Gristmill's own action (`ci/action.yml`) by its full commit id, to be used in place of written-out steps.
    pub action: Option<String>,
}

/// Why a repository cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A word that cannot be filled in.
    #[error("`{given}` is no {what}; {help}")]
    Word {
        /// What was given.
        given: String,
        /// What it should be.
        what: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// A file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// One file to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// From the root of the repository.
    pub path: String,
    /// What it shall hold.
    pub text: String,
}

const SHARED: [(&str, &str); 4] = [
    ("README.md", include_str!("templates/README.md")),
    ("LICENSE", include_str!("templates/LICENSE")),
    ("CODEOWNERS", include_str!("templates/CODEOWNERS")),
    (".gitignore", include_str!("templates/gitignore")),
];
const GITHUB: [(&str, &str); 4] = [
    (".github/workflows/test.yml", include_str!("templates/github/test.yml")),
    (".github/workflows/report.yml", include_str!("templates/github/report.yml")),
    (".github/workflows/bake.yml", include_str!("templates/github/bake.yml")),
    (".github/workflows/update.yml", include_str!("templates/github/update.yml")),
];
const FORGEJO: [(&str, &str); 3] = [
    (".forgejo/workflows/test.yml", include_str!("templates/forgejo/test.yml")),
    (".forgejo/workflows/bake.yml", include_str!("templates/forgejo/bake.yml")),
    (".forgejo/workflows/update.yml", include_str!("templates/forgejo/update.yml")),
];
const GITLAB: [(&str, &str); 1] = [(".gitlab-ci.yml", include_str!("templates/gitlab/gitlab-ci.yml"))];

/// Writes the repository into `folder`. Gives the paths that were written, and those that were there already and were left.
///
/// # Errors
/// [`InitError`].
pub fn init(folder: &Path, wanted: &Wanted) -> Result<(Vec<String>, Vec<String>), InitError> {
    let (mut written, mut left) = (Vec::new(), Vec::new());
    for Plan { path, text } in plan(wanted)? {
        let place = folder.join(&path);
        match create(&place, &text) {
            Ok(()) => written.push(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => left.push(path),
            Err(cause) => return Err(InitError::Write { path: place, cause }),
        }
    }
    Ok((written, left))
}

/// The kernel refuses what exists, links that lead nowhere included. Half a file would be left alone ever after: it is not begun before
/// it is whole.
fn create(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    if fs::symlink_metadata(path).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    super::place(path, text.as_bytes(), folder)
}

/// The files of a repository.
///
/// # Errors
/// [`InitError::Word`].
pub fn plan(wanted: &Wanted) -> Result<Vec<Plan>, InitError> {
    check(wanted)?;
    let workflows: &[(&str, &str)] = match wanted.forge {
        Forge::Github => &GITHUB,
        Forge::Forgejo => &FORGEJO,
        Forge::Gitlab => &GITLAB,
    };
    let recipe = format!("recipes/{}/recipe.yaml", wanted.id);
    let own: Vec<(&str, &str)> = if wanted.staging {
        vec![("recipes/README.md", include_str!("templates/staging.md"))]
    } else {
        vec![("feedstock/meta.yaml", include_str!("templates/meta.yaml")), (&recipe, include_str!("templates/recipe.yaml"))]
    };
    let all = SHARED.iter().copied().chain(own).chain(workflows.iter().copied());
    Ok(all.map(|(path, template)| Plan { path: path.to_owned(), text: filled(template, wanted) }).collect())
}

fn check(wanted: &Wanted) -> Result<(), InitError> {
    let word = |given: &str, what, help| Err(InitError::Word { given: given.to_owned(), what, help });
    if !is_id(&wanted.id) {
        return word(&wanted.id, "id of a dataset", "use `--id` with a-z, 0-9 and `-`");
    }
    if !is_account(&wanted.maintainer) {
        return word(&wanted.maintainer, "account of a code host", "use `--maintainer` with your account's name, without `@`");
    }
    if let Some(title) = wanted.title.as_ref().filter(|title| title.chars().any(char::is_control) || title.chars().count() > 200) {
        return word(title, "title", "use one line of at most 200 characters");
    }
    if let Some(action) = wanted.action.as_ref().filter(|action| wanted.forge != Forge::Github || !is_action(action)) {
        return word(action, "action", "use `OWNER/REPOSITORY/ci@` and a full commit id, on GitHub only");
    }
    let Some((url, sum)) = &wanted.binary else { return Ok(()) };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?%&=+".contains(&byte);
    if !url.starts_with("https://") || !url.bytes().all(plain) {
        return word(url, "address of a binary", "use an `https://` address");
    }
    if sum.len() != 64 || !sum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return word(sum, "SHA-256", "give its 64 hexadecimal digits");
    }
    Ok(())
}

/// True for an action that cannot become another one.
fn is_action(text: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let pinned = |id: &str| id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    text.split_once('@').is_some_and(|(path, id)| path.split('/').count() >= 2 && path.split('/').all(plain) && pinned(id))
}

/// The steps that stand for a mark of the workflows.
fn steps(wanted: &Wanted) -> [(&'static str, String); 3] {
    let (install, test) = match &wanted.action {
        None => (include_str!("templates/steps/install.yml"), include_str!("templates/steps/test.yml")),
        Some(_) => (include_str!("templates/steps/install_action.yml"), include_str!("templates/steps/test_action.yml")),
    };
    let steps = |text: &str| text.trim_end().to_owned();
    [("@INSTALL@", steps(install)), ("@TEST@", steps(test)), ("@ACTION@", wanted.action.clone().unwrap_or_default())]
}

fn filled(template: &str, wanted: &Wanted) -> String {
    let title = wanted.title.clone().unwrap_or_else(|| wanted.id.clone());
    // A JSON string is a YAML string.
    let title = serde_json::Value::from(title).to_string();
    let (url, sum) = wanted.binary.clone().unwrap_or_default();
    let recipe = if wanted.staging { "ID" } else { &wanted.id };
    let secrets = match wanted.forge {
        Forge::Github => {
            ", the role that may write there into `GRISTMILL_ROLE` and its region into `GRISTMILL_REGION`, all of the environment `production`; let that environment ask for a reviewer"
        }
        Forge::Gitlab | Forge::Forgejo => {
            ", and the keys of the store into `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, for protected branches only"
        }
    };
    let what = if wanted.staging {
        "Recipes of many datasets. Each has its folder `recipes/<id>/` and its maintainers."
    } else {
        "The recipe of a dataset: `recipes/` says what becomes one Zarr store, `feedstock/meta.yaml` who looks after it."
    };
    // The title last: nothing that it holds is filled in again.
    let pairs = [
        ("@BADGES@", badges(wanted.forge)),
        ("@WHAT@", what.to_owned()),
        ("@SECRETS@", secrets.to_owned()),
        ("@RECIPE@", recipe.to_owned()),
        ("@URL@", url),
        ("@SHA256@", sum),
        ("@MAINTAINER@", wanted.maintainer.clone()),
        ("@ID@", wanted.id.clone()),
        ("@TITLE@", title),
    ];
    let pairs = steps(wanted).into_iter().chain(pairs);
    pairs.fold(template.to_owned(), |text, (mark, word)| text.replace(mark, &word))
}

/// Addresses relative to the page of the repository, whose owner `init` cannot know.
fn badges(forge: Forge) -> String {
    let badge = |name: &str| format!("[![{name}](../../actions/workflows/{name}.yml/badge.svg)](../../actions/workflows/{name}.yml)");
    match forge {
        Forge::Github | Forge::Forgejo => [badge("test"), badge("bake"), badge("update")].join(" "),
        Forge::Gitlab => "[![pipeline](../badges/main/pipeline.svg)](../-/pipelines)".to_owned(),
    }
}
