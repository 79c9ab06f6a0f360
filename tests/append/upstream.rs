//! Files that change, come late or never.

use std::fs;

use crate::bench::{Bench, HEAD, days, files, recipe, series};

#[test]
fn a_file_that_changed_upstream_is_refused_kept_or_baked_again() {
    let bench = Bench::new();
    let names = series(&bench, &[2, 2, 2]);
    let chunks = "output:\n  chunks: {time: 2}\n";
    bench.done(&recipe(&files(&names[..2]), chunks), &[]);
    let mut other = days(0, 2);
    other.variables.get_mut("x").unwrap().values[0] = 99.0;
    other.attributes.insert("comment".into(), toml::Value::String("reprocessed".into()));
    bench.write("a.nc", &other.bytes());
    let said = bench.refused(&recipe(&files(&names[..2]), chunks), &[], 6, &["`a.nc`", "changed upstream"]);
    bench.looks_as_recorded("published-changed", &said);
    bench.refused(&recipe(&files(&names), chunks), &[], 6, &["published-changed", "`a.nc`"]);
    // Kept: nothing is written, and the report says of what the values are; an append goes on.
    let before = bench.objects();
    bench.done(&recipe(&files(&names[..2]), chunks), &["--changed", "keep"]);
    assert_eq!((bench.report()["outcome"].as_str(), bench.objects() == before), (Some("nothing-to-do"), true));
    assert!(bench.used("changed: keep")[0].contains("a.nc"), "{}", bench.report());
    bench.done(&recipe(&files(&names), chunks).replace("inputs: {", "inputs: {changed: keep, "), &[]);
    assert_eq!((bench.numbers("x")[0], bench.values("x").shape), (0.0, vec![6, 3]));
    assert!(bench.used("changed: keep")[0].contains("older state of"), "{}", bench.report());
    // Baked again: all or nothing, as if it had been so from the beginning.
    bench.refused(&recipe(&files(&names), chunks), &[], 6, &["`a.nc`"]);
    bench.done(&recipe(&files(&names), chunks).replace("inputs: {", "inputs: {changed: rebake, "), &[]);
    assert_eq!(bench.numbers("x")[0], 99.0);
    assert_eq!(bench.used("changed: rebake").len(), 1, "{}", bench.report());
    let fresh = Bench::new();
    series(&fresh, &[2, 2, 2]);
    fresh.write("a.nc", &other.bytes());
    fresh.done(&recipe(&files(&names), chunks), &[]);
    assert!(bench.objects() == fresh.objects());
    bench.done(&recipe(&files(&names), chunks), &[]);
    assert_eq!(bench.report()["outcome"], "nothing-to-do");
}

#[test]
fn a_changed_file_cannot_be_kept_where_it_must_be_read_again() {
    let bench = Bench::new();
    let names = series(&bench, &[3, 2]);
    let tailed = "output:\n  chunks: {time: 4}\n  append: rewrite-tail\n";
    bench.done(&recipe(&files(&names[..1]), tailed), &[]);
    bench.write("a.nc", &[days(0, 3).bytes(), vec![0; 4]].concat());
    bench.refused(&recipe(&files(&names), tailed), &["--changed", "keep"], 6, &["published-changed", "a.nc", "must be written again"]);
    // Nor where it holds other steps now.
    let bench = Bench::new();
    let names = series(&bench, &[2, 2]);
    let chunks = "output:\n  chunks: {time: 2}\n";
    bench.done(&recipe(&files(&names), chunks), &[]);
    bench.write("a.nc", &days(10, 2).bytes());
    let (exit, told) = bench.run(&recipe(&files(&names), chunks).replace("[time]}", "[time], order: as_listed}"), &["--changed", "keep"]);
    assert_eq!((exit, told.contains("published values of `time` changed")), (6, true), "{told}");
}

/// Daily files by date, in a folder of their own.
fn dated(bench: &Bench, day: u32) {
    bench.write(&format!("day-2000010{}.nc", day + 1), &days(day, 1).bytes());
}

fn moving(end: &str, more: &str) -> String {
    let inputs =
        format!("url: \"day-{{time:%Y%m%d}}.nc\", keys: {{time: {{dates: {{start: 2000-01-01, end: {end}, step: 1 day}}}}}}{more}");
    recipe(&inputs, "output:\n  chunks: {time: 1}\n")
}

