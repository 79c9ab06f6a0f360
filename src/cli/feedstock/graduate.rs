//! `gristmill feedstock graduate`: as far as can be gone now, and what people have to do next.

use std::io;
use std::path::PathBuf;

use clap::Args;

use super::ForgeArgument;
use crate::bot::feedstock::{Graduation, Step, graduate};
use crate::cli::{Terminal, exit};
use crate::recipe::diagnostic::inert;
use crate::run::with_causes;

/// Move a dataset from a staging repository into a feedstock of its own.
#[derive(Debug, Args)]
pub(super) struct GraduateCommand {
    /// Id of the dataset
    id: String,
    /// Folder of the feedstock: absent, empty, or a clone
    #[arg(long)]
    to: PathBuf,
    /// Folder of the staging repository
    #[arg(long, default_value = ".")]
    staging: PathBuf,
    /// Where the feedstock can be fetched, once it was pushed; only then does the dataset leave
    #[arg(long)]
    url: Option<String>,
    /// Where the feedstock lives
    #[arg(long, value_enum, default_value_t = ForgeArgument::Github)]
    forge: ForgeArgument,
    /// Where its workflows get gristmill from
    #[arg(long, value_name = "URL", requires = "binary_sha256")]
    binary: Option<String>,
    /// SHA-256 of that binary
    #[arg(long, value_name = "HEX", requires = "binary")]
    binary_sha256: Option<String>,
}

impl GraduateCommand {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let Self { id, to, staging, url, forge, binary, binary_sha256 } = self;
        let wanted = Graduation { id, staging, to, url, forge: forge.forge(), binary: binary.zip(binary_sha256) };
        let done = match graduate(&wanted, &mut |_| true) {
            Ok(done) => done,
            Err(error) => {
                terminal.tell(&format!("error: {}\n", inert(&with_causes(&error))))?;
                return Ok(exit::RECIPE);
            }
        };
        let step = match done.step {
            Step::Committed => "committed",
            Step::Left => "left",
        };
        if terminal.global.json {
            terminal.print(&format!("{}\n", serde_json::json!({"step": step, "next": done.next, "warnings": done.warnings})))?;
        } else {
            terminal.tell(&done.warnings.iter().map(|text| format!("warning: {}\n", inert(text))).collect::<String>())?;
            terminal.print(&format!("{step}\n{}", done.next.iter().map(|text| format!("next: {}\n", inert(text))).collect::<String>()))?;
        }
        Ok(exit::DONE)
    }
}
