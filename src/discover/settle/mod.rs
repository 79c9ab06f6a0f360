//! What was found into axes and inputs.
//!
//! Pure. Invariant: the result depends on the set of what was found alone, not on its order; nothing is left out without being told.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::pattern::reading::{Reading, integer};
use crate::pattern::{Axis, Input, KeyValue, MAX_INPUTS, Role};
use crate::recipe::Used;
use crate::recipe::diagnostic::{Code, Diagnostic};
use crate::recipe::find::{Find, FoundKey, Newest};
use crate::store::shown;

use super::{About, Discovered, Found};

/// Examples in a message.
const EXAMPLES: usize = 3;

/// A file whose name matches, with the texts of its keys.
struct Matched {
    found: Found,
    texts: BTreeMap<String, String>,
}

/// Makes the matrix. `whole`: a combination of keys without a file is an error; `late`: not at the end of the series.
pub(super) fn settle(find: &Find, found: Vec<Found>, (whole, late): (bool, bool)) -> Result<Discovered, Vec<Diagnostic>> {
    if found.is_empty() {
        let message = "nothing was found at all";
        let help = "check the address, and the glob or query; `gristmill inputs RECIPE --raw` shows what is there";
        return Err(vec![Diagnostic::error(Code::NothingFound, message).at(find.span, "").help(help)]);
    }
    let mut used = Vec::new();
    let matched = matched(find, found, &mut used)?;
    let values = values(find, &matched)?;
    let (matched, values) = newest(find, matched, values, &mut used)?;
    let matrix = if find.keys.is_empty() { list(find, matched) } else { matrix(find, matched, &values) };
    let mut discovered = matrix.map_err(|problem| vec![*problem])?;
    let mut problems = Vec::new();
    if whole {
        problems.extend(holes(find, &mut discovered, late, &mut used));
    }
    problems.extend(count(find, discovered.inputs.len()));
    discovered.used = used;
    if problems.is_empty() { Ok(discovered) } else { Err(problems) }
}

fn examples<'a>(urls: impl IntoIterator<Item = &'a str>) -> String {
    let mut urls = urls.into_iter();
    let first: Vec<String> = urls.by_ref().take(EXAMPLES).map(|url| format!("`{}`", shown(url))).collect();
    let more = urls.count();
    if more > 0 { format!("{} and {more} more", first.join(", ")) } else { first.join(", ") }
}

/// Files whose paths are asked for; what is left out is told.
fn matched(find: &Find, found: Vec<Found>, used: &mut Vec<Used>) -> Result<Vec<Matched>, Vec<Diagnostic>> {
    let (wanted, unwanted): (Vec<Found>, Vec<Found>) = found.into_iter().partition(|one| is_wanted(find, &one.path));
    let (mut matched, mut unmatched) = (Vec::with_capacity(wanted.len()), Vec::new());
    for found in wanted {
        match texts(find, &found.path) {
            Some(texts) => matched.push(Matched { found, texts }),
            None => unmatched.push(found),
        }
    }
    if matched.is_empty() {
        let (paths, why, span) = match find.names.as_ref().filter(|_| !unmatched.is_empty()) {
            Some((names, span)) => (&unmatched, format!("holds `{names}`"), *span),
            None => (&unwanted, "is wanted by `include` and `exclude`".to_owned(), find.span),
        };
        let message =
            format!("{} files were found, and no path {why}: {}", paths.len(), examples(paths.iter().map(|one| one.path.as_str())));
        let help = "compare the paths with what the recipe looks for; `gristmill inputs RECIPE --raw` shows all of them";
        return Err(vec![Diagnostic::error(Code::NamesDoNotMatch, message).at(span, "").help(help)]);
    }
    for (files, policy) in [(&unmatched, "find: match"), (&unwanted, "find: include, exclude")] {
        if !files.is_empty() {
            let what =
                format!("{} files that were found are left out: {}", files.len(), examples(files.iter().map(|one| one.path.as_str())));
            used.push(Used::new(policy, "inputs", what));
        }
    }
    Ok(matched)
}

