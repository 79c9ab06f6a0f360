//! HDF5 types as ours, or why a type has no place in an array.
//!
//! Invariant: a type is translated only if each of its elements is exactly one element of ours.

use hdf5_core::{Datatype, StringPadding, StringSize, VarLenKind};

use crate::array::DataType;
use crate::layout::ByteOrder;

/// How one element lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) dtype: DataType,
    pub(super) order: ByteOrder,
    pub(super) text: Option<TextKind>,
}

/// How a text lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextKind {
    /// So many bytes, padded.
    Fixed(u32, StringPadding),
    /// A reference into the global heap.
    Variable,
}

/// Translates a type.
///
/// # Errors
/// Why it cannot be one of ours, for people.
pub(super) fn translate(datatype: &Datatype) -> Result<Element, String> {
    let number = |dtype, order: &hdf5_core::ByteOrder| Element { dtype, order: byte_order(*order), text: None };
    let text = |kind| Element { dtype: DataType::String, order: ByteOrder::Little, text: Some(kind) };
    Ok(match datatype {
        Datatype::FixedPoint { size, signed, byte_order } => number(integer(*size, *signed)?, byte_order),
        Datatype::Bitfield { size, byte_order } => number(integer(*size, false)?, byte_order),
        Datatype::FloatingPoint { size: 4, byte_order } => number(DataType::Float32, byte_order),
        Datatype::FloatingPoint { size: 8, byte_order } => number(DataType::Float64, byte_order),
        Datatype::FloatingPoint { size, .. } => return Err(format!("floats of {} bits are not supported", u32::from(*size) * 8)),
        Datatype::Enum { base, .. } => return translate(base),
        Datatype::String { size: StringSize::Fixed(1), .. } => Element { dtype: DataType::Char, order: ByteOrder::Little, text: None },
        Datatype::String { size: StringSize::Fixed(0), .. } => return Err("texts of no bytes are not supported".to_owned()),
        Datatype::String { size: StringSize::Fixed(size), padding, .. } => text(TextKind::Fixed(*size, *padding)),
        Datatype::String { size: StringSize::Variable, .. } => text(TextKind::Variable),
        Datatype::VarLen { base, kind: VarLenKind::String, .. } if base.is_vlen_string_base() => text(TextKind::Variable),
        Datatype::VarLen { .. } => return Err("variable-length sequences are not supported".to_owned()),
        Datatype::Compound { .. } => return Err("compound types are not supported".to_owned()),
        Datatype::Array { .. } => return Err("array types are not supported".to_owned()),
        Datatype::Opaque { .. } => return Err("opaque types are not supported".to_owned()),
        Datatype::Reference { .. } => return Err("references are not supported".to_owned()),
    })
}

fn integer(size: u8, signed: bool) -> Result<DataType, String> {
    Ok(match (size, signed) {
        (1, true) => DataType::Int8,
        (1, false) => DataType::UInt8,
        (2, true) => DataType::Int16,
        (2, false) => DataType::UInt16,
        (4, true) => DataType::Int32,
        (4, false) => DataType::UInt32,
        (8, true) => DataType::Int64,
        (8, false) => DataType::UInt64,
        _ => return Err(format!("integers of {size} bytes are not supported")),
    })
}

fn byte_order(order: hdf5_core::ByteOrder) -> ByteOrder {
    match order {
        hdf5_core::ByteOrder::LittleEndian => ByteOrder::Little,
        hdf5_core::ByteOrder::BigEndian => ByteOrder::Big,
    }
}
