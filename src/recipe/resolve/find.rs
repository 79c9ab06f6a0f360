//! `inputs.find`: the rule by which inputs are found.

use std::collections::{BTreeMap, BTreeSet};

use regex::{Regex, RegexBuilder};

use super::Resolver;
use super::inputs::{MOST_KEYS, absolute};
use crate::pattern::Role;
use crate::pattern::archived::parted;
use crate::pattern::expand::Key;
use crate::pattern::glob::{Glob, is_wild};
use crate::pattern::reading::Reading;
use crate::recipe::diagnostic::{Code, Span};
use crate::recipe::document::Combine;
use crate::recipe::find::written::{FindWritten, ManifestTable, ManifestWritten};
use crate::recipe::find::{Find, FindPlace, FoundKey, Newest};
use crate::recipe::tree::Place;

/// Bytes that an expression may take when compiled.
const LARGEST: usize = 1 << 20;
/// Most globs that include or exclude.
const MOST_GLOBS: usize = 100;

impl Resolver<'_> {
    /// The rule; `None` if anything is wrong with it.
    pub(super) fn find(&mut self, written: &FindWritten, combine: &Combine) -> Option<Find> {
        let place = self.root.get("inputs").get("find");
        let before = self.problems.len();
        let found_at = self.find_place(place, written);
        let members = self.members(place, written);
        let names = written.names.as_ref().and_then(|text| self.names(place.get("match").span(), text));
        let include = self.globs(place.get("include"), written.include.as_deref().unwrap_or_default());
        let exclude = self.globs(place.get("exclude"), written.exclude.as_deref().unwrap_or_default());
        let newest = written.newest.as_ref().map(|name| (newest(name), place.get("newest").span()));
        let keys = self.found_keys(place, written, names.as_ref().map(|(names, _)| names), newest.as_ref().map(|(newest, _)| newest));
        let count = self.counts(place, written);
        let axes = self.found_axes(place, combine, &keys);
        let wrong = self.problems[before..].iter().any(super::super::diagnostic::Diagnostic::is_error) || self.broken.contains("inputs");
        let text = self.find_text(place, combine);
        let count_span = if written.at_least.is_some() { place.get("at_least").span() } else { place.get("at_most").span() };
        let (span, base) = (place.key(), self.base.to_owned());
        let place = found_at.filter(|_| !wrong)?;
        Some(Find { span, text, base, place, members, names, include, exclude, keys, newest, count, count_span, axes })
    }

    fn find_place(&mut self, place: Place<'_>, written: &FindWritten) -> Option<FindPlace> {
        let named = [
            ("glob", written.glob.is_some()),
            ("manifest", written.manifest.is_some()),
            ("thredds", written.thredds.is_some()),
            ("cmr", written.cmr.is_some()),
            ("esgf", written.esgf.is_some()),
            ("stac", written.stac.is_some()),
        ];
        let named: Vec<&str> = named.into_iter().filter(|(_, named)| *named).map(|(name, _)| name).collect();
        match named.as_slice() {
            [_] => {}
            [] => {
                if !self.broken.contains("inputs") {
                    let help =
                        "add `glob:` with a path or URL, `manifest:` with a table of URLs, or `thredds:`, `cmr:`, `esgf:` or `stac:`";
                    self.error(Code::BadFind, place.key(), "`find` does not say where to look", help);
                }
                return None;
            }
            [_, second, ..] => {
                let message = format!("`find` looks at several places: {}", named.join(", "));
                self.error(Code::BadFind, place.get(second).key(), message, "keep one of them; a further place is a recipe of its own");
                return None;
            }
        }
        if let Some(glob) = &written.glob {
            return self.glob_place(place.get("glob").span(), glob);
        }
        if let Some(manifest) = &written.manifest {
            return self.manifest_place(place.get("manifest"), manifest);
        }
        self.catalogue(place, written)
    }

    /// Which members of archives are meant: of `members`, or behind the `!` of a glob.
    fn members(&mut self, place: Place<'_>, written: &FindWritten) -> Option<Glob> {
        let behind = written.glob.as_deref().and_then(parted).map(|(_, member)| member);
        let (span, text) = match (&written.members, behind) {
            (Some(_), Some(_)) => {
                let help = "keep `members`, or what follows the `!`";
                self.error(Code::BadFind, place.get("members").key(), "the members are named twice, here and in `glob`", help);
                return None;
            }
            (Some(text), None) => (place.get("members").span(), text.as_str()),
            (None, Some(text)) => (place.get("glob").span(), text),
            (None, None) => return None,
        };
        if parted(text).is_some() {
            let help = "name the members of the outer archives only, or write the files out with a `url` and keys";
            self.error(Code::BadFind, span, "archives inside archives are not looked into", help);
            return None;
        }
        self.glob(span, text)
    }

    fn glob_place(&mut self, span: Span, text: &str) -> Option<FindPlace> {
        self.url(span, text);
        let (text, member) = parted(text).map_or((text, None), |(archive, member)| (archive, Some(member)));
        let web =
            ["http://", "https://"].iter().any(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
        if web && text.contains(['?', '#']) {
            let help = "write `*` or `[0-9]` for what varies; a page with a query is no folder";
            self.error(Code::BadFind, span, "in a web address `?` and `#` end the path", help);
            return None;
        }
        let start = text.find("://").map_or(0, |scheme| scheme + 3);
        let wild = text.get(start..)?.split_inclusive('/').scan(start, |at, part| Some((std::mem::replace(at, *at + part.len()), part)));
        let Some((at, _)) = wild.into_iter().find(|(_, part)| is_wild(part)) else {
            if member.is_some_and(is_wild) {
                return Some(FindPlace::Archive { url: absolute(self.base, text.to_owned()) });
            }
            let help = "write `*.nc` for what varies, or `url: …` for one file";
            self.error(Code::BadFind, span, "the glob has no wildcard, so there is nothing to find", help);
            return None;
        };
        if start > 0 && at == start {
            self.error(Code::BadFind, span, "the host or bucket cannot be a wildcard", "write it out: https://host/path/*.nc");
            return None;
        }
        let (folder, rest) = text.split_at(at);
        let glob = self.glob(span, rest)?;
        Some(FindPlace::Glob { folder: absolute(self.base, folder.to_owned()), glob })
    }

    fn manifest_place(&mut self, place: Place<'_>, written: &ManifestWritten) -> Option<FindPlace> {
        let (span, url, column, at) = match written {
            ManifestWritten::At(url) => (place.span(), url, None, None),
            ManifestWritten::Full(ManifestTable { url, column, at }) => {
                (place.get("url").span(), url.as_ref()?, column.clone(), at.clone())
            }
        };
        self.url(span, url);
        if let Some(pointer) = at.as_ref().filter(|pointer| !pointer.is_empty() && !pointer.starts_with('/')) {
            let message = format!("`{pointer}` is no JSON pointer");
            self.error(Code::BadFind, place.get("at").span(), message, "begin each step with a `/`: /data/files");
        }
        Some(FindPlace::Manifest { url: absolute(self.base, url.clone()), column, at })
    }

    pub(super) fn names(&mut self, span: Span, text: &str) -> Option<(Regex, Span)> {
        match RegexBuilder::new(text).size_limit(LARGEST).build() {
            Ok(names) => Some((names, span)),
            Err(error) => {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
                let help = "named groups are written (?<name>…); there are no look-arounds and back-references";
                self.error(Code::BadNamePattern, span, format!("this is no regular expression: {reason}"), help);
                None
            }
        }
    }

    fn glob(&mut self, span: Span, text: &str) -> Option<Glob> {
        let help = "`*` and `?` stand for letters of a name, `[0-9]` for one of several, `{a,b}` for words, `**` for folders";
        text.parse().map_err(|error: crate::pattern::glob::NotAGlob| self.error(Code::BadNamePattern, span, error.to_string(), help)).ok()
    }

    fn globs(&mut self, place: Place<'_>, written: &[String]) -> Vec<Glob> {
        if written.len() > MOST_GLOBS {
            let message = format!("there are {} globs; {MOST_GLOBS} are possible", written.len());
            self.error(Code::BadFind, place.span(), message, "write fewer: `{a,b}` stands for several words");
            return Vec::new();
        }
        written.iter().enumerate().filter_map(|(number, text)| self.glob(place.item(number).span(), text)).collect()
    }

    /// Every named group but the one that tells versions, and every further key that is declared.
    fn found_keys(&mut self, place: Place<'_>, written: &FindWritten, names: Option<&Regex>, newest: Option<&Newest>) -> Vec<FoundKey> {
        let groups: BTreeSet<&str> = names.into_iter().flat_map(|names| names.capture_names().flatten()).collect();
        let version = match newest {
            Some(Newest::Field(name)) => Some(name.as_str()),
            _ => None,
        };
        let declared = written.keys.iter().flatten().map(|(name, _)| name.as_str());
        let all: BTreeSet<&str> = groups.iter().copied().chain(declared).filter(|name| Some(*name) != version).collect();
        if all.len() > MOST_KEYS {
            self.error(Code::BadKey, place.span(), format!("there are more than {MOST_KEYS} keys"), "split the recipe");
            return Vec::new();
        }
        let mut keys = Vec::with_capacity(all.len());
        for name in all {
            let text = written.keys.iter().flatten().find(|(known, _)| known.as_str() == name).map(|(_, text)| text);
            let span = if text.is_some() { place.get("keys").get(name).span() } else { place.get("match").span() };
            let reading = text.map_or(Ok(Reading::Automatic), |text| text.parse());
            let reading = reading.unwrap_or_else(|error: crate::pattern::reading::NotAReading| {
                self.error(Code::BadKey, span, error.to_string(), "write a date format such as \"%Y%m%d\", or `iso`, `integer` or `text`");
                Reading::Text
            });
            keys.push(FoundKey { name: name.to_owned(), reading, span });
        }
        keys
    }

    fn counts(&mut self, place: Place<'_>, written: &FindWritten) -> (Option<u64>, Option<u64>) {
        let mut count = |name: &str, number: Option<i64>| {
            let number = number?;
            let count = u64::try_from(number).ok().filter(|count| *count > 0);
            if count.is_none() {
                self.error(
                    Code::BadFind,
                    place.get(name).span(),
                    format!("`{name}` is {number}, which is no number of files"),
                    "write 1 or more",
                );
            }
            count
        };
        let (least, most) = (count("at_least", written.at_least), count("at_most", written.at_most));
        if let (Some(least), Some(most)) = (least, most)
            && least > most
        {
            self.error(Code::BadFind, place.get("at_most").span(), "`at_most` is less than `at_least`", "write a number that is not less");
        }
        (least, most)
    }

    fn found_axes(&mut self, place: Place<'_>, combine: &Combine, keys: &[FoundKey]) -> Vec<(Role, Vec<String>)> {
        if self.broken.contains("combine") {
            return Vec::new();
        }
        if keys.is_empty() {
            let listed = self.without_keys(place, vec!["one".to_owned()], combine);
            return listed.into_iter().flat_map(|listed| listed.axes).map(|axis| (axis.role, Vec::new())).collect();
        }
        let keys: BTreeMap<String, Key> =
            keys.iter().map(|key| (key.name.clone(), Key { name: key.name.clone(), values: Vec::new() })).collect();
        let axes = self.axes(combine, keys);
        axes.into_iter().map(|(role, keys)| (role, keys.into_iter().map(|key| key.name).collect())).collect()
    }

    /// The rule as written, with the roles of its keys.
    fn find_text(&self, place: Place<'_>, combine: &Combine) -> String {
        let span = place.span();
        let written = self.text.text.get(span.offset..span.offset.saturating_add(span.length)).unwrap_or_default();
        let roles: Vec<_> = combine.concat.iter().flatten().map(super::super::document::ConcatEntry::parts).collect();
        let lines: Vec<&str> = written.lines().map(|line| line.split(" #").next().unwrap_or_default()).collect();
        let words: Vec<&str> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
        format!("{} {roles:?} {:?}", words.join(" "), combine.merge.as_deref().unwrap_or_default())
    }
}

fn newest(name: &str) -> Newest {
    if name == "modified" { Newest::Modified } else { Newest::Field(name.to_owned()) }
}