fn is_wanted(find: &Find, path: &str) -> bool {
    (find.include.is_empty() || find.include.iter().any(|glob| glob.matches(path))) && !find.exclude.iter().any(|glob| glob.matches(path))
}

/// What the named groups hold; `None` if the path does not match.
fn texts(find: &Find, path: &str) -> Option<BTreeMap<String, String>> {
    let Some((names, _)) = &find.names else { return Some(BTreeMap::new()) };
    let captures = names.captures(path)?;
    let groups = names.capture_names().flatten();
    Some(groups.filter_map(|name| Some((name.to_owned(), captures.name(name)?.as_str().to_owned()))).collect())
}

/// The text of a key of a file: of the named group, else of the field of that name.
fn text<'a>(matched: &'a Matched, name: &str) -> Option<&'a str> {
    matched.texts.get(name).or_else(|| matched.found.fields.get(name)).map(String::as_str)
}

/// The values of all keys of each file; every key whose texts cannot be read is told.
fn values(find: &Find, matched: &[Matched]) -> Result<Vec<Vec<KeyValue>>, Vec<Diagnostic>> {
    let mut columns = Vec::with_capacity(find.keys.len());
    let mut problems = Vec::new();
    for key in &find.keys {
        match column(key, matched) {
            Ok(column) => columns.push(column),
            Err(problem) => problems.push(*problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let row = |number: usize| columns.iter().filter_map(|column| column.get(number).cloned()).collect();
    Ok((0..matched.len()).map(row).collect())
}

fn column(key: &FoundKey, matched: &[Matched]) -> Result<Vec<KeyValue>, Box<Diagnostic>> {
    let texts: Vec<Option<&str>> = matched.iter().map(|one| text(one, &key.name)).collect();
    let numbers = || texts.iter().map(|text| text.and_then(integer).map(KeyValue::Integer)).collect::<Option<Vec<_>>>();
    if let Some(numbers) = Some(key).filter(|key| key.reading == Reading::Automatic).and_then(|_| numbers()) {
        return Ok(numbers);
    }
    let values: Vec<Option<KeyValue>> = texts.iter().map(|text| key.reading.value((*text)?)).collect();
    let bad: Vec<usize> = (0..values.len()).filter(|&number| values.get(number).is_some_and(Option::is_none)).collect();
    let Some(&first) = bad.first() else { return Ok(values.into_iter().flatten().collect()) };
    let urls = examples(bad.iter().filter_map(|&number| matched.get(number)).map(|one| one.found.path.as_str()));
    let (message, help) = if let Some(text) = texts.get(first).copied().flatten() {
        (
            format!("the key `{}` of {} files is no {}: `{}` of {urls}", key.name, bad.len(), key.reading.described(), shown(text)),
            "correct the expression or the format, or leave those files out with `exclude`".to_owned(),
        )
    } else {
        let fields: BTreeSet<&str> = matched.iter().flat_map(|one| one.found.fields.keys()).map(String::as_str).collect();
        let known = fields.iter().take(20).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "nothing is told of them but their paths".to_owned() } else { format!("there is {known}") };
        (
            format!("{} files have no `{}`, such as {urls}", bad.len(), key.name),
            format!("capture it with `match: (?<{}>…)`, or name a field: {known}", key.name),
        )
    };
    Err(Box::new(Diagnostic::error(Code::KeyNotRead, message).at(key.span, "").help(help)))
}

/// Files and the values of their keys.
type Chosen = (Vec<Matched>, Vec<Vec<KeyValue>>);

/// One file for each combination of keys: the newest where the rule says how to tell; else several are an error.
fn newest(find: &Find, matched: Vec<Matched>, values: Vec<Vec<KeyValue>>, used: &mut Vec<Used>) -> Result<Chosen, Vec<Diagnostic>> {
    if find.keys.is_empty() {
        return Ok((matched, values));
    }
    let mut groups: BTreeMap<Vec<KeyValue>, Vec<Matched>> = BTreeMap::new();
    for (one, values) in matched.into_iter().zip(values) {
        groups.entry(values).or_default().push(one);
    }
    let (mut chosen, mut older, mut twice) = ((Vec::new(), Vec::new()), Vec::new(), Vec::new());
    for (values, mut files) in groups {
        if files.len() > 1 {
            files.sort_by(|a, b| compare(find, b, a));
            let same = files.get(1).is_none_or(|second| compare(find, &files[0], second) == Ordering::Equal);
            if same || find.newest.is_none() {
                twice.push((values, files));
                continue;
            }
        }
        let mut files = files.into_iter();
        chosen.0.extend(files.next());
        chosen.1.push(values);
        older.extend(files.map(|one| one.found.path));
    }
    if !older.is_empty() {
        let what =
            format!("{} files are left out of which there is a newer one: {}", older.len(), examples(older.iter().map(String::as_str)));
        used.push(Used::new("find: newest", "inputs", what));
    }
    if twice.is_empty() { Ok(chosen) } else { Err(vec![found_twice(find, &twice)]) }
}

fn found_twice(find: &Find, twice: &[(Vec<KeyValue>, Vec<Matched>)]) -> Diagnostic {
    let told = twice.iter().take(EXAMPLES).map(|(values, files)| {
        let keys: Vec<String> = find.keys.iter().zip(values).map(|(key, value)| format!("{}: {value}", key.name)).collect();
        format!("{{{}}}: {}", keys.join(", "), examples(files.iter().map(|one| one.found.path.as_str())))
    });
    let message = format!("{} combinations of keys have several files, such as {}", twice.len(), told.collect::<Vec<_>>().join("; "));
    let (span, help) = match &find.newest {
        Some((Newest::Modified, span)) => {
            (*span, "they were modified at the same time, or nothing tells when; capture a version, or `exclude` some")
        }
        Some((Newest::Field(_), span)) => (*span, "their versions are equal or absent; leave some out with `exclude`"),
        None => (find.span, "take the newest with `newest: modified` or by a named group; or capture what tells them apart as a key"),
    };
    Diagnostic::error(Code::FoundTwice, message).at(span, "").help(help)
}

/// Which of two files is newer.
fn compare(find: &Find, a: &Matched, b: &Matched) -> Ordering {
    match &find.newest {
        None => Ordering::Equal,
        Some((Newest::Modified, _)) => match (&a.found.modified, &b.found.modified) {
            (Some(a), Some(b)) => match (moment(a), moment(b)) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => natural(a, b),
            },
            _ => Ordering::Equal,
        },
        Some((Newest::Field(name), _)) => match (text(a, name), text(b, name)) {
            (Some(a), Some(b)) => natural(a, b),
            // One without a version is older than any that has one.
            (a, b) => a.is_some().cmp(&b.is_some()),
        },
    }
}

fn moment(text: &str) -> Option<jiff::Timestamp> {
    let civil = |date: jiff::civil::DateTime| date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let http = || jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp());
    text.parse().ok().or_else(http).or_else(|| text.parse().ok().and_then(civil))
}

