//! Deliveries that were accepted and are not yet worked on: on disk, in order per repository, each once.
//!
//! Whoever hands one in is told that it is accepted after it was flushed (`journal`). One that came before, under its id or with the
//! same bytes under another, is not taken again. Not for jobs: those are in the ledger. Invariant: what was accepted is handed out
//! until it was said to be done, however often the process is killed; of one repository one at a time, oldest first.

mod journal;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

pub use journal::JournalError;
use journal::{Journal, Position};

/// Ids that are remembered: GitHub delivers again for three days at most.
const REMEMBERED: usize = 50_000;

/// Something that was delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incoming {
    /// Id of the delivery.
    pub id: String,
    /// The repository, `owner/name`; empty where it is about none.
    pub repository: String,
    /// Headers that say what it is; names in small letters.
    pub headers: Vec<(String, String)>,
    /// Its bytes.
    pub body: String,
}

/// What became of a delivery that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// It is on disk and will be worked on.
    Accepted,
    /// It was accepted before.
    Known,
}

/// Why a delivery was not taken.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The disk failed.
    #[error("the delivery could not be kept")]
    Disk(#[source] io::Error),
    /// The same is being kept right now.
    #[error("the same delivery is being kept right now; ask again")]
    Busy,
    /// The server stops.
    #[error("the server stops; deliver again later")]
    Closed,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    /// What was known when the file was begun.
    Known(Vec<(String, String)>, u64),
    Accepted {
        number: u64,
        digest: String,
        delivery: Incoming,
    },
    Done(u64),
}

/// The queue.
pub struct Queue {
    journal: Journal,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    /// Ids and digests of what was accepted, oldest first.
    order: VecDeque<(String, String)>,
    known: BTreeSet<String>,
    /// Handed in and not yet flushed.
    coming: BTreeSet<String>,
    waiting: BTreeMap<u64, Waiting>,
    /// Repositories of which something is worked on, or that rest after a failure until then.
    busy: BTreeSet<String>,
    resting: BTreeMap<String, Instant>,
    closed: bool,
}

struct Waiting {
    id: String,
    repository: String,
    position: Position,
    attempts: u32,
    since: Instant,
}

/// A delivery that was handed out. To be given back with [`Queue::done`] or [`Queue::later`].
#[derive(Debug)]
pub struct Taken {
    /// Its number.
    pub number: u64,
    /// How often it was handed out before, since the server started.
    pub attempts: u32,
    /// What it is.
    pub delivery: Incoming,
}

