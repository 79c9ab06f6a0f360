//! Tar archives: their headers, one after the other.
//!
//! POSIX.1-2024 `pax` and `ustar`, and what GNU tar adds for long names. Invariant: a header whose checksum is wrong is no header,
//! and each step goes forward, so that a hostile archive ends too.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;

use super::super::{ErrorKind, StoreError};

/// Length of headers, and what members are filled up to.
const BLOCK: u64 = 512;

/// Longest name or pax header.
const LONGEST_NAME: u64 = 1 << 20;

/// Most members.
const MOST: usize = 500_000;

/// Reads ranges of the archive.
type Fetch<'a> = &'a dyn Fn(Range<u64>) -> Result<Bytes, StoreError>;

/// The members of an archive.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_name: HashMap<Box<str>, Member>,
    /// The end mark was there.
    ended: bool,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Member {
    /// A file and where its bytes are.
    File(Range<u64>),
    /// Something else, and what it is.
    Other(&'static str),
}

impl Members {
    /// Where the bytes of a member are; `None` if there is none of that name. Of several the last one counts, as tar itself does it.
    ///
    /// # Errors
    /// `Other` if it is no plain file, `Integrity` if it is not there and the archive is truncated.
    pub(super) fn get(&self, name: &str, member: &str) -> Result<Option<Range<u64>>, StoreError> {
        match self.by_name.get(plain(member)) {
            Some(Member::File(place)) => Ok(Some(place.clone())),
            Some(Member::Other(what)) => {
                let message = format!("this member is {what}, not a file; name the file that is meant");
                Err(StoreError::new(ErrorKind::Other, name, message))
            }
            None if self.ended => Ok(None),
            None => {
                let message = "there is no such member, and the end of the tar archive is missing: it is truncated; fetch it anew";
                Err(StoreError::new(ErrorKind::Integrity, name, message))
            }
        }
    }

    /// Length of a member that is a file.
    pub(super) fn length(&self, name: &str) -> Option<u64> {
        match self.by_name.get(name)? {
            Member::File(place) => place.end.checked_sub(place.start),
            Member::Other(_) => None,
        }
    }

    /// Names of the members that are files, sorted.
    pub(super) fn names(&self) -> Vec<&str> {
        let files = self.by_name.iter().filter(|(_, member)| matches!(member, Member::File(_)));
        let mut names: Vec<&str> = files.map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        names
    }
}

/// True if a file that begins like this is a tar archive.
pub(super) fn is_tar(start: &[u8]) -> bool {
    start.get(..BLOCK as usize).is_some_and(|block| Header(block).is_whole())
}

/// `./a` and `a` are one name to tar.
fn plain(name: &str) -> &str {
    let mut name = name;
    while let Some(rest) = name.strip_prefix("./") {
        name = rest;
    }
    name
}

/// Reads all headers of an archive of so many bytes.
///
/// # Errors
/// `Integrity` for an archive that is damaged or ends inside a member, `Other` for one with too many members; any error of `fetch`.
pub(super) fn read(name: &str, size: u64, fetch: Fetch<'_>) -> Result<Members, StoreError> {
    let wrong = |what: String| {
        StoreError::new(ErrorKind::Integrity, name, format!("{what}; the tar archive is truncated or damaged: fetch it anew"))
    };
    let (mut members, mut told, mut at) = (Members::default(), Told::default(), 0_u64);
    while at < size {
        let end = at.saturating_add(BLOCK);
        if end > size {
            return Err(wrong(format!("it ends inside the header at {at}")));
        }
        let block = fetch(at..end)?;
        let header = Header(&block);
        if header.0.iter().all(|&byte| byte == 0) {
            members.ended = true;
            break;
        }
        if !header.is_whole() {
            return Err(wrong(format!("the header at {at} is none")));
        }
        let told_length = told.length.filter(|_| matches!(header.kind(), Kind::Member(_)));
        let length = told_length.or_else(|| header.size()).ok_or_else(|| wrong(format!("the header at {at} tells no length")))?;
        let length = if header.has_bytes() { length } else { 0 };
        let place =
            end..end.checked_add(length).filter(|end| *end <= size).ok_or_else(|| wrong(format!("it ends inside the member at {at}")))?;
        at = place.end.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX);
        match header.kind() {
            Kind::Long | Kind::Extended if length > LONGEST_NAME => return Err(wrong(format!("the name at {} is too long", place.start))),
            Kind::Long => told.name = Some(text(fetch(place)?.split(|&byte| byte == 0).next().unwrap_or_default())),
            Kind::Extended => told.take(&fetch(place)?).ok_or_else(|| wrong("a pax header makes no sense".to_owned()))?,
            Kind::Ignored => {}
            Kind::Member(what) => members.add(std::mem::take(&mut told), &header, what, place),
        }
        if members.by_name.len() > MOST {
            return Err(StoreError::new(ErrorKind::Other, name, format!("the tar archive has more than {MOST} members; unpack it")));
        }
    }
    Ok(members)
}

