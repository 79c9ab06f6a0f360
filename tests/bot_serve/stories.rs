//! Whole stories: a pull request and its test, a merge and its bake, commands, a host that is down, a server that is stopped.

use std::sync::atomic::Ordering;

use gristmill::bot::decide::{Role, Sha};
use gristmill::bot::forge::{Check, Deployment, Progress, Said};
use serde_json::json;

use crate::host::{Running, World, comment, pull_request, push, wait};

fn checks(world: &World, head: &Sha) -> Vec<(String, Progress)> {
    let of_head = |said: Said| match said {
        Said::Check(Check { head: at, name, progress, .. }) if at == *head => Some((name, progress)),
        _ => None,
    };
    world.host.said().into_iter().filter_map(of_head).collect()
}

fn comments(world: &World) -> Vec<String> {
    world.host.said().into_iter().filter_map(|said| if let Said::Comment { text, .. } = said { Some(text) } else { None }).collect()
}

fn replies(world: &World) -> Vec<String> {
    world.host.said().into_iter().filter_map(|said| if let Said::Reply { text, .. } = said { Some(text) } else { None }).collect()
}

fn deployments(world: &World) -> Vec<(Sha, Progress)> {
    let one = |said| if let Said::Deployment(Deployment { commit, progress, .. }) = said { Some((commit, progress)) } else { None };
    world.host.said().into_iter().filter_map(one).collect()
}

/// A server that has looked at the repository as it is.
fn served(world: &World) -> Running {
    let server = world.serve();
    let branch = world.folder.path().join("ledger/mill/feedstock/branch");
    wait("the branch to be noted", || branch.exists());
    server
}

#[test]
fn from_a_pull_request_to_a_published_dataset() {
    let world = World::new();
    let server = served(&world);
    let broken = world.recipe("one", 3).replace("title:", "titel:");
    let first = world.host.commit("refs/pull/1/head", &[(&World::path("one"), &broken)]);
    world.host.pull(1, &first, true);
    server.deliver("d-1", "pull_request", &pull_request("opened", 1, &first));
    server.settle();
    let name = "gristmill: one".to_owned();
    assert_eq!(checks(&world, &first), [(name.clone(), Progress::Queued), (name.clone(), Progress::Failed)]);
    assert!(comments(&world).last().unwrap().contains("0 of 1 recipes pass"));

    let second = world.host.commit("refs/pull/1/head", &[(&World::path("one"), &world.recipe("one", 3))]);
    world.host.pull(1, &second, true);
    server.deliver("d-2", "pull_request", &pull_request("synchronize", 1, &second));
    server.settle();
    assert_eq!(checks(&world, &second), [(name.clone(), Progress::Queued), (name, Progress::Passed)]);
    let text = comments(&world).last().unwrap().clone();
    assert!(text.contains("1 of 1 recipes pass") && text.contains(second.as_str()), "{text}");
    assert!(!world.folder.path().join("published").exists(), "a pull request publishes nothing");

    world.host.pull(1, &second, false);
    let merged = world.host.commit("refs/heads/main", &[(&World::path("one"), &world.recipe("one", 3)), ("NOTES.md", "x")]);
    server.deliver("d-3", "push", &push(&merged));
    server.deliver("d-4", "pull_request", &pull_request("closed", 1, &second));
    server.settle();
    assert_eq!(deployments(&world), [(merged.clone(), Progress::Queued), (merged.clone(), Progress::Passed)]);
    assert!(world.folder.path().join("published/one/current/zarr.json").exists());

    // Delivered again, under another id and with other bytes: nothing is baked again. Nor is what did not change.
    server.deliver(
        "d-5",
        "push",
        &json!({"ref": "refs/heads/main", "after": merged, "again": 1, "repository": {"full_name": "mill/feedstock"}}),
    );
    let other = world.host.commit("refs/heads/main", &[("NOTES.md", "y")]);
    server.deliver("d-6", "push", &push(&other));
    server.settle();
    assert_eq!(deployments(&world).len(), 2);
    // Told late, after a later one: exactly what changed is baked, once.
    let third = world.host.commit("refs/heads/main", &[(&World::path("two"), &world.recipe("two", 2))]);
    let fourth = world.host.commit("refs/heads/main", &[("NOTES.md", "z")]);
    server.deliver("d-7", "push", &push(&fourth));
    server.deliver("d-8", "push", &push(&third));
    server.settle();
    let after: Vec<Sha> = deployments(&world).into_iter().skip(2).map(|(commit, _)| commit).collect();
    assert_eq!(after, [fourth.clone(), fourth]);
    assert!(world.folder.path().join("published/two/current/zarr.json").exists());
    let page = server.get("/").body;
    assert!(page.contains("bake two") && page.contains("test one") && page.contains("#1"), "{page}");
    let number = page.split("/jobs/").nth(1).unwrap().split('"').next().unwrap();
    assert!(server.get(&format!("/jobs/{number}")).body.contains("Log</h2>"));
}

