//! Two runs at one target: one wins, the other says who.

use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::scripted_server::Server;
use super::small_s3::{Conditions, SmallS3};
use super::{Place, files_below, slow_days, stored, undisturbed, urls};

const DAYS: u32 = 8;

/// Starts two runs at the same moment; exit codes and what was said, the winner first.
fn duel(place: &Place) -> [(Option<i32>, String); 2] {
    let runs = [(); 2].map(|()| place.command(&[]).spawn().unwrap());
    let mut ended = runs.map(|run| {
        let output = run.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    });
    ended.sort();
    ended
}

fn assert_one_wins(place: &Place) {
    let [winner, loser] = duel(place);
    assert_eq!((winner.0, loser.0), (Some(0), Some(6)), "{} | {}", winner.1, loser.1);
    assert!(loser.1.contains("error[target-held]") && loser.1.contains(&place.target), "{}", loser.1);
    let named = loser.1.contains("is being written by process ") && loser.1.contains(" on ") && loser.1.contains(" since ");
    assert!(named, "the holder is not named: {}", loser.1);
}

/// Ten rounds at once, each at a target of its own, with files that come slowly enough for both to meet.
fn rounds(count: usize, server: &Server, place_of: impl Fn(usize) -> Place + Sync) -> Vec<Place> {
    let place_of = &place_of;
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..count)
            .map(|round| {
                scope.spawn(move || {
                    let place = place_of(round);
                    place.of(&urls(server, DAYS));
                    assert_one_wins(&place);
                    place
                })
            })
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

#[test]
fn two_runs_one_target_local() {
    let (server, _slow) = slow_days(Duration::from_millis(700));
    let wanted = undisturbed(DAYS);
    for place in rounds(10, &server, |_| Place::local(0)) {
        assert_eq!(place.objects(), wanted);
    }
}

/// The store of one round on a server that all rounds share.
fn stored_at(server: &SmallS3, round: usize) -> BTreeMap<String, Vec<u8>> {
    let below = format!("bucket/{round}/out.zarr/");
    server.objects().into_iter().filter_map(|(path, bytes)| Some((path.strip_prefix(&below)?.to_owned(), bytes))).collect()
}

fn duels_on(conditions: Conditions) {
    let (days, _slow) = slow_days(Duration::from_millis(2500));
    let server = SmallS3::start(conditions);
    let wanted = undisturbed(DAYS);
    rounds(10, &days, |round| Place::local(0).at(&server.endpoint(), &format!("s3://bucket/{round}/out.zarr")));
    for round in 0..10 {
        assert_eq!(stored_at(&server, round), wanted, "{conditions:?}, round {round}");
    }
}

#[test]
fn two_runs_one_target_s3() {
    duels_on(Conditions::Honoured);
}

#[test]
fn two_runs_one_target_s3_that_ignores_conditions() {
    duels_on(Conditions::Ignored);
}

#[test]
fn two_runs_one_target_s3_that_refuses_conditions() {
    duels_on(Conditions::Refused);
}

#[test]
fn two_runs_one_target_s3_that_is_racy() {
    duels_on(Conditions::Racy);
}

#[test]
fn two_runs_one_target_moto() {
    let Ok(endpoint) = std::env::var("GRISTMILL_TEST_S3") else {
        println!("SKIP: no moto: `GRISTMILL_TEST_S3` is not set; ci/servers.sh starts one");
        return;
    };
    super::real_s3::make_bucket(&endpoint, "gristmill-held", "");
    let (days, _slow) = slow_days(Duration::from_millis(2500));
    let run = std::process::id();
    rounds(10, &days, |round| Place::local(0).at(&endpoint, &format!("s3://gristmill-held/{run}-{round}/out.zarr")));
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap().success());
}

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_mins(1), "not so in a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_holder_that_was_killed_here_is_not_waited_for() {
    let (days, slow) = slow_days(Duration::from_millis(400));
    let server = SmallS3::start(Conditions::Honoured);
    let place = Place::on(&server, 0);
    place.of(&urls(&days, DAYS));
    let mut first = place.command(&[]).spawn().unwrap();
    wait_for("a receipt", || server.objects().keys().any(|path| path.contains("/receipts/")));
    first.kill().unwrap();
    first.wait().unwrap();
    slow.store(false, Ordering::SeqCst);
    let begun = Instant::now();
    let report = place.succeeds(&[]);
    assert!(begun.elapsed() < Duration::from_secs(15), "it waited {:?} for a dead process", begun.elapsed());
    assert_eq!(report["writing"], serde_json::json!({"lock": "lease", "epoch": 2, "single_writer": false, "weakness": null}));
    assert_eq!(stored(&server), undisturbed(DAYS));
}

/// A laptop that was closed, a container that was frozen: the other run goes on, and who wakes up ends.
#[test]
fn a_holder_that_was_suspended_finds_itself_taken_over_and_commits_nothing() {
    let (days, _slow) = slow_days(Duration::from_millis(400));
    let server = SmallS3::start(Conditions::Honoured);
    let place = Place::on(&server, 0);
    place.of(&urls(&days, DAYS));
    let first = place.command(&[]).spawn().unwrap();
    wait_for("a lease", || server.objects().keys().any(|path| path.ends_with("/lease/0000000001.json")));
    std::thread::sleep(Duration::from_millis(500));
    signal(&first, "STOP");
    // It is there and does not move: only time tells that it is as good as dead.
    let report = place.succeeds(&[]);
    assert_eq!(report["writing"]["epoch"], 2);
    let committed = server.objects();
    signal(&first, "CONT");
    let output = first.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{errors}");
    assert!(errors.contains("was taken over by process"), "{errors}");
    assert_eq!(stored(&server), undisturbed(DAYS));
    let state = |objects: &BTreeMap<String, Vec<u8>>| objects.get("bucket/out.zarr.gristmill/report.json").cloned();
    assert_eq!(state(&committed), state(&server.objects()), "the report of the other run was written over");
}

#[test]
fn a_state_folder_that_was_taken_away_stops_the_run_before_commit() {
    let (days, _slow) = slow_days(Duration::from_millis(1500));
    let place = Place::local(0);
    place.of(&urls(&days, 4));
    let run = place.command(&[]).spawn().unwrap();
    let state = std::path::PathBuf::from(format!("{}.gristmill", place.target));
    wait_for("a lock", || state.join("lock").exists());
    std::thread::sleep(Duration::from_millis(300));
    std::fs::remove_dir_all(&state).unwrap();
    let output = run.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{errors}");
    assert!(errors.contains("was removed while this run was under way"), "{errors}");
    assert!(!files_below(std::path::Path::new(&place.target)).contains_key("zarr.json"));
}
