//! What a run learns while it is logged in, and the signing of each request by it.
//!
//! Earthdata Login as its public description tells it: a data host redirects who has no session to the login host, which takes
//! user and password and redirects back with a code; the data host turns that into a cookie. Invariant: the login host is told
//! a password only if a bound host sent us there, once at a time, and never again after it refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, IF_MATCH, RANGE, SET_COOKIE};
use reqwest::{Method, Request, StatusCode};
use serde::Deserialize;
use tokio::sync::{Mutex, OwnedMutexGuard};
use url::Url;

use super::chosen::{Carrier, Chosen, Client, Kind, basic};
use super::jar::Jar;
use super::{Expiring, redact};
use crate::store::access::Secret;
use crate::store::retry::{Fault, Passing};
use crate::store::{ErrorKind, StoreError, shown};

/// Longest answer of a server of tokens that is read.
const LONGEST_ANSWER: usize = 64 << 10;

/// What a run learns.
#[derive(Debug, Default)]
pub(super) struct Session {
    jar: Jar,
    /// Counts the sessions that data hosts have opened.
    opened: AtomicU64,
    /// Held by whoever logs in.
    login: Arc<Mutex<()>>,
    refused: AtomicBool,
    token: Mutex<Option<Expiring<Secret>>>,
}

/// The credential's way with one request and its redirects.
pub(in crate::store) struct Ticket<'a> {
    chosen: Option<&'a Arc<Chosen>>,
    url: &'a str,
    /// The last hop was a bound host, or the login host on its behalf.
    trusted: bool,
    renewed: bool,
    opened: u64,
    login: Option<OwnedMutexGuard<()>>,
}

/// What comes of signing.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) enum Signed {
    /// Send it.
    Ready,
    /// Somebody else has logged in meanwhile: begin with the first URL again.
    StartOver,
}

impl<'a> Ticket<'a> {
    /// For a request to `url`, as messages name it.
    pub(in crate::store) fn new(chosen: Option<&'a Arc<Chosen>>, url: &'a str) -> Self {
        let opened = chosen.map_or(0, |chosen| chosen.session.opened.load(Ordering::SeqCst));
        Self { chosen, url, trusted: false, renewed: false, opened, login: None }
    }

    /// Puts into a request what may go to its host.
    pub(in crate::store) async fn sign(
        &mut self,
        request: &mut Request,
        client: &reqwest::Client,
        idle: Duration,
    ) -> Result<Signed, Fault> {
        let Some(chosen) = self.chosen else { return Ok(Signed::Ready) };
        let url = request.url().clone();
        if chosen.is_login(&url) && self.trusted {
            return self.sign_login(chosen, request).await;
        }
        self.trusted = chosen.takes(&url);
        if !self.trusted {
            return Ok(Signed::Ready);
        }
        if let Some(login) = chosen.basic(&url) {
            put(request, AUTHORIZATION, &format!("Basic {}", basic(&login.user, login.password.reveal())));
        }
        if let Some(token) = chosen.token() {
            carry(request, &token.carrier, token.value().reveal());
        }
        if let Kind::Oauth(of) = &chosen.kind {
            let token = self.oauth_token(chosen, of, client, idle).await?;
            put(request, AUTHORIZATION, &format!("Bearer {}", token.reveal()));
        }
        add_cookies(chosen, request);
        Ok(Signed::Ready)
    }

    async fn sign_login(&mut self, chosen: &'a Arc<Chosen>, request: &mut Request) -> Result<Signed, Fault> {
        if self.login.is_none() {
            self.login = Some(Arc::clone(&chosen.session.login).lock_owned().await);
            let opened = chosen.session.opened.load(Ordering::SeqCst);
            if opened != self.opened {
                (self.opened, self.login) = (opened, None);
                return Ok(Signed::StartOver);
            }
        }
        if chosen.session.refused.load(Ordering::SeqCst) {
            return Err(self.refused_login(chosen, request.url()).into());
        }
        // A page is asked for here, not a file.
        *request.method_mut() = Method::GET;
        request.headers_mut().remove(RANGE);
        request.headers_mut().remove(IF_MATCH);
        if let Kind::Earthdata { login, token, .. } = &chosen.kind {
            if let Some(login) = login {
                put(request, AUTHORIZATION, &format!("Basic {}", basic(&login.user, login.password.reveal())));
            }
            if let Some(token) = token {
                put(request, AUTHORIZATION, &format!("Bearer {}", token.value().reveal()));
            }
        }
        add_cookies(chosen, request);
        Ok(Signed::Ready)
    }

