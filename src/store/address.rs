//! URLs and paths: which scheme, how shown, what lies beside.
//!
//! No I/O but asking for the working directory when a path has no name of its own. Invariant: [`shown`] never lets a query,
//! a fragment, a user name or a password through.

use std::path::{Path, PathBuf};

use url::Url;

use crate::pattern::container_of;

use super::bucket::Bucket;
use super::dap::{self, Dataset};
use super::{ErrorKind, StoreError};

/// What is said of a scheme that only sources have.
pub(super) const READ_ONLY: &str = "servers of this kind cannot be written to; use a path, `s3://`, `gs://` or `az://`";

/// Where something is, by scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A path of this machine.
    File(PathBuf),
    /// A web server.
    Http(Url),
    /// A file server of the older kind.
    Ftp {
        /// The URL, its scheme written as `ftp`, so that numbers are read as addresses whatever their notation.
        url: Url,
        /// True if the connection is encrypted (`ftps://`).
        secure: bool,
    },
    /// A file server over SSH. The URL's scheme says nothing, for the same reason.
    Sftp(Url),
    /// A bucket of an object store and a key or prefix in it, without slashes at its ends.
    Bucket {
        /// The bucket.
        bucket: Bucket,
        /// The key or prefix; may be empty.
        path: String,
    },
    /// A dataset of an OPeNDAP server, or a part of one.
    Dap(Dataset),
    /// A store of this process, by name.
    Memory(String),
}

impl Address {
    /// Reads `path`, `file://`, `http(s)://`, `ftp(s)://`, `sftp://`, `s3://bucket/path`, `gs://`, `az://`, `abfs(s)://`, `dap2://`, `dap4://` and `memory://name`.
    ///
    /// # Errors
    /// `Policy` for another scheme, `Other` for a URL that cannot be read.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        match text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) {
            None => Ok(Self::File(PathBuf::from(text))),
            Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
                "file" => file(text),
                "http" | "https" => http(text),
                "ftp" => Ok(Self::Ftp { url: server(text, "ftp", rest)?, secure: false }),
                "ftps" => Ok(Self::Ftp { url: server(text, "ftp", rest)?, secure: true }),
                "sftp" => sftp(text, rest),
                "memory" => memory(text, rest),
                other => match Bucket::parse(text, other, rest) {
                    Some(found) => found.map(|(bucket, path)| Self::Bucket { bucket, path }),
                    None => dap::parse(text, other, rest).map_or_else(|| Err(unknown(text, other)), |dataset| dataset.map(Self::Dap)),
                },
            },
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn unknown(text: &str, scheme: &str) -> StoreError {
    let scheme = super::error::printable(scheme);
    StoreError::new(ErrorKind::Policy, text, format!("scheme `{scheme}` is not supported; use a path, `https://` or `s3://`"))
}

fn unreadable(text: &str, why: &str) -> StoreError {
    StoreError::new(ErrorKind::Other, text, format!("not a usable URL: {why}"))
}

fn file(text: &str) -> Result<Address, StoreError> {
    let url = Url::parse(text).map_err(|error| unreadable(text, &error.to_string()))?;
    let path = url.to_file_path().map_err(|()| unreadable(text, "write `file:///` and an absolute path"))?;
    Ok(Address::File(path))
}

fn http(text: &str) -> Result<Address, StoreError> {
    let url = Url::parse(text).map_err(|error| unreadable(text, &error.to_string()))?;
    if url.host_str().is_none_or(str::is_empty) { Err(unreadable(text, "it has no host")) } else { Ok(Address::Http(url)) }
}

/// An SSH server. Port 21 is named to the library as another scheme's: of `ftp` it would forget that it was written.
fn sftp(text: &str, rest: &str) -> Result<Address, StoreError> {
    let at_21 = rest.split(['/', '?', '#']).next().is_some_and(|host| host.ends_with(":21"));
    server(text, if at_21 { "ws" } else { "ftp" }, rest).map(Address::Sftp)
}

/// The URL of a server that is not the web's. The library knows special hosts of a few schemes, `ftp` among them, only: of others it
/// would take `0x7f000001` for a name.
fn server(text: &str, scheme: &str, rest: &str) -> Result<Url, StoreError> {
    // The library would take the first folder for the host.
    if rest.starts_with(['/', '\\']) {
        return Err(unreadable(text, "it has no host"));
    }
    let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|error| unreadable(text, &error.to_string()))?;
    if url.host_str().is_none_or(str::is_empty) { Err(unreadable(text, "it has no host")) } else { Ok(url) }
}

fn memory(text: &str, rest: &str) -> Result<Address, StoreError> {
    let name = rest.trim_end_matches('/');
    if name.is_empty() { Err(unreadable(text, "write `memory://name`")) } else { Ok(Address::Memory(name.to_owned())) }
}

