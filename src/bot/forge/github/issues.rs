//! The one issue of a dataset.

use serde::Deserialize;
use serde_json::json;

use super::super::{ForgeError, Repository};
use super::GitHub;
use super::call::Ask;
use super::comments::{is_same, marked};
use super::token::Need;

#[derive(Debug, Deserialize)]
struct Issue {
    number: u64,
    title: String,
    body: Option<String>,
    state: String,
    /// Pull requests are listed among issues.
    pull_request: Option<serde::de::IgnoredAny>,
}

impl GitHub {
    pub(super) fn issue(&self, repository: &Repository, recipe: &str, (title, text): (&str, &str), open: bool) -> Result<(), ForgeError> {
        let mark = format!("<!-- gristmill:issue {recipe} -->");
        let text = marked(text, &mark);
        let wanted = if open { "open" } else { "closed" };
        let path = ["repos", repository.owner(), repository.name(), "issues"];
        let Some(issue) = self.marked_issue(repository, &mark)? else {
            let body = json!({"title": title, "body": text});
            return if open { self.ask(repository, Need::Issue, &Ask::post(path, body, "open an issue")).map(drop) } else { Ok(()) };
        };
        if issue.state == wanted && (!open || issue.title == title && is_same(issue.body.as_deref(), &text)) {
            return Ok(());
        }
        let number = issue.number.to_string();
        let path = ["repos", repository.owner(), repository.name(), "issues", number.as_str()];
        let body = json!({"title": title, "body": text, "state": wanted});
        self.ask(repository, Need::Issue, &Ask::patch(path, body, "change an issue")).map(drop)
    }

    /// Our issue with a mark: the open one, else the newest.
    fn marked_issue(&self, repository: &Repository, mark: &str) -> Result<Option<Issue>, ForgeError> {
        let us = self.tokens.name(&self.caller)?;
        let path = ["repos", repository.owner(), repository.name(), "issues"];
        let ask = Ask::get(path, "list issues").with("creator", us).with("state", "all");
        let is_it = |issue: &Issue| issue.pull_request.is_none() && issue.body.as_ref().is_some_and(|body| body.contains(mark));
        let issues = self.all(repository, Need::Issue, ask, |issue: &Issue| is_it(issue) && issue.state == "open")?;
        Ok(issues.into_iter().filter(is_it).max_by_key(|issue| (issue.state == "open", issue.number)))
    }
}