#[test]
fn what_is_superseded_is_called_off() {
    let world = World::new();
    let server = served(&world);
    world.slowness.store(1000, Ordering::SeqCst);
    let first = world.host.commit("refs/pull/7/head", &[(&World::path("one"), &world.recipe("one", 5))]);
    world.host.pull(7, &first, true);
    server.deliver("d-1", "pull_request", &pull_request("opened", 7, &first));
    let before = world.archive.requests().len();
    wait("the first test to read", || world.archive.requests().len() > before);
    let second = world.host.commit("refs/pull/7/head", &[(&World::path("one"), &world.recipe("one", 2))]);
    world.host.pull(7, &second, true);
    world.slowness.store(0, Ordering::SeqCst);
    server.deliver("d-2", "pull_request", &pull_request("synchronize", 7, &second));
    server.settle();
    assert_eq!(checks(&world, &first).last().unwrap().1, Progress::Cancelled);
    assert_eq!(checks(&world, &second).last().unwrap().1, Progress::Passed);
    assert!(comments(&world).iter().all(|text| text.contains(second.as_str())), "nothing is said of the old head");
    assert!(server.get("/metrics").body.contains("gristmill_jobs_total{end=\"cancelled\"} 1"));
}

#[test]
fn t4_t5_commands_take_a_role_and_the_head_that_was_seen() {
    let world = World::new();
    let server = served(&world);
    let head = world.host.commit("refs/pull/1/head", &[(&World::path("one"), &world.recipe("one", 2))]);
    world.host.pull(1, &head, true);
    world.host.give_role("maintainer", Role::Maintain);
    server.deliver("d-1", "pull_request", &pull_request("opened", 1, &head));
    server.settle();
    let tests = |world: &World| checks(world, &head).iter().filter(|(_, progress)| *progress == Progress::Passed).count();
    assert_eq!(tests(&world), 1);

    server.deliver("d-2", "issue_comment", &comment(1, 2, "passer-by", "/gristmill test"));
    server.deliver("d-3", "issue_comment", &comment(1, 3, "maintainer", "/gristmill tset"));
    server.deliver("d-4", "issue_comment", &comment(1, 4, "maintainer", "/gristmill run"));
    server.settle();
    let said = replies(&world);
    assert!(said[0].contains("takes the role \"triage\""), "{said:?}");
    assert!(said[1].contains("Did you mean `/gristmill test`?"), "{said:?}");
    assert!(said[2].contains("Only what is merged"), "{said:?}");
    assert_eq!(tests(&world), 1);

    server.deliver("d-5", "issue_comment", &comment(1, 5, "maintainer", "/gristmill test one"));
    server.settle();
    assert_eq!(tests(&world), 2);

    // The head moved, and the host has not told of it yet: what is there now is not what was seen.
    let moved = world.host.commit("refs/pull/1/head", &[(&World::path("one"), &world.recipe("one", 3))]);
    world.host.pull(1, &moved, true);
    server.deliver("d-6", "issue_comment", &comment(1, 6, "maintainer", "/gristmill test"));
    server.settle();
    assert!(replies(&world).last().unwrap().contains("changed since"), "{:?}", replies(&world));
    assert!(checks(&world, &moved).is_empty());
}

