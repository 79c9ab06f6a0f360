//! GitHub, spoken to as an App over its REST interface (version 2022-11-28).
//!
//! `app` proves who we are, `token` gets tokens that can do one thing in one repository, `call` makes requests and knows what
//! refusals mean, `look` asks, the other files say. Not for webhooks, which other hosts word likewise (`webhook`). Invariant: no
//! token goes into a request about another repository than its own, to another server, or into a message.

mod app;
mod call;
mod checks;
mod comments;
mod deliveries;
mod deployments;
mod issues;
mod look;
mod memory;
mod token;

use std::time::Duration;

use jiff::Timestamp;
use url::Url;

pub use app::KeyError;

use super::{CloneAccess, Fault, Forge, ForgeError, Found, Question, Repository, Said};
use crate::bot::decide::Sha;
use app::App;
use call::{Ask, Caller};
use token::{Need, Tokens};

/// How often something is said anew when its answer did not come.
const SAYINGS: u32 = 4;

/// Who we are at GitHub, and how patient.
#[derive(Clone)]
pub struct Settings {
    /// Where the interface is: `https://api.github.com`, or `https://HOST/api/v3`.
    pub api: String,
    /// The App's number.
    pub app: u64,
    /// Its private key as GitHub gives it: PEM, PKCS#1 or PKCS#8.
    pub key: String,
    /// Longest wait within one call; what takes longer comes back as [`Fault::Passing`].
    pub patience: Duration,
    /// First wait before a failed request is repeated; each further one is twice as long.
    pub pause: Duration,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Settings").field("api", &self.api).field("app", &self.app).finish_non_exhaustive()
    }
}

impl Settings {
    /// With the usual waits.
    #[must_use]
    pub fn new(api: impl Into<String>, app: u64, key: impl Into<String>) -> Self {
        Self { api: api.into(), app, key: key.into(), patience: Duration::from_secs(20), pause: Duration::from_millis(500) }
    }
}

/// GitHub.
#[derive(Debug)]
pub struct GitHub {
    caller: Caller,
    tokens: Tokens,
}

impl GitHub {
    /// Nothing is asked of the host yet.
    ///
    /// # Errors
    /// If the key or the address is none, or web access cannot be set up.
    pub fn new(settings: &Settings) -> Result<Self, ForgeError> {
        let wrong = |message: &str| ForgeError::new(Fault::Wrong, "be reached", message);
        let app = App::new(settings.app, &settings.key).map_err(|error| wrong("the App's key cannot be used").because(error))?;
        let api = Url::parse(&settings.api).map_err(|error| wrong("the address of its interface is no URL").because(error))?;
        if !matches!(api.scheme(), "https" | "http") || api.cannot_be_a_base() {
            return Err(wrong("the address of its interface is not https"));
        }
        let caller = Caller::new(api, settings.patience, settings.pause)?;
        Ok(Self { caller, tokens: Tokens::new(app) })
    }

    /// Makes a request about a repository, with a token that can do this much.
    fn ask(&self, repository: &Repository, need: Need, ask: &Ask) -> Result<call::Answer, ForgeError> {
        let token = self.tokens.of(&self.caller, repository, need)?;
        match self.caller.make(ask, &token) {
            Err(error) if error.is_unauthorized() => {
                // Tokens may end before their time: the App's rights changed, or a clock is wrong.
                self.tokens.forget(repository, need);
                let token = self.tokens.of(&self.caller, repository, need)?;
                self.caller.make(ask, &token).map_err(Into::into)
            }
            other => other.map_err(Into::into),
        }
    }

    /// All items of a list that comes in pages, until `enough`.
    fn all<T: serde::de::DeserializeOwned>(
        &self,
        repository: &Repository,
        need: Need,
        ask: Ask,
        enough: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>, ForgeError> {
        call::pages(ask, |ask| self.ask(repository, need, ask), call::Answer::read::<Vec<T>>, enough)
    }

    fn say_once(&self, repository: &Repository, said: &Said) -> Result<(), ForgeError> {
        match said {
            Said::Comment { pull, text } => self.comment(repository, *pull, text),
            Said::Reply { pull, to, text } => self.reply(repository, *pull, to, text),
            Said::Reaction { comment, reaction } => self.react(repository, *comment, *reaction),
            Said::Check(check) => self.check(repository, check),
            Said::Deployment(deployment) => self.deploy(repository, deployment),
            Said::Issue { recipe, title, text, open } => self.issue(repository, recipe, (title, text), *open),
        }
    }
}

impl Forge for GitHub {
    fn look_up(&self, repository: &Repository, question: &Question) -> Result<Found, ForgeError> {
        self.found(repository, question)
    }

    fn say(&self, repository: &Repository, said: &Said) -> Result<(), ForgeError> {
        // What adds something is not repeated blindly when its answer is lost: it is looked for first.
        for attempt in 0..SAYINGS {
            match self.say_once(repository, said) {
                Err(error) if self.caller.is_soon(&error) && attempt + 1 < SAYINGS => self.caller.rest(attempt),
                other => return other,
            }
        }
        Ok(())
    }

    fn published(&self, repository: &Repository, recipe: &str) -> Result<Option<Sha>, ForgeError> {
        self.deployed(repository, recipe)
    }

    fn clone_access(&self, repository: &Repository) -> Result<CloneAccess, ForgeError> {
        let url = self.clone_url(repository)?;
        let token = self.tokens.of(&self.caller, repository, Need::Clone)?;
        Ok(CloneAccess { url, user: "x-access-token".to_owned(), secret: token.reveal().to_owned(), until: token.until() })
    }

    fn redeliver(&self, since: Timestamp) -> Result<u64, ForgeError> {
        self.redeliver_since(since)
    }

    fn repositories(&self) -> Result<Vec<Repository>, ForgeError> {
        self.every_repository()
    }
}
