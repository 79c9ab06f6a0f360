//! Finding what nobody needs.
//!
//! Reads our state, then lists what may go. Changes nothing. Invariant: what is found is named object by object, with its bytes, or
//! is a folder of ours beside the target.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::sweep::Deed;
use super::{Item, Kind, Stays, Swept, Wish};
use crate::dataset::Schema;
use crate::plan::Plan;
use crate::recipe::OutputFormat;
use crate::run::state::{Committed, State, local_folder};
use crate::run::versions::kept::{About, Kept, Version, key, now};
use crate::run::versions::{Pointer, pointer, root_of};
use crate::run::{RunError, commit, parallel, replace};
use crate::store::{self, Access, ErrorKind, TargetStore, Upload, unfinished_files};
use crate::target::TargetError;
use crate::target::zarr::{Absent, ZarrReader, metadata_keys, object_index};

/// Objects whose sizes are asked for at a time.
const ABREAST: usize = 16;

pub(super) struct Finder<'a> {
    wish: &'a Wish,
    access: &'a Access,
    state: &'a State,
    stop: &'a AtomicBool,
    now: u64,
    kept: Option<Kept>,
    pointer: Option<Pointer>,
    committed: Option<Committed>,
    begun: Option<Plan>,
}

/// Objects of one kind, and what they weigh.
struct Weighed {
    keys: Vec<String>,
    bytes: u64,
}

impl<'a> Finder<'a> {
    pub(super) fn new(wish: &'a Wish, access: &'a Access, state: &'a State, stop: &'a AtomicBool) -> Result<Self, RunError> {
        let base = store::target(&wish.target, access)?;
        let kept = Kept::read(state)?;
        let pointer = if kept.is_some() { Pointer::read(&*base, &wish.target)? } else { None };
        let (committed, begun) = (state.committed()?, state.plan()?);
        Ok(Self { wish, access, state, stop, now: now(), kept, pointer, committed, begun })
    }

    pub(super) fn find(&self) -> Result<Swept, RunError> {
        let Wish { target, dry_run, .. } = self.wish;
        let mut swept =
            Swept { target: target.clone(), dry_run: *dry_run, items: vec![], objects: 0, bytes: 0, kept: vec![], notes: vec![] };
        let gone = self.versions(&mut swept)?;
        self.replacement(&mut swept)?;
        self.of_plans(&gone, &mut swept)?;
        self.unpublished(&mut swept)?;
        self.unfinished(&mut swept)?;
        self.uploads(&mut swept)?;
        swept.objects = swept.items.iter().map(|item| item.objects).sum();
        swept.bytes = swept.items.iter().map(|item| item.bytes).sum();
        Ok(swept)
    }

    /// Versions that are not current; gives the identities of their plans.
    fn versions(&self, swept: &mut Swept) -> Result<BTreeSet<String>, RunError> {
        let Some(kept) = &self.kept else { return Ok(BTreeSet::new()) };
        if self.pointer.is_none() && kept.versions.iter().any(|version| version.published.is_some()) {
            let message = format!(
                "{}/{} is gone, so nobody can tell which version is current; run the recipe again, which points to one, before `gc`",
                self.wish.target,
                pointer::KEY
            );
            return Err(RunError::Conflict { message });
        }
        // Of those that became idle in the same second the one that was entered later is newer.
        let mut newest: Vec<&Version> = kept.versions.iter().rev().filter(|version| !self.is_current(version)).collect();
        newest.sort_by_key(|version| std::cmp::Reverse((version.published.is_some(), version.idle_since())));
        let mut gone = BTreeSet::new();
        for (number, version) in newest.iter().enumerate() {
            if let Some(why) = self.reason_to_stay(version, number) {
                swept.kept.push(Stays { version: version.name.clone(), why });
                continue;
            }
            swept.items.push(self.version(version, &mut swept.notes)?);
            gone.insert(version.plan.clone());
        }
        let current = kept.versions.iter().filter(|version| self.is_current(version));
        swept.kept.extend(current.map(|version| Stays { version: version.name.clone(), why: "current".to_owned() }));
        Ok(gone)
    }

    /// True for what the pointer, or the link beside it, names.
    fn is_current(&self, version: &Version) -> bool {
        let link = local_folder(&self.wish.target).and_then(|folder| std::fs::read_link(folder.join(pointer::LINK)).ok());
        self.pointer.as_ref().is_some_and(|pointer| pointer.version == version.name)
            || link.is_some_and(|to| to == Path::new(&version.name))
    }

    fn reason_to_stay(&self, version: &Version, number: usize) -> Option<String> {
        let idle = self.now.saturating_sub(version.idle_since());
        if version.published.is_some() && number < self.wish.keep {
            return Some(format!("among the newest {} that were current", self.wish.keep));
        }
        (idle < self.wish.older_than.as_secs()).then(|| format!("idle for {} only", time(idle)))
    }

