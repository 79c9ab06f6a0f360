//! An entry being made, by one process at a time.
//!
//! Bytes are appended to a file under a lock; every now and then their number and checksum are noted beside it, so that a download
//! that was killed goes on where it was. Invariant: what is gone on with has the checksum that was noted.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::entry::{Description, Place, hash, is_used};
use super::removed;

/// Bytes between two notes.
const STEP: u64 = 1 << 20;

/// Pause between two looks at an entry that another process makes.
const PAUSE: Duration = Duration::from_millis(100);

/// A note: length and checksum, and a checksum of both.
const NOTE: usize = 24;

/// An entry being made.
#[derive(Debug)]
pub(in super::super) struct Draft {
    place: Place,
    file: File,
    length: u64,
    hash: XxHash,
    /// Where the last note was made.
    noted: u64,
    /// Notes are made.
    resumable: bool,
}

/// A hash whose state nobody wants to see.
struct XxHash(Xxh3);

impl std::fmt::Debug for XxHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("XxHash")
    }
}

impl Draft {
    /// Begins or takes up a draft; nothing if somebody else just finished it or took it away: look again.
    pub(super) fn begin(place: Place, resumable: bool) -> io::Result<Option<Self>> {
        let path = place.part();
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
        let same = |there: fs::Metadata| file.metadata().is_ok_and(|here| (here.dev(), here.ino()) == (there.dev(), there.ino()));
        let is_there = || fs::metadata(&path).is_ok_and(same);
        // Asked again and again: whoever makes it goes on holding it once it is an entry, and it is somewhere else then.
        while is_used(&file)? {
            if !is_there() {
                return Ok(None);
            }
            tracing::debug!(entry = %path.display(), "another run is making this entry of the cache");
            std::thread::sleep(PAUSE);
        }
        if !is_there() {
            return Ok(None);
        }
        let mut draft = Self { place, file, length: 0, hash: XxHash(Xxh3::new()), noted: 0, resumable };
        if let Some((length, kept)) = draft.kept().filter(|_| resumable) {
            (draft.length, draft.noted, draft.hash) = (length, length, XxHash(kept));
        }
        draft.file.set_len(draft.length)?;
        draft.file.seek(SeekFrom::Start(draft.length))?;
        Ok(Some(draft))
    }

    /// What was written before, as far as it is what was noted.
    fn kept(&self) -> Option<(u64, Xxh3)> {
        let note = fs::read(self.place.progress()).ok().filter(|note| note.len() == NOTE)?;
        let number = |at: usize| note.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let (length, told, check) = (number(0)?, number(8)?, number(16)?);
        let whole = check == xxh3_64(note.get(..16)?) && self.file.metadata().ok()?.len() >= length;
        let kept = whole.then(|| hash(&self.file, length).ok())??;
        (kept.digest() == told).then_some((length, kept))
    }

    /// Bytes that are there.
    pub(in super::super) fn length(&self) -> u64 {
        self.length
    }

    fn note(&mut self) -> io::Result<()> {
        let mut note = [self.length.to_le_bytes(), self.hash.0.digest().to_le_bytes()].concat();
        note.extend_from_slice(&xxh3_64(&note).to_le_bytes());
        File::options().write(true).create(true).truncate(false).open(self.place.progress())?.write_all_at(&note, 0)?;
        self.noted = self.length;
        Ok(())
    }

    /// Makes it an entry.
    pub(super) fn finish(self, description: &Description) -> io::Result<(File, u64)> {
        fs::rename(self.place.part(), self.place.data())?;
        self.place.describe(description, self.length, self.hash.0.digest())?;
        removed(&self.place.progress());
        // From sole to shared use: others may read it now, nobody may take it away.
        self.file.lock_shared()?;
        Ok((self.file, self.length))
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.0.update(bytes.get(..written).unwrap_or_default());
        self.length += written as u64;
        if self.resumable && self.length - self.noted >= STEP {
            self.note()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
