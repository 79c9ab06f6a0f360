//! What a recipe means once it is read; and that no text, however mangled, makes reading it panic.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use gristmill::array::DataType;
use gristmill::pattern::{KeyValue, Role};
use gristmill::recipe::diagnostic::{Code, Diagnostic, render_annotation, render_json, render_terminal};
use gristmill::recipe::{
    AbsentPolicy, ChangedFile, Chunks, CodecsChoice, ExpectRule, Join, LateFile, MissingFile, OrderPolicy, OutputFormat, OverlapPolicy,
    Recipe, RecipeText, parse, parse_on,
};
use gristmill::transform::Step;
use proptest::prelude::*;

const HEAD: &str = "schema: 1\nid: sample\ntitle: A sample\nlicense: CC0-1.0\n";

fn read(rest: &str) -> Recipe {
    let text = RecipeText { name: "recipe.yaml".into(), text: format!("{HEAD}{rest}") };
    match parse(&text, Path::new("/base")) {
        Ok((recipe, _)) => recipe,
        Err(problems) => panic!("{}", render_terminal(&problems, &text, false)),
    }
}

fn codes(rest: &str) -> Vec<Code> {
    let text = RecipeText { name: "recipe.yaml".into(), text: format!("{HEAD}{rest}") };
    let found: Vec<Diagnostic> = parse(&text, Path::new("/base")).map_or_else(|problems| problems, |(_, warnings)| warnings);
    found.iter().map(|problem| problem.code).collect()
}

#[test]
fn silence_means_the_defaults() {
    let recipe = read("inputs: {url: a.nc}\n");
    assert_eq!((recipe.inputs.len(), recipe.inputs[0].url.as_str(), recipe.axes.len()), (1, "/base/a.nc", 0));
    assert_eq!((recipe.missing, recipe.output.format, recipe.steps.len()), (MissingFile::Fail, OutputFormat::Zarr3, 0));
    assert!(matches!(&recipe.output.chunks, Chunks::Auto { size, favour } if size.0 == 64 << 20 && favour.is_empty()));
    assert_eq!((recipe.combine.join, recipe.combine.order, recipe.combine.absent), (Join::Exact, OrderPolicy::Strict, AbsentPolicy::Fail));
    assert!(recipe.output.shards.is_none() && recipe.output.encoding.is_empty() && recipe.expect.is_empty());
}

#[test]
fn policies_are_strict_until_a_word_says_otherwise() {
    let recipe = read("inputs: {url: a.nc}\n");
    assert_eq!((recipe.late, recipe.changed, recipe.combine.overlap), (LateFile::AsMissing, ChangedFile::Fail, OverlapPolicy::Fail));
    assert!(!recipe.combine.convert_units && !recipe.output.rewrite_tail && recipe.used.is_empty() && recipe.published.is_none());
    assert_eq!(recipe.combine.strict, gristmill::recipe::Strict::default());
    let loose = read(
        "inputs: {files: [a.nc, b.nc], late: skip, changed: keep}\ncombine: {concat: [time], overlap: last, units: convert, dtype: fail, packing: fail, times: fail}\noutput:\n  append: rewrite-tail\n  encoding:\n    time: {units: days since 1970-01-01}\n",
    );
    assert_eq!((loose.late, loose.changed, loose.combine.overlap), (LateFile::Skip, ChangedFile::Keep, OverlapPolicy::Last));
    assert!(loose.combine.convert_units && loose.output.rewrite_tail);
    assert_eq!(loose.output.encoding["time"].0.units.as_deref(), Some("days since 1970-01-01"));
}

#[test]
fn an_end_moves_with_the_day_that_is_given() {
    let text = |end: &str, more: &str| RecipeText {
        name: "recipe.yaml".into(),
        text: format!(
            "{HEAD}inputs:\n  url: '{{time:%Y%m%d}}.nc'\n{more}  keys:\n    time: {{dates: {{start: 2024-02-01, end: {end}, step: 1 day}}}}\ncombine: {{concat: [time]}}\n"
        ),
    };
    let on = |end: &str, more: &str, day| parse_on(&text(end, more), Path::new("/base"), Some(jiff::civil::date(2024, 3, day))).unwrap().0;
    let recipe = on("today - 2 days", "", 3);
    assert_eq!((recipe.inputs.len(), recipe.inputs.last().unwrap().url.as_str()), (30, "/base/20240301.nc"));
    assert_eq!(
        (recipe.used[0].policy.as_str(), recipe.used[0].what.as_str()),
        ("end: today - 2 days", "2024-03-01, counted from 2024-03-03")
    );
    assert_eq!(on("yesterday", "", 1).inputs.len(), 29, "29 February");
    // What may still come is never filled, unless somebody says that the end must be there.
    assert_eq!(on("today", "", 1).late, LateFile::AsMissing);
    assert_eq!(on("today", "  missing: fill\n", 1).late, LateFile::Skip);
    assert_eq!(on("2024-03-01", "  missing: fill\n", 1).late, LateFile::AsMissing);
    assert_eq!(on("today", "  missing: fill\n  late: fail\n", 1).late, LateFile::Fail);
    // Nobody says which day it is.
    let found = parse(&text("today", ""), Path::new("/base")).unwrap_err();
    assert_eq!(found.iter().map(|one| one.code).collect::<Vec<_>>(), [Code::BadDate]);
}

