//! What was begun and what came of it, as objects in the operator's bucket: what is left when this machine is lost.
//!
//! What tells of jobs is written once. A job's attempt is begun by the object that only one can create, and ended by another that says how;
//! what the test found lies beside it. Names say all that has to be known, so that one list per repository reads the ledger. Not for
//! deciding what follows (`decide`). Invariant: of two who begin the same attempt one does; what is ended is never begun again as the
//! same attempt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;

use crate::bot::decide::{self, Job, Progress, Sha};
use crate::store::{self, Access, ErrorKind, PutMode, StoreError, TargetStore};

/// Most objects of a repository that are read.
const MOST: usize = 2_000_000;
/// What an attempt left, beside how it ended.
const RESULT: &str = "result.json";

/// The ledger of all repositories.
pub struct Ledger {
    store: Arc<dyn TargetStore>,
    known: Mutex<BTreeMap<String, Known>>,
}

/// What is known of a repository.
#[derive(Debug, Clone, Default)]
struct Known {
    ledger: decide::Ledger,
    /// The last attempt of each job.
    attempts: BTreeMap<Job, u32>,
}

impl Ledger {
    /// Opens the ledger at a URL.
    ///
    /// # Errors
    /// The store's.
    pub fn open(url: &str, access: &Access) -> Result<Self, StoreError> {
        Ok(Self { store: store::target(url, access)?, known: Mutex::default() })
    }

    /// What was begun for a repository and what came of it.
    ///
    /// # Errors
    /// The store's.
    pub fn of(&self, repository: &str) -> Result<decide::Ledger, StoreError> {
        Ok(self.known(repository)?.ledger)
    }

    /// Jobs of a repository that were begun and did not end, with their attempts.
    ///
    /// # Errors
    /// The store's.
    pub fn active(&self, repository: &str) -> Result<Vec<(Job, u32)>, StoreError> {
        let known = self.known(repository)?;
        let active = known.ledger.jobs.iter().filter(|(_, progress)| **progress == Progress::Active);
        Ok(active.map(|(job, _)| (job.clone(), known.attempts.get(job).copied().unwrap_or(1))).collect())
    }

