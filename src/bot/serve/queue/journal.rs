//! Records on disk that survive a power cut: what is told to be there is there.
//!
//! Files of lines, each a checksum and a text; new records go to the end of the last file. Those that come while one is being flushed
//! are flushed together, so that many callers cost few flushes. Knows nothing of what records mean. Invariant: a record is told to be
//! kept only after it was flushed; one that was cut off by a crash was never told.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, Sender};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes after which a new file is begun.
const FULL: u64 = 64 << 20;
/// Most records that are flushed together.
const TOGETHER: usize = 1024;
/// Bytes before the text of a record: 16 hexadecimal digits and a blank.
const PREFIX: usize = 17;

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// Number of its file.
    pub(super) file: u64,
    offset: u64,
    length: usize,
}

/// Why the journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk failed.
    #[error("the queue in `{}` cannot be used", folder.display())]
    Disk {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A record in the middle is not what was written.
    #[error("`{}`, byte {offset}: the queue is damaged; move this file away, and what it held is asked for again", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where.
        offset: u64,
    },
}

/// Called when a record is kept, or is not, in the order in which records were handed over.
pub(super) type Kept = Box<dyn FnOnce(io::Result<Position>) + Send>;

struct Handed {
    text: String,
    kept: Kept,
}

/// The open journal. Records that are handed over are written by a thread of its own, which ends when the journal is dropped.
pub(super) struct Journal {
    folder: PathBuf,
    hand: Option<Sender<Handed>>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl Journal {
    /// Opens a folder and reads every record of it, in order. `head` gives the text that begins each new file.
    pub(super) fn open(
        folder: &Path,
        mut record: impl FnMut(Position, &str),
        head: impl FnMut() -> String + Send + 'static,
    ) -> Result<Self, JournalError> {
        let failed = |cause| JournalError::Disk { folder: folder.to_owned(), cause };
        fs::create_dir_all(folder).map_err(failed)?;
        let numbers = numbers(folder).map_err(failed)?;
        let mut end = 0;
        for (at, number) in numbers.iter().enumerate() {
            end = read(folder, *number, at + 1 == numbers.len(), &mut record)?;
        }
        let (hand, handed) = crossbeam_channel::unbounded();
        let last = numbers.last().copied();
        let file = last.map(|last| reopen(folder, last, end)).transpose().map_err(failed)?;
        let mut writer = Writer { folder: folder.to_owned(), number: last.unwrap_or(0), file, end, head: Box::new(head) };
        let thread = std::thread::Builder::new().name("queue".to_owned()).spawn(move || writer.work(&handed)).map_err(failed)?;
        Ok(Self { folder: folder.to_owned(), hand: Some(hand), writer: Some(thread) })
    }

    /// Hands a record over.
    pub(super) fn append(&self, text: String, kept: Kept) {
        let Some(hand) = &self.hand else { return };
        // If the thread has ended, `kept` is dropped uncalled.
        let _ = hand.send(Handed { text, kept });
    }

    /// The text of a record.
    pub(super) fn read(&self, position: Position) -> io::Result<String> {
        let mut bytes = vec![0; position.length];
        File::open(path(&self.folder, position.file))?.read_exact_at(&mut bytes, position.offset)?;
        let text = bytes.strip_suffix(b"\n").and_then(text_of).ok_or_else(|| io::Error::other("a record of the queue is damaged"))?;
        Ok(text.to_owned())
    }

    /// Removes every file before this one.
    pub(super) fn forget_before(&self, file: u64) -> io::Result<()> {
        numbers(&self.folder)?
            .into_iter()
            .filter(|number| *number < file)
            .try_for_each(|number| fs::remove_file(path(&self.folder, number)))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.hand.take();
        if let Some(writer) = self.writer.take() {
            // A thread that panicked has told so itself.
            let _ = writer.join();
        }
    }
}

struct Writer {
    folder: PathBuf,
    number: u64,
    file: Option<File>,
    end: u64,
    head: Box<dyn FnMut() -> String + Send>,
}

impl Writer {
    fn work(&mut self, handed: &Receiver<Handed>) {
        while let Ok(first) = handed.recv() {
            let mut batch = vec![first];
            batch.extend(handed.try_iter().take(TOGETHER - 1));
            self.keep(batch);
        }
    }

