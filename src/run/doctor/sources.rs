//! The servers of a recipe's inputs: reached, clocks, credentials, a first file of each.
//!
//! Invariant: of each host two files are opened at most, by their first bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Finding, Patient};
use crate::discover::{DiscoverError, discover};
use crate::event::Reporter;
use crate::pattern::Input;
use crate::recipe::Recipe;
use crate::recipe::diagnostic::exit_of;
use crate::store::{self, Access, shown};

/// Hosts that are looked at.
const HOSTS: usize = 8;
/// A clock that is wrong by more seconds is worth a word.
pub(super) const SKEW: i64 = 60;
/// By more than this, S3 refuses signatures (S3 API reference, `RequestTimeTooSkewed`).
pub(super) const SKEW_REFUSED: i64 = 15 * 60;

pub(super) fn examine(recipe: &Recipe, patient: &Patient<'_>, reporter: &Arc<dyn Reporter>) -> Vec<Finding> {
    let access = patient.access;
    let sources = store::source(access, Arc::clone(reporter));
    let mut findings = Vec::new();
    let inputs = match inputs(recipe, patient, reporter, &mut findings) {
        Ok(inputs) => inputs,
        Err(finding) => return vec![finding],
    };
    for (host, urls) in hosts(&inputs) {
        let mut failed = false;
        if host.starts_with("http") {
            match store::clock(&host, access) {
                Ok(skew) => findings.extend(skew.map(|skew| clock(&host, skew))),
                Err(error) => {
                    failed = true;
                    findings.push(Finding::failed("network", &error, "check the network, the name and a proxy (`HTTPS_PROXY`)"));
                }
            }
        }
        for url in urls.into_iter().filter(|_| !failed) {
            findings.push(match sources.begin(url) {
                Ok((head, _)) => {
                    let size = head.size.map_or_else(|| "unknown length".to_owned(), |size| crate::size::ByteSize(size).to_string());
                    Finding::good("inputs", format!("{} can be read ({size}{})", shown(url), with_credential(access)))
                }
                Err(error) => Finding::failed("inputs", &error, help(&error, recipe, access)),
            });
        }
    }
    findings
}

/// The inputs, looked for where the recipe says how they are found.
fn inputs<'r>(
    recipe: &'r Recipe,
    patient: &Patient<'_>,
    reporter: &Arc<dyn Reporter>,
    findings: &mut Vec<Finding>,
) -> Result<Cow<'r, [Input]>, Finding> {
    let Some(find) = &recipe.find else { return Ok(Cow::Borrowed(recipe.inputs.as_slice())) };
    let failed = |error| match error {
        DiscoverError::Store(error) => Finding::failed("find", &error, help(&error, recipe, patient.access)),
        DiscoverError::Rule(problems) => {
            let told: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
            Finding::bad("find", exit_of(&problems), told.join("; "), "`gristmill inputs RECIPE` shows where in the recipe")
        }
        DiscoverError::Interrupted => Finding::bad("find", 75, "interrupted while inputs were looked for", ""),
    };
    let found = discover(recipe, find, patient.access, reporter, patient.stop).map_err(failed)?;
    findings.push(Finding::good("find", format!("{} inputs are found", found.inputs.len())));
    Ok(Cow::Owned(found.inputs))
}

fn with_credential(access: &Access) -> String {
    access.auth.name().map_or_else(String::new, |name| format!(", credential `{name}`"))
}

fn help(error: &store::StoreError, recipe: &Recipe, access: &Access) -> String {
    match (error.kind, &recipe.auth, access.auth.name()) {
        (store::ErrorKind::Forbidden, None, _) => {
            "if the archive wants a login, name a credential with `inputs: {auth: NAME}` and bind it to the host in gristmill.toml"
                .to_owned()
        }
        (store::ErrorKind::Forbidden, Some(name), _) => format!("check that `[auth.{name}]` is bound to this host, and valid"),
        (store::ErrorKind::Temporary, ..) => "try again later".to_owned(),
        _ => String::new(),
    }
}

/// The first and last file of each host.
fn hosts(inputs: &[Input]) -> Vec<(String, Vec<&str>)> {
    let mut hosts: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for input in inputs {
        let url = input.url.as_str();
        let host = match url.split_once("://") {
            Some((scheme, rest)) => format!("{scheme}://{}/", rest.split(['/', '?', '#']).next().unwrap_or_default()),
            None => String::new(),
        };
        if hosts.len() >= HOSTS && !hosts.contains_key(&host) {
            continue;
        }
        let urls = hosts.entry(host).or_default();
        urls.truncate(1);
        urls.push(url);
    }
    hosts.into_iter().collect()
}

/// What a wrong clock means.
pub(super) fn clock(host: &str, skew: i64) -> Finding {
    let place = shown(host);
    let (ahead, by) = (if skew > 0 { "ahead of" } else { "behind" }, skew.abs());
    let told = format!("this machine's clock is {by} s {ahead} that of {place}");
    match by {
        0..=SKEW => Finding::good("clock", format!("agrees with that of {place}")),
        _ if by > SKEW_REFUSED => Finding::bad(
            "clock",
            3,
            told,
            "set the clock (`chronyc makestep`, `ntpdate`): servers refuse signatures that are 15 minutes off",
        ),
        _ => Finding::weak("clock", told, "set the clock: tokens and signatures depend on it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::doctor::Health;

    #[test]
    fn clocks_are_judged_by_what_servers_stand() {
        let health = |skew| clock("https://a.example/", skew).health;
        assert_eq!(
            [0, -60, 61, -900, 901, -5000].map(health),
            [Health::Good, Health::Good, Health::Weak, Health::Weak, Health::Bad, Health::Bad]
        );
        assert!(clock("https://a.example/", -5000).message.contains("behind"));
    }
}
