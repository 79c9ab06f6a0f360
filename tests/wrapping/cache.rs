//! The cache: shared, bounded, checked, taken up after kills, and without secrets.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gristmill::size::ByteSize;
use gristmill::store::Access;
use gristmill::store::access::CacheUse;
use gristmill::store::cache::{self, Wish};
use serde_json::Value;

use super::archives::{deflated, gzip, zip};
use super::server::{Request, Server, Step, honest};
use super::{noise, with};

fn keeping(folder: &Path, what: CacheUse) -> Access {
    Access { cache: what, cache_directory: Some(folder.to_owned()), ..Access::default() }
}

fn fetched(requests: &[Request], size: usize) -> usize {
    requests.iter().filter(|request| request.method == "GET").map(|request| request.range(size).map_or(size, |range| range.len())).sum()
}

/// The program with this cache folder.
fn gristmill(folder: &Path, arguments: &[&str]) -> Command {
    let settings = folder.join("settings.toml");
    std::fs::write(&settings, format!("[disk]\ncache_directory = '{}'\n", folder.join("cache").display())).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command.args(arguments).arg("--config").arg(settings).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn json(mut command: Command) -> (Value, Option<i32>) {
    let output = command.arg("--json").output().unwrap();
    (serde_json::from_slice(&output.stdout).unwrap_or_default(), output.status.code())
}

fn ended(child: Child) {
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("neither NetCDF nor HDF5"), "the file was to be read and then refused: {told}");
}

#[test]
fn what_was_unpacked_is_there_for_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let content = noise(400_000);
    let archives = [("/a.nc.gz", gzip(&content), ""), ("/a.zip", zip(&[deflated("m.nc", &content)]), "!m.nc")];
    for (path, archive, member) in archives {
        let size = archive.len();
        let server = Server::start(move |request, _| honest(request, &archive));
        let url = format!("{}{member}", server.url(path));
        let access = keeping(folder.path(), CacheUse::Needed);
        let read = || {
            let store = with(&access);
            let length = store.begin(&url).unwrap().0.size.unwrap();
            store.ranges(&url, std::slice::from_ref(&(0..length))).unwrap().pop().unwrap()
        };
        assert!(read() == content);
        let first = fetched(&server.requests(), size);
        assert!(read() == content);
        let second = fetched(&server.requests(), size) - first;
        assert!(first >= size && second <= 2 * 66_000, "{path}: {first}, then {second}");
    }
    let kept = cache::list(folder.path()).unwrap();
    assert_eq!(kept.len(), 2, "packed copies are of no more use: {kept:?}");
    assert!(kept.iter().all(|entry| entry.bytes == 400_000));
}

