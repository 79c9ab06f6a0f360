//! Servers that fail: in passing, for good, or while they say that all is well.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::small_s3::{Conditions, SmallS3, Wish, error_body};
use super::{Place, stored, undisturbed};

/// True for objects of the variable `x`.
fn is_data(path: &str) -> bool {
    path.contains("/x/c/")
}

/// A place whose server does what `wish` says until the switch is set.
fn faulty(
    days: u32,
    wish: impl Fn(&super::small_s3::Request) -> Option<Wish> + Send + Sync + 'static,
) -> (SmallS3, Place, Arc<AtomicBool>) {
    let server = SmallS3::start(Conditions::Honoured);
    let place = Place::on(&server, days);
    let well = Arc::new(AtomicBool::new(false));
    let healed = Arc::clone(&well);
    server.script(move |request| if healed.load(Ordering::SeqCst) { None } else { wish(request) });
    (server, place, well)
}

#[test]
fn s3_500_and_503_slow_down_are_retried_with_a_cap_on_attempts_and_time() {
    for status in ["503 Slow Down", "500 Internal Server Error", "429 Too Many Requests", "409 Conflict"] {
        let (server, place, well) = faulty(3, move |request| {
            (request.method == "PUT" && is_data(&request.path)).then(|| Wish::Answer(status, error_body("SlowDown")))
        });
        let begun = Instant::now();
        place.fails(&[], 5, &[&format!("the server answers {}", &status[..3]), "tried 3 times", "hint: this may pass"]);
        assert!(begun.elapsed() < Duration::from_secs(40), "{status}: {:?}", begun.elapsed());
        for day in 0..3 {
            let puts = server.log().iter().filter(|(method, path)| method == "PUT" && path.ends_with(&format!("/x/c/{day}/0/0"))).count();
            assert!(puts <= 3, "{status}: {puts} attempts");
        }
        assert!(!stored(&server).contains_key("zarr.json"), "visible after {status}");
        well.store(true, Ordering::SeqCst);
        place.succeeds(&[]);
        assert_eq!(stored(&server), undisturbed(3), "{status}");
    }
}

#[test]
fn s3_500_and_503_that_pass_leave_no_trace() {
    // Every third object, each time it is asked for anew in another way.
    let known = Mutex::new(BTreeSet::new());
    let (server, place, _) = faulty(4, move |request| {
        let is_first = known.lock().unwrap().insert((request.method.clone(), request.path.clone()));
        match request.path.bytes().map(usize::from).sum::<usize>() % 3 {
            0 if is_first && request.method == "PUT" => Some(Wish::Answer("503 Slow Down", error_body("SlowDown"))),
            0 if is_first => Some(Wish::Answer("500 Internal Server Error", error_body("InternalError"))),
            _ => None,
        }
    });
    std::fs::write(place.path.join("settings.toml"), "[network]\nattempts = 6\ngive_up_after_seconds = 60\n").unwrap();
    place.succeeds(&[]);
    assert_eq!(stored(&server), undisturbed(4));
}

#[test]
fn s3_200_with_an_error_body_is_an_error() {
    // An object that was not stored, though its put was answered with 200.
    let (server, place, well) =
        faulty(2, |request| (request.method == "PUT" && is_data(&request.path)).then(|| Wish::ErrorWith200(error_body("InternalError"))));
    place.fails(&[], 5, &["x/c/", "tried 3 times"]);
    assert!(!stored(&server).contains_key("zarr.json"));
    well.store(true, Ordering::SeqCst);
    place.succeeds(&[]);
    // State that is answered with an error must not be taken for lost, or the store for a foreign one.
    let first = AtomicBool::new(true);
    server.script(move |request| {
        let hit = request.method == "GET" && request.path.ends_with("committed.json") && first.swap(false, Ordering::SeqCst);
        hit.then(|| Wish::ErrorWith200(error_body("SlowDown")))
    });
    assert_eq!(place.succeeds(&[])["outcome"], "nothing-to-do");
}

#[test]
fn s3_200_with_an_error_body_at_the_end_of_an_upload_in_parts_is_an_error() {
    use gristmill::store::{ErrorKind, target, uploads};
    let server = SmallS3::start(Conditions::Honoured);
    let access = super::probe::access(&server.endpoint());
    let parts = [bytes::Bytes::from(vec![1; 100]), bytes::Bytes::from(vec![2; 50])];
    for (code, kind, unfinished) in [("InternalError", ErrorKind::Temporary, 0), ("AccessDenied", ErrorKind::Other, 0)] {
        server.script(move |request| {
            let is_end = request.method == "POST" && request.query.contains_key("uploadId");
            is_end.then(|| Wish::ErrorWith200(error_body(code)))
        });
        let door = uploads("s3://bucket/out.zarr", &access).unwrap().unwrap();
        let error = door.in_parts("shard", &parts).unwrap_err();
        assert_eq!(error.kind, kind, "{code}: {error}");
        assert_eq!(server.unfinished(), unfinished, "{code}: left-overs");
    }
    server.script(|_| None);
    uploads("s3://bucket/out.zarr", &access).unwrap().unwrap().in_parts("shard", &parts).unwrap();
    assert_eq!(target("s3://bucket/out.zarr", &access).unwrap().get("shard").unwrap(), Some(parts.concat().into()));
}

