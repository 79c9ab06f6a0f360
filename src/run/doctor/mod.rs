//! Looks before a run whether it can work, and says what to do if not.
//!
//! Not for judging a recipe's data. Invariant: nothing is left behind that it wrote, nothing that was there is touched, and no
//! finding holds a secret.

mod machine;
mod quirks;
mod sources;
mod target;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use crate::event::Reporter;
use crate::recipe::Recipe;
use crate::store::{Access, StoreError};

pub use machine::Machine;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Fine.
    Good,
    /// A run works, with something to know or to mend.
    Weak,
    /// A run would fail.
    Bad,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it came out.
    pub health: Health,
    /// What was found.
    pub message: String,
    /// What to do; empty if nothing.
    pub help: String,
    /// Exit code that a run would end with.
    #[serde(skip)]
    pub exit: u8,
}

impl Finding {
    fn good(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, health: Health::Good, message: message.into(), help: String::new(), exit: 0 }
    }

    fn weak(check: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { health: Health::Weak, help: help.into(), ..Self::good(check, message) }
    }

    fn bad(check: &'static str, exit: u8, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { health: Health::Bad, exit, ..Self::weak(check, message, help) }
    }

    fn failed(check: &'static str, error: &StoreError, help: impl Into<String>) -> Self {
        Self::bad(check, error.exit(), super::with_causes(error), help)
    }
}

/// What is looked at.
pub struct Patient<'a> {
    /// The recipe, if there is one.
    pub recipe: Option<&'a Recipe>,
    /// Where the store shall be, if that is told.
    pub target: Option<&'a str>,
    /// The settings.
    pub access: &'a Access,
    /// What the machine gives.
    pub machine: Machine,
    /// Name of the user of a shared Jupyter service, if this is one (`JUPYTERHUB_USER`).
    pub hub_user: Option<String>,
    /// Set from outside to stop.
    pub stop: &'a AtomicBool,
}

/// Every check, in the order in which they are best mended.
#[must_use]
pub fn examine(patient: &Patient<'_>, reporter: &Arc<dyn Reporter>) -> Vec<Finding> {
    let mut findings = settings(patient.access);
    findings.extend(patient.machine.examine(patient));
    if let Some(recipe) = patient.recipe {
        findings.extend(sources::examine(recipe, patient, reporter));
    }
    if let Some(url) = patient.target {
        findings.extend(target::examine(url, patient));
    }
    findings
}

/// The exit code of them all: the first that a run would end with, or 0.
#[must_use]
pub fn exit(findings: &[Finding]) -> u8 {
    findings.iter().map(|finding| finding.exit).find(|exit| *exit != 0).unwrap_or(0)
}

/// What a limit of the machine's own says against a run.
#[must_use]
pub fn too_little(message: &str) -> Finding {
    Finding::bad("memory", 8, message, "")
}

fn settings(access: &Access) -> Vec<Finding> {
    const CHECK: &str = "settings";
    let mut findings: Vec<Finding> = access.warnings.iter().map(|warning| Finding::weak(CHECK, warning, "")).collect();
    if !access.user_agent.contains("(+") {
        let message = "servers are not told whom to write to when a run troubles them";
        findings.push(Finding::weak(CHECK, message, "set `contact = \"mailto:…\"` under `[network]` of gristmill.toml"));
    }
    if findings.is_empty() {
        findings.push(Finding::good(CHECK, "nothing to mend"));
    }
    findings
}
