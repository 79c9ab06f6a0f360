//! `combine`: policies, and which key has which role.

use std::collections::BTreeMap;

use super::Resolver;
use super::inputs::MOST_KEYS;
use crate::pattern::Role;
use crate::pattern::expand::Key;
use crate::recipe::diagnostic::{Code, Span};
use crate::recipe::document::{
    Absent, AttributesWritten, Combine, ConcatEntry, JoinWritten, Order, OverlapWritten, PackingWritten, TimesWritten, TypesWritten,
    UnitsWritten,
};
use crate::recipe::shape::similar;
use crate::recipe::{AbsentPolicy, AttributePolicy, CombineRules, Join, OrderPolicy, OverlapPolicy, Strict};

impl ConcatEntry {
    /// Dimension and keys.
    pub(super) fn parts(&self) -> (&str, Vec<&str>) {
        match self {
            Self::Key(name) => (name, vec![name]),
            Self::Grouped(group) => {
                let keys = group.keys.iter().flatten().map(String::as_str).collect();
                (group.dim.as_deref().unwrap_or_default(), keys)
            }
        }
    }
}

impl Resolver<'_> {
    pub(super) fn combine_rules(&mut self, written: &Combine) -> CombineRules {
        CombineRules {
            concat: Vec::new(),
            join: self.join(written.join),
            attributes: match written.attributes {
                None | Some(AttributesWritten::DropConflicts) => AttributePolicy::DropConflicts,
                Some(AttributesWritten::Override) => AttributePolicy::Override,
                Some(AttributesWritten::Fail) => AttributePolicy::Fail,
            },
            order: match written.order {
                None | Some(Order::Strict) => OrderPolicy::Strict,
                Some(Order::AsListed) => OrderPolicy::AsListed,
            },
            absent: match written.absent {
                None | Some(Absent::Fail) => AbsentPolicy::Fail,
                Some(Absent::Fill) => AbsentPolicy::Fill,
            },
            overlap: self.overlap(written),
            convert_units: matches!(written.units, Some(UnitsWritten::Convert)),
            strict: Strict {
                dtype: matches!(written.dtype, Some(TypesWritten::Fail)),
                packing: matches!(written.packing, Some(PackingWritten::Fail)),
                times: matches!(written.times, Some(TimesWritten::Fail)),
            },
        }
    }

    fn overlap(&mut self, written: &Combine) -> OverlapPolicy {
        let policy = match written.overlap {
            None | Some(OverlapWritten::Fail) => OverlapPolicy::Fail,
            Some(OverlapWritten::First) => OverlapPolicy::First,
            Some(OverlapWritten::Last) => OverlapPolicy::Last,
        };
        if policy != OverlapPolicy::Fail && written.concat.as_ref().is_none_or(Vec::is_empty) && !self.broken.contains("combine") {
            let span = self.root.get("combine").get("overlap").key();
            self.error(Code::PolicyWithoutUse, span, "no files follow one another, so none overlap", "remove `overlap`");
        }
        policy
    }

    fn join(&mut self, written: Option<JoinWritten>) -> Join {
        let Some(JoinWritten::Tolerance(tolerance)) = written else { return Join::Exact };
        if tolerance < 0.0 {
            let span = self.root.get("combine").get("join").get("tolerance").span();
            self.error(Code::BadBounds, span, "a tolerance is not negative", "write `exact`, or a small number such as 1e-6");
        }
        Join::Tolerance(tolerance)
    }

    /// Each concat dimension and where the recipe names it.
    pub(super) fn concat_places(&self, combine: &Combine) -> Vec<(String, Span)> {
        let list = self.root.get("combine").get("concat");
        let entries = combine.concat.iter().flatten().enumerate();
        entries.map(|(number, entry)| (entry.parts().0.to_owned(), list.item(number).span())).collect()
    }

    /// Axes with their keys: merge axes first. Every key must have exactly one role.
    pub(super) fn axes(&mut self, combine: &Combine, mut keys: BTreeMap<String, Key>) -> Vec<(Role, Vec<Key>)> {
        let names: Vec<String> = keys.keys().cloned().collect();
        let place = self.root.get("combine");
        let entries = combine.merge.iter().flatten().count() + combine.concat.iter().flatten().count();
        if entries > MOST_KEYS {
            let message = format!("`combine` has {entries} entries; {MOST_KEYS} are possible");
            self.error(Code::NotAKey, place.span(), message, "name each key of the pattern once");
            return Vec::new();
        }
        let mut axes = Vec::new();
        for (number, name) in combine.merge.iter().flatten().enumerate() {
            let span = place.get("merge").item(number).span();
            let key = self.claim(&mut keys, &names, name, span);
            axes.extend(key.map(|key| (Role::Merge, vec![key])));
        }
        let mut dimensions: Vec<&str> = Vec::new();
        for (number, entry) in combine.concat.iter().flatten().enumerate() {
            let (dimension, members) = entry.parts();
            let span = place.get("concat").item(number).span();
            if dimensions.contains(&dimension) {
                let message = format!("`{dimension}` is concatenated twice");
                self.error(Code::KeyWithTwoRoles, span, message, "name all of its keys in one entry: {dim: time, keys: [year, month]}");
            } else {
                let found: Vec<Key> = members.iter().filter_map(|name| self.claim(&mut keys, &names, name, span)).collect();
                axes.push((Role::Concat(dimension.to_owned()), found));
            }
            dimensions.push(dimension);
        }
        let unknown = self.problems.iter().any(|problem| problem.code == Code::NotAKey);
        for name in keys.keys().filter(|_| !unknown) {
            let message = format!("the key `{name}` is neither concatenated nor merged");
            let help = format!("add `combine: {{concat: [{name}]}}` or `combine: {{merge: [{name}]}}`");
            self.error(Code::KeyWithoutRole, self.root.get("inputs").get("keys").get(name).key(), message, help);
        }
        axes
    }

    fn claim(&mut self, keys: &mut BTreeMap<String, Key>, names: &[String], name: &str, span: Span) -> Option<Key> {
        if let Some(key) = keys.remove(name) {
            return Some(key);
        }
        if names.iter().any(|known| known == name) {
            let message = format!("the key `{name}` is named more than once in `combine`");
            self.error(Code::KeyWithTwoRoles, span, message, "a key is concatenated or merged, once");
            return None;
        }
        let label = similar(name, names.iter().map(String::as_str)).map_or(String::new(), |meant| format!("did you mean `{meant}`?"));
        let help =
            format!("keys: {}; for a dimension of another name write {{dim: {name}, keys: [{}]}}", names.join(", "), names.join(", "));
        self.labelled(Code::NotAKey, span, format!("`{name}` is not a key of the pattern"), label, help);
        None
    }
}
