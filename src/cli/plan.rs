//! `gristmill plan`: what a run would do, without doing it.

use std::io;
use std::sync::Arc;

use clap::Args;

use super::interrupt::stop_flag;
use super::load::{Loaded, load, show_error};
use super::progress::{Progress, Style};
use super::resources::Resources;
use super::{Terminal, exit, watch};
use crate::event::Reporter;
use crate::run::found::InputsFrom;
use crate::run::{self, Options, RunError, Setting};

/// Scans the inputs and shows what a run would do.
#[derive(Debug, Args)]
pub struct Plan {
    /// A recipe file, a local repository (DIR#id) or `GIT_URL@REF#id`.
    pub recipe: String,
    /// What the machine may give.
    #[command(flatten)]
    pub resources: Resources,
    /// Trust what an earlier scan found: ask no server.
    #[arg(long)]
    pub frozen: bool,
    /// Take the inputs from a list that `gristmill inputs --save` wrote, instead of looking for them.
    #[arg(long, value_name = "FILE")]
    pub inputs: Option<std::path::PathBuf>,
    /// Write the plan itself, as JSON, to this file.
    #[arg(long)]
    pub save: Option<std::path::PathBuf>,
}

impl Plan {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let config = terminal.global.config.clone();
        let loaded = match load(&self.recipe, config.as_deref(), terminal)? {
            Ok(loaded) => loaded,
            Err(exit) => return Ok(exit),
        };
        match self.explain(&loaded, terminal) {
            Ok(text) => terminal.print(&text).map(|()| exit::DONE),
            Err(error) => show_error(&error, &loaded.recipe.text, terminal).map(|()| error.exit()),
        }
    }

    fn explain(&self, loaded: &Loaded, terminal: &Terminal<'_>) -> Result<String, RunError> {
        let json = terminal.global.json;
        // Events would mix with the explanation on stdout.
        let reporter: Arc<dyn Reporter> = Arc::new(Progress::new(Style::choose(terminal.global.quiet || json, false)));
        self.resources.check()?;
        let (stop, memory, threads) = (stop_flag(), self.resources.memory_bytes(), self.resources.thread_count());
        let _watch = watch::memory(memory);
        let inputs = self.inputs.clone().map_or(InputsFrom::Servers, InputsFrom::File);
        let options = Options { memory, threads, frozen: self.frozen, inputs, ..Options::default() };
        let setting = Setting { access: &loaded.access, reporter: &reporter, stop: &stop };
        let plan = run::plan_with(&loaded.recipe, &options, setting, None)?;
        if let Some(path) = &self.save {
            std::fs::write(path, plan.to_json()?).map_err(|cause| RunError::Folder { path: path.clone(), cause })?;
        }
        let explanation = plan.explain();
        Ok(if json { serde_json::to_string_pretty(&explanation).unwrap_or_default() + "\n" } else { explanation.to_string() })
    }
}
