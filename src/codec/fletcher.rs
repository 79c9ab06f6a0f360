//! Filter 3: a Fletcher-32 checksum after the data (HDF5 `H5_checksum_fletcher32`).

use super::CodecError;

/// Copies the data without its checksum, if the checksum is right.
pub(super) fn verify(input: &[u8], output: &mut Vec<u8>) -> Result<(), CodecError> {
    let refuse = || CodecError::Checksum { filter: "fletcher32".to_owned() };
    let (data, checksum) = input.split_last_chunk::<4>().ok_or_else(refuse)?;
    let (stored, computed) = (u32::from_le_bytes(*checksum), hdf5_core::fletcher32(data));
    // HDF5 before 1.6.3 wrote the checksum with swapped bytes in each half; the library still accepts it.
    if stored != computed && stored != swap_halves(computed) {
        return Err(refuse());
    }
    output.clear();
    output.extend_from_slice(data);
    Ok(())
}

fn swap_halves(checksum: u32) -> u32 {
    checksum.swap_bytes().rotate_left(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_is_refused() {
        let data: Vec<u8> = (0..999u32).map(|at| (at * 7 % 251) as u8).collect();
        let whole = |checksum: u32| [data.as_slice(), &checksum.to_le_bytes()].concat();
        let mut output = Vec::new();
        verify(&whole(hdf5_core::fletcher32(&data)), &mut output).unwrap();
        assert_eq!(output, data);
        let mut flipped = whole(hdf5_core::fletcher32(&data));
        flipped[500] ^= 1;
        assert!(verify(&flipped, &mut output).is_err());
        assert!(verify(&[1, 2], &mut output).is_err());
        assert_eq!(swap_halves(0x0102_0304), 0x0201_0403);
    }
}
