//! The one comment of a pull request, answers below it, and reactions.
//!
//! Found again by a hidden mark, in comments of our own only: a stranger can write the mark as well. Invariant: text is sent only if
//! it differs from what is there.

use serde::Deserialize;
use serde_json::json;

use super::super::{Fault, ForgeError, Repository};
use super::GitHub;
use super::call::Ask;
use super::token::Need;
use crate::bot::decide::Reaction;
use crate::bot::render::MARK;

/// Most characters of a comment that GitHub takes, less room for marks.
const LONGEST: usize = 65_000;
/// How often a comment is looked for: its webhook may come before it can be read.
const LOOKS: u32 = 3;

#[derive(Debug, Deserialize)]
struct Comment {
    id: u64,
    body: Option<String>,
    user: Option<User>,
}

/// Who wrote something.
#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) login: String,
}

/// Text that is not too long, with its mark.
pub(super) fn marked(text: &str, mark: &str) -> String {
    let text = match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}\n\n…\n", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    };
    if text.contains(mark) { text } else { format!("{text}\n\n{mark}\n") }
}

impl GitHub {
    pub(super) fn comment(&self, repository: &Repository, pull: u64, text: &str) -> Result<(), ForgeError> {
        let text = marked(text, MARK);
        match self.marked_comment(repository, pull, MARK)? {
            Some(comment) if is_same(comment.body.as_deref(), &text) => Ok(()),
            Some(comment) => {
                let id = comment.id.to_string();
                let path = ["repos", repository.owner(), repository.name(), "issues", "comments", &id];
                self.ask(repository, Need::Comment, &Ask::patch(path, json!({"body": text}), "edit a comment")).map(drop)
            }
            None => self.write_comment(repository, pull, &text),
        }
    }

    pub(super) fn reply(&self, repository: &Repository, pull: u64, to: &str, text: &str) -> Result<(), ForgeError> {
        let plain: String = to.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect();
        let mark = format!("<!-- gristmill:reply {plain} -->");
        match self.marked_comment(repository, pull, &mark)? {
            Some(_) => Ok(()),
            None => self.write_comment(repository, pull, &marked(text, &mark)),
        }
    }

    pub(super) fn react(&self, repository: &Repository, comment: u64, reaction: Reaction) -> Result<(), ForgeError> {
        let content = match reaction {
            Reaction::Eyes => "eyes",
            Reaction::Confused => "confused",
        };
        let id = comment.to_string();
        let path = ["repos", repository.owner(), repository.name(), "issues", "comments", &id, "reactions"];
        // The host keeps one of each kind of everybody, so it may be given again.
        let ask = Ask::post(path, json!({"content": content}), "show that a comment was seen").repeatable();
        for look in 0..LOOKS {
            match self.ask(repository, Need::Comment, &ask) {
                Err(error) if error.fault == Fault::Gone => self.caller.rest(look),
                other => return other.map(drop),
            }
        }
        tracing::info!(%repository, comment, "a comment is gone; nobody is left to be shown anything");
        Ok(())
    }

    fn write_comment(&self, repository: &Repository, pull: u64, text: &str) -> Result<(), ForgeError> {
        let number = pull.to_string();
        let path = ["repos", repository.owner(), repository.name(), "issues", number.as_str(), "comments"];
        self.ask(repository, Need::Comment, &Ask::post(path, json!({"body": text}), "write a comment")).map(drop)
    }

    /// Our first comment with a mark.
    fn marked_comment(&self, repository: &Repository, pull: u64, mark: &str) -> Result<Option<Comment>, ForgeError> {
        let us = self.tokens.name(&self.caller)?;
        let number = pull.to_string();
        let path = ["repos", repository.owner(), repository.name(), "issues", number.as_str(), "comments"];
        let is_it = |comment: &Comment| {
            let ours = comment.user.as_ref().is_some_and(|user| user.login == us);
            ours && comment.body.as_ref().is_some_and(|body| body.contains(mark))
        };
        let comments = self.all(repository, Need::Comment, Ask::get(path, "list comments"), is_it)?;
        Ok(comments.into_iter().find(is_it))
    }
}

/// True if the host has this text; it may end lines in its own way.
pub(super) fn is_same(kept: Option<&str>, text: &str) -> bool {
    kept.is_some_and(|kept| kept.replace("\r\n", "\n").trim_end() == text.trim_end())
}
