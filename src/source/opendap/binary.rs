//! Values of DAP4 answers: chunks that hold a DMR, then values with checksums (DAP4 Specification Volume 1, "Data Response").
//!
//! Pure. Invariant: a value is handed out only if the answer declares the variable with the name, type and shape that were asked for, and
//! its checksum, where there is one, is right.

use super::declared::{Declared, Kind, WireError, wrong};
use super::dmr;
use super::xdr::Wanted;
use crate::array::text_from_bytes;
use crate::codec::swap_to_native;
use crate::layout::ByteOrder;

/// Flags of a chunk's header.
const LAST: u8 = 1;
const ERROR: u8 = 2;
const LITTLE_ENDIAN: u8 = 4;
const NO_CHECKSUM: u8 = 8;

/// An answer without its chunks.
#[derive(Debug)]
struct Whole<'a> {
    dmr: &'a [u8],
    data: Vec<u8>,
    order: ByteOrder,
    checksums: bool,
}

/// Puts the chunks of an answer together; each begins with a byte of flags and a length of three bytes.
fn unchunk(answer: &[u8]) -> Result<Whole<'_>, WireError> {
    let (flags, dmr, mut rest) = chunk(answer)?;
    let order = if flags & LITTLE_ENDIAN == 0 { ByteOrder::Big } else { ByteOrder::Little };
    let mut whole = Whole { dmr, data: Vec::new(), order, checksums: flags & NO_CHECKSUM == 0 };
    let mut last = flags & LAST != 0;
    while !last {
        let (flags, piece, after) = chunk(rest)?;
        whole.data.extend_from_slice(piece);
        (last, rest) = (flags & LAST != 0, after);
    }
    Ok(whole)
}

/// Flags and bytes of the first chunk, and what follows.
fn chunk(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), WireError> {
    let &[flags, a, b, c] = bytes.get(..4).and_then(|head| head.first_chunk()).ok_or(WireError::Short)?;
    if flags & !(LAST | ERROR | LITTLE_ENDIAN | NO_CHECKSUM) != 0 {
        return wrong("it is no DAP4 answer");
    }
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    let rest = bytes.get(4..).unwrap_or_default();
    let (piece, after) = (rest.get(..length), rest.get(length..));
    if flags & ERROR != 0 {
        let told = text_from_bytes(piece.unwrap_or(rest).get(..200.min(length)).unwrap_or_default());
        return wrong(format!("the server broke off: {}", told.lines().next().unwrap_or_default()));
    }
    Ok((flags, piece.ok_or(WireError::Short)?, after.ok_or(WireError::Short)?))
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) enum Values {
    /// Numbers in the machine's byte order.
    Bytes(Vec<u8>),
    Texts(Vec<String>),
}

/// The values of the one variable that was asked for; `most` bytes of memory may be taken for texts.
///
/// # Errors
/// [`WireError`] if the answer is cut, damaged, makes no sense, or holds something else.
pub(super) fn values(answer: &[u8], wanted: Wanted<'_>, most: u64) -> Result<Values, WireError> {
    let Whole { dmr, mut data, order, checksums } = unchunk(answer)?;
    let contents = dmr::parse(dmr)?;
    if let Some((name, _)) = contents.refused.iter().find(|(name, _)| !name.contains('@')) {
        return wrong(format!("it holds `{name}`, which was not asked for"));
    }
    let mut at = 0_usize;
    for declared in &contents.variables {
        let is_wanted = declared.name == wanted.name;
        if is_wanted {
            compare(declared, wanted)?;
        }
        let length = length(declared, data.get(at..).unwrap_or_default(), order)?;
        let end = at.checked_add(length).filter(|end| *end <= data.len()).ok_or(WireError::Short)?;
        // Servers that were not asked for checksums leave them out without saying so; of one variable the length tells.
        let summed = checksums && !(contents.variables.len() == 1 && end == data.len());
        if summed {
            check(&declared.name, data.get(at..end).unwrap_or_default(), data.get(end..), order)?;
        }
        if is_wanted {
            data.truncate(end);
            data.drain(..at);
            return taken(data, declared.kind, order, most);
        }
        at = if summed { end.saturating_add(4) } else { end };
    }
    wrong(format!("it does not hold `{}`", wanted.name))
}

