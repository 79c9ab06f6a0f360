//! What people are shown while jobs wait, run and have ended: the pages hold it, and `ci/pages.sh` looks at it in a browser.

use std::sync::atomic::Ordering;

use super::stage::{Stage, pull, pushed};
use super::stories::comment;

const LONG: &str = "carbon-dioxide-of-the-whole-column-of-a-model-with-a-name-historical-r1i1p1f1";

fn path(id: &str) -> String {
    format!("recipes/{id}/recipe.yaml")
}

/// Keeps a page for who looks at it, where `GRISTMILL_PAGES` says.
fn keep(name: &str, content: &[u8]) {
    let Some(folder) = std::env::var_os("GRISTMILL_PAGES") else { return };
    let path = std::path::Path::new(&folder).join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

#[test]
fn jobs_that_wait_run_and_have_ended() {
    let stage = Stage::new();
    stage.start(false);
    stage.settle();
    let wrong = stage.recipe("fog", "Fog") + "expect:\n  tcco2: {values_between: [0, 1]}\n";
    let (good, long) = (stage.recipe("ice", "Ice"), stage.recipe(LONG, "A dataset with a long name"));
    let head = stage.propose(&[(&path("ice"), &good), (&path("fog"), &wrong), (&path(LONG), &long)]);
    stage.deliver("pull_request", &pull("opened", &head));
    stage.settle();
    let said = comment(&stage).unwrap();
    assert!(said.contains("2 of 3 recipes pass"), "{said}");
    keep("comment.md", said.as_bytes());
    for id in ["ice", LONG] {
        let place = format!("/maps/sea/ice/{head}/{id}.png");
        assert!(said.contains(&format!("![A map of {id}](https://bot.example.org{place})")), "{said}");
        let (map, png) = stage.page(&place);
        assert!(map.starts_with("HTTP/1.1 200") && map.contains("content-type: image/png") && map.contains("nosniff"), "{map}");
        assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
        keep(place.trim_start_matches('/'), &png);
    }
    for absent in [format!("/maps/sea/ice/{head}/other.png"), format!("/maps/sea/ice/{head}/ice"), "/maps/sea/ice/x/ice.png".into()] {
        assert!(stage.page(&absent).0.starts_with("HTTP/1.1 404"), "{absent}");
    }

    // Four bakes; two at once.
    stage.slowness.store(700, Ordering::SeqCst);
    let base = stage.main();
    let recipes: Vec<(String, String)> =
        ["snow", "rain", "hail", LONG].map(|id| (path(id), stage.recipe(id, "Merged"))).into_iter().collect();
    let files: Vec<(&str, &str)> = recipes.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let commit = stage.push(&files);
    stage.deliver("push", &pushed(&base, &commit));
    let body = |path: &str| String::from_utf8(stage.page(path).1).unwrap();
    stage.wait("two jobs to run and two to wait", || {
        let index = body("/");
        ["running", "queued"].iter().all(|stage| index.matches(&format!("class=\"stage {stage}\"")).count() == 2)
    });
    let index = body("/");
    assert_eq!(index.matches("class=\"stage done\"").count(), 2, "{index}");
    assert_eq!(index.matches("class=\"stage failed\"").count(), 1, "{index}");
    keep("index.html", index.as_bytes());
    keep("style.css", &stage.page("/style.css").1);
    for number in 0..20 {
        let (head, page) = stage.page(&format!("/jobs/{number}"));
        if head.starts_with("HTTP/1.1 200") {
            keep(&format!("jobs/{number}.html"), &page);
        }
    }
}
