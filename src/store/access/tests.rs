//! Tests of the settings.

use super::*;

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Access, AccessError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("settings.toml");
    std::fs::write(&path, text).unwrap();
    let read = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Access::load(Some(&path), &read)
}

const FILE: &str = "[network]\nattempts = 3\nidle_timeout_seconds = 0.5\n[disk]\nspool_limit = '2 GiB'\n\
                    [s3]\nendpoint = 'http://a'\nregion = 'r'\naccess_key_id = 'k'\nsecret_access_key = 'hush'\npath_style = false\n";

#[test]
fn reads_the_file() {
    let access = load(FILE, &[]).unwrap();
    assert_eq!((access.retries.attempts, access.idle_timeout), (3, Duration::from_millis(500)));
    assert_eq!((access.spool_limit.0, access.s3.path_style), (2 << 30, PathStyle::HostName));
    assert_eq!(access.s3.credentials.as_ref().map(|known| known.secret.reveal()), Some("hush"));
}

#[test]
fn the_environment_wins() {
    let given = [("AWS_ENDPOINT_URL", "http://b"), ("AWS_ENDPOINT_URL_S3", "http://c"), ("AWS_DEFAULT_REGION", "d")];
    let access = load(FILE, &given).unwrap();
    assert_eq!((access.s3.endpoint.as_deref(), access.s3.region.as_deref()), (Some("http://c"), Some("d")));
    let keys = [("AWS_ACCESS_KEY_ID", "i"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")];
    assert_eq!(load(FILE, &keys).unwrap().s3.credentials.map(|known| known.key_id).as_deref(), Some("i"));
}

#[test]
fn secrets_are_never_printed() {
    let access = load(FILE, &[("AWS_ACCESS_KEY_ID", "i"), ("AWS_SECRET_ACCESS_KEY", "canary")]).unwrap();
    let printed = format!("{access:?}");
    assert!(!printed.contains("canary") && !printed.contains("hush"), "{printed}");
    let broken = load("[s3]\nsecret_access_key = ['hush']\n", &[]).unwrap_err();
    assert!(!format!("{broken} {broken:?}").contains("hush"), "{broken:?}");
    assert!(broken.to_string().contains("line 2"), "{broken}");
}

#[test]
fn refuses_what_makes_no_sense() {
    for text in ["[netwrk]\n", "[network]\nattempts = 0\n", "[network]\nidle_timeout_seconds = -1\n", "[s3]\naccess_key_id = 'k'\n"] {
        assert!(load(text, &[]).is_err(), "{text}");
    }
    assert!(load("", &[("AWS_SECRET_ACCESS_KEY", "s")]).is_err());
    assert!(Access::load(Some(Path::new("absent.toml")), &|_| None).is_err());
}

#[test]
fn reads_manners_limits_and_credentials() {
    let text = "[network]\ncontact = 'mailto:a@b.example'\nmax_rate = 2\ndeadline_seconds = 9\n[limits]\ninputs = 5\nbytes = '1 GiB'\nminutes = 0.5\n\
                [hosts.'a.example']\nmax_rate = 0.5\n[auth.one]\nkind = 'bearer'\nhosts = ['a.example']\ntoken = {env = 'TOKEN'}\n";
    let mut access = load(text, &[("TOKEN", "from-outside")]).unwrap();
    assert_eq!((access.waits.deadline, access.limits.inputs), (Duration::from_secs(9), Some(5)));
    assert_eq!((access.limits.bytes, access.limits.time), (Some(ByteSize(1 << 30)), Some(Duration::from_secs(30))));
    assert!(access.user_agent.ends_with("(+mailto:a@b.example)") && access.warnings.is_empty());
    assert!(access.authorise(Some("one")).is_ok() && access.auth.name() == Some("one"));
    assert!(access.authorise(Some("two")).is_err());
    // Only a secret that is needed must be there.
    let mut without = load(text, &[]).unwrap();
    assert!(without.authorise(None).is_ok() && without.authorise(Some("one")).is_err());
    for bad in ["[hosts.'*']\nmax_rate = 1\n", "[network]\nmax_rate = 0\n", "[limits]\nbytes = 'many'\n", "[auth.x]\nkind = 'magic'\n"] {
        assert!(load(bad, &[]).is_err(), "{bad}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_with_secrets_that_others_can_read_is_told_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("settings.toml");
    std::fs::write(&path, "[auth.one]\nkind = 'bearer'\nhosts = ['a.example']\ntoken = 'written-here'\n").unwrap();
    for (mode, told) in [(0o600, 0), (0o640, 1), (0o604, 1)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(Access::load(Some(&path), &|_| None).unwrap().warnings.len(), told, "{mode:o}");
    }
}

#[test]
fn who_limits_hosts_limits_buckets_unless_they_have_a_limit_of_their_own() {
    let limits = |written: &str| {
        let access = load(&format!("[network]\n{written}"), &[]).unwrap();
        (access.connections_per_host, access.connections_per_bucket)
    };
    assert_eq!(limits(""), (8, 16));
    assert_eq!(limits("connections_per_host = 2"), (2, 2));
    assert_eq!(limits("connections_per_host = 2\nconnections_per_bucket = 30"), (2, 30));
    assert!(load("[network]\nconnections_per_bucket = 0", &[]).is_err());
}
