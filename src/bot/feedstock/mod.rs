//! Repositories of recipes: a feedstock of one dataset, or a staging repository of many contributors.
//!
//! `init` writes one, `lint` checks one, `graduate` moves a dataset from the latter into the former, `meta` is its `feedstock/meta.yaml`. Not for finding the recipe that a command names
//! (`run::feedstock`). Invariant: nothing is overwritten, and no link is followed.

mod graduate;
mod init;
mod lint;
mod meta;
mod tree;

use std::io::{self, Write as _};
use std::path::Path;

pub use graduate::{GraduateError, Graduated, Graduation, Leave, Step, graduate};
pub use init::{Forge, InitError, Plan, Wanted, init, plan};
pub use lint::{Finding, Lint, Listed, lint};
pub(in crate::bot) use lint::{LFS, inside};
pub use meta::{Maintainer, Meta};

/// True for what a dataset may be called: 1 to 80 of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = text.bytes().next().is_some_and(inner) && text.bytes().last().is_some_and(inner);
    ends && text.len() <= 80 && text.bytes().all(|byte| inner(byte) || byte == b'-')
}

/// True for what GitHub, GitLab and Forgejo take as an account's name.
#[must_use]
pub fn is_account(text: &str) -> bool {
    let ends = !text.starts_with(['-', '.']) && !text.ends_with(['-', '.']);
    !text.is_empty() && text.len() <= 39 && ends && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Puts a file where none is, whole or not at all: it is written in a folder of the same disk and then moved.
fn place(path: &Path, content: &[u8], folder: &Path) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".gristmill-").tempfile_in(folder)?;
    file.write_all(content)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As the user's own editor would leave it: temporary files are for nobody else's eyes.
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    file.persist_noclobber(path).map(drop).map_err(|error| error.error)
}
