//! Numbers of HDF5 datasets through the library's own read: the second reader that ours is compared with.

use hdf5_reader::error::Error;
use hdf5_reader::{Dataset, SliceInfo, SliceInfoElem};

use crate::array::{DataType, Placed, copy_box};
use crate::grid::{Region, elements, strides};

/// The bytes (machine's byte order) of a box.
pub(super) fn read(dataset: &Dataset, dtype: DataType, plain: bool, region: &Region) -> Result<Vec<u8>, Error> {
    if !plain || region.rank() == 0 {
        return whole(dataset, dtype, region);
    }
    let selections = (0..region.rank()).map(|axis| SliceInfoElem::Slice { start: region.start[axis], end: region.end(axis), step: 1 });
    let selection = SliceInfo { selections: selections.collect() };
    /// Reads one type and gives its bytes.
    macro_rules! read {
        ($native:ty) => {
            dataset.read_slice::<$native>(&selection).map(|array| array.iter().flat_map(|value| value.to_ne_bytes()).collect())
        };
    }
    match dtype {
        DataType::Int8 => read!(i8),
        DataType::Int16 => read!(i16),
        DataType::Int32 => read!(i32),
        DataType::Int64 => read!(i64),
        DataType::UInt8 => read!(u8),
        DataType::UInt16 => read!(u16),
        DataType::UInt32 => read!(u32),
        DataType::UInt64 => read!(u64),
        DataType::Float32 => read!(f32),
        DataType::Float64 => read!(f64),
        DataType::Char | DataType::String => whole(dataset, dtype, region),
    }
}

/// Enums and chars: the library slices only plain numbers, so all is read and the box cut out.
fn whole(dataset: &Dataset, dtype: DataType, region: &Region) -> Result<Vec<u8>, Error> {
    let bytes = dataset.read_native_bytes()?;
    let shape = dataset.shape();
    if elements(&region.shape) == elements(shape) {
        return Ok(bytes);
    }
    let signed = |shape: &[u64]| strides(shape).iter().map(|&stride| stride as i64).collect::<Vec<i64>>();
    let offset = region.start.iter().zip(strides(shape)).map(|(start, stride)| start * stride).sum();
    let mut cut = vec![0; (region.elements() as usize).saturating_mul(dtype.size())];
    let (from, to) = (Placed { offset, strides: signed(shape) }, Placed { offset: 0, strides: signed(&region.shape) });
    copy_box(dtype.size(), &region.shape, (&bytes, &from), (&mut cut, &to)).map_err(|error| Error::InvalidData(error.to_string()))?;
    Ok(cut)
}
