//! One file at a time, and all at once: equal stores.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use gristmill::array::Array;
use gristmill::dataset::Schema;

use crate::bench::{Bench, days, files, recipe, series};
use crate::scripted_server::{Request, Server, reply, tagged};

/// The folder of shared test data, which lies beside a checkout, and two folders up from a work tree.
fn shared(set: &str) -> Vec<String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let given = std::env::var_os("GRISTMILL_SHARED").map(PathBuf::from);
    let folder =
        given.unwrap_or_else(|| ["../shared", "../../shared"].map(|path| root.join(path)).into_iter().find(|path| path.is_dir()).unwrap());
    let listed = fs::read_dir(folder.join("data").join(set)).expect("shared data beside the repository, or named by GRISTMILL_SHARED");
    let mut names: Vec<String> = listed.map(|entry| entry.unwrap().path().canonicalize().unwrap().display().to_string()).collect();
    names.retain(|name| [".nc", ".cdf"].iter().any(|end| name.ends_with(end)));
    names.sort();
    names
}

/// Bakes one file, then a file more, and so on; and all at once. The stores must be equal, and at every step whoever opened the store
/// before sees what he saw.
fn one_at_a_time(names: &[String], made: &dyn Fn(&[String]) -> String) -> Bench {
    let (grown, whole) = (Bench::new(), Bench::new());
    let mut seen: Option<(Schema, BTreeMap<String, Array>)> = None;
    for count in 1..=names.len() {
        grown.done(&made(&names[..count]), &[]);
        let schema = grown.reader().schema().clone();
        if let Some((before, values)) = &seen {
            assert!(grown.seen_by(before) == *values, "a reader of the old shape sees other values after file {count}");
        }
        seen = Some((schema.clone(), grown.seen_by(&schema)));
        assert_eq!(grown.report()["outcome"], "done");
    }
    grown.done(&made(names), &[]);
    assert_eq!(grown.report()["outcome"], "nothing-to-do", "run twice, written once");
    whole.done(&made(names), &[]);
    let (one, other) = (grown.objects(), whole.objects());
    let differing: Vec<&PathBuf> = one.keys().chain(other.keys()).filter(|path| one.get(*path) != other.get(*path)).collect();
    assert!(differing.is_empty(), "one file at a time and all at once differ in {differing:?}");
    grown
}

#[test]
fn a_century_of_days_grows_by_whole_chunks() {
    let names = shared("cmip5-hadgem2-mrsos-day");
    assert_eq!(names.len(), 11);
    // Files of 3600, 1410 and 60 days.
    let grown =
        one_at_a_time(&names, &|names| recipe(&files(names), "output:\n  chunks: {time: 30}\nexpect:\n  time: {monotonic: true}\n"));
    assert_eq!(grown.values("mrsos").shape, [33_870, 2, 2]);
}

#[test]
fn a_century_of_days_grows_by_rewriting_its_tail() {
    let names = shared("cmip5-hadgem2-mrsos-day");
    let grown = one_at_a_time(&names, &|names| {
        recipe(&files(names), "output:\n  chunks: {time: 5000}\n  append: rewrite-tail\nexpect:\n  time: {monotonic: true}\n")
    });
    assert_eq!(grown.values("mrsos").shape, [33_870, 2, 2]);
}

const ARM: &str = "steps:\n  - drop: [base_time]\noutput:\n  chunks: {time: 1440}\n";

fn arm(site: &str, day: &str) -> Vec<String> {
    shared("arm-sgpmet-daily").into_iter().filter(|name| name.contains(&format!("sgpmet{site}.b1.{day}"))).collect()
}

#[test]
fn station_files_that_each_count_from_their_own_midnight_grow_into_one_count() {
    let names = arm("E13", "201901");
    assert_eq!(names.len(), 7);
    let counted = format!(
        "{ARM}  encoding:\n    time: {{units: \"minutes since 2019-01-01\"}}\n    time_offset: {{units: \"minutes since 2019-01-01\"}}\nexpect:\n  time: {{regular: 1 minute}}\n"
    );
    let grown = one_at_a_time(&names, &|names| recipe(&files(names), &counted));
    let minutes: Vec<f64> = (0..7 * 1440).map(f64::from).collect();
    assert_eq!((grown.numbers("time"), grown.numbers("time_offset")), (minutes.clone(), minutes));
    assert_eq!(grown.reader().schema().variable("time").unwrap().attributes.text("units"), Some("minutes since 2019-01-01"));
}

#[test]
fn an_append_keeps_the_published_count_of_time() {
    let names = arm("E13", "201901");
    let grown = Bench::new();
    for count in [1, 2, 7] {
        grown.done(&recipe(&files(&names[..count]), ARM), &[]);
    }
    // The first file's own count, in its own type, goes on.
    let time = grown.reader().schema().variable("time").unwrap().clone();
    assert_eq!((time.attributes.text("units"), time.dtype.name()), (Some("seconds since 2019-01-01 00:00:00 0:00"), "float64"));
    assert_eq!(grown.numbers("time"), (0..7 * 1440).map(|minute| f64::from(minute) * 60.0).collect::<Vec<_>>());
    assert!(!grown.used("times: convert").is_empty());
    grown.done(&recipe(&files(&names), ARM), &[]);
    assert_eq!(grown.report()["outcome"], "nothing-to-do");
    let whole = Bench::new();
    whole.done(&recipe(&files(&names), ARM), &[]);
    assert_eq!(grown.values("temp_mean"), whole.values("temp_mean"));
}

