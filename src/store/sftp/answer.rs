//! What a refusal, or the lack of an answer, means (draft-ietf-secsh-filexfer-02 §7).
//!
//! Invariant: an error is passing only if the same question may be answered later.

use russh_sftp::client::error::Error;
use russh_sftp::protocol::StatusCode;

use super::super::error::printable;
use super::super::retry::{Fault, Passing};
use super::super::{ErrorKind, StoreError};

/// The fault that a failed question is.
pub(super) fn judge(url: &str, error: &Error) -> Fault {
    let Error::Status(status) = error else {
        return match error {
            Error::Timeout => Fault::passing("the server fell silent"),
            other => broken(&other.to_string()),
        };
    };
    let text = printable(&status.error_message);
    let last = |kind, message: String| StoreError::new(kind, url, message).into();
    match status.status_code {
        StatusCode::NoSuchFile => last(ErrorKind::NotFound, "no such file on the server; check the path".to_owned()),
        StatusCode::PermissionDenied => last(ErrorKind::Forbidden, "the server keeps this file from this user".to_owned()),
        StatusCode::OpUnsupported => last(ErrorKind::Other, format!("the server does not know this question (`{text}`)")),
        // OpenSSH says no more of a folder that is read as a file, of a full table of handles and of a disk that is broken.
        StatusCode::Failure => Fault::passing(format!("the server failed (`{text}`)")),
        _ => Fault::passing(format!("the server answers `{text}`")),
    }
}

/// True if a refusal leaves the connection as it was.
pub(super) fn is_answer(error: &Error) -> bool {
    matches!(error, Error::Status(_))
}

/// True at the end of a file or of a folder's list.
pub(super) fn is_end(error: &Error) -> bool {
    matches!(error, Error::Status(status) if status.status_code == StatusCode::Eof)
}

/// A connection that broke.
pub(super) fn broken(why: &str) -> Fault {
    Fault::Passing(Passing { reason: format!("the connection broke ({})", printable(why)), ..Passing::default() })
}

/// A connection that broke before anybody was let in, which is how OpenSSH says that it has too many of them.
pub(super) fn turned_away(why: &str) -> Fault {
    let reason = format!("the server hung up before the login ({})", printable(why));
    Fault::Passing(Passing { reason, crowded: true, ..Passing::default() })
}
