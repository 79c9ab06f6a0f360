//! Index pages, as servers write them, and as nobody should.

use std::sync::Arc;

use super::scripted_server::{Reply, Request, Server, honest, reply};
use super::*;

fn page(text: &str) -> Reply {
    reply("200 OK", &[("Content-Type", "text/html"), ("Content-Length", &text.len().to_string())], text.as_bytes())
}

/// An archive below `/ice/` with an index page per folder: Apache's for the years, nginx's JSON for one of them.
fn serve(count: Arc<std::sync::atomic::AtomicUsize>) -> Server {
    let files: Vec<(String, Vec<u8>)> = archive().iter().map(|path| (name(path), fs::read(path).unwrap())).collect();
    Server::start(move |request, _| answer(request, &files[..count.load(std::sync::atomic::Ordering::Relaxed)]))
}

fn answer(request: &Request, files: &[(String, Vec<u8>)]) -> Reply {
    let year = |name: &str| name[name.len() - 16..][..4].to_owned();
    let parts: Vec<&str> = request.path.split('/').skip(1).collect();
    match parts[..] {
        ["ice", ""] => {
            let rows: String =
                files.iter().map(|(name, _)| format!("<a href=\"{0}/\">{0}/</a>\n", year(name))).collect::<Vec<_>>().concat();
            page(&format!("<title>Index of /ice</title><pre><a href=\"?C=N;O=D\">Name</a> <a href=\"/\">Parent</a>\n{rows}</pre>"))
        }
        ["ice", "1995", ""] => {
            let rows: Vec<_> = files
                .iter()
                .filter(|(name, _)| year(name) == "1995")
                .map(|(name, bytes)| serde_json::json!({"name": name, "type": "file", "size": bytes.len()}))
                .collect();
            let text = serde_json::json!(rows).to_string();
            reply("200 OK", &[("Content-Type", "application/json"), ("Content-Length", &text.len().to_string())], text.as_bytes())
        }
        ["ice", folder, ""] => {
            let rows = files.iter().filter(|(name, _)| year(name) == folder);
            let rows: String = rows
                .map(|(name, bytes)| format!("<a href=\"{name}\">x</a> 01-Feb-2026 08:30 {}\n", bytes.len()))
                .collect::<Vec<_>>()
                .concat();
            page(&format!("<title>Index of /ice/{folder}/</title><a href=\"../\">../</a>\n{rows}"))
        }
        ["ice", _, file] => match files.iter().find(|(name, _)| name == file) {
            Some((_, bytes)) => honest(request, bytes),
            None => reply("404 Not Found", &[("Content-Length", "0")], b""),
        },
        ["moved", ""] => reply("302 Found", &[("Location", "/ice/"), ("Content-Length", "0")], b""),
        _ => page("<html><body>Please <a href=\"/login\">log in</a></body></html>"),
    }
}

#[test]
fn an_archive_behind_index_pages_grows_by_an_append() {
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(2));
    let server = serve(Arc::clone(&count));
    let place = Place::new();
    place.recipe(&format!("find:\n    glob: {}\n    {NAMES}", server.url("/ice/*/*.nc")));
    place.bakes("out.zarr", 2);
    count.store(3, std::sync::atomic::Ordering::Relaxed);
    place.bakes("out.zarr", 3);
    let asked = |path: &str| server.requests().iter().filter(|request| request.path == path).count();
    assert_eq!((asked("/ice/"), asked("/ice/1990/"), asked("/ice/2000/")), (2, 2, 1));
    let json: serde_json::Value = serde_json::from_str(&place.say(&["inputs", "recipe.yaml", "--json"]).ok()).unwrap();
    assert_eq!(json["inputs"][0]["modified"], "2026-02-01T08:30:00Z");
}

#[test]
fn folders_that_cannot_match_are_not_asked_for() {
    let server = serve(Arc::new(5.into()));
    let place = Place::new();
    place.recipe(&format!("find:\n    glob: {}\n    {NAMES}", server.url("/ice/199*/*.nc")));
    assert!(place.say(&["inputs", "recipe.yaml"]).ok().contains("2 inputs"));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_page_that_is_no_index_is_said_to_be_none() {
    let server = serve(Arc::new(1.into()));
    let place = Place::new();
    place.recipe(&format!("find:\n    glob: {}", server.url("/other/*.nc")));
    place.run("out.zarr", &[]).fails(3, &["not-an-index", "links to nothing below its own address", "recipe.yaml:6"]);
    let gone = Server::start(|_, _| reply("404 Not Found", &[("Content-Length", "0")], b""));
    place.recipe(&format!("find:\n    glob: {}", gone.url("/other/*.nc")));
    place.run("out.zarr", &[]).fails(3, &["source-absent", "404"]);
    let busy = Server::start(|_, _| reply("503 Service Unavailable", &[("Content-Length", "0")], b""));
    place.recipe(&format!("find:\n    glob: {}", busy.url("/other/*.nc")));
    place.run("out.zarr", &[]).fails(5, &["source-temporary", "503"]);
}

#[test]
fn folders_without_end_come_to_an_end() {
    let deep = Server::start(|_, _| page("<title>Index of</title><a href=\"deeper/\">deeper</a>"));
    let place = Place::new();
    place.recipe(&format!("find:\n    glob: {}", deep.url("/x/**/*.nc")));
    let error = place.run("out.zarr", &[]).fails(2, &["too-many-found", "more than 32 deep"]);
    Place::looks_as_recorded("too-many-found", &error, &deep.url(""));
    assert!(deep.requests().len() < 40);
    let wide = Server::start(|_, _| {
        let rows: String = (0..64).map(|number| format!("<a href=\"{number}/\">{number}</a>")).collect::<Vec<_>>().concat();
        page(&rows)
    });
    place.recipe(&format!("find:\n    glob: {}", wide.url("/x/**/*.nc")));
    let output = place.command(&["inputs", "recipe.yaml"]).env("GRISTMILL_UNTRUSTED", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(wide.requests().is_empty(), "a private address was asked");
    place.write("settings.toml", "[policy]\nuntrusted = true\nallow_private = true\n");
    place.run("out.zarr", &[]).fails(2, &["too-many-found", "after 2000 pages or folders"]);
    assert!(wide.requests().len() <= 2000);
}

#[test]
fn an_endless_page_is_cut_off() {
    let body = vec![b' '; 65 << 20];
    let server = Server::start(move |_, _| reply("200 OK", &[("Content-Type", "text/html")], &body));
    let place = Place::new();
    place.recipe(&format!("find:\n    glob: {}", server.url("/x/*.nc")));
    place.run("out.zarr", &[]).fails(3, &["longer than 64 MiB"]);
}
