//! Slow and silent servers: told of while they last, and ended. And requests per second over all stores of a run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill::event::Event;
use gristmill::store::access::{Credentials, S3Access, Secret};
use gristmill::store::{Access, ErrorKind, PutMode, Waits, conditional, target};

use super::canary::{command, file, place};
use super::server::{Server, Step, head, honest};
use super::small_s3::{Conditions, SmallS3, Wish};
use super::{Recorder, content, hasty, reporting};

/// (part, bytes that came) of what was told.
fn told(recorder: &Recorder) -> Vec<(String, u64)> {
    let waiting = |event: &Event| if let Event::Waiting { part, bytes, .. } = event { Some((part.clone(), *bytes)) } else { None };
    recorder.0.lock().unwrap().iter().filter_map(waiting).collect()
}

fn watched(deadline: Duration) -> Access {
    let waits = Waits { quiet: Duration::from_millis(200), deadline, slowest: "1 GiB".parse().unwrap() };
    Access { waits, idle_timeout: Duration::from_mins(10), ..hasty() }
}

#[test]
fn a_server_that_drips_is_ended_at_the_deadline() {
    let server = Server::start(|request, _| {
        let Some(range) = request.range(5000).filter(|range| range.start > 0) else { return honest(request, &content()) };
        let told = format!("bytes {}-{}/5000", range.start, range.end - 1);
        let length = range.len().to_string();
        let start = head("206 Partial Content", &[("Content-Range", &told), ("Content-Length", &length), ("ETag", "\"one\"")]);
        let drops = (0..30).flat_map(|_| [Step::Wait(Duration::from_millis(100)), Step::Send(vec![0])]);
        std::iter::once(Step::Send(start)).chain(drops).collect()
    });
    let (store, _) = reporting(&watched(Duration::from_millis(900)));
    let begun = Instant::now();
    let error = store.ranges(&server.url("/a.nc"), &[1000..4000]).unwrap_err();
    assert_eq!((error.kind, error.exit()), (ErrorKind::Temporary, 5));
    assert!(error.to_string().contains("bytes 1000-3999") && error.to_string().contains("deadline_seconds"), "{error}");
    assert!(begun.elapsed() >= Duration::from_millis(900));
}

#[test]
fn a_server_that_says_nothing_is_told_of_with_file_and_bytes_and_ended() {
    let server = Server::start(|request, _| {
        if request.range(5000).is_some_and(|range| range.start > 0) {
            return vec![Step::Wait(Duration::from_secs(20))];
        }
        honest(request, &content())
    });
    let (store, recorder) = reporting(&watched(Duration::from_millis(1200)));
    let error = store.ranges(&server.url("/a.nc?token=hush-hush"), &[1000..2000, 4000..4001]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Temporary, "{error}");
    let told = told(&recorder);
    assert!(told.len() >= 2, "{told:?}");
    assert!(told.iter().all(|(part, _)| part == "2 ranges in bytes 1000-4000"), "{told:?}");
    assert!(!format!("{:?}", recorder.0.lock().unwrap()).contains("hush"));
}

/// A target on a server that answers everything too late, and who hears of it.
fn late(server: &SmallS3) -> (Access, Arc<Recorder>) {
    server.script(|_| Some(Wish::Wait(Duration::from_secs(5))));
    let credentials = Credentials { key_id: "test".into(), secret: Secret::new("test"), token: None };
    let s3 = S3Access { endpoint: Some(server.endpoint()), credentials: Some(credentials), ..S3Access::default() };
    let access = Access { s3, ..watched(Duration::from_millis(900)) };
    let recorder = Arc::new(Recorder::default());
    access.manners.listen(&(Arc::clone(&recorder) as Arc<dyn gristmill::event::Reporter>));
    (access, recorder)
}

