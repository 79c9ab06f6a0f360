//! Connections of file servers that wait for the next file.
//!
//! Invariant: only a connection without an outstanding reply is kept, and never more of one site than its gate lets through.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::limit::Pass;
use super::retry::Fault;

/// A connection that can wait for its next use.
pub(super) trait Session {
    /// True if no reply is outstanding in it, as far as one can tell.
    fn is_in_step(&self) -> bool;
}

/// Idle connections, by server and user.
pub(super) struct Pool<S> {
    idle: Mutex<HashMap<String, Vec<S>>>,
}

impl<S> Default for Pool<S> {
    fn default() -> Self {
        Self { idle: Mutex::default() }
    }
}

impl<S> Pool<S> {
    /// A connection that was idle, the one used last.
    pub(super) fn take(&self, key: &str) -> Option<S> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key)?.pop()
    }

    fn put(&self, key: &str, session: S, most: usize) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle.entry(key.to_owned()).or_default();
        if waiting.len() < most {
            waiting.push(session);
        }
    }
}

/// A connection in use; goes back to the pool if nothing is outstanding in it.
pub(super) struct Held<'a, S: Session> {
    /// The connection; `None` only while this is dropped.
    session: Option<S>,
    pool: &'a Pool<S>,
    key: String,
    /// Most idle connections to keep.
    most: usize,
    _pass: Pass,
}

impl<'a, S: Session> Held<'a, S> {
    /// Holds a connection.
    pub(super) fn new(session: S, (pool, key): (&'a Pool<S>, String), most: usize, pass: Pass) -> Self {
        Self { session: Some(session), pool, key, most, _pass: pass }
    }
}

impl<S: Session> Held<'_, S> {
    /// The connection.
    pub(super) fn session(&mut self) -> Result<&mut S, Fault> {
        self.session.as_mut().ok_or_else(|| Fault::passing("the connection is gone"))
    }
}

impl<S: Session> Drop for Held<'_, S> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take().filter(S::is_in_step) {
            self.pool.put(&self.key, session, self.most);
        }
    }
}
