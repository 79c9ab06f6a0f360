//! `gristmill feedstock`: begin a repository of recipes, check one, let a dataset have its own, look after what is published.
//!
//! `init` and `lint` are offline.

mod graduate;
mod health;

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::{Terminal, exit};
use crate::bot::feedstock::{self, Finding, Forge, Lint, Wanted};
use crate::recipe::diagnostic::{Severity, inert};
use crate::run::with_causes;
use graduate::GraduateCommand;
use health::HealthCommand;

/// Begin a repository of recipes, check one, look after what is published.
#[derive(Debug, Args)]
pub struct Feedstock {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Write what a repository of recipes needs; files that exist are left alone
    Init(Init),
    /// Check a repository of recipes: all problems at once
    Lint(LintCommand),
    /// Move a dataset from a staging repository into a feedstock of its own; run it again after every step
    Graduate(GraduateCommand),
    /// Look after what is published: failed runs, what is late, broken stores, files that changed upstream
    Health(HealthCommand),
}

/// Write what a repository of recipes needs.
#[derive(Debug, Args)]
struct Init {
    /// The repository's folder
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where the repository will live
    #[arg(long, value_enum, default_value_t = ForgeArgument::Github)]
    forge: ForgeArgument,
    /// A repository of many datasets and contributors, not the feedstock of one dataset
    #[arg(long)]
    staging: bool,
    /// Id of the dataset; without it the folder's name, less `-feedstock`
    #[arg(long)]
    id: Option<String>,
    /// One line about the dataset
    #[arg(long)]
    title: Option<String>,
    /// Account of who looks after it
    #[arg(long, value_name = "ACCOUNT")]
    maintainer: String,
    /// Where the workflows get gristmill from
    #[arg(long, value_name = "URL", requires = "binary_sha256")]
    binary: Option<String>,
    /// SHA-256 of that binary
    #[arg(long, value_name = "HEX", requires = "binary")]
    binary_sha256: Option<String>,
    /// Gristmill's own action, by its full commit id, in place of written-out steps (GitHub)
    #[arg(long, value_name = "OWNER/REPOSITORY/ci@COMMIT")]
    action: Option<String>,
}

/// Where a repository lives.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ForgeArgument {
    /// GitHub.
    Github,
    /// GitLab.
    Gitlab,
    /// Forgejo or Gitea.
    Forgejo,
}

impl ForgeArgument {
    fn forge(self) -> Forge {
        match self {
            Self::Github => Forge::Github,
            Self::Gitlab => Forge::Gitlab,
            Self::Forgejo => Forge::Forgejo,
        }
    }
}

/// Check a repository of recipes.
#[derive(Debug, Args)]
struct LintCommand {
    /// The repository's folder
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// How problems are printed
    #[arg(long, value_enum, default_value_t = Style::Terminal)]
    format: Style,
}

/// How problems are printed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Style {
    /// One line each.
    Terminal,
    /// As workflow commands of a code host.
    Github,
}

impl Feedstock {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        match self.command {
            Command::Init(command) => command.run(terminal),
            Command::Lint(command) => command.run(terminal),
            Command::Graduate(command) => command.run(terminal),
            Command::Health(command) => command.run(terminal),
        }
    }
}

impl Init {
    fn run(self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let wanted = Wanted {
            forge: self.forge.forge(),
            staging: self.staging,
            id: self.id.unwrap_or_else(|| name_of(&self.folder)),
            title: self.title,
            maintainer: self.maintainer,
            binary: self.binary.zip(self.binary_sha256),
            action: self.action,
        };
        match feedstock::init(&self.folder, &wanted) {
            Ok((written, left)) if terminal.global.json => {
                terminal.print(&format!("{}\n", serde_json::json!({"written": written, "left": left})))?;
                Ok(exit::DONE)
            }
            Ok((written, left)) => {
                let rows = |word: &str, paths: &[String]| paths.iter().map(|path| format!("{word}  {path}\n")).collect::<String>();
                terminal.print(&(rows("written", &written) + &rows("left   ", &left)))?;
                Ok(exit::DONE)
            }
            Err(error) => {
                terminal.tell(&format!("error: {}\n", inert(&with_causes(&error))))?;
                Ok(exit::RECIPE)
            }
        }
    }
}

/// `noaa-oisst` for a folder named `noaa-oisst-feedstock`.
fn name_of(folder: &Path) -> String {
    let whole = std::fs::canonicalize(folder).or_else(|_| std::path::absolute(folder)).unwrap_or_else(|_| folder.to_owned());
    let name = whole.file_name().map_or_else(String::new, |name| name.to_string_lossy().to_lowercase());
    name.trim_end_matches("-feedstock").replace(['_', '.', ' '], "-")
}

impl LintCommand {
    fn run(&self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let lint = match feedstock::lint(&self.folder, terminal.global.day()) {
            Ok(lint) => lint,
            Err(error) => {
                terminal.tell(&format!("error: cannot read `{}`: {error}\n", self.folder.display()))?;
                return Ok(exit::RECIPE);
            }
        };
        let errors = lint.errors();
        if terminal.global.json {
            terminal.print(&format!("{}\n", json(&lint)))?;
        } else {
            match self.format {
                Style::Terminal => terminal.tell(&lint.findings.iter().map(row).collect::<String>())?,
                // Runners read workflow commands from stdout.
                Style::Github => terminal.print(&lint.findings.iter().map(annotation).collect::<String>())?,
            }
            let warnings = lint.findings.len() - errors;
            terminal.print(&format!("{} recipes, {errors} errors, {warnings} warnings\n", lint.recipes.len()))?;
        }
        Ok(if errors == 0 { exit::DONE } else { exit::RECIPE })
    }
}

fn json(lint: &Lint) -> serde_json::Value {
    serde_json::json!({"ok": lint.errors() == 0, "recipes": lint.recipes, "problems": lint.findings})
}

fn word(finding: &Finding) -> &'static str {
    match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// `recipes/a/recipe.yaml:3:1: error[license]: …; …`
fn row(finding: &Finding) -> String {
    let help = finding.help.as_ref().map_or(String::new(), |help| format!("; {}", inert(help)));
    let place = format!("{}:{}:{}", inert(&finding.file), finding.line, finding.column);
    format!("{place}: {}[{}]: {}{help}\n", word(finding), finding.rule, inert(&finding.message))
}

fn annotation(finding: &Finding) -> String {
    let escaped = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let file = escaped(&inert(&finding.file)).replace(':', "%3A").replace(',', "%2C");
    let help = finding.help.as_ref().map_or(String::new(), |help| format!("\n{help}"));
    let message = escaped(&format!("{}{help}", finding.message));
    format!("::{} file={file},line={},col={},title={}::{message}\n", word(finding), finding.line, finding.column, finding.rule)
}
