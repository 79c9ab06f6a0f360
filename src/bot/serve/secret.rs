//! A text that is never printed, and where it comes from.
//!
//! Not for credentials of stores (`store::auth`). Invariant: neither `Debug` nor a log line shows one.

use std::fmt;

use crate::store::auth::redact;

/// A secret of the operator's.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Keeps a text from being printed, here and by whatever else prints it.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        redact::keep(&text);
        Self(text)
    }

    /// The text, for whoever signs with it or hands it to the process that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}
