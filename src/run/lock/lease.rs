//! A lease: one writer at a time on a store without locks.
//!
//! The holder of epoch n is who created `lease/n.json`; it alone writes that object, again and again while it lives. Who finds the
//! newest lease released, or unchanged for as long as his patience lasts, creates n + 1, which only one can. So taking over is
//! one put, nobody ever writes what is another's, and whether one still holds is one question: is there an n + 1?
//!
//! A store that cannot create exclusively ([`Proof::ReadBack`]) leaves the way of Fischer's algorithm: see that n + 1 is absent, write it,
//! wait, and read back whose it is. That is exclusive if no put takes longer than the wait; if one does, the renewal of who was
//! overwritten finds it, and he stops. Invariant: whoever is not sure that the lease is his does not hold it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::holder::{Holder, now};
use super::{MOST, held, note, noted};
use crate::run::RunError;
use crate::store::{ErrorKind, PutMode, StoreError, TargetStore};

/// Where leases are.
const FOLDER: &str = "lease";

/// Leases that stay: who reads a number and comes back only after so many holders must not find the number free again.
const KEPT: u64 = 16;

/// As many leases are looked at: more than ever are left behind by holders that died before they noted theirs.
const LISTED: usize = 100_000;

/// So often a lease may slip away before another is said to hold it.
const TRIES: usize = 20;

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// A lease is renewed this often.
    pub(super) renewal: Duration,
    /// A lease that does not change for this long belongs to nobody; a holder that could not renew for this long stops.
    pub(super) patience: Duration,
    /// The wait before a lease is read back, where that is what proves it.
    pub(super) settling: Duration,
}

impl Timing {
    pub(super) const USUAL: Self =
        Self { renewal: Duration::from_secs(3), patience: Duration::from_secs(20), settling: Duration::from_secs(5) };
}

/// What makes sure that a lease is ours.
#[derive(Debug, Clone, Copy)]
pub(super) enum Proof {
    /// That we created it.
    Created,
    /// That it still is what we wrote after a while.
    ReadBack(PutMode),
}

/// What a lease object holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    holder: Holder,
    /// Grows while the holder lives.
    beat: u64,
    /// The last sign of life by the holder's clock, for people.
    renewed: String,
    /// True if the holder is done.
    #[serde(default)]
    released: bool,
}

/// How a lease stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is ours.
    Ours,
    /// Another holds the target now: who.
    Taken(String),
    /// Our object is not there.
    Gone,
}

/// A lease that was taken.
pub(super) struct Lease {
    store: Arc<dyn TargetStore>,
    epoch: u64,
    holder: Holder,
    timing: Timing,
}

/// The newest lease there is; epoch 0 if there is none.
struct Newest {
    epoch: u64,
    bytes: Option<Bytes>,
}

fn key(epoch: u64) -> String {
    format!("{FOLDER}/{epoch:010}.json")
}

fn parsed(bytes: &Bytes) -> Option<Record> {
    serde_json::from_slice(bytes).ok()
}

fn described(bytes: &Bytes) -> String {
    parsed(bytes).map_or("another run".to_owned(), |record| record.holder.to_string())
}

/// The newest lease, from `epoch` on, which must be that of one that was: numbers have no gaps above what was swept.
fn newest(store: &dyn TargetStore, mut epoch: u64) -> Result<Newest, StoreError> {
    let mut bytes = if epoch == 0 { None } else { store.get(&key(epoch))? };
    while let Some(next) = store.get(&key(epoch + 1))? {
        epoch += 1;
        bytes = Some(next);
    }
    Ok(Newest { epoch, bytes })
}

/// The numbers of the leases that a listing tells of: it may miss some, but tells of none that never was.
fn listed(store: &dyn TargetStore) -> Result<Vec<u64>, StoreError> {
    let number = |key: &String| key.rsplit('/').next()?.strip_suffix(".json")?.parse::<u64>().ok().filter(|&epoch| epoch < MOST);
    Ok(store.list(FOLDER, LISTED)?.iter().filter_map(number).collect())
}

