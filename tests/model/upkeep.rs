//! What operators do between runs: sweep, verify, repair; and what a second writer does meanwhile.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use gristmill::event::{Reporter, Silent};
use gristmill::run::audit::{self, Audit, Finding, Level, audit};
use gristmill::run::gc::{Wish, gc};
use gristmill::run::repair::{Extent, Repaired, repair};
use gristmill::run::state::State;
use gristmill::run::{RunError, Setting};
use gristmill::store::{Access, PutMode};

use super::dataset::Chance;
use super::process::{Life, Sleeper};
use super::story::{MEMORY, Story};

/// Calls something with a setting of its own.
fn with_setting<T>(call: impl FnOnce(Setting<'_>) -> T) -> T {
    let (reporter, stop): (Arc<dyn Reporter>, _) = (Arc::new(Silent), AtomicBool::new(false));
    call(Setting { access: &Access::default(), reporter: &reporter, stop: &stop })
}

impl Story {
    fn audit(&self) -> Result<Audit, RunError> {
        let options = audit::Options { receipts: true, read: 1.0, sources: self.is_as_upstream(), memory: MEMORY, threads: 2 };
        with_setting(|setting| audit(&self.place.target, None, &options, setting))
    }

    fn repair(&self) -> Result<Repaired, RunError> {
        with_setting(|setting| repair(None, &self.options(), Extent::default(), setting))
    }

    /// What a run committed has no fault that anybody could find.
    pub(crate) fn look_closely(&mut self) {
        if self.forgetful {
            if self.has_begun() {
                return;
            }
            // Receipts may be gone: they are made anew, and not a byte of the store is.
            let repaired = self.repair().unwrap_or_else(|error| panic!("{error}\n{}", self.tale()));
            self.tell(format!("repair makes receipts of {} objects anew", repaired.objects.len()));
        }
        let audited = || self.audit().unwrap_or_else(|error| panic!("{error}\n{}", self.tale()));
        let mut found = audited();
        // What a run that was given up had written beyond the end stays until it is swept.
        let is_left_over = |finding: &Finding| finding.message.starts_with("no metadata addresses");
        if found.findings.iter().any(is_left_over) {
            let wish = Wish { target: self.place.target.clone(), dry_run: false, older_than: Duration::ZERO, keep: usize::MAX };
            gc(&wish, &Access::default(), &AtomicBool::new(false)).unwrap_or_else(|error| panic!("{error}\n{}", self.tale()));
            found = audited();
        }
        assert!(found.count(Level::Error) == 0 && found.failed.is_none(), "{:#?}\n{}", found.findings, self.tale());
        assert!(found.looked.read > 0, "{:?}\n{}", found.looked, self.tale());
        self.forgetful = false;
    }

    /// An object of what is published is lost or damaged: that is found, and repaired with the bytes that were.
    pub(crate) fn damage(&mut self, chance: &mut Chance) {
        if self.published.is_none() || !self.tidy || (self.forgetful && self.has_begun()) {
            return;
        }
        let store = self.place.store(&self.place.root().unwrap().expect("it is published"));
        let keys = store.list("", usize::MAX).unwrap();
        let key = &keys[chance.below(keys.len())];
        let whole = store.get(key).unwrap().unwrap();
        let mut bytes = whole.to_vec();
        let what = match chance.below(4) {
            0 => "deleted",
            1 => {
                *bytes.last_mut().unwrap() ^= 1;
                "changed by a bit"
            }
            2 => {
                bytes.truncate(bytes.len() / 2);
                "cut in half"
            }
            _ => {
                bytes.push(b'x');
                "longer by a byte"
            }
        };
        if what == "deleted" {
            store.delete(key).unwrap();
        } else {
            store.put(key, bytes.into(), PutMode::Overwrite).unwrap();
        }
        self.tell(format!("{key} is {what}"));
        match self.audit() {
            Ok(found) => assert!(found.count(Level::Error) > 0, "nothing was found: {:?}\n{}", found.findings, self.tale()),
            // Without its root it is no store to look at.
            Err(error) => assert!(error.exit() == 2, "{error}\n{}", self.tale()),
        }
        match self.repair() {
            Ok(repaired) => {
                let told = repaired.objects.iter().map(|object| &object.key).chain(&repaired.metadata).any(|told| told == key);
                assert!(told && repaired.done, "{repaired:?}\n{}", self.tale());
                self.tell("repaired".to_owned());
            }
            Err(error) => {
                let expected = if self.has_begun() { 6 } else { 4 };
                assert!(error.exit() == expected && (expected == 6 || !self.is_as_upstream()), "{error}\n{}", self.tale());
                self.tell(format!("not repaired, but put back by hand: {error}"));
                store.put(key, whole.clone(), PutMode::Overwrite).unwrap();
            }
        }
        assert!(store.get(key).unwrap() == Some(whole), "{key} has other bytes than before\n{}", self.tale());
        self.look_closely();
    }

    /// Sweeps, and dies on the way unless `life` is long: readers see no difference.
    pub(crate) fn sweep(&mut self, keep: usize, life: &Life) {
        let watch = self.watch(vec![self.published.clone()], true);
        let access = Access { wrapping: life.wrapping(&watch), ..Access::default() };
        let wish = Wish { target: self.place.target.clone(), dry_run: false, older_than: Duration::ZERO, keep };
        let swept = gc(&wish, &access, &AtomicBool::new(false));
        let died = life.is_over();
        let told =
            swept.as_ref().map_or_else(|error| format!("exit {}: {error}", error.exit()), |swept| format!("{} items", swept.items.len()));
        self.tell(format!("gc, keeping {keep}: {told}{}", if died { ", died" } else { "" }));
        self.buried(died);
        let now = self.seen_after(&watch);
        assert_eq!(now, self.published, "{}", self.tale());
        match swept {
            Ok(_) => {
                let again = gc(&Wish { dry_run: true, ..wish }, &Access::default(), &AtomicBool::new(false)).unwrap();
                assert!(again.items.is_empty(), "{:?}\n{}", again.items, self.tale());
                if self.tidy {
                    self.look_closely();
                }
            }
            // Before the first run there is nothing to sweep.
            Err(error) if !died => assert!(error.exit() == 6 && self.published.is_none(), "{error}\n{}", self.tale()),
            Err(_) => {}
        }
    }

    /// Somebody else holds the target: a run is refused and changes nothing.
    pub(crate) fn run_beside_another(&mut self) {
        self.tell("another writer".to_owned());
        let held = State::open(&self.place.target, &Access::default()).unwrap();
        let refused = self.bake(None, &Access::default()).expect_err("the target is held");
        assert_eq!(refused.exit(), 6, "{refused}\n{}", self.tale());
        drop(held);
        assert_eq!(self.place.visible(), Ok(self.published.clone()), "{}", self.tale());
    }

    /// A run is suspended for so long that another takes over, and then wakes: the other's result stands.
    pub(crate) fn run_over_a_sleeper(&mut self, chance: &mut Chance) {
        let (sleeper, wrapping, end) = Sleeper::new(1 + chance.below(10));
        let access = Access { wrapping, ..Access::default() };
        let (asked, refuse) = (self.asked(), self.must_refuse());
        let (slept, first, second) = std::thread::scope(|scope| {
            let story = &*self;
            let running = scope.spawn(move || {
                let result = story.bake(None, &access);
                end();
                result
            });
            let slept = sleeper.sleeps();
            let second = slept.then(|| {
                story.buried(true);
                story.bake(None, &Access::default())
            });
            sleeper.wake();
            (slept, running.join().unwrap(), second)
        });
        let told = |result: &Result<(), RunError>| {
            result.as_ref().map_or_else(|error| format!("exit {}: {error}", error.exit()), |()| "done".to_owned())
        };
        self.tell(format!("run of {asked:?} that {}: {}", if slept { "was suspended" } else { "was not" }, told(&first)));
        let result = second.unwrap_or_else(|| first.as_ref().map(|&()| ()).map_err(|error| panic_unless_refused(error, refuse, self)));
        if slept {
            self.tell(format!("another in its place: {}", told(&result)));
            assert!(first.as_ref().is_err_and(|error| [6, 75].contains(&error.exit())), "{}", self.tale());
            assert!(result.is_ok() && !refuse, "{}", self.tale());
        }
        let now = self.place.visible().unwrap_or_else(|error| panic!("{error}\n{}", self.tale()));
        let wanted = if refuse { self.published.clone() } else { Some(asked) };
        assert!(now == wanted, "{now:?} is visible\n{}", self.tale());
        self.published = now;
        self.tidy = result.is_ok();
        if self.tidy {
            self.look_closely();
        }
    }
}

/// A run that nobody disturbed may fail only because what it was asked for is refused.
fn panic_unless_refused(error: &RunError, refuse: bool, story: &Story) -> RunError {
    assert!(refuse && error.exit() == 6, "{error}\n{}", story.tale());
    RunError::Interrupted
}
