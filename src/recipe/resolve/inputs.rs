//! `inputs`: the pattern or the list of files.

use std::collections::BTreeMap;
use std::path::Path;

use super::Resolver;
use crate::pattern::expand::{ExpandError, Expansion, Key, Matrix, listed};
use crate::pattern::moment::{Moment, SeriesError, dates, range};
use crate::pattern::template::{KeyKind, Template, TemplateProblem};
use crate::pattern::{KeyValue, MAX_INPUTS, MovingEnd};
use crate::recipe::diagnostic::{Code, Span};
use crate::recipe::document::{ChangedWritten, Combine, Dates, Inputs, KeyWritten, LateWritten, Missing, Range, Scan, Word};
use crate::recipe::find::Find;
use crate::recipe::shape::similar;
use crate::recipe::tree::Place;
use crate::recipe::{ChangedFile, LateFile, MissingFile, Used};

/// Most keys of a pattern.
pub(super) const MOST_KEYS: usize = 64;
/// Longest name of a key, in bytes.
const LONGEST_NAME: usize = 64;
/// Problems of one kind that are told at most.
const MOST_TOLD: usize = 100;
/// Values of keys that all exceptions together may match.
const MOST_MATCHED: usize = 4 * MAX_INPUTS;
/// Schemes that can be read.
const SCHEMES: [&str; 11] = ["https", "http", "file", "ftp", "ftps", "sftp", "s3", "gs", "az", "abfs", "abfss"];

/// Schemes of datasets on OPeNDAP servers: protocol, and transport where it is not https.
const DATASETS: [&str; 6] = ["dap2", "dap4", "dap2+https", "dap4+https", "dap2+http", "dap4+http"];

const STEP_HELP: &str = "write a whole number and second, minute, hour, day, week, month or year, such as `1 day` or `6 hours`";