/// The number that was noted, or, where the note is lost, the largest that is listed.
fn noted_or_listed(store: &dyn TargetStore) -> Result<u64, StoreError> {
    match noted(store)? {
        0 => Ok(listed(store)?.into_iter().max().unwrap_or(0)),
        noted => Ok(noted),
    }
}

/// Takes the lease of a state.
pub(super) fn take(store: &Arc<dyn TargetStore>, target: &str, proof: Proof, timing: Timing) -> Result<Lease, RunError> {
    let holder = Holder::this_process();
    for _ in 0..TRIES {
        // The note alone may be far behind: of many who die after taking and before noting, each would walk one step further, and of
        // holders killed ever one request later none would get beyond the walk. Or it is that of one who slept while others were here.
        let noted = noted(&**store)?;
        let listed = if noted == 0 { listed(&**store)? } else { listed(&**store).unwrap_or_default() };
        let newest = newest(&**store, listed.iter().copied().fold(noted, u64::max))?;
        if let Some(by) = alive(&**store, &newest, &holder, timing)? {
            return Err(held(target, &by));
        }
        let lease = Lease { store: Arc::clone(store), epoch: newest.epoch + 1, holder: holder.clone(), timing };
        if lease.claim(proof)? {
            lease.settle_in(&listed)?;
            return Ok(lease);
        }
    }
    Err(held(target, "other runs that begin and end all the time"))
}

/// Who holds the newest lease, if he shows a sign of life while we watch.
fn alive(store: &dyn TargetStore, newest: &Newest, ours: &Holder, timing: Timing) -> Result<Option<String>, StoreError> {
    let Some(seen) = &newest.bytes else { return Ok(None) };
    let is_over = |bytes: &Bytes| parsed(bytes).is_some_and(|record| record.released || record.holder.is_dead_neighbour(ours));
    if is_over(seen) {
        return Ok(None);
    }
    let begun = Instant::now();
    while begun.elapsed() < timing.patience {
        std::thread::sleep(timing.renewal / 6);
        match store.get(&key(newest.epoch))? {
            Some(now) if now == *seen => {}
            Some(now) if is_over(&now) => return Ok(None),
            Some(now) => {
                let sign =
                    parsed(&now).map_or(String::new(), |record| format!(", last sign of life {} by its clock", printable(&record.renewed)));
                return Ok(Some(format!("{}{sign}", described(&now))));
            }
            None => return Ok(None),
        }
    }
    tracing::info!(epoch = newest.epoch, "the holder of the lease has shown no sign of life");
    Ok(None)
}

fn printable(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(40).collect()
}

/// Who holds the newest lease, as far as one look tells.
pub(super) fn holder(store: &dyn TargetStore) -> Result<Option<Holder>, StoreError> {
    let record = newest(store, noted_or_listed(store)?)?.bytes.and_then(|bytes| parsed(&bytes));
    let ours = Holder::this_process();
    Ok(record.filter(|record| !record.released && !record.holder.is_dead_neighbour(&ours)).map(|record| record.holder))
}

impl Lease {
    /// Its number.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How long things take with it.
    pub(super) fn timing(&self) -> Timing {
        self.timing
    }

    /// The same lease, looked after by way of another opening of its store.
    pub(super) fn through(self, store: Arc<dyn TargetStore>) -> Self {
        Self { store, ..self }
    }

    fn record(&self, beat: u64, released: bool) -> Bytes {
        let record = Record { holder: self.holder.clone(), beat, renewed: now(), released };
        Bytes::from(serde_json::to_vec(&record).unwrap_or_default())
    }

    /// Tries to be the one whose lease it is.
    fn claim(&self, proof: Proof) -> Result<bool, StoreError> {
        let mode = if let Proof::ReadBack(mode) = proof { mode } else { PutMode::Create };
        let put = self.store.put(&key(self.epoch), self.record(0, false), mode);
        // A put that was repeated may have met its own first try: reading back tells.
        if let Err(error) = put
            && error.kind != ErrorKind::Exists
        {
            return Err(error);
        }
        if let Proof::ReadBack(_) = proof {
            std::thread::sleep(self.timing.settling);
        }
        // A number that was noted has been used before, and was free only because old leases are swept.
        Ok(self.settled()? == Standing::Ours && noted(&*self.store)? < self.epoch)
    }

