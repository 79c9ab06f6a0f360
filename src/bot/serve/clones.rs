//! Clones of the repositories that are served: bare, so that nothing of a stranger's is checked out.
//!
//! Fetched by whoever works on a repository, one at a time. Not for telling what changed (`changes`). Invariant: what a caller asked
//! for by its full commit id is there when [`Clones::fetch`] returns; credentials are in no file of the clone.

use std::path::{Path, PathBuf};

use git2::{Cred, FetchOptions, Oid, RemoteCallbacks, Repository};

use crate::bot::decide::Sha;
use crate::bot::forge::CloneAccess;

/// The clones, in a folder.
#[derive(Debug)]
pub(super) struct Clones {
    folder: PathBuf,
}

/// Why a repository cannot be fetched, or a commit is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum CloneError {
    /// Git failed.
    #[error("`{repository}` cannot be fetched: {}", cause.message())]
    Git {
        /// The repository.
        repository: String,
        /// Why.
        #[source]
        cause: git2::Error,
    },
    /// The commit is not there.
    #[error("`{repository}` has no commit {sha} any more")]
    NoCommit {
        /// The repository.
        repository: String,
        /// The commit.
        sha: Sha,
    },
}

impl Clones {
    /// In a folder.
    #[must_use]
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder of a repository's clone.
    #[must_use]
    pub(super) fn path(&self, repository: &str) -> PathBuf {
        self.folder.join(repository.replace('/', "__") + ".git")
    }

    /// Brings the branches, the head of a pull request and the wanted commits here.
    ///
    /// # Errors
    /// [`CloneError`].
    pub(super) fn fetch(&self, repository: &str, access: &CloneAccess, pull: Option<u64>, wanted: &[Sha]) -> Result<PathBuf, CloneError> {
        let failed = |cause| CloneError::Git { repository: repository.to_owned(), cause };
        let path = self.path(repository);
        let clone = Repository::open_bare(&path).or_else(|_| Repository::init_bare(&path)).map_err(failed)?;
        let mut references = vec!["+refs/heads/*:refs/heads/*".to_owned()];
        references.extend(pull.map(|number| format!("+refs/pull/{number}/head:refs/pull/{number}/head")));
        fetch(&clone, access, &references).map_err(failed)?;
        for sha in wanted {
            // A commit that no branch has any more, after a push by force.
            if !has(&clone, sha) {
                let _ = fetch(&clone, access, &[format!("+{sha}:refs/gristmill/{sha}")]);
            }
            if !has(&clone, sha) {
                return Err(CloneError::NoCommit { repository: repository.to_owned(), sha: sha.clone() });
            }
        }
        Ok(path)
    }

    /// True if all of these commits are here.
    #[must_use]
    pub(super) fn have(&self, repository: &str, wanted: &[Sha]) -> bool {
        Repository::open_bare(self.path(repository)).is_ok_and(|clone| wanted.iter().all(|sha| has(&clone, sha)))
    }

    /// True if `old` is `new`, or came before it.
    #[must_use]
    pub(super) fn is_before(&self, repository: &str, old: &Sha, new: &Sha) -> bool {
        let ids = Oid::from_str(old.as_str()).and_then(|old| Ok((old, Oid::from_str(new.as_str())?)));
        let (Ok((old, new)), Ok(clone)) = (ids, Repository::open_bare(self.path(repository))) else { return false };
        old == new || clone.graph_descendant_of(new, old).unwrap_or(false)
    }

    /// Puts a branch at a commit that is here: one that came by another way, with a pull request say, moves no branch.
    ///
    /// # Errors
    /// [`CloneError`].
    pub(super) fn point(&self, repository: &str, branch: &str, commit: &Sha) -> Result<(), CloneError> {
        let point = || -> Result<(), git2::Error> {
            let clone = Repository::open_bare(self.path(repository))?;
            clone.reference(&format!("refs/heads/{branch}"), Oid::from_str(commit.as_str())?, true, "seen there").map(drop)
        };
        point().map_err(|cause| CloneError::Git { repository: repository.to_owned(), cause })
    }

    /// The commit of a branch, as it was fetched or seen last.
    #[must_use]
    pub(super) fn tip(&self, repository: &str, branch: &str) -> Option<Sha> {
        let clone = Repository::open_bare(self.path(repository)).ok()?;
        let commit = clone.find_reference(&format!("refs/heads/{branch}")).ok()?.peel_to_commit().ok()?;
        commit.id().to_string().parse().ok()
    }

    /// Checks a commit out into a folder that is a repository of its own. For what is merged only.
    ///
    /// # Errors
    /// [`CloneError`].
    pub(super) fn check_out(&self, repository: &str, commit: &Sha, folder: &Path) -> Result<(), CloneError> {
        let failed = |cause| CloneError::Git { repository: repository.to_owned(), cause };
        let copy = || -> Result<(), git2::Error> {
            let source = self.path(repository).display().to_string();
            let mut options = git2::build::CheckoutBuilder::new();
            options.force().disable_filters(true);
            Repository::init(folder)?;
            // Objects are read where they are.
            std::fs::write(folder.join(".git/objects/info/alternates"), format!("{source}/objects\n"))
                .map_err(|error| git2::Error::from_str(&error.to_string()))?;
            let copy = Repository::open(folder)?;
            let commit = copy.find_commit(Oid::from_str(commit.as_str())?)?;
            copy.set_head_detached(commit.id())?;
            copy.checkout_tree(commit.as_object(), Some(&mut options))
        };
        copy().map_err(failed)
    }
}

fn has(clone: &Repository, sha: &Sha) -> bool {
    Oid::from_str(sha.as_str()).and_then(|id| clone.find_commit(id)).is_ok()
}

fn fetch(clone: &Repository, access: &CloneAccess, references: &[String]) -> Result<(), git2::Error> {
    let mut callbacks = RemoteCallbacks::new();
    let mut asked = 0;
    callbacks.credentials(move |_, _, _| {
        asked += 1;
        // Asked again, the server did not take them; the same would be asked for ever.
        if asked > 1 {
            Err(git2::Error::from_str("the credentials are refused"))
        } else {
            Cred::userpass_plaintext(&access.user, &access.secret)
        }
    });
    let mut options = FetchOptions::new();
    options.remote_callbacks(callbacks).download_tags(git2::AutotagOption::None);
    clone.remote_anonymous(&access.url)?.fetch(references, Some(&mut options), None)
}
