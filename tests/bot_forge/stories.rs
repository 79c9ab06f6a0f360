//! Whole stories, with the bot's server as a process: from a stranger's pull request to a dataset that grows, through every trouble.

use serde_json::{Value, json};

use super::fake::{BOT, How};
use super::server::Answer;
use super::stage::{Stage, commented, pull, pushed};

const PATH: &str = "recipes/ice/recipe.yaml";
/// Times that the archive has in three days and in four.
const THREE_DAYS: u64 = 11;
const FOUR_DAYS: u64 = 15;

/// The bot's one comment of pull request 7.
pub(crate) fn comment(stage: &Stage) -> Option<String> {
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

/// Names of what the ledger has of the bakes of a recipe at a commit.
fn bakes(stage: &Stage, commit: &str, id: &str) -> Vec<String> {
    let beginning = format!("bake/{commit}/{id}/");
    stage.ledger().iter().filter_map(|name| name.strip_prefix(&beginning)).map(str::to_owned).collect()
}

/// Of a bake that was begun once and ended well once.
const ONE_BAKE: [&str; 3] = ["0001.begun", "0001.done", "0001.result.json"];

#[test]
fn from_a_pull_request_to_a_dataset_that_grows() {
    a_dataset_grows(&Stage::new());
}

#[test]
fn from_a_pull_request_to_a_dataset_that_grows_on_moto() {
    if let Some(stage) = Stage::on_moto() {
        a_dataset_grows(&stage);
    }
}

fn a_dataset_grows(stage: &Stage) {
    stage.start(false);

    // A contributor proposes a recipe with a slip of the pen.
    let wrong = stage.recipe("ice", "Ice") + "titel: slip\n";
    let first = stage.propose(&[(PATH, &wrong)]);
    stage.deliver("pull_request", &pull("opened", &first));
    stage.settle();
    let said = comment(stage).expect("a comment");
    assert!(said.contains("0 of 1 recipes pass") && said.contains(&first), "{said}");
    assert_eq!(checks(stage, &first), ["failure"]);
    let note = stage.fake.repo(|repo| repo.runs.iter().find(|run| run["conclusion"] == "failure").unwrap()["notes"][0].clone());
    assert_eq!((note["path"].as_str(), note["start_line"].as_u64()), (Some(PATH), Some(14)), "{note}");

    // A stranger commands nothing; a maintainer does.
    stage.deliver("issue_comment", &commented(stage, 31, "stranger", "/gristmill test"));
    stage.deliver("issue_comment", &commented(stage, 32, "maintainer", "please\n/gristmill retry"));
    stage.deliver("issue_comment", &commented(stage, 33, "stranger", "/gristmill tset"));
    stage.settle();
    let reactions = stage.fake.repo(|repo| repo.reactions.clone());
    assert_eq!(reactions, [(31, "confused".to_owned()), (32, "eyes".to_owned()), (33, "confused".to_owned())]);
    let said = replies(stage);
    assert!(said.len() == 2 && said[0].contains("triage") && said[1].contains("/gristmill test"), "{said:?}");

    // It is mended. The host tells of the old head once more, and late.
    let head = stage.propose(&[(PATH, &stage.recipe("ice", "Ice"))]);
    let id = stage.deliver("pull_request", &pull("synchronize", &head));
    stage.deliver("pull_request", &pull("synchronize", &first));
    assert!((200..300).contains(&stage.deliver_as(&id, "pull_request", &pull("synchronize", &head))), "told twice is no error");
    stage.settle();
    let said = comment(stage).unwrap();
    assert!(said.contains("1 of 1 recipes pass") && said.contains(&head), "{said}");
    assert_eq!(checks(stage, &head), ["success"]);
    assert!(said.contains(&format!("(https://bot.example.org/maps/sea/ice/{head}/ice.png)")), "{said}");
    assert_eq!(stage.versions("ice"), 0, "nothing of a pull request is published");

    // Merged: told as closed and as pushed, the push twice under its id and once under another.
    let base = stage.main();
    let commit = stage.merge();
    assert_eq!(commit, head);
    stage.deliver("pull_request", &pull("closed", &head));
    let id = stage.deliver("push", &pushed(&base, &commit));
    stage.deliver_as(&id, "push", &pushed(&base, &commit));
    stage.deliver("push", &pushed(&base, &commit));
    stage.settle();
    let states = deployed(stage, &commit);
    assert_eq!(
        (states.first().map(String::as_str), states.last().map(String::as_str)),
        (Some("queued"), Some("success")),
        "{}",
        stage.log()
    );
    assert_eq!(states.iter().filter(|state| *state == "success").count(), 1);
    assert_eq!((stage.published("ice"), stage.fake.repo(|repo| repo.issues.len())), (Some(THREE_DAYS), 0));
    assert_eq!((bakes(stage, &commit, "ice"), stage.versions("ice")), (ONE_BAKE.map(str::to_owned).to_vec(), 1));

    // The next day there is a fourth day in the archive, and the schedule finds it.
    stage.another_day();
    stage.kill();
    stage.start(true);
    stage.wait("the day's run", || stage.ledger().iter().any(|name| name.starts_with("update/") && name.ends_with("/ice/0001.done")));
    stage.settle();
    assert_eq!((stage.published("ice"), stage.fake.repo(|repo| repo.issues.len())), (Some(FOUR_DAYS), 0));
    assert_eq!(bakes(stage, &commit, "ice").len(), 3, "what was merged is not baked again");
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
    let main = git2::Oid::from_str(&stage.main()).unwrap();
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
    stage.know_the_branch();
    let base = stage.main();
    let one = stage.push(&[(PATH, &stage.recipe("ice", "Ice"))]);
    let two = stage.push(&[("recipes/rain/recipe.yaml", &stage.recipe("rain", "Rain"))]);
    stage.deliver("push", &pushed(&one, &two));
    stage.deliver("push", &pushed(&base, &one));
    stage.settle();
    assert_eq!((stage.published("ice"), stage.published("rain")), (Some(THREE_DAYS), Some(THREE_DAYS)), "{}", stage.log());
    assert_eq!((stage.versions("ice"), stage.versions("rain")), (1, 1));
    let bakes = stage.ledger().iter().filter(|name| name.starts_with("bake/") && name.contains(".begun")).count();
    assert_eq!(bakes, 2, "{:?}", stage.ledger());
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
    stage.fake.trouble("PATCH", "/check-runs", How::Break);
    stage.fake.trouble("PATCH", "/check-runs", How::DoneThenBreak);
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
    let base = stage.main();
    let commit = stage.merge();
    stage.deliver("push", &pushed(&base, &commit));
    stage.settle();
    let states = deployed(&stage, &commit);
    assert_eq!(states.iter().filter(|state| *state == "success").count(), 1, "{states:?}\n{}", stage.log());
    assert_eq!((stage.published("ice"), stage.fake.repo(|repo| repo.deployments.len())), (Some(THREE_DAYS), 1));
    let left: Vec<(&str, &str)> = stage.fake.world().troubles.iter().map(|trouble| (trouble.method, trouble.path)).collect();
    assert_eq!(left, [], "each trouble was met");
}

/// A merge that nobody tells of is found, and one that is told while the first server ever begins is not lost.
#[test]
fn merges_that_are_told_late_or_never() {
    let stage = Stage::new();
    let base = stage.push(&[("recipes/old/recipe.yaml", &stage.recipe("old", "Was there before"))]);
    // Merged before the server looked at the branch for the first time, told afterwards.
    let one = stage.push(&[(PATH, &stage.recipe("ice", "Ice"))]);
    stage.start(false);
    stage.know_the_branch();
    assert_eq!(stage.ledger(), Vec::<String>::new(), "what was there before us is not ours to bake");
    stage.deliver("push", &pushed(&base, &one));
    stage.settle();
    assert_eq!(bakes(&stage, &one, "ice"), ONE_BAKE, "{}", stage.log());
    stage.kill();
    let two = stage.push(&[("recipes/rain/recipe.yaml", &stage.recipe("rain", "Rain"))]);
    stage.start(false);
    stage.wait("the merge to be found", || !bakes(&stage, &two, "rain").is_empty());
    stage.settle();
    stage.deliver("push", &pushed(&one, &two));
    stage.settle();
    assert_eq!((bakes(&stage, &two, "rain"), stage.published("rain")), (ONE_BAKE.map(str::to_owned).to_vec(), Some(THREE_DAYS)));
    assert_eq!((stage.versions("ice"), stage.versions("old")), (1, 0));
}

/// Folder and ledger are lost: what the host knows to be published is not baked anew, what was merged meanwhile is baked.
#[test]
fn the_ledger_is_rebuilt_from_what_the_host_knows() {
    let stage = Stage::new();
    stage.start(false);
    stage.settle();
    let base = stage.main();
    let one = stage.push(&[(PATH, &stage.recipe("ice", "Ice")), ("recipes/rain/recipe.yaml", &stage.recipe("rain", "Rain"))]);
    stage.deliver("push", &pushed(&base, &one));
    stage.settle();
    assert_eq!(bakes(&stage, &one, "rain"), ONE_BAKE, "{}", stage.log());
    stage.kill();
    stage.bucket.forget("bot/");
    std::fs::remove_dir_all(stage.path("state")).unwrap();
    let before = stage.bucket.log().len();
    let two = stage.push(&[("recipes/rain/recipe.yaml", &stage.recipe("rain", "Rain, mended"))]);
    stage.start(false);
    stage.wait("the merge to be found", || !bakes(&stage, &two, "rain").is_empty());
    stage.settle();
    stage.deliver("push", &pushed(&one, &two));
    stage.deliver("push", &pushed(&base, &one));
    stage.settle();
    assert_eq!(bakes(&stage, &two, "rain"), ONE_BAKE, "{}", stage.log());
    assert_eq!(bakes(&stage, &two, "ice"), ["0001.begun", "0001.done"], "noted as done, not run");
    let touched = |log: &[(String, String)]| log.iter().any(|(_, path)| path.starts_with("data/feedstock/ice"));
    assert!(!touched(&stage.bucket.log()[before..]), "what is published is not even looked at");
    assert_eq!((stage.published("ice"), stage.published("rain"), stage.versions("rain")), (Some(THREE_DAYS), Some(THREE_DAYS), 2));
    assert_eq!(stage.fake.repo(|repo| repo.deployments.len()), 3);
}

/// An end that one server could not tell is told by the next as the first would have told it, though that has asked the host nothing yet.
#[test]
fn the_next_server_tells_the_same() {
    let stage = Stage::new();
    stage.start(false);
    stage.know_the_branch();
    let base = stage.main();
    (0..200).for_each(|_| stage.fake.trouble("POST", "/statuses", How::Break));
    let commit = stage.push(&[(PATH, &stage.recipe("ice", "Ice"))]);
    stage.deliver("push", &pushed(&base, &commit));
    stage.wait("the bake to end", || bakes(&stage, &commit, "ice") == ONE_BAKE);
    stage.kill();
    assert_eq!(deployed(&stage, &commit), Vec::<String>::new());
    stage.fake.mend();
    (0..3).for_each(|_| stage.fake.trouble("GET", "/branches/", How::Break));
    stage.start(false);
    stage.settle();
    assert_eq!(deployed(&stage, &commit), ["success"]);
    let log = stage.fake.repo(|repo| repo.statuses[0].1["log_url"].clone());
    assert!(log.as_str().is_some_and(|log| log.starts_with("https://bot.example.org/jobs/")), "{log}");
}

/// Does something with servers that die at their first request, at their second, and so on, until one gets to the end; how many died.
fn survive(stage: &Stage, event: &str, payload: &Value) -> usize {
    let (mut request, mut deaths, mut is_accepted) = (1, 0, false);
    loop {
        stage.start_to_die(request);
        // The host delivers again what was not accepted, under the same id.
        is_accepted = is_accepted || (200..300).contains(&stage.deliver_as(&format!("d-{event}"), event, payload));
        stage.wait("the server's death, or an end", || stage.is_dead() || is_accepted && stage.is_settled());
        let is_dead = stage.is_dead();
        stage.kill();
        if !is_dead && is_accepted {
            return deaths;
        }
        deaths += usize::from(is_dead);
        request += 1;
    }
}

/// Servers die at each request to the forge or the bucket in turn: at the end all is said once and published once.
#[test]
fn killed_at_every_step() {
    let stage = Stage::new();
    let base = stage.main();
    let head = stage.propose(&[(PATH, &stage.recipe("ice", "Ice"))]);
    let tested = survive(&stage, "pull_request", &pull("opened", &head));
    let commit = stage.merge();
    let baked = survive(&stage, "push", &pushed(&base, &commit));
    stage.start(false);
    stage.settle();
    let said = comment(&stage).unwrap_or_default();
    assert!(said.contains("1 of 1 recipes pass") && said.contains(&head), "{said}\n{}", stage.log());
    assert_eq!(checks(&stage, &head), ["success"]);
    let states = deployed(&stage, &commit);
    let told = stage.fake.repo(|repo| repo.statuses.clone());
    assert_eq!(states.iter().filter(|state| *state == "success").count(), 1, "{told:?}\n{}", stage.log());
    assert_eq!(bakes(&stage, &commit, "ice"), ONE_BAKE);
    assert_eq!((stage.published("ice"), stage.versions("ice")), (Some(THREE_DAYS), 1));
    assert_eq!(stage.fake.repo(|repo| (repo.deployments.len(), repo.issues.len())), (1, 0));
    eprintln!("{tested} deaths until the test was told, {baked} until the dataset was");
    assert!(tested + baked >= 100);
}
