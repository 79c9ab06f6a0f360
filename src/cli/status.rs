//! `gristmill status TARGET`: how far a run has come, and who is at it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;

use super::load::{settings, show_error};
use super::{Terminal, exit};
use crate::event::{Reporter, Silent};
use crate::recipe::RecipeText;
use crate::run::Setting;
use crate::run::status::{Begun, Status, status};
use crate::size::ByteSize;

/// How far a run has come, and who is at it.
#[derive(Debug, Args)]
pub struct StatusCommand {
    /// Where a run was begun, or a store that one published: a path or `s3://bucket/prefix`
    pub target: String,
}

impl StatusCommand {
    pub(super) fn run(&self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let config = terminal.global.config.clone();
        let access = match settings(config.as_deref(), terminal)? {
            Ok(access) => access,
            Err(exit) => return Ok(exit),
        };
        let (reporter, stop): (Arc<dyn Reporter>, _) = (Arc::new(Silent), AtomicBool::new(false));
        match status(&self.target, Setting { access: &access, reporter: &reporter, stop: &stop }) {
            Ok(status) => {
                let json = || serde_json::to_string_pretty(&status).unwrap_or_default() + "\n";
                let text = if terminal.global.json { json() } else { shown(&status) };
                terminal.print(&text).map(|()| exit::DONE)
            }
            Err(error) => show_error(&error, &RecipeText::default(), terminal).map(|()| error.exit()),
        }
    }
}

fn shown(status: &Status) -> String {
    let mut lines = vec![format!("{}: {}, {}", status.target, status.dataset, status.standing)];
    if let Some(published) = &status.published {
        let commits = if published.commits > 1 { format!(", in {} commits", published.commits) } else { String::new() };
        let (files, bytes) = (published.inputs, ByteSize(published.value_bytes));
        lines.push(format!("  published  plan {}: {files} files, {bytes} of values{commits}", published.plan));
    }
    lines.extend(status.begun.as_ref().map(under_way));
    lines.push(status.holder.as_ref().map_or("  held by    nobody".to_owned(), |holder| format!("  held by    {holder}")));
    if let Some(last) = &status.last {
        lines.push(format!("  last run   {} (exit {}), {} tasks in {:.1} s", last.outcome, last.exit, last.tasks_run, last.seconds));
        lines.extend(last.errors.iter().map(|error| format!("             {error}")));
    }
    if status.begun.is_some() && status.holder.is_none() {
        lines.push(format!("  go on      gristmill resume {}", status.target));
    }
    lines.join("\n") + "\n"
}

fn under_way(begun: &Begun) -> String {
    let stages: Vec<String> = begun.stages.iter().map(|(done, of)| format!("{done}/{of} tasks")).collect();
    let (done, all) = (ByteSize(begun.value_bytes.0), ByteSize(begun.value_bytes.1));
    format!(
        "  begun      plan {}: {} files; {}, {} objects, {}; {done} of {all} of values",
        begun.plan,
        begun.inputs,
        stages.join(", then "),
        begun.objects,
        ByteSize(begun.stored_bytes)
    )
}
