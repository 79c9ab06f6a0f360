//! `steps`: what contradicts itself without any file.

use std::collections::BTreeSet;

use super::Resolver;
use crate::recipe::diagnostic::{Code, Span};
use crate::transform::Step;
use crate::transform::attrs::Attrs;
use crate::transform::isel::{Isel, Selection};
use crate::transform::rename::Rename;

impl Resolver<'_> {
    pub(super) fn steps(&mut self, steps: Vec<Step>) -> Vec<(Step, Span)> {
        let mut placed = Vec::with_capacity(steps.len());
        for (number, step) in steps.into_iter().enumerate() {
            let span = self.root.get("steps").item(number).span();
            if let Some((message, help)) = contradiction(&step) {
                self.error(Code::BadStep, span, message, help);
            }
            placed.push((step, span));
        }
        placed
    }
}

fn contradiction(step: &Step) -> Option<(String, &'static str)> {
    match step {
        Step::Drop(step) => names("drop", &step.0),
        Step::Keep(step) => names("keep", &step.0),
        Step::SetCoords(step) => names("set_coords", &step.0),
        Step::ResetCoords(step) => names("reset_coords", &step.0),
        Step::Squeeze(step) => names("squeeze", &step.0),
        Step::ExpandDims(step) => names("expand_dims", &step.0),
        Step::Transpose(step) => names("transpose", &step.0),
        Step::Sort(step) => names("sort", &step.0),
        Step::Rename(step) => rename(step),
        Step::Attrs(step) => attrs(step),
        Step::Isel(step) => isel(step),
    }
}

fn names(step: &str, names: &[String]) -> Option<(String, &'static str)> {
    if names.is_empty() {
        return Some((format!("`{step}` names nothing"), "name something, or remove the step"));
    }
    let mut seen = BTreeSet::new();
    let twice = names.iter().find(|name| !seen.insert(name.trim_start_matches('-')))?;
    Some((format!("`{step}` names `{twice}` twice"), "name it once"))
}

fn rename(Rename(pairs): &Rename) -> Option<(String, &'static str)> {
    if pairs.is_empty() {
        return Some(("`rename` names nothing".to_owned(), "write {old: new}, or remove the step"));
    }
    if let Some((old, _)) = pairs.iter().find(|(_, new)| new.is_empty()) {
        return Some((format!("`rename` gives `{old}` an empty name"), "write {old: new}"));
    }
    let mut seen = BTreeSet::new();
    let twice = pairs.values().find(|new| !seen.insert(new.as_str()))?;
    Some((format!("`rename` gives two things the name `{twice}`"), "every new name is used once"))
}

fn attrs(step: &Attrs) -> Option<(String, &'static str)> {
    if step.set.is_empty() && step.delete.is_empty() && step.keep.is_none() {
        return Some(("`attrs` does nothing".to_owned(), "add `set`, `delete` or `keep`, or remove the step"));
    }
    if let Some(name) = step.delete.iter().find(|name| step.set.contains_key(*name)) {
        return Some((format!("`attrs` sets and deletes `{name}`"), "do one of the two"));
    }
    let (name, _) = step.set.iter().find(|(_, value)| !is_attribute(value))?;
    Some((format!("`attrs` cannot set `{name}` to this"), "an attribute is a text, a number, or a list of numbers or of texts"))
}

fn is_attribute(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(_) | serde_json::Value::Number(_) => true,
        serde_json::Value::Array(items) => {
            !items.is_empty() && (items.iter().all(serde_json::Value::is_number) || items.iter().all(serde_json::Value::is_string))
        }
        _ => false,
    }
}

fn isel(Isel(selections): &Isel) -> Option<(String, &'static str)> {
    if selections.is_empty() {
        return Some(("`isel` names no dimension".to_owned(), "write {dimension: {at: 0}}, or remove the step"));
    }
    selections.iter().find_map(|(dimension, selection)| {
        let (message, help) = selection_problem(selection)?;
        Some((format!("`isel` of `{dimension}` {message}"), help))
    })
}

fn selection_problem(&Selection { at, start, stop, step }: &Selection) -> Option<(&'static str, &'static str)> {
    let ranged = start.is_some() || stop.is_some() || step.is_some();
    match (at, start.unwrap_or(0), stop) {
        (Some(_), ..) if ranged => Some(("has both `at` and a range", "write {at: 0}, or {start: 0, stop: 10}")),
        (None, ..) if !ranged => Some(("selects nothing in particular", "write {at: 0}, or {start: 0, stop: 10}")),
        _ if step.is_some_and(|step| step < 1) => Some(("has a step below 1", "use the `sort` step to turn a dimension round")),
        (None, start, Some(stop)) if (start < 0) == (stop < 0) && stop <= start => {
            Some(("selects nothing", "`stop` is one past the last position"))
        }
        _ => None,
    }
}
