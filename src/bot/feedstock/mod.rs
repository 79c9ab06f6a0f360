//! Repositories of recipes: a feedstock of one dataset, or a staging repository of many contributors.
//!
//! `init` writes one, `lint` checks one, `meta` is its `feedstock/meta.yaml`. Not for finding the recipe that a command names
//! (`run::feedstock`). Invariant: nothing is overwritten, and no link is followed.

mod init;
mod lint;
mod meta;
mod tree;

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
