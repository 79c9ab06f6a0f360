//! Whether published datasets are what their recipes mean today: fresh, whole, and made of files that are still the same.
//!
//! Looks at the state beside a store and asks the sources for nothing but their files' sizes and validators. Not for mending: an update is
//! a run. `issue` words it. Invariant: a file that could not be asked about is not called changed, and nothing is written.

mod issue;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::civil::Date;
use serde::Serialize;

pub use issue::{Issue, issue};

use crate::pattern::without_secrets;
use crate::recipe::Recipe;
use crate::run::audit::{self, Level, audit};
use crate::run::provenance::{self, Provenance};
use crate::run::report::{InputReport, Report};
use crate::run::state::State;
use crate::run::{RunError, Setting};
use crate::store::{self, ErrorKind, Head, SourceStore, shown};

/// Files of a dataset that are asked about on a day; over the days all of them are.
pub const ASKED: usize = 200;
/// Findings of each kind that are kept.
const KEPT: usize = 20;

/// What was found about a published dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Its id.
    pub id: String,
    /// When it was published last: RFC 3339; `None` if it never was.
    pub published: Option<String>,
    /// Commit of the recipe that it was made with.
    pub commit: Option<String>,
    /// What ended its last run.
    pub failed: Vec<String>,
    /// What is wrong with the store.
    pub broken: Vec<String>,
    /// What is due and not published.
    pub late: Vec<String>,
    /// Files that are not what they were when they were read.
    pub changed: Vec<Changed>,
    /// How many of those there are.
    pub changes: u64,
    /// Files that could not be asked about, for now.
    pub silent: u64,
    /// Files asked about.
    pub asked: u64,
    /// Files it was made of.
    pub of: u64,
}

/// A file that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Where it is.
    pub url: String,
    /// What about it is different.
    pub what: String,
}

impl Health {
    /// True if nobody has to look at it.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.failed.is_empty() && self.broken.is_empty() && self.late.is_empty() && self.changed.is_empty()
    }
}

/// How it is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The day, by which files are drawn.
    pub day: Date,
    /// Bytes of memory.
    pub memory: u64,
    /// Threads.
    pub threads: usize,
}

/// Looks at a published dataset; `last` is the report of its last run, where one is at hand that its state may not have.
///
/// # Errors
/// [`RunError::Store`] if the state cannot be read, [`RunError::Interrupted`].
pub fn examine(recipe: &Recipe, target: &str, last: Option<&Report>, terms: Terms, setting: Setting<'_>) -> Result<Health, RunError> {
    let mut health = Health {
        id: recipe.id.clone(),
        published: None,
        commit: None,
        failed: last.map_or_else(Vec::new, ends),
        broken: Vec::new(),
        late: Vec::new(),
        changed: Vec::new(),
        changes: 0,
        silent: 0,
        asked: 0,
        of: 0,
    };
    if !State::is_there(target, setting.access)? {
        return Ok(health);
    }
    let state = State::read_only(target, setting.access)?;
    if last.is_none() {
        health.failed = state.report()?.as_ref().map_or_else(Vec::new, ends);
    }
    let Some(made) = provenance::published(&state)? else { return Ok(health) };
    health.published = Some(made.committed.clone());
    health.commit.clone_from(&made.recipe.origin.commit);
    look(&mut health, target, terms, setting)?;
    ask(&mut health, recipe, &made, terms.day, setting)?;
    Ok(health)
}

/// Errors of a run that did not end well.
fn ends(report: &Report) -> Vec<String> {
    let words = report.errors.iter().take(KEPT).map(|problem| problem.message.clone());
    let words: Vec<String> = words.collect();
    if report.exit != 0 && words.is_empty() { vec![format!("exit {}", report.exit)] } else { words }
}

/// The store's structure, and whether all is published that is due.
fn look(health: &mut Health, target: &str, terms: Terms, setting: Setting<'_>) -> Result<(), RunError> {
    let options = audit::Options { receipts: false, read: 0.0, sources: false, memory: terms.memory, threads: terms.threads };
    let found = match audit(target, None, &options, setting) {
        Ok(found) => found,
        Err(RunError::Interrupted) => return Err(RunError::Interrupted),
        Err(error) => {
            health.broken.push(crate::run::with_causes(&error));
            return Ok(());
        }
    };
    for finding in found.findings {
        let place = if finding.array.is_empty() { String::new() } else { format!("{}: ", finding.array) };
        let text = format!("{place}{}", finding.message);
        match (finding.level, finding.rule.as_str()) {
            (_, "AR43") => health.late.push(text),
            (Level::Error, _) if health.broken.len() < KEPT => health.broken.push(text),
            _ => {}
        }
    }
    Ok(())
}

