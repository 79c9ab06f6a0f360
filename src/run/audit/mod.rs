//! Whether a published store is what it should be: `gristmill verify`.
//!
//! Structure (any Zarr store, ours or not) · receipts · bytes · values against the sources. Only looks: mending is `repair`. One
//! file per kind of check; `stored` and `node` are the store as its metadata has it, `ledger` as the receipts have it. Invariant:
//! what cannot be judged is told, never passed over, and nothing is written.

mod content;
mod coordinates;
mod crew;
mod fills;
mod finding;
mod freshness;
mod ledger;
mod meaning;
mod metadata;
mod node;
mod objects;
mod opening;
mod published;
mod series;
mod shares;
mod sources;
mod stored;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::provenance;
use super::report::Verification;
use super::state::State;
use super::verify::Level as Extent;
use super::{FAR, RunError, Setting, resident_bytes, versions, with_causes};
use crate::plan::Plan;
use crate::recipe::Recipe;
use crate::store::{self, TargetStore};
use crate::target;
use content::{Content, Looked};
use coordinates::Coordinates;
use finding::Findings;
use node::Node;
use shares::Shares;
use stored::Stored;

pub use finding::{Finding, Level};

pub(super) use crew::Crew;
pub(super) use ledger::{Entry, Ledger, ObjectNumber};
pub(super) use published::documents;
pub(super) use sources::with_secrets;

/// Bytes of memory that a listed key takes, roughly.
const KEY: u64 = 160;
/// Keys listed where memory is scarce.
const FEWEST_KEYS: u64 = 100_000;

/// What to look at besides structure.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Every object that a receipt tells of, its size.
    pub receipts: bool,
    /// Share of the objects to read: checksums (where there are receipts) and decoding; 0: none.
    pub read: f64,
    /// A sample of values, or with `read` 1 all of them, against the sources.
    pub sources: bool,
    /// Bytes of memory the process may use in all.
    pub memory: u64,
    /// Threads.
    pub threads: usize,
}

/// What an audit found.
#[derive(Debug, Default)]
pub struct Audit {
    /// The worst first.
    pub findings: Vec<Finding>,
    /// What was looked at.
    pub looked: Counts,
    /// What kept the comparison with the sources from being made.
    pub failed: Option<RunError>,
}

/// What was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Arrays.
    pub arrays: u64,
    /// Objects that the metadata can address.
    pub objects: u64,
    /// Objects that receipts told of.
    pub receipts: u64,
    /// Objects read.
    pub read: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// What was compared with the sources.
    pub compared: Option<Verification>,
}

impl Audit {
    /// How many findings of a level there are shown.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }
}

/// Looks at the store at `target`; `recipe` is needed only for the secrets of its addresses.
///
/// # Errors
/// [`RunError::Usage`] if there is no store, or no state beside it where receipts or sources are asked for; [`RunError::Store`],
/// [`RunError::Interrupted`].
pub fn audit(target: &str, recipe: Option<&Recipe>, options: &Options, setting: Setting<'_>) -> Result<Audit, RunError> {
    setting.access.manners.listen(setting.reporter);
    let findings = Findings::default();
    let auditor = Auditor::open(target, options, setting, &findings)?;
    let (stored, fits) = auditor.structure()?;
    let mut looked = auditor.objects(&stored, &fits)?;
    let failed = auditor.sources(recipe, &mut looked)?;
    drop(auditor);
    Ok(Audit { findings: findings.finish(), looked, failed })
}

/// What the steps of an audit share.
struct Auditor<'a> {
    target: &'a str,
    /// URL of the Zarr root: the target, or its current version.
    root: String,
    store: Arc<dyn TargetStore>,
    /// The state of our own stores.
    ledger: Option<Ledger>,
    options: &'a Options,
    setting: Setting<'a>,
    crew: Crew<'a>,
    findings: &'a Findings,
}

impl<'a> Auditor<'a> {
    fn open(target: &'a str, options: &'a Options, setting: Setting<'a>, findings: &'a Findings) -> Result<Self, RunError> {
        let root = versions::current(target, setting)?;
        let (store, maker) = target::existing_of(&root, setting.access)?;
        let needed = options.receipts || options.sources;
        let ledger = match State::read_only(target, setting.access).and_then(|state| Ledger::open(state, &*store, maker.as_deref())) {
            Ok(ledger) => ledger,
            Err(error) if needed => return Err(error),
            Err(error) => {
                let message = format!("the state beside the store cannot be read, so it is judged as any other: {}", with_causes(&error));
                findings.warning("AR41", ("", ""), message, "");
                None
            }
        };
        if needed && ledger.is_none() {
            let message = format!(
                "{0}: there is no state of a finished run beside it (`{0}.gristmill`); without it only the structure, and with `--read-data` the objects, can be looked at",
                store::shown(target.trim_end_matches('/'))
            );
            return Err(RunError::Usage { message });
        }
        let threads = if store::is_far(target) { FAR.max(options.threads) } else { options.threads };
        let crew = Crew { threads, reporter: &**setting.reporter, stop: setting.stop };
        Ok(Self { target, root, store, ledger, options, setting, crew, findings })
    }

