//! `gristmill store probe`: what each kind of store is found to be, and that nothing stays behind.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use gristmill::store::access::{Credentials, Retries, S3Access, Secret};
use gristmill::store::fault::{Faulty, Mishap, Operation, Rule, Until};
use gristmill::store::probe::{Abilities, Answer, Depth, Doors, Lag, Mode, Parts, Support, ask};
use gristmill::store::{Access, ErrorKind, target};

use super::real_s3::make_bucket;
use super::small_s3::{Conditions, SmallS3, Wish, error_body};

pub(crate) fn access(endpoint: &str) -> Access {
    access_as(endpoint, "test", "hush-hush")
}

fn access_as(endpoint: &str, key: &str, secret: &str) -> Access {
    let credentials = Credentials { key_id: key.into(), secret: Secret::new(secret), token: None };
    let s3 = S3Access { endpoint: Some(endpoint.to_owned()), credentials: Some(credentials), ..S3Access::default() };
    let wait = Duration::from_millis(5);
    let retries = Retries { attempts: 3, first_wait: wait, longest_wait: wait, ..Retries::default() };
    Access { s3, retries, ..Access::default() }
}

fn asked(doors: &Doors, depth: Depth) -> Abilities {
    ask(doors, "scratch", depth, &AtomicBool::new(false)).unwrap().unwrap()
}

fn probe(server: &SmallS3, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command.args(["store", "probe", "s3://bucket/deep/out.zarr"]).args(arguments).env_remove("RUST_LOG");
    command.env("AWS_ENDPOINT_URL", server.endpoint()).env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "hush-hush");
    command.output().unwrap()
}

#[test]
fn each_kind_of_server_is_known_for_what_it_is() {
    for (conditions, create, replace, append) in [
        (Conditions::Honoured, Support::Honoured, Support::Honoured, Answer::Yes),
        (Conditions::Ignored, Support::Ignored, Support::Ignored, Answer::Alone),
        (Conditions::Refused, Support::Refused, Support::Refused, Answer::Alone),
        (Conditions::Racy, Support::Honoured, Support::Honoured, Answer::Alone),
    ] {
        let server = SmallS3::start(conditions);
        let doors = Doors::open("s3://bucket/out.zarr", &access(&server.endpoint())).unwrap();
        for depth in [Depth::Lease, Depth::Thorough] {
            let told = asked(&doors, depth);
            assert_eq!((told.create, told.replace, &told.altered), (create, replace, &None), "{conditions:?}");
            assert_eq!(told.verdict(Mode::Append).answer, append, "{conditions:?}: {told:?}");
            assert_eq!(told.verdict(Mode::Versioned).answer, Answer::Yes);
            assert_eq!(told.creates_exclusively(), append == Answer::Yes);
            assert_eq!(told.endpoint, server.endpoint());
            let text = serde_json::to_string(&told).unwrap();
            assert_eq!(serde_json::from_str::<Abilities>(&text).unwrap(), told);
            assert_eq!((server.objects().len(), server.unfinished()), (0, 0), "{conditions:?}: something stays");
        }
        let further = asked(&doors, Depth::Thorough).further.unwrap();
        assert_eq!((further.parts, further.unfinished), (Parts::Whole, Support::Honoured), "{conditions:?}");
        assert_eq!([further.stale, further.unlisted, further.undeleted], [Lag::None; 3]);
    }
}

#[test]
fn real_servers_are_known_for_what_they_are() {
    let moto = ("gristmill-probe", "test", "test");
    for (variable, (bucket, key, secret), create, append) in [
        ("GRISTMILL_TEST_S3", moto, Support::Honoured, Answer::Yes),
        ("GRISTMILL_TEST_S3_STRIPPED", moto, Support::Ignored, Answer::Alone),
        ("GRISTMILL_TEST_S3S_FS", ("gristmill", "test", "test"), Support::Honoured, Answer::Alone),
        ("GRISTMILL_TEST_SWIFT", ("gristmill", "test:tester", "testing"), Support::Refused, Answer::Alone),
    ] {
        let Ok(endpoint) = std::env::var(variable) else {
            println!("SKIP: `{variable}` is not set; ci/servers.sh starts a server");
            continue;
        };
        let access = access_as(&endpoint, key, secret);
        if bucket == moto.0 {
            make_bucket(&endpoint, bucket, "");
        }
        let url = format!("s3://{bucket}/probe-{}", std::process::id());
        let told = asked(&Doors::open(&url, &access).unwrap(), Depth::Lease);
        assert_eq!((told.create, told.verdict(Mode::Append).answer), (create, append), "{variable}: {told:?}");
        assert!(told.altered.is_none() && target(&url, &access).unwrap().list("", 9).unwrap().is_empty(), "{variable}: {told:?}");
    }
}

