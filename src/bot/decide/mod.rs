//! What the bot does about an event: (event, state of the repository, ledger) → actions.
//!
//! Pure: no clock, no network, no git. `event` is what happened, `command` what a comment asks for and who may ask it. Not for
//! doing anything, or for how a code host words its events. Invariant: an event that comes twice, or late, starts nothing that an
//! earlier one started; what is done names a full commit; nothing of an unmerged pull request touches what is published.

mod command;
mod event;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use command::{Asked, Command, Parsed, parse};
pub use event::{Actor, Delivery, Event, PullAction, Role, Sha, ShaError};

/// What the repository is, asked for when the event is worked on: not what it was when the event happened.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Name of the branch whose recipes are published.
    pub default_branch: String,
    /// Recipes of the commit that the event is about.
    pub recipes: Vec<Recipe>,
    /// Recipes that the event's commits change; deleted ones are not among them.
    pub changed: Vec<Recipe>,
    /// The pull request that the event is about, as it is now; `None` if there is none.
    pub pull: Option<Pull>,
}

/// A recipe at a commit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recipe {
    /// Id of its dataset.
    pub id: String,
    /// Hash of its content: comments and the order of keys do not count.
    pub identity: String,
}

/// A pull request as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Its number.
    pub number: u64,
    /// Its head.
    pub head: Sha,
    /// True while it is neither merged nor closed.
    pub open: bool,
}

/// What was begun and what came of it, kept in the bucket and in the repository.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Deliveries that were worked on.
    pub deliveries: BTreeSet<String>,
    /// Jobs by what they are.
    pub jobs: BTreeMap<Job, Progress>,
}

/// A piece of work. Two that are equal are one: that is what makes a repeated event harmless.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// A recipe of a pull request is tested.
    Test {
        /// The pull request.
        pull: u64,
        /// Its head.
        head: Sha,
        /// The dataset.
        recipe: String,
    },
    /// A merged recipe is baked in full.
    Bake {
        /// The commit on the default branch.
        commit: Sha,
        /// The dataset.
        recipe: String,
    },
    /// A published dataset is brought up to date.
    Update {
        /// The day, ISO 8601.
        day: String,
        /// The dataset.
        recipe: String,
    },
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Waiting or running.
    Active,
    /// Ended well.
    Done,
    /// Ended with an error.
    Failed,
    /// Called off.
    Cancelled,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Begin a job.
    Start(Job),
    /// Call a job off.
    Cancel(Job),
    /// Write the comment and the checks of a pull request at this head.
    Report {
        /// The pull request.
        pull: u64,
        /// Its head.
        head: Sha,
    },
    /// Remove what tests of a pull request left, and end its pending checks.
    Clean {
        /// The pull request.
        pull: u64,
    },
    /// Open the one issue of a dataset, or add to it.
    TellMaintainers {
        /// The dataset.
        recipe: String,
    },
    /// Show that a comment was seen.
    React {
        /// The comment.
        comment: u64,
        /// How.
        reaction: Reaction,
    },
    /// Answer a comment.
    Reply {
        /// The pull request.
        pull: u64,
        /// What to say.
        reply: Reply,
    },
    /// Do nothing, and say in the log why.
    Ignore(Ignored),
}

/// How a comment is answered without words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Accepted.
    Eyes,
    /// Refused, or not understood.
    Confused,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// What there is to ask for.
    Help,
    /// No such command; did they mean this one?
    Unknown(Option<Command>),
    /// It takes a higher role.
    Denied {
        /// What was asked for.
        command: Command,
        /// What it takes.
        needs: Role,
    },
    /// The head moved since the comment was written.
    HeadMoved,
    /// The pull request changes no recipe of that name, or none at all.
    NoSuchRecipe(Option<String>),
    /// Only what is merged is published.
    NotMerged,
    /// How the last test came to its result.
    Explain,
    /// There is nothing under way.
    NothingToCancel,
    /// Nothing failed.
    NothingToRetry,
}

