//! One writer per target.
//!
//! On a local disk a file lock, which the kernel releases however the process ends; elsewhere a lease object that its holder
//! renews. Invariant: two runs never hold the lock of one target at the same time, as far as the store honours creating puts.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::RunError;
use crate::store::{ErrorKind, PutMode, StoreError, TargetStore};

/// A held lock; let go when dropped.
pub(super) enum Lock {
    /// Of a local folder.
    Folder { _file: File },
    /// Of a store without locks.
    Lease { _keeper: LeaseKeeper },
}

const KEY: &str = "lock.json";
/// The holder renews its lease this often.
const RENEWAL: Duration = Duration::from_secs(5);
/// A lease that does not change for this long belongs to a dead run.
const PATIENCE: Duration = Duration::from_secs(20);

/// Locks a local state folder.
pub(super) fn folder(folder: &Path, target: &str) -> Result<Lock, RunError> {
    let cannot = |cause: std::io::Error| RunError::Folder { path: folder.to_owned(), cause };
    std::fs::create_dir_all(folder).map_err(cannot)?;
    let file = File::options().create(true).truncate(false).write(true).open(folder.join("lock")).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock::Folder { _file: file }),
        Err(std::fs::TryLockError::WouldBlock) => Err(held(target, "another process on this machine")),
        Err(std::fs::TryLockError::Error(cause)) => Err(cannot(cause)),
    }
}

fn held(target: &str, by: &str) -> RunError {
    RunError::Held { message: format!("{target} is being written by {by}; wait until that run is done") }
}

/// Who holds a lease; `beat` grows while it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    host: String,
    process: u32,
    nonce: String,
    beat: u64,
}

impl Lease {
    fn ours() -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
        let random = std::collections::hash_map::RandomState::new();
        let nonce = format!("{:016x}", std::hash::BuildHasher::hash_one(&random, std::process::id()));
        Self { host, process: std::process::id(), nonce, beat: 0 }
    }

    fn bytes(&self) -> Bytes {
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }

    /// True if its holder ran on this machine and is gone.
    fn is_dead_neighbour(&self, ours: &Self) -> bool {
        self.host == ours.host
            && !self.host.is_empty()
            && Path::new("/proc/self").exists()
            && !Path::new(&format!("/proc/{}", self.process)).exists()
    }
}

/// Renews a lease until dropped.
pub(super) struct LeaseKeeper {
    store: Arc<dyn TargetStore>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Takes the lease of a target's state.
pub(super) fn lease(store: &Arc<dyn TargetStore>, target: &str) -> Result<Lock, RunError> {
    let ours = Lease::ours();
    loop {
        match store.put(KEY, ours.bytes(), PutMode::Create) {
            Ok(()) => break,
            Err(error) if error.kind == ErrorKind::Exists => {}
            Err(error) => return Err(error.into()),
        }
        let Some(other) = read(&**store)? else { continue };
        // A repeated put may have met its own first attempt.
        if other.nonce == ours.nonce {
            break;
        }
        if !other.is_dead_neighbour(&ours) && is_alive(&**store, &other)? {
            return Err(held(target, &format!("process {} on {}", other.process, other.host)));
        }
        store.delete(KEY)?;
    }
    if read(&**store)?.is_none_or(|now| now.nonce != ours.nonce) {
        return Err(held(target, "another run that began at the same moment"));
    }
    Ok(Lock::Lease { _keeper: LeaseKeeper::start(Arc::clone(store), ours) })
}

fn read(store: &dyn TargetStore) -> Result<Option<Lease>, StoreError> {
    Ok(store.get(KEY)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Watches a lease for a while: true as soon as it is renewed.
fn is_alive(store: &dyn TargetStore, other: &Lease) -> Result<bool, StoreError> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(500));
        match read(store)? {
            Some(now) if now == *other => {}
            Some(_) => return Ok(true),
            None => return Ok(false),
        }
    }
    Ok(false)
}

impl LeaseKeeper {
    fn start(store: Arc<dyn TargetStore>, mut lease: Lease) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, renewed) = (Arc::clone(&stop), Arc::clone(&store));
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                std::thread::park_timeout(RENEWAL);
                lease.beat += 1;
                if !seen.load(Ordering::Relaxed) {
                    // A failed renewal is tried again by the next one; four in a row lose the lease.
                    drop(renewed.put(KEY, lease.bytes(), PutMode::Overwrite));
                }
            }
        });
        Self { store, stop, thread: Some(thread) }
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            drop(thread.join());
        }
        // Left behind it would only make the next run wait.
        drop(self.store.delete(KEY));
    }
}
