//! Being told to stop while the store hangs.

use std::process::Command;
use std::time::{Duration, Instant};

use super::small_s3::{Conditions, SmallS3, Wish};
use super::{Place, stored, undisturbed};

#[test]
fn sigterm_ends_with_75_within_30_seconds_though_the_store_hangs() {
    let server = SmallS3::start(Conditions::Honoured);
    let place = Place::on(&server, 3);
    server.script(|request| (request.method == "PUT" && request.path.contains("/x/c/1/")).then_some(Wish::Wait(Duration::from_mins(2))));
    let run = place.command(&[]).spawn().unwrap();
    let begun = Instant::now();
    while !server.log().iter().any(|(method, path)| method == "PUT" && path.contains("/x/c/1/")) {
        assert!(begun.elapsed() < Duration::from_mins(1), "the run does not come far enough");
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &run.id().to_string()]).status().unwrap().success());
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.elapsed() < Duration::from_secs(30), "{:?}", told.elapsed());
    assert!(!stored(&server).contains_key("zarr.json"));
    server.script(|_| None);
    place.succeeds(&[]);
    assert_eq!(stored(&server), undisturbed(3));
}
