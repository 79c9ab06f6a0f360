//! `gristmill bot serve`: the server; and `bot confine`, which it starts its jobs by.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::interrupt::stop_flag;
use super::load::settings;
use super::{Terminal, exit};
use crate::bot::forge::github;
use crate::bot::serve::jobs::sandbox::{Confinement, become_job};
use crate::bot::serve::settings::Settings;
use crate::bot::serve::{ServeError, serve};
use crate::recipe::diagnostic::inert;
use crate::run::with_causes;

/// Answer webhooks of a code host: test recipes on their pull requests, bake them when they are merged.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Settings of the server (docs/bot.md); how stores are reached stands in gristmill.toml
    settings: PathBuf,
    /// Read the settings, tell what is wrong with them, and end
    #[arg(long)]
    check: bool,
}

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

impl Serve {
    pub(super) fn run(&self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let read = Settings::load(&self.settings, &|name| std::env::var(name).ok());
        let server = match read {
            Ok(server) => server,
            Err(error) => return tell(&error, exit::RECIPE, terminal),
        };
        let access = match settings(terminal.global.config.clone().as_deref(), terminal)? {
            Ok(access) => access,
            Err(code) => return Ok(code),
        };
        let forge = match github::GitHub::new(&github::Settings::new(&server.host.api, server.host.app, server.host.key.reveal())) {
            Ok(forge) => Arc::new(forge),
            Err(error) => return tell(&error, exit::RECIPE, terminal),
        };
        if self.check {
            terminal.print(&format!("{}: these settings work\n", self.settings.display()))?;
            return Ok(exit::DONE);
        }
        let stop = stop_flag();
        match serve(server, &access, forge, &stop, |address| tracing::info!(%address, "listening")) {
            Ok(()) => Ok(exit::DONE),
            Err(error @ (ServeError::Lease(_) | ServeError::Taken { .. })) => tell(&error, exit::CONFLICT, terminal),
            Err(error) => tell(&error, exit::INTERNAL, terminal),
        }
    }
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
