//! `auth`, and secrets that a recipe must not hold.
//!
//! Recipes are public: what is found here is refused before anything is opened. Invariant: no message repeats what it found.

use super::Resolver;
use crate::pattern::{container_of, holds_key, secret_parameter};
use crate::recipe::diagnostic::{Code, Diagnostic, Span};
use crate::recipe::document::Inputs;

/// Longest name of a credential, in bytes.
const LONGEST_NAME: usize = 64;

const HELP: &str =
    "recipes are public: remove it, change it where it is valid, and name a credential with `auth`, which the operator keeps";

impl Resolver<'_> {
    /// The credential's name: a plain word, so that nobody writes the secret itself here.
    pub(super) fn credential(&mut self, inputs: &Inputs) -> Option<String> {
        self.text_without_keys();
        let name = inputs.auth.clone()?;
        let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(plain) {
            let help = "`auth` is the name of a credential, such as `earthdata`; what it stands for is in the operator's gristmill.toml";
            // Without its place: that line may hold what must not be shown.
            self.problems.push(Diagnostic::error(Code::BadAuth, "what `auth` says is not the name of a credential").help(help));
        }
        Some(name)
    }

    /// Refuses users, passwords and tokens in a URL.
    pub(super) fn url_without_secrets(&mut self, span: Span, url: &str, authority: &str) {
        let of_container = url.split_once("://").is_some_and(|(scheme, _)| container_of(scheme, authority).is_some());
        if authority.contains('@') && !of_container && !url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:")) {
            self.error(Code::SecretInUrl, span, "the URL holds a user name, or a token", HELP);
        }
        if let Some(name) = secret_parameter(url) {
            let name = crate::recipe::diagnostic::inert(name);
            self.error(Code::SecretInUrl, span, format!("the URL holds a secret as `{name}`"), HELP);
        }
    }

    /// Refuses what looks like the key of a cloud account, wherever it stands.
    fn text_without_keys(&mut self) {
        let Some(range) = holds_key(&self.text.text) else { return };
        let span = Span { offset: range.start, length: range.len() };
        self.error(Code::SecretInRecipe, span, "this looks like an access key of a cloud account", HELP);
    }
}
