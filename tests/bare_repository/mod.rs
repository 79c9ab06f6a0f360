//! A host's bare repository, for tests that commit to it as contributors do.

use git2::{Index, IndexEntry, IndexTime, Oid, Repository, Signature};

/// The commit a reference is at; for a new reference that of `main`.
pub(crate) fn tip(git: &Repository, reference: &str) -> Option<Oid> {
    let names = [reference, "refs/heads/main"];
    names.iter().find_map(|name| git.find_reference(name).ok()?.peel_to_commit().ok()).map(|commit| commit.id())
}

/// A commit after `parent` with these files changed; the reference is put there.
pub(crate) fn commit(git: &Repository, reference: &str, parent: Option<Oid>, files: &[(&str, &str)]) -> Oid {
    let parent = parent.map(|id| git.find_commit(id).unwrap());
    let mut index = Index::new().unwrap();
    if let Some(parent) = &parent {
        index.read_tree(&parent.tree().unwrap()).unwrap();
    }
    for (path, text) in files {
        index.add(&entry(git.blob(text.as_bytes()).unwrap(), path)).unwrap();
    }
    let tree = git.find_tree(index.write_tree_to(git).unwrap()).unwrap();
    let who = Signature::now("a", "a@example.org").unwrap();
    let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
    let id = git.commit(None, &who, &who, "change", &tree, &parents).unwrap();
    git.reference(reference, id, true, "").unwrap();
    id
}

fn entry(id: Oid, path: &str) -> IndexEntry {
    let zero = IndexTime::new(0, 0);
    let (mode, path) = (0o100_644, path.as_bytes().to_vec());
    IndexEntry { ctime: zero, mtime: zero, dev: 0, ino: 0, mode, uid: 0, gid: 0, file_size: 0, id, flags: 0, flags_extended: 0, path }
}
