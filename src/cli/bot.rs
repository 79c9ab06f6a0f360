//! `gristmill bot`: what the workflows of a feedstock run. `changes` and `test` see what a stranger wrote and no secret; `comment`
//! sees only the result of `test`.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::bot_serve::{Confine, Serve};
use super::interrupt::stop_flag;
use super::progress::{Progress, Style};
use super::resources::Resources;
use super::{Terminal, exit, watch};
use crate::bot::artifact::{self, Artifact, Change, MOST_RECIPES, Outcome, VERSION, Verdict};
use crate::bot::changes::{Changed, Changes, changes, text_at};
use crate::bot::decide::Sha;
use crate::bot::render;
use crate::bot::trial::{Subject, Terms, skipped, test, unreadable};
use crate::event::Reporter;
use crate::recipe::diagnostic::inert;
use crate::run::with_causes;
use crate::size::ByteSize;
use crate::store::Access;

/// What the workflows of a feedstock run.
#[derive(Debug, Args)]
pub struct Bot {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// List the recipes that a pull request or a merge changes; offline
    Changes(ChangesCommand),
    /// Test those recipes: lint, plan, bake a few files into a local store, verify; write the result as JSON
    Test(TestCommand),
    /// Turn a result of `test`, taken for hostile, into the comment and the checks of a pull request; offline
    Comment(CommentCommand),
    /// Answer webhooks of a code host: the same without workflows, for many repositories
    Serve(Serve),
    /// Set limits on this process and become a job of the server
    #[command(hide = true)]
    Confine(Confine),
}

/// Two commits of a repository.
#[derive(Debug, Args)]
struct Commits {
    /// The repository's folder
    #[arg(long, default_value = ".")]
    repository: PathBuf,
    /// Full id of the commit that it is compared with; without it, or if it is all zeros, every recipe counts as new
    #[arg(long)]
    base: Option<Sha>,
    /// Full id of the commit
    #[arg(long)]
    head: Sha,
}

/// List the recipes that changed.
#[derive(Debug, Args)]
struct ChangesCommand {
    #[command(flatten)]
    commits: Commits,
}

/// Test the recipes that changed.
#[derive(Debug, Args)]
struct TestCommand {
    #[command(flatten)]
    commits: Commits,
    /// Test these only, by path
    #[arg(long, value_name = "PATH")]
    recipe: Vec<String>,
    /// The recipes may be a stranger's: no files of this machine, no private addresses, no credentials, no settings of the working directory
    #[arg(long)]
    untrusted: bool,
    /// Most bytes of files that a recipe's test reads
    #[arg(long, default_value = "2GiB")]
    max_bytes: ByteSize,
    /// Longest time that a recipe's test takes
    #[arg(long, default_value_t = 30)]
    max_minutes: u64,
    /// Folder for the stores; without it the system's temporary one
    #[arg(long)]
    work: Option<PathBuf>,
    /// Where the result is written
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    resources: Resources,
}

/// Turn a result into a comment and checks.
#[derive(Debug, Args)]
struct CommentCommand {
    /// The result; if it is absent, the comment says so
    #[arg(long)]
    artifact: PathBuf,
    /// Full id of the commit that it must be about, from the code host
    #[arg(long)]
    head: Sha,
    /// Folder for comment.md, checks.json and pictures/ID.png; without it the comment is printed
    #[arg(long)]
    out: Option<PathBuf>,
    /// What stands before ID.png in the address of a picture that anybody can fetch; without it the comment shows maps as letters
    #[arg(long, value_name = "URL", value_parser = address)]
    pictures: Option<String>,
    /// Page with the whole log
    #[arg(long, value_name = "URL", value_parser = address)]
    log: Option<String>,
    /// Page where pictures/ can be fetched
    #[arg(long, value_name = "URL", value_parser = address)]
    album: Option<String>,
}

fn address(text: &str) -> Result<String, String> {
    if render::is_address(text) { Ok(text.to_owned()) } else { Err("not an `https://` address of plain letters".to_owned()) }
}

