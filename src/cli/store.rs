//! `gristmill store probe URL`: what a target store can do, and what follows from it.

use std::io;
use std::path::Path;
use std::time::Instant;

use clap::{Args, Subcommand};

use super::interrupt::stop_flag;
use super::load::settings;
use super::{Terminal, exit};
use crate::run::with_causes;
use crate::store::probe::{self, Abilities, Depth, Doors, Mode, Verdict};
use crate::store::{Access, StoreError, is_far, shown};

/// Looks at target stores.
#[derive(Debug, Clone, Args)]
pub struct Store {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum StoreCommand {
    /// Ask a store what it can do: it writes a few objects beside the URL and removes them
    Probe(Probe),
}

/// Asks a store what it can do.
#[derive(Debug, Clone, Args)]
struct Probe {
    /// Where a target would be: a path, `s3://bucket/prefix` or `memory://name`
    url: String,
}

impl Store {
    pub(super) fn run(&self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let StoreCommand::Probe(probe) = &self.command;
        let config = terminal.global.config.clone();
        let access = match settings(config.as_deref(), terminal)? {
            Ok(access) => access,
            Err(exit) => return Ok(exit),
        };
        let begun = Instant::now();
        match probe.ask(&access) {
            Ok(Some(told)) => {
                let text =
                    if terminal.global.json { json(&probe.url, &told) } else { table(&probe.url, &told, begun.elapsed().as_secs_f64()) };
                terminal.print(&text)?;
                Ok(if told.altered.is_some() { exit::VERIFICATION } else { exit::DONE })
            }
            Ok(None) => {
                terminal.tell("interrupted; what the probe wrote is removed\n")?;
                Ok(exit::INTERRUPTED)
            }
            Err(error) => {
                terminal.tell(&format!("error[{}]: {}\n", error.code().name(), with_causes(&error)))?;
                Ok(error.exit())
            }
        }
    }
}

impl Probe {
    fn ask(&self, access: &Access) -> Result<Option<Abilities>, StoreError> {
        let stop = stop_flag();
        let place = probe::place_beside(&self.url)?;
        let asked = probe::ask(&Doors::open(&place, access)?, "", Depth::Thorough, &stop);
        if !is_far(&place) {
            // Folders, all empty by now, are no objects.
            let _absent = std::fs::remove_dir_all(Path::new(place.strip_prefix("file://").unwrap_or(&place)));
        }
        asked
    }
}

fn verdicts(told: &Abilities) -> Vec<Verdict> {
    Mode::ALL.into_iter().map(|mode| told.verdict(mode)).collect()
}

fn json(url: &str, told: &Abilities) -> String {
    let value = serde_json::json!({"url": shown(url), "abilities": told, "modes": verdicts(told)});
    serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"
}

fn table(url: &str, told: &Abilities, seconds: f64) -> String {
    let mut text = format!("{} ({}), asked in {seconds:.1} s\n\n", shown(url), told.endpoint);
    let row = |name: &str, answer: &str| format!("  {name:<38}{answer}\n");
    text.extend(told.rows().iter().map(|(question, answer)| row(question, answer)));
    text += "\nwhat follows:\n";
    let reasoned = |verdict: &Verdict| format!("{}: {}", verdict.answer.name(), verdict.reason);
    text.extend(verdicts(told).iter().map(|verdict| row(verdict.mode.name(), &reasoned(verdict))));
    text
}
