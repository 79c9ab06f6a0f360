//! What GitHub delivers becomes an event, or is told as none of ours.

use gristmill::bot::decide::{Action, Event, Ledger, Pull, PullAction, Role, State, decide};
use gristmill::bot::forge::{DeliveryError, Found, Incoming, Raised, Received, Which, delivery};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::fake::sha;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let header = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    pairs.iter().map(header).collect()
}

fn told(event: &str, payload: &Value) -> Result<Incoming, DeliveryError> {
    let headers = headers(&[("X-GitHub-Event", event), ("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")]);
    delivery(&headers, payload.to_string().as_bytes())
}

fn received(event: &str, payload: &Value) -> Received {
    match told(event, payload) {
        Ok(Incoming::Event(received)) => received,
        other => panic!("{event} became {other:?}"),
    }
}

fn ignored(event: &str, payload: &Value) -> String {
    match told(event, payload) {
        Ok(Incoming::Ignored(name)) => name,
        other => panic!("{event} became {other:?}"),
    }
}

fn repository() -> Value {
    json!({"full_name": "sea/ice", "id": 1})
}

fn pull(action: &str) -> Value {
    json!({"action": action, "number": 7, "repository": repository(), "pull_request": {"number": 7, "head": {"sha": sha('a')}}})
}

fn comment(action: &str) -> Value {
    json!({
        "action": action, "repository": repository(), "issue": {"number": 7, "pull_request": {"url": "x"}},
        "comment": {"id": 3, "body": "/gristmill test", "user": {"login": "ann", "type": "User"}, "performed_via_github_app": null},
        "sender": {"login": "ann", "type": "User"},
    })
}

#[test]
fn pull_requests() {
    let actions = [
        ("opened", PullAction::Opened),
        ("synchronize", PullAction::Synchronized),
        ("synchronized", PullAction::Synchronized),
        ("reopened", PullAction::Reopened),
        ("closed", PullAction::Closed),
    ];
    for (word, wanted) in actions {
        let received = received("pull_request", &pull(word));
        assert_eq!((received.repository.to_string(), received.id.len()), ("sea/ice".to_owned(), 36));
        assert_eq!(received.question().pull, Some(Which::Number(7)));
        let Raised::Event(Event::PullRequest { action, number: 7, head }) = received.raised else { panic!("{word}") };
        assert_eq!((action, head.to_string()), (wanted, sha('a')));
    }
    assert_eq!(ignored("pull_request", &pull("labeled")), "pull_request.labeled");
    assert_eq!(ignored("pull_request", &pull("edited")), "pull_request.edited", "only its title was");
    let mut moved = pull("edited");
    moved["changes"] = json!({"base": {"ref": {"from": "old"}}});
    let raised = received("pull_request", &moved).raised;
    assert!(matches!(raised, Raised::Event(Event::PullRequest { action: PullAction::Synchronized, .. })), "another base");
}

#[test]
fn pushes_count_for_branches_only() {
    let push = |reference: &str, after: String| json!({"ref": reference, "before": sha('b'), "after": after, "repository": repository()});
    let Raised::Event(Event::Push { branch, before, after }) = received("push", &push("refs/heads/a/b", sha('c'))).raised else { panic!() };
    assert_eq!((branch.as_str(), after.unwrap().to_string()), ("a/b", sha('c')));
    assert_eq!(before.unwrap().to_string(), sha('b'));
    let Raised::Event(Event::Push { after, .. }) = received("push", &push("refs/heads/main", sha('0'))).raised else { panic!() };
    assert_eq!(after, None, "the branch was deleted");
    assert_eq!(ignored("push", &push("refs/tags/v1", sha('c'))), "push");
}

#[test]
fn comments_hold_no_role_and_no_head() {
    for action in ["created", "edited"] {
        let received = received("issue_comment", &comment(action));
        assert_eq!((received.question().pull, received.question().by), (Some(Which::Number(7)), Some("ann".to_owned())));
        let Raised::Comment { pull: 7, comment: 3, is_bot: false, ref by, .. } = received.raised else { panic!("{action}") };
        assert_eq!(by, "ann");
    }
    assert_eq!(ignored("issue_comment", &comment("deleted")), "issue_comment.deleted");
    let mut on_issue = comment("created");
    on_issue["issue"].as_object_mut().unwrap().remove("pull_request");
    assert_eq!(ignored("issue_comment", &on_issue), "issue_comment.created");
    let mut gone = comment("created");
    gone["comment"]["user"] = Value::Null;
    assert_eq!(ignored("issue_comment", &gone), "issue_comment.created");
}

