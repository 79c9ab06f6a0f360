//! Which objects are read back, and which of them were read while others were still written.
//!
//! Not for reading (`stored`). Invariant: what is drawn follows from plan and receipts alone, not from threads or the order of
//! answers; only when each was read does not.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::receipt::ChunkRef;
use crate::run::tally::TaskNumber;

/// Objects sampled besides the first of each variable, and the bytes they may have in all.
const SAMPLED: usize = 32;
const SAMPLED_BYTES: u64 = 64 << 20;

/// What an object is drawn by: the smallest are.
fn lot(chunk: &ChunkRef) -> u128 {
    xxhash_rust::xxh3::xxh3_128(chunk.key.as_bytes())
}

/// The objects that are read back: the first of each variable, and those whose keys have the smallest hashes.
#[derive(Default)]
pub(super) struct Sample {
    first: BTreeMap<usize, (TaskNumber, ChunkRef)>,
    any: BinaryHeap<Drawn>,
}

/// An object drawn by the hash of its key; the largest hash goes first.
struct Drawn {
    hash: u128,
    task: TaskNumber,
    chunk: ChunkRef,
}

impl PartialEq for Drawn {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Drawn {}

impl PartialOrd for Drawn {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Drawn {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.hash.cmp(&other.hash)
    }
}

impl Sample {
    pub(super) fn consider(&mut self, task: TaskNumber, chunk: &ChunkRef, variable: usize) {
        let is_first = self.first.get(&variable).is_none_or(|(known, first)| (task, &chunk.key) < (*known, &first.key));
        if is_first {
            self.first.insert(variable, (task, chunk.clone()));
        }
        let hash = lot(chunk);
        if self.any.len() < SAMPLED || self.any.peek().is_some_and(|last| hash < last.hash) {
            self.any.push(Drawn { hash, task, chunk: chunk.clone() });
            if self.any.len() > SAMPLED {
                self.any.pop();
            }
        }
    }

    /// What is read, each once.
    pub(super) fn objects(self) -> Vec<(TaskNumber, ChunkRef)> {
        let mut objects: Vec<_> = self.first.into_values().collect();
        let mut bytes = 0;
        for Drawn { task, chunk, .. } in self.any.into_sorted_vec() {
            bytes += chunk.bytes;
            if bytes <= SAMPLED_BYTES && !objects.iter().any(|(_, known)| known.key == chunk.key) {
                objects.push((task, chunk));
            }
        }
        objects
    }
}

/// Objects that are read back as soon as they are stored: about those that will be drawn at the end.
pub(super) struct Ahead {
    /// The largest lot that is likely to be drawn.
    likely: u128,
    /// Bytes that may be held at a time.
    room: u64,
    state: Mutex<Reading>,
}

#[derive(Default)]
struct Reading {
    /// Bytes being read.
    held: u64,
    /// Bytes read, or being read.
    all: u64,
    /// Keys of what came back as it was stored.
    right: BTreeSet<String>,
}

impl Ahead {
    /// For a run that stores so many objects, and may hold so many bytes of them at a time; none: nothing is read ahead.
    pub(super) fn new(objects: u64, room: u64) -> Self {
        let likely = (u128::MAX / u128::from(objects.max(1))).saturating_mul(SAMPLED as u128);
        Self { likely, room, state: Mutex::default() }
    }

    /// Has an object read that was just stored, if it is likely to be drawn and there is room; what was known of one that had its
    /// key before is forgotten. `is_right` tells whether it came back as it was stored.
    pub(super) fn read(&self, chunk: &ChunkRef, is_right: impl FnOnce() -> bool) {
        if lot(chunk) > self.likely || !self.begin(chunk) {
            return;
        }
        let right = is_right();
        let mut state = self.lock();
        state.held -= chunk.bytes;
        if right {
            state.right.insert(chunk.key.clone());
        }
    }

    fn begin(&self, chunk: &ChunkRef) -> bool {
        let mut state = self.lock();
        state.right.remove(&chunk.key);
        let (held, all) = (state.held.saturating_add(chunk.bytes), state.all.saturating_add(chunk.bytes));
        let fits = held <= self.room && all <= SAMPLED_BYTES;
        if fits {
            (state.held, state.all) = (held, all);
        }
        fits
    }

    /// True if an object has been read and was right.
    pub(super) fn has(&self, chunk: &ChunkRef) -> bool {
        self.lock().right.contains(&chunk.key)
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(number: u64) -> ChunkRef {
        ChunkRef { key: format!("x/c/{number}"), bytes: 1 << 20, checksum: String::new() }
    }

    #[test]
    fn the_sample_does_not_depend_on_the_order_of_answers() {
        let drawn = |order: &mut dyn Iterator<Item = u64>| {
            let mut sample = Sample::default();
            order.for_each(|number| sample.consider((0, number), &chunk(number), (number % 3) as usize));
            sample.objects().into_iter().map(|(_, chunk)| chunk.key).collect::<Vec<_>>()
        };
        let forward = drawn(&mut (0..5000));
        assert_eq!(forward, drawn(&mut (0..5000).rev()));
        assert_eq!(forward[..3], ["x/c/0", "x/c/1", "x/c/2"]);
        assert_eq!(forward.len(), 3 + SAMPLED);
    }

    #[test]
    fn large_objects_are_not_all_read() {
        let mut sample = Sample::default();
        (0..100).for_each(|number| sample.consider((0, number), &ChunkRef { bytes: 20 << 20, ..chunk(number) }, 0));
        assert_eq!(sample.objects().len(), 1 + 3);
    }

    #[test]
    fn most_of_what_is_drawn_was_read_ahead_and_little_else() {
        let (ahead, mut sample, mut read) = (Ahead::new(5000, 8 << 20), Sample::default(), 0);
        for number in 0..5000 {
            ahead.read(&chunk(number), || {
                read += 1;
                true
            });
            sample.consider((0, number), &chunk(number), 0);
        }
        let known = sample.objects().iter().filter(|(_, chunk)| ahead.has(chunk)).count();
        assert!((SAMPLED * 3 / 4..=SAMPLED).contains(&known) && read < SAMPLED * 3 / 2, "{known} of {SAMPLED} known, {read} read");
    }

    #[test]
    fn what_is_stored_anew_is_not_taken_for_what_was_read() {
        let ahead = Ahead::new(1, 1 << 20);
        ahead.read(&chunk(1), || true);
        assert!(ahead.has(&chunk(1)));
        ahead.read(&chunk(1), || false);
        assert!(!ahead.has(&chunk(1)));
        // No room is left while another is being read, and none for what is larger than all of it.
        ahead.read(&chunk(1), || {
            ahead.read(&chunk(2), || panic!("read without room"));
            true
        });
        ahead.read(&ChunkRef { bytes: 2 << 20, ..chunk(3) }, || panic!("read without room"));
        assert!(ahead.has(&chunk(1)) && !ahead.has(&chunk(2)));
        Ahead::new(1, 0).read(&chunk(4), || panic!("read without room"));
    }
}