    /// Notes the new epoch and sweeps, of those listed and its own, what is older than anybody's memory.
    fn settle_in(&self, listed: &[u64]) -> Result<(), StoreError> {
        note(&*self.store, self.epoch)?;
        let oldest = self.epoch.saturating_sub(KEPT);
        let old = listed.iter().copied().filter(|&epoch| epoch < oldest);
        old.chain((oldest > 0).then_some(oldest)).try_for_each(|epoch| self.store.delete(&key(epoch)))
    }

    /// How it stands now.
    pub(super) fn standing(&self) -> Result<Standing, StoreError> {
        if let Some(next) = self.store.get(&key(self.epoch + 1))? {
            return Ok(Standing::Taken(described(&next)));
        }
        let Some(bytes) = self.store.get(&key(self.epoch))? else { return Ok(Standing::Gone) };
        match parsed(&bytes) {
            Some(record) if record.holder.is(&self.holder) => Ok(Standing::Ours),
            _ => Ok(Standing::Taken(described(&bytes))),
        }
    }

    /// How it stands once a store that shows things late has had its time.
    pub(super) fn settled(&self) -> Result<Standing, StoreError> {
        let begun = Instant::now();
        loop {
            let standing = self.standing()?;
            if standing != Standing::Gone || begun.elapsed() >= self.timing.settling {
                return Ok(standing);
            }
            std::thread::sleep(self.timing.settling / 20);
        }
    }

    /// Shows a sign of life, if it still is ours.
    pub(super) fn renew(&self, beat: u64) -> Result<Standing, StoreError> {
        let standing = self.standing()?;
        if standing == Standing::Ours {
            self.store.put(&key(self.epoch), self.record(beat, false), PutMode::Overwrite)?;
        }
        Ok(standing)
    }