impl Bot {
    /// True for the server: it logs what happens even where nobody asks for it.
    pub(super) fn serves(&self) -> bool {
        matches!(self.command, Command::Serve(_))
    }

    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        match self.command {
            Command::Changes(command) => command.run(terminal),
            Command::Test(command) => command.run(terminal),
            Command::Comment(command) => command.run(terminal),
            Command::Serve(command) => command.run(terminal),
            Command::Confine(command) => command.run(terminal),
        }
    }
}

fn refuse(error: &dyn std::error::Error, terminal: &mut Terminal<'_>) -> io::Result<u8> {
    terminal.tell(&format!("error: {}\n", inert(&with_causes(error))))?;
    Ok(exit::RECIPE)
}

impl ChangesCommand {
    fn run(&self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let Commits { repository, base, head } = &self.commits;
        let found = match changes(repository, base.as_ref(), head) {
            Ok(found) => found,
            Err(error) => return refuse(&error, terminal),
        };
        if terminal.global.json {
            terminal.print(&(serde_json::to_string(&found).unwrap_or_default() + "\n"))?;
        } else {
            terminal.print(&found.recipes.iter().map(row).collect::<String>())?;
            let refused = |one: &artifact::Refused| format!("error: {}: {}\n", inert(&one.path), inert(&one.why));
            terminal.tell(&found.refused.iter().map(refused).collect::<String>())?;
        }
        Ok(if found.refused.is_empty() { exit::DONE } else { exit::RECIPE })
    }
}

fn row(changed: &Changed) -> String {
    let word = match changed.change {
        Change::Added => "added",
        Change::Modified => "modified",
        Change::Renamed => "renamed",
        Change::Deleted => "deleted",
    };
    let from = changed.from.as_ref().map_or(String::new(), |from| format!(" (was {from})"));
    format!("{word:<8}  {}  {}{from}\n", changed.id, changed.path)
}

impl TestCommand {
    fn run(&self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let Commits { repository, base, head } = &self.commits;
        let access = match self.settings(terminal.global.config.as_deref()) {
            Ok(access) => access,
            Err(error) => return refuse(&error, terminal),
        };
        let found = match changes(repository, base.as_ref(), head) {
            Ok(found) => found,
            Err(error) => return refuse(&error, terminal),
        };
        let result = Artifact {
            version: VERSION,
            gristmill: env!("CARGO_PKG_VERSION").to_owned(),
            head: head.clone(),
            files: found.files,
            refused: found.refused.clone(),
            privileged: found.privileged.clone(),
            recipes: self.every_recipe(&found, &access, terminal)?,
        };
        let result = result.fitting();
        let text = serde_json::to_string(&result).unwrap_or_default();
        if let Err(error) = std::fs::write(&self.out, text) {
            terminal.tell(&format!("error: cannot write `{}`: {error}\n", self.out.display()))?;
            return Ok(exit::INTERNAL);
        }
        terminal.print(&render::comment(&result))?;
        let first = result.recipes.iter().map(|outcome| outcome.exit).find(|exit| *exit != exit::DONE);
        Ok(if result.refused.is_empty() { first.unwrap_or(exit::DONE) } else { exit::RECIPE })
    }

    /// The operator's settings; of a stranger's working directory nothing is read.
    fn settings(&self, config: Option<&Path>) -> Result<Access, crate::store::AccessError> {
        let environment = |name: &str| match name {
            "GRISTMILL_UNTRUSTED" if self.untrusted => Some("1".to_owned()),
            name => std::env::var(name).ok(),
        };
        Access::load(config, &environment)
    }

