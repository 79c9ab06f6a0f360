//! What GitHub delivers, read into events.
//!
//! Of a payload only what is named here is read; all else may be anything, so that new fields of the host change nothing. The
//! signature is checked before (`serve`). Invariant: what is not understood is told as such, never guessed; no text of a payload
//! becomes part of a path or of an address but as [`Repository`] or [`Sha`].

use reqwest::header::HeaderMap;
use serde::Deserialize;

use super::{Found, Repository, Which};
use crate::bot::decide::{Actor, Asked, Delivery, Event, PullAction, Sha};

/// Longest id of a delivery, and longest name of an event.
const LONGEST: usize = 100;

/// Why a delivery cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// A header lacks, or is no plain word.
    #[error("the header `{0}` lacks, or is not a plain word")]
    Header(&'static str),
    /// The body is no such payload.
    #[error("the body is no payload of the event `{event}`")]
    Payload {
        /// Of which event.
        event: String,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
}

/// What was delivered.
#[derive(Debug, Clone)]
pub enum Incoming {
    /// Something that is to be decided on.
    Event(Received),
    /// The host tries whether we hear.
    Ping,
    /// We may work on other repositories than before: ask for [`repositories`](super::Forge::repositories).
    Repositories,
    /// Nothing of ours: event and action, plain words.
    Ignored(String),
}

/// Something that happened in a repository.
#[derive(Debug, Clone)]
pub struct Received {
    /// Id of the delivery, a plain word; the same when it is delivered again.
    pub id: String,
    /// Where.
    pub repository: Repository,
    /// What.
    pub raised: Raised,
}

/// What happened, as far as the payload tells.
#[derive(Debug, Clone)]
pub enum Raised {
    /// All is known.
    Event(Event),
    /// A comment on a pull request. Which head its writer saw, and what they may, no payload says.
    Comment {
        /// The pull request.
        pull: u64,
        /// The comment.
        comment: u64,
        /// Its text.
        text: String,
        /// Its writer.
        by: String,
        /// True if an app wrote it.
        is_bot: bool,
    },
    /// Somebody pressed "run again" at the checks of a commit.
    Again {
        /// The commit.
        head: Sha,
        /// One recipe, or all of them.
        recipe: Option<String>,
        /// Who.
        by: String,
        /// True if an app did.
        is_bot: bool,
    },
}

impl Received {
    /// What the host is to be asked before this can be decided on.
    #[must_use]
    pub fn question(&self) -> super::Question {
        let (pull, by) = match &self.raised {
            Raised::Event(Event::PullRequest { number, .. }) => (Some(Which::Number(*number)), None),
            Raised::Event(Event::TestEnded { head }) => (Some(Which::Head(head.clone())), None),
            Raised::Event(_) => (None, None),
            Raised::Comment { pull, by, .. } => (Some(Which::Number(*pull)), Some(by.clone())),
            Raised::Again { head, by, .. } => (Some(Which::Head(head.clone())), Some(by.clone())),
        };
        super::Question { pull, by }
    }

    /// The event with what the host says. `seen`: the head that was known when a comment arrived; without it the head as it is
    /// now, which then cannot be told from one that was pushed after the comment was written.
    ///
    /// `None` for a comment on a pull request that there is not.
    #[must_use]
    pub fn complete(&self, found: &Found, seen: Option<&Sha>) -> Option<Delivery> {
        let actor = |is_bot: &bool| Actor { is_bot: *is_bot, role: found.role };
        let event = match &self.raised {
            Raised::Event(event) => event.clone(),
            Raised::Comment { pull, comment, text, is_bot, .. } => {
                let head = seen.or(found.pull.as_ref().map(|pull| &pull.head))?.clone();
                Event::Comment(Asked { pull: *pull, comment: *comment, head, by: actor(is_bot), text: text.clone() })
            }
            Raised::Again { head, recipe, is_bot, .. } => Event::Again { head: head.clone(), recipe: recipe.clone(), by: actor(is_bot) },
        };
        Some(Delivery { id: self.id.clone(), event })
    }
}

/// Reads a delivery of GitHub, or of a host that words its deliveries likewise.
///
/// # Errors
/// [`DeliveryError`] if it is no delivery at all. Events that are none of ours are no error.
pub fn delivery(headers: &HeaderMap, body: &[u8]) -> Result<Incoming, DeliveryError> {
    let event = word(headers, "x-github-event")?;
    let id = word(headers, "x-github-delivery")?;
    let of = Body { event, body };
    let raised = match event {
        "ping" => return Ok(Incoming::Ping),
        "installation" | "installation_repositories" | "repository" => return Ok(Incoming::Repositories),
        "pull_request" => pull_request(&of.read()?),
        "issue_comment" => comment(of.read()?),
        "push" => push(&of.read()?),
        "workflow_run" => workflow_run(&of.read()?),
        "check_run" => check_run(&of.read()?),
        "check_suite" => check_suite(&of.read()?),
        _ => None,
    };
    let received = raised.map(|(repository, raised)| Incoming::Event(Received { id: id.to_owned(), repository, raised }));
    received.map_or_else(|| Ok(Incoming::Ignored(of.name())), Ok)
}

/// A header that is a plain word.
fn word<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<&'h str, DeliveryError> {
    let plain = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.filter(plain).filter(|text| (1..=LONGEST).contains(&text.len())).ok_or(DeliveryError::Header(name))
}

/// A body and the event that it is of.
struct Body<'b> {
    event: &'b str,
    body: &'b [u8],
}

