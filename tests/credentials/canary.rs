//! A full run behind a login, through the program, at trace level: its secrets are looked for in every byte that it leaves, and that the
//! commands leave and say that look at its result.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::dance::{Realm, data_host, login_host};
use super::server::{Request, Server, honest, reply};
use super::small_s3::{Conditions, SmallS3};
use super::{base64, host};

/// What was left where, printed texts included.
pub(crate) type Left = Vec<(PathBuf, Vec<u8>)>;

/// Bytes of all files below a folder, but for those that hold the settings.
fn left(folder: &Path) -> Left {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.file_name().and_then(|name| name.to_str()) {
            Some("gristmill.toml" | "netrc") => {}
            _ if path.is_dir() => found.extend(left(&path)),
            _ => found.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found
}

/// The two steps of a series that this file holds.
pub(crate) fn file(number: usize) -> Vec<u8> {
    let file = super::made_files::MadeFile::default().dimension("time", 2).dimension("lat", 50);
    let values: Vec<f64> = (0..100).map(|value| f64::from(value) + number as f64).collect();
    let times = [2.0 * number as f64, 2.0 * number as f64 + 1.0];
    let file = file.variable("time", "double", &["time"], &times, &[("units", "days since 2000-01-01")]);
    file.variable("x", "double", &["time", "lat"], &values, &[("units", "K")]).bytes()
}

/// A folder with a recipe of these files, behind the credential `archive`, and settings.
pub(crate) fn place(urls: &[String], settings: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "schema: 1\nid: sample\ntitle: A sample\nlicense: CC0-1.0\ninputs:\n  files: ['{}']\n  auth: archive\ncombine: {{concat: [time]}}\noutput: {{chunks: {{time: 1}}}}\n",
        urls.join("', '")
    );
    std::fs::write(folder.path().join("recipe.yaml"), text).unwrap();
    std::fs::write(folder.path().join("gristmill.toml"), settings).unwrap();
    std::fs::create_dir(folder.path().join("spool")).unwrap();
    folder
}

/// The program in such a folder, with nothing of this machine's credentials.
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command.args(arguments).current_dir(folder).env("HOME", folder).env("TMPDIR", folder.join("spool"));
    command.env("XDG_CACHE_HOME", folder.join("cache")).env_remove("RUST_LOG").env_remove("JUPYTERHUB_USER");
    let ours = ["AWS_", "GOOGLE_", "CLOUDSDK_", "STORAGE_EMULATOR_", "AZURE_", "NETRC"];
    let set = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for variable in set.filter(|name| ours.iter().any(|start| name.starts_with(start))) {
        command.env_remove(variable);
    }
    command
}

/// Runs a recipe with this credential, and everything that looks at what came out; the run's exit code and all bytes that were left.
pub(crate) fn run(url: &str, table: &str, network: &str, target: &str) -> (i32, Left) {
    let settings = format!("[auth.archive]\n{table}\n[network]\nattempts = 2\n{network}\n");
    let folder = place(&[url.to_owned()], &settings);
    let mut printed = Vec::new();
    let mut exit = None;
    for arguments in [
        &["run", "recipe.yaml", "--target", target, "-vvv", "--profile", "trace.json", "--report", "report.json"][..],
        &["plan", "recipe.yaml", "-vvv", "--json"],
        &["inputs", "recipe.yaml", "--json"],
        &["doctor", "recipe.yaml", "--target", target, "--json", "-vvv"],
        &["verify", target, "--against-source", "--receipts", "-vvv"],
        &["repair", target, "--dry-run", "-vvv"],
        &["status", target, "--json"],
        &["resume", target, "-vvv"],
        &["run", "recipe.yaml", "--target", target, "-vvv", "--json"],
    ] {
        let output = command(folder.path(), arguments).output().unwrap();
        exit.get_or_insert(output.status.code().unwrap());
        printed.push((PathBuf::from(format!("{} stdout", arguments[0])), output.stdout));
        printed.push((PathBuf::from(format!("{} stderr", arguments[0])), output.stderr));
    }
    let mut all = left(folder.path());
    all.extend(printed);
    (exit.unwrap(), all)
}

/// What a command said on stderr.
pub(crate) fn said(left: &Left, command: &str) -> String {
    let name = PathBuf::from(format!("{command} stderr"));
    left.iter().find(|(known, _)| *known == name).map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).unwrap()
}

/// What the run said on stderr, as far as it is no trace.
pub(crate) fn told(left: &Left) -> String {
    said(left, "run").lines().filter(|line| !line.contains("TRACE") && !line.contains("DEBUG")).collect::<Vec<_>>().join("\n")
}

