//! The last line against printed secrets: what is in use is starred out of any text that leaves.
//!
//! Types and habits keep secrets from being printed (`Secret`, URLs without queries, sensitive headers); this catches what a server
//! repeats in an answer or a library says at trace level. Not a licence to pass secrets around. Invariant: a text that was passed
//! through [`scrub`] holds no secret that was in use by then and has at least [`SHORTEST`] bytes.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::{PoisonError, RwLock};

/// Shorter ones would star out ordinary words.
pub const SHORTEST: usize = 8;

/// Most that are remembered; tokens that are renewed for days push out the oldest renewed ones.
const MOST: usize = 4096;

static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Remembers a secret that is in use, in every form that it is sent in.
pub(crate) fn keep(secret: &str) {
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let percent = encoded.replace('+', "%20");
    let mut secrets = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    for form in [secret.to_owned(), encoded, percent] {
        if form.len() >= SHORTEST && !secrets.contains(&form) {
            secrets.push(form);
        }
    }
    if secrets.len() > MOST {
        let first = secrets.len() - MOST;
        secrets.drain(..first);
    }
}

/// The text with every secret in use replaced by `***`.
#[must_use]
pub fn scrub(text: &str) -> Cow<'_, str> {
    let secrets = SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    let mut clean = Cow::Borrowed(text);
    for secret in secrets.iter().filter(|secret| text.contains(secret.as_str())) {
        clean = Cow::Owned(clean.replace(secret.as_str(), "***"));
    }
    clean
}

/// A writer that scrubs what it is given, text by text: a secret that is cut in two between writes is not seen.
#[derive(Debug)]
pub struct Scrubbing<W>(pub W);

impl<W: Write> Write for Scrubbing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(scrub(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_out_every_form() {
        keep("scrub/me please");
        keep("tiny");
        assert_eq!(scrub("a scrub/me please b"), "a *** b");
        assert_eq!(scrub("?t=scrub%2Fme+please&u=scrub%2Fme%20please"), "?t=***&u=***");
        assert_eq!(scrub("a tiny word"), "a tiny word");
        let mut out = Vec::new();
        Scrubbing(&mut out).write_all(b"x scrub/me please\n").unwrap();
        assert_eq!(out, b"x ***\n");
    }
}
