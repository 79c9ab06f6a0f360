//! Bytes of a file as text.
//!
//! Invariant: no byte is lost: where they are not UTF-8, every byte is a character.

/// UTF-8 where it is, else Latin-1, in which every byte is a character: old archives hold both and say neither.
#[must_use]
pub fn text_from_bytes(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|&byte| char::from(byte)).collect(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_utf8_is_latin1() {
        assert_eq!([&b"caf\xc3\xa9"[..], b"caf\xe9", b"\xb0C", b""].map(text_from_bytes), ["café", "café", "°C", ""]);
    }
}
