//! T7: each token opens one repository and one thing; and what the host refuses is understood.

use std::time::Duration;

use gristmill::bot::decide::Role;
use gristmill::bot::forge::github::{GitHub, Settings};
use gristmill::bot::forge::{Fault, Forge, ForgeError, Question, Said};
use serde_json::json;

use super::fake::{APP, Fake, How, KEY, ice};
use super::server::Answer;

fn fault(result: Result<impl std::fmt::Debug, ForgeError>) -> (Fault, String) {
    let error = result.unwrap_err();
    (error.fault, error.to_string())
}

fn comment(text: &str) -> Said {
    Said::Comment { pull: 7, text: text.into() }
}

#[test]
fn clone_access_reads_one_repository() {
    let fake = Fake::start();
    let access = fake.github().clone_access(&ice()).unwrap();
    assert_eq!((access.url.as_str(), access.user.as_str()), ("https://forge.invalid/sea/ice.git", "x-access-token"));
    assert!(access.secret.starts_with("ghs_") && access.until > jiff::Timestamp::now());
    assert!(!format!("{access:?}").contains(&access.secret), "it is not printed");
    let asked = fake.world().log.iter().rfind(|request| request.path.ends_with("access_tokens")).unwrap().body.clone();
    let asked: serde_json::Value = serde_json::from_slice(&asked).unwrap();
    assert_eq!(asked, json!({"repositories": ["ice"], "permissions": {"contents": "read", "metadata": "read"}}));
}

#[test]
fn a_token_that_can_do_too_much_is_not_used() {
    let fake = Fake::start();
    for excess in [("administration", "write"), ("contents", "write"), ("metadata", "write")] {
        fake.world().excess = Some(excess);
        let (fault, message) = fault(fake.github().clone_access(&ice()));
        assert!(fault == Fault::Forbidden && message.contains(excess.0), "{message}");
    }
    fake.world().excess = None;
    fake.world().everywhere = true;
    let (fault, message) = fault(fake.github().look_up(&ice(), &Question::default()));
    assert!(fault == Fault::Forbidden && message.contains("2 repositories instead of"), "{message}");
    assert_eq!(fake.count("GET", "/repos/sea/ice"), fake.count("GET", "/installation"), "nothing was asked with it");
}

#[test]
fn a_permission_that_lacks_is_named() {
    let fake = Fake::start();
    let token = json!({"token": "ghs_x", "expires_at": "2999-01-01T00:00:00Z", "permissions": {"metadata": "read"},
                       "repository_selection": "selected", "repositories": [{"full_name": "sea/ice"}]});
    fake.trouble("POST", "access_tokens", How::Answer(Answer::json(201, &token)));
    let (fault, message) = fault(fake.github().look_up(&ice(), &Question::default()));
    assert!(fault == Fault::Forbidden && message.contains("`contents: read`"), "{message}");
}

#[test]
fn a_token_is_kept_until_it_ends_and_then_renewed() {
    let fake = Fake::start();
    let github = fake.github();
    for _ in 0..3 {
        github.look_up(&ice(), &Question::default()).unwrap();
    }
    assert_eq!(fake.count("POST", "access_tokens"), 1);
    fake.expire_tokens();
    github.look_up(&ice(), &Question::default()).unwrap();
    assert_eq!(fake.count("POST", "access_tokens"), 2);
    fake.expire_tokens();
    github.say(&ice(), &comment("one")).unwrap();
    assert_eq!(fake.repo(|repo| repo.comments.len()), 1);
}

#[test]
fn keys_of_both_kinds_and_no_others() {
    let new = |key: &str| GitHub::new(&Settings::new("https://api.github.com", APP, key));
    assert!(new(KEY).is_ok());
    for wrong in ["", "secret", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----"] {
        let error = new(wrong).unwrap_err();
        assert_eq!(error.fault, Fault::Wrong, "{wrong}");
        assert!(!format!("{error} {error:?}").contains("AAAA"));
    }
    let printed = format!("{:?}", new(KEY).unwrap());
    assert!(!printed.contains("MII") && !printed.contains("private"), "{printed}");
    assert!(GitHub::new(&Settings::new("file:///etc", APP, KEY)).is_err());
}

/// The key of another App is refused by the host, and that is told without the proof.
#[test]
fn a_wrong_proof() {
    let fake = Fake::start();
    let settings = Settings { pause: Duration::from_millis(1), ..Settings::new(fake.url(), APP + 1, KEY) };
    let (fault, message) = fault(GitHub::new(&settings).unwrap().repositories());
    assert_eq!(fault, Fault::Forbidden);
    assert!(message.contains("could not be decoded") && !message.contains("eyJ"), "{message}");
}

