//! Connections that wait for the next file.
//!
//! Invariant: only a connection without an outstanding reply is kept, and never more of one site than its gate lets through.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::super::limit::Pass;
use super::super::retry::Fault;
use super::session::Session;

/// Idle connections by [`Site::key`](super::site::Site::key).
#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<HashMap<String, Vec<Session>>>,
}

impl Pool {
    /// A connection that was idle, the one used last.
    pub(super) fn take(&self, key: &str) -> Option<Session> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key)?.pop()
    }

    fn put(&self, key: &str, session: Session, most: usize) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle.entry(key.to_owned()).or_default();
        if waiting.len() < most {
            waiting.push(session);
        }
    }
}

/// A connection in use; goes back to the pool if nothing is outstanding in it.
pub(super) struct Held<'a> {
    /// The connection; `None` only while this is dropped.
    session: Option<Session>,
    pool: &'a Pool,
    key: String,
    /// Most idle connections to keep.
    most: usize,
    _pass: Pass,
}

impl<'a> Held<'a> {
    /// Holds a connection.
    pub(super) fn new(session: Session, (pool, key): (&'a Pool, String), most: usize, pass: Pass) -> Self {
        Self { session: Some(session), pool, key, most, _pass: pass }
    }
}

impl Held<'_> {
    /// The connection.
    pub(super) fn session(&mut self) -> Result<&mut Session, Fault> {
        self.session.as_mut().ok_or_else(|| Fault::passing("the connection is gone"))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take().filter(|session| session.in_step) {
            self.pool.put(&self.key, session, self.most);
        }
    }
}
