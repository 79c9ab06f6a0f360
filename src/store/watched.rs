//! Target stores whose calls are watched, as those of sources are: what a run waits for is told, and no call lasts for ever.
//!
//! Not for when to try again (that is each store's). Invariant: what is sent earns time as what comes does, so that a large object over a
//! slow line is not ended while it makes progress at `slowest`.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;

use super::watch::{Waits, Watchdog};
use super::{Conditional, PutMode, StoreError, TargetStore, Version};
use crate::event::{Event, Reporter};
use crate::size::ByteSize;

/// The watchdog that all target stores of a run share, and who hears of it. Stores are opened before it is known who listens.
#[derive(Default)]
pub(super) struct TargetWatch {
    listener: Arc<Listener>,
    watchdog: OnceLock<Arc<Watchdog>>,
}

/// Passes on what is told, if anybody listens by then.
#[derive(Default)]
struct Listener(Mutex<Option<Arc<dyn Reporter>>>);

impl Listener {
    fn now(&self) -> Option<Arc<dyn Reporter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Reporter for Listener {
    fn report(&self, event: Event) {
        if let Some(reporter) = self.now() {
            reporter.report(event);
        }
    }
}

impl TargetWatch {
    /// From now on this one hears of it.
    pub(super) fn listen(&self, reporter: Arc<dyn Reporter>) {
        *self.listener.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reporter);
    }

    /// The watchdog, made with these waits if it is the first time.
    fn watchdog(&self, waits: &Waits) -> Arc<Watchdog> {
        let made = || Arc::new(Watchdog::new(waits, Arc::clone(&self.listener) as Arc<dyn Reporter>));
        Arc::clone(self.watchdog.get_or_init(made))
    }

    /// A store whose calls are watched.
    pub(super) fn around<S: ?Sized>(&self, url: &str, waits: &Waits, store: Arc<S>) -> Watched<S> {
        Watched { url: url.trim_end_matches('/').to_owned(), store, watchdog: self.watchdog(waits) }
    }
}

impl fmt::Debug for TargetWatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.listener.now().is_some() { "TargetWatch(heard)" } else { "TargetWatch(unheard)" })
    }
}

/// A store whose calls are watched.
pub(super) struct Watched<S: ?Sized> {
    url: String,
    store: Arc<S>,
    watchdog: Arc<Watchdog>,
}

impl<S: ?Sized> Watched<S> {
    /// Makes a call about a key; `sent` bytes go along.
    fn during<T>(&self, key: &str, part: impl Into<String>, sent: u64, make: impl FnOnce(&S) -> T) -> T {
        let separator = if key.is_empty() { "" } else { "/" };
        self.watchdog.sending(&format!("{}{separator}{key}", self.url), part.into(), sent, || make(&self.store))
    }

    fn storing<T>(&self, key: &str, bytes: &Bytes, make: impl FnOnce(&S) -> T) -> T {
        let sent = bytes.len() as u64;
        self.during(key, format!("storing {}", ByteSize(sent)), sent, make)
    }
}

impl<S: TargetStore + ?Sized> TargetStore for Watched<S> {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.during(key, "the size", 0, |store| store.head(key))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.during(key, "the object", 0, |store| store.get(key))
    }

    fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        self.storing(key, &bytes.clone(), |store| store.put(key, bytes, mode))
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        self.during(prefix, "a list", 0, |store| store.list(prefix, limit))
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.during(key, "removing it", 0, |store| store.delete(key))
    }
}

impl<S: Conditional + ?Sized> Conditional for Watched<S> {
    fn read(&self, key: &str) -> Result<Option<(Bytes, Version)>, StoreError> {
        self.during(key, "the object", 0, |store| store.read(key))
    }

    fn replace(&self, key: &str, bytes: Bytes, version: &Version) -> Result<(), StoreError> {
        self.storing(key, &bytes.clone(), |store| store.replace(key, bytes, version))
    }
}