pub(crate) fn assert_clean(left: &Left, secrets: &[String]) {
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

pub(crate) const CANARY: &str = "canary/bird+7391";

pub(crate) fn forms(secret: &str) -> Vec<String> {
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    vec![secret.to_owned(), encoded, base64(&format!("me:{secret}")), base64(secret)]
}

#[test]
fn a_run_behind_a_login_leaves_no_secret() {
    let realm = Arc::new(Realm { password: CANARY.into(), file: file(0), ..Realm::default() });
    let login = login_host(&realm);
    let data = data_host(&realm, &login);
    let table = |password: &str| {
        format!("kind = 'earthdata'\nhosts = ['{}']\nlogin_host = '{}'\nuser = 'me'\npassword = '{password}'", host(&data), host(&login))
    };
    let (exit, left) = run(&data.url("/a.nc"), &table(CANARY), "", "out.zarr");
    let stderr = said(&left, "run");
    assert_eq!(exit, 0, "{stderr}");
    assert!(stderr.contains("TRACE") && left.iter().any(|(path, _)| path.ends_with("out.zarr/zarr.json")), "the run was to be traced");
    let mut secrets = forms(CANARY);
    secrets.push("session=number-1".to_owned());
    assert_clean(&left, &secrets);
    let (exit, left) = run(&data.url("/a.nc"), &table("canary-wrong-word"), "", "out.zarr");
    assert_eq!(exit, 3);
    assert_clean(&left, &forms("canary-wrong-word"));
}

#[test]
fn no_kind_of_credential_leaves_its_secret() {
    let content = file(0);
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
            let (exit, left) = run(&server.url(path), &table, "", "out.zarr");
            assert_eq!(exit, expected, "{table} {path}");
            assert_clean(&left, &forms(secret));
        }
    }
}

/// A server of one file for whoever shows this `Authorization`.
fn guarded(passes: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Server {
    let content = file(0);
    Server::start(
        move |request, _| {
            if passes(request) { honest(request, &content) } else { reply("401 Unauthorized", &[("Content-Length", "0")], b"") }
        },
    )
}

#[test]
fn what_is_read_from_files_or_fetched_leaves_no_secret_either() {
    let secrets = tempfile::tempdir().unwrap();
    let (netrc, token) = (secrets.path().join("netrc"), secrets.path().join("token"));
    std::fs::write(&netrc, format!("machine 127.0.0.1 login me password {CANARY}\n")).unwrap();
    std::fs::write(&token, CANARY).unwrap();
    let basic = format!("Basic {}", base64(&format!("me:{CANARY}")));
    let server = guarded(move |request| request.header("authorization") == Some(basic.as_str()));
    let table = format!("kind = 'netrc'\nhosts = ['{}']\nfile = '{}'", host(&server), netrc.display());
    let (exit, left) = run(&server.url("/a.nc"), &table, "", "out.zarr");
    assert_eq!(exit, 0, "{}", told(&left));
    assert_clean(&left, &forms(CANARY));
    let server = guarded(|request| request.header("authorization") == Some(&format!("Bearer {CANARY}")));
    let table = format!("kind = 'bearer'\nhosts = ['{}']\ntoken = {{file = '{}'}}", host(&server), token.display());
    let (exit, left) = run(&server.url("/a.nc"), &table, "", "out.zarr");
    assert_eq!(exit, 0, "{}", told(&left));
    assert_clean(&left, &forms(CANARY));
    let tokens = Server::start(|_, number| {
        let body = format!("{{\"access_token\": \"canary-issued-{number}\", \"token_type\": \"bearer\", \"expires_in\": 3600}}");
        reply("200 OK", &[("Content-Type", "application/json"), ("Content-Length", &body.len().to_string())], body.as_bytes())
    });
    let server = guarded(|request| request.header("authorization").is_some_and(|value| value.starts_with("Bearer canary-issued-")));
    let table = format!(
        "kind = 'oauth2'\nhosts = ['{}']\ntoken_url = '{}'\nclient_id = 'client'\nclient_secret = '{CANARY}'",
        host(&server),
        tokens.url("/token")
    );
    let (exit, left) = run(&server.url("/a.nc"), &table, "", "out.zarr");
    assert_eq!(exit, 0, "{}", told(&left));
    assert_clean(&left, &[forms(CANARY), vec![base64(&format!("client:{CANARY}")), "canary-issued".into()]].concat());
}

#[test]
fn keys_of_buckets_are_in_no_byte_of_store_state_or_log() {
    let (secret, session) = ("canary/of+a/secret/key", "canary-session-token==");
    let server = SmallS3::start(Conditions::Honoured);
    server.put("source/a.nc", &file(0));
    let network = format!(
        "[s3]\nendpoint = '{}'\naccess_key_id = 'CANARYKEYID7391'\nsecret_access_key = '{secret}'\nsession_token = '{session}'",
        server.endpoint()
    );
    let profiles = profiles(secret, session);
    let table = format!(
        "kind = 'aws-profile'\nbuckets = ['source']\nprofile = 'archive'\nfile = '{}'\nendpoint = '{}'",
        profiles.path().join("credentials").display(),
        server.endpoint()
    );
    let (exit, mut left) = run("s3://source/a.nc", &table, &network, "s3://target/out.zarr");
    assert_eq!(exit, 0, "{}", told(&left));
    let objects = server.objects();
    assert!(objects.contains_key("target/out.zarr/zarr.json") && objects.contains_key("target/out.zarr.gristmill/report.json"));
    left.extend(objects.into_iter().map(|(path, bytes)| (PathBuf::from(path), bytes)));
    left.extend(server.log().into_iter().map(|(method, path)| (PathBuf::from("asked"), format!("{method} {path}").into_bytes())));
    assert_clean(&left, &[forms(secret), forms(session), vec!["CANARYKEYID7391".into()]].concat());
}

/// A file of AWS profiles with one that has these secrets.
fn profiles(secret: &str, session: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("[archive]\naws_access_key_id = CANARYKEYID7391\naws_secret_access_key = {secret}\naws_session_token = {session}\n");
    std::fs::write(folder.path().join("credentials"), text).unwrap();
    folder
}
