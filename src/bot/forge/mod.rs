//! The code host: where repositories, pull requests and comments are.
//!
//! `delivery` reads what a host tells us, [`Forge`] asks it things and says things; `github` is the host that is spoken with. Not for
//! deciding anything, nor for words: texts come from `render`. Nothing here but `github` and `webhook` knows how a host words things.
//! Invariant: whatever is said twice is said once: every [`Said`] carries what it is found again by.

mod error;
pub mod github;
mod repository;
mod said;
mod webhook;

use jiff::Timestamp;

pub use error::{Fault, ForgeError};
pub use repository::{Repository, RepositoryError};
pub use said::{Annotation, Check, Deployment, Progress, Said};
pub use webhook::{DeliveryError, Incoming, Raised, Received, delivery};

use super::decide::{Pull, Role, Sha};

/// A code host. Calls block; each may be made from any thread, and again after a failure.
pub trait Forge: Send + Sync {
    /// What a repository is now: what `decide` wants to know besides what git tells.
    ///
    /// # Errors
    /// [`ForgeError`]. A pull request, or a person, that there is not is no error.
    fn look_up(&self, repository: &Repository, question: &Question) -> Result<Found, ForgeError>;

    /// Says something. Said again, after a kill or a repeated event, it changes what was said first and adds nothing.
    ///
    /// # Errors
    /// [`ForgeError`].
    fn say(&self, repository: &Repository, said: &Said) -> Result<(), ForgeError>;

    /// The commit at which a recipe was published last, as [`Said::Deployment`] told; `None` if it never was.
    ///
    /// # Errors
    /// [`ForgeError`].
    fn published(&self, repository: &Repository, recipe: &str) -> Result<Option<Sha>, ForgeError>;

    /// What git needs to read this one repository, for less than an hour.
    ///
    /// # Errors
    /// [`ForgeError`]; above all if the host hands out more than was asked for.
    fn clone_access(&self, repository: &Repository) -> Result<CloneAccess, ForgeError>;

    /// Asks the host to deliver again what did not reach us since; how many deliveries that were.
    ///
    /// # Errors
    /// [`ForgeError`].
    fn redeliver(&self, since: Timestamp) -> Result<u64, ForgeError>;

    /// Every repository that we may work on, by name.
    ///
    /// # Errors
    /// [`ForgeError`].
    fn repositories(&self) -> Result<Vec<Repository>, ForgeError>;
}

/// What an event needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Question {
    /// Which pull request.
    pub pull: Option<Which>,
    /// Whose permission, by the name that they have at the host.
    pub by: Option<String>,
}

/// How a pull request is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// By its number.
    Number(u64),
    /// By its head: the open one, if several have it the oldest.
    Head(Sha),
}

/// What the host says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Name of the branch whose recipes are published.
    pub default_branch: String,
    /// Its commit now; `None` while the repository is empty. Looked up only if no pull request is asked for.
    pub default_head: Option<Sha>,
    /// True if anybody may read it.
    pub is_public: bool,
    /// The pull request, if there is such a one.
    pub pull: Option<Pull>,
    /// The commit of the branch that it would be merged into.
    pub base: Option<Sha>,
    /// Permission of the person asked for; [`Role::Nobody`] if nobody was.
    pub role: Role,
}

/// How git reads a repository.
#[derive(Clone, PartialEq, Eq)]
pub struct CloneAccess {
    /// Address, without secrets.
    pub url: String,
    /// Name to log in with.
    pub user: String,
    /// Password to log in with: a secret that reads this repository and nothing else.
    pub secret: String,
    /// When it ends.
    pub until: Timestamp,
}

impl std::fmt::Debug for CloneAccess {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("CloneAccess").field("url", &self.url).field("until", &self.until).finish_non_exhaustive()
    }
}