impl<'b> Body<'b> {
    fn read<T: Deserialize<'b>>(&self) -> Result<T, DeliveryError> {
        serde_json::from_slice(self.body).map_err(|cause| DeliveryError::Payload { event: self.event.to_owned(), cause })
    }

    /// The event and, if it is a plain word, its action.
    fn name(&self) -> String {
        let action = self.read::<Action>().ok().and_then(|payload| payload.action);
        let plain = |text: &String| text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        action.filter(plain).map_or_else(|| self.event.to_owned(), |action| format!("{}.{action}", self.event))
    }
}

type Told = Option<(Repository, Raised)>;

#[derive(Deserialize)]
struct Action {
    action: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    full_name: Repository,
}

#[derive(Deserialize)]
struct User {
    login: String,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl User {
    fn is_bot(&self) -> bool {
        self.kind.as_deref() == Some("Bot") || self.login.ends_with("[bot]")
    }
}

#[derive(Deserialize)]
struct PullRequestPayload {
    action: String,
    repository: Named,
    pull_request: PullRequest,
    changes: Option<Edits>,
}

#[derive(Deserialize)]
struct PullRequest {
    number: u64,
    head: Commit,
}

#[derive(Deserialize)]
struct Commit {
    sha: Sha,
}

/// What was edited; present are the keys of what was.
#[derive(Deserialize)]
struct Edits {
    base: Option<serde::de::IgnoredAny>,
}

fn pull_request(payload: &PullRequestPayload) -> Told {
    let other_base = payload.changes.as_ref().is_some_and(|edits| edits.base.is_some());
    let action = match payload.action.as_str() {
        "opened" => PullAction::Opened,
        // With a `d` at Forgejo and Gitea, which word their deliveries as GitHub does otherwise.
        "synchronize" | "synchronized" => PullAction::Synchronized,
        // Against another base other recipes may differ.
        "edited" if other_base => PullAction::Synchronized,
        "reopened" => PullAction::Reopened,
        "closed" => PullAction::Closed,
        _ => return None,
    };
    let PullRequest { number, head } = &payload.pull_request;
    let event = Event::PullRequest { action, number: *number, head: head.sha.clone() };
    Some((payload.repository.full_name.clone(), Raised::Event(event)))
}

#[derive(Deserialize)]
struct CommentPayload {
    action: String,
    repository: Named,
    issue: Issue,
    comment: Comment,
    sender: User,
}

#[derive(Deserialize)]
struct Issue {
    number: u64,
    /// Present if the issue is a pull request.
    pull_request: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Comment {
    id: u64,
    body: Option<String>,
    /// `None` once the account is deleted.
    user: Option<User>,
    performed_via_github_app: Option<serde::de::IgnoredAny>,
}

fn comment(payload: CommentPayload) -> Told {
    let CommentPayload { action, repository, issue, comment, sender } = payload;
    let writer = comment.user.as_ref()?;
    // Who mends another's comment doesn't give the command that it holds.
    let by_writer = writer.login == sender.login;
    if !matches!(action.as_str(), "created" | "edited") || issue.pull_request.is_none() || !by_writer {
        return None;
    }
    let is_bot = sender.is_bot() || comment.performed_via_github_app.is_some();
    let text = comment.body.unwrap_or_default();
    Some((repository.full_name, Raised::Comment { pull: issue.number, comment: comment.id, text, by: sender.login, is_bot }))
}

#[derive(Deserialize)]
struct PushPayload {
    repository: Named,
    #[serde(rename = "ref")]
    reference: String,
    before: Option<Sha>,
    after: Sha,
}

fn push(payload: &PushPayload) -> Told {
    let branch = payload.reference.strip_prefix("refs/heads/")?.to_owned();
    let commit = |sha: &Sha| Some(sha.clone()).filter(|sha| !sha.is_none());
    let (before, after) = (payload.before.as_ref().and_then(commit), commit(&payload.after));
    Some((payload.repository.full_name.clone(), Raised::Event(Event::Push { branch, before, after })))
}

#[derive(Deserialize)]
struct WorkflowPayload {
    action: String,
    repository: Named,
    workflow_run: WorkflowRun,
}

#[derive(Deserialize)]
struct WorkflowRun {
    event: String,
    head_sha: Sha,
}

fn workflow_run(payload: &WorkflowPayload) -> Told {
    let ours = payload.action == "completed" && payload.workflow_run.event == "pull_request";
    let event = Event::TestEnded { head: payload.workflow_run.head_sha.clone() };
    ours.then(|| (payload.repository.full_name.clone(), Raised::Event(event)))
}

#[derive(Deserialize)]
struct CheckRunPayload {
    action: String,
    repository: Named,
    check_run: CheckRun,
    sender: User,
}

#[derive(Deserialize)]
struct CheckRun {
    name: String,
    head_sha: Sha,
}

fn check_run(payload: &CheckRunPayload) -> Told {
    let CheckRunPayload { action, repository, check_run, sender } = payload;
    let recipe = check_run.name.strip_prefix(&super::Check::name_of(""))?;
    let again = Raised::Again {
        head: check_run.head_sha.clone(),
        recipe: Some(recipe.to_owned()),
        by: sender.login.clone(),
        is_bot: sender.is_bot(),
    };
    (action == "rerequested").then(|| (repository.full_name.clone(), again))
}

#[derive(Deserialize)]
struct CheckSuitePayload {
    action: String,
    repository: Named,
    check_suite: Suite,
    sender: User,
}

#[derive(Deserialize)]
struct Suite {
    head_sha: Sha,
}

fn check_suite(payload: &CheckSuitePayload) -> Told {
    let CheckSuitePayload { action, repository, check_suite, sender } = payload;
    let again = Raised::Again { head: check_suite.head_sha.clone(), recipe: None, by: sender.login.clone(), is_bot: sender.is_bot() };
    (action == "rerequested").then(|| (repository.full_name.clone(), again))
}