/// A maintainer who mends a stranger's comment must not give the stranger's command.
#[test]
fn who_edits_anothers_comment_commands_nothing() {
    let mut edited = comment("edited");
    edited["sender"]["login"] = json!("maintainer");
    assert_eq!(ignored("issue_comment", &edited), "issue_comment.edited");
}

/// T20: comments of apps, our own too, start nothing.
#[test]
fn apps_are_told_from_people() {
    let mut by_app = comment("created");
    by_app["comment"]["performed_via_github_app"] = json!({"id": 1});
    let mut by_bot = comment("created");
    by_bot["sender"] = json!({"login": "gristmill[bot]", "type": "Bot"});
    by_bot["comment"]["user"] = json!({"login": "gristmill[bot]", "type": "Bot"});
    for payload in [by_app, by_bot] {
        let received = received("issue_comment", &payload);
        assert!(matches!(received.raised, Raised::Comment { is_bot: true, .. }));
        let actions = decide(&received.complete(&found(Role::Admin), None).unwrap(), &state(), &Ledger::default());
        assert!(matches!(actions.as_slice(), [Action::Ignore(_)]), "{actions:?}");
    }
}

fn found(role: Role) -> Found {
    let pull = Some(Pull { number: 7, head: sha('a').parse().unwrap(), open: true });
    Found { default_branch: "main".into(), default_head: None, is_public: true, pull, base: sha('b').parse().ok(), role }
}

fn state() -> State {
    let recipe = gristmill::bot::decide::Recipe { id: "ice".into(), identity: "1".into() };
    State { default_branch: "main".into(), recipes: vec![recipe.clone()], changed: vec![recipe], pull: found(Role::Nobody).pull }
}

/// T5: the head that was known when the comment came counts, not the one at the time of looking.
#[test]
fn a_command_is_bound_to_the_head_that_was_seen() {
    let received = received("issue_comment", &comment("created"));
    let seen = sha('9').parse().unwrap();
    let late = decide(&received.complete(&found(Role::Triage), Some(&seen)).unwrap(), &state(), &Ledger::default());
    assert!(!late.iter().any(|action| matches!(action, Action::Start(_))), "{late:?}");
    let seen = sha('a').parse().unwrap();
    let now = decide(&received.complete(&found(Role::Triage), Some(&seen)).unwrap(), &state(), &Ledger::default());
    assert!(now.iter().any(|action| matches!(action, Action::Start(_))), "{now:?}");
    let nobody = decide(&received.complete(&found(Role::Read), Some(&seen)).unwrap(), &state(), &Ledger::default());
    assert!(!nobody.iter().any(|action| matches!(action, Action::Start(_))), "{nobody:?}");
    assert!(received.complete(&Found { pull: None, ..found(Role::Admin) }, None).is_none(), "no such pull request");
}

#[test]
fn run_again_at_a_check_is_the_command_test() {
    let run = |name: &str, action: &str| {
        json!({"action": action, "repository": repository(), "sender": {"login": "ann", "type": "User"},
               "check_run": {"name": name, "head_sha": sha('a')}})
    };
    let one = received("check_run", &run("gristmill: ice", "rerequested"));
    assert_eq!(one.question().pull, Some(Which::Head(sha('a').parse().unwrap())));
    let actions = |role| decide(&one.complete(&found(role), None).unwrap(), &state(), &Ledger::default());
    assert!(matches!(actions(Role::Triage).as_slice(), [Action::Start(_)]), "{:?}", actions(Role::Triage));
    assert!(matches!(actions(Role::Read).as_slice(), [Action::Ignore(_)]));
    assert_eq!(ignored("check_run", &run("gristmill: ice", "completed")), "check_run.completed");
    assert_eq!(ignored("check_run", &run("clippy", "rerequested")), "check_run.rerequested");
    let suite = json!({"action": "rerequested", "repository": repository(), "sender": {"login": "ann", "type": "User"},
                       "check_suite": {"head_sha": sha('a')}});
    let raised = received("check_suite", &suite).raised;
    assert!(matches!(&raised, Raised::Again { recipe: None, by, .. } if by == "ann"));
    let bot = Raised::Again { head: sha('a').parse().unwrap(), recipe: None, by: "x".into(), is_bot: true };
    let received = Received { raised: bot, ..one };
    let actions = decide(&received.complete(&found(Role::Admin), None).unwrap(), &state(), &Ledger::default());
    assert!(matches!(actions.as_slice(), [Action::Ignore(_)]));
}

