//! Files kept whole on disk because their servers cannot send ranges, or only dearly.
//!
//! Each is an unnamed temporary file, gone with the process however it ends. Invariant: one URL is fetched once at a time,
//! and the files held never exceed the limit by more than the one being read.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::super::StoreError;
use super::super::file::read_at;

/// Bytes copied at once out of a spooled file.
const BLOCK: u64 = 1 << 20;

/// A whole file on disk.
#[derive(Debug)]
pub(in super::super) struct Spooled {
    file: File,
    length: u64,
}

impl Spooled {
    /// Its length.
    pub(in super::super) fn length(&self) -> u64 {
        self.length
    }

    /// One range of it, which must lie inside.
    pub(in super::super) fn read(&self, url: &str, range: &Range<u64>) -> Result<Bytes, StoreError> {
        read_at(url, &self.file, range)
    }

    /// All of it into a sink.
    pub(in super::super) fn copy(&self, url: &str, sink: &mut dyn Write) -> Result<u64, StoreError> {
        for start in (0..self.length).step_by(BLOCK as usize) {
            let block = self.read(url, &(start..self.length.min(start + BLOCK)))?;
            sink.write_all(&block).map_err(|error| StoreError::from_io(url, "pass on what was read", error))?;
        }
        Ok(self.length)
    }
}

type Place = Arc<OnceCell<Arc<Spooled>>>;

/// The files held.
#[derive(Debug)]
pub(in super::super) struct Spool {
    directory: Option<PathBuf>,
    limit: u64,
    places: Mutex<Places>,
}

/// Places by URL, with the turn at which each was last used.
#[derive(Debug, Default)]
struct Places {
    turn: u64,
    by_url: HashMap<String, (u64, Place)>,
}

impl Spool {
    /// An empty spool.
    pub(in super::super) fn new(directory: Option<PathBuf>, limit: u64) -> Self {
        Self { directory, limit, places: Mutex::default() }
    }

    /// True if the file is here.
    pub(in super::super) fn holds(&self, url: &str) -> bool {
        self.places().by_url.get(url).is_some_and(|(_, place)| place.initialized())
    }

    /// The file, fetched now if it is not here by `download`, which tells its length.
    pub(in super::super) async fn file<D>(&self, url: &str, download: D) -> Result<Arc<Spooled>, StoreError>
    where
        D: AsyncFnOnce(&mut File) -> Result<u64, StoreError>,
    {
        let place = self.place(url);
        let file = place.get_or_try_init(|| self.fetch(url, download)).await?;
        self.make_room(url);
        Ok(Arc::clone(file))
    }

    fn place(&self, url: &str) -> Place {
        let mut places = self.places();
        places.turn += 1;
        let turn = places.turn;
        let (used, place) = places.by_url.entry(url.to_owned()).or_default();
        *used = turn;
        Arc::clone(place)
    }

    async fn fetch<D>(&self, url: &str, download: D) -> Result<Arc<Spooled>, StoreError>
    where
        D: AsyncFnOnce(&mut File) -> Result<u64, StoreError>,
    {
        let refuse = |error| StoreError::from_io(url, "keep the file on disk, since reading it in parts would cost too much", error);
        let mut file = match &self.directory {
            Some(directory) => tempfile::tempfile_in(directory).map_err(refuse)?,
            None => tempfile::tempfile().map_err(refuse)?,
        };
        let length = download(&mut file).await?;
        Ok(Arc::new(Spooled { file, length }))
    }

    /// Lets go of the files longest unused until the rest fits; whoever still reads one keeps it until done.
    fn make_room(&self, but: &str) {
        let mut places = self.places();
        let length = |place: &Place| place.get().map_or(0, |file| file.length);
        let mut total: u64 = places.by_url.values().map(|(_, place)| length(place)).sum();
        while total > self.limit {
            let others = places.by_url.iter().filter(|(url, (_, place))| url.as_str() != but && place.initialized());
            let Some(oldest) = others.min_by_key(|(_, (used, _))| *used).map(|(url, _)| url.clone()) else { return };
            total -= places.by_url.remove(&oldest).map_or(0, |(_, place)| length(&place));
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
