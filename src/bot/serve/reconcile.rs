//! What never reached us: asked for at the start and every so often.
//!
//! The host is asked to deliver again what failed; and the default branch is compared with the last commit that was worked on, so that
//! a merge is not missed even where the host has forgotten. Each day begins here as well. Not for working on any of it: all goes
//! through the queue. Invariant: nothing is added twice, whoever tells of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::execute::OWN;
use super::metrics::MISSED;
use super::queue::Incoming;
use super::work::{Day, Tip, WorkError, Worker};
use crate::bot::forge::{Question, Repository};
use crate::run::with_causes;

/// How far back the host is asked when nothing is known of the last time: as long as GitHub can deliver again.
const FIRST: SignedDuration = SignedDuration::from_hours(72);
/// What is asked for again besides: deliveries that were under way the last time.
const OVERLAP: SignedDuration = SignedDuration::from_mins(30);
/// How often it is looked whether the server stops.
const LOOK: Duration = Duration::from_millis(200);
/// Where the time of the last success is kept, in the folder of the server.
const LAST: &str = "reconciled";

/// Reconciles until the server stops.
pub(super) fn work(worker: &Worker, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        once(worker);
        let begun = Instant::now();
        while !stop.load(Ordering::Relaxed) && begun.elapsed() < worker.settings.reconcile {
            std::thread::sleep(LOOK);
        }
    }
}

fn once(worker: &Worker) {
    redeliver(worker);
    for name in worker.settings.repositories.keys() {
        let Ok(repository) = name.parse::<Repository>() else { continue };
        if let Err(error) = look_at(worker, &repository) {
            tracing::warn!(repository = name, error = %with_causes(&error), "a repository could not be looked at");
        }
    }
}

fn redeliver(worker: &Worker) {
    let (file, now) = (worker.settings.state.join(LAST), Timestamp::now());
    let last = std::fs::read_to_string(&file).ok().and_then(|time| time.trim().parse::<Timestamp>().ok());
    let since = last.map_or(now - FIRST, |last| last - OVERLAP);
    match worker.forge.redeliver(since) {
        Ok(count) => {
            (0..count).for_each(|_| worker.metrics.count(MISSED, "asked"));
            tracing::info!(count, %since, "deliveries asked for again");
            if let Err(error) = std::fs::write(&file, now.to_string()) {
                tracing::warn!(%error, "the time of the last reconciliation cannot be kept");
            }
        }
        Err(error) => {
            worker.metrics.count(MISSED, "failed");
            tracing::warn!(error = %with_causes(&error), "the host could not be asked for what never came");
        }
    }
}

/// Compares the default branch with what was worked on, and begins the day.
fn look_at(worker: &Worker, repository: &Repository) -> Result<(), WorkError> {
    let name = repository.to_string();
    let found = worker.look_up(repository, &Question::default())?;
    let Some(commit) = found.default_head else { return Ok(()) };
    if worker.ledger.handled(&name)?.is_none_or(|handled| handled != commit) {
        let body = serde_json::to_string(&Tip { branch: found.default_branch, commit: commit.clone() }).unwrap_or_default();
        add(worker, &name, "push", format!("push {name} {commit}"), body);
    }
    if worker.settings.repositories.get(&name).is_some_and(|served| served.daily) {
        let day = Timestamp::now().strftime("%Y-%m-%d").to_string();
        let body = serde_json::to_string(&Day { day: day.clone() }).unwrap_or_default();
        add(worker, &name, "schedule", format!("schedule {name} {day}"), body);
    }
    Ok(())
}

fn add(worker: &Worker, repository: &str, kind: &str, id: String, body: String) {
    let headers = vec![(OWN.to_owned(), kind.to_owned())];
    if let Err(error) = worker.queue.add(Incoming { id, repository: repository.to_owned(), headers, body }) {
        tracing::error!(error = %with_causes(&error), repository, kind, "an event of our own could not be kept");
    }
}
