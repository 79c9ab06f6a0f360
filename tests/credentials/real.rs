//! The canary on real servers (`ci/servers.sh`): logins of file servers, keys of SSH, Google's and Azure's.

use std::path::{Path, PathBuf};

use gristmill::store::{PutMode, target};

use super::canary::{CANARY, Left, assert_clean, file, forms, run, told};
use super::real_clouds;

/// The address of a server without its scheme, and the URL of a file there for whoever it lets in.
fn served(variable: &str) -> Option<(String, PathBuf)> {
    let (Ok(server), Ok(root)) = (std::env::var(variable), std::env::var("GRISTMILL_TEST_FILES_ROOT")) else {
        println!("SKIP: `{variable}` is not set; ci/servers.sh starts it");
        return None;
    };
    let folder = Path::new(&root).join(format!("canary-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("a.nc"), file(0)).unwrap();
    let host = server.split_once("://").unwrap().1;
    Some((host.rsplit('@').next().unwrap().to_owned(), folder))
}

/// Lines of a private key, each of which would give it away.
fn lines_of(key: &str) -> Vec<String> {
    key.lines().filter(|line| !line.starts_with("-----") && line.len() > 20).map(str::to_owned).collect()
}

#[test]
fn logins_of_ftp_servers_leave_no_secret() {
    for (variable, scheme) in [("GRISTMILL_TEST_FTP_CUTTING", "ftp"), ("GRISTMILL_TEST_FTPS", "ftps")] {
        let Some((host, folder)) = served(variable) else { continue };
        let url = format!("{scheme}://{host}/{}/a.nc", folder.file_name().unwrap().to_string_lossy());
        let certificates = std::env::var("GRISTMILL_TEST_CERTIFICATES").unwrap_or_default();
        for (password, expected) in [(CANARY, 0), ("canary-wrong-word", 3)] {
            let table = format!("kind = 'login'\nhosts = ['{host}']\nuser = 'canary'\npassword = '{password}'");
            let (exit, left) = run(&url, &table, &format!("certificates = '{certificates}'"), "out.zarr");
            assert_eq!(exit, expected, "{url} {}", told(&left));
            assert_clean(&left, &forms(password));
        }
    }
}

#[test]
fn keys_and_passwords_of_ssh_servers_leave_no_secret() {
    let Some((host, folder)) = served("GRISTMILL_TEST_SFTP") else { return };
    let (url, user) = (format!("sftp://{host}{}/a.nc", folder.display()), std::env::var("USER").unwrap_or_else(|_| "root".to_owned()));
    let known = format!("known_hosts = '{}'", std::env::var("GRISTMILL_TEST_SFTP_KNOWN").unwrap());
    let plain = std::env::var("GRISTMILL_TEST_SFTP_KEY").unwrap();
    let locked = Path::new(&plain).with_file_name("locked").display().to_string();
    for (key, phrase, expected) in [(&plain, None, 0), (&locked, Some(CANARY), 0), (&locked, Some("canary-wrong-word"), 3)] {
        let password = phrase.map(|phrase| format!("\npassword = '{phrase}'")).unwrap_or_default();
        let table = format!("kind = 'ssh-key'\nhosts = ['{host}']\nuser = '{user}'\nkey = '{key}'{password}");
        let (exit, left) = run(&url, &table, &known, "out.zarr");
        assert_eq!(exit, expected, "{key} {}", told(&left));
        let secrets = [lines_of(&std::fs::read_to_string(key).unwrap()), phrase.map(forms).unwrap_or_default()].concat();
        assert!(secrets.len() > 3);
        assert_clean(&left, &secrets);
    }
    let table = format!("kind = 'login'\nhosts = ['{host}']\nuser = '{user}'\npassword = '{CANARY}'");
    let (exit, left) = run(&url, &table, &known, "out.zarr");
    assert_eq!(exit, 3, "{}", told(&left));
    assert_clean(&left, &forms(CANARY));
}

/// All objects below a place, and what they are called.
fn objects(place: &str, access: &gristmill::store::Access) -> Left {
    let store = target(place, access).unwrap();
    let keys = store.list("", 1000).unwrap();
    keys.into_iter().map(|key| (PathBuf::from(&key), store.get(&key).unwrap().unwrap().to_vec())).collect()
}

#[test]
fn keys_of_google_and_azure_are_in_no_byte_either() {
    let table = "kind = 'bearer'\nhosts = ['elsewhere.example']\ntoken = 'canary-for-elsewhere'";
    for real in [real_clouds::google(), real_clouds::azure()].into_iter().flatten() {
        let place = format!("{}/canary-{}", real.bucket, std::process::id());
        target(&place, &real.access).unwrap().put("source/a.nc", file(0).into(), PutMode::Overwrite).unwrap();
        let (exit, mut left) = run(&format!("{place}/source/a.nc"), table, &real.settings, &format!("{place}/target/out.zarr"));
        assert_eq!(exit, 0, "{}: {}", real.name, told(&left));
        let doctor = left.iter().find(|(path, _)| path.ends_with("doctor stdout")).map(|(_, text)| String::from_utf8_lossy(text)).unwrap();
        for right in ["put", "get", "list", "delete"] {
            assert!(doctor.contains(&format!("{right} at {place}/target/out.zarr")), "{}: {doctor}", real.name);
        }
        left.extend(objects(&format!("{place}/target"), &real.access));
        assert!(left.iter().any(|(path, _)| path.ends_with("out.zarr.gristmill/report.json")), "{}", real.name);
        let mut secrets: Vec<String> =
            ["X-Goog-Signature=", "Bearer ey", "SharedKey devstore", "canary-for-elsewhere"].map(str::to_owned).into();
        if real.access.azure.key.is_some() {
            secrets.extend(forms(&std::env::var("GRISTMILL_TEST_AZURE_KEY").unwrap()));
        }
        if let Some(file) = &real.access.google.key_file {
            let key: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            secrets.extend(lines_of(key["private_key"].as_str().unwrap()));
        }
        assert!(secrets.len() > 7, "{}", real.name);
        assert_clean(&left, &secrets);
    }
}

#[test]
fn tokens_and_signatures_that_are_refused_are_not_shown() {
    let table = "kind = 'bearer'\nhosts = ['elsewhere.example']\ntoken = 'canary-for-elsewhere'";
    let settings = |name: &str, real: &real_clouds::Real| match name {
        "gs" => format!("[google]\nendpoint = '{}'\ntoken = '{CANARY}'\n", real.access.google.endpoint.as_ref().unwrap()),
        _ => format!(
            "[azure]\naccount = '{}'\nendpoint = '{}'\nsas = 'sv=2021-08-06&ss=b&sig={CANARY}'\n",
            real.access.azure.account.as_ref().unwrap(),
            real.access.azure.endpoint.as_ref().unwrap()
        ),
    };
    for (name, real) in [("gs", real_clouds::google()), ("az", real_clouds::azure())] {
        let Some(real) = real else { continue };
        let (exit, left) = run(&format!("{}/none/a.nc", real.bucket), table, &settings(name, &real), "out.zarr");
        assert_eq!(exit, 3, "{name}: {}", told(&left));
        assert_clean(&left, &forms(CANARY));
    }
}
