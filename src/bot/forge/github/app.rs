//! Who we are: a JSON Web Token that the App signs with its private key.
//!
//! GitHub takes RS256 only (RFC 7518 §3.3) and lifetimes of at most ten minutes. Invariant: the key is never printed.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::json;

/// Clocks may differ by so many seconds.
const SKEW: i64 = 60;
/// Seconds until a token ends; GitHub takes ten minutes, less what clocks differ.
const LIFE: i64 = 480;

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not PEM, or of something else.
    #[error("the key is no RSA private key in PEM form (`BEGIN RSA PRIVATE KEY` or `BEGIN PRIVATE KEY`)")]
    NoPem,
    /// The numbers in it make no key.
    #[error("the private key cannot be used: {0}")]
    Rejected(String),
    /// Signing failed.
    #[error("cannot sign with the private key")]
    Signing,
}

/// An App and its key.
pub(super) struct App {
    number: u64,
    key: RsaKeyPair,
    random: SystemRandom,
}

impl std::fmt::Debug for App {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("App").field("number", &self.number).finish_non_exhaustive()
    }
}

impl App {
    /// # Errors
    /// [`KeyError`].
    pub(super) fn new(number: u64, pem: &str) -> Result<Self, KeyError> {
        let rejected = |error: ring::error::KeyRejected| KeyError::Rejected(error.to_string());
        let key = if let Some(der) = section(pem, "RSA PRIVATE KEY") {
            RsaKeyPair::from_der(&der).map_err(rejected)?
        } else {
            RsaKeyPair::from_pkcs8(&section(pem, "PRIVATE KEY").ok_or(KeyError::NoPem)?).map_err(rejected)?
        };
        Ok(Self { number, key, random: SystemRandom::new() })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// What proves at this time that it is us.
    ///
    /// # Errors
    /// If signing fails.
    pub(super) fn proof(&self, now: Timestamp) -> Result<String, KeyError> {
        let seconds = now.as_second();
        let claims = json!({"iat": seconds - SKEW, "exp": seconds + LIFE, "iss": self.number.to_string()});
        let words = format!("{}.{}", encoded(br#"{"alg":"RS256","typ":"JWT"}"#), encoded(claims.to_string().as_bytes()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &self.random, words.as_bytes(), &mut signature).map_err(|_| KeyError::Signing)?;
        Ok(format!("{words}.{}", encoded(&signature)))
    }
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What stands between the lines of a PEM file (RFC 7468).
fn section(pem: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let letters: String = body.split_whitespace().collect();
    STANDARD.decode(letters).ok()
}
