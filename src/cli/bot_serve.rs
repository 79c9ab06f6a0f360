//! `gristmill bot confine`, by which the server starts its jobs.

use std::ffi::OsString;
use std::io;

use clap::Args;

use super::{Terminal, exit};
use crate::bot::serve::jobs::sandbox::{Confinement, become_job};
use crate::recipe::diagnostic::inert;
use crate::run::with_causes;

/// Set limits on this process and become a job.
#[derive(Debug, Args)]
pub(super) struct Confine {
    #[arg(long)]
    address_space: u64,
    #[arg(long)]
    processor_seconds: Option<u64>,
    #[arg(long)]
    file_bytes: u64,
    #[arg(long)]
    open_files: u64,
    /// Process that it ends with
    #[arg(long)]
    parent: i32,
    /// What to become: arguments of gristmill
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

fn tell(error: &dyn std::error::Error, code: u8, terminal: &mut Terminal<'_>) -> io::Result<u8> {
    let text = with_causes(error);
    let lines: Vec<String> = text.lines().map(inert).collect();
    terminal.tell(&format!("error: {}\n", lines.join("\n")))?;
    Ok(code)
}

impl Confine {
    pub(super) fn run(&self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let confinement = Confinement {
            address_space: self.address_space,
            processor: self.processor_seconds,
            file: self.file_bytes,
            files: self.open_files,
            parent: self.parent,
        };
        let error = match std::env::current_exe() {
            Ok(program) => become_job(&confinement, &program, &self.arguments),
            Err(error) => error,
        };
        tell(&error, exit::INTERNAL, terminal)
    }
}