/// A URL or path as messages show it: no user name, password, query, fragment or control characters.
#[must_use]
pub fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
        return url.chars().filter(|c| !c.is_control()).collect();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let host = if container_of(scheme, host).is_some() { host } else { host.rsplit('@').next().unwrap_or_default() };
    format!("{scheme}://{host}{path}").chars().filter(|c| !c.is_control()).collect()
}

/// The URL beside `url` whose name has `suffix` appended: `out.zarr/` and `.gristmill` give `out.zarr.gristmill`.
///
/// # Errors
/// `Other` if nothing can be beside it: the root of a bucket or of the disk, a URL with a query.
pub fn sibling(url: &str, suffix: &str) -> Result<String, StoreError> {
    match Address::parse(url)? {
        Address::File(path) => beside(url, &path, suffix),
        Address::Bucket { path, .. } if path.is_empty() => Err(no_name(url)),
        Address::Bucket { .. } => Ok(format!("{}{suffix}", url.trim_end_matches('/'))),
        Address::Memory(name) => Ok(format!("memory://{name}{suffix}")),
        Address::Http(_) | Address::Ftp { .. } | Address::Sftp(_) | Address::Dap(_) => {
            Err(StoreError::new(ErrorKind::Policy, url, READ_ONLY))
        }
    }
}

fn beside(url: &str, path: &Path, suffix: &str) -> Result<String, StoreError> {
    let whole = if path.file_name().is_some() { path.to_owned() } else { absolute(url, path)? };
    let mut name = whole.file_name().ok_or_else(|| no_name(url))?.to_owned();
    name.push(suffix);
    Ok(whole.with_file_name(name).to_string_lossy().into_owned())
}

fn absolute(url: &str, path: &Path) -> Result<PathBuf, StoreError> {
    std::fs::canonicalize(path).map_err(|error| StoreError::from_io(url, "find the directory", error))
}

fn no_name(url: &str) -> StoreError {
    StoreError::new(ErrorKind::Other, url, "a target needs a name of its own, since state is kept beside it; add a directory or prefix")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_scheme() {
        assert_eq!(Address::parse("a/b c.nc").ok(), Some(Address::File("a/b c.nc".into())));
        assert_eq!(Address::parse("file:///a/b%20c.nc").ok(), Some(Address::File("/a/b c.nc".into())));
        let bucket = Bucket { cloud: crate::store::Cloud::Amazon, account: None, name: "b".into() };
        assert_eq!(Address::parse("S3://b/c/d/").ok(), Some(Address::Bucket { bucket, path: "c/d".into() }));
        assert_eq!(Address::parse("memory://m").ok(), Some(Address::Memory("m".into())));
        assert!(matches!(Address::parse("https://a/b?c"), Ok(Address::Http(_))));
        let kind = |text: &str| Address::parse(text).err().map(|error| error.kind);
        assert_eq!(
            [kind("gopher://a/b"), kind("s3://"), kind("file://host/x"), kind("ftp:///a")],
            [Some(ErrorKind::Policy), Some(ErrorKind::Other), Some(ErrorKind::Other), Some(ErrorKind::Other)]
        );
        let host = |text: &str| match Address::parse(text) {
            Ok(Address::Ftp { url, secure }) => Some((url.host_str().map(str::to_owned), url.port(), secure)),
            _ => None,
        };
        assert_eq!(host("ftp://h/a b"), Some((Some("h".into()), None, false)));
        assert_eq!(host("ftps://0x7f.1:990/a"), Some((Some("127.0.0.1".into()), Some(990), true)));
    }

    #[test]
    fn shows_no_secret() {
        assert_eq!(shown("https://me:pass@host:8/a@b/c.nc?sig=s#f"), "https://host:8/a@b/c.nc");
        assert_eq!(shown("https://host?token=1"), "https://host");
        assert_eq!(shown("az://era5@cpdata/a?sig=s"), "az://era5@cpdata/a");
        assert_eq!([shown("az://me:pass@cpdata/a"), shown("sftp://me@h/a")], ["az://cpdata/a", "sftp://h/a"]);
        assert_eq!(shown("dir/what?.nc\u{1b}"), "dir/what?.nc");
    }

    #[test]
    fn finds_the_place_beside() {
        let beside = |url: &str| sibling(url, ".gristmill").ok();
        assert_eq!(beside("a/out.zarr/").as_deref(), Some("a/out.zarr.gristmill"));
        assert_eq!(beside("out.zarr").as_deref(), Some("out.zarr.gristmill"));
        assert_eq!(beside("s3://b/p/out/").as_deref(), Some("s3://b/p/out.gristmill"));
        assert_eq!(beside("abfs://era5@cpdata/p/").as_deref(), Some("abfs://era5@cpdata/p.gristmill"));
        assert_eq!(beside("memory://m").as_deref(), Some("memory://m.gristmill"));
        assert_eq!([beside("s3://b"), beside("/"), beside("http://h/x"), beside("gs://b/")], [const { None }; 4]);
    }
}
