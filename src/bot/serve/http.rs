//! What is asked of the server over the network: webhooks, health, figures, pages.
//!
//! A webhook is answered when it is on disk; nothing is worked on here. Not for TLS: something that speaks it stands in front.
//! Invariant: of a webhook whose signature does not hold nothing is parsed, kept or told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::jobs::{Pool, Record};
use super::metrics::{ANSWER_TIME, ANSWERS, Metrics};
use super::page;
use super::queue::{Incoming, Queue, QueueError, Receipt};
use super::signature::Secrets;
use crate::bot::forge;

/// Most webhooks that are read at once.
const AT_ONCE: usize = 32;
/// Longest time that a webhook's body may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// Bytes of a large body.
const LARGE: usize = 256 << 10;
/// Longest id of a delivery.
const LONGEST_ID: usize = 100;

/// What the answers are made from.
pub(super) struct Site {
    pub(super) secrets: Secrets,
    pub(super) largest_body: usize,
    pub(super) queue: Arc<Queue>,
    pub(super) pool: Arc<Pool>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) reading: Semaphore,
}

impl Site {
    pub(super) fn new(secrets: Secrets, largest_body: usize, queue: Arc<Queue>, pool: Arc<Pool>, metrics: Arc<Metrics>) -> Self {
        Self { secrets, largest_body, queue, pool, metrics, reading: Semaphore::new(AT_ONCE) }
    }

    fn figures(&self) -> String {
        let (depth, age) = self.queue.depth();
        let (running, waiting) = self.pool.counts();
        self.metrics.text(&[
            ("gristmill_queue_deliveries", "Deliveries that wait", depth as f64),
            ("gristmill_queue_age_seconds", "Time that the oldest of them waits", age.as_secs_f64()),
            ("gristmill_jobs_running", "Jobs that run", running as f64),
            ("gristmill_jobs_waiting", "Jobs that wait", waiting as f64),
        ])
    }

    fn record(&self, number: u64) -> Option<Record> {
        self.pool.record(number).filter(|record| record.public)
    }
}

/// All that can be asked.
pub(super) fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route("/webhooks/github", post(webhook))
        .route("/healthz", get(health))
        .route("/metrics", get(figures))
        .route("/", get(index))
        .route("/jobs/{number}", get(job))
        .route("/jobs/{number}/log", get(log))
        .route("/maps/{owner}/{name}/{head}/{file}", get(map))
        .route("/style.css", get(style))
        .fallback(get(absent))
        .with_state(site)
}

async fn webhook(State(site): State<Arc<Site>>, request: Request) -> Response {
    let begun = Instant::now();
    let (status, told) = match answer(&site, request).await {
        Ok(Receipt::Accepted) => (StatusCode::ACCEPTED, "accepted"),
        Ok(Receipt::Known) => (StatusCode::OK, "this was accepted before; nothing is done again"),
        Err(refusal) => refusal,
    };
    site.metrics.count(ANSWERS, status.as_str());
    site.metrics.time(ANSWER_TIME, begun.elapsed());
    tracing::debug!(status = status.as_u16(), seconds = begun.elapsed().as_secs_f64(), "webhook answered");
    (status, told).into_response()
}

type Refusal = (StatusCode, &'static str);

async fn answer(site: &Site, request: Request) -> Result<Receipt, Refusal> {
    let (parts, body) = request.into_parts();
    let body = read(site, &parts.headers, body).await?;
    // A large body takes some time; other webhooks are answered meanwhile.
    let (delivery, digest) = if body.len() > LARGE {
        tokio::task::block_in_place(|| judged(site, &parts.headers, &body))
    } else {
        judged(site, &parts.headers, &body)
    }?;
    site.queue.accept(delivery, digest).await.map_err(|error| {
        tracing::error!(error = %crate::run::with_causes(&error), "a webhook was not kept");
        match error {
            QueueError::Busy => (StatusCode::CONFLICT, "the same is being kept right now"),
            QueueError::Disk(_) | QueueError::Closed => (StatusCode::SERVICE_UNAVAILABLE, "deliver it again later"),
        }
    })
}

/// What is to be kept of a webhook, and the digest of its body.
fn judged(site: &Site, headers: &HeaderMap, body: &Bytes) -> Result<(Incoming, String), Refusal> {
    if !site.secrets.signed(body, word(headers, "x-hub-signature-256")) {
        tracing::warn!("a webhook without a signature that holds was refused");
        return Err((StatusCode::UNAUTHORIZED, "the signature does not hold"));
    }
    let delivery = match forge::delivery(headers, body) {
        Ok(forge::Incoming::Event(received)) => kept(headers, &received, body)?,
        Ok(forge::Incoming::Ping) => return Err((StatusCode::OK, "pong")),
        Ok(forge::Incoming::Repositories | forge::Incoming::Ignored(_)) => return Err((StatusCode::OK, "nothing to do")),
        Err(error) => {
            tracing::warn!(%error, "a signed webhook cannot be read");
            return Err((StatusCode::BAD_REQUEST, "this is no event that is known here"));
        }
    };
    let digest = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((delivery, digest))
}

/// The body, if it is neither too long nor too slow.
async fn read(site: &Site, headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    const TOO_LONG: Refusal = (StatusCode::PAYLOAD_TOO_LARGE, "the body is too long");
    let announced = word(headers, "content-length").and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|length| length > site.largest_body) {
        return Err(TOO_LONG);
    }
    let whole = async {
        let _place = site.reading.acquire().await;
        axum::body::to_bytes(body, site.largest_body).await
    };
    match tokio::time::timeout(PATIENCE, whole).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(TOO_LONG),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body did not come")),
    }
}

