//! Messages of object headers as bytes, layout messages above all, for what hdf5-reader reads wrong or not at all.
//!
//! Messages of version 2 (HDF5 1.6.0 to 1.6.2) it reads two bytes too early; of version 4 it keeps no flags. HDF5 spec IV.A.1 (headers), IV.A.2.i
//! (layout). Invariant: what does not look exactly like such a message is left to the library.

use hdf5_reader::{Hdf5File, Storage};

const LAYOUT: u16 = 8;
const CONTINUATION: u16 = 0x10;
/// Flag of messages that lie elsewhere.
const SHARED: u8 = 2;
const CONTIGUOUS: u8 = 1;
const CHUNKED: u8 = 2;
/// Flag of chunked layouts: chunks that reach past the dataset's edge are stored without filters.
const DONT_FILTER_PARTIAL_EDGE_CHUNKS: u8 = 1;
/// Enough blocks for any header, few enough for a damaged one.
const MOST_BLOCKS: usize = 64;
const LONGEST_BLOCK: u64 = 1 << 20;

/// Address of the values of a contiguous dataset, if its header (version 1) has a layout message of version 2.
pub(super) fn contiguous_address(file: &Hdf5File, header: u64) -> Option<u64> {
    match message(file, header, LAYOUT)?.body.as_slice() {
        // Version, rank, class, five reserved bytes, address.
        [2, _, CONTIGUOUS, _, _, _, _, _, address @ ..] => number(address, 8),
        _ => None,
    }
}

/// Whether chunks at the dataset's edge are stored without filters; `None` if its header has no chunked layout message of version 4 or 5.
pub(super) fn leaves_edges_unfiltered(file: &Hdf5File, header: u64) -> Option<bool> {
    match message(file, header, LAYOUT)?.body.as_slice() {
        [4 | 5, CHUNKED, flags, ..] => Some(flags & DONT_FILTER_PARTIAL_EDGE_CHUNKS != 0),
        _ => None,
    }
}

/// A message as it stands in its header.
pub(super) struct Message {
    pub(super) body: Vec<u8>,
    /// True if the body only says where the message is.
    pub(super) shared: bool,
}

/// The first message of a kind of the header at an address.
pub(super) fn message(file: &Hdf5File, header: u64, kind: u16) -> Option<Message> {
    let (start, framing) = Framing::read(file, header)?;
    let mut blocks = vec![start];
    let mut visited = 0;
    while let Some((address, length)) = blocks.pop() {
        visited += 1;
        if visited > MOST_BLOCKS {
            return None;
        }
        if let Some(message) = framing.find(file.storage(), (address, length), kind, &mut blocks) {
            return Some(message);
        }
    }
    None
}

/// How messages lie one after another in a header.
struct Framing {
    /// 1 or 2.
    version: u8,
    /// Version 2: each message says when it was made.
    ordered: bool,
    /// Bytes of an address and of a length.
    widths: (usize, usize),
}

impl Framing {
    /// The first block of messages, and how they lie in it.
    fn read(file: &Hdf5File, header: u64) -> Option<((u64, u64), Self)> {
        let widths = (usize::from(file.superblock().offset_size), usize::from(file.superblock().length_size));
        let available = file.storage().len().saturating_sub(header).min(64);
        let prefix = file.storage().read_range(header, usize::try_from(available).ok()?).ok()?;
        let prefix: &[u8] = prefix.as_ref();
        match prefix {
            [1, ..] => Some(((header.checked_add(16)?, number(prefix.get(8..)?, 4)?), Self { version: 1, ordered: false, widths })),
            [b'O', b'H', b'D', b'R', 2, flags, ..] => {
                let times = if flags & 0x20 != 0 { 16 } else { 0 };
                let attributes = if flags & 0x10 != 0 { 4 } else { 0 };
                let (at, width) = (6 + times + attributes, 1usize << (flags & 3));
                let length = number(prefix.get(at..)?, width)?;
                Some(((header.checked_add((at + width) as u64)?, length), Self { version: 2, ordered: flags & 4 != 0, widths }))
            }
            _ => None,
        }
    }

    /// The message, if this block holds it; blocks that continue the header are added to `blocks`.
    fn find(&self, storage: &dyn Storage, (address, length): (u64, u64), wanted: u16, blocks: &mut Vec<(u64, u64)>) -> Option<Message> {
        let block = storage.read_range(address, usize::try_from(length).ok().filter(|_| length < LONGEST_BLOCK)?).ok()?;
        let mut rest: &[u8] = block.as_ref();
        while let Some((kind, shared, body, next)) = self.next(rest) {
            rest = next;
            match kind {
                _ if kind == wanted => return Some(Message { body: body.to_vec(), shared }),
                CONTINUATION => blocks.push(self.continuation(body)?),
                _ => {}
            }
        }
        None
    }

    /// Type of the first message, whether it is shared, its body, and what follows it.
    fn next<'a>(&self, bytes: &'a [u8]) -> Option<(u16, bool, &'a [u8], &'a [u8])> {
        let (kind, size, flags, envelope) = match self.version {
            1 => (number(bytes, 2)?, number(bytes.get(2..)?, 2)?, bytes.get(4)?, 8),
            _ => (number(bytes, 1)?, number(bytes.get(1..)?, 2)?, bytes.get(3)?, if self.ordered { 6 } else { 4 }),
        };
        let (body, next) = bytes.get(envelope..)?.split_at_checked(usize::try_from(size).ok()?)?;
        Some((u16::try_from(kind).ok()?, flags & SHARED != 0, body, next))
    }

    /// Address and length of the messages that a continuation points to: in version 2 without signature and checksum.
    fn continuation(&self, body: &[u8]) -> Option<(u64, u64)> {
        let (address, length) = (number(body, self.widths.0)?, number(body.get(self.widths.0..)?, self.widths.1)?);
        if self.version == 1 { Some((address, length)) } else { Some((address.checked_add(4)?, length.checked_sub(8)?)) }
    }
}

/// A little-endian number of 1 to 8 bytes.
pub(super) fn number(bytes: &[u8], width: usize) -> Option<u64> {
    let bytes = bytes.get(..width).filter(|_| (1..=8).contains(&width))?;
    Some(bytes.iter().rev().fold(0, |number, &byte| (number << 8) | u64::from(byte)))
}