    /// Begins a job, and returns which attempt it is; `None` if it is under way already.
    ///
    /// # Errors
    /// The store's.
    pub fn begin(&self, repository: &str, job: &Job) -> Result<Option<u32>, StoreError> {
        let known = self.known(repository)?;
        if known.ledger.jobs.get(job) == Some(&Progress::Active) {
            return Ok(None);
        }
        let attempt = known.attempts.get(job).copied().unwrap_or(0).saturating_add(1);
        let about = json!({"version": 1, "job": job, "attempt": attempt, "begun": Timestamp::now().to_string()});
        match self.store.put(&key(repository, job, attempt, "begun"), Bytes::from(about.to_string()), PutMode::Create) {
            Ok(()) => {}
            // A list that lags behind, or another server: look again before the next decision.
            Err(error) if error.kind == ErrorKind::Exists => {
                self.lock().remove(repository);
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        self.note(repository, job, attempt, Progress::Active);
        Ok(Some(attempt))
    }

    /// Ends an attempt; `result` is what it left.
    ///
    /// # Errors
    /// The store's.
    pub fn end(&self, repository: &str, job: &Job, attempt: u32, progress: Progress, result: Option<Bytes>) -> Result<(), StoreError> {
        if let Some(result) = result {
            self.store.put(&key(repository, job, attempt, RESULT), result, PutMode::Overwrite)?;
        }
        let about = json!({"version": 1, "ended": Timestamp::now().to_string()});
        self.store.put(&key(repository, job, attempt, word(progress)), Bytes::from(about.to_string()), PutMode::Overwrite)?;
        self.note(repository, job, attempt, progress);
        Ok(())
    }

    /// Notes that a job was done, as others know: the ledger that knew it is lost.
    ///
    /// # Errors
    /// The store's.
    pub fn restore(&self, repository: &str, job: &Job) -> Result<(), StoreError> {
        match self.begin(repository, job)? {
            Some(attempt) => self.end(repository, job, attempt, Progress::Done, None),
            None => Ok(()),
        }
    }

    /// What the last attempt of a job left.
    ///
    /// # Errors
    /// The store's.
    pub fn result(&self, repository: &str, job: &Job) -> Result<Option<Bytes>, StoreError> {
        match self.known(repository)?.attempts.get(job) {
            Some(attempt) => self.store.get(&key(repository, job, *attempt, RESULT)),
            None => Ok(None),
        }
    }

    /// Remembers that a delivery was worked on.
    ///
    /// # Errors
    /// The store's.
    pub fn worked(&self, repository: &str, delivery: &str) -> Result<(), StoreError> {
        let key = format!("{repository}/deliveries/{}/{delivery}", month(Timestamp::now()));
        self.store.put(&key, Bytes::from_static(b"{}"), PutMode::Overwrite)?;
        if let Some(known) = self.lock().get_mut(repository) {
            known.ledger.deliveries.insert(delivery.to_owned());
        }
        Ok(())
    }

    /// The commit of the default branch up to which merges were worked on.
    ///
    /// # Errors
    /// The store's.
    pub fn handled(&self, repository: &str) -> Result<Option<Sha>, StoreError> {
        self.commit(&format!("{repository}/branch"))
    }

    /// Notes that merges were worked on up to a commit.
    ///
    /// # Errors
    /// The store's.
    pub fn handle(&self, repository: &str, commit: &Sha) -> Result<(), StoreError> {
        self.store.put(&format!("{repository}/branch"), Bytes::from(commit.to_string()), PutMode::Overwrite)
    }

    /// The head of a pull request that the last event about it told.
    ///
    /// # Errors
    /// The store's.
    pub fn seen(&self, repository: &str, pull: u64) -> Result<Option<Sha>, StoreError> {
        self.commit(&format!("{repository}/heads/{pull}"))
    }

    /// Notes that head.
    ///
    /// # Errors
    /// The store's.
    pub fn see(&self, repository: &str, pull: u64, head: &Sha) -> Result<(), StoreError> {
        self.store.put(&format!("{repository}/heads/{pull}"), Bytes::from(head.to_string()), PutMode::Overwrite)
    }

    fn commit(&self, key: &str) -> Result<Option<Sha>, StoreError> {
        let bytes = self.store.get(key)?;
        Ok(bytes.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.trim().parse().ok()))
    }

    fn note(&self, repository: &str, job: &Job, attempt: u32, progress: Progress) {
        let mut all = self.lock();
        // What was forgotten is read again when it is asked for.
        let Some(known) = all.get_mut(repository) else { return };
        known.ledger.jobs.insert(job.clone(), progress);
        known.attempts.insert(job.clone(), attempt);
    }

    fn known(&self, repository: &str) -> Result<Known, StoreError> {
        if let Some(known) = self.lock().get(repository) {
            return Ok(known.clone());
        }
        let known = self.read(repository)?;
        self.lock().insert(repository.to_owned(), known.clone());
        Ok(known)
    }

    fn read(&self, repository: &str) -> Result<Known, StoreError> {
        let mut known = Known::default();
        let now = Timestamp::now();
        let months = [month(now), month(now - jiff::SignedDuration::from_hours(24 * 28))];
        for key in months.iter().map(|month| self.store.list(&format!("{repository}/deliveries/{month}/"), MOST)) {
            known.ledger.deliveries.extend(key?.iter().filter_map(|key| key.rsplit('/').next()).map(str::to_owned));
        }
        for key in self.store.list(&format!("{repository}/jobs/"), MOST)? {
            let Some((job, attempt, progress)) = meaning(repository, &key) else { continue };
            let last = known.attempts.get(&job).copied().unwrap_or(0);
            // How an attempt ended stands beside that it was begun.
            let ended = attempt == last && progress != Progress::Active;
            if attempt > last || ended {
                known.attempts.insert(job.clone(), attempt);
                known.ledger.jobs.insert(job, progress);
            }
        }
        Ok(known)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn month(time: Timestamp) -> String {
    time.to_string().chars().take(7).collect()
}

fn word(progress: Progress) -> &'static str {
    match progress {
        Progress::Active => "begun",
        Progress::Done => "done",
        Progress::Failed => "failed",
        Progress::Cancelled => "cancelled",
    }
}

fn key(repository: &str, job: &Job, attempt: u32, name: &str) -> String {
    let job = match job {
        Job::Test { pull, head, recipe } => format!("test/{pull}/{head}/{recipe}"),
        Job::Bake { commit, recipe } => format!("bake/{commit}/{recipe}"),
        Job::Update { day, recipe } => format!("update/{day}/{recipe}"),
    };
    format!("{repository}/jobs/{job}/{attempt:04}.{name}")
}

/// The job, the attempt and the progress that a key tells; `None` for what tells none.
fn meaning(repository: &str, key: &str) -> Option<(Job, u32, Progress)> {
    let parts: Vec<&str> = key.strip_prefix(repository)?.strip_prefix("/jobs/")?.split('/').collect();
    let (job, last) = match parts.as_slice() {
        ["test", pull, head, recipe, last] => {
            (Job::Test { pull: pull.parse().ok()?, head: head.parse().ok()?, recipe: (*recipe).to_owned() }, last)
        }
        ["bake", commit, recipe, last] => (Job::Bake { commit: commit.parse().ok()?, recipe: (*recipe).to_owned() }, last),
        ["update", day, recipe, last] => (Job::Update { day: (*day).to_owned(), recipe: (*recipe).to_owned() }, last),
        _ => return None,
    };
    let (attempt, name) = last.split_once('.')?;
    let progress = [Progress::Active, Progress::Done, Progress::Failed, Progress::Cancelled].into_iter().find(|one| word(*one) == name)?;
    Some((job, attempt.parse().ok()?, progress))
}
