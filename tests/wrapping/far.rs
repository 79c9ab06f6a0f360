//! Archives on servers: how many bytes and requests their members cost, and what a server can do to them.

use std::sync::{Arc, Mutex};

use gristmill::event::Silent;
use gristmill::store::{Access, ErrorKind, source};

use super::archives::{deflated, gzip, stored, tar, zip};
use super::server::{Request, Server, honest, reply, tagged};
use super::{client, noise, whole};

/// Bytes of the bodies that these requests asked for.
fn bytes(requests: &[Request], size: usize) -> usize {
    let body = |request: &Request| if request.method == "HEAD" { 0 } else { request.range(size).map_or(size, |range| range.len()) };
    requests.iter().map(body).sum()
}

#[test]
fn a_zip_costs_its_directory_and_the_members_that_are_wanted() {
    let names: Vec<String> = (0..40).map(|number| format!("d/m{number:02}.nc")).collect();
    let contents: Vec<Vec<u8>> = (0..40).map(|number| [noise(199_990), vec![number; 10]].concat()).collect();
    let member = |(number, name): (usize, &String)| {
        if number % 2 == 0 { stored(name, &contents[number]) } else { deflated(name, &contents[number]) }
    };
    let archive = zip(&names.iter().enumerate().map(member).collect::<Vec<_>>());
    let size = archive.len();
    let server = Server::start(move |request, _| honest(request, &archive));
    let store = client();
    let url = server.url("/a.zip?sig=hush");
    for number in [7, 20, 33] {
        let mut read = Vec::new();
        let url = format!("{url}!{}", names[number]);
        store.begin(&url).unwrap();
        store.stream(&url, &mut read).unwrap();
        assert!(read == contents[number], "{number}");
    }
    // Only the last bytes of another stored member: in place.
    let url = format!("{url}!{}", names[38]);
    store.begin(&url).unwrap();
    assert_eq!(store.ranges(&url, &[199_990..200_000]).unwrap(), [vec![38; 10]]);
    let requests = server.requests();
    let (directory, start) = (66_000, 65_536);
    let most = directory + 3 * 200_000 + start + 4 * 512 + start;
    let cost = bytes(&requests, size);
    assert!(cost <= most, "{cost} bytes of {size}; {most} are enough");
    assert!(requests.len() <= 12, "{} requests", requests.len());
    assert_eq!(server.count("HEAD"), 1, "the directory is read once");
}

