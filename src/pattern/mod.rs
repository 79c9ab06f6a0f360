//! The matrix of source files over its keys, and the URL of each cell.
//!
//! No network and no files. Invariant: the same pattern always lists the same inputs in the same order, in time linear in
//! their number.
//!
//! `period`, `moment` and `moving` read steps, dates and ends that move with the day, `template` fills URLs, `expand` walks
//! the matrix. For inputs that are found instead of written: `glob` matches paths, `reading` makes values of what names hold.

mod absent;
pub mod archived;
pub mod expand;
pub mod glob;
pub mod moment;
mod moving;
pub mod period;
pub mod reading;
mod secrets;
pub mod template;

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

/// More inputs than this are refused: every one of them is kept in memory.
pub const MAX_INPUTS: usize = 1_000_000;

/// One value of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyValue {
    /// A date, to the second.
    Date(DateTime),
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(String),
}

/// What happens along an axis of the matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Files follow one another along this dimension.
    Concat(String),
    /// Files hold different variables.
    Merge,
}

/// One axis of the matrix: every position stands for one value of each of its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// What happens along it.
    pub role: Role,
    /// Its keys; none for a plain list of files.
    pub keys: Vec<String>,
    /// Values of the keys at each position.
    pub positions: Vec<Vec<KeyValue>>,
}

/// One cell of the matrix: a file and its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Number in the order of the matrix (row-major over the axes), counted over cells that exist.
    pub number: usize,
    /// Where the file is.
    pub url: String,
    /// Position on each axis.
    pub position: Vec<usize>,
    /// Value of every key.
    pub values: BTreeMap<String, KeyValue>,
}

impl std::fmt::Display for KeyValue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Date(date) => write!(formatter, "{date}"),
            Self::Integer(number) => write!(formatter, "{number}"),
            Self::Text(text) => formatter.write_str(text),
        }
    }
}

pub use absent::without;
pub use moving::MovingEnd;
pub use period::{Period, PeriodUnit};
pub use secrets::{container_of, holds_key, is_container, secret_parameter, without_secrets};
