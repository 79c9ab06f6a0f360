//! Each kind: sent to bound hosts, in its own way, and nowhere else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use gristmill::store::auth::Auth;
use gristmill::store::{Access, ErrorKind};

use super::server::{Request, Server, honest, reply};
use super::{base64, content, hasty, host, reporting, with};

/// A server of one file for whoever passes.
fn guarded(passes: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Server {
    Server::start(
        move |request, _| {
            if passes(request) { honest(request, &content()) } else { reply("401 Unauthorized", &[("Content-Length", "0")], b"") }
        },
    )
}

fn reads(server: &Server, table: &str) {
    let store = with(table);
    let url = server.url("/a.nc?file=1");
    let bytes = store.ranges(&url, &[7..19]).unwrap_or_else(|error| panic!("{table}: {error}"));
    assert_eq!(bytes, [content()[7..19].to_vec()], "{table}");
}

#[test]
fn every_kind_of_secret_is_sent_as_its_kind_is() {
    let authorised = |value: String| move |request: &Request| request.header("authorization") == Some(value.as_str());
    let server = guarded(authorised(format!("Basic {}", base64("me:pass-word"))));
    reads(&server, &format!("kind = 'basic'\nhosts = ['{}']\nuser = 'me'\npassword = 'pass-word'", host(&server)));
    let folder = tempfile::tempdir().unwrap();
    let netrc = folder.path().join("netrc");
    std::fs::write(&netrc, "machine 127.0.0.1 login me password pass-word\n").unwrap();
    reads(&server, &format!("kind = 'netrc'\nhosts = ['{}']\nfile = '{}'", host(&server), netrc.display()));
    let server = guarded(authorised("Bearer word-of-mouth".into()));
    reads(&server, &format!("kind = 'bearer'\nhosts = ['{}']\ntoken = 'word-of-mouth'", host(&server)));
    let server = guarded(|request| request.header("x-api-key") == Some("word-of-mouth"));
    reads(&server, &format!("kind = 'header'\nhosts = ['{}']\nheader = 'X-Api-Key'\ntoken = 'word-of-mouth'", host(&server)));
    let server = guarded(|request| request.header("cookie") == Some("session=word-of-mouth"));
    reads(&server, &format!("kind = 'header'\nhosts = ['{}']\nheader = 'Cookie'\ntoken = 'session=word-of-mouth'", host(&server)));
    let server = guarded(|request| request.path.ends_with("?file=1&token=word%26mouth"));
    reads(&server, &format!("kind = 'query'\nhosts = ['{}']\nparameter = 'token'\ntoken = 'word&mouth'", host(&server)));
}

#[test]
fn nothing_goes_to_a_host_that_is_not_bound() {
    let second = Server::start(|request, _| honest(request, &content()));
    let to = second.url("/b.nc");
    let first = Server::start(move |_, _| reply("302 Found", &[("Location", &to), ("Content-Length", "0")], b""));
    for table in [
        "kind = 'basic'\nhosts = ['HOST']\nuser = 'me'\npassword = 'stay-at-home'",
        "kind = 'bearer'\nhosts = ['HOST']\ntoken = 'stay-at-home'",
        "kind = 'header'\nhosts = ['HOST']\nheader = 'X-Api-Key'\ntoken = 'stay-at-home'",
        "kind = 'query'\nhosts = ['HOST']\nparameter = 'token'\ntoken = 'stay-at-home'",
    ] {
        let store = with(&table.replace("HOST", &host(&first)));
        assert_eq!(store.ranges(&first.url("/a.nc"), &[0..3]).unwrap(), [content()[..3].to_vec()]);
    }
    assert!(first.requests().len() >= 4 && second.requests().len() >= 4);
    let names = ["authorization", "cookie", "x-api-key", "referer"];
    for request in second.requests() {
        assert!(names.iter().all(|name| request.header(name).is_none()) && !request.path.contains("stay"), "{request:?}");
    }
    // Asked directly, an unbound host gets nothing either.
    let store = with(&format!("kind = 'bearer'\nhosts = ['127.0.0.1:1', '{}']\ntoken = 'stay-at-home'", host(&first)));
    let before = second.requests().len();
    store.head(&second.url("/c.nc")).unwrap();
    assert!(second.requests()[before..].iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn plain_http_gets_no_credential_beyond_this_machine() {
    let auth = Auth::with("archive", "kind = 'bearer'\nhosts = ['data.example.org:8080']\ntoken = 'stay-at-home'").unwrap();
    let server = Server::start(|request, _| match request.header("authorization") {
        None => reply("401 Unauthorized", &[("Content-Length", "0")], b""),
        Some(_) => honest(request, &content()),
    });
    // The name leads to this machine, but it is not written as this machine.
    let names = gristmill::store::Names::told(|_| Ok(vec!["127.0.0.1".parse().unwrap()]));
    let bound = |extra: &str| {
        let table = format!("kind = 'bearer'\nhosts = ['data.example.org:{}']\ntoken = 'stay-at-home'\n{extra}", server.port());
        reporting(&Access { auth: Auth::with("archive", &table).unwrap(), names: names.clone(), ..hasty() }).0
    };
    let url = format!("http://data.example.org:{}/a.nc", server.port());
    let error = bound("").head(&url).unwrap_err();
    assert_eq!((error.kind, error.exit()), (ErrorKind::Forbidden, 3));
    assert!(error.to_string().contains("plain http") && !error.to_string().contains("stay"), "{error}");
    assert!(server.requests().iter().all(|request| request.header("authorization").is_none()));
    assert!(bound("allow_http = true").head(&url).is_ok());
    assert_eq!(auth.name(), Some("archive"));
}

#[test]
fn a_refused_credential_is_exit_3_and_names_no_secret() {
    let server = Server::start(|request, _| {
        let told = format!("no {}", request.header("authorization").unwrap_or_default());
        reply("401 Unauthorized", &[("WWW-Authenticate", told.as_str()), ("Content-Length", "0")], b"")
    });
    let store = with(&format!("kind = 'bearer'\nhosts = ['{}']\ntoken = 'word-of-mouth'", host(&server)));
    let error = store.head(&server.url("/a.nc")).unwrap_err();
    assert_eq!((error.kind, error.exit()), (ErrorKind::Forbidden, 3));
    assert!(error.to_string().contains("`archive`") && !format!("{error} {error:?}").contains("mouth"), "{error:?}");
    assert_eq!(server.requests().len(), 1, "a refusal is no reason to try again");
}

#[test]
fn a_token_file_is_read_again_after_a_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "the-old-one").unwrap();
    let good = Arc::new(Mutex::new("the-old-one".to_owned()));
    let known = Arc::clone(&good);
    let server = guarded(move |request| request.header("authorization") == Some(&format!("Bearer {}", known.lock().unwrap())));
    let store = with(&format!("kind = 'bearer'\nhosts = ['{}']\ntoken = {{file = '{}'}}", host(&server), path.display()));
    assert!(store.head(&server.url("/a.nc")).is_ok());
    "the-new-one".clone_into(&mut good.lock().unwrap());
    assert_eq!(store.head(&server.url("/b.nc")).unwrap_err().kind, ErrorKind::Forbidden);
    std::fs::write(&path, "the-new-one").unwrap();
    assert!(store.head(&server.url("/c.nc")).is_ok());
}

#[test]
fn oauth_tokens_are_fetched_once_and_renewed_before_and_after_their_end() {
    let issued = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&issued);
    let tokens = Server::start(move |request, _| {
        let known = request.method == "POST" && request.header("authorization") == Some(&format!("Basic {}", base64("client:pass%3Aword")));
        if !known {
            return reply("400 Bad Request", &[("Content-Length", "0")], b"");
        }
        let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
        let life = if number == 1 { 5 } else { 3600 };
        let body = format!("{{\"access_token\": \"issued-{number}\", \"token_type\": \"bearer\", \"expires_in\": {life}}}");
        reply("200 OK", &[("Content-Type", "application/json"), ("Content-Length", &body.len().to_string())], body.as_bytes())
    });
    let revoked = Arc::new(AtomicUsize::new(0));
    let known = Arc::clone(&revoked);
    let data = guarded(move |request| {
        let number = request.header("authorization").and_then(|value| value.strip_prefix("Bearer issued-")?.parse::<usize>().ok());
        number.is_some_and(|number| number > known.load(Ordering::SeqCst))
    });
    let table = format!(
        "kind = 'oauth2'\nhosts = ['{}']\ntoken_url = '{}'\nclient_id = 'client'\nclient_secret = 'pass:word'\nscope = 'read'",
        host(&data),
        tokens.url("/token")
    );
    let store = with(&table);
    for path in ["/a.nc", "/b.nc", "/c.nc"] {
        assert!(store.head(&data.url(path)).is_ok());
    }
    assert_eq!(issued.load(Ordering::SeqCst), 1);
    // The first is good for five seconds, of which the last fifth is not used.
    std::thread::sleep(std::time::Duration::from_millis(4100));
    assert!(store.head(&data.url("/d.nc")).is_ok());
    assert_eq!(issued.load(Ordering::SeqCst), 2);
    revoked.store(2, Ordering::SeqCst);
    assert!(store.head(&data.url("/e.nc")).is_ok());
    assert_eq!(issued.load(Ordering::SeqCst), 3);
    revoked.store(99, Ordering::SeqCst);
    assert_eq!(store.head(&data.url("/f.nc")).unwrap_err().kind, ErrorKind::Forbidden);
    assert_eq!(issued.load(Ordering::SeqCst), 4);
    let wrong = with(&table.replace("pass:word", "pass:wrong"));
    let error = wrong.head(&data.url("/a.nc")).unwrap_err();
    assert_eq!((error.kind, error.exit()), (ErrorKind::Forbidden, 3));
    assert!(error.to_string().contains("client id and secret") && !error.to_string().contains("pass:"), "{error}");
}

#[test]
fn a_name_that_the_operator_does_not_bind_is_refused_and_a_stranger_gets_none() {
    let mut access =
        Access { auth: Auth::with("archive", "kind = 'bearer'\nhosts = ['a.example']\ntoken = 'word-of-mouth'").unwrap(), ..hasty() };
    let error = access.authorise(Some("other")).unwrap_err();
    assert!(error.exit() == 2 && error.to_string().contains("`[auth.other]`") && error.to_string().contains("archive"), "{error}");
    assert!(access.authorise(Some("archive")).is_ok() && access.authorise(None).is_ok());
    access.untrusted = true;
    assert!(access.authorise(Some("archive")).unwrap_err().to_string().contains("not trusted"));
}
