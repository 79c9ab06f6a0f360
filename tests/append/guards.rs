//! Retraction, structure, overwriting: each is refused by name, and nothing is touched.

use std::fs;

use crate::bench::{Bench, days, files, recipe, series};

#[test]
fn what_is_published_never_shrinks() {
    let bench = Bench::new();
    let names = series(&bench, &[2, 2, 2]);
    let chunks = "output:\n  chunks: {time: 2}\n";
    bench.done(&recipe(&files(&names), chunks), &[]);
    bench.refused(
        &recipe(&files(&names[..2]), chunks),
        &[],
        6,
        &["append-refused", "would become shorter", "`time` is published with 6 steps", "4"],
    );
    bench.refused(&recipe(&files(&names[1..]), chunks), &[], 6, &["append-refused", "would become shorter"]);
    // As long as before, but not the same.
    bench.write("d.nc", &days(6, 2).bytes());
    let other = [&names[0], &names[2], &"d.nc".to_owned()].map(Clone::clone);
    bench.refused(&recipe(&files(&other), chunks), &[], 6, &["append-refused", "another state", "published values of `time` changed"]);
    bench.done(&recipe(&files(&names[..2]), chunks), &["--replace"]);
    assert_eq!(bench.values("x").shape, [4, 3]);
}

#[test]
fn what_is_published_keeps_its_structure() {
    let bench = Bench::new();
    let names = series(&bench, &[2, 2, 2]);
    let chunks = "output:\n  chunks: {time: 2}\n";
    bench.done(&recipe(&files(&names[..2]), chunks), &[]);
    let whole = files(&names);
    bench.refused(&recipe(&whole, &format!("{chunks}steps:\n  - rename: {{x: y}}\n")), &[], 6, &["steps or its format changed"]);
    bench.refused(&recipe(&whole, "output:\n  chunks: {time: 3}\n"), &[], 4, &["unappendable", "`x`: its dimensions, chunks"]);
    bench.refused(
        &recipe(&whole, &format!("{chunks}  encoding:\n    x: {{dtype: float64}}\n")),
        &[],
        4,
        &["type would become float64 instead of float32"],
    );
    // A file that brings another variable, or lacks one.
    bench.write("c.nc", &days(4, 2).variable("more", "float", &["time"], &[0.0, 0.0], &[]).bytes());
    bench.refused(&recipe(&whole, chunks), &[], 4, &["variable-absent", "`more`"]);
    let filled = recipe(&whole, chunks).replace("[time]}", "[time], absent: fill}");
    bench.refused(&filled, &[], 4, &["unappendable", "it would gain the variables `more`"]);
    // One whose type is wider than the published one.
    let mut wide = days(4, 2);
    wide.variables.get_mut("x").unwrap().r#type = "double".into();
    bench.write("c.nc", &wide.bytes());
    bench.refused(&recipe(&whole, chunks), &[], 4, &["`x`: its type would become float64 instead of float32"]);
    bench.write("c.nc", &days(4, 2).bytes());
    bench.done(&recipe(&whole, chunks), &[]);
}

#[test]
fn what_is_published_is_not_written_over_but_by_the_recipes_word() {
    let bench = Bench::new();
    let names = series(&bench, &[3, 2, 3]);
    let chunks = |more: &str| format!("output:\n  chunks: {{time: 2, lat: 2}}\n{more}");
    bench.done(&recipe(&files(&names[..1]), &chunks("")), &[]);
    let said = bench.refused(&recipe(&files(&names), &chunks("")), &[], 6, &["`x` is published up to 3 along `time`, inside a chunk of 2"]);
    bench.looks_as_recorded("append-refused", &said);
    let before = bench.objects();
    bench.done(&recipe(&files(&names[..2]), &chunks("  append: rewrite-tail\n")), &[]);
    let changed: Vec<String> =
        before.iter().filter(|(path, bytes)| bench.objects()[*path] != **bytes).map(|(path, _)| path.display().to_string()).collect();
    assert!(
        changed.iter().all(|path| path.ends_with("zarr.json") || path.starts_with("time/") || path.starts_with("x/c/1/")),
        "{changed:?}"
    );
    assert!(changed.iter().any(|path| path.starts_with("x/c/1/")), "{changed:?}");
    bench.done(&recipe(&files(&names), &chunks("  append: rewrite-tail\n")), &[]);
    let whole = Bench::new();
    series(&whole, &[3, 2, 3]);
    whole.done(&recipe(&files(&names), &chunks("")), &[]);
    assert!(bench.objects() == whole.objects());
    // Shards are read in two requests, so a last, partial one is never written again.
    let sharded = "output:\n  chunks: {time: 1}\n  shards: {time: 2}\n  append: rewrite-tail\n";
    let (exit, told) = Bench::new().run(&recipe(&files(&names), sharded), &[]);
    assert_eq!((exit, told.contains("policy-without-use")), (2, true), "{told}");
}

#[test]
fn a_tail_whose_files_secretly_changed_is_not_written_again() {
    let bench = Bench::new();
    let names = series(&bench, &[3, 2]);
    let tailed = "output:\n  chunks: {time: 4}\n  append: rewrite-tail\n";
    bench.done(&recipe(&files(&names[..1]), tailed), &[]);
    // Another value, of the same size and with the same time of modification.
    let path = bench.path.join("a.nc");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let mut other = days(0, 3);
    other.variables.get_mut("x").unwrap().values[4] = 99.0;
    bench.write("a.nc", &other.bytes());
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    let schema = bench.reader().schema().clone();
    let before = bench.seen_by(&schema);
    let (exit, told) = bench.run(&recipe(&files(&names), tailed), &[]);
    assert_eq!(exit, 6, "{told}");
    for text in ["published-changed", "variable `x`", "no longer those of its files", "`--replace`"] {
        assert!(told.contains(text), "no `{text}` in: {told}");
    }
    assert!(bench.seen_by(&schema) == before && bench.values("x").shape == [3, 3]);
    bench.write("a.nc", &days(0, 3).bytes());
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    bench.done(&recipe(&files(&names), tailed), &[]);
}
