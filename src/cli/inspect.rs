//! `gristmill inspect URL`: shows what a source file holds.

use std::io::Write;
use std::sync::Arc;

use crate::run::inspect::{self, Description};
use crate::source::{self, Source, SourceError};
use crate::store::SourceStore;

/// Arguments of `gristmill inspect`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// File to look at: a path, `file://`, `http://` or `https://`.
    pub url: String,
    /// Read all values: smallest, largest, mean and number of valid values of each variable.
    #[arg(long)]
    pub stats: bool,
    /// Write JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Why a file cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The file cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The result cannot be written.
    #[error("cannot write the description")]
    Output(#[from] std::io::Error),
}

/// Describes `args.url` on `out`. A variable whose values cannot be read is shown with the reason; the error is that of the
/// first such variable, after everything is shown.
///
/// # Errors
/// [`InspectError::Source`] if the file or one of its variables cannot be read, `Output` if `out` fails.
pub fn run(args: &Args, store: &Arc<dyn SourceStore>, out: &mut dyn Write) -> Result<(), InspectError> {
    let source = source::open(store, &args.url)?;
    let mut description = inspect::describe(source.as_ref());
    let failed = if args.stats { add_statistics(args, store.as_ref(), source.as_ref(), &mut description) } else { None };
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &description).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        out.write_all(inspect::render(&args.url, &description).as_bytes())?;
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}

fn add_statistics(args: &Args, store: &dyn SourceStore, source: &dyn Source, description: &mut Description) -> Option<SourceError> {
    let mut failed = None;
    for (described, variable) in description.variables.iter_mut().zip(&source.schema().variables) {
        match inspect::statistics(store, &args.url, source, variable) {
            Ok(found) => described.statistics = found,
            Err(error) => {
                described.unreadable = Some(error.to_string());
                failed.get_or_insert(error);
            }
        }
    }
    failed
}