    /// Takes note of what an answer sets. To be called for every hop.
    pub(in crate::store) fn note(&mut self, url: &Url, headers: &HeaderMap) {
        let Some(chosen) = self.chosen.filter(|_| self.trusted) else { return };
        let login = chosen.is_login(url);
        if !matches!(chosen.kind, Kind::Earthdata { .. }) || !(login || chosen.takes(url)) {
            return;
        }
        let set = headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        let kept = set.filter(|cookie| chosen.session.jar.keep(url, cookie)).count();
        if kept > 0 && !login && self.login.is_some() {
            self.opened = chosen.session.opened.fetch_add(1, Ordering::SeqCst) + 1;
            // Whoever waits can go on with the cookie.
            self.login = None;
        }
    }

    /// What an answer that is no redirect says of the credential: fine, try once more (true), or refused.
    pub(in crate::store) async fn judge(&mut self, url: &Url, status: StatusCode, page: bool) -> Result<bool, Fault> {
        let Some(chosen) = self.chosen else { return Ok(false) };
        if chosen.is_login(url) && self.trusted {
            if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
                return Ok(false);
            }
            if matches!(status.as_u16(), 401 | 403) || page {
                chosen.session.refused.store(true, Ordering::SeqCst);
            }
            return Err(self.refused_login(chosen, url).into());
        }
        // Servers answer 400 to a certificate that no authority of theirs has signed.
        if matches!(status.as_u16(), 400 | 401 | 403) && chosen.identity(url).is_some() {
            let message = format!(
                "the server refuses the certificate of the credential `{}` ({}); check in gristmill.toml that it is the right one and its time is not over",
                chosen.name,
                status.as_u16()
            );
            return Err(StoreError::new(ErrorKind::Forbidden, self.url, message).into());
        }
        if status != StatusCode::UNAUTHORIZED {
            return Ok(false);
        }
        if !chosen.takes(url) {
            return if chosen.is_bound(url) { Err(self.not_sent(chosen).into()) } else { Ok(false) };
        }
        if !self.renewed && renew(chosen).await {
            self.renewed = true;
            return Ok(true);
        }
        let message = format!(
            "the server refuses the credential `{}` (401); check it in gristmill.toml, and that the account may read this",
            chosen.name
        );
        Err(StoreError::new(ErrorKind::Forbidden, self.url, message).into())
    }

    fn not_sent(&self, chosen: &Chosen) -> StoreError {
        let message = format!(
            "the server wants the credential `{}`, which is not sent over plain http; use https:// (or `allow_http` in its table, if nobody can listen)",
            chosen.name
        );
        StoreError::new(ErrorKind::Forbidden, self.url, message)
    }

    fn refused_login(&self, chosen: &Chosen, url: &Url) -> StoreError {
        let message = format!(
            "the login at {} does not let the credential `{}` through; check its user and password, and that the account has agreed to the provider's terms",
            shown(&url.origin().ascii_serialization()),
            chosen.name
        );
        StoreError::new(ErrorKind::Forbidden, self.url, message)
    }

    async fn oauth_token(&self, chosen: &Chosen, of: &Client, client: &reqwest::Client, idle: Duration) -> Result<Secret, Fault> {
        let mut kept = chosen.session.token.lock().await;
        if let Some(token) = kept.as_ref().and_then(Expiring::fresh) {
            return Ok(token.clone());
        }
        let fetched = tokio::time::timeout(idle, fetch_token(self.url, &chosen.name, of, client)).await;
        let (token, life) = fetched.unwrap_or_else(|_| Err(Fault::passing("the server of tokens fell silent")))?;
        redact::keep(token.reveal());
        *kept = Some(Expiring::new(token.clone(), life));
        Ok(token)
    }
}

