//! `gristmill completions SHELL`: a completion script.

use std::io;

use clap::{Args, CommandFactory};

use super::{Cli, Terminal, exit};

/// Print a completion script for a shell.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

impl Completions {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "gristmill", &mut script);
        terminal.print(&String::from_utf8_lossy(&script))?;
        Ok(exit::DONE)
    }
}
