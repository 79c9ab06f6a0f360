//! The log of a test: its last lines, for whoever has to mend what failed without asking a maintainer for it.
//!
//! Invariant: it holds what events hold, so no secret; and at most [`MOST_LINES`] lines, the last ones.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::bot::artifact::MOST_LINES;
use crate::event::{Event, Phase, Reporter};
use crate::size::ByteSize;

/// Most letters of a line.
const LONGEST: usize = 300;

/// Listens to a test, and passes on what it hears.
pub(super) struct Log {
    begun: Instant,
    next: Arc<dyn Reporter>,
    lines: Mutex<VecDeque<String>>,
}

impl Log {
    pub(super) fn new(begun: Instant, next: Arc<dyn Reporter>) -> Self {
        Self { begun, next, lines: Mutex::default() }
    }

    /// What was heard.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn note(&self, text: &str) {
        let line: String = format!("{:8.1} s  {text}", self.begun.elapsed().as_secs_f64()).chars().take(LONGEST).collect();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= MOST_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

impl Reporter for Log {
    fn report(&self, event: Event) {
        if let Some(text) = words(&event) {
            self.note(&text);
        }
        self.next.report(event);
    }

    fn wants_spans(&self) -> bool {
        self.next.wants_spans()
    }
}

/// A line about an event; none about single steps.
fn words(event: &Event) -> Option<String> {
    let name = |phase: &Phase| match phase {
        Phase::Scan => "scan",
        Phase::Execute => "bake",
        Phase::Verify => "compare with the sources",
        Phase::Audit => "read the store again",
    };
    Some(match event {
        Event::PhaseStarted { phase, steps, bytes: 0, .. } => format!("{}: {steps} steps", name(phase)),
        Event::PhaseStarted { phase, steps, bytes, .. } => format!("{}: {steps} steps, {}", name(phase), ByteSize(*bytes)),
        Event::PhaseFinished { phase } => format!("{}: done", name(phase)),
        Event::Retried { url, reason } => format!("again: {url}: {reason}"),
        Event::Waiting { url, part, seconds, .. } => format!("waiting for {seconds} s: {url} ({part})"),
        Event::Warned { message } => format!("warning: {message}"),
        Event::StepFinished { .. } | Event::Spent(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;

    #[test]
    fn the_last_lines_are_kept_and_single_steps_are_none() {
        let log = Log::new(Instant::now(), Arc::new(Silent));
        log.report(Event::PhaseStarted { phase: Phase::Scan, steps: 3, done: 0, bytes: 0 });
        log.report(Event::StepFinished { phase: Phase::Scan, bytes: 1 });
        assert!(log.lines().len() == 1 && log.lines().concat().ends_with("s  scan: 3 steps"));
        (0..100).for_each(|number| log.report(Event::Warned { message: format!("{number} {}", "x".repeat(1000)) }));
        let lines = log.lines();
        assert_eq!(lines.len(), MOST_LINES);
        assert!(lines.iter().all(|line| line.chars().count() <= LONGEST) && lines.last().is_some_and(|line| line.contains("99 x")));
    }
}
