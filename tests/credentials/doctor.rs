//! `gristmill doctor`: what is fine, what is not, and nothing left behind.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::server::{Server, honest, reply};
use super::small_s3::{Conditions, Request, SmallS3, Wish, error_body};
use super::{content, host, real_s3};

fn examine(folder: &Path, more: &[&str]) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command.args(["doctor", "--json"]).args(more).current_dir(folder).env("HOME", folder);
    for variable in ["AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "JUPYTERHUB_USER"] {
        command.env_remove(variable);
    }
    let output = command.output().unwrap();
    let value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), value)
}

/// Messages and help of the findings of one check.
fn of(value: &Value, check: &str) -> Vec<(String, String)> {
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let findings = value["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == check);
    findings.map(|finding| (text(finding, "health"), format!("{} {}", text(finding, "message"), text(finding, "help")))).collect()
}

#[test]
fn a_healthy_place_is_told_and_left_as_it_was() {
    let server = Server::start(|request, _| honest(request, &content()));
    let folder = tempfile::tempdir().unwrap();
    let recipe = format!("schema: 1\nid: sample\ntitle: S\nlicense: CC0-1.0\ninputs: {{url: '{}'}}\n", server.url("/a.nc"));
    std::fs::write(folder.path().join("recipe.yaml"), recipe).unwrap();
    let (exit, value) = examine(folder.path(), &["recipe.yaml", "--target", "out.zarr"]);
    assert_eq!((exit, &value["healthy"]), (0, &Value::Bool(true)), "{value:#}");
    assert!(of(&value, "inputs")[0].1.contains("can be read"), "{value:#}");
    assert_eq!(of(&value, "permissions").len(), 4, "{value:#}");
    assert!(of(&value, "settings")[0].1.contains("contact"), "{value:#}");
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["recipe.yaml"]);
}

#[test]
fn what_would_fail_is_named_with_the_exit_code_of_a_run() {
    let server =
        Server::start(|_, _| reply("401 Unauthorized", &[("Content-Length", "0"), ("Date", "Mon, 01 Jan 2024 00:00:00 GMT")], b""));
    let folder = tempfile::tempdir().unwrap();
    let recipe = format!("schema: 1\nid: sample\ntitle: S\nlicense: CC0-1.0\ninputs: {{url: '{}', auth: archive}}\n", server.url("/a.nc"));
    std::fs::write(folder.path().join("recipe.yaml"), recipe).unwrap();
    let table = format!("[auth.archive]\nkind = 'bearer'\nhosts = ['{}']\ntoken = 'canary-word'\n", host(&server));
    std::fs::write(folder.path().join("gristmill.toml"), table).unwrap();
    let (exit, value) = examine(folder.path(), &["recipe.yaml", "--target", "recipe.yaml/out.zarr"]);
    assert_eq!((exit, &value["healthy"]), (3, &Value::Bool(false)), "{value:#}");
    assert!(of(&value, "inputs")[0].1.contains("[auth.archive]"), "{value:#}");
    assert_eq!(of(&value, "clock")[0].0, "bad", "{value:#}");
    assert!(of(&value, "permissions").iter().any(|(health, _)| health == "bad"), "{value:#}");
    assert!(of(&value, "settings").iter().any(|(_, text)| text.contains("chmod 600")), "{value:#}");
    assert!(!value.to_string().contains("canary-word"));
}

const DENIED: &str = "403 Forbidden";

/// What the doctor finds of a target on this server; exit code too.
fn of_server(server: &SmallS3, more: &str) -> (i32, Value) {
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("[network]\nattempts = 2\n[s3]\nendpoint = '{}'\n{more}", server.endpoint());
    std::fs::write(folder.path().join("gristmill.toml"), settings).unwrap();
    examine(folder.path(), &["--target", "s3://data/out.zarr"])
}

const KEYS: &str = "access_key_id = 'test'\nsecret_access_key = 'canary-secret'\n";