#[test]
fn folders_and_memory_are_asked_like_any_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.zarr").display().to_string();
    for (url, endpoint) in [(path.as_str(), "local disk"), ("memory://asked", "memory")] {
        let told = asked(&Doors::open(url, &Access::default()).unwrap(), Depth::Thorough);
        assert!(told.creates_exclusively() && told.altered.is_none() && told.endpoint == endpoint, "{told:?}");
        assert_eq!(told.further.unwrap().parts, Parts::Needless);
        assert_eq!(target(url, &Access::default()).unwrap().list("", 9).unwrap(), Vec::<String>::new());
    }
}

#[test]
fn what_a_store_does_wrong_is_measured() {
    let doors = |name: &str, rules: Vec<Rule>| {
        let url = format!("memory://measured-{name}");
        let doors = Doors::open(&url, &Access::default()).unwrap();
        Doors { store: Arc::new(Faulty::new(Arc::clone(&doors.store), rules)), ..doors }
    };
    let late = |operation| Rule::every(operation, "lag/", Mishap::Late(Until::Time(Duration::from_millis(120))));
    let further = asked(&doors("late", vec![late(Operation::Put), late(Operation::Delete)]), Depth::Thorough).further.unwrap();
    for lag in [further.stale, further.unlisted, further.undeleted] {
        assert!(matches!(lag, Lag::Milliseconds(time) if (50..5000).contains(&time)), "{further:?}");
    }
    for (name, mishap) in [("more", Mishap::Append(7)), ("less", Mishap::Truncate(100)), ("turned", Mishap::Flip(65_000))] {
        let told = asked(&doors(name, vec![Rule::every(Operation::Put, "bytes-", mishap)]), Depth::Lease);
        assert!(told.altered.is_some(), "{name}");
        assert!(Mode::ALL.iter().all(|&mode| told.verdict(mode).answer == Answer::No), "{name}");
    }
    // Nothing can be told of a store that is down.
    let down = ask(
        &doors("down", vec![Rule::nth(Operation::Put, 1, Mishap::Fail(ErrorKind::Temporary))]),
        "",
        Depth::Lease,
        &AtomicBool::new(false),
    );
    assert_eq!(down.err().map(|error| error.kind), Some(ErrorKind::Temporary));
}

#[test]
fn a_probe_that_is_stopped_or_fails_cleans_up() {
    let server = SmallS3::start(Conditions::Honoured);
    let doors = Doors::open("s3://bucket/out.zarr", &access(&server.endpoint())).unwrap();
    for after in [1, 4, 8, 12] {
        let (stop, puts) = (Arc::new(AtomicBool::new(false)), AtomicUsize::new(0));
        let flag = Arc::clone(&stop);
        server.script(move |request| {
            let count = puts.fetch_add(usize::from(request.method == "PUT"), Ordering::SeqCst);
            flag.fetch_or(count >= after, Ordering::SeqCst);
            None
        });
        assert_eq!(ask(&doors, "scratch", Depth::Thorough, &stop).unwrap(), None, "after {after}");
        assert_eq!((server.objects().len(), server.unfinished()), (0, 0), "after {after}");
    }
    server.script(|request| {
        (request.method == "PUT" && request.path.ends_with("/parts")).then(|| Wish::Answer("403 Forbidden", error_body("AccessDenied")))
    });
    let failed = ask(&doors, "scratch", Depth::Thorough, &AtomicBool::new(false)).unwrap_err();
    assert_eq!((failed.kind, server.objects().len(), server.unfinished()), (ErrorKind::Forbidden, 0, 0));
}

#[test]
fn the_command_says_what_follows_in_words_and_as_data() {
    let server = SmallS3::start(Conditions::Ignored);
    server.put("bucket/deep/out.zarr/mine", b"untouched");
    let output = probe(&server, &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text} {}", String::from_utf8_lossy(&output.stderr));
    for line in ["create, or fail (If-None-Match: *)    silently ignored", "append in place", "only with --single-writer: ", "--versioned"]
    {
        assert!(text.contains(line), "`{line}` is missing in:\n{text}");
    }
    let output = probe(&server, &["--json"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["abilities"]["create"], "ignored");
    assert_eq!(told["modes"].as_array().unwrap().len(), 5);
    assert_eq!(told["modes"][1]["answer"], "alone");
    assert_eq!(server.objects().into_keys().collect::<Vec<_>>(), ["bucket/deep/out.zarr/mine"]);
    server.script(|request| (request.method == "PUT").then_some(Wish::Append(3)));
    assert_eq!(probe(&server, &[]).status.code(), Some(7));
    server.script(|_| Some(Wish::Answer("403 Forbidden", error_body("AccessDenied"))));
    let output = probe(&server, &[]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("access denied") && !errors.contains("hush-hush"), "{errors}");
}

#[test]
fn the_command_leaves_no_folder_behind() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().join("out.zarr").display().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_gristmill")).args(["store", "probe", &url]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(folder.path().read_dir().unwrap().next().is_none());
}