impl Members {
    fn add(&mut self, told: Told, header: &Header<'_>, what: Option<&'static str>, place: Range<u64>) {
        let name = told.name.unwrap_or_else(|| header.name());
        let what = if told.sparse { Some("a sparse file") } else { what };
        let member = what.map_or(Member::File(place), Member::Other);
        self.by_name.insert(plain(&name).into(), member);
    }
}

/// What the headers before a member tell of it.
#[derive(Debug, Default)]
struct Told {
    name: Option<String>,
    length: Option<u64>,
    sparse: bool,
}

impl Told {
    /// Takes the records `length key=value\n` of a pax header; nothing if they are none.
    fn take(&mut self, mut records: &[u8]) -> Option<()> {
        while !records.is_empty() {
            let space = records.iter().position(|&byte| byte == b' ')?;
            let length: usize = std::str::from_utf8(records.get(..space)?).ok()?.parse().ok()?;
            let record = records.get(space + 1..length.checked_sub(1)?)?;
            let equals = record.iter().position(|&byte| byte == b'=')?;
            let (key, value) = (record.get(..equals)?, record.get(equals + 1..)?);
            match key {
                b"path" => self.name = Some(text(value)),
                b"size" => self.length = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
                key if key.starts_with(b"GNU.sparse") => self.sparse = true,
                _ => {}
            }
            records = records.get(length..)?;
        }
        Some(())
    }
}

/// What a header is for.
enum Kind {
    /// GNU: the name of the member that follows.
    Long,
    /// pax: what is to know of the member that follows.
    Extended,
    /// Nothing that matters here.
    Ignored,
    /// A member; what it is, if it is no file.
    Member(Option<&'static str>),
}

/// A header block.
struct Header<'a>(&'a [u8]);

impl Header<'_> {
    fn field(&self, range: Range<usize>) -> &[u8] {
        self.0.get(range).unwrap_or_default()
    }

    /// True if its checksum is right: the sum of its bytes, those of the checksum taken as spaces.
    fn is_whole(&self) -> bool {
        let sum: u64 = self.0.iter().enumerate().map(|(at, &byte)| if (148..156).contains(&at) { 32 } else { u64::from(byte) }).sum();
        octal(self.field(148..156)) == Some(sum) && self.0.len() as u64 == BLOCK
    }

    /// Length of what follows; in octal, or binary where that is too short (GNU).
    fn size(&self) -> Option<u64> {
        let field = self.field(124..136);
        match field.first()? {
            0x80 => field.get(4..).filter(|_| field.get(1..4) == Some(&[0; 3]))?.try_into().ok().map(u64::from_be_bytes),
            _ => octal(field),
        }
    }

    fn kind(&self) -> Kind {
        match self.0.get(156).copied().unwrap_or_default() {
            b'L' => Kind::Long,
            b'x' => Kind::Extended,
            b'g' | b'K' | b'V' => Kind::Ignored,
            b'1' => Kind::Member(Some("a hard link")),
            b'2' => Kind::Member(Some("a symbolic link")),
            b'3' | b'4' | b'6' => Kind::Member(Some("a device")),
            b'5' | b'D' => Kind::Member(Some("a folder")),
            b'S' | b'M' => Kind::Member(Some("a sparse file or a part of a file")),
            _ => Kind::Member(None),
        }
    }

    /// True if bytes follow it: links and folders may tell a length that is none.
    fn has_bytes(&self) -> bool {
        !matches!(self.0.get(156), Some(b'1'..=b'6'))
    }

    fn name(&self) -> String {
        let until_zero = |range| text(self.field(range).split(|&byte| byte == 0).next().unwrap_or_default());
        let (name, prefix) = (until_zero(0..100), until_zero(345..500));
        if self.field(257..263) == b"ustar\0" && !prefix.is_empty() { format!("{prefix}/{name}") } else { name }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn octal(field: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(digits, 8).ok()
}