fn word<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What is kept of a delivery: its body and the headers that say what it is.
fn kept(headers: &HeaderMap, received: &forge::Received, body: &Bytes) -> Result<Incoming, Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let (true, Ok(text)) = (received.id.len() <= LONGEST_ID && received.id.bytes().all(plain), std::str::from_utf8(body)) else {
        return Err((StatusCode::BAD_REQUEST, "this is no delivery"));
    };
    let says = ["x-github-event", "x-github-delivery"];
    let headers = says.iter().filter_map(|name| Some(((*name).to_owned(), word(headers, name)?.to_owned()))).collect();
    Ok(Incoming { id: received.id.clone(), repository: received.repository.to_string(), headers, body: text.to_owned() })
}

async fn health(State(site): State<Arc<Site>>) -> Response {
    let (depth, _) = site.queue.depth();
    let (running, waiting) = site.pool.counts();
    let open = !site.queue.is_closed();
    let status = if open { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = if open { "ok" } else { "stopping" };
    let told =
        serde_json::json!({"status": word, "queue": depth, "running": running, "waiting": waiting, "version": env!("CARGO_PKG_VERSION")});
    (status, [(header::CONTENT_TYPE, "application/json")], told.to_string()).into_response()
}

async fn figures(State(site): State<Arc<Site>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], site.figures()).into_response()
}

async fn index(State(site): State<Arc<Site>>) -> Response {
    html(StatusCode::OK, page::index(&site.pool.records(), Timestamp::now()))
}

async fn job(State(site): State<Arc<Site>>, Path(number): Path<String>) -> Response {
    let Some(record) = number.parse().ok().and_then(|number| site.record(number)) else { return absent().await };
    let folder = site.pool.folder_of(record.number);
    // Reading a log takes a moment.
    let page = tokio::task::spawn_blocking(move || page::job(&record, &folder, Timestamp::now())).await;
    html(StatusCode::OK, page.unwrap_or_else(|_| page::absent()))
}

async fn log(State(site): State<Arc<Site>>, Path(number): Path<String>) -> Response {
    let Some(record) = number.parse().ok().and_then(|number| site.record(number)) else { return absent().await };
    let folder = site.pool.folder_of(record.number);
    let log = tokio::task::spawn_blocking(move || page::log(&folder)).await.ok().flatten().unwrap_or_default();
    let log: String = log.lines().map(|line| crate::recipe::diagnostic::inert(line) + "\n").collect();
    guarded((StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], log).into_response())
}

/// The map of a recipe at a commit, from its last test.
async fn map(State(site): State<Arc<Site>>, Path((owner, name, head, file)): Path<(String, String, String, String)>) -> Response {
    let (repository, recipe) = (format!("{owner}/{name}"), file.strip_suffix(".png").unwrap_or_default());
    let is_it = |one: &Record| one.public && one.repository == repository && one.at == head && one.recipe == recipe && one.kind == "test";
    let Some(record) = site.pool.records().into_iter().filter(is_it).max_by_key(|one| one.number) else { return absent().await };
    let folder = site.pool.folder_of(record.number);
    match tokio::task::spawn_blocking(move || page::map(&folder, &record)).await {
        Ok(Some(png)) => guarded((StatusCode::OK, [(header::CONTENT_TYPE, "image/png")], png).into_response()),
        Ok(None) | Err(_) => absent().await,
    }
}

async fn style() -> Response {
    guarded(([(header::CONTENT_TYPE, "text/css; charset=utf-8")], page::STYLE).into_response())
}

async fn absent() -> Response {
    html(StatusCode::NOT_FOUND, page::absent())
}

fn html(status: StatusCode, page: String) -> Response {
    guarded((status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response())
}

/// With headers that keep a browser from running or loading anything else, were something ever not escaped.
fn guarded(mut response: Response) -> Response {
    const GUARDS: [(&str, &str); 4] = [
        (
            "content-security-policy",
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ];
    for (name, value) in GUARDS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
