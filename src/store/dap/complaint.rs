//! Error documents of OPeNDAP servers.
//!
//! Pure: bytes in, what the server complains of out. DAP2 writes `Error { code = 404; message = "…"; };` (ESE-RFC-004.1.2 §7), DAP4 an
//! XML `<Error httpcode="404"><Message>…</Message>` (DAP4 Volume 1, Error Response). Invariant: bytes without such a document are none.

use super::super::error::printable;
use super::super::retry::Fault;
use super::super::{ErrorKind, StoreError};

/// Where such a document is looked for: the first bytes of an answer, or the last ones, where a server broke off.
pub const LOOKED_AT: usize = 4096;

/// What a server says is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Its number: DAP2's own (1 to 9), those of some server, or an HTTP status.
    pub code: Option<u32>,
    /// Its words, fit to be shown.
    pub message: String,
}

/// The server finds the answer to a request too large; smaller ones may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer would be larger than the server allows")]
pub struct TooLarge;

impl TooLarge {
    /// True if that is why a request failed.
    #[must_use]
    pub fn is_why(error: &StoreError) -> bool {
        error.cause.as_ref().is_some_and(|cause| cause.is::<Self>())
    }
}

/// What servers say of answers that are too large (THREDDS, Hyrax, ERDDAP, pydap in their own words).
const LARGE: [&str; 7] = ["too big", "too large", "larger than", "exceeds", "exceeded", "response size", "too much data"];

impl Complaint {
    /// The error document that some bytes are, or begin or end with.
    #[must_use]
    pub fn find(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        Self::in_dap2(&text).or_else(|| Self::in_dap4(&text))
    }

    fn in_dap2(text: &str) -> Option<Self> {
        let rest = starts(text, "Error").find_map(|rest| rest.trim_start().strip_prefix('{'))?;
        let code = field(rest, "code").map(|value| value.chars().take_while(char::is_ascii_digit).collect::<String>());
        let code = code.and_then(|digits| digits.parse().ok());
        let message = field(rest, "message").map(quoted)?;
        Some(Self { code, message: printable(&message) })
    }

    fn in_dap4(text: &str) -> Option<Self> {
        let opened = starts(text, "Error").find(|rest| rest.starts_with([' ', '>', '\n', '\r', '\t']) && rest.contains("Message>"))?;
        let (tag, body) = opened.split_once('>')?;
        let code = tag.split_once("httpcode=").map(|(_, value)| value.trim_start_matches(['"', '\'']));
        let code = code.map(|value| value.chars().take_while(char::is_ascii_digit).collect::<String>());
        let message = body.split_once("Message>")?.1.split('<').next().unwrap_or_default();
        Some(Self { code: code.and_then(|digits| digits.parse().ok()), message: printable(message) })
    }

    /// True if it says that less should be asked for.
    fn is_of_size(&self) -> bool {
        let words = self.message.to_lowercase();
        self.code == Some(413) || LARGE.iter().any(|large| words.contains(large))
    }

    /// What it means for a request that was answered with this status; `None` where the status alone decides.
    fn fault(&self, url: &str, status: u16) -> Option<Fault> {
        let told = format!("the OPeNDAP server says: {}", self.message);
        let fail = |kind, advice: &str| Some(StoreError::new(kind, url, format!("{told}; {advice}")));
        let code = self.code.filter(|code| (400..600).contains(code)).map_or(status, |code| code as u16);
        let error = match (code, self.code) {
            _ if self.is_of_size() => fail(ErrorKind::Other, "less is asked for at a time").map(|error| error.because(TooLarge)),
            (404 | 410, _) | (_, Some(3)) => fail(ErrorKind::NotFound, "check the URL, or say `missing: skip` if datasets may lack"),
            (401 | 403, _) | (_, Some(6)) => fail(ErrorKind::Forbidden, "check the rights to the dataset"),
            (408 | 429 | 500 | 502..=504, _) => return Some(Fault::passing(told)),
            _ => fail(ErrorKind::Other, "check the URL, and what `gristmill inspect` shows of it"),
        };
        error.map(Fault::Final)
    }
}

/// What follows each occurrence of a word.
fn starts<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(word).filter_map(move |(at, _)| text.get(at + word.len()..))
}