    /// Lets the next one in at once.
    pub(super) fn release(&self) -> Result<(), StoreError> {
        if self.standing()? == Standing::Ours {
            self.store.put(&key(self.epoch), self.record(u64::MAX, true), PutMode::Overwrite)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::store::fault::{Faulty, Mishap, Operation, Rule, Until};
    use crate::store::{Access, target};

    const QUICK: Timing =
        Timing { renewal: Duration::from_millis(30), patience: Duration::from_millis(300), settling: Duration::from_millis(100) };

    fn store(name: &str) -> Arc<dyn TargetStore> {
        target(&format!("memory://lease-{name}"), &Access::default()).unwrap()
    }

    fn taken(store: &Arc<dyn TargetStore>) -> Result<Lease, RunError> {
        take(store, "out", Proof::Created, QUICK)
    }

    /// As if its holder were on another machine: nobody here can see whether it lives.
    fn from_afar(store: &Arc<dyn TargetStore>, epoch: u64, beat: u64, clock: &str) {
        let text = format!(
            r#"{{"host":"far","process":7,"since":"{clock}","realm":"elsewhere","nonce":"n{epoch}","beat":{beat},"renewed":"{clock}"}}"#
        );
        store.put(&key(epoch), Bytes::from(text), PutMode::Overwrite).unwrap();
    }

    #[test]
    fn epochs_grow_and_old_leases_go() {
        let store = store("epochs");
        for epoch in 1..=KEPT + 3 {
            let lease = taken(&store).unwrap();
            assert_eq!((lease.epoch(), lease.standing().unwrap()), (epoch, Standing::Ours));
            lease.release().unwrap();
        }
        assert_eq!(store.list(FOLDER, 99).unwrap().len() as u64, KEPT);
        // The note is lost, or torn: the numbers grow all the same.
        for torn in [None, Some("{\"epo")] {
            store.delete("epoch.json").unwrap();
            if let Some(text) = torn {
                store.put("epoch.json", Bytes::from_static(text.as_bytes()), PutMode::Overwrite).unwrap();
            }
            let before = listed(&*store).unwrap().into_iter().max().unwrap();
            let lease = taken(&store).unwrap();
            assert_eq!(lease.epoch(), before + 1);
            lease.release().unwrap();
        }
    }

    #[test]
    fn the_newest_lease_is_found_whatever_the_note_says() {
        let store = store("notes");
        let released = |epoch: u64| {
            let dead = Lease { store: Arc::clone(&store), epoch, holder: Holder::this_process(), timing: QUICK };
            store.put(&key(epoch), dead.record(1, true), PutMode::Overwrite).unwrap();
        };
        // One whom nobody swept, and many who died without noting theirs.
        [3].into_iter().chain(20..=60).for_each(released);
        // Written late by one who slept while others came and went, twice; from before the many; as it should be; lost.
        for (number, stale) in [3, 7, 25, 60, 0].into_iter().enumerate() {
            note(&*store, stale).unwrap();
            let lease = taken(&store).unwrap();
            assert_eq!(lease.epoch(), 61 + number as u64, "noted {stale}");
            lease.release().unwrap();
        }
        assert_eq!(listed(&*store).unwrap().into_iter().min(), Some(65 + 1 - KEPT), "the others are swept");
    }

    #[test]
    fn who_may_not_list_holds_what_the_note_tells() {
        let store = store("unlisted");
        taken(&store).unwrap().release().unwrap();
        let rule = Rule::every(Operation::List, FOLDER, Mishap::Fail(ErrorKind::Forbidden));
        let faulty: Arc<dyn TargetStore> = Arc::new(Faulty::new(store, vec![rule]));
        assert_eq!(taken(&faulty).unwrap().epoch(), 2);
    }

    #[test]
    fn a_lease_that_lives_is_respected_and_its_holder_named() {
        let store = store("alive");
        from_afar(&store, 1, 0, "2026-01-02T03:04:05Z");
        let renewing = Arc::clone(&store);
        let other = std::thread::spawn(move || {
            for beat in 1..6 {
                std::thread::sleep(QUICK.renewal);
                from_afar(&renewing, 1, beat, "2026-01-02T03:04:06Z");
            }
        });
        let refused = taken(&store).err().unwrap();
        other.join().unwrap();
        let message = refused.to_string();
        assert_eq!(refused.exit(), 6);
        assert!(
            message.contains("process 7 on far since 2026-01-02T03:04:06Z, last sign of life 2026-01-02T03:04:06Z by its clock"),
            "{message}"
        );
    }

    #[test]
    fn clock_skew_makes_no_lease_older_or_younger() {
        // A holder whose clock is years ahead or behind, and who is silent: dead after our patience, not before, not later.
        for (number, clock) in ["1999-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "no clock at all"].into_iter().enumerate() {
            let store = store(&format!("skew-{number}"));
            from_afar(&store, 1, 5, clock);
            let begun = Instant::now();
            assert_eq!(taken(&store).unwrap().epoch(), 2, "{clock}");
            assert!(begun.elapsed() >= QUICK.patience, "{clock}");
        }
        // And one who lives is respected, however old he says he is.
        let store = store("skew-alive");
        from_afar(&store, 1, 0, "1999-01-01T00:00:00Z");
        let renewing = Arc::clone(&store);
        let other = std::thread::spawn(move || {
            for beat in 1..8 {
                std::thread::sleep(QUICK.renewal);
                from_afar(&renewing, 1, beat, "1999-01-01T00:00:00Z");
            }
        });
        assert_eq!(taken(&store).err().map(|error| error.exit()), Some(6));
        other.join().unwrap();
    }

    #[test]
    fn who_was_taken_over_finds_out() {
        let store = store("over");
        let first = taken(&store).unwrap();
        // The first holder is silent, as a suspended process is; it is not a dead neighbour, since it is us.
        let second = taken(&store).unwrap();
        assert_eq!((first.epoch(), second.epoch()), (1, 2));
        assert!(matches!(first.renew(1).unwrap(), Standing::Taken(by) if by.contains(&std::process::id().to_string())));
        assert_eq!(second.standing().unwrap(), Standing::Ours);
        // Waking up it takes nothing back.
        first.release().unwrap();
        assert_eq!(second.renew(1).unwrap(), Standing::Ours);
        second.release().unwrap();
        assert_eq!(taken(&store).unwrap().epoch(), 3);
    }

    /// For when a busy machine must not be taken for a dead holder.
    const CALM: Timing =
        Timing { renewal: Duration::from_millis(60), patience: Duration::from_secs(3), settling: Duration::from_millis(300) };

    /// Several begin at once; how many hold the lease while the others look on.
    fn winners(store: &Arc<dyn TargetStore>, proof: Proof) -> usize {
        let (start, losers) = (Barrier::new(RACERS), AtomicUsize::new(0));
        let run = || {
            start.wait();
            let Ok(lease) = take(store, "out", proof, CALM) else {
                losers.fetch_add(1, Ordering::SeqCst);
                return false;
            };
            let begun = Instant::now();
            for beat in 1.. {
                std::thread::sleep(CALM.renewal);
                assert_eq!(lease.renew(beat).unwrap(), Standing::Ours);
                if losers.load(Ordering::SeqCst) == RACERS - 1 || begun.elapsed() > Duration::from_secs(20) {
                    break;
                }
            }
            true
        };
        let run = &run;
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..RACERS).map(|_| scope.spawn(run)).collect();
            all.into_iter().map(|one| usize::from(one.join().unwrap())).sum()
        })
    }

    const RACERS: usize = 5;

    #[test]
    fn of_many_that_begin_at_once_one_holds() {
        for round in 0..10 {
            assert_eq!(winners(&store(&format!("race-{round}")), Proof::Created), 1, "round {round}");
        }
    }

    #[test]
    fn a_lease_whose_answer_got_lost_is_ours() {
        let lost = Rule { name: FOLDER.into(), ..Rule::nth(Operation::Put, 1, Mishap::Repeat) };
        let faulty: Arc<dyn TargetStore> = Arc::new(Faulty::new(store("lost"), vec![lost]));
        let lease = taken(&faulty).unwrap();
        assert_eq!((lease.epoch(), lease.standing().unwrap()), (1, Standing::Ours));
    }

    #[test]
    fn a_store_that_shows_things_late_is_waited_for() {
        let late = Rule::nth(Operation::Put, 1, Mishap::Late(Until::Calls(3)));
        let faulty: Arc<dyn TargetStore> = Arc::new(Faulty::new(store("late"), vec![late]));
        assert_eq!(taken(&faulty).unwrap().epoch(), 1);
    }

    #[test]
    fn where_creation_is_ignored_the_last_writer_holds_and_the_others_see_it() {
        for round in 0..4 {
            assert_eq!(winners(&store(&format!("fischer-{round}")), Proof::ReadBack(PutMode::Overwrite)), 1, "round {round}");
        }
    }

    #[test]
    fn where_a_put_took_longer_than_the_wait_the_overwritten_stops() {
        let store = store("slow");
        let first = take(&store, "out", Proof::ReadBack(PutMode::Overwrite), QUICK).unwrap();
        // The other saw that the number was free long ago; its put arrives only now.
        from_afar(&store, first.epoch(), 0, "2026-01-01T00:00:00Z");
        assert!(matches!(first.renew(1).unwrap(), Standing::Taken(by) if by.contains("on far")));
        first.release().unwrap();
        assert!(store.get(&key(1)).unwrap().is_some_and(|bytes| described(&bytes).contains("far")), "not written over");
    }

    #[test]
    fn a_lease_that_was_deleted_is_not_held() {
        let store = store("deleted");
        let lease = taken(&store).unwrap();
        store.delete(&key(1)).unwrap();
        assert_eq!((lease.renew(1).unwrap(), lease.settled().unwrap()), (Standing::Gone, Standing::Gone));
        assert_eq!(store.get(&key(1)).unwrap(), None);
    }
}