#[test]
fn files_follow_one_another_as_listed() {
    let recipe = read("inputs: {files: [b.nc, 'https://h/{a}.nc', /abs/c.nc], missing: fill}\ncombine: {concat: [time]}\n");
    let urls: Vec<&str> = recipe.inputs.iter().map(|input| input.url.as_str()).collect();
    assert_eq!(urls, ["/base/b.nc", "https://h/{a}.nc", "/abs/c.nc"]);
    assert_eq!((&recipe.axes[0].role, recipe.axes[0].positions.len()), (&Role::Concat("time".into()), 3));
    assert_eq!((recipe.inputs[2].position.as_slice(), recipe.missing), (&[2][..], MissingFile::Fill));
    assert_eq!(read("inputs: {files: [a.nc]}\n").axes.len(), 0);
    assert_eq!(read("inputs: {url: ./../x/../a.nc}\n").inputs[0].url, "/x/../a.nc");
    assert_eq!(read("inputs: {url: a.nc}\ncombine: {concat: [time]}\n").axes[0].positions.len(), 1);
}

#[test]
fn merge_axes_come_first_and_exceptions_cover_what_they_name() {
    let recipe = read(
        "inputs:
  url: '{v}/{year}-{m:02d}-{run}.nc'
  keys:
    run: {list: [01, 2]}
    v: {list: [tas, pr]}
    year: {range: {start: 2000, end: 2001}}
    m: {range: {start: 12, end: 1, step: -1}}
  except: [{year: 2000, m: 12}, {v: pr, year: 2001}]
combine: {concat: [{dim: time, keys: [year, m]}, run], merge: [v]}
",
    );
    let shape: Vec<usize> = recipe.axes.iter().map(|axis| axis.positions.len()).collect();
    assert_eq!((&recipe.axes[0].role, shape), (&Role::Merge, vec![2, 23, 2]));
    assert_eq!(recipe.inputs[0].url, "/base/tas/2000-11-01.nc");
    assert_eq!(recipe.axes[2].positions[0], [KeyValue::Text("01".into())]);
    assert_eq!(recipe.inputs.len(), 2 * 23 + 2 * 11);
    assert_eq!(recipe.combine.concat.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["time", "run"]);
    let last = recipe.inputs.last().unwrap();
    assert_eq!((last.position.as_slice(), last.number, last.url.as_str()), (&[1, 10, 1][..], 67, "/base/pr/2000-01-2.nc"));
}

#[test]
fn excepting_part_of_a_day_or_all_of_it() {
    let inputs = |except: &str| {
        read(&format!(
            "inputs:\n  url: '{{t:%Y%m%d%H}}.nc'\n  keys: {{t: {{dates: {{start: 1988-02-28, end: 1988-03-01, step: 6 hours}}}}}}\n  except: {except}\n\
             combine: {{concat: [t]}}\n"
        ))
        .inputs
        .len()
    };
    assert_eq!([inputs("[]"), inputs("[{t: 1988-02-29}]"), inputs("[{t: 1988-02-29T06}]"), inputs("[{t: 1988-02}]")], [12, 8, 11, 4]);
}

#[test]
fn codecs_are_written_out() {
    let recipe = read(
        "inputs: {url: a.nc}\noutput:\n  encoding:\n    \"*\": {codecs: blosc}\n    a: {codecs: \"blosc:lz4:5\"}\n    b: {codecs: [\"zstd:7\", crc32c]}\n    \
         c: {codecs: none}\n    d: {codecs: [{name: gzip}]}\n    f: {codecs: source}\n    e: {dtype: int16, scale_factor: 0.01, fill_value: -32768, chunks: {t: 5, x: -1}}\n",
    );
    let json = |name: &str| match recipe.output.encoding[name].0.codecs.as_ref().unwrap() {
        CodecsChoice::Listed(codecs) => serde_json::to_value(codecs).unwrap(),
        CodecsChoice::Source => "source".into(),
    };
    let blosc = serde_json::json!({"cname": "zstd", "clevel": 1, "shuffle": "shuffle", "blocksize": 0});
    assert_eq!(json("*"), serde_json::json!([{"name": "blosc", "configuration": blosc}]));
    assert_eq!((&json("a")[0]["configuration"]["cname"], &json("a")[0]["configuration"]["clevel"]), (&"lz4".into(), &5.into()));
    assert_eq!(json("b")[0]["configuration"], serde_json::json!({"level": 7, "checksum": false}));
    assert_eq!(
        (json("b")[1]["name"].as_str(), json("c"), json("d")[0]["configuration"]["level"].as_i64()),
        (Some("crc32c"), serde_json::json!([]), Some(5))
    );
    assert_eq!(json("f"), "source");
    let packed = &recipe.output.encoding["e"].0;
    assert_eq!((packed.dtype, packed.packing, packed.fill), (Some(DataType::Int16), Some((0.01, 0.0)), Some(-32768)));
    assert_eq!(packed.chunks.as_ref().unwrap().iter().collect::<Vec<_>>(), [(&"t".to_owned(), &5)]);
}