/// Texts in the order that people expect of versions: runs of digits count as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (pieces(a).into_iter(), pieces(b).into_iter());
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (a, b) if a.is_none() || b.is_none() => a.is_some().cmp(&b.is_some()),
            (Some((true, a)), Some((true, b))) => {
                let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
                a.len().cmp(&b.len()).then_with(|| a.cmp(b))
            }
            (Some((_, a)), Some((_, b))) => a.cmp(b),
            _ => Ordering::Equal,
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Runs of digits, and what is between them.
fn pieces(text: &str) -> Vec<(bool, &str)> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let end = rest.find(|letter: char| letter.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        pieces.push((digits, piece));
        rest = after;
    }
    pieces
}

/// Files without keys: in the order of their paths.
fn list(find: &Find, mut matched: Vec<Matched>) -> Result<Discovered, Box<Diagnostic>> {
    matched.sort_by(|a, b| natural(&a.found.path, &b.found.path).then_with(|| a.found.url.cmp(&b.found.url)));
    let only = find.axes.first();
    if only.is_none() && matched.len() > 1 {
        let message = format!("{} files were found, but nothing says how they become one", matched.len());
        let help = "add `combine: {concat: [time]}` with the dimension along which they follow one another";
        return Err(Box::new(Diagnostic::error(Code::FilesWithoutConcat, message).at(find.span, "").help(help)));
    }
    let axes = only.map(|(role, _)| Axis { role: role.clone(), keys: Vec::new(), positions: vec![Vec::new(); matched.len()] });
    let rank = usize::from(axes.is_some());
    let inputs = matched.iter().enumerate();
    let inputs: Vec<Input> = inputs
        .map(|(number, one)| Input { number, url: one.found.url.clone(), position: vec![number; rank], values: BTreeMap::new() })
        .collect();
    unique(find, &inputs)?;
    Ok(Discovered { axes: axes.into_iter().collect(), inputs, about: matched.into_iter().map(about).collect(), ..Discovered::default() })
}

