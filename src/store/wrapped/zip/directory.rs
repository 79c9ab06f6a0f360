//! The central directory of a zip archive.
//!
//! Read from the end: the end record, behind it what zip64 adds, then the directory in one piece. Invariant: at most
//! [`LONGEST`] bytes are read for it, whatever the archive claims.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::ops::Range;

use bytes::Bytes;

use super::super::super::{ErrorKind, StoreError};
use super::{Entry, Fields};

/// The end record without its comment (APPNOTE §4.3.16), zip64's locator (§4.3.15) and zip64's end record (§4.3.14).
const END: usize = 22;
const LOCATOR: usize = 20;
const END64: usize = 56;

/// Longest comment.
const COMMENT: usize = u16::MAX as usize;

/// Longest directory: some hundred thousand members.
const LONGEST: u64 = 32 << 20;

/// Reads ranges of the archive.
type Fetch<'a> = &'a dyn Fn(Range<u64>) -> Result<Bytes, StoreError>;

/// The members of an archive by name.
#[derive(Debug, Default)]
pub(in super::super) struct Directory {
    members: HashMap<Box<str>, Entry>,
}

impl Directory {
    /// The member of that name.
    pub(in super::super) fn get(&self, name: &str) -> Option<&Entry> {
        self.members.get(name)
    }

    /// Names of the members that are files, sorted.
    pub(in super::super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.members.keys().map(AsRef::as_ref).filter(|name| !name.ends_with('/')).collect();
        names.sort_unstable();
        names
    }
}

/// Reads the directory of an archive of so many bytes.
///
/// # Errors
/// `Integrity` if there is none (the archive is truncated) or it is damaged, `Other` for several volumes and for a directory that is
/// too long; any error of `fetch`.
pub(in super::super) fn read(name: &str, size: u64, fetch: Fetch<'_>) -> Result<Directory, StoreError> {
    let wrong =
        |what: &str| StoreError::new(ErrorKind::Integrity, name, format!("{what}; the zip archive is truncated or damaged: fetch it anew"));
    let tail_start = size.saturating_sub((END + COMMENT + LOCATOR + END64) as u64);
    let tail = fetch(tail_start..size)?;
    let (at, end) = find_end(&tail).ok_or_else(|| wrong("its directory is missing at its end"))?;
    let end = match end.zip64(Fields(&tail), at) {
        None => end,
        Some(offset) => end64(tail_start, &tail, size, offset, fetch)?.ok_or_else(|| wrong("its zip64 directory is missing at its end"))?,
    };
    if end.volume {
        let message = "the zip archive is in several volumes, which is not read; join them first";
        return Err(StoreError::new(ErrorKind::Other, name, message));
    }
    if end.length > LONGEST {
        let message = "the zip archive's directory is longer than 32 MiB; split the archive, or unpack it";
        return Err(StoreError::new(ErrorKind::Other, name, message));
    }
    // What was put before an archive later (a program that unpacks it) shifts all that its numbers say.
    let behind = end.at.unwrap_or(tail_start + at as u64);
    let shift = end
        .offset
        .checked_add(end.length)
        .and_then(|told| behind.checked_sub(told))
        .ok_or_else(|| wrong("its directory lies behind its end"))?;
    let place = end.offset + shift..end.offset + shift + end.length;
    let bytes = match place.start.checked_sub(tail_start) {
        Some(start) => tail.slice(start as usize..(start + end.length) as usize),
        None => fetch(place)?,
    };
    parse(&bytes, shift, end.members).ok_or_else(|| wrong("its directory makes no sense"))
}

/// What the end record says.
#[derive(Debug, Clone, Copy)]
struct End {
    volume: bool,
    members: u64,
    length: u64,
    offset: u64,
    /// Where zip64's end record is, if that is what said it.
    at: Option<u64>,
}

/// The last end record whose comment reaches to the end, and where it is.
fn find_end(tail: &[u8]) -> Option<(usize, End)> {
    let last = tail.len().checked_sub(END)?;
    let is_end = |at: &usize| {
        let fields = Fields(tail);
        fields.u32(*at) == Some(0x0605_4b50) && fields.u16(at + 20).is_some_and(|comment| at + END + usize::from(comment) == tail.len())
    };
    let at = (0..=last).rev().find(is_end)?;
    let fields = Fields(tail.get(at..)?);
    let volume = fields.u16(4)? != 0 && fields.u16(4)? != u16::MAX;
    let (length, offset) = (u64::from(fields.u32(12)?), u64::from(fields.u32(16)?));
    Some((at, End { volume, members: u64::from(fields.u16(10)?), length, offset, at: None }))
}

