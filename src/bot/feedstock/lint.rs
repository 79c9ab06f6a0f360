//! `gristmill feedstock lint`: is the repository one whose recipes can be tested and baked by strangers and workflows?
//!
//! Offline; all problems at once, each with its file and line. What a recipe alone can show is `recipe`'s to judge and only
//! repeated here. Invariant: no link is followed, nothing outside the folder is read, nothing is written.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

use jiff::civil::Date;
use serde::Serialize;

use super::meta::{Meta, Recipes};
use super::tree::{self, Entry, Kind};
use super::{is_account, is_id};
use crate::recipe::diagnostic::{Diagnostic, Severity, Span};
use crate::recipe::lint::is_license;
use crate::recipe::{Recipe, RecipeText, fit, parse_on};

/// Bytes of a recipe that are read: one more than it may have.
const LONGEST_RECIPE: u64 = (1 << 20) + 1;
/// Largest file of a feedstock: recipes, pictures and lists are smaller, data belong elsewhere.
const LARGEST_FILE: u64 = 5 << 20;
/// Largest feedstock.
const LARGEST_TREE: u64 = 50 << 20;
/// First words of a Git LFS pointer (git-lfs, docs/spec.md).
pub(in crate::bot) const LFS: &str = "version https://git-lfs.github.com/spec/";

/// A problem of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// From the root of the repository.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// Name of the rule: that of a diagnostic, or one of those in `docs/feedstock.md`.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// A recipe of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its `id`.
    pub id: String,
    /// From the root of the repository.
    pub path: String,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Lint {
    /// Recipes that can be read.
    pub recipes: Vec<Listed>,
    /// Problems, by file and line.
    pub findings: Vec<Finding>,
}

impl Lint {
    /// Number of findings that are errors.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error).count()
    }
}

/// Checks the repository at `folder`, on a day for recipes whose ends move.
///
/// # Errors
/// If the folder cannot be read.
pub fn lint(folder: &Path, today: Date) -> io::Result<Lint> {
    let (entries, more) = tree::entries(folder)?;
    let mut linter = Linter { folder, today, entries, lint: Lint::default(), owners: BTreeMap::new(), recipes: BTreeMap::new() };
    if more {
        linter.error(".", "too-many-files", format!("more than {} files", tree::MOST_FILES), "a feedstock holds recipes, not data");
    }
    linter.files();
    linter.every_recipe()?;
    linter.meta()?;
    linter.people()?;
    linter.workflows()?;
    let mut lint = linter.lint;
    lint.recipes.sort_by(|one, other| one.path.cmp(&other.path));
    lint.findings.sort_by(|one, other| (&one.file, one.line, one.column).cmp(&(&other.file, other.line, other.column)));
    Ok(lint)
}

struct Linter<'a> {
    folder: &'a Path,
    today: Date,
    entries: Vec<Entry>,
    lint: Lint,
    /// Path of the first recipe of each id.
    owners: BTreeMap<String, String>,
    /// Recipes without errors, by path.
    recipes: BTreeMap<String, Recipe>,
}

