//! How far the publishing of a recipe is: one deployment per commit and dataset, its states one after the other.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::{Deployment, ForgeError, Progress, Repository};
use super::GitHub;
use super::call::Ask;
use super::token::Need;
use crate::bot::decide::Sha;

/// Most characters of a description.
const LONGEST: usize = 140;
/// What our deployments do, so that they are told from those of others.
const TASK: &str = "gristmill";
/// Most deployments of a recipe that are looked at for one that ended well.
const LOOKED_AT: &str = "20";

#[derive(Debug, Deserialize)]
struct Made {
    id: u64,
    sha: Sha,
}

#[derive(Debug, Deserialize)]
struct Status {
    state: String,
    description: Option<String>,
    log_url: Option<String>,
}

impl GitHub {
    pub(super) fn deploy(&self, repository: &Repository, deployment: &Deployment) -> Result<(), ForgeError> {
        let path = ["repos", repository.owner(), repository.name(), "deployments"];
        let environment = environment(&deployment.recipe);
        let find = Ask::get(path, "list deployments").with("sha", deployment.commit.as_str());
        let find = find.with("task", TASK).with("environment", environment.as_str()).with("per_page", "1");
        let made: Vec<Made> = self.ask(repository, Need::Deploy, &find)?.read()?;
        let id = if let Some(made) = made.first() {
            made.id
        } else {
            // Checks of the commit are no condition, and the commit is taken as it is: it was merged already.
            let body = json!({
                "ref": deployment.commit, "task": TASK, "environment": environment, "auto_merge": false, "required_contexts": [],
                "description": format!("bake of {}", deployment.recipe), "payload": {"recipe": deployment.recipe},
            });
            self.ask(repository, Need::Deploy, &Ask::post(path, body, "create a deployment"))?.read::<Made>()?.id
        };
        self.tell_status(repository, id, deployment)
    }

    /// The commit of the newest deployment of a recipe that ended well.
    pub(super) fn deployed(&self, repository: &Repository, recipe: &str) -> Result<Option<Sha>, ForgeError> {
        let path = ["repos", repository.owner(), repository.name(), "deployments"];
        let find = Ask::get(path, "list deployments").with("task", TASK).with("environment", environment(recipe));
        let made: Vec<Made> = self.ask(repository, Need::Deploy, &find.with("per_page", LOOKED_AT))?.read()?;
        for Made { id, sha } in made {
            if self.last_status(repository, id)?.is_some_and(|status| status.state == state(Progress::Passed)) {
                return Ok(Some(sha));
            }
        }
        Ok(None)
    }

    fn last_status(&self, repository: &Repository, id: u64) -> Result<Option<Status>, ForgeError> {
        let id = id.to_string();
        let path = ["repos", repository.owner(), repository.name(), "deployments", &id, "statuses"];
        let last: Vec<Status> = self.ask(repository, Need::Deploy, &Ask::get(path, "list states").with("per_page", "1"))?.read()?;
        Ok(last.into_iter().next())
    }

    fn tell_status(&self, repository: &Repository, id: u64, deployment: &Deployment) -> Result<(), ForgeError> {
        let last = self.last_status(repository, id)?;
        let id = id.to_string();
        let path = ["repos", repository.owner(), repository.name(), "deployments", &id, "statuses"];
        let state = state(deployment.progress);
        let description: String = deployment.description.chars().take(LONGEST).collect();
        let is_told = |last: &Status| {
            let log = last.log_url.as_deref().filter(|log| !log.is_empty());
            last.state == state && last.description.as_deref() == Some(&description) && log == deployment.log.as_deref()
        };
        if last.as_ref().is_some_and(is_told) {
            return Ok(());
        }
        let mut body = Map::from_iter([("state".to_owned(), json!(state)), ("description".to_owned(), json!(description))]);
        let links = [("log_url", &deployment.log), ("environment_url", &deployment.address)];
        body.extend(links.into_iter().filter_map(|(name, link)| Some((name.to_owned(), json!(link.as_ref()?)))));
        self.ask(repository, Need::Deploy, &Ask::post(path, Value::Object(body), "tell of a deployment")).map(drop)
    }
}

/// What the deployments of a recipe are found by.
fn environment(recipe: &str) -> String {
    format!("gristmill/{recipe}")
}

fn state(progress: Progress) -> &'static str {
    match progress {
        Progress::Queued => "queued",
        Progress::Running => "in_progress",
        Progress::Passed => "success",
        Progress::Failed => "failure",
        Progress::Skipped | Progress::Cancelled => "inactive",
    }
}
