//! The Icechunk target: a repository whose branch `main` moves from one whole dataset to the next, and keeps the ones before.
//!
//! `staged` what this run has stored, by Zarr key · `look` what a snapshot holds, by Zarr key · `transaction` the commit ·
//! `library` the library's storage, reached as ours is · `fault` its errors. A task stores a chunk as one object below `chunks/`,
//! named by its key and content; nothing refers to it before the commit, which is one snapshot, made and proved on a branch of
//! its own. So receipts alone tell what a killed run has done, and no session needs to survive it. Invariants: an object below
//! `chunks/` never changes; `main` moves only from the snapshot that this run began with, once, to one that holds every document
//! and chunk of the schema.

mod fault;
mod library;
mod look;
mod staged;
mod transaction;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::icechunk::Repository;
use ::icechunk::format::snapshot::Snapshot;
use bytes::Bytes;

use super::open::is_repository;
use super::{ChunkPayload, Intent, Target, TargetError, Tip, read_back, zarr};
use crate::dataset::{Schema, TargetState, Variable};
use crate::receipt::{ChunkRef, checksum};
use crate::recipe::OutputFormat;
use crate::store::{self, Access, ErrorKind, PutMode, StoreError, TargetStore};
use library::Library;
use look::{Found, Look};
use staged::Staged;

/// The first object that is not larger is read back at once: a larger one would take memory that nobody counted.
const PROOF: usize = 32 << 20;

/// An Icechunk repository below one target URL, made by the first commit.
///
/// As a [`Target`] it is written; as a [`TargetStore`] it is read, by Zarr key: what this run has stored, else what `main` held
/// when it was first looked at.
pub struct IcechunkTarget {
    url: String,
    access: Access,
    /// The repository's own objects.
    objects: Arc<dyn TargetStore>,
    staged: Staged,
    intent: Mutex<Intent>,
    library: Mutex<Option<Arc<Library>>>,
    /// `main` as this run found it.
    main: Mutex<Main>,
    /// True once an object was chosen to be read back.
    proven: AtomicBool,
}

