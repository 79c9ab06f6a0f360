//! What a repository is now, what never reached us, and where we are installed.

use gristmill::bot::decide::Role;
use gristmill::bot::forge::{Forge, Question, Which};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::fake::{Fake, Pull, ice, sha};

fn by_number(number: u64) -> Question {
    Question { pull: Some(Which::Number(number)), by: None }
}

#[test]
fn pull_requests_by_number_and_by_head() {
    let fake = Fake::start();
    fake.repo(|repo| {
        repo.pulls.insert(8, Pull { head: sha('c'), open: true });
        repo.pulls.insert(9, Pull { head: sha('c'), open: true });
        repo.pulls.insert(6, Pull { head: sha('c'), open: false });
    });
    fake.world().per_page = Some(1);
    let github = fake.github();
    let found = github.look_up(&ice(), &by_number(7)).unwrap();
    let pull = found.pull.unwrap();
    assert_eq!((pull.number, pull.head.to_string(), pull.open), (7, sha('a'), true));
    assert_eq!((found.base.unwrap().to_string(), found.default_branch.as_str(), found.is_public), (sha('b'), "main", true));
    assert!(!github.look_up(&ice(), &by_number(6)).unwrap().pull.unwrap().open);
    assert_eq!(github.look_up(&ice(), &by_number(99)).unwrap().pull, None);
    let by_head = |digit| Question { pull: Some(Which::Head(sha(digit).parse().unwrap())), by: None };
    let found = github.look_up(&ice(), &by_head('a')).unwrap();
    assert_eq!(found.pull.unwrap().number, 7, "on the last page");
    assert_eq!(github.look_up(&ice(), &by_head('d')).unwrap().pull, None);
}

#[test]
fn roles_are_what_they_are_now() {
    let fake = Fake::start();
    let roles = [
        ("ann", ("admin", "admin"), Role::Admin),
        ("bob", ("write", "maintain"), Role::Maintain),
        ("cid", ("write", "write"), Role::Write),
        ("dot", ("read", "triage"), Role::Triage),
        ("eve", ("read", "read"), Role::Read),
        ("flo", ("write", "release managers"), Role::Write),
        ("gus", ("none", "none"), Role::Nobody),
        ("hal", ("weird", "weird"), Role::Nobody),
    ];
    fake.repo(|repo| repo.roles.extend(roles.map(|(name, role, _)| (name.to_owned(), role))));
    let github = fake.github();
    let role = |name: &str| github.look_up(&ice(), &Question { pull: None, by: Some(name.into()) }).unwrap().role;
    for (name, _, wanted) in roles {
        assert_eq!(role(name), wanted, "{name}");
    }
    assert_eq!(role("stranger"), Role::Nobody);
    fake.repo(|repo| repo.roles.retain(|name, _| name != "ann"));
    assert_eq!(role("ann"), Role::Nobody, "asked anew, not remembered");
    let before = fake.count("GET", "/collaborators");
    for odd in ["", "../ann", "ann/permission", "ann?x", "ann\n", ".."] {
        assert_eq!(role(odd), Role::Nobody, "{odd}");
    }
    assert_eq!(fake.count("GET", "/collaborators"), before, "such names are not asked for");
}

#[test]
fn the_default_branch_and_its_commit() {
    let fake = Fake::start();
    let github = fake.github();
    let found = github.look_up(&ice(), &Question::default()).unwrap();
    assert_eq!((found.default_head.unwrap().to_string(), found.pull), (sha('b'), None));
    fake.repo(|repo| repo.heads.clear());
    fake.repo(|repo| repo.private = true);
    let found = github.look_up(&ice(), &Question::default()).unwrap();
    assert_eq!((found.default_head, found.is_public), (None, false));
}

/// What did not change is not sent again, and what did is not taken from memory.
#[test]
fn answers_are_remembered_by_their_tags() {
    let fake = Fake::start();
    let github = fake.github();
    (0..3).for_each(|_| drop(github.look_up(&ice(), &by_number(7)).unwrap()));
    assert_eq!(fake.world().unmodified, 2);
    fake.repo(|repo| repo.pulls.get_mut(&7).unwrap().head = sha('e'));
    assert_eq!(github.look_up(&ice(), &by_number(7)).unwrap().pull.unwrap().head.to_string(), sha('e'));
    assert_eq!(fake.world().unmodified, 2);
}

#[test]
fn what_never_came_is_asked_for_again() {
    let fake = Fake::start();
    let now = Timestamp::now();
    let at = |minutes: i64| (now - SignedDuration::from_mins(minutes)).to_string();
    let attempt = |id: u64, guid: &str, minutes: i64, status: u16| json!({"id": id, "guid": guid, "delivered_at": at(minutes), "status_code": status});
    fake.world().deliveries = vec![
        attempt(90, "failed", 1, 502),
        attempt(80, "came at the second attempt", 2, 200),
        attempt(70, "came at the second attempt", 3, 500),
        attempt(65, "failed", 4, 500),
        attempt(60, "came", 5, 202),
        attempt(54, "hopeless", 6, 500),
        attempt(53, "hopeless", 6, 500),
        attempt(52, "hopeless", 6, 500),
        attempt(51, "hopeless", 6, 500),
        attempt(50, "never reached us", 7, 0),
        attempt(40, "too long ago", 90, 500),
        attempt(30, "far too long ago", 900, 500),
    ];
    fake.world().per_page = Some(4);
    assert_eq!(fake.github().redeliver(now - SignedDuration::from_mins(60)).unwrap(), 2);
    let mut asked = fake.world().asked_again.clone();
    asked.sort_unstable();
    assert_eq!(asked, [50, 90]);
    assert_eq!(fake.count("GET", "/app/hook/deliveries"), 3, "what is older is not listed");
}

#[test]
fn repositories_where_we_are_installed() {
    let fake = Fake::start();
    for name in ["sea/salt", "sea/rain"] {
        fake.world().repositories.insert(name.into(), super::fake::Repo::default());
    }
    fake.world().per_page = Some(2);
    let names: Vec<String> = fake.github().repositories().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["sea/ice", "sea/rain", "sea/salt"]);
    assert_eq!(fake.count("POST", "/installations/2/"), 0, "a suspended installation is left alone");
}