/// An object of the doctor's, not of the probe.
fn is_object(request: &Request) -> bool {
    request.path.ends_with("doctor/object")
}

#[test]
fn each_right_that_lacks_is_told_by_its_name() {
    type Denies = fn(&Request) -> bool;
    let is_list = |request: &Request| request.method == "GET" && !request.path.trim_end_matches('/').contains('/');
    let cases: [(&str, Denies); 4] = [
        ("s3:PutObject", |request| request.method == "PUT"),
        ("s3:GetObject", |request| request.method == "GET" && is_object(request)),
        ("s3:ListBucket", is_list),
        ("s3:DeleteObject", |request| request.method == "DELETE"),
    ];
    for (right, denies) in cases {
        let server = SmallS3::start(Conditions::Honoured);
        server.script(move |request| denies(request).then(|| Wish::Answer(DENIED, error_body("AccessDenied"))));
        let (exit, value) = of_server(&server, KEYS);
        assert_eq!((exit, &value["healthy"]), (3, &Value::Bool(false)), "{right}: {value:#}");
        let bad: Vec<String> = of(&value, "permissions").into_iter().filter(|(health, _)| health == "bad").map(|(_, text)| text).collect();
        assert!(matches!(bad.as_slice(), [text] if text.contains(right)), "{right}: {bad:?}");
        assert!(!value.to_string().contains("canary-secret"));
    }
}

#[test]
fn what_the_public_may_is_found_out_and_the_policy_that_lacks_is_given() {
    let server = SmallS3::start(Conditions::Honoured);
    let (exit, value) = of_server(&server, KEYS);
    assert_eq!((exit, &value["healthy"]), (0, &Value::Bool(true)), "{value:#}");
    assert_eq!(of(&value, "permissions").len(), 4, "{value:#}");
    assert_eq!(of(&value, "public read")[0].0, "good", "{value:#}");
    // This server knows nothing of CORS, as Swift does by default.
    assert!(of(&value, "web pages")[0].0 == "weak" && of(&value, "web pages")[0].1.contains("CORS"), "{value:#}");
    assert!(server.objects().is_empty(), "something was left behind: {:?}", server.objects().keys());
    assert_eq!(server.unfinished(), 0);
    for (reads, says) in [(true, "but not list"), (false, "only those with keys")] {
        let server = SmallS3::start(Conditions::Honoured);
        server.script(move |request| {
            let anonymous = request.header("authorization").is_none() && request.method != "HEAD";
            (anonymous && !(reads && is_object(request))).then(|| Wish::Answer(DENIED, error_body("AccessDenied")))
        });
        let (exit, value) = of_server(&server, KEYS);
        assert_eq!(exit, 0, "{value:#}");
        let public = &of(&value, "public read")[0];
        assert!(public.0 == "weak" && public.1.contains(says), "{value:#}");
        for word in ["s3:GetObject", "s3:ListBucket", "arn:aws:s3:::data/*", "mc anonymous set download"] {
            assert!(public.1.contains(word), "{word}: {value:#}");
        }
    }
}

#[test]
fn stores_are_known_by_what_they_answer() {
    for (conditions, says) in [(Conditions::Refused, "OpenStack Swift"), (Conditions::Ignored, "Ceph")] {
        let (exit, value) = of_server(&SmallS3::start(conditions), KEYS);
        assert_eq!(exit, 0, "{value:#}");
        assert!(of(&value, "known quirks").iter().any(|(health, text)| health == "weak" && text.contains(says)), "{value:#}");
    }
    let altering = SmallS3::start(Conditions::Honoured);
    altering.script(|request| (request.method == "PUT" && !is_object(request)).then_some(Wish::Append(5)));
    let (exit, value) = of_server(&altering, KEYS);
    assert_eq!(exit, 7, "{value:#}");
    let (_, value) = of_server(&SmallS3::start(Conditions::Honoured), "");
    assert!(of(&value, "known quirks").iter().any(|(_, text)| text.contains("anonymous")), "{value:#}");
}

