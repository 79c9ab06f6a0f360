//! What a job runs, and what is kept of its end.
//!
//! A test runs a stranger's recipe: `bot test --untrusted` on the clone, with nothing secret in its environment. A bake runs what was
//! merged, checked out at its commit, with the credentials of its repository's target and nothing else. Not for what follows from the
//! end (`work`). Invariant: a target is made of the repository's own prefix and a checked id, never of what a recipe says.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::jobs::sandbox::Limits;
use super::jobs::{Ending, Prepared, Task, Trade, WORK};
use super::queue::Incoming;
use super::settings::Served;
use super::work::Worker;
use crate::bot::artifact;
use crate::bot::changes::{changes, text_at};
use crate::bot::decide::{Job, Sha};
use crate::run::with_causes;

/// What a test leaves, in the folder of its job.
pub(super) const RESULT: &str = "result.json";
/// What a bake leaves.
const REPORT: &str = "report.json";
/// Address space besides the memory that a job may use: the program, its libraries and stacks.
const BESIDES: u64 = 2 << 30;
/// Time between asking a job to end and ending it; less than `cli::interrupt` gives the server itself.
const GRACE: Duration = Duration::from_secs(20);
/// Header of what the server tells itself.
pub(super) const OWN: &str = "x-gristmill-event";

/// The end of a job, as it goes through the queue.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Finished {
    pub(super) number: u64,
    pub(super) job: Job,
    pub(super) attempt: u32,
    pub(super) ending: Ending,
    /// What it left.
    pub(super) result: Option<String>,
}

impl Trade for Worker {
    fn prepare(&self, task: &Task, folder: &Path) -> Result<Prepared, String> {
        let served = self.settings.repositories.get(&task.repository).ok_or("the repository is not served any more")?;
        match &task.job {
            Job::Test { pull, head, recipe } => self.test(task, folder, (*pull, head), recipe),
            Job::Bake { commit, recipe } => self.bake(task, folder, served, commit, recipe),
            Job::Update { recipe, .. } => {
                let tip = self.default_branch(&task.repository).and_then(|branch| self.clones.tip(&task.repository, &branch));
                let commit = tip.ok_or("the default branch is not known")?;
                self.bake(task, folder, served, &commit, recipe)
            }
        }
    }

    fn ended(&self, task: &Task, folder: &Path, ending: &Ending) -> Result<(), String> {
        let name = if matches!(task.job, Job::Test { .. }) { RESULT } else { REPORT };
        let result = std::fs::read_to_string(folder.join(name)).ok().filter(|result| result.len() <= artifact::LARGEST);
        let (job, attempt, ending) = (task.job.clone(), task.attempt, ending.clone());
        let id = format!("{}{}", end_of(&task.repository, &job, attempt), task.number);
        let body =
            serde_json::to_string(&Finished { number: task.number, job, attempt, ending, result }).map_err(|error| error.to_string())?;
        let delivery = Incoming { id, repository: task.repository.clone(), headers: vec![(OWN.to_owned(), "ended".to_owned())], body };
        self.queue.add(delivery).map(drop).map_err(|error| with_causes(&error))
    }
}

impl Worker {
    fn test(&self, task: &Task, folder: &Path, (pull, head): (u64, &Sha), recipe: &str) -> Result<Prepared, String> {
        let jobs = &self.settings.jobs;
        let path = self.path_of(&task.repository, head, recipe)?;
        let mut words = Words::new(&["bot", "test", "--untrusted"]);
        words.add("--repository", self.clones.path(&task.repository));
        words.add("--head", head.as_str());
        self.base(&task.repository, pull).iter().for_each(|base| words.add("--base", base.as_str()));
        words.add("--recipe", path);
        words.add("--max-bytes", jobs.test_bytes.to_string());
        words.add("--max-minutes", (jobs.test_time.as_secs() / 60).max(1).to_string());
        words.add("--work", folder.join(WORK));
        words.add("--out", folder.join(RESULT));
        jobs.settings.iter().for_each(|settings| words.add("--config", settings));
        self.resources(&mut words);
        // The test ends itself in time, with a result that says so; this is for one that does not.
        let wall = jobs.test_time + Duration::from_mins(2);
        Ok(Prepared { arguments: words.0, environment: Vec::new(), limits: self.limits(Some(jobs.processor), wall) })
    }

