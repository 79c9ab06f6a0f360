//! Matrices of found files, in any order.

use std::path::Path;

use super::*;
use crate::recipe::{RecipeText, parse};

/// A rule over a folder, with `combine`.
fn rule(find: &str, combine: &str) -> Find {
    let text = format!(
        "schema: 1\nid: x\ntitle: X\nlicense: CC0-1.0\ninputs:\n  find:\n    glob: data/*.nc\n    {}\ncombine: {combine}\n",
        find.replace('\n', "\n    ")
    );
    let (recipe, _) = parse(&RecipeText { name: "r".into(), text }, Path::new("/base")).unwrap();
    recipe.find.unwrap().as_ref().clone()
}

fn files(names: &[&str]) -> Vec<Found> {
    names.iter().map(|name| Found { url: format!("/base/data/{name}"), path: (*name).to_owned(), ..Found::default() }).collect()
}

fn names(discovered: &Discovered) -> Vec<&str> {
    discovered.inputs.iter().map(|input| input.url.trim_start_matches("/base/data/")).collect()
}

fn settled(find: &Find, names: &[&str]) -> Result<Discovered, Vec<(Code, String)>> {
    let told = |problems: Vec<Diagnostic>| problems.into_iter().map(|problem| (problem.code, problem.message)).collect();
    settle(find, files(names), (true, false)).map_err(told)
}

const DAILY: &str = "match: '(?<v>[a-z]+)_(?<t>\\d{8})'\nkeys: {t: \"%Y%m%d\"}";
const BOTH: &str = "{concat: [{dim: time, keys: [t]}], merge: [v]}";

#[test]
fn names_become_the_matrix_that_a_pattern_would_give() {
    let find = rule(DAILY, BOTH);
    let all = ["tas_20010102.nc", "pr_20010101.nc", "tas_20010101.nc", "pr_20010102.nc"];
    let discovered = settled(&find, &all).unwrap();
    assert_eq!(names(&discovered), ["pr_20010101.nc", "pr_20010102.nc", "tas_20010101.nc", "tas_20010102.nc"]);
    let mut turned = all;
    turned.reverse();
    assert_eq!(settled(&find, &turned).unwrap(), discovered);
    let text = "schema: 1\nid: x\ntitle: X\nlicense: CC0-1.0\ninputs:\n  url: data/{v}_{t:%Y%m%d}.nc\n  keys:\n    v: {list: [pr, tas]}\n    t: {dates: {start: 2001-01-01, end: 2001-01-02, step: 1 day}}\ncombine: {concat: [{dim: time, keys: [t]}], merge: [v]}\n";
    let (written, _) = parse(&RecipeText { name: "r".into(), text: text.into() }, Path::new("/base")).unwrap();
    assert_eq!((discovered.axes, discovered.inputs), (written.axes, written.inputs));
}

#[test]
fn grouped_keys_have_the_positions_that_occur() {
    let find = rule("match: '(?<y>\\d{4})-(?<m>\\d\\d)'", "{concat: [{dim: time, keys: [y, m]}]}");
    let discovered = settled(&find, &["2002-01.nc", "2001-12.nc", "2001-11.nc"]).unwrap();
    assert_eq!(names(&discovered), ["2001-11.nc", "2001-12.nc", "2002-01.nc"]);
    assert_eq!(discovered.axes[0].positions[1], [KeyValue::Integer(2001), KeyValue::Integer(12)]);
}

#[test]
fn the_newest_of_several_is_taken() {
    let find = rule("match: 'a(?<n>\\d+)(-v(?<version>[\\d.]+))?\\.nc'\nnewest: version", "{concat: [n]}");
    let discovered = settled(&find, &["a1-v2.9.nc", "a1.nc", "a1-v2.10.nc", "a2.nc"]).unwrap();
    assert_eq!(names(&discovered), ["a1-v2.10.nc", "a2.nc"]);
    assert!(discovered.used[0].what.starts_with("2 files are left out"), "{:?}", discovered.used);
    let same = settled(&find, &["a1-v2.nc", "a01-v02.nc"]).unwrap_err();
    assert_eq!(same[0].0, Code::FoundTwice);
    let find = rule("match: 'a(?<n>\\d+)'\nnewest: modified", "{concat: [n]}");
    let mut found = files(&["a1-x.nc", "a1-y.nc"]);
    found[0].modified = Some("2026-11-21T12:00:00.5Z".into());
    found[1].modified = Some("Sat, 21 Nov 2026 12:00:00 GMT".into());
    assert_eq!(names(&settle(&find, found.clone(), (true, false)).unwrap()), ["a1-x.nc"]);
    found[1].modified = None;
    assert_eq!(settle(&find, found, (true, false)).unwrap_err()[0].code, Code::FoundTwice);
}