/// Whether files are what they were: their sizes and validators, as far as both then and now were told.
fn ask(health: &mut Health, recipe: &Recipe, made: &Provenance, day: Date, setting: Setting<'_>) -> Result<(), RunError> {
    let sources = store::source(setting.access, Arc::clone(setting.reporter));
    let urls: BTreeMap<String, &str> = recipe.inputs.iter().map(|input| (without_secrets(&input.url), input.url.as_str())).collect();
    health.of = made.inputs.len() as u64;
    for number in drawn(made.inputs.len(), day) {
        if setting.stop.load(Ordering::Relaxed) {
            return Err(RunError::Interrupted);
        }
        let Some(input) = made.inputs.get(number) else { continue };
        // A file that the recipe does not name any more is none of its business; one whose address holds a secret is named by the recipe.
        let Some(url) = urls.get(&input.url) else { continue };
        health.asked += 1;
        match told(&*sources, url, input) {
            Told::Same => {}
            Told::Silent => health.silent += 1,
            Told::Different(what) => {
                health.changes += 1;
                if health.changed.len() < KEPT {
                    health.changed.push(Changed { url: shown(&input.url), what });
                }
            }
        }
    }
    Ok(())
}

/// The first and the last, and every n-th of the others; which of them follows from the day, so that all have their turn.
fn drawn(count: usize, day: Date) -> Vec<usize> {
    let step = count.div_ceil(ASKED).max(1);
    let turn = i64::from(day.year()) * 366 + i64::from(day.day_of_year());
    let turn = turn.rem_euclid(step as i64) as usize;
    (0..count).filter(|number| *number == 0 || *number + 1 == count || number % step == turn).collect()
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Same,
    /// Nothing that could be compared, or nobody answered.
    Silent,
    Different(String),
}

fn told(sources: &dyn SourceStore, url: &str, before: &InputReport) -> Told {
    match sources.head(url) {
        Ok(now) => differs(before, &now).map_or(Told::Same, Told::Different),
        Err(error) if error.kind == ErrorKind::NotFound => Told::Different("it is gone".to_owned()),
        Err(_) => Told::Silent,
    }
}

/// A validator that is the same vouches for the content; a size that is another one speaks against it.
fn differs(before: &InputReport, now: &Head) -> Option<String> {
    let (size, length) = (before.size, now.size);
    if let (Some(size), Some(length)) = (size, length.filter(|length| Some(*length) != size)) {
        return Some(format!("it has {length} bytes, and had {size}"));
    }
    match (&before.etag, &now.etag) {
        (Some(before), Some(now)) if before == now => return None,
        (Some(_), Some(_)) => return Some("it has another validator (ETag) than it had".to_owned()),
        _ => {}
    }
    let (before, now) = (before.modified.as_ref()?, now.modified.as_ref()?);
    (before != now).then(|| "it was written anew".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_its_turn() {
        let day = |number: i64| jiff::civil::date(2026, 12, 25).saturating_add(jiff::Span::new().days(number));
        for count in [0, 1, 2, 199, 200, 201, 5000] {
            let mut seen: Vec<usize> = (0..40).flat_map(|number| drawn(count, day(number))).collect();
            assert!(drawn(count, day(0)).len() <= ASKED + 2 && drawn(count, day(0)).starts_with(&[0][..count.min(1)]));
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), count, "of {count}");
        }
    }

    #[test]
    fn only_what_was_told_then_and_now_is_compared() {
        let file = |size, etag: Option<&str>, modified: Option<&str>| InputReport {
            url: "https://h.test/a.nc".into(),
            size,
            etag: etag.map(str::to_owned),
            modified: modified.map(str::to_owned),
            read_bytes: 0,
            checksum: String::new(),
        };
        let head = |size, etag: Option<&str>, modified: Option<&str>| Head {
            size,
            etag: etag.map(str::to_owned),
            modified: modified.map(str::to_owned),
            ..Head::default()
        };
        let same = |before, now| assert_eq!(differs(&before, &now), None);
        same(file(Some(1), Some("a"), Some("x")), head(Some(1), Some("a"), Some("y")));
        same(file(None, None, None), head(Some(1), Some("a"), Some("x")));
        same(file(Some(1), Some("a"), None), head(None, None, Some("x")));
        let other = |before, now| assert!(differs(&before, &now).is_some());
        other(file(Some(1), Some("a"), None), head(Some(2), Some("a"), None));
        other(file(Some(1), Some("a"), None), head(Some(1), Some("b"), None));
        other(file(Some(1), None, Some("x")), head(Some(1), None, Some("y")));
    }
}
