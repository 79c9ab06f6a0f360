//! What happened, and who listens.
//!
//! Events are data: the core says them sideways and never waits for an answer. Not for errors (those go up). Spans of time are
//! said only to a reporter that wants them; for any other, [`spent`] costs one call. Invariant: an event holds no secret, since
//! any reporter may print it.

use std::time::Instant;

/// A part of a run that takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Phase {
    Scan,
    Execute,
    Verify,
    /// Looks at a store that is there.
    Audit,
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
    /// A far server has been silent for a while; told again as long as it lasts.
    Waiting {
        /// Which file is waited for (no query string).
        url: String,
        /// Which bytes of it.
        part: String,
        /// Seconds without a byte.
        seconds: u64,
        /// Bytes that came before.
        bytes: u64,
        /// True if no request is under way: it waits for its turn, or for when the server asked to come back.
        queued: bool,
    },
    /// Something a person should know that does not stop the run.
    Warned {
        /// The message.
        message: String,
    },
    /// Time was spent; only reported if [`Reporter::wants_spans`].
    Spent(Span),
}

/// What a span of time was spent on. The first eight are stages of the workflow, one after the other; a task's span is around
/// its steps, which may run in several threads and between those of other tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Activity {
    Run,
    Scan,
    Combine,
    Plan,
    /// Looks at the target, saves the plan.
    Prepare,
    Execute,
    Verify,
    Commit,
    Task,
    /// Reads one input's header while scanning.
    Describe,
    /// Opens a task's inputs and lists its reads.
    Open,
    Fetch,
    /// Decodes and places one read.
    Place,
    Encode,
    Write,
    /// Keeps a task's receipt.
    Keep,
    /// Compares one part of the result with its source.
    Compare,
    /// A thread has nothing that it could do.
    Wait,
}

/// Time that was spent, told by the thread that spent it (a task's: by the thread that finished it).
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// On what.
    pub activity: Activity,
    /// From when.
    pub begun: Instant,
    /// Until when.
    pub ended: Instant,
    /// Of what.
    pub detail: Detail,
}

/// What a span worked on; each as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail {
    /// Stage and number of the task.
    pub task: Option<(usize, u64)>,
    /// A variable, object or file (as `store::shown` shows it); empty if none.
    pub about: String,
    /// Bytes moved.
    pub bytes: u64,
}

/// Who listens. Called from many threads.
pub trait Reporter: Send + Sync {
    /// Takes note; must not block for long.
    fn report(&self, event: Event);

    /// True if [`Event::Spent`] shall be reported too.
    fn wants_spans(&self) -> bool {
        false
    }
}

/// Works, and reports the time that took to whom it concerns.
pub fn spent<T>(reporter: &dyn Reporter, activity: Activity, detail: impl FnOnce(&T) -> Detail, work: impl FnOnce() -> T) -> T {
    if !reporter.wants_spans() {
        return work();
    }
    let begun = Instant::now();
    let result = work();
    let (ended, detail) = (Instant::now(), detail(&result));
    reporter.report(Event::Spent(Span { activity, begun, ended, detail }));
    result
}

/// [`spent`] on something without details: a stage of the workflow.
pub fn spent_stage<T>(reporter: &dyn Reporter, activity: Activity, work: impl FnOnce() -> T) -> T {
    spent(reporter, activity, |_| Detail::default(), work)
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _event: Event) {}
}