#[test]
fn an_end_that_moves_appends_what_has_come() {
    let bench = Bench::new();
    (0..3).for_each(|day| dated(&bench, day));
    let moving = moving("today - 2 days", "");
    bench.done(&moving, &["--today", "2000-01-04"]);
    assert_eq!(bench.numbers("time"), [0.0, 1.0]);
    assert_eq!(bench.used("end: today - 2 days"), ["\"inputs\": \"2000-01-02, counted from 2000-01-04\""]);
    bench.done(&moving, &["--today", "2000-01-05"]);
    assert_eq!(bench.numbers("time"), [0.0, 1.0, 2.0]);
    bench.done(&moving, &["--today", "2000-01-05"]);
    assert_eq!(bench.report()["outcome"], "nothing-to-do");
    // The file of the next day is not there yet, and a clock that goes back takes nothing back.
    bench.refused(&moving, &["--today", "2000-01-06"], 3, &["source-absent", "day-20000104.nc"]);
    bench.refused(&moving, &["--today", "2000-01-04"], 6, &["would become shorter"]);
    let whole = Bench::new();
    (0..3).for_each(|day| dated(&whole, day));
    whole.done(&moving, &["--today", "2000-01-05"]);
    assert!(bench.objects() == whole.objects());
}

#[test]
fn files_that_are_late_end_the_series_and_never_leave_a_hole() {
    let bench = Bench::new();
    for day in [0, 1, 3] {
        dated(&bench, day);
    }
    let late = moving("today", ", late: skip");
    // The third day is missing although the fourth is there: a hole, not an end.
    bench.refused(&late, &["--today", "2000-01-06"], 3, &["source-absent", "day-20000103.nc"]);
    fs::remove_file(bench.path.join("day-20000104.nc")).unwrap();
    bench.done(&late, &["--today", "2000-01-06"]);
    assert_eq!(bench.numbers("time"), [0.0, 1.0]);
    assert!(bench.used("late: skip")[0].contains("day-20000103.nc"), "{}", bench.report());
    // The next day nothing has come: nothing is done, though the clock says something else.
    bench.done(&late, &["--today", "2000-01-07"]);
    assert_eq!(bench.report()["outcome"], "nothing-to-do");
    for day in [2, 3] {
        dated(&bench, day);
    }
    bench.done(&late, &["--today", "2000-01-07"]);
    assert_eq!(bench.numbers("time"), [0.0, 1.0, 2.0, 3.0]);
    let whole = Bench::new();
    (0..4).for_each(|day| dated(&whole, day));
    whole.done(&late, &["--today", "2000-01-04"]);
    assert!(bench.objects() == whole.objects());
    // A published file that vanishes does not shorten the series silently.
    fs::remove_file(bench.path.join("day-20000104.nc")).unwrap();
    bench.refused(&late, &["--today", "2000-01-07"], 6, &["would become shorter"]);
}

#[test]
fn what_may_still_come_is_never_filled() {
    let bench = Bench::new();
    for day in [0, 2] {
        dated(&bench, day);
    }
    // A hole before the end is filled by the recipe's word; what may still come is not.
    bench.done(&moving("today", ", missing: fill"), &["--today", "2000-01-05"]);
    let values = bench.numbers("x");
    assert_eq!((bench.numbers("time"), values.len()), (vec![0.0, 1.0, 2.0], 9));
    assert!(values[3..6].iter().all(|value| value.is_nan()) && values[6] == 20.0, "{values:?}");
    assert_eq!((bench.used("missing: fill").len(), bench.used("late: skip").len()), (1, 1), "{}", bench.report());
    // With `late: fail` the end must be there, whatever is said of the rest.
    bench.refused(&moving("today", ", missing: skip, late: fail"), &["--today", "2000-01-05"], 3, &["day-20000104.nc", "day-20000105.nc"]);
}

#[test]
fn one_variable_that_is_late_holds_the_others_back() {
    let bench = Bench::new();
    let one = |name: &str, day: u32| {
        let mut file = days(day, 1);
        let field = file.variables.remove("x").unwrap();
        file.variables.insert(name.to_owned(), field);
        bench.write(&format!("{name}-2000010{}.nc", day + 1), &file.bytes());
    };
    let inputs = "url: \"{v}-{time:%Y%m%d}.nc\", late: skip, keys: {v: {list: [pr, tas]}, time: {dates: {start: 2000-01-01, end: today, step: 1 day}}}";
    let both = format!("{HEAD}inputs: {{{inputs}}}\ncombine: {{concat: [time], merge: [v]}}\noutput:\n  chunks: {{time: 1}}\n");
    for (name, days) in [("pr", 0..3), ("tas", 0..2)] {
        days.for_each(|day| one(name, day));
    }
    bench.done(&both, &["--today", "2000-01-03"]);
    assert_eq!((bench.values("pr").shape, bench.values("tas").shape), (vec![2, 3], vec![2, 3]));
    assert!(bench.used("late: skip")[0].contains("pr-20000103.nc"), "{}", bench.report());
    one("tas", 2);
    bench.done(&both, &["--today", "2000-01-03"]);
    assert_eq!(bench.values("tas").shape, [3, 3]);
}
