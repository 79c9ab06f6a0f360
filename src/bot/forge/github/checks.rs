//! The check of a recipe at a commit.
//!
//! A request holds 50 annotations, and each further one adds to them; so a check is completed by the request that holds the last ones.
//! The content's hash is kept as the check's outer id: what was killed half way goes on where it ended, what was said already
//! is not said again. Invariant: no annotation is shown twice, and no check is completed before it is whole.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::super::{Annotation, Check, ForgeError, Progress, Repository};
use super::GitHub;
use super::call::{Ask, pages};
use super::token::Need;

/// Most annotations of a request (docs.github.com, "create a check run").
const AT_ONCE: usize = 50;
/// Most characters of a summary and of a title, of an annotation's title and message.
const LONGEST: usize = 65_000;
const TITLE: usize = 250;
const MESSAGE: usize = 16_000;

#[derive(Debug, Deserialize)]
struct Listed {
    check_runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
struct Run {
    id: u64,
    status: String,
    external_id: Option<String>,
    output: Shown,
}

#[derive(Debug, Deserialize)]
struct Shown {
    annotations_count: usize,
}

impl GitHub {
    pub(super) fn check(&self, repository: &Repository, check: &Check) -> Result<(), ForgeError> {
        let content = content(check);
        let last = self.last_run(repository, check)?;
        let (run, mut told) = match last {
            Some(run) if run.external_id.as_deref() == Some(&content) => {
                let is_told = run.status == "completed" || !is_ended(check.progress) && run.status == status(check.progress);
                if is_told {
                    return Ok(());
                }
                let told = run.output.annotations_count;
                (Some(run), told)
            }
            // What others said of it stays said: what is completed is not changed, but something newer takes its place.
            Some(run) if run.status != "completed" && run.output.annotations_count == 0 => (Some(run), 0),
            _ => (None, 0),
        };
        let mut id = run.map(|run| run.id);
        loop {
            let end = told.saturating_add(AT_ONCE).min(check.annotations.len());
            let part = check.annotations.get(told..end).unwrap_or_default();
            let body = body(check, &content, part, end == check.annotations.len());
            id = Some(self.write_check(repository, check, id, body)?);
            told = end;
            if told >= check.annotations.len() {
                return Ok(());
            }
        }
    }

    fn write_check(&self, repository: &Repository, check: &Check, id: Option<u64>, body: Map<String, Value>) -> Result<u64, ForgeError> {
        #[derive(Deserialize)]
        struct Written {
            id: u64,
        }
        let path = ["repos", repository.owner(), repository.name(), "check-runs"];
        let ask = if let Some(id) = id.map(|id| id.to_string()) {
            let [repos, owner, name, runs] = path;
            // A change that is lost and made again would add its annotations twice.
            Ask::patch([repos, owner, name, runs, &id], Value::Object(body), "change a check").once()
        } else {
            let mut body = body;
            body.insert("head_sha".to_owned(), json!(check.head));
            Ask::post(path, Value::Object(body), "create a check")
        };
        self.ask(repository, Need::Check, &ask)?.read::<Written>().map(|written| written.id)
    }

    /// The newest of our checks of that name at that commit.
    fn last_run(&self, repository: &Repository, check: &Check) -> Result<Option<Run>, ForgeError> {
        let path = ["repos", repository.owner(), repository.name(), "commits", check.head.as_str(), "check-runs"];
        let ask = Ask::get(path, "list checks").with("check_name", check.name.as_str()).with("filter", "latest");
        let ask = ask.with("app_id", self.tokens.number().to_string());
        let runs = pages(
            ask,
            |ask| self.ask(repository, Need::Check, ask),
            |answer| answer.read::<Listed>().map(|listed| listed.check_runs),
            |_| false,
        )?;
        Ok(runs.into_iter().max_by_key(|run| run.id))
    }
}

fn body(check: &Check, content: &str, annotations: &[Annotation], is_whole: bool) -> Map<String, Value> {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    put("name", json!(check.name));
    put("external_id", json!(content));
    match conclusion(check.progress).filter(|_| is_whole) {
        Some(conclusion) => {
            put("status", json!("completed"));
            put("conclusion", json!(conclusion));
        }
        None => put("status", json!(if check.progress == Progress::Queued { "queued" } else { "in_progress" })),
    }
    if let Some(details) = &check.details {
        put("details_url", json!(details));
    }
    let shown: Vec<Value> = annotations.iter().map(annotation).collect();
    put("output", json!({"title": cut(&check.title, TITLE), "summary": cut(&check.summary, LONGEST), "annotations": shown}));
    body
}

fn annotation(one: &Annotation) -> Value {
    let line = one.line.max(1);
    json!({
        "path": one.path, "start_line": line, "end_line": line, "annotation_level": "failure",
        "title": cut(&one.title, TITLE), "message": cut(&one.message, MESSAGE),
    })
}

fn status(progress: Progress) -> &'static str {
    match progress {
        Progress::Queued => "queued",
        Progress::Running => "in_progress",
        _ => "completed",
    }
}

fn is_ended(progress: Progress) -> bool {
    conclusion(progress).is_some()
}

fn conclusion(progress: Progress) -> Option<&'static str> {
    match progress {
        Progress::Queued | Progress::Running => None,
        Progress::Passed => Some("success"),
        Progress::Failed => Some("failure"),
        Progress::Skipped => Some("skipped"),
        Progress::Cancelled => Some("cancelled"),
    }
}

fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// What tells two checks of one name apart.
fn content(check: &Check) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{check:?}"));
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