#[test]
fn what_is_left_out_is_told_and_what_cannot_be_read_is_refused() {
    let find = rule(&format!("{DAILY}\nexclude: [\"*_prelim*\"]"), BOTH);
    let discovered = settled(&find, &["pr_20010101.nc", "README.nc", "pr_20010102_prelim.nc"]).unwrap();
    assert_eq!(discovered.used.iter().map(|used| used.policy.as_str()).collect::<Vec<_>>(), ["find: match", "find: include, exclude"]);
    let refused = |names: &[&str]| settled(&find, names).unwrap_err().remove(0);
    assert_eq!(refused(&[]).0, Code::NothingFound);
    let (code, message) = refused(&["a.nc", "b.nc", "c.nc", "d.nc"]);
    assert_eq!(code, Code::NamesDoNotMatch);
    assert!(message.contains("`a.nc`, `b.nc`, `c.nc` and 1 more"), "{message}");
    let (code, message) = refused(&["pr_20010101.nc", "pr_20010231.nc"]);
    assert_eq!(code, Code::KeyNotRead);
    assert!(message.contains("20010231") && message.contains("%Y%m%d"), "{message}");
    assert_eq!(refused(&["pr_20010101.nc", "pr_20010101b.nc"]).0, Code::FoundTwice);
    let absent = rule("match: 'a'\nkeys: {n: integer}", "{concat: [n]}");
    assert!(settled(&absent, &["a.nc"]).unwrap_err()[0].1.contains("have no `n`"));
}

#[test]
fn combinations_without_a_file_are_refused_unless_they_are_late() {
    let find = rule(DAILY, BOTH);
    let names_of = ["pr_20010101.nc", "tas_20010101.nc", "pr_20010102.nc", "tas_20010103.nc", "pr_20010103.nc", "pr_20010104.nc"];
    let (code, message) = settled(&find, &names_of).unwrap_err().remove(0);
    assert_eq!(code, Code::FoundIncomplete);
    assert!(message.starts_with("2 combinations") && message.contains("{v: tas, t: 2001-01-02T00:00:00}"), "{message}");
    let holes = settle(&find, files(&names_of), (false, false)).unwrap();
    assert_eq!((holes.inputs.len(), holes.axes[1].positions.len()), (6, 4));
    let late = settle(&find, files(&names_of[..2]), (true, true)).unwrap();
    assert_eq!(late.inputs.len(), 2);
    let mut ends = names_of.to_vec();
    ends.push("tas_20010102.nc");
    let late = settle(&find, files(&ends), (true, true)).unwrap();
    assert_eq!((late.inputs.len(), late.about.len(), late.used[0].policy.as_str()), (6, 6, "late: skip"));
}

#[test]
fn counts_are_checked_and_lists_need_a_dimension() {
    let find = rule("at_least: 2\nat_most: 3", "{concat: [time]}");
    let discovered = settled(&find, &["b10.nc", "b9.nc"]).unwrap();
    assert_eq!(names(&discovered), ["b9.nc", "b10.nc"]);
    assert_eq!(settled(&find, &["a.nc"]).unwrap_err()[0].0, Code::FoundCount);
    assert_eq!(settled(&find, &["a.nc", "b.nc", "c.nc", "d.nc"]).unwrap_err()[0].0, Code::FoundCount);
    let alone = rule("include: [\"*.nc\"]", "{}");
    assert_eq!(settled(&alone, &["a.nc"]).unwrap().axes, []);
    assert_eq!(settled(&alone, &["a.nc", "b.nc"]).unwrap_err()[0].0, Code::FilesWithoutConcat);
}
