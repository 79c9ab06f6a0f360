//! The icechunk library's storage, reached through the operator's own client.
//!
//! The library opens buckets and folders by itself only with settings, credentials and a TLS stack of its own. What it does take
//! from outside is a backend that it can read from JSON, which is how this one is handed over: the JSON holds a number, the
//! clients are kept here by number. Invariant: what the library may print or save of a backend is that number.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use icechunk::ObjectStorage;
use icechunk::format::format_constants::SpecVersionBin;
use icechunk::repository::{Repository, RepositoryErrorKind};
use icechunk::storage::{ObjectStoreBackend, Role, Settings, Storage, StorageError, StorageErrorKind, StorageInfo};
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{fault, locked};
use crate::store::Access;
use crate::store::library::{self, Client};
use crate::target::TargetError;

static CLIENTS: LazyLock<Mutex<HashMap<u64, Client>>> = LazyLock::new(Mutex::default);
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A place as the library sees it.
pub(super) struct Library {
    url: String,
    number: u64,
    storage: Arc<dyn Storage + Send + Sync>,
}

impl Library {
    /// Opens a target; a local folder is made if it is not there.
    pub(super) fn open(url: &str, access: &Access) -> Result<Self, TargetError> {
        let client = library::client(url, access)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        locked(&CLIENTS).insert(number, client);
        let storage: Result<ObjectStorage, _> = serde_json::from_value(json!({"backend": {TAG: NAME, "number": number}}));
        let storage = Arc::new(storage.map_err(|error| fault::told(url, "set up the repository's storage", error))?);
        Ok(Self { url: url.to_owned(), number, storage })
    }

    /// The repository that is there.
    pub(super) async fn repository(&self) -> Result<Repository, TargetError> {
        let opened = Repository::open(Arc::clone(&self.storage)).execute().await;
        opened.map_err(|error| fault::told(&self.url, "open the repository", error.kind))
    }

    /// The repository that is there, or a new one: without data, and of version 1 of the format, which every reader knows.
    pub(super) async fn repository_or_new(&self) -> Result<Repository, TargetError> {
        match Repository::open(Arc::clone(&self.storage)).execute().await {
            Err(error) if matches!(error.kind, RepositoryErrorKind::RepositoryDoesntExist) => {}
            opened => return opened.map_err(|error| fault::told(&self.url, "open the repository", error.kind)),
        }
        // The chunks of the first commit are there already.
        let made = Repository::create(Arc::clone(&self.storage)).spec_version(SpecVersionBin::V1).check_clean_root(false).execute().await;
        match made {
            // Somebody was faster: what they have put there is judged as in any other repository.
            Err(error) if fault::is_conflict(&error.kind) => self.repository().await,
            made => made.map_err(|error| fault::told(&self.url, "make the repository", error.kind)),
        }
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        locked(&CLIENTS).remove(&self.number);
    }
}

/// How the library's JSON calls the kind of a backend.
const TAG: &str = "object_store_provider_type";
/// How it calls this one.
const NAME: &str = "gristmill";

/// A client, by its number.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Numbered {
    number: u64,
}

impl Numbered {
    fn client(self) -> Option<Client> {
        locked(&CLIENTS).get(&self.number).cloned()
    }
}

impl fmt::Display for Numbered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "target {}", self.number)
    }
}

#[typetag::serde(name = "gristmill")]
impl ObjectStoreBackend for Numbered {
    fn mk_object_store(&self, _: &Settings, _: Role) -> Result<Arc<dyn ObjectStore>, StorageError> {
        let client = self.client().map(|client| client.objects);
        client.ok_or_else(|| StorageError::capture(StorageErrorKind::Other(format!("{self} is closed"))))
    }

    fn prefix(&self) -> String {
        self.client().map(|client| client.prefix).unwrap_or_default()
    }

    fn storage_info(&self) -> StorageInfo {
        StorageInfo { backend_type: NAME, fields: Vec::new() }
    }

    /// A folder takes neither conditions nor metadata of objects. There, and where the operator says that nobody else writes, the
    /// lock of the run keeps other runs away, and `main` is compared before it is moved.
    fn default_settings(&self) -> Settings {
        let client = self.client();
        let off = |can: fn(&Client) -> bool| (!client.as_ref().is_some_and(can)).then_some(false);
        Settings {
            unsafe_use_conditional_create: off(|client| client.conditional),
            unsafe_use_conditional_update: off(|client| client.conditional),
            unsafe_use_metadata: off(|client| client.metadata),
            ..Settings::default()
        }
    }

    fn artificially_sort_refs_in_mem(&self) -> bool {
        true
    }

    fn restricts_empty_prefix_creation(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_all_that_is_told_of_a_client() {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().join("hush").display().to_string();
        let library = Library::open(&url, &Access::default()).unwrap();
        let told = format!("{:?} {} {}", library.storage, library.storage, serde_json::to_string(&library.storage).unwrap());
        assert!(told.contains(NAME) && !told.contains("hush"), "{told}");
        let number = library.number;
        drop(library);
        assert!(Numbered { number }.client().is_none());
    }
}
