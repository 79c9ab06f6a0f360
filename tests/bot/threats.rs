//! Rows of the threat model that the workflows themselves hold, and those that need a published store. What a runner is told to do is read
//! as text here; `ci/workflows.sh` holds the same files against zizmor and the schemas of the code hosts.

use gristmill::bot::feedstock::{Forge, Wanted, lint, plan};

use super::runs::Bench;
use super::tested;
use gristmill::bot::artifact::Verdict;
use gristmill::store::Access;

/// Every workflow that `feedstock init` can write, by path, with and without the action, and the action itself.
fn workflows() -> Vec<(String, String)> {
    let action = Some(format!("gristmill/gristmill/ci@{}", "a".repeat(40)));
    let kinds = [(Forge::Github, None), (Forge::Github, action), (Forge::Forgejo, None), (Forge::Gitlab, None)];
    let mut found = vec![("ci/action.yml".to_owned(), include_str!("../../ci/action.yml").to_owned())];
    for (forge, action) in kinds {
        let wanted = Wanted { forge, staging: false, id: "ice".into(), title: None, maintainer: "ada".into(), binary: None, action };
        let plan = plan(&wanted).unwrap().into_iter().map(|file| (file.path, file.text));
        found.extend(plan.filter(|(path, _)| path.strip_suffix(".yml").is_some() && !path.starts_with("feedstock/")));
    }
    assert_eq!(found.len(), 1 + 4 + 4 + 3 + 1);
    found
}

/// The jobs of a workflow: name, and lines.
fn jobs(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines().skip_while(|line| *line != "jobs:").skip(1) {
        match line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')) {
            Some(name) => found.push((name.trim_end_matches(':').to_owned(), String::new())),
            None => {
                if let Some((_, text)) = found.last_mut() {
                    *text += &format!("{line}\n");
                }
            }
        }
    }
    found
}

/// The permissions of a job, as written.
fn permissions(job: &str) -> Vec<String> {
    let lines = job.lines().skip_while(|line| *line != "    permissions:").skip(1);
    let mut found: Vec<String> =
        lines.take_while(|line| line.starts_with("      ")).map(|line| line.split('#').next().unwrap().trim().to_owned()).collect();
    found.sort();
    found
}

fn on_github() -> Vec<(String, String)> {
    workflows().into_iter().filter(|(path, _)| path.starts_with(".github/")).collect()
}

#[test]
fn t2_no_secret_is_in_the_job_that_runs_a_stranger_s_pull_request() {
    for (path, text) in workflows() {
        assert!(!text.contains("pull_request_target"), "{path}");
        if path.ends_with("test.yml") || path == "ci/action.yml" {
            assert!(!text.contains("secrets.") && !text.contains("github.token") && !text.contains("id-token"), "{path}");
        }
        if path.ends_with("report.yml") {
            assert!(!text.contains("actions/checkout"), "{path}: whoever has the token checks nothing out");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join(".github/workflows")).unwrap();
    std::fs::write(folder.path().join(".github/workflows/x.yml"), "on:\n  pull_request_target:\n").unwrap();
    let found = lint(folder.path(), jiff::civil::date(2026, 11, 21)).unwrap();
    assert!(found.findings.iter().any(|finding| finding.rule == "pull-request-target" && finding.line == 2));
}

#[test]
fn t7_each_job_may_do_what_it_needs_and_no_more() {
    let expected = [
        ("test.yml", "test", vec!["contents: read"]),
        ("report.yml", "report", vec!["actions: read", "checks: write", "pull-requests: write"]),
        ("bake.yml", "bake", vec!["contents: read", "id-token: write"]),
        ("bake.yml", "tell", vec!["actions: read", "issues: write"]),
        ("update.yml", "bake", vec!["contents: read", "id-token: write"]),
        ("update.yml", "tell", vec!["actions: read", "issues: write"]),
    ];
    let mut seen = 0;
    for (path, text) in on_github() {
        assert!(text.contains("\npermissions: {}\n"), "{path}: nothing by default");
        for (name, job) in jobs(&text) {
            let row = expected.iter().find(|(file, job, _)| path.ends_with(file) && *job == name);
            let (_, _, wanted) = row.unwrap_or_else(|| panic!("{path}: nobody foresaw the job {name}"));
            assert_eq!(permissions(&job), *wanted, "{path} {name}");
            // Who may write to the store asks a person first, and holds no token of the code host that could write.
            assert_eq!(job.contains("id-token: write"), job.contains("name: production"), "{path} {name}");
            seen += 1;
        }
    }
    assert_eq!(seen, 2 * expected.len());
}

#[test]
fn t15_a_recipe_writes_over_no_other_dataset() {
    let bench = Bench::new(2);
    bench.run(&bench.recipe_with("ice", 2, "")).ok();
    let before = bench.files();
    bench.run(&bench.recipe_with("other", 2, "")).fails(6, &["ice"]);
    assert_eq!(bench.files(), before, "not a byte of it changed");
    // And where a dataset is published follows from its id alone, which is of plain letters.
    for (path, text) in
        workflows().into_iter().filter(|(path, _)| path.contains("bake") || path.contains("update") || path.contains("gitlab"))
    {
        assert!(text.contains("--target \"$GRISTMILL_TARGET/$id\""), "{path}");
    }
}

#[test]
fn t16_what_would_take_for_ever_ends_soon() {
    let access = Access { untrusted: true, ..Access::default() };
    let text = "schema: 1\nid: x\ntitle: T\nlicense: CC0-1.0\ninputs:\n  url: \"https://h.test/{time:%Y%m%d%H%M%S}.nc\"\n  keys:\n    time: {dates: {start: 1900-01-01, end: 2100-01-01, step: 1 second}}\ncombine: {concat: [time]}\n";
    let begun = std::time::Instant::now();
    let outcome = tested(text, &access);
    assert_eq!((outcome.verdict, outcome.exit), (Verdict::Failed, 2), "{:?}", outcome.errors);
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "6,000 million files are counted, not made: {:?}", begun.elapsed());
    for (path, text) in on_github() {
        assert!(jobs(&text).iter().all(|(_, job)| job.contains("timeout-minutes: ")), "{path}");
    }
}

