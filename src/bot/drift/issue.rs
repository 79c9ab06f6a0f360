//! The one issue of a dataset, for its maintainers: what is wrong, what still holds, what to do.
//!
//! Invariant: as in `render`, foreign text appears in code spans only; the title is ours alone, so that the issue is found again by it.

use serde::Serialize;

use super::Health;
use crate::bot::render::span;

/// Most letters of a sentence.
const SENTENCE: usize = 600;

/// An issue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Issue {
    /// Id of the dataset.
    pub id: String,
    /// True if there is nothing to tell: an open issue can be closed.
    pub ok: bool,
    /// Always the same for a dataset.
    pub title: String,
    /// Markdown.
    #[serde(skip)]
    pub body: String,
}

/// The issue of a dataset.
#[must_use]
pub fn issue(health: &Health) -> Issue {
    let title = format!("gristmill: {} needs attention", health.id);
    Issue { id: health.id.clone(), ok: health.is_well(), title, body: body(health) }
}

fn body(health: &Health) -> String {
    let list = |head: &str, rows: &[String], help: &str| {
        let rows: String = rows.iter().map(|row| format!("- {}\n", span(row, SENTENCE))).collect();
        if rows.is_empty() { String::new() } else { format!("\n#### {head}\n\n{rows}\n{help}\n") }
    };
    let changed: Vec<String> = health.changed.iter().map(|one| format!("{}: {}", one.url, one.what)).collect();
    let published = health.published.as_ref().map_or_else(
        || "Nothing is published yet.".to_owned(),
        |when| {
            let commit = health.commit.as_ref().map_or(String::new(), |commit| format!(", by the recipe of commit {}", span(commit, 64)));
            format!("Published {}{commit}; it is still there, as it was.", span(when, 40))
        },
    );
    let text = published
        + "\n"
        + &list("The last run failed", &health.failed, "Once that is mended, the next run goes on where this one ended.")
        + &list(
            "The store is not what it should be",
            &health.broken,
            "`gristmill verify` tells more, `gristmill repair` writes again what is lost.",
        )
        + &list("It is late", &health.late, "")
        + &list(
            &format!("{} of its files changed after they were read", health.changes),
            &changed,
            "What is published is made of the files as they were. `inputs: {changed: …}` says what an update does about it; `--replace` makes it anew.",
        );
    let Health { asked, of, silent, .. } = health;
    let silent = if *silent > 0 { format!("; {silent} could not be asked about") } else { String::new() };
    format!("{text}\nAsked about {asked} of {of} files{silent}. This is closed by itself once nothing is wrong.\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bot::drift::Changed;

    fn health() -> Health {
        Health {
            id: "ice".into(),
            published: Some("2026-11-21T00:00:00Z".into()),
            commit: Some("a".repeat(40)),
            failed: Vec::new(),
            broken: Vec::new(),
            late: Vec::new(),
            changed: Vec::new(),
            changes: 0,
            silent: 0,
            asked: 3,
            of: 3,
        }
    }

    #[test]
    fn what_is_wrong_is_told_once_and_what_is_foreign_is_quoted() {
        let well = issue(&health());
        assert!(well.ok && !well.body.contains("####"));
        let hostile = "@everyone `x` <img src=x>\n# heading".to_owned();
        let changed = vec![Changed { url: hostile.clone(), what: "it is gone".into() }];
        let sick = Health { failed: vec![hostile], late: vec!["40 files more".into()], changed, changes: 7, silent: 2, ..health() };
        let Issue { ok, title, body, .. } = issue(&sick);
        assert!(!ok && title == well.title);
        for word in ["The last run failed", "It is late", "7 of its files changed", "it is gone", "2 could not be asked about"] {
            assert!(body.contains(word), "{word} not in\n{body}");
        }
        let outside: String = body.split('`').step_by(2).collect();
        assert!(!outside.contains('@') && !outside.contains('<') && !body.contains("\n# heading"), "{outside}");
        assert!(issue(&Health { published: None, ..health() }).body.contains("Nothing is published yet"));
    }
}
