//! What is said at the code host, in our own words; foreign texts come through `render`.
//!
//! Invariant: no secret, and no text of a stranger outside of what `render` made harmless.

use super::{WorkError, Worker};
use crate::bot::artifact::{self, Artifact, Verdict};
use crate::bot::decide::{Command, Job, Progress as State, Reaction, Reply, Role, Sha};
use crate::bot::forge::{Check, Deployment, Progress, Repository, Said};
use crate::bot::render::{self, Places, span};
use crate::bot::serve::execute::target_of;
use crate::bot::serve::jobs::Ending;
use crate::bot::serve::page::maps;
use crate::run::with_causes;

/// Most characters of a reason.
const SENTENCE: usize = 600;

impl Worker {
    pub(super) fn react(&self, repository: &Repository, comment: u64, reaction: Reaction) -> Result<(), WorkError> {
        Ok(self.forge.say(repository, &Said::Reaction { comment, reaction })?)
    }

    pub(super) fn reply(&self, repository: &Repository, pull: u64, to: &str, reply: &Reply) -> Result<(), WorkError> {
        Ok(self.forge.say(repository, &Said::Reply { pull, to: to.to_owned(), text: self.words(repository, reply) })?)
    }

    /// That a job waits. Its end is said in any case, so a host that does not answer holds nothing up.
    pub(super) fn say_queued(&self, repository: &Repository, job: &Job) {
        let said = match job {
            Job::Test { head, recipe, .. } => Some(Said::Check(check(head, recipe, Progress::Queued, "waits for a place"))),
            Job::Bake { commit, recipe } => {
                Some(self.deployment(repository, (commit, recipe), Progress::Queued, "waits for a place", None))
            }
            Job::Update { .. } => None,
        };
        if let Some(Err(error)) = said.map(|said| self.forge.say(repository, &said)) {
            tracing::warn!(error = %with_causes(&error), "the host was not told that a job waits");
        }
    }

    pub(super) fn say_cancelled(&self, repository: &Repository, job: &Job) -> Result<(), WorkError> {
        let why = "called off, or something newer took its place";
        let said = match job {
            Job::Test { head, recipe, .. } => Said::Check(check(head, recipe, Progress::Cancelled, why)),
            Job::Bake { commit, recipe } => self.deployment(repository, (commit, recipe), Progress::Cancelled, why, None),
            Job::Update { .. } => return Ok(()),
        };
        Ok(self.forge.say(repository, &said)?)
    }

    /// The check of a recipe, from what its test left; also where the pull request moved on, since no check may stay pending.
    pub(super) fn say_tested(&self, repository: &Repository, head: &Sha, recipe: &str, artifact: &Artifact) -> Result<(), WorkError> {
        let details = self.page(repository, self.number(&repository.to_string(), head, recipe));
        let why = "the pull request holds files that no feedstock may hold; the comment names them";
        let mut checks: Vec<Check> = render::checks(artifact).iter().filter_map(Check::rendered).collect();
        if checks.is_empty() {
            checks.push(check(head, recipe, Progress::Failed, why));
        }
        for check in checks {
            self.forge.say(repository, &Said::Check(Check { details: details.clone(), ..check }))?;
        }
        Ok(())
    }

    /// The comment of a pull request, from what its tests left.
    pub(super) fn report(&self, repository: &Repository, pull: u64, head: &Sha) -> Result<(), WorkError> {
        let name = repository.to_string();
        let ledger = self.ledger.of(&name)?;
        let of_head = |job: &&Job| matches!(job, Job::Test { pull: of, head: at, .. } if *of == pull && at == head);
        let mut all: Option<Artifact> = None;
        let mut waiting = 0;
        for job in ledger.jobs.keys().filter(of_head) {
            let result = if ledger.jobs.get(job) == Some(&State::Active) { None } else { self.ledger.result(&name, job)? };
            match result.and_then(|bytes| artifact::read(&bytes, head).ok()) {
                Some(artifact) => all = Some(joined(all, artifact)),
                None => waiting += usize::from(ledger.jobs.get(job) == Some(&State::Active)),
            }
        }
        let Some(artifact) = all else { return Ok(()) };
        // Drawn by us from what the test left, where anybody may see it.
        let pictures = self.address(repository).map(|address| address + &maps(&name, head.as_str()));
        let mut text = render::comment_with(&artifact, &Places { pictures, ..Places::default() });
        if waiting > 0 {
            text += &format!("\n{waiting} more recipes are being tested; this comment changes when they have been.\n");
        }
        Ok(self.forge.say(repository, &Said::Comment { pull, text })?)
    }

    pub(super) fn say_published(&self, repository: &Repository, job: &Job, number: u64) -> Result<(), WorkError> {
        let (Job::Bake { recipe, .. } | Job::Update { recipe, .. } | Job::Test { recipe, .. }) = job;
        if let Job::Bake { commit, .. } = job {
            let said = self.deployment(repository, (commit, recipe), Progress::Passed, "baked, verified and published", Some(number));
            self.forge.say(repository, &said)?;
        }
        let text = "Baked, verified and published again.".to_owned();
        let said = Said::Issue { recipe: recipe.clone(), title: title(recipe), text, open: false };
        Ok(self.forge.say(repository, &said)?)
    }

    pub(super) fn say_unpublished(&self, repository: &Repository, job: &Job, number: u64) -> Result<(), WorkError> {
        let Job::Bake { commit, recipe } = job else { return Ok(()) };
        let words = "failed; what was published before is still there";
        Ok(self.forge.say(repository, &self.deployment(repository, (commit, recipe), Progress::Failed, words, Some(number)))?)
    }

