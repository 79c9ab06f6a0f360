//! A store that misbehaves by script: fails, stalls, truncates, repeats, loses answers.
//!
//! For tests of whatever uses stores; wraps a real one. Invariant: a call that no rule names is passed on untouched.

use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::{ErrorKind, Head, PutMode, SourceStore, StoreError, TargetStore};

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
    /// It is done twice.
    Repeat,
    /// It is done, but the caller is told that it failed in passing.
    LostAnswer,
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
}

/// A store whose calls go wrong by script.
#[derive(Debug)]
pub struct Faulty<S: ?Sized> {
    rules: Vec<Rule>,
    calls: Mutex<Vec<u64>>,
    inner: Arc<S>,
}

impl<S: ?Sized> Faulty<S> {
    /// Wraps a store. Where two rules name one call, the first counts.
    #[must_use]
    pub fn new(inner: Arc<S>, rules: Vec<Rule>) -> Self {
        let calls = Mutex::new(vec![0; rules.len()]);
        Self { rules, calls, inner }
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
    fn run<T>(&self, operation: Operation, name: &str, call: impl Fn(&S, Option<usize>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self.mishap(operation, name)? {
            Some(Mishap::Truncate(length)) => call(&self.inner, Some(length)),
            Some(Mishap::Repeat) => call(&self.inner, None).and_then(|_| call(&self.inner, None)),
            Some(Mishap::LostAnswer) => {
                call(&self.inner, None)?;
                Err(StoreError::new(ErrorKind::Temporary, name, "scripted fault (the answer got lost)"))
            }
            _ => call(&self.inner, None),
        }
    }
}

fn cut(bytes: &Bytes, length: Option<usize>) -> Bytes {
    bytes.slice(..bytes.len().min(length.unwrap_or(usize::MAX)))
}

impl<S: SourceStore + ?Sized> SourceStore for Faulty<S> {
    fn head(&self, url: &str) -> Result<Head, StoreError> {
        self.run(Operation::Head, url, |store, length| {
            let head = store.head(url)?;
            Ok(Head { size: head.size.map(|size| size.min(length.map_or(u64::MAX, |length| length as u64))), ..head })
        })
    }

    fn ranges(&self, url: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        let cut_all = |store: &S, length| Ok(store.ranges(url, ranges)?.into_iter().map(|bytes| cut(&bytes, length)).collect());
        self.run(Operation::Ranges, url, cut_all)
    }

    fn stream(&self, url: &str, sink: &mut dyn Write) -> Result<u64, StoreError> {
        let whole = self.run(Operation::Stream, url, |store, length| {
            let mut whole = Vec::new();
            store.stream(url, &mut whole)?;
            Ok(cut(&whole.into(), length))
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
        self.run(Operation::Head, key, |store, _| store.head(key))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.run(Operation::Get, key, |store, length| Ok(store.get(key)?.map(|bytes| cut(&bytes, length))))
    }

    fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        self.run(Operation::Put, key, |store, length| store.put(key, cut(&bytes, length), mode))
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        self.run(Operation::List, prefix, |store, length| store.list(prefix, limit.min(length.unwrap_or(limit))))
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.run(Operation::Delete, key, |store, _| store.delete(key))
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryTarget;
    use super::*;

    fn faulty(rules: Vec<Rule>) -> Faulty<dyn TargetStore> {
        let name = format!("fault-{:?}", std::thread::current().id());
        Faulty::new(Arc::new(MemoryTarget::open(&name)), rules)
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
}
