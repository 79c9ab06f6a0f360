//! The S3 server that `ci/servers.sh` starts, for tests that need a real one.
#![expect(clippy::print_stdout, reason = "what is skipped is said aloud")]

use std::io::{Read, Write};
use std::net::TcpStream;

use gristmill::store::Access;
use gristmill::store::access::{Credentials, S3Access, Secret};

/// A bucket of that name, and how it is reached; `None`, said aloud, where no server runs.
#[allow(dead_code, reason = "not every test binary that shares this needs it")]
pub(crate) fn bucket(name: &str) -> Option<Access> {
    let Ok(endpoint) = std::env::var("GRISTMILL_TEST_S3") else {
        println!("no S3: `GRISTMILL_TEST_S3` is not set; ci/servers.sh starts a server");
        return None;
    };
    make_bucket(&endpoint, name, "");
    let credentials = Credentials { key_id: "test".into(), secret: Secret::new("test"), token: None };
    let s3 = S3Access { endpoint: Some(endpoint), credentials: Some(credentials), ..S3Access::default() };
    Some(Access { s3, ..Access::default() })
}

/// Buckets are the operator's to make, so no store can: one plain request does, with these headers (lines) besides.
pub(crate) fn make_bucket(endpoint: &str, name: &str, headers: &str) {
    let answer = put(endpoint, name, headers, "");
    assert!(answer.starts_with("HTTP/1.1 200") || answer.contains("BucketAlreadyOwnedByYou"), "{answer}");
}

/// Gives a bucket this policy.
#[allow(dead_code, reason = "not every test binary that shares this needs it")]
pub(crate) fn give_policy(endpoint: &str, name: &str, policy: &str) {
    let answer = put(endpoint, &format!("{name}?policy"), "", policy);
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
}

fn put(endpoint: &str, path: &str, headers: &str, body: &str) -> String {
    let host = endpoint.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(host).unwrap();
    let length = body.len();
    write!(connection, "PUT /{path} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}
