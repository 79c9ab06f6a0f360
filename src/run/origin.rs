//! The recipe as the state keeps it: what `resume` reads and the provenance quotes.
//!
//! `recipe.yaml` is the text of the run that was begun last, `origin.json` says where it came from. Addresses may hold secrets
//! in their queries; those are hidden, and such a text is for reading only. Invariant: no secret of an address is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RunError;
use super::state::State;
use crate::pattern::without_secrets;
use crate::recipe::{Recipe, RecipeText};
use crate::store::StoreError;

const TEXT: &str = "recipe.yaml";
const ORIGIN: &str = "origin.json";

/// Where a recipe came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Origin {
    /// Path or URL, as messages show it.
    pub name: String,
    /// Folder that relative paths in it start from.
    pub folder: String,
    /// Commit it was read at; absent outside of git.
    pub commit: Option<String>,
    /// True if it was cloned from elsewhere.
    pub untrusted: bool,
    /// The day that moving ends counted from: ISO 8601.
    pub day: Option<String>,
    /// True if secrets in its addresses are hidden: the kept text cannot be run.
    pub hidden: bool,
}

/// Keeps the recipe of the run that begins.
pub(super) fn keep(state: &State, recipe: &Recipe, origin: &Origin) -> Result<(), StoreError> {
    let text = shown(&recipe.text.text);
    let origin = Origin { hidden: text != recipe.text.text || holds_secrets(recipe), ..origin.clone() };
    state.put(TEXT, text.into_bytes())?;
    state.put(ORIGIN, serde_json::to_vec_pretty(&origin).unwrap_or_default())
}

/// The recipe of the run that was begun last, and where it came from.
///
/// # Errors
/// [`RunError::Store`].
pub fn kept(state: &State) -> Result<Option<(RecipeText, Origin)>, RunError> {
    let (Some(text), Some(origin)) = (state.store().get(TEXT)?, state.json::<Origin>(ORIGIN)?) else { return Ok(None) };
    let text = RecipeText { name: origin.name.clone(), text: String::from_utf8_lossy(&text).into_owned() };
    Ok(Some((text, origin)))
}

fn holds_secrets(recipe: &Recipe) -> bool {
    recipe.inputs.iter().any(|input| without_secrets(&input.url) != input.url)
}

/// A recipe's text with the secrets of its addresses hidden.
pub(super) fn shown(text: &str) -> String {
    let breaks = |letter: char| letter.is_whitespace() || letter == '"' || letter == '\'';
    text.split_inclusive(breaks)
        .map(|word| {
            let address = word.trim_end_matches(breaks);
            without_secrets(address) + word.get(address.len()..).unwrap_or_default()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_all_else_stays() {
        let text = "inputs:\n  url: \"https://h/{time:%Y}.nc?token=abc&v=1\"  # why?\n  files: [https://h/a?sig=1]\ntitle: a=b? & c\n";
        let expected = "inputs:\n  url: \"https://h/{time:%Y}.nc?token=***&v=1\"  # why?\n  files: [https://h/a?sig=***\ntitle: a=b? & c\n";
        assert_eq!(shown(text), expected);
        let plain = "schema: 1\nid: x\r\n\tq: 'it''s'\n";
        assert_eq!(shown(plain), plain);
    }
}
