//! `gristmill inspect URL`: shows what a source file holds.

use std::io;
use std::sync::Arc;

use clap::Args;

use super::progress::{Progress, Style};
use super::{Terminal, exit};
use crate::run::inspect::{self, Description};
use crate::run::{RunError, with_causes};
use crate::source::{self, Source, SourceError};
use crate::store::{self, Access, SourceStore};

/// Shows what a source file holds.
#[derive(Debug, Clone, Args)]
pub struct Inspect {
    /// File to look at: a path, `file://`, `http://`, `https://` or `s3://`
    pub url: String,
    /// Read all values: smallest, largest, mean and number of valid values of each variable
    #[arg(long)]
    pub stats: bool,
}

impl Inspect {
    pub(super) fn run(&self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let access = match Access::load(terminal.global.config.as_deref(), &|name| std::env::var(name).ok()) {
            Ok(access) => access,
            Err(error) => {
                terminal.tell(&format!("error: {}\n", with_causes(&error)))?;
                return Ok(error.exit());
            }
        };
        let store = store::source(&access, Arc::new(Progress::new(Style::Quiet)));
        match self.describe(&store) {
            Ok((description, failed)) => {
                let json = || serde_json::to_string_pretty(&description).unwrap_or_default() + "\n";
                let text = if terminal.global.json { json() } else { inspect::render(&self.url, &description) };
                terminal.print(&text)?;
                // Shown beside the variable already; here only the exit code is left to say it.
                Ok(failed.map_or(exit::DONE, |error| RunError::from(error).exit()))
            }
            Err(error) => {
                terminal.tell(&format!("error: {}\n", with_causes(&error)))?;
                Ok(RunError::from(error).exit())
            }
        }
    }

    /// The description, and the error of the first variable whose values could not be read.
    fn describe(&self, store: &Arc<dyn SourceStore>) -> Result<(Description, Option<SourceError>), SourceError> {
        let source = source::open(store, &self.url)?;
        let mut description = inspect::describe(source.as_ref());
        let failed = if self.stats { add_statistics(&self.url, store.as_ref(), source.as_ref(), &mut description) } else { None };
        Ok((description, failed))
    }
}

fn add_statistics(url: &str, store: &dyn SourceStore, source: &dyn Source, description: &mut Description) -> Option<SourceError> {
    let mut failed = None;
    for (described, variable) in description.variables.iter_mut().zip(&source.schema().variables) {
        match inspect::statistics(store, url, source, variable) {
            Ok(found) => described.statistics = found,
            Err(error) => {
                described.unreadable = Some(error.to_string());
                failed.get_or_insert(error);
            }
        }
    }
    failed
}