/// True if a second try may find another credential than the first.
async fn renew(chosen: &Chosen) -> bool {
    match &chosen.kind {
        Kind::Oauth(_) => {
            *chosen.session.token.lock().await = None;
            true
        }
        Kind::Earthdata { login: Some(_), .. } => {
            chosen.session.jar.clear();
            true
        }
        _ => chosen.token().is_some_and(super::chosen::Token::renew),
    }
}

/// A token and how long it is good (RFC 6749 §4.4, the client's secret by §2.3.1).
async fn fetch_token(url: &str, name: &str, of: &Client, client: &reqwest::Client) -> Result<(Secret, Option<Duration>), Fault> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: String,
        #[serde(default)]
        expires_in: Option<serde_json::Value>,
    }
    let refuse = |message: String| Fault::Final(StoreError::new(ErrorKind::Forbidden, url, message));
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let mut authorization = HeaderValue::from_str(&format!("Basic {}", basic(&encode(&of.id), &encode(of.secret.reveal()))))
        .map_err(|_| refuse(format!("the credential `{name}` cannot be sent as a header")))?;
    authorization.set_sensitive(true);
    let request = client
        .post(of.url.clone())
        .header(AUTHORIZATION, authorization)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form(of));
    let passing = |reason: &str, error: reqwest::Error| {
        Fault::Passing(Passing { reason: reason.to_owned(), cause: Some(error.without_url().into()), ..Passing::default() })
    };
    let mut response = request.send().await.map_err(|error| passing("the server of tokens cannot be reached", error))?;
    let status = response.status();
    if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
        return Err(Fault::passing(format!("the server of tokens answers {}", status.as_u16())));
    }
    if !status.is_success() {
        let host = shown(&of.url.origin().ascii_serialization());
        return Err(refuse(format!(
            "{host} gives no token for the credential `{name}` ({}); check its client id and secret",
            status.as_u16()
        )));
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| passing("the server of tokens broke off", error))? {
        body.extend_from_slice(&piece);
        if body.len() > LONGEST_ANSWER {
            return Err(refuse("the server of tokens sends something else than a token".to_owned()));
        }
    }
    let answer: Answer =
        serde_json::from_slice(&body).map_err(|_| refuse(format!("the answer for the credential `{name}` holds no `access_token`")))?;
    let seconds = match answer.expires_in {
        Some(serde_json::Value::Number(number)) => number.as_u64(),
        Some(serde_json::Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    Ok((Secret::new(answer.access_token), seconds.map(Duration::from_secs)))
}

/// What a client asks with; no secret.
fn form(of: &Client) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if let Some(scope) = &of.scope {
        form.append_pair("scope", scope);
    }
    form.finish()
}

/// Puts a header that is never shown.
fn put(request: &mut Request, name: HeaderName, value: &str) {
    // A value that no header can hold is not sent; the server's 401 then says whose it was.
    if let Ok(mut value) = HeaderValue::from_str(value) {
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
}

fn carry(request: &mut Request, carrier: &Carrier, secret: &str) {
    match carrier {
        Carrier::Bearer => put(request, AUTHORIZATION, &format!("Bearer {secret}")),
        Carrier::Header(name) => {
            if let Ok(name) = name.parse() {
                put(request, name, secret);
            }
        }
        Carrier::Query(name) => {
            let there = request.url().query_pairs().any(|(known, _)| known == name.as_str());
            if !there {
                request.url_mut().query_pairs_mut().append_pair(name, secret);
            }
        }
    }
}

/// What may be sent at all is sent where nobody listens, or where the operator does not mind.
fn add_cookies(chosen: &Chosen, request: &mut Request) {
    if let Some(cookies) = chosen.session.jar.header(request.url(), true) {
        put(request, COOKIE, &cookies);
    }
}