    fn bake(&self, task: &Task, folder: &Path, served: &Served, commit: &Sha, recipe: &str) -> Result<Prepared, String> {
        let target = target_of(served, recipe).ok_or("the repository has no target")?;
        let checkout = folder.join(WORK).join("recipes");
        self.clones.check_out(&task.repository, commit, &checkout).map_err(|error| error.to_string())?;
        let mut place = checkout.into_os_string();
        place.push(format!("#{recipe}"));
        let mut words = Words::new(if served.trusted { &["run", "--versioned"] } else { &["run", "--versioned", "--untrusted"] });
        words.add("--target", target);
        words.add("--report", folder.join(REPORT));
        served.settings.iter().for_each(|settings| words.add("--config", settings));
        self.resources(&mut words);
        words.0.push(place);
        let environment = served.environment.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())).collect();
        Ok(Prepared { arguments: words.0, environment, limits: self.limits(None, self.settings.jobs.bake_time) })
    }

    fn resources(&self, words: &mut Words) {
        words.add("--memory", self.settings.jobs.memory.to_string());
        words.add("--threads", self.settings.jobs.threads.to_string());
    }

    fn limits(&self, processor: Option<Duration>, wall: Duration) -> Limits {
        let jobs = &self.settings.jobs;
        let address_space = jobs.memory.saturating_add(BESIDES);
        Limits { address_space, processor, disk: jobs.disk, wall, grace: GRACE }
    }

    /// The path of a recipe at a commit.
    fn path_of(&self, repository: &str, commit: &Sha, recipe: &str) -> Result<String, String> {
        let found = changes(&self.clones.path(repository), None, commit).map_err(|error| with_causes(&error))?;
        let path = found.recipes.into_iter().find(|one| one.id == recipe).map(|one| one.path);
        path.ok_or_else(|| format!("there is no recipe `{recipe}` at commit {commit}"))
    }

    /// What a job needs a place of: its target, and the servers that its recipe names.
    pub(super) fn slots(&self, repository: &str, job: &Job) -> Vec<(String, usize)> {
        let (commit, recipe, target) = match job {
            Job::Test { head, recipe, .. } => (Some(head.clone()), recipe, None),
            Job::Bake { commit, recipe } => (Some(commit.clone()), recipe, Some(recipe)),
            Job::Update { recipe, .. } => {
                (self.default_branch(repository).and_then(|branch| self.clones.tip(repository, &branch)), recipe, Some(recipe))
            }
        };
        let served = self.settings.repositories.get(repository);
        let target = target.and_then(|recipe| target_of(served?, recipe)).map(|target| (format!("target {target}"), 1));
        let text = commit.and_then(|commit| {
            let path = self.path_of(repository, &commit, recipe).ok()?;
            text_at(&self.clones.path(repository), &commit, &path).ok().flatten()
        });
        let sources = hosts(&text.unwrap_or_default());
        target.into_iter().chain(sources.into_iter().map(|host| (format!("source {host}"), self.settings.jobs.per_source))).collect()
    }
}

/// Arguments of a job.
struct Words(Vec<OsString>);

impl Words {
    fn new(words: &[&str]) -> Self {
        Self(words.iter().map(OsString::from).collect())
    }

    fn add(&mut self, option: &str, value: impl Into<OsString>) {
        self.0.push(option.into());
        self.0.push(value.into());
    }
}

/// How the id begins of the delivery that tells the end of an attempt.
pub(super) fn end_of(repository: &str, job: &Job, attempt: u32) -> String {
    let about = serde_json::to_string(job).unwrap_or_default();
    format!("ended {repository} {about} {attempt} ")
}

/// Where a dataset is published: below its repository's own prefix (T15).
pub(super) fn target_of(served: &Served, recipe: &str) -> Option<String> {
    served.target.as_ref().map(|prefix| format!("{prefix}/{recipe}"))
}

/// Servers that a text names: what stands between `://` and the next character that no host has.
fn hosts(text: &str) -> BTreeSet<String> {
    let is_host = |letter: char| letter.is_ascii_alphanumeric() || ".-:[]".contains(letter);
    let host = |rest: &str| rest.chars().take_while(|letter| is_host(*letter)).collect::<String>().to_ascii_lowercase();
    text.split("://").skip(1).map(host).filter(|host| !host.is_empty()).take(16).collect()
}