#[test]
fn other_events() {
    assert!(matches!(told("ping", &json!({"zen": "x"})), Ok(Incoming::Ping)));
    for event in ["installation", "installation_repositories", "repository"] {
        assert!(matches!(told(event, &json!({"action": "created"})), Ok(Incoming::Repositories)), "{event}");
    }
    assert_eq!(ignored("merge_group", &json!({"action": "checks_requested"})), "merge_group.checks_requested");
    assert_eq!(ignored("star", &json!({"action": "<script>"})), "star", "an action that is no word is not repeated");
    assert_eq!(ignored("new_event_of_the_host", &json!([1, 2])), "new_event_of_the_host");
    let run =
        |event: &str| json!({"action": "completed", "repository": repository(), "workflow_run": {"event": event, "head_sha": sha('a')}});
    assert!(matches!(received("workflow_run", &run("pull_request")).raised, Raised::Event(Event::TestEnded { .. })));
    assert_eq!(ignored("workflow_run", &run("push")), "workflow_run.completed");
}

#[test]
fn what_is_no_delivery_is_refused() {
    let payload = pull("opened").to_string();
    let both = [("X-GitHub-Event", "pull_request"), ("X-GitHub-Delivery", "1-a")];
    assert!(matches!(delivery(&headers(&both[..1]), payload.as_bytes()), Err(DeliveryError::Header("x-github-delivery"))));
    assert!(matches!(delivery(&headers(&both[1..]), payload.as_bytes()), Err(DeliveryError::Header("x-github-event"))));
    let odd = [both[0], ("X-GitHub-Delivery", "../../etc")];
    assert!(matches!(delivery(&headers(&odd), payload.as_bytes()), Err(DeliveryError::Header("x-github-delivery"))));
    for body in ["", "{", "[]", "null", "{\"action\":\"opened\"}"] {
        assert!(matches!(delivery(&headers(&both), body.as_bytes()), Err(DeliveryError::Payload { .. })), "{body}");
    }
    let spoilt =
        [("full_name", json!("../../../root")), ("full_name", json!("a/b/c")), ("full_name", json!("a/..")), ("full_name", json!(1))];
    for (key, value) in spoilt {
        let mut payload = pull("opened");
        payload["repository"][key] = value.clone();
        assert!(matches!(told("pull_request", &payload), Err(DeliveryError::Payload { .. })), "{value}");
    }
    let mut short = pull("opened");
    short["pull_request"]["head"]["sha"] = json!("abc1234");
    assert!(matches!(told("pull_request", &short), Err(DeliveryError::Payload { .. })), "an abbreviated commit is none");
}

/// Every payload that Octokit publishes is read, completed and decided on. `ci/forge.sh` fetches them.
#[test]
#[ignore = "needs the examples from npm; run by ci/forge.sh"]
fn the_examples_of_octokit() {
    let path = std::env::var("GRISTMILL_WEBHOOK_EXAMPLES").unwrap();
    let kinds: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (mut events, mut others) = (0, 0);
    for kind in &kinds {
        for payload in kind["examples"].as_array().unwrap() {
            let name = kind["name"].as_str().unwrap();
            match told(name, payload).unwrap_or_else(|error| panic!("{name}: {error:?}\n{payload}")) {
                Incoming::Event(received) => {
                    let delivery = received.complete(&found(Role::Maintain), None).unwrap();
                    assert!(!decide(&delivery, &state(), &Ledger::default()).is_empty(), "{name}");
                    events += 1;
                }
                Incoming::Ping | Incoming::Repositories | Incoming::Ignored(_) => others += 1,
            }
        }
    }
    println!("{} kinds: {events} events decided, {others} none of ours", kinds.len());
    assert!(kinds.len() > 50 && events >= 10, "{events} events of {} kinds", kinds.len());
}
