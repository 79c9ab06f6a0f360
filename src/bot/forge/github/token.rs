//! Installation tokens: each can do one thing in one repository, and is looked at before it is used.
//!
//! GitHub grants at most what is asked for, and the App's whole rights if nothing is asked: so everything is asked for by name, and
//! what came is compared (T7). Invariant: a token that can do more than its [`Need`], or anything elsewhere, is never used.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;

use super::super::{Fault, ForgeError, Repository};
use super::app::App;
use super::call::{Ask, Caller};

/// A token that ends sooner is not used any more: what it begins should end with it.
const LEFT: SignedDuration = SignedDuration::from_mins(5);

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Need {
    /// Look at pull requests, branches and people.
    Look,
    /// Read the files with git.
    Clone,
    /// Comment on pull requests.
    Comment,
    /// Write checks.
    Check,
    /// Tell of deployments.
    Deploy,
    /// Open and close issues.
    Issue,
}

impl Need {
    /// GitHub's permissions for it; `metadata` comes with every token.
    fn permissions(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Look => &[("contents", "read"), ("metadata", "read"), ("pull_requests", "read")],
            Self::Clone => &[("contents", "read"), ("metadata", "read")],
            Self::Comment => &[("metadata", "read"), ("pull_requests", "write")],
            Self::Check => &[("checks", "write"), ("metadata", "read")],
            Self::Deploy => &[("deployments", "write"), ("metadata", "read")],
            Self::Issue => &[("issues", "write"), ("metadata", "read")],
        }
    }
}

/// A secret that the host takes for a while.
#[derive(Clone)]
pub(super) struct Token {
    secret: String,
    /// Whose allowance it uses.
    account: String,
    until: Timestamp,
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Token").field("account", &self.account).field("until", &self.until).finish_non_exhaustive()
    }
}

impl Token {
    pub(super) fn reveal(&self) -> &str {
        &self.secret
    }

    pub(super) fn account(&self) -> &str {
        &self.account
    }

    pub(super) fn until(&self) -> Timestamp {
        self.until
    }
}

/// What the host answers when asked for a token.
#[derive(Deserialize)]
struct Minted {
    token: String,
    expires_at: Timestamp,
    #[serde(default)]
    permissions: BTreeMap<String, String>,
    repository_selection: Option<String>,
    #[serde(default)]
    repositories: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    full_name: String,
}

#[derive(Deserialize)]
struct Installation {
    id: u64,
}

#[derive(Debug, Default)]
struct Known {
    installations: HashMap<Repository, u64>,
    tokens: HashMap<(Repository, Need), Token>,
    name: Option<String>,
}

/// The App's tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    app: App,
    known: Mutex<Known>,
}

