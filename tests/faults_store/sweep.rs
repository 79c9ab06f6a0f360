//! Uploads in parts that nobody finished: `gc` finds and aborts those of its target, and no others. And what the pointer's put asks.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gristmill::run::gc::{Kind, Swept, Wish as Sweeping, gc};
use gristmill::store::{Access, Uploads, uploads};

use super::made_files::MadeFile;
use super::small_s3::{Conditions, SmallS3, Wish, error_body};
use super::{Place, stored};

fn sweep(target: &str, access: &Access, dry_run: bool, older_than: Duration) -> Swept {
    let wish = Sweeping { target: target.to_owned(), dry_run, older_than, keep: 0 };
    gc(&wish, access, &AtomicBool::new(false)).unwrap()
}

/// How many uploads a sweep names.
fn named(swept: &Swept) -> u64 {
    swept.items.iter().filter(|item| item.kind == Kind::Uploads).map(|item| item.objects).sum()
}

fn place_of(url: &str, access: &Access) -> Arc<dyn Uploads> {
    uploads(url, access).unwrap().unwrap()
}

/// What killed runs left at a target, beside it, and at its neighbours.
fn left_overs(target: &str, access: &Access) -> [Arc<dyn Uploads>; 4] {
    let [bucket, name] = [target.rsplit_once('/').unwrap().0, target.rsplit_once('/').unwrap().1];
    let neighbours = [format!("{bucket}/{name}2"), format!("{bucket}/other")];
    let places = [target.to_owned(), format!("{target}.gristmill"), neighbours[0].clone(), neighbours[1].clone()];
    places.map(|url| {
        let place = place_of(&url, access);
        place.begin("x/c/0/0", Bytes::from_static(b"part")).unwrap();
        place
    })
}

fn swept_as_it_should(target: &str, access: &Access) {
    let [own, state, similar, other] = left_overs(target, access);
    let count = |of: &Arc<dyn Uploads>| of.unfinished().unwrap().len();
    let young = sweep(target, access, false, Duration::from_hours(24 * 365 * 200));
    assert!(named(&young) == 0 && young.notes.iter().any(|note| note.contains("begun lately")), "{young:?}");
    let foretold = sweep(target, access, true, Duration::ZERO);
    assert_eq!((named(&foretold), count(&own), count(&state)), (2, 1, 1), "{foretold:?}");
    assert_eq!(named(&sweep(target, access, false, Duration::ZERO)), 2);
    assert_eq!([&own, &state, &similar, &other].map(count), [0, 0, 1, 1]);
    let again = sweep(target, access, false, Duration::ZERO);
    assert!(again.items.is_empty(), "{again:?}");
    for neighbour in [similar, other] {
        neighbour.unfinished().unwrap().iter().for_each(|upload| neighbour.abort(upload).unwrap());
    }
}

#[test]
fn uploads_that_killed_runs_left_go_and_those_of_others_stay() {
    let server = SmallS3::start(Conditions::Honoured);
    let place = Place::on(&server, 2);
    place.succeeds(&[]);
    let before = stored(&server);
    swept_as_it_should(&place.target, &super::probe::access(&server.endpoint()));
    assert_eq!(stored(&server), before);
}

#[test]
fn uploads_that_killed_runs_left_go_moto() {
    let Ok(endpoint) = std::env::var("GRISTMILL_TEST_S3") else {
        println!("SKIP: no moto: `GRISTMILL_TEST_S3` is not set; ci/servers.sh starts one");
        return;
    };
    super::real_s3::make_bucket(&endpoint, "gristmill-sweep", "");
    let place = Place::local(2).at(&endpoint, &format!("s3://gristmill-sweep/{}/out.zarr", std::process::id()));
    place.succeeds(&[]);
    swept_as_it_should(&place.target, &super::probe::access(&endpoint));
}

#[test]
fn a_store_that_cannot_list_uploads_is_told_of() {
    let server = SmallS3::start(Conditions::Honoured);
    let place = Place::on(&server, 2);
    place.succeeds(&[]);
    let access = super::probe::access(&server.endpoint());
    place_of(&place.target, &access).begin("x/c/0/0", Bytes::from_static(b"part")).unwrap();
    server
        .script(|request| request.query.contains_key("uploads").then(|| Wish::Answer("501 Not Implemented", error_body("NotImplemented"))));
    let swept = sweep(&place.target, &access, false, Duration::ZERO);
    let told = swept.notes.iter().filter(|note| note.contains("cannot list uploads")).count();
    assert_eq!((named(&swept), told, server.unfinished()), (0, 1, 1), "{swept:?}");
}

