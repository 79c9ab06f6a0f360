//! Layout messages of version 2 (HDF5 1.6.0 to 1.6.2), which hdf5-reader reads two bytes too early.
//!
//! HDF5 spec IV.A.2.i. Not for other versions. Invariant: what does not look exactly like such a message is left to the library.

use hdf5_reader::{Hdf5File, Storage};

const LAYOUT: u16 = 8;
const CONTINUATION: u16 = 0x10;
const CONTIGUOUS: u8 = 1;
/// Enough blocks for any header, few enough for a damaged one.
const MOST_BLOCKS: usize = 64;

/// Address of the values of a contiguous dataset, if its header (version 1) has a layout message of version 2.
pub(super) fn contiguous_address(file: &Hdf5File, header: u64) -> Option<u64> {
    let storage = file.storage();
    let prefix = storage.read_range(header, 16).ok()?;
    if prefix.first() != Some(&1) {
        return None;
    }
    let length = u64::from(u32::from_le_bytes(prefix.get(8..12)?.try_into().ok()?));
    let mut blocks = vec![(header.checked_add(16)?, length)];
    let mut visited = 0;
    while let Some((address, length)) = blocks.pop() {
        visited += 1;
        if visited > MOST_BLOCKS {
            return None;
        }
        if let Some(message) = layout_message(storage, address, length, &mut blocks) {
            return contiguous(&message);
        }
    }
    None
}

/// The layout message, if this block of the header holds it; blocks that continue the header are added to `blocks`.
fn layout_message(storage: &dyn Storage, address: u64, length: u64, blocks: &mut Vec<(u64, u64)>) -> Option<Vec<u8>> {
    let block = storage.read_range(address, usize::try_from(length).ok().filter(|&length| length < 1 << 20)?).ok()?;
    let mut rest: &[u8] = block.as_ref();
    while let Some((head, after)) = rest.split_at_checked(8) {
        let number = |at: usize| head.get(at..at + 2).and_then(|two| two.try_into().ok()).map(u16::from_le_bytes);
        let (kind, size) = (number(0)?, usize::from(number(2)?));
        let (body, next) = after.split_at_checked(size)?;
        rest = next;
        match kind {
            LAYOUT => return Some(body.to_vec()),
            CONTINUATION => blocks.push((u64_at(body, 0)?, u64_at(body, 8)?)),
            _ => {}
        }
    }
    None
}

/// Version, rank, class, five reserved bytes, address.
fn contiguous(body: &[u8]) -> Option<u64> {
    match body {
        [2, _, CONTIGUOUS, ..] => u64_at(body, 8),
        _ => None,
    }
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}
