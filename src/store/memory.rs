//! Targets in the memory of this process, by name: for tests, and for looking before writing.
//!
//! Invariant: two openings of one name see the same objects.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::local::check_key;
use super::{Conditional, ErrorKind, PutMode, StoreError, TargetStore, Version};

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

static STORES: LazyLock<Mutex<HashMap<String, Objects>>> = LazyLock::new(Mutex::default);

/// One named store.
#[derive(Debug)]
pub(super) struct MemoryTarget {
    objects: Objects,
}

impl MemoryTarget {
    /// Opens the store of a name, empty at first.
    pub(super) fn open(name: &str) -> Self {
        let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
        Self { objects: Arc::clone(stores.entry(name.to_owned()).or_default()) }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TargetStore for MemoryTarget {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        check_key(key)?;
        Ok(self.objects().get(key).map(|bytes| bytes.len() as u64))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        check_key(key)?;
        Ok(self.objects().get(key).cloned())
    }

    fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        check_key(key)?;
        let mut objects = self.objects();
        if mode == PutMode::Create && objects.contains_key(key) {
            return Err(StoreError::new(ErrorKind::Exists, key, "the object exists already"));
        }
        objects.insert(key.to_owned(), bytes);
        Ok(())
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let below = if prefix.is_empty() { String::new() } else { format!("{}/", prefix.trim_end_matches('/')) };
        let objects = self.objects();
        let found = objects.range::<str, _>((Bound::Included(below.as_str()), Bound::Unbounded)).map(|(key, _)| key);
        Ok(found.take_while(|key| key.starts_with(&below)).take(limit).cloned().collect())
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        check_key(key)?;
        self.objects().remove(key);
        Ok(())
    }
}

impl Conditional for MemoryTarget {
    fn read(&self, key: &str) -> Result<Option<(Bytes, Version)>, StoreError> {
        Ok(self.get(key)?.map(|bytes| (bytes.clone(), version(&bytes))))
    }

    fn replace(&self, key: &str, bytes: Bytes, expected: &Version) -> Result<(), StoreError> {
        check_key(key)?;
        let mut objects = self.objects();
        match objects.get_mut(key) {
            Some(object) if version(object) == *expected => {
                *object = bytes;
                Ok(())
            }
            _ => Err(StoreError::new(ErrorKind::Exists, key, "the object is another by now")),
        }
    }
}

/// As with S3's `ETag`: the same bytes are the same version.
fn version(bytes: &Bytes) -> Version {
    Version(format!("{:032x}", xxhash_rust::xxh3::xxh3_128(bytes)))
}
