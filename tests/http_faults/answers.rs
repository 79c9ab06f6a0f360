//! Answers that are wrong for good: refused, or taken another way, never retried.

use gristmill::store::{Access, ErrorKind};

use super::server::{Request, Server, Step, honest, partial, reply, tagged};
use super::{client, content, expect_failure, hasty, one, whole, with};

const OK: &str = "200 OK";
const PARTIAL: &str = "206 Partial Content";

#[test]
fn an_honest_server_is_read_right() {
    let server = Server::start(|request, _| honest(request, &content()));
    let (store, recorder) = client();
    let url = server.url("/a.nc");
    let head = store.head(&url).unwrap();
    assert_eq!((head.size, head.etag.as_deref()), (Some(300_000), Some("\"one\"")));
    let asked = [299_990..300_000, 0..5, 3..10, 7..7, 200_000..230_000];
    for (range, bytes) in asked.iter().zip(store.ranges(&url, &asked).unwrap()) {
        assert_eq!(bytes, content()[range.start as usize..range.end as usize]);
    }
    assert_eq!(whole(&*store, &url).unwrap(), content());
    assert!(recorder.retries().is_empty() && !store.is_local(&url));
    // 0..5, 3..10 and 7..7 share a request; the stream is one more.
    assert_eq!((server.count("HEAD"), server.count("GET")), (1, 4));
    assert!(server.requests().iter().all(|request| request.header("accept-encoding") == Some("identity")));
}

#[test]
fn refusals_are_final() {
    for (status, kind) in [
        ("404 Not Found", ErrorKind::NotFound),
        ("410 Gone", ErrorKind::NotFound),
        ("401 Unauthorized", ErrorKind::Forbidden),
        ("403 Forbidden", ErrorKind::Forbidden),
    ] {
        let server = Server::start(move |_, _| reply(status, &[("Content-Length", "0")], b""));
        let (store, recorder) = client();
        expect_failure(store.head(&server.url("/a.nc")), kind, 3, &status[..3]);
        expect_failure(one(&*store, &server.url("/a.nc"), 0..10), kind, 3, &status[..3]);
        expect_failure(whole(&*store, &server.url("/a.nc")), kind, 3, &status[..3]);
        assert!(recorder.retries().is_empty(), "{status} was retried");
    }
}

#[test]
fn a_page_with_200_is_no_file() {
    let body = b"\n<!DOCTYPE html><title>Log in\x1b]0;x\x07</title>\n<p>secret";
    for kind in ["text/html; charset=utf-8", "application/octet-stream"] {
        let server = Server::start(move |request, _| {
            let body: &[u8] = if request.method == "HEAD" { b"" } else { body };
            reply(OK, &[("Content-Type", kind), ("Content-Length", "54")], body)
        });
        let (store, _) = client();
        expect_failure(whole(&*store, &server.url("/a.nc")), ErrorKind::Integrity, 3, "`<!DOCTYPE html><title>Log in]0;x</title>`");
        expect_failure(one(&*store, &server.url("/a.nc"), 0..8), ErrorKind::Integrity, 3, "web page");
        if kind.starts_with("text") {
            expect_failure(store.head(&server.url("/a.nc")), ErrorKind::Integrity, 3, "Log in");
        }
    }
}

#[test]
fn a_server_without_ranges_is_read_whole_once() {
    let length = content().len().to_string();
    let server = Server::start(move |request, _| {
        let body = if request.method == "HEAD" { Vec::new() } else { content() };
        reply(OK, &[("Content-Length", &length), ("ETag", "\"one\"")], &body)
    });
    let (store, _) = client();
    let url = server.url("/a.nc");
    for _ in 0..3 {
        assert_eq!(one(&*store, &url, 100_000..100_009).unwrap(), content()[100_000..100_009]);
    }
    assert_eq!(whole(&*store, &url).unwrap(), content());
    expect_failure(one(&*store, &url, 299_999..300_001), ErrorKind::Integrity, 3, "truncated");
    // One GET shows that ranges are ignored, one fetches the file.
    assert_eq!(server.count("GET"), 2);
}

