//! Folder listings as servers write them: `MLSD` (RFC 3659 §7), and `LIST` in the manner of `ls -l` and of DOS.
//!
//! Pure. Times become such that can be compared (RFC 3339, without a zone where the server tells none). Invariant: a name that is
//! not one plain name in this folder is an error, never an entry.

use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Time};

use super::super::Entry;

/// A line that cannot be understood, or names what lies elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Odd;

/// Months as `ls -l` writes them.
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// One line of `MLSD`; `None` for the folder itself and its parent.
pub(super) fn machine(line: &str) -> Result<Option<Entry>, Odd> {
    let (facts, name) = match line.strip_prefix(' ') {
        Some(name) => ("", name),
        None => line.split_once("; ").ok_or(Odd)?,
    };
    let fact = |wanted: &str| {
        let pairs = facts.split(';').filter_map(|fact| fact.split_once('='));
        pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    };
    let kind = fact("type").unwrap_or("file").to_ascii_lowercase();
    let size = fact("size").and_then(|size| size.parse().ok()).filter(|_| kind != "dir");
    match kind.as_str() {
        "cdir" | "pdir" => Ok(None),
        kind => entry(name, kind == "dir", size, fact("modify").and_then(stamp)),
    }
}

/// One line of `LIST`; `None` for what is no entry: a total, the folder itself. Recent files have no year: it is the last in which
/// they are no younger than `today`.
pub(super) fn plain(line: &str, today: Date) -> Result<Option<Entry>, Odd> {
    let line = line.trim_end();
    if line.is_empty() || (line.starts_with("total ") && line.split_whitespace().count() == 2) {
        return Ok(None);
    }
    if line.starts_with(|c: char| c.is_ascii_digit()) { dos(line) } else { unix(line, today) }
}

/// `-rw-r--r--   1 ftp      ftp          1234 Jan 02  2020 name with spaces`, with or without a group, the date also as `2020-01-02 03:04`.
fn unix(line: &str, today: Date) -> Result<Option<Entry>, Odd> {
    let words = words(line);
    let text = |number: usize| words.get(number).map(|(_, word)| *word);
    let is_month = |number: &usize| text(*number).is_some_and(|word| MONTHS.iter().any(|month| word.eq_ignore_ascii_case(month)));
    let is_iso = |number: &usize| text(*number).is_some_and(|word| word.len() == 10 && word.matches('-').count() == 2);
    let size_at = |number: &usize| text(number - 1).and_then(|word| word.parse::<u64>().ok());
    let date = (2..words.len()).find(|number| size_at(number).is_some() && (is_month(number) || is_iso(number))).ok_or(Odd)?;
    let last = if is_iso(&date) { date + 1 } else { date + 2 };
    let end = words.get(last).map(|(start, word)| start + word.len()).ok_or(Odd)?;
    // One blank stands between the date and the name; others belong to the name.
    let name = line.get(end + 1..).ok_or(Odd)?;
    let day: Vec<&str> = (date..=last).filter_map(text).collect();
    let modified = if is_iso(&date) { day.join("T").parse().ok() } else { of_month(&day, today) };
    let modified = modified.map(|moment: DateTime| moment.to_string());
    match line.as_bytes().first() {
        Some(b'd') => entry(name, true, None, modified),
        Some(b'l') => entry(name.split(" -> ").next().unwrap_or(name), false, None, modified),
        _ => entry(name, false, size_at(&date), modified),
    }
}

/// `01-02-20  03:04PM       <DIR>          name`, `01-02-2020  03:04PM  1234 name`.
fn dos(line: &str) -> Result<Option<Entry>, Odd> {
    let words = words(line);
    let [(_, day), (_, time), (start, what), ..] = words.as_slice() else { return Err(Odd) };
    let name = line.get(start + what.len()..).map(str::trim_start).ok_or(Odd)?;
    let size = what.parse().ok();
    let folder = what.eq_ignore_ascii_case("<DIR>");
    if size.is_none() && !folder { Err(Odd) } else { entry(name, folder, size, of_dos(day, time)) }
}

/// `20200102030405.1`, which is always UTC (RFC 3659 §2.3).
fn stamp(digits: &str) -> Option<String> {
    let whole = digits.split('.').next().filter(|whole| whole.len() == 14)?;
    let time = DateTime::strptime("%Y%m%d%H%M%S", whole).ok()?;
    Some(format!("{time}Z"))
}

/// `Jan 2 2020`, or `Jan 2 03:04` of the last twelve months.
fn of_month(words: &[&str], today: Date) -> Option<DateTime> {
    let [month, day, last] = words else { return None };
    let month = MONTHS.iter().position(|name| month.eq_ignore_ascii_case(name))? as i8 + 1;
    let day = day.parse().ok()?;
    let Some((hour, minute)) = last.split_once(':') else {
        return Some(Date::new(last.parse().ok()?, month, day).ok()?.at(0, 0, 0, 0));
    };
    // The server's clock may stand in another time zone.
    let newest = today.checked_add(1.day()).ok()?;
    let in_year = |year| Date::new(year, month, day).ok().filter(|date| *date <= newest);
    // A leap day may lie a few years back.
    let date = (0..8).find_map(|back| in_year(today.year() - back))?;
    let time = Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()?;
    Some(date.to_datetime(time))
}

/// `01-02-20` or `01-02-2020` (month first) and `03:04PM`.
fn of_dos(day: &str, time: &str) -> Option<String> {
    let text = format!("{day} {}", time.to_ascii_uppercase());
    let forms = ["%m-%d-%y %I:%M%p", "%m-%d-%Y %I:%M%p", "%m-%d-%Y %H:%M"];
    forms.iter().find_map(|form| DateTime::strptime(form, &text).ok()).map(|moment| moment.to_string())
}

