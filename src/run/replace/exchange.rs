//! A new store takes the place of an old one on a local disk.
//!
//! Beforehand the new store is whole, at `TARGET.gristmill/next` with its state at `TARGET.gristmill/next.gristmill`. Then:
//!
//! 1. the journal `TARGET.gristmill/exchange.json` says which folder is the new one, by the numbers that renaming keeps;
//! 2. the two folders change places: readers see the new store;
//! 3. the new store's state becomes TARGET's, `committed.json` last;
//! 4. the old store goes;
//! 5. what is left of the new one's state goes;
//! 6. the journal goes.
//!
//! Whoever takes the lock of TARGET begins by ending what a journal says. Invariant: each step may be done again after it was done,
//! or after any part of it was.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::run::RunError;
use crate::run::state::State;

const JOURNAL: &str = "exchange.json";
/// What is not moved to TARGET's state: each state has its own, and the commit is noted last.
const LEFT: [&str; 5] = ["lock", "epoch.json", "abilities.json", "report.json", COMMITTED];
const COMMITTED: &str = "committed.json";

/// The new store's folder, recognised wherever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Journal {
    device: u64,
    inode: u64,
}

impl Journal {
    fn of(folder: &Path) -> io::Result<Option<Self>> {
        match fs::symlink_metadata(folder) {
            Ok(metadata) => Ok(Some(Self { device: metadata.dev(), inode: metadata.ino() })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A local target, and what lies beside it.
pub(super) struct Exchange {
    target: PathBuf,
    state: PathBuf,
    next: PathBuf,
}

/// True if a journal says so.
pub(super) fn is_begun(state: &State) -> Result<bool, RunError> {
    Ok(state.store().get(JOURNAL)?.is_some())
}

impl Exchange {
    pub(super) fn new(target: PathBuf, state: PathBuf) -> Self {
        let next = state.join("next");
        Self { target, state, next }
    }

    /// Where the new store is made.
    pub(super) fn next(&self) -> &Path {
        &self.next
    }

    /// Where its state is.
    pub(super) fn next_state(&self) -> PathBuf {
        self.state.join("next.gristmill")
    }

    /// Where the old store waits to be removed, on systems that cannot exchange.
    fn old(&self) -> PathBuf {
        self.state.join("next.old")
    }

    /// Takes away a new store that is not wanted.
    pub(super) fn discard_next(&self) -> Result<(), RunError> {
        remove(&self.next).map_err(told(&self.next))
    }

    /// Step 1: from here on the new store counts.
    pub(super) fn begin(&self, state: &State) -> Result<(), RunError> {
        let journal = Journal::of(&self.next).map_err(told(&self.next))?;
        let Some(journal) = journal else { return Err(told(&self.next)(ErrorKind::NotFound.into())) };
        Ok(state.put(JOURNAL, serde_json::to_vec(&journal).unwrap_or_default())?)
    }

    /// Steps 2 to 6; false if there is no journal.
    pub(super) fn finish(&self, state: &State) -> Result<bool, RunError> {
        let Some(bytes) = state.store().get(JOURNAL)? else { return Ok(false) };
        let Ok(journal) = serde_json::from_slice(&bytes) else { return Err(self.unclear()) };
        self.swap(journal)?;
        self.steps(state).iter().try_for_each(|step| step())?;
        Ok(true)
    }

    /// Steps 3 to 6, one by one.
    fn steps<'a>(&'a self, state: &'a State) -> [Box<dyn Fn() -> Result<(), RunError> + 'a>; 4] {
        [
            Box::new(move || self.move_state(state)),
            Box::new(move || [&self.next, &self.old()].into_iter().try_for_each(|folder| remove(folder).map_err(told(folder)))),
            Box::new(move || remove(&self.next_state()).map_err(told(&self.next_state()))),
            Box::new(move || Ok(state.store().delete(JOURNAL)?)),
        ]
    }

    /// Step 2.
    fn swap(&self, new: Journal) -> Result<(), RunError> {
        let at = |folder: &Path| Journal::of(folder).map_err(told(folder));
        if at(&self.target)? == Some(new) {
            return Ok(());
        }
        if at(&self.next)? != Some(new) {
            return Err(self.unclear());
        }
        let swapped = if at(&self.target)?.is_some() { self.change_places() } else { fs::rename(&self.next, &self.target) };
        swapped.and_then(|()| flush(&self.target)).map_err(told(&self.target))
    }

    /// No moment without either.
    #[cfg(target_os = "linux")]
    fn change_places(&self) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        Ok(renameat_with(CWD, &self.next, CWD, &self.target, RenameFlags::EXCHANGE)?)
    }

    /// Where the system has no exchange there is a moment without a store.
    #[cfg(not(target_os = "linux"))]
    fn change_places(&self) -> io::Result<()> {
        remove(&self.old())?;
        fs::rename(&self.target, self.old())?;
        fs::rename(&self.next, &self.target)
    }

    /// Step 3. What has been moved is no longer there to be moved.
    fn move_state(&self, state: &State) -> Result<(), RunError> {
        let from = self.next_state();
        if !from.join(COMMITTED).exists() {
            return Ok(());
        }
        state.store().delete(COMMITTED)?;
        state.clear_scratch()?;
        self.move_all(&from).and_then(|()| flush(&self.state.join(COMMITTED))).map_err(told(&self.state))
    }

    fn move_all(&self, from: &Path) -> io::Result<()> {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if LEFT.iter().any(|left| name == OsStr::new(left)) {
                continue;
            }
            let to = self.state.join(&name);
            if entry.file_type()?.is_dir() {
                remove(&to)?;
            }
            fs::rename(entry.path(), to)?;
        }
        fs::rename(from.join(COMMITTED), self.state.join(COMMITTED))
    }

    fn unclear(&self) -> RunError {
        let (target, next) = (self.target.display(), self.next.display());
        let message = format!(
            "{target}: a `--replace` was cut off while the new store took its place, and the folders were moved since: the new one is neither at {target} nor at {next}. Put it back, or delete {} to keep what is at {target}",
            self.state.join(JOURNAL).display()
        );
        RunError::Conflict { message }
    }
}

/// Removes a folder, a file or a link; fine if there is none.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Makes a rename last.
fn flush(renamed: &Path) -> io::Result<()> {
    let parent = renamed.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(parent)?.sync_all()
}

fn told(path: &Path) -> impl FnOnce(io::Error) -> RunError {
    let path = path.to_owned();
    move |cause| RunError::Folder { path, cause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Access;

    /// A target with an old store and a whole new one beside it, each of two files, with states.
    struct Bench {
        folder: tempfile::TempDir,
        exchange: Exchange,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("out.zarr");
            let exchange = Exchange::new(target, folder.path().join("out.zarr.gristmill"));
            let bench = Self { folder, exchange };
            for (root, text) in [("out.zarr", "old"), ("out.zarr.gristmill/next", "new")] {
                bench.write(&format!("{root}/zarr.json"), text);
                bench.write(&format!("{root}/x/c/0"), text);
                for name in ["plan.json", "committed-plan.json", COMMITTED, "report.json", "lock"] {
                    bench.write(&format!("{root}.gristmill/{name}"), text);
                }
                for number in 0..3 {
                    bench.write(&format!("{root}.gristmill/receipts/{text}/0-{number}.json"), text);
                }
            }
            bench
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn state(&self) -> State {
            State::open(&self.exchange.target.display().to_string(), &Access::default()).unwrap()
        }

        /// Every file with what it holds, sorted.
        fn files(&self) -> Vec<(String, String)> {
            let mut found = Vec::new();
            let mut folders = vec![self.folder.path().to_owned()];
            while let Some(folder) = folders.pop() {
                for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                    if path.is_dir() {
                        folders.push(path);
                    } else {
                        let name = path.strip_prefix(self.folder.path()).unwrap().display().to_string();
                        found.push((name, fs::read_to_string(path).unwrap()));
                    }
                }
            }
            found.sort();
            found
        }

        /// The new store is in place with its state, and nothing else is left but the old report.
        fn is_done(&self, when: &str) {
            let names = [
                "zarr.gristmill/committed-plan.json",
                "zarr.gristmill/committed.json",
                "zarr.gristmill/plan.json",
                "zarr.gristmill/receipts/new/0-0.json",
                "zarr.gristmill/receipts/new/0-1.json",
                "zarr.gristmill/receipts/new/0-2.json",
                "zarr/x/c/0",
                "zarr/zarr.json",
            ];
            let mut expected: Vec<_> = names.map(|name| (format!("out.{name}"), "new".to_owned())).into();
            expected.push(("out.zarr.gristmill/report.json".to_owned(), "old".to_owned()));
            expected.sort();
            let held = |(name, _): &(String, String)| !name.ends_with("/lock") && !name.ends_with("/epoch.json");
            assert_eq!(self.files().into_iter().filter(held).collect::<Vec<_>>(), expected, "{when}");
        }

        fn reader_sees(&self) -> String {
            let read = |name: &str| fs::read_to_string(self.exchange.target.join(name)).unwrap();
            assert_eq!(read("zarr.json"), read("x/c/0"), "a store of two halves");
            read("zarr.json")
        }
    }

    #[test]
    fn a_kill_between_any_two_steps_is_got_over() {
        for stop in 0..=6 {
            let bench = Bench::new();
            let state = bench.state();
            if stop > 0 {
                bench.exchange.begin(&state).unwrap();
            }
            if stop > 1 {
                let journal = Journal::of(&bench.exchange.next).unwrap().unwrap();
                bench.exchange.swap(journal).unwrap();
            }
            bench.exchange.steps(&state).iter().take(usize::saturating_sub(stop, 2)).for_each(|step| step().unwrap());
            drop(state);
            assert_eq!(bench.reader_sees(), if stop > 1 { "new" } else { "old" });
            // The next process.
            let state = bench.state();
            assert_eq!(bench.exchange.finish(&state).unwrap(), (1..6).contains(&stop), "step {stop}");
            if stop > 0 {
                bench.is_done(&format!("killed after step {stop}"));
            } else {
                assert_eq!(bench.reader_sees(), "old");
            }
        }
    }

    /// What a killed step had done, in words and in deeds.
    type Half = (&'static str, fn(&Bench));

    #[test]
    fn a_kill_within_a_step_is_got_over() {
        let halves: [Half; 5] = [
            ("the old commit is forgotten", |bench| fs::remove_file(bench.exchange.state.join(COMMITTED)).unwrap()),
            ("the old receipts are gone", |bench| fs::remove_dir_all(bench.exchange.state.join("receipts")).unwrap()),
            ("some receipts of the old are gone", |bench| {
                fs::remove_file(bench.exchange.state.join("receipts/old/0-1.json")).unwrap();
            }),
            ("the receipts have moved, the plan has not", |bench| {
                fs::remove_dir_all(bench.exchange.state.join("receipts")).unwrap();
                fs::rename(bench.exchange.next_state().join("receipts"), bench.exchange.state.join("receipts")).unwrap();
            }),
            ("half of the old store is gone", |bench| {
                bench.exchange.move_state(&bench.state()).unwrap();
                fs::remove_file(bench.exchange.next.join("zarr.json")).unwrap();
            }),
        ];
        for (when, half) in halves {
            let bench = Bench::new();
            let state = bench.state();
            bench.exchange.begin(&state).unwrap();
            bench.exchange.swap(Journal::of(&bench.exchange.next).unwrap().unwrap()).unwrap();
            drop(state);
            half(&bench);
            assert!(bench.exchange.finish(&bench.state()).unwrap(), "{when}");
            bench.is_done(when);
        }
    }

    #[test]
    fn without_an_old_store_the_new_one_just_moves() {
        let bench = Bench::new();
        fs::remove_dir_all(&bench.exchange.target).unwrap();
        let state = bench.state();
        bench.exchange.begin(&state).unwrap();
        assert!(bench.exchange.finish(&state).unwrap());
        drop(state);
        bench.is_done("no old store");
    }

    #[test]
    fn folders_that_somebody_moved_are_left_alone() {
        let bench = Bench::new();
        let state = bench.state();
        bench.exchange.begin(&state).unwrap();
        fs::rename(&bench.exchange.next, bench.folder.path().join("elsewhere")).unwrap();
        let before = bench.files();
        let error = bench.exchange.finish(&state).unwrap_err();
        assert!(error.exit() == 6 && error.to_string().contains("exchange.json"), "{error}");
        assert_eq!(bench.files(), before);
    }
}
