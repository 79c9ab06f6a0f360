//! One input as the steps change it: its schema, and where each variable's values come from.
//!
//! Steps call the few changes that are defined here, so that names, views, chunk lengths and references stay in step. Invariant: after
//! [`Draft::settle`] every dimension is used, every index variable is a coordinate, and no attribute names a variable that a step removed.

use std::collections::{BTreeMap, BTreeSet};

use super::text::TextRule;
use super::view::{View, ViewAxis};
use super::{Absent, TransformError, names};
use crate::array::{Array, DataType};
use crate::dataset::{Attribute, Dimension, Schema, Variable};
use crate::pattern::KeyValue;

/// Where a variable's values come from before the view.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// A variable of the file; chars become texts first.
    File(String, Option<TextRule>),
    /// No file holds it.
    Made(Array),
}

/// Reads a variable of the file whole, by its name there.
pub(super) type Read<'a> = &'a mut dyn FnMut(&str) -> Option<Array>;

pub(super) struct Draft<'a> {
    pub(super) schema: Schema,
    pub(super) origins: BTreeMap<String, (Origin, View)>,
    pub(super) absent: Vec<Absent>,
    pub(super) keys: &'a BTreeMap<String, KeyValue>,
    /// Number and name of the step at work.
    pub(super) step: (usize, &'static str),
    read: Read<'a>,
}

/// Attributes whose words are names of variables.
const NAMING: [&str; 5] = ["bounds", "climatology", "grid_mapping", "ancillary_variables", "coordinates"];
/// Attributes of `key: name` pairs.
const PAIRED: [&str; 2] = ["cell_measures", "formula_terms"];

impl<'a> Draft<'a> {
    /// Joins texts and recognises coordinates.
    pub(super) fn new(source: &Schema, keys: &'a BTreeMap<String, KeyValue>, read: Read<'a>) -> Self {
        let mut schema = source.clone();
        let rules: BTreeMap<String, TextRule> = super::text::rules(source).into_iter().collect();
        let mut origins = BTreeMap::new();
        for variable in &mut schema.variables {
            let rule = rules.get(&variable.name).copied();
            if rule.is_some() {
                variable.dtype = DataType::String;
            }
            if rule == Some(TextRule::Joined) {
                variable.dimensions.pop();
                variable.encoding.chunks.as_mut().and_then(Vec::pop);
            }
            let view = View::whole(&source.shape(variable));
            origins.insert(variable.name.clone(), (Origin::File(variable.name.clone(), rule), view));
        }
        let mut draft = Self { schema, origins, absent: Vec::new(), keys, step: (0, ""), read };
        draft.settle();
        draft
    }

    pub(super) fn refuse<T>(&self, message: impl Into<String>) -> Result<T, TransformError> {
        Err(TransformError { step: self.step.0, operation: self.step.1, message: message.into() })
    }

    /// Notes that this input lacks what the step names.
    pub(super) fn lacks(&mut self, name: &str) {
        self.absent.push(Absent { step: self.step.0, name: name.to_owned() });
    }

    /// Variables that match any of the names or globs; notes those that match none.
    pub(super) fn select(&mut self, patterns: &[String]) -> BTreeSet<String> {
        let mut selected = BTreeSet::new();
        for pattern in patterns {
            let found: Vec<String> =
                self.schema.variables.iter().filter(|variable| names::matches(pattern, &variable.name)).map(|v| v.name.clone()).collect();
            if found.is_empty() {
                self.lacks(pattern);
            }
            selected.extend(found);
        }
        selected
    }

    /// Length of a dimension; notes its absence.
    pub(super) fn length(&mut self, dimension: &str) -> Option<u64> {
        let length = self.schema.dimension(dimension).map(|dimension| dimension.length);
        if length.is_none() {
            self.lacks(dimension);
        }
        length
    }