/// Why nothing is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// It was worked on already.
    Redelivered,
    /// A bot did it.
    Bot,
    /// It is no longer so.
    Outdated,
    /// It is about another branch, or about no recipe.
    NotOurs,
    /// It takes a higher role.
    Denied,
}

/// What is to be done about an event.
#[must_use]
pub fn decide(delivery: &Delivery, state: &State, ledger: &Ledger) -> Vec<Action> {
    if ledger.deliveries.contains(&delivery.id) {
        return vec![Action::Ignore(Ignored::Redelivered)];
    }
    let actions = match &delivery.event {
        Event::PullRequest { action, number, head, .. } => pull_request(*action, (*number, head), state, ledger),
        Event::Push { branch, after, .. } => push(branch, after.as_ref(), state, ledger),
        Event::Schedule { day } => {
            fresh(state.recipes.iter().map(|recipe| Job::Update { day: day.clone(), recipe: recipe.id.clone() }), ledger)
        }
        Event::TestEnded { head } => test_ended(head, state),
        Event::JobFailed(job) => job_failed(job),
        Event::Comment(asked) => comment(asked, state, ledger),
        Event::Again { head, recipe, by } => again(head, recipe.as_deref(), *by, state, ledger),
    };
    if actions.is_empty() { vec![Action::Ignore(Ignored::NotOurs)] } else { actions }
}

/// Jobs that nobody began, or that were called off.
fn fresh(jobs: impl Iterator<Item = Job>, ledger: &Ledger) -> Vec<Action> {
    jobs.filter(|job| matches!(ledger.jobs.get(job), None | Some(Progress::Cancelled))).map(Action::Start).collect()
}

fn pull_request(action: PullAction, (number, head): (u64, &Sha), state: &State, ledger: &Ledger) -> Vec<Action> {
    let open = state.pull.as_ref().filter(|pull| pull.number == number);
    match action {
        PullAction::Closed => active(ledger, number, None).map(Action::Cancel).chain([Action::Clean { pull: number }]).collect(),
        PullAction::Opened | PullAction::Reopened | PullAction::Synchronized => {
            // Events of a force-push may come in the wrong order: only the head as it is now counts.
            if open.is_none_or(|pull| pull.head != *head || !pull.open) {
                return vec![Action::Ignore(Ignored::Outdated)];
            }
            let superseded = active(ledger, number, Some(head)).map(Action::Cancel);
            superseded.chain(fresh(tests(number, head, &state.changed), ledger)).collect()
        }
    }
}

fn tests<'a>(pull: u64, head: &'a Sha, recipes: &'a [Recipe]) -> impl Iterator<Item = Job> + 'a {
    recipes.iter().map(move |recipe| Job::Test { pull, head: head.clone(), recipe: recipe.id.clone() })
}

/// Tests of a pull request that are under way, but for those of one head.
fn active<'a>(ledger: &'a Ledger, number: u64, but: Option<&'a Sha>) -> impl Iterator<Item = Job> + 'a {
    let concerned = move |job: &Job| matches!(job, Job::Test { pull, head, .. } if *pull == number && Some(head) != but);
    ledger.jobs.iter().filter(move |(job, progress)| **progress == Progress::Active && concerned(job)).map(|(job, _)| job.clone())
}

fn push(branch: &str, after: Option<&Sha>, state: &State, ledger: &Ledger) -> Vec<Action> {
    // A branch that is deleted has no commit after.
    let Some(commit) = after.filter(|_| branch == state.default_branch) else { return Vec::new() };
    fresh(state.changed.iter().map(|recipe| Job::Bake { commit: commit.clone(), recipe: recipe.id.clone() }), ledger)
}

fn test_ended(head: &Sha, state: &State) -> Vec<Action> {
    match &state.pull {
        Some(pull) if pull.open && pull.head == *head => vec![Action::Report { pull: pull.number, head: head.clone() }],
        _ => vec![Action::Ignore(Ignored::Outdated)],
    }
}

