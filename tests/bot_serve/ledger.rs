//! The ledger: begun once, read again from nothing but the bucket; one server per ledger and per folder.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gristmill::bot::decide::{Job, Progress, Sha};
use gristmill::bot::serve::ledger::Ledger;
use gristmill::bot::serve::{ServeError, serve};
use gristmill::store::Access;
use tempfile::TempDir;

use crate::host::{NAME, World};

fn sha(digit: char) -> Sha {
    digit.to_string().repeat(40).parse().unwrap()
}

fn jobs() -> [Job; 3] {
    [
        Job::Test { pull: 3, head: sha('a'), recipe: "one".to_owned() },
        Job::Bake { commit: sha('b'), recipe: "one".to_owned() },
        Job::Update { day: "2026-11-21".to_owned(), recipe: "one".to_owned() },
    ]
}

#[test]
fn a_job_is_begun_by_one_and_the_bucket_tells_all() {
    let folder = TempDir::new().unwrap();
    for url in ["memory://bot-serve-ledger".to_owned(), folder.path().display().to_string()] {
        let open = || Ledger::open(&url, &Access::default()).unwrap();
        let (one, other) = (open(), open());
        // Both have read the ledger before either begins anything.
        assert!(one.of(NAME).unwrap().jobs.is_empty() && other.of(NAME).unwrap().jobs.is_empty());
        for job in jobs() {
            assert_eq!(one.begin(NAME, &job).unwrap(), Some(1), "{url}");
            assert_eq!(other.begin(NAME, &job).unwrap(), None, "{url}: begun already");
            assert_eq!(other.of(NAME).unwrap().jobs.get(&job), Some(&Progress::Active), "{url}: and it is known now");
        }
        let [test, bake, update] = jobs();
        one.end(NAME, &test, 1, Progress::Failed, Some("found".into())).unwrap();
        one.end(NAME, &bake, 1, Progress::Cancelled, None).unwrap();
        assert_eq!(one.begin(NAME, &bake).unwrap(), Some(2));
        one.end(NAME, &bake, 2, Progress::Done, None).unwrap();
        one.worked(NAME, "d-1").unwrap();
        one.see(NAME, 3, &sha('a')).unwrap();
        one.handle(NAME, &sha('b')).unwrap();

        let again = open();
        let known = again.of(NAME).unwrap();
        let progress: Vec<Option<&Progress>> = [&test, &bake, &update].map(|job| known.jobs.get(job)).to_vec();
        assert_eq!(progress, [Some(&Progress::Failed), Some(&Progress::Done), Some(&Progress::Active)], "{url}");
        assert!(known.deliveries.contains("d-1"));
        assert_eq!(again.active(NAME).unwrap(), [(update, 1)]);
        assert_eq!(again.result(NAME, &test).unwrap().unwrap(), "found");
        assert_eq!((again.seen(NAME, 3).unwrap(), again.handled(NAME).unwrap()), (Some(sha('a')), Some(sha('b'))));
        assert!(again.of("mill/feed").unwrap().jobs.is_empty(), "another whose name begins alike");
    }
}

#[test]
fn a_ledger_and_a_folder_have_one_server() {
    let world = World::new();
    let server = world.serve();
    let try_with = |state: &str, ledger: &str| {
        let mut settings = world.settings();
        settings.state = world.folder.path().join(state);
        settings.ledger = world.folder.path().join(ledger).display().to_string();
        serve(settings, &Access::default(), Arc::clone(&world.host) as _, &AtomicBool::new(true), |_| {})
    };
    assert!(matches!(try_with("state", "another-ledger"), Err(ServeError::Taken { .. })));
    assert!(matches!(try_with("another-state", "ledger"), Err(ServeError::Lease(_))));
    assert!(try_with("another-state", "another-ledger").is_ok());
    server.stop();
    assert!(try_with("state", "ledger").is_ok(), "it is free again");
}
