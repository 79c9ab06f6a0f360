//! Folder listings as servers write them: `MLSD` (RFC 3659 §7), and `LIST` in the manner of `ls -l` and of DOS.
//!
//! Pure. Invariant: a name that is not one plain name in this folder is an error, never an entry.

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
        kind => entry(name, kind == "dir", size, fact("modify").map(str::to_owned)),
    }
}

/// One line of `LIST`; `None` for what is no entry: a total, the folder itself.
pub(super) fn plain(line: &str) -> Result<Option<Entry>, Odd> {
    let line = line.trim_end();
    if line.is_empty() || (line.starts_with("total ") && line.split_whitespace().count() == 2) {
        return Ok(None);
    }
    if line.starts_with(|c: char| c.is_ascii_digit()) { dos(line) } else { unix(line) }
}

/// `-rw-r--r--   1 ftp      ftp          1234 Jan 02  2020 name with spaces`, with or without a group, the date also as `2020-01-02 03:04`.
fn unix(line: &str) -> Result<Option<Entry>, Odd> {
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
    let modified: Vec<&str> = (date..=last).filter_map(text).collect();
    match line.as_bytes().first() {
        Some(b'd') => entry(name, true, None, Some(modified.join(" "))),
        Some(b'l') => entry(name.split(" -> ").next().unwrap_or(name), false, None, Some(modified.join(" "))),
        _ => entry(name, false, size_at(&date), Some(modified.join(" "))),
    }
}

/// `01-02-20  03:04PM       <DIR>          name`, `01-02-2020  03:04PM  1234 name`.
fn dos(line: &str) -> Result<Option<Entry>, Odd> {
    let words = words(line);
    let [(_, day), (_, time), (start, what), ..] = words.as_slice() else { return Err(Odd) };
    let name = line.get(start + what.len()..).map(str::trim_start).ok_or(Odd)?;
    let size = what.parse().ok();
    let folder = what.eq_ignore_ascii_case("<DIR>");
    if size.is_none() && !folder { Err(Odd) } else { entry(name, folder, size, Some(format!("{day} {time}"))) }
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

    fn told(parse: fn(&str) -> Result<Option<Entry>, Odd>, line: &str) -> Option<(String, bool, Option<u64>)> {
        parse(line).unwrap().map(|entry| (entry.name, entry.folder, entry.size))
    }

    #[test]
    fn machine_listings() {
        let file = machine("type=file;size=12;modify=20200102030405.1;UNIX.mode=0644; a; b.nc").unwrap().unwrap();
        assert_eq!(file, Entry { name: "a; b.nc".into(), folder: false, size: Some(12), modified: Some("20200102030405.1".into()) });
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
}
