//! Why a code host did not do what it was asked.
//!
//! Invariant: no message holds a secret or a text of the host that was not made inert.

use std::time::Duration;

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("the code host was to {doing}: {message}")]
pub struct ForgeError {
    /// What can be done about it.
    pub fault: Fault,
    /// What was asked, as a verb.
    pub doing: String,
    /// What happened.
    pub message: String,
    /// Why.
    #[source]
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What can be done about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing now: the host is down, or wants us to wait. Ask again after so long.
    Passing(Duration),
    /// We may not: the app lacks a permission, was removed, or its key is wrong. A person must act.
    Forbidden,
    /// There is no such thing, or no longer.
    Gone,
    /// The host does not understand, or we don't understand the host: a mistake of ours.
    Wrong,
}

impl ForgeError {
    /// Something that failed.
    #[must_use]
    pub fn new(fault: Fault, doing: impl Into<String>, message: impl Into<String>) -> Self {
        Self { fault, doing: doing.into(), message: message.into(), cause: None }
    }

    /// With its cause.
    #[must_use]
    pub fn because(mut self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Box::new(cause));
        self
    }

    /// After how long it may be tried again; `None` if that would not help.
    #[must_use]
    pub fn again_after(&self) -> Option<Duration> {
        match self.fault {
            Fault::Passing(wait) => Some(wait),
            Fault::Forbidden | Fault::Gone | Fault::Wrong => None,
        }
    }
}
