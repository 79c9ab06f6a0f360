//! What a server's answer means.
//!
//! Pure: status and headers in, a judgement out. Invariant: an answer that is not exactly what was asked for becomes a fault,
//! never bytes.

use std::ops::Range;

use reqwest::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED, RETRY_AFTER,
};
use reqwest::{StatusCode, Version};

use super::super::error::printable;
use super::super::retry::{Fault, Passing, retry_after};
use super::super::{ErrorKind, Head, StoreError};

/// A header as text.
pub(super) fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// `Content-Length`, read from the header: a HEAD's body has another length.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    header(headers, CONTENT_LENGTH).and_then(|text| text.parse().ok())
}

/// Size and validators told by the headers of a whole file.
pub(super) fn head(headers: &HeaderMap) -> Head {
    let text = |name| header(headers, name).filter(|text| !text.is_empty()).map(str::to_owned);
    Head { size: announced(headers), etag: text(ETAG), modified: text(LAST_MODIFIED), stored: None }
}

/// True if nothing says where the body ends, so that a cut cannot be told from the end (RFC 9112 §6.3, last case).
pub(super) fn is_endless(version: Version, headers: &HeaderMap) -> bool {
    version < Version::HTTP_2 && announced(headers).is_none() && !headers.contains_key(reqwest::header::TRANSFER_ENCODING)
}

/// The fault that a status is, unless it is a success.
pub(super) fn judge_status(url: &str, status: StatusCode, headers: &HeaderMap) -> Result<(), Fault> {
    let told = format!("the server answers {}", status.as_u16());
    let fail = |kind, advice: &str| Err(Fault::Final(StoreError::new(kind, url, format!("{told}: {advice}"))));
    match status.as_u16() {
        200 | 206 => Ok(()),
        401 => fail(ErrorKind::Forbidden, "it wants credentials; check whether the file is public"),
        403 => fail(ErrorKind::Forbidden, "access is forbidden, or the file does not exist in a private place; check URL and rights"),
        404 | 410 => fail(ErrorKind::NotFound, "no such file; check the URL, or say `missing: skip` if files may lack"),
        412 => Err(changed(url, "its validator no longer matches")),
        416 => fail(ErrorKind::Integrity, "the file is shorter than its own index says; it is truncated: fetch it anew"),
        202 | 408 | 409 | 425 | 429 | 500 | 502..=504 | 506..=599 => Err(passing(told, status, headers)),
        400 if url.starts_with("https://") => fail(
            ErrorKind::Other,
            "the request is not understood; check the URL, and whether the server wants a client certificate (`auth`)",
        ),
        300..=399 => fail(ErrorKind::Other, "a redirect that leads nowhere; check the URL"),
        _ => fail(ErrorKind::Other, "the request is not understood; check the URL"),
    }
}

fn passing(reason: String, status: StatusCode, headers: &HeaderMap) -> Fault {
    let wait = header(headers, RETRY_AFTER).and_then(|value| retry_after(value, header(headers, DATE)));
    Fault::Passing(Passing { reason, wait, crowded: matches!(status.as_u16(), 429 | 503), cause: None })
}

/// Refuses a body that is compressed although `identity` was asked for: its ranges are not ranges of the file.
pub(super) fn judge_encoding(url: &str, headers: &HeaderMap) -> Result<(), Fault> {
    match header(headers, CONTENT_ENCODING).filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity")) {
        None => Ok(()),
        Some(coding) => {
            let coding = printable(coding);
            let message = format!(
                "the server sends the file with content-encoding `{coding}` although it was asked not to; ask its maintainers to serve it as it is"
            );
            Err(StoreError::new(ErrorKind::Integrity, url, message).into())
        }
    }
}

/// True if the answer says that it is a web page.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    let kind = header(headers, CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    kind.starts_with("text/html") || kind.starts_with("application/xhtml")
}

/// True if the first bytes are those of a web page.
pub(super) fn looks_like_page(start: &[u8]) -> bool {
    let text = start.trim_ascii_start();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let begins = |with: &[u8]| text.get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with));
    begins(b"<!doctype html") || begins(b"<html")
}

/// The refusal of a web page, quoting its first line.
pub(super) fn page(url: &str, start: &[u8]) -> Fault {
    let line = printable(&String::from_utf8_lossy(start));
    let quoted = if line.is_empty() { String::new() } else { format!(" (it begins `{line}`)") };
    let message =
        format!("the server sends a web page instead of the file{quoted}; it may be a login or error page: open the URL in a browser");
    StoreError::new(ErrorKind::Integrity, url, message).into()
}

/// The refusal of a file that is no longer the one that was first looked at.
pub(super) fn changed(url: &str, how: &str) -> Fault {
    let message = format!("the file changed on the server while it was read ({how}); run again, and check whether it is complete there");
    StoreError::new(ErrorKind::Integrity, url, message).into()
}

