//! What `plan` and `run` begin with: find the recipe, parse it, read the operator's settings; and how they end: show what went wrong.

use std::io;
use std::path::Path;

use super::{Terminal, exit};
use crate::recipe::diagnostic::{render_json, render_terminal};
use crate::recipe::{Recipe, RecipeText, parse_on};
use crate::run::RunError;
use crate::run::feedstock::{Located, locate};
use crate::store::Access;

/// A recipe and the settings to run it with.
pub(super) struct Loaded {
    pub(super) recipe: Recipe,
    pub(super) access: Access,
    /// Keeps a clone alive while its files are read.
    _located: Located,
}

/// Finds and parses a recipe; shows its problems and gives the exit code if it has any.
pub(super) fn load(reference: &str, config: Option<&Path>, terminal: &mut Terminal<'_>) -> io::Result<Result<Loaded, u8>> {
    let located = match locate(reference) {
        Ok(located) => located,
        Err(error) => return refuse(terminal, &error).map(Err),
    };
    let (recipe, warnings) = match parse_on(&located.text, &located.base, Some(terminal.global.day())) {
        Ok(parsed) => parsed,
        Err(problems) => {
            let exit = crate::recipe::diagnostic::exit_of(&problems);
            show_problems(&problems, &located.text, terminal)?;
            return Ok(Err(exit));
        }
    };
    if !warnings.is_empty() && !terminal.global.quiet && !terminal.global.json {
        let text = render_terminal(&warnings, &located.text, terminal.colour());
        terminal.tell(&(text + "\n"))?;
    }
    match Access::load(config, &|name| std::env::var(name).ok()) {
        Ok(mut access) => {
            access.untrusted |= located.untrusted;
            access.cache_directory = crate::run::scan::cache_folder(&|name| std::env::var(name).ok());
            Ok(Ok(Loaded { recipe, access, _located: located }))
        }
        Err(error) => refuse(terminal, &error).map(Err),
    }
}

fn refuse(terminal: &mut Terminal<'_>, error: &dyn std::error::Error) -> io::Result<u8> {
    terminal.tell(&format!("error: {}\n", crate::run::with_causes(error)))?;
    Ok(exit::RECIPE)
}

fn show_problems(problems: &[crate::recipe::diagnostic::Diagnostic], text: &RecipeText, terminal: &mut Terminal<'_>) -> io::Result<()> {
    if terminal.global.json {
        return terminal.tell(&format!("{{\"ok\":false,\"diagnostics\":{}}}\n", render_json(problems, text)));
    }
    terminal.tell(&(render_terminal(problems, text, terminal.colour()) + "\n"))
}

/// Shows why a run ended.
pub(super) fn show_error(error: &RunError, text: &RecipeText, terminal: &mut Terminal<'_>) -> io::Result<()> {
    if terminal.global.json {
        return show_error_json(error, text, terminal);
    }
    let all = error.each();
    for error in all.iter().take(SHOWN) {
        match error {
            RunError::Recipe(problems) => show_problems(problems, text, terminal)?,
            error => error.problems().iter().try_for_each(|problem| terminal.tell(&format!("{problem}\n")))?,
        }
    }
    if all.len() > SHOWN {
        terminal.tell(&format!("… and {} more errors; `--report FILE` writes them all\n", all.len() - SHOWN))?;
    }
    if error.exit() == exit::TEMPORARY {
        terminal.tell("hint: this may pass; run the same command again to go on\n")?;
    }
    Ok(())
}

fn show_error_json(error: &RunError, text: &RecipeText, terminal: &mut Terminal<'_>) -> io::Result<()> {
    if let RunError::Recipe(problems) = error {
        return show_problems(problems, text, terminal);
    }
    let value = serde_json::json!({"event": "failed", "exit": error.exit(), "errors": error.problems()});
    terminal.tell(&format!("{value}\n"))
}

/// Errors shown on screen.
const SHOWN: usize = 20;
