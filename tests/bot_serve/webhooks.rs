//! Who may deliver, and what is refused (T6).

use std::time::Instant;

use gristmill::bot::serve::signature::Secrets;
use serde_json::json;

use crate::host::{SECRET, World, ask, deliver, post, pull_request, sign};

/// GitHub's own example (docs.github.com, "Validating webhook deliveries").
#[test]
fn t6_the_published_example_holds_and_nothing_near_it() {
    let secrets = Secrets::new(["It's a Secret to Everybody"]);
    let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert!(secrets.signed(b"Hello, World!", Some(good)));
    assert!(secrets.signed(b"Hello, World!", Some(&format!("sha256={}", good[7..].to_uppercase()))));
    let flipped = good.replace("757107", "757106");
    let sha1 = "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59";
    let longer = format!("{good}00");
    for wrong in [flipped.as_str(), sha1, &good[..69], &good[7..], longer.as_str(), "sha256=", "", "sha256=zz"] {
        assert!(!secrets.signed(b"Hello, World!", Some(wrong)), "{wrong}");
    }
    assert!(!secrets.signed(b"Hello, World!", None));
    assert!(!secrets.signed(b"Hello, World?", Some(good)));
    assert!(!Secrets::new([]).signed(b"Hello, World!", Some(good)), "no secret signs nothing");
}

#[test]
fn t6_two_secrets_live_while_they_are_exchanged() {
    let (old, new) = (sign("the old one", "x"), sign("the new one", "x"));
    let both = Secrets::new(["the old one", "the new one"]);
    assert!(both.signed(b"x", Some(&old)) && both.signed(b"x", Some(&new)));
    let after = Secrets::new(["the new one"]);
    assert!(!after.signed(b"x", Some(&old)) && after.signed(b"x", Some(&new)));
    assert!(!format!("{both:?}").contains("one"));
}

#[test]
fn t6_forged_large_and_replayed_deliveries_are_refused() {
    let world = World::new();
    let server = world.serve();
    let head = world.host.tip().unwrap();
    let body = pull_request("closed", 1, &head).to_string();
    let headers = |signature: &str| {
        vec![
            ("X-GitHub-Event", "pull_request".to_owned()),
            ("X-GitHub-Delivery", "d-1".to_owned()),
            ("X-Hub-Signature-256", signature.to_owned()),
        ]
    };
    let send = |headers: Vec<(&str, String)>, body: &str| {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        post(server.address, &headers, body).status
    };
    assert_eq!(send(headers(&sign("another secret", &body)), &body), 401);
    assert_eq!(send(headers(&sign(SECRET, &body)), &body.replace("\"number\":1", "\"number\":2")), 401);
    let mut unsigned = headers("");
    unsigned.pop();
    assert_eq!(send(unsigned, &body), 401);
    // A body that is too long is not read; whether it is signed is not asked.
    let announced = format!("POST /webhooks/github HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", (1 << 20) + 1);
    assert_eq!(ask(server.address, announced.as_bytes()).status, 413);
    // What is signed and no payload is told so.
    assert_eq!(send(headers(&sign(SECRET, "{")), "{"), 400);

    assert_eq!(deliver(server.address, "d-1", "pull_request", &body).status, 202);
    assert_eq!(deliver(server.address, "d-1", "pull_request", &body).status, 200, "the same id again");
    assert_eq!(deliver(server.address, "d-2", "pull_request", &body).status, 200, "the same bytes under another id");
    assert_eq!(deliver(server.address, "d-3", "ping", "{\"zen\": \"x\"}").body, "pong");
    server.settle();
    let figures = server.get("/metrics").body;
    assert!(figures.contains("gristmill_webhooks_total{status=\"202\"} 1\n"), "{figures}");
    assert!(figures.contains("gristmill_webhooks_total{status=\"401\"} 3\n"), "{figures}");
    assert!(figures.contains("gristmill_webhooks_total{status=\"413\"} 1\n"), "{figures}");
    assert!(figures.contains("gristmill_deliveries_total{result=\"acted\"} 1\n"), "{figures}");
}

#[test]
fn other_repositories_are_accepted_and_left_alone() {
    let world = World::new();
    let server = world.serve();
    let payload = json!({"ref": "refs/heads/main", "after": world.host.tip(), "repository": {"full_name": "some/other"}});
    let begun = Instant::now();
    assert_eq!(server.deliver("d-1", "push", &payload).status, 202);
    assert!(begun.elapsed().as_secs() < 10);
    server.settle();
    assert!(world.host.said().is_empty());
    assert!(server.get("/metrics").body.contains("gristmill_deliveries_total{result=\"not served\"} 1\n"));
}
