//! `gristmill inspect URL`: shows what a file or a Zarr store holds.

use std::io;
use std::sync::Arc;

use clap::Args;

use super::progress::{Progress, Style};
use super::{Terminal, exit, watch};
use crate::dataset::{Schema, Variable};
use crate::recipe::diagnostic::inert;
use crate::run::inspect::{self, Description, Statistics};
use crate::run::{RunError, with_causes};
use crate::source::{self, Source, SourceError};
use crate::store::{self, Access, SourceStore};
use crate::target::zarr::ZarrReader;

/// A description, and why the values of a variable could not be read.
type Described = (Description, Option<SourceError>);

/// Shows what a file or a Zarr store holds.
#[derive(Debug, Clone, Args)]
pub struct Inspect {
    /// File (a path, `file://`, `http://`, `https://` or `s3://`) or root of a Zarr store (a folder or `s3://`)
    pub url: String,
    /// Read all values: smallest, largest, mean and number of valid values of each variable
    #[arg(long)]
    pub stats: bool,
}

impl Inspect {
    pub(super) fn run(&self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let access = match super::load::settings(terminal.global.config.clone().as_deref(), terminal)? {
            Ok(access) => access,
            Err(exit) => return Ok(exit),
        };
        let _watch = watch::memory(super::resources::allowed_memory() / 5 * 3);
        let store = store::source(&access, Arc::new(Progress::new(Style::Quiet)));
        match self.describe(&store, &access) {
            Ok((description, failed)) => {
                let json = || serde_json::to_string_pretty(&description).unwrap_or_default() + "\n";
                let text = if terminal.global.json { json() } else { inspect::render(&self.url, &description) };
                terminal.print(&text)?;
                // Shown beside the variable already; here only the exit code is left to say it.
                Ok(failed.map_or(exit::DONE, |error| RunError::from(error).exit()))
            }
            Err(error) => {
                terminal.tell(&format!("error: {}\n", inert(&with_causes(&error))))?;
                Ok(RunError::from(error).exit())
            }
        }
    }

    /// The description, and the error of the first variable whose values could not be read.
    fn describe(&self, store: &Arc<dyn SourceStore>, access: &Access) -> Result<Described, SourceError> {
        if let Some(reader) = inspect::open_store(&self.url, access)? {
            return Ok(self.describe_store(&reader));
        }
        match source::open(store, &self.url) {
            Ok(source) => Ok(self.describe_file(store.as_ref(), source.as_ref())),
            Err(error) => inspect::open_unnamed(&self.url, access, &error)?.map(|reader| self.describe_store(&reader)).ok_or(error),
        }
    }

    fn describe_file(&self, store: &dyn SourceStore, source: &dyn Source) -> Described {
        let read = |variable: &Variable| inspect::statistics(store, &self.url, source, variable);
        self.with_statistics(inspect::describe(source), source.schema(), read)
    }

    fn describe_store(&self, reader: &ZarrReader) -> Described {
        let read = |variable: &Variable| inspect::store_statistics(&self.url, reader, variable);
        self.with_statistics(inspect::describe_store(reader), reader.schema(), read)
    }

    fn with_statistics(
        &self,
        mut description: Description,
        schema: &Schema,
        read: impl Fn(&Variable) -> Result<Option<Statistics>, SourceError>,
    ) -> Described {
        let mut failed = None;
        let variables = if self.stats { schema.variables.as_slice() } else { &[] };
        for (described, variable) in description.variables.iter_mut().zip(variables) {
            match read(variable) {
                Ok(found) => described.statistics = found,
                Err(error) => {
                    described.unreadable = Some(error.to_string());
                    failed.get_or_insert(error);
                }
            }
        }
        (description, failed)
    }
}
