//! `gristmill repair STORE`: writes again what is missing or broken.

use std::io;
use std::sync::Arc;

use clap::Args;

use super::interrupt::stop_flag;
use super::load::{open_again, show_error};
use super::progress::{Progress, Style};
use super::resources::Resources;
use super::{Terminal, exit};
use crate::event::Reporter;
use crate::run::repair::{Extent, Repaired, repair};
use crate::run::{Options, Setting};

/// Writes again what is missing or broken in a published store.
#[derive(Debug, Args)]
pub struct Repair {
    /// Root of a store that gristmill made: a path or `s3://bucket/prefix`
    pub store: String,
    /// The recipe, where its addresses hold secrets: a file, a local repository (DIR#id) or `GIT_URL@REF#id`
    pub recipe: Option<String>,
    /// Only tell what is broken and which tasks would be done again
    #[arg(long)]
    pub dry_run: bool,
    /// Look at presence and sizes of objects only, not at their bytes
    #[arg(long)]
    pub sizes: bool,
    /// What the machine may give.
    #[command(flatten)]
    pub resources: Resources,
}

impl Repair {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        // Bound whole: a clone lives as long as it does.
        let opened = match open_again(self.recipe.as_deref(), &self.store, terminal)? {
            Ok(opened) => opened,
            Err(exit) => return Ok(exit),
        };
        let reporter: Arc<dyn Reporter> = Arc::new(Progress::new(Style::choose(terminal.global.quiet, terminal.global.json)));
        let stop = stop_flag();
        let setting = Setting { access: &opened.access, reporter: &reporter, stop: &stop };
        let (memory, threads) = (self.resources.memory_bytes(), self.resources.thread_count());
        let options = Options { target: self.store.clone(), memory, threads, ..Options::default() };
        let extent = Extent { dry_run: self.dry_run, sizes: self.sizes };
        match repair(opened.recipe.as_ref(), &options, extent, setting) {
            Ok(repaired) => terminal.print(&summary(&self.store, &repaired, terminal.global.json)).map(|()| exit::DONE),
            Err(error) => {
                let text = opened.recipe.map(|recipe| recipe.text).unwrap_or_default();
                show_error(&error, &text, terminal).map(|()| error.exit())
            }
        }
    }
}

fn summary(store: &str, repaired: &Repaired, json: bool) -> String {
    if json {
        return format!("{}\n", serde_json::json!({"event": "repaired", "store": crate::store::shown(store), "repaired": repaired}));
    }
    let store = crate::store::shown(store);
    if repaired.is_whole() {
        return format!("{store} is whole: nothing to repair\n");
    }
    let mut lines: Vec<String> = repaired.objects.iter().map(|broken| format!("object   `{}`: {}", broken.key, broken.why)).collect();
    lines.extend(repaired.metadata.iter().map(|key| format!("metadata `{key}`: it is not what was committed")));
    if !repaired.done {
        lines.extend(repaired.tasks.iter().map(|(stage, task)| format!("task     {task} of stage {stage}")));
    }
    let (count, documents) = (repaired.objects.len(), repaired.metadata.len());
    let done = if repaired.done { "written again" } else { "would be written again" };
    lines.push(format!("{store}: {count} objects and {documents} documents {done}, by {} tasks\n", repaired.tasks.len()));
    lines.join("\n")
}
