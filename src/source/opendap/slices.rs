//! Boxes of variables from OPeNDAP servers: what is asked for, and what becomes of the answer.
//!
//! The parsing is `xdr`'s and `binary`'s. Invariant: what is handed out is exactly the box that was asked for.

use super::binary;
use super::declared::{Kind, WireError};
use super::text::in_query;
use super::xdr::{self, Wanted};
use crate::array::{Array, DataType};
use crate::grid::Region;
use crate::layout::{Layout, Protocol, Stored};
use crate::source::SourceError;
use crate::source::ceiling::Ceiling;
use crate::store::SourceStore;
use crate::store::dap::{Complaint, LOOKED_AT, TooLarge, part_url};

/// Bytes of values asked for at once.
pub(super) const LARGEST_BOX: u64 = 4 << 20;
/// An answer that is cut is asked for so many times.
const ATTEMPTS: u32 = 3;
/// Bytes of an answer besides the values: its declaration.
const DECLARATION: u64 = 1 << 20;
/// Bytes of memory that a text may take, for boxes of them.
pub(super) const TEXT: u64 = 64;

/// A variable of a dataset and who serves it.
#[derive(Clone, Copy)]
pub struct Slicing<'a> {
    /// Where it is asked for.
    pub store: &'a dyn SourceStore,
    /// The dataset.
    pub url: &'a str,
    /// The variable's name in it.
    pub variable: &'a str,
    /// Its type, and in its layout who slices.
    pub stored: &'a Stored,
    /// What texts may take.
    pub ceiling: Ceiling,
}

/// Bytes of memory that the answer about a box of values takes; `None` if no server slices the variable.
#[must_use]
pub fn travelling(stored: &Stored, elements: u64) -> Option<u64> {
    let Layout::Free { server: Some(protocol), .. } = stored.layout else { return None };
    // The chunks of a DAP4 answer are put together in memory of their own.
    let times = if protocol == Protocol::Dap4 { 2 } else { 1 };
    Some(elements.saturating_mul(wire_size(protocol, kind_of(protocol, stored.dtype)?)).saturating_mul(times))
}

fn wire_size(protocol: Protocol, kind: Kind) -> u64 {
    match protocol {
        Protocol::Dap2 => xdr::size(kind),
        Protocol::Dap4 if kind == Kind::Text => TEXT,
        Protocol::Dap4 => kind.dtype().size() as u64,
    }
}

/// The type on the wire of elements of a type; DAP2 has no signed bytes and sends the bits of unsigned ones.
fn kind_of(protocol: Protocol, dtype: DataType) -> Option<Kind> {
    Some(match dtype {
        DataType::UInt8 => Kind::Byte,
        DataType::Int8 if protocol == Protocol::Dap2 => Kind::Byte,
        DataType::Int8 => Kind::Int8,
        DataType::Int16 => Kind::Int16,
        DataType::UInt16 => Kind::UInt16,
        DataType::Int32 => Kind::Int32,
        DataType::UInt32 => Kind::UInt32,
        DataType::Int64 => Kind::Int64,
        DataType::UInt64 => Kind::UInt64,
        DataType::Float32 => Kind::Float32,
        DataType::Float64 => Kind::Float64,
        DataType::String => Kind::Text,
        DataType::Char => return None,
    })
}

/// Values being gathered, box by box.
enum Gathered {
    Bytes(Vec<u8>),
    Texts(Vec<String>),
}

