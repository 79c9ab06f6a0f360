//! The status page: hostile names and logs stay texts, private repositories stay private (T14, T19); figures can be read.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use gristmill::bot::serve::jobs::{Ending, LOG, Record, Stage};
use gristmill::bot::serve::page;
use jiff::Timestamp;
use tempfile::TempDir;

use crate::host::{World, pull_request, wait};

const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}\u{1b}]0;x\u{7}&amp;::add-mask::x";

fn record(stage: Stage) -> Record {
    let now = Timestamp::now();
    Record {
        number: 7,
        repository: HOSTILE.to_owned(),
        public: true,
        kind: HOSTILE.to_owned(),
        recipe: HOSTILE.to_owned(),
        pull: Some(3),
        at: HOSTILE.to_owned(),
        attempt: 1,
        stage,
        queued: now,
        begun: Some(now),
        ended: Some(now),
    }
}

#[test]
fn t14_t19_hostile_names_and_logs_are_shown_as_text() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join(LOG), format!("{HOSTILE}\n</pre><script>x</script>\n")).unwrap();
    let failed = Ending::Failed { exit: Some(4), why: Some(HOSTILE.to_owned()) };
    let record = record(Stage::Ended(failed));
    let pages = [page::index(std::slice::from_ref(&record), Timestamp::now()), page::job(&record, folder.path(), Timestamp::now())];
    for page in pages {
        for forbidden in ["<script", "<img", "onerror=alert(1)>", "\u{202e}", "\u{1b}", "\u{7}", "</pre><script"] {
            assert!(!page.contains(forbidden), "{forbidden:?} in {page}");
        }
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&gt;"), "{page}");
        assert_eq!(page.matches("http").count(), page.matches("http-equiv").count(), "nothing from elsewhere: {page}");
    }
}

#[test]
fn private_repositories_are_not_shown() {
    let world = World::new();
    world.host.public.store(false, Ordering::SeqCst);
    let server = world.serve();
    wait("the branch to be noted", || world.folder.path().join("ledger/mill/feedstock/branch").exists());
    let head = world.host.commit("refs/pull/1/head", &[(&World::path("one"), &world.recipe("one", 2))]);
    world.host.pull(1, &head, true);
    server.deliver("d-1", "pull_request", &pull_request("opened", 1, &head));
    server.settle();
    assert!(!world.host.said().is_empty(), "it was tested");
    let page = server.get("/");
    assert!(page.status == 200 && !page.body.contains("mill/feedstock") && !page.body.contains("/jobs/"), "{}", page.body);
    for number in 0..5 {
        assert_eq!(server.get(&format!("/jobs/{number}")).status, 404);
        assert_eq!(server.get(&format!("/jobs/{number}/log")).status, 404);
    }
    let said = format!("{:?}", world.host.said());
    assert!(!said.contains("bot.example.org"), "no link to what is not shown");
}

#[test]
fn pages_carry_their_guards_and_unknown_ones_are_absent() {
    let world = World::new();
    let server = world.serve();
    for (path, status) in
        [("/", 200), ("/style.css", 200), ("/jobs/99", 404), ("/jobs/../x", 404), ("/jobs/%3Cscript%3E", 404), ("/nothing", 404)]
    {
        let answer = server.get(path);
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.head.contains("content-security-policy: default-src 'none'"), "{path}: {}", answer.head);
        assert!(answer.head.contains("x-content-type-options: nosniff"), "{path}");
        assert!(!answer.body.contains("script>"), "{path}");
    }
    assert_eq!(server.get("/webhooks/github").status, 405);
    let health: serde_json::Value = serde_json::from_str(&server.get("/healthz").body).unwrap();
    assert_eq!(health["status"], "ok");
}

/// As a scraper reads them: every sample belongs to a family that was described before, classes of a histogram grow.
#[test]
fn figures_can_be_read() {
    let world = World::new();
    let server = world.serve();
    server.deliver("d-1", "ping", &serde_json::json!({}));
    let answer = server.get("/metrics");
    assert!(answer.head.contains("text/plain; version=0.0.4"));
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut last: BTreeMap<&str, f64> = BTreeMap::new();
    for line in answer.body.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["#", "TYPE", name, kind] => drop(kinds.insert(name, kind)),
            ["#", "HELP", _, ..] => {}
            [sample, value] => {
                let name = sample.split('{').next().unwrap();
                let value: f64 = value.parse().unwrap();
                let family = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| name.strip_suffix(end))
                    .filter(|family| kinds.get(family) == Some(&"histogram"));
                assert!(kinds.contains_key(family.unwrap_or(name)), "{line}");
                if name.ends_with("_bucket") {
                    let before = last.insert(name, value).unwrap_or(0.0);
                    assert!(value >= before, "{line}");
                }
            }
            _ => panic!("{line}"),
        }
    }
    assert!(answer.body.contains("gristmill_webhooks_total{status=\"200\"} 1\n"));
    assert_eq!(kinds["gristmill_queue_deliveries"], "gauge");
}