impl Linter<'_> {
    fn find(&mut self, (file, line, column): (&str, usize, usize), rule: &str, severity: Severity, message: String, help: &str) {
        let help = (!help.is_empty()).then(|| help.to_owned());
        self.lint.findings.push(Finding { file: file.to_owned(), line, column, rule: rule.to_owned(), severity, message, help });
    }

    fn error(&mut self, file: &str, rule: &str, message: String, help: &str) {
        self.find((file, 1, 1), rule, Severity::Error, message, help);
    }

    fn warning(&mut self, file: &str, rule: &str, message: String, help: &str) {
        self.find((file, 1, 1), rule, Severity::Warning, message, help);
    }

    fn repeat(&mut self, file: &str, text: &str, problems: &[Diagnostic]) {
        for problem in problems {
            let (line, column) = problem.label.as_ref().map_or((1, 1), |(span, _)| span.line_and_column(text));
            let label = problem.label.as_ref().map(|(_, label)| label.as_str()).filter(|label| !label.is_empty());
            let help = [label, problem.help.as_deref()].into_iter().flatten().collect::<Vec<_>>().join("; ");
            self.find((file, line, column), problem.code.name(), problem.severity, problem.message.clone(), &help);
        }
    }

    fn has(&self, path: &str) -> bool {
        self.entries.iter().any(|entry| entry.path == path && entry.kind == Kind::File)
    }

    /// What no feedstock may hold.
    fn files(&mut self) {
        let mut found = Vec::new();
        for entry in &self.entries {
            let problem = match entry.kind {
                Kind::Link => Some(("link", "a symbolic link".to_owned(), "put the file itself here")),
                Kind::Repository => Some(("submodule", "a repository inside the repository".to_owned(), "put its files here")),
                Kind::File if entry.path == ".gitmodules" => Some(("submodule", "submodules".to_owned(), "put their files here")),
                Kind::File if entry.size > LARGEST_FILE => {
                    Some(("large-file", format!("{} bytes; at most {LARGEST_FILE}", entry.size), "data belong into a store"))
                }
                Kind::File => None,
            };
            found.extend(problem.map(|problem| (entry.path.clone(), problem)));
        }
        let total: u64 = self.entries.iter().map(|entry| entry.size).sum();
        if total > LARGEST_TREE {
            let message = format!("{total} bytes in all; every test clones them");
            self.warning(".", "large-repository", message, "data belong into a store");
        }
        found.into_iter().for_each(|(path, (rule, message, help))| self.error(&path, rule, message, help));
    }

    fn every_recipe(&mut self) -> io::Result<()> {
        let is_recipe = |path: &str| {
            let below = path.strip_prefix("recipes/").and_then(|rest| rest.split_once('/'));
            matches!(path, "recipe.yaml" | "feedstock/recipe.yaml") || below.is_some_and(|(_, name)| name == "recipe.yaml")
        };
        let paths: Vec<String> = self
            .entries
            .iter()
            .filter(|entry| entry.kind == Kind::File && is_recipe(&entry.path))
            .map(|entry| entry.path.clone())
            .collect();
        paths.iter().try_for_each(|path| self.recipe(path))
    }

    fn recipe(&mut self, path: &str) -> io::Result<()> {
        let text = tree::text(&self.folder.join(path), LONGEST_RECIPE)?;
        if text.starts_with(LFS) {
            self.error(path, "lfs", "a Git LFS pointer, not the file".to_owned(), "`git lfs untrack` it and commit the file itself");
            return Ok(());
        }
        let base = self.folder.join(path).parent().map_or_else(|| self.folder.to_owned(), Path::to_owned);
        let text = RecipeText { name: path.to_owned(), text };
        match parse_on(&text, &base, Some(self.today)) {
            Ok((recipe, advice)) => {
                self.repeat(path, &text.text, &advice);
                self.judge(path, recipe);
            }
            Err(problems) => self.repeat(path, &text.text, &problems),
        }
        Ok(())
    }

    /// What a recipe without errors must be besides, in a repository.
    fn judge(&mut self, path: &str, recipe: Recipe) {
        let at = |key: &str| (path, line_of(&recipe.text.text, key), 1);
        let (id, place) = (recipe.id.clone(), at("id:"));
        if !is_id(&id) {
            self.find(place, "id", Severity::Error, format!("`{id}` is no id of a dataset"), "1 to 80 of a-z, 0-9 and `-`");
        }
        let folder = path.strip_prefix("recipes/").and_then(|rest| rest.split('/').next()).unwrap_or(&id);
        if folder != id {
            let help = "name the folder like the dataset, so that nobody takes another's place";
            self.find(place, "id-and-folder", Severity::Error, format!("the id is `{id}`, the folder `{folder}`"), help);
        }
        if let Some(owner) = self.owners.get(&id).cloned() {
            let message = format!("`{id}` belongs to `{owner}` already");
            self.find(place, "two-owners", Severity::Error, message, "each dataset has one recipe; give this one another id");
        }
        self.owners.entry(id.clone()).or_insert_with(|| path.to_owned());
        let license = &recipe.about.license;
        if !is_license(license) {
            let message = format!("`{license}` is neither an SPDX id nor a URL");
            self.find(at("license:"), "license", Severity::Error, message, "spdx.org/licenses lists the ids");
        }
        if recipe.inputs.first().is_some_and(|input| is_example(&input.url)) {
            let message = "the inputs are those of the template".to_owned();
            self.find(at("inputs:"), "template", Severity::Warning, message, "say where the files really are");
        }
        self.lint.recipes.push(Listed { id, path: path.to_owned() });
        self.recipes.insert(path.to_owned(), recipe);
    }

    /// `feedstock/meta.yaml`, where there is one: staging repositories have none.
    fn meta(&mut self) -> io::Result<()> {
        const PATH: &str = "feedstock/meta.yaml";
        if self.has("feedstock/meta.yml") {
            self.error("feedstock/meta.yml", "meta-name", "nobody reads `meta.yml`".to_owned(), "name it `meta.yaml`");
        }
        if !self.has(PATH) {
            if self.lint.recipes.is_empty() && !self.entries.iter().any(|entry| entry.path.starts_with("recipes/")) {
                let help = "`gristmill feedstock init` writes what a feedstock needs";
                self.error(".", "no-feedstock", "neither feedstock/meta.yaml nor recipes/ is here".to_owned(), help);
            }
            return Ok(());
        }
        let text = tree::text(&self.folder.join(PATH), LONGEST_RECIPE)?;
        let fitted = fit(&text, &Meta::schema());
        self.repeat(PATH, &text, &fitted.problems);
        let Some(meta) = fitted.value.and_then(|value| serde_json::from_value::<Meta>(value).ok()) else { return Ok(()) };
        let at = |pointer: String| fitted.places.get(&pointer).copied().unwrap_or(Span::default()).line_and_column(&text);
        self.listings(PATH, &meta, &at);
        self.provenance(PATH, &meta, &at);
        for (number, maintainer) in meta.maintainers.iter().enumerate() {
            let (line, column) = at(format!("/maintainers/{number}"));
            if maintainer.github.as_ref().is_some_and(|account| !is_account(account)) {
                let message = format!("`{}` is no account's name", maintainer.github.as_deref().unwrap_or_default());
                self.find((PATH, line, column), "maintainers", Severity::Error, message, "write it without `@`");
            }
            if maintainer.orcid.as_ref().is_some_and(|orcid| !is_orcid(orcid)) {
                let message = format!("`{}` is no ORCID", maintainer.orcid.as_deref().unwrap_or_default());
                self.find(
                    (PATH, line, column),
                    "maintainers",
                    Severity::Error,
                    message,
                    "four groups of four digits; the last is a check digit",
                );
            }
        }
        if meta.maintainers.iter().all(|maintainer| maintainer.github.is_none()) {
            let (line, column) = at("/maintainers".to_owned());
            let message = "no maintainer has an account, so nobody can be asked".to_owned();
            self.find((PATH, line, column), "maintainers", Severity::Error, message, "add `github: ACCOUNT` to one of them");
        }
        Ok(())
    }

    /// `recipes` of `meta.yaml`.
    fn listings(&mut self, file: &str, meta: &Meta, at: &dyn Fn(String) -> (usize, usize)) {
        let python = "Gristmill runs no Python; write the recipe as YAML and name its `path`";
        if let Some(Recipes::Python(_)) = &meta.recipes {
            let (line, column) = at("/recipes".to_owned());
            self.find((file, line, column), "python-recipe", Severity::Error, "`dict_object` names Python code".to_owned(), python);
        }
        for (number, listing) in meta.listings().iter().enumerate() {
            let (line, column) = at(format!("/recipes/{number}"));
            if listing.path.is_none() && (listing.object.is_some() || listing.dict_object.is_some()) {
                self.find((file, line, column), "python-recipe", Severity::Error, "the recipe is Python code".to_owned(), python);
                continue;
            }
            let written = listing.path.clone().unwrap_or_else(|| "recipe.yaml".to_owned());
            let Some(path) = inside("feedstock", &written) else {
                let message = format!("`{written}` lies outside the feedstock");
                self.find((file, line, column), "outside", Severity::Error, message, "");
                continue;
            };
            if !self.has(&path) {
                self.find((file, line, column), "absent", Severity::Error, format!("`{path}` is not there"), "");
            } else if !self.recipes.contains_key(&path) && !self.lint.findings.iter().any(|finding| finding.file == path) {
                // Not at one of the usual places, so not read yet; what cannot be read is told by whoever opens it.
                let _ = self.recipe(&path);
            }
            let stated = self.recipes.get(&path).map(|recipe| recipe.id.clone());
            if let (Some(id), Some(stated)) = (&listing.id, stated)
                && *id != stated
            {
                let message = format!("the id is `{id}` here and `{stated}` in `{path}`");
                self.find((file, line, column), "id", Severity::Error, message, "they must be the same");
            }
        }
    }

    fn provenance(&mut self, file: &str, meta: &Meta, at: &dyn Fn(String) -> (usize, usize)) {
        let license = &meta.provenance.license;
        let (line, column) = at("/provenance/license".to_owned());
        if !is_license(license) {
            let message = format!("`{license}` is neither an SPDX id nor a URL");
            self.find((file, line, column), "license", Severity::Error, message, "spdx.org/licenses lists the ids");
        }
        let other = self.recipes.iter().find(|(_, recipe)| recipe.about.license != *license);
        if let Some((path, recipe)) = other {
            let message = format!("the licence is `{license}` here and `{}` in `{path}`", recipe.about.license);
            self.find((file, line, column), "license", Severity::Error, message, "they must be the same");
        }
        if meta.provenance.providers.is_empty() {
            let (line, column) = at("/provenance/providers".to_owned());
            self.find((file, line, column), "providers", Severity::Error, "nobody made the data".to_owned(), "name a provider");
        }
    }

    /// Somebody must answer for each recipe, and be asked about changes.
    fn people(&mut self) -> io::Result<()> {
        if !self.has("feedstock/meta.yaml") {
            let nameless = self.recipes.iter().filter(|(_, recipe)| recipe.about.maintainers.is_empty());
            let nameless: Vec<String> = nameless.map(|(path, _)| path.clone()).collect();
            let help = "add `maintainers: [ACCOUNT]`";
            nameless.iter().for_each(|path| self.error(path, "maintainers", "nobody looks after the recipe".to_owned(), help));
        }
        let places = ["CODEOWNERS", ".github/CODEOWNERS", ".gitlab/CODEOWNERS", ".forgejo/CODEOWNERS", "docs/CODEOWNERS"];
        match places.into_iter().find(|path| self.has(path)) {
            None => self.warning(
                "CODEOWNERS",
                "owners",
                "there is no CODEOWNERS".to_owned(),
                "without it anybody may agree to a change of the workflows",
            ),
            Some(path) => {
                let text = tree::text(&self.folder.join(path), LONGEST_RECIPE)?;
                let names = |line: &str| !line.trim_start().starts_with('#') && line.contains(['@']);
                if !text.lines().any(names) {
                    self.error(path, "owners", "it names nobody".to_owned(), "write `* @ACCOUNT`");
                }
            }
        }
        if !["LICENSE", "LICENSE.md", "LICENSE.txt", "COPYING"].into_iter().any(|path| self.has(path)) {
            self.warning("LICENSE", "repository-license", "the recipes themselves have no licence".to_owned(), "add a LICENSE");
        }
        Ok(())
    }

    /// Workflows whose binary is not pinned fail; better to hear of it here.
    fn workflows(&mut self) -> io::Result<()> {
        let is_workflow = |path: &str| path.contains("/workflows/") || path == ".gitlab-ci.yml";
        let paths: Vec<String> = self
            .entries
            .iter()
            .filter(|entry| entry.kind == Kind::File && is_workflow(&entry.path))
            .map(|entry| entry.path.clone())
            .collect();
        for path in paths {
            let text = tree::text(&self.folder.join(&path), LONGEST_RECIPE)?;
            if let Some(line) = text.lines().position(|line| line.trim() == "GRISTMILL_SHA256: \"\"") {
                let message = "no binary of gristmill is pinned, so every job will fail".to_owned();
                self.find((&path, line + 1, 1), "unpinned", Severity::Warning, message, "fill in GRISTMILL_URL and GRISTMILL_SHA256");
            }
            if let Some(line) = text.lines().position(|line| line.trim_start().starts_with("pull_request_target")) {
                let message = "`pull_request_target` runs with secrets in reach of a stranger's pull request".to_owned();
                self.find((&path, line + 1, 1), "pull-request-target", Severity::Error, message, "use `pull_request`");
            }
        }
        Ok(())
    }
}

