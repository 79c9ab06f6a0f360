//! Commands in comments: `/gristmill test [id]`, and who may give which.

use super::{Actor, Role, Sha};
use crate::bot::feedstock::is_id;
use crate::recipe::similar;

/// A comment that may hold a command.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Number of the pull request.
    pub pull: u64,
    /// Number of the comment.
    pub comment: u64,
    /// Head of the pull request when the comment was written.
    pub head: Sha,
    /// Who wrote it.
    pub by: Actor,
    /// Its text.
    pub text: String,
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Test the recipes that changed, or one of them.
    Test,
    /// Bake in full; only what is merged is.
    Run,
    /// Call tests off.
    Cancel,
    /// Test again what failed.
    Retry,
    /// Tell how the last result came about.
    Explain,
    /// Tell what there is.
    Help,
}

/// What a comment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// Nothing to us.
    Nothing,
    /// Something to us that we do not understand; perhaps this was meant.
    Unknown(Option<Command>),
    /// A command, for one recipe or for all.
    Command(Command, Option<String>),
}

impl Command {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Test, Self::Run, Self::Cancel, Self::Retry, Self::Explain, Self::Help];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Run => "run",
            Self::Cancel => "cancel",
            Self::Retry => "retry",
            Self::Explain => "explain",
            Self::Help => "help",
        }
    }

    /// The least role that may give it: what costs machines takes people of the repository, what publishes takes those who may merge.
    #[must_use]
    pub fn needs(self) -> Role {
        match self {
            Self::Help | Self::Explain => Role::Nobody,
            Self::Test | Self::Cancel | Self::Retry => Role::Triage,
            Self::Run => Role::Maintain,
        }
    }
}

/// Reads the first line that begins with `/gristmill`; quotes and code blocks do not.
#[must_use]
pub fn parse(comment: &str) -> Parsed {
    let Some(line) = comment.lines().find(|line| line.split_whitespace().next() == Some("/gristmill")) else { return Parsed::Nothing };
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    let command = |name: &str| Command::ALL.into_iter().find(|command| command.name() == name);
    match words.as_slice() {
        [] => Parsed::Command(Command::Help, None),
        [name, rest @ ..] => match (command(name), rest) {
            (Some(command), []) => Parsed::Command(command, None),
            (Some(command), [id]) if is_id(id) => Parsed::Command(command, Some((*id).to_owned())),
            (Some(command), _) => Parsed::Unknown(Some(command)),
            (None, _) => Parsed::Unknown(similar(name, Command::ALL.map(Command::name)).and_then(command)),
        },
    }
}
