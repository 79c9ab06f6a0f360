//! What contributors and maintainers see: one comment per pull request, one check per recipe.
//!
//! From a result that `artifact` has read; its texts are foreign and go through `escape`. No I/O. Invariant: everything outside of
//! code spans and blocks is our own words, ids, paths and numbers; and a comment fits into what code hosts take.

mod escape;

use serde_json::{Value, json};

pub use escape::{block, plain, span};

use super::artifact::{Artifact, Change, Dataset, Full, Outcome, Problem, Stage, Tested, Unbelievable, Verdict};
use super::decide::Sha;
use super::feedstock::is_id;
use super::picture::{Picture, number};
use crate::size::ByteSize;

/// First line of the comment, by which it is found again.
pub const MARK: &str = "<!-- gristmill:report -->";
/// Most bytes of a comment; GitHub takes 65,536 characters.
const LONGEST: usize = 60_000;
/// Most characters of a name, of a sentence.
const NAME: usize = 120;
const SENTENCE: usize = 600;
/// Most variables and problems shown.
const SHOWN: usize = 30;

/// Where a comment can point to. Words of ours or of the operator, never of a result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// What stands before `ID.png` in the address of each picture, if images can be fetched from there without a login. Without it
    /// maps are shown as letters: code hosts keep no images of comments that a token may write, and drop those that stand in the text.
    pub pictures: Option<String>,
    /// A page with the whole log.
    pub log: Option<String>,
    /// A page where the pictures can be fetched, with a login perhaps.
    pub album: Option<String>,
}

/// True for an address that can stand in Markdown and in HTML as it is.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?%&=+".contains(&byte);
    text.starts_with("https://") && text.len() <= 1000 && text.bytes().all(plain)
}

/// The comment about a result.
#[must_use]
pub fn comment(artifact: &Artifact) -> String {
    comment_with(artifact, &Places::default())
}

/// The pictures of a result as PNG, each with the id of its recipe.
#[must_use]
pub fn pictures(artifact: &Artifact) -> Vec<(String, Vec<u8>)> {
    let image = |outcome: &Outcome| Some((outcome.id.clone(), outcome.picture.as_ref()?.png()?));
    artifact.recipes.iter().filter(|outcome| is_id(&outcome.id)).filter_map(image).collect()
}

/// The comment about a result, with pictures and a link where there are places for them.
#[must_use]
pub fn comment_with(artifact: &Artifact, places: &Places) -> String {
    let tested: Vec<&Outcome> = artifact.recipes.iter().filter(|one| one.verdict != Verdict::Skipped).collect();
    let passed = tested.iter().filter(|one| one.verdict == Verdict::Passed).count();
    let verdict = match (artifact.refused.len(), tested.len()) {
        (0, 0) => "no recipe to test".to_owned(),
        (0, all) => format!("{passed} of {all} recipes pass"),
        (refused, _) => format!("{refused} files are refused"),
    };
    let head = format!(
        "{MARK}\n### Gristmill: {verdict}\n\nTested commit `{}` with gristmill {}.\n",
        artifact.head,
        span(&artifact.gristmill, 20)
    );
    let mut text = head + &files(artifact);
    for (number, outcome) in artifact.recipes.iter().enumerate() {
        // The first ones have maps; all have their figures.
        let section = section(outcome, &artifact.head, places, text.len() < LONGEST / 2);
        if text.len() + section.len() > LONGEST {
            text += &format!("\n…and {} more recipes; the checks tell of each.\n", artifact.recipes.len() - number);
            break;
        }
        text += &section;
    }
    text + &footer(places)
}

fn footer(places: &Places) -> String {
    let link = |name: &str, place: &Option<String>| {
        place.as_ref().filter(|address| is_address(address)).map(|address| format!("[{name}]({address})"))
    };
    let links: Vec<String> = [link("The whole log", &places.log), link("Maps as pictures", &places.album)].into_iter().flatten().collect();
    if links.is_empty() { String::new() } else { format!("\n{}\n", links.join(" · ")) }
}

/// The comment if there is no result that can be believed.
#[must_use]
pub fn without_result(head: &Sha, why: Option<&Unbelievable>) -> String {
    let why = why.map_or_else(|| "the test ended without a result".to_owned(), ToString::to_string);
    format!("{MARK}\n### Gristmill: no result\n\nCommit `{head}`: {why}. The log of the job `test` tells more.\n")
}

fn files(artifact: &Artifact) -> String {
    let mut text = String::new();
    if !artifact.privileged.is_empty() {
        let names: Vec<String> = artifact.privileged.iter().take(SHOWN).map(|path| span(path, NAME)).collect();
        text += &format!(
            "\n> [!CAUTION]\n> This changes what runs with secrets in reach: {}. Its own test proves nothing; read it.\n",
            names.join(", ")
        );
    }
    for refused in artifact.refused.iter().take(SHOWN) {
        text += &format!("- ❌ {}: {}\n", span(&refused.path, NAME), span(&refused.why, SENTENCE));
    }
    text
}

