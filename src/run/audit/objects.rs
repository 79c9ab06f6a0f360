//! Objects that are there and should not be, and the other way round: AR06.
//!
//! Presence is asked of each key that the metadata can address; the one listing is for keys that it cannot. Invariant: a hole is
//! never concluded from a listing.

use super::crew::Crew;
use super::finding::{Findings, Level};
use super::ledger::{Keyring, Ledger, Marks, ObjectNumber};
use super::metadata::MOST_OBJECTS;
use super::stored::Stored;
use crate::run::RunError;
use crate::store::TargetStore;

/// Repairs holes of our own stores.
pub(super) const REPAIR: &str = "`gristmill repair` writes it again";

/// Looks for holes; `ours` has receipts of its objects and, if they were `judged`, they have been looked at. Gives the number of objects
/// there should be.
///
/// # Errors
/// The store's.
pub(super) fn holes(
    stored: &Stored,
    store: &dyn TargetStore,
    (ours, judged): (Option<&Ledger>, bool),
    (crew, findings): (Crew<'_>, &Findings),
) -> Result<u64, RunError> {
    let mut ends: Vec<u64> = Vec::with_capacity(stored.arrays.len());
    for node in &stored.arrays {
        let count = node.objects.chunks();
        if count > MOST_OBJECTS {
            let message = format!("it has {count} objects: whether all are there was not looked at");
            findings.warning("AR06", (&node.path, ""), message, "`--receipts` looks at each");
        }
        let before = ends.last().copied().unwrap_or(0);
        ends.push(before + if count > MOST_OBJECTS { 0 } else { count });
    }
    crew.each(ends.last().copied().unwrap_or(0), &|number| {
        let place = ends.partition_point(|&end| end <= number);
        let Some(node) = stored.arrays.get(place) else { return Ok(()) };
        let number = number - place.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
        let key = node.key(&node.objects.index(number));
        let known = judged && ours.is_some_and(|ledger| ledger.number(&key).is_some());
        if known || store.head(&key)?.is_some() {
            return Ok(());
        }
        let place = (node.path.as_str(), key.as_str());
        if ours.is_some() {
            findings.error("AR06", place, "this object is not there, and readers see fill values in its place", REPAIR);
        } else {
            let message = "this object is not there: readers see fill values in its place";
            findings.warning("AR06", place, message, "without receipts nobody can tell a hole from values that are all missing");
        }
        Ok(())
    })?;
    Ok(stored.arrays.iter().map(|node| node.objects.chunks()).sum())
}

/// Objects that receipts tell of: no object may be without.
pub(super) fn unaccounted(
    ledger: &Ledger,
    store: &dyn TargetStore,
    marks: &Marks,
    (crew, findings): (Crew<'_>, &Findings),
) -> Result<(), RunError> {
    for (variable, count) in ledger.counts().enumerate() {
        crew.each(count, &|object| {
            let number = ObjectNumber { variable, object };
            if marks.has(number) {
                return Ok(());
            }
            let key = ledger.key(number);
            let name = ledger.plan.schema.variables.get(variable).map_or("", |variable| variable.name.as_str());
            let there = store.head(&key)?.is_some();
            let what = if there {
                "no receipt tells of this object: nobody can say what it should be"
            } else {
                "neither this object nor a receipt of it is there"
            };
            findings.error("AR06", (name, &key), what, REPAIR);
            Ok(())
        })?;
    }
    Ok(())
}

/// Objects that the metadata cannot address.
pub(super) fn orphans(stored: &Stored, keys: &[String], begun: Option<&Keyring>, findings: &Findings) {
    for key in keys.iter().filter(|key| !stored.metadata.contains(*key)) {
        if stored.arrays.iter().any(|node| node.number(key).is_some()) {
            continue;
        }
        let array = stored
            .arrays
            .iter()
            .filter(|node| key.starts_with(&format!("{}/", node.path)))
            .map(|node| node.path.as_str())
            .max_by_key(|path| path.len());
        let place = (array.unwrap_or_default(), key.as_str());
        if begun.is_some_and(|begun| begun.number(key).is_some()) {
            let message = "this object belongs to a run that was begun and is not finished: readers do not see it";
            findings.add(Level::Note, "AR06", place, message.to_owned(), "`gristmill resume` goes on");
        } else {
            let help = "delete it, if nobody else needs it: it costs storage, and an append may bring it to light";
            findings.error("AR06", place, "no metadata addresses this object", help);
        }
    }
}