    fn version(&self, version: &Version, notes: &mut Vec<String>) -> Result<Item, RunError> {
        let root = root_of(&self.wish.target, &version.name);
        let (store, about) = (store::target(&root, self.access)?, About::read(self.state, &version.name)?);
        let mut keys = store.list("", usize::MAX)?;
        if let Some(about) = about {
            keys = ours(keys, &about.schema, about.format, &root, notes)?;
        } else {
            notes.push(format!("{root}: our note of what it consists of is gone, so its objects are left alone"));
            keys.clear();
        }
        let mine = self.state.store();
        let receipts = mine.list(&format!("receipts/{}", version.plan), usize::MAX)?;
        let (receipts, objects) = (self.weigh(&*mine, receipts)?, self.weigh(&*store, keys)?);
        let idle = time(self.now.saturating_sub(version.idle_since()));
        let why = if version.published.is_some() { format!("not current for {idle}") } else { format!("begun {idle} ago, never finished") };
        let mut item = Item {
            kind: Kind::Version,
            name: version.name.clone(),
            objects: (receipts.keys.len() + objects.keys.len()) as u64,
            bytes: receipts.bytes + objects.bytes,
            why,
            deeds: vec![Deed::Objects(Arc::clone(&mine), receipts.keys), Deed::Objects(store, objects.keys)],
        };
        item.deeds.extend(local_folder(&root).map(Deed::EmptyFolders));
        item.deeds.extend([Deed::Objects(mine, vec![key(&version.name)]), Deed::Version(version.name.clone())]);
        Ok(item)
    }

    /// What a killed or failed `--replace` left beside a local target.
    fn replacement(&self, swept: &mut Swept) -> Result<(), RunError> {
        if replace::is_cut_off(self.state)? {
            swept.notes.push("a `--replace` was killed while the new store took its place: the next `run` brings it to its end".to_owned());
            return Ok(());
        }
        let folders = replace::next_folders(&self.wish.target)?.into_iter().flatten();
        let folders: Vec<PathBuf> = folders.filter(|folder| folder.exists()).collect();
        let Some(state) = folders.last() else { return Ok(()) };
        let idle = untouched_for(state);
        if idle < self.wish.older_than {
            swept.notes.push(format!("{}: an unfinished replacement, idle for {} only, stays", state.display(), time(idle.as_secs())));
            return Ok(());
        }
        let mut files = Vec::new();
        for folder in &folders {
            sizes_below(folder, &mut files);
        }
        swept.items.push(Item {
            kind: Kind::Replacement,
            name: state.display().to_string(),
            objects: files.len() as u64,
            bytes: files.iter().sum(),
            why: format!("`--replace` was not brought to its end, idle for {}", time(idle.as_secs())),
            deeds: folders.into_iter().map(Deed::Folder).collect(),
        });
        Ok(())
    }

    /// Receipts and scratch of plans that nobody goes on with.
    fn of_plans(&self, gone: &BTreeSet<String>, swept: &mut Swept) -> Result<(), RunError> {
        let begun = self.begun.as_ref().map(Plan::identity);
        let versions = self.kept.iter().flat_map(|kept| &kept.versions).map(|version| version.plan.clone());
        let needed = versions.chain(self.committed.iter().map(|committed| committed.plan.clone()));
        // Objects of earlier appends are part of what is visible; a version is whole by itself.
        let history = if self.kept.is_none() { self.state.history()? } else { Vec::new() };
        let needed = needed.chain(history.into_iter().map(|commit| commit.plan));
        let needed: BTreeSet<String> = needed.chain(self.pointer.iter().map(|pointer| pointer.plan.clone())).chain(begun.clone()).collect();
        let is_done = begun.is_some() && begun == self.committed.as_ref().map(|committed| committed.plan.clone());
        let unfinished = begun.filter(|begun| !is_done && !gone.contains(begun));
        for (kind, folder, why) in
            [(Kind::Receipts, "receipts", "neither committed nor begun last"), (Kind::Scratch, "scratch", "no unfinished run needs it")]
        {
            for (plan, keys) in self.by_plan(folder)? {
                // The receipts of a version that goes are part of it.
                let is_needed = if kind == Kind::Receipts { needed.contains(&plan) } else { unfinished.as_ref() == Some(&plan) };
                if !is_needed {
                    swept.items.push(self.item(kind, plan, keys, why)?);
                }
            }
        }
        Ok(())
    }

