//! One request and what its answer means.
//!
//! GitHub refuses in many ways: 401 for tokens that ended, 403 or 429 for too many requests (per hour: `x-ratelimit-*`; too fast:
//! `Retry-After`, or a minute), 5xx when it is not well (docs.github.com, rate limits for the REST API). Short waits are made here,
//! long ones are told. Invariant: what may have been done is not repeated here; a token goes to the interface's own address only,
//! and redirects are not followed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LINK, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::super::{Fault, ForgeError};
use super::memory::Memory;
use super::token::Token;
use crate::recipe::diagnostic::inert;
use crate::store::{StoreError, install_cryptography, wait_on};

/// Version of the interface.
const VERSION: &str = "2022-11-28";
/// Longest wait for a connection, and for a whole answer: GitHub ends requests after ten seconds.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);
/// Most bytes of an answer.
const LARGEST: usize = 16 << 20;
/// Most attempts at one request.
const ATTEMPTS: u32 = 5;
/// Most pages of a list.
const PAGES: usize = 200;
/// Wait where the host says that it is asked too fast, but not for how long (docs.github.com: at least a minute).
const TOO_FAST: Duration = Duration::from_mins(1);
/// Wait where the host is not well, after it was tried again and again.
const NOT_WELL: Duration = Duration::from_secs(30);

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    method: Method,
    place: Place,
    body: Option<Value>,
    /// As a verb, for messages.
    doing: &'static str,
    repeatable: bool,
}

#[derive(Debug, Clone)]
enum Place {
    /// Segments of a path, as they are before encoding, and a query.
    Path(Vec<String>, Vec<(&'static str, String)>),
    /// As the host told.
    Told(Url),
}

impl Ask {
    fn new<const N: usize>(method: Method, path: [&str; N], body: Option<Value>, doing: &'static str) -> Self {
        let repeatable = method != Method::POST;
        Self { method, place: Place::Path(path.map(str::to_owned).to_vec(), Vec::new()), body, doing, repeatable }
    }

    pub(super) fn get<const N: usize>(path: [&str; N], doing: &'static str) -> Self {
        Self::new(Method::GET, path, None, doing)
    }

    pub(super) fn post<const N: usize>(path: [&str; N], body: Value, doing: &'static str) -> Self {
        Self::new(Method::POST, path, Some(body), doing)
    }

    pub(super) fn patch<const N: usize>(path: [&str; N], body: Value, doing: &'static str) -> Self {
        Self::new(Method::PATCH, path, Some(body), doing)
    }

    /// Without a body.
    pub(super) fn bare(self) -> Self {
        Self { body: None, ..self }
    }

    /// Asked twice it does no more than asked once.
    pub(super) fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }
    }

    /// Asked twice it may do more than asked once.
    pub(super) fn once(self) -> Self {
        Self { repeatable: false, ..self }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Place::Path(_, query) = &mut self.place {
            query.push((name, value.into()));
        }
        self
    }
}

/// A good answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) body: Bytes,
    next: Option<Url>,
    doing: &'static str,
}

impl Answer {
    /// # Errors
    /// If the host answers something else than it says it would.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, ForgeError> {
        let read = serde_json::from_slice(&self.body);
        read.map_err(|error| ForgeError::new(Fault::Wrong, self.doing, "the answer is not understood").because(error))
    }
}

/// A refusal, with the status if there was an answer.
#[derive(Debug)]
pub(super) struct Refusal {
    status: Option<StatusCode>,
    error: ForgeError,
}

impl Refusal {
    pub(super) fn is_unauthorized(&self) -> bool {
        self.status == Some(StatusCode::UNAUTHORIZED)
    }
}

impl From<Refusal> for ForgeError {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self { status: None, error: ForgeError::new(Fault::Passing(NOT_WELL), "be reached", "no network").because(error) }
    }
}

/// Makes requests.
#[derive(Debug)]
pub(super) struct Caller {
    client: Client,
    api: Url,
    patience: Duration,
    pause: Duration,
    memory: Memory,
    /// Until when an account is not to be used.
    resting: Mutex<HashMap<String, Instant>>,
}