fn section(outcome: &Outcome, head: &Sha, places: &Places, map: bool) -> String {
    let mut text = format!("\n#### {} `{}`: {}\n", mark(outcome.verdict), outcome.id, verdict(outcome));
    text += &problems(&outcome.errors, &outcome.path);
    text += &outcome.warnings.iter().take(SHOWN).map(|warning| format!("- ⚠️ {}\n", span(warning, SENTENCE))).collect::<String>();
    text += &outcome.dataset.as_ref().map_or(String::new(), |dataset| described(dataset, outcome));
    if let Some(picture) = outcome.picture.as_ref().filter(|_| map) {
        text += &shown(picture, &outcome.id, places);
    }
    if outcome.verdict == Verdict::Failed && !outcome.log.is_empty() {
        let log = block(outcome.log.iter().map(String::as_str), SENTENCE);
        text += &format!("\n<details><summary>Last lines of the log</summary>\n\n{log}\n</details>\n");
    }
    if outcome.verdict != Verdict::Skipped {
        let command = format!("gristmill bot test --head {head} --recipe {} --out result.json", outcome.path);
        text += &format!("\nThe same on your machine, at that commit:\n\n{}", block([command.as_str()], SENTENCE));
    }
    text
}

/// A map: as an image where one can be fetched, else as letters.
fn shown(picture: &Picture, id: &str, places: &Places) -> String {
    let base = places.pictures.as_ref().filter(|base| is_address(base));
    let units = if picture.units.is_empty() { String::new() } else { format!(" {}", span(&picture.units, NAME)) };
    let at = if picture.at.is_empty() { String::new() } else { format!(" at {}", span(&picture.at, SENTENCE)) };
    let what = format!("{}{at}, from {} to {}{units}", span(&picture.variable, NAME), number(picture.low), number(picture.high));
    let missing = picture.missing();
    if let Some(base) = base {
        return format!("\n![A map of {id}]({base}{id}.png)\n\n{what}; grey: no value ({missing} %)\n");
    }
    let lines = picture.text();
    let map = block(lines.iter().map(String::as_str), SENTENCE);
    format!("\n<details><summary>Map</summary>\n\n{what} as · ░ ▒ ▓ █; blank: no value ({missing} %)\n\n{map}\n</details>\n")
}

fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "✅",
        Verdict::Failed => "❌",
        Verdict::Skipped => "➖",
    }
}

/// The verdict in one line, without foreign text.
fn verdict(outcome: &Outcome) -> String {
    match (outcome.verdict, &outcome.tested) {
        (Verdict::Passed, Some(tested)) => {
            let Tested { inputs, compared, of, .. } = tested;
            format!("baked from {inputs} files, opened again, {compared} of {of} parts equal their sources")
        }
        (Verdict::Skipped, _) if outcome.change == Change::Deleted => "removed; what is published stays".to_owned(),
        (Verdict::Skipped, _) => "only moved, nothing to test".to_owned(),
        _ => {
            let stage = match outcome.stage {
                Stage::Lint => "the recipe is not right",
                Stage::Plan => "it cannot be planned",
                Stage::Bake => "it cannot be baked",
                Stage::Verify => "what was written is not right",
            };
            format!("{stage} (exit {})", outcome.exit)
        }
    }
}

fn problems(errors: &[Problem], path: &str) -> String {
    let row = |error: &Problem| {
        let place = error.line.map_or(String::new(), |line| format!(" (`{path}`, line {line})"));
        let code = error.code.as_ref().map_or(String::new(), |code| span(code, NAME) + " ");
        let help = error.help.as_ref().map_or(String::new(), |help| format!("\n  {}", span(help, SENTENCE)));
        format!("- {code}{}{place}{help}\n", span(&error.message, SENTENCE))
    };
    let more = errors.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!("- …and {more} more\n") } else { String::new() };
    errors.iter().take(SHOWN).map(row).collect::<String>() + &rest
}

fn described(dataset: &Dataset, outcome: &Outcome) -> String {
    let axis = |axis: &super::artifact::Axis| {
        // Files that are listed one by one have no names along their axis.
        let ends = format!(", first {}, last {}", span(&axis.first, NAME), span(&axis.last, NAME));
        let ends = if axis.first.is_empty() { String::new() } else { ends };
        format!("- {}: {} files{ends}\n", span(&axis.name, NAME), axis.length)
    };
    let title = format!("\n{} under {}\n\n", span(&dataset.title, SENTENCE), span(&dataset.license, NAME));
    let times = dataset.times.as_ref().map_or(String::new(), |times| {
        format!("- {}: from {} to {}\n", span(&times.dimension, NAME), span(&times.first, NAME), span(&times.last, NAME))
    });
    let axes: String = std::iter::once(times).chain(dataset.axes.iter().map(axis)).collect();
    let numbers = sizes(outcome.tested.as_ref(), outcome.full.as_ref());
    format!(
        "{title}{axes}{numbers}\n<details><summary>Dataset and chunks</summary>\n\n{}\n{}\n</details>\n",
        repr(dataset),
        chunks(dataset)
    )
}

