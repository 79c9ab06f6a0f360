//! Checks a tree against the JSON Schema of the document types, and gives the part of it that fits.
//!
//! Finds every unknown key, wrong type, missing key and unknown word in one walk, each with its place, where serde would stop
//! at the first. Knows nothing of recipes beyond the schema. Invariant: the value given out fits the schema but for required
//! keys, which may be absent.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::diagnostic::{Code, Diagnostic, Span};
use super::tree::{Content, Entry, Node};

/// Longest word that may be a misspelt one: comparing takes time and memory for each pair of letters.
const LONGEST_WORD: usize = 100;
/// After so many problems nobody reads on.
const MOST_PROBLEMS: usize = 1000;

/// What the walk found.
pub(super) struct Shaped {
    /// The part that fits.
    pub(super) value: Option<Value>,
    /// Every problem.
    pub(super) problems: Vec<Diagnostic>,
    /// Top-level keys that a problem is in, or that a misspelt key probably meant.
    pub(super) broken: BTreeSet<String>,
}

/// Checks `root` against `schema`.
pub(super) fn check(root: &Node, schema: &Value) -> Shaped {
    let mut walk = Walk { schema, problems: Vec::new(), broken: BTreeSet::new(), path: Vec::new() };
    let value = walk.value(root, schema, root.span);
    Shaped { value, problems: walk.problems, broken: walk.broken }
}

/// The most similar of some words, if one is similar enough to be meant.
pub(crate) fn similar<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST_WORD {
        return None;
    }
    let word = word.to_lowercase();
    let distance = |other: &str| strsim::damerau_levenshtein(&word, &other.to_lowercase());
    let best = words
        .into_iter()
        .filter(|other| other.len() <= LONGEST_WORD)
        .map(|other| (distance(other), other))
        .min_by_key(|(distance, _)| *distance);
    best.filter(|(distance, other)| *distance <= 1 + other.len().min(word.len()) / 4 && *distance < other.len()).map(|(_, other)| other)
}

struct Walk<'s> {
    schema: &'s Value,
    problems: Vec<Diagnostic>,
    broken: BTreeSet<String>,
    path: Vec<String>,
}

impl<'s> Walk<'s> {
    fn value(&mut self, node: &Node, schema: &'s Value, key: Span) -> Option<Value> {
        if node.content == Content::Refused {
            self.broken.extend(self.path.first().cloned());
            return None;
        }
        let alternatives = self.alternatives(schema);
        if alternatives.iter().any(|schema| allows_anything(schema)) {
            return Some(anything(node));
        }
        if is_null(node) && alternatives.iter().any(|schema| allows(schema, "null")) {
            return Some(Value::Null);
        }
        match &node.content {
            Content::Scalar { text, plain } => self.scalar(node, text, *plain, &alternatives),
            Content::List(items) => match alternatives.iter().find(|schema| allows(schema, "array")) {
                Some(schema) => self.list(items, &schema["items"]),
                None => self.wrong_type(node, "a list", &alternatives),
            },
            Content::Map(entries) => self.map(node, entries, &alternatives, key),
            Content::Refused => None,
        }
    }