/// Refuses an answer about another content than the one first seen. Weak and strong forms of one tag are the same content here.
pub(super) fn judge_identity(url: &str, seen: &Head, now: &Head) -> Result<(), Fault> {
    let opaque = |tag: &str| tag.trim_start_matches("W/").to_owned();
    match (&seen.etag, &now.etag) {
        (Some(then), Some(now)) if opaque(then) != opaque(now) => Err(changed(url, "another ETag")),
        (Some(_), Some(_)) => Ok(()),
        _ => match (&seen.modified, &now.modified) {
            (Some(then), Some(now)) if then != now => Err(changed(url, "another modification time")),
            _ => Ok(()),
        },
    }
}

/// A `Content-Range` (RFC 9110 §14.4): the bytes sent and, if told, the length of the file.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(Range<u64>, Option<u64>)> {
    let text = header(headers, CONTENT_RANGE)?;
    let (unit, rest) = text.split_once(' ')?;
    let (bytes, total) = rest.split_once('/')?;
    let (first, last) = bytes.trim().split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        digits => Some(digits.parse().ok()?),
    };
    (unit.eq_ignore_ascii_case("bytes") && first <= last).then_some((first..last.checked_add(1)?, total))
}

/// The bytes a 206 holds: they must begin where asked, end at most where asked, and belong to a file of the known length.
pub(super) fn judge_range(url: &str, headers: &HeaderMap, asked: &Range<u64>, size: Option<u64>) -> Result<Range<u64>, Fault> {
    let wrong = |what: String| {
        Fault::Final(StoreError::new(ErrorKind::Integrity, url, format!("{what}; the server's range answers cannot be trusted")))
    };
    let Some((sent, total)) = content_range(headers) else {
        return Err(wrong(format!("bytes {}-{} were asked for, but the answer does not say which it holds", asked.start, asked.end - 1)));
    };
    if let (Some(known), Some(total)) = (size, total)
        && known != total
    {
        return Err(changed(url, &format!("{known} bytes before, {total} now")));
    }
    if sent.start != asked.start || sent.end > asked.end {
        return Err(wrong(format!("bytes {}-{} were asked for, {}-{} came", asked.start, asked.end - 1, sent.start, sent.end - 1)));
    }
    match announced(headers) {
        Some(length) if length != sent.end - sent.start => {
            Err(wrong(format!("an answer of {} bytes announces {length}", sent.end - sent.start)))
        }
        _ => Ok(sent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn reads_content_ranges() {
        let read = |text| content_range(&headers(&[(CONTENT_RANGE, text)]));
        assert_eq!(read("bytes 0-9/100"), Some((0..10, Some(100))));
        assert_eq!(read("Bytes 5-5/*"), Some((5..6, None)));
        for bad in ["bytes */100", "bytes 9-0/100", "items 0-9/100", "bytes 0-18446744073709551615/*", "bytes 0-9", "0-9/100"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn knows_a_page() {
        assert!(looks_like_page(b"\r\n<!DOCTYPE HTML PUBLIC") && looks_like_page(b"\xef\xbb\xbf<html>"));
        assert!(!looks_like_page(b"CDF\x01") && !looks_like_page(b"") && !looks_like_page(b"<htm"));
    }

    #[test]
    fn a_range_must_be_the_one_asked_for() {
        let judge = |text, length| {
            let given = headers(&[(CONTENT_RANGE, text), (CONTENT_LENGTH, length)]);
            judge_range("u", &given, &(10..20), Some(100)).ok()
        };
        assert_eq!(judge("bytes 10-19/100", "10"), Some(10..20));
        assert_eq!(judge("bytes 10-14/100", "5"), Some(10..15));
        for (text, length) in
            [("bytes 0-9/100", "10"), ("bytes 10-20/100", "11"), ("bytes 10-19/101", "10"), ("bytes 10-19/100", "99"), ("", "10")]
        {
            assert_eq!(judge(text, length), None, "{text}");
        }
    }

    #[test]
    fn statuses_have_kinds() {
        let judge = |code: u16| match judge_status("u", StatusCode::from_u16(code).unwrap(), &HeaderMap::new()) {
            Err(Fault::Final(error)) => Some(error.kind),
            _ => None,
        };
        assert_eq!(
            [401, 403, 404, 410].map(judge),
            [ErrorKind::Forbidden, ErrorKind::Forbidden, ErrorKind::NotFound, ErrorKind::NotFound].map(Some)
        );
        assert_eq!([408, 429, 500, 503, 200].map(judge), [None; 5]);
        assert_eq!(
            [412, 416, 400, 501].map(judge),
            [ErrorKind::Integrity, ErrorKind::Integrity, ErrorKind::Other, ErrorKind::Other].map(Some)
        );
    }
}
