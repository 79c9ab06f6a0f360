//! Processes that die, or are suspended, at one of their changes, and somebody who reads after each of these.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use gristmill::store::access::Wrapping;
use gristmill::store::{ErrorKind, PutMode, StoreError, TargetStore};
use gristmill::target::zarr::ZarrReader;

use super::dataset::{Dataset, Published, seen};

/// What may be seen while a run lasts, and the first thing seen that may not.
pub(crate) struct Watch {
    pub(crate) published: Published,
    /// One who opened the store before the run.
    pub(crate) early: Option<(ZarrReader, Dataset)>,
    pub(crate) allowed: Vec<Option<Dataset>>,
    pub(crate) wrong: Mutex<Option<String>>,
}

impl Watch {
    fn look(&self, after: &str) {
        let problem = match self.published.visible() {
            Ok(now) if self.allowed.contains(&now) => None,
            Ok(now) => Some(format!("a reader sees {now:?}")),
            Err(error) => Some(format!("a reader fails: {error}")),
        };
        let early = self.early.as_ref().and_then(|(reader, before)| match seen(reader) {
            Ok(now) if now == *before => None,
            other => Some(format!("an early reader sees {other:?} instead of {before:?}")),
        });
        if let Some(problem) = problem.or(early) {
            self.wrong.lock().unwrap().get_or_insert(format!("after {after}: {problem}; allowed {:?}", self.allowed));
        }
    }
}

/// A process that dies at its n-th put or delete: that one is done or not, and nothing is from then on.
#[derive(Clone)]
pub(crate) struct Life {
    left: Arc<AtomicI64>,
    last_is_done: bool,
}

impl Life {
    pub(crate) fn of(changes: i64, last_is_done: bool) -> Self {
        Self { left: Arc::new(AtomicI64::new(changes)), last_is_done }
    }

    pub(crate) fn endless() -> Self {
        Self::of(i64::MAX, true)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left.load(Ordering::SeqCst) <= 0
    }

    /// Stores as such a process has them, with somebody who looks after each change.
    pub(crate) fn wrapping(&self, watch: &Arc<Watch>) -> Wrapping {
        let (life, watch) = (self.clone(), Arc::clone(watch));
        Wrapping::with(move |_, inner| Arc::new(Mortal { inner, life: life.clone(), watch: Arc::clone(&watch) }))
    }
}

struct Mortal {
    inner: Arc<dyn TargetStore>,
    life: Life,
    watch: Arc<Watch>,
}

impl Mortal {
    fn changing(&self, what: &str, key: &str, call: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        let left = self.life.left.fetch_sub(1, Ordering::SeqCst);
        let result = if left > 1 || (left == 1 && self.life.last_is_done) { call() } else { Ok(()) };
        self.watch.look(&format!("{what} {key}"));
        if left > 1 { result } else { Err(Self::dead(key)) }
    }

    fn reading<T>(&self, key: &str, call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.life.is_over() { Err(Self::dead(key)) } else { call() }
    }

    fn dead(key: &str) -> StoreError {
        StoreError { kind: ErrorKind::Other, url: key.to_owned(), message: "the process is dead".to_owned(), cause: None }
    }
}

impl TargetStore for Mortal {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.reading(key, || self.inner.head(key))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.reading(key, || self.inner.get(key))
    }

    fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        self.changing("put", key, || self.inner.put(key, bytes, mode))
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        self.reading(prefix, || self.inner.list(prefix, limit))
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.changing("delete", key, || self.inner.delete(key))
    }
}

/// A process that is suspended at its n-th put of an object or a receipt, until it is woken.
pub(crate) struct Sleeper {
    met: mpsc::Receiver<bool>,
    go: mpsc::Sender<()>,
}

impl Sleeper {
    /// The sleeper, the stores of its process, and what it does in the end.
    pub(crate) fn new(nth: usize) -> (Self, Wrapping, impl FnOnce()) {
        let ((tell, met), (go, wait)) = (mpsc::channel(), mpsc::channel());
        let ended = tell.clone();
        let bed = Arc::new(Bed { nth, count: AtomicUsize::new(0), asleep: AtomicBool::new(false), channels: Mutex::new((tell, wait)) });
        let wrapping =
            Wrapping::with(move |url, inner| Arc::new(Sleepy { is_state: url.contains(".gristmill"), inner, bed: Arc::clone(&bed) }));
        (Self { met, go }, wrapping, move || {
            let _gone = ended.send(false);
        })
    }

    /// Waits until it sleeps; false if it ended before.
    pub(crate) fn sleeps(&self) -> bool {
        self.met.recv().unwrap_or(false)
    }

    pub(crate) fn wake(&self) {
        let _gone = self.go.send(());
    }
}

struct Bed {
    nth: usize,
    count: AtomicUsize,
    asleep: AtomicBool,
    channels: Mutex<(mpsc::Sender<bool>, mpsc::Receiver<()>)>,
}

struct Sleepy {
    inner: Arc<dyn TargetStore>,
    is_state: bool,
    bed: Arc<Bed>,
}

impl TargetStore for Sleepy {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.inner.head(key)
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(key)
    }

    fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        if self.bed.asleep.load(Ordering::SeqCst) && key.starts_with("lease/") {
            // The whole process sleeps, so it does not show that it lives either.
            return Err(StoreError { kind: ErrorKind::Temporary, url: key.to_owned(), message: "asleep".to_owned(), cause: None });
        }
        let counts = !self.is_state || key.starts_with("receipts/");
        if counts && self.bed.count.fetch_add(1, Ordering::SeqCst) + 1 == self.bed.nth {
            let channels = self.bed.channels.lock().unwrap();
            self.bed.asleep.store(true, Ordering::SeqCst);
            let _gone = channels.0.send(true);
            let _woken = channels.1.recv();
            self.bed.asleep.store(false, Ordering::SeqCst);
        }
        self.inner.put(key, bytes, mode)
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        self.inner.list(prefix, limit)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key)
    }
}
