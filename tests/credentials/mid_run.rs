//! What expires in the middle of a run: sessions and S3 keys are renewed, and the store is the one that the files themselves give.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::canary::{command, file, place};
use super::dance::{Realm, data_host, login_host};
use super::host;
use super::server::{Server, Step, honest, reply};

const FILES: usize = 6;

fn files() -> Vec<Vec<u8>> {
    (0..FILES).map(file).collect()
}

/// Every object of a store below a folder.
fn objects(folder: &Path, below: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            found.extend(objects(folder, &path));
        } else {
            found.insert(path.clone(), std::fs::read(folder.join(&path)).unwrap());
        }
    }
    found
}

/// The store that these files give; what the run said.
fn bake(urls: &[String], settings: &str) -> (BTreeMap<PathBuf, Vec<u8>>, String) {
    let folder = place(urls, settings);
    let output = command(folder.path(), &["run", "recipe.yaml", "--target", "out.zarr", "--threads", "2"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    (objects(folder.path(), Path::new("out.zarr")), said)
}

/// The store that the files give as they lie on a disk.
fn expected() -> BTreeMap<PathBuf, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let urls: Vec<String> = (0..FILES).map(|number| folder.path().join(format!("{number}.nc")).display().to_string()).collect();
    for (url, content) in urls.iter().zip(files()) {
        std::fs::write(url, content).unwrap();
    }
    bake(&urls, "[auth.archive]\nkind = 'bearer'\nhosts = ['data.example.org']\ntoken = 'unused'\n").0
}

fn table(data: &Server, login: &Server) -> String {
    format!(
        "[auth.archive]\nkind = 'earthdata'\nhosts = ['{}']\nlogin_host = '{}'\nuser = 'me'\npassword = 'pass-word'\n",
        host(data),
        host(login)
    )
}

#[test]
fn a_run_logs_in_again_whenever_its_session_ends() {
    let realm = Arc::new(Realm { files: files(), lasts: 4, ..Realm::default() });
    let login = login_host(&realm);
    let data = data_host(&realm, &login);
    let urls: Vec<String> = (0..FILES).map(|number| data.url(&format!("/granules/{number}.nc"))).collect();
    let (store, said) = bake(&urls, &table(&data, &login));
    assert!(store == expected(), "the store differs from that of the files themselves");
    let (answers, logins) = (realm.answers.load(Ordering::SeqCst), realm.logins.load(Ordering::SeqCst));
    assert!(answers > 4 && logins >= 2 && logins <= answers / 4 + 1, "{logins} logins for {answers} answers");
    assert!(!said.contains("pass-word") && !said.contains("session="), "{said}");
}

#[test]
fn a_run_with_a_wrong_password_is_exit_3_asks_once_and_says_no_secret() {
    let realm = Arc::new(Realm { files: files(), ..Realm::default() });
    let login = login_host(&realm);
    let data = data_host(&realm, &login);
    let urls: Vec<String> = (0..FILES).map(|number| data.url(&format!("/granules/{number}.nc"))).collect();
    let folder = place(&urls, &table(&data, &login).replace("pass-word", "wrong-word"));
    let output = command(folder.path(), &["run", "recipe.yaml", "--target", "out.zarr"]).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("`archive`") && !said.contains("wrong-word"), "{said}");
    assert_eq!(
        login.requests().iter().filter(|request| request.header("authorization").is_some()).count(),
        1,
        "wrong passwords lock accounts"
    );
}

#[test]
fn s3_keys_are_renewed_in_the_middle_of_a_run() {
    let realm = Arc::new(Realm::default());
    let login = login_host(&realm);
    let data = data_host(&realm, &login);
    let used = Arc::new(Mutex::new(BTreeSet::new()));
    let (seen, contents) = (Arc::clone(&used), files());
    // Slow enough that keys of two seconds do not last; and one pair is revoked before its time.
    let bucket = Server::start(move |request, _| {
        let key =
            request.header("authorization").and_then(|value| value.split("Credential=").nth(1)?.split('/').next()).unwrap_or_default();
        let key = key.strip_prefix("ASIAFORTEST").and_then(|key| key.parse::<usize>().ok());
        let told = request.header("x-amz-security-token");
        let Some(key) = key.filter(|_| told == Some("quiet-token")) else { return reply("403 Forbidden", &[("Content-Length", "0")], b"") };
        let earlier = {
            let mut seen = seen.lock().unwrap();
            seen.insert(key);
            seen.len()
        };
        if key == 2 && earlier == 2 {
            let body = "<?xml version=\"1.0\"?><Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>";
            return reply(
                "400 Bad Request",
                &[("Content-Type", "application/xml"), ("Content-Length", &body.len().to_string())],
                body.as_bytes(),
            );
        }
        let number =
            request.path.rsplit('/').next().and_then(|name| name.split(['.', '?']).next()?.parse::<usize>().ok()).unwrap_or_default();
        let mut answer = honest(request, &contents[number]);
        if let Some(Step::Send(head)) = answer.first_mut() {
            let text = String::from_utf8_lossy(head).replacen("\r\n", "\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n", 1);
            *head = text.into_bytes();
        }
        answer.insert(0, Step::Wait(Duration::from_millis(700)));
        answer
    });
    let settings = format!(
        "{}keys_url = '{}'\nbuckets = ['protected']\nendpoint = '{}'\n[network]\nconnections_per_host = 1\n",
        table(&data, &login),
        data.url("/keys"),
        bucket.url("")
    );
    let urls: Vec<String> = (0..FILES).map(|number| format!("s3://protected/granules/{number}.nc")).collect();
    let (store, said) = bake(&urls, &settings);
    assert!(store == expected(), "the store differs from that of the files themselves");
    let used = used.lock().unwrap();
    assert!(used.len() >= 3, "keys {used:?} were used");
    assert!(!said.contains("quiet-"), "{said}");
}

#[test]
fn a_store_is_compared_and_repaired_behind_the_login_it_was_made_through() {
    let content = file(0);
    let server = Server::start(move |request, _| {
        if request.header("authorization") == Some("Bearer word-of-mouth") {
            honest(request, &content)
        } else {
            reply("401 Unauthorized", &[("Content-Length", "0")], b"")
        }
    });
    let settings = format!("[auth.archive]\nkind = 'bearer'\nhosts = ['{}']\ntoken = 'word-of-mouth'\n", host(&server));
    let folder = place(&[server.url("/0.nc")], &settings);
    let run = |arguments: &[&str]| {
        let output = command(folder.path(), arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    assert_eq!(run(&["run", "recipe.yaml", "--target", "out.zarr"]).0, 0);
    let before = objects(folder.path(), Path::new("out.zarr"));
    // The recipe is not named: its credential is that of the recipe which the state keeps.
    let (exit, said) = run(&["verify", "out.zarr", "--against-source"]);
    assert!(exit == 0 && said.contains("compared with their sources: equal"), "{said}");
    std::fs::remove_file(folder.path().join("out.zarr/x/c/0/0")).unwrap();
    let (exit, said) = run(&["repair", "out.zarr"]);
    assert_eq!(exit, 0, "{said}");
    assert!(objects(folder.path(), Path::new("out.zarr")) == before, "{said}");
    // What the operator has bound no more is not sent, and said to be lacking.
    std::fs::write(folder.path().join("gristmill.toml"), "").unwrap();
    let (exit, said) = run(&["verify", "out.zarr", "--against-source"]);
    assert!(exit == 2 && said.contains("[auth.archive]"), "{exit}: {said}");
    // What needs no source needs no credential.
    assert_eq!(run(&["verify", "out.zarr"]).0, 0);
}
