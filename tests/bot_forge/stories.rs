//! Whole stories, with the bot's server as a process: from a stranger's pull request to a dataset that grows, through every trouble.

use std::time::Duration;

use serde_json::{Value, json};

use super::fake::{BOT, How};
use super::server::Answer;
use super::stage::{Stage, commented, pull, pushed};

const PATH: &str = "recipes/ice/recipe.yaml";

/// The bot's one comment of pull request 7.
fn comment(stage: &Stage) -> Option<String> {
    let ours = |one: &&Value| one["user"]["login"] == BOT && one["body"].as_str().unwrap().contains("<!-- gristmill:report -->");
    let found: Vec<String> =
        stage.fake.repo(|repo| repo.comments.iter().filter(ours).map(|one| one["body"].as_str().unwrap().to_owned()).collect());
    assert!(found.len() <= 1, "{} comments", found.len());
    found.into_iter().next()
}

fn replies(stage: &Stage) -> Vec<String> {
    let ours = |one: &&Value| one["user"]["login"] == BOT && one["body"].as_str().unwrap().contains("<!-- gristmill:reply");
    stage.fake.repo(|repo| repo.comments.iter().filter(ours).map(|one| one["body"].as_str().unwrap().to_owned()).collect())
}

/// Conclusions of the checks at a commit, in order.
fn checks(stage: &Stage, head: &str) -> Vec<String> {
    let of_head = |run: &&Value| run["head_sha"] == head;
    let word = |run: &Value| run["conclusion"].as_str().unwrap_or("none").to_owned();
    stage.fake.repo(|repo| repo.runs.iter().filter(of_head).map(word).collect())
}

/// States that were told of the deployments at a commit.
fn deployed(stage: &Stage, commit: &str) -> Vec<String> {
    stage.fake.repo(|repo| {
        let ids: Vec<u64> = repo.deployments.iter().filter(|one| one["sha"] == commit).map(|one| one["id"].as_u64().unwrap()).collect();
        repo.statuses.iter().filter(|(id, _)| ids.contains(id)).map(|(_, status)| status["state"].as_str().unwrap().to_owned()).collect()
    })
}

fn versions(stage: &Stage, id: &str) -> usize {
    let begun =
        |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(|first: char| first.is_ascii_digit() || first == 'v');
    std::fs::read_dir(stage.path("published").join(id)).map_or(0, |entries| entries.flatten().filter(begun).count())
}

