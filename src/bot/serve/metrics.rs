//! Figures about the server, in the text format of Prometheus (prometheus.io, exposition formats, version 0.0.4).
//!
//! Not for figures about datasets. Invariant: labels are words of ours; no name of a repository, of a person or of a file is one.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A figure: its name, its kind, what it says, and the name of its label.
struct Family(&'static str, &'static str, &'static str, &'static str);

/// How webhooks were answered, by status.
pub(super) const ANSWERS: &str = "gristmill_webhooks_total";
/// How long those answers took.
pub(super) const ANSWER_TIME: &str = "gristmill_webhook_seconds";
/// Deliveries that were worked on, by what came of it.
pub(super) const DELIVERIES: &str = "gristmill_deliveries_total";
/// Actions that were taken.
pub(super) const ACTIONS: &str = "gristmill_actions_total";
/// Jobs that ended.
pub(super) const JOBS: &str = "gristmill_jobs_total";
/// How long they took.
pub(super) const JOB_TIME: &str = "gristmill_job_seconds";
/// Deliveries that were asked for again.
pub(super) const MISSED: &str = "gristmill_redeliveries_total";

const FAMILIES: [Family; 7] = [
    Family(ANSWERS, "counter", "Webhooks answered", "status"),
    Family(ANSWER_TIME, "histogram", "Time from a webhook's last byte to its answer", ""),
    Family(DELIVERIES, "counter", "Deliveries worked on", "result"),
    Family(ACTIONS, "counter", "Actions taken", "action"),
    Family(JOBS, "counter", "Jobs that ended", "end"),
    Family(JOB_TIME, "histogram", "Time that jobs ran", ""),
    Family(MISSED, "counter", "Deliveries asked for again", "result"),
];

/// Upper ends of the classes of a time, seconds.
const CLASSES: [f64; 12] = [0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0, 300.0, 1800.0, 14400.0];

/// The figures so far.
#[derive(Default)]
pub struct Metrics {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    counts: BTreeMap<(&'static str, String), u64>,
    times: BTreeMap<&'static str, Times>,
}

#[derive(Default)]
struct Times {
    classes: [u64; CLASSES.len()],
    count: u64,
    sum: f64,
}

impl Metrics {
    /// Counts one more.
    pub(super) fn count(&self, name: &'static str, label: &str) {
        *self.lock().counts.entry((name, label.to_owned())).or_default() += 1;
    }

    /// Adds a time.
    pub(super) fn time(&self, name: &'static str, time: Duration) {
        let mut kept = self.lock();
        let times = kept.times.entry(name).or_default();
        let seconds = time.as_secs_f64();
        times.classes.iter_mut().zip(CLASSES).filter(|(_, end)| seconds <= *end).for_each(|(count, _)| *count += 1);
        times.count += 1;
        times.sum += seconds;
    }

    /// All of them, and figures that are only known now: name, what it says, value.
    #[must_use]
    pub fn text(&self, now: &[(&str, &str, f64)]) -> String {
        let kept = self.lock();
        let mut text = String::new();
        for Family(name, kind, help, label) in &FAMILIES {
            let _ = writeln!(text, "# HELP {name} {help}.\n# TYPE {name} {kind}");
            for ((_, value), count) in kept.counts.iter().filter(|((of, _), _)| of == name) {
                let _ = writeln!(text, "{name}{{{label}=\"{}\"}} {count}", value.replace(['\\', '"', '\n'], "_"));
            }
            if *kind == "histogram" {
                kept.times.get(name).unwrap_or(&Times::default()).write(name, &mut text);
            }
        }
        for (name, help, value) in now {
            let _ = writeln!(text, "# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {value}");
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Times {
    fn write(&self, name: &str, text: &mut String) {
        for (end, count) in CLASSES.iter().zip(self.classes) {
            let _ = writeln!(text, "{name}_bucket{{le=\"{end}\"}} {count}");
        }
        let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {0}\n{name}_sum {1}\n{name}_count {0}", self.count, self.sum);
    }
}