#[test]
fn all_files_are_kept_if_the_operator_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let content = noise(300_000);
    let served = content.clone();
    let server = Server::start(move |request, _| honest(request, &served));
    let url = server.url("/a.nc?token=canary-1234");
    for (what, requests) in [(CacheUse::Needed, 2), (CacheUse::Needed, 2), (CacheUse::All, 2), (CacheUse::All, 1)] {
        let before = server.requests().len();
        let store = with(&keeping(folder.path(), what));
        store.begin(&url).unwrap();
        assert!(store.ranges(&url, &[100_000..300_000]).unwrap() == [content[100_000..].to_vec()]);
        assert_eq!(server.requests().len() - before, requests, "{what:?}");
    }
    for path in files(folder.path()) {
        let inside = std::fs::read(&path).unwrap();
        let told = path.to_string_lossy().into_owned() + &String::from_utf8_lossy(&inside);
        assert!(!told.contains("canary"), "{}", path.display());
    }
    assert!(cache::list(folder.path()).unwrap()[0].description.as_ref().unwrap().url.ends_with("/a.nc"));
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Waits until something is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_mins(2), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_killed_download_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let content = noise(20 << 20);
    let archive = gzip(&content);
    let (size, stalls) = (archive.len(), Arc::new(AtomicBool::new(true)));
    let stalling = Arc::clone(&stalls);
    let server = Server::start(move |request, _| {
        let far = request.range(archive.len()).is_some_and(|range| range.start > 12 << 20);
        let mut steps = honest(request, &archive);
        if far && stalling.load(Ordering::SeqCst) {
            steps.insert(0, Step::Wait(Duration::from_mins(1)));
        }
        steps
    });
    let url = server.url("/a.bin.gz");
    let mut child = gristmill(folder.path(), &["inspect", &url]).spawn().unwrap();
    until("it came as far as the server lets it", || {
        server.requests().iter().any(|request| request.range(size).is_some_and(|range| range.start > 12 << 20))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    stalls.store(false, Ordering::SeqCst);
    let (before, killed) = (server.requests().len(), json(gristmill(folder.path(), &["cache", "list"])).0);
    assert!(killed["entries"].as_array().unwrap().iter().all(|entry| entry.get("xxh3").is_none()), "half a file is no entry: {killed}");
    ended(gristmill(folder.path(), &["inspect", &url]).spawn().unwrap());
    let cost = fetched(&server.requests()[before..], size);
    assert!(cost <= size - (12 << 20) + (64 << 10) + (1 << 20), "{cost} bytes of {size} were fetched again");
    assert!(cost >= size - (17 << 20), "{cost}: the rest was to be fetched");
    let (store, before) = (with(&keeping(&folder.path().join("cache"), CacheUse::Needed)), server.requests().len());
    let length = store.begin(&url).unwrap().0.size.unwrap();
    assert!(store.ranges(&url, std::slice::from_ref(&(0..length))).unwrap() == [content]);
    assert_eq!(server.requests().len(), before + 1);
}

#[test]
fn a_part_that_is_not_what_was_noted_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let content = noise(10 << 20);
    let served = content.clone();
    let closed = Arc::new(AtomicBool::new(true));
    let is_closed = Arc::clone(&closed);
    let server = Server::start(move |request, _| {
        if request.range(served.len()).is_some_and(|range| range.start >= 4 << 20) && is_closed.load(Ordering::SeqCst) {
            return super::server::reply("403 Forbidden", &[("Content-Length", "0")], b"");
        }
        honest(request, &served)
    });
    let url = server.url("/a.nc");
    let access = keeping(folder.path(), CacheUse::All);
    let read = || {
        let store = with(&access);
        store.begin(&url)?;
        store.ranges(&url, std::slice::from_ref(&(0..10 << 20)))
    };
    assert!(read().is_err());
    let part = files(folder.path()).into_iter().find(|path| path.extension().is_some_and(|extension| extension == "part")).unwrap();
    let mut bytes = std::fs::read(&part).unwrap();
    assert!(bytes.len() >= 1 << 20, "a part was kept");
    bytes[1000] ^= 1;
    std::fs::write(&part, bytes).unwrap();
    closed.store(false, Ordering::SeqCst);
    let before = server.requests().len();
    assert!(read().unwrap() == [content]);
    assert!(fetched(&server.requests()[before..], 10 << 20) >= 10 << 20, "nothing of it was believed");
    assert!(!part.exists());
}

#[test]
fn two_runs_at_once_fetch_a_file_once() {
    let folder = tempfile::tempdir().unwrap();
    let content = noise(6 << 20);
    let archive = gzip(&content);
    let size = archive.len();
    let server = Server::start(move |request, _| {
        let mut steps = honest(request, &archive);
        steps.insert(0, Step::Wait(Duration::from_millis(150)));
        steps
    });
    let url = server.url("/a.bin.gz");
    let runs: Vec<Child> = (0..2).map(|_| gristmill(folder.path(), &["inspect", &url]).spawn().unwrap()).collect();
    runs.into_iter().for_each(ended);
    let cost = fetched(&server.requests(), size);
    assert!(cost <= size + 3 * (64 << 10), "{cost} of {size}");
    let kept = cache::list(&folder.path().join("cache")).unwrap();
    assert_eq!((kept.len(), kept[0].bytes, kept[0].in_use), (1, 6 << 20, false), "{kept:?}");
}

