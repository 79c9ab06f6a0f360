//! Values of DAP2 answers: a DDS, `Data:`, and XDR (ESE-RFC-004.1.2 §6.3, RFC 4506).
//!
//! Pure. Invariant: a value is handed out only if the answer declares the variable with the name, type and shape that were asked for, and
//! no memory is taken for what the bytes claim beyond the bytes themselves.

use super::dds::{self, Declaration, Form};
use super::declared::{Axis, Kind, WireError, wrong};
use crate::array::text_from_bytes;

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) kind: Kind,
    pub(super) shape: &'a [u64],
}

/// Where the values of an array are in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// First byte of the first element.
    pub(super) offset: usize,
    pub(super) count: usize,
    /// Bytes from one element to the next; 0 for texts.
    pub(super) stride: usize,
}

/// Bytes that an element of an array takes on the way.
pub(super) fn size(kind: Kind) -> u64 {
    match kind {
        Kind::Byte | Kind::Int8 => 1,
        Kind::Int16 | Kind::UInt16 | Kind::Int32 | Kind::UInt32 | Kind::Float32 => 4,
        Kind::Int64 | Kind::UInt64 | Kind::Float64 | Kind::Text => 8,
    }
}

/// Finds an array in an answer.
///
/// # Errors
/// [`WireError`] if the answer is cut, makes no sense, or holds something else.
pub(super) fn find(answer: &[u8], wanted: Wanted<'_>) -> Result<Found, WireError> {
    let (declared, data) = split(answer)?;
    let declarations = dds::parse(declared)?;
    let mut walk = Walk { bytes: answer, at: data, wanted };
    match walk.members(&declarations)? {
        Some(found) => Ok(found),
        None => wrong(format!("it does not hold `{}`", wanted.name)),
    }
}

/// The declaration, and where the data begins: behind the line `Data:`.
fn split(answer: &[u8]) -> Result<(&[u8], usize), WireError> {
    const MARK: &[u8] = b"\nData:";
    let Some(at) = answer.windows(MARK.len()).position(|window| window == MARK) else {
        return if answer.trim_ascii_start().get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"dataset")) {
            Err(WireError::Short)
        } else {
            wrong("it is no DAP2 answer")
        };
    };
    let rest = answer.get(at + MARK.len()..).unwrap_or_default();
    let end = match rest {
        [b'\r', b'\n', ..] => 2,
        [b'\n', ..] => 1,
        [] | [b'\r'] => return Err(WireError::Short),
        _ => return wrong("no line ends behind `Data:`"),
    };
    Ok((answer.get(..at).unwrap_or_default(), at + MARK.len() + end))
}

/// Passes through the data of an answer, declaration by declaration.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    wanted: Wanted<'a>,
}

