//! How much of a host's attention a run may ask for, all its stores together.
//!
//! The operator's rules by host, and the gates made from them. Clones share gates and budget, so one `Access` is one run's
//! manners. Invariant: two stores of one `Access` that talk to one host and port go through one gate.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use url::Url;

use super::access::AccessError;
use super::auth::HostPattern;
pub use super::limit::Pace;
use super::limit::{Gate, Gates};
use super::policy::Budget;
use super::watched::TargetWatch;
use crate::event::Reporter;

/// Rules and gates.
#[derive(Debug, Clone)]
pub struct Manners {
    /// Requests per second where no rule says otherwise.
    rate: Option<f64>,
    rules: Arc<Vec<Rule>>,
    gates: Arc<Gates>,
    budget: Arc<Budget>,
    watch: Arc<TargetWatch>,
}

#[derive(Debug)]
pub(super) struct Rule {
    host: HostPattern,
    connections: Option<usize>,
    rate: Option<f64>,
}

/// `[hosts."data.example.org"]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenHost {
    connections: Option<usize>,
    max_rate: Option<f64>,
}

impl Default for Manners {
    fn default() -> Self {
        Self { rate: None, rules: Arc::default(), gates: Arc::new(Gates::new(1)), budget: Arc::default(), watch: Arc::default() }
    }
}

/// The rules that the settings write.
pub(super) fn rules(written: BTreeMap<String, WrittenHost>) -> Result<Vec<Rule>, AccessError> {
    let rule = |(name, written): (String, WrittenHost)| {
        let host = HostPattern::parse(&name).map_err(|message| AccessError::Senseless { name: "hosts", message })?;
        let connections = written.connections.map(|most| most.max(1));
        Ok(Rule { host, connections, rate: sensible(written.max_rate)? })
    };
    written.into_iter().map(rule).collect()
}

fn sensible(rate: Option<f64>) -> Result<Option<f64>, AccessError> {
    match rate {
        Some(rate) if !(rate.is_finite() && rate > 0.0) => {
            Err(AccessError::Senseless { name: "max_rate", message: "must be a number of requests per second above 0".into() })
        }
        rate => Ok(rate),
    }
}

impl Manners {
    /// Manners with a rate for all hosts, and rules for some.
    pub(super) fn new(rate: Option<f64>, rules: Vec<Rule>) -> Result<Self, AccessError> {
        Ok(Self { rate: sensible(rate)?, rules: Arc::new(rules), ..Self::default() })
    }

    /// The gate of a server, which all requests of the run to this host and port go through; `connections` where no rule says how
    /// many at once.
    pub(super) fn gate(&self, url: &Url, connections: usize) -> Arc<Gate> {
        let host = url.host_str().unwrap_or_default();
        self.gate_of(&format!("{host}:{}", url.port_or_known_default().unwrap_or(0)), connections)
    }

    /// The same by `host:port`.
    pub(super) fn gate_of(&self, server: &str, connections: usize) -> Arc<Gate> {
        self.gates.paced(server, || {
            let rule = self.rules.iter().find(|rule| rule.host.takes_server(server));
            Pace {
                connections: rule.and_then(|rule| rule.connections).unwrap_or(connections),
                rate: rule.and_then(|rule| rule.rate).or(self.rate),
            }
        })
    }

    /// The same rules with gates of their own, for what must not queue behind anything else.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { gates: Arc::new(Gates::new(1)), ..self.clone() }
    }

    /// Who hears from now on what target stores wait for.
    pub fn listen(&self, reporter: &Arc<dyn Reporter>) {
        self.watch.listen(Arc::clone(reporter));
    }

    /// Watches calls of target stores.
    pub(super) fn watch(&self) -> &TargetWatch {
        &self.watch
    }

    /// What the run has spent.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_gates_and_rules_make_them() {
        let written = |connections, max_rate| WrittenHost { connections, max_rate };
        let rules = rules(BTreeMap::from([("a.example".into(), written(Some(2), None)), ("*.b.example".into(), written(None, Some(3.0)))]))
            .unwrap();
        let manners = Manners::new(Some(9.0), rules).unwrap();
        let url = |text: &str| Url::parse(text).unwrap();
        let gate = manners.gate(&url("https://a.example/x"), 8);
        assert_eq!(gate.room(), 2);
        assert!(Arc::ptr_eq(&gate, &manners.clone().gate_of("a.example:443", 8)));
        assert!(!Arc::ptr_eq(&gate, &manners.apart().gate_of("a.example:443", 8)));
        assert_eq!(manners.gate(&url("https://x.b.example/"), 8).room(), 8);
        assert!(Manners::new(Some(0.0), vec![]).is_err() && Manners::new(Some(f64::NAN), vec![]).is_err());
    }
}