impl Resolver<'_> {
    pub(super) fn input_options(&mut self, inputs: &Inputs) -> (MissingFile, ChangedFile) {
        let place = self.root.get("inputs");
        if inputs.scan == Some(Scan::Sampled) {
            self.later(place.get("scan").span(), "`scan: sampled`", "remove it: every file's header is then read");
        }
        let missing = match inputs.missing {
            None | Some(Missing::Fail) => MissingFile::Fail,
            Some(Missing::Skip) => MissingFile::Skip,
            Some(Missing::Fill) => MissingFile::Fill,
        };
        let changed = match inputs.changed {
            None | Some(ChangedWritten::Fail) => ChangedFile::Fail,
            Some(ChangedWritten::Keep) => ChangedFile::Keep,
            Some(ChangedWritten::Rebake) => ChangedFile::Rebake,
        };
        (missing, changed)
    }

    /// What a file means that is missing at the end of the series: there must be one.
    pub(super) fn late(&mut self, inputs: &Inputs, combine: &Combine) -> LateFile {
        let late = match inputs.late {
            None => return LateFile::AsMissing,
            Some(LateWritten::Fail) => LateFile::Fail,
            Some(LateWritten::Skip) => LateFile::Skip,
        };
        if combine.concat.as_ref().is_none_or(Vec::is_empty) && !self.broken.contains("combine") {
            let help = "`late` is about files at the end of what `combine.concat` joins; remove it";
            self.error(Code::PolicyWithoutUse, self.root.get("inputs").get("late").key(), "no series of files has an end here", help);
        }
        late
    }

    pub(super) fn later(&mut self, span: Span, what: &str, help: &str) {
        self.error(Code::NotYetSupported, span, format!("{what} comes in a later version of gristmill"), help);
    }

    /// The axes and inputs that are written, or none and the rule by which they are found.
    pub(super) fn inputs(&mut self, inputs: &Inputs, combine: &Combine) -> (Option<Expansion>, Option<Find>) {
        let place = self.root.get("inputs");
        let named = [("url", inputs.url.is_some()), ("files", inputs.files.is_some()), ("find", inputs.find.is_some())];
        let named: Vec<&str> = named.into_iter().filter(|(_, named)| *named).map(|(name, _)| name).collect();
        if let [first, second, ..] = named[..] {
            let message = format!("`inputs` has both `{first}` and `{second}`");
            self.error(Code::UrlOrFiles, place.get(second).key(), message, "keep one of them");
            return (None, None);
        }
        if inputs.url.is_none() {
            let other = named.first().copied().unwrap_or("files");
            for key in ["keys", "except"].map(|name| place.get(name)).into_iter().filter(|key| key.is_written() && !named.is_empty()) {
                let help = "they belong to the pattern of a `url`";
                self.error(Code::UrlOrFiles, key.key(), format!("`{other}` takes no `keys` or `except`"), help);
            }
        }
        if let Some(find) = &inputs.find {
            let find = self.find(find, combine);
            return (find.as_ref().map(|_| Expansion { axes: Vec::new(), inputs: Vec::new() }), find);
        }
        let expansion = match (&inputs.url, &inputs.files) {
            (Some(url), _) => self.pattern(place, url, inputs, combine),
            (None, Some(files)) => self.files(place.get("files"), files, combine),
            (None, None) => {
                if !self.broken.contains("inputs") && place.is_written() {
                    let help = "add `url:` with a pattern, `files:` with a list, or `find:` with a rule";
                    self.error(Code::UrlOrFiles, place.key(), "`inputs` has neither `url` nor `files` nor `find`", help);
                }
                None
            }
        };
        (expansion, None)
    }

    fn files(&mut self, place: Place<'_>, files: &[String], combine: &Combine) -> Option<Expansion> {
        for (number, file) in files.iter().enumerate() {
            self.url(place.item(number).span(), file);
        }
        let urls = files.iter().map(|file| absolute(self.base, file.clone())).collect();
        self.without_keys(place, urls, combine)
    }

    pub(super) fn without_keys(&mut self, place: Place<'_>, urls: Vec<String>, combine: &Combine) -> Option<Expansion> {
        let entries: Vec<(&str, Vec<&str>)> = combine.concat.iter().flatten().map(super::super::document::ConcatEntry::parts).collect();
        let written = self.root.get("combine");
        if combine.merge.as_ref().is_some_and(|merge| !merge.is_empty()) {
            let help = "`merge` needs a `url` with a key";
            self.error(Code::NotAKey, written.get("merge").span(), "there is no key that could be merged", help);
        }
        if urls.len() > 1 && entries.is_empty() && !self.broken.contains("combine") {
            let help = "add `combine: {concat: [time]}` with the dimension along which they follow one another";
            let message = format!("{} files are listed, but nothing says how they become one", urls.len());
            self.error(Code::FilesWithoutConcat, place.key(), message, help);
        }
        if entries.len() > 1 {
            let help = "keep one dimension, or write a `url` with a key for each";
            self.error(Code::FilesWithoutConcat, written.get("concat").span(), "a list of files has one concat dimension", help);
        }
        for (number, (_, keys)) in entries.iter().enumerate().filter(|(_, (dimension, keys))| keys.as_slice() != [*dimension]) {
            let message = format!("there are no keys {}", keys.join(", "));
            let help = "for a list of files write the dimension alone: `concat: [time]`";
            self.error(Code::NotAKey, written.get("concat").item(number).span(), message, help);
        }
        let concat = entries.first().map(|(dimension, _)| (*dimension).to_owned());
        self.expanded(place, listed(urls, concat))
    }

    fn pattern(&mut self, place: Place<'_>, url: &str, inputs: &Inputs, combine: &Combine) -> Option<Expansion> {
        let span = place.get("url").span();
        self.url(span, url);
        if let Some((name, _)) = inputs.keys.iter().flatten().nth(MOST_KEYS) {
            let span = place.get("keys").get(name).key();
            self.error(Code::BadKey, span, format!("the pattern has more than {MOST_KEYS} keys"), "split the recipe");
            return None;
        }
        let mut kinds = BTreeMap::new();
        let mut keys: BTreeMap<String, Key> = BTreeMap::new();
        for (name, written) in inputs.keys.iter().flatten() {
            let (kind, values) = self.key(name, written);
            kinds.insert(name.as_str(), kind);
            keys.extend(values.map(|values| (name.clone(), Key { name: name.clone(), values })));
            // Together they can have few more values than there may be inputs: no need to list more.
            let known: usize = keys.values().map(|key| key.values.len()).sum();
            if known > MAX_INPUTS + MOST_KEYS || self.problems.last().is_some_and(|problem| problem.code == Code::TooManyInputs) {
                self.too_many_values(place.get("keys").get(name), known);
                return None;
            }
        }
        let template = self.template(place, url, &kinds);
        let except = self.exceptions(place.get("except"), inputs.except.as_deref().unwrap_or_default(), &keys, &kinds);
        let whole = keys.len() == kinds.len() && !self.broken.contains("inputs") && !self.broken.contains("combine");
        let template = template.filter(|_| whole)?;
        if keys.is_empty() {
            let url = absolute(self.base, template.fill(|_| None));
            return self.without_keys(place.get("url"), vec![url], combine);
        }
        let before = self.problems.len();
        let axes = self.axes(combine, keys);
        if self.problems.len() > before || self.has_errors() {
            return None;
        }
        let base = self.base;
        self.expanded(place.get("url"), Matrix { template, axes, except }.expand(|url| absolute(base, url)))
    }

    fn too_many_values(&mut self, place: Place<'_>, known: usize) {
        if known > MAX_INPUTS {
            let message = format!("the keys up to here have {known} values");
            self.error(
                Code::TooManyInputs,
                place.key(),
                message,
                format!("at most {MAX_INPUTS} inputs are possible; check the steps of the keys"),
            );
        }
    }

    fn expanded(&mut self, place: Place<'_>, outcome: Result<Expansion, ExpandError>) -> Option<Expansion> {
        let error = match outcome {
            Ok(expansion) => return Some(expansion),
            Err(error) => error,
        };
        let (code, help) = match &error {
            ExpandError::TooMany { .. } => (Code::TooManyInputs, format!("at most {MAX_INPUTS} are possible; check the steps of the keys")),
            ExpandError::LongUrl { .. } => (Code::BadUrl, "shorten the pattern, or the values of its keys".to_owned()),
            ExpandError::TooLarge { .. } => {
                (Code::TooManyInputs, "shorten the pattern or the values of its keys, or split the recipe".to_owned())
            }
            ExpandError::TooManyExceptions { .. } => (Code::BadException, "except fewer and larger parts, or split the recipe".to_owned()),
            ExpandError::Empty => (Code::EmptyPattern, "list a file, or except less".to_owned()),
            ExpandError::Duplicate { .. } => {
                (Code::DuplicateInput, "use every key, with a format as fine as its step; list each file once".to_owned())
            }
        };
        self.error(code, place.span(), error.to_string(), help);
        None
    }

    /// A URL or path as written, template or not.
    pub(super) fn url(&mut self, span: Span, url: &str) {
        if url.trim().is_empty() {
            self.error(Code::EmptyValue, span, "the URL is empty", "write a URL, or a path relative to the recipe");
            return;
        }
        let Some((scheme, rest)) = url.split_once("://") else { return };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        self.url_without_secrets(span, url, authority);
        let lower = scheme.to_ascii_lowercase();
        let of_dataset = DATASETS.contains(&lower.as_str());
        if !of_dataset && !SCHEMES.contains(&lower.as_str()) {
            let label = similar(&lower, SCHEMES).map_or(String::new(), |meant| format!("did you mean `{meant}`?"));
            let help = "inputs are URLs (https, http, ftp, ftps, sftp, s3, gs, az, abfs, file), or paths relative to the recipe";
            self.labelled(Code::BadUrl, span, format!("`{scheme}://` is not a known kind of URL"), label, help);
        } else if authority.is_empty() && lower != "file" {
            self.error(Code::BadUrl, span, "the URL has no host", "write it whole: https://host/path");
        }
    }

    fn template(&mut self, place: Place<'_>, url: &str, kinds: &BTreeMap<&str, KeyKind>) -> Option<Template> {
        let template = match Template::parse(url) {
            Ok(template) => template,
            Err(problem) => {
                self.template_problem(place, &problem, kinds);
                return None;
            }
        };
        let mut misspelt = false;
        for problem in template.problems(|name| kinds.get(name).copied()).into_iter().take(MOST_TOLD) {
            if let TemplateProblem::Undefined { name, .. } = &problem {
                misspelt = true;
                // A definition that could not be read is reported already.
                let keys = place.get("keys");
                if self.broken.contains("inputs") && (keys.get(name).is_written() || !keys.is_written()) {
                    continue;
                }
            }
            self.template_problem(place, &problem, kinds);
        }
        for name in kinds.keys().filter(|name| !misspelt && template.uses().all(|used| used != **name)) {
            let message = format!("the key `{name}` is not used by the URL");
            self.error(
                Code::UnusedKey,
                place.get("keys").get(name).key(),
                message,
                format!("put `{{{name}}}` into `url`, or remove the key"),
            );
        }
        Some(template)
    }

    fn template_problem(&mut self, place: Place<'_>, problem: &TemplateProblem, kinds: &BTreeMap<&str, KeyKind>) {
        let message = problem.to_string();
        let part = |range| place.get("url").part(&self.text.text, range);
        match problem {
            TemplateProblem::Syntax { range, .. } => {
                self.error(Code::TemplateSyntax, part(range), message, "a key stands in braces: {name} or {name:format}");
            }
            TemplateProblem::Format { range, .. } => {
                let help = "dates: strftime fields such as %Y%m%d; whole numbers: 03d; texts: nothing";
                self.error(Code::TemplateFormat, part(range), message, help);
            }
            TemplateProblem::Undefined { range, name } => {
                let label = similar(name, kinds.keys().copied()).map_or(String::new(), |meant| format!("did you mean `{meant}`?"));
                let known = kinds.keys().copied().collect::<Vec<_>>().join(", ");
                let help = if known.is_empty() { "define it in `inputs.keys`".to_owned() } else { format!("keys: {known}") };
                self.labelled(Code::UndefinedKey, part(range), message, label, help);
            }
        }
    }

    fn key(&mut self, name: &str, written: &KeyWritten) -> (KeyKind, Option<Vec<KeyValue>>) {
        let place = self.root.get("inputs").get("keys").get(name);
        if !name.starts_with(|letter: char| letter.is_ascii_alphabetic())
            || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            let help = "a key's name begins with a letter and holds only letters, digits and `_`";
            self.error(Code::BadKey, place.key(), format!("`{name}` cannot be the name of a key"), help);
        }
        if name.len() > LONGEST_NAME {
            let help = "shorten it: it only joins the template and the keys";
            self.error(Code::BadKey, place.key(), format!("the name of a key has {} bytes; {LONGEST_NAME} are possible", name.len()), help);
        }
        match written {
            KeyWritten { dates: Some(dates), range: None, list: None } => (KeyKind::Dates, self.dates(place.get("dates"), dates)),
            KeyWritten { dates: None, range: Some(range), list: None } => (KeyKind::Integers, self.range(place.get("range"), range)),
            KeyWritten { dates: None, range: None, list: Some(list) } => self.list(place.get("list"), list),
            _ => {
                if !self.broken.contains("inputs") {
                    let help = "dates: {start, end, step}, range: {start, end, step} or list: [..]";
                    self.error(Code::BadKey, place.key(), format!("the key `{name}` needs exactly one of `dates`, `range`, `list`"), help);
                }
                (KeyKind::Unknown, None)
            }
        }
    }

    fn list(&mut self, place: Place<'_>, list: &[Word]) -> (KeyKind, Option<Vec<KeyValue>>) {
        if list.is_empty() {
            self.error(Code::EmptyPattern, place.span(), "the list of the key is empty", "list at least one value");
        }
        let integers: Option<Vec<KeyValue>> = list.iter().map(|word| canonical(&word.0).map(KeyValue::Integer)).collect();
        match integers {
            Some(integers) => (KeyKind::Integers, Some(integers)),
            None => (KeyKind::Texts, Some(list.iter().map(|word| KeyValue::Text(word.0.clone())).collect())),
        }
    }

    fn range(&mut self, place: Place<'_>, written: &Range) -> Option<Vec<KeyValue>> {
        let (start, end, step) = (written.start?, written.end?, written.step.unwrap_or(1));
        if step == 0 {
            self.error(Code::BadRange, place.get("step").span(), "a step of 0 never gets anywhere", "write 1, or remove `step`");
            return None;
        }
        self.series(place, range(start, end, step))
    }

    fn dates(&mut self, place: Place<'_>, written: &Dates) -> Option<Vec<KeyValue>> {
        let start = written.start.as_ref().and_then(|text| self.moment(place.get("start").span(), &text.0));
        let end = written.end.as_ref().and_then(|text| self.end(place.get("end").span(), &text.0));
        let step = written.step.as_ref().and_then(|text| self.period(place.get("step").span(), text));
        self.series(place, dates(start?, end?, step?))
    }

    pub(super) fn period(&mut self, span: Span, text: &str) -> Option<crate::pattern::Period> {
        text.parse()
            .map_err(|error: crate::pattern::period::NotAPeriod| self.error(Code::BadPeriod, span, error.to_string(), STEP_HELP))
            .ok()
    }

    pub(super) fn moment(&mut self, span: Span, text: &str) -> Option<Moment> {
        let help = "write a date such as 1981-09-01 or 1981-09-01T06:00";
        text.parse().map_err(|error: crate::pattern::moment::NotADate| self.error(Code::BadDate, span, error.to_string(), help)).ok()
    }

    /// The end of a series: a date, or one that moves with the day.
    pub(super) fn end(&mut self, span: Span, text: &str) -> Option<Moment> {
        if !MovingEnd::is_meant(text) {
            return self.moment(span, text);
        }
        let help = "write `today`, `yesterday`, `today - 2 days`, `today - 1 month` or a date";
        let end = text.parse::<MovingEnd>().map_err(|error| self.error(Code::BadDate, span, error.to_string(), help)).ok()?;
        let Some(today) = self.today else {
            self.error(
                Code::BadDate,
                span,
                format!("`{text}` moves with the day, and nobody said which day it is"),
                "say `--today`, or write a date",
            );
            return None;
        };
        let Some(moment) = end.on(today) else {
            self.error(Code::BadDate, span, format!("on {today}, `{text}` is no day of the years 1 to 9999"), help);
            return None;
        };
        self.used.push(Used::new(format!("end: {text}"), "inputs", format!("{}, counted from {today}", moment.first.date())));
        Some(moment)
    }

    fn series(&mut self, place: Place<'_>, series: Result<Vec<KeyValue>, SeriesError>) -> Option<Vec<KeyValue>> {
        match series {
            Ok(values) => Some(values),
            Err(SeriesError::Empty) => {
                let help = "`end` is inclusive and must be reachable from `start`";
                self.error(Code::BadRange, place.get("end").span(), "from `start` to `end` there is no value", help);
                None
            }
            Err(error @ SeriesError::TooLong) => {
                self.error(Code::TooManyInputs, place.span(), error.to_string(), "write a longer step, or split the recipe");
                None
            }
        }
    }

    fn exceptions(
        &mut self,
        place: Place<'_>,
        written: &[BTreeMap<String, Word>],
        keys: &BTreeMap<String, Key>,
        kinds: &BTreeMap<&str, KeyKind>,
    ) -> Vec<BTreeMap<String, Vec<usize>>> {
        let mut exceptions = Vec::with_capacity(written.len());
        let (before, mut matched) = (self.problems.len(), 0);
        for (number, cell) in written.iter().enumerate() {
            if self.problems.len() > before + MOST_TOLD {
                break;
            }
            let mut exception = BTreeMap::new();
            if cell.is_empty() {
                self.error(Code::BadException, place.item(number).span(), "this entry names no key", "write {time: 1988-02-29}");
            }
            for (name, word) in cell {
                let spot = place.item(number).get(name);
                let Some(key) = keys.get(name) else {
                    if !kinds.contains_key(name.as_str()) {
                        let known = kinds.keys().copied().collect::<Vec<_>>().join(", ");
                        self.error(Code::BadException, spot.key(), format!("`{name}` is not a key"), format!("keys: {known}"));
                    }
                    continue;
                };
                let found = self.excepted(spot, key, &word.0);
                matched += found.len();
                if matched > MOST_MATCHED {
                    let message = format!("the exceptions up to here match {matched} values of the keys");
                    self.error(Code::BadException, spot.span(), message, "except fewer and larger parts, or split the recipe");
                    return exceptions;
                }
                exception.insert(name.clone(), found);
            }
            exceptions.push(exception);
        }
        exceptions
    }

    fn excepted(&mut self, place: Place<'_>, key: &Key, word: &str) -> Vec<usize> {
        let found: Vec<usize> = if matches!(key.values.first(), Some(KeyValue::Date(_))) {
            let Some(moment) = self.moment(place.span(), word) else { return Vec::new() };
            let before = |limit| key.values.partition_point(move |value| matches!(value, KeyValue::Date(date) if *date < limit));
            let past = key.values.partition_point(|value| matches!(value, KeyValue::Date(date) if *date <= moment.last));
            (before(moment.first)..past).collect()
        } else {
            let same =
                |value: &KeyValue| matches!(value, KeyValue::Integer(number) if word.parse() == Ok(*number)) || value.to_string() == word;
            key.values.iter().enumerate().filter(|(_, value)| same(value)).map(|(number, _)| number).collect()
        };
        if found.is_empty() {
            let range = key.values.first().zip(key.values.last()).map_or(String::new(), |(first, last)| format!("{first} to {last}"));
            let message = format!("the key `{}` never is `{word}`, so nothing is excepted", key.name);
            self.error(Code::BadException, place.span(), message, format!("its values go from {range}"));
        }
        found
    }
}

/// A whole number written the one usual way, so that the URL will show what the recipe shows.
fn canonical(text: &str) -> Option<i64> {
    text.parse::<i64>().ok().filter(|number| number.to_string() == text)
}

/// Absolute URLs stay; paths start from the recipe's folder, and leading `..` are taken off it.
pub(super) fn absolute(base: &Path, url: String) -> String {
    if url.contains("://") || Path::new(&url).is_absolute() {
        return url;
    }
    let (mut base, mut rest) = (base, url.as_str());
    loop {
        match (rest.strip_prefix("./"), rest.strip_prefix("../"), base.parent().filter(|_| base.is_absolute())) {
            (Some(inner), ..) => rest = inner,
            (None, Some(inner), Some(parent)) => (base, rest) = (parent, inner),
            _ => return base.join(rest).to_string_lossy().into_owned(),
        }
    }
}