/// Words and where they begin.
fn words(line: &str) -> Vec<(usize, &str)> {
    let mut rest = line;
    let mut words = Vec::new();
    while let Some(start) = rest.find(|c: char| !c.is_whitespace()) {
        let word = rest[start..].split(char::is_whitespace).next().unwrap_or_default();
        words.push((line.len() - rest.len() + start, word));
        rest = &rest[start + word.len()..];
    }
    words
}

fn entry(name: &str, folder: bool, size: Option<u64>, modified: Option<String>) -> Result<Option<Entry>, Odd> {
    let name = name.strip_suffix('/').filter(|_| folder).unwrap_or(name);
    match name {
        "." | ".." => Ok(None),
        _ if name.is_empty() || name.contains(['/', '\\']) || name.chars().any(char::is_control) => Err(Odd),
        _ => Ok(Some(Entry { name: name.to_owned(), folder, size, modified })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: Date = jiff::civil::date(2026, 3, 1);

    fn plain(line: &str) -> Result<Option<Entry>, Odd> {
        super::plain(line, TODAY)
    }

    fn told(parse: fn(&str) -> Result<Option<Entry>, Odd>, line: &str) -> Option<(String, bool, Option<u64>)> {
        parse(line).unwrap().map(|entry| (entry.name, entry.folder, entry.size))
    }

    #[test]
    fn machine_listings() {
        let file = machine("type=file;size=12;modify=20200102030405.1;UNIX.mode=0644; a; b.nc").unwrap().unwrap();
        assert_eq!(file, Entry { name: "a; b.nc".into(), folder: false, size: Some(12), modified: Some("2020-01-02T03:04:05Z".into()) });
        assert_eq!(told(machine, "Type=dir;Size=4096; sub"), Some(("sub".into(), true, None)));
        assert_eq!(told(machine, "type=OS.unix=slink:/x; link"), Some(("link".into(), false, None)));
        assert_eq!(told(machine, " bare"), Some(("bare".into(), false, None)));
        assert_eq!([machine("type=cdir; /a"), machine("type=pdir; ..")], [const { Ok(None) }; 2]);
        assert_eq!([machine("nonsense"), machine("type=file; ../a"), machine("type=file; ")], [const { Err(Odd) }; 3]);
    }

    #[test]
    fn plain_listings() {
        for (line, expected) in [
            ("-rw-r--r--    1 ftp      ftp          1234 Jan 02  2020 a b.nc", ("a b.nc", false, Some(1234))),
            ("-rw-r--r--+ 1 0 0 5 Dec 31 23:59  lead.nc", (" lead.nc", false, Some(5))),
            ("drwxr-xr-x    2 ftp      ftp          4096 Aug 13 00:11 dac", ("dac", true, None)),
            ("-rw-rw-r-- 1 owner 77 May 3 2019 Jan 1 2020 x", ("Jan 1 2020 x", false, Some(77))),
            ("-rw-r--r-- 1 a b 9 2020-01-02 03:04 iso.nc", ("iso.nc", false, Some(9))),
            ("lrwxrwxrwx 1 a b 7 Feb 1 2021 latest -> 2021", ("latest", false, None)),
            ("01-02-20  03:04PM       <DIR>          old dir", ("old dir", true, None)),
            ("01-02-2020  03:04PM             12345 a b.nc", ("a b.nc", false, Some(12345))),
        ] {
            let (name, folder, size) = expected;
            assert_eq!(told(plain, line), Some((name.to_owned(), folder, size)), "{line}");
        }
        assert_eq!([plain("total 12"), plain(""), plain("drwxr-xr-x 2 a b 4096 Jan 1 2020 ..")], [const { Ok(None) }; 3]);
        for odd in ["hello", "-rw-r--r-- 1 a b 1 Jan 1 2020 x/y", "01-02-20 nonsense", "-rw-r--r-- 1 a b 1 Jan 1 2020"] {
            assert_eq!(plain(odd), Err(Odd), "{odd}");
        }
    }

    #[test]
    fn times_can_be_compared() {
        for (line, expected) in [
            ("-rw-r--r-- 1 a b 9 Jan 02  2020 x", Some("2020-01-02T00:00:00")),
            ("-rw-r--r-- 1 a b 9 Feb 28 23:59 x", Some("2026-02-28T23:59:00")),
            ("-rw-r--r-- 1 a b 9 Mar  2 00:10 x", Some("2026-03-02T00:10:00")),
            ("-rw-r--r-- 1 a b 9 Mar  3 00:10 x", Some("2025-03-03T00:10:00")),
            ("-rw-r--r-- 1 a b 9 Feb 29 00:10 x", Some("2024-02-29T00:10:00")),
            ("-rw-r--r-- 1 a b 9 Feb 30 00:10 x", None),
            ("-rw-r--r-- 1 a b 9 Mar  1 25:10 x", None),
            ("-rw-r--r-- 1 a b 9 2020-01-02 03:04 x", Some("2020-01-02T03:04:00")),
            ("01-02-20  03:04PM  9 x", Some("2020-01-02T15:04:00")),
            ("01-02-2020  12:04AM  9 x", Some("2020-01-02T00:04:00")),
        ] {
            assert_eq!(plain(line).unwrap().unwrap().modified.as_deref(), expected, "{line}");
        }
        assert_eq!(machine("type=file;modify=2020; x").unwrap().unwrap().modified, None);
    }
}
