//! One commit: a branch of its own, a snapshot on it, a proof, and `main` moved.
//!
//! Not for data: chunks are stored before. Killed anywhere it leaves `main` where it was or where it shall be, and at most a branch
//! that the next commit of the same plan takes away. Invariant: `main` moves only if it is still where this run found it.

use bytes::Bytes;
use icechunk::Store;
use icechunk::format::snapshot::{Snapshot, SnapshotProperties};
use icechunk::format::{ChunkIndices, Path, SnapshotId};
use icechunk::refs::{Ref, RefErrorKind};
use icechunk::repository::{Repository, RepositoryErrorKind};
use serde_json::{Value, json};

use super::library::Library;
use super::look::{Look, PROPERTY, chunk_of, key_of};
use super::staged::Chunks;
use super::{Intent, fault};
use crate::dataset::Schema;
use crate::store::library::wait_on;
use crate::store::shown;
use crate::target::{TargetError, bad_metadata, zarr};

/// Digits of a plan's identity in names.
const DIGITS: usize = 12;
/// How names of branches of commits begin.
const BRANCH: &str = "gristmill-";
/// Commits of one plan that can have a tag.
const TAGS: u32 = 10_000;

/// True for the name of a commit's branch, which nobody else makes by accident.
fn is_ours(branch: &str) -> bool {
    let digits = branch.strip_prefix(BRANCH).unwrap_or_default();
    digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// A node's path without a slash in front, its document, and that as text.
pub(super) type Document = (String, Value, Bytes);

/// Documents of a schema, groups before what is in them; without the consolidated copy, which a repository has no use for.
pub(super) fn documents(schema: &Schema) -> Result<Vec<Document>, TargetError> {
    let mut documents = Vec::new();
    for (key, mut document) in zarr::documents(schema)?.into_iter().rev() {
        if let Some(root) = document.as_object_mut() {
            root.shift_remove("consolidated_metadata");
        }
        let text = zarr::text(&key, &document)?;
        let path = key.strip_suffix("zarr.json").unwrap_or(&key).trim_end_matches('/');
        documents.push((path.to_owned(), document, text));
    }
    Ok(documents)
}

/// Makes `main` hold these documents and chunks, and nothing else but, where the intent continues it, chunks that it held before.
pub(super) fn publish(
    url: &str,
    library: &Library,
    look: Option<&Look>,
    intent: &Intent,
    documents: &[Document],
    chunks: &Chunks,
) -> Result<(), TargetError> {
    wait_on(async {
        let repository = library.repository_or_new().await?;
        let base = look.map_or(Snapshot::INITIAL_SNAPSHOT_ID, |look| look.tip().clone());
        let transaction = Transaction { url, repository: &repository, base, intent, documents, chunks };
        // Killed after `main` had moved: only what follows that is left to do.
        let done = match look {
            Some(look) if look.maker().1 == intent.plan && !intent.plan.is_empty() => look.differs(documents, chunks).await?.is_none(),
            _ => false,
        };
        let published = if done { Ok(transaction.base.clone()) } else { transaction.commit().await };
        // Its snapshot is on `main` now, or of no use.
        let swept = transaction.sweep().await;
        transaction.tag(&published?).await?;
        swept
    })
}

/// The last steps of a commit whose snapshot `main` is at.
pub(super) fn finish(url: &str, library: &Library, look: &Look) -> Result<(), TargetError> {
    let (id, plan) = look.maker();
    let intent = Intent { id, plan, ..Intent::default() };
    wait_on(async {
        let (repository, chunks) = (library.repository().await?, Chunks::default());
        let base = look.tip().clone();
        let transaction = Transaction { url, repository: &repository, base, intent: &intent, documents: &[], chunks: &chunks };
        transaction.sweep().await?;
        transaction.tag(&transaction.base).await
    })
}

fn place(key: &str) -> Result<(Path, ChunkIndices), TargetError> {
    chunk_of(key).ok_or_else(|| bad_metadata(key, "this is no key of a chunk; please report this"))
}

struct Transaction<'a> {
    url: &'a str,
    repository: &'a Repository,
    base: SnapshotId,
    intent: &'a Intent,
    documents: &'a [Document],
    chunks: &'a Chunks,
}

