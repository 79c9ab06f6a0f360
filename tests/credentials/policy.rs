//! What a stranger's recipe may reach: every spelling of a private place is refused without a packet.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gristmill::store::{Access, ErrorKind, Limits, Names, StoreError};

use super::server::{Server, honest};
use super::{content, hasty, reporting};

/// Hosts that mean a private place, as they can be written.
const HOSTS: &[&str] = &[
    // this machine, IPv4
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "127.0.0.1.",
    "127.000.000.001",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7F.1",
    "0x7f.0x0.0x0.0x1",
    "017700000001",
    "0177.0.0.1",
    "0177.1",
    "0",
    "00",
    "0x0",
    "0.0.0.0",
    "0.1.2.3",
    // percent-encoding and Unicode
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "１２７.０.０.１",
    "127。0。0。1",
    "127．0．0．1",
    "①②⑦.⓪.⓪.①",
    "①⑥⑨.②⑤④.①⑥⑨.②⑤④",
    "ｌｏｃａｌｈｏｓｔ",
    "loc%61lhost",
    // users that look like hosts
    "www.example.org@127.0.0.1",
    "www.example.org:443@127.0.0.1",
    "me:pass@10.0.0.1",
    "www.example.org%2f@127.0.0.1",
    "8.8.8.8@8.8.4.4",
    // private, carrier-grade, link-local, metadata
    "10.0.0.1",
    "10.255.255.255",
    "167772161",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "3232235777",
    "0xc0a80101",
    "0300.0250.1.1",
    "100.64.0.1",
    "100.127.255.255",
    "100.100.100.200",
    "169.254.0.1",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "0xA9.0xFE.0xA9.0xFE",
    "169.254.43518",
    "169.16689662",
    "168.63.129.16",
    "192.0.0.192",
    "[fd00:ec2::254]",
    "metadata.google.internal",
    "metadata",
    "instance-data",
    // multicast, reserved, documentation
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.7",
    "192.88.99.1",
    // IPv6, and IPv4 inside it
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:0:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:7f00:1::]",
    "[fe80::1]",
    "[fec0::1]",
    "[fc00::1]",
    "[ff02::1]",
    "[2001:db8::1]",
    // names of this machine and its network
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "printer.local",
    "router.lan",
    "db.corp",
];

fn refused<T>(url: &str, result: Result<T, StoreError>) {
    let error = result.map(drop).unwrap_err();
    assert_eq!((error.kind, error.exit()), (ErrorKind::Policy, 2), "{url}: {error}");
}

/// A resolver that counts, and answers that every name is this machine.
fn counted() -> (Names, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let names = Names::told(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(vec!["127.0.0.1".parse().unwrap()])
    });
    (names, asked)
}

#[test]
fn every_spelling_of_a_private_place_is_refused_without_a_packet() {
    // All addresses of this machine, of both families where it has both.
    let listener = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("0.0.0.0:0")).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (names, asked) = counted();
    // Plain http is allowed here, so that it is the host that is refused.
    let access = Access { untrusted: true, allow_http: true, names, ..hasty() };
    let (store, recorder) = reporting(&access);
    let documents = gristmill::store::documents(&access, recorder);
    assert!(HOSTS.iter().collect::<BTreeSet<_>>().len() >= 90, "{} spellings", HOSTS.len());
    for host in HOSTS {
        for scheme in ["https", "http", "HTTPS", "dap2", "dap4", "dap2+http", "dap4+https", "ftp", "ftps", "sftp"] {
            for url in [
                format!("{scheme}://{host}/a.nc"),
                format!("{scheme}://{host}:{port}/a.nc"),
                format!("{scheme}://{host}:{port}/a.zip!b.nc"),
            ] {
                refused(&url, store.head(&url));
                refused(&url, store.begin(&url));
                refused(&url, documents.document(&url, &[], 9));
                refused(&url, gristmill::store::permit(&url, &access));
            }
        }
        for scheme in ["https", "http", "ftp", "ftps", "sftp"] {
            let url = format!("{scheme}://{host}:{port}/");
            refused(&url, gristmill::store::listing(&url, &access).map(drop));
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "no name server was asked");
    // A public name that leads home is found out by looking it up, once.
    let error = store.head(&format!("http://www.example.org:{port}/a.nc")).unwrap_err();
    assert_eq!((error.kind, asked.load(Ordering::SeqCst)), (ErrorKind::Policy, 1), "{error}");
    assert!(listener.accept().is_err(), "somebody connected");
}

#[test]
fn a_stranger_s_recipe_reads_no_files_and_no_plain_http() {
    let (names, asked) = counted();
    let (store, _) = reporting(&Access { untrusted: true, names, ..hasty() });
    for url in [
        "/etc/passwd",
        "a.nc",
        "../a.nc",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "memory://a",
        "gopher://a.example/",
        "https:/127.0.0.1/a",
        "https:\\\\127.0.0.1\\a",
        "http://www.example.org/a.nc",
    ] {
        let error = store.head(url).unwrap_err();
        assert_eq!((error.kind, error.exit()), (ErrorKind::Policy, 2), "{url}: {error}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[test]
fn a_bucket_is_looked_up_by_us_too() {
    let (names, asked) = counted();
    let (store, _) = reporting(&Access { untrusted: true, names, ..hasty() });
    let error = store.head("s3://bucket/a.nc").unwrap_err();
    assert!(asked.load(Ordering::SeqCst) >= 1, "{error}");
    assert!(matches!(error.kind, ErrorKind::Policy | ErrorKind::Temporary), "{error}");
}

#[test]
fn limits_end_a_run_by_exit_8() {
    let server = Server::start(|request, _| honest(request, &content()));
    let limited = |limits| reporting(&Access { limits, ..hasty() }).0;
    let store = limited(Limits { inputs: Some(2), ..Limits::default() });
    for path in ["/a.nc", "/b.nc", "/a.nc"] {
        assert!(store.head(&server.url(path)).is_ok());
    }
    let error = store.head(&server.url("/c.nc")).unwrap_err();
    assert_eq!((error.kind, error.exit()), (ErrorKind::Budget, 8), "{error}");
    let store = limited(Limits { bytes: Some("6 KB".parse().unwrap()), ..Limits::default() });
    let mut sink = Vec::new();
    assert!(store.stream(&server.url("/a.nc"), &mut sink).is_ok());
    let error = store.stream(&server.url("/b.nc"), &mut sink).unwrap_err();
    assert_eq!((error.kind, error.exit()), (ErrorKind::Budget, 8), "{error}");
    assert!(sink.len() <= 6000);
    assert!(Access { untrusted: true, ..hasty() }.limits().inputs.is_some() && hasty().limits() == Limits::default());
}