#[test]
fn many_callers_fetch_a_whole_file_once_and_old_ones_give_way() {
    let server = Server::start(|request, _| {
        let body = if request.method == "HEAD" { Vec::new() } else { content() };
        reply(OK, &[("Content-Length", "300000"), ("Accept-Ranges", "none")], &body)
    });
    let (store, _) = with(&Access { spool_limit: "400 KB".parse().unwrap(), ..hasty() });
    let read = |path: &str| assert_eq!(one(&*store, &server.url(path), 7..9).unwrap(), content()[7..9]);
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(|| read("/a.nc")))));
    assert_eq!(server.count("GET"), 1);
    // The second file takes the first one's room; the first is fetched again.
    ["/b.nc", "/b.nc", "/a.nc", "/a.nc"].into_iter().for_each(read);
    assert_eq!(server.count("GET"), 3);
}

#[test]
fn a_server_that_says_that_it_has_no_ranges_is_believed() {
    let server = Server::start(|request, _| {
        let body = if request.method == "HEAD" { Vec::new() } else { content() };
        reply(OK, &[("Content-Length", "300000"), ("Accept-Ranges", "none")], &body)
    });
    let (store, _) = client();
    assert_eq!(one(&*store, &server.url("/a.nc"), 5..9).unwrap(), content()[5..9]);
    assert_eq!(server.count("GET"), 1);
}

#[test]
fn a_server_without_head_is_asked_for_a_byte() {
    for status in ["405 Method Not Allowed", "501 Not Implemented", "403 Forbidden"] {
        let server = Server::start(move |request, _| match request.method.as_str() {
            "HEAD" => reply(status, &[("Content-Length", "0")], b""),
            _ => honest(request, &content()),
        });
        let (store, _) = client();
        assert_eq!(store.head(&server.url("/a.nc")).unwrap().size, Some(300_000));
        assert_eq!(one(&*store, &server.url("/a.nc"), 1..4).unwrap(), content()[1..4]);
    }
}

#[test]
fn a_head_without_a_length_is_followed_by_a_byte() {
    let server = Server::start(|request, _| match request.method.as_str() {
        "HEAD" => reply(OK, &[("ETag", "\"one\"")], b""),
        _ => honest(request, &content()),
    });
    let (store, _) = client();
    assert_eq!(store.head(&server.url("/a.nc")).unwrap().size, Some(300_000));
}

#[test]
fn an_empty_file_is_empty() {
    let server = Server::start(|request, _| match request.method.as_str() {
        "HEAD" => reply("405 Method Not Allowed", &[], b""),
        _ if request.header("range").is_some() => {
            reply("416 Range Not Satisfiable", &[("Content-Range", "bytes */0"), ("Content-Length", "0")], b"")
        }
        _ => reply(OK, &[("Content-Length", "0")], b""),
    });
    let (store, _) = client();
    assert_eq!(store.head(&server.url("/a.nc")).unwrap().size, Some(0));
    assert_eq!(whole(&*store, &server.url("/a.nc")).unwrap(), b"");
}

#[test]
fn a_file_of_untold_length_is_read_twice() {
    let endless = |_: &Request, number: usize, cut_short: bool| {
        let body = content();
        let end = if cut_short && number.is_multiple_of(2) { body.len() / 2 } else { body.len() };
        reply(OK, &[], &body[..end])
    };
    let (store, _) = client();
    let sound =
        Server::start(move |request, number| if request.method == "HEAD" { reply(OK, &[], b"") } else { endless(request, number, false) });
    assert_eq!(store.head(&sound.url("/a.nc")).unwrap().size, Some(300_000));
    assert_eq!(one(&*store, &sound.url("/a.nc"), 7..9).unwrap(), content()[7..9]);
    let cut_short =
        Server::start(move |request, number| if request.method == "HEAD" { reply(OK, &[], b"") } else { endless(request, number, true) });
    expect_failure(store.head(&cut_short.url("/a.nc")), ErrorKind::Integrity, 3, "two readings differ");
}

#[test]
fn a_wrong_content_range_is_refused() {
    for (told, length) in
        [("bytes 0-9/300000", "10"), ("bytes 100-119/300000", "20"), ("bytes 100-109/300000", "300000"), ("nonsense", "10")]
    {
        let server = Server::start(move |request, _| match request.range(300_000) {
            Some(_) => reply(PARTIAL, &[("Content-Range", told), ("Content-Length", length)], &content()),
            None => honest(request, &content()),
        });
        let (store, recorder) = client();
        expect_failure(one(&*store, &server.url("/a.nc"), 100..110), ErrorKind::Integrity, 3, "cannot be trusted");
        assert!(recorder.retries().is_empty());
    }
}

