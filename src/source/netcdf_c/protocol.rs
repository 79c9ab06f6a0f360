//! What the two processes say to each other: a header as JSON and raw bytes behind it.
//!
//! One request, one answer. Each frame is `u32` length of the header, `u64` length of the body (both little-endian), header, body.
//! Invariant: a frame that announces more than it brings costs no more memory than what it brings.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::dataset::Schema;
use crate::grid::Region;
use crate::source::Format;

/// No sane description of a file is longer.
const LARGEST_HEADER: u32 = 256 << 20;

/// What the parent wants.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Request {
    /// Opens the file whose path is the body. Asked once.
    Open,
    /// Values of a box.
    Read {
        /// The variable, with its groups' path.
        variable: String,
        /// The box.
        region: Region,
    },
    /// Which netCDF-C this is.
    Version,
}

/// What the child answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// To [`Request::Open`].
    Opened(Box<Description>),
    /// To [`Request::Read`]: the body holds numbers (machine's byte order), or texts as [`texts_to_bytes`] writes them.
    Values,
    /// To [`Request::Version`].
    Version(String),
    /// It did not work.
    Failed(String),
}

/// What a file holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) format: Format,
    pub(super) schema: Schema,
    /// Variables and attributes left out, with the reason.
    pub(super) refused: Vec<(String, String)>,
}

/// Writes one frame.
///
/// # Errors
/// If the other side is gone.
pub(super) fn write(output: &mut dyn Write, header: &impl Serialize, body: &[u8]) -> io::Result<()> {
    let header = serde_json::to_vec(header)?;
    let length = u32::try_from(header.len()).map_err(io::Error::other)?;
    output.write_all(&length.to_le_bytes())?;
    output.write_all(&(body.len() as u64).to_le_bytes())?;
    output.write_all(&header)?;
    output.write_all(body)?;
    output.flush()
}

/// Reads one frame; `None` if the other side has ended properly, between frames.
///
/// # Errors
/// If the other side ends inside a frame, or says something else than we do.
pub(super) fn read<T: DeserializeOwned>(input: &mut dyn Read) -> io::Result<Option<(T, Vec<u8>)>> {
    let mut lengths = Vec::with_capacity(12);
    input.take(12).read_to_end(&mut lengths)?;
    if lengths.is_empty() {
        return Ok(None);
    }
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let (header, body) = lengths.split_at_checked(4).ok_or_else(short)?;
    let header = u32::from_le_bytes(header.try_into().map_err(io::Error::other)?);
    let body = u64::from_le_bytes(body.try_into().map_err(|_| short())?);
    if header > LARGEST_HEADER {
        return Err(io::Error::other("its answer makes no sense"));
    }
    let header = serde_json::from_slice(&exactly(input, u64::from(header))?)?;
    Ok(Some((header, exactly(input, body)?)))
}

fn exactly(input: &mut dyn Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Texts as one body: each its length (`u32`, little-endian) and its bytes.
pub(super) fn texts_to_bytes(texts: &[String]) -> Vec<u8> {
    let one = |text: &String| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    texts.iter().flat_map(one).collect()
}

/// The texts of a body; `None` if it is not one.
pub(super) fn texts_from_bytes(mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        texts.push(String::from_utf8(text.to_vec()).ok()?);
        bytes = rest;
    }
    Some(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_whole_and_broken_ones_are_errors() {
        let mut wire = Vec::new();
        write(&mut wire, &Request::Read { variable: "a/b".to_owned(), region: Region::whole(&[2, 3]) }, b"body").unwrap();
        for cut in 1..wire.len() {
            assert!(read::<Request>(&mut &wire[..cut]).is_err(), "{cut}");
        }
        let (request, body) = read::<Request>(&mut wire.as_slice()).unwrap().unwrap();
        assert!(matches!(request, Request::Read { variable, region } if variable == "a/b" && region == Region::whole(&[2, 3])));
        assert_eq!(body, b"body");
        assert!(read::<Request>(&mut [].as_slice()).unwrap().is_none());
        assert!(read::<Request>(&mut [0xff; 64].as_slice()).is_err());
    }

    #[test]
    fn texts_come_back_whole() {
        let texts = ["", "ä", "two\nlines"].map(str::to_owned).to_vec();
        let bytes = texts_to_bytes(&texts);
        assert_eq!(texts_from_bytes(&bytes), Some(texts));
        assert_eq!(texts_from_bytes(&bytes[..bytes.len() - 1]), None);
        assert_eq!(texts_from_bytes(&[1, 0, 0, 0, 0xff]), None);
    }
}
