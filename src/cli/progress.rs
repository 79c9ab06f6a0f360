//! Progress on screen: a bar on a terminal, plain lines in a pipe, JSON lines on request, nothing when quiet.
//!
//! The only terminal code besides the commands' own output. Everything goes to stderr, but for JSON lines, which are the
//! output. Invariant: nothing here can fail a run.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::event::{Event, Phase, Reporter};
use crate::recipe::diagnostic::inert;
use crate::size::ByteSize;

/// How to show progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A bar.
    Bar,
    /// A line now and then.
    Lines,
    /// A JSON object per event, on stdout.
    Json,
    /// Nothing.
    Quiet,
}

impl Style {
    /// What suits the flags and where stderr goes.
    #[must_use]
    pub fn choose(quiet: bool, json: bool) -> Self {
        match (quiet, json) {
            (true, _) => Self::Quiet,
            (_, true) => Self::Json,
            _ if std::io::stderr().is_terminal() => Self::Bar,
            _ => Self::Lines,
        }
    }
}

/// Between two plain lines of one phase.
const PAUSE: Duration = Duration::from_secs(10);

/// Shows events.
pub struct Progress {
    style: Style,
    state: Mutex<State>,
}

struct State {
    bar: Option<ProgressBar>,
    phase: Option<Current>,
}

struct Current {
    phase: Phase,
    steps: u64,
    finished: u64,
    bytes: u64,
    bytes_done: u64,
    begun: Instant,
    said: Instant,
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Scan => "scan",
        Phase::Execute => "bake",
        Phase::Verify => "verify",
        Phase::Audit => "audit",
    }
}

fn unit(phase: Phase) -> &'static str {
    match phase {
        Phase::Scan => "files",
        Phase::Execute => "tasks",
        Phase::Verify => "samples",
        Phase::Audit => "objects",
    }
}

impl Progress {
    /// Shows events in this style.
    #[must_use]
    pub fn new(style: Style) -> Self {
        Self { style, state: Mutex::new(State { bar: None, phase: None }) }
    }

    fn is_plain(&self) -> bool {
        matches!(self.style, Style::Bar | Style::Lines)
    }

    fn line(state: &State, text: &str) {
        match &state.bar {
            Some(bar) => bar.println(text),
            None => drop(writeln!(std::io::stderr(), "{text}")),
        }
    }

    fn json(&self, value: &serde_json::Value) {
        if self.style == Style::Json {
            drop(writeln!(std::io::stdout(), "{value}"));
        }
    }

    fn start(&self, state: &mut State, current: Current) {
        if self.style == Style::Bar {
            state.bar = Some(bar(&current));
        }
        self.json(&json!({"event": "phase-started", "phase": name(current.phase), "steps": current.steps, "done": current.finished, "bytes": current.bytes}));
        state.phase = Some(current);
    }

    fn step(&self, state: &mut State, bytes: u64) {
        let Some(current) = &mut state.phase else { return };
        current.finished += 1;
        current.bytes_done += bytes;
        if let Some(bar) = &state.bar {
            bar.set_position(if current.bytes > 0 { current.bytes_done } else { current.finished });
            bar.set_message(format!("{}/{} {}", current.finished, current.steps, unit(current.phase)));
        }
        if self.style == Style::Lines && current.said.elapsed() > PAUSE {
            current.said = Instant::now();
            let text = current.text();
            Self::line(state, &text);
            return;
        }
        let value = json!({"event": "step-finished", "phase": name(current.phase), "done": current.finished, "steps": current.steps, "bytes": current.bytes_done});
        self.json(&value);
    }

    fn finish(&self, state: &mut State) {
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
        let Some(current) = state.phase.take() else { return };
        if matches!(self.style, Style::Lines | Style::Bar) {
            Self::line(state, &current.text());
        }
        self.json(&json!({"event": "phase-finished", "phase": name(current.phase), "seconds": current.begun.elapsed().as_secs_f64()}));
    }
}

impl Current {
    fn text(&self) -> String {
        let seconds = self.begun.elapsed().as_secs_f64();
        let rate = if self.bytes_done > 0 {
            format!(", {}, {}/s", ByteSize(self.bytes_done), ByteSize((self.bytes_done as f64 / seconds.max(1e-3)) as u64))
        } else {
            String::new()
        };
        format!("{:<7} {}/{} {}{rate} in {seconds:.1} s", name(self.phase), self.finished, self.steps, unit(self.phase))
    }
}

fn bar(current: &Current) -> ProgressBar {
    let template = if current.bytes > 0 {
        "{prefix:<7} [{bar:32}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {msg} {eta} left"
    } else {
        "{prefix:<7} [{bar:32}] {msg} {eta} left"
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(if current.bytes > 0 { current.bytes } else { current.steps });
    bar.set_style(style.progress_chars("=> "));
    bar.set_prefix(name(current.phase));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

impl Reporter for Progress {
    fn report(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::PhaseStarted { phase, steps, done, bytes } => {
                let now = Instant::now();
                self.start(&mut state, Current { phase, steps, finished: done, bytes, bytes_done: 0, begun: now, said: now });
            }
            Event::StepFinished { bytes, .. } => self.step(&mut state, bytes),
            Event::PhaseFinished { .. } => self.finish(&mut state),
            Event::Retried { url, reason } => {
                self.json(&json!({"event": "retried", "url": url, "reason": reason}));
                if self.is_plain() {
                    Self::line(&state, &inert(&format!("retry   {url}: {reason}")));
                }
            }
            Event::Waiting { url, part, seconds, bytes, queued } => {
                self.json(&json!({"event": "waiting", "url": url, "part": part, "seconds": seconds, "bytes": bytes, "queued": queued}));
                if self.is_plain() {
                    let why = if queued { "for its turn at the server" } else { "for the server" };
                    Self::line(&state, &inert(&format!("waiting {seconds} s {why}: {url}, {part} ({bytes} bytes came before)")));
                }
            }
            Event::Spent(_) => {}
            Event::Warned { message } => {
                self.json(&json!({"event": "warning", "message": message}));
                if self.is_plain() {
                    Self::line(&state, &inert(&format!("warning: {message}")));
                }
            }
        }
    }
}
