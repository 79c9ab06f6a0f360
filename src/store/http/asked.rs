//! What a server says when it is asked about itself: what time it has, and whether web pages may read it.
//!
//! Not for data. Invariant: whatever the server answers, nothing but that is judged, and no credential goes along.

use std::time::Duration;

use reqwest::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, DATE, ORIGIN};
use reqwest::{Method, RequestBuilder, Response};

use super::super::access::Access;
use super::super::policy::permit_url;
use super::super::runtime::{install_cryptography, wait};
use super::super::{ErrorKind, StoreError};
use super::answer::header;
use super::courier::{broken, build, builder};
use crate::store::retry::Fault;

/// Longest wait for an answer.
const LONGEST: Duration = Duration::from_secs(30);

/// A page that asks for data (RFC 2606: nobody's).
const PAGE: &str = "https://gristmill.example";

/// Seconds by which this machine's clock is ahead of a web server's (negative: behind); `None` if it tells no time.
///
/// # Errors
/// If the server cannot be reached.
pub fn clock(url: &str, access: &Access) -> Result<Option<i64>, StoreError> {
    let answer = ask(url, access, &Method::HEAD, |request| request)?;
    let told = header(answer.headers(), DATE).and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    Ok(told.map(|date| jiff::Timestamp::now().as_second() - date.timestamp().as_second()))
}

/// True if a page of another site may read parts of what lies at a web address (the Fetch standard's preflight, §4.8).
///
/// # Errors
/// If the server cannot be reached.
pub fn serves_pages(url: &str, access: &Access) -> Result<bool, StoreError> {
    let answer = ask(url, access, &Method::OPTIONS, |request| {
        request.header(ORIGIN, PAGE).header(ACCESS_CONTROL_REQUEST_METHOD, "GET").header(ACCESS_CONTROL_REQUEST_HEADERS, "range")
    })?;
    let allowed = header(answer.headers(), ACCESS_CONTROL_ALLOW_ORIGIN).is_some_and(|origin| origin == "*" || origin == PAGE);
    Ok(answer.status().is_success() && allowed)
}

fn ask(url: &str, access: &Access, method: &Method, with: impl FnOnce(RequestBuilder) -> RequestBuilder) -> Result<Response, StoreError> {
    let target = url::Url::parse(url).map_err(|error| StoreError::new(ErrorKind::Other, url, format!("not a usable URL: {error}")))?;
    permit_url(access, &target).map_err(|refusal| StoreError::new(ErrorKind::Policy, url, refusal.to_string()))?;
    install_cryptography();
    let client = build(builder(access)?.timeout(access.idle_timeout.min(LONGEST)))?;
    let failed = |error: reqwest::Error| match broken(url, error) {
        Fault::Final(error) => error,
        Fault::Passing(passing) => StoreError::new(ErrorKind::Temporary, url, passing.reason),
    };
    let request = with(client.request(method.clone(), target));
    wait(async { request.send().await.map_err(failed) })
}
