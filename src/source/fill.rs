//! What an element is that was never written, where the file does not say (netCDF User's Guide, "Fill Values").

use crate::array::{DataType, Scalar};

/// The `NC_FILL_*` value of a type, in the machine's byte order; empty for texts.
#[must_use]
pub fn netcdf_default(dtype: DataType) -> Vec<u8> {
    let scalar = match dtype {
        DataType::Int8 => Scalar::Int8(-127),
        DataType::UInt8 => Scalar::UInt8(255),
        DataType::Int16 => Scalar::Int16(-32767),
        DataType::UInt16 => Scalar::UInt16(65535),
        DataType::Int32 => Scalar::Int32(-2_147_483_647),
        DataType::UInt32 => Scalar::UInt32(4_294_967_295),
        DataType::Int64 => Scalar::Int64(-9_223_372_036_854_775_806),
        DataType::UInt64 => Scalar::UInt64(18_446_744_073_709_551_614),
        DataType::Float32 => Scalar::Float32(9.969_21e36),
        DataType::Float64 => Scalar::Float64(9.969_209_968_386_869e36),
        DataType::Char => return vec![0],
        DataType::String => return Vec::new(),
    };
    scalar.to_bytes()
}

/// The fill of an element in a file that has no default of its own: zeros (HDF5 reference, `H5Pset_fill_value`).
#[must_use]
pub fn zero(dtype: DataType) -> Vec<u8> {
    vec![0; dtype.size()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_float_defaults_are_the_same_number() {
        // netcdf.h: 9.9692099683868690e+36f and 9.9692099683868690e+36
        assert_eq!(
            netcdf_default(DataType::Float32),
            9.969_209_968_386_869e36_f64
                .to_bits()
                .to_ne_bytes()
                .len()
                .eq(&8)
                .then(|| (9.969_209_968_386_869e36_f64 as f32).to_ne_bytes().to_vec())
                .unwrap()
        );
        assert_eq!(netcdf_default(DataType::Float64), 9.969_209_968_386_869e36_f64.to_ne_bytes().to_vec());
    }
}
