//! Deliveries, one after the other: ask the host what is, decide, do.
//!
//! Each step may be done again after a kill: jobs are begun in the ledger once, what is said is found again by the host's side, and
//! only then is the delivery said to be done. Not for deciding (`decide`), nor for how a host words things (`forge`). Invariant: a
//! delivery is done when everything that followed from it is in the ledger or was said; permission and state are what they are now.

mod end;
mod say;
mod state;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::clones::{CloneError, Clones};
use super::execute::{Finished, OWN};
use super::jobs::Pool;
use super::ledger::Ledger;
use super::metrics::{ACTIONS, DELIVERIES, Metrics};
use super::queue::{Incoming, Queue, Taken};
use super::settings::Settings;
use crate::bot::changes::ChangesError;
use crate::bot::decide::{Action, Delivery, Event, Job, Parsed, Progress, PullAction, Sha, decide, parse};
use crate::bot::forge::{self, Forge, ForgeError, Found, Question, Raised, Received, Repository};
use crate::run::with_causes;
use crate::store::{ErrorKind, StoreError};

/// How often a delivery is tried before it is given up: with the waits between, most of a day.
const ATTEMPTS: u32 = 200;
/// Longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// Who works on deliveries, and makes jobs ready.
pub(super) struct Worker {
    pub(super) settings: Settings,
    pub(super) forge: Arc<dyn Forge>,
    pub(super) ledger: Ledger,
    pub(super) queue: Arc<Queue>,
    pub(super) pool: Arc<Pool>,
    pub(super) clones: Clones,
    pub(super) metrics: Arc<Metrics>,
    pub(super) remembered: Mutex<Remembered>,
}

/// What the host said last, for jobs.
#[derive(Default)]
pub(super) struct Remembered {
    branches: BTreeMap<String, String>,
    public: BTreeMap<String, bool>,
    bases: BTreeMap<(String, u64), Sha>,
}

