//! `gristmill doctor`: what is fine, what is not, and nothing left behind.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::server::{Server, honest, reply};
use super::{content, host};

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