fn compare(declared: &Declared, wanted: Wanted<'_>) -> Result<(), WireError> {
    if declared.kind != wanted.kind {
        let (came, described) = (declared.kind.dtype(), wanted.kind.dtype());
        return wrong(format!("`{}` came as {came} and was described as {described}", wanted.name));
    }
    let shape: Vec<u64> = declared.axes.iter().map(|axis| axis.length).collect();
    if shape != wanted.shape {
        return wrong(format!("a box of shape {:?} of `{}` was asked for, one of {shape:?} came", wanted.shape, wanted.name));
    }
    Ok(())
}

/// Bytes that a variable takes.
fn length(declared: &Declared, data: &[u8], order: ByteOrder) -> Result<usize, WireError> {
    let count = declared.axes.iter().try_fold(1_u64, |product, axis| product.checked_mul(axis.length)).ok_or(WireError::Short)?;
    let count = usize::try_from(count).map_err(|_| WireError::Short)?;
    if declared.kind != Kind::Text {
        return count.checked_mul(declared.kind.dtype().size()).ok_or(WireError::Short);
    }
    let mut at = 0;
    for _ in 0..count {
        at += text(data.get(at..).unwrap_or_default(), order)?.len() + 8;
    }
    Ok(at)
}

/// The text at the start of some bytes: eight bytes of length, then it.
fn text(data: &[u8], order: ByteOrder) -> Result<&[u8], WireError> {
    let head: [u8; 8] = *data.first_chunk().ok_or(WireError::Short)?;
    let length = if order == ByteOrder::Little { u64::from_le_bytes(head) } else { u64::from_be_bytes(head) };
    let end = usize::try_from(length).ok().and_then(|length| length.checked_add(8)).ok_or(WireError::Short)?;
    data.get(8..end).ok_or(WireError::Short)
}

fn check(name: &str, values: &[u8], after: Option<&[u8]>, order: ByteOrder) -> Result<(), WireError> {
    let told: [u8; 4] = *after.and_then(|after| after.first_chunk()).ok_or(WireError::Short)?;
    let told = if order == ByteOrder::Little { u32::from_le_bytes(told) } else { u32::from_be_bytes(told) };
    if libdeflater::crc32(values) == told {
        Ok(())
    } else {
        wrong(format!("the checksum of `{name}` is wrong: its values were damaged on the way"))
    }
}

