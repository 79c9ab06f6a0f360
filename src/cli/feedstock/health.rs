//! `gristmill feedstock health`: what is published of each recipe, and whether somebody has to look at it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::bot::drift::{Health, Issue, Terms, examine, issue};
use crate::bot::feedstock::lint;
use crate::bot::render::span;
use crate::cli::interrupt::stop_flag;
use crate::cli::load::{settings, show_error};
use crate::cli::progress::{Progress, Style};
use crate::cli::resources::Resources;
use crate::cli::{Terminal, exit};
use crate::event::Reporter;
use crate::recipe::diagnostic::inert;
use crate::recipe::{Recipe, RecipeText, parse_on};
use crate::run::Setting;
use crate::run::report::Report;

/// Most bytes of a recipe's or a report's text.
const LONGEST: u64 = 64 << 20;

/// Look after what is published: failed runs, what is late, broken stores, files that changed upstream.
#[derive(Debug, Args)]
pub(super) struct HealthCommand {
    /// The repository's folder
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Prefix of the stores: each is published at PREFIX/ID
    #[arg(long, value_name = "PREFIX")]
    target: String,
    /// Folder of reports (ID.json) of runs that ended just now
    #[arg(long)]
    reports: Option<PathBuf>,
    /// Folder for health.json, summary.md, and ID.md, the text of each dataset's issue
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    resources: Resources,
}

impl HealthCommand {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let access = match settings(terminal.global.config.clone().as_deref(), terminal)? {
            Ok(access) => access,
            Err(exit) => return Ok(exit),
        };
        let (recipes, unread) = self.recipes(terminal.global.day())?;
        for path in unread {
            terminal.tell(&format!(
                "warning: {}: it cannot be read, so nothing is told about it; `gristmill feedstock lint`\n",
                inert(&path)
            ))?;
        }
        let terms = Terms { day: terminal.global.day(), memory: self.resources.memory_bytes(), threads: self.resources.thread_count() };
        let reporter: Arc<dyn Reporter> = Arc::new(Progress::new(Style::choose(true, false)));
        let stop = stop_flag();
        let setting = Setting { access: &access, reporter: &reporter, stop: &stop };
        let mut found: Vec<(Health, Issue)> = Vec::new();
        for recipe in &recipes {
            let target = format!("{}/{}", self.target.trim_end_matches('/'), recipe.id);
            match examine(recipe, &target, self.report(&recipe.id).as_ref(), terms, setting) {
                Ok(health) => {
                    let told = issue(&health);
                    found.push((health, told));
                }
                Err(error) => return show_error(&error, &RecipeText::default(), terminal).map(|()| error.exit()),
            }
        }
        if let Some(folder) = &self.out
            && let Err(error) = write(folder, &found)
        {
            terminal.tell(&format!("error: cannot write below `{}`: {error}\n", folder.display()))?;
            return Ok(exit::INTERNAL);
        }
        let json = terminal.global.json;
        let line = |health: &Health| if json { serde_json::to_string(health).unwrap_or_default() + "\n" } else { row(health) };
        terminal.print(&found.iter().map(|(health, _)| line(health)).collect::<String>())?;
        Ok(exit::DONE)
    }

    /// The recipes of the repository, and paths of those that cannot be read.
    fn recipes(&self, day: jiff::civil::Date) -> io::Result<(Vec<Recipe>, Vec<String>)> {
        let (mut recipes, mut unread) = (Vec::new(), Vec::new());
        for listed in lint(&self.folder, day)?.recipes {
            let place = self.folder.join(&listed.path);
            let text = read(&place).unwrap_or_default();
            let text = RecipeText { name: listed.path.clone(), text };
            match parse_on(&text, place.parent().unwrap_or(Path::new(".")), Some(day)) {
                Ok((recipe, _)) => recipes.push(recipe),
                Err(_) => unread.push(listed.path),
            }
        }
        Ok((recipes, unread))
    }

    fn report(&self, id: &str) -> Option<Report> {
        let path = self.reports.as_ref()?.join(format!("{id}.json"));
        serde_json::from_str(&read(&path).ok()?).ok()
    }
}

fn read(path: &Path) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

fn write(folder: &Path, found: &[(Health, Issue)]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let issues: Vec<&Issue> = found.iter().map(|(_, issue)| issue).collect();
    std::fs::write(folder.join("health.json"), serde_json::to_string(&issues)?)?;
    let rows: String = found.iter().map(|(health, _)| markdown(health)).collect();
    let summary = format!("| dataset | published | files asked about | state |\n| --- | --- | --- | --- |\n{rows}");
    std::fs::write(folder.join("summary.md"), summary)?;
    issues.iter().try_for_each(|issue| std::fs::write(folder.join(format!("{}.md", issue.id)), &issue.body))
}

/// What is wrong in a few words.
fn state(health: &Health) -> String {
    let words = [
        (!health.failed.is_empty(), "the last run failed".to_owned()),
        (!health.broken.is_empty(), "the store is broken".to_owned()),
        (!health.late.is_empty(), "late".to_owned()),
        (health.changes > 0, format!("{} files changed", health.changes)),
    ];
    let told: Vec<String> = words.into_iter().filter(|(is_so, _)| *is_so).map(|(_, word)| word).collect();
    match (told.is_empty(), &health.published) {
        (false, _) => told.join(", "),
        (true, None) => "not published yet".to_owned(),
        (true, Some(_)) => "well".to_owned(),
    }
}

fn row(health: &Health) -> String {
    let published = health.published.as_deref().map_or("-".to_owned(), inert);
    format!("{}  {published}  {} of {} files asked about  {}\n", health.id, health.asked, health.of, state(health))
}

fn markdown(health: &Health) -> String {
    let published = health.published.as_ref().map_or_else(|| "-".to_owned(), |when| span(when, 40));
    format!("| `{}` | {published} | {} of {} | {} |\n", health.id, health.asked, health.of, state(health))
}
