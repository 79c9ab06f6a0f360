//! One suite for every source: paths, web servers, FTP, SFTP, S3, Google's and Azure's buckets, on the real servers that `ci/servers.sh` starts.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::print_stdout, reason = "what is left out for want of a server is said aloud")]

mod argo;
mod bake;
mod line;
mod places;
#[path = "../real_clouds/mod.rs"]
mod real_clouds;
#[path = "../real_s3/mod.rs"]
mod real_s3;

use std::ops::Range;
use std::sync::Arc;

use gristmill::event::Silent;
use gristmill::store::{Access, ErrorKind, SourceStore, StoreError, listing, source};
use places::places;

/// So many bytes, no two kilobytes alike.
fn content(length: usize) -> Vec<u8> {
    (0..length as u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 21) as u8).collect()
}

fn kind<T>(result: Result<T, StoreError>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind)
}

fn whole(store: &dyn SourceStore, url: &str) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    let length = store.stream(url, &mut bytes)?;
    assert_eq!(length, bytes.len() as u64, "{url}");
    Ok(bytes)
}

/// Asks for ranges and compares each.
fn compare(store: &dyn SourceStore, url: &str, asked: &[Range<u64>], content: &[u8]) {
    let answers = store.ranges(url, asked).unwrap();
    assert_eq!(answers.len(), asked.len(), "{url}");
    for (range, answer) in asked.iter().zip(answers) {
        assert!(answer == content[range.start as usize..range.end as usize], "{url} {range:?}");
    }
}

#[test]
fn files_of_every_length_come_whole() {
    for place in places("lengths") {
        let store = place.open();
        for length in [0, 1, 65_535, 65_536, 65_537, 3_000_000] {
            let content = content(length);
            let url = place.put(&format!("{length}.nc"), &content);
            let (head, start) = store.begin(&url).unwrap();
            assert_eq!(head.size, Some(length as u64), "{} {url}", place.name);
            assert!(start == content[..length.min(65_536)], "{} {url}", place.name);
            assert_eq!(store.head(&url).unwrap(), head, "{} {url}", place.name);
            assert!(whole(&*store, &url).unwrap() == content, "{} {url}", place.name);
            let end = length as u64;
            compare(&*store, &url, &[end - end.min(9)..end, 0..end.min(3), 0..end, end / 2..end / 2, end / 3..end / 2], &content);
        }
    }
}

#[test]
fn parts_of_a_long_file_come_from_where_they_are() {
    let content = content(21_000_000);
    for place in places("parts") {
        let url = place.put("long.nc", &content);
        let store = place.open();
        // Few first: what is dear in parts is read in parts all the same where it is little.
        compare(&*store, &url, &[20_999_000..21_000_000], &content);
        compare(&*store, &url, &[10_000_000..10_000_010, 3..5, 3..4], &content);
        compare(&*store, &url, &[100..9_000_000, 8_388_607..8_388_609, 12_000_000..20_900_000], &content);
        assert!(whole(&*place.open(), &url).unwrap() == content, "{}", place.name);
    }
}

#[test]
fn what_lies_outside_is_refused() {
    for place in places("outside") {
        let url = place.put("a.nc", b"0123456789");
        let store = place.open();
        for range in [5..11, 10..11, 0..u64::MAX, Range { start: 5, end: 4 }] {
            assert_eq!(kind(store.ranges(&url, std::slice::from_ref(&range))), Some(ErrorKind::Integrity), "{} {range:?}", place.name);
        }
        assert_eq!(store.ranges(&url, &[10..10]).unwrap(), [""], "{}", place.name);
        assert_eq!(store.ranges(&url, &[]).unwrap().len(), 0, "{}", place.name);
    }
}

#[test]
fn what_is_absent_is_said_to_be() {
    for place in places("absent") {
        let there = place.put("there.nc", b"x");
        let store = place.open();
        for url in [place.at("absent.nc"), place.at("no/such/folder/a.nc")] {
            assert_eq!(kind(store.head(&url)), Some(ErrorKind::NotFound), "{} {url}", place.name);
            assert_eq!(kind(store.begin(&url)), Some(ErrorKind::NotFound), "{} {url}", place.name);
            assert_eq!(kind(store.ranges(&url, &[0..1])), Some(ErrorKind::NotFound), "{} {url}", place.name);
            assert_eq!(kind(whole(&*store, &url)), Some(ErrorKind::NotFound), "{} {url}", place.name);
        }
        assert_eq!(whole(&*store, &there).unwrap(), b"x", "{}: after what was absent", place.name);
    }
}

#[test]
fn odd_names_are_names() {
    for place in places("names") {
        let store = place.open();
        for name in
            ["a b.nc", "100%.nc", "ä ö/ß.nc", "a+b&c=d.nc", "hash#1.nc", "what?.nc", "..nc", "-l.nc", "semi;colon.nc", "q\"uote'.nc"]
        {
            let url = place.put(name, name.as_bytes());
            assert_eq!(whole(&*store, &url).unwrap(), name.as_bytes(), "{} {url}", place.name);
            assert_eq!(store.head(&url).unwrap().size, Some(name.len() as u64), "{} {url}", place.name);
        }
    }
}

#[test]
fn a_file_that_changes_is_never_spliced() {
    for place in places("changes") {
        let (old, new) = (content(9_000_000), content(9_000_100));
        let url = place.put("a.nc", &old);
        let store = place.open();
        compare(&*store, &url, &[0..100], &old);
        place.put("a.nc", &new);
        assert_eq!(kind(store.ranges(&url, &[8_999_000..9_000_000])), Some(ErrorKind::Integrity), "{}", place.name);
        assert_eq!(store.head(&url).unwrap().size, Some(9_000_100), "{}", place.name);
        compare(&*store, &url, &[0..100, 9_000_000..9_000_100], &new);
        assert!(whole(&*store, &url).unwrap() == new, "{}", place.name);
    }
}

