//! Answers that may still be true: kept with their `ETag`, so that asking again costs nothing of the hourly allowance.
//!
//! Invariant: an answer is used again only if the host says that it still holds, and only for who got it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::call::Answer;

/// Most answers kept.
const MOST: usize = 256;
/// Longest answer kept.
const LONGEST: usize = 256 << 10;

/// Answers by what was asked and with which token.
#[derive(Default)]
pub(super) struct Memory(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    answers: HashMap<String, (String, Answer)>,
    order: VecDeque<String>,
}

impl std::fmt::Debug for Memory {
    // What was asked for is known by tokens, too.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Memory {
    /// The answer and its `ETag`.
    pub(super) fn get(&self, key: &str) -> Option<(String, Answer)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).answers.get(key).cloned()
    }

    pub(super) fn keep(&self, key: String, etag: String, answer: &Answer) {
        if answer.body.len() > LONGEST {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.answers.insert(key.clone(), (etag, answer.clone())).is_none() {
            kept.order.push_back(key);
        }
        if kept.order.len() > MOST
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.answers.remove(&oldest);
        }
    }
}