impl Queue {
    /// Opens the queue of a folder.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let shared = Arc::new(Shared { state: Mutex::new(State::default()), changed: Condvar::new() });
        let heading = Arc::clone(&shared);
        let head = move || heading.lock().head();
        let mut state = State::default();
        let journal = Journal::open(folder, |position, text| state.remember(position, text), head)?;
        *shared.lock() = state;
        Ok(Self { journal, shared })
    }

    /// Takes a delivery in; `digest` is of its bytes. The answer comes when it is on disk.
    ///
    /// # Errors
    /// [`QueueError`]; nothing was taken then.
    pub async fn accept(&self, delivery: Incoming, digest: String) -> Result<Receipt, QueueError> {
        if self.is_closed() {
            return Err(QueueError::Closed);
        }
        match self.hand_in(delivery, digest)? {
            None => Ok(Receipt::Known),
            Some(kept) => match kept.await {
                Ok(kept) => kept.map(|()| Receipt::Accepted).map_err(QueueError::Disk),
                Err(_) => Err(QueueError::Closed),
            },
        }
    }

    /// As [`Queue::accept`], for what the server itself wants to be worked on; also while it stops.
    ///
    /// # Errors
    /// [`QueueError`].
    pub fn add(&self, delivery: Incoming) -> Result<Receipt, QueueError> {
        let digest = delivery.id.clone();
        match self.hand_in(delivery, digest)? {
            None => Ok(Receipt::Known),
            Some(kept) => match kept.blocking_recv() {
                Ok(kept) => kept.map(|()| Receipt::Accepted).map_err(QueueError::Disk),
                Err(_) => Err(QueueError::Closed),
            },
        }
    }

    fn hand_in(&self, delivery: Incoming, digest: String) -> Result<Option<oneshot::Receiver<io::Result<()>>>, QueueError> {
        let (told, kept) = oneshot::channel();
        // Held until the record is handed over, so that numbers and records have the same order.
        let mut state = self.shared.lock();
        if state.known.contains(&delivery.id) || state.known.contains(&digest) {
            return Ok(None);
        }
        if state.coming.contains(&delivery.id) || state.coming.contains(&digest) {
            return Err(QueueError::Busy);
        }
        let number = state.next;
        state.next += 1;
        state.coming.extend([delivery.id.clone(), digest.clone()]);
        let (id, repository) = (delivery.id.clone(), delivery.repository.clone());
        let text = serde_json::to_string(&Record::Accepted { number, digest: digest.clone(), delivery }).unwrap_or_default();
        let shared = Arc::clone(&self.shared);
        self.journal.append(
            text,
            Box::new(move |position| {
                let mut state = shared.lock();
                state.coming.remove(&id);
                state.coming.remove(&digest);
                let kept = position.map(|position| {
                    state.know(id.clone(), digest);
                    state.waiting.insert(number, Waiting { id, repository, position, attempts: 0, since: Instant::now() });
                });
                drop(state);
                shared.changed.notify_all();
                // Whoever asked may be gone; the delivery is kept all the same.
                let _ = told.send(kept);
            }),
        );
        drop(state);
        Ok(Some(kept))
    }

    /// The oldest delivery of a repository of which none is worked on; waits for one. `None` once the queue is closed.
    pub fn take(&self) -> Option<Taken> {
        let mut state = self.shared.lock();
        loop {
            if state.closed {
                return None;
            }
            let now = Instant::now();
            state.resting.retain(|_, until| *until > now);
            if let Some(number) = state.first() {
                match self.hand_out(&mut state, number) {
                    Ok(taken) => return Some(taken),
                    Err(error) => {
                        tracing::error!(%error, number, "a delivery cannot be read again; it is tried at the next start");
                        state.waiting.remove(&number);
                        continue;
                    }
                }
            }
            let rest = state.resting.values().min().map(|until| until.saturating_duration_since(now));
            let patience = rest.unwrap_or(Duration::from_mins(1)).max(Duration::from_millis(5));
            state = self.shared.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn hand_out(&self, state: &mut State, number: u64) -> io::Result<Taken> {
        let Some(waiting) = state.waiting.get_mut(&number) else { return Err(io::Error::other("no such delivery")) };
        let text = self.journal.read(waiting.position)?;
        let Ok(Record::Accepted { delivery, .. }) = serde_json::from_str(&text) else { return Err(io::Error::other("no delivery there")) };
        let attempts = waiting.attempts;
        waiting.attempts += 1;
        state.busy.insert(delivery.repository.clone());
        Ok(Taken { number, attempts, delivery })
    }

    /// Says that a delivery was worked on; waits until that is on disk.
    ///
    /// # Errors
    /// If it cannot be kept; the delivery is handed out again after a restart.
    pub fn done(&self, taken: &Taken) -> Result<(), QueueError> {
        let (told, kept) = oneshot::channel();
        let text = serde_json::to_string(&Record::Done(taken.number)).unwrap_or_default();
        self.journal.append(text, Box::new(move |position| drop(told.send(position.map(drop)))));
        let kept = kept.blocking_recv().unwrap_or_else(|_| Err(io::Error::other("the queue has ended")));
        let mut state = self.shared.lock();
        state.waiting.remove(&taken.number);
        state.busy.remove(&taken.delivery.repository);
        let oldest = state.waiting.values().map(|waiting| waiting.position.file).min();
        drop(state);
        self.shared.changed.notify_all();
        if let Some(Err(error)) = oldest.map(|file| self.journal.forget_before(file)) {
            tracing::warn!(%error, "old files of the queue cannot be removed");
        }
        kept.map_err(QueueError::Disk)
    }

    /// Gives a delivery back; it and what came after it for the same repository wait at least so long.
    pub fn later(&self, taken: &Taken, wait: Duration) {
        let mut state = self.shared.lock();
        state.busy.remove(&taken.delivery.repository);
        state.resting.insert(taken.delivery.repository.clone(), Instant::now() + wait);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// True if a delivery of that id was accepted.
    #[must_use]
    pub fn knows(&self, id: &str) -> bool {
        self.shared.lock().known.contains(id)
    }

    /// Ids of the deliveries of a repository that wait, or are being worked on.
    #[must_use]
    pub fn held(&self, repository: &str) -> Vec<String> {
        let state = self.shared.lock();
        state.waiting.values().filter(|waiting| waiting.repository == repository).map(|waiting| waiting.id.clone()).collect()
    }

    /// Deliveries that wait, or are being worked on, and for how long the oldest does.
    #[must_use]
    pub fn depth(&self) -> (usize, Duration) {
        let state = self.shared.lock();
        (state.waiting.len(), state.waiting.values().next().map_or(Duration::ZERO, |waiting| waiting.since.elapsed()))
    }

    /// True once the queue takes no more from outside.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }

    /// Takes no more from outside and hands out no more; what waits stays on disk.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes in a record of an earlier process.
    fn remember(&mut self, position: Position, text: &str) {
        match serde_json::from_str(text) {
            Ok(Record::Known(known, next)) => {
                known.into_iter().for_each(|(id, digest)| self.know(id, digest));
                self.next = self.next.max(next);
            }
            Ok(Record::Accepted { number, digest, delivery }) => {
                let Incoming { id, repository, .. } = delivery;
                self.know(id.clone(), digest);
                self.next = self.next.max(number + 1);
                self.waiting.insert(number, Waiting { id, repository, position, attempts: 0, since: Instant::now() });
            }
            Ok(Record::Done(number)) => drop(self.waiting.remove(&number)),
            Err(error) => tracing::error!(%error, "a record of the queue is of another version; it is left out"),
        }
    }

    fn know(&mut self, id: String, digest: String) {
        if self.known.contains(&id) {
            return;
        }
        self.known.extend([id.clone(), digest.clone()]);
        self.order.push_back((id, digest));
        if self.order.len() > REMEMBERED
            && let Some((id, digest)) = self.order.pop_front()
        {
            self.known.remove(&id);
            self.known.remove(&digest);
        }
    }

    fn head(&self) -> String {
        serde_json::to_string(&Record::Known(self.order.iter().cloned().collect(), self.next)).unwrap_or_default()
    }

    /// Number of the delivery to hand out next.
    fn first(&self) -> Option<u64> {
        let mut passed: BTreeSet<&str> = self.busy.iter().chain(self.resting.keys()).map(String::as_str).collect();
        self.waiting.iter().find(|(_, waiting)| passed.insert(&waiting.repository)).map(|(number, _)| *number)
    }
}
