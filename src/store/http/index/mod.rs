//! Index pages of web servers as folders: whatever the page looks like, links to direct children of its own address count.
//!
//! Apache's `mod_autoindex`, nginx's `ngx_http_autoindex_module` (also as JSON), IIS directory browsing and their like. Links for
//! sorting, to the parent, to other servers and into deeper folders are none. Invariant: an entry's name is one part of a path,
//! never empty, `.`, `..` or with a `/` in it.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime, Time};
use serde::Deserialize;
use url::Url;

use super::super::{Document, Documents as _, Entry, ErrorKind, Listing, StoreError};
use super::HttpSource;

/// Most bytes of an index page.
const LONGEST: u64 = 64 << 20;

impl Listing for HttpSource {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, StoreError> {
        let page = self.document(&format!("{}/", folder.trim_end_matches('/')), &[], LONGEST)?;
        entries(&page).map_err(|reason| StoreError::new(ErrorKind::Integrity, folder, format!("{reason}; open the address in a browser")))
    }
}

/// What an index page lists, sorted by name.
fn entries(page: &Document) -> Result<Vec<Entry>, String> {
    let text = String::from_utf8_lossy(&page.bytes);
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let json = page.kind.as_deref().is_some_and(|kind| kind.contains("json"));
    if json || start.starts_with(['[', '{']) { from_json(start) } else { from_html(page, &text) }
}

/// An entry of nginx's (`autoindex_format json`) or Caddy's JSON listing.
#[derive(Deserialize)]
struct Listed {
    name: String,
    r#type: Option<String>,
    is_dir: Option<bool>,
    size: Option<u64>,
    mtime: Option<String>,
    mod_time: Option<String>,
}

fn from_json(text: &str) -> Result<Vec<Entry>, String> {
    let listed: Vec<Listed> = serde_json::from_str(text)
        .map_err(|_| "the server sends JSON that is no list of files; write `manifest: {url, at, column}` for a table".to_owned())?;
    let mut entries = BTreeMap::new();
    for one in listed {
        let folder = one.is_dir.unwrap_or_else(|| one.r#type.as_deref() == Some("directory"));
        let name = one.name.trim_end_matches('/').to_owned();
        if !is_name(&name) {
            continue;
        }
        let modified = one.mod_time.or_else(|| one.mtime.as_deref().and_then(http_date));
        entries.insert(name.clone(), Entry { name, folder, size: one.size.filter(|_| !folder), modified });
    }
    Ok(entries.into_values().collect())
}

fn http_date(text: &str) -> Option<String> {
    jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp().to_string())
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

fn from_html(page: &Document, text: &str) -> Result<Vec<Entry>, String> {
    let base = Url::parse(&page.url).map_err(|_| "the page has no address".to_owned())?;
    let links = links(text);
    if links.iter().any(|link| link.href.contains("catalog.html?dataset=")) {
        return Err("this is a page of a THREDDS server; write `thredds:` with its catalog.xml instead of `glob:`".to_owned());
    }
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    let mut parent = false;
    for link in links {
        match child(&base, &link.href) {
            Target::Child { name, folder } => {
                let (modified, size) = told(&link.around);
                let entry = Entry { name: name.clone(), folder, size: size.filter(|_| !folder), modified };
                // Icons and names may link to the same: whichever tells more counts.
                let known = entries.entry(name).or_insert_with(|| entry.clone());
                *known = Entry { size: known.size.or(entry.size), modified: known.modified.take().or(entry.modified), ..known.clone() };
            }
            Target::Parent => parent = true,
            Target::Elsewhere => {}
        }
    }
    let lower = text.get(..text.len().min(4096)).unwrap_or(text).to_ascii_lowercase();
    let named = ["index of", "directory listing", "directory:"].iter().any(|title| lower.contains(title));
    if entries.is_empty() && !parent && !named {
        return Err("the server sends a page that is no index: it links to nothing below its own address".to_owned());
    }
    Ok(entries.into_values().collect())
}

enum Target {
    Child { name: String, folder: bool },
    Parent,
    Elsewhere,
}

/// Where a link leads, seen from its page.
fn child(base: &Url, href: &str) -> Target {
    let Ok(url) = base.join(href) else { return Target::Elsewhere };
    if url.host_str() != base.host_str() || !url.scheme().starts_with("http") {
        return Target::Elsewhere;
    }
    let folder_path = base.path().rsplit_once('/').map_or("/", |(folder, _)| folder).trim_end_matches('/');
    let Some(rest) = url.path().strip_prefix(folder_path).and_then(|rest| rest.strip_prefix('/')) else {
        let above = folder_path.rsplit_once('/').map(|(above, _)| above);
        return if above == Some(url.path().trim_end_matches('/')) { Target::Parent } else { Target::Elsewhere };
    };
    let (name, folder) = rest.strip_suffix('/').map_or((rest, false), |name| (name, true));
    if url.query().is_some() || name.contains('/') {
        return Target::Elsewhere;
    }
    match percent_decoded(name) {
        Some(name) if is_name(&name) => Target::Child { name, folder },
        _ => Target::Elsewhere,
    }
}

/// A part of a path with its `%20` and the like read; `None` if that is no text.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after
            .get(..2)
            .filter(|_| first == b'%')
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8(bytes).ok()
}