/// The value of `name = value;` in the body of a DAP2 error.
fn field<'a>(body: &'a str, name: &'a str) -> Option<&'a str> {
    starts(body, name).find_map(|rest| rest.trim_start().strip_prefix('=')).map(str::trim_start)
}

fn quoted(value: &str) -> String {
    match value.strip_prefix('"') {
        Some(inside) => inside.replace("\\\"", "'").split('"').next().unwrap_or_default().to_owned(),
        None => value.split(';').next().unwrap_or_default().to_owned(),
    }
}

/// The fault that an answer is, told by its status and the bytes it begins with; `None` if they tell of none.
pub(super) fn judge(url: &str, status: u16, start: &[u8]) -> Option<Fault> {
    let start = start.get(..LOOKED_AT).unwrap_or(start);
    if (200..300).contains(&status) {
        let text = start.trim_ascii_start();
        let is_error = text.starts_with(b"Error") || (text.starts_with(b"<") && !text.windows(8).any(|eight| eight == b"<Dataset"));
        return is_error.then(|| Complaint::find(start))?.and_then(|complaint| complaint.fault(url, 400));
    }
    let found = Complaint::find(start);
    if let Some(fault) = found.as_ref().and_then(|complaint| complaint.fault(url, status)) {
        return Some(fault);
    }
    let words = Complaint { code: Some(u32::from(status)), message: printable(&String::from_utf8_lossy(start)) };
    let of_size = matches!(status, 400 | 403 | 413 | 500) && words.is_of_size();
    of_size.then(|| words.fault(url, status)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, body: &str) -> Option<(ErrorKind, bool)> {
        match judge("u", status, body.as_bytes()) {
            Some(Fault::Final(error)) => Some((error.kind, TooLarge::is_why(&error))),
            Some(Fault::Passing(_)) => Some((ErrorKind::Temporary, false)),
            None => None,
        }
    }

    #[test]
    fn finds_what_servers_complain_of() {
        let thredds = "Error {\n    code = 404;\n    message = \"FileNotFound: no \\\"a.nc\\\"\";\n};\n";
        let found = Complaint::find(thredds.as_bytes()).unwrap();
        assert_eq!((found.code, found.message.as_str()), (Some(404), "FileNotFound: no 'a.nc'"));
        let hyrax =
            "<?xml version=\"1.0\"?>\n<dap4:Error xmlns:dap4=\"x\" httpcode=\"400\">\n<dap4:Message>no such\nvariable</dap4:Message>";
        assert_eq!(Complaint::find(hyrax.as_bytes()).unwrap().code, Some(400));
        assert_eq!(Complaint::find(b"Error { code = 3; message = unquoted; }").unwrap().message, "unquoted");
        for none in [&b"Errors"[..], b"", b"Dataset { Float32 Error; } x;", b"\xff\xfeError", b"<Error"] {
            assert_eq!(Complaint::find(none), None, "{none:?}");
        }
    }

    #[test]
    fn what_it_means_is_told_by_code_and_words() {
        let error = |code: u32, words: &str| format!("Error {{ code = {code}; message = \"{words}\"; }};");
        assert_eq!(kind(404, &error(404, "no such file")), Some((ErrorKind::NotFound, false)));
        assert_eq!(kind(200, &error(3, "no such file")), Some((ErrorKind::NotFound, false)));
        assert_eq!(kind(403, &error(403, "Request too big=2400.0 Mbytes, max=500.0")), Some((ErrorKind::Other, true)));
        assert_eq!(kind(200, &error(1001, "no such variable")), Some((ErrorKind::Other, false)));
        assert_eq!(kind(500, &error(500, "try again")), Some((ErrorKind::Temporary, false)));
        assert_eq!(kind(413, "sorry"), Some((ErrorKind::Other, true)));
        assert_eq!(kind(500, "<html>the response size is over the limit"), Some((ErrorKind::Other, true)));
        assert_eq!(
            [kind(500, "<html>"), kind(404, ""), kind(200, "Dataset {} x;"), kind(200, "Attributes { a { String e \"Error { code\"; } }")],
            [None; 4]
        );
    }
}
