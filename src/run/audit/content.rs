//! Bytes and values of objects: sizes and checksums against receipts, and whether they decode (AR44).
//!
//! A share of the objects is read, the same for the same share. Invariant: what was read is counted, and each object is read once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::crew::Crew;
use super::finding::Findings;
use super::ledger::{Entry, Ledger, Marks, ObjectNumber};
use super::node::Node;
use super::objects::REPAIR;
use super::shares::Shares;
use super::stored::Stored;
use crate::receipt::{ChunkRef, checksum};
use crate::run::{RunError, with_causes};
use crate::store::{ErrorKind, PutMode, StoreError, TargetStore};
use crate::target::TargetError;
use crate::target::zarr::{Absent, ZarrReader};

/// What was looked at.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) receipts: AtomicU64,
    pub(super) read: AtomicU64,
    pub(super) bytes: AtomicU64,
}

/// What the looks share.
pub(super) struct Content<'a> {
    pub(super) stored: &'a Stored,
    pub(super) store: &'a Arc<dyn TargetStore>,
    pub(super) reader: &'a ZarrReader,
    /// Where the reader gets its objects.
    pub(super) tap: &'a Tap,
    /// Of the objects this share is read; 0: none.
    pub(super) share: f64,
    pub(super) findings: &'a Findings,
    pub(super) looked: Looked,
    pub(super) shares: Shares,
}