#[test]
fn multipart_left_overs_are_found_and_aborted() {
    use gristmill::store::uploads;
    let server = SmallS3::start(Conditions::Honoured);
    let access = super::probe::access(&server.endpoint());
    let (ours, others) =
        (uploads("s3://bucket/out.zarr", &access).unwrap().unwrap(), uploads("s3://bucket/other", &access).unwrap().unwrap());
    let left = ours.begin("x/c/0 &0", bytes::Bytes::from_static(b"part")).unwrap();
    others.begin("x/c/0", bytes::Bytes::from_static(b"part")).unwrap();
    let found = ours.unfinished().unwrap();
    assert_eq!(found.iter().map(|one| (one.key.as_str(), one.id.as_str())).collect::<Vec<_>>(), [("x/c/0 &0", left.id.as_str())]);
    assert_eq!(found[0].begun.as_deref(), Some("2026-01-02T03:04:05.000Z"));
    ours.abort(&found[0]).unwrap();
    ours.abort(&found[0]).unwrap();
    assert_eq!((ours.unfinished().unwrap().len(), others.unfinished().unwrap().len(), server.unfinished()), (0, 1, 1));
}

#[test]
fn store_alters_bytes_stops_the_run_before_commit() {
    // From the first object on: the question before the lease finds it.
    let (server, place, _) = faulty(2, |request| (request.method == "PUT").then_some(Wish::Append(10)));
    place.fails(&[], 6, &["error[target-unable]", "does not give back what it was given"]);
    assert!(stored(&server).is_empty());
    // Only large or late ones: what is stored is compared with what was sent.
    let (server, place, _) = faulty(2, |request| (request.method == "PUT" && is_data(&request.path)).then_some(Wish::Append(10)));
    let output = place.run(&[]);
    assert!(![Some(0), Some(1), None].contains(&output.status.code()), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!stored(&server).contains_key("zarr.json"), "published altered bytes");
}

#[test]
fn credentials_expire_mid_run() {
    let puts = AtomicUsize::new(0);
    let (server, place, well) = faulty(6, move |request| {
        let expired = puts.fetch_add(usize::from(request.method == "PUT" && is_data(&request.path)), Ordering::SeqCst) > 2;
        expired.then(|| Wish::Answer("400 Bad Request", error_body("ExpiredToken")))
    });
    let begun = Instant::now();
    place.fails(&[], 3, &["the credentials have expired", "run again"]);
    assert!(begun.elapsed() < Duration::from_secs(30), "retried in vain");
    assert!(!stored(&server).contains_key("zarr.json"));
    well.store(true, Ordering::SeqCst);
    place.succeeds(&[]);
    assert_eq!(stored(&server), undisturbed(6));
}

#[test]
fn clock_skew_between_us_and_s3_is_explained() {
    let (_server, place, _) = faulty(1, |_| Some(Wish::Answer("403 Forbidden", error_body("RequestTimeTooSkewed"))));
    place.fails(&[], 3, &["the clock of this machine is wrong"]);
}

#[test]
fn destination_filled_by_someone_else_is_left_alone() {
    let server = SmallS3::start(Conditions::Honoured);
    let place = Place::on(&server, 1);
    server.put("bucket/out.zarr/thesis.txt", b"mine");
    place.fails(&[], 6, &["error[target-foreign]", "thesis.txt"]);
    assert_eq!(stored(&server).into_iter().collect::<Vec<_>>(), [("thesis.txt".to_owned(), b"mine".to_vec())]);
}

#[test]
fn eventual_consistency_of_listings_decides_nothing() {
    // Listings that miss everything: a second run finds its work done all the same, and an append goes on.
    let server = SmallS3::start(Conditions::Honoured);
    let place = Place::on(&server, 2);
    server.script(|request| {
        let is_list = request.method == "GET" && request.query.contains_key("list-type");
        is_list.then(|| Wish::Answer("200 OK", "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>".to_owned()))
    });
    place.succeeds(&[]);
    assert_eq!(place.succeeds(&[])["outcome"], "nothing-to-do");
    place.add_day(2);
    place.of_files(3);
    place.succeeds(&[]);
    assert_eq!(stored(&server), undisturbed(3));
}

#[test]
fn put_landed_but_its_answer_lost_is_done_once() {
    let lost = AtomicUsize::new(0);
    let (server, place, _) = faulty(3, move |request| {
        let hit = request.method == "PUT" && lost.fetch_add(1, Ordering::SeqCst).is_multiple_of(5);
        hit.then_some(Wish::Silence)
    });
    std::fs::write(place.path.join("settings.toml"), "[network]\nattempts = 6\ngive_up_after_seconds = 30\n").unwrap();
    place.succeeds(&[]);
    assert_eq!(stored(&server), undisturbed(3));
}
