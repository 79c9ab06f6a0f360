//! One suite for every target store: a directory, memory, and the object stores that `ci/servers.sh` starts: S3, Google's, Azure's.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod real_clouds;
mod real_s3;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use gristmill::event::Silent;
use gristmill::store::access::{AzureAccess, GoogleAccess, S3Access};
use gristmill::store::probe::{Depth, Doors, ask};
use gristmill::store::{Access, ErrorKind, PutMode, SourceStore, TargetStore, conditional, sibling, source, target, uploads};
use real_clouds::Real;

/// A place to test, and what keeps it alive.
struct Place {
    url: String,
    access: Access,
    _directory: Option<tempfile::TempDir>,
}

impl Place {
    fn open(&self) -> Arc<dyn TargetStore> {
        target(&self.url, &self.access).unwrap()
    }
}

/// A fresh place of every kind there is here.
fn places(test: &str) -> Vec<Place> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a b/out.zarr").to_string_lossy().into_owned();
    let mut places = vec![
        Place { url: path, access: Access::default(), _directory: Some(directory) },
        Place { url: format!("memory://{test}"), access: Access::default(), _directory: None },
    ];
    places.extend(real_clouds::stores("gristmill-conformance").into_iter().map(|real| place(real, test)));
    places
}

fn place(real: Real, test: &str) -> Place {
    Place { url: format!("{}/{test}-{}/out.zarr", real.bucket, std::process::id()), access: real.access, _directory: None }
}

/// A fresh prefix on the S3 server; `None`, said aloud, without one.
fn s3(test: &str) -> Option<Place> {
    real_clouds::s3("gristmill-conformance").map(|real| place(real, test))
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(store: &dyn TargetStore, key: &str, text: &str) {
    store.put(key, bytes(text), PutMode::Overwrite).unwrap();
}

fn kind<T>(result: Result<T, gristmill::store::StoreError>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind)
}

#[test]
fn what_is_put_is_got() {
    for place in places("put") {
        let store = place.open();
        assert_eq!((store.head("c/0/0").unwrap(), store.get("c/0/0").unwrap()), (None, None), "{}", place.url);
        for (key, text) in [("c/0/0", "one"), ("zarr.json", "{}"), ("empty", ""), ("ä ö+%20&=#?/x", "odd"), ("c/0/0", "another")] {
            put(&*store, key, text);
            assert_eq!(store.get(key).unwrap(), Some(bytes(text)), "{} {key}", place.url);
            assert_eq!(store.head(key).unwrap(), Some(text.len() as u64), "{} {key}", place.url);
        }
    }
}

#[test]
fn a_second_opening_sees_the_same() {
    for place in places("again") {
        put(&*place.open(), "a", "one");
        assert_eq!(place.open().get("a").unwrap(), Some(bytes("one")));
    }
}

#[test]
fn create_creates_once() {
    for place in places("create") {
        let store = place.open();
        assert_eq!(store.put("lease", bytes("one"), PutMode::Create).ok(), Some(()));
        for text in ["two", "one"] {
            assert_eq!(kind(store.put("lease", bytes(text), PutMode::Create)), Some(ErrorKind::Exists), "{}", place.url);
        }
        assert_eq!(store.get("lease").unwrap(), Some(bytes("one")));
        store.delete("lease").unwrap();
        assert_eq!(store.put("lease", bytes("three"), PutMode::Create).ok(), Some(()));
    }
}

#[test]
fn of_many_creators_one_wins() {
    for place in places("race") {
        for round in 0..5 {
            let key = format!("lease-{round}");
            let won = |number: usize| place.open().put(&key, bytes(&number.to_string()), PutMode::Create).is_ok();
            let winners: Vec<usize> = std::thread::scope(|scope| {
                let runners: Vec<_> = (0..8).map(|number| scope.spawn(move || (number, won(number)))).collect();
                runners.into_iter().map(|runner| runner.join().unwrap()).filter(|(_, won)| *won).map(|(number, _)| number).collect()
            });
            assert_eq!(winners.len(), 1, "{}", place.url);
            assert_eq!(place.open().get(&key).unwrap(), Some(bytes(&winners[0].to_string())));
        }
    }
}