fn about(matched: Matched) -> About {
    let Found { size, modified, checksum, .. } = matched.found;
    About { size, modified, checksum }
}

/// Files by their keys: each axis has the combinations that occur, in order.
fn matrix(find: &Find, matched: Vec<Matched>, values: &[Vec<KeyValue>]) -> Result<Discovered, Box<Diagnostic>> {
    let place = |name: &String| find.keys.iter().position(|key| key.name == *name);
    let columns: Vec<Vec<usize>> = find.axes.iter().map(|(_, keys)| keys.iter().filter_map(place).collect()).collect();
    let at = |values: &[KeyValue], columns: &[usize]| columns.iter().filter_map(|&column| values.get(column).cloned()).collect::<Vec<_>>();
    let positions: Vec<Vec<Vec<KeyValue>>> = columns
        .iter()
        .map(|columns| values.iter().map(|values| at(values, columns)).collect::<BTreeSet<_>>().into_iter().collect())
        .collect();
    let mut cells: Vec<(Vec<usize>, Matched, &Vec<KeyValue>)> = matched
        .into_iter()
        .zip(values)
        .map(|(one, values)| {
            let place =
                |(columns, positions): (&Vec<usize>, &Vec<Vec<KeyValue>>)| positions.binary_search(&at(values, columns)).unwrap_or(0);
            (columns.iter().zip(&positions).map(place).collect(), one, values)
        })
        .collect();
    cells.sort_by(|a, b| a.0.cmp(&b.0));
    let made =
        |((role, keys), positions): (&(Role, Vec<String>), Vec<Vec<KeyValue>>)| Axis { role: role.clone(), keys: keys.clone(), positions };
    let axes = find.axes.iter().zip(positions).map(made).collect();
    let (mut inputs, mut abouts) = (Vec::with_capacity(cells.len()), Vec::with_capacity(cells.len()));
    for (number, (position, one, values)) in cells.into_iter().enumerate() {
        let values = find.keys.iter().map(|key| key.name.clone()).zip(values.iter().cloned()).collect();
        inputs.push(Input { number, url: one.found.url.clone(), position, values });
        abouts.push(about(one));
    }
    unique(find, &inputs)?;
    Ok(Discovered { axes, inputs, about: abouts, ..Discovered::default() })
}

fn unique(find: &Find, inputs: &[Input]) -> Result<(), Box<Diagnostic>> {
    let mut seen = BTreeSet::new();
    let twice: Vec<&str> = inputs.iter().map(|input| input.url.as_str()).filter(|url| !seen.insert(*url)).collect();
    if twice.is_empty() {
        return Ok(());
    }
    let message = format!("the same file was found several times: {}", examples(twice));
    let help = "list each file once, or leave rows out with `include` and `exclude`";
    Err(Box::new(Diagnostic::error(Code::FoundTwice, message).at(find.span, "").help(help)))
}

