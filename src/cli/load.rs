//! What commands begin with: find the recipe (or none), parse it, read the operator's settings; and how they end: show what went wrong.

use std::io;
use std::path::Path;

use super::{Terminal, exit};
use crate::recipe::diagnostic::{Code, Diagnostic, render_json, render_terminal};
use crate::recipe::{Recipe, RecipeText, parse_on};
use crate::run::RunError;
use crate::run::feedstock::{Located, locate};
use crate::run::origin::{Origin, kept};
use crate::run::state::State;
use crate::store::Access;

/// A recipe and the settings to run it with.
pub(super) struct Loaded {
    pub(super) recipe: Recipe,
    pub(super) access: Access,
    /// Where the recipe came from.
    pub(super) origin: Origin,
    /// Keeps a clone alive while its files are read.
    located: Option<Located>,
}

/// The operator's settings, and a recipe where one was named.
pub(super) struct Opened {
    pub(super) access: Access,
    pub(super) recipe: Option<Recipe>,
    /// As in [`Loaded`].
    #[expect(dead_code, reason = "held for its drop")]
    located: Option<Located>,
}

/// Reads the operator's settings; the exit code if they make no sense.
pub(super) fn settings(config: Option<&Path>, terminal: &mut Terminal<'_>) -> io::Result<Result<Access, u8>> {
    let bounds = terminal.global.bounds.clone();
    match Access::load(config, &|name| bounds.environment(name)) {
        Ok(mut access) => {
            bounds.put_into(&mut access);
            let quiet = terminal.global.quiet;
            for warning in access.warnings.iter().filter(|_| !quiet) {
                terminal.tell(&format!("warning: {warning}\n"))?;
            }
            Ok(Ok(with_cache(access)))
        }
        Err(error) => refuse(terminal, &error).map(Err),
    }
}

/// Reads the operator's settings, and a recipe if one is named.
pub(super) fn open(reference: Option<&str>, terminal: &mut Terminal<'_>) -> io::Result<Result<Opened, u8>> {
    let config = terminal.global.config.clone();
    let Some(reference) = reference else {
        let access = settings(config.as_deref(), terminal)?;
        return Ok(access.map(|access| Opened { access, recipe: None, located: None }));
    };
    let loaded = load(reference, config.as_deref(), terminal)?;
    Ok(loaded.map(|Loaded { access, recipe, located, .. }| Opened { access, recipe: Some(recipe), located }))
}

/// The same for a store that was made before: where no recipe is named, the credential is that of the recipe its state keeps.
pub(super) fn open_again(reference: Option<&str>, store: &str, terminal: &mut Terminal<'_>) -> io::Result<Result<Opened, u8>> {
    let mut opened = match open(reference, terminal)? {
        Ok(opened) => opened,
        Err(exit) => return Ok(Err(exit)),
    };
    let Some((name, untrusted)) = kept_credential(store, &opened.access).filter(|_| reference.is_none()) else { return Ok(Ok(opened)) };
    opened.access.untrusted |= untrusted;
    match opened.access.authorise(Some(&name)) {
        Ok(()) => Ok(Ok(opened)),
        Err(error) => refuse(terminal, &error).map(Err),
    }
}

/// The credential that a kept recipe names, and whether it is a stranger's. A state that cannot be read is told of by whoever needs it.
fn kept_credential(store: &str, access: &Access) -> Option<(String, bool)> {
    let state = State::read_only(store, access).ok()?;
    let (text, origin) = kept(&state).ok()??;
    let day = origin.day.as_ref().and_then(|day| day.parse().ok());
    let (recipe, _) = parse_on(&text, Path::new(&origin.folder), day).ok()?;
    Some((recipe.auth?, origin.untrusted))
}

/// Finds and parses a recipe; shows its problems and gives the exit code if it has any.
pub(super) fn load(reference: &str, config: Option<&Path>, terminal: &mut Terminal<'_>) -> io::Result<Result<Loaded, u8>> {
    let located = match locate(reference) {
        Ok(located) => located,
        Err(error) => return refuse(terminal, &error).map(Err),
    };
    let origin = Origin {
        name: located.text.name.clone(),
        folder: located.base.display().to_string(),
        commit: located.commit.clone(),
        untrusted: located.untrusted,
        day: Some(terminal.global.day().to_string()),
        hidden: false,
    };
    let loaded = from_text(&located.text, &located.base, &origin, config, terminal)?;
    Ok(loaded.map(|loaded| Loaded { located: Some(located), ..loaded }))
}

/// Parses a recipe's text; shows its problems and gives the exit code if it has any.
pub(super) fn from_text(
    text: &RecipeText,
    base: &Path,
    origin: &Origin,
    config: Option<&Path>,
    terminal: &mut Terminal<'_>,
) -> io::Result<Result<Loaded, u8>> {
    let (recipe, warnings) = match parse_on(text, base, Some(terminal.global.day())) {
        Ok(parsed) => parsed,
        Err(problems) => {
            let exit = crate::recipe::diagnostic::exit_of(&problems);
            show_problems(&problems, text, terminal)?;
            return Ok(Err(exit));
        }
    };
    if !warnings.is_empty() && !terminal.global.quiet && !terminal.global.json {
        let text = render_terminal(&warnings, text, terminal.colour());
        terminal.tell(&(text + "\n"))?;
    }
    let mut access = match settings(config, terminal)? {
        Ok(access) => access,
        Err(exit) => return Ok(Err(exit)),
    };
    access.untrusted |= origin.untrusted;
    if let Err(error) = access.authorise(recipe.auth.as_deref()) {
        return refuse(terminal, &error).map(Err);
    }
    if let Some(most) = access.limits().inputs.filter(|most| recipe.inputs.len() as u64 > *most) {
        let message = format!("the recipe has {} inputs, and at most {most} are allowed here", recipe.inputs.len());
        let help = "bake less at once, or let the operator raise `inputs` of `[limits]` (`--max-inputs`)";
        let problem = Diagnostic::error(Code::TooManyInputs, message).help(help);
        show_problems(&[problem], text, terminal)?;
        return Ok(Err(exit::RECIPE));
    }
    Ok(Ok(Loaded { recipe, access, origin: origin.clone(), located: None }))
}

/// The settings with the usual folder for caches, where the operator named none.
pub(super) fn with_cache(mut access: Access) -> Access {
    access.cache_directory = access.cache_directory.or_else(|| crate::run::scan::cache_folder(&|name| std::env::var(name).ok()));
    access
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
