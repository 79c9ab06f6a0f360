//! Whole files on this machine's disk, made once and read by ranges.
//!
//! For what cannot be read by ranges where it is: files of servers without ranges, packed files, packed members of archives. They
//! are kept in the operator's cache if there is one, else in unnamed temporary files, gone with the process however it ends.
//! Invariant: one content is made once at a time, and the files held never exceed the limit by more than the one being made.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::access::Access;
use super::cache::{self, Cache, Description, Draft};
use super::file::read_at;
use super::{ErrorKind, Head, StoreError};

/// Bytes copied at once out of a spooled file.
const BLOCK: u64 = 1 << 20;

/// Most files held open, if the system allows as many.
const MOST_OPEN: usize = 4096;

/// The spool of all stores that are opened with the same settings, so that a scan and the tasks after it unpack a file once. Made
/// when first needed; whoever changes settings after that takes a new one.
#[derive(Clone, Default)]
pub struct SharedSpool(Arc<OnceLock<Arc<Spool>>>);

impl SharedSpool {
    /// The spool, made with these settings if there is none yet.
    pub(super) fn of(&self, access: &Access) -> Arc<Spool> {
        Arc::clone(self.0.get_or_init(|| Arc::new(Spool::new(access))))
    }
}

impl fmt::Debug for SharedSpool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SharedSpool")
    }
}

/// What a spooled file holds: which file of which version, made how.
#[derive(Debug, Clone)]
pub(super) struct Content {
    /// Tells it from every other one, and tells nothing else.
    key: String,
    description: Description,
    /// Another version of the file would be another content, so that it can be kept for later runs.
    lasting: bool,
    resumable: bool,
}

impl Content {
    /// The content of the file at `url`, shown as `name`, as it is while the file has this identity, after it was made by `how`.
    pub(super) fn new(url: &str, name: String, how: &str, head: &Head) -> Self {
        let identity = head.identity();
        let size = identity.size.map(|size| size.to_string());
        let mut digest = Sha256::new();
        for part in [Some(url), Some(how), size.as_deref(), identity.etag.as_deref(), identity.modified.as_deref()] {
            let part = part.unwrap_or("\0");
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let key = format!("{:032x}", u128::from_be_bytes(digest.finalize().first_chunk().copied().unwrap_or_default()));
        let lasting = identity.tells_versions_apart();
        let description =
            Description { url: name, how: how.to_owned(), etag: identity.etag, modified: identity.modified, ..Description::default() };
        Self { key, description, lasting, resumable: false }
    }

    /// The same, made by one who can go on where a kill stopped it.
    pub(super) fn resumable(self) -> Self {
        Self { resumable: true, ..self }
    }

    /// True if the operator's cache can keep it for later runs.
    pub(super) fn is_lasting(&self) -> bool {
        self.lasting
    }

    fn refuse(&self, error: io::Error) -> StoreError {
        StoreError::from_io(&self.description.url, "keep the file on disk, since it cannot be read by ranges", error)
    }
}

/// A whole file on disk.
#[derive(Debug)]
pub(super) struct Spooled {
    file: File,
    length: u64,
}

impl Spooled {
    /// Its length.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// One range of it, which must lie inside.
    pub(super) fn read(&self, url: &str, range: &Range<u64>) -> Result<Bytes, StoreError> {
        read_at(url, &self.file, range)
    }

    /// All of it into a sink.
    pub(super) fn copy(&self, url: &str, sink: &mut dyn Write) -> Result<u64, StoreError> {
        for start in (0..self.length).step_by(BLOCK as usize) {
            let block = self.read(url, &(start..self.length.min(start + BLOCK)))?;
            sink.write_all(&block).map_err(|error| StoreError::from_io(url, "pass on what was read", error))?;
        }
        Ok(self.length)
    }
}

/// A file being made.
#[derive(Debug)]
pub(super) enum Part {
    /// Gone with the process; with its length.
    Unnamed(File, u64),
    /// To be kept.
    Draft(Box<Draft>),
}

impl Part {
    /// Bytes that are there: some from the beginning, if what was begun before a kill is taken up.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Unnamed(_, length) => *length,
            Self::Draft(draft) => draft.length(),
        }
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unnamed(file, length) => {
                let written = file.write(bytes)?;
                *length += written as u64;
                Ok(written)
            }
            Self::Draft(draft) => draft.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Unnamed(file, _) => file.flush(),
            Self::Draft(draft) => draft.flush(),
        }
    }
}

/// A file that is there, or one to be made.
enum Begun {
    There(Spooled),
    Part(Part),
}

type Place = Arc<tokio::sync::Mutex<Option<Arc<Spooled>>>>;

/// The files held.
#[derive(Debug)]
pub(super) struct Spool {
    directory: Option<std::path::PathBuf>,
    limit: u64,
    most_open: usize,
    cache: Option<Cache>,
    places: Mutex<Places>,
}

/// Places by key, with the turn at which each was last used.
#[derive(Debug, Default)]
struct Places {
    turn: u64,
    by_key: HashMap<String, (u64, Place)>,
}

impl Spool {
    /// An empty spool with the operator's settings.
    fn new(access: &Access) -> Self {
        let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let most_open = limits.current.map_or(MOST_OPEN, |files| (files / 2) as usize).clamp(16, MOST_OPEN);
        let (directory, limit) = (access.spool_directory.clone(), access.spool_limit.0);
        Self { directory, limit, most_open, cache: Cache::of(access), places: Mutex::default() }
    }