    /// Removes variables and every mention of them.
    pub(super) fn remove(&mut self, removed: &BTreeSet<String>) {
        let known = names_of(&self.schema);
        self.schema.variables.retain(|variable| !removed.contains(&variable.name));
        self.origins.retain(|name, _| !removed.contains(name));
        for variable in &mut self.schema.variables {
            let owner = variable.name.clone();
            forget(variable, &|word| in_scope(&|name| known.contains(name), &owner, word).is_some_and(|name| removed.contains(&name)));
        }
    }

    /// Names of boundary and grid mapping variables: they describe other variables and are not data.
    pub(super) fn descriptive(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for variable in &self.schema.variables {
            for attribute in ["bounds", "climatology", "grid_mapping"] {
                let words = variable.attributes.text(attribute).unwrap_or_default().split_whitespace();
                found.extend(words.filter_map(|word| resolve(&self.schema, &variable.name, word.trim_end_matches(':'))));
            }
        }
        found
    }

    /// Replaces a dimension by the elements at `chosen` positions, everywhere.
    pub(super) fn choose(&mut self, dimension: &str, chosen: &[u64]) {
        self.change_axes(dimension, |axis| axis.select(chosen).simplified());
        if let Some(found) = self.schema.dimensions.iter_mut().find(|found| found.name == dimension) {
            found.length = chosen.len() as u64;
        }
    }

    /// Replaces a dimension by `count` of its positions, `step` apart from `first`, everywhere.
    pub(super) fn slice(&mut self, dimension: &str, first: u64, step: u64, count: u64) {
        self.change_axes(dimension, |axis| axis.slice(first, step, count).unwrap_or_else(|| axis.clone()));
        if let Some(found) = self.schema.dimensions.iter_mut().find(|found| found.name == dimension) {
            found.length = count;
        }
    }

    fn change_axes(&mut self, dimension: &str, change: impl Fn(&ViewAxis) -> ViewAxis) {
        for variable in &self.schema.variables {
            let Some((_, view)) = self.origins.get_mut(&variable.name) else { continue };
            for (axis, name) in view.axes.iter_mut().zip(&variable.dimensions) {
                if name == dimension {
                    *axis = change(axis);
                }
            }
        }
    }

    /// Removes a dimension everywhere, keeping the elements at one position.
    pub(super) fn collapse(&mut self, dimension: &str, position: u64) {
        for variable in &mut self.schema.variables {
            while let Some(at) = variable.dimensions.iter().position(|name| name == dimension) {
                variable.dimensions.remove(at);
                if let Some(chunks) = &mut variable.encoding.chunks {
                    chunks.remove(at);
                }
                let Some((_, view)) = self.origins.get_mut(&variable.name) else { continue };
                let axis = view.axes.remove(at);
                if let (Some(source), Some(element)) = (axis.source(), axis.element(position)) {
                    view.fixed.push((source, element));
                }
            }
        }
        self.schema.dimensions.retain(|found| found.name != dimension);
    }

    /// Gives a variable a new leading dimension of length 1.
    pub(super) fn lead(&mut self, variable: &str, dimension: &str) {
        if let Some(variable) = self.schema.variable_mut(variable) {
            variable.dimensions.insert(0, dimension.to_owned());
            if let Some(chunks) = &mut variable.encoding.chunks {
                chunks.insert(0, 1);
            }
        }
        if let Some((_, view)) = self.origins.get_mut(variable) {
            view.axes.insert(0, ViewAxis::New);
        }
    }

    /// Puts a variable's dimensions in another order: `order[new] = old`.
    pub(super) fn reorder(&mut self, variable: &str, order: &[usize]) {
        fn pick<T: Clone>(list: &[T], order: &[usize]) -> Vec<T> {
            order.iter().filter_map(|&at| list.get(at).cloned()).collect()
        }
        if let Some(variable) = self.schema.variable_mut(variable) {
            variable.dimensions = pick(&variable.dimensions, order);
            variable.encoding.chunks = variable.encoding.chunks.as_ref().map(|chunks| pick(chunks, order));
        }
        if let Some((_, view)) = self.origins.get_mut(variable) {
            view.axes = pick(&view.axes, order);
        }
    }

