//! A login server of our own, following the public description of Earthdata Login's redirects; and short-lived S3 keys.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use gristmill::store::auth::Auth;
use gristmill::store::{Access, ErrorKind};

use super::server::{Reply, Request, Server, honest, reply};
use super::{base64, content, hasty, host, reporting, with};

/// What the two servers know.
pub(crate) struct Realm {
    pub(crate) sessions: AtomicUsize,
    pub(crate) logins: AtomicUsize,
    /// Sessions up to this number are over.
    pub(crate) expired: AtomicUsize,
    pub(crate) data: Mutex<String>,
    pub(crate) password: String,
    pub(crate) file: Vec<u8>,
    /// What `/NUMBER.nc` is; without any, every path is `file`.
    pub(crate) files: Vec<Vec<u8>>,
    /// After so many answers a session is over; 0: never.
    pub(crate) lasts: usize,
    pub(crate) answers: AtomicUsize,
    /// S3 keys that were given out.
    pub(crate) keys: AtomicUsize,
}

impl Default for Realm {
    fn default() -> Self {
        let (sessions, logins, expired, data, files, lasts, answers, keys) = Default::default();
        Self { sessions, logins, expired, data, password: "pass-word".into(), file: content(), files, lasts, answers, keys }
    }
}

fn to(place: &str, cookies: &[&str]) -> Reply {
    let mut headers = vec![("Location", place), ("Content-Length", "0")];
    headers.extend(cookies.iter().map(|cookie| ("Set-Cookie", *cookie)));
    reply("302 Found", &headers, b"")
}

