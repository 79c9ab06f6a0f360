//! What was found, kept: so that a plan can be made again from the same inputs without asking anybody.
//!
//! JSON with one input per line, so that a repository shows what changed. Invariant: no secret of an address is kept, and what
//! is read back is a whole matrix or an error.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{About, Discovered};
use crate::pattern::{Axis, Input, MAX_INPUTS, without_secrets};
use crate::recipe::Find;

/// Version of the format.
const SCHEMA: u32 = 1;

/// Why kept inputs cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// It is no such file.
    #[error("this is no list of inputs that gristmill kept: {0}")]
    Unreadable(String),
    /// It was found by another rule.
    #[error("the inputs were found by another rule than the recipe's `find` and `combine` are now; look again")]
    OtherRule,
    /// Addresses hold secrets, which are not kept.
    #[error("addresses of the inputs hold secrets, which are not kept; look again")]
    Secrets,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    schema: u32,
    rule: String,
    hidden: bool,
    axes: Vec<Axis>,
    inputs: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    url: String,
    at: Vec<usize>,
    #[serde(default, skip_serializing_if = "is_nothing")]
    about: About,
}

fn is_nothing(about: &About) -> bool {
    *about == About::default()
}

/// Name of a rule: equal for rules that find the same.
#[must_use]
pub fn rule(find: &Find) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(find.text.as_bytes()))
}

/// The text that is kept.
#[must_use]
pub fn to_json(find: &Find, discovered: &Discovered) -> Vec<u8> {
    let hidden = discovered.inputs.iter().any(|input| without_secrets(&input.url) != input.url);
    let line = |(input, about): (&Input, &About)| {
        let line = Line { url: without_secrets(&input.url), at: input.position.clone(), about: about.clone() };
        serde_json::to_string(&line).unwrap_or_default()
    };
    let lines: Vec<String> = discovered.inputs.iter().zip(&discovered.about).map(line).collect();
    let axes = serde_json::to_string(&discovered.axes).unwrap_or_default();
    let rule = rule(find);
    let lines = lines.join(",\n");
    format!("{{\"schema\": {SCHEMA}, \"rule\": \"{rule}\", \"hidden\": {hidden},\n\"axes\": {axes},\n\"inputs\": [\n{lines}\n]}}\n")
        .into_bytes()
}

/// What was kept of a rule.
///
/// # Errors
/// [`LockError`].
pub fn from_json(find: &Find, bytes: &[u8]) -> Result<Discovered, LockError> {
    let unreadable = |why: &str| LockError::Unreadable(why.to_owned());
    let kept: Kept = serde_json::from_slice(bytes).map_err(|error| LockError::Unreadable(error.to_string()))?;
    if kept.schema != SCHEMA {
        return Err(unreadable("it is of another version"));
    }
    if kept.rule != rule(find) {
        return Err(LockError::OtherRule);
    }
    if kept.hidden {
        return Err(LockError::Secrets);
    }
    let roles = kept.axes.iter().map(|axis| (&axis.role, &axis.keys));
    if !roles.eq(find.axes.iter().map(|(role, keys)| (role, keys))) || kept.inputs.is_empty() || kept.inputs.len() > MAX_INPUTS {
        return Err(unreadable("its axes are not the rule's"));
    }
    let whole = |axis: &Axis| axis.positions.len() <= MAX_INPUTS && axis.positions.iter().all(|values| values.len() == axis.keys.len());
    if !kept.axes.iter().all(whole) {
        return Err(unreadable("a position lacks a key"));
    }
    let mut inputs = Vec::with_capacity(kept.inputs.len());
    let (mut about, mut last, mut urls) = (Vec::with_capacity(kept.inputs.len()), None, BTreeSet::new());
    for (number, line) in kept.inputs.into_iter().enumerate() {
        let values = values(&kept.axes, &line.at).ok_or_else(|| unreadable("an input lies outside of the axes"))?;
        if last.as_ref().is_some_and(|last| *last >= line.at) || !urls.insert(line.url.clone()) {
            return Err(unreadable("its inputs are not in order, or not different"));
        }
        last = Some(line.at.clone());
        inputs.push(Input { number, url: line.url, position: line.at, values });
        about.push(line.about);
    }
    Ok(Discovered { axes: kept.axes, inputs, about, used: Vec::new(), frozen: true })
}

/// The values of the keys at a position.
fn values(axes: &[Axis], at: &[usize]) -> Option<BTreeMap<String, crate::pattern::KeyValue>> {
    if axes.len() != at.len() {
        return None;
    }
    let mut values = BTreeMap::new();
    for (axis, &at) in axes.iter().zip(at) {
        values.extend(axis.keys.iter().cloned().zip(axis.positions.get(at)?.iter().cloned()));
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::pattern::{KeyValue, Role};
    use crate::recipe::{RecipeText, parse};

    fn find(glob: &str) -> Arc<Find> {
        let text = format!(
            "schema: 1\nid: x\ntitle: X\nlicense: CC0-1.0\ninputs:\n  find:\n    glob: {glob}   # a comment\n    match: '(?<n>\\d+)'\ncombine: {{concat: [n]}}\n"
        );
        parse(&RecipeText { name: "r".into(), text }, Path::new("/base")).unwrap().0.find.unwrap()
    }

    fn discovered(query: &str) -> Discovered {
        let positions: Vec<Vec<KeyValue>> = (1..4).map(|n| vec![KeyValue::Integer(n)]).collect();
        let input = |number: usize| Input {
            number,
            url: format!("https://h/{number}.nc{query}"),
            position: vec![number],
            values: BTreeMap::from([("n".to_owned(), KeyValue::Integer(number as i64 + 1))]),
        };
        let about = About { size: Some(7), ..About::default() };
        let axes = vec![Axis { role: Role::Concat("n".into()), keys: vec!["n".into()], positions }];
        Discovered { axes, inputs: (0..3).map(input).collect(), about: vec![about; 3], used: Vec::new(), frozen: true }
    }

    #[test]
    fn what_is_kept_comes_back() {
        let (find, discovered) = (find("data/*.nc"), discovered(""));
        let json = to_json(&find, &discovered);
        assert_eq!(from_json(&find, &json).as_ref(), Ok(&discovered));
        assert_eq!(String::from_utf8(json.clone()).unwrap().lines().filter(|line| line.contains("https://")).count(), 3);
        assert_eq!(from_json(&super::tests::find("other/*.nc"), &json), Err(LockError::OtherRule));
    }

    #[test]
    fn secrets_are_not_kept() {
        let find = find("data/*.nc");
        let json = to_json(&find, &discovered("?token=hush"));
        assert!(!String::from_utf8(json.clone()).unwrap().contains("hush"));
        assert_eq!(from_json(&find, &json), Err(LockError::Secrets));
    }

    #[test]
    fn what_was_tampered_with_is_refused() {
        let find = find("data/*.nc");
        let json = String::from_utf8(to_json(&find, &discovered(""))).unwrap();
        for (from, to) in [
            ("[1]", "[7]"),
            ("[1]", "[1,1]"),
            ("1.nc", "0.nc"),
            ("\"at\":[1]", "\"at\":[0]"),
            ("{\"integer\":2}", ""),
            ("\"schema\": 1", "\"schema\": 2"),
        ] {
            let changed = json.replacen(from, to, 1);
            assert_ne!(changed, json, "{from}");
            assert!(matches!(from_json(&find, changed.as_bytes()), Err(LockError::Unreadable(_))), "{from} {to}");
        }
    }
}
