//! What never reached us, and where we are installed. GitHub does not deliver again by itself, but does when asked (within three days).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::super::{ForgeError, Repository};
use super::GitHub;
use super::call::{Answer, Ask, pages};

/// A delivery that failed so often is not asked for again: it is the delivery.
const MOST: usize = 4;

#[derive(Debug, Deserialize)]
struct Attempt {
    id: u64,
    /// The same for all attempts at one delivery.
    guid: String,
    delivered_at: Timestamp,
    status_code: u16,
}

#[derive(Debug, Deserialize)]
struct Installation {
    id: u64,
    suspended_at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    repositories: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    full_name: Repository,
}

impl GitHub {
    pub(super) fn redeliver_since(&self, since: Timestamp) -> Result<u64, ForgeError> {
        let ask = Ask::get(["app", "hook", "deliveries"], "list deliveries");
        let make = |ask: &Ask| self.as_app(ask);
        // The newest come first.
        let attempts = pages(ask, make, Answer::read::<Vec<Attempt>>, |attempt| attempt.delivered_at < since)?;
        let mut asked = 0;
        for id in missed(&attempts, since) {
            let id = id.to_string();
            let path = ["app", "hook", "deliveries", &id, "attempts"];
            let again = Ask::post(path, Value::Null, "deliver again").bare().repeatable();
            self.as_app(&again)?;
            asked += 1;
        }
        Ok(asked)
    }

    /// Makes a request as the App itself.
    fn as_app(&self, ask: &Ask) -> Result<Answer, ForgeError> {
        Ok(self.caller.make(ask, &self.tokens.app()?)?)
    }

    pub(super) fn every_repository(&self) -> Result<Vec<Repository>, ForgeError> {
        let make = |ask: &Ask| self.as_app(ask);
        let ask = Ask::get(["app", "installations"], "list where the App is installed");
        let installations = pages(ask, make, Answer::read::<Vec<Installation>>, |_| false)?;
        let mut all = Vec::new();
        for installation in installations.iter().filter(|installation| installation.suspended_at.is_none()) {
            let token = self.tokens.of_installation(&self.caller, installation.id)?;
            let ask = Ask::get(["installation", "repositories"], "list repositories");
            let make = |ask: &Ask| self.caller.make(ask, &token).map_err(ForgeError::from);
            let found = pages(ask, make, |answer| answer.read::<Listed>().map(|listed| listed.repositories), |_| false)?;
            all.extend(found.into_iter().map(|named| named.full_name));
        }
        all.sort();
        all.dedup();
        Ok(all)
    }
}

/// The last attempt at each delivery that never succeeded.
fn missed(attempts: &[Attempt], since: Timestamp) -> Vec<u64> {
    let mut deliveries: BTreeMap<&str, Vec<&Attempt>> = BTreeMap::new();
    for attempt in attempts.iter().filter(|attempt| attempt.delivered_at >= since) {
        deliveries.entry(&attempt.guid).or_default().push(attempt);
    }
    let never = |tried: &&Vec<&Attempt>| tried.len() < MOST && !tried.iter().any(|attempt| (200..300).contains(&attempt.status_code));
    deliveries.values().filter(never).filter_map(|tried| tried.iter().map(|attempt| attempt.id).max()).collect()
}
