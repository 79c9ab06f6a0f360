//! Collecting every conflict, a few of each kind in full.
//!
//! Invariant: what is not shown is counted.

use std::collections::BTreeMap;

use crate::recipe::diagnostic::{Code, Diagnostic, Severity, Span};

/// Conflicts of one kind that are shown in full.
const SHOWN: usize = 20;

#[derive(Debug, Default)]
pub(super) struct Conflicts {
    found: Vec<Diagnostic>,
    counts: BTreeMap<Code, usize>,
}

impl Conflicts {
    pub(super) fn add(&mut self, code: Code, message: String, help: &str) {
        self.add_at(code, message, None, help);
    }

    pub(super) fn add_at(&mut self, code: Code, message: String, label: Option<(Span, String)>, help: &str) {
        let count = self.counts.entry(code).or_default();
        *count += 1;
        if *count <= SHOWN {
            let help = (!help.is_empty()).then(|| help.to_owned());
            self.found.push(Diagnostic { code, severity: Severity::Error, message, label, help });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The first one's message.
    pub(super) fn first(&self) -> Option<String> {
        self.found.first().map(|first| first.message.clone())
    }

    pub(super) fn holds(&self, code: Code) -> bool {
        self.counts.contains_key(&code)
    }

    /// All of them; kinds with more than are shown end with their number.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        for (&code, &count) in self.counts.iter().filter(|(_, count)| **count > SHOWN) {
            let message = format!("{} more of this kind are not shown", count - SHOWN);
            self.found.push(Diagnostic { code, severity: Severity::Error, message, label: None, help: None });
        }
        self.found
    }
}

/// "`a.nc`, `b.nc` and 3 more".
pub(super) fn listed<'a>(files: impl ExactSizeIterator<Item = &'a str>) -> String {
    let total = files.len();
    let shown: Vec<String> = files.take(3).map(|file| format!("`{file}`")).collect();
    if total > shown.len() { format!("{} and {} more", shown.join(", "), total - shown.len()) } else { shown.join(", ") }
}
