//! Whatever is said twice is said once: comments, checks, reactions, deployments, issues; also if the host dies in between.

use gristmill::bot::decide::{Reaction, Sha};
use gristmill::bot::forge::{Annotation, Check, Deployment, Fault, Forge, Progress, Said};
use gristmill::bot::render::MARK;
use serde_json::{Value, json};

use super::fake::{BOT, Fake, How, ice, sha};
use super::server::Answer;

fn head() -> Sha {
    sha('a').parse().unwrap()
}

fn comment(text: &str) -> Said {
    Said::Comment { pull: 7, text: text.into() }
}

fn check(progress: Progress, annotations: usize) -> Check {
    let note = |line| Annotation { path: "recipe.yaml".into(), line, title: "bad".into(), message: format!("line {line}") };
    let annotations = (1..=annotations as u64).map(note).collect();
    let (title, summary) = ("a title".into(), "a summary".into());
    Check { head: head(), name: Check::name_of("ice"), progress, title, summary, annotations, details: None }
}

fn bodies(fake: &Fake) -> Vec<String> {
    fake.repo(|repo| {
        repo.comments.iter().filter(|one| one["user"]["login"] == BOT).map(|one| one["body"].as_str().unwrap().to_owned()).collect()
    })
}

#[test]
fn one_comment_that_is_edited() {
    let fake = Fake::start();
    let github = fake.github();
    github.say(&ice(), &comment("first")).unwrap();
    github.say(&ice(), &comment("second")).unwrap();
    assert_eq!(bodies(&fake), [format!("second\n\n{MARK}\n")]);
    // The host ends lines in its own way.
    fake.repo(|repo| repo.comments[0]["body"] = json!(format!("second\r\n\r\n{MARK}")));
    let before = fake.count("PATCH", "/comments");
    fake.github().say(&ice(), &comment("second")).unwrap();
    assert_eq!(fake.count("PATCH", "/comments"), before, "what is there is not written again");
    let long = "a".repeat(70_000);
    github.say(&ice(), &comment(&long)).unwrap();
    assert!(bodies(&fake)[0].len() < 65_536 && bodies(&fake)[0].contains(MARK));
}

/// A stranger can write the mark as well, and many can comment.
#[test]
fn our_comment_is_found_among_many_and_is_ours() {
    let fake = Fake::start();
    let stranger = |id: u64| json!({"id": id, "pull": 7, "user": {"login": "stranger"}, "body": format!("{MARK} fooled you")});
    fake.repo(|repo| repo.comments.extend((10_000..10_249).map(stranger)));
    let github = fake.github();
    github.say(&ice(), &comment("ours")).unwrap();
    github.say(&ice(), &comment("ours, edited")).unwrap();
    assert_eq!(bodies(&fake), [format!("ours, edited\n\n{MARK}\n")]);
    assert_eq!(fake.repo(|repo| repo.comments.iter().filter(|one| one["body"] == format!("{MARK} fooled you")).count()), 249);
}

#[test]
fn what_was_done_but_not_answered_is_not_done_again() {
    let fake = Fake::start();
    let github = fake.github();
    fake.trouble("POST", "/issues/7/comments", How::DoneThenBreak);
    github.say(&ice(), &comment("one")).unwrap();
    fake.trouble("POST", "/issues/7/comments", How::DoneThenBreak);
    github.say(&ice(), &Said::Reply { pull: 7, to: "d-1".into(), text: "answer".into() }).unwrap();
    github.say(&ice(), &Said::Reply { pull: 7, to: "d-1".into(), text: "answer".into() }).unwrap();
    github.say(&ice(), &Said::Reply { pull: 7, to: "d-2".into(), text: "answer".into() }).unwrap();
    assert_eq!(bodies(&fake).len(), 3);
    fake.trouble("POST", "/check-runs", How::DoneThenBreak);
    github.say(&ice(), &Said::Check(check(Progress::Failed, 3))).unwrap();
    assert_eq!(fake.repo(|repo| repo.runs.len()), 1);
    fake.trouble("POST", "/deployments", How::DoneThenBreak);
    fake.trouble("POST", "/statuses", How::DoneThenBreak);
    github.say(&ice(), &deployment(Progress::Running)).unwrap();
    assert_eq!(fake.repo(|repo| (repo.deployments.len(), repo.statuses.len())), (1, 1));
    fake.trouble("POST", "/repos/sea/ice/issues", How::DoneThenBreak);
    github.say(&ice(), &issue(true, "broken")).unwrap();
    assert_eq!(fake.repo(|repo| repo.issues.len()), 1);
}

