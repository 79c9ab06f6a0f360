//! Broken FTP servers: each fault has its outcome, and no fault ever hands on wrong bytes.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "../patience/mod.rs"]
mod patience;
mod server;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gristmill::event::Silent;
use gristmill::store::access::Retries;
use gristmill::store::{Access, ErrorKind, SourceStore, StoreError, listing, source};
use server::{End, Script, Server};

fn hasty() -> Access {
    patience::hasty(Duration::from_millis(400))
}

fn client() -> Arc<dyn SourceStore> {
    source(&hasty(), Arc::new(Silent))
}

fn content(length: usize) -> Vec<u8> {
    (0..length as u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 21) as u8).collect()
}

/// A server with one file, `a.nc`, of 300,000 bytes.
fn serving(script: Script) -> Server {
    script.put("a.nc", &content(300_000), "20200102030405");
    Server::start(script)
}

fn whole(store: &dyn SourceStore, url: &str) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    let length = store.stream(url, &mut bytes)?;
    assert_eq!(length, bytes.len() as u64);
    Ok(bytes)
}

fn expect_failure<T: std::fmt::Debug>(result: Result<T, StoreError>, kind: ErrorKind, exit: u8, says: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.kind, error.exit()), (kind, exit), "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

/// Answers one command so, always.
fn always(name: &'static str, text: &'static str) -> Script {
    Script { answer: Box::new(move |command, _| (command == name).then(|| text.to_owned())), ..Script::default() }
}

#[test]
fn a_cut_transfer_goes_on_where_it_broke() {
    for end in [End::HangUp, End::Saying("426 Cut"), End::Saying("226 All of it, I say"), End::Silence] {
        for length in [0, 1, 100_000, 299_999] {
            let cut = Box::new(move |number: usize| (number == 0).then_some((length, end)));
            let server = serving(Script { cut, ..Script::default() });
            assert!(whole(&*client(), &server.url("a.nc")).unwrap() == content(300_000), "{end:?} {length}");
            let rest = usize::from(length != 0);
            assert_eq!(server.script.count("REST"), rest, "{end:?} {length}");
            assert_eq!(server.script.sent.load(Ordering::SeqCst), 300_000, "{end:?} {length}");
        }
    }
}

#[test]
fn a_transfer_cut_for_good_is_no_file() {
    let server = serving(Script { cut: Box::new(|_| Some((0, End::HangUp))), ..Script::default() });
    expect_failure(whole(&*client(), &server.url("a.nc")), ErrorKind::Temporary, 5, "tried 4 times");
    let server = serving(Script { cut: Box::new(|_| Some((0, End::Saying("451 Disk trouble")))), ..Script::default() });
    expect_failure(whole(&*client(), &server.url("a.nc")), ErrorKind::Temporary, 5, "451: `Disk trouble`");
}

#[test]
fn a_server_that_cannot_begin_in_the_middle_sends_all_again_and_is_compared() {
    let script =
        || Script { cut: Box::new(|number| (number == 0).then_some((100_000, End::HangUp))), ..always("REST", "502 No such command") };
    let server = serving(script());
    assert!(whole(&*client(), &server.url("a.nc")).unwrap() == content(300_000));
    // Parts are then read out of the whole, which comes once.
    let server = serving(Script { cut: Box::new(|_| None), ..script() });
    let (store, url, long) = (client(), server.url("long.nc"), content(9_000_000));
    server.script.put("long.nc", &long, "20200102030405");
    for start in [8_000_000_u64, 5, 7_000_000] {
        assert_eq!(store.ranges(&url, &[start..start + 9]).unwrap()[0], long[start as usize..start as usize + 9]);
    }
    assert_eq!(server.script.sent.load(Ordering::SeqCst), 9_000_000);
}

#[test]
fn many_parts_of_one_file_are_read_out_of_the_whole() {
    let (script, long) = (Script::default(), content(20_000_000));
    script.put("long.nc", &long, "20200102030405");
    let server = Server::start(script);
    let (store, url) = (client(), server.url("long.nc"));
    for number in 0..100_u64 {
        let start = number * 190_001;
        assert_eq!(store.ranges(&url, &[start..start + 9]).unwrap()[0], long[start as usize..start as usize + 9]);
    }
    let transfers = server.script.count("RETR");
    assert!((2..=5).contains(&transfers), "{transfers} transfers");
}

