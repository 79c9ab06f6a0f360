//! `gristmill verify STORE`: is a published store what it should be?

use std::io;
use std::sync::Arc;

use clap::Args;

use super::interrupt::stop_flag;
use super::load::{open, open_again, show_error};
use super::progress::{Progress, Style};
use super::resources::Resources;
use super::{Terminal, exit};
use crate::event::Reporter;
use crate::recipe::RecipeText;
use crate::run::audit::{Audit, Finding, Level, Options, audit};
use crate::run::{RunError, Setting};
use crate::size::ByteSize;

/// Is a published store what it should be?
#[derive(Debug, Args)]
#[expect(clippy::option_option, reason = "clap's way of an option whose value may be left out")]
pub struct Verify {
    /// Root of a Zarr store, of ours or of others: a path or `s3://bucket/prefix`
    pub store: String,
    /// Is every object there that a receipt tells of, with its size?
    #[arg(long)]
    pub receipts: bool,
    /// Read objects, all or a share such as 5%: are their bytes those that receipts name, and do they decode?
    #[arg(long, value_name = "SHARE", num_args = 0..=1, require_equals = true)]
    pub read_data: Option<Option<String>>,
    /// Compare a sample of values with the sources (with --read-data all of them); RECIPE is needed where addresses hold secrets
    #[arg(long, value_name = "RECIPE", num_args = 0..=1, require_equals = true)]
    pub against_source: Option<Option<String>>,
    /// What the machine may give.
    #[command(flatten)]
    pub resources: Resources,
}

impl Verify {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let read = match self.read_data.as_ref().map(|share| share.as_deref().map_or(Some(1.0), share_of)) {
            Some(None) => {
                terminal.tell("error: `--read-data` takes a share such as `5%` or `0.05`\n")?;
                return Ok(exit::RECIPE);
            }
            Some(Some(share)) => share,
            None => 0.0,
        };
        // Bound whole: a clone lives as long as it does.
        let opened = match &self.against_source {
            Some(recipe) => open_again(recipe.as_deref(), &self.store, terminal)?,
            None => open(None, terminal)?,
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(exit) => return Ok(exit),
        };
        let reporter: Arc<dyn Reporter> = Arc::new(Progress::new(Style::choose(terminal.global.quiet, terminal.global.json)));
        let stop = stop_flag();
        let setting = Setting { access: &opened.access, reporter: &reporter, stop: &stop };
        let options = Options {
            receipts: self.receipts,
            read,
            sources: self.against_source.is_some(),
            memory: self.resources.memory_bytes(),
            threads: self.resources.thread_count(),
        };
        match audit(&self.store, opened.recipe.as_ref(), &options, setting) {
            Ok(audit) => self.show(&audit, terminal),
            Err(error) => show_error(&error, &RecipeText::default(), terminal).map(|()| error.exit()),
        }
    }

    fn show(&self, audit: &Audit, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let text = if terminal.global.json { json(&self.store, audit) } else { table(&self.store, audit) };
        terminal.print(&text)?;
        if terminal.global.quiet {
            let errors = audit.findings.iter().filter(|finding| finding.level == Level::Error);
            terminal.tell(&errors.map(row).collect::<String>())?;
        }
        if let Some(error) = &audit.failed {
            show_error(error, &RecipeText::default(), terminal)?;
        }
        Ok(match (&audit.failed, audit.count(Level::Error)) {
            (Some(error), 0) => error.exit(),
            (None, 0) => exit::DONE,
            _ => exit::VERIFICATION,
        })
    }
}

/// `5%`, `5 %` or `0.05`: more than nothing, at most all.
fn share_of(text: &str) -> Option<f64> {
    let text = text.trim();
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok()? / 100.0,
        None => text.parse().ok()?,
    };
    (share > 0.0 && share <= 1.0).then_some(share)
}

fn json(store: &str, audit: &Audit) -> String {
    let mut lines: Vec<String> = Vec::with_capacity(audit.findings.len() + 1);
    for finding in &audit.findings {
        let mut line = serde_json::json!({"event": "finding"});
        if let (Some(line), Ok(serde_json::Value::Object(finding))) = (line.as_object_mut(), serde_json::to_value(finding)) {
            line.extend(finding);
        }
        lines.push(line.to_string());
    }
    let problems = audit.failed.as_ref().map(RunError::problems);
    let summary = serde_json::json!({
        "event": "verified",
        "store": crate::store::shown(store),
        "clean": audit.count(Level::Error) == 0 && audit.failed.is_none(),
        "errors": audit.count(Level::Error),
        "warnings": audit.count(Level::Warning),
        "looked": audit.looked,
        "failed": problems,
    });
    lines.push(summary.to_string());
    lines.join("\n") + "\n"
}

fn table(store: &str, audit: &Audit) -> String {
    let rows: String = audit.findings.iter().map(row).collect();
    let looked = &audit.looked;
    let mut told = vec![format!("{} arrays", looked.arrays), format!("{} objects", looked.objects)];
    if looked.receipts > 0 {
        told.push(format!("{} receipts", looked.receipts));
    }
    if looked.read > 0 {
        told.push(format!("{} objects read ({})", looked.read, ByteSize(looked.bytes)));
    }
    if let Some(compared) = &looked.compared {
        told.push(format!("{} of {} parts compared with their sources: equal", compared.compared, compared.of));
    }
    let verdict = match (audit.count(Level::Error), audit.count(Level::Warning)) {
        (0, 0) => "clean".to_owned(),
        (0, warnings) => format!("clean, {warnings} warnings"),
        (errors, warnings) => format!("broken: {errors} errors, {warnings} warnings"),
    };
    format!("{rows}{}: {verdict} ({})\n", crate::store::shown(store), told.join(", "))
}

/// `error   AR06  sst  sst/c/0/0: is not there; repair it`
fn row(finding: &Finding) -> String {
    let array = if finding.array.is_empty() { "." } else { &finding.array };
    let key = if finding.key.is_empty() { String::new() } else { format!(" `{}`", finding.key) };
    let help = if finding.help.is_empty() { String::new() } else { format!("; {}", finding.help) };
    format!("{:<7} {}  {array}{key}: {}{help}\n", finding.level.name(), finding.rule, finding.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_written_in_percent_or_as_numbers() {
        assert_eq!([share_of("5%"), share_of(" 5 %"), share_of("0.05"), share_of("100%")], [Some(0.05), Some(0.05), Some(0.05), Some(1.0)]);
        assert_eq!([share_of("0"), share_of("101%"), share_of("-1"), share_of("x"), share_of("nan")], [None; 5]);
    }
}