#[test]
fn reactions_may_come_before_their_comment() {
    let fake = Fake::start();
    fake.repo(|repo| repo.comments.push(json!({"id": 3, "pull": 7, "user": {"login": "ann"}, "body": "/gristmill test"})));
    fake.trouble("POST", "/reactions", How::Answer(Answer::json(404, &json!({"message": "Not Found"}))));
    let github = fake.github();
    for _ in 0..2 {
        github.say(&ice(), &Said::Reaction { comment: 3, reaction: Reaction::Eyes }).unwrap();
    }
    assert_eq!(fake.repo(|repo| repo.reactions.clone()), [(3, "eyes".to_owned())]);
    github.say(&ice(), &Said::Reaction { comment: 99, reaction: Reaction::Confused }).unwrap();
    assert_eq!(fake.repo(|repo| repo.reactions.len()), 1, "the comment was deleted: nobody to be told");
}

fn lines(run: &Value) -> Vec<u64> {
    run["notes"].as_array().unwrap().iter().map(|note| note["start_line"].as_u64().unwrap()).collect()
}

#[test]
fn a_check_goes_from_queued_to_its_end() {
    let fake = Fake::start();
    let github = fake.github();
    for progress in [Progress::Queued, Progress::Running, Progress::Passed, Progress::Passed] {
        github.say(&ice(), &Said::Check(check(progress, 0))).unwrap();
    }
    let runs = fake.repo(|repo| repo.runs.clone());
    assert_eq!((runs.len(), &runs[0]["status"], &runs[0]["conclusion"]), (1, &json!("completed"), &json!("success")));
    assert_eq!(fake.count("PATCH", "/check-runs") + fake.count("POST", "/check-runs"), 3, "what was said is not said again");
    github.say(&ice(), &Said::Check(check(Progress::Queued, 0))).unwrap();
    github.say(&ice(), &Said::Check(check(Progress::Failed, 2))).unwrap();
    let runs = fake.repo(|repo| repo.runs.clone());
    assert_eq!(runs.len(), 2, "run again, it is a check of its own: what was completed stays");
    assert_eq!((&runs[1]["conclusion"], lines(&runs[1])), (&json!("failure"), vec![1, 2]));
}

/// 120 annotations are three requests, and the check is complete with the last only.
#[test]
fn annotations_come_in_portions_each_once() {
    let fake = Fake::start();
    fake.github().say(&ice(), &Said::Check(check(Progress::Failed, 120))).unwrap();
    let runs = fake.repo(|repo| repo.runs.clone());
    assert_eq!((runs.len(), lines(&runs[0])), (1, (1..=120).collect()));
    assert_eq!((fake.count("POST", "/check-runs"), fake.count("PATCH", "/check-runs")), (1, 2));
    fake.github().say(&ice(), &Said::Check(check(Progress::Failed, 120))).unwrap();
    assert_eq!(fake.repo(|repo| lines(&repo.runs[0]).len()), 120);
}