impl Walk<'_> {
    fn members(&mut self, members: &[Declaration]) -> Result<Option<Found>, WireError> {
        for member in members {
            if let Some(found) = self.member(member)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn member(&mut self, declaration: &Declaration) -> Result<Option<Found>, WireError> {
        match &declaration.form {
            Form::Array(kind, axes) => self.array(&declaration.name, *kind, axes),
            Form::Grid(array, maps) => match self.member(array)? {
                Some(found) => Ok(Some(found)),
                None => self.members(maps),
            },
            // What some servers make of a Grid of which they send the array alone.
            Form::Structure(members, axes) if axes.is_empty() => self.members(members),
            Form::Structure(..) | Form::Sequence | Form::Unknown(_) => {
                wrong(format!("it holds `{}`, which was not asked for", declaration.name))
            }
        }
    }

    fn array(&mut self, name: &str, kind: Kind, axes: &[Axis]) -> Result<Option<Found>, WireError> {
        let count = axes.iter().try_fold(1_u64, |product, axis| product.checked_mul(axis.length));
        let Some(count) = count.and_then(|count| usize::try_from(count).ok()) else {
            return wrong(format!("it declares more of `{name}` than there can be"));
        };
        let is_wanted = name == self.wanted.name;
        if is_wanted {
            self.compare(name, kind, axes)?;
        }
        if !axes.is_empty() {
            // Numbers say twice how many they are: once for the array, once for XDR.
            for _ in 0..if kind == Kind::Text { 1 } else { 2 } {
                let told = self.word()?;
                if told as usize != count {
                    return wrong(format!("`{name}` is declared with {count} elements and sent with {told}"));
                }
            }
        }
        let found = self.skip(kind, count, axes.is_empty())?;
        Ok(is_wanted.then_some(found))
    }

    fn compare(&self, name: &str, kind: Kind, axes: &[Axis]) -> Result<(), WireError> {
        if kind != self.wanted.kind {
            return wrong(format!("`{name}` came as {} and was described as {}", kind.dtype(), self.wanted.kind.dtype()));
        }
        let shape: Vec<u64> = axes.iter().map(|axis| axis.length).collect();
        if shape != self.wanted.shape {
            return wrong(format!("a box of shape {:?} of `{name}` was asked for, one of {shape:?} came", self.wanted.shape));
        }
        Ok(())
    }

    /// Passes over elements.
    fn skip(&mut self, kind: Kind, count: usize, scalar: bool) -> Result<Found, WireError> {
        let offset = self.at;
        if kind == Kind::Text {
            for _ in 0..count {
                self.text()?;
            }
            return Ok(Found { offset, count, stride: 0 });
        }
        // A byte by itself is an XDR integer, whose last byte it is.
        let lone_byte = scalar && kind == Kind::Byte;
        let stride = size(kind) as usize;
        let length = if lone_byte { Some(4) } else { count.checked_mul(stride).and_then(|bytes| bytes.checked_next_multiple_of(4)) };
        self.take(length.ok_or(WireError::Short)?)?;
        Ok(Found { offset: if lone_byte { offset + 3 } else { offset }, count, stride })
    }

    fn take(&mut self, length: usize) -> Result<&[u8], WireError> {
        let end = self.at.checked_add(length).ok_or(WireError::Short)?;
        let taken = self.bytes.get(self.at..end).ok_or(WireError::Short)?;
        self.at = end;
        Ok(taken)
    }

    fn word(&mut self) -> Result<u32, WireError> {
        let taken = self.take(4)?;
        taken.try_into().map(u32::from_be_bytes).map_err(|_| WireError::Short)
    }

    /// One text: its length, its bytes, padded.
    fn text(&mut self) -> Result<&[u8], WireError> {
        let length = self.word()? as usize;
        let padded = length.checked_next_multiple_of(4).ok_or(WireError::Short)?;
        let taken = self.take(padded)?;
        taken.get(..length).ok_or(WireError::Short)
    }
}

/// The numbers that were found, in the machine's byte order, in the memory that the answer took.
pub(super) fn numbers(mut answer: Vec<u8>, found: Found, kind: Kind) -> Vec<u8> {
    answer.drain(..found.offset.min(answer.len()));
    answer.truncate(found.count.saturating_mul(found.stride));
    let item = kind.dtype().size();
    if item < found.stride {
        narrow(&mut answer, found.stride, item);
    }
    crate::codec::swap_to_native(&mut answer, item, crate::layout::ByteOrder::Big);
    answer
}

/// Keeps the last `item` bytes of each `stride`.
fn narrow(bytes: &mut Vec<u8>, stride: usize, item: usize) {
    let count = bytes.len() / stride;
    for element in 0..count {
        let from = element * stride + stride - item;
        bytes.copy_within(from..from + item, element * item);
    }
    bytes.truncate(count * item);
}

/// The texts that were found; `most` bytes of memory may be taken for them.
pub(super) fn texts(answer: &[u8], found: Found, most: u64) -> Result<Vec<String>, WireError> {
    let wanted = Wanted { name: "", kind: Kind::Text, shape: &[] };
    let mut walk = Walk { bytes: answer, at: found.offset, wanted };
    let mut taken = 0_u64;
    let mut texts = Vec::new();
    for _ in 0..found.count {
        let text = text_from_bytes(walk.text()?).trim_end_matches('\0').to_owned();
        taken = taken.saturating_add((size_of::<String>() + text.len()) as u64);
        if taken > most {
            return wrong("its texts take more memory than one call may take; give more `--memory`");
        }
        texts.push(text);
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted<'a>(name: &'a str, kind: Kind, shape: &'a [u64]) -> Wanted<'a> {
        Wanted { name, kind, shape }
    }

    fn answer(declared: &str, words: &[u32]) -> Vec<u8> {
        let mut answer = format!("{declared}\nData:\n").into_bytes();
        answer.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        answer
    }

    fn read(answer: &[u8], wanted: Wanted<'_>) -> Vec<u8> {
        numbers(answer.to_vec(), find(answer, wanted).unwrap(), wanted.kind)
    }

    #[test]
    fn short_numbers_travel_widened() {
        let whole = answer("Dataset {\n Int16 a[x = 3];\n UInt16 b[2];\n} d;", &[3, 3, 1, 0xffff_fffe, 3, 2, 2, 65535, 7]);
        let native = |numbers: &[i16]| numbers.iter().flat_map(|number| number.to_ne_bytes()).collect::<Vec<u8>>();
        assert_eq!(read(&whole, wanted("a", Kind::Int16, &[3])), native(&[1, -2, 3]));
        assert_eq!(
            read(&whole, wanted("b", Kind::UInt16, &[2])),
            [65535_u16, 7].iter().flat_map(|number| number.to_ne_bytes()).collect::<Vec<u8>>()
        );
    }

    #[test]
    fn bytes_are_padded_and_scalars_stand_alone() {
        let whole = answer("Dataset {\n Byte a[5];\n Byte b;\n Float64 c;\n} d;", &[5, 5, 0x0102_03ff, 0x0500_0000, 9, 0x3ff0_0000, 0]);
        assert_eq!(read(&whole, wanted("a", Kind::Byte, &[5])), [1, 2, 3, 255, 5]);
        assert_eq!(read(&whole, wanted("b", Kind::Byte, &[])), [9]);
        assert_eq!(read(&whole, wanted("c", Kind::Float64, &[])), 1.0_f64.to_ne_bytes());
    }

    #[test]
    fn maps_are_passed_over_and_texts_have_lengths() {
        let grid = "Dataset {\n Grid {\n Array:\n Float32 a[x = 1];\n Maps:\n Int32 x[x = 1];\n } a;\n String s[2];\n} d;";
        let mut whole = answer(grid, &[1, 1, 0x3f80_0000, 1, 1, 42, 2, 3]);
        whole.extend(b"abc\0\0\0\0\0");
        assert_eq!(read(&whole, wanted("a", Kind::Float32, &[1])), 1.0_f32.to_ne_bytes());
        let found = find(&whole, wanted("s", Kind::Text, &[2])).unwrap();
        assert_eq!(texts(&whole, found, 1000).unwrap(), ["abc", ""]);
        assert!(texts(&whole, found, 30).is_err());
        assert_eq!(read(&whole, wanted("x", Kind::Int32, &[1])), 42_i32.to_ne_bytes());
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        let whole = answer("Dataset {\n Int32 a[x = 2];\n} d;", &[2, 2, 1, 2]);
        for (name, kind, shape) in
            [("b", Kind::Int32, &[2][..]), ("a", Kind::Float32, &[2]), ("a", Kind::Int32, &[1]), ("a", Kind::Int32, &[2, 1])]
        {
            assert!(matches!(find(&whole, wanted(name, kind, shape)), Err(WireError::Wrong(_))), "{name} {kind:?} {shape:?}");
        }
        let lying = answer("Dataset {\n Int32 a[x = 2];\n} d;", &[2, 3, 1, 2, 3]);
        assert!(matches!(find(&lying, wanted("a", Kind::Int32, &[2])), Err(WireError::Wrong(_))));
        assert!(matches!(find(b"<html>\nData:\n", wanted("a", Kind::Int32, &[2])), Err(WireError::Wrong(_))));
    }

    #[test]
    fn every_cut_is_seen_and_huge_claims_take_nothing() {
        let grid = "Dataset {\n Grid {\n Array:\n Float32 a[x = 2];\n Maps:\n Int32 x[x = 2];\n } a;\n} d;";
        let whole = answer(grid, &[2, 2, 0x3f80_0000, 0x3f80_0000]);
        for length in 8..whole.len() {
            assert_eq!(find(&whole[..length], wanted("a", Kind::Float32, &[2])), Err(WireError::Short), "{length}");
        }
        assert!(find(&whole, wanted("a", Kind::Float32, &[2])).is_ok());
        let huge = answer("Dataset {\n Float64 a[x = 4294967295];\n} d;", &[u32::MAX, u32::MAX]);
        assert_eq!(find(&huge, wanted("a", Kind::Float64, &[u64::from(u32::MAX)])), Err(WireError::Short));
        let many = answer("Dataset {\n String a[4294967295];\n} d;", &[u32::MAX, u32::MAX]);
        assert_eq!(find(&many, wanted("a", Kind::Text, &[u64::from(u32::MAX)])), Err(WireError::Short));
        let over = answer("Dataset {\n Byte a[18446744073709551615][2];\n} d;", &[1]);
        assert!(matches!(find(&over, wanted("b", Kind::Byte, &[])), Err(WireError::Wrong(_))));
    }
}