/// Combinations of keys without a file. With `late` the series ends before the first that is followed by no whole position.
fn holes(find: &Find, discovered: &mut Discovered, late: bool, used: &mut Vec<Used>) -> Option<Diagnostic> {
    let cells = |axes: &[Axis]| axes.iter().fold(1_usize, |cells, axis| cells.saturating_mul(axis.positions.len()));
    if cells(&discovered.axes) == discovered.inputs.len() {
        return None;
    }
    if late {
        end_series(discovered, used);
    }
    let missing = cells(&discovered.axes).saturating_sub(discovered.inputs.len());
    if missing == 0 {
        return None;
    }
    let known: BTreeSet<&[usize]> = discovered.inputs.iter().map(|input| input.position.as_slice()).collect();
    let lengths: Vec<usize> = discovered.axes.iter().map(|axis| axis.positions.len()).collect();
    let absent =
        (0..cells(&discovered.axes).min(MAX_INPUTS)).map(|cell| position(cell, &lengths)).filter(|at| !known.contains(at.as_slice()));
    let told: Vec<String> = absent.take(EXAMPLES).map(|at| cell(&discovered.axes, &at)).collect();
    let message = format!("{missing} combinations of the keys that were found have no file, such as {}", told.join(", "));
    let help = "say `missing: skip` or `missing: fill`, or leave the others of that position out with `exclude`";
    Some(Diagnostic::error(Code::FoundIncomplete, message).at(find.span, "").help(help))
}

fn position(mut cell: usize, lengths: &[usize]) -> Vec<usize> {
    let mut at = vec![0; lengths.len()];
    for (place, &length) in at.iter_mut().zip(lengths).rev() {
        *place = cell % length.max(1);
        cell /= length.max(1);
    }
    at
}

fn cell(axes: &[Axis], at: &[usize]) -> String {
    let keys = axes.iter().zip(at).flat_map(|(axis, &at)| axis.keys.iter().zip(axis.positions.get(at).into_iter().flatten()));
    format!("{{{}}}", keys.map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>().join(", "))
}

/// Ends the last concat axis after its last position that has all of its files.
fn end_series(discovered: &mut Discovered, used: &mut Vec<Used>) {
    let Some(axis) = discovered.axes.iter().rposition(|axis| matches!(axis.role, Role::Concat(_))) else { return };
    let lengths: Vec<usize> = discovered.axes.iter().map(|axis| axis.positions.len()).collect();
    let length = lengths.get(axis).copied().unwrap_or(0);
    let each = lengths.iter().fold(1_usize, |cells, length| cells.saturating_mul(*length)) / length.max(1);
    let mut files = vec![0_usize; length];
    let at = |input: &Input| input.position.get(axis).copied().unwrap_or(0);
    for input in &discovered.inputs {
        if let Some(files) = files.get_mut(at(input)) {
            *files += 1;
        }
    }
    let Some(last) = files.iter().rposition(|files| *files == each) else { return };
    let late: Vec<&Input> = discovered.inputs.iter().filter(|input| at(input) > last).collect();
    if late.is_empty() {
        return;
    }
    let what = format!("the result ends before {}", examples(late.iter().map(|input| input.url.as_str())));
    let dimension = match discovered.axes.get(axis).map(|axis| &axis.role) {
        Some(Role::Concat(dimension)) => dimension.clone(),
        _ => String::new(),
    };
    used.push(Used::new("late: skip", dimension, what));
    let gone: Vec<usize> = late.iter().map(|input| input.number).collect();
    let left = crate::pattern::without(&discovered.axes, &discovered.inputs, &gone, true);
    let gone: BTreeSet<usize> = gone.into_iter().collect();
    let about = std::mem::take(&mut discovered.about).into_iter().enumerate().filter(|(number, _)| !gone.contains(number));
    discovered.about = about.map(|(_, about)| about).collect();
    (discovered.axes, discovered.inputs) = left;
}

fn count(find: &Find, found: usize) -> Option<Diagnostic> {
    let (least, most) = find.count;
    let wrong = match (least, most) {
        (Some(least), _) if (found as u64) < least => format!("at least {least}"),
        (_, Some(most)) if found as u64 > most => format!("at most {most}"),
        _ => return None,
    };
    let message = format!("{found} inputs were found, {wrong} are expected");
    let help = "if the archive is as it should be, correct the number; `gristmill inputs RECIPE` shows what was found";
    Some(Diagnostic::error(Code::FoundCount, message).at(find.count_span, "").help(help))
}

#[cfg(test)]
mod tests;
