//! A store that misbehaves by script: fails, stalls, truncates, alters, repeats, loses answers, shows what was done late.
//!
//! For tests of whatever uses stores; wraps a real one. Invariant: a call that no rule names is passed on untouched, but for
//! what an earlier rule has left to come ([`Mishap::Late`], [`Mishap::Again`]).

mod aftermath;

use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::{ErrorKind, Head, PutMode, SourceStore, StoreError, TargetStore};
use aftermath::Aftermath;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the traits' methods")]
pub enum Operation {
    Head,
    Ranges,
    Stream,
    Get,
    Put,
    List,
    Delete,
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// It fails and nothing is done.
    Fail(ErrorKind),
    /// It waits first.
    Stall(Duration),
    /// At most so many bytes of each body are read or stored, and the call says that all is well.
    Truncate(usize),
    /// So many bytes are added to each body that is read or stored, as by a checksum that is taken for content.
    Append(usize),
    /// One bit is turned in each body that is read or stored: in the byte at this place, counted round and round.
    Flip(usize),
    /// It is done twice.
    Repeat,
    /// A put is done, and done again just before the so-many-th call after it: a packet that wandered about.
    Again(u64),
    /// It is done, but the caller is told that it failed in passing.
    LostAnswer,
    /// A put or delete is done, but reads and listings show the key as it was before until then: a new object is absent, an
    /// overwritten one stale, a deleted one still there.
    Late(Until),
}

/// How long something lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// So many reads or listings of the key.
    Calls(u64),
    /// So long.
    Time(Duration),
}

/// Which calls go wrong, and how.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The kind of call.
    pub operation: Operation,
    /// Only calls whose URL or key contains this; empty: all.
    pub name: String,
    /// The first such call that goes wrong, counted from 1.
    pub first: u64,
    /// How many in a row do.
    pub times: u64,
    /// How.
    pub mishap: Mishap,
}

impl Rule {
    /// The `nth` call of a kind goes wrong, once.
    #[must_use]
    pub fn nth(operation: Operation, nth: u64, mishap: Mishap) -> Self {
        Self { operation, name: String::new(), first: nth, times: 1, mishap }
    }

    /// Every call of a kind whose URL or key contains `name` goes wrong.
    #[must_use]
    pub fn every(operation: Operation, name: &str, mishap: Mishap) -> Self {
        Self { operation, name: name.to_owned(), first: 1, times: u64::MAX, mishap }
    }
}

/// A store whose calls go wrong by script.
#[derive(Debug)]
pub struct Faulty<S: ?Sized> {
    rules: Vec<Rule>,
    calls: Mutex<Vec<u64>>,
    aftermath: Aftermath,
    inner: Arc<S>,
}

impl<S: ?Sized> Faulty<S> {
    /// Wraps a store. Where two rules name one call, the first counts.
    #[must_use]
    pub fn new(inner: Arc<S>, rules: Vec<Rule>) -> Self {
        let calls = Mutex::new(vec![0; rules.len()]);
        Self { rules, calls, aftermath: Aftermath::default(), inner }
    }

    /// The mishap of this call; waits if that is what it is.
    fn mishap(&self, operation: Operation, name: &str) -> Result<Option<Mishap>, StoreError> {
        match self.scripted(operation, name) {
            Some(Mishap::Fail(kind)) => Err(StoreError::new(kind, name, format!("scripted fault ({kind:?})"))),
            Some(Mishap::Stall(time)) => {
                std::thread::sleep(time);
                Ok(None)
            }
            other => Ok(other),
        }
    }

    fn scripted(&self, operation: Operation, name: &str) -> Option<Mishap> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let mut mishap = None;
        for (rule, count) in self.rules.iter().zip(calls.iter_mut()) {
            if rule.operation == operation && name.contains(&rule.name) {
                *count += 1;
                let hit = *count >= rule.first && *count - rule.first < rule.times;
                mishap = mishap.or(hit.then_some(rule.mishap));
            }
        }
        mishap
    }

    /// Does a call as its script wants.
    fn run<T>(
        &self,
        operation: Operation,
        name: &str,
        call: impl Fn(&S, Option<Mishap>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.mishap(operation, name)? {
            Some(Mishap::Repeat) => call(&self.inner, None).and_then(|_| call(&self.inner, None)),
            Some(Mishap::LostAnswer) => {
                call(&self.inner, None)?;
                Err(StoreError::new(ErrorKind::Temporary, name, "scripted fault (the answer got lost)"))
            }
            mishap => call(&self.inner, mishap),
        }
    }
}