#[test]
fn from_a_pull_request_to_a_dataset_that_grows() {
    let stage = Stage::new();
    stage.start(false);

    // A contributor proposes a recipe with a slip of the pen.
    let wrong = stage.recipe("ice", "Ice") + "titel: slip\n";
    let first = stage.propose(&[(PATH, &wrong)]);
    stage.deliver("pull_request", &pull("opened", &first));
    stage.settle();
    let said = comment(&stage).expect("a comment");
    assert!(said.contains("0 of 1 recipes pass") && said.contains(&first), "{said}");
    assert_eq!(checks(&stage, &first), ["failure"]);
    let note = stage.fake.repo(|repo| repo.runs.iter().find(|run| run["conclusion"] == "failure").unwrap()["notes"][0].clone());
    assert_eq!((note["path"].as_str(), note["start_line"].as_u64()), (Some(PATH), Some(13)), "{note}");

    // A stranger commands nothing; a maintainer does.
    stage.deliver("issue_comment", &commented(&stage, 31, "stranger", "/gristmill test"));
    stage.deliver("issue_comment", &commented(&stage, 32, "maintainer", "please\n/gristmill retry"));
    stage.deliver("issue_comment", &commented(&stage, 33, "stranger", "/gristmill tset"));
    stage.settle();
    let reactions = stage.fake.repo(|repo| repo.reactions.clone());
    assert_eq!(reactions, [(31, "confused".to_owned()), (32, "eyes".to_owned()), (33, "confused".to_owned())]);
    let said = replies(&stage);
    assert!(said.len() == 2 && said[0].contains("triage") && said[1].contains("/gristmill test"), "{said:?}");

    // It is mended. The host tells of the old head once more, and late.
    let head = stage.propose(&[(PATH, &stage.recipe("ice", "Ice"))]);
    let id = stage.deliver("pull_request", &pull("synchronize", &head));
    stage.deliver("pull_request", &pull("synchronize", &first));
    assert!((200..300).contains(&stage.deliver_as(&id, "pull_request", &pull("synchronize", &head))), "told twice is no error");
    stage.settle();
    let said = comment(&stage).unwrap();
    assert!(said.contains("1 of 1 recipes pass") && said.contains(&head), "{said}");
    assert_eq!(checks(&stage, &head), ["success"]);
    assert!(!stage.path("published").exists(), "nothing of a pull request is published");

    // Merged: told as closed and as pushed, the push twice under its id and once under another.
    let commit = stage.merge();
    assert_eq!(commit, head);
    stage.deliver("pull_request", &pull("closed", &head));
    let id = stage.deliver("push", &pushed(&commit));
    stage.deliver_as(&id, "push", &pushed(&commit));
    stage.deliver("push", &pushed(&commit));
    stage.settle();
    let states = deployed(&stage, &commit);
    assert_eq!(
        (states.first().map(String::as_str), states.last().map(String::as_str)),
        (Some("queued"), Some("success")),
        "{}",
        stage.log()
    );
    assert_eq!(states.iter().filter(|state| *state == "success").count(), 1);
    assert_eq!((stage.published("ice"), stage.fake.repo(|repo| repo.issues.len())), (Some(3), 0));

    // The next day there is a fourth day in the archive, and the schedule finds it.
    stage.another_day();
    stage.kill();
    stage.start(true);
    stage.wait("the day's run", || stage.published("ice") == Some(4));
    stage.settle();
    assert_eq!(stage.fake.repo(|repo| repo.issues.len()), 0);
}

/// The head moves between the command and its execution: nothing is run, and that is said.
#[test]
fn a_push_by_force_between_command_and_execution() {
    let stage = Stage::new();
    stage.start(false);
    let seen = stage.propose(&[("README.md", "a pull request without a recipe\n")]);
    stage.deliver("pull_request", &pull("opened", &seen));
    stage.settle();
    let command = commented(&stage, 41, "maintainer", "/gristmill test");
    let main = git2::Oid::from_str(&stage.fake.repo(|repo| repo.heads["main"].clone())).unwrap();
    let forced = stage.commit_after("refs/pull/7/head", Some(main), &[(PATH, &stage.recipe("ice", "Swapped"))]);
    stage.fake.repo(|repo| repo.pulls.get_mut(&7).unwrap().head = forced.clone());
    stage.deliver("issue_comment", &command);
    stage.settle();
    assert_eq!(stage.fake.repo(|repo| repo.reactions.clone()), [(41, "confused".to_owned())]);
    assert!(replies(&stage)[0].contains("changed since"), "{:?}", replies(&stage));
    assert_eq!(checks(&stage, &forced), Vec::<String>::new(), "{}", stage.log());
}

/// Two merges at once, told in the wrong order: each recipe is baked, and nothing twice.
#[test]
fn two_merges_at_once() {
    let stage = Stage::new();
    stage.start(false);
    stage.settle();
    let one = stage.push(&[(PATH, &stage.recipe("ice", "Ice"))]);
    let two = stage.push(&[("recipes/rain/recipe.yaml", &stage.recipe("rain", "Rain"))]);
    stage.deliver("push", &pushed(&two));
    stage.deliver("push", &pushed(&one));
    stage.settle();
    assert_eq!((stage.published("ice"), stage.published("rain")), (Some(3), Some(3)), "{}", stage.log());
    assert_eq!((versions(&stage, "ice"), versions(&stage, "rain")), (1, 1));
    let all: Vec<String> = [deployed(&stage, &one), deployed(&stage, &two)].concat();
    assert_eq!(all.iter().filter(|state| *state == "success").count(), 2, "{all:?}");
}

