//! Who waits for what: no call to a far server hangs unseen, and none for ever.
//!
//! A call that gets no bytes for a while is told of, with the file and the bytes it asked for, and again as long as it lasts. A
//! call that takes longer than its deadline allows for the bytes that came is ended. Not for when to try again (that is `retry`).
//! Invariant: time spent waiting for a turn at a host counts as silence, but not against the deadline.

use std::cell::RefCell;
use std::future::Future;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::event::{Event, Reporter};
use crate::size::ByteSize;

use super::address::shown;
use super::{ErrorKind, StoreError};

/// How long a call may take.
#[derive(Debug, Clone)]
pub struct Waits {
    /// Silence after which it is told of.
    pub quiet: Duration,
    /// Time that any call has.
    pub deadline: Duration,
    /// Bytes per second that earn more time.
    pub slowest: ByteSize,
}

impl Default for Waits {
    fn default() -> Self {
        Self { quiet: Duration::from_secs(30), deadline: Duration::from_mins(15), slowest: ByteSize(16 << 10) }
    }
}

thread_local! {
    /// The call that this thread makes. Network futures are driven by the thread that waits for them.
    static CURRENT: RefCell<Option<Arc<Call>>> = const { RefCell::new(None) };
}

/// Watches the calls of one source.
pub(super) struct Watchdog {
    waits: Waits,
    reporter: Arc<dyn Reporter>,
    calls: Arc<Mutex<Vec<Arc<Call>>>>,
    /// Ends the thread when it is dropped.
    thread: OnceLock<Sender<()>>,
}

/// A call that is under way.
#[derive(Debug)]
pub(super) struct Call {
    url: String,
    part: String,
    /// Bytes that are sent.
    sent: u64,
    waits: Waits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the last bytes came, or it began.
    heard: Instant,
    told: Option<Instant>,
    bytes: u64,
    /// Requests under way, and since when there is one.
    requests: usize,
    since: Instant,
    /// Time with requests under way, up to `since`.
    worked: Duration,
}

impl Watchdog {
    /// One that tells this reporter.
    pub(super) fn new(waits: &Waits, reporter: Arc<dyn Reporter>) -> Self {
        Self { waits: waits.clone(), reporter, calls: Arc::default(), thread: OnceLock::new() }
    }

    /// Makes a call that is watched; `part` says which bytes are asked for.
    pub(super) fn during<T>(&self, url: &str, part: String, make: impl FnOnce() -> T) -> T {
        self.sending(url, part, 0, make)
    }

    /// The same for a call with which so many bytes are sent: they earn time as those do that come.
    pub(super) fn sending<T>(&self, url: &str, part: String, sent: u64, make: impl FnOnce() -> T) -> T {
        self.thread.get_or_init(|| self.start());
        let call = Arc::new(Call::new(url, (part, sent), &self.waits));
        lock(&self.calls).push(Arc::clone(&call));
        let _ended = Ended { watchdog: self, call: &call, before: CURRENT.replace(Some(Arc::clone(&call))) };
        make()
    }

    fn start(&self) -> Sender<()> {
        let (sender, receiver) = channel::<()>();
        let (calls, reporter) = (Arc::clone(&self.calls), Arc::clone(&self.reporter));
        let pause = (self.waits.quiet / 4).clamp(Duration::from_millis(10), Duration::from_secs(5));
        let watch = move || {
            while receiver.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let silent: Vec<Event> = lock(&calls).iter().filter_map(|call| call.complaint()).collect();
                silent.into_iter().for_each(|event| reporter.report(event));
            }
        };
        // Without this thread calls are merely not told of.
        drop(std::thread::Builder::new().name("watchdog".into()).spawn(watch));
        sender
    }
}

struct Ended<'a> {
    watchdog: &'a Watchdog,
    call: &'a Arc<Call>,
    before: Option<Arc<Call>>,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
        lock(&self.watchdog.calls).retain(|known| !Arc::ptr_eq(known, self.call));
    }
}

impl Call {
    fn new(url: &str, (part, sent): (String, u64), waits: &Waits) -> Self {
        let now = Instant::now();
        let state = State { heard: now, told: None, bytes: 0, requests: 0, since: now, worked: Duration::ZERO };
        Self { url: shown(url), part, sent, waits: waits.clone(), state: Mutex::new(state) }
    }

    /// What is told of it now.
    fn complaint(&self) -> Option<Event> {
        let mut state = lock(&self.state);
        let now = Instant::now();
        let silence = now.duration_since(state.heard);
        if silence < self.waits.quiet || state.told.is_some_and(|told| now.duration_since(told) < self.waits.quiet) {
            return None;
        }
        state.told = Some(now);
        let (url, part, bytes, queued) = (self.url.clone(), self.part.clone(), state.bytes, state.requests == 0);
        let seconds = silence.as_secs();
        tracing::warn!(%url, %part, seconds, bytes, queued, "waiting");
        Some(Event::Waiting { url, part, seconds, bytes, queued })
    }

    /// Time left; none if the deadline is over.
    fn left(&self) -> Option<Duration> {
        let state = lock(&self.state);
        let earned = Duration::from_secs_f64(state.bytes.saturating_add(self.sent) as f64 / self.waits.slowest.0.max(1) as f64);
        self.waits.deadline.saturating_add(earned).checked_sub(state.worked()).filter(|left| !left.is_zero())
    }

    fn overdue(&self) -> StoreError {
        let (bytes, worked) = {
            let state = lock(&self.state);
            (state.bytes, state.worked())
        };
        let came = if self.sent > 0 { String::new() } else { format!(", of which {bytes} bytes came") };
        let message = format!(
            "{} took longer than {:.0} s{came} ({:.0} s); the server is too slow now: run again later, or raise `deadline_seconds`",
            self.part,
            self.waits.deadline.as_secs_f64(),
            worked.as_secs_f64()
        );
        StoreError::new(ErrorKind::Temporary, &self.url, message)
    }
}

impl State {
    fn worked(&self) -> Duration {
        if self.requests > 0 { self.worked.saturating_add(self.since.elapsed()) } else { self.worked }
    }
}

/// Takes note that bytes came for the call that this thread makes.
pub(super) fn heard(bytes: usize) {
    with_current(|call| {
        let mut state = lock(&call.state);
        state.heard = Instant::now();
        state.bytes = state.bytes.saturating_add(bytes as u64);
    });
}

/// A request is under way for as long as this lives.
#[derive(Debug)]
pub(super) struct UnderWay(Option<Arc<Call>>);

impl UnderWay {
    /// Of the call that this thread makes.
    pub(super) fn begin() -> Self {
        let call = CURRENT.with_borrow(Clone::clone);
        if let Some(call) = &call {
            let mut state = lock(&call.state);
            if state.requests == 0 {
                state.since = Instant::now();
            }
            state.requests += 1;
        }
        Self(call)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(call) = &self.0 {
            let mut state = lock(&call.state);
            state.worked = state.worked();
            state.since = Instant::now();
            state.requests = state.requests.saturating_sub(1);
        }
    }
}

/// The same future, ended at the deadline of the call that this thread makes.
pub(super) async fn in_time<T>(future: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let Some(call) = CURRENT.with_borrow(Clone::clone) else { return future.await };
    let mut future = std::pin::pin!(future);
    while let Some(left) = call.left() {
        if let Ok(result) = tokio::time::timeout(left, &mut future).await {
            return result;
        }
    }
    Err(call.overdue())
}

fn with_current(act: impl FnOnce(&Call)) {
    CURRENT.with_borrow(|call| call.as_deref().map(act));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