/// A body as a mishap leaves it.
fn bent(bytes: &Bytes, mishap: Option<Mishap>) -> Bytes {
    match mishap {
        Some(Mishap::Truncate(length)) => bytes.slice(..bytes.len().min(length)),
        Some(Mishap::Append(length)) => [bytes.as_ref(), &vec![b'0'; length]].concat().into(),
        Some(Mishap::Flip(place)) if !bytes.is_empty() => {
            let mut turned = bytes.to_vec();
            let place = place % turned.len();
            turned.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1);
            turned.into()
        }
        _ => bytes.clone(),
    }
}

/// A length as a mishap leaves it.
fn bent_length(length: u64, mishap: Option<Mishap>) -> u64 {
    match mishap {
        Some(Mishap::Truncate(most)) => length.min(most as u64),
        Some(Mishap::Append(more)) => length.saturating_add(more as u64),
        _ => length,
    }
}

impl<S: SourceStore + ?Sized> SourceStore for Faulty<S> {
    fn head(&self, url: &str) -> Result<Head, StoreError> {
        self.run(Operation::Head, url, |store, mishap| {
            let head = store.head(url)?;
            Ok(Head { size: head.size.map(|size| bent_length(size, mishap)), ..head })
        })
    }

    fn ranges(&self, url: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        let bend_all = |store: &S, mishap| Ok(store.ranges(url, ranges)?.into_iter().map(|bytes| bent(&bytes, mishap)).collect());
        self.run(Operation::Ranges, url, bend_all)
    }

    fn stream(&self, url: &str, sink: &mut dyn Write) -> Result<u64, StoreError> {
        let whole = self.run(Operation::Stream, url, |store, mishap| {
            let mut whole = Vec::new();
            store.stream(url, &mut whole)?;
            Ok(bent(&whole.into(), mishap))
        })?;
        sink.write_all(&whole).map_err(|error| StoreError::from_io(url, "pass on what was read", error))?;
        Ok(whole.len() as u64)
    }

    fn is_local(&self, url: &str) -> bool {
        self.inner.is_local(url)
    }
}

