//! Profiles of `~/.aws/credentials`: static keys, as the AWS command line documents the file.
//!
//! Not for profiles that run a program, assume a role or sign on by a browser: those are refused by name. Invariant: a profile
//! with half of a key gives none.

use std::path::Path;

use super::{AuthError, Surroundings, redact};
use crate::store::access::{Credentials, Secret};

/// Keys of a profile.
pub(super) fn read(name: &str, profile: &str, file: Option<&Path>, surroundings: &Surroundings) -> Result<Credentials, AuthError> {
    let absent = |message: String| AuthError::Absent { name: name.to_owned(), message };
    let usual = || surroundings.home.as_ref().map(|home| home.join(".aws/credentials"));
    let path = file.map(|file| surroundings.path(file)).or_else(|| surroundings.aws_file.clone()).or_else(usual);
    let path = path.ok_or_else(|| absent("there is no home directory to look for `.aws/credentials` in; give `file`".to_owned()))?;
    let text = std::fs::read_to_string(&path).map_err(|error| absent(format!("{}: cannot read it: {error}", path.display())))?;
    let section = section(&text, profile).ok_or_else(|| absent(format!("{} has no profile `{profile}`", path.display())))?;
    let value = |key: &str| section.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    match (value("aws_access_key_id"), value("aws_secret_access_key")) {
        (Some(key_id), Some(secret)) => {
            redact::keep(&secret);
            let token = value("aws_session_token").inspect(|token| redact::keep(token)).map(Secret::new);
            Ok(Credentials { key_id, secret: Secret::new(secret), token })
        }
        _ => Err(absent(format!(
            "profile `{profile}` of {} has no `aws_access_key_id` and `aws_secret_access_key`; only static keys can be used",
            path.display()
        ))),
    }
}

fn section(text: &str, name: &str) -> Option<Vec<(String, String)>> {
    let mut found: Option<Vec<(String, String)>> = None;
    let mut inside = false;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(heading) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let heading = heading.trim();
            inside = heading.strip_prefix("profile ").unwrap_or(heading).trim() == name;
            if inside {
                found.get_or_insert_default();
            }
        } else if let (true, Some((key, value))) = (inside, line.split_once('=')) {
            found.get_or_insert_default().push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_profile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        std::fs::write(&path, "[default]\naws_access_key_id = A\naws_secret_access_key=one-secret\n# x\n[profile b]\naws_access_key_id = B\naws_secret_access_key = with=equals\naws_session_token = t-t-t-t\n[half]\naws_access_key_id = C\n").unwrap();
        let get = |profile: &str| read("x", profile, Some(&path), &Surroundings::default());
        assert_eq!(get("default").map(|keys| keys.key_id).ok().as_deref(), Some("A"));
        let keys = get("b").unwrap();
        assert_eq!((keys.secret.reveal(), keys.token.as_ref().map(Secret::reveal)), ("with=equals", Some("t-t-t-t")));
        assert!(get("half").unwrap_err().to_string().contains("static keys"));
        assert!(get("none").unwrap_err().to_string().contains("no profile `none`"));
    }
}