/// What came over the wire.
struct Wire {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Caller {
    /// # Errors
    /// If web access cannot be set up.
    pub(super) fn new(api: Url, patience: Duration, pause: Duration) -> Result<Self, ForgeError> {
        install_cryptography();
        let client = Client::builder()
            .user_agent(concat!("gristmill/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .referer(false)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| ForgeError::new(Fault::Wrong, "be reached", "cannot set up web access").because(error))?;
        Ok(Self { client, api, patience, pause, memory: Memory::default(), resting: Mutex::default() })
    }

    /// True if the call is to be made again at once, once it is known what the last one did.
    pub(super) fn is_soon(&self, error: &ForgeError) -> bool {
        error.again_after().is_some_and(|wait| wait <= self.pause)
    }

    /// Waits before a further attempt.
    pub(super) fn rest(&self, attempt: u32) {
        std::thread::sleep(self.backoff(attempt));
    }

    fn backoff(&self, attempt: u32) -> Duration {
        self.pause.saturating_mul(1 << attempt.min(6)).min(self.patience)
    }

    /// Makes a request, again if that helps and does no harm.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn make(&self, ask: &Ask, token: &Token) -> Result<Answer, Refusal> {
        let mut waited = Duration::ZERO;
        let mut attempt = 0;
        loop {
            let refusal = match self.once(ask, token) {
                Ok(answer) => return Ok(answer),
                Err(refusal) => refusal,
            };
            let Fault::Passing(asked) = refusal.error.fault else { return Err(refusal) };
            let refused = matches!(refusal.status, Some(StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS));
            if !refused && !ask.repeatable {
                return Err(refusal);
            }
            let wait = if refused { asked } else { self.backoff(attempt) };
            attempt += 1;
            waited = waited.saturating_add(wait);
            if attempt >= ATTEMPTS || waited > self.patience {
                let fault = Fault::Passing(if refused { asked } else { NOT_WELL });
                return Err(Refusal { error: ForgeError { fault, ..refusal.error }, ..refusal });
            }
            tracing::debug!(doing = ask.doing, attempt, ?wait, "the code host is asked again");
            std::thread::sleep(wait);
        }
    }

    fn once(&self, ask: &Ask, token: &Token) -> Result<Answer, Refusal> {
        let url = self.url(ask)?;
        if let Some(wait) = self.resting(token.account()) {
            let error = ForgeError::new(Fault::Passing(wait), ask.doing, "it asked us to wait");
            return Err(Refusal { status: Some(StatusCode::TOO_MANY_REQUESTS), error });
        }
        let key = format!("{}\n{url}", token.reveal());
        let kept = if ask.method == Method::GET { self.memory.get(&key) } else { None };
        let wire = wait_on(self.send(ask, url, token, kept.as_ref().map(|(etag, _)| etag.as_str())))?;
        self.note_allowance(token, &wire);
        match (wire.status, kept) {
            (StatusCode::NOT_MODIFIED, Some((_, answer))) => Ok(answer),
            (status, _) if status.is_success() => {
                let next = self.next(&wire.headers);
                let answer = Answer { body: wire.body, next, doing: ask.doing };
                let etag = wire.headers.get(ETAG).filter(|_| ask.method == Method::GET).and_then(|etag| etag.to_str().ok());
                if let Some(etag) = etag {
                    self.memory.keep(key, etag.to_owned(), &answer);
                }
                Ok(answer)
            }
            _ => Err(self.refused(ask, token, &wire)),
        }
    }

    fn url(&self, ask: &Ask) -> Result<Url, Refusal> {
        let wrong = || Refusal { status: None, error: ForgeError::new(Fault::Wrong, ask.doing, "its address makes no URL") };
        let (path, query) = match &ask.place {
            Place::Told(url) => return Ok(url.clone()),
            Place::Path(path, query) => (path, query),
        };
        let mut url = self.api.clone();
        // Segments `.` and `..` would lead elsewhere.
        if path.iter().any(|segment| segment.is_empty() || segment.bytes().all(|byte| byte == b'.')) {
            return Err(wrong());
        }
        url.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    async fn send(&self, ask: &Ask, url: Url, token: &Token, etag: Option<&str>) -> Result<Wire, Refusal> {
        let broken = |error: reqwest::Error| {
            let error = ForgeError::new(Fault::Passing(self.pause), ask.doing, "the connection broke").because(error.without_url());
            Refusal { status: None, error }
        };
        let wrong = |message: &str| Refusal { status: None, error: ForgeError::new(Fault::Wrong, ask.doing, message) };
        let bearer = HeaderValue::from_str(&format!("Bearer {}", token.reveal()));
        let mut bearer = bearer.map_err(|_| wrong("the token is no text"))?;
        bearer.set_sensitive(true);
        let mut request = self
            .client
            .request(ask.method.clone(), url)
            .header(AUTHORIZATION, bearer)
            .header(ACCEPT, "application/vnd.github+json")
            .header("x-github-api-version", VERSION);
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if let Some(body) = &ask.body {
            request = request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let mut response = request.send().await.map_err(broken)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            if body.len() + piece.len() > LARGEST {
                return Err(wrong("its answer is longer than 16 MiB"));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Wire { status, headers, body: body.freeze() })
    }

    /// The next page, if it is at the same host.
    fn next(&self, headers: &HeaderMap) -> Option<Url> {
        let links = headers.get(LINK)?.to_str().ok()?;
        let link = links.split(',').find(|link| link.split(';').skip(1).any(|word| word.trim() == r#"rel="next""#))?;
        let url = Url::parse(link.split_once('<')?.1.split_once('>')?.0).ok()?;
        (url.origin() == self.api.origin()).then_some(url)
    }

    fn resting(&self, account: &str) -> Option<Duration> {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let left = resting.get(account)?.saturating_duration_since(Instant::now());
        (left > Duration::ZERO).then_some(left)
    }

    fn rest_account(&self, account: &str, wait: Duration) {
        let Some(until) = Instant::now().checked_add(wait) else { return };
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).insert(account.to_owned(), until);
    }

    /// Does not ask on once the hour's allowance is used up.
    fn note_allowance(&self, token: &Token, wire: &Wire) {
        if wire.status.is_success() && number(&wire.headers, "x-ratelimit-remaining") == Some(0) {
            self.rest_account(token.account(), until_reset(&wire.headers));
        }
    }

    fn refused(&self, ask: &Ask, token: &Token, wire: &Wire) -> Refusal {
        let said = serde_json::from_slice::<Value>(&wire.body).ok();
        let said = said.as_ref().and_then(|value| value["message"].as_str()).unwrap_or_default();
        let wait = too_much(wire, said);
        if let Some(wait) = wait {
            self.rest_account(token.account(), wait);
        }
        let fault = match (wire.status.as_u16(), wait) {
            (_, Some(wait)) => Fault::Passing(wait),
            (401 | 403, None) => Fault::Forbidden,
            // A repository that was renamed or moved answers with its new place.
            (404 | 410 | 451 | 301 | 307 | 308, None) => Fault::Gone,
            (408 | 500..=599, None) => Fault::Passing(self.pause),
            _ => Fault::Wrong,
        };
        let status = wire.status;
        let message = if said.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {}", inert(said)) };
        Refusal { status: Some(status), error: ForgeError::new(fault, ask.doing, message) }
    }
}

/// How long to wait if we asked too much, or too fast.
fn too_much(wire: &Wire, said: &str) -> Option<Duration> {
    if !matches!(wire.status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS) {
        return None;
    }
    if let Some(wait) = number(&wire.headers, RETRY_AFTER.as_str()) {
        return Some(Duration::from_secs(wait));
    }
    if number(&wire.headers, "x-ratelimit-remaining") == Some(0) {
        return Some(until_reset(&wire.headers));
    }
    let limited = wire.status == StatusCode::TOO_MANY_REQUESTS || said.to_ascii_lowercase().contains("rate limit");
    limited.then_some(TOO_FAST)
}

/// Until the hour's allowance is given anew, by the host's clock where it tells it.
fn until_reset(headers: &HeaderMap) -> Duration {
    let Some(reset) = number(headers, "x-ratelimit-reset").and_then(|reset| i64::try_from(reset).ok()) else { return TOO_FAST };
    let told = headers.get(reqwest::header::DATE).and_then(|date| date.to_str().ok());
    let now = told.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map_or_else(Timestamp::now, |date| date.timestamp());
    // The second in which it is given anew may not have begun.
    Duration::from_secs(u64::try_from(reset.saturating_sub(now.as_second())).unwrap_or(0).saturating_add(1))
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// All items of a list that comes in pages, until one is `enough`.
///
/// # Errors
/// Whatever `make` and `read` refuse, and lists without an end.
pub(super) fn pages<T>(
    first: Ask,
    make: impl Fn(&Ask) -> Result<Answer, ForgeError>,
    read: impl Fn(&Answer) -> Result<Vec<T>, ForgeError>,
    enough: impl Fn(&T) -> bool,
) -> Result<Vec<T>, ForgeError> {
    let mut all = Vec::new();
    let mut ask = first.with("per_page", "100");
    for _ in 0..PAGES {
        let answer = make(&ask)?;
        let items = read(&answer)?;
        let ended = items.iter().any(&enough);
        all.extend(items);
        match answer.next {
            Some(next) if !ended => ask = Ask { place: Place::Told(next), ..ask },
            _ => return Ok(all),
        }
    }
    Err(ForgeError::new(Fault::Wrong, ask.doing, format!("its list has more than {PAGES} pages")))
}