#[test]
fn a_packed_tar_is_fetched_once_for_all_its_members() {
    let contents: Vec<Vec<u8>> = (0..12_u8).map(|number| [noise(80_000), vec![number; 10]].concat()).collect();
    let names: Vec<String> = (0..12).map(|number| format!("m{number}.nc")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(contents.iter().map(Vec::as_slice)).collect();
    let archive = gzip(&tar(&files));
    let size = archive.len();
    let server = Server::start(move |request, _| honest(request, &archive));
    let (store, url) = (client(), server.url("/a.tar.gz"));
    std::thread::scope(|scope| {
        for (name, content) in names.iter().zip(&contents) {
            let (store, url) = (&store, format!("{url}!{name}"));
            scope.spawn(move || {
                let (head, start) = store.begin(&url).unwrap();
                assert_eq!((head.size, head.identity().size), (Some(80_010), Some(0)));
                assert!(start == content[..65_536] && store.ranges(&url, &[0..80_010]).unwrap() == [content.clone()]);
            });
        }
    });
    // Threads that came at the same time may each have asked how it begins.
    let cost = bytes(&server.requests(), size);
    assert!(cost <= size + 13 * 65_536, "{cost} of {size}");
    assert!(cost - 13 * 65_536 <= size, "{cost}");
}

#[test]
fn stores_of_the_same_settings_unpack_a_file_once() {
    let content = noise(3 << 20);
    let archive = gzip(&content);
    let size = archive.len();
    let server = Server::start(move |request, _| honest(request, &archive));
    let (access, url) = (Access::default(), server.url("/a.nc.gz"));
    for _ in 0..3 {
        let store = source(&access, Arc::new(Silent));
        store.begin(&url).unwrap();
        assert!(store.ranges(&url, &[0..3 << 20]).unwrap() == [content.clone()]);
    }
    let cost = bytes(&server.requests(), size);
    assert!(cost <= size + 3 * 65_536, "{cost} of {size}");
}

#[test]
fn a_plain_tar_is_read_by_ranges() {
    let contents: Vec<Vec<u8>> = (0..30).map(|_| noise(300_000)).collect();
    let names: Vec<String> = (0..30).map(|number| format!("m{number}.nc")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(contents.iter().map(Vec::as_slice)).collect();
    let archive = tar(&files);
    let size = archive.len();
    let server = Server::start(move |request, _| honest(request, &archive));
    let url = server.url("/a.tar!m17.nc");
    assert!(client().ranges(&url, &[0..300_000]).unwrap() == [contents[17].clone()]);
    let cost = bytes(&server.requests(), size);
    assert!(cost < size / 2, "{cost} of {size}");
}

#[test]
fn a_server_without_ranges_serves_archives_too() {
    let content = noise(150_000);
    let archives = [
        ("/a.nc.gz", gzip(&content), ""),
        ("/a.zip", zip(&[stored("m.nc", &content)]), "!m.nc"),
        ("/a.tgz", gzip(&tar(&[("m.nc", &content)])), "!m.nc"),
    ];
    for (path, archive, member) in archives {
        let server = Server::start(move |request, _| {
            let length = archive.len().to_string();
            let body = if request.method == "HEAD" { &[] } else { archive.as_slice() };
            reply("200 OK", &[("Content-Length", &length), ("Accept-Ranges", "none"), ("ETag", "\"one\"")], body)
        });
        assert!(whole(&*client(), &format!("{}{member}", server.url(path))) == content, "{path}");
    }
}

#[test]
fn an_archive_that_changes_is_noticed() {
    let contents = [noise(100_000), vec![1; 100_000]];
    let archives = contents.each_ref().map(|content| zip(&[stored("m.nc", content), stored("n.nc", &vec![0; 200_000])]));
    let now = Arc::new(Mutex::new(0_usize));
    let served = Arc::clone(&now);
    let server = Server::start(move |request, _| {
        let version = *served.lock().unwrap();
        tagged(request, &archives[version], ["\"one\"", "\"two\""][version])
    });
    let (store, url) = (client(), server.url("/a.zip!m.nc"));
    let before = store.begin(&url).unwrap().0;
    assert!(before.etag.as_deref().is_some_and(|etag| etag.starts_with("\"one\" crc32:")), "{before:?}");
    *now.lock().unwrap() = 1;
    assert_eq!(store.ranges(&url, &[90_000..100_000]).unwrap_err().kind, ErrorKind::Integrity);
    let after = store.head(&url).unwrap();
    assert!(after.identity() != before.identity());
    assert!(store.ranges(&url, &[90_000..100_000]).unwrap() == [contents[1][90_000..].to_vec()]);
}

#[test]
fn a_packed_file_is_what_its_server_says_of_it() {
    let (content, archive) = (vec![7; 500_000], gzip(&vec![7; 500_000]));
    let size = archive.len() as u64;
    let server = Server::start(move |request, _| honest(request, &archive));
    // Claims to be no packed file at all.
    for path in ["/a.nc.gz", "/a.nc"] {
        let url = server.url(path);
        let told = client().head(&url).unwrap();
        let begun = client().begin(&url).unwrap().0;
        assert_eq!((told.identity(), begun.size, begun.identity().size), (begun.identity(), Some(500_000), Some(size)));
        assert!(whole(&*client(), &url) == content);
    }
    let before = server.requests().len();
    let url = server.url("/b.nc.gz");
    client().head(&url).unwrap();
    assert_eq!(server.requests().len(), before + 1, "whether it is the same is asked without reading it");
}

#[test]
fn no_secret_is_in_a_message() {
    let server = Server::start(|request, _| honest(request, b"PK\x03\x04 and nothing more"));
    let url = server.url("/a.zip?sig=hush!m.nc");
    let error = client().begin(&url).unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(!told.contains("hush") && told.contains("a.zip!m.nc"), "{told}");
}