    /// The one issue of a dataset.
    pub(super) fn say_broken(&self, repository: &Repository, recipe: &str, ended: Option<(&Job, u64, &Ending)>) -> Result<(), WorkError> {
        let mut text = format!("`{recipe}` could not be baked. What was published before is still there.\n");
        if let Some((job, number, ending)) = ended {
            if let Job::Bake { commit, .. } = job {
                text += &format!("\n- commit: {commit}\n");
            }
            if let Ending::Failed { exit, why } = ending {
                text += &exit.map_or(String::new(), |exit| format!("- exit code: {exit}\n"));
                text += &why.as_ref().map_or(String::new(), |why| format!("- reason: {}\n", span(why, SENTENCE)));
            }
            text += &self.page(repository, Some(number)).map_or(String::new(), |page| format!("- log: {page}\n"));
        }
        text += "\nOnce it is mended and merged, the bake goes on where it ended, and this issue is closed.\n";
        let said = Said::Issue { recipe: recipe.to_owned(), title: title(recipe), text, open: true };
        Ok(self.forge.say(repository, &said)?)
    }

    fn deployment(
        &self,
        repository: &Repository,
        (commit, recipe): (&Sha, &str),
        progress: Progress,
        description: &str,
        number: Option<u64>,
    ) -> Said {
        let served = self.settings.repositories.get(&repository.to_string());
        let address = served.and_then(|served| target_of(served, recipe)).filter(|target| target.starts_with("https://"));
        let log = number.and_then(|number| self.page(repository, Some(number)));
        let (commit, recipe, description) = (commit.clone(), recipe.to_owned(), description.to_owned());
        Said::Deployment(Deployment { commit, recipe, progress, description, log, address })
    }

    /// Number of the last job of a recipe at a commit.
    fn number(&self, repository: &str, at: &Sha, recipe: &str) -> Option<u64> {
        let records = self.pool.records();
        let of = records.iter().filter(|one| one.repository == repository && one.recipe == recipe && one.at == at.as_str());
        of.map(|record| record.number).max()
    }

    /// The page of a job, or of all jobs, where anybody may see it.
    fn page(&self, repository: &Repository, number: Option<u64>) -> Option<String> {
        let path = number.map_or_else(|| "/".to_owned(), |number| format!("/jobs/{number}"));
        self.address(repository).map(|address| address + &path)
    }

    /// Where people reach our pages about a repository; `None` if not everybody may see it.
    fn address(&self, repository: &Repository) -> Option<String> {
        let seen = !self.settings.public_url.is_empty() && self.is_public(&repository.to_string());
        seen.then(|| self.settings.public_url.clone())
    }

    fn words(&self, repository: &Repository, reply: &Reply) -> String {
        let page = self.page(repository, None).map_or(String::new(), |page| format!(" Logs: {page}"));
        match reply {
            Reply::Help => help(),
            Reply::Unknown(Some(meant)) => format!("There is no such command. Did you mean `/gristmill {}`?\n\n{}", meant.name(), help()),
            Reply::Unknown(None) => format!("There is no such command.\n\n{}", help()),
            Reply::Denied { command, needs } => {
                format!("`/gristmill {}` takes the role \"{}\" in this repository.", command.name(), role(*needs))
            }
            Reply::HeadMoved => "This pull request changed since that was written. Look at what changed, then ask again.".to_owned(),
            Reply::NoSuchRecipe(Some(id)) => format!("This pull request changes no recipe `{id}`."),
            Reply::NoSuchRecipe(None) => "This pull request changes no recipe.".to_owned(),
            Reply::NotMerged => "Only what is merged is baked in full, and then without being asked for.".to_owned(),
            Reply::Explain => format!(
                "A test lints the recipe, plans it, bakes a few of its files into a store of its own, opens that again, reads every object and compares a part with the sources. The comment above tells what came of it, and the command that does the same on your machine.{page}"
            ),
            Reply::NothingToCancel => "Nothing is under way.".to_owned(),
            Reply::NothingToRetry => "Nothing failed or was called off.".to_owned(),
        }
    }
}

fn check(head: &Sha, recipe: &str, progress: Progress, title: &str) -> Check {
    let (head, name, title) = (head.clone(), Check::name_of(recipe), title.to_owned());
    Check { head, name, progress, summary: title.clone(), title, annotations: Vec::new(), details: None }
}

fn title(recipe: &str) -> String {
    format!("gristmill: {recipe} could not be baked")
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Nobody => "anybody",
        Role::Read => "read",
        Role::Triage => "triage",
        Role::Write => "write",
        Role::Maintain => "maintain",
        Role::Admin => "admin",
    }
}

fn help() -> String {
    let what = |command: Command| match command {
        Command::Test => "test the recipes that this pull request changes, or one of them",
        Command::Run => "bake in full; only what is merged is",
        Command::Cancel => "call tests off",
        Command::Retry => "test again what failed or was called off",
        Command::Explain => "tell how a result comes about",
        Command::Help => "tell this",
    };
    let row = |command: Command| format!("- `/gristmill {} [id]`: {} (role: {})\n", command.name(), what(command), role(command.needs()));
    Command::ALL.into_iter().map(row).collect()
}

/// Two results of one commit as one.
fn joined(all: Option<Artifact>, one: Artifact) -> Artifact {
    let Some(mut all) = all else { return one };
    all.files = all.files.max(one.files);
    for refused in one.refused {
        if !all.refused.contains(&refused) {
            all.refused.push(refused);
        }
    }
    for privileged in one.privileged {
        if !all.privileged.contains(&privileged) {
            all.privileged.push(privileged);
        }
    }
    all.recipes.extend(one.recipes);
    // What failed is read first.
    all.recipes.sort_by_key(|outcome| (outcome.verdict != Verdict::Failed, outcome.id.clone()));
    all
}
