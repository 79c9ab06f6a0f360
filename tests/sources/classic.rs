//! Classic files made here byte by byte: the versions and special cases that the shared files lack.

use gristmill::array::Array;
use gristmill::grid::Region;
use gristmill::source::{self, SourceError, fetch};

use crate::local::Local;

/// A classic file with dimensions `t` (records) and `x` = 3, and record variables of the given types, each over (t, x).
struct Classic {
    version: u8,
    /// What the header says; `None`: streaming.
    records: Option<u64>,
    /// (type number, bytes per element)
    variables: Vec<(u32, u64)>,
}

impl Classic {
    fn count(&self, value: u64) -> Vec<u8> {
        if self.version == 5 { value.to_be_bytes().to_vec() } else { (value as u32).to_be_bytes().to_vec() }
    }

    fn name(&self, name: &str) -> Vec<u8> {
        let mut bytes = self.count(name.len() as u64);
        bytes.extend(name.bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn list(&self, tag: u32, items: &[Vec<u8>]) -> Vec<u8> {
        [tag.to_be_bytes().to_vec(), self.count(items.len() as u64), items.concat()].concat()
    }

    /// The header, and the offset of each variable when the data begins at `begin`.
    fn header(&self, begin: u64) -> Vec<u8> {
        let streaming = if self.version == 5 { u64::MAX } else { u64::from(u32::MAX) };
        let dimensions = [("t", 0), ("x", 3)].map(|(name, length)| [self.name(name), self.count(length)].concat());
        let mut offset = begin;
        let mut variables = Vec::new();
        for (number, &(kind, item)) in self.variables.iter().enumerate() {
            let size = (3 * item).next_multiple_of(4);
            let place = if self.version == 1 { (offset as u32).to_be_bytes().to_vec() } else { offset.to_be_bytes().to_vec() };
            let axes = [self.count(2), self.count(0), self.count(1)].concat();
            variables.push(
                [self.name(&format!("v{number}")), axes, self.list(0, &[]), kind.to_be_bytes().to_vec(), self.count(size), place].concat(),
            );
            offset += size;
        }
        let magic = vec![b'C', b'D', b'F', self.version];
        let records = self.count(self.records.unwrap_or(streaming));
        [magic, records, self.list(10, &dimensions), self.list(0, &[]), self.list(11, &variables)].concat()
    }

    /// The file with `records` records; byte k of the data is k.
    fn file(&self, records: u64) -> Vec<u8> {
        let begin = self.header(0).len() as u64;
        let sizes: Vec<u64> = self.variables.iter().map(|(_, item)| 3 * item).collect();
        let record: u64 = if sizes.len() == 1 { sizes[0] } else { sizes.iter().map(|size| size.next_multiple_of(4)).sum() };
        let mut bytes = self.header(begin);
        bytes.extend((0..record * records).map(|at| at as u8));
        bytes
    }
}

fn ours(bytes: Vec<u8>, name: &str) -> Result<Array, SourceError> {
    let store = Local::bytes(bytes);
    let source = source::open(&store, "file")?;
    let region = Region::whole(&source.schema().shape(source.schema().variable(name).unwrap()));
    fetch::read_stored(store.as_ref(), "file", name, &source.stored(name)?, &region)
}

fn theirs(bytes: Vec<u8>, name: &str) -> Result<Array, SourceError> {
    let source = source::open(&Local::bytes(bytes), "file")?;
    source.read(name, &Region::whole(&source.schema().shape(source.schema().variable(name).unwrap())))
}

#[test]
fn every_version_and_type_agrees_with_the_library() {
    let narrow = vec![(1, 1), (3, 2), (4, 4), (5, 4), (6, 8)];
    let wide = vec![(1, 1), (3, 2), (4, 4), (5, 4), (6, 8), (7, 1), (8, 2), (9, 4), (10, 8), (11, 8)];
    for (version, variables) in [(1, narrow.clone()), (2, narrow), (5, wide)] {
        let counted = Classic { version, records: Some(4), variables: variables.clone() };
        // The library does not know that CDF-5 may stream, so both are compared with the counted file.
        let streaming = Classic { version, records: None, variables: variables.clone() };
        for number in 0..variables.len() {
            let name = format!("v{number}");
            let expected = theirs(counted.file(4), &name).unwrap();
            assert_eq!(expected.shape, [4, 3]);
            assert_eq!(ours(counted.file(4), &name).unwrap(), expected, "version {version}, {name}");
            assert_eq!(ours(streaming.file(4), &name).unwrap(), expected, "version {version}, {name}, streaming");
        }
    }
}

#[test]
fn a_single_record_variable_is_not_padded() {
    let classic = Classic { version: 1, records: Some(3), variables: vec![(1, 1)] };
    let values = ours(classic.file(3), "v0").unwrap();
    assert_eq!(values.bytes(), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(values, theirs(classic.file(3), "v0").unwrap());
}

#[test]
fn one_byte_less_than_the_header_says_is_refused() {
    let classic = Classic { version: 2, records: Some(5), variables: vec![(3, 2), (6, 8)] };
    let mut bytes = classic.file(5);
    assert!(ours(bytes.clone(), "v1").is_ok());
    bytes.pop();
    let error = ours(bytes, "v1").unwrap_err().to_string();
    assert!(error.starts_with("file: truncated: its header describes"), "{error}");
}
