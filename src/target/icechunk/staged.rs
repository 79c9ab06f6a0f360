//! What this run, or the one that it resumes, has stored: which object holds the chunk of a Zarr key.
//!
//! Not what a repository refers to. About a hundred bytes per chunk. Invariant: an object's name is a function of its key and
//! content, so that a retry, another attempt or another machine writes the same object, and never changes one that an older
//! snapshot refers to.

use std::collections::HashMap;
use std::sync::Mutex;

use icechunk::format::manifest::{ChunkPayload, ChunkRef as Reference};
use icechunk::format::{CHUNKS_FILE_PATH, ChunkId};
use sha2::{Digest, Sha256};

use super::locked;
use crate::receipt::ChunkRef;

/// One object below `chunks/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Name of the object, as the format counts it.
    id: [u8; 12],
    /// Bytes of it.
    length: u64,
}

impl Chunk {
    /// The object that a receipt tells of.
    pub(super) fn of(written: &ChunkRef) -> Self {
        let digest = Sha256::digest(format!("{}\n{}\n{}", written.key, written.bytes, written.checksum));
        let mut id = [0; 12];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self { id, length: written.bytes }
    }

    /// The object that a manifest refers to, if it refers to the whole of one.
    pub(super) fn referred(payload: &ChunkPayload) -> Option<Self> {
        match payload {
            ChunkPayload::Ref(Reference { id, offset: 0, length }) => Some(Self { id: id.0, length: *length }),
            _ => None,
        }
    }

    /// How a manifest refers to it.
    pub(super) fn payload(self) -> ChunkPayload {
        ChunkPayload::Ref(Reference { id: ChunkId::new(self.id), offset: 0, length: self.length })
    }

    /// Key of the object within the repository.
    pub(super) fn key(self) -> String {
        format!("{CHUNKS_FILE_PATH}/{}", ChunkId::new(self.id))
    }
}

/// Chunks by Zarr key.
pub(super) type Chunks = HashMap<Box<str>, Chunk>;

/// What has been stored so far.
#[derive(Debug, Default)]
pub(super) struct Staged(Mutex<Chunks>);

impl Staged {
    pub(super) fn add(&self, written: &ChunkRef) {
        locked(&self.0).insert(written.key.as_str().into(), Chunk::of(written));
    }

    pub(super) fn get(&self, key: &str) -> Option<Chunk> {
        locked(&self.0).get(key).copied()
    }

    /// All of them, for a commit; none are left.
    pub(super) fn take(&self) -> Chunks {
        std::mem::take(&mut *locked(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_by_key_and_content() {
        let chunk = |key: &str, checksum: &str| Chunk::of(&ChunkRef { key: key.to_owned(), bytes: 7, checksum: checksum.to_owned() }).key();
        assert_eq!(chunk("sst/c/0", "ab"), chunk("sst/c/0", "ab"));
        assert_ne!(chunk("sst/c/0", "ab"), chunk("sst/c/1", "ab"));
        assert_ne!(chunk("sst/c/0", "ab"), chunk("sst/c/0", "cd"));
        let name = chunk("sst/c/0", "ab");
        assert_eq!(name.len(), "chunks/".len() + 20, "{name}: twelve bytes in base 32");
    }

    #[test]
    fn only_whole_objects_are_ours() {
        let whole = Chunk { id: [1; 12], length: 9 };
        assert_eq!(Chunk::referred(&whole.payload()), Some(whole));
        let part = ChunkPayload::Ref(Reference { id: ChunkId::new([1; 12]), offset: 4, length: 5 });
        assert_eq!(Chunk::referred(&part), None);
        assert_eq!(Chunk::referred(&ChunkPayload::Inline(bytes::Bytes::from_static(b"x"))), None);
    }
}