/// A file whose one chunk, stored as it is, is larger than what is sent in one request (64 MiB).
fn large(place: &Place) {
    const VALUES: u32 = 8_500_000;
    let values: Vec<f64> = (0..VALUES).map(f64::from).collect();
    let file = MadeFile::default()
        .dimension("time", 1)
        .dimension("x", VALUES)
        .variable("time", "double", &["time"], &[0.0], &[("units", "days since 2000-01-01")])
        .variable("v", "double", &["time", "x"], &values, &[("units", "K")]);
    std::fs::write(place.path.join("0.nc"), file.bytes()).unwrap();
    place.of(&["0.nc".to_owned()]);
    let recipe = place.path.join("recipe.yaml");
    let text = std::fs::read_to_string(&recipe).unwrap() + "  encoding: {\"*\": {codecs: none}}\n";
    std::fs::write(recipe, text).unwrap();
}

#[test]
fn an_upload_whose_process_was_killed_is_swept() {
    let server = SmallS3::start(Conditions::Honoured);
    let place = Place::on(&server, 0);
    large(&place);
    let is_slow = Arc::new(AtomicBool::new(true));
    let slow = Arc::clone(&is_slow);
    server.script(move |request| {
        (request.query.contains_key("partNumber") && slow.load(Ordering::SeqCst)).then_some(Wish::Wait(Duration::from_mins(10)))
    });
    let mut run = place.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while server.unfinished() == 0 {
        assert!(begun.elapsed() < Duration::from_mins(2), "no upload in parts was begun");
        std::thread::sleep(Duration::from_millis(20));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    is_slow.store(false, Ordering::SeqCst);
    place.succeeds(&[]);
    assert_eq!(server.unfinished(), 1, "what the killed process had begun");
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command.args(["gc", &place.target, "--older-than", "0"]).env_remove("RUST_LOG");
    command.env("AWS_ENDPOINT_URL", server.endpoint()).env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "hush-hush");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("unfinished uploads"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(server.unfinished(), 0);
}

/// The conditions of each put of the pointer: none, there is none yet, it is the one that was read.
fn conditions_of_the_pointer(conditions: Conditions) -> Vec<&'static str> {
    let server = SmallS3::start(conditions);
    let place = Place::on(&server, 3);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    server.script(move |request| {
        if request.method == "PUT" && request.path.ends_with("/current.json") {
            let condition = match (request.header("if-none-match"), request.header("if-match")) {
                (Some(_), _) => "absent",
                (None, Some(_)) => "unchanged",
                (None, None) => "none",
            };
            noted.lock().unwrap().push(condition);
        }
        None
    });
    for days in [2, 3] {
        place.of_files(days);
        place.succeeds(&["--versioned"]);
    }
    let seen = seen.lock().unwrap();
    seen.clone()
}

#[test]
fn the_pointer_is_put_under_the_condition_that_the_store_holds() {
    let found = [Conditions::Honoured, Conditions::Ignored, Conditions::Refused];
    let found = std::thread::scope(|scope| {
        found.map(|conditions| scope.spawn(move || conditions_of_the_pointer(conditions))).map(|one| one.join().unwrap())
    });
    assert_eq!(found, [vec!["absent", "unchanged"], vec!["none", "none"], vec!["none", "none"]]);
}

#[test]
fn a_store_that_only_its_owner_can_read_is_told_of() {
    let server = SmallS3::start(Conditions::Honoured);
    let place = Place::on(&server, 2);
    place.succeeds(&[]);
    let verify = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
        command.args(["verify", &place.target]).env_remove("RUST_LOG");
        command.env("AWS_ENDPOINT_URL", server.endpoint()).env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "hush-hush");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = verify();
    assert!(text.contains("AR01  .: its metadata can be read without credentials"), "{text}");
    server.script(|request| request.header("authorization").is_none().then(|| Wish::Answer("403 Forbidden", error_body("AccessDenied"))));
    let text = verify();
    assert!(text.contains("warning AR01  .: it cannot be read without credentials") && text.contains("s3:GetObject"), "{text}");
}