#[test]
fn a_range_longer_than_announced_is_refused() {
    let server = Server::start(|request, _| match request.range(300_000) {
        // A chunked body has no announced length to contradict the range.
        Some(_) => reply(
            PARTIAL,
            &[("Content-Range", "bytes 100-109/300000"), ("Transfer-Encoding", "chunked")],
            b"14\r\n01234567890123456789\r\n0\r\n\r\n",
        ),
        None => honest(request, &content()),
    });
    let (store, _) = client();
    expect_failure(one(&*store, &server.url("/a.nc"), 100..110), ErrorKind::Integrity, 3, "more bytes came");
}

#[test]
fn a_file_longer_or_shorter_than_announced_is_refused() {
    for length in [200_000, 400_000] {
        let server = Server::start(move |request, _| {
            let other: Vec<u8> = content().into_iter().cycle().take(length).collect();
            if request.method == "HEAD" { honest(request, &content()) } else { honest(request, &other) }
        });
        let (store, _) = client();
        store.head(&server.url("/a.nc")).unwrap();
        expect_failure(whole(&*store, &server.url("/a.nc")), ErrorKind::Integrity, 3, &format!("300000 bytes before, {length} now"));
        expect_failure(one(&*store, &server.url("/a.nc"), 5..6), ErrorKind::Integrity, 3, "changed");
    }
}

#[test]
fn a_range_beyond_the_end_is_refused_without_asking() {
    let server = Server::start(|request, _| honest(request, &content()));
    let (store, _) = client();
    expect_failure(one(&*store, &server.url("/a.nc"), 299_999..300_001), ErrorKind::Integrity, 3, "truncated");
    expect_failure(one(&*store, &server.url("/a.nc"), 0..u64::MAX), ErrorKind::Integrity, 3, "truncated");
    assert_eq!(server.count("GET"), 0);
}

#[test]
fn a_compressed_answer_is_refused() {
    let server = Server::start(|request, _| match honest(request, &content()).as_slice() {
        [Step::Send(head), body] => {
            let text = String::from_utf8_lossy(head).replace("\r\n\r\n", "\r\nContent-Encoding: gzip\r\n\r\n");
            vec![Step::Send(text.into_bytes()), body.clone()]
        }
        other => other.to_vec(),
    });
    let (store, _) = client();
    expect_failure(store.head(&server.url("/a.nc")), ErrorKind::Integrity, 3, "content-encoding `gzip`");
    expect_failure(one(&*store, &server.url("/a.nc"), 0..4), ErrorKind::Integrity, 3, "content-encoding `gzip`");
}

#[test]
fn a_file_that_changes_between_ranges_is_refused() {
    // The first server honours If-Match (412), the second ignores it but sends another ETag.
    let honouring = Server::start(|request, number| tagged(request, &content(), if number < 3 { "\"one\"" } else { "\"two\"" }));
    let ignoring = Server::start(|request, number| {
        let etag = if number < 3 { "\"one\"" } else { "\"two\"" };
        match request.range(300_000) {
            Some(range) => partial(&content(), range, etag),
            None => reply(OK, &[("Content-Length", "300000"), ("ETag", etag)], if request.method == "HEAD" { &[] } else { b"other" }),
        }
    });
    for server in [honouring, ignoring] {
        let (store, recorder) = client();
        assert_eq!(one(&*store, &server.url("/a.nc"), 0..5).unwrap(), content()[..5]);
        expect_failure(one(&*store, &server.url("/a.nc"), 5..9), ErrorKind::Integrity, 3, "changed on the server");
        expect_failure(whole(&*store, &server.url("/a.nc")), ErrorKind::Integrity, 3, "changed on the server");
        assert!(recorder.retries().is_empty());
    }
}

#[test]
fn a_server_that_sends_less_than_asked_is_asked_again() {
    let server = Server::start(|request, _| match request.range(300_000) {
        Some(range) => partial(&content(), range.start..range.end.min(range.start + 4000), "\"one\""),
        None => honest(request, &content()),
    });
    let (store, recorder) = client();
    assert_eq!(one(&*store, &server.url("/a.nc"), 10..10_010).unwrap(), content()[10..10_010]);
    assert_eq!((server.count("GET"), recorder.retries().len()), (3, 0));
}