fn job_failed(job: &Job) -> Vec<Action> {
    match job {
        Job::Test { pull, head, .. } => vec![Action::Report { pull: *pull, head: head.clone() }],
        Job::Bake { recipe, .. } | Job::Update { recipe, .. } => vec![Action::TellMaintainers { recipe: recipe.clone() }],
    }
}

fn comment(asked: &Asked, state: &State, ledger: &Ledger) -> Vec<Action> {
    if asked.by.is_bot {
        return vec![Action::Ignore(Ignored::Bot)];
    }
    let refuse = |reply: Reply| {
        vec![Action::React { comment: asked.comment, reaction: Reaction::Confused }, Action::Reply { pull: asked.pull, reply }]
    };
    let (command, recipe) = match parse(&asked.text) {
        Parsed::Nothing => return vec![Action::Ignore(Ignored::NotOurs)],
        Parsed::Unknown(meant) => return refuse(Reply::Unknown(meant)),
        Parsed::Command(command, recipe) => (command, recipe),
    };
    if asked.by.role < command.needs() {
        return refuse(Reply::Denied { command, needs: command.needs() });
    }
    match ordered(command, recipe.as_deref(), asked, state, ledger) {
        Ok(actions) => std::iter::once(Action::React { comment: asked.comment, reaction: Reaction::Eyes }).chain(actions).collect(),
        Err(reply) => refuse(reply),
    }
}

/// As the command `test`, but that there is no comment to answer.
fn again(head: &Sha, recipe: Option<&str>, by: Actor, state: &State, ledger: &Ledger) -> Vec<Action> {
    let Some(pull) = &state.pull else { return vec![Action::Ignore(Ignored::Outdated)] };
    let asked = Asked { pull: pull.number, comment: 0, head: head.clone(), by, text: String::new() };
    match by {
        Actor { is_bot: true, .. } => vec![Action::Ignore(Ignored::Bot)],
        Actor { role, .. } if role < Command::Test.needs() => vec![Action::Ignore(Ignored::Denied)],
        _ => ordered(Command::Test, recipe, &asked, state, ledger).unwrap_or_else(|_| vec![Action::Ignore(Ignored::Outdated)]),
    }
}

/// What a command does that may be given.
fn ordered(command: Command, recipe: Option<&str>, asked: &Asked, state: &State, ledger: &Ledger) -> Result<Vec<Action>, Reply> {
    let answer = |reply| Ok(vec![Action::Reply { pull: asked.pull, reply }]);
    match command {
        Command::Help => return answer(Reply::Help),
        Command::Explain => return answer(Reply::Explain),
        Command::Run => return Err(Reply::NotMerged),
        Command::Test | Command::Retry | Command::Cancel => {}
    }
    let pull = state.pull.as_ref().filter(|pull| pull.number == asked.pull && pull.open && pull.head == asked.head);
    let Some(pull) = pull else { return Err(Reply::HeadMoved) };
    let wanted: Vec<Recipe> = state.changed.iter().filter(|one| recipe.is_none_or(|id| one.id == id)).cloned().collect();
    if wanted.is_empty() {
        return Err(Reply::NoSuchRecipe(recipe.map(str::to_owned)));
    }
    let of = |progress: &[Option<Progress>]| -> Vec<Job> {
        tests(pull.number, &pull.head, &wanted).filter(|job| progress.contains(&ledger.jobs.get(job).copied())).collect()
    };
    let (jobs, none): (Vec<Job>, _) = match command {
        Command::Cancel => (of(&[Some(Progress::Active)]), Reply::NothingToCancel),
        Command::Retry => (of(&[Some(Progress::Failed), Some(Progress::Cancelled)]), Reply::NothingToRetry),
        // What is under way already need not be begun again.
        _ => (of(&[None, Some(Progress::Failed), Some(Progress::Cancelled), Some(Progress::Done)]), Reply::Explain),
    };
    if jobs.is_empty() {
        return Err(none);
    }
    let action = |job| if command == Command::Cancel { Action::Cancel(job) } else { Action::Start(job) };
    Ok(jobs.into_iter().map(action).collect())
}