#[test]
fn a_reader_never_sees_a_part() {
    let [one, two] = ["a", "b"].map(|letter| letter.repeat(400_000));
    for place in places("whole") {
        put(&*place.open(), "c", &one);
        std::thread::scope(|scope| {
            scope.spawn(|| (0..20).for_each(|turn| put(&*place.open(), "c", if turn % 2 == 0 { &two } else { &one })));
            for _ in 0..40 {
                let seen = place.open().get("c").unwrap().unwrap();
                assert!(seen == one.as_bytes() || seen == two.as_bytes(), "{}: a part of {} bytes", place.url, seen.len());
            }
        });
    }
}

#[test]
fn lists_are_sorted_limited_and_by_directory() {
    let keys = ["c.json", "c/1/0", "c/10", "c/2", "ca/0", "zarr.json"];
    for place in places("list") {
        let store = place.open();
        assert!(store.list("", 9).unwrap().is_empty() && store.list("c", 9).unwrap().is_empty(), "{}", place.url);
        keys.iter().rev().for_each(|key| put(&*store, key, "x"));
        assert_eq!(store.list("", 99).unwrap(), keys, "{}", place.url);
        assert_eq!(store.list("", 3).unwrap(), &keys[..3], "{}", place.url);
        assert_eq!(store.list("c", 99).unwrap(), &keys[1..4], "{}", place.url);
        assert_eq!(store.list("c/", 99).unwrap(), &keys[1..4], "{}", place.url);
        assert!(store.list("zarr.json", 99).unwrap().is_empty(), "{}", place.url);
    }
}

#[test]
fn what_is_deleted_is_gone() {
    for place in places("delete") {
        let store = place.open();
        put(&*store, "a/b", "x");
        store.delete("a/b").unwrap();
        store.delete("a/b").unwrap();
        store.delete("never/there").unwrap();
        assert_eq!((store.get("a/b").unwrap(), store.list("", 9).unwrap()), (None, Vec::new()), "{}", place.url);
    }
}

#[test]
fn keys_stay_inside() {
    for place in places("keys") {
        let store = place.open();
        for key in ["", "/", "/a", "a/", "a//b", "..", "../a", "a/../../b", "./a", "a/.", "a\0b", "a\nb"] {
            assert!(store.put(key, bytes("x"), PutMode::Overwrite).is_err(), "{} put {key:?}", place.url);
            assert!(store.get(key).is_err() && store.head(key).is_err() && store.delete(key).is_err(), "{} {key:?}", place.url);
        }
        assert!(store.list("../", 9).is_err() || store.list("../", 9).unwrap().is_empty());
    }
}

#[test]
fn the_sibling_is_another_place() {
    for place in places("beside") {
        let beside = target(&sibling(&place.url, ".gristmill").unwrap(), &place.access).unwrap();
        put(&*place.open(), "a", "inside");
        put(&*beside, "b", "beside");
        assert_eq!(place.open().list("", 9).unwrap(), ["a"], "{}", place.url);
        assert_eq!(beside.list("", 9).unwrap(), ["b"], "{}", place.url);
    }
}

#[test]
fn a_version_is_replaced_once() {
    for place in places("replace") {
        let Some(door) = conditional(&place.url, &place.access).unwrap() else { continue };
        assert_eq!(door.read("pointer").unwrap(), None, "{}", place.url);
        put(&*place.open(), "pointer", "one");
        let (read, first) = door.read("pointer").unwrap().unwrap();
        assert_eq!(read, "one");
        door.replace("pointer", bytes("two"), &first).unwrap();
        assert_eq!(kind(door.replace("pointer", bytes("three"), &first)), Some(ErrorKind::Exists), "{}", place.url);
        let (read, second) = door.read("pointer").unwrap().unwrap();
        assert_eq!((read, second == first), (bytes("two"), false));
        place.open().delete("pointer").unwrap();
        assert_eq!(kind(door.replace("pointer", bytes("four"), &second)), Some(ErrorKind::Exists), "{}", place.url);
        assert_eq!(place.open().get("pointer").unwrap(), None);
        assert!(door.replace("../pointer", bytes("five"), &second).is_err() && door.read("").is_err());
    }
}

#[test]
fn of_many_that_replace_one_version_one_wins() {
    for place in places("replace-race") {
        let Some(door) = conditional(&place.url, &place.access).unwrap() else { continue };
        for round in 0..5 {
            put(&*place.open(), "pointer", &format!("round {round}"));
            let (_, version) = door.read("pointer").unwrap().unwrap();
            let won = |number: usize| door.replace("pointer", bytes(&format!("{round} {number}")), &version).is_ok();
            let winners: Vec<usize> = std::thread::scope(|scope| {
                let runners: Vec<_> = (0..8).map(|number| scope.spawn(move || (number, won(number)))).collect();
                runners.into_iter().map(|runner| runner.join().unwrap()).filter(|(_, won)| *won).map(|(number, _)| number).collect()
            });
            assert_eq!(winners.len(), 1, "{}", place.url);
            assert_eq!(place.open().get("pointer").unwrap(), Some(bytes(&format!("{round} {}", winners[0]))));
        }
    }
}

