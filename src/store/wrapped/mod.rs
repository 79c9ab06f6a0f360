//! Packed files and members of archives, read as if they lay there plainly.
//!
//! Around the store of all schemes. `.gz`, `.bz2` and `.zst`, told by their first bytes, are unpacked once into the spool; `URL!member`
//! is a member of a zip (read by range, its directory once) or of a tar, packed or not. Not for formats: what comes out is bytes.
//! Invariant: a member's name never becomes a path, and what was unpacked was whole, or it is an error.

mod address;
mod blocks;
mod file;
mod packing;
mod tar;
mod zip;

use std::collections::HashMap;
use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::access::{Access, CacheUse};
use super::spool::{Content, Part, Spool, Spooled};
use super::{Archives, ErrorKind, Head, Member, START, SourceStore, StoreError, dap, merge};
use address::named;
use blocks::Blocks;
use file::{Body, File, Index};
use packing::{Limits, Packed, Packing};

/// Beyond a member's own header and name: extras that most archives have.
const EXTRAS: u64 = 128;

/// How zip archives begin.
const ZIP: &[u8] = b"PK\x03\x04";

/// Members that a message names.
const NAMED: usize = 5;

/// Files begun: what they are and, if they were read just now, their first bytes.
type Begun = (Arc<File>, Bytes);

/// Packed files and members of archives, through a store that knows of neither.
pub(super) struct Wrapped {
    below: Arc<dyn SourceStore>,
    spool: Arc<Spool>,
    limits: Limits,
    /// Every file is copied into the operator's cache, up to so many bytes.
    copies: bool,
    most_copied: u64,
    /// Packed files, members and archives by address.
    known: Mutex<HashMap<String, Arc<File>>>,
}

impl Wrapped {
    /// Around a store, with the operator's limits.
    pub(super) fn around(below: Arc<dyn SourceStore>, access: &Access) -> Self {
        let limits = Limits { most: access.spool_limit.0, ratio: access.unpack_ratio };
        let (copies, most_copied) = (access.cache == CacheUse::All, access.cache_limit.0);
        let spool = access.spool.of(access);
        Self { below, spool, limits, copies, most_copied, known: Mutex::default() }
    }

    /// The file at an address, known or begun now.
    fn open(&self, url: &str) -> Result<Begun, StoreError> {
        if let Some(file) = self.recall(url) {
            return Ok((file, Bytes::new()));
        }
        let (file, start) = if let Some((archive, member)) = address::split(url)? {
            self.open_member(url, archive, member)?
        } else {
            let (head, start) = self.below.begin(url)?;
            (Arc::new(self.stored(url, &head, Packing::of(&start).is_some())?), start)
        };
        let (file, start) = self.unpacked(url, file, start)?;
        Ok((self.remember(url, file), start))
    }

    /// A file as it is, or what it unpacks to, if its first bytes say that it is packed.
    fn unpacked(&self, url: &str, file: Arc<File>, start: Bytes) -> Result<Begun, StoreError> {
        let Some(packing) = Packing::of(&start) else { return Ok((file, start)) };
        let stored = file.head.stored.or(Some(file.length));
        let head = Head { stored, ..file.head.clone() };
        let told = file.told.clone();
        let unpacked = self.unpack(url, Arc::clone(&file), (packing, None), (head, told), &start)?;
        if let Body::Copied { content, .. } = &file.body {
            self.spool.discard(content);
        }
        Ok((Arc::new(unpacked), Bytes::new()))
    }

    /// Unpacks a file into the spool now; its head lacks the size only.
    fn unpack(
        &self,
        url: &str,
        of: Arc<File>,
        (packing, promise): (Packing, Option<packing::Promise>),
        (head, told): (Head, Head),
        start: &Bytes,
    ) -> Result<File, StoreError> {
        // A member may be packed in itself as well, in the same way as its archive packs it.
        let how = if promise.is_some() { format!("member of an archive, {}", packing.name()) } else { packing.name().to_owned() };
        let content = Content::new(url, named(url), &how, &head);
        let mut file = File::new(head, told, 0, Body::Unpacked { of, packing, promise, content });
        file.length = self.spooled(&named(url), &file, start)?.map_or(0, |spooled| spooled.length());
        file.head.size = Some(file.length);
        Ok(file)
    }