/// What is known of `main`.
#[derive(Default)]
enum Main {
    /// It was not looked at.
    #[default]
    Unknown,
    /// There was no repository.
    Absent,
    /// Where it was.
    At(Arc<Look>),
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl IcechunkTarget {
    /// The repository at a URL, which need not exist. Asks no server yet.
    ///
    /// # Errors
    /// [`TargetError::Store`].
    pub fn open(url: &str, access: &Access) -> Result<Self, TargetError> {
        Ok(Self {
            url: url.to_owned(),
            access: access.clone(),
            objects: store::target(url, access)?,
            staged: Staged::default(),
            intent: Mutex::default(),
            library: Mutex::default(),
            main: Mutex::default(),
            proven: AtomicBool::new(false),
        })
    }

    /// Says what the next commit is.
    pub fn intend(&self, intent: Intent) {
        *locked(&self.intent) = intent;
    }

    /// The repository as its library sees it, for what this room does not do: history, tags, other branches. It can be used while
    /// this target is not dropped.
    ///
    /// # Errors
    /// [`TargetError::Metadata`] if there is none, [`TargetError::Store`].
    pub fn repository(&self) -> Result<Repository, TargetError> {
        let library = self.library()?;
        store::library::wait_on(library.repository())
    }

    fn library(&self) -> Result<Arc<Library>, TargetError> {
        let mut library = locked(&self.library);
        if let Some(library) = &*library {
            return Ok(Arc::clone(library));
        }
        let opened = Arc::new(Library::open(&self.url, &self.access)?);
        *library = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// `main` as it was when this was first asked for; `None` if there was no repository.
    fn look(&self) -> Result<Option<Arc<Look>>, TargetError> {
        let mut main = locked(&self.main);
        if matches!(*main, Main::Unknown) {
            let exists = is_repository(&*self.objects)?;
            *main = if exists { Main::At(Arc::new(Look::at_main(&self.url, &*self.library()?)?)) } else { Main::Absent };
        }
        Ok(if let Main::At(look) = &*main { Some(Arc::clone(look)) } else { None })
    }

    fn find(&self, key: &str) -> Result<Found, TargetError> {
        if let Some(chunk) = self.staged.get(key) {
            return Ok(Found::Object(chunk));
        }
        self.look()?.map_or(Ok(Found::Nothing), |look| look.find(key))
    }

    /// The snapshot that `main` is at, unless nothing was ever committed.
    ///
    /// # Errors
    /// [`TargetError::Store`], [`TargetError::Metadata`].
    pub fn tip(&self) -> Result<Option<Tip>, TargetError> {
        let look = self.look()?.filter(|look| *look.tip() != Snapshot::INITIAL_SNAPSHOT_ID);
        Ok(look.map(|look| Tip { commit: look.tip().to_string(), plan: look.maker().1 }))
    }

    /// What is left to do once `main` has moved: the tag comes, branches of killed commits go.
    ///
    /// # Errors
    /// [`TargetError::Store`], [`TargetError::Metadata`].
    pub fn finish(&self) -> Result<(), TargetError> {
        let Some(look) = self.look()? else { return Ok(()) };
        transaction::finish(&self.url, &*self.library()?, &look)
    }

    /// The example of an object that no snapshot of `main` accounts for, if there may be one.
    fn example(&self, below: &str) -> Result<TargetState, TargetError> {
        let example = self.objects.list(below, 1)?.pop();
        Ok(example.map_or(TargetState::Empty, |example| TargetState::Foreign { example }))
    }
}

impl Target for IcechunkTarget {
    fn state(&self) -> Result<TargetState, TargetError> {
        let Some(look) = self.look()? else { return self.example("") };
        match look.schema() {
            Ok(Some(schema)) => {
                let (id, plan) = look.maker();
                Ok(TargetState::Ours { id, plan, committed: true, schema: Some(Box::new(schema)) })
            }
            // Nothing is published; what interrupted runs have stored is no more than that.
            Ok(None) => self.example("chunks"),
            Err(error @ TargetError::Store(_)) => Err(error),
            Err(TargetError::Metadata { key, .. }) => Ok(TargetState::Foreign { example: key }),
            Err(_) => Ok(TargetState::Foreign { example: "zarr.json".to_owned() }),
        }
    }

    fn write(&self, variable: &Variable, index: &[u64], payload: ChunkPayload) -> Result<ChunkRef, TargetError> {
        let ChunkPayload::Encoded(bytes) = payload;
        let key = zarr::object_key(variable, index, OutputFormat::Icechunk);
        let written = ChunkRef { key, bytes: bytes.len() as u64, checksum: checksum(&bytes) };
        // The name follows from the content: whoever wrote it before wrote the same.
        let object = staged::Chunk::of(&written).key();
        self.objects.put(&object, bytes.clone(), PutMode::Overwrite)?;
        if bytes.len() <= PROOF && !self.proven.swap(true, Ordering::Relaxed) {
            read_back(&*self.objects, &object, &bytes, None)?;
        }
        self.staged.add(&written);
        Ok(written)
    }

    fn remember(&self, chunks: &[ChunkRef]) {
        for chunk in chunks {
            self.staged.add(chunk);
        }
    }

    fn commit(&self, schema: &Schema) -> Result<(), TargetError> {
        let documents = transaction::documents(schema)?;
        let (look, library) = (self.look()?, self.library()?);
        let intent = locked(&self.intent).clone();
        let chunks = self.staged.take();
        transaction::publish(&self.url, &library, look.as_deref(), &intent, &documents, &chunks)?;
        *locked(&self.main) = Main::Unknown;
        Ok(())
    }

    fn schema(&self) -> Result<Option<Schema>, TargetError> {
        self.look()?.map_or(Ok(None), |look| look.schema())
    }
}

/// Reading by Zarr key. The root's document holds the consolidated copy of all, which the repository itself does without.
impl TargetStore for IcechunkTarget {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        match self.find(key).map_err(|error| fault::as_store(key, error))? {
            Found::Nothing => Ok(None),
            Found::Bytes(bytes) => Ok(Some(bytes.len() as u64)),
            Found::Object(chunk) => self.objects.head(&chunk.key()),
        }
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        match self.find(key).map_err(|error| fault::as_store(key, error))? {
            Found::Nothing => Ok(None),
            Found::Bytes(bytes) => Ok(Some(bytes)),
            Found::Object(chunk) => self.objects.get(&chunk.key()),
        }
    }

    fn put(&self, key: &str, _: Bytes, _: PutMode) -> Result<(), StoreError> {
        Err(read_only(key))
    }

    /// Keys of what is published.
    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let look = self.look().map_err(|error| fault::as_store(prefix, error))?;
        look.map_or(Ok(Vec::new()), |look| look.list(prefix, limit)).map_err(|error| fault::as_store(prefix, error))
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        Err(read_only(key))
    }
}

fn read_only(key: &str) -> StoreError {
    let message = "an Icechunk repository changes by whole commits only; this is a mistake in the program, please report it";
    StoreError::new(ErrorKind::Other, key, message)
}