#[test]
fn a_target_that_says_nothing_is_told_of_with_key_and_length_and_ended() {
    let server = SmallS3::start(Conditions::Honoured);
    let (access, recorder) = late(&server);
    let store = target("s3://bucket/out.zarr", &access).unwrap();
    let begun = Instant::now();
    let error = store.put("x/c/0", vec![7; 2048].into(), PutMode::Overwrite).unwrap_err();
    assert_eq!((error.kind, error.exit()), (ErrorKind::Temporary, 5), "{error}");
    assert!(error.to_string().contains("s3://bucket/out.zarr/x/c/0") && error.to_string().contains("deadline_seconds"), "{error}");
    assert!(begun.elapsed() >= Duration::from_millis(900));
    let told = told(&recorder);
    assert!(told.len() >= 2 && told.iter().all(|(part, _)| part == "storing 2 KiB"), "{told:?}");
    for (call, result) in [
        ("put", store.put("x/c/1", vec![7; 9].into(), PutMode::Create)),
        ("get", store.get("x/c/0").map(drop)),
        ("head", store.head("x/c/0").map(drop)),
        ("list", store.list("x", 9).map(drop)),
        ("delete", store.delete("x/c/0")),
        ("read", conditional("s3://bucket/out.zarr", &access).unwrap().unwrap().read("lease").map(drop)),
    ] {
        assert_eq!(result.unwrap_err().kind, ErrorKind::Temporary, "{call}");
    }
}

#[test]
fn a_run_whose_target_falls_silent_says_so_ends_and_is_gone_on_with() {
    let server = SmallS3::start(Conditions::Honoured);
    server.script(|request| (request.method == "PUT" && request.path.contains("/c/")).then_some(Wish::Wait(Duration::from_secs(8))));
    let input = tempfile::tempdir().unwrap();
    let path = input.path().join("0.nc");
    std::fs::write(&path, file(0)).unwrap();
    let settings = format!(
        "[auth.archive]\nkind = 'bearer'\nhosts = ['data.example.org']\ntoken = 'unused'\n[network]\nattempts = 2\nquiet_seconds = 0.3\ndeadline_seconds = 2\nslowest = '1 GiB'\n[s3]\nendpoint = '{}'\naccess_key_id = 'test'\nsecret_access_key = 'test'\n",
        server.endpoint()
    );
    let folder = place(&[path.display().to_string()], &settings);
    let arguments = ["run", "recipe.yaml", "--target", "s3://bucket/out.zarr", "--json"];
    let output = command(folder.path(), &arguments).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    let waiting = said.lines().find(|line| line.contains("\"waiting\"")).unwrap_or_else(|| panic!("nobody was told: {said}"));
    assert!(waiting.contains("s3://bucket/out.zarr/") && waiting.contains("/c/") && waiting.contains("storing"), "{waiting}");
    server.script(|_| None);
    let output = command(folder.path(), &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(server.objects().contains_key("bucket/out.zarr/zarr.json"));
}

#[test]
fn the_rate_of_a_host_holds_for_all_stores_of_a_run() {
    let server = Server::start(|request, _| honest(request, &content()));
    let text = format!("[network]\nidle_timeout_seconds = 5\n[hosts.'127.0.0.1:{}']\nmax_rate = 20\nconnections = 2\n", server.port());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gristmill.toml");
    std::fs::write(&path, text).unwrap();
    let access = Access::load(Some(&path), &|_| None).unwrap();
    let (one, two) = (reporting(&access).0, reporting(&access.clone()).0);
    std::thread::scope(|scope| {
        for store in [&one, &two] {
            scope.spawn(|| (0..5).for_each(|number| drop(store.head(&server.url(&format!("/{number}.nc"))).unwrap())));
        }
    });
    let mut times: Vec<Instant> = server.requests().iter().map(|request| request.when).collect();
    times.sort();
    // Ten requests are nine pauses of 50 ms apart, whoever makes them.
    assert!(times[9].duration_since(times[0]) >= Duration::from_millis(400), "{:?}", times[9].duration_since(times[0]));
    assert!(server.most_open() <= 2);
}

#[test]
fn servers_are_told_whom_to_write_to() {
    let server = Server::start(|request, _| honest(request, &content()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gristmill.toml");
    std::fs::write(&path, "[network]\ncontact = 'mailto:data@example.org'\n").unwrap();
    let (store, _) = reporting(&Access::load(Some(&path), &|_| None).unwrap());
    store.head(&server.url("/a.nc")).unwrap();
    let agent = server.requests()[0].header("user-agent").map(str::to_owned).unwrap();
    assert!(agent.starts_with("gristmill/") && agent.ends_with(" (+mailto:data@example.org)"), "{agent}");
}