    /// A file's own place in the spool, made now if need be; nothing for one that lies elsewhere.
    fn spooled(&self, name: &str, file: &File, start: &Bytes) -> Result<Option<Arc<Spooled>>, StoreError> {
        match &file.body {
            Body::Stored(_) | Body::Part { .. } => Ok(None),
            Body::Unpacked { of, packing, promise, content } => {
                let make = |part: &mut Part| {
                    let input = Blocks::new(self, name, of, start.clone());
                    Packed { name, packing: *packing, input, length: of.length, promise: *promise }.unpack(self.limits, part)
                };
                self.spool.file(content, make).map(Some)
            }
            Body::Copied { of, content } => {
                let make = |part: &mut Part| {
                    let start = if part.length() == 0 { start.clone() } else { Bytes::new() };
                    let mut input = Blocks::new(self, name, of, start);
                    input.skip(part.length());
                    std::io::copy(&mut input, part).map(drop).map_err(|error| packing::told(name, error))
                };
                self.spool.file(content, make).map(Some)
            }
        }
    }

    /// A file as the store below has it; or a copy of it in the cache, if the operator wants one or it must be read whole.
    fn stored(&self, url: &str, head: &Head, whole: bool) -> Result<File, StoreError> {
        let length = head.size.ok_or_else(|| no_length(url))?;
        let stored = File::stored(url, head, length);
        let content = Content::new(url, named(url), "as stored", head).resumable();
        let wanted = self.copies || (whole && self.spool.is_lasting());
        if !wanted || !content.is_lasting() || self.below.is_local(url) || length > self.most_copied {
            return Ok(stored);
        }
        Ok(File::new(head.clone(), head.clone(), length, Body::Copied { of: Arc::new(stored), content }))
    }

    /// Ranges of a file, which must lie inside.
    fn read(&self, name: &str, file: &File, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        match &file.body {
            Body::Stored(url) => self.below.ranges(url, ranges),
            Body::Part { of, offset, .. } => self.read(name, of, &File::shifted(ranges, *offset)),
            Body::Unpacked { .. } | Body::Copied { .. } => match self.spooled(name, file, &Bytes::new())? {
                Some(spooled) => {
                    merge::check(name, ranges, spooled.length())?;
                    ranges.iter().map(|range| spooled.read(name, range)).collect()
                }
                None => Ok(Vec::new()),
            },
        }
    }

    /// One range of a file.
    fn read_one(&self, name: &str, file: &File, range: Range<u64>) -> Result<Bytes, StoreError> {
        merge::check(name, std::slice::from_ref(&range), file.length)?;
        Ok(self.read(name, file, std::slice::from_ref(&range))?.pop().unwrap_or_default())
    }

    /// The first bytes of a file.
    fn start(&self, name: &str, file: &File) -> Result<Bytes, StoreError> {
        self.read_one(name, file, 0..file.length.min(START))
    }

    /// An archive and what it holds.
    fn archive(&self, url: &str) -> Result<(Arc<File>, Arc<Index>), StoreError> {
        let (archive, start) = match self.recall(url) {
            Some(archive) => (archive, Bytes::new()),
            // A zip's first bytes tell nothing: its directory is at its end.
            None if address::says_zip(url) && address::split(url)?.is_none() => {
                let head = self.below.head(url)?;
                (self.remember(url, self.stored(url, &head, false)?.into()), Bytes::from_static(ZIP))
            }
            None => self.open(url)?,
        };
        let index = archive.index(|| self.index(&named(url), &archive, start))?;
        Ok((archive, index))
    }

    fn index(&self, name: &str, archive: &File, start: Bytes) -> Result<Index, StoreError> {
        let start = if start.is_empty() { self.start(name, archive)? } else { start };
        if is_zip(&start) {
            let fetch = |range: Range<u64>| self.read_one(name, archive, range);
            return zip::read(name, archive.length, &fetch).map(Index::Zip);
        }
        if tar::is_tar(&start) {
            let near = Mutex::new((0_u64, start));
            let fetch = |range: Range<u64>| self.nearby(name, archive, &near, range);
            return tar::read(name, archive.length, &fetch).map(Index::Tar);
        }
        let message = "this is neither a zip nor a tar archive, so it has no members; check what the URL gives";
        Err(StoreError::new(ErrorKind::Integrity, name, message))
    }

    /// A range out of the last block that was read, or of the next one.
    fn nearby(&self, name: &str, archive: &File, near: &Mutex<(u64, Bytes)>, range: Range<u64>) -> Result<Bytes, StoreError> {
        let mut near = near.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = |near: &(u64, Bytes)| {
            let from = range.start.checked_sub(near.0)? as usize;
            let to = range.end.checked_sub(near.0)? as usize;
            (to <= near.1.len()).then(|| near.1.slice(from..to))
        };
        if let Some(bytes) = inside(&near) {
            return Ok(bytes);
        }
        let end = range.end.max(archive.length.min(range.start.saturating_add(START)));
        *near = (range.start, self.read_one(name, archive, range.start..end)?);
        Ok(inside(&near).unwrap_or_default())
    }