impl<S: TargetStore + ?Sized> TargetStore for Faulty<S> {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.aftermath.call(&*self.inner);
        self.run(Operation::Head, key, |store, mishap| {
            let seen = self.aftermath.seen(key, || store.head(key), |before| before.len() as u64)?;
            Ok(seen.map(|length| bent_length(length, mishap)))
        })
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.aftermath.call(&*self.inner);
        self.run(Operation::Get, key, |store, mishap| {
            let seen = self.aftermath.seen(key, || store.get(key), Bytes::clone)?;
            Ok(seen.map(|bytes| bent(&bytes, mishap)))
        })
    }

    fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        self.aftermath.call(&*self.inner);
        self.run(Operation::Put, key, |store, mishap| {
            let before = if let Some(Mishap::Late(until)) = mishap { Some((store.get(key)?, until)) } else { None };
            store.put(key, bent(&bytes, mishap), mode)?;
            if let Some(Mishap::Again(calls)) = mishap {
                self.aftermath.again(calls, key, &bytes, mode);
            }
            if let Some((before, until)) = before {
                self.aftermath.hide(key, before, until);
            }
            Ok(())
        })
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        self.aftermath.call(&*self.inner);
        self.run(Operation::List, prefix, |store, mishap| {
            let limit = if let Some(Mishap::Truncate(length)) = mishap { limit.min(length) } else { limit };
            Ok(self.aftermath.listed(prefix, store.list(prefix, limit)?))
        })
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.aftermath.call(&*self.inner);
        self.run(Operation::Delete, key, |store, mishap| {
            let before = if let Some(Mishap::Late(until)) = mishap { Some((store.get(key)?, until)) } else { None };
            store.delete(key)?;
            if let Some((before, until)) = before {
                self.aftermath.hide(key, before, until);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryTarget;
    use super::*;

    fn faulty(rules: Vec<Rule>) -> Faulty<dyn TargetStore> {
        let name = format!("fault-{:?}-{:?}", std::thread::current().id(), rules.first().map(|rule| rule.mishap));
        Faulty::new(Arc::new(MemoryTarget::open(&name)), rules)
    }

    fn put(store: &Faulty<dyn TargetStore>, key: &str, text: &'static str) {
        store.put(key, Bytes::from_static(text.as_bytes()), PutMode::Overwrite).unwrap();
    }

    fn text(store: &Faulty<dyn TargetStore>, key: &str) -> Option<String> {
        store.get(key).unwrap().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn follows_its_script() {
        let store = faulty(vec![
            Rule::nth(Operation::Put, 2, Mishap::Fail(ErrorKind::NoSpace)),
            Rule::nth(Operation::Put, 3, Mishap::Truncate(2)),
            Rule::nth(Operation::Put, 4, Mishap::LostAnswer),
            Rule { name: "b".into(), times: 2, ..Rule::nth(Operation::Get, 1, Mishap::Fail(ErrorKind::Temporary)) },
        ]);
        let put = |key: &str, mode| store.put(key, Bytes::from_static(b"whole"), mode).err().map(|error| error.kind);
        assert_eq!(put("a", PutMode::Create), None);
        assert_eq!(put("b", PutMode::Create), Some(ErrorKind::NoSpace));
        assert_eq!(put("b", PutMode::Create), None);
        assert_eq!(put("c", PutMode::Create), Some(ErrorKind::Temporary));
        assert_eq!(put("c", PutMode::Create), Some(ErrorKind::Exists));
        assert!(store.get("b").is_err() && store.get("b").is_err());
        assert_eq!(store.get("b").unwrap().as_deref(), Some(&b"wh"[..]));
        assert_eq!(store.get("a").unwrap().as_deref(), Some(&b"whole"[..]));
    }

    #[test]
    fn what_is_stored_may_be_altered() {
        let store = faulty(vec![Rule::nth(Operation::Put, 1, Mishap::Append(3)), Rule::nth(Operation::Put, 2, Mishap::Flip(6))]);
        put(&store, "a", "whole");
        put(&store, "b", "whole");
        assert_eq!((text(&store, "a").as_deref(), store.head("a").unwrap()), (Some("whole000"), Some(8)));
        assert_eq!((text(&store, "b").as_deref(), store.head("b").unwrap()), (Some("wiole"), Some(5)));
        let reading = faulty(vec![Rule::every(Operation::Get, "a", Mishap::Append(1))]);
        put(&reading, "a", "x");
        assert_eq!((text(&reading, "a").as_deref(), reading.head("a").unwrap()), (Some("x0"), Some(1)));
    }

    #[test]
    fn new_objects_may_appear_late_and_old_ones_be_stale() {
        let store = faulty(vec![
            Rule { times: 2, ..Rule::nth(Operation::Put, 1, Mishap::Late(Until::Calls(2))) },
            Rule::nth(Operation::Delete, 1, Mishap::Late(Until::Calls(1))),
        ]);
        put(&store, "c/a", "old");
        assert_eq!((store.get("c/a").unwrap(), store.list("c", 9).unwrap()), (None, Vec::new()));
        assert_eq!((text(&store, "c/a").as_deref(), store.list("c", 9).unwrap()), (Some("old"), vec!["c/a".to_owned()]));
        put(&store, "c/a", "newer");
        assert_eq!((text(&store, "c/a").as_deref(), store.head("c/a").unwrap()), (Some("old"), Some(3)));
        assert_eq!(text(&store, "c/a").as_deref(), Some("newer"));
        store.delete("c/a").unwrap();
        assert_eq!((store.list("c", 9).unwrap(), store.get("c/a").unwrap()), (vec!["c/a".to_owned()], None));
    }

    #[test]
    fn lateness_may_last_some_time() {
        let store = faulty(vec![Rule::nth(Operation::Put, 1, Mishap::Late(Until::Time(Duration::from_millis(80))))]);
        put(&store, "a", "x");
        assert_eq!(store.head("a").unwrap(), None);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(store.head("a").unwrap(), Some(1));
    }

    #[test]
    fn a_put_may_arrive_again_after_a_newer_one() {
        let store = faulty(vec![Rule::nth(Operation::Put, 1, Mishap::Again(2))]);
        put(&store, "a", "old");
        put(&store, "a", "new");
        assert_eq!(text(&store, "a").as_deref(), Some("old"), "delivered again just before this call");
        put(&store, "a", "new");
        assert_eq!(text(&store, "a").as_deref(), Some("new"), "and only once");
        let twice = faulty(vec![Rule::nth(Operation::Put, 1, Mishap::Repeat)]);
        assert_eq!(twice.put("a", Bytes::new(), PutMode::Create).err().map(|error| error.kind), Some(ErrorKind::Exists));
    }
}