    /// Adds a coordinate that no file holds.
    pub(super) fn make(&mut self, variable: Variable, array: Array) {
        let view = View::whole(&array.shape);
        self.origins.insert(variable.name.clone(), (Origin::Made(array), view));
        self.schema.variables.push(variable);
    }

    /// The values of a variable as the steps so far leave it.
    pub(super) fn values(&mut self, variable: &str) -> Option<Array> {
        let (origin, view) = self.origins.get(variable)?;
        match origin {
            Origin::Made(array) => view.apply(array),
            Origin::File(name, None) => view.apply(&(self.read)(name)?),
            Origin::File(name, Some(rule)) => view.apply(&rule.apply(&(self.read)(name)?)?),
        }
    }

    /// Renames variables and dimensions at once, in attributes too.
    pub(super) fn rename(&mut self, new: &BTreeMap<String, String>) {
        let known = names_of(&self.schema);
        let renamed = |name: &str| new.get(name).cloned().unwrap_or_else(|| name.to_owned());
        for dimension in &mut self.schema.dimensions {
            dimension.name = renamed(&dimension.name);
        }
        for variable in &mut self.schema.variables {
            let (old, group) = (variable.name.clone(), group_of(&variable.name).to_owned());
            variable.name = renamed(&old);
            variable.dimensions = variable.dimensions.iter().map(|name| renamed(name)).collect();
            let word = |word: &str| match in_scope(&|name| known.contains(name), &old, word).and_then(|name| new.get(&name)) {
                Some(full) => full.strip_prefix(&format!("{group}/")).unwrap_or(full).to_owned(),
                None => word.to_owned(),
            };
            reword(variable, &word);
        }
        self.origins = std::mem::take(&mut self.origins).into_iter().map(|(name, origin)| (renamed(&name), origin)).collect();
    }

    /// Restores the invariant after a step.
    pub(super) fn settle(&mut self) {
        self.absorb_coordinates();
        for variable in &mut self.schema.variables {
            variable.coordinate |= variable.is_index();
        }
        let used: BTreeSet<&str> =
            self.schema.variables.iter().flat_map(|variable| variable.dimensions.iter().map(String::as_str)).collect();
        let used: Vec<Dimension> =
            self.schema.dimensions.iter().filter(|dimension| used.contains(dimension.name.as_str())).cloned().collect();
        self.schema.dimensions = used;
    }

    /// Variables named by `coordinates` attributes become coordinates; the attributes go, and are written anew for the result.
    fn absorb_coordinates(&mut self) {
        let mut found = BTreeSet::new();
        let global = self.schema.attributes.remove("coordinates");
        let words = |attribute: &Attribute| attribute.text().unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        found.extend(global.iter().flat_map(words).filter_map(|word| resolve(&self.schema, "", &word)));
        for position in 0..self.schema.variables.len() {
            let Some(variable) = self.schema.variables.get_mut(position) else { continue };
            let owner = variable.name.clone();
            let Some(attribute) = variable.attributes.remove("coordinates") else { continue };
            found.extend(words(&attribute).iter().filter_map(|word| resolve(&self.schema, &owner, word)).filter(|name| *name != owner));
        }
        for variable in self.schema.variables.iter_mut().filter(|variable| found.contains(&variable.name)) {
            variable.coordinate = true;
        }
    }
}

/// The path of the group that a name is in; empty at the root.
pub(super) fn group_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(group, _)| group)
}

fn joined(group: &str, word: &str) -> String {
    if group.is_empty() { word.to_owned() } else { format!("{group}/{word}") }
}