    /// A member of an archive, its packed zip form unpacked.
    fn open_member(&self, url: &str, archive: &str, member: &str) -> Result<Begun, StoreError> {
        let name = named(url);
        let (archive, index) = self.archive(archive).map_err(|error| StoreError { url: name.clone(), ..error })?;
        let head = member_head(&name, &archive, &index, member)?;
        match &*index {
            Index::Tar(members) => {
                let place = members.get(&name, member)?.ok_or_else(|| no_member(&name, &index))?;
                let length = place.end - place.start;
                let body = Body::Part { of: Arc::clone(&archive), offset: place.start, promise: None };
                let file = File::new(Head { size: Some(length), ..head }, archive.told.clone(), length, body);
                let start = self.start(&name, &file)?;
                Ok((Arc::new(file), start))
            }
            Index::Zip(directory) => {
                let entry = directory.get(member).ok_or_else(|| no_member(&name, &index))?;
                let packing = entry.packing(&name)?;
                let most = entry.offset().saturating_add(zip::LOCAL + member.len() as u64 + EXTRAS + entry.packed().min(START));
                let begun = self.read_one(&name, &archive, entry.offset()..most.min(archive.length).max(entry.offset()))?;
                let place = entry.place(&name, &begun, archive.length)?;
                let length = place.end - place.start;
                let start = begun.slice(begun.len().min((place.start - entry.offset()) as usize)..);
                let start = start.slice(..start.len().min(length.min(START) as usize));
                let promise = Some(entry.promise());
                let plain = packing.is_none();
                let body = Body::Part { of: Arc::clone(&archive), offset: place.start, promise: promise.filter(|_| plain) };
                let part = Arc::new(File::new(head.clone(), archive.told.clone(), length, body));
                let Some(packing) = packing else {
                    let whole = start.len() as u64 == length.min(START);
                    let start = if whole { start } else { self.start(&name, &part)? };
                    return Ok((part, start));
                };
                let file = self.unpack(url, part, (packing, promise), (head, archive.told.clone()), &start)?;
                let start = self.start(&name, &file)?;
                Ok((Arc::new(file), start))
            }
        }
    }

    /// The file at an address, unless it is one that the store below reads as well.
    fn lookup(&self, url: &str) -> Result<Option<Arc<File>>, StoreError> {
        let known = self.recall(url);
        if known.is_some() || !(address::says_packed(url) || address::split(url)?.is_some()) {
            return Ok(known);
        }
        self.open(url).map(|(file, _)| Some(file))
    }

    fn recall(&self, url: &str) -> Option<Arc<File>> {
        self.lock().get(url).cloned()
    }

    /// Remembers a file, unless somebody else was faster.
    fn remember(&self, url: &str, file: Arc<File>) -> Arc<File> {
        Arc::clone(self.lock().entry(url.to_owned()).or_insert(file))
    }