    /// What metadata and the one listing show; of each array whether it fits the others.
    fn structure(&self) -> Result<(Stored, Vec<bool>), RunError> {
        let (keys, findings) = (self.listed()?, self.findings);
        let format = self.ledger.as_ref().map(|ledger| ledger.plan.format);
        let Some(stored) = stored::look(&self.store, &keys, format, (self.crew, findings))? else {
            let target = store::shown(self.target);
            let message =
                format!("{target}: there is no Zarr store here (neither `zarr.json` nor `.zmetadata` or `.zgroup`); give its root");
            return Err(RunError::Usage { message });
        };
        metadata::check(&stored, self.ledger.is_some(), findings);
        meaning::check(&stored, findings);
        fills::check(&stored, findings);
        opening::requests(&stored, findings);
        opening::anonymously(&self.root, stored.format, self.setting.access, findings);
        let fits = metadata::fitting(&stored, findings);
        objects::orphans(&stored, &keys, self.ledger.as_ref().and_then(Ledger::begun).as_ref(), findings);
        if let Some(ledger) = &self.ledger {
            published::compare(&stored, &ledger.plan, provenance::published(&ledger.state)?.as_ref(), findings)?;
            let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
            freshness::check(&ledger.state, &ledger.plan, today, findings)?;
        }
        Ok((stored, fits))
    }

    /// Every key, as far as memory allows.
    fn listed(&self) -> Result<Vec<String>, RunError> {
        let limit = (self.options.memory / 8 / KEY).max(FEWEST_KEYS) as usize;
        let keys = self.store.list("", limit)?;
        if keys.len() >= limit {
            let message =
                format!("there are more than {limit} objects: those that no metadata addresses were looked for among the first only");
            self.findings.warning("AR06", ("", ""), message, "give more `--memory` to look at all");
        }
        Ok(keys)
    }

    /// Presence, sizes, bytes and values.
    fn objects(&self, stored: &Stored, fits: &[bool]) -> Result<Counts, RunError> {
        let (store, findings) = (&self.store, self.findings);
        let Some((tap, reader)) = content::reader(stored, fits, store, self.ledger.is_some())? else {
            let message = "its values cannot be looked at before its metadata is mended";
            findings.warning("AR03", ("", ""), message, objects::REPAIR);
            let objects = objects::holes(stored, &**store, (self.ledger.as_ref(), false), (self.crew, findings))?;
            return Ok(Counts { arrays: stored.arrays.len() as u64, objects, ..Counts::default() });
        };
        let ordered = self.ledger.as_ref().map(|ledger| ordered(&ledger.plan));
        Coordinates { stored, reader: &reader, tap: &tap, findings, ordered }.check()?;
        let (share, looked) = (self.options.read, Looked::default());
        let content = Content { stored, store, reader: &reader, tap: &tap, share, findings, looked, shares: Shares::default() };
        let judged = self.content(&content)?;
        content.shares.tell(&stored.arrays, findings);
        let objects = objects::holes(stored, &**store, (self.ledger.as_ref(), judged), (self.crew, findings))?;
        let told = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let Looked { receipts, read, bytes } = &content.looked;
        let (receipts, read, bytes) = (told(receipts), told(read), told(bytes));
        Ok(Counts { arrays: stored.arrays.len() as u64, objects, receipts, read, bytes, compared: None })
    }

    /// Receipts and bytes, as far as asked for; true if every object of the plan was looked at.
    fn content(&self, content: &Content<'_>) -> Result<bool, RunError> {
        let largest = content.stored.arrays.iter().map(Node::object_bytes).max().unwrap_or(0);
        let room = self.options.memory.saturating_sub(resident_bytes().unwrap_or(64 << 20));
        let readers = room / largest.saturating_mul(2).saturating_add(8 << 20);
        let crew = if self.options.read > 0.0 { self.crew.at_most(readers as usize) } else { self.crew };
        match &self.ledger {
            Some(ledger) if self.options.receipts || self.options.read > 0.0 => {
                let marks = content.accounted(ledger, crew)?;
                objects::unaccounted(ledger, &*self.store, &marks, (self.crew, self.findings))?;
                self.inputs(ledger)?;
                Ok(true)
            }
            _ => content.unreceipted(crew).map(|()| false),
        }
    }

    /// AR41: the provenance tells of every file.
    fn inputs(&self, ledger: &Ledger) -> Result<(), RunError> {
        let told = match provenance::published(&ledger.state)? {
            None => "there is no provenance of what is published beside the store".to_owned(),
            Some(known) if known.inputs.len() != ledger.plan.inputs.len() => {
                format!("the provenance tells of {} files, and the plan has {}", known.inputs.len(), ledger.plan.inputs.len())
            }
            Some(_) => return Ok(()),
        };
        self.findings.warning(
            "AR41",
            ("", ""),
            told,
            "it was lost, or made by an older gristmill: nobody can tell what the store was made of",
        );
        Ok(())
    }

    /// Values against the sources; what keeps them from being compared.
    fn sources(&self, recipe: Option<&Recipe>, looked: &mut Counts) -> Result<Option<RunError>, RunError> {
        let Some(ledger) = self.ledger.as_ref().filter(|_| self.options.sources) else { return Ok(None) };
        let extent = if self.options.read >= 1.0 { Extent::Full } else { Extent::Sample };
        let about = (&self.store, extent, self.options.memory);
        match sources::compare((ledger, recipe), about, (self.crew, self.findings), self.setting) {
            Ok(compared) => looked.compared = compared,
            Err(RunError::Interrupted) => return Err(RunError::Interrupted),
            Err(error) => return Ok(Some(error)),
        }
        Ok(None)
    }
}

/// Concat dimensions, unless the recipe lets their values be in any order.
fn ordered(plan: &Plan) -> Vec<String> {
    if plan.used.iter().any(|one| one.policy.starts_with("order: ")) {
        return Vec::new();
    }
    plan.axes.iter().map(|axis| axis.dimension.clone()).collect()
}