    fn every_recipe(&self, found: &Changes, access: &Access, terminal: &mut Terminal<'_>) -> io::Result<Vec<Outcome>> {
        let work = self.work.clone().unwrap_or_else(std::env::temp_dir);
        std::fs::create_dir_all(&work)?;
        let reporter: Arc<dyn Reporter> = Arc::new(Progress::new(Style::choose(true, false)));
        let (stop, memory) = (stop_flag(), self.resources.memory_bytes());
        let _watch = watch::memory(memory);
        let terms = Terms {
            head: &self.commits.head,
            day: terminal.global.day(),
            bytes: self.max_bytes.0,
            time: Duration::from_secs(self.max_minutes.saturating_mul(60)),
            memory,
            threads: self.resources.thread_count(),
            work: &work,
            access,
            reporter: &reporter,
            stop: &stop,
        };
        let wanted = |changed: &&Changed| self.recipe.is_empty() || self.recipe.contains(&changed.path);
        let chosen: Vec<&Changed> = found.recipes.iter().filter(wanted).collect();
        if chosen.len() > MOST_RECIPES {
            terminal.tell(&format!("warning: {} recipes changed; the first {MOST_RECIPES} are tested\n", chosen.len()))?;
        }
        // Whoever changes what no feedstock may hold is told that first.
        let refused = !found.refused.is_empty();
        Ok(chosen.into_iter().filter(|_| !refused).take(MOST_RECIPES).map(|changed| self.one(changed, &terms)).collect())
    }

    fn one(&self, changed: &Changed, terms: &Terms<'_>) -> Outcome {
        let Changed { id, path, change, .. } = changed;
        let repository = &self.commits.repository;
        let base = repository.join(path).parent().map_or_else(|| repository.clone(), Path::to_owned);
        let subject = Subject { id: id.clone(), path: path.clone(), change: *change, text: String::new(), base };
        if matches!(change, Change::Deleted | Change::Renamed) {
            return skipped(&subject);
        }
        match text_at(repository, &self.commits.head, path) {
            Ok(text) => test(&Subject { text: text.unwrap_or_default(), ..subject }, terms),
            Err(error) => unreadable(&subject, &error),
        }
    }
}

impl CommentCommand {
    fn run(&self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let places = render::Places { pictures: self.pictures.clone(), log: self.log.clone(), album: self.album.clone() };
        let mut pictures = Vec::new();
        let (comment, checks, exit) = match self.result() {
            Ok(Some(artifact)) => {
                pictures = render::pictures(&artifact);
                let failed = artifact.recipes.iter().any(|outcome| outcome.verdict == Verdict::Failed);
                tracing::info!(failed, recipes = artifact.recipes.len(), "result read");
                (render::comment_with(&artifact, &places), render::checks(&artifact), exit::DONE)
            }
            Ok(None) => (render::without_result(&self.head, None), Vec::new(), exit::DONE),
            Err(error) => {
                terminal.tell(&format!("warning: {error}\n"))?;
                (render::without_result(&self.head, Some(&error)), Vec::new(), exit::DONE)
            }
        };
        let Some(folder) = &self.out else { return terminal.print(&comment).map(|()| exit) };
        let written = std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(folder.join("comment.md"), &comment))
            .and_then(|()| std::fs::write(folder.join("checks.json"), serde_json::Value::from(checks).to_string()))
            .and_then(|()| std::fs::create_dir_all(folder.join("pictures")))
            .and_then(|()| pictures.iter().try_for_each(|(id, image)| std::fs::write(folder.join(format!("pictures/{id}.png")), image)));
        match written {
            Ok(()) => Ok(exit),
            Err(error) => {
                terminal.tell(&format!("error: cannot write below `{}`: {error}\n", folder.display()))?;
                Ok(exit::INTERNAL)
            }
        }
    }

    /// The result, if there is one; never more of it than a result may have.
    fn result(&self) -> Result<Option<Artifact>, artifact::Unbelievable> {
        let Ok(file) = std::fs::File::open(&self.artifact) else { return Ok(None) };
        let mut bytes = Vec::new();
        if file.take(artifact::LARGEST as u64 + 1).read_to_end(&mut bytes).is_err() || bytes.is_empty() {
            return Ok(None);
        }
        artifact::read(&bytes, &self.head).map(Some)
    }
}
