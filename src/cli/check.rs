//! `gristmill check RECIPE`: is the recipe right, as far as it alone can show? Offline, but for cloning a feedstock.

use std::io;

use clap::{Args, ValueEnum};

use super::{Terminal, exit};
use crate::pattern::{Role, without_secrets};
use crate::recipe::diagnostic::{Diagnostic, exit_of, render_annotation, render_json, render_terminal};
use crate::recipe::{Recipe, RecipeText, parse_on};
use crate::run::feedstock::locate;
use crate::run::with_causes;

/// Check a recipe without opening a file or the network.
#[derive(Debug, Args)]
pub struct Check {
    /// A recipe file, a folder of recipes (`DIR#id`), or `GIT_URL@REF#id`
    recipe: String,
    /// How problems are printed
    #[arg(long, value_enum, default_value_t = Style::Terminal)]
    format: Style,
}

/// How problems are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Style {
    /// With a snippet of the recipe.
    Terminal,
    /// As workflow commands of a code host.
    Github,
}

impl Check {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let located = match locate(&self.recipe) {
            Ok(located) => located,
            Err(error) => {
                terminal.tell(&format!("error: {}\n", with_causes(&error)))?;
                return Ok(exit::RECIPE);
            }
        };
        match parse_on(&located.text, &located.base, Some(terminal.global.day())) {
            Ok((recipe, warnings)) => {
                if terminal.global.json {
                    terminal.print(&(json_summary(&recipe, &render_json(&warnings, &located.text)) + "\n"))?;
                } else {
                    self.show(terminal, &warnings, &located.text)?;
                    terminal.print(&summary(&recipe))?;
                }
                Ok(exit::DONE)
            }
            Err(problems) => {
                if terminal.global.json {
                    let rows = render_json(&problems, &located.text);
                    terminal.print(&format!("{{\"ok\":false,\"diagnostics\":{rows}}}\n"))?;
                } else {
                    self.show(terminal, &problems, &located.text)?;
                    let errors = problems.iter().filter(|problem| problem.is_error()).count();
                    terminal.tell(&format!("{errors} error{} in {}\n", if errors == 1 { "" } else { "s" }, located.text.name))?;
                }
                Ok(exit_of(&problems))
            }
        }
    }

    fn show(&self, terminal: &mut Terminal<'_>, problems: &[Diagnostic], text: &RecipeText) -> io::Result<()> {
        if problems.is_empty() {
            return Ok(());
        }
        match self.format {
            Style::Terminal => terminal.tell(&(render_terminal(problems, text, terminal.colour()) + "\n")),
            // Runners read workflow commands from stdout.
            Style::Github => terminal.print(&render_annotation(problems, text)),
        }
    }
}

fn summary(recipe: &Recipe) -> String {
    let urls = match recipe.inputs.as_slice() {
        [] if recipe.find.is_some() => "  inputs  are found when it is planned; `gristmill inputs` shows them\n".to_owned(),
        [] => String::new(),
        [only] => format!("  input   {}\n", without_secrets(&only.url)),
        [first, .., last] => format!(
            "  inputs  {}\n  first   {}\n  last    {}\n",
            recipe.inputs.len(),
            without_secrets(&first.url),
            without_secrets(&last.url)
        ),
    };
    let axes: String = recipe.axes.iter().map(axis).collect();
    let ends = recipe.used.iter().fold(String::new(), |ends, used| ends + &format!("  {} is {}\n", used.policy, used.what));
    format!("ok: {} ({})\n{urls}{axes}{ends}", recipe.id, recipe.about.title)
}

pub(super) fn axis(axis: &crate::pattern::Axis) -> String {
    let length = axis.positions.len();
    let positions = if length == 1 { "1 position".to_owned() } else { format!("{length} positions") };
    let keys = if axis.keys.is_empty() { "files as listed".to_owned() } else { axis.keys.join(" × ") };
    match &axis.role {
        Role::Concat(dimension) if axis.keys.as_slice() == [dimension.as_str()] => format!("  concat  {dimension}: {positions}\n"),
        Role::Concat(dimension) => format!("  concat  {dimension} ({keys}): {positions}\n"),
        Role::Merge => format!("  merge   {keys}: {positions}\n"),
    }
}

fn json_summary(recipe: &Recipe, warnings: &str) -> String {
    let url = |input: Option<&crate::pattern::Input>| input.map(|input| without_secrets(&input.url));
    let axes: Vec<serde_json::Value> =
        recipe.axes.iter().map(|axis| serde_json::json!({"role": axis.role, "keys": axis.keys, "length": axis.positions.len()})).collect();
    serde_json::json!({
        "ok": true,
        "id": recipe.id,
        "title": recipe.about.title,
        "inputs": recipe.inputs.len(),
        "first": url(recipe.inputs.first()),
        "last": url(recipe.inputs.last()),
        "found": recipe.find.is_some(),
        "axes": axes,
        "diagnostics": serde_json::from_str::<serde_json::Value>(warnings).unwrap_or_default(),
    })
    .to_string()
}
