//! An S3-compatible server that misbehaves.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gristmill::event::Reporter;
use gristmill::store::access::{Credentials, S3Access, Secret};
use gristmill::store::{Access, ErrorKind, PutMode, source, target};

use super::server::{Reply, Request, Server, Step, cut, partial, reply};
use super::{Recorder, content, hasty};

fn access(server: &Server) -> Access {
    let credentials = Credentials { key_id: "key".into(), secret: Secret::new("canary"), token: None };
    Access { s3: S3Access { endpoint: Some(server.url("")), credentials: Some(credentials), ..S3Access::default() }, ..hasty() }
}

fn nothing(status: &str) -> Reply {
    reply(status, &[("Content-Length", "0"), ("ETag", "\"one\"")], b"")
}

/// What a faultless server answers about an object.
fn object(request: &Request) -> Reply {
    let told = [("Content-Length", "300000"), ("ETag", "\"one\""), ("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")];
    match request.range(300_000) {
        Some(range) => {
            let mut answer = partial(&content(), range, "\"one\"");
            if let Some(Step::Send(head)) = answer.first_mut() {
                head.truncate(head.len() - 2);
                head.extend_from_slice(b"Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n");
            }
            answer
        }
        None => reply("200 OK", &told, if request.method == "HEAD" { b"" } else { b"whole" }),
    }
}

#[test]
fn reading_survives_what_passes() {
    let server = Server::start(|request, number| match number {
        1 | 3 => nothing("503 Slow Down"),
        4 => cut(object(request), 1000, &[]),
        _ => object(request),
    });
    let recorder = Arc::new(Recorder::default());
    let store = source(&access(&server), Arc::clone(&recorder) as Arc<dyn Reporter>);
    let asked = 5_u64..20_000;
    assert_eq!(store.ranges("s3://bucket/a", std::slice::from_ref(&asked)).unwrap(), [&content()[5..20_000]]);
    let said = "the server answers 503";
    assert_eq!(recorder.retries()[..2], [said, said]);
    assert_eq!(recorder.retries().len(), 3);
    let signed = server.requests().iter().all(|request| request.header("authorization").is_some_and(|value| value.contains("AWS4-HMAC")));
    assert!(signed);
}

#[test]
fn who_pays_is_said_where_the_operator_says_so() {
    for pays in [true, false] {
        let server = Server::start(|request, _| object(request));
        let mut access = access(&server);
        access.s3.requester_pays = pays;
        source(&access, Arc::new(Recorder::default())).head("s3://bucket/a").unwrap();
        let said = |request: &Request| request.header("x-amz-request-payer").map(str::to_owned);
        assert_eq!(server.requests().iter().map(said).collect::<Vec<_>>(), [pays.then(|| "requester".to_owned())]);
    }
}

#[test]
fn a_bucket_gets_so_many_requests_at_once_and_no_more() {
    let server = Server::start(|request, _| [vec![Step::Wait(Duration::from_millis(60))], object(request)].concat());
    let store = source(&Access { connections_per_bucket: 5, ..access(&server) }, Arc::new(Recorder::default()));
    std::thread::scope(|scope| {
        for number in 0..12 {
            let store = &store;
            scope.spawn(move || store.head(&format!("s3://bucket/{number}")).unwrap());
        }
    });
    assert_eq!((server.count("HEAD"), server.most_open()), (12, 5));
}

#[test]
fn a_cut_object_goes_on_where_it_broke() {
    let server = Server::start(|request, _| if request.method == "HEAD" { object(request) } else { cut(object(request), 50_000, &[]) });
    let store = source(&access(&server), Arc::new(Recorder::default()));
    let mut bytes = Vec::new();
    assert_eq!(store.stream("s3://bucket/a", &mut bytes).unwrap(), 300_000);
    assert!(bytes == content() && server.count("GET") == 6);
}

/// A server that does not know `If-Match` sends another object's bytes as if nothing were.
#[test]
fn an_object_that_changes_behind_a_server_without_conditions_is_refused() {
    let as_it_was = |request: &Request, number: usize| number == 1 && request.method == "HEAD";
    for (etag, total) in [("\"two\"", 300_000), ("\"one\"", 300_001)] {
        let server = Server::start(move |request, number| {
            if as_it_was(request, number) {
                return object(request);
            }
            let told = format!("bytes 5-8/{total}");
            let time = "Wed, 21 Oct 2015 07:28:00 GMT";
            let headers = [("Content-Length", "4"), ("Content-Range", &told), ("ETag", etag), ("Last-Modified", time)];
            reply("206 Partial Content", &headers, b"else")
        });
        let store = source(&access(&server), Arc::new(Recorder::default()));
        let asked = 5_u64..9;
        let error = store.ranges("s3://bucket/a", std::slice::from_ref(&asked)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Integrity, "{error}");
        assert!(error.to_string().contains("changed while it was read"), "{error}");
    }
}

#[test]
fn errors_have_kinds_and_no_secrets() {
    for (status, kind) in [
        ("404 Not Found", ErrorKind::NotFound),
        ("403 Forbidden", ErrorKind::Forbidden),
        ("412 Precondition Failed", ErrorKind::Integrity),
        ("503 Slow Down", ErrorKind::Temporary),
        ("501 Not Implemented", ErrorKind::Other),
    ] {
        let server = Server::start(move |request, _| if request.method == "HEAD" { object(request) } else { nothing(status) });
        let store = source(&access(&server), Arc::new(Recorder::default()));
        let asked = 5_u64..9;
        let error = store.ranges("s3://bucket/a", std::slice::from_ref(&asked)).unwrap_err();
        assert_eq!(error.kind, kind, "{status}: {error}");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}

#[test]
fn writing_survives_what_passes() {
    let server = Server::start(|_, number| nothing(if number < 3 { "500 Internal Server Error" } else { "200 OK" }));
    let store = target("s3://bucket/prefix", &access(&server)).unwrap();
    store.put("a", Bytes::from_static(b"whole"), PutMode::Overwrite).unwrap();
    assert_eq!((server.count("PUT"), server.requests()[0].path.as_str()), (3, "/bucket/prefix/a"));
}

#[test]
fn a_creation_whose_answer_got_lost_is_told_from_a_lost_race() {
    for (stored, works) in [("mine", true), ("others", false)] {
        let server = Server::start(move |request, number| match (request.method.as_str(), number) {
            ("PUT", 1) => cut(nothing("200 OK"), 0, &[Step::Reset]).split_off(1),
            ("PUT", _) => nothing("412 Precondition Failed"),
            _ => reply(
                "200 OK",
                &[("Content-Length", &stored.len().to_string()), ("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")],
                stored.as_bytes(),
            ),
        });
        let store = target("s3://bucket/prefix", &access(&server)).unwrap();
        let created = store.put("lease", Bytes::from_static(b"mine"), PutMode::Create);
        assert_eq!(created.is_ok(), works, "{created:?}");
        assert_eq!(server.count("PUT"), 2);
        assert!(server.requests()[0].header("if-none-match") == Some("*"));
    }
}
