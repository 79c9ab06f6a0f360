//! What an audit found: each by the number of its rule, with where it is and what to do.
//!
//! Numbers are those of the analysis-ready checklist (`docs/verify.md`). Invariant: what is not shown is counted, and which are
//! shown does not depend on threads.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// Findings of one rule in one array that are shown.
const SHOWN: usize = 20;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A reader gets wrong data, or none, or the store is not what its receipts say.
    Error,
    /// A reader is inconvenienced, or might misunderstand.
    Warning,
    /// Nothing is wrong; told because nobody else tells it.
    Note,
}

impl Level {
    /// As people read it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// Number in the checklist: `AR06`.
    pub rule: String,
    /// Array or group; empty: the root.
    pub array: String,
    /// Object below the target, where it is about one; else empty.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do; empty where nothing can be done.
    pub help: String,
}

/// Where a finding is: array (or group), and object.
pub(super) type Place<'a> = (&'a str, &'a str);

/// Gathers findings, from many threads.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Mutex<BTreeMap<(Level, &'static str, String), Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    shown: Vec<Finding>,
    count: usize,
}

impl Findings {
    pub(super) fn error(&self, rule: &'static str, place: Place<'_>, message: impl Into<String>, help: &str) {
        self.add(Level::Error, rule, place, message.into(), help);
    }

    pub(super) fn warning(&self, rule: &'static str, place: Place<'_>, message: impl Into<String>, help: &str) {
        self.add(Level::Warning, rule, place, message.into(), help);
    }

    pub(super) fn note(&self, rule: &'static str, array: &str, message: impl Into<String>) {
        self.add(Level::Note, rule, (array, ""), message.into(), "");
    }

    pub(super) fn add(&self, level: Level, rule: &'static str, (array, key): Place<'_>, message: String, help: &str) {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.entry((level, rule, array.to_owned())).or_default();
        let (rule, array, key, help) = (rule.to_owned(), array.to_owned(), key.to_owned(), help.to_owned());
        let finding = Finding { level, rule, array, key, message, help };
        // Two checks may meet the same thing.
        if kept.shown.contains(&finding) {
            return;
        }
        kept.count += 1;
        kept.shown.push(finding);
        // The first by key, whichever thread came first.
        if kept.shown.len() > 2 * SHOWN {
            kept.shown.sort();
            kept.shown.truncate(SHOWN);
        }
    }

    /// All of them, the worst first; of one rule and array the first few, and how many more there are.
    pub(super) fn finish(self) -> Vec<Finding> {
        let mut all = Vec::new();
        for ((level, rule, array), mut kept) in self.kept.into_inner().unwrap_or_else(PoisonError::into_inner) {
            kept.shown.sort();
            kept.shown.truncate(SHOWN);
            let more = kept.count.saturating_sub(kept.shown.len());
            all.append(&mut kept.shown);
            if more > 0 {
                let message = format!("{more} more like these");
                all.push(Finding { level, rule: rule.to_owned(), array, key: String::new(), message, help: String::new() });
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_alike_the_first_are_shown_and_the_rest_counted() {
        let findings = Findings::default();
        for number in (0..1000).rev() {
            findings.error("AR06", ("t", &format!("t/c/{number:04}")), "is not there", "repair it");
        }
        findings.warning("AR28", ("", ""), "no license", "");
        let all = findings.finish();
        assert_eq!(all.len(), SHOWN + 2);
        assert_eq!((all[0].key.as_str(), all[SHOWN - 1].key.as_str()), ("t/c/0000", "t/c/0019"));
        assert_eq!(all[SHOWN].message, "980 more like these");
        assert_eq!((all[SHOWN + 1].level, all[SHOWN + 1].rule.as_str()), (Level::Warning, "AR28"));
    }
}
