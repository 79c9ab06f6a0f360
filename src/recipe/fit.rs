//! Other YAML files of a feedstock, read as recipes are: anchors, tags and deep nesting refused, every problem with its place.
//!
//! Not for recipes themselves (`parse`). Invariant: as `tree` and `shape`: linear time, no recursion deeper than a tree may be.

use std::collections::BTreeMap;

use serde_json::Value;

use super::diagnostic::{Diagnostic, Span};
use super::tree::{Content, Node};
use super::{shape, tree};

/// A file held against a schema.
#[derive(Debug, Default)]
pub(crate) struct Fitted {
    /// The part that fits.
    pub(crate) value: Option<Value>,
    /// Every problem.
    pub(crate) problems: Vec<Diagnostic>,
    /// Where each value is, by JSON pointer.
    pub(crate) places: BTreeMap<String, Span>,
}

/// Holds `text` against a JSON Schema; `true` takes anything.
pub(crate) fn fit(text: &str, schema: &Value) -> Fitted {
    let (root, mut problems) = tree::read(text);
    let Some(root) = root else { return Fitted { problems, ..Fitted::default() } };
    let shaped = shape::check(&root, schema);
    problems.extend(shaped.problems);
    for problem in &mut problems {
        problem.message = problem.message.replace("the recipe", "the file").replace("a recipe", "a feedstock's file");
    }
    let mut places = BTreeMap::new();
    note(&root, "", &mut places);
    Fitted { value: shaped.value, problems, places }
}

fn note(node: &Node, pointer: &str, places: &mut BTreeMap<String, Span>) {
    places.insert(pointer.to_owned(), node.span);
    match &node.content {
        Content::List(items) => items.iter().enumerate().for_each(|(number, item)| note(item, &format!("{pointer}/{number}"), places)),
        Content::Map(entries) => entries.iter().for_each(|entry| note(&entry.value, &format!("{pointer}/{}", entry.name), places)),
        Content::Scalar { .. } | Content::Refused => {}
    }
}
