//! The header of a classic file (netCDF Classic Format Specification; CDF-1, CDF-2 and CDF-5).
//!
//! Bytes in, numbers and names out; no I/O and no data. Invariant: nothing is trusted: every count is met by bytes that are
//! there before memory is taken for it.

use crate::array::{DataType, Scalar};
use crate::dataset::{Attribute, Attributes};

const DIMENSIONS: u64 = 10;
const VARIABLES: u64 = 11;
const ATTRIBUTES: u64 = 12;

/// Why a header cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// The bytes end before the header does: read more of the file.
    Short,
    /// The header contradicts itself or the specification.
    Wrong(String),
}

/// A dimension as written; length 0 is the record dimension.
#[derive(Debug)]
pub(super) struct RawDimension {
    pub(super) name: String,
    pub(super) length: u64,
}

/// A variable as written.
#[derive(Debug)]
pub(super) struct RawVariable {
    pub(super) name: String,
    pub(super) dimensions: Vec<usize>,
    pub(super) attributes: Attributes,
    pub(super) dtype: DataType,
    pub(super) begin: u64,
}

/// A whole header.
#[derive(Debug)]
pub(super) struct Header {
    /// `None`: the writer was streaming, count them by the file's size.
    pub(super) records: Option<u64>,
    pub(super) dimensions: Vec<RawDimension>,
    pub(super) attributes: Attributes,
    pub(super) variables: Vec<RawVariable>,
    /// Bytes of the header.
    pub(super) length: u64,
}

/// Reads a header from the first bytes of a file.
pub(super) fn parse(bytes: &[u8]) -> Result<Header, HeaderError> {
    let mut cursor = Cursor { rest: bytes, version: 0 };
    let magic = cursor.take(4)?;
    cursor.version = match magic {
        [b'C', b'D', b'F', version @ (1 | 2 | 5)] => *version,
        _ => return wrong("the signature is missing"),
    };
    let records = cursor.count()?;
    let streaming = if cursor.version == 5 { u64::MAX } else { u64::from(u32::MAX) };
    let dimensions = cursor.list(DIMENSIONS, Cursor::dimension)?;
    if dimensions.iter().filter(|dimension| dimension.length == 0).count() > 1 {
        return wrong("it declares more than one record dimension");
    }
    let attributes = Attributes(cursor.list(ATTRIBUTES, Cursor::attribute)?);
    let variables = cursor.list(VARIABLES, Cursor::variable)?;
    let length = (bytes.len() - cursor.rest.len()) as u64;
    Ok(Header { records: (records != streaming).then_some(records), dimensions, attributes, variables, length })
}

fn wrong<T>(message: impl Into<String>) -> Result<T, HeaderError> {
    Err(HeaderError::Wrong(message.into()))
}

struct Cursor<'a> {
    rest: &'a [u8],
    version: u8,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: u64) -> Result<&'a [u8], HeaderError> {
        let length = usize::try_from(length).map_err(|_| HeaderError::Short)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(HeaderError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes `length` bytes and the padding to a multiple of four.
    fn take_padded(&mut self, length: u64) -> Result<&'a [u8], HeaderError> {
        let taken = self.take(length)?;
        self.take(length.wrapping_neg() % 4)?;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u64, HeaderError> {
        self.take(4)?.try_into().map(|four| u64::from(u32::from_be_bytes(four))).map_err(|_| HeaderError::Short)
    }

    fn u64(&mut self) -> Result<u64, HeaderError> {
        self.take(8)?.try_into().map(u64::from_be_bytes).map_err(|_| HeaderError::Short)
    }

    /// A count, length or dimension number: 32 bits, in CDF-5 64.
    fn count(&mut self) -> Result<u64, HeaderError> {
        if self.version == 5 { self.u64() } else { self.u32() }
    }

    /// A file offset: 32 bits in CDF-1, else 64.
    fn offset(&mut self) -> Result<u64, HeaderError> {
        if self.version == 1 { self.u32() } else { self.u64() }
    }

    fn list<T>(&mut self, tag: u64, item: fn(&mut Self) -> Result<T, HeaderError>) -> Result<Vec<T>, HeaderError> {
        let found = self.u32()?;
        let count = self.count()?;
        if found != tag && (found != 0 || count != 0) {
            return wrong(format!("a list begins with tag {found} instead of {tag}"));
        }
        // Grows with the bytes that are there, never with the count that is claimed.
        (0..count).map(|_| item(self)).collect()
    }

    fn name(&mut self) -> Result<String, HeaderError> {
        let length = self.count()?;
        Ok(text(self.take_padded(length)?))
    }

    fn dimension(&mut self) -> Result<RawDimension, HeaderError> {
        Ok(RawDimension { name: self.name()?, length: self.count()? })
    }

    fn dtype(&mut self) -> Result<DataType, HeaderError> {
        Ok(match self.u32()? {
            1 => DataType::Int8,
            2 => DataType::Char,
            3 => DataType::Int16,
            4 => DataType::Int32,
            5 => DataType::Float32,
            6 => DataType::Float64,
            7 if self.version == 5 => DataType::UInt8,
            8 if self.version == 5 => DataType::UInt16,
            9 if self.version == 5 => DataType::UInt32,
            10 if self.version == 5 => DataType::Int64,
            11 if self.version == 5 => DataType::UInt64,
            other => return wrong(format!("there is no type {other}")),
        })
    }

    fn attribute(&mut self) -> Result<(String, Attribute), HeaderError> {
        let name = self.name()?;
        let dtype = self.dtype()?;
        let count = self.count()?;
        let length = count.checked_mul(dtype.size() as u64).ok_or(HeaderError::Short)?;
        let bytes = self.take_padded(length)?;
        if dtype == DataType::Char {
            return Ok((name, Attribute::Text(text(bytes))));
        }
        let mut bytes = bytes.to_vec();
        crate::codec::swap_to_native(&mut bytes, dtype.size(), crate::layout::ByteOrder::Big);
        let numbers = bytes.chunks_exact(dtype.size()).filter_map(|number| Scalar::from_bytes(dtype, number)).collect();
        Ok((name, Attribute::Numbers(numbers)))
    }

    fn variable(&mut self) -> Result<RawVariable, HeaderError> {
        let name = self.name()?;
        let rank = self.count()?;
        let dimensions = (0..rank).map(|_| self.count().map(|number| number as usize)).collect::<Result<_, _>>()?;
        let attributes = Attributes(self.list(ATTRIBUTES, Cursor::attribute)?);
        let dtype = self.dtype()?;
        // The size is redundant, and wrong for variables above 4 GiB: counted from the dimensions instead.
        self.count()?;
        Ok(RawVariable { name, dimensions, attributes, dtype, begin: self.offset()? })
    }
}

/// Names and texts: UTF-8, else Latin-1, without the NULs that C programs leave.
fn text(bytes: &[u8]) -> String {
    crate::array::text_from_bytes(bytes).replace('\0', "")
}