#[test]
fn a_host_that_is_down_is_asked_again_and_a_merge_that_was_never_told_is_found() {
    let world = World::new();
    let mut settings = world.settings();
    settings.reconcile = std::time::Duration::from_secs(1);
    let server = served(&world);
    world.host.failing.store(3, Ordering::SeqCst);
    let head = world.host.commit("refs/pull/1/head", &[(&World::path("one"), &world.recipe("one", 2))]);
    world.host.pull(1, &head, true);
    server.deliver("d-1", "pull_request", &pull_request("opened", 1, &head));
    wait("the comment", || !comments(&world).is_empty());
    server.stop();

    // While no server runs.
    let merged = world.host.commit("refs/heads/main", &[(&World::path("one"), &world.recipe("one", 2))]);
    let server = world.serve_with(settings);
    wait("the bake", || deployments(&world).last() == Some(&(merged.clone(), Progress::Passed)));
    server.settle();
    wait("another look", || world.host.redelivered.load(Ordering::SeqCst) >= 3);
    assert_eq!(deployments(&world).len(), 2, "found again at each look, baked once");
}

#[test]
fn a_server_that_is_stopped_goes_on_where_it_was() {
    let world = World::new();
    let server = served(&world);
    world.slowness.store(1000, Ordering::SeqCst);
    let head = world.host.commit("refs/pull/1/head", &[(&World::path("one"), &world.recipe("one", 2))]);
    world.host.pull(1, &head, true);
    server.deliver("d-1", "pull_request", &pull_request("opened", 1, &head));
    let before = world.archive.requests().len();
    wait("the test to read", || world.archive.requests().len() > before);
    server.stop();
    assert!(comments(&world).is_empty());
    world.slowness.store(0, Ordering::SeqCst);
    let server = world.serve();
    wait("the comment", || !comments(&world).is_empty());
    server.settle();
    assert_eq!(checks(&world, &head).last().unwrap().1, Progress::Passed);
}

#[test]
fn a_bake_that_fails_opens_the_one_issue_and_the_next_that_does_not_closes_it() {
    let world = World::new();
    let server = served(&world);
    let wrong = world.recipe("one", 2).replace("tcco2_", "absent_");
    let first = world.host.commit("refs/heads/main", &[(&World::path("one"), &wrong)]);
    server.deliver("d-1", "push", &push(&first));
    server.settle();
    let issues = |world: &World| -> Vec<bool> {
        world.host.said().into_iter().filter_map(|said| if let Said::Issue { open, .. } = said { Some(open) } else { None }).collect()
    };
    assert_eq!(deployments(&world).last().unwrap().1, Progress::Failed);
    assert_eq!(issues(&world), [true]);
    let second = world.host.commit("refs/heads/main", &[(&World::path("one"), &world.recipe("one", 2))]);
    server.deliver("d-2", "push", &push(&second));
    server.settle();
    assert_eq!(deployments(&world).last().unwrap().1, Progress::Passed);
    assert_eq!(issues(&world), [true, false]);
}

#[test]
fn a_ledger_is_rebuilt_from_the_bucket_when_the_machine_is_lost() {
    let world = World::new();
    let server = served(&world);
    let merged = world.host.commit("refs/heads/main", &[(&World::path("one"), &world.recipe("one", 2))]);
    server.deliver("d-1", "push", &push(&merged));
    server.settle();
    assert_eq!(deployments(&world).len(), 2);
    server.stop();
    std::fs::remove_dir_all(world.folder.path().join("state")).unwrap();
    let server = world.serve();
    // Delivered again to a machine that never heard of it.
    server.deliver("d-1", "push", &push(&merged));
    server.settle();
    assert_eq!(deployments(&world).len(), 2, "baked once per commit");
}
