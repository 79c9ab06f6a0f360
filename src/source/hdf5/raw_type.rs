//! Whether the numbers of a dataset lie in its bytes as those of a machine do.
//!
//! HDF5 numbers may have fewer bits than their bytes hold, begin at any bit, and floats may have any exponent (HDF5 spec IV.A.2.d;
//! nbit writes such types). hdf5-reader takes them all for the machine's own, and so would we: both readers would agree on wrong
//! values. Invariant: what is not known to be plain is not called so.

use hdf5_reader::{Dataset, Hdf5File};

use super::raw_layout::{self, number};

const DATATYPE: u16 = 3;

/// True if each number of the dataset is a whole integer or an IEEE 754 float of its size; also for what is no number.
pub(super) fn is_plain(file: &Hdf5File, dataset: &Dataset) -> bool {
    let own = raw_layout::message(file, dataset.address(), DATATYPE);
    // A type that lies elsewhere (committed, or shared by many) is a reference here: the library follows it, at some cost.
    let bytes = own.filter(|message| !message.shared).map(|message| message.body).or_else(|| dataset.raw_datatype().ok());
    bytes.is_some_and(|bytes| describes_plain(&bytes))
}

fn describes_plain(bytes: &[u8]) -> bool {
    plain(bytes).unwrap_or(false)
}

fn plain(bytes: &[u8]) -> Option<bool> {
    const FIXED_POINT: u8 = 0;
    const FLOATING_POINT: u8 = 1;
    const BIT_FIELD: u8 = 4;
    const ENUMERATION: u8 = 8;
    let (class, size) = (bytes.first()? & 15, number(bytes.get(4..)?, 4)?);
    let properties = bytes.get(8..)?;
    Some(match class {
        FIXED_POINT | BIT_FIELD => properties.get(..4)? == whole(size)?,
        FLOATING_POINT => is_ieee(bytes.get(1..4)?, size, properties.get(..12)?),
        ENUMERATION => plain(properties)?,
        _ => true,
    })
}

/// Bit offset 0, and as many bits as the bytes hold.
fn whole(size: u64) -> Option<[u8; 4]> {
    let [low, high] = u16::try_from(size.checked_mul(8)?).ok()?.to_le_bytes();
    Some([0, 0, low, high])
}

/// The layouts of `H5T_IEEE_F32*` and `H5T_IEEE_F64*`; others of their sizes, VAX among them, have other bits.
fn is_ieee(flags: &[u8], size: u64, properties: &[u8]) -> bool {
    const VAX: u8 = 0x40;
    let (sign, layout): (u8, [u8; 12]) = match size {
        4 => (31, [0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0]),
        8 => (63, [0, 0, 64, 0, 52, 11, 0, 52, 255, 3, 0, 0]),
        // Not read at all.
        _ => return true,
    };
    // Byte order, padding and normalisation (2: the first bit of the mantissa is implied); then where the sign is.
    matches!(flags, [first, place, _] if first & VAX == 0 && first & 0x30 == 0x20 && *place == sign) && properties == layout
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_integers_and_ieee_floats_are_plain() {
        let int = |size: u8, offset: u8, bits: u8| describes_plain(&[0x10, 8, 0, 0, size, 0, 0, 0, offset, 0, bits, 0]);
        assert!(int(2, 0, 16) && int(8, 0, 64));
        assert!(!int(2, 0, 12) && !int(2, 4, 12) && !int(4, 0, 16));
        let float = [0x11, 0x20, 31, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0];
        assert!(describes_plain(&float));
        for at in [2, 8, 10, 12, 13, 14, 15, 16] {
            let mut other = float;
            other[at] ^= 1;
            assert!(!describes_plain(&other), "byte {at}");
        }
        let mut vax = float;
        vax[1] |= 0x41;
        assert!(!describes_plain(&vax));
        // An enumeration of 12-bit integers; a text; nothing.
        assert!(!describes_plain(&[0x18, 1, 0, 0, 2, 0, 0, 0, 0x10, 0, 0, 0, 2, 0, 0, 0, 0, 0, 12, 0]));
        assert!(describes_plain(&[0x13, 0, 0, 0, 5, 0, 0, 0]));
        assert!(!describes_plain(&[0x10, 0]) && !describes_plain(&[]));
    }
}