#[test]
fn uploads_in_parts_are_whole_or_nothing() {
    for place in places("parts") {
        let Some(door) = uploads(&place.url, &place.access).unwrap() else { continue };
        let parts = [bytes(&"a".repeat(5 << 20)), bytes("b")];
        door.in_parts("shard", &parts).unwrap();
        assert!(place.open().get("shard").unwrap().unwrap() == parts.concat(), "{}", place.url);
        if place.url.starts_with("az:") {
            // Azure lists no blocks, and removes those that nobody puts together.
            assert_eq!((kind(door.begin("deep/shard", bytes("part"))), door.unfinished().unwrap()), (Some(ErrorKind::Other), vec![]));
            continue;
        }
        let begun = door.begin("deep/shard", bytes("part")).unwrap();
        assert_eq!(place.open().get("deep/shard").unwrap(), None);
        let found = door.unfinished().unwrap();
        assert_eq!(found.iter().map(|one| (&one.key, &one.id)).collect::<Vec<_>>(), [(&begun.key, &begun.id)], "{}", place.url);
        door.abort(&begun).unwrap();
        door.abort(&begun).unwrap();
        assert_eq!(door.unfinished().unwrap(), [], "{}", place.url);
    }
}

#[test]
fn every_store_here_creates_exclusively() {
    for place in places("probe") {
        let told = ask(&Doors::open(&place.url, &place.access).unwrap(), "", Depth::Thorough, &AtomicBool::new(false)).unwrap().unwrap();
        assert!(told.creates_exclusively() && told.altered.is_none(), "{}: {told:?}", place.url);
        assert!(place.open().list("", 9).unwrap().is_empty(), "{}: the probe left something", place.url);
    }
}

#[test]
fn a_file_in_the_way_is_told() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), b"x").unwrap();
    let url = directory.path().join("file/out.zarr").to_string_lossy().into_owned();
    let store = target(&url, &Access::default()).unwrap();
    let error = store.put("a", bytes("x"), PutMode::Overwrite).unwrap_err();
    assert!(error.to_string().contains("cannot write") && error.exit() == 3, "{error}");
    assert_eq!(store.get("a").unwrap(), None);
}

#[test]
fn a_large_object_goes_in_parts() {
    let large: Bytes = (0..70_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 20) as u8).collect();
    for place in real_clouds::stores("gristmill-conformance").into_iter().map(|real| place(real, "large")) {
        goes_in_parts(&place, &large);
    }
}

fn goes_in_parts(place: &Place, large: &Bytes) {
    let store = place.open();
    store.put("shard", large.clone(), PutMode::Overwrite).unwrap();
    assert_eq!(store.head("shard").unwrap(), Some(large.len() as u64));
    assert!(store.get("shard").unwrap().unwrap() == *large, "{}", place.url);
    store.delete("shard").unwrap();
    store.put("shard", large.clone(), PutMode::Overwrite).unwrap();
    // Through the reading side too: ranges across the edges of requests, and the stream.
    let reader = source(&place.access, Arc::new(Silent));
    let url = format!("{}/shard", place.url);
    assert_eq!(reader.head(&url).unwrap().size, Some(large.len() as u64));
    let asked = [8_388_600..8_388_700, 0..3, 30_000_000..60_000_000];
    for (range, got) in asked.iter().zip(reader.ranges(&url, &asked).unwrap()) {
        assert!(got == large[range.start as usize..range.end as usize], "{range:?}");
    }
    let mut streamed = Vec::new();
    assert_eq!(reader.stream(&url, &mut streamed).unwrap(), large.len() as u64);
    assert!(streamed == *large);
    store.delete("shard").unwrap();
}

