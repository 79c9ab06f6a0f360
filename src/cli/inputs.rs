//! `gristmill inputs RECIPE`: which files a recipe is about, found or written.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::interrupt::stop_flag;
use super::load::{Loaded, load, show_error};
use super::progress::{Progress, Style};
use super::{Terminal, exit};
use crate::discover::{About, Discovered, Found, discover, lock, look};
use crate::event::Reporter;
use crate::pattern::{Input, without_secrets};
use crate::recipe::diagnostic::inert;
use crate::run::RunError;

/// Show which files a recipe is about.
#[derive(Debug, Args)]
pub struct Inputs {
    /// A recipe file, a folder of recipes (`DIR#id`), or `GIT_URL@REF#id`
    pub recipe: String,
    /// Show everything that is there, whether its name matches or not
    #[arg(long, conflicts_with = "save")]
    pub raw: bool,
    /// Also write what was found to this file, for `--inputs` of `plan` and `run`
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

impl Inputs {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let config = terminal.global.config.clone();
        let loaded = match load(&self.recipe, config.as_deref(), terminal)? {
            Ok(loaded) => loaded,
            Err(exit) => return Ok(exit),
        };
        match self.shown(&loaded, terminal) {
            Ok(text) => terminal.print(&text).map(|()| exit::DONE),
            Err(error) => show_error(&error, &loaded.recipe.text, terminal).map(|()| error.exit()),
        }
    }

    fn shown(&self, loaded: &Loaded, terminal: &Terminal<'_>) -> Result<String, RunError> {
        let (recipe, json) = (&loaded.recipe, terminal.global.json);
        let reporter: Arc<dyn Reporter> = Arc::new(Progress::new(Style::choose(terminal.global.quiet || json, false)));
        let stop = stop_flag();
        let Some(find) = &recipe.find else {
            if self.raw || self.save.is_some() {
                let message = "`--raw` and `--save` are for recipes with `find`; this one writes its inputs".to_owned();
                return Err(RunError::Usage { message });
            }
            let about = vec![About::default(); recipe.inputs.len()];
            let written = Discovered { axes: recipe.axes.clone(), inputs: recipe.inputs.clone(), about, ..Discovered::default() };
            return Ok(all(&written, json));
        };
        if self.raw {
            return Ok(raw(&look(find, &loaded.access, &reporter, &stop)?, json));
        }
        let discovered = discover(recipe, find, &loaded.access, &reporter, &stop)?;
        if let Some(path) = &self.save {
            std::fs::write(path, lock::to_json(find, &discovered)).map_err(|cause| RunError::Folder { path: path.clone(), cause })?;
        }
        Ok(all(&discovered, json))
    }
}

fn raw(found: &[Found], json: bool) -> String {
    if json {
        let rows = found.iter().map(|one| {
            json!({"url": without_secrets(&one.url), "path": one.path, "fields": fields(one), "size": one.size, "modified": one.modified, "checksum": one.checksum})
        });
        return json!({"found": rows.collect::<Vec<_>>()}).to_string() + "\n";
    }
    let mut text = String::new();
    for one in found {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{}", inert(&one.path));
    }
    text + &format!("{} files are there\n", found.len())
}

/// What is told of a file, without the secrets of addresses.
fn fields(found: &Found) -> std::collections::BTreeMap<&str, String> {
    found.fields.iter().map(|(name, text)| (name.as_str(), without_secrets(text))).collect()
}

fn all(discovered: &Discovered, json: bool) -> String {
    if json {
        let row = |(input, about): (&Input, &About)| json!({"url": without_secrets(&input.url), "keys": texts(input), "size": about.size, "modified": about.modified, "checksum": about.checksum});
        let rows: Vec<_> = discovered.inputs.iter().zip(&discovered.about).map(row).collect();
        let axes = discovered.axes.iter().map(|axis| json!({"role": axis.role, "keys": axis.keys, "length": axis.positions.len()}));
        return json!({"axes": axes.collect::<Vec<_>>(), "inputs": rows, "used": discovered.used}).to_string() + "\n";
    }
    let mut text = String::new();
    for input in &discovered.inputs {
        let keys: Vec<String> = texts(input).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        let gap = if keys.is_empty() { "" } else { "  " };
        let _ = writeln!(text, "{}", inert(&format!("{}{gap}{}", keys.join(" "), without_secrets(&input.url))));
    }
    for used in &discovered.used {
        let _ = writeln!(text, "{}: {}", used.policy, inert(&used.what));
    }
    let axes: Vec<String> = discovered.axes.iter().map(super::check::axis).collect();
    text + &format!("{} inputs\n{}", discovered.inputs.len(), axes.concat())
}

fn texts(input: &Input) -> std::collections::BTreeMap<&str, String> {
    input.values.iter().map(|(key, value)| (key.as_str(), value.to_string())).collect()
}
