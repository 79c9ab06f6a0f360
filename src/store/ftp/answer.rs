//! What a reply, or the lack of one, means (RFC 959 §4.2, RFC 3659).
//!
//! Invariant: an error is passing only if the same command may work later, and a file is absent only if the server says so of
//! the file, not of the one who asks.

use std::io;

use suppaftp::FtpError;
use suppaftp::types::Response;

use super::super::error::printable;
use super::super::retry::{Fault, Passing};
use super::super::{ErrorKind, StoreError};

/// The fault that a failed command is.
pub(super) fn judge(url: &str, error: FtpError) -> Fault {
    match error {
        FtpError::UnexpectedResponse(response) => refused(url, &response),
        FtpError::ConnectionError(error) if error.kind() == io::ErrorKind::InvalidInput => {
            StoreError::new(ErrorKind::Other, url, "not a path that can be sent to an FTP server").because(error).into()
        }
        FtpError::ConnectionError(error) => {
            let reason = format!("the connection broke ({})", printable(&error.to_string()));
            Fault::Passing(Passing { reason, cause: Some(error.into()), ..Passing::default() })
        }
        FtpError::SecureError(text) if text.contains("certificate") => {
            let message = "the server's certificate is not valid; check the host name and this machine's certificates and clock";
            StoreError::new(ErrorKind::Other, url, message).because(text).into()
        }
        FtpError::SecureError(text) => Fault::passing(format!("the connection cannot be encrypted ({})", printable(&text))),
        other => Fault::passing(format!("the server's answer makes no sense ({})", printable(&other.to_string()))),
    }
}

/// A server that refuses with a reply of its own.
fn refused(url: &str, response: &Response) -> Fault {
    let (code, text) = reply(response);
    let quoted = if text.is_empty() { String::new() } else { format!(": `{text}`") };
    let last = |kind, advice: &str| StoreError::new(kind, url, format!("the server answers {code}{quoted}; {advice}")).into();
    match code {
        421 => crowded(code, &quoted),
        430 | 530 | 532 | 331 | 332 if is_crowded(&text) => crowded(code, &quoted),
        430 | 530 | 532 | 331 | 332 => last(ErrorKind::Forbidden, "check the user and the password for this server"),
        550 if is_forbidden(&text) => last(ErrorKind::Forbidden, "the server keeps this file from this user"),
        550 => last(ErrorKind::NotFound, "check the path"),
        552 => last(ErrorKind::Other, "the server has no room for this"),
        400..=499 => Fault::passing(format!("the server answers {code}{quoted}")),
        500..=504 => last(ErrorKind::Other, "it does not know this command"),
        _ => last(ErrorKind::Other, "check the URL"),
    }
}

fn crowded(code: u16, quoted: &str) -> Fault {
    let reason = format!("the server answers {code}{quoted}");
    Fault::Passing(Passing { reason, crowded: true, ..Passing::default() })
}

/// Servers that use the code of a wrong password for too many users say so in words.
fn is_crowded(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["too many", "maximum", "try again later", "limit"].iter().any(|word| text.contains(word))
}

fn is_forbidden(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["denied", "permission", "privilege", "not allowed", "forbidden"].iter().any(|word| text.contains(word))
}

/// Code and first line of a reply, made safe to print.
pub(super) fn reply(response: &Response) -> (u16, String) {
    let text = String::from_utf8_lossy(&response.body);
    let code = text.get(..3).and_then(|code| code.parse().ok()).unwrap_or_default();
    (code, printable(text.get(4..).unwrap_or_default()))
}

/// The code with which a server refused; `None` where something else went wrong.
pub(super) fn code(error: &FtpError) -> Option<u16> {
    match error {
        FtpError::UnexpectedResponse(response) => Some(reply(response).0),
        _ => None,
    }
}

/// True if the server does not know a command, or not in this form.
pub(super) fn is_unknown(error: &FtpError) -> bool {
    matches!(code(error), Some(202 | 500..=504 | 522))
}

/// A server that said nothing for too long.
pub(super) fn silent() -> FtpError {
    FtpError::ConnectionError(io::Error::new(io::ErrorKind::TimedOut, "the server fell silent"))
}

#[cfg(test)]
mod tests {
    use suppaftp::Status;

    use super::*;

    fn fault(text: &str) -> Fault {
        let response = Response { status: Status::Unknown, body: format!("{text}\r\n").into_bytes() };
        judge("ftp://h/a", FtpError::UnexpectedResponse(response))
    }

    #[test]
    fn replies_are_told_apart() {
        let kind = |text: &str| match fault(text) {
            Fault::Final(error) => (Some(error.kind), false),
            Fault::Passing(passing) => (None, passing.crowded),
        };
        for (text, expected) in [
            ("550 No such file", (Some(ErrorKind::NotFound), false)),
            ("550 Permission denied.", (Some(ErrorKind::Forbidden), false)),
            ("530 Login incorrect.", (Some(ErrorKind::Forbidden), false)),
            ("530 Sorry, the maximum number of clients (3) are already connected", (None, true)),
            ("421 There are too many connected users, please try later.", (None, true)),
            ("425 Can't open data connection", (None, false)),
            ("426 Connection closed", (None, false)),
            ("450 File busy", (None, false)),
            ("500 What?", (Some(ErrorKind::Other), false)),
            ("553 Bad name", (Some(ErrorKind::Other), false)),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn a_reply_is_quoted_without_tricks() {
        let Fault::Final(error) = fault("550 gone\u{1b}[2J\r\n550 more") else { unreachable!() };
        assert_eq!(error.to_string(), "ftp://h/a: the server answers 550: `gone[2J`; check the path");
    }
}