/// Line, from 1, of a key at the left margin.
fn line_of(text: &str, key: &str) -> usize {
    text.lines().position(|line| line.starts_with(key)).map_or(1, |line| line + 1)
}

/// True for addresses that nobody can fetch (RFC 2606).
fn is_example(url: &str) -> bool {
    let host = url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    ["example.org", "example.com", "example.net"].iter().any(|name| host == *name || host.ends_with(&format!(".{name}")))
}

/// `written` from the folder `from`, as a path from the root; `None` if it leaves the root.
pub(in crate::bot) fn inside(from: &str, written: &str) -> Option<String> {
    let mut parts = vec![from.to_owned()];
    for part in Path::new(written).components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str()?.to_owned()),
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

/// An ORCID with its check digit (ISO 7064 11,2).
fn is_orcid(text: &str) -> bool {
    let text = text.trim_start_matches("https://orcid.org/");
    let groups = text.split('-').all(|group| group.len() == 4);
    let letters: Vec<char> = text.chars().filter(|letter| *letter != '-').collect();
    let Some((check, digits)) = letters.split_last().filter(|_| groups && letters.len() == 16) else { return false };
    let Some(total) = digits.iter().try_fold(0_u32, |total, digit| Some((total + digit.to_digit(10)?) * 2 % 11)) else { return false };
    let wanted = (12 - total % 11) % 11;
    if wanted == 10 { *check == 'X' } else { check.to_digit(10) == Some(wanted) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orcids_have_a_check_digit() {
        assert!(is_orcid("0000-0002-1825-0097") && is_orcid("https://orcid.org/0000-0001-5109-3700"));
        assert!(!is_orcid("0000-0002-1825-0098") && !is_orcid("0000000218250097") && !is_orcid(""));
    }

    #[test]
    fn paths_stay_inside() {
        assert_eq!(inside("feedstock", "../recipes/a/recipe.yaml").as_deref(), Some("recipes/a/recipe.yaml"));
        assert_eq!(inside("feedstock", "../../etc/passwd"), None);
        assert_eq!(inside("feedstock", "/etc/passwd"), None);
    }
}
