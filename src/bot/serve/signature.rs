//! Is a webhook the code host's? HMAC-SHA256 over the raw body, as GitHub signs it (header `X-Hub-Signature-256`).
//!
//! Not for what the body says: nothing of it is parsed before its signature holds. Invariant: the time of a comparison tells nothing
//! of the right signature, and a secret is never printed.

use std::fmt;

use ring::hmac::{HMAC_SHA256, Key, verify};

/// The secrets that are good now: one, or the old and the new one while they are exchanged.
pub struct Secrets(Vec<Key>);

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} secrets", self.0.len())
    }
}

impl Secrets {
    /// From what the operator shares with the code host.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        Self(secrets.into_iter().map(|secret| Key::new(HMAC_SHA256, secret.as_bytes())).collect())
    }

    /// True if the body was signed with one of the secrets; `header` is `sha256=` and 64 hexadecimal digits.
    #[must_use]
    pub fn signed(&self, body: &[u8], header: Option<&str>) -> bool {
        let Some(given) = header.and_then(|header| header.strip_prefix("sha256=")).and_then(bytes_of) else { return false };
        // Each is tried, so that the time tells not even which one it was.
        self.0.iter().fold(false, |holds, key| verify(key, body, &given).is_ok() | holds)
    }
}

/// 32 bytes from 64 hexadecimal digits.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(pair).collect();
    bytes.filter(|bytes| bytes.len() == 32)
}
