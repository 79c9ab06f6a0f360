//! Buckets of object stores, as URLs name them.
//!
//! No I/O. Invariant: what stands before an `@` is the name of a container, never a user or a password.

use std::fmt;

use crate::pattern::{container_of, is_container};

use super::{ErrorKind, StoreError};

/// Schemes of buckets.
const SCHEMES: [&str; 5] = ["s3", "gs", "az", "abfs", "abfss"];

/// Whose protocol an object store speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cloud {
    /// Amazon's: `s3://`.
    Amazon,
    /// Google's: `gs://`.
    Google,
    /// Microsoft's: `az://`, `abfs://`, `abfss://`.
    Azure,
}

/// A bucket, which Azure calls a container and keeps in an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Whose protocol.
    pub cloud: Cloud,
    /// The account; `None`: the operator's.
    pub account: Option<String>,
    /// Its name.
    pub name: String,
}

impl Bucket {
    /// The bucket of a URL with this scheme and rest, and the key or prefix in it; `None` for the scheme of something else.
    pub(super) fn parse(text: &str, scheme: &str, rest: &str) -> Option<Result<(Self, String), StoreError>> {
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let bucket = match scheme {
            "s3" => named(text, Cloud::Amazon, host, "s3://bucket/path"),
            "gs" => named(text, Cloud::Google, host, "gs://bucket/path"),
            "az" | "abfs" | "abfss" => container(text, host),
            _ => return None,
        };
        Some(bucket.map(|bucket| (bucket, path.trim_matches('/').to_owned())))
    }
}

/// True if the text before `://` is the scheme of buckets; names in such URLs are written as they are, without `%XX`.
pub(super) fn is_scheme(scheme: &str) -> bool {
    SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

fn named(text: &str, cloud: Cloud, name: &str, form: &str) -> Result<Bucket, StoreError> {
    let known = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if name.is_empty() || !name.chars().all(known) || name.contains("..") {
        let message = format!("not a usable URL: write `{form}`, the bucket in letters, digits, `-`, `.` and `_`");
        return Err(StoreError::new(ErrorKind::Other, text, message));
    }
    Ok(Bucket { cloud, account: None, name: name.to_owned() })
}

/// `container`, `container@account` or `container@account.dfs.core.windows.net`.
fn container(text: &str, host: &str) -> Result<Bucket, StoreError> {
    if is_container(host) {
        return Ok(Bucket { cloud: Cloud::Azure, account: None, name: host.to_owned() });
    }
    let Some((name, account)) = container_of("az", host) else {
        let form = "write `az://container@account/path`, or `abfs://container@account.dfs.core.windows.net/path`";
        return Err(StoreError::new(ErrorKind::Other, text, format!("not a usable URL: {form}")));
    };
    Ok(Bucket { cloud: Cloud::Azure, account: Some(account.to_owned()), name: name.to_owned() })
}

impl fmt::Display for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.cloud, &self.account) {
            (Cloud::Azure, Some(account)) => write!(formatter, "{}@{account}", self.name),
            _ => formatter.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(Bucket, String)> {
        let (scheme, rest) = text.split_once("://").unwrap();
        Bucket::parse(text, scheme, rest).unwrap().ok()
    }

    #[test]
    fn reads_containers_with_and_without_their_account() {
        let bucket = |account: Option<&str>| Bucket { cloud: Cloud::Azure, account: account.map(str::to_owned), name: "era5-pds".into() };
        for (text, account) in [
            ("az://era5-pds/a/b", None),
            ("az://era5-pds@cpdata/a/b/", Some("cpdata")),
            ("abfs://era5-pds@cpdata.dfs.core.windows.net/a/b", Some("cpdata")),
            ("abfss://era5-pds@cpdata.blob.core.windows.net/a/b", Some("cpdata")),
        ] {
            assert_eq!(parse(text), Some((bucket(account), "a/b".to_owned())), "{text}");
        }
        assert_eq!(
            parse("gs://b_1.x/").map(|(bucket, path)| (bucket.cloud, bucket.name, path)),
            Some((Cloud::Google, "b_1.x".into(), String::new()))
        );
        for text in [
            "az://me:secret@h/a",
            "az://c/a",
            "az://cont@evil.example/a",
            "az://cont@a@b/x",
            "az:///a",
            "gs://a b/c",
            "gs://a..b/c",
            "s3://u@b/c",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