#[test]
fn an_s3_source_tells_what_is_wrong() {
    let Some(place) = s3("source") else { return };
    let reader: Arc<dyn SourceStore> = source(&place.access, Arc::new(Silent));
    let url = format!("{}/a", place.url);
    assert_eq!(kind(reader.head(&url)), Some(ErrorKind::NotFound));
    put(&*place.open(), "a", "0123456789");
    assert_eq!(reader.ranges(&url, &[8..10, 0..2]).unwrap(), ["89", "01"]);
    assert_eq!(kind(reader.ranges(&url, &[8..11])), Some(ErrorKind::Integrity));
    put(&*place.open(), "a", "abcdefghij");
    assert_eq!(kind(reader.ranges(&url, &[8..10])), Some(ErrorKind::Integrity), "the object changed");
    let anonymous = Access { s3: S3Access { credentials: None, ..place.access.s3.clone() }, ..place.access.clone() };
    assert_eq!(kind(source(&anonymous, Arc::new(Silent)).head(&url)), Some(ErrorKind::Forbidden));
    real_s3::make_bucket(place.access.s3.endpoint.as_deref().unwrap(), "gristmill-public", "x-amz-acl: public-read\r\n");
    put(&*target("s3://gristmill-public/x", &place.access).unwrap(), "a", "open");
    assert_eq!(source(&anonymous, Arc::new(Silent)).ranges("s3://gristmill-public/x/a", &[0..2]).unwrap(), ["op"]);
}

#[test]
fn who_asks_is_told_from_anybody() {
    for real in [real_clouds::google(), real_clouds::azure()].into_iter().flatten() {
        let Real { name, bucket, access, .. } = real;
        let google = GoogleAccess { key_file: None, ..access.google.clone() };
        let azure = AzureAccess { key: None, ..access.azure.clone() };
        let anybody = Access { google, azure, ..access.clone() };
        for (bucket, open) in [(format!("{bucket}/who"), false), (format!("{bucket}-public/who"), true)] {
            put(&*target(&bucket, &access).unwrap(), "a", "open");
            let (url, reader) = (format!("{bucket}/a"), source(&anybody, Arc::new(Silent)));
            let refused = target(&bucket, &anybody).unwrap().put("a", bytes("x"), PutMode::Overwrite).unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Forbidden, "{name}: {refused}");
            if open {
                assert_eq!(reader.ranges(&url, &[0..2]).unwrap(), ["op"], "{name}");
                let listed = gristmill::store::listing(&bucket, &anybody).unwrap().unwrap().list(&bucket).unwrap();
                assert_eq!((listed.len(), listed[0].name.as_str()), (1, "a"), "{name}");
            } else {
                // Azure does not tell anybody what is there.
                let kind = kind(reader.head(&url));
                assert!(matches!(kind, Some(ErrorKind::Forbidden | ErrorKind::NotFound)), "{name}: {kind:?}");
            }
        }
    }
}

#[test]
fn a_wrong_key_is_refused_and_not_shown() {
    let Some(Real { bucket, access, .. }) = real_clouds::azure() else { return };
    let azure = AzureAccess { key: Some(gristmill::store::access::Secret::new("Y2FuYXJ5LWNhbmFyeQ==")), ..access.azure.clone() };
    let error = target(&format!("{bucket}/wrong"), &Access { azure, ..access.clone() }).unwrap().get("a").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Forbidden, "{error}");
    assert!(!format!("{error} {error:?}").contains("Y2FuYXJ5"), "{error:?}");
    // The key is for the operator's account: a container of another's is asked for as anybody.
    let other = bucket.replace("gristmill", "gristmill@somebodyelse");
    assert_eq!(gristmill::store::probe::endpoint(&other, &access).unwrap(), "https://somebodyelse.blob.core.windows.net");
    assert!(gristmill::store::probe::endpoint(&bucket, &access).unwrap().starts_with("http://127.0.0.1"));
}

#[test]
fn an_s3_server_that_is_not_there_is_temporary() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut access = Access { s3: S3Access { endpoint: Some(format!("http://{gone}")), ..S3Access::default() }, ..Access::default() };
    access.retries.attempts = 2;
    access.retries.first_wait = std::time::Duration::from_millis(1);
    let store = target("s3://bucket/prefix", &access).unwrap();
    assert_eq!(kind(store.get("a")), Some(ErrorKind::Temporary));
    assert_eq!(kind(store.put("a", bytes("x"), PutMode::Overwrite)), Some(ErrorKind::Temporary));
    assert_eq!(kind(store.put("a", bytes("x"), PutMode::Create)), Some(ErrorKind::Temporary));
    assert_eq!(kind(source(&access, Arc::new(Silent)).head("s3://bucket/a")), Some(ErrorKind::Temporary));
}