/// The variable that `word` names in an attribute of `owner`: in its group, else in the groups above.
pub(super) fn resolve(schema: &Schema, owner: &str, word: &str) -> Option<String> {
    in_scope(&|name| schema.variable(name).is_some(), owner, word)
}

/// Names of all variables and dimensions.
fn names_of(schema: &Schema) -> BTreeSet<String> {
    let variables = schema.variables.iter().map(|variable| variable.name.clone());
    variables.chain(schema.dimensions.iter().map(|dimension| dimension.name.clone())).collect()
}

/// The full name that `word` stands for in an attribute of `owner`: the nearest that exists, from its own group upwards; one with a
/// leading slash is full already.
fn in_scope(exists: &dyn Fn(&str) -> bool, owner: &str, word: &str) -> Option<String> {
    if let Some(full) = word.strip_prefix('/') {
        return exists(full).then(|| full.to_owned());
    }
    let mut group = group_of(owner);
    loop {
        let name = joined(group, word);
        if exists(&name) {
            return Some(name);
        }
        if group.is_empty() {
            return None;
        }
        group = group_of(group);
    }
}

fn set_or_remove(variable: &mut Variable, attribute: &str, words: &[String]) {
    if words.is_empty() {
        variable.attributes.remove(attribute);
    } else {
        variable.attributes.set(attribute, Attribute::Text(words.join(" ")));
    }
}

fn words_of(variable: &Variable, attribute: &str) -> Option<Vec<String>> {
    Some(variable.attributes.text(attribute)?.split_whitespace().map(str::to_owned).collect())
}

/// Removes names from the attributes that name variables.
fn forget(variable: &mut Variable, gone: &dyn Fn(&str) -> bool) {
    for attribute in NAMING {
        let Some(words) = words_of(variable, attribute) else { continue };
        if words.iter().any(|word| gone(word.trim_end_matches(':'))) {
            // `grid_mapping: "crs: x y"` without `crs` or without `x` says nothing any more.
            let kept = words.into_iter().filter(|word| attribute != "grid_mapping" && !gone(word)).collect::<Vec<_>>();
            set_or_remove(variable, attribute, &kept);
        }
    }
    for attribute in PAIRED {
        let Some(words) = words_of(variable, attribute) else { continue };
        if words.iter().any(|word| gone(word)) {
            let pairs = words.chunks(2).filter(|pair| !pair.iter().any(|word| gone(word)));
            set_or_remove(variable, attribute, &pairs.flatten().cloned().collect::<Vec<_>>());
        }
    }
}

/// How the words of an attribute change.
type Change<'c> = Box<dyn Fn(&str) -> String + 'c>;

/// Renames in the attributes that name variables or dimensions.
fn reword(variable: &mut Variable, new: &dyn Fn(&str) -> String) {
    let keyed = |word: &str| match word.strip_suffix(':') {
        Some(name) => format!("{}:", new(name)),
        None => new(word),
    };
    let changes: [(&str, Change<'_>); 8] = [
        ("bounds", Box::new(new)),
        ("climatology", Box::new(new)),
        ("ancillary_variables", Box::new(new)),
        ("coordinates", Box::new(new)),
        ("grid_mapping", Box::new(keyed)),
        ("cell_measures", Box::new(|word| if word.ends_with(':') { word.to_owned() } else { new(word) })),
        ("formula_terms", Box::new(|word| if word.ends_with(':') { word.to_owned() } else { new(word) })),
        ("cell_methods", Box::new(|word| if word.ends_with(':') { keyed(word) } else { word.to_owned() })),
    ];
    for (attribute, change) in changes {
        let Some(text) = variable.attributes.text(attribute) else { continue };
        let words: Vec<String> = text.split_whitespace().map(&change).collect();
        // Unchanged attributes keep their own spacing.
        if !text.split_whitespace().eq(words.iter().map(String::as_str)) {
            variable.attributes.set(attribute, Attribute::Text(words.join(" ")));
        }
    }
}
