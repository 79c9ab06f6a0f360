//! Keeps one who has lost his target from writing there.
//!
//! A process that was suspended wakes in the middle of whatever it did, and its tasks go on until they hear that they shall stop. Not for
//! finding out who holds a target: that is `keeper`. Invariant: after it is known that the lock is lost no put and no delete begins.

use std::sync::Arc;

use bytes::Bytes;

use crate::store::{ErrorKind, PutMode, StoreError, TargetStore};

/// Tells, without asking anybody, that the lock is lost.
pub(super) type IsLost = Arc<dyn Fn() -> bool + Send + Sync>;

/// A store for as long as the lock is held.
pub(super) struct Fenced {
    inner: Arc<dyn TargetStore>,
    is_lost: IsLost,
}

impl Fenced {
    pub(super) fn new(inner: Arc<dyn TargetStore>, is_lost: IsLost) -> Self {
        Self { inner, is_lost }
    }

    fn held(&self, key: &str) -> Result<(), StoreError> {
        if !(self.is_lost)() {
            return Ok(());
        }
        Err(StoreError::new(ErrorKind::Other, key, "not written: this run no longer holds the target"))
    }
}

impl TargetStore for Fenced {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.inner.head(key)
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(key)
    }

    fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        self.held(key)?;
        self.inner.put(key, bytes, mode)
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        self.inner.list(prefix, limit)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.held(key)?;
        self.inner.delete(key)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::store::{Access, target};

    #[test]
    fn nothing_is_written_or_deleted_once_the_lock_is_lost() {
        let inner = target("memory://fence", &Access::default()).unwrap();
        let lost = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&lost);
        let fenced = Fenced::new(Arc::clone(&inner), Arc::new(move || told.load(Ordering::Relaxed)));
        let put = |text: &'static str| fenced.put("a", Bytes::from_static(text.as_bytes()), PutMode::Overwrite);
        put("ours").unwrap();
        lost.store(true, Ordering::Relaxed);
        inner.put("a", Bytes::from_static(b"another's"), PutMode::Overwrite).unwrap();
        assert!(put("ours").unwrap_err().to_string().contains("no longer holds"));
        assert!(fenced.delete("a").is_err());
        assert_eq!(fenced.get("a").unwrap().unwrap(), "another's");
    }
}