/// Killed, or without an answer, between two portions: it goes on where it ended.
#[test]
fn a_check_that_was_cut_off_is_completed() {
    for done in [true, false] {
        let fake = Fake::start();
        for _ in 0..2 {
            fake.trouble("PATCH", "/check-runs", if done { How::DoneThenBreak } else { How::Break });
        }
        fake.trouble("PATCH", "/check-runs", How::Answer(Answer::json(422, &json!({"message": "no"}))));
        let said = Said::Check(check(Progress::Failed, 180));
        let first = fake.github().say(&ice(), &said);
        if let Err(error) = &first {
            assert_eq!(error.fault, Fault::Wrong);
            assert_ne!(fake.repo(|repo| repo.runs[0]["status"].clone()), json!("completed"));
        }
        fake.github().say(&ice(), &said).unwrap();
        let runs = fake.repo(|repo| repo.runs.clone());
        assert_eq!((runs.len(), lines(&runs[0])), (1, (1..=180).collect()), "done: {done}");
        assert_eq!(runs[0]["status"], "completed");
    }
}

fn deployment(progress: Progress) -> Said {
    Said::Deployment(Deployment {
        commit: sha('b').parse().unwrap(),
        recipe: "ice".into(),
        progress,
        description: "d".repeat(200),
        log: Some("https://bot.invalid/jobs/1".into()),
        address: Some("https://data.invalid/ice".into()),
    })
}

#[test]
fn one_deployment_per_commit_and_dataset() {
    let fake = Fake::start();
    let github = fake.github();
    for progress in [Progress::Queued, Progress::Running, Progress::Running, Progress::Passed, Progress::Passed] {
        github.say(&ice(), &deployment(progress)).unwrap();
    }
    let (deployments, statuses) = fake.repo(|repo| (repo.deployments.clone(), repo.statuses.clone()));
    assert_eq!((deployments.len(), &deployments[0]["environment"]), (1, &json!("gristmill/ice")));
    let states: Vec<&str> = statuses.iter().map(|(_, status)| status["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["queued", "in_progress", "success"]);
    assert!(statuses.iter().all(|(_, status)| status["description"].as_str().unwrap().len() == 140));
    let posted =
        fake.world().log.iter().find(|request| request.method == "POST" && request.path.ends_with("/deployments")).unwrap().body.clone();
    let posted: Value = serde_json::from_slice(&posted).unwrap();
    assert_eq!((&posted["auto_merge"], &posted["required_contexts"]), (&json!(false), &json!([])), "nothing is merged by it");
}

fn issue(open: bool, text: &str) -> Said {
    Said::Issue { recipe: "ice".into(), title: "ice failed".into(), text: text.into(), open }
}

#[test]
fn one_issue_per_dataset() {
    let fake = Fake::start();
    let github = fake.github();
    github.say(&ice(), &issue(false, "fine")).unwrap();
    assert_eq!(fake.repo(|repo| repo.issues.len()), 0, "nothing was wrong, nothing is said");
    // A stranger's issue with our mark is a stranger's.
    let theirs = json!({"number": 1, "title": "x", "body": "<!-- gristmill:issue ice -->", "state": "open", "user": {"login": "stranger"}});
    fake.repo(|repo| repo.issues.push(theirs.clone()));
    github.say(&ice(), &issue(true, "broken")).unwrap();
    github.say(&ice(), &issue(true, "broken")).unwrap();
    let before = fake.count("PATCH", "/issues");
    github.say(&ice(), &issue(true, "still broken")).unwrap();
    assert_eq!((before, fake.count("PATCH", "/issues")), (0, 1));
    github.say(&ice(), &issue(false, "fine")).unwrap();
    github.say(&ice(), &issue(false, "fine")).unwrap();
    github.say(&ice(), &issue(true, "broken again")).unwrap();
    let issues = fake.repo(|repo| repo.issues.clone());
    let ours: Vec<&Value> = issues.iter().filter(|issue| issue["user"]["login"] == BOT).collect();
    assert_eq!((ours.len(), &ours[0]["state"]), (1, &json!("open")), "opened again, not another one");
    assert!(ours[0]["body"].as_str().unwrap().starts_with("broken again"));
    assert_eq!(issues[0]["title"], "x");
}