/// Why a delivery was not worked on to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    /// The host did not do as asked.
    #[error(transparent)]
    Forge(#[from] ForgeError),
    /// The ledger could not be read or written.
    #[error("the ledger")]
    Ledger(#[from] StoreError),
    /// The repository could not be fetched.
    #[error(transparent)]
    Clone(#[from] CloneError),
    /// The commits could not be compared.
    #[error(transparent)]
    Changes(#[from] ChangesError),
    /// It cannot be understood.
    #[error("it cannot be read: {0}")]
    Senseless(String),
}

impl WorkError {
    /// How long to wait before it is tried again; `None` if that would not help.
    fn again_after(&self, attempts: u32) -> Option<Duration> {
        let usual = Duration::from_secs(1 << attempts.min(8));
        let wait = match self {
            Self::Forge(error) => error.again_after().map(|wait| wait.max(usual.min(Duration::from_secs(2)))),
            Self::Ledger(error) => (error.kind != ErrorKind::Policy).then_some(usual),
            Self::Clone(CloneError::Git { .. }) => Some(usual),
            Self::Clone(CloneError::NoCommit { .. }) | Self::Changes(_) | Self::Senseless(_) => None,
        };
        wait.filter(|_| attempts < ATTEMPTS).map(|wait| wait.min(LONGEST_WAIT))
    }
}

impl Worker {
    /// Works on deliveries until the queue is closed.
    pub(super) fn work(&self) {
        while let Some(taken) = self.queue.take() {
            let (id, repository) = (taken.delivery.id.as_str(), taken.delivery.repository.as_str());
            let result = match self.one(&taken.delivery) {
                Ok(result) => result,
                Err(error) => {
                    let again = error.again_after(taken.attempts);
                    tracing::warn!(id, repository, error = %with_causes(&error), again = ?again, "a delivery could not be worked on");
                    if let Some(wait) = again {
                        self.metrics.count(DELIVERIES, "again");
                        self.queue.later(&taken, wait);
                        continue;
                    }
                    "given up"
                }
            };
            self.finish(&taken, result);
        }
    }

    fn finish(&self, taken: &Taken, result: &'static str) {
        self.metrics.count(DELIVERIES, result);
        tracing::info!(id = taken.delivery.id, repository = taken.delivery.repository, result, "delivery worked on");
        if let Err(error) = self.queue.done(taken) {
            tracing::error!(error = %with_causes(&error), id = taken.delivery.id, "that a delivery is done cannot be kept; it is worked on again");
        }
    }

    fn one(&self, delivery: &Incoming) -> Result<&'static str, WorkError> {
        if !self.settings.repositories.contains_key(&delivery.repository) {
            return Ok("not served");
        }
        let own = delivery.headers.iter().find(|(name, _)| name == OWN).map(|(_, value)| value.as_str());
        let repository: Repository =
            delivery.repository.parse().map_err(|_| WorkError::Senseless("the name of the repository".to_owned()))?;
        if own == Some("ended") {
            let finished: Finished = read(&delivery.body)?;
            return self.end(&repository, &delivery.id, finished);
        }
        let raised = match own {
            Some("schedule") => Raised::Event(Event::Schedule { day: read::<Day>(&delivery.body)?.day }),
            Some(_) => {
                let Tip { branch, commit } = read(&delivery.body)?;
                // Seen, not told: what came before is known by the ledger, or by nobody.
                Raised::Event(Event::Push { branch, before: Some(commit.clone()), after: Some(commit) })
            }
            None => match forge::delivery(&headers(delivery), delivery.body.as_bytes()) {
                Ok(forge::Incoming::Event(received)) => received.raised,
                Ok(_) => return Ok("ignored"),
                Err(error) => return Err(WorkError::Senseless(with_causes(&error))),
            },
        };
        self.event(&Received { id: delivery.id.clone(), repository, raised }, own.is_some())
    }

    /// Something that happened in a repository.
    fn event(&self, received: &Received, own: bool) -> Result<&'static str, WorkError> {
        let name = received.repository.to_string();
        let ledger = self.ledger.of(&name)?;
        if ledger.deliveries.contains(&received.id) {
            return Ok("known");
        }
        // Most comments are between people; the host need not be asked about those.
        if matches!(&received.raised, Raised::Comment { text, .. } if parse(text) == Parsed::Nothing) {
            return Ok("ignored");
        }
        let found = self.look_up(&received.repository, &received.question())?;
        let seen = match &received.raised {
            Raised::Comment { pull, .. } => self.ledger.seen(&name, *pull)?,
            Raised::Event(_) | Raised::Again { .. } => None,
        };
        let Some(delivery) = received.complete(&found, seen.as_ref()) else { return Ok("ignored") };
        let state = self.state(&received.repository, &delivery.event, &found)?;
        let actions = decide(&delivery, &state, &ledger);
        let ignored = actions.iter().all(|action| matches!(action, Action::Ignore(_)));
        for action in &actions {
            self.act(&received.repository, &delivery, action)?;
        }
        self.remember(&name, &delivery.event, &found)?;
        if !own && !ignored {
            self.ledger.worked(&name, &received.id)?;
        }
        Ok(if ignored { "ignored" } else { "acted" })
    }

    /// Asks the host, and keeps what jobs want to know of the answer.
    pub(super) fn look_up(&self, repository: &Repository, question: &Question) -> Result<Found, WorkError> {
        let found = self.forge.look_up(repository, question)?;
        let (name, mut remembered) = (repository.to_string(), self.remembered());
        if let (Some(pull), Some(base)) = (&found.pull, &found.base) {
            remembered.bases.insert((name.clone(), pull.number), base.clone());
        }
        remembered.public.insert(name.clone(), found.is_public);
        remembered.branches.insert(name, found.default_branch.clone());
        Ok(found)
    }

    /// Notes what later events are measured by.
    fn remember(&self, repository: &str, event: &Event, found: &Found) -> Result<(), WorkError> {
        match event {
            Event::PullRequest { action, number, head } if *action != PullAction::Closed => {
                Ok(self.ledger.see(repository, *number, head)?)
            }
            Event::Push { branch, after: Some(after), .. } if *branch == found.default_branch => {
                let handled = self.ledger.handled(repository)?;
                // A push that is told late takes nothing back.
                let late = handled.is_some_and(|handled| self.clones.is_before(repository, after, &handled));
                if late { Ok(()) } else { Ok(self.ledger.handle(repository, after)?) }
            }
            _ => Ok(()),
        }
    }

    /// Begins a job that nobody began, and has it run.
    pub(super) fn start(&self, repository: &str, job: &Job) -> Result<bool, WorkError> {
        let Some(attempt) = self.ledger.begin(repository, job)? else { return Ok(false) };
        self.enqueue(repository, job, attempt);
        Ok(true)
    }

    /// Has a job run that is begun in the ledger.
    pub(super) fn enqueue(&self, repository: &str, job: &Job, attempt: u32) {
        let public = self.is_public(repository);
        self.pool.add(repository, public, job.clone(), attempt, self.slots(repository, job));
    }

    /// Calls a job off; true if it runs, and so will tell of its end itself.
    fn call_off(&self, repository: &str, job: &Job) -> Result<bool, WorkError> {
        if self.pool.cancel(repository, job) {
            return Ok(true);
        }
        let active = self.ledger.active(repository)?.into_iter().find(|(one, _)| one == job);
        if let Some((job, attempt)) = active {
            self.ledger.end(repository, &job, attempt, Progress::Cancelled, None)?;
        }
        Ok(false)
    }

    fn act(&self, repository: &Repository, delivery: &Delivery, action: &Action) -> Result<(), WorkError> {
        let name = repository.to_string();
        self.metrics.count(ACTIONS, word(action));
        tracing::info!(id = delivery.id, repository = name, action = ?action, "action");
        match action {
            Action::Start(job) => {
                if self.start(&name, job)? {
                    self.say_queued(repository, job);
                }
                Ok(())
            }
            Action::Cancel(job) => {
                if !self.call_off(&name, job)? {
                    self.say_cancelled(repository, job)?;
                }
                Ok(())
            }
            Action::Report { pull, head } => self.report(repository, *pull, head),
            // Folders of tests go when their jobs end.
            Action::Clean { .. } | Action::Ignore(_) => Ok(()),
            Action::TellMaintainers { recipe } => self.say_broken(repository, recipe, None),
            Action::React { comment, reaction } => self.react(repository, *comment, *reaction),
            Action::Reply { pull, reply } => self.reply(repository, *pull, &delivery.id, reply),
        }
    }

    /// The default branch, as the host named it last.
    pub(super) fn default_branch(&self, repository: &str) -> Option<String> {
        self.remembered().branches.get(repository).cloned()
    }

    /// The commit that a pull request would be merged into, as the host named it last.
    pub(super) fn base(&self, repository: &str, pull: u64) -> Option<Sha> {
        let known = self.remembered().bases.get(&(repository.to_owned(), pull)).cloned();
        let tip = || self.default_branch(repository).and_then(|branch| self.clones.tip(repository, &branch));
        known.filter(|base| self.clones.have(repository, std::slice::from_ref(base))).or_else(tip)
    }

    /// True if the host was asked about a repository.
    fn knows(&self, repository: &str) -> bool {
        self.remembered().public.contains_key(repository)
    }

    /// True if the operator and the host both say that anybody may see it.
    fn is_public(&self, repository: &str) -> bool {
        let served = self.settings.repositories.get(repository).is_some_and(|served| served.public);
        served && self.remembered().public.get(repository) == Some(&true)
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A day that began.
#[derive(Debug, Deserialize, serde::Serialize)]
pub(super) struct Day {
    pub(super) day: String,
}

/// A branch whose commit is another than the last that was worked on.
#[derive(Debug, Deserialize, serde::Serialize)]
pub(super) struct Tip {
    pub(super) branch: String,
    pub(super) commit: Sha,
}

fn read<'t, T: Deserialize<'t>>(text: &'t str) -> Result<T, WorkError> {
    serde_json::from_str(text).map_err(|error| WorkError::Senseless(error.to_string()))
}

fn headers(delivery: &Incoming) -> HeaderMap {
    let header =
        |(name, value): &(String, String)| Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?));
    delivery.headers.iter().filter_map(header).collect()
}

fn word(action: &Action) -> &'static str {
    match action {
        Action::Start(_) => "start",
        Action::Cancel(_) => "cancel",
        Action::Report { .. } => "report",
        Action::Clean { .. } => "clean",
        Action::TellMaintainers { .. } => "tell",
        Action::React { .. } => "react",
        Action::Reply { .. } => "reply",
        Action::Ignore(_) => "ignore",
    }
}