#[test]
fn expectations_and_policies_are_read() {
    let recipe = read(
        "inputs: {url: a.nc}\ncombine: {join: {tolerance: 1e-6}, order: as_listed, absent: fill}\noutput: {format: zarr2, chunks: {auto: {size: 2MiB, favour: {t: 3}}}}\n\
         steps: [{isel: {z: {at: -1}}}, {attrs: {set: {valid_range: [0, 1.5]}}}]\n\
         expect: {t: {regular: 6 hours, length: 4, first: 1981-09-01}, v: {values_between: [-3, 4.5], missing_values: {at_most: 60 %}, units: K}}\n",
    );
    assert_eq!((recipe.combine.join, recipe.output.format), (Join::Tolerance(1e-6), OutputFormat::Zarr2));
    let rules: Vec<(&str, &ExpectRule)> = recipe.expect.iter().map(|one| (one.name.as_str(), &one.rule)).collect();
    assert_eq!(rules.len(), 6);
    assert!(rules.contains(&("t", &ExpectRule::FirstLast(Some("1981-09-01".into()), None))));
    assert!(rules.contains(&("v", &ExpectRule::MissingAtMost(0.6))) && rules.contains(&("v", &ExpectRule::ValuesBetween(-3.0, 4.5))));
    assert!(matches!(&recipe.steps[0].0, Step::Isel(isel) if isel.0["z"].at == Some(-1)));
    let text = |span: gristmill::recipe::diagnostic::Span| recipe.text.text[span.offset..span.offset + span.length].to_owned();
    assert_eq!(
        (text(recipe.steps[0].1), text(recipe.expect[0].span), text(recipe.output.chunks_span)),
        ("{isel: {z: {at: -1}}}".into(), "regular".into(), "chunks".into())
    );
}

#[test]
fn one_mistake_gives_one_problem() {
    let pattern =
        "inputs:\n  url: '{time:%Y}.nc'\n  keys: {time: {dates: {start: 2000, end: 2001, step: 1 year}}}\ncombine: {concat: [time]}\n";
    assert_eq!(codes(pattern), []);
    assert_eq!(codes(&pattern.replace("concat", "concta")), [Code::UnknownKey]);
    assert_eq!(codes(&pattern.replace("combine", "combien")), [Code::UnknownKey]);
    assert_eq!(codes(&pattern.replace("[time]", "time")), [Code::WrongType]);
    assert_eq!(codes(&pattern.replace("keys", "kyes")), [Code::UnknownKey]);
    assert_eq!(codes(&pattern.replace("dates", "dats")), [Code::UnknownKey]);
    assert_eq!(codes(&pattern.replace("{dates", "[{dates").replace("}}}", "}}]}")), [Code::WrongType]);
    assert_eq!(codes(&pattern.replace("[time]", "[tme]")), [Code::NotAKey]);
    assert_eq!(codes(&pattern.replace("2001", "*later")), [Code::UnquotedStar]);
    assert_eq!(codes(&pattern.replace("'{time:%Y}.nc'", "'{tme:%Y}.nc'")), [Code::UndefinedKey]);
}

#[test]
fn a_hundred_thousand_inputs_are_read_in_seconds() {
    let start = std::time::Instant::now();
    let recipe = read(
        "inputs:\n  url: '{t:%Y%m%d%H}.nc'\n  keys: {t: {dates: {start: 1990, end: 2001-05-29, step: 1 hour}}}\ncombine: {concat: [t]}\n",
    );
    assert!(recipe.inputs.len() > 99_900 && start.elapsed().as_secs() < 15, "{} in {:?}", recipe.inputs.len(), start.elapsed());
}

/// A recipe with everything in it, to be mangled.
const WHOLE: &str = include_str!("../docs/recipe.md");

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_makes_reading_panic(cuts in prop::collection::vec((0usize..6000, 0usize..40, "[\\[\\]{}:*&!#%|>\"' \n\t,a-f0-9é-]{0,6}"), 1..8)) {
        let examples: String = WHOLE.split("```").skip(1).step_by(2).map(|part| part.trim_start_matches("yaml")).take(3).collect();
        let mut letters: Vec<char> = examples.chars().collect();
        for (at, length, insert) in cuts {
            let at = at.min(letters.len());
            let end = (at + length).min(letters.len());
            letters.splice(at..end, insert.chars());
        }
        let text = RecipeText { name: "mangled.yaml".into(), text: letters.into_iter().collect() };
        if let Err(problems) = parse(&text, Path::new("/base")) {
            prop_assert!(!problems.is_empty());
            prop_assert!(!render_terminal(&problems, &text, false).is_empty());
            prop_assert!(render_json(&problems, &text).starts_with('['));
            prop_assert_eq!(render_annotation(&problems, &text).lines().count(), problems.len());
        }
    }
}
