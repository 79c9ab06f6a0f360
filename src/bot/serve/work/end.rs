//! What follows from the end of a job: the ledger first, then what people see.
//!
//! Invariant: what the ledger keeps of a test is a result that can be believed, whatever the test left.

use bytes::Bytes;

use super::{WorkError, Worker};
use crate::bot::artifact::{self, Artifact, Change, Outcome, Problem, Stage, VERSION, Verdict};
use crate::bot::decide::{Action, Delivery, Event, Job, Ledger, Progress, Sha, State, decide};
use crate::bot::forge::{Question, Repository, Which};
use crate::bot::serve::execute::Finished;
use crate::bot::serve::jobs::Ending;
use crate::bot::serve::metrics::JOBS;

/// Exit code of what does not fit its limits (DESIGN §8).
const LIMITS: u8 = 8;

impl Worker {
    /// Notes the end of a job and tells of it.
    pub(super) fn end(&self, repository: &Repository, id: &str, finished: Finished) -> Result<&'static str, WorkError> {
        let Finished { number, job, attempt, ending, result } = finished;
        let progress = match &ending {
            Ending::Done => Progress::Done,
            Ending::Cancelled => Progress::Cancelled,
            Ending::Failed { .. } | Ending::Interrupted => Progress::Failed,
        };
        self.metrics.count(JOBS, ending.word());
        let believed = match &job {
            Job::Test { head, recipe, .. } if progress != Progress::Cancelled => {
                Some(self.believed(repository, head, recipe, &ending, result.as_deref()))
            }
            _ => None,
        };
        let kept = believed.as_ref().map_or(result, |believed| serde_json::to_string(believed).ok());
        let name = repository.to_string();
        self.ledger.end(&name, &job, attempt, progress, kept.map(Bytes::from))?;
        // A server that just began knows of no repository that anybody may see its logs, and would tell again without one what was told.
        if !self.knows(&name) {
            self.look_up(repository, &Question::default())?;
        }
        if let (Job::Test { head, recipe, .. }, Some(believed)) = (&job, &believed) {
            self.say_tested(repository, head, recipe, believed)?;
        }
        match (&job, progress) {
            (_, Progress::Cancelled | Progress::Active) => self.say_cancelled(repository, &job)?,
            (Job::Test { pull, head, .. }, _) => self.tested(repository, id, *pull, head)?,
            (Job::Bake { .. } | Job::Update { .. }, Progress::Done) => self.say_published(repository, &job, number)?,
            (Job::Bake { .. } | Job::Update { .. }, Progress::Failed) => self.failed(repository, id, &job, number, &ending)?,
        }
        Ok("acted")
    }

    /// A test ended: tell of it, if the pull request is still what was tested.
    fn tested(&self, repository: &Repository, id: &str, pull: u64, head: &Sha) -> Result<(), WorkError> {
        let found = self.look_up(repository, &Question { pull: Some(Which::Number(pull)), by: None })?;
        let delivery = Delivery { id: id.to_owned(), event: Event::TestEnded { head: head.clone() } };
        let state = State { default_branch: found.default_branch, pull: found.pull, ..State::default() };
        decide(&delivery, &state, &Ledger::default()).iter().try_for_each(|action| self.act(repository, &delivery, action))
    }

    fn failed(&self, repository: &Repository, id: &str, job: &Job, number: u64, ending: &Ending) -> Result<(), WorkError> {
        self.say_unpublished(repository, job, number)?;
        let delivery = Delivery { id: id.to_owned(), event: Event::JobFailed(job.clone()) };
        let actions = decide(&delivery, &State::default(), &Ledger::default());
        actions.iter().try_for_each(|action| match action {
            Action::TellMaintainers { recipe } => self.say_broken(repository, recipe, Some((job, number, ending))),
            other => self.act(repository, &delivery, other),
        })
    }

    /// The result of a test, or one that says why there is none.
    fn believed(&self, repository: &Repository, head: &Sha, recipe: &str, ending: &Ending, result: Option<&str>) -> Artifact {
        let read = result.map(|result| artifact::read(result.as_bytes(), head));
        let why = match (read, ending) {
            (Some(Ok(artifact)), _) if artifact.recipes.iter().all(|outcome| outcome.id == recipe) => return artifact,
            (Some(Ok(_)), _) => "the result is about another recipe".to_owned(),
            (Some(Err(error)), _) => error.to_string(),
            (None, Ending::Failed { why: Some(why), .. }) => why.clone(),
            (None, _) => "the test ended without a result".to_owned(),
        };
        let found = self.changes(repository, None, head).ok();
        let path = found.and_then(|found| found.recipes.into_iter().find(|one| one.id == recipe)).map(|one| one.path);
        let problem = Problem { message: why.chars().take(artifact::LONGEST_TEXT).collect(), ..Problem::default() };
        let outcome = Outcome {
            id: recipe.to_owned(),
            path: path.unwrap_or_else(|| "recipe.yaml".to_owned()),
            change: Change::Modified,
            verdict: Verdict::Failed,
            stage: Stage::Bake,
            exit: LIMITS,
            dataset: None,
            tested: None,
            full: None,
            errors: vec![problem],
            warnings: Vec::new(),
            picture: None,
            log: Vec::new(),
        };
        Artifact {
            version: VERSION,
            gristmill: env!("CARGO_PKG_VERSION").to_owned(),
            head: head.clone(),
            files: 0,
            refused: Vec::new(),
            privileged: Vec::new(),
            recipes: vec![outcome],
        }
    }
}