fn taken(mut data: Vec<u8>, kind: Kind, order: ByteOrder, most: u64) -> Result<Values, WireError> {
    if kind != Kind::Text {
        swap_to_native(&mut data, kind.dtype().size(), order);
        return Ok(Values::Bytes(data));
    }
    let (mut texts, mut at, mut bytes) = (Vec::new(), 0, 0_u64);
    while at < data.len() {
        let found = text(data.get(at..).unwrap_or_default(), order)?;
        at += found.len() + 8;
        bytes = bytes.saturating_add((size_of::<String>() + found.len()) as u64);
        if bytes > most {
            return wrong("its texts take more memory than one call may take; give more `--memory`");
        }
        texts.push(text_from_bytes(found).trim_end_matches('\0').to_owned());
    }
    Ok(Values::Texts(texts))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer in chunks of so many bytes.
    fn answer(dmr: &str, data: &[u8], flags: u8, size: usize) -> Vec<u8> {
        let head = |flags: u8, length: usize| [&[flags][..], &(length as u32).to_be_bytes()[1..]].concat();
        let mut answer = [head(flags, dmr.len()), dmr.as_bytes().to_vec()].concat();
        for piece in data.chunks(size) {
            answer.extend([head(flags, piece.len()), piece.to_vec()].concat());
        }
        answer.extend(head(flags | LAST, 0));
        answer
    }

    use libdeflater::crc32 as crc;

    const DMR: &str = "<Dataset><Int64 name='a'><Dim size='2'/></Int64></Dataset>";

    fn wanted(shape: &[u64]) -> Wanted<'_> {
        Wanted { name: "a", kind: Kind::Int64, shape }
    }

    #[test]
    fn numbers_of_either_order_with_and_without_checksum() {
        let native: Vec<u8> = [1_i64, -2].iter().flat_map(|number| number.to_ne_bytes()).collect();
        let little: Vec<u8> = [1_i64, -2].iter().flat_map(|number| number.to_le_bytes()).collect();
        let big: Vec<u8> = [1_i64, -2].iter().flat_map(|number| number.to_be_bytes()).collect();
        let with = |bytes: &[u8], sum: [u8; 4]| [bytes, &sum].concat();
        for whole in [
            answer(DMR, &with(&little, crc(&little).to_le_bytes()), LITTLE_ENDIAN, 7),
            answer(DMR, &with(&big, crc(&big).to_be_bytes()), 0, 100),
            answer(DMR, &little, LITTLE_ENDIAN, 3),
            answer(DMR, &little, LITTLE_ENDIAN | NO_CHECKSUM, 100),
        ] {
            assert_eq!(values(&whole, wanted(&[2]), 100), Ok(Values::Bytes(native.clone())));
            for cut in 0..whole.len() {
                assert!(values(&whole[..cut], wanted(&[2]), 100).is_err(), "{cut}");
            }
        }
        let damaged = answer(DMR, &with(&little, (crc(&little) ^ 1).to_le_bytes()), LITTLE_ENDIAN, 100);
        assert!(matches!(values(&damaged, wanted(&[2]), 100), Err(WireError::Wrong(message)) if message.contains("checksum")));
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        let whole = answer(DMR, &[0; 16], LITTLE_ENDIAN, 100);
        assert!(matches!(values(&whole, wanted(&[1]), 100), Err(WireError::Wrong(_))));
        assert!(matches!(values(&whole, Wanted { kind: Kind::Int32, ..wanted(&[2]) }, 100), Err(WireError::Wrong(_))));
        assert!(matches!(values(&whole, Wanted { name: "b", ..wanted(&[2]) }, 100), Err(WireError::Wrong(_))));
        let error = [&[ERROR, 0, 0, 20][..], b"<Error>gone</Error>\n"].concat();
        assert!(matches!(values(&error, wanted(&[2]), 100), Err(WireError::Wrong(message)) if message.contains("gone")));
        assert!(matches!(values(b"<html>", wanted(&[2]), 100), Err(WireError::Wrong(_))));
    }

    #[test]
    fn texts_have_lengths_and_huge_claims_take_nothing() {
        let dmr = "<Dataset><String name='a'><Dim size='2'/></String></Dataset>";
        let data = [&3_u64.to_le_bytes()[..], b"abc", &0_u64.to_le_bytes()].concat();
        let text = Wanted { kind: Kind::Text, ..wanted(&[2]) };
        assert_eq!(values(&answer(dmr, &data, LITTLE_ENDIAN, 5), text, 100), Ok(Values::Texts(vec!["abc".to_owned(), String::new()])));
        assert!(values(&answer(dmr, &data, LITTLE_ENDIAN, 5), text, 30).is_err());
        let huge = answer(dmr, &u64::MAX.to_le_bytes(), LITTLE_ENDIAN, 100);
        assert_eq!(values(&huge, text, 100), Err(WireError::Short));
        let many = answer("<Dataset><Float64 name='a'><Dim size='18446744073709551615'/><Dim size='2'/></Float64></Dataset>", &[], 4, 9);
        assert!(values(&many, wanted(&[1]), 100).is_err());
    }
}