    /// Objects of a folder of our state, by the plan they belong to.
    fn by_plan(&self, folder: &str) -> Result<BTreeMap<String, Vec<String>>, RunError> {
        let mut plans: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for key in self.state.store().list(folder, usize::MAX)? {
            if let Some(plan) = key.split('/').nth(1) {
                plans.entry(plan.to_owned()).or_default().push(key);
            }
        }
        Ok(plans)
    }

    fn item(&self, kind: Kind, name: String, keys: Vec<String>, why: &str) -> Result<Item, RunError> {
        let store = self.state.store();
        let Weighed { keys, bytes } = self.weigh(&*store, keys)?;
        Ok(Item { kind, name, objects: keys.len() as u64, bytes, why: why.to_owned(), deeds: vec![Deed::Objects(store, keys)] })
    }

    /// Objects of a plain store beyond its published lengths, once no append is under way.
    fn unpublished(&self, swept: &mut Swept) -> Result<(), RunError> {
        let (Some(committed), Some(begun), None) = (&self.committed, &self.begun, &self.kept) else { return Ok(()) };
        if committed.plan != begun.identity() {
            return Ok(());
        }
        if begun.format == OutputFormat::Icechunk {
            let note = "objects that no snapshot of the repository refers to are for Icechunk's own garbage collection \
                        (`icechunk.Repository.garbage_collect`) to take away: while no run works or waits to be resumed";
            swept.notes.push(note.to_owned());
            return Ok(());
        }
        let store = store::target(&self.wish.target, self.access)?;
        let published = match ZarrReader::open(Arc::clone(&store), Absent::Fill) {
            Ok(Some(reader)) => reader.schema().clone(),
            Ok(None) | Err(TargetError::Metadata { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // Whoever else wrote here may have made what lies beyond our lengths.
        if commit::difference(&begun.schema, &published).is_some() {
            return Ok(());
        }
        let mut beyond = Vec::new();
        for (position, variable) in begun.schema.variables.iter().enumerate() {
            let counts = begun.objects(position).counts();
            let is_beyond = |key: &String| {
                let index = object_index(variable, key, begun.format);
                index.is_some_and(|index| index.iter().zip(&counts).any(|(index, count)| index >= count))
            };
            beyond.extend(store.list(&variable.name, usize::MAX)?.into_iter().filter(is_beyond));
        }
        if beyond.is_empty() {
            return Ok(());
        }
        let Weighed { keys, bytes } = self.weigh(&*store, beyond)?;
        let why = "beyond the published lengths; the append that wrote them was given up".to_owned();
        let (name, objects) = (self.wish.target.clone(), keys.len() as u64);
        swept.items.push(Item { kind: Kind::Unpublished, name, objects, bytes, why, deeds: vec![Deed::Objects(store, keys)] });
        Ok(())
    }

    /// Files of the local disk whose writers were killed.
    fn unfinished(&self, swept: &mut Swept) -> Result<(), RunError> {
        let state = store::sibling(&self.wish.target, ".gristmill")?;
        let planned: Vec<PathBuf> = swept.items.iter().flat_map(|item| &item.deeds).filter_map(folder_of).collect();
        for folder in [self.wish.target.clone(), state].iter().filter_map(|url| local_folder(url)) {
            let mut files = unfinished_files(&folder);
            files.retain(|(path, _)| !planned.iter().any(|folder| path.starts_with(folder)));
            if !files.is_empty() {
                swept.items.push(Item {
                    kind: Kind::UnfinishedFiles,
                    name: folder.display().to_string(),
                    objects: files.len() as u64,
                    bytes: files.iter().map(|(_, bytes)| bytes).sum(),
                    why: "the processes that were writing them are gone".to_owned(),
                    deeds: vec![Deed::Files(files.into_iter().map(|(path, _)| path).collect())],
                });
            }
        }
        Ok(())
    }

    /// Uploads in parts that were cut off: whoever began them does not hold the target any more.
    fn uploads(&self, swept: &mut Swept) -> Result<(), RunError> {
        let state = store::sibling(&self.wish.target, ".gristmill")?;
        [&self.wish.target, &state].into_iter().try_for_each(|url| self.uploads_at(url, swept))
    }

    fn uploads_at(&self, url: &str, swept: &mut Swept) -> Result<(), RunError> {
        let Some(store) = store::uploads(url, self.access)? else { return Ok(()) };
        let found = match store.unfinished() {
            Ok(found) => found,
            Err(error) if error.kind == ErrorKind::Other => {
                let note = "the store cannot list uploads in parts that were cut off: let the bucket's lifecycle rules abort them";
                if !swept.notes.iter().any(|told| told == note) {
                    swept.notes.push(note.to_owned());
                }
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let is_old = |upload: &Upload| {
            let begun = upload.begun.as_deref().and_then(|begun| begun.parse::<jiff::Timestamp>().ok());
            begun.is_some_and(|begun| self.now.saturating_sub(begun.as_second().max(0) as u64) >= self.wish.older_than.as_secs())
        };
        let (old, young): (Vec<Upload>, Vec<Upload>) = found.into_iter().partition(is_old);
        if !young.is_empty() {
            swept.notes.push(format!("{url}: {} uploads in parts that were begun lately, or nobody tells when, stay", young.len()));
        }
        if !old.is_empty() {
            swept.items.push(Item {
                kind: Kind::Uploads,
                name: url.to_owned(),
                objects: old.len() as u64,
                bytes: 0,
                why: "in parts, never finished; their bytes are not told".to_owned(),
                deeds: vec![Deed::Uploads(store, old)],
            });
        }
        Ok(())
    }

    /// Asks for the sizes of objects; those that are gone are left out.
    fn weigh(&self, store: &dyn TargetStore, keys: Vec<String>) -> Result<Weighed, RunError> {
        let (bytes, gone) = (AtomicU64::new(0), Mutex::new(BTreeSet::new()));
        parallel::each(ABREAST, keys.len(), self.stop, &|number| {
            match store.head(&keys[number])? {
                Some(size) => bytes.fetch_add(size, Ordering::Relaxed),
                None => u64::from(gone.lock().unwrap_or_else(PoisonError::into_inner).insert(number)),
            };
            Ok(())
        })?;
        let gone = gone.into_inner().unwrap_or_else(PoisonError::into_inner);
        let keys = keys.into_iter().enumerate().filter(|(number, _)| !gone.contains(number)).map(|(_, key)| key).collect();
        Ok(Weighed { keys, bytes: bytes.into_inner() })
    }
}

/// A folder that goes whole.
fn folder_of(deed: &Deed) -> Option<PathBuf> {
    if let Deed::Folder(path) = deed { Some(path.clone()) } else { None }
}

/// The keys that a schema can have made, the root's document first; a note tells of others.
fn ours(keys: Vec<String>, schema: &Schema, format: OutputFormat, root: &str, notes: &mut Vec<String>) -> Result<Vec<String>, RunError> {
    let mut documents: Vec<String> = metadata_keys(schema, format)?;
    documents.reverse();
    let is_chunk = |key: &String| schema.variables.iter().any(|variable| object_index(variable, key, format).is_some());
    let (chunks, others): (Vec<String>, Vec<String>) = keys.into_iter().partition(is_chunk);
    let (found, foreign): (Vec<String>, Vec<String>) = others.into_iter().partition(|key| documents.contains(key));
    if let Some(example) = foreign.first() {
        notes.push(format!("{root}: {} objects that gristmill did not make are left alone, such as `{example}`", foreign.len()));
    }
    documents.retain(|key| found.contains(key));
    documents.extend(chunks);
    Ok(documents)
}

/// Time since the newest of a state's own files was written.
fn untouched_for(state: &Path) -> Duration {
    let files = ["plan.json", "report.json", "committed.json", "receipts", "lock"].map(|name| state.join(name));
    let times = files.iter().chain([&state.to_owned()]).filter_map(|path| path.metadata().ok()?.modified().ok()).max();
    times.and_then(|newest| SystemTime::now().duration_since(newest).ok()).unwrap_or_default()
}

/// Sizes of all files below a folder.
fn sizes_below(folder: &Path, sizes: &mut Vec<u64>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => sizes_below(&entry.path(), sizes),
            Ok(metadata) => sizes.push(metadata.len()),
            Err(_) => {}
        }
    }
}

/// `9 days`, `3 h`, `40 s`.
fn time(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_words() {
        assert_eq!([59, 119, 120, 7199, 7200, 172_799, 172_800].map(time), ["59 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 days"]);
    }

    #[test]
    fn only_what_a_schema_makes_is_ours_and_the_root_goes_first() {
        let schema: Schema = serde_json::from_value(serde_json::json!({
            "dimensions": [{"name": "t", "length": 4}],
            "variables": [{"name": "x", "dtype": "int16", "dimensions": ["t"], "attributes": [], "encoding": {"chunks": [2]}}],
            "attributes": [],
        }))
        .unwrap();
        let keys = ["x/c/0", "x/c/7", "x/zarr.json", "zarr.json", "x/notes.txt", "thesis.tex"].map(str::to_owned).to_vec();
        let mut notes = Vec::new();
        let ours = ours(keys, &schema, OutputFormat::Zarr3, "out", &mut notes).unwrap();
        assert_eq!(ours, ["zarr.json", "x/zarr.json", "x/c/0", "x/c/7"]);
        assert!(notes[0].contains("2 objects") && notes[0].contains("x/notes.txt"), "{notes:?}");
    }
}
