//! The status page: what runs, waits and has ended, with logs and reports.
//!
//! For everybody, so only of repositories that everybody may see; needs no script and nothing from elsewhere. Not for changing
//! anything: it has no form. Invariant: every text that is not ours is escaped, also names that were checked before.

mod escape;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::jobs::{Ending, LOG, Record, Stage};
use crate::bot::artifact::{self, Artifact, Outcome, Verdict};
use crate::bot::picture::{Picture, number};
use crate::store::auth::redact::scrub;

pub use escape::{lines, text};

/// Most bytes of a log that a page shows.
const TAIL: u64 = 256 << 10;
/// Most characters of a line, of a name.
const LINE: usize = 2000;
const NAME: usize = 200;
/// Most jobs of a kind that are listed.
const LISTED: usize = 100;

/// How pages look.
pub const STYLE: &str = include_str!("style.css");

/// The list of jobs.
#[must_use]
pub fn index(records: &[Record], now: Timestamp) -> String {
    let public: Vec<&Record> = records.iter().filter(|record| record.public).collect();
    let part = |title: &str, wanted: &dyn Fn(&Record) -> bool| {
        let jobs: Vec<String> = public.iter().filter(|record| wanted(record)).take(LISTED).map(|record| item(record, now)).collect();
        let list =
            if jobs.is_empty() { "<p class=\"quiet\">None.</p>".to_owned() } else { format!("<ul class=\"jobs\">{}</ul>", jobs.concat()) };
        format!("<section><h2>{title}</h2>{list}</section>")
    };
    let body = part("Running", &|record| record.stage == Stage::Running)
        + &part("Queued", &|record| record.stage == Stage::Waiting)
        + &part("Finished", &|record| matches!(record.stage, Stage::Ended(_)));
    whole("Jobs", &body, Some(20))
}

fn item(record: &Record, now: Timestamp) -> String {
    format!(
        "<li><span class=\"stage {0}\">{0}</span><span class=\"what\"><a href=\"/jobs/{1}\">{2} {3}</a> <span class=\"quiet\">{4}{5}</span></span><time>{6}</time></li>",
        record.stage.word(),
        record.number,
        text(&record.kind, NAME),
        text(&record.recipe, NAME),
        text(&record.repository, NAME),
        record.pull.map_or(String::new(), |pull| format!(" #{pull}")),
        when(record, now)
    )
}

fn when(record: &Record, now: Timestamp) -> String {
    let between = |from: Timestamp, to: Timestamp| duration(Duration::try_from(to.duration_since(from)).unwrap_or_default());
    match (record.begun, record.ended) {
        (Some(begun), Some(ended)) => format!("took {}, ended {}", between(begun, ended), moment(ended)),
        (None, Some(ended)) => format!("ended {}", moment(ended)),
        (Some(begun), None) => format!("for {}", between(begun, now)),
        (None, None) => format!("since {}", between(record.queued, now)),
    }
}

fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn duration(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// A job; `folder` is its own.
#[must_use]
pub fn job(record: &Record, folder: &Path, now: Timestamp) -> String {
    let row = |name: &str, value: String| format!("<dt>{name}</dt><dd>{value}</dd>");
    let mut rows = row("Repository", text(&record.repository, NAME));
    rows += &record.pull.map_or(String::new(), |pull| row("Pull request", format!("#{pull}")));
    rows += &row(if record.kind == "update" { "Day" } else { "Commit" }, format!("<code>{}</code>", text(&record.at, NAME)));
    rows += &row("Attempt", record.attempt.to_string());
    rows += &row("State", format!("<span class=\"stage {0}\">{0}</span>, {1}", record.stage.word(), when(record, now)));
    if let Stage::Ended(Ending::Failed { exit, why }) = &record.stage {
        let exit = exit.map_or(String::new(), |exit| format!("exit {exit} "));
        rows += &row("Reason", exit + &text(why.as_deref().unwrap_or_default(), LINE));
    }
    let report = report(folder, record).map_or(String::new(), |report| format!("<h2>Report</h2>{report}"));
    let log = steps(folder, record).or_else(|| log(folder)).map_or(String::new(), |log| {
        format!("<h2>Log</h2><pre>{}</pre><p><a href=\"/jobs/{}/log\">all that it printed</a></p>", lines(&log, LINE), record.number)
    });
    let title = format!("{} {}", text(&record.kind, NAME), text(&record.recipe, NAME));
    let refresh = (!matches!(record.stage, Stage::Ended(_))).then_some(10);
    whole(&title, &format!("<p><a href=\"/\">All jobs</a></p><dl>{rows}</dl>{report}{log}"), refresh)
}

/// The end of a job's log; `None` if it printed nothing. No secret in use is in it.
#[must_use]
pub fn log(folder: &Path) -> Option<String> {
    let mut file = File::open(folder.join(LOG)).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    let tail = String::from_utf8_lossy(&bytes).into_owned();
    let cut = if length > TAIL { format!("… the first {} bytes are left out\n", length - TAIL) } else { String::new() };
    (!bytes.is_empty()).then(|| cut + &scrub(&tail))
}

fn report(folder: &Path, record: &Record) -> Option<String> {
    Some(result(folder, record)?.recipes.iter().map(|one| outcome(one, record)).collect())
}

/// What a test left, if it can be believed.
fn result(folder: &Path, record: &Record) -> Option<Artifact> {
    let head = record.at.parse().ok()?;
    let bytes = std::fs::read(folder.join(super::execute::RESULT)).ok()?;
    artifact::read(&bytes, &head).ok()
}

/// What a test noted of its course; what it printed is the report once more.
fn steps(folder: &Path, record: &Record) -> Option<String> {
    let artifact = result(folder, record)?;
    let steps: Vec<&str> = artifact.recipes.iter().flat_map(|one| &one.log).map(String::as_str).collect();
    (!steps.is_empty()).then(|| steps.join("\n"))
}

/// The map that a test drew, as PNG: made here, from shades.
#[must_use]
pub fn map(folder: &Path, record: &Record) -> Option<Vec<u8>> {
    let artifact = result(folder, record)?;
    artifact.recipes.iter().find(|one| one.id == record.recipe)?.picture.as_ref()?.png()
}

/// Where the maps of a commit are, below the server's address.
#[must_use]
pub fn maps(repository: &str, head: &str) -> String {
    format!("/maps/{repository}/{head}/")
}

fn figure(picture: &Picture, record: &Record) -> String {
    let place = maps(&text(&record.repository, NAME), &text(&record.at, NAME));
    let units = if picture.units.is_empty() { String::new() } else { format!(" {}", picture.units) };
    let at = if picture.at.is_empty() { String::new() } else { format!(" at {}", picture.at) };
    let what = format!("{}{at}, from {} to {}{units}; grey: no value", picture.variable, number(picture.low), number(picture.high));
    let (id, what) = (text(&record.recipe, NAME), text(&what, LINE));
    format!("<figure><img src=\"{place}{id}.png\" alt=\"A map of {id}\"><figcaption>{what}</figcaption></figure>")
}

fn outcome(outcome: &Outcome, record: &Record) -> String {
    let (class, verdict) = match outcome.verdict {
        Verdict::Passed => ("done", "passed: written, opened again and compared with its sources"),
        Verdict::Failed => ("failed", "failed"),
        Verdict::Skipped => ("quiet", "nothing to test"),
    };
    let mut html = format!("<p><strong class=\"{class}\">{verdict}</strong></p>");
    let item = |line: &str| format!("<li>{}</li>", text(line, LINE));
    let list = |items: Vec<String>| if items.is_empty() { String::new() } else { format!("<ul>{}</ul>", items.concat()) };
    let error = |problem: &artifact::Problem| {
        let help = problem.help.as_ref().map_or(String::new(), |help| format!("; {help}"));
        let line = problem.line.map_or(String::new(), |line| format!(" (line {line})"));
        item(&format!("{}{line}{help}", problem.message))
    };
    html += &list(outcome.errors.iter().map(error).collect());
    html += &list(outcome.warnings.iter().map(|warning| item(warning)).collect());
    if let Some(dataset) = &outcome.dataset {
        let row = |one: &artifact::Variable| {
            let chunks: Vec<String> = one.chunks.iter().map(u64::to_string).collect();
            let cells = [&one.name, &one.dtype, &one.dimensions.join(", "), &chunks.join(" × ")]
                .map(|cell| format!("<td>{}</td>", text(cell, NAME)));
            format!("<tr>{}</tr>", cells.concat())
        };
        let rows: String = dataset.variables.iter().map(row).collect();
        html += &format!(
            "<p>{}</p><div class=\"wide\"><table><tr><th>Variable</th><th>Type</th><th>Dimensions</th><th>Chunk</th></tr>{rows}</table></div>",
            text(&dataset.title, LINE)
        );
    }
    html += &outcome.picture.as_ref().filter(|_| outcome.id == record.recipe).map_or(String::new(), |picture| figure(picture, record));
    html
}

/// What is not there, or not for everybody.
#[must_use]
pub fn absent() -> String {
    whole("Not here", "<p>There is no such page, or it is not for everybody.</p><p><a href=\"/\">All jobs</a></p>", None)
}

fn whole(title: &str, body: &str, refresh: Option<u32>) -> String {
    let refresh = refresh.map_or(String::new(), |seconds| format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">"));
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">{refresh}<title>{title} · Gristmill</title><link rel=\"stylesheet\" href=\"/style.css\"></head><body><header><p>Gristmill</p><h1>{title}</h1></header><main>{body}</main><footer>gristmill {}</footer></body></html>",
        env!("CARGO_PKG_VERSION")
    )
}
