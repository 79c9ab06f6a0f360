//! Source files: headers, indexes, values.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use gristmill::array::DataType;
use gristmill::grid::{Region, elements};
use gristmill::layout::{ChunkTable, Layout};
use gristmill::source::ceiling::Ceiling;
use gristmill::source::{self, Source, SourceError, fetch};
use gristmill::store::{ErrorKind, Head, SourceStore, StoreError};

/// Memory that the process is said to have: no claim of a file may take more than a quarter of it.
const MEMORY: u64 = 128 << 20;
/// Most elements that are read of a variable, and most variables.
const ELEMENTS: u64 = 1 << 12;
const VARIABLES: usize = 32;

/// A store of one file.
struct One(Bytes);

impl One {
    fn part(&self, range: &Range<u64>) -> Result<Bytes, StoreError> {
        let inside = range.start <= range.end && range.end <= self.0.len() as u64;
        let part = || self.0.slice(range.start as usize..range.end as usize);
        inside.then(part).ok_or_else(|| StoreError::new(ErrorKind::Integrity, "file", "the file is shorter"))
    }
}

impl SourceStore for One {
    fn head(&self, _url: &str) -> Result<Head, StoreError> {
        Ok(Head { size: Some(self.0.len() as u64), ..Head::default() })
    }

    fn ranges(&self, _url: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        ranges.iter().map(|range| self.part(range)).collect()
    }

    fn stream(&self, url: &str, sink: &mut dyn Write) -> Result<u64, StoreError> {
        sink.write_all(&self.0).map(|()| self.0.len() as u64).map_err(|_| StoreError::new(ErrorKind::Other, url, "no room"))
    }

    fn is_local(&self, _url: &str) -> bool {
        true
    }
}

/// A classic file.
pub(crate) fn netcdf3(bytes: &[u8]) {
    if bytes.starts_with(b"CDF") {
        look(bytes.to_vec());
    }
}

/// An HDF5 file whose checksums, which would stop nearly every change at once, are made right again.
pub(crate) fn hdf5(bytes: &[u8]) {
    if bytes.starts_with(b"\x89HDF\r\n\x1a\n") {
        let mut bytes = bytes.to_vec();
        mend(&mut bytes);
        look(bytes);
    }
}

/// Opens a file and reads a little of everything, both ways.
fn look(bytes: Vec<u8>) {
    let size = bytes.len() as u64;
    let store: Arc<dyn SourceStore> = Arc::new(One(Bytes::from(bytes)));
    let (head, start) = store.begin("file").unwrap();
    let ceiling = Ceiling::of_memory(MEMORY);
    let source = match source::open_begun(&store, "file", (&head, start), ceiling) {
        Ok(source) => source,
        Err(error) => return says(&error),
    };
    for variable in source.schema().variables.iter().take(VARIABLES) {
        let shape = source.schema().shape(variable);
        let region = corner(&shape);
        if let Err(error) = source.read(&variable.name, &region) {
            says(&error);
        }
        let stored = match source.stored(&variable.name) {
            Ok(stored) => stored,
            Err(error) => return says(&error),
        };
        assert!(stored.dtype == variable.dtype);
        if let Layout::Chunked(table) = &stored.layout {
            check(table, size);
        }
        if variable.dtype == DataType::String {
            continue;
        }
        match fetch::read_stored_within(&*store, "file", &variable.name, (&stored, &region), ceiling) {
            Ok(values) => assert!(values.shape == region.shape && values.dtype == variable.dtype),
            Err(error) => says(&error),
        }
    }
    describe(&*source);
}

/// The box at the origin with few elements.
fn corner(shape: &[u64]) -> Region {
    let mut lengths = shape.to_vec();
    for axis in 0..lengths.len() {
        let others = elements(&lengths) / lengths[axis].max(1);
        lengths[axis] = lengths[axis].min((ELEMENTS / others.max(1)).max(1));
    }
    Region::new(vec![0; shape.len()], lengths)
}

/// Every chunk lies in the file, and there is one entry for each.
fn check(table: &ChunkTable, size: u64) {
    assert_eq!(table.entries.len() as u64, table.grid.chunks());
    let inside = |offset: u64, length: u32| offset.checked_add(u64::from(length)).is_some_and(|end| end <= size);
    assert!(table.entries.iter().all(|entry| entry.is_unwritten() || inside(entry.offset, entry.length)));
}

/// Whoever sees an error must learn which file it is about.
fn says(error: &SourceError) {
    assert!(error.to_string().starts_with("file: "), "{error}");
    assert!(matches!(error.code().exit(), 3 | 8), "{error}");
}

fn describe(source: &dyn Source) {
    let description = gristmill::run::inspect::describe(source);
    serde_json::to_vec(&description).unwrap();
    assert!(gristmill::run::inspect::render("file", &description).starts_with("file ("));
}

/// Puts the right checksums behind the structures whose lengths can be told from themselves (HDF5 spec, offsets and lengths of 8 bytes).
fn mend(bytes: &mut [u8]) {
    let fixed: [(&[u8], usize); 5] = [(b"\x89HDF\r\n\x1a\n", 44), (b"BTHD", 34), (b"FRHP", 142), (b"FAHD", 24), (b"EAHD", 68)];
    for at in 0..bytes.len() {
        let rest = &bytes[at..];
        let length = match fixed.iter().find(|(signature, _)| rest.starts_with(signature)) {
            // Superblocks before version 2 have no checksum.
            Some((signature, _)) if signature.len() == 8 && rest.get(8).is_none_or(|&version| version < 2) => None,
            Some((_, length)) => Some(*length),
            None if rest.starts_with(b"OHDR\x02") => header_length(rest),
            None => None,
        };
        let Some(end) = length.and_then(|length| at.checked_add(length)).filter(|&end| end + 4 <= bytes.len()) else { continue };
        let checksum = hdf5_reader::checksum::jenkins_lookup3(&bytes[at..end]);
        bytes[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// Bytes of an object header of version 2 before its checksum.
fn header_length(bytes: &[u8]) -> Option<usize> {
    let flags = *bytes.get(5)?;
    let start = 6 + if flags & 0x20 != 0 { 16 } else { 0 } + if flags & 0x10 != 0 { 4 } else { 0 };
    let width = 1 << (flags & 3);
    let length = bytes.get(start..start + width)?.iter().rev().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    usize::try_from(length).ok()?.checked_add(start + width)
}
