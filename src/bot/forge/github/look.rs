//! What a repository is now: branch, pull request, permission.

use serde::Deserialize;

use super::super::{Fault, ForgeError, Found, Question, Repository, Which};
use super::GitHub;
use super::call::Ask;
use super::token::Need;
use crate::bot::decide::{Pull, Role, Sha};

#[derive(Debug, Deserialize)]
struct About {
    default_branch: String,
    private: bool,
    clone_url: String,
}

#[derive(Debug, Deserialize)]
struct PullRequest {
    number: u64,
    state: String,
    head: Tip,
    base: Base,
}

#[derive(Debug, Deserialize)]
struct Base {
    sha: Sha,
    repo: About,
}

#[derive(Debug, Deserialize)]
struct Tip {
    sha: Sha,
}

#[derive(Debug, Deserialize)]
struct Branch {
    commit: Tip,
}

#[derive(Debug, Deserialize)]
struct Permission {
    permission: String,
    role_name: Option<String>,
}

/// What there is not is no error.
fn or_none<T>(result: Result<T, ForgeError>) -> Result<Option<T>, ForgeError> {
    match result {
        Err(error) if error.fault == Fault::Gone => Ok(None),
        other => other.map(Some),
    }
}

impl GitHub {
    pub(super) fn found(&self, repository: &Repository, question: &Question) -> Result<Found, ForgeError> {
        let role = question.by.as_ref().map_or(Ok(Role::Nobody), |by| self.role(repository, by))?;
        let pull = match &question.pull {
            Some(Which::Number(number)) => self.pull(repository, *number)?,
            Some(Which::Head(head)) => self.pull_at(repository, head)?,
            None => None,
        };
        if let Some(PullRequest { number, state, head, base }) = pull {
            let About { default_branch, private, .. } = base.repo;
            let pull = Some(Pull { number, head: head.sha, open: state == "open" });
            return Ok(Found { default_branch, default_head: None, is_public: !private, pull, base: Some(base.sha), role });
        }
        let About { default_branch, private, .. } = self.about(repository)?;
        let default_head = if question.pull.is_none() { self.head(repository, &default_branch)? } else { None };
        Ok(Found { default_branch, default_head, is_public: !private, pull: None, base: None, role })
    }

    /// Where git finds the repository.
    pub(super) fn clone_url(&self, repository: &Repository) -> Result<String, ForgeError> {
        self.about(repository).map(|about| about.clone_url)
    }

    fn about(&self, repository: &Repository) -> Result<About, ForgeError> {
        let ask = Ask::get(["repos", repository.owner(), repository.name()], "describe the repository");
        self.ask(repository, Need::Look, &ask)?.read()
    }

    fn head(&self, repository: &Repository, branch: &str) -> Result<Option<Sha>, ForgeError> {
        let path = ["repos", repository.owner(), repository.name(), "branches", branch];
        let answer = or_none(self.ask(repository, Need::Look, &Ask::get(path, "tell the commit of a branch")))?;
        answer.map(|answer| answer.read::<Branch>().map(|branch| branch.commit.sha)).transpose()
    }

    fn pull(&self, repository: &Repository, number: u64) -> Result<Option<PullRequest>, ForgeError> {
        let number = number.to_string();
        let path = ["repos", repository.owner(), repository.name(), "pulls", number.as_str()];
        let answer = or_none(self.ask(repository, Need::Look, &Ask::get(path, "describe the pull request")))?;
        answer.map(|answer| answer.read()).transpose()
    }

    /// The oldest open pull request with this head. Commits of forks have no pull requests by GitHub's own index, so all that are
    /// open are looked through, those that changed last first.
    fn pull_at(&self, repository: &Repository, head: &Sha) -> Result<Option<PullRequest>, ForgeError> {
        let path = ["repos", repository.owner(), repository.name(), "pulls"];
        let ask = Ask::get(path, "list the open pull requests").with("state", "open").with("sort", "updated").with("direction", "desc");
        let open: Vec<PullRequest> = self.all(repository, Need::Look, ask, |pull: &PullRequest| pull.head.sha == *head)?;
        Ok(open.into_iter().filter(|pull| pull.head.sha == *head).min_by_key(|pull| pull.number))
    }

    /// What somebody may, asked now: whatever a payload says of them was true when it was written.
    fn role(&self, repository: &Repository, by: &str) -> Result<Role, ForgeError> {
        // Names of apps have brackets; what else is no name is nobody's.
        let plain = by.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_[]".contains(&byte));
        if !plain || by.is_empty() || by.len() > 100 {
            return Ok(Role::Nobody);
        }
        let path = ["repos", repository.owner(), repository.name(), "collaborators", by, "permission"];
        let Some(answer) = or_none(self.ask(repository, Need::Look, &Ask::get(path, "tell what somebody may")))? else {
            return Ok(Role::Nobody);
        };
        let Permission { permission, role_name } = answer.read()?;
        // Roles that an organisation made up count as the one that they are based on.
        Ok(role_name.as_deref().and_then(known).or_else(|| known(&permission)).unwrap_or(Role::Nobody))
    }
}

fn known(name: &str) -> Option<Role> {
    Some(match name {
        "admin" => Role::Admin,
        "maintain" => Role::Maintain,
        "write" => Role::Write,
        "triage" => Role::Triage,
        "read" => Role::Read,
        "none" => Role::Nobody,
        _ => return None,
    })
}