/// A link, and the text of its line.
struct Link {
    href: String,
    around: String,
}

/// Every `<a href>` of a page, with the text between it and the next (before it, where that holds a date: IIS).
fn links(text: &str) -> Vec<Link> {
    let mut links: Vec<Link> = Vec::new();
    let (mut rest, mut before) = (text, String::new());
    while let Some(at) = rest.find('<') {
        let (plain, tag) = rest.split_at(at);
        before.push_str(plain);
        if let Some(comment) = tag.strip_prefix("<!--") {
            rest = comment.find("-->").and_then(|end| comment.get(end + 3..)).unwrap_or_default();
            continue;
        }
        let end = tag.find('>').unwrap_or(tag.len().saturating_sub(1));
        let inside = tag.get(1..end).unwrap_or_default();
        rest = tag.get(end + 1..).unwrap_or_default();
        let name = inside.split([' ', '\t', '\r', '\n', '/']).next().unwrap_or_default();
        if name.eq_ignore_ascii_case("a") {
            if let Some(last) = links.last_mut() {
                last.around.push_str(&before);
            }
            let line = before.rsplit('\n').next().unwrap_or_default().to_owned();
            before.clear();
            links.extend(attribute(inside, "href").map(|href| Link { href, around: format!("{line}\n") }));
        } else if ["br", "tr", "li", "p"].iter().any(|other| name.eq_ignore_ascii_case(other)) {
            before.push('\n');
        } else {
            before.push(' ');
        }
    }
    if let Some(last) = links.last_mut() {
        last.around.extend([&before, rest]);
    }
    links
}

/// The value of an attribute of a tag, with its entities read.
fn attribute(tag: &str, wanted: &str) -> Option<String> {
    let lower = tag.to_ascii_lowercase();
    let mut from = 0;
    loop {
        let at = from + lower.get(from..)?.find(wanted)?;
        from = at + wanted.len();
        let starts = lower.get(..at)?.ends_with(|letter: char| letter.is_whitespace() || letter == '"' || letter == '\'');
        let Some(value) = tag.get(from..)?.trim_start().strip_prefix('=').map(str::trim_start).filter(|_| starts) else { continue };
        let value = match value.chars().next()? {
            quote @ ('"' | '\'') => value.get(1..)?.split(quote).next()?,
            _ => value.split_whitespace().next()?,
        };
        return Some(without_entities(value));
    }
}

fn without_entities(text: &str) -> String {
    let mut out = text.to_owned();
    for (entity, letter) in
        [("&quot;", "\""), ("&#39;", "'"), ("&#x27;", "'"), ("&#x2F;", "/"), ("&lt;", "<"), ("&gt;", ">"), ("&#43;", "+"), ("&amp;", "&")]
    {
        out = out.replace(entity, letter);
    }
    out
}

/// The time of modification and the exact size that a line tells.
fn told(line: &str) -> (Option<String>, Option<u64>) {
    let (mut modified, mut size) = (None, None);
    let words: Vec<&str> = line.split_whitespace().collect();
    for (number, word) in words.iter().enumerate() {
        let next = words.get(number + 1).copied().unwrap_or_default();
        let after = words.get(number + 2).copied().unwrap_or_default();
        if let Some(date) = date(word).filter(|_| modified.is_none()) {
            let time = clock(next, after).unwrap_or_default();
            modified = Some(date.to_datetime(time)).map(|moment: DateTime| format!("{moment}Z"));
        } else if size.is_none() && modified.is_some() && word.bytes().all(|byte| byte.is_ascii_digit()) {
            size = word.parse().ok();
        }
    }
    (modified, size)
}

/// `2024-01-31` (Apache), `31-Jan-2024` (nginx) or `1/31/2024` (IIS).
fn date(word: &str) -> Option<Date> {
    let number = |text: &str| text.parse::<i16>().ok();
    let small = |text: &str| text.parse::<i8>().ok();
    if let [month, day, year] = word.split('/').collect::<Vec<_>>()[..] {
        return Date::new(number(year)?, small(month)?, small(day)?).ok();
    }
    let [first, second, third] = word.split('-').collect::<Vec<_>>()[..] else { return None };
    if let Some(month) = month(second) {
        return Date::new(number(third)?, month, small(first)?).ok();
    }
    if first.len() == 4 { Date::new(number(first)?, small(second)?, small(third)?).ok() } else { None }
}

fn month(name: &str) -> Option<i8> {
    const NAMES: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    NAMES.iter().zip(1..).find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, number)| number)
}

/// `17:05`, `17:05:09`, or `5:05` and `PM`.
fn clock(word: &str, half: &str) -> Option<Time> {
    let parts: Vec<i8> = word.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let (hour, minute) = (*parts.first()?, *parts.get(1)?);
    let hour = match half.to_ascii_uppercase().as_str() {
        "PM" => hour % 12 + 12,
        "AM" => hour % 12,
        _ => hour,
    };
    Time::new(hour, minute, parts.get(2).copied().unwrap_or(0), 0).ok()
}

#[cfg(test)]
mod tests;