#[test]
fn what_servers_say_of_keys_and_regions_is_told_with_its_remedy() {
    for (code, says) in [
        ("AuthorizationHeaderMalformed", "another region"),
        ("InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        ("SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        ("RequestTimeTooSkewed", "clock"),
        ("ExpiredToken", "expired"),
    ] {
        for status in ["400 Bad Request", DENIED] {
            let server = SmallS3::start(Conditions::Honoured);
            server.script(move |request| (request.method != "HEAD").then(|| Wish::Answer(status, error_body(code))));
            let (exit, value) = of_server(&server, KEYS);
            assert_eq!(exit, 3, "{code}: {value:#}");
            assert!(of(&value, "permissions")[0].1.contains(says), "{code} {status}: {value:#}");
        }
    }
}

#[test]
fn a_real_server_is_examined_and_left_as_it_was() {
    let bucket = format!("gristmill-doctor-{}", std::process::id());
    let Some(access) = real_s3::bucket(&bucket) else { return };
    let endpoint = access.s3.endpoint.clone().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("[s3]\nendpoint = '{endpoint}'\naccess_key_id = 'test'\nsecret_access_key = 'canary-secret'\n");
    std::fs::write(folder.path().join("gristmill.toml"), settings).unwrap();
    let target = format!("s3://{bucket}/a/out.zarr");
    let (exit, value) = examine(folder.path(), &["--target", &target]);
    assert_eq!((exit, &value["healthy"]), (0, &Value::Bool(true)), "{value:#}");
    assert!(of(&value, "permissions").iter().all(|(health, _)| health == "good"), "{value:#}");
    assert_eq!(of(&value, "permissions").len(), 4);
    assert!(of(&value, "public read")[0].1.contains("s3:GetObject"), "{value:#}");
    real_s3::give_policy(&endpoint, &bucket, of(&value, "public read")[0].1.split_once("): ").unwrap().1);
    let (exit, value) = examine(folder.path(), &["--target", &target]);
    assert_eq!((exit, of(&value, "public read")[0].0.as_str()), (0, "good"), "{value:#}");
    assert!(gristmill::store::target(&target, &access).unwrap().list("", 10).unwrap().is_empty());
    assert!(!value.to_string().contains("canary-secret"));
}

#[test]
fn inputs_are_looked_for_where_the_recipe_says_how_they_are_found() {
    let server = Server::start(|request, _| {
        let page = "<title>Index of /x/</title><a href=\"a.nc\">a.nc</a> <a href=\"b.nc\">b.nc</a>";
        match request.path.as_str() {
            "/x/" => reply("200 OK", &[("Content-Type", "text/html"), ("Content-Length", &page.len().to_string())], page.as_bytes()),
            "/x/a.nc" | "/x/b.nc" => honest(request, &content()),
            _ => reply("404 Not Found", &[("Content-Length", "0")], b""),
        }
    });
    let folder = tempfile::tempdir().unwrap();
    for (path, expected, says) in [("/x/*.nc", 0, "2 inputs are found"), ("/y/*.nc", 3, "404"), ("/x/*.txt", 3, "nothing was found")] {
        let inputs = format!("inputs: {{find: {{glob: '{}'}}}}\ncombine: {{concat: [time]}}\n", server.url(path));
        std::fs::write(folder.path().join("recipe.yaml"), format!("schema: 1\nid: sample\ntitle: S\nlicense: CC0-1.0\n{inputs}")).unwrap();
        let (exit, value) = examine(folder.path(), &["recipe.yaml"]);
        assert_eq!(exit, expected, "{value:#}");
        assert!(of(&value, "find")[0].1.contains(says), "{value:#}");
        assert_eq!(of(&value, "inputs").len(), if expected == 0 { 2 } else { 0 }, "{value:#}");
    }
}
