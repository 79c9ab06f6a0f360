//! Faults of sources.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::place::{Place, day};
use super::server::{Reply, Request, Server, Step, cut, honest, reply, tagged};

/// A place of some days on a server that answers as it is told; requests for data are counted from 1.
fn served(days: u32, answer: impl Fn(&Request, &[u8], usize) -> Reply + Send + Sync + 'static) -> (Place, Server) {
    let gets = AtomicUsize::new(0);
    let server = Server::start(move |request, _| {
        let number = request.path.trim_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap_or(0);
        let count = if request.method == "GET" { gets.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
        answer(request, &day(number), count)
    });
    let files: Vec<String> = (0..days).map(|number| server.url(&format!("/{number}.nc"))).collect();
    (Place::of(&files, ""), server)
}

/// What the same days give without any fault.
fn undisturbed(days: u32) -> Place {
    let place = Place::of(&(0..days).map(|number| format!("{number}.nc")).collect::<Vec<_>>(), "");
    (0..days).for_each(|number| place.write(&format!("{number}.nc"), &day(number)));
    place.ends(0, &[]);
    place
}

#[test]
fn truncated_download_is_taken_up_where_it_broke() {
    let expected = undisturbed(2).objects("out.zarr");
    let length = day(0).len();
    for end in [0, 1, length / 2, length - 1] {
        // Every second answer breaks off.
        let (place, _server) = served(2, move |request, content, count| {
            let whole = honest(request, content);
            if count % 2 == 1 { cut(whole, end, &[]) } else { whole }
        });
        place.ends(0, &[]);
        assert_eq!(place.objects("out.zarr"), expected, "broken off after {end} bytes");
    }
}

#[test]
fn truncated_download_for_good_is_no_file() {
    for end in [0, 1, 700] {
        let (place, _server) = served(1, move |request, content, _| match (request.method.as_str(), request.range(content.len())) {
            // Whatever is asked for, the same first bytes of it come.
            ("GET", Some(range)) if range.start >= end => cut(honest(request, content), 0, &[]),
            ("GET", _) => cut(honest(request, content), end, &[]),
            _ => honest(request, content),
        });
        place.ends(5, &["error[source-temporary]", "/0.nc"]);
        assert!(!place.is_visible());
    }
}

#[test]
fn wrong_content_length_is_never_taken_for_the_file() {
    for (told, exit) in [(-50_i64, 3), (50, 3)] {
        let (place, _server) = served(1, move |request, content, _| {
            let length = (content.len() as i64 + told).to_string();
            let body = if request.method == "HEAD" { &[][..] } else { content };
            reply("200 OK", &[("Content-Length", &length)], &body[..body.len().min(length.parse().unwrap())])
        });
        let output = place.command(&[]).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        // Too short a length makes a truncated file; too long a one, a connection that breaks again and again.
        assert!(output.status.code() == Some(exit) || (told > 0 && output.status.code() == Some(5)), "{told}: {errors}");
        assert!(errors.contains("/0.nc") && !place.is_visible(), "{errors}");
    }
}

#[test]
fn ignored_range_is_never_spliced() {
    let expected = undisturbed(3).objects("out.zarr");
    // All of the file with 200, whatever is asked for, and no word of its not having ranges.
    let (place, _server) = served(3, |request, content, _| {
        let body = if request.method == "HEAD" { &[][..] } else { content };
        reply("200 OK", &[("Content-Length", &content.len().to_string()), ("ETag", "\"one\"")], body)
    });
    place.ends(0, &[]);
    assert_eq!(place.objects("out.zarr"), expected);
}

#[test]
fn gone_files_are_skipped_only_where_the_recipe_says_so_and_told() {
    for status in ["404 Not Found", "410 Gone"] {
        let (place, server) =
            served(
                3,
                move |request, content, _| {
                    if request.path == "/1.nc" { reply(status, &[("Content-Length", "0")], b"") } else { honest(request, content) }
                },
            );
        place.ends(3, &["error[source-absent]", "/1.nc"]);
        assert_eq!(server.requests().iter().filter(|request| request.path == "/1.nc").count(), 1, "{status} was asked for again");
        let files: Vec<String> = (0..3).map(|number| server.url(&format!("/{number}.nc"))).collect();
        place.recipe(&files, "  missing: skip\n");
        place.ends(0, &[]);
        let warnings = place.report()["warnings"].to_string();
        assert!(warnings.contains("/1.nc") && warnings.contains("skip"), "{warnings}");
        assert_eq!(place.report()["inputs"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn forbidden_files_are_told_from_absent_ones_and_never_asked_for_again() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let (place, server) = served(2, move |request, content, _| {
            if request.path.starts_with("/1.nc") { reply(status, &[("Content-Length", "0")], b"") } else { honest(request, content) }
        });
        let files = [server.url("/0.nc"), server.url("/1.nc?key=hush")];
        // Being forbidden is not being absent: nothing is skipped.
        place.recipe(&files, "  missing: skip\n");
        let errors = place.ends(3, &["error[source-forbidden]", "/1.nc"]);
        assert!(!errors.contains("hush"), "{errors}");
        assert!(server.requests().iter().filter(|request| request.path.starts_with("/1.nc")).count() <= 2, "{status}");
    }
}

#[test]
fn busy_server_gets_fewer_requests_at_once() {
    use gristmill::event::Silent;
    use gristmill::store::{Access, source};
    let busy = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&busy);
    let open = Arc::new([const { AtomicUsize::new(0) }; 3]);
    let (count, refused) = (Arc::clone(&open), AtomicUsize::new(0));
    // How many are inside at once, before and after one request is refused for crowding.
    let server = Server::start(move |request, _| {
        if now.load(Ordering::SeqCst) && refused.fetch_add(1, Ordering::SeqCst) == 0 {
            return reply("429 Too Many Requests", &[("Content-Length", "0")], b"");
        }
        let inside = count[0].fetch_add(1, Ordering::SeqCst) + 1;
        count[if refused.load(Ordering::SeqCst) > 1 { 2 } else { 1 }].fetch_max(inside, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(40));
        count[0].fetch_sub(1, Ordering::SeqCst);
        honest(request, &day(0))
    });
    let store = source(&Access { connections_per_host: 8, ..Access::default() }, Arc::new(Silent));
    let crowd = || {
        std::thread::scope(|scope| {
            for number in 0..32 {
                let (store, url) = (&store, server.url(&format!("/{number}.nc")));
                scope.spawn(move || store.ranges(&url, std::slice::from_ref(&(0..8))).unwrap());
            }
        });
    };
    crowd();
    assert_eq!(open[1].load(Ordering::SeqCst), 8);
    busy.store(true, Ordering::SeqCst);
    store.ranges(&server.url("/first.nc"), std::slice::from_ref(&(0..8))).unwrap();
    crowd();
    let after = open[2].load(Ordering::SeqCst);
    assert!((1..=5).contains(&after), "{after} at once after it was asked for fewer");
}

#[test]
fn passing_answers_are_waited_out() {
    let expected = undisturbed(1).objects("out.zarr");
    for status in [
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Slow Down",
        "504 Gateway Timeout",
        "408 Request Timeout",
        "409 Conflict",
        "425 Too Early",
    ] {
        let (place, _server) =
            served(
                1,
                move |request, content, count| {
                    if count % 2 == 1 { reply(status, &[("Content-Length", "0")], b"") } else { honest(request, content) }
                },
            );
        place.ends(0, &[]);
        assert_eq!(place.objects("out.zarr"), expected, "{status}");
    }
}

#[test]
fn dripping_server_is_given_up_however_long_it_drips() {
    let drip: Vec<Step> = (0..300).flat_map(|_| [Step::Wait(Duration::from_millis(200)), Step::Send(vec![0])]).collect();
    let (place, _server) =
        served(
            1,
            move |request, content, _| {
                if request.method == "GET" { cut(honest(request, content), 0, &drip) } else { honest(request, content) }
            },
        );
    let begun = std::time::Instant::now();
    place.ends(5, &["error[source-temporary]", "/0.nc"]);
    assert!(begun.elapsed() < Duration::from_secs(45), "as long as it would have dripped");
}

#[test]
fn reset_connection_is_got_over() {
    let expected = undisturbed(1).objects("out.zarr");
    let (place, server) =
        served(
            1,
            |request, content, count| {
                if count % 2 == 1 { cut(honest(request, content), 300, &[Step::Reset]) } else { honest(request, content) }
            },
        );
    place.ends(0, &[]);
    assert_eq!(place.objects("out.zarr"), expected);
    assert!(server.count("GET") >= 2);
}

#[test]
fn page_instead_of_the_file_is_quoted_harmlessly() {
    for (kind, body) in [
        ("text/html", "<!DOCTYPE html><title>Log in\x1b[2J</title>"),
        ("application/octet-stream", "<html><head><title>Captive portal</title></head></html>"),
        ("application/json", "{\"error\": \"quota\x1b]0;owned\x07\"}"),
        ("application/xml", "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code></Error>"),
        ("text/plain", "\n::error::not found"),
    ] {
        let (place, _server) = served(1, move |request, _, _| {
            let sent = if request.method == "HEAD" { "" } else { body };
            reply("200 OK", &[("Content-Type", kind), ("Content-Length", &body.len().to_string())], sent.as_bytes())
        });
        let errors = place.ends(3, &["error[source-", "/0.nc"]);
        assert!(errors.chars().all(|letter| !letter.is_control() || letter == '\n'), "{errors:?}");
        assert!(!errors.lines().any(|line| line.trim_start().starts_with("::")), "{errors}");
        assert!(!place.is_visible());
    }
}

#[test]
fn file_that_changes_between_ranges_ends_the_run() {
    let swapped = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&swapped);
    // The scan sees one file; as soon as the plan is saved the other one is there.
    let (place, _server) = served(2, move |request, content, _| {
        let changed = request.path == "/1.nc" && now.load(Ordering::SeqCst);
        if changed { tagged(request, &day(9), "\"two\"") } else { tagged(request, content, "\"one\"") }
    });
    let watched = place.path().join("out.zarr.gristmill/plan.json");
    let child = place.command(&[]).spawn().unwrap();
    for _ in 0..2000 {
        if watched.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    swapped.store(true, Ordering::SeqCst);
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    // It may have been read before it changed; never is a part of each in the store.
    if output.status.code() == Some(0) {
        assert_eq!(place.objects("out.zarr"), undisturbed(2).objects("out.zarr"));
    } else {
        assert!(matches!(output.status.code(), Some(3 | 4)) && errors.contains("/1.nc") && errors.contains("changed"), "{errors}");
        assert!(!place.is_visible());
    }
}

#[test]
fn file_deleted_or_issued_anew_upstream_leaves_what_is_published_as_it_is() {
    let state = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&state);
    let (place, _server) = served(2, move |request, content, _| match (request.path.as_str(), now.load(Ordering::SeqCst)) {
        ("/1.nc", 1) => reply("404 Not Found", &[("Content-Length", "0")], b""),
        ("/1.nc", 2) => tagged(request, &day(1), "\"anew\""),
        ("/1.nc", 3) => tagged(request, &day(7), "\"other\""),
        _ => tagged(request, content, "\"one\""),
    });
    place.ends(0, &[]);
    let published = place.objects("out.zarr");
    for upstream in [1, 2, 3] {
        state.store(upstream, Ordering::SeqCst);
        let output = place.command(&[]).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_ne!(output.status.code(), Some(0), "upstream {upstream} went unnoticed: {errors}");
        assert!(errors.contains("1.nc") || errors.contains("another state"), "{errors}");
        assert_eq!(place.objects("out.zarr"), published, "upstream {upstream}");
    }
}

#[test]
fn corrupt_file_is_told_with_its_variable_and_no_other_waits_for_it() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cmip6-siconc");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let place = Place::of(&["0.nc".to_owned(), "1.nc".to_owned(), "2.nc".to_owned()], "");
    for (number, file) in files.iter().take(3).enumerate() {
        std::fs::copy(file, place.path().join(format!("{number}.nc"))).unwrap();
    }
    place.recipe(&["0.nc".to_owned(), "1.nc".to_owned(), "2.nc".to_owned()], "");
    let whole = std::fs::read(place.path().join("1.nc")).unwrap();
    let mut damaged = whole.clone();
    // Inside the compressed values, which a checksum guards.
    let store = gristmill::store::source(&gristmill::store::Access::default(), Arc::new(gristmill::event::Silent));
    let source = gristmill::source::open(&store, place.path().join("1.nc").to_str().unwrap()).unwrap();
    let gristmill::layout::Layout::Chunked(table) = source.stored("siconc").unwrap().layout else { panic!("siconc has chunks") };
    let chunk = table.entries[table.entries.len() / 2];
    damaged[(chunk.offset + u64::from(chunk.length) / 2) as usize] ^= 0x55;
    place.write("1.nc", &damaged);
    place.ends(3, &["error[source-corrupt]", "1.nc: ", "`siconc`"]);
    assert!(!place.is_visible());
    // What the damaged file has no part in is done: the next run has only the rest to do.
    place.write("1.nc", &whole);
    place.ends(0, &[]);
}