    /// True if the file is here.
    pub(super) fn holds(&self, content: &Content) -> bool {
        let places = self.places();
        places.by_key.get(&content.key).is_some_and(|(_, place)| place.try_lock().is_ok_and(|slot| slot.is_some()))
    }

    /// The file, made now by `make` if it is not here. Not for threads that serve futures.
    pub(super) fn file(&self, content: &Content, make: impl Fn(&mut Part) -> Result<(), StoreError>) -> Result<Arc<Spooled>, StoreError> {
        let place = self.place(content);
        let mut slot = place.blocking_lock();
        if let Some(file) = &*slot {
            return Ok(Arc::clone(file));
        }
        let spooled = match self.begin(content)? {
            Begun::There(spooled) => spooled,
            Begun::Part(mut part) => match make(&mut part) {
                Err(error) if self.may_help(&error) => {
                    drop(part);
                    self.again(content, &make)?
                }
                outcome => outcome.and_then(|()| self.finish(content, part))?,
            },
        };
        let file = Arc::clone(slot.insert(Arc::new(spooled)));
        drop(slot);
        self.make_room(content);
        Ok(file)
    }

    /// [`Spool::file`] for a future that fetches.
    pub(super) async fn fetched(
        &self,
        content: &Content,
        fetch: impl AsyncFn(&mut Part) -> Result<(), StoreError>,
    ) -> Result<Arc<Spooled>, StoreError> {
        let place = self.place(content);
        let mut slot = place.lock().await;
        if let Some(file) = &*slot {
            return Ok(Arc::clone(file));
        }
        let spooled = match self.begin(content)? {
            Begun::There(spooled) => spooled,
            Begun::Part(mut part) => {
                fetch(&mut part).await?;
                self.finish(content, part)?
            }
        };
        let file = Arc::clone(slot.insert(Arc::new(spooled)));
        drop(slot);
        self.make_room(content);
        Ok(file)
    }

    fn place(&self, content: &Content) -> Place {
        let mut places = self.places();
        places.turn += 1;
        let turn = places.turn;
        let (used, place) = places.by_key.entry(content.key.clone()).or_default();
        *used = turn;
        Arc::clone(place)
    }

    fn begin(&self, content: &Content) -> Result<Begun, StoreError> {
        match self.cache.as_ref().filter(|_| content.lasting).map(|cache| cache.begin(&content.key, content.resumable)) {
            Some(Ok(cache::Begun::There(file, length))) => return Ok(Begun::There(Spooled { file, length })),
            Some(Ok(cache::Begun::Draft(draft))) => return Ok(Begun::Part(Part::Draft(draft))),
            Some(Err(error)) => tracing::warn!("the cache cannot be used, a temporary file takes its place: {error}"),
            None => {}
        }
        let file = match &self.directory {
            Some(directory) => tempfile::tempfile_in(directory),
            None => tempfile::tempfile(),
        };
        Ok(Begun::Part(Part::Unnamed(file.map_err(|error| content.refuse(error))?, 0)))
    }

    fn finish(&self, content: &Content, part: Part) -> Result<Spooled, StoreError> {
        let (file, length) = match (part, &self.cache) {
            (Part::Draft(draft), Some(cache)) => cache.finish(*draft, &content.description).map_err(|error| content.refuse(error))?,
            (Part::Unnamed(file, length), _) => (file, length),
            (Part::Draft(_), None) => return Err(content.refuse(io::ErrorKind::NotFound.into())),
        };
        Ok(Spooled { file, length })
    }

    /// True if the disk was full and there is now more room, since the cache gave what nobody uses.
    fn may_help(&self, error: &StoreError) -> bool {
        // Limits of ours have no cause.
        error.kind == ErrorKind::NoSpace && error.cause.is_some() && self.cache.as_ref().is_some_and(Cache::empty)
    }

    fn again(&self, content: &Content, make: &impl Fn(&mut Part) -> Result<(), StoreError>) -> Result<Spooled, StoreError> {
        match self.begin(content)? {
            Begun::There(spooled) => Ok(spooled),
            Begun::Part(mut part) => {
                make(&mut part)?;
                self.finish(content, part)
            }
        }
    }

    /// True if what is made here is kept for later runs.
    pub(super) fn is_lasting(&self) -> bool {
        self.cache.is_some()
    }

    /// Lets go of a file that is of no more use, here and in the cache.
    pub(super) fn discard(&self, content: &Content) {
        self.places().by_key.remove(&content.key);
        if let Some(cache) = self.cache.as_ref().filter(|_| content.lasting) {
            cache.discard(&content.key);
        }
    }

    /// Lets go of the files longest unused until the rest fits; whoever still reads one keeps it until done.
    fn make_room(&self, but: &Content) {
        let mut places = self.places();
        let length = |place: &Place| place.try_lock().ok().and_then(|slot| slot.as_ref().map(|file| file.length));
        let held = |(key, (used, place)): (&String, &(u64, Place))| length(place).map(|length| (*used, key.clone(), length));
        let mut all: Vec<(u64, String, u64)> = places.by_key.iter().filter_map(held).collect();
        all.sort_unstable();
        let mut total: u64 = all.iter().map(|(_, _, length)| length).sum();
        let mut open = all.len();
        for (_, key, length) in all.into_iter().filter(|(_, key, _)| *key != but.key) {
            if total <= self.limit && open <= self.most_open {
                return;
            }
            places.by_key.remove(&key);
            (total, open) = (total - length, open - 1);
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