#[test]
fn many_readers_share_one_source() {
    let contents: Vec<Vec<u8>> = (1..=4).map(|number| content(number * 900_000)).collect();
    for place in places("many") {
        let urls: Vec<String> = (0..).zip(&contents).map(|(number, content)| place.put(&format!("{number}.nc"), content)).collect();
        let store = place.open();
        std::thread::scope(|scope| {
            for thread in 0..8_usize {
                let (url, content, store) = (&urls[thread % 4], &contents[thread % 4], &store);
                scope.spawn(move || {
                    let end = content.len() as u64;
                    compare(&**store, url, &[0..10, end / 2..end / 2 + 1000, end - 10..end], content);
                    assert!(whole(&**store, url).unwrap() == *content, "{url}");
                });
            }
        });
    }
}

#[test]
fn folders_are_listed() {
    for place in places("folders").into_iter().filter(|place| place.lists) {
        for name in ["z/b c.nc", "z/a.nc", "z/deep/x.nc"] {
            place.put(name, name.as_bytes());
        }
        let folders = listing(&place.url, &place.access).unwrap().unwrap();
        let found = folders.list(&place.at("z")).unwrap();
        let told: Vec<_> = found.iter().map(|entry| (entry.name.as_str(), entry.folder, entry.size)).collect();
        assert_eq!(told, [("a.nc", false, Some(6)), ("b c.nc", false, Some(8)), ("deep", true, None)], "{}", place.name);
        assert!(found.iter().filter(|entry| !entry.folder).all(|entry| entry.modified.is_some()), "{}", place.name);
        assert_eq!(folders.list(&place.at("z/")).unwrap(), found, "{}", place.name);
        // A bucket has no folders of its own: what nobody put anything into is empty.
        let absent = folders.list(&place.at("absent"));
        let is_empty = !place.serves_folder() && absent.as_ref().is_ok_and(Vec::is_empty);
        assert!(is_empty || kind(absent) == Some(ErrorKind::NotFound), "{}", place.name);
        assert_eq!(folders.list(&place.at("z/deep")).unwrap().len(), 1, "{}: after a folder that is absent", place.name);
    }
}

#[test]
fn a_stranger_does_not_reach_this_machine() {
    for place in places("stranger") {
        let url = place.put("a.nc", b"x");
        let stranger = Access { untrusted: true, ..place.access.clone() };
        let refused = kind(source(&stranger, Arc::new(Silent)).head(&url));
        // Where an object store is, is the operator's word, not the recipe's.
        let expected = if url.starts_with("s3://") || url.starts_with("gs://") { refused } else { Some(ErrorKind::Policy) };
        assert_eq!(refused, expected, "{}", place.name);
        if place.private {
            let allowed = Access { allow_private: true, ..stranger };
            assert_eq!(whole(&*source(&allowed, Arc::new(Silent)), &url).unwrap(), b"x", "{}", place.name);
        }
    }
}

#[test]
fn a_server_whose_key_is_not_known_gets_nothing() {
    let Some(place) = places("keys").into_iter().find(|place| place.url.starts_with("sftp:")) else { return };
    let url = place.put("a.nc", b"x");
    let file = tempfile::NamedTempFile::new().unwrap();
    let known = std::fs::read_to_string(place.access.known_hosts.as_ref().unwrap()).unwrap();
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    let host = known.split(' ').next().unwrap();
    for (lines, says) in [
        (String::new(), "is not known here"),
        (format!("{host} {other}\n"), "is another than"),
        (format!("{known}@revoked * {}", known.split_once(' ').unwrap().1), "is revoked"),
        (known.replace("[127.0.0.1]", "[127.0.0.2]"), "is not known here"),
    ] {
        std::fs::write(file.path(), &lines).unwrap();
        let access = Access { known_hosts: Some(file.path().to_owned()), ..place.access.clone() };
        let error = source(&access, Arc::new(Silent)).head(&url).unwrap_err();
        assert_eq!((error.kind, error.exit()), (ErrorKind::Forbidden, 3), "{lines}: {error}");
        assert!(error.message.contains(says), "{lines}: {error}");
    }
    let nobody = Access { auth: Access::default().auth, ..place.access.clone() };
    let error = source(&nobody, Arc::new(Silent)).head(&url).unwrap_err();
    assert!(error.kind == ErrorKind::Forbidden && error.message.contains("`auth`"), "{error}");
    let wrong = gristmill::store::auth::Auth::with("x", "kind = 'login'\nhosts = ['127.0.0.1']\nuser = 'root'\npassword = 'canary-canary'")
        .unwrap();
    let error = source(&Access { auth: wrong, ..place.access.clone() }, Arc::new(Silent)).head(&url).unwrap_err();
    assert!(error.kind == ErrorKind::Forbidden && !format!("{error:?}").contains("canary"), "{error:?}");
}

#[test]
fn a_server_that_is_not_there_is_temporary() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut access = Access::default();
    (access.retries.attempts, access.retries.first_wait) = (2, std::time::Duration::from_millis(1));
    for scheme in ["http", "ftp", "ftps", "sftp"] {
        let error = source(&access, Arc::new(Silent)).head(&format!("{scheme}://me:canary@{gone}/a.nc")).unwrap_err();
        assert_eq!((error.kind, error.exit()), (ErrorKind::Temporary, 5), "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}