impl Transaction<'_> {
    fn told(&self, doing: &str, error: impl std::error::Error + Send + Sync + 'static) -> TargetError {
        fault::told(self.url, doing, error)
    }

    fn short(&self) -> String {
        self.intent.plan.chars().take(DIGITS).collect()
    }

    /// Name of the branch of this plan's commit.
    fn branch(&self) -> String {
        format!("{BRANCH}{}", self.short())
    }

    async fn commit(&self) -> Result<SnapshotId, TargetError> {
        self.sweep().await?;
        let created = self.repository.create_branch(&self.branch(), &self.base).await;
        created.map_err(|error| self.told("make a branch", error.kind))?;
        let snapshot = self.write().await?;
        let look = Look::at(self.url, self.repository, snapshot.clone()).await?;
        if let Some(difference) = look.differs(self.documents, self.chunks).await? {
            let message = format!("the new snapshot is not what was written: {difference}; `main` was not moved; please report this");
            return Err(bad_metadata(&shown(self.url), message));
        }
        self.move_main(&snapshot).await?;
        Ok(snapshot)
    }

    /// The snapshot, on its own branch.
    async fn write(&self) -> Result<SnapshotId, TargetError> {
        let session = self.repository.writable_session(&self.branch()).await.map_err(|error| self.told("begin a commit", error.kind))?;
        let store = Store::from_session(std::sync::Arc::new(tokio::sync::RwLock::new(session))).await;
        if !self.intent.continues {
            // A chunk of an older dataset must not stand where a new one is missing.
            store.clear().await.map_err(|error| self.told("clear the old dataset", error.kind))?;
        }
        for (path, _, text) in self.documents {
            store.set(&key_of(path), text.clone()).await.map_err(|error| self.told("write a document", error.kind))?;
        }
        let session = store.session();
        let mut session = session.write().await;
        for (key, chunk) in self.chunks {
            let (path, index) = place(key)?;
            session.set_chunk_ref(path, index, Some(chunk.payload())).await.map_err(|error| self.told("refer to a chunk", error.kind))?;
        }
        let commit = session.commit(self.message()).properties(self.properties()).allow_empty(true);
        commit.execute().await.map_err(|error| self.told("commit", error.kind))
    }

    fn message(&self) -> String {
        format!("{}: {} (plan {})", self.intent.id, self.intent.title, self.short())
    }

    fn properties(&self) -> SnapshotProperties {
        let Intent { id, title, plan, .. } = self.intent;
        let ours = json!({"recipe": id, "title": title, "plan": plan, "version": env!("CARGO_PKG_VERSION")});
        SnapshotProperties::from([(PROPERTY.to_owned(), ours)])
    }

    async fn move_main(&self, snapshot: &SnapshotId) -> Result<(), TargetError> {
        match self.repository.reset_branch(Ref::DEFAULT_BRANCH, snapshot, Some(&self.base)).await {
            // An attempt that did it may have lost its answer, and the next one found it done.
            Err(error) if fault::is_conflict(&error.kind) => match self.repository.lookup_branch(Ref::DEFAULT_BRANCH).await {
                Ok(tip) if tip == *snapshot => Ok(()),
                _ => Err(self.conflict().await),
            },
            moved => moved.map_err(|error| self.told("move `main`", error.kind)),
        }
    }

    /// Who else has moved `main`.
    async fn conflict(&self) -> TargetError {
        let now = match self.repository.lookup_branch(Ref::DEFAULT_BRANCH).await {
            Ok(tip) => self.repository.lookup_snapshot(&tip).await.map(|info| format!("`{}` ({tip})", info.message)),
            Err(error) => Err(error),
        };
        let now = now.unwrap_or_else(|_| "another snapshot".to_owned());
        let message = format!(
            "another writer moved `main` from {} to {now} while this run worked; nothing was merged and nothing of this run is visible: \
             look at that commit, then `--replace` it (the history keeps it), or choose another target",
            self.base
        );
        TargetError::Conflict { target: shown(self.url), message }
    }

    /// Gives a snapshot on `main` its tag: the plan's first digits, with a number where the same plan was committed before.
    async fn tag(&self, snapshot: &SnapshotId) -> Result<(), TargetError> {
        for number in 1..=TAGS {
            let name = if number == 1 { self.short() } else { format!("{}-{number}", self.short()) };
            match self.repository.lookup_tag(&name).await {
                Ok(tagged) if tagged == *snapshot => return Ok(()),
                Ok(_) => continue,
                Err(error) if fault::is_absent(&error.kind) => {}
                Err(error) => return Err(self.told("look a tag up", error.kind)),
            }
            match self.repository.create_tag(&name, snapshot).await {
                // It was deleted once; no name is used twice.
                Err(error) if matches!(error.kind, RepositoryErrorKind::Ref(RefErrorKind::TagAlreadyExists(_))) => {}
                made => return made.map_err(|error| self.told("make a tag", error.kind)),
            }
        }
        Err(bad_metadata(&shown(self.url), format!("there are {TAGS} tags of this plan")))
    }

    /// Takes the branches of commits away, this plan's and what killed runs of others left: who holds the target is alone.
    async fn sweep(&self) -> Result<(), TargetError> {
        let branches = self.repository.list_branches().await.map_err(|error| self.told("list the branches", error.kind))?;
        for branch in branches.into_iter().filter(|branch| is_ours(branch)) {
            match self.repository.delete_branch(&branch).await {
                Err(error) if !fault::is_absent(&error.kind) => return Err(self.told("delete a branch", error.kind)),
                _ => {}
            }
        }
        Ok(())
    }
}
