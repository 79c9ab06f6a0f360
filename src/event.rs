//! What happened, and who listens.
//!
//! Events are data: the core says them sideways and never waits for an answer. Not for errors (those go up). Invariant: an
//! event holds no secret, since any reporter may print it.

/// A part of a run that takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Phase {
    Scan,
    Execute,
    Verify,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A phase begins; its length in steps (files, tasks, samples) and, when known, bytes.
    PhaseStarted {
        /// Which.
        phase: Phase,
        /// Steps to go.
        steps: u64,
        /// Steps already done by an earlier run.
        done: u64,
        /// Bytes of values to go; 0 when unknown.
        bytes: u64,
    },
    /// One step of a phase is done.
    StepFinished {
        /// Which phase.
        phase: Phase,
        /// Bytes of values it handled.
        bytes: u64,
    },
    /// A phase is over.
    PhaseFinished {
        /// Which.
        phase: Phase,
    },
    /// A request is repeated after a passing fault.
    Retried {
        /// What was asked for (no query string).
        url: String,
        /// Why, in a few words.
        reason: String,
    },
    /// Something a person should know that does not stop the run.
    Warned {
        /// The message.
        message: String,
    },
}

/// Who listens. Called from many threads.
pub trait Reporter: Send + Sync {
    /// Takes note; must not block for long.
    fn report(&self, event: Event);
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _event: Event) {}
}