/// The host fails in every way it knows: what people see at the end is the same.
#[test]
fn through_every_trouble_of_the_host() {
    let stage = Stage::new();
    let broken = |status: u16| How::Answer(Answer::json(status, &json!({"message": "oh"})));
    let slow = Answer::json(403, &json!({"message": "You have exceeded a secondary rate limit."})).with("Retry-After", 1);
    let reset = jiff::Timestamp::now().as_second() + 3;
    let used_up = Answer::json(403, &json!({"message": "API rate limit exceeded"})).with("x-ratelimit-remaining", 0);
    for status in [500, 502, 503] {
        stage.fake.trouble("GET", "/pulls/7", broken(status));
        stage.fake.trouble("GET", "/check-runs", broken(status));
    }
    stage.fake.trouble("POST", "/access_tokens", broken(500));
    stage.fake.trouble("GET", "/installation", How::Break);
    stage.fake.trouble("POST", "/check-runs", How::DoneThenBreak);
    stage.fake.trouble("PATCH", "/check-runs", How::DoneThenBreak);
    stage.fake.trouble("PATCH", "/check-runs", How::Break);
    stage.fake.trouble("GET", "/comments", How::Answer(slow.clone()));
    stage.fake.trouble("POST", "/comments", How::DoneThenBreak);
    stage.fake.trouble("POST", "/deployments", How::Answer(used_up.with("x-ratelimit-reset", reset)));
    stage.fake.trouble("POST", "/deployments", How::DoneThenBreak);
    stage.fake.trouble("POST", "/statuses", How::Answer(slow));
    stage.start(false);
    let head = stage.propose(&[(PATH, &stage.recipe("ice", "Ice"))]);
    stage.deliver("pull_request", &pull("opened", &head));
    stage.settle();
    assert!(comment(&stage).is_some_and(|said| said.contains("1 of 1 recipes pass")), "{}", stage.log());
    assert_eq!(checks(&stage, &head), ["success"]);
    // Every token ends before its time.
    stage.fake.expire_tokens();
    let commit = stage.merge();
    stage.deliver("push", &pushed(&commit));
    stage.settle();
    let states = deployed(&stage, &commit);
    assert_eq!(states.iter().filter(|state| *state == "success").count(), 1, "{states:?}\n{}", stage.log());
    assert_eq!((stage.published("ice"), stage.fake.repo(|repo| repo.deployments.len())), (Some(3), 1));
    assert_eq!(stage.fake.world().troubles.len(), 0, "each trouble was met");
}

/// Killed after the first request to the host, after the second, and so on, and started again each time: at the end all is
/// said once and published once.
#[test]
fn killed_at_every_step() {
    let stage = Stage::new();
    let head = stage.propose(&[(PATH, &stage.recipe("ice", "Ice"))]);
    let mut kills = 0;
    let mut act = |event: &str, payload: &Value| {
        stage.start(false);
        stage.deliver(event, payload);
        for requests in 1_usize.. {
            let before = stage.fake.world().log.len();
            stage.wait("requests, or an end", || stage.fake.world().log.len() >= before + requests || stage.is_settled());
            if stage.is_settled() {
                break;
            }
            // Somewhere between this request and the next.
            std::thread::sleep(Duration::from_millis(3 * requests as u64 % 17));
            stage.kill();
            kills += 1;
            stage.start(false);
        }
        stage.kill();
    };
    act("pull_request", &pull("opened", &head));
    let commit = stage.merge();
    act("push", &pushed(&commit));
    assert!(comment(&stage).is_some_and(|said| said.contains("1 of 1 recipes pass")), "{}", stage.log());
    let found = checks(&stage, &head);
    assert_eq!(found.last().map(String::as_str), Some("success"), "{found:?}");
    assert_eq!(found.iter().filter(|conclusion| *conclusion == "success").count(), 1, "{found:?}");
    assert_eq!(deployed(&stage, &commit).iter().filter(|state| *state == "success").count(), 1);
    assert_eq!((stage.published("ice"), versions(&stage, "ice")), (Some(3), 1));
    assert!(kills >= 6, "{kills} kills");
}
