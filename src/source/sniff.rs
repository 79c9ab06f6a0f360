//! What a file is, told by its first bytes.
//!
//! Not for file names or media types: servers and people get those wrong. Invariant: a format is named only when its
//! signature is there; everything else is refused with what it looks like and what to do.

use super::window::Window;
use super::{Format, SourceError};

const HDF5_SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";
/// The signature may also lie at 512, 1024, 2048, … behind a user block (HDF5 spec II.A); no real file has more than this.
const LARGEST_USER_BLOCK: u64 = 1 << 20;
const HEAD_BYTES: u64 = 512;

/// The format of the file behind `window`.
pub(super) fn sniff(window: &Window) -> Result<Format, SourceError> {
    let head = window.read(0..window.size().min(HEAD_BYTES))?;
    if let Some(format) = signature(&head) {
        return Ok(format);
    }
    let looks = looks_like(&head);
    if looks.is_none() && has_user_block(window)? {
        return Ok(Format::Hdf5);
    }
    let message = looks.unwrap_or_else(|| unknown(&head));
    Err(SourceError::Format { url: window.url().to_owned(), message })
}

fn signature(head: &[u8]) -> Option<Format> {
    match head {
        [b'C', b'D', b'F', 1 | 2 | 5, ..] => Some(Format::NetCdf3),
        _ if head.starts_with(HDF5_SIGNATURE) => Some(Format::Hdf5),
        _ => None,
    }
}

fn has_user_block(window: &Window) -> Result<bool, SourceError> {
    let mut offset = 512;
    while offset <= LARGEST_USER_BLOCK && offset + 8 <= window.size() {
        if window.read(offset..offset + 8)? == HDF5_SIGNATURE {
            return Ok(true);
        }
        offset *= 2;
    }
    Ok(false)
}

/// What a file that we do not read is, if it is something well known.
fn looks_like(head: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(head);
    let trimmed = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    let lower = trimmed.to_lowercase();
    let page = |what: &str, then: &str| Some(format!("this is {what}, not data: {}; {then}", first_line(trimmed)));
    match head {
        [] => Some("the file is empty; fetch it again, or drop it from the recipe with `except`".to_owned()),
        [b'C', b'D', b'F', version, ..] => {
            Some(format!("NetCDF classic version {version} does not exist; the first bytes are damaged, fetch it again"))
        }
        [0x1f, 0x8b, ..] => Some("this is gzip inside a packed file; only one packing is undone, unpack it first".to_owned()),
        [b'P', b'K', 3 | 5 | 7, ..] => Some("this is a zip archive; name the member that is meant: `….zip!member.nc`".to_owned()),
        [b'B', b'Z', b'h', ..] => Some("this is bzip2 inside a packed file; only one packing is undone, unpack it first".to_owned()),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Some("this is Zstandard inside a packed file; only one packing is undone, unpack it first".to_owned())
        }
        [0x0e, 0x03, 0x13, 0x01, ..] => Some("this is an HDF4 file; convert it first, for example with `h4toh5` or `nccopy`".to_owned()),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some("this is a TIFF file; GeoTIFF is not read yet".to_owned()),
        _ if head.windows(4).any(|four| four == b"GRIB") => {
            Some("this is a GRIB file; GRIB is not read yet, convert it first, for example with `grib_to_netcdf`".to_owned())
        }
        _ if lower.starts_with("<!doctype html") || lower.starts_with("<html") || lower.contains("<html") => {
            page("an HTML page", "the server sent a page (an error, a login or a listing) instead of the file; open the URL in a browser")
        }
        _ if lower.starts_with("<?xml") || lower.starts_with("<error") => {
            page("an XML document", "the server answered with a message instead of the file; check URL and credentials")
        }
        _ if trimmed.starts_with(['{', '[']) && is_text(head) => {
            page("a JSON document", "the server answered with a message instead of the file; check URL and credentials")
        }
        _ if is_text(head) => page("a text", "NetCDF and HDF5 files are read; check the URL"),
        _ => None,
    }
}

fn unknown(head: &[u8]) -> String {
    let bytes: Vec<String> = head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("neither NetCDF nor HDF5: it begins with the bytes {}; fetch it again, or check what the server sends", bytes.join(" "))
}

fn is_text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    valid && head.iter().all(|&byte| byte >= 32 || matches!(byte, b'\t' | b'\r' | b'\n' | 12))
}

/// The first line with something in it, without control characters, at most 120 characters, in backticks.
fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let clean: String = line.chars().filter(|c| !c.is_control() && *c != '`').take(120).collect();
    format!("`{clean}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_a_file_is() {
        let says = |bytes: &[u8], expected: &str| assert!(looks_like(bytes).unwrap().contains(expected), "{:?}", looks_like(bytes));
        says(b"", "empty");
        says(b"\n <!DOCTYPE html>\n<title>\x1b[31mGone</title>", "an HTML page, not data: `<!DOCTYPE html>`");
        says(b"<?xml version=\"1.0\"?><Error>AccessDenied</Error>", "an XML document");
        says(b"{\"detail\": \"not found\"}", "a JSON document, not data: `{\"detail\": \"not found\"}`");
        says(b"\x1f\x8b\x08\0", "gzip");
        says(b"PK\x03\x04", "zip");
        says(b"\0\0TTAA00 KWBC\r\nGRIB\0\0", "GRIB");
        says(b"CDF\x07", "version 7");
        says(b"404 Not Found\r\n", "a text, not data: `404 Not Found`");
        assert_eq!(looks_like(&[0, 1, 2, 3]), None);
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(first_line("\n\x1b]0;evil\x07`x`\n"), "`]0;evilx`");
    }
}
