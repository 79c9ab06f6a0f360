//! What the documents of a dataset declare, before it becomes a schema.
//!
//! Plain data of both protocols. Invariant: nothing here is larger than the text it was read from.

use crate::array::DataType;
use crate::dataset::Attributes;

/// Types of elements on the wire (DAP2 §4.1, DAP4 Volume 1 "Atomic Types").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Unsigned, eight bits.
    Byte,
    Int8,
    Int16,
    UInt16,
    Int32,
    UInt32,
    Int64,
    UInt64,
    Float32,
    Float64,
    /// `String` and `URL`.
    Text,
}

impl Kind {
    /// The type of that name in DAP2, whatever its case.
    pub(super) fn of_dap2(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "byte" => Self::Byte,
            "int16" => Self::Int16,
            "uint16" => Self::UInt16,
            "int32" => Self::Int32,
            "uint32" => Self::UInt32,
            "float32" => Self::Float32,
            "float64" => Self::Float64,
            "string" | "url" => Self::Text,
            _ => return None,
        })
    }

    /// The type of that name in DAP4; its servers write DAP2's and Python's names too.
    pub(super) fn of_dap4(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "int8" => Self::Int8,
            "uint8" | "char" => Self::Byte,
            "int64" => Self::Int64,
            "uint64" => Self::UInt64,
            "str" | "uri" => Self::Text,
            other => return Self::of_dap2(other),
        })
    }

    /// The type of its elements in memory.
    pub(super) fn dtype(self) -> DataType {
        match self {
            Self::Byte => DataType::UInt8,
            Self::Int8 => DataType::Int8,
            Self::Int16 => DataType::Int16,
            Self::UInt16 => DataType::UInt16,
            Self::Int32 => DataType::Int32,
            Self::UInt32 => DataType::UInt32,
            Self::Int64 => DataType::Int64,
            Self::UInt64 => DataType::UInt64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Text => DataType::String,
        }
    }
}

/// One axis of an array: its name, if it has one, and its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) name: Option<String>,
    pub(super) length: u64,
}

/// An array-like variable.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Declared {
    /// Its name; in a group, with the group's path.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) axes: Vec<Axis>,
    pub(super) attributes: Attributes,
}

/// All that a dataset declares.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Contents {
    pub(super) variables: Vec<Declared>,
    /// Attributes of the whole.
    pub(super) attributes: Attributes,
    /// Attributes of groups, by path.
    pub(super) groups: std::collections::BTreeMap<String, Attributes>,
    /// What is declared and cannot be read: `variable` or `variable@attribute`, with the reason.
    pub(super) refused: Vec<(String, String)>,
    /// Name of the dimension that grows.
    pub(super) unlimited: Option<String>,
}

/// Why a document or an answer makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    /// It ends before its end.
    #[error("it ends too early")]
    Short,
    /// It contradicts itself or the protocol.
    #[error("{0}")]
    Wrong(String),
}

pub(super) fn wrong<T>(message: impl Into<String>) -> Result<T, WireError> {
    Err(WireError::Wrong(message.into()))
}
