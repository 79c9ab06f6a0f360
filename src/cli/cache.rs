//! `gristmill cache list|prune|verify`: the files that are kept for later runs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::load::settings;
use super::{Terminal, exit, gc};
use crate::size::ByteSize;
use crate::store::StoreError;
use crate::store::cache::{self, Listed, Wish};

/// Looks after the files that are kept for later runs.
#[derive(Debug, Args)]
pub struct Cache {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with the cache.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show what is kept, that unused for longest first
    List,
    /// Remove files until at most `cache_limit` is left; never those that a run is using
    Prune {
        /// Also what was not used for this long (s, min, h, d, w).
        #[arg(long, value_name = "TIME", value_parser = gc::duration)]
        older_than: Option<Duration>,
        /// Until at most this much is left, instead of `cache_limit`.
        #[arg(long, value_name = "SIZE", conflicts_with = "all")]
        to: Option<ByteSize>,
        /// All of it.
        #[arg(long)]
        all: bool,
    },
    /// Read everything and remove what is damaged
    Verify,
}

impl Cache {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let config = terminal.global.config.clone();
        let access = match settings(config.as_deref(), terminal)? {
            Ok(access) => access,
            Err(exit) => return Ok(exit),
        };
        let Some(folder) = access.cache_directory.clone() else {
            terminal.tell("error: there is no folder for a cache; write `cache_directory` under `[disk]` in gristmill.toml\n")?;
            return Ok(exit::RECIPE);
        };
        let done = match self.action {
            Action::List => list(&folder, terminal),
            Action::Prune { older_than, to, all } => {
                let down_to = if all { 0 } else { to.unwrap_or(access.cache_limit).0 };
                prune(&folder, Wish { older_than, down_to }, terminal)
            }
            Action::Verify => verify(&folder, terminal),
        };
        match done {
            Err(Failed::Folder(error)) => {
                let error = StoreError::from_io(&folder.display().to_string(), "look through the cache", error);
                terminal.tell(&format!("error: {error}\n"))?;
                Ok(error.exit())
            }
            Err(Failed::Output(error)) => Err(error),
            Ok(code) => Ok(code),
        }
    }
}

/// Why a command ended.
enum Failed {
    Folder(io::Error),
    Output(io::Error),
}

fn list(folder: &Path, terminal: &mut Terminal<'_>) -> Result<u8, Failed> {
    let entries = cache::list(folder).map_err(Failed::Folder)?;
    let bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
    let text = if terminal.global.json {
        pretty(&json!({"folder": shown(folder), "bytes": bytes, "entries": entries}))
    } else {
        let lines: String = entries.iter().map(line).collect();
        format!("{}: {} files, {}\n{lines}", shown(folder), entries.len(), ByteSize(bytes))
    };
    terminal.print(&text).map(|()| exit::DONE).map_err(Failed::Output)
}

fn prune(folder: &Path, wish: Wish, terminal: &mut Terminal<'_>) -> Result<u8, Failed> {
    let pruned = cache::prune(folder, wish).map_err(Failed::Folder)?;
    let text = if terminal.global.json {
        pretty(&json!({"folder": shown(folder), "removed": pruned}))
    } else {
        let used = if pruned.in_use > 0 { format!("; {} files are in use and stay", pruned.in_use) } else { String::new() };
        let (gone, left) = (ByteSize(pruned.bytes), ByteSize(pruned.left));
        format!("{}: removed {} files, {gone}; {left} left{used}\n", shown(folder), pruned.entries)
    };
    terminal.print(&text).map(|()| exit::DONE).map_err(Failed::Output)
}

fn verify(folder: &Path, terminal: &mut Terminal<'_>) -> Result<u8, Failed> {
    let (right, wrong) = cache::verify(folder).map_err(Failed::Folder)?;
    let text = if terminal.global.json {
        pretty(&json!({"folder": shown(folder), "right": right, "damaged": wrong}))
    } else {
        let lines: String = wrong.iter().map(line).collect();
        format!("{}: {right} files are right, {} were damaged and are removed\n{lines}", shown(folder), wrong.len())
    };
    terminal.print(&text).map_err(Failed::Output)?;
    Ok(if wrong.is_empty() { exit::DONE } else { exit::VERIFICATION })
}

fn line(entry: &Listed) -> String {
    let what = match &entry.description {
        Some(description) => format!("{} ({})", description.url, description.how),
        None => "not yet whole".to_owned(),
    };
    let used = if entry.in_use { "in use".to_owned() } else { format!("unused for {}", time(entry.unused_seconds)) };
    format!("  {} {what}: {}, {used}\n", entry.key.get(..8).unwrap_or(&entry.key), ByteSize(entry.bytes))
}

fn time(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn shown(folder: &Path) -> String {
    PathBuf::from(folder).display().to_string()
}

fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_their_unit() {
        assert_eq!([5, 600, 7200, 864_000].map(time), ["5 s", "10 min", "2 h", "10 d"]);
    }
}