    /// The schema itself, or what it refers to, or what it offers to choose from.
    fn alternatives(&self, schema: &'s Value) -> Vec<&'s Value> {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
            return self.alternatives(&self.schema["$defs"][name]);
        }
        let offered = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array());
        offered.map_or_else(|| vec![schema], |offered| offered.iter().flat_map(|schema| self.alternatives(schema)).collect())
    }

    fn scalar(&mut self, node: &Node, text: &str, plain: bool, alternatives: &[&Value]) -> Option<Value> {
        let words: Vec<&str> = alternatives.iter().flat_map(|schema| words(schema)).collect();
        if words.contains(&text) {
            return Some(text.into());
        }
        let free = |kind: &str| alternatives.iter().any(|schema| allows(schema, kind) && !has_words(schema));
        let null = is_null(node);
        if free("string") && !null {
            if plain && !free("number") && !matches!(plain_value(text), Value::String(_)) {
                self.looks_odd(node, text);
            }
            return Some(text.into());
        }
        if plain
            && free("integer")
            && let Some(number) = integer(text)
        {
            return Some(number.into());
        }
        if plain
            && free("number")
            && let Some(number) = decimal(text)
        {
            return Some(number.into());
        }
        if plain && free("boolean") && matches!(text, "true" | "false") {
            return Some((text == "true").into());
        }
        if words.is_empty() || null {
            let kind = if plain { kind_of(&plain_value(text)) } else { "a text" };
            return self.wrong_type(node, kind, alternatives);
        }
        self.unknown_word(node.span, text, &words)
    }

    fn looks_odd(&mut self, node: &Node, text: &str) {
        let kind = kind_of(&plain_value(text));
        let message = format!("{} is {kind} to YAML, and is taken as the text \"{text}\"", self.here());
        self.problems.push(Diagnostic::warning(Code::LooksOdd, message).at(node.span, "").help(format!("write \"{text}\" with quotes")));
    }

    fn unknown_word(&mut self, span: Span, text: &str, words: &[&str]) -> Option<Value> {
        let message = format!("`{text}` is not a value of {}", self.here());
        let label = similar(text, words.iter().copied()).map_or(String::new(), |word| format!("did you mean `{word}`?"));
        self.problem(Diagnostic::error(Code::UnknownValue, message).at(span, label).help(format!("one of: {}", words.join(", "))))
    }

    fn list(&mut self, items: &[Node], schema: &'s Value) -> Option<Value> {
        let mut values = Vec::with_capacity(items.len());
        for (number, item) in items.iter().enumerate() {
            if self.problems.len() >= MOST_PROBLEMS {
                return None;
            }
            self.path.push(format!("[{}]", number + 1));
            values.push(self.value(item, schema, item.span));
            self.path.pop();
        }
        // With one item left out the others would be blamed at the wrong places.
        values.into_iter().collect::<Option<Vec<Value>>>().map(Value::from)
    }

    fn map(&mut self, node: &Node, entries: &[Entry], alternatives: &[&'s Value], key: Span) -> Option<Value> {
        let objects: Vec<&'s Value> = alternatives.iter().copied().filter(|schema| allows(schema, "object")).collect();
        let Some(last) = objects.last() else { return self.wrong_type(node, "a mapping", alternatives) };
        let has = |name: &Value| entries.iter().any(|entry| Some(entry.name.as_str()) == name.as_str());
        let suits = |schema: &&&Value| required(schema).any(has);
        let tagged = objects.iter().all(|schema| required(schema).count() == 1 && properties(schema).count() == 1);
        let schema = match objects.iter().find(suits) {
            Some(schema) => schema,
            None if tagged && (objects.len() > 1 || alternatives.len() > 1) => {
                return self.unknown_variant(node, entries, alternatives, &objects);
            }
            None => last,
        };
        let value = self.object(entries, schema, key);
        let complete = !tagged || required(schema).all(|name| name.as_str().is_some_and(|name| value.contains_key(name)));
        complete.then_some(Value::Object(value))
    }

    fn object(&mut self, entries: &[Entry], schema: &'s Value, key: Span) -> Map<String, Value> {
        let mut map = Map::new();
        let mut meant = Vec::new();
        for entry in entries {
            if self.problems.len() >= MOST_PROBLEMS {
                break;
            }
            let rest = &schema["additionalProperties"];
            let inner = schema["properties"].get(&entry.name).or_else(|| (!matches!(rest, Value::Bool(false))).then_some(rest));
            let Some(inner) = inner else {
                meant.extend(self.unknown_key(entry, schema));
                continue;
            };
            self.path.push(entry.name.clone());
            if let Some(value) = self.value(&entry.value, inner, entry.key) {
                map.insert(entry.name.clone(), value);
            }
            self.path.pop();
        }
        let absent = required(schema).filter_map(Value::as_str).filter(|name| entries.iter().all(|entry| entry.name != *name));
        let absent: Vec<String> = absent.filter(|name| !meant.contains(name)).map(|name| format!("`{name}`")).collect();
        if !absent.is_empty() {
            let (s, is) = if absent.len() == 1 { ("", "is") } else { ("s", "are") };
            let message = format!("the key{s} {} {is} missing in {}", absent.join(", "), self.here());
            let help = format!("required here: {}", required(schema).filter_map(Value::as_str).collect::<Vec<_>>().join(", "));
            self.problem(Diagnostic::error(Code::MissingKey, message).at(key, "").help(help));
        }
        map
    }

    /// Reports it, and returns the key that was probably meant.
    fn unknown_key(&mut self, entry: &Entry, schema: &'s Value) -> Option<&'s str> {
        let allowed: Vec<&'s str> = properties(schema).collect();
        let meant = similar(&entry.name, allowed.iter().copied());
        if self.path.is_empty() {
            self.broken.extend(meant.map(str::to_owned));
        }
        let label = match (meant, self.home_of(&entry.name)) {
            (Some(meant), _) => format!("did you mean `{meant}`?"),
            (None, Some(home)) => format!("this key belongs in `{home}`"),
            (None, None) => String::new(),
        };
        let message = format!("unknown key `{}` in {}", entry.name, self.here());
        self.problem(
            Diagnostic::error(Code::UnknownKey, message).at(entry.key, label).help(format!("allowed here: {}", allowed.join(", "))),
        );
        meant
    }

    /// The top-level mapping that has a key of this name.
    fn home_of(&self, name: &str) -> Option<String> {
        if self.schema["properties"].get(name).is_some() {
            return Some("the recipe itself".to_owned()).filter(|_| !self.path.is_empty());
        }
        let holds = |schema: &'s Value| self.alternatives(schema).iter().any(|schema| schema["properties"].get(name).is_some());
        let mut homes = self.schema["properties"].as_object()?.iter();
        homes.find(|(_, schema)| holds(schema)).map(|(home, _)| home.clone())
    }

    fn unknown_variant(&mut self, node: &Node, entries: &[Entry], alternatives: &[&Value], objects: &[&Value]) -> Option<Value> {
        let names: Vec<&str> = objects.iter().flat_map(|schema| properties(schema)).collect();
        let Some(first) = entries.first() else { return self.wrong_type(node, "an empty mapping", alternatives) };
        let meant = similar(&first.name, names.iter().copied());
        let label = meant.map_or(String::new(), |meant| format!("did you mean `{meant}`?"));
        let is_step = self.path.first().is_some_and(|name| name == "steps");
        let (code, message) = if is_step {
            (Code::UnknownStep, format!("there is no step `{}`", first.name))
        } else {
            (Code::UnknownKey, format!("unknown key `{}` in {}", first.name, self.here()))
        };
        let help = format!("one of: {}", names.join(", "));
        self.problem(Diagnostic::error(code, message).at(first.key, label).help(help))
    }

    fn wrong_type(&mut self, node: &Node, found: &str, alternatives: &[&Value]) -> Option<Value> {
        let mut expected: Vec<String> = Vec::new();
        for schema in alternatives {
            for kind in expectations(schema) {
                if !expected.contains(&kind) {
                    expected.push(kind);
                }
            }
        }
        let message = format!("{} must be {}, but is {found}", self.here(), expected.join(" or "));
        let problem = Diagnostic::error(Code::WrongType, message).at(node.span, "");
        let wants = |kind| alternatives.iter().any(|schema| allows(schema, kind));
        let problem = match &node.content {
            Content::Scalar { text, plain: true } if wants("array") && !text.is_empty() => problem.help(format!("write `[{text}]`")),
            Content::Scalar { text, plain: false } if (wants("integer") || wants("number")) && decimal(text).is_some() => {
                problem.help(format!("write {text} without quotes"))
            }
            Content::Scalar { text, .. } if self.path.first().is_some_and(|name| name == "steps") && self.path.len() == 2 => {
                problem.help(format!("a step is a mapping with one key: `- {text}: [name]`"))
            }
            Content::Map(_) if wants("string") => problem.help("a text that begins with `{` needs quotes: \"{time:%Y}\""),
            _ => problem,
        };
        self.problem(problem)
    }

    fn problem(&mut self, problem: Diagnostic) -> Option<Value> {
        self.broken.extend(self.path.first().cloned());
        self.problems.push(problem);
        None
    }

    /// The path as people say it: `output.chunks.time`, `steps[2]`.
    fn here(&self) -> String {
        let mut here = String::new();
        for name in &self.path {
            if !here.is_empty() && !name.starts_with('[') {
                here.push('.');
            }
            here.push_str(name);
        }
        if here.is_empty() { "the recipe".to_owned() } else { format!("`{here}`") }
    }
}

fn allows_anything(schema: &Value) -> bool {
    schema.as_bool() == Some(true) || (schema.get("type").is_none() && !has_words(schema))
}

fn kinds(schema: &Value) -> impl Iterator<Item = &str> {
    let one = schema["type"].as_str();
    let many = schema["type"].as_array().map(Vec::as_slice).unwrap_or_default();
    one.into_iter().chain(many.iter().filter_map(Value::as_str))
}

fn allows(schema: &Value, kind: &str) -> bool {
    kinds(schema).any(|known| known == kind)
}

fn has_words(schema: &Value) -> bool {
    schema.get("enum").is_some() || schema.get("const").is_some()
}

fn words(schema: &Value) -> impl Iterator<Item = &str> {
    let many = schema["enum"].as_array().map(Vec::as_slice).unwrap_or_default();
    many.iter().chain(schema.get("const")).filter_map(Value::as_str)
}

fn required(schema: &Value) -> impl Iterator<Item = &Value> {
    schema["required"].as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn properties(schema: &Value) -> impl Iterator<Item = &str> {
    schema["properties"].as_object().into_iter().flat_map(|map| map.keys().map(String::as_str))
}

/// What a schema expects, in words.
fn expectations(schema: &Value) -> Vec<String> {
    let mut expected: Vec<String> = words(schema).map(|word| format!("`{word}`")).collect();
    if expected.is_empty() {
        expected.extend(kinds(schema).filter_map(|kind| match kind {
            "string" => Some("a text".to_owned()),
            "integer" => Some("a whole number".to_owned()),
            "number" => Some("a number".to_owned()),
            "boolean" => Some("true or false".to_owned()),
            "array" => Some("a list".to_owned()),
            "object" => Some("a mapping".to_owned()),
            _ => None,
        }));
    }
    expected
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

fn is_null(node: &Node) -> bool {
    matches!(&node.content, Content::Scalar { text, plain: true } if plain_value(text).is_null())
}

/// An unquoted scalar as YAML 1.2's core schema reads it (section 10.3.2).
fn plain_value(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ => integer(text).map(Value::from).or_else(|| decimal(text).map(Value::from)).unwrap_or_else(|| text.into()),
    }
}

fn integer(text: &str) -> Option<i64> {
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |digits| i64::from_str_radix(digits, 16).ok())
}

fn decimal(text: &str) -> Option<f64> {
    let numeric =
        text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) && text.bytes().any(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number: &f64| numeric && number.is_finite())
}

/// A node whose schema allows anything, as it is.
fn anything(node: &Node) -> Value {
    match &node.content {
        Content::Scalar { text, plain: true } => plain_value(text),
        Content::Scalar { text, .. } => text.as_str().into(),
        Content::List(items) => items.iter().map(anything).collect(),
        Content::Map(entries) => Value::Object(entries.iter().map(|entry| (entry.name.clone(), anything(&entry.value))).collect()),
        Content::Refused => Value::Null,
    }
}
