//! Stores that cannot keep two writers apart: what is refused there, what is not, and what the operator's word changes.

use std::fs;
use std::path::Path;

use super::small_s3::{Conditions, SmallS3};
use super::{Place, stored, undisturbed};

const WEAK: [Conditions; 3] = [Conditions::Ignored, Conditions::Refused, Conditions::Racy];

/// Holds what was said to the snapshot of its code (`GRISTMILL_BLESS=1` records it).
fn looks_as_recorded(code: &str, errors: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/invalid_data/{code}.txt"));
    let said = errors.get(errors.find(&format!("error[{code}]")).unwrap()..).unwrap();
    if std::env::var_os("GRISTMILL_BLESS").is_some() {
        fs::write(&path, said).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), said, "GRISTMILL_BLESS=1 records it");
}

#[test]
fn appending_needs_exclusive_creation_or_the_operators_word() {
    // At once, since each run waits for its lease to settle.
    std::thread::scope(|scope| WEAK.map(|conditions| scope.spawn(move || append_on(conditions))).map(|one| one.join().unwrap()));
}

fn append_on(conditions: Conditions) {
    let server = SmallS3::start(conditions);
    let place = Place::on(&server, 2);
    let first = place.succeeds(&[]);
    assert_eq!(first["writing"]["lock"], "lease, read back", "{conditions:?}");
    assert!(first["writing"]["weakness"].as_str().is_some_and(|why| !why.is_empty()));
    let before = stored(&server);
    assert_eq!(before, undisturbed(2), "{conditions:?}");
    place.add_day(2);
    place.of_files(3);
    let errors = place.fails(&[], 6, &["error[target-unable]", "append in place", "--single-writer", "--versioned"]);
    if conditions == Conditions::Ignored {
        looks_as_recorded("target-unable", &errors);
    }
    assert_eq!(stored(&server), before, "{conditions:?}: something was written");
    let report = place.succeeds(&["--single-writer"]);
    assert_eq!(report["writing"]["single_writer"], true);
    assert_eq!(stored(&server), undisturbed(3), "{conditions:?}");
    // The same word as a setting.
    place.add_day(3);
    place.of_files(4);
    let settings = fs::read_to_string(place.path.join("settings.toml")).unwrap();
    fs::write(place.path.join("settings.toml"), settings + "[policy]\nsingle_writer = true\n").unwrap();
    place.succeeds(&[]);
    assert_eq!(stored(&server), undisturbed(4), "{conditions:?}");
}

#[test]
fn replacing_where_readers_are_needs_the_same() {
    let server = SmallS3::start(Conditions::Refused);
    let place = Place::on(&server, 2);
    place.succeeds(&[]);
    let before = stored(&server);
    place.fails(&["--replace=non-atomic"], 6, &["error[target-unable]", "append in place"]);
    assert_eq!(stored(&server), before);
    place.succeeds(&["--replace=non-atomic", "--single-writer"]);
    assert_eq!(stored(&server), before);
}

#[test]
fn what_a_store_can_do_is_asked_once_and_again_of_another_server() {
    let server = SmallS3::start(Conditions::Honoured);
    let place = Place::on(&server, 1);
    place.succeeds(&[]);
    let probes = |server: &SmallS3| server.log().iter().filter(|(method, path)| method == "PUT" && path.contains("/probe-")).count();
    let asked = probes(&server);
    assert!(asked > 20, "{asked}");
    assert!(!server.objects().keys().any(|path| path.contains("/probe-")), "the probe left something");
    place.succeeds(&[]);
    assert_eq!(probes(&server), asked);
    // The same objects behind another server: what the first one said counts no longer.
    let other = SmallS3::start(Conditions::Refused);
    server.objects().iter().for_each(|(path, bytes)| other.put(path, bytes));
    let place = place.at(&other.endpoint(), "s3://bucket/out.zarr");
    place.add_day(1);
    place.of_files(2);
    place.fails(&[], 6, &["error[target-unable]"]);
    assert!(probes(&other) > 4);
}