/// The dataset as xarray would show it.
fn repr(dataset: &Dataset) -> String {
    let dimension = |one: &super::artifact::Dimension| {
        if one.full == one.length {
            format!("{}: {}", one.name, one.length)
        } else {
            format!("{}: {} (in full about {})", one.name, one.length, one.full)
        }
    };
    let is_coordinate =
        |one: &super::artifact::Variable| one.coordinate || dataset.dimensions.iter().any(|dimension| dimension.name == one.name);
    let row = |one: &super::artifact::Variable| {
        format!("    {}  ({})  {}  {}", one.name, one.dimensions.join(", "), one.dtype, ByteSize(one.full_bytes))
    };
    let all = dataset.variables.iter().fold(0_u64, |sum, one| sum.saturating_add(one.full_bytes));
    let (coordinates, data): (Vec<_>, Vec<_>) = dataset.variables.iter().take(SHOWN).partition(|one| is_coordinate(one));
    let mut lines = vec![format!("Dimensions: ({})", dataset.dimensions.iter().map(dimension).collect::<Vec<_>>().join(", "))];
    lines.push(format!("Size in full: about {}", ByteSize(all)));
    lines.extend(std::iter::once("Coordinates:".to_owned()).chain(coordinates.into_iter().map(row)));
    lines.extend(std::iter::once("Data variables:".to_owned()).chain(data.into_iter().map(row)));
    block(lines.iter().map(String::as_str), SENTENCE)
}

fn chunks(dataset: &Dataset) -> String {
    let row = |one: &super::artifact::Variable| {
        let lengths: Vec<String> = one.chunks.iter().map(u64::to_string).collect();
        format!("| {} | {} | {} | {} |\n", span(&one.name, NAME), span(&one.dtype, NAME), lengths.join(" × "), ByteSize(one.chunk_bytes))
    };
    let rows: String = dataset.variables.iter().take(SHOWN).map(row).collect();
    let more = dataset.variables.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!("\n…and {more} more variables.\n") } else { String::new() };
    format!("| variable | type | chunk | values in a chunk |\n| --- | --- | --- | --- |\n{rows}{rest}")
}

fn sizes(tested: Option<&Tested>, full: Option<&Full>) -> String {
    let (Some(tested), Some(full)) = (tested, full) else { return String::new() };
    let row = |name: &str, files: u64, fetch: u64, store: u64, time: u64| {
        format!("| {name} | {files} | {} | {} | {} |\n", ByteSize(fetch), ByteSize(store), duration(time))
    };
    let rows = row("this test", tested.inputs, tested.fetch_bytes, tested.stored_bytes, tested.milliseconds)
        + &row("a full run, about", full.inputs, full.fetch_bytes, full.stored_bytes, full.milliseconds);
    format!("\n| | files | to fetch | to store | time |\n| --- | --- | --- | --- | --- |\n{rows}\nCost class: {}.\n", cost_class(full))
}

/// What a full run costs, in the coarse words that a maintainer needs: does it fit a runner, a night, or neither?
#[must_use]
pub fn cost_class(full: &Full) -> &'static str {
    const HOUR: u64 = 3_600_000;
    let bytes = full.fetch_bytes.saturating_add(full.stored_bytes);
    match (bytes, full.milliseconds) {
        (0..=0x2_8000_0000, 0..=HOUR) => "small (below 10 GiB and an hour)",
        (0..=0x80_0000_0000, 0..=21_600_000) => "medium (below 512 GiB and six hours)",
        _ => "large (too long for a hosted runner: bake it on a machine of your own)",
    }
}

fn duration(milliseconds: u64) -> String {
    match milliseconds / 1000 {
        0 => format!("{milliseconds} ms"),
        seconds @ 1..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// One check per recipe, as bodies for GitHub's "create a check run".
#[must_use]
pub fn checks(artifact: &Artifact) -> Vec<Value> {
    artifact.recipes.iter().map(|outcome| check(outcome, &artifact.head)).collect()
}

fn check(outcome: &Outcome, head: &Sha) -> Value {
    let conclusion = match outcome.verdict {
        Verdict::Passed => "success",
        Verdict::Failed => "failure",
        Verdict::Skipped => "skipped",
    };
    let annotation = |error: &Problem| {
        let line = error.line.unwrap_or(1).max(1);
        let help = error.help.as_ref().map_or(String::new(), |help| format!("; {}", plain(help, SENTENCE)));
        json!({
            "path": outcome.path, "start_line": line, "end_line": line, "annotation_level": "failure",
            "title": error.code.as_ref().map_or_else(|| "gristmill".to_owned(), |code| plain(code, NAME)),
            "message": plain(&error.message, SENTENCE) + &help,
        })
    };
    let annotations: Vec<Value> = outcome.errors.iter().take(SHOWN).map(annotation).collect();
    json!({
        "name": format!("gristmill: {}", outcome.id),
        "head_sha": head,
        "status": "completed",
        "conclusion": conclusion,
        "output": {"title": verdict(outcome), "summary": section(outcome, head, &Places::default(), true), "annotations": annotations},
    })
}
