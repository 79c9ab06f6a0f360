//! `gristmill doctor [RECIPE] [--target URL]`: can a run work here, and what to mend if not.

use std::io;
use std::sync::Arc;

use clap::Args;

use super::interrupt::stop_flag;
use super::load::open;
use super::resources::{Resources, allowed_memory, open_files};
use super::{Terminal, exit};
use crate::event::{Reporter, Silent};
use crate::run::doctor::{self, Finding, Health, Machine, Patient};

/// Checks network, credentials, target, clock, disk, memory and open files, and says what to mend
#[derive(Debug, Args)]
pub struct Doctor {
    /// A recipe whose inputs are to be reached: as for `run`
    recipe: Option<String>,
    /// Where the Zarr store shall be: a few objects are written beside it, and removed
    #[arg(long, value_name = "URL")]
    target: Option<String>,
    /// What the machine may give.
    #[command(flatten)]
    resources: Resources,
}

impl Doctor {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let opened = match open(self.recipe.as_deref(), terminal)? {
            Ok(opened) => opened,
            Err(exit) => return Ok(exit),
        };
        let stop = stop_flag();
        let machine = Machine { memory: allowed_memory(), promised: self.resources.memory_bytes(), open_files: open_files() };
        let patient = Patient {
            recipe: opened.recipe.as_ref(),
            target: self.target.as_deref(),
            access: &opened.access,
            machine,
            hub_user: std::env::var("JUPYTERHUB_USER").ok().filter(|user| !user.is_empty()),
            stop: &stop,
        };
        let reporter: Arc<dyn Reporter> = Arc::new(Silent);
        let mut findings = doctor::examine(&patient, &reporter);
        let exit = doctor::exit(&findings);
        if let Err(error) = self.resources.check() {
            findings.extend(error.problems().into_iter().map(|problem| doctor::too_little(&problem.message)));
        }
        let exit = if exit == exit::DONE { doctor::exit(&findings) } else { exit };
        let text = if terminal.global.json { json(&findings, exit) } else { table(&findings) };
        terminal.print(&text)?;
        Ok(exit)
    }
}

fn json(findings: &[Finding], exit: u8) -> String {
    let value = serde_json::json!({"healthy": exit == 0, "exit": exit, "findings": findings});
    serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"
}

fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.health {
            Health::Good => "ok  ",
            Health::Weak => "hmm ",
            Health::Bad => "BAD ",
        };
        let message = crate::recipe::diagnostic::inert(&finding.message);
        text += &format!("{mark} {:<24}{message}\n", finding.check);
        if !finding.help.is_empty() {
            text += &format!("     {:<24}→ {}\n", "", crate::recipe::diagnostic::inert(&finding.help));
        }
    }
    let bad = findings.iter().filter(|finding| finding.health == Health::Bad).count();
    text += &if bad == 0 {
        "a run can work here\n".to_owned()
    } else {
        format!("{bad} of {} checks say that a run would fail\n", findings.len())
    };
    text
}
