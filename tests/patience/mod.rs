//! Settings with short waits, for servers that fail on purpose; and a reporter that remembers what it was told.
#![allow(dead_code, reason = "each test binary that shares this uses a part of it")]

use std::sync::Mutex;
use std::time::Duration;

use gristmill::event::{Event, Reporter};
use gristmill::store::Access;
use gristmill::store::access::Retries;

/// Short waits; a server is silent after `idle`.
pub(crate) fn hasty(idle: Duration) -> Access {
    Access {
        idle_timeout: idle,
        connect_timeout: Duration::from_secs(2),
        retries: Retries {
            attempts: 4,
            give_up_after: Duration::from_secs(20),
            first_wait: Duration::from_millis(5),
            longest_wait: Duration::from_millis(40),
        },
        ..Access::default()
    }
}

/// A reporter that remembers.
#[derive(Default)]
pub(crate) struct Recorder(pub(crate) Mutex<Vec<Event>>);

impl Reporter for Recorder {
    fn report(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}