#[test]
fn connections_are_used_again() {
    let server = serving(Script::default());
    server.script.put("b.nc", b"b", "20200102030405");
    let store = client();
    for _ in 0..5 {
        assert!(whole(&*store, &server.url("a.nc")).unwrap() == content(300_000));
        assert_eq!(whole(&*store, &server.url("b.nc")).unwrap(), b"b");
        assert_eq!(store.head(&server.url("absent.nc")).unwrap_err().kind, ErrorKind::NotFound);
    }
    assert_eq!((server.script.connections(), server.script.count("PASS"), server.script.count("TYPE")), (1, 1, 1));
}

#[test]
fn a_server_that_tells_nothing_is_read_all_the_same() {
    for unknown in [vec!["SIZE"], vec!["MDTM"], vec!["SIZE", "MDTM", "EPSV", "REST"]] {
        let known = unknown.clone();
        let answer = move |name: &str, _| known.contains(&name).then(|| "500 What?".to_owned());
        let server = serving(Script { answer: Box::new(answer), ..Script::default() });
        let (store, url) = (client(), server.url("a.nc"));
        assert_eq!(store.head(&url).unwrap().size, Some(300_000), "{unknown:?}");
        assert_eq!(store.ranges(&url, &[299_990..300_000, 0..4]).unwrap()[0], content(300_000)[299_990..], "{unknown:?}");
        assert!(whole(&*store, &url).unwrap() == content(300_000), "{unknown:?}");
        assert_eq!(client().head(&server.url("absent.nc")).unwrap_err().kind, ErrorKind::NotFound, "{unknown:?}");
    }
}

#[test]
fn a_length_that_is_refused_does_not_make_a_file_absent() {
    let server = serving(always("SIZE", "550 Could not get file size."));
    assert_eq!(client().head(&server.url("a.nc")).unwrap().size, Some(300_000));
}

#[test]
fn data_come_from_the_server_that_was_asked_and_no_other() {
    // Nothing listens at that address; whoever believed it would wait for it.
    let server = serving(Script { claim: [203, 0, 113, 9], ..always("EPSV", "500 What?") });
    assert!(whole(&*client(), &server.url("a.nc")).unwrap() == content(300_000));
    assert!(server.script.count("PASV") >= 1);
}

#[test]
fn replies_have_their_outcomes() {
    let fails = |name, text, kind, exit, says: &str| {
        let server = serving(always(name, text));
        expect_failure(whole(&*client(), &server.url("a.nc")), kind, exit, says);
        server
    };
    let server = fails("PASS", "530 Login incorrect.", ErrorKind::Forbidden, 3, "530: `Login incorrect.`");
    assert_eq!(server.script.connections(), 1, "a wrong password is tried once");
    fails("RETR", "550 Permission denied.", ErrorKind::Forbidden, 3, "550");
    fails("RETR", "553 Odd name", ErrorKind::Other, 3, "553");
    for text in ["425 No data connection", "450 Busy", "451 Trouble", "421 Going down"] {
        let server = fails("RETR", text, ErrorKind::Temporary, 5, &text[..3]);
        assert_eq!(server.script.count("RETR"), 4, "{text}");
    }
    fails("connect", "421 Too many users", ErrorKind::Temporary, 5, "421: `Too many users`");
    fails("connect", "HTTP/1.1 400 Bad Request", ErrorKind::Temporary, 5, "makes no sense");
    fails("USER", "", ErrorKind::Temporary, 5, "fell silent");
}

#[test]
fn what_passes_is_waited_out() {
    for (name, text) in
        [("connect", "421 Too many"), ("RETR", "450 Busy"), ("PASS", "530 The maximum number of users is reached"), ("SIZE", "hang up")]
    {
        let answer = move |command: &str, before: usize| (command == name && before < 2).then(|| text.to_owned());
        let server = serving(Script { answer: Box::new(answer), ..Script::default() });
        assert!(whole(&*client(), &server.url("a.nc")).unwrap() == content(300_000), "{name} {text}");
    }
}

