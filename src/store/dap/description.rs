//! A dataset's description as bytes: packed for those who parse it, hashed for those who compare.
//!
//! Pure. Invariant: what was packed is unpacked as it was; bytes that were not packed here are none.

use bytes::{BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::Xxh3;

use super::super::Head;
use crate::layout::Protocol;

/// Begins a packed description; no file of any format begins like that.
const SIGNATURE: &[u8] = b"\x89gristmill dap";

/// The documents that describe a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Whose documents they are.
    pub protocol: Protocol,
    /// Last modification, as the server told it.
    pub modified: Option<String>,
    /// The DDS, or the DMR.
    pub first: Bytes,
    /// The DAS; empty for DAP4.
    pub second: Bytes,
}

impl Description {
    /// What tells two states of the dataset apart: the server's word, and the text of its documents.
    pub(super) fn head(&self) -> Head {
        let mut hash = Xxh3::new();
        for document in [&self.first, &self.second] {
            // Blanks are not told apart: some servers indent by how many they are talking to.
            without_history(document, &mut |part| {
                part.split(u8::is_ascii_whitespace).for_each(|word| hash.update(word));
            });
            hash.update(b"\0");
        }
        let name = match self.protocol {
            Protocol::Dap2 => "dap2",
            Protocol::Dap4 => "dap4",
        };
        Head { size: None, etag: Some(format!("\"{name}-{:032x}\"", hash.digest128())), modified: self.modified.clone(), ..Head::default() }
    }

    /// The documents as the start of a file.
    pub(super) fn pack(&self) -> Bytes {
        let mut packed = BytesMut::with_capacity(SIGNATURE.len() + 10 + self.first.len() + self.second.len());
        packed.put_slice(SIGNATURE);
        packed.put_u8(match self.protocol {
            Protocol::Dap2 => b'2',
            Protocol::Dap4 => b'4',
        });
        packed.put_u64_le(self.first.len() as u64);
        packed.put_slice(&self.first);
        packed.put_slice(&self.second);
        packed.freeze()
    }

    /// The documents that were packed; `None` if these bytes are something else.
    #[must_use]
    pub fn unpack(packed: &Bytes) -> Option<Self> {
        let rest = packed.strip_prefix(SIGNATURE)?;
        let protocol = match rest.first()? {
            b'2' => Protocol::Dap2,
            b'4' => Protocol::Dap4,
            _ => return None,
        };
        let length = u64::from_le_bytes(rest.get(1..9)?.try_into().ok()?);
        let begin = SIGNATURE.len() + 9;
        let middle = begin.checked_add(usize::try_from(length).ok()?).filter(|middle| *middle <= packed.len())?;
        Some(Self { protocol, modified: None, first: packed.slice(begin..middle), second: packed.slice(middle..) })
    }
}

/// Passes on a text without the values of `history` attributes: some servers write into them when they were asked, and what.
fn without_history(text: &[u8], pass: &mut dyn FnMut(&[u8])) {
    let mut rest = text;
    while let Some(at) = find(rest, b"history") {
        let (before, value) = rest.split_at(at + b"history".len());
        pass(before);
        // DAS: `String history "…";`. DMR: `<Attribute name="history" …>…</Attribute>`.
        let xml = value.first() == Some(&b'"');
        let end = if xml { find(value, b"</Attribute>") } else { find(value, b"\";") };
        rest = value.get(end.unwrap_or(0)..).unwrap_or_default();
    }
    pass(rest);
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

fn begins(document: &[u8], word: &[u8]) -> bool {
    let text = document.trim_ascii_start();
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// True if a document begins as a DDS does.
pub(super) fn is_dds(document: &[u8]) -> bool {
    begins(document, b"Dataset")
}

/// True if a document begins as a DAS does.
pub(super) fn is_das(document: &[u8]) -> bool {
    begins(document, b"Attributes")
}

/// True if a document is XML with a dataset in it.
pub(super) fn is_dmr(document: &[u8]) -> bool {
    begins(document, b"<") && find(document.get(..4096).unwrap_or(document), b"Dataset").is_some()
}

/// True if a DDS is not cut.
pub(super) fn is_whole_dds(document: &[u8]) -> bool {
    document.trim_ascii_end().ends_with(b";")
}

/// True if a DAS is not cut.
pub(super) fn is_whole_das(document: &[u8]) -> bool {
    document.trim_ascii_end().ends_with(b"}") || document.trim_ascii_end().ends_with(b"};")
}

/// True if a DMR is not cut.
pub(super) fn is_whole_dmr(document: &[u8]) -> bool {
    document.trim_ascii_end().ends_with(b">")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(das: &'static str) -> Description {
        let (first, second) = (Bytes::from_static(b"Dataset { Byte a; } d;"), Bytes::from_static(das.as_bytes()));
        Description { protocol: Protocol::Dap2, modified: Some("now".to_owned()), first, second }
    }

    #[test]
    fn unpacks_what_it_packed_and_nothing_else() {
        let packed = description("Attributes { }").pack();
        let again = Description::unpack(&packed).unwrap();
        assert_eq!(again, Description { modified: None, ..description("Attributes { }") });
        for wrong in [
            Bytes::new(),
            packed.slice(..20),
            Bytes::from_static(b"CDF\x01"),
            Bytes::from([SIGNATURE, &b"2\xff\xff\xff\xff\xff\xff\xff\xff"[..]].concat()),
        ] {
            assert_eq!(Description::unpack(&wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_moment_of_asking_does_not_change_what_it_is() {
        let tag = |das| description(das).head().etag;
        let one = tag("Attributes { NC_GLOBAL { String history \"asked at 12:00\"; String title \"a\"; } }");
        assert_eq!(one, tag("Attributes { NC_GLOBAL { String history \"asked at 12:05, twice\"; String title \"a\"; } }"));
        assert_eq!(one, tag("Attributes {\n  NC_GLOBAL {\n    String history \"\"; String title \"a\"; } }"));
        assert_ne!(one, tag("Attributes { NC_GLOBAL { String history \"asked at 12:00\"; String title \"b\"; } }"));
        assert_ne!(tag("Attributes { String history \"cut"), tag("Attributes { String history \"cut off"));
    }
}