    /// Forgets a file and all that was found in it.
    fn forget(&self, url: &str) {
        self.lock().retain(|known, _| known.strip_prefix(url).is_none_or(|rest| !rest.is_empty() && !rest.starts_with('!')));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<File>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses an archive that is read as if it were a file, saying what it holds.
    fn refuse_archive(&self, url: &str) -> StoreError {
        match self.archive(url) {
            Ok((_, index)) => {
                let names = index.names();
                let first = names.first().copied().unwrap_or("member.nc");
                let listed: Vec<String> = names.iter().take(NAMED).map(|name| format!("`{}`", super::error::printable(name))).collect();
                let more = if names.len() > NAMED { ", …" } else { "" };
                let (count, name) = (names.len(), named(url));
                let first = super::error::printable(first);
                let message = format!(
                    "this is an archive of {count} files ({}{more}); name the one that is meant: `{name}!{first}`",
                    listed.join(", ")
                );
                StoreError::new(ErrorKind::Other, &named(url), message)
            }
            Err(error) => error,
        }
    }
}

/// What is said of a member, as far as the archive alone tells.
fn member_head(name: &str, archive: &File, index: &Index, member: &str) -> Result<Head, StoreError> {
    let Index::Zip(directory) = index else {
        return Ok(Head { size: None, stored: Some(0), ..archive.head.clone() });
    };
    let entry = directory.get(member).ok_or_else(|| no_member(name, index))?;
    let crc = format!("crc32:{:08x}", entry.crc());
    let etag = match &archive.head {
        Head { etag: Some(etag), .. } => Some(format!("{etag} {crc}")),
        // Without anything that tells one archive from the next nothing is known of its members either.
        Head { modified: None, .. } => None,
        Head { .. } => Some(crc),
    };
    Ok(Head { size: Some(entry.promise().length), etag, modified: archive.head.modified.clone(), stored: None })
}

fn is_zip(start: &[u8]) -> bool {
    start.starts_with(ZIP) || start.starts_with(b"PK\x05\x06")
}

fn no_length(url: &str) -> StoreError {
    StoreError::new(ErrorKind::Other, url, "the server does not tell the size of the file; download it and use the local file")
}

fn no_member(name: &str, index: &Index) -> StoreError {
    let names = index.names();
    let listed: Vec<String> = names.iter().take(NAMED).map(|name| format!("`{}`", super::error::printable(name))).collect();
    let more = if names.len() > NAMED { ", …" } else { "" };
    let message = format!("the archive has no such member; it holds {} files: {}{more}", names.len(), listed.join(", "));
    StoreError::new(ErrorKind::NotFound, name, message)
}

impl Archives for Wrapped {
    fn members(&self, archive: &str) -> Result<Vec<Member>, StoreError> {
        let (_, index) = self.archive(archive)?;
        let member = |(name, size): (&str, u64)| {
            let url = format!("{archive}!{name}");
            // What its own address would not lead to cannot be named at all.
            let leads_back = matches!(address::split(&url), Ok(Some((of, member))) if of == archive && member == name);
            leads_back.then(|| Member { name: name.to_owned(), url, size })
        };
        Ok(index.files().into_iter().filter_map(member).collect())
    }
}

impl SourceStore for Wrapped {
    fn head(&self, url: &str) -> Result<Head, StoreError> {
        let Some((archive, _)) = address::split(url)? else {
            let now = self.below.head(url)?;
            return match self.recall(url) {
                Some(file) if file.told == now => Ok(file.head.clone()),
                Some(_) => {
                    self.forget(url);
                    Ok(now)
                }
                None => Ok(now),
            };
        };
        let now = self.head(archive)?;
        match self.recall(url) {
            Some(file) => Ok(file.head.clone()),
            // Whether the member is there is known only once all of the archive was fetched and unpacked: whoever reads it finds out.
            None if address::says_packed_archive(archive) && self.recall(archive).is_none() => {
                Ok(Head { size: None, stored: Some(0), ..now })
            }
            None => self.open(url).map(|(file, _)| file.head.clone()),
        }
    }

    fn begin(&self, url: &str) -> Result<(Head, Bytes), StoreError> {
        // Answers of a server that slices are no files.
        if dap::is_dataset(url) {
            return self.below.begin(url);
        }
        let (file, start) = if self.recall(url).is_none() && address::split(url)?.is_none() {
            let (head, start) = self.below.begin(url)?;
            let packed = Packing::of(&start).is_some();
            let plain = !packed && !is_zip(&start) && !tar::is_tar(&start);
            if plain && (!self.copies || dap::Description::unpack(&start).is_some()) {
                return Ok((head, start));
            }
            let file = self.stored(url, &head, packed)?;
            if plain && matches!(file.body, Body::Stored(_)) {
                return Ok((head, start));
            }
            let (file, start) = self.unpacked(url, Arc::new(file), start)?;
            (self.remember(url, file), start)
        } else {
            self.open(url)?
        };
        let start = if start.is_empty() { self.start(&named(url), &file)? } else { start };
        if is_zip(&start) || tar::is_tar(&start) {
            return Err(self.refuse_archive(url));
        }
        Ok((file.head.clone(), start))
    }

    fn ranges(&self, url: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        let Some(file) = self.lookup(url)? else { return self.below.ranges(url, ranges) };
        let name = named(url);
        merge::check(&name, ranges, file.length)?;
        self.read(&name, &file, ranges)
    }

    fn stream(&self, url: &str, sink: &mut dyn Write) -> Result<u64, StoreError> {
        let Some(file) = self.lookup(url)? else { return self.below.stream(url, sink) };
        let name = named(url);
        match &file.body {
            Body::Stored(url) => self.below.stream(url, sink),
            Body::Part { promise, .. } => {
                let mut input = Blocks::new(self, &name, &file, Bytes::new());
                packing::copy(&name, &mut input, *promise, sink)
            }
            Body::Unpacked { .. } | Body::Copied { .. } => match self.spooled(&name, &file, &Bytes::new())? {
                Some(spooled) => spooled.copy(&name, sink),
                None => Ok(0),
            },
        }
    }

    fn is_local(&self, url: &str) -> bool {
        let plain = !address::says_packed(url) && matches!(address::split(url), Ok(None)) && self.recall(url).is_none();
        plain && self.below.is_local(url)
    }
}