impl End {
    /// Where zip64's end record is told to be, if there is one.
    fn zip64(&self, tail: Fields<'_>, at: usize) -> Option<u64> {
        let locator = at.checked_sub(LOCATOR)?;
        let full = self.members == u64::from(u16::MAX) || self.length == u64::from(u32::MAX) || self.offset == u64::from(u32::MAX);
        if tail.u32(locator)? == 0x0706_4b50 && full { tail.u64(locator + 8) } else { None }
    }
}

/// Zip64's end record; nothing if it is not where it is told to be.
fn end64(tail_start: u64, tail: &Bytes, size: u64, offset: u64, fetch: Fetch<'_>) -> Result<Option<End>, StoreError> {
    let Some(last) = size.checked_sub(END64 as u64).filter(|last| offset <= *last) else { return Ok(None) };
    let record = match offset.checked_sub(tail_start) {
        Some(start) => tail.slice(start as usize..),
        None => fetch(offset..offset.min(last) + END64 as u64)?,
    };
    let fields = Fields(&record);
    let read = || {
        let known = fields.u32(0)? == 0x0606_4b50;
        let end = End {
            volume: fields.u32(16)? != 0,
            members: fields.u64(32)?,
            length: fields.u64(40)?,
            offset: fields.u64(48)?,
            at: Some(offset),
        };
        known.then_some(end)
    };
    Ok(read())
}

/// All members; nothing if they are not what the end record says.
fn parse(mut bytes: &[u8], shift: u64, members: u64) -> Option<Directory> {
    let mut directory = Directory::default();
    let mut found = 0_u64;
    while !bytes.is_empty() {
        let (name, entry, length) = header(Fields(bytes), shift)?;
        match directory.members.entry(name) {
            Slot::Occupied(mut known) => known.get_mut().ambiguous = true,
            Slot::Vacant(free) => drop(free.insert(entry)),
        }
        bytes = bytes.get(length..)?;
        found += 1;
    }
    // Without zip64 some programs count more than 65,535 members modulo 65,536.
    (found == members || found & 0xffff == members).then_some(directory)
}

/// One member's header in the directory (APPNOTE §4.3.12), and how long that is.
fn header(fields: Fields<'_>, shift: u64) -> Option<(Box<str>, Entry, usize)> {
    if fields.u32(0)? != 0x0201_4b50 {
        return None;
    }
    let [name, extra, comment] = [28, 30, 32].map(|at| fields.u16(at).map(usize::from));
    let (name, extra, comment) = (name?, extra?, comment?);
    let mut entry = Entry {
        flags: fields.u16(8)?,
        method: fields.u16(10)?,
        crc: fields.u32(16)?,
        packed: u64::from(fields.u32(20)?),
        length: u64::from(fields.u32(24)?),
        offset: u64::from(fields.u32(42)?),
        ambiguous: false,
    };
    widen(&mut entry, fields.bytes(46 + name, extra)?)?;
    entry.offset = entry.offset.checked_add(shift)?;
    let length = 46 + name + extra + comment;
    let name = String::from_utf8_lossy(fields.bytes(46, name)?).into_owned().into_boxed_str();
    Some((name, entry, length))
}

/// Takes the numbers that did not fit from the zip64 extra field (APPNOTE §4.5.3): only those are in it, in this order.
fn widen(entry: &mut Entry, mut extras: &[u8]) -> Option<()> {
    let full = u64::from(u32::MAX);
    let mut wanted: Vec<&mut u64> =
        [&mut entry.length, &mut entry.packed, &mut entry.offset].into_iter().filter(|value| **value == full).collect();
    while !wanted.is_empty() && extras.len() >= 4 {
        let fields = Fields(extras);
        let (kind, length) = (fields.u16(0)?, usize::from(fields.u16(2)?));
        if kind == 1 {
            let mut at = 4;
            for value in wanted.drain(..) {
                *value = Fields(extras.get(..4 + length)?).u64(at)?;
                at += 8;
            }
        }
        extras = extras.get(4 + length..)?;
    }
    Some(())
}
