//! Zip archives by ranges: the directory at the end, then the members that are wanted.
//!
//! After PKWARE's APPNOTE 6.3.10, zip64 included; archives in several volumes are refused. Invariant: nothing is taken from an
//! archive but what its central directory names, and nothing outside of the archive's bytes is ever asked for.

mod directory;

use std::ops::Range;

use super::super::{ErrorKind, StoreError};
use super::packing::{Packing, Promise};

pub(super) use directory::{Directory, read};

/// Length of a member's own header, without name and extras (APPNOTE §4.3.7).
pub(super) const LOCAL: u64 = 30;

/// A member, as the directory tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    length: u64,
    /// Where its own header begins.
    offset: u64,
    /// Another member has the same name.
    ambiguous: bool,
}

impl Entry {
    /// What it unpacks to.
    pub(super) fn promise(&self) -> Promise {
        Promise { length: self.length, crc: self.crc }
    }

    /// Its CRC-32.
    pub(super) fn crc(&self) -> u32 {
        self.crc
    }

    /// Its length in the archive.
    pub(super) fn packed(&self) -> u64 {
        self.packed
    }

    /// Where its own header begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// How it is packed; `None` if it is stored as it is.
    ///
    /// # Errors
    /// `Other` for an encrypted member or a method that is not read.
    pub(super) fn packing(&self, name: &str) -> Result<Option<Packing>, StoreError> {
        let refuse = |what: String| {
            Err(StoreError::new(ErrorKind::Other, name, format!("{what}; unpack the archive yourself and use what is in it")))
        };
        if self.flags & 0x2041 != 0 || self.method == 99 {
            return refuse("this member is encrypted, which is not read".to_owned());
        }
        if self.ambiguous {
            return refuse("the archive holds two members of this name".to_owned());
        }
        match self.method {
            0 => Ok(None),
            8 => Ok(Some(Packing::Deflate)),
            12 => Ok(Some(Packing::Bzip2)),
            20 | 93 => Ok(Some(Packing::Zstd)),
            other => refuse(format!("this member is packed by {}, which is not read", method(other))),
        }
    }

    /// Where its bytes are, told by its own header, which must agree with the directory.
    ///
    /// # Errors
    /// `Integrity` if it does not, or if the archive ends before the member.
    pub(super) fn place(&self, name: &str, header: &[u8], archive: u64) -> Result<Range<u64>, StoreError> {
        let wrong = |what: &str| StoreError::new(ErrorKind::Integrity, name, format!("{what}; the archive is damaged: fetch it anew"));
        let fields = Fields(header);
        if fields.u32(0) != Some(0x0403_4b50) {
            return Err(wrong("there is no member where the archive's directory says that it begins"));
        }
        if fields.u16(8) != Some(self.method) {
            return Err(wrong("the member's own header contradicts the archive's directory"));
        }
        let (Some(name_length), Some(extra)) = (fields.u16(26), fields.u16(28)) else {
            return Err(wrong("the member's own header is cut off"));
        };
        let start = self.offset.checked_add(LOCAL + u64::from(name_length) + u64::from(extra));
        let end = start.and_then(|start| start.checked_add(self.packed)).filter(|end| *end <= archive);
        match (start, end) {
            (Some(_), _) if self.method == 0 && self.packed != self.length => Err(wrong("a member that is not packed has two lengths")),
            (Some(start), Some(end)) => Ok(start..end),
            _ => Err(wrong("the archive ends before the member does")),
        }
    }
}

/// Names of methods (APPNOTE §4.4.5).
fn method(number: u16) -> String {
    let name = match number {
        1 => "shrinking",
        2..=5 => "reducing",
        6 => "imploding",
        9 => "Deflate64",
        14 => "LZMA",
        95 => "XZ",
        96 => "JPEG",
        97 => "WavPack",
        98 => "PPMd",
        _ => return format!("method {number}"),
    };
    format!("{name} (method {number})")
}

/// Little-endian numbers somewhere in some bytes; `None` beyond their end.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(self, at: usize, length: usize) -> Option<&'a [u8]> {
        self.0.get(at..at.checked_add(length)?)
    }

    fn u16(self, at: usize) -> Option<u16> {
        self.bytes(at, 2)?.try_into().ok().map(u16::from_le_bytes)
    }

    fn u32(self, at: usize) -> Option<u32> {
        self.bytes(at, 4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn u64(self, at: usize) -> Option<u64> {
        self.bytes(at, 8)?.try_into().ok().map(u64::from_le_bytes)
    }
}