impl Content<'_> {
    /// Looks at every object that a receipt tells of, and reads the share; gives what receipts tell of.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn accounted(&self, ledger: &Ledger, crew: Crew<'_>) -> Result<Marks, RunError> {
        ledger.read(crew, &|entry| match entry {
            Entry::Object(number, chunk) => {
                self.looked.receipts.fetch_add(1, Ordering::Relaxed);
                self.object(ledger, number, chunk)
            }
            Entry::Foreign(chunk) => {
                let message = "a receipt tells of this object, which the committed plan has no place for";
                self.findings.error("AR06", ("", &chunk.key), message, "was the state beside the store mixed with another's?");
                Ok(())
            }
            Entry::Absent { plan, stage, task } => {
                let message = format!("there is no receipt of task {task} of stage {stage} of plan {plan}");
                self.findings.warning(
                    "AR06",
                    ("", ""),
                    message,
                    "what it wrote is judged by other receipts, if any; `gristmill repair` does it again",
                );
                Ok(())
            }
        })
    }

    fn object(&self, ledger: &Ledger, number: ObjectNumber, chunk: &ChunkRef) -> Result<(), RunError> {
        let name = ledger.plan.schema.variables.get(number.variable).map_or("", |variable| variable.name.as_str());
        let place = (name, chunk.key.as_str());
        let node = self.stored.node(name).filter(|node| node.key(&node.objects.index(number.object)) == chunk.key);
        let Some(node) = node.filter(|node| chosen(number.object, node.objects.chunks(), self.share)) else {
            match self.store.head(&chunk.key)? {
                None => self.findings.error("AR06", place, "a receipt tells of this object, and it is not there", REPAIR),
                Some(size) if size != chunk.bytes && !ledger.is_of_begun(&chunk.key, size, None)? => self.wrong_size(place, size, chunk),
                Some(_) => {}
            }
            return Ok(());
        };
        let read = self.read(node, number.object)?;
        match read {
            None => self.findings.error("AR06", place, "a receipt tells of this object, and it is not there", REPAIR),
            Some((_, sum)) if sum == chunk.checksum => {}
            Some((size, sum)) if ledger.is_of_begun(&chunk.key, size, Some(&sum))? => {}
            Some((size, _)) if size != chunk.bytes => self.wrong_size(place, size, chunk),
            Some(_) => {
                self.findings.error("AR44", place, "its bytes are not those that were written (checksum)", REPAIR);
            }
        }
        Ok(())
    }

    fn wrong_size(&self, place: (&str, &str), size: u64, chunk: &ChunkRef) {
        self.findings.error("AR44", place, format!("it has {size} bytes, and {} were written", chunk.bytes), REPAIR);
    }

    /// Reads the share of the objects of a store without receipts.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn unreceipted(&self, crew: Crew<'_>) -> Result<(), RunError> {
        for node in &self.stored.arrays {
            let count = node.objects.chunks();
            crew.each(if self.share > 0.0 { count } else { 0 }, &|object| {
                if chosen(object, count, self.share) {
                    self.read(node, object)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Reads and decodes an object: its size and checksum, or `None` if it is not there.
    fn read(&self, node: &Node, object: u64) -> Result<Option<(u64, String)>, RunError> {
        let index = node.objects.index(object);
        let key = node.key(&index);
        if self.reader.schema().variable(&node.path).is_none() {
            let Some(bytes) = self.store.get(&key)? else { return Ok(None) };
            return Ok(Some(self.count((bytes.len() as u64, checksum(&bytes)))));
        }
        self.tap.expect(&key);
        let decoded = self.reader.read(&node.path, &node.objects.region(&index));
        let seen = self.tap.taken(&key);
        match decoded {
            Err(TargetError::Missing { .. }) => return Ok(None),
            Err(error) => {
                // Bytes that the store could not give are no fault of their own.
                self.tap.check()?;
                let message = format!("it does not decode: {}", with_causes(&error));
                self.findings.error("AR44", (&node.path, &key), message, REPAIR);
            }
            Ok(values) => {
                if let Some(variable) = self.reader.schema().variable(&node.path) {
                    self.shares.see(node, variable, &index, &values);
                }
            }
        }
        Ok(seen.map(|seen| self.count(seen)))
    }

    fn count(&self, seen: (u64, String)) -> (u64, String) {
        self.looked.read.fetch_add(1, Ordering::Relaxed);
        self.looked.bytes.fetch_add(seen.0, Ordering::Relaxed);
        seen
    }
}

/// True if an object is in the share: the first, the last and as many as needed evenly between them.
fn chosen(number: u64, count: u64, share: f64) -> bool {
    if share <= 0.0 || number >= count {
        return false;
    }
    let wanted = ((count as f64 * share).ceil() as u64).max(2);
    if wanted >= count {
        return true;
    }
    // The i-th of `wanted` is i × (count − 1) ÷ (wanted − 1); is there an i that gives this number?
    let (number, last, steps) = (u128::from(number), u128::from(count - 1), u128::from(wanted - 1));
    let i = (number * steps).div_ceil(last);
    i * last / steps == number
}

/// A store that holds the objects that somebody expects to read until they are taken, so that each is fetched once.
pub(super) struct Tap {
    store: Arc<dyn TargetStore>,
    seen: Mutex<HashMap<String, Option<Bytes>>>,
    failed: Mutex<Option<StoreError>>,
    /// A document in place of the store's own.
    instead: (String, Bytes),
}

impl Tap {
    pub(super) fn new(store: Arc<dyn TargetStore>, instead: (String, Bytes)) -> Self {
        Self { store, seen: Mutex::default(), failed: Mutex::default(), instead }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, HashMap<String, Option<Bytes>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect(&self, key: &str) {
        self.seen().insert(key.to_owned(), None);
    }

    /// Size and checksum of an object that was read.
    fn taken(&self, key: &str) -> Option<(u64, String)> {
        let bytes = self.seen().remove(key).flatten()?;
        Some((bytes.len() as u64, checksum(&bytes)))
    }

    /// The last error of the store, which a reader hides among its own.
    pub(super) fn check(&self) -> Result<(), RunError> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

impl TargetStore for Tap {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.store.head(key)
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        if key == self.instead.0 {
            return Ok(Some(self.instead.1.clone()));
        }
        let held = self.seen().get(key).cloned();
        if let Some(Some(bytes)) = held {
            return Ok(Some(bytes));
        }
        let found = self.store.get(key);
        if let Err(error) = found {
            let (kind, url, message) = (error.kind, error.url.clone(), error.message.clone());
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(StoreError { kind, url, message, cause: None });
            return Err(error);
        }
        let found = found?;
        if let (Some(bytes), true) = (&found, held.is_some()) {
            self.seen().insert(key.to_owned(), Some(bytes.clone()));
        }
        Ok(found)
    }

    fn put(&self, key: &str, _: Bytes, _: PutMode) -> Result<(), StoreError> {
        Err(StoreError::new(ErrorKind::Other, key, "an audit only reads"))
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        self.store.list(prefix, limit)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        Err(StoreError::new(ErrorKind::Other, key, "an audit only reads"))
    }
}

/// A reader of the arrays that one dataset can hold; what others wrote may leave objects out.
pub(super) fn reader(
    stored: &Stored,
    fits: &[bool],
    store: &Arc<dyn TargetStore>,
    ours: bool,
) -> Result<Option<(Arc<Tap>, ZarrReader)>, RunError> {
    let fitting = |node: &Node| {
        let place = stored.arrays.iter().position(|other| std::ptr::eq(other, node));
        node.dtype.is_some() && place.and_then(|place| fits.get(place)).is_some_and(|fits| *fits)
    };
    let (key, document) = stored.document_of(&fitting);
    let bytes = Bytes::from(serde_json::to_vec(&document).unwrap_or_default());
    let tap = Arc::new(Tap::new(Arc::clone(store), (key.to_owned(), bytes)));
    let absent = if ours { Absent::Hole } else { Absent::Fill };
    match ZarrReader::open(Arc::clone(&tap) as Arc<dyn TargetStore>, absent) {
        Ok(reader) => Ok(reader.map(|reader| (tap, reader))),
        Err(TargetError::Store(error)) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_spread_evenly_with_both_ends() {
        for (count, share) in [(1, 0.05), (2, 0.05), (100, 0.05), (101, 0.1), (7, 0.5), (1000, 1.0), (3, 1e-9)] {
            let picked: Vec<u64> = (0..count).filter(|&number| chosen(number, count, share)).collect();
            let wanted = ((count as f64 * share).ceil() as u64).max(2).min(count);
            assert_eq!(picked.len() as u64, wanted, "{count} × {share}");
            assert_eq!((picked.first(), picked.last()), (Some(&0), Some(&(count - 1))));
        }
        assert!(!chosen(0, 10, 0.0) && !chosen(10, 10, 1.0));
    }
}