#[test]
fn two_sites_and_two_formats_are_not_joined_by_accident() {
    let bench = Bench::new();
    let [one, other] = ["E31", "E32"].map(|site| arm(site, "20190508").pop().unwrap());
    bench.refused(&recipe(&files(&[one, other]), ARM), &[], 4, &["sgpmetE31", "sgpmetE32", "attribute-conflict", "`facility_id`"]);
    // The same when one of them is published: nothing of it is touched.
    let [one, other] = ["E31", "E32"].map(|site| arm(site, "20190508").pop().unwrap());
    bench.done(&recipe(&files(std::slice::from_ref(&one)), &ARM.replace("1440", "6")), &[]);
    bench.refused(&recipe(&files(&[one, other]), &ARM.replace("1440", "6")), &[], 4, &["sgpmetE31", "sgpmetE32"]);
    // One site, before and after its files changed their format, calendar and fill values.
    let names = [arm("E13", "20190107").pop().unwrap(), arm("E13", "20190508").pop().unwrap()];
    let bench = Bench::new();
    bench.refused(&recipe(&files(&names), ARM), &[], 4, &["20190107", "20190508"]);
}

#[test]
fn only_new_files_are_read() {
    let requests: Arc<Mutex<BTreeMap<(String, String), usize>>> = Arc::default();
    let counted = Arc::clone(&requests);
    let server = Server::start(move |request: &Request, _| {
        *counted.lock().unwrap().entry((request.method.clone(), request.path.clone())).or_default() += 1;
        let number = request.path.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
        if number < 6 { tagged(request, &days(number * 2, 2).bytes(), &format!("\"{number}\"")) } else { reply("404 Not Found", &[], b"") }
    });
    let names: Vec<String> = (0..6).map(|number| format!("'{}'", server.url(&format!("/{number}.nc")))).collect();
    let take = || std::mem::take(&mut *requests.lock().unwrap());
    for (chunks, more, read_again) in [("{time: 2}", "", 0), ("{time: 4}", "  append: rewrite-tail\n", 1)] {
        let bench = Bench::new();
        let made = |count: usize| recipe(&files(&names[..count]), &format!("output:\n  chunks: {chunks}\n{more}"));
        bench.done(&made(5), &[]);
        take();
        bench.done(&made(6), &[]);
        let seen = take();
        let gets: Vec<&str> = seen.keys().filter(|(method, _)| method == "GET").map(|(_, path)| path.as_str()).collect();
        let expected: Vec<String> = (5 - read_again..6).map(|number| format!("/{number}.nc")).collect();
        assert_eq!(gets, expected, "published files are asked for their validators only: {seen:?}");
        assert!((0..5 - read_again).all(|number| seen.get(&("HEAD".into(), format!("/{number}.nc"))) == Some(&1)), "{seen:?}");
        bench.done(&made(6), &[]);
        assert!(take().keys().all(|(method, _)| method == "HEAD"), "nothing is read when nothing is new");
    }
}

#[test]
fn chunks_that_nobody_chose_stay_as_they_are_published() {
    let bench = Bench::new();
    let names = series(&bench, &[4, 40, 400]);
    let tailed = "output: {append: rewrite-tail}\n";
    for count in 1..=3 {
        bench.done(&recipe(&files(&names[..count]), tailed), &[]);
    }
    let first = Bench::new();
    series(&first, &[4]);
    first.done(&recipe(&files(&names[..1]), tailed), &[]);
    let chunks = |bench: &Bench| bench.reader().schema().variable("x").unwrap().encoding.chunks.clone();
    assert_eq!(chunks(&bench), chunks(&first));
    assert_eq!(bench.numbers("x"), (0..444).flat_map(|day| (0..3).map(move |lat| f64::from(day * 10 + lat))).collect::<Vec<_>>());
}

#[test]
fn a_rule_that_is_newer_than_the_store_is_said_to_judge_the_new_part_only() {
    let bench = Bench::new();
    let names = series(&bench, &[2, 2]);
    let made =
        |count: usize, rule: &str| recipe(&files(&names[..count]), &format!("output:\n  chunks: {{time: 2}}\nexpect:\n  x: {{{rule}}}\n"));
    bench.done(&made(1, "units: K"), &[]);
    bench.done(&made(2, "values_between: [20, 32]"), &[]);
    assert_eq!(bench.used("expect").len(), 1, "{}", bench.report());
    let bench = Bench::new();
    series(&bench, &[2, 2]);
    bench.done(&made(1, "values_between: [0, 32]"), &[]);
    bench.done(&made(2, "values_between: [0, 32]"), &[]);
    assert!(bench.used("expect").is_empty());
}
