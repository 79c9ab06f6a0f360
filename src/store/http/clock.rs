//! What time a server has, by the `Date` of any answer.
//!
//! Invariant: whatever the server answers, nothing but its clock is judged.

use std::time::Duration;

use reqwest::header::DATE;
use reqwest::redirect::Policy;

use super::super::access::Access;
use super::super::policy::{Pinned, permit_url};
use super::super::runtime::{install_cryptography, wait};
use super::super::{ErrorKind, StoreError};
use super::answer::header;
use super::courier::broken;
use crate::store::retry::Fault;

/// Seconds by which this machine's clock is ahead of a web server's (negative: behind); `None` if it tells no time.
///
/// # Errors
/// If the server cannot be reached.
pub fn clock(url: &str, access: &Access) -> Result<Option<i64>, StoreError> {
    let target = url::Url::parse(url).map_err(|error| StoreError::new(ErrorKind::Other, url, format!("not a usable URL: {error}")))?;
    permit_url(access, &target).map_err(|refusal| StoreError::new(ErrorKind::Policy, url, refusal.to_string()))?;
    install_cryptography();
    let mut builder = reqwest::Client::builder()
        .user_agent(access.user_agent.as_str())
        .connect_timeout(access.connect_timeout)
        .timeout(access.idle_timeout.min(Duration::from_secs(30)))
        .redirect(Policy::none());
    if let Some(pinned) = Pinned::of(access) {
        builder = builder.no_proxy().dns_resolver(pinned);
    }
    let failed = |error: reqwest::Error| match broken(url, error) {
        Fault::Final(error) => error,
        Fault::Passing(passing) => StoreError::new(ErrorKind::Temporary, url, passing.reason),
    };
    let client = builder.build().map_err(failed)?;
    wait(async {
        let answer = client.head(target).send().await.map_err(failed)?;
        let told = header(answer.headers(), DATE).and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        Ok(told.map(|date| jiff::Timestamp::now().as_second() - date.timestamp().as_second()))
    })
}