#[test]
fn t17_what_runs_is_pinned_and_proven() {
    let mut actions = 0;
    for (path, text) in workflows() {
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("uses: ").or_else(|| line.trim().strip_prefix("- uses: "))) {
            let id = line.split('@').nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
            assert!(id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{path}: {line}");
            actions += 1;
        }
        let fetched = text.matches("curl ").count() - text.matches("--no-install-recommends ca-certificates curl ").count();
        assert_eq!(fetched, text.matches("sha256sum --check --strict").count(), "{path}: what is fetched is held against its checksum");
        assert!(!text.contains("| sh ") && !text.contains("| sh\n") && !text.contains("| bash") && !text.contains("pip install"), "{path}");
    }
    assert!(actions > 10, "{actions}");
}

#[test]
fn t19_a_dataset_without_a_true_licence_is_not_taken() {
    let access = Access { untrusted: true, ..Access::default() };
    let recipe = |license: &str| format!("schema: 1\nid: x\ntitle: T\n{license}inputs: {{files: [\"https://h.test/a.nc\"]}}\n");
    for license in [
        "",
        "license: \"\"\n",
        "license: [CC0-1.0]\n",
        "license: \"<script>alert(1)</script>\"\n",
        "license: \"javascript:alert(1)\"\n",
        "license: \"LicenseRef-<script>\"\n",
    ] {
        let outcome = tested(&recipe(license), &access);
        assert_eq!((outcome.verdict, outcome.exit), (Verdict::Failed, 2), "{license:?}");
        assert!(outcome.errors.iter().all(|error| error.code.as_deref() != Some("address-refused")), "{license:?}: {:?}", outcome.errors);
    }
}

#[test]
fn t21_no_cache_goes_from_a_pull_request_to_main() {
    for (path, text) in workflows() {
        assert!(!text.contains("actions/cache") && !text.contains("cache:") && !text.contains("restore-keys"), "{path}");
    }
}

#[test]
fn t22_no_expression_stands_in_a_script() {
    let mut scripts = 0;
    for (path, text) in workflows().into_iter().filter(|(path, _)| !path.contains("gitlab")) {
        let mut script: Option<usize> = None;
        for line in text.lines() {
            let depth = line.len() - line.trim_start().len();
            if script.is_some_and(|begun| depth <= begun && !line.trim().is_empty()) {
                script = None;
            }
            assert!(script.is_none() || !line.contains("${{"), "{path}: {line}");
            if line.trim_start().trim_start_matches("- ").starts_with("run:") {
                assert!(line.trim_end().ends_with('|'), "{path}: {line}");
                script = Some(depth);
                scripts += 1;
            }
        }
    }
    assert!(scripts > 15, "{scripts}");
    // GitLab's runners put the text of a variable into no script either: what a stranger names is not among those that are used.
    let gitlab = workflows().pop().unwrap().1;
    for foreign in [
        "CI_COMMIT_MESSAGE",
        "CI_COMMIT_TITLE",
        "CI_MERGE_REQUEST_TITLE",
        "CI_COMMIT_REF_NAME",
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME",
        "CI_COMMIT_AUTHOR",
    ] {
        assert!(!gitlab.contains(foreign), "{foreign}");
    }
}