impl Slicing<'_> {
    /// The values of a box, in as many requests as that takes.
    ///
    /// # Errors
    /// [`SourceError::Store`] if the server gives none, `Truncated` if its answers are cut, `Corrupt` if they hold something else, `TooLarge` if
    /// texts take more memory than is allowed.
    pub fn read(&self, region: &Region) -> Result<Array, SourceError> {
        let Layout::Free { max_bytes, server: Some(protocol) } = self.stored.layout else {
            return Err(self.corrupt("no server slices it"));
        };
        let kind = kind_of(protocol, self.stored.dtype).ok_or_else(|| self.corrupt("no server sends single chars"))?;
        let mut gathered = if kind == Kind::Text { Gathered::Texts(Vec::new()) } else { Gathered::Bytes(Vec::new()) };
        if !region.is_empty() {
            self.gather((protocol, kind), region, max_bytes, &mut gathered)?;
        }
        let array = match gathered {
            Gathered::Bytes(bytes) => Array::from_bytes(self.stored.dtype, region.shape.clone(), bytes),
            Gathered::Texts(texts) => Array::from_texts(region.shape.clone(), texts),
        };
        array.ok_or_else(|| super::super::wrong_length(self.url, self.variable))
    }

    /// Adds a box, halved until each part is small enough for us and for the server. Only the first axis longer than one is cut, so the parts
    /// follow one another in memory.
    fn gather(&self, wire: (Protocol, Kind), region: &Region, most: u64, gathered: &mut Gathered) -> Result<(), SourceError> {
        let item = if wire.1 == Kind::Text { TEXT } else { self.stored.dtype.size() as u64 };
        let axis = region.shape.iter().position(|&length| length > 1);
        let too_large = match (axis, region.elements().saturating_mul(item) > most) {
            (Some(_), true) => None,
            _ => match self.ask(wire, region, gathered) {
                Err(SourceError::Store(error)) if axis.is_some() && TooLarge::is_why(&error) => Some(error),
                other => return other,
            },
        };
        let Some(axis) = axis else { return Ok(()) };
        if let Some(error) = too_large {
            tracing::info!("{error}");
        }
        let (mut near, mut far) = (region.clone(), region.clone());
        let half = region.shape[axis].div_ceil(2);
        near.shape[axis] = half;
        far.start[axis] += half;
        far.shape[axis] -= half;
        self.gather(wire, &near, most, gathered)?;
        self.gather(wire, &far, most, gathered)
    }

    /// Asks for one box; again, if the answer is cut.
    fn ask(&self, (protocol, kind): (Protocol, Kind), region: &Region, gathered: &mut Gathered) -> Result<(), SourceError> {
        let maps: u64 = region.shape.iter().fold(0, |sum, length| sum.saturating_add(length.saturating_mul(8)));
        let values = region.elements().saturating_mul(wire_size(protocol, kind));
        let values = if kind == Kind::Text { self.ceiling.bytes() } else { values };
        let url = part_url(
            self.url,
            protocol,
            &constraint(protocol, self.variable, region),
            values.saturating_add(maps).saturating_add(DECLARATION),
        );
        let mut attempt = 1;
        loop {
            let answer = self.store.begin(&url)?.1;
            match self.take((protocol, kind), region, answer.into(), gathered) {
                Err(WireError::Short) if attempt < ATTEMPTS => attempt += 1,
                Err(WireError::Short) => {
                    let message =
                        format!("variable `{}`: the server's answer about {} is cut; run again later", self.variable, shown(region));
                    return Err(SourceError::Truncated { url: self.url.to_owned(), message });
                }
                Err(WireError::Wrong(message)) => {
                    return Err(self.corrupt(&format!("the server's answer about {} cannot be used: {message}", shown(region))));
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Adds the values of an answer.
    fn take(&self, (protocol, kind): (Protocol, Kind), region: &Region, answer: Vec<u8>, gathered: &mut Gathered) -> Result<(), WireError> {
        let wanted = Wanted { name: self.variable, kind, shape: &region.shape };
        if protocol == Protocol::Dap4 {
            return match (binary::values(&answer, wanted, self.ceiling.bytes())?, gathered) {
                (binary::Values::Bytes(more), Gathered::Bytes(bytes)) => {
                    add(bytes, more);
                    Ok(())
                }
                (binary::Values::Texts(more), Gathered::Texts(texts)) => {
                    texts.extend(more);
                    Ok(())
                }
                _ => Err(WireError::Wrong("texts came for numbers, or numbers for texts".to_owned())),
            };
        }
        let found = xdr::find(&answer, wanted).map_err(|error| complaint(&answer).unwrap_or(error))?;
        match gathered {
            Gathered::Bytes(bytes) => add(bytes, xdr::numbers(answer, found, kind)),
            Gathered::Texts(texts) => texts.extend(xdr::texts(&answer, found, self.ceiling.bytes())?),
        }
        Ok(())
    }

    fn corrupt(&self, message: &str) -> SourceError {
        SourceError::Corrupt { url: self.url.to_owned(), message: format!("variable `{}`: {message}", self.variable) }
    }
}

/// Adds bytes to others; the first are taken as they are.
fn add(bytes: &mut Vec<u8>, more: Vec<u8>) {
    if bytes.is_empty() { *bytes = more } else { bytes.extend_from_slice(&more) }
}

/// What a server complains of that broke off in the middle of an answer.
fn complaint(answer: &[u8]) -> Option<WireError> {
    let end = answer.get(answer.len().saturating_sub(LOOKED_AT)..)?;
    let found = Complaint::find(end)?;
    Some(WireError::Wrong(format!("it breaks off with `{}`", found.message)))
}

fn shown(region: &Region) -> String {
    format!("the box at {:?} of shape {:?}", region.start, region.shape)
}

/// The constraint expression for a box, percent-encoded: `[first:last]` for each axis. The form without a stride is known to all servers; with one
/// some take the three numbers for first, last and stride.
fn constraint(protocol: Protocol, variable: &str, region: &Region) -> String {
    let mut expression = match protocol {
        Protocol::Dap2 => in_query(variable),
        Protocol::Dap4 => format!("dap4.ce=/{}", in_query(variable)),
    };
    for (axis, start) in region.start.iter().enumerate() {
        expression.push_str(&format!("%5B{start}:{}%5D", region.end(axis).saturating_sub(1)));
    }
    if protocol == Protocol::Dap4 {
        expression.push_str("&dap4.checksum=true");
    }
    expression
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::ops::Range;
    use std::sync::Mutex;

    use bytes::Bytes;

    use super::*;
    use crate::layout::ByteOrder;
    use crate::store::{ErrorKind, Head, StoreError};

    /// A server of `Int16 x[a = 4][b = 6]` with the values 0, 1, 2, …, that answers at most so many values at once.
    struct Server {
        most: u64,
        /// Answers to cut before one is whole.
        cuts: Mutex<u32>,
        asked: Mutex<Vec<String>>,
    }

    impl SourceStore for Server {
        fn head(&self, url: &str) -> Result<Head, StoreError> {
            Err(StoreError::new(ErrorKind::Other, url, "not asked"))
        }

        fn begin(&self, url: &str) -> Result<(Head, Bytes), StoreError> {
            let (_, query) = url.split_once('?').unwrap();
            let query = query.split('#').next().unwrap();
            self.asked.lock().unwrap().push(query.to_owned());
            let numbers: Vec<u64> = query.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect();
            // `x%5B0:1%5D%5B2:3%5D`: the escapes hold digits too.
            let [_, a0, a1, _, _, b0, b1, _] = numbers.as_slice() else { panic!("{query}: {numbers:?}") };
            let (rows, columns) = (a1 - a0 + 1, b1 - b0 + 1);
            if rows * columns > self.most {
                return Err(StoreError::new(ErrorKind::Other, url, "too big").because(TooLarge));
            }
            let count = (rows * columns) as u32;
            let mut answer = format!("Dataset {{\n Int16 x[a = {rows}][b = {columns}];\n}} d;\nData:\n").into_bytes();
            let values = (*a0..=*a1).flat_map(|a| (*b0..=*b1).map(move |b| (a * 6 + b) as u32));
            answer.extend([count, count].into_iter().chain(values).flat_map(u32::to_be_bytes));
            let mut cuts = self.cuts.lock().unwrap();
            if *cuts > 0 {
                *cuts -= 1;
                answer.truncate(answer.len() - 3);
            }
            Ok((Head::default(), answer.into()))
        }

        fn ranges(&self, _: &str, _: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
            Ok(Vec::new())
        }

        fn stream(&self, _: &str, _: &mut dyn Write) -> Result<u64, StoreError> {
            Ok(0)
        }

        fn is_local(&self, _: &str) -> bool {
            false
        }
    }

    fn read(server: &Server, max_bytes: u64, region: &Region) -> Result<Array, SourceError> {
        let layout = Layout::Free { max_bytes, server: Some(Protocol::Dap2) };
        let stored = Stored { dtype: DataType::Int16, order: ByteOrder::Little, shape: vec![4, 6], fill: vec![0; 2], layout };
        Slicing { store: server, url: "dap2://h/d", variable: "x", stored: &stored, ceiling: Ceiling::default() }.read(region)
    }

    fn server(most: u64, cuts: u32) -> Server {
        Server { most, cuts: Mutex::new(cuts), asked: Mutex::default() }
    }

    #[test]
    fn a_box_is_one_request_and_exactly_the_box() {
        let server = server(100, 0);
        let array = read(&server, 1 << 20, &Region::new(vec![1, 2], vec![2, 3])).unwrap();
        let expected: Vec<u8> = [8_i16, 9, 10, 14, 15, 16].iter().flat_map(|number| number.to_ne_bytes()).collect();
        assert_eq!((array.shape.as_slice(), array.bytes()), (&[2, 3][..], expected.as_slice()));
        assert_eq!(*server.asked.lock().unwrap(), ["x%5B1:2%5D%5B2:4%5D"]);
        assert_eq!(read(&server, 1 << 20, &Region::new(vec![1, 2], vec![0, 3])).unwrap().elements(), 0);
    }

    #[test]
    fn too_large_a_box_is_halved_whoever_finds_it_so() {
        let whole: Vec<u8> = (0..24_i16).flat_map(i16::to_ne_bytes).collect();
        for (most, max_bytes, requests) in [(100, 48, 1), (100, 24, 2), (100, 2, 24), (6, 1 << 20, 7), (1, 1 << 20, 47)] {
            let server = server(most, 0);
            assert_eq!(read(&server, max_bytes, &Region::whole(&[4, 6])).unwrap().bytes(), whole, "{most} {max_bytes}");
            assert_eq!(server.asked.lock().unwrap().len(), requests, "{most} {max_bytes}");
        }
        let error = read(&server(0, 0), 1 << 20, &Region::whole(&[4, 6])).unwrap_err();
        assert!(matches!(&error, SourceError::Store(error) if TooLarge::is_why(error)), "{error}");
    }

    #[test]
    fn a_cut_answer_is_asked_for_again_but_not_for_ever() {
        assert!(read(&server(100, 2), 1 << 20, &Region::whole(&[4, 6])).is_ok());
        assert!(matches!(read(&server(100, 3), 1 << 20, &Region::whole(&[4, 6])), Err(SourceError::Truncated { .. })));
    }
}
