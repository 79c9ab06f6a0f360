//! Objects of the target that were just read, kept for the next box that lies in them.
//!
//! Verification compares several boxes of one object, from several threads; each object is fetched once while there is room.
//! Encoded bytes only: decoding is the reader's. Invariant: what is handed out is what the store gave; nothing is ever written.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::store::{ErrorKind, PutMode, StoreError, TargetStore};

/// A store that remembers what it read last.
pub(super) struct Remembering {
    store: Arc<dyn TargetStore>,
    limit: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    objects: HashMap<String, Bytes>,
    /// Their keys, oldest first.
    order: VecDeque<String>,
    bytes: usize,
}

impl Remembering {
    /// Remembers at most `limit` bytes.
    pub(super) fn new(store: Arc<dyn TargetStore>, limit: usize) -> Self {
        Self { store, limit, kept: Mutex::default() }
    }

    fn recall(&self, key: &str) -> Option<Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.objects.get(key).cloned()
    }

    fn remember(&self, key: &str, bytes: &Bytes) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.len() > self.limit || kept.objects.contains_key(key) {
            return;
        }
        kept.bytes += bytes.len();
        kept.objects.insert(key.to_owned(), bytes.clone());
        kept.order.push_back(key.to_owned());
        while kept.bytes > self.limit {
            let Some(oldest) = kept.order.pop_front().and_then(|key| kept.objects.remove(&key)) else { return };
            kept.bytes = kept.bytes.saturating_sub(oldest.len());
        }
    }
}

impl TargetStore for Remembering {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.store.head(key)
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        if let Some(bytes) = self.recall(key) {
            return Ok(Some(bytes));
        }
        let found = self.store.get(key)?;
        if let Some(bytes) = &found {
            self.remember(key, bytes);
        }
        Ok(found)
    }

    fn put(&self, key: &str, _bytes: Bytes, _mode: PutMode) -> Result<(), StoreError> {
        Err(read_only(key))
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        self.store.list(prefix, limit)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        Err(read_only(key))
    }
}

fn read_only(key: &str) -> StoreError {
    let message = "verification only reads; this is a mistake in the program, please report it".to_owned();
    StoreError { kind: ErrorKind::Other, url: key.to_owned(), message, cause: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Access, target};

    #[test]
    fn an_object_is_fetched_once_while_there_is_room() {
        let store = target("memory://remembering", &Access::default()).unwrap();
        let put = |key: &str, text: &'static str| store.put(key, Bytes::from_static(text.as_bytes()), PutMode::Overwrite).unwrap();
        put("a", "one");
        put("b", "three");
        let remembering = Remembering::new(Arc::clone(&store), 7);
        let get = |key: &str| remembering.get(key).unwrap().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!((get("a"), get("c")), (Some("one".to_owned()), None));
        put("a", "two");
        assert_eq!(get("a").as_deref(), Some("one"));
        // The next object pushes the first one out.
        assert_eq!((get("b").as_deref(), get("a").as_deref()), (Some("three"), Some("two")));
        assert!(remembering.put("a", Bytes::new(), PutMode::Overwrite).is_err() && remembering.delete("a").is_err());
    }
}
