//! Where requests go: redirects, credentials, private addresses.

use gristmill::store::{Access, ErrorKind};

use super::server::{Server, honest, reply};
use super::{client, content, expect_failure, hasty, one, whole, with};

fn redirect(to: &str) -> super::server::Reply {
    reply("302 Found", &[("Location", to), ("Content-Length", "0")], b"")
}

#[test]
fn redirects_are_followed_without_credentials() {
    let second = Server::start(|request, _| honest(request, &content()));
    let to = second.url("/b.nc");
    let first = Server::start(move |_, _| redirect(&to));
    let (store, _) = client();
    let url = format!("http://me:canary@127.0.0.1:{}/a.nc", first.port());
    assert_eq!(whole(&*store, &url).unwrap(), content());
    assert_eq!(one(&*store, &url, 9..12).unwrap(), content()[9..12]);
    assert!(first.requests().iter().all(|request| request.header("authorization").is_some()));
    assert!(second.requests().iter().all(|request| request.header("authorization").is_none() && request.header("referer").is_none()));
}

#[test]
fn redirects_in_circles_are_refused() {
    let server = Server::start(|_, number| redirect(&format!("/{number}.nc")));
    let (store, _) = client();
    expect_failure(store.head(&server.url("/a.nc")), ErrorKind::Other, 3, "circles");
    assert!(server.requests().len() <= 12, "{:?}", server.requests());
}

#[test]
fn no_error_shows_a_secret() {
    for status in ["404 Not Found", "403 Forbidden", "503 Service Unavailable", "412 Precondition Failed", "400 Bad Request"] {
        let server = Server::start(move |_, _| reply(status, &[("Content-Length", "0")], b""));
        let (store, recorder) = client();
        let url = format!("http://me:canary@127.0.0.1:{}/a.nc?signature=canary", server.port());
        let error = store.head(&url).unwrap_err();
        assert!(!format!("{error} {error:?} {:?}", recorder.retries()).contains("canary"), "{error:?}");
    }
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = client().0.head(&format!("http://me:canary@{gone}/a.nc?signature=canary")).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
}

#[test]
fn a_stranger_reaches_no_private_address() {
    let server = Server::start(|request, _| honest(request, &content()));
    let (store, _) = with(&Access { untrusted: true, ..hasty() });
    for url in
        [server.url("/a.nc"), format!("http://2130706433:{}/a.nc", server.port()), format!("http://localhost:{}/a.nc", server.port())]
    {
        let error = store.head(&url).unwrap_err();
        assert_eq!((error.kind, error.exit()), (ErrorKind::Policy, 2), "{error}");
    }
    assert_eq!(server.requests().len(), 0);
    let (allowed, _) = with(&Access { untrusted: true, allow_private: true, ..hasty() });
    assert_eq!(one(&*allowed, &server.url("/a.nc"), 0..4).unwrap(), content()[..4]);
    for store in [store, allowed] {
        assert_eq!(store.head("/etc/passwd").unwrap_err().kind, ErrorKind::Policy);
        assert_eq!(store.head("file:///etc/passwd").unwrap_err().kind, ErrorKind::Policy);
    }
}

#[test]
fn unknown_schemes_are_refused() {
    for url in ["gopher://host/a.nc", "memory://a"] {
        assert_eq!(client().0.head(url).unwrap_err().kind, ErrorKind::Policy);
    }
}