#[test]
fn a_host_that_is_not_well_is_asked_again() {
    let fake = Fake::start();
    for status in [500, 502, 503] {
        fake.trouble("GET", "/repos/sea/ice", How::Answer(Answer::json(status, &json!({"message": "oh"}))));
    }
    fake.trouble("GET", "/branches/main", How::Break);
    let found = fake.github().look_up(&ice(), &Question::default()).unwrap();
    assert_eq!((found.default_branch.as_str(), found.role), ("main", Role::Nobody));
    let github = fake.github();
    for _ in 0..20 {
        fake.trouble("GET", "/installation", How::Answer(Answer::json(503, &json!({}))));
    }
    let (fault, _) = fault(github.look_up(&ice(), &Question::default()));
    assert!(matches!(fault, Fault::Passing(wait) if wait >= Duration::from_secs(10)), "it is told when to come back: {fault:?}");
}

/// Used up: nothing more is asked until the hour is over, and the caller is told how long that is.
#[test]
fn the_primary_limit() {
    let fake = Fake::start();
    let github = fake.github();
    github.look_up(&ice(), &Question::default()).unwrap();
    let reset = jiff::Timestamp::now().as_second() + 1800;
    let limited = Answer::json(403, &json!({"message": "API rate limit exceeded for installation ID 1."}));
    fake.trouble("GET", "/repos/sea/ice", How::Answer(limited.with("x-ratelimit-remaining", 0).with("x-ratelimit-reset", reset)));
    let before = fake.world().log.len();
    let (first, message) = fault(github.look_up(&ice(), &Question::default()));
    assert!(matches!(first, Fault::Passing(wait) if (1700..=1802).contains(&wait.as_secs())), "{first:?} {message}");
    let (second, _) = fault(github.say(&ice(), &comment("x")));
    assert!(matches!(second, Fault::Passing(_)), "{second:?}");
    assert!(
        fake.world().log.iter().skip(before + 1).all(|request| request.path.contains("/app") || request.path.ends_with("/installation"))
    );
}

/// Too fast: it says for how long to wait. A short wait is made, and what was not done is done then, once.
#[test]
fn the_secondary_limit() {
    let fake = Fake::start();
    let github = fake.github();
    let slow =
        |seconds: u64| Answer::json(403, &json!({"message": "You have exceeded a secondary rate limit."})).with("Retry-After", seconds);
    fake.trouble("POST", "/comments", How::Answer(slow(1)));
    github.say(&ice(), &comment("x")).unwrap();
    assert_eq!(fake.repo(|repo| repo.comments.len()), 1);
    fake.trouble("GET", "/comments", How::Answer(Answer { status: 429, ..slow(120) }));
    let (told, _) = fault(github.say(&ice(), &comment("y")));
    assert!(matches!(told, Fault::Passing(wait) if (110..=120).contains(&wait.as_secs())), "{told:?}");
    let other = fake.github();
    fake.trouble("GET", "/comments", How::Answer(Answer::json(403, &json!({"message": "You have exceeded a secondary rate limit."}))));
    let (told, _) = fault(other.say(&ice(), &comment("y")));
    assert!(matches!(told, Fault::Passing(wait) if (55..=60).contains(&wait.as_secs())), "at least a minute: {told:?}");
}

#[test]
fn refusals_that_no_waiting_mends() {
    let fake = Fake::start();
    let github = fake.github();
    let answer = |status| How::Answer(Answer::json(status, &json!({"message": "no\u{1b}[2J\u{202e}"})));
    fake.trouble("POST", "/comments", answer(422));
    let (told, message) = fault(github.say(&ice(), &comment("x")));
    assert!(told == Fault::Wrong && !message.contains('\u{1b}') && !message.contains('\u{202e}'), "{message}");
    fake.trouble("POST", "/comments", answer(403));
    assert_eq!(fault(github.say(&ice(), &comment("x"))).0, Fault::Forbidden);
    fake.trouble("POST", "/comments", answer(410));
    assert_eq!(fault(github.say(&ice(), &comment("x"))).0, Fault::Gone);
    let (told, _) = fault(github.look_up(&"sea/none".parse().unwrap(), &Question::default()));
    assert_eq!(told, Fault::Gone, "the App is not installed there");
    assert_eq!(fake.repo(|repo| repo.comments.len()), 0);
}

/// A redirect, or a next page elsewhere, would carry the token to whoever is there.
#[test]
fn tokens_stay_with_the_host() {
    let fake = Fake::start();
    let thief = Fake::start();
    let moved = Answer::json(301, &json!({"message": "Moved Permanently"})).with("Location", thief.url());
    fake.trouble("GET", "/repos/sea/ice/pulls", How::Answer(moved));
    let github = fake.github();
    let question = Question { pull: Some(gristmill::bot::forge::Which::Number(7)), by: None };
    assert_eq!(github.look_up(&ice(), &question).unwrap().pull, None, "it is not here any more");
    let page = Answer::json(200, &json!([])).with("Link", format!("<{}/x>; rel=\"next\"", thief.url()));
    fake.trouble("GET", "/comments", How::Answer(page));
    github.say(&ice(), &comment("x")).unwrap();
    assert_eq!(thief.world().log.len(), 0);
}
