//! A full run behind a login, through the program, at trace level: its secrets are looked for in every byte that it leaves.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::dance::{Realm, data_host, login_host};
use super::server::{Server, honest, reply};
use super::{base64, host};

/// Bytes of all files below a folder, but for those that hold the settings.
fn left(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.file_name().and_then(|name| name.to_str()) {
            Some("gristmill.toml") => {}
            _ if path.is_dir() => found.extend(left(&path)),
            _ => found.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found
}

fn file() -> Vec<u8> {
    let file = super::made_files::MadeFile::default().dimension("time", 2).dimension("lat", 50);
    let values: Vec<f64> = (0..100).map(f64::from).collect();
    let file = file.variable("time", "double", &["time"], &[0.0, 1.0], &[("units", "days since 2000-01-01")]);
    file.variable("x", "double", &["time", "lat"], &values, &[("units", "K")]).bytes()
}

/// Runs a recipe with this credential; exit code and all bytes that it left, printed ones included.
fn run(url: &str, table: &str, target: &str) -> (i32, Vec<(PathBuf, Vec<u8>)>) {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("schema: 1\nid: sample\ntitle: A sample\nlicense: CC0-1.0\ninputs:\n  files: ['{url}']\n  auth: archive\n");
    std::fs::write(folder.path().join("recipe.yaml"), text).unwrap();
    std::fs::write(folder.path().join("gristmill.toml"), format!("[auth.archive]\n{table}\n[network]\nattempts = 2\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command.args(["run", "recipe.yaml", "--target", target, "-vvv", "--profile", "trace.json", "--report", "report.json"]);
    command.current_dir(folder.path()).env("HOME", folder.path()).env("XDG_CACHE_HOME", folder.path().join("cache")).env_remove("RUST_LOG");
    let output = command.output().unwrap();
    let plan = Command::new(env!("CARGO_BIN_EXE_gristmill"))
        .args(["plan", "recipe.yaml", "-vvv", "--json"])
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .env("XDG_CACHE_HOME", folder.path().join("cache"))
        .output()
        .unwrap();
    let mut all = left(folder.path());
    for (name, bytes) in [("stdout", output.stdout), ("stderr", output.stderr), ("plan stdout", plan.stdout), ("plan stderr", plan.stderr)]
    {
        all.push((name.into(), bytes));
    }
    (output.status.code().unwrap(), all)
}

fn assert_clean(left: &[(PathBuf, Vec<u8>)], secrets: &[String]) {
    for (path, bytes) in left {
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(
                !found,
                "`{secret}` is in {}: {}",
                path.display(),
                String::from_utf8_lossy(bytes).lines().find(|line| line.contains(secret.as_str())).unwrap_or_default()
            );
        }
    }
}

const CANARY: &str = "canary/bird+7391";

fn forms(secret: &str) -> Vec<String> {
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    vec![secret.to_owned(), encoded, base64(&format!("me:{secret}")), base64(secret)]
}

#[test]
fn a_run_behind_a_login_leaves_no_secret() {
    let realm = Arc::new(Realm { password: CANARY.into(), file: file(), ..Realm::default() });
    let login = login_host(&realm);
    let data = data_host(&realm, &login);
    let table = |password: &str| {
        format!("kind = 'earthdata'\nhosts = ['{}']\nlogin_host = '{}'\nuser = 'me'\npassword = '{password}'", host(&data), host(&login))
    };
    let (exit, left) = run(&data.url("/a.nc"), &table(CANARY), "out.zarr");
    let stderr =
        left.iter().find(|(name, _)| name == Path::new("stderr")).map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).unwrap();
    assert_eq!(exit, 0, "{stderr}");
    assert!(stderr.contains("TRACE") && left.iter().any(|(path, _)| path.ends_with("out.zarr/zarr.json")), "the run was to be traced");
    let mut secrets = forms(CANARY);
    secrets.push("session=number-1".to_owned());
    assert_clean(&left, &secrets);
    let (exit, left) = run(&data.url("/a.nc"), &table("canary-wrong-word"), "out.zarr");
    assert_eq!(exit, 3);
    assert_clean(&left, &forms("canary-wrong-word"));
}

#[test]
fn no_kind_of_credential_leaves_its_secret() {
    let content = file();
    let server = Server::start(move |request, _| {
        let told = [request.header("authorization"), request.header("x-api-key"), request.path.split_once("key=").map(|(_, key)| key)];
        match told.iter().flatten().next() {
            // Some servers repeat what they were sent, where programs like to show it.
            Some(secret) if secret.contains("refuse") => {
                let page = format!("<html>you sent {secret}</html>");
                reply("403 Forbidden", &[("X-Sent", *secret), ("Content-Length", &page.len().to_string())], page.as_bytes())
            }
            Some(secret) if request.path.starts_with("/page") => {
                let page = format!("<html>you sent {secret}</html>");
                reply("200 OK", &[("Content-Length", &page.len().to_string()), ("ETag", "\"one\"")], page.as_bytes())
            }
            Some(_) => honest(request, &content),
            None => reply("401 Unauthorized", &[("Content-Length", "0")], b""),
        }
    });
    for (table, secret) in [
        ("kind = 'basic'\nhosts = ['HOST']\nuser = 'me'\npassword = 'SECRET'", CANARY),
        ("kind = 'bearer'\nhosts = ['HOST']\ntoken = 'SECRET'", CANARY),
        ("kind = 'header'\nhosts = ['HOST']\nheader = 'X-Api-Key'\ntoken = 'SECRET'", CANARY),
        ("kind = 'query'\nhosts = ['HOST']\nparameter = 'key'\ntoken = 'SECRET'", CANARY),
        ("kind = 'bearer'\nhosts = ['HOST']\ntoken = 'SECRET'", "canary-to-refuse"),
        ("kind = 'query'\nhosts = ['HOST']\nparameter = 'key'\ntoken = 'SECRET'", "canary-to-refuse"),
    ] {
        let table = table.replace("HOST", &host(&server)).replace("SECRET", secret);
        for (path, expected) in [("/a.nc", if secret == CANARY { 0 } else { 3 }), ("/page.nc", 3)] {
            let (exit, left) = run(&server.url(path), &table, "out.zarr");
            assert_eq!(exit, expected, "{table} {path}");
            assert_clean(&left, &forms(secret));
        }
    }
}
