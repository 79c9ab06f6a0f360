//! Connections of file servers that wait for the next file.
//!
//! Invariant: only a connection without an outstanding reply is kept, and never more of one site than its gate lets through.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::limit::{Gate, Pass};
use super::retry::Fault;

/// A connection that can wait for its next use.
pub(super) trait Session {
    /// True if no reply is outstanding in it, as far as one can tell.
    fn is_in_step(&self) -> bool;

    /// True if it still lives; asks the server if it has waited for long.
    async fn is_well(&mut self) -> bool;
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

impl<S: Session> Pool<S> {
    /// A connection, once the site's gate lets one through: an idle one if there is one that still lives.
    ///
    /// # Errors
    /// Those of `open`, which makes a new one.
    pub(super) async fn hold(
        &self,
        key: String,
        gate: &Arc<Gate>,
        open: impl AsyncFnOnce() -> Result<S, Fault>,
    ) -> Result<Held<'_, S>, Fault> {
        let pass = gate.enter().await;
        let session = match self.living(&key).await {
            Some(session) => session,
            None => open().await?,
        };
        Ok(Held { session: Some(session), pool: self, key, most: gate.room(), _pass: pass })
    }

    /// The connection used last of those that were idle and still live.
    async fn living(&self, key: &str) -> Option<S> {
        loop {
            let mut idle = self.take(key)?;
            if idle.is_well().await {
                return Some(idle);
            }
        }
    }

    fn take(&self, key: &str) -> Option<S> {
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