#[test]
fn the_oldest_go_but_never_what_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let content = noise(100_000);
    let served = content.clone();
    let server = Server::start(move |request, _| honest(request, &served));
    let all = keeping(folder.path(), CacheUse::All);
    let reader = with(&all);
    let get = |store: &dyn gristmill::store::SourceStore, name: &str| {
        let url = server.url(name);
        store.begin(&url).unwrap();
        store.ranges(&url, std::slice::from_ref(&(0..100_000))).unwrap().pop().unwrap()
    };
    assert!(get(&*reader, "/in-use.nc") == content);
    let tight = Access { cache_limit: ByteSize(350_000), spool_limit: ByteSize(1), ..all.clone() };
    let writer = with(&tight);
    for number in 0..6 {
        assert!(get(&*writer, &format!("/{number}.nc")) == content);
        // Ages are told apart by what the file system notes.
        std::thread::sleep(Duration::from_millis(20));
        let bytes: u64 = with_names(folder.path()).len() as u64 * 100_000;
        assert!(number < 4 || bytes <= 100_000 + tight.cache_limit.0, "{bytes}");
    }
    drop(writer);
    let other = with(&tight);
    assert!(get(&*other, "/last.nc") == content);
    drop(other);
    let names = with_names(folder.path());
    assert!(
        names.contains(&"in-use.nc".to_owned()) && names.contains(&"last.nc".to_owned()) && !names.contains(&"0.nc".to_owned()),
        "{names:?}"
    );
    let pruned = cache::prune(folder.path(), Wish { older_than: None, down_to: 0 }).unwrap();
    assert_eq!((pruned.in_use, with_names(folder.path())), (1, vec!["in-use.nc".to_owned()]));
    drop(reader);
    assert_eq!(cache::prune(folder.path(), Wish { older_than: None, down_to: 0 }).unwrap().left, 0);
    assert!(files(folder.path()).is_empty(), "{:?}", files(folder.path()));
}

fn with_names(folder: &Path) -> Vec<String> {
    let name =
        |entry: cache::Listed| entry.description.map(|description| description.url.rsplit('/').next().unwrap_or_default().to_owned());
    let mut names: Vec<String> = cache::list(folder).unwrap().into_iter().filter_map(name).collect();
    names.sort();
    names
}

#[test]
fn damage_is_found_when_read_and_by_verify() {
    let folder = tempfile::tempdir().unwrap();
    let content = noise(200_000);
    let served = content.clone();
    let server = Server::start(move |request, _| honest(request, &served));
    let cached = folder.path().join("cache");
    let access = keeping(&cached, CacheUse::All);
    let get = |name: &str| {
        let (store, url) = (with(&access), server.url(name));
        store.begin(&url).unwrap();
        store.ranges(&url, std::slice::from_ref(&(0..200_000))).unwrap().pop().unwrap()
    };
    let spoil = |how: &dyn Fn(&mut Vec<u8>)| {
        let data = files(&cached).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "data"));
        for path in data {
            let mut bytes = std::fs::read(&path).unwrap();
            how(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
        }
    };
    assert!(get("/a.nc") == content);
    for how in [&|bytes: &mut Vec<u8>| bytes[77] ^= 1, &|bytes: &mut Vec<u8>| bytes.truncate(9)] as [&dyn Fn(&mut Vec<u8>); 2] {
        spoil(how);
        assert!(get("/a.nc") == content, "what is damaged is fetched anew");
    }
    assert!(get("/b.nc") == content);
    let (told, exit) = json(gristmill(folder.path(), &["cache", "verify"]));
    assert_eq!((told["right"].as_u64(), exit), (Some(2), Some(0)), "{told}");
    spoil(&|bytes| bytes.push(0));
    let (told, exit) = json(gristmill(folder.path(), &["cache", "verify"]));
    assert_eq!((told["right"].as_u64(), told["damaged"].as_array().map(Vec::len), exit), (Some(0), Some(2), Some(7)), "{told}");
    let (told, exit) = json(gristmill(folder.path(), &["cache", "prune", "--all"]));
    assert_eq!((told["removed"]["left"].as_u64(), exit), (Some(0), Some(0)), "{told}");
    let output = gristmill(folder.path(), &["cache", "list"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("0 files, 0 B"), "{output:?}");
}

#[test]
fn bytes_without_a_description_are_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let content = noise(100_000);
    let served = content.clone();
    let server = Server::start(move |request, _| honest(request, &served));
    let access = keeping(folder.path(), CacheUse::All);
    let get = || {
        let (store, url) = (with(&access), server.url("/a.nc"));
        store.begin(&url).unwrap();
        store.ranges(&url, std::slice::from_ref(&(0..100_000))).unwrap().pop().unwrap()
    };
    assert!(get() == content);
    let described = files(folder.path()).into_iter().find(|path| path.extension().is_some_and(|extension| extension == "json")).unwrap();
    for text in ["", "{}", "{\"format\": 1", "[]"] {
        std::fs::write(&described, text).unwrap();
        assert!(get() == content, "{text}");
        assert!(std::fs::read_to_string(&described).unwrap().contains("xxh3"), "{text}: it was made anew");
    }
    std::fs::remove_file(&described).unwrap();
    std::fs::write(described.with_extension("data"), b"half of it").unwrap();
    assert!(get() == content);
}
