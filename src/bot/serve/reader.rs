//! Reads a table of settings key by key and notes every problem, rather than to stop at the first.
//!
//! Knows nothing of what the settings are for. Invariant: a key that nobody asked for is a problem; what a problem says never holds a
//! value.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use toml::{Table, Value};

use super::secret::Hidden;
use crate::recipe::similar;
use crate::size::ByteSize;

/// A table, where it stands, and the problems so far.
pub(super) struct Reader<'a> {
    table: Table,
    place: String,
    known: BTreeSet<&'static str>,
    environment: &'a dyn Fn(&str) -> Option<String>,
    problems: &'a mut Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(table: Table, environment: &'a dyn Fn(&str) -> Option<String>, problems: &'a mut Vec<String>) -> Self {
        Self { table, place: String::new(), known: BTreeSet::new(), environment, problems }
    }

    /// Notes a problem of a key.
    pub(super) fn tell(&mut self, key: &str, problem: &str) {
        self.problems.push(format!("`{}{key}`: {problem}", self.place));
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.insert(key);
        self.table.remove(key)
    }

    /// Notes every key that nobody asked for.
    pub(super) fn end(&mut self) {
        let left: Vec<String> = self.table.keys().cloned().collect();
        for key in left {
            let meant = similar(&key, self.known.iter().copied()).map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
            self.tell(&key, &format!("there is no such setting{meant}"));
        }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            _ => {
                self.tell(key, "must be a text");
                None
            }
        }
    }

    /// A text that must be there.
    pub(super) fn needed(&mut self, key: &'static str, what: &str) -> Option<String> {
        if !self.table.contains_key(key) {
            self.known.insert(key);
            self.tell(key, &format!("is missing: {what}"));
            return None;
        }
        self.text(key)
    }

    pub(super) fn parsed<T: FromStr>(&mut self, key: &'static str, usual: &str, what: &str) -> Option<T> {
        let text = if self.table.contains_key(key) {
            self.text(key)?
        } else {
            self.known.insert(key);
            usual.to_owned()
        };
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.tell(key, &format!("must be {what}"));
        }
        parsed
    }

    pub(super) fn flag(&mut self, key: &'static str, usual: bool) -> bool {
        match self.take(key) {
            None => usual,
            Some(Value::Boolean(flag)) => flag,
            Some(_) => {
                self.tell(key, "must be true or false");
                usual
            }
        }
    }

    pub(super) fn count(&mut self, key: &'static str, usual: u64, range: RangeInclusive<u64>) -> u64 {
        let Some(value) = self.take(key) else { return usual };
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok()).filter(|number| range.contains(number));
        if number.is_none() {
            self.tell(key, &format!("must be a whole number of at least {}, and at most {}", range.start(), range.end()));
        }
        number.unwrap_or(usual)
    }

    pub(super) fn minutes(&mut self, key: &'static str, usual: u64) -> Duration {
        Duration::from_secs(60 * self.count(key, usual, 1..=60 * 24 * 30))
    }

    /// Bytes, as in "2 GiB".
    pub(super) fn size(&mut self, key: &'static str, usual: u64, most: u64) -> u64 {
        let Some(value) = self.take(key) else { return usual };
        let size = value.as_str().and_then(|text| text.parse::<ByteSize>().ok()).map(|size| size.0);
        match size {
            Some(size) if (1..=most).contains(&size) => size,
            Some(_) => {
                self.tell(key, &format!("must be at least 1 byte and at most {}", ByteSize(most)));
                usual
            }
            None => {
                self.tell(key, "must be a size, such as \"2 GiB\"");
                usual
            }
        }
    }

    /// `{env = "NAME"}` or `{file = "PATH"}`.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<Hidden> {
        let value = self.take(key)?;
        self.secret_at(key, &value)
    }

    /// A secret that must be there.
    pub(super) fn needed_secret(&mut self, key: &'static str, what: &str) -> Option<Hidden> {
        if !self.table.contains_key(key) {
            self.tell(key, &format!("is missing: {what}"));
        }
        self.secret(key)
    }

    pub(super) fn secrets(&mut self, key: &'static str) -> Vec<Hidden> {
        match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(values)) => values.iter().filter_map(|value| self.secret_at(key, value)).collect(),
            Some(value) => self.secret_at(key, &value).into_iter().collect(),
        }
    }

    /// A table of secrets, by names of variables.
    pub(super) fn hidden_texts(&mut self, key: &'static str) -> BTreeMap<String, Hidden> {
        let Some(value) = self.take(key) else { return BTreeMap::new() };
        let Value::Table(table) = value else {
            self.tell(key, "must be a table: NAME = {env = \"…\"} or {file = \"…\"}");
            return BTreeMap::new();
        };
        table.iter().filter_map(|(name, value)| Some((name.clone(), self.secret_at(&format!("{key}.{name}"), value)?))).collect()
    }

    fn secret_at(&mut self, key: &str, value: &Value) -> Option<Hidden> {
        let place = value.as_table().filter(|table| table.len() == 1);
        let text = |name: &str| place.and_then(|table| table.get(name)).and_then(Value::as_str);
        let (found, absent) = match (text("env"), text("file")) {
            (Some(name), _) => ((self.environment)(name), format!("the variable `{name}` is not set")),
            (_, Some(path)) => (std::fs::read_to_string(path).ok(), format!("the file `{path}` cannot be read")),
            (None, None) => (None, "secrets do not stand here: write {env = \"NAME\"} or {file = \"PATH\"}".to_owned()),
        };
        let found = found.map(|secret| secret.trim().to_owned()).filter(|secret| !secret.is_empty());
        if found.is_none() {
            self.tell(key, &absent);
        }
        found.map(Hidden::new)
    }

    /// Reads a table, which is empty if it is absent.
    pub(super) fn table<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        let table = match self.take(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.tell(key, "must be a table");
                Table::new()
            }
        };
        self.within(table, key, read)
    }

    /// Reads a table of tables.
    pub(super) fn tables<T>(&mut self, key: &'static str, read: impl Fn(&mut Reader<'_>) -> T) -> BTreeMap<String, T> {
        let mut all = BTreeMap::new();
        match self.take(key) {
            None => {}
            Some(Value::Table(tables)) => {
                for (name, value) in tables {
                    let Value::Table(table) = value else {
                        self.tell(key, &format!("`{name}` must be a table"));
                        continue;
                    };
                    all.insert(name.clone(), self.within(table, &format!("{key}.\"{name}\""), &read));
                }
            }
            Some(_) => self.tell(key, "must be a table"),
        }
        all
    }

    fn within<T>(&mut self, table: Table, key: &str, read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        let place = format!("{}{key}.", self.place);
        let mut inner = Reader { table, place, known: BTreeSet::new(), environment: self.environment, problems: &mut *self.problems };
        let read = read(&mut inner);
        inner.end();
        read
    }
}
