//! The settings of the server: all problems at once, and no secret in the file.

use std::path::Path;

use gristmill::bot::serve::settings::{Settings, SettingsError};
use tempfile::TempDir;

fn load(text: &str) -> Result<Settings, SettingsError> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("bot.toml");
    std::fs::write(&file, text).unwrap();
    std::fs::write(folder.path().join("key.pem"), "the key\n").unwrap();
    let text = text.replace("KEYFILE", &folder.path().join("key.pem").display().to_string());
    std::fs::write(&file, text).unwrap();
    Settings::load(&file, &|name| (name == "WEBHOOK").then(|| "hidden-webhook-secret".to_owned()))
}

const GOOD: &str = r#"
state = "/var/lib/gristmill"
ledger = "s3://bucket/ledger"
public_url = "https://bot.example.org/"
[webhook]
secrets = [{env = "WEBHOOK"}]
[host]
app = 12
key = {file = "KEYFILE"}
[jobs]
memory = "3 GiB"
[repository."org/feedstock"]
target = "s3://data/prefix/"
public = true
environment = {AWS_ACCESS_KEY_ID = {env = "WEBHOOK"}}
"#;

#[test]
fn good_settings_are_read_and_print_no_secret() {
    let settings = load(GOOD).unwrap();
    assert_eq!((settings.jobs.memory, settings.jobs.at_once), (3 << 30, 2));
    assert_eq!(settings.public_url, "https://bot.example.org");
    let served = &settings.repositories["org/feedstock"];
    assert_eq!((served.target.as_deref(), served.daily), (Some("s3://data/prefix"), true));
    assert_eq!((settings.host.key.reveal(), settings.secrets[0].reveal()), ("the key", "hidden-webhook-secret"));
    let printed = format!("{settings:?}");
    assert!(!printed.contains("hidden") && !printed.contains("the key"), "{printed}");
}

#[test]
fn all_problems_are_told_at_once_and_no_value() {
    let bad = GOOD
        .replace("state = \"/var/lib/gristmill\"\n", "")
        .replace("[{env = \"WEBHOOK\"}]", "[\"written-in-the-file\", {env = \"NOWHERE\"}]")
        .replace("app = 12", "app = \"twelve\"")
        .replace("memory = \"3 GiB\"", "memroy = \"3 GiB\"\nat_once = 0")
        .replace("public = true", "public = \"yes\"");
    let told = load(&bad).unwrap_err().to_string();
    for problem in [
        "`state`",
        "`webhook.secrets`",
        "`NOWHERE`",
        "`host.app`",
        "`jobs.memroy`",
        "did you mean `memory`",
        "`jobs.at_once`",
        "public`: must be true or false",
    ] {
        assert!(told.contains(problem), "{problem}: {told}");
    }
    assert!(!told.contains("written-in-the-file") && !told.contains("twelve"), "{told}");
}

#[test]
fn the_example_in_the_documentation_works() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bot.md")).unwrap();
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let secret = |_: &str| Some("x".repeat(20));
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("bot.toml");
    std::fs::write(&file, example).unwrap();
    // Files of the example are not here; all else is right.
    let told = Settings::load(&file, &secret).map(drop).map_err(|error| error.to_string());
    let lines = told.err().unwrap_or_default();
    assert!(lines.lines().all(|line| line.contains("cannot be read")), "{lines}");
}

#[test]
fn the_command_tells_what_is_wrong_and_ends() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("bot.toml");
    std::fs::write(&file, GOOD.replace("KEYFILE", "/nowhere/key.pem").replace("{env = \"WEBHOOK\"}", "{env = \"NOT_SET_ANYWHERE\"}"))
        .unwrap();
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_gristmill")).args(["bot", "serve", "--check"]).arg(&file).output().unwrap();
    let told = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(2), "{told}");
    assert!(told.contains("/nowhere/key.pem") && told.contains("NOT_SET_ANYWHERE"), "{told}");
}
