//! What a repository is when an event is worked on: what the host says, and what git shows of it.
//!
//! Invariant: what changed is told by full commit ids that were fetched, never by what an event claims.

use super::{WorkError, Worker};
use crate::bot::artifact::Change;
use crate::bot::changes::{Changes, changes};
use crate::bot::decide::{Command, Event, Job, Parsed, Pull, PullAction, Recipe, Sha, State, parse};
use crate::bot::forge::{Found, Repository};
use crate::bot::serve::clones::CloneError;

impl Worker {
    /// The state that `decide` wants for an event.
    pub(super) fn state(&self, repository: &Repository, event: &Event, found: &Found) -> Result<State, WorkError> {
        let mut state = State { default_branch: found.default_branch.clone(), pull: found.pull.clone(), ..State::default() };
        match event {
            Event::PullRequest { action: PullAction::Closed, .. } | Event::TestEnded { .. } | Event::JobFailed(_) => {}
            Event::PullRequest { head, .. } => {
                if let Some(pull) = found.pull.as_ref().filter(|pull| pull.open && pull.head == *head) {
                    state.changed = self.of_pull(repository, pull, found)?;
                }
            }
            Event::Comment(asked) if !is_about_tests(&asked.text) => {}
            Event::Comment(_) | Event::Again { .. } => {
                if let Some(pull) = found.pull.as_ref().filter(|pull| pull.open) {
                    state.changed = self.of_pull(repository, pull, found)?;
                }
            }
            Event::Push { branch, before, after } => {
                if let Some(after) = after.as_ref().filter(|_| *branch == found.default_branch) {
                    state.changed = self.merged(repository, before.as_ref(), after)?;
                }
            }
            Event::Schedule { .. } => {
                if let Some(head) = &found.default_head {
                    self.fetch(repository, None, std::slice::from_ref(head))?;
                    self.clones.point(&repository.to_string(), &found.default_branch, head)?;
                    state.recipes = present(&self.changes(repository, None, head)?);
                }
            }
        }
        Ok(state)
    }

    fn of_pull(&self, repository: &Repository, pull: &Pull, found: &Found) -> Result<Vec<Recipe>, WorkError> {
        let wanted: Vec<Sha> = found.base.iter().chain([&pull.head]).cloned().collect();
        self.fetch(repository, Some(pull.number), &wanted)?;
        let changes = self.changes(repository, found.base.as_ref(), &pull.head)?;
        // What no feedstock may hold is told by the test of any recipe; where there is none, there is nothing to publish either.
        Ok(present(&changes))
    }

    /// Recipes that were merged since the last commit that was worked on; `before` is what the event says came before.
    fn merged(&self, repository: &Repository, before: Option<&Sha>, after: &Sha) -> Result<Vec<Recipe>, WorkError> {
        let name = repository.to_string();
        if self.settings.repositories.get(&name).is_none_or(|served| served.target.is_none()) {
            return Ok(Vec::new());
        }
        self.fetch(repository, None, std::slice::from_ref(after))?;
        let base = match self.ledger.handled(&name)? {
            None => return self.rebuilt(repository, before, after),
            // Noted by who saw it at the branch, perhaps before it was told: each job is begun once in any case.
            Some(handled) if handled == *after => match before {
                Some(before) => before.clone(),
                None => return Ok(Vec::new()),
            },
            Some(handled) if self.clones.is_before(&name, after, &handled) => return Ok(Vec::new()),
            Some(handled) => handled,
        };
        self.since(repository, Some(&base), after)
    }

    /// Recipes that changed since a commit. It may be gone after a push by force; what is complete already is then found so by the run.
    fn since(&self, repository: &Repository, base: Option<&Sha>, after: &Sha) -> Result<Vec<Recipe>, WorkError> {
        let base = base.filter(|base| self.clones.have(&repository.to_string(), std::slice::from_ref(*base)));
        Ok(present(&self.changes(repository, base, after)?))
    }

    /// The same without a ledger: what the host knows to be published at a commit with the same recipe is noted as done. A repository of
    /// which nothing was ever published is new here: what was in it before us is not ours to bake.
    fn rebuilt(&self, repository: &Repository, before: Option<&Sha>, after: &Sha) -> Result<Vec<Recipe>, WorkError> {
        let (mut open, mut any) = (Vec::new(), false);
        for recipe in self.since(repository, None, after)? {
            let published = self.forge.published(repository, &recipe.id)?;
            any |= published.is_some();
            let is_same = published.map_or(Ok(false), |commit| self.is_same(repository, &recipe, &commit, after))?;
            if is_same {
                let job = Job::Bake { commit: after.clone(), recipe: recipe.id };
                self.ledger.restore(&repository.to_string(), &job)?;
            } else {
                open.push(recipe);
            }
        }
        if any { Ok(open) } else { self.since(repository, before, after) }
    }

    /// True if a recipe is the same at two commits; false where the older one is gone.
    fn is_same(&self, repository: &Repository, recipe: &Recipe, old: &Sha, new: &Sha) -> Result<bool, WorkError> {
        match self.fetch(repository, None, std::slice::from_ref(old)) {
            Err(WorkError::Clone(CloneError::NoCommit { .. })) => Ok(false),
            Err(error) => Err(error),
            Ok(()) => Ok(!self.since(repository, Some(old), new)?.contains(recipe)),
        }
    }

    /// Brings commits here, unless they are.
    pub(super) fn fetch(&self, repository: &Repository, pull: Option<u64>, wanted: &[Sha]) -> Result<(), WorkError> {
        let name = repository.to_string();
        if self.clones.have(&name, wanted) && !wanted.is_empty() {
            return Ok(());
        }
        let access = self.forge.clone_access(repository)?;
        self.clones.fetch(&name, &access, pull, wanted)?;
        Ok(())
    }

    pub(super) fn changes(&self, repository: &Repository, base: Option<&Sha>, head: &Sha) -> Result<Changes, WorkError> {
        Ok(changes(&self.clones.path(&repository.to_string()), base, head)?)
    }
}

/// True for a command that is about what a pull request changes.
fn is_about_tests(text: &str) -> bool {
    matches!(parse(text), Parsed::Command(Command::Test | Command::Retry | Command::Cancel, _))
}

/// Recipes that are there after a change.
fn present(changes: &Changes) -> Vec<Recipe> {
    let there = changes.recipes.iter().filter(|changed| changed.change != Change::Deleted);
    // Jobs are told apart by commit and id; what a recipe means was compared already.
    there.map(|changed| Recipe { id: changed.id.clone(), identity: String::new() }).collect()
}