#[test]
fn a_file_that_changes_in_between_is_refused() {
    let server = serving(Script::default());
    server.script.put("long.nc", &content(30_000_000), "20200102030405");
    let (store, url) = (client(), server.url("long.nc"));
    store.ranges(&url, &[0..4]).unwrap();
    // Of the same length, and only the clock tells.
    server.script.put("long.nc", &content(30_000_000), "20200102030406");
    expect_failure(store.ranges(&url, &[8..12]), ErrorKind::Integrity, 3, "changed on the server");
    expect_failure(whole(&*store, &url), ErrorKind::Integrity, 3, "changed on the server");
    store.head(&url).unwrap();
    assert_eq!(store.ranges(&url, &[8..12]).unwrap()[0], content(12)[8..]);
}

#[test]
fn a_file_longer_than_announced_is_refused() {
    let server = serving(always("SIZE", "213 299999"));
    expect_failure(whole(&*client(), &server.url("a.nc")), ErrorKind::Integrity, 3, "more bytes");
}

#[test]
fn nothing_hangs() {
    for name in ["connect", "USER", "TYPE", "SIZE", "EPSV", "RETR"] {
        let server = serving(always(name, ""));
        let begun = Instant::now();
        let access = Access { retries: Retries { attempts: 2, ..hasty().retries }, ..hasty() };
        expect_failure(
            source(&access, Arc::new(Silent))
                .head(&server.url("a.nc"))
                .and_then(|_| whole(&*source(&access, Arc::new(Silent)), &server.url("a.nc"))),
            ErrorKind::Temporary,
            5,
            "",
        );
        assert!(begun.elapsed() < Duration::from_secs(15), "{name}");
    }
}

#[test]
fn a_second_command_does_not_fit_into_a_url() {
    let server = serving(Script::default());
    expect_failure(client().head(&server.url("a.nc%0d%0aDELE%20a.nc")), ErrorKind::Other, 3, "control characters");
    assert_eq!(server.script.connections(), 0);
}

#[test]
fn no_password_is_told() {
    let server = serving(always("PASS", "530 not with canary"));
    let url = server.url("a.nc").replacen("ftp://", "ftp://me:canary@", 1);
    let error = client().head(&url).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    assert!(server.script.commands.lock().unwrap().contains(&"PASS canary".to_owned()));
}

#[test]
fn folders_are_listed_in_either_manner() {
    let names = |server: &Server, folder: &str| -> Result<Vec<(String, bool, Option<u64>)>, StoreError> {
        let listing = listing(&server.url(folder), &hasty())?.unwrap();
        Ok(listing.list(&server.url(folder))?.into_iter().map(|entry| (entry.name, entry.folder, entry.size)).collect())
    };
    let expected = [("a b.nc".to_owned(), false, Some(12)), ("sub".to_owned(), true, None)];
    let server = serving(Script::default());
    server.script.put("MLSD", b"type=cdir; .\r\ntype=dir;size=9; sub\r\ntype=file;size=12; a b.nc\r\n", "");
    assert_eq!(names(&server, "x/").unwrap(), expected);
    assert!(server.script.commands.lock().unwrap().contains(&"MLSD x".to_owned()));
    let server = serving(always("MLSD", "500 What?"));
    server.script.put("LIST", b"total 2\r\ndrwxr-xr-x 2 a b 9 Jan 1 2020 sub\r\n-rw-r--r-- 1 a b 12 Jan 1 10:00 a b.nc\r\n", "");
    assert_eq!(names(&server, "x").unwrap(), expected);
    let commands = server.script.commands.lock().unwrap().clone();
    let from: Vec<&str> = commands
        .iter()
        .map(String::as_str)
        .skip_while(|command| *command != "PWD")
        .filter(|command| !command.starts_with("EPSV"))
        .collect();
    assert_eq!(from, ["PWD", "CWD x", "LIST", "CWD /ho\"me"]);
    let server = serving(Script::default());
    server.script.put("MLSD", b"type=file;size=12; ../../etc/passwd\r\n", "");
    expect_failure(names(&server, "x"), ErrorKind::Integrity, 3, "cannot be read");
    expect_failure(names(&serving(always("MLSD", "550 No such folder")), "x"), ErrorKind::NotFound, 3, "550");
}