    fn keep(&mut self, batch: Vec<Handed>) {
        match self.write(&batch) {
            Ok(positions) => batch.into_iter().zip(positions).for_each(|(one, position)| (one.kept)(Ok(position))),
            Err(error) => {
                tracing::error!(%error, folder = %self.folder.display(), "the queue cannot be written");
                // The next one first cuts off what may have been written of records that are told not to be kept.
                self.file = None;
                batch.into_iter().for_each(|one| (one.kept)(Err(io::Error::new(error.kind(), error.to_string()))));
            }
        }
    }

    fn write(&mut self, batch: &[Handed]) -> io::Result<Vec<Position>> {
        if self.number == 0 || self.end > FULL {
            self.begin_file()?;
        } else if self.file.is_none() {
            self.file = Some(reopen(&self.folder, self.number, self.end)?);
        }
        let mut lines = Vec::new();
        let mut positions = Vec::new();
        for one in batch {
            let line = line(&one.text);
            positions.push(Position { file: self.number, offset: self.end + lines.len() as u64, length: line.len() });
            lines.extend_from_slice(line.as_bytes());
        }
        let Some(file) = &mut self.file else { return Err(io::Error::other("the queue has no file")) };
        file.write_all(&lines)?;
        file.sync_data()?;
        self.end += lines.len() as u64;
        Ok(positions)
    }

    fn begin_file(&mut self) -> io::Result<()> {
        let line = line(&(self.head)());
        let (number, unfinished) = (self.number + 1, self.folder.join("next.unfinished"));
        let mut file = File::create(&unfinished)?;
        file.write_all(line.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path(&self.folder, number))?;
        File::open(&self.folder)?.sync_all()?;
        (self.number, self.end, self.file) = (number, line.len() as u64, Some(file));
        Ok(())
    }
}

/// Opens a file to go on after its last whole record.
fn reopen(folder: &Path, number: u64, end: u64) -> io::Result<File> {
    let file = OpenOptions::new().append(true).open(path(folder, number))?;
    file.set_len(end)?;
    file.sync_data()?;
    Ok(file)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:012}.journal"))
}

fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".journal")).and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn line(text: &str) -> String {
    format!("{:016x} {text}\n", xxh3_64(text.as_bytes()))
}

/// The text of a line, if its checksum holds.
fn text_of(line: &[u8]) -> Option<&str> {
    let (sum, text) = (line.get(..PREFIX - 1)?, line.get(PREFIX..)?);
    let sum = u64::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    (xxh3_64(text) == sum).then(|| std::str::from_utf8(text).ok()).flatten()
}

/// Reads a file; returns where its last whole record ends.
fn read(folder: &Path, number: u64, is_last: bool, record: &mut impl FnMut(Position, &str)) -> Result<u64, JournalError> {
    let file = path(folder, number);
    let bytes = fs::read(&file).map_err(|cause| JournalError::Disk { folder: folder.to_owned(), cause })?;
    let mut end = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(text) = line.strip_suffix(b"\n").and_then(text_of) else {
            let rest = bytes.get(end + line.len()..).unwrap_or_default();
            // What a crash cut off stands at the end of the last file; a whole record after it was told to be kept.
            let whole_after = rest.split(|byte| *byte == b'\n').any(|line| text_of(line).is_some());
            if is_last && !whole_after {
                tracing::warn!(file = %file.display(), offset = end, "the end of the queue was cut off by a crash; it was never accepted");
                break;
            }
            return Err(JournalError::Damaged { file, offset: end as u64 });
        };
        record(Position { file: number, offset: end as u64, length: line.len() }, text);
        end += line.len();
    }
    Ok(end as u64)
}