impl Tokens {
    pub(super) fn new(app: App) -> Self {
        Self { app, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What proves that we are the App; it can do nothing in repositories.
    pub(super) fn app(&self) -> Result<Token, ForgeError> {
        let now = Timestamp::now();
        let secret = self.app.proof(now).map_err(|error| ForgeError::new(Fault::Wrong, "know us", "no proof").because(error))?;
        Ok(Token { secret, account: String::new(), until: now })
    }

    /// The App's number.
    pub(super) fn number(&self) -> u64 {
        self.app.number()
    }

    /// The name under which the App writes.
    pub(super) fn name(&self, caller: &Caller) -> Result<String, ForgeError> {
        #[derive(Deserialize)]
        struct Us {
            slug: String,
        }
        if let Some(name) = self.known().name.clone() {
            return Ok(name);
        }
        let us: Us = caller.make(&Ask::get(["app"], "tell who we are"), &self.app()?)?.read()?;
        let name = format!("{}[bot]", us.slug);
        self.known().name = Some(name.clone());
        Ok(name)
    }

    /// A token for one thing in one repository.
    pub(super) fn of(&self, caller: &Caller, repository: &Repository, need: Need) -> Result<Token, ForgeError> {
        let key = (repository.clone(), need);
        if let Some(token) = self.known().tokens.get(&key).filter(|token| token.until > Timestamp::now() + LEFT) {
            return Ok(token.clone());
        }
        let token = match self.mint(caller, repository, need) {
            // It may have been installed anew, under another number.
            Err(error) if error.fault == Fault::Gone && self.known().installations.remove(repository).is_some() => {
                self.mint(caller, repository, need)?
            }
            other => other?,
        };
        self.known().tokens.insert(key, token.clone());
        Ok(token)
    }

    /// Does not use a token again.
    pub(super) fn forget(&self, repository: &Repository, need: Need) {
        self.known().tokens.remove(&(repository.clone(), need));
    }

    fn installation(&self, caller: &Caller, repository: &Repository) -> Result<u64, ForgeError> {
        if let Some(id) = self.known().installations.get(repository) {
            return Ok(*id);
        }
        let ask = Ask::get(["repos", repository.owner(), repository.name(), "installation"], "tell where the App is installed");
        let Installation { id } = caller.make(&ask, &self.app()?)?.read()?;
        self.known().installations.insert(repository.clone(), id);
        Ok(id)
    }

    fn mint(&self, caller: &Caller, repository: &Repository, need: Need) -> Result<Token, ForgeError> {
        let id = self.installation(caller, repository)?;
        let permissions: BTreeMap<_, _> = need.permissions().iter().copied().collect();
        let body = json!({"repositories": [repository.name()], "permissions": permissions});
        let minted = self.ask_for(caller, id, &body)?;
        if let Some(excess) = minted.excess(&permissions).or_else(|| minted.elsewhere(repository)) {
            return Err(ForgeError::new(Fault::Forbidden, "give a token", format!("it gave too much: {excess}; the token is not used")));
        }
        if let Some(lack) = minted.lack(&permissions) {
            return Err(ForgeError::new(Fault::Forbidden, "give a token", format!("the App lacks the permission {lack}")));
        }
        Ok(Token { secret: minted.token, account: repository.owner().to_owned(), until: minted.expires_at })
    }

    /// A token that can list the repositories of an installation, and nothing else.
    pub(super) fn of_installation(&self, caller: &Caller, id: u64) -> Result<Token, ForgeError> {
        let permissions = BTreeMap::from([("metadata", "read")]);
        let minted = self.ask_for(caller, id, &json!({"permissions": permissions}))?;
        if let Some(excess) = minted.excess(&permissions) {
            return Err(ForgeError::new(Fault::Forbidden, "give a token", format!("it gave too much: {excess}; the token is not used")));
        }
        Ok(Token { secret: minted.token, account: id.to_string(), until: minted.expires_at })
    }

    fn ask_for(&self, caller: &Caller, id: u64, body: &serde_json::Value) -> Result<Minted, ForgeError> {
        let id = id.to_string();
        let ask = Ask::post(["app", "installations", &id, "access_tokens"], body.clone(), "give a token").repeatable();
        caller.make(&ask, &self.app()?)?.read()
    }
}

impl Minted {
    /// A permission that was not asked for.
    fn excess(&self, asked: &BTreeMap<&str, &str>) -> Option<String> {
        let more = |(name, level): &(&String, &String)| match asked.get(name.as_str()) {
            Some(&"write") => !matches!(level.as_str(), "read" | "write"),
            Some(_) => level.as_str() != "read",
            None => !(name.as_str() == "metadata" && level.as_str() == "read"),
        };
        self.permissions.iter().find(more).map(|(name, level)| format!("{}: {}", plain(name), plain(level)))
    }

    /// Repositories that were not asked for.
    fn elsewhere(&self, repository: &Repository) -> Option<String> {
        let narrowed = self.repository_selection.as_deref() == Some("selected");
        let ours = |named: &Named| named.full_name.eq_ignore_ascii_case(&repository.to_string());
        match self.repositories.as_slice() {
            [one] if narrowed && ours(one) => None,
            _ => Some(format!("{} repositories instead of `{repository}` alone", self.repositories.len())),
        }
    }

    fn lack(&self, asked: &BTreeMap<&str, &str>) -> Option<String> {
        let less = |(name, level): &(&&str, &&str)| self.permissions.get(**name).is_none_or(|given| given != **level);
        asked.iter().find(less).map(|(name, level)| format!("`{name}: {level}`; grant it and accept it for this repository"))
    }
}

fn plain(text: &str) -> String {
    text.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '_').take(40).collect()
}