fn decoded(text: &str) -> String {
    url::form_urlencoded::parse(format!("x={text}").as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn parameter<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.path.split_once('?')?.1.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// The login host: `/oauth/authorize` takes Basic and redirects back with a code.
pub(crate) fn login_host(realm: &Arc<Realm>) -> Server {
    let realm = Arc::clone(realm);
    Server::start(move |request, _| {
        assert!(request.path.starts_with("/oauth/authorize?"), "{request:?}");
        if request.header("authorization").is_some() {
            assert!(request.method == "GET" && request.header("range").is_none(), "{request:?}");
        }
        match request.header("authorization") {
            Some(value) if value == format!("Basic {}", base64(&format!("me:{}", realm.password))) || value == "Bearer long-lived" => {
                realm.logins.fetch_add(1, Ordering::SeqCst);
                let back = decoded(parameter(request, "redirect_uri").unwrap_or_default());
                let state = parameter(request, "state").unwrap_or_default();
                to(&format!("{back}?code=c0de&state={state}"), &["login=1; Path=/; HttpOnly"])
            }
            Some(_) => reply("401 Unauthorized", &[("Content-Length", "0")], b""),
            None => reply("200 OK", &[("Content-Type", "text/html"), ("Content-Length", "20")], b"<html>login</html>  "),
        }
    })
}

/// The data host: without a session it sends one to the login host.
pub(crate) fn data_host(realm: &Arc<Realm>, login: &Server) -> Server {
    let (realm_here, authorize) = (Arc::clone(realm), login.url("/oauth/authorize"));
    let server = Server::start(move |request, _| {
        let realm = &realm_here;
        let own = realm.data.lock().unwrap().clone();
        assert!(request.header("authorization").is_none_or(|value| value.starts_with("Bearer ")), "the data host gets no password");
        if request.path.starts_with("/login") {
            assert_eq!(parameter(request, "code"), Some("c0de"));
            let number = realm.sessions.fetch_add(1, Ordering::SeqCst) + 1;
            let place = decoded(parameter(request, "state").unwrap_or_default());
            return to(&place, &[&format!("session=number-{number}; Path=/; HttpOnly")]);
        }
        let number =
            request.header("cookie").and_then(|cookie| cookie.split("session=number-").nth(1)?.split(';').next()?.parse::<usize>().ok());
        if number.is_some_and(|number| number > realm.expired.load(Ordering::SeqCst)) {
            if realm.lasts > 0 && (realm.answers.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(realm.lasts) {
                realm.expired.store(realm.sessions.load(Ordering::SeqCst), Ordering::SeqCst);
            }
            return if request.path == "/keys" { keys(realm) } else { honest(request, realm.content(&request.path)) };
        }
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        to(
            &format!(
                "{authorize}?client_id=x&response_type=code&redirect_uri={}&state={}",
                encode(&format!("{own}/login")),
                encode(&request.path)
            ),
            &[],
        )
    });
    *realm.data.lock().unwrap() = server.url("");
    server
}

impl Realm {
    fn content(&self, path: &str) -> &[u8] {
        let number = path.rsplit('/').next().and_then(|name| name.strip_suffix(".nc")?.parse::<usize>().ok());
        number.and_then(|number| self.files.get(number)).unwrap_or(&self.file)
    }
}

fn keys(realm: &Realm) -> Reply {
    let number = realm.keys.fetch_add(1, Ordering::SeqCst) + 1;
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    let body = format!(
        "{{\"accessKeyId\": \"ASIAFORTEST{number}\", \"secretAccessKey\": \"quiet-secret\", \"sessionToken\": \"quiet-token\", \"expiration\": \"{end}\"}}"
    );
    reply("200 OK", &[("Content-Type", "application/json"), ("Content-Length", &body.len().to_string())], body.as_bytes())
}

fn table(data: &Server, login: &Server, secret: &str) -> String {
    format!("kind = 'earthdata'\nhosts = ['{}']\nlogin_host = '{}'\n{secret}", host(data), host(login))
}

const PASSWORD: &str = "user = 'me'\npassword = 'pass-word'";

#[test]
fn one_login_opens_the_archive_for_all() {
    let realm = Arc::new(Realm::default());
    let login = login_host(&realm);
    let data = data_host(&realm, &login);
    let store = with(&table(&data, &login, PASSWORD));
    let paths: Vec<String> = (0..12).map(|number| data.url(&format!("/granule/{number}.nc?x=1&y=2"))).collect();
    std::thread::scope(|scope| {
        for url in &paths {
            scope.spawn(|| {
                assert_eq!(store.ranges(url, &[3..9, 4000..4100]).unwrap(), [content()[3..9].to_vec(), content()[4000..4100].to_vec()]);
            });
        }
    });
    assert_eq!(realm.logins.load(Ordering::SeqCst), 1, "one dance, however many wait for it");
}

#[test]
fn a_session_that_ends_in_mid_run_is_opened_again() {
    let realm = Arc::new(Realm::default());
    let login = login_host(&realm);
    let data = data_host(&realm, &login);
    let store = with(&table(&data, &login, PASSWORD));
    for expected in 1..=3 {
        assert_eq!(store.ranges(&data.url("/a.nc"), &[0..9]).unwrap(), [content()[..9].to_vec()]);
        assert_eq!(realm.logins.load(Ordering::SeqCst), expected);
        realm.expired.store(expected, Ordering::SeqCst);
    }
}

#[test]
fn a_wrong_password_is_told_once_and_never_shown() {
    let realm = Arc::new(Realm::default());
    let login = login_host(&realm);
    let data = data_host(&realm, &login);
    let store = with(&table(&data, &login, "user = 'me'\npassword = 'wrong-word'"));
    for path in ["/a.nc", "/b.nc", "/c.nc"] {
        let error = store.head(&data.url(path)).unwrap_err();
        assert_eq!((error.kind, error.exit()), (ErrorKind::Forbidden, 3));
        assert!(error.to_string().contains("`archive`"), "{error}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("wrong-word") && !shown.contains(&base64("me:wrong-word")), "{shown}");
    }
    assert_eq!(login.requests().len(), 1, "repeated wrong passwords lock accounts");
}

#[test]
fn a_token_does_without_the_password() {
    let realm = Arc::new(Realm::default());
    let login = login_host(&realm);
    let data = data_host(&realm, &login);
    let store = with(&table(&data, &login, "token = 'long-lived'"));
    assert_eq!(store.ranges(&data.url("/a.nc"), &[0..9]).unwrap(), [content()[..9].to_vec()]);
}

#[test]
fn the_login_host_gets_no_password_from_a_stranger_s_redirect() {
    let realm = Arc::new(Realm::default());
    let login = login_host(&realm);
    let data = data_host(&realm, &login);
    let authorize = login.url("/oauth/authorize?client_id=evil&redirect_uri=http%3A%2F%2Fevil.example%2F&state=x");
    let stranger = Server::start(move |_, _| to(&authorize, &["session=number-99; Path=/"]));
    let store = with(&table(&data, &login, PASSWORD));
    let error = store.head(&stranger.url("/a.nc")).unwrap_err();
    assert_eq!(error.exit(), 3, "{error}");
    assert!(login.requests().iter().all(|request| request.header("authorization").is_none()));
    assert_eq!(realm.logins.load(Ordering::SeqCst), 0);
}

#[test]
fn short_lived_keys_are_fetched_and_renewed_before_their_end() {
    let realm = Arc::new(Realm::default());
    let login = login_host(&realm);
    let data = data_host(&realm, &login);
    let signed = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&signed);
    let bucket = Server::start(move |request, _| {
        let key = request.header("authorization").and_then(|value| value.split("Credential=").nth(1)?.split('/').next()).map(str::to_owned);
        seen.lock().unwrap().push((key, request.header("x-amz-security-token").map(str::to_owned)));
        let mut answer = honest(request, &content());
        if let Some(super::server::Step::Send(head)) = answer.first_mut() {
            let text = String::from_utf8_lossy(head).replacen("\r\n", "\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n", 1);
            *head = text.into_bytes();
        }
        answer
    });
    let secret = format!(
        "{PASSWORD}\nkeys_url = '{}'\nbuckets = ['protected']\nendpoint = '{}'\nregion = 'us-west-2'",
        data.url("/keys"),
        bucket.url("")
    );
    let access = Access { auth: Auth::with("archive", &table(&data, &login, &secret)).unwrap(), ..hasty() };
    let (store, _) = reporting(&access);
    assert_eq!(store.ranges("s3://protected/a.nc", &[0..9]).unwrap(), [content()[..9].to_vec()]);
    let fetched = data.requests().iter().filter(|request| request.path == "/keys").count();
    assert_eq!(store.ranges("s3://protected/a.nc", &[9..12]).unwrap(), [content()[9..12].to_vec()]);
    assert_eq!(data.requests().iter().filter(|request| request.path == "/keys").count(), fetched, "good keys are kept");
    std::thread::sleep(std::time::Duration::from_millis(2100));
    assert_eq!(store.ranges("s3://protected/a.nc", &[12..15]).unwrap(), [content()[12..15].to_vec()]);
    assert!(data.requests().iter().filter(|request| request.path == "/keys").count() > fetched, "and fetched anew before their end");
    let signed = signed.lock().unwrap();
    assert!(signed.iter().all(|(key, token)| key.as_deref().is_some_and(|key| key.starts_with("ASIAFORTEST")) && token.as_deref() == Some("quiet-token")), "{signed:?}");
}
