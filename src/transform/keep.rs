//! `keep`: removes every data variable that is not named; coordinates of what is kept stay.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::draft::{Draft, resolve};
use crate::dataset::Schema;

/// Removes every data variable that is not named; coordinates of what is kept stay.
///
/// A coordinate stays if it is named or has no dimensions but those of the kept variables. Whatever the kept ones name in `bounds`,
/// `climatology` and `grid_mapping` stays with them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Keep(pub Vec<String>);

impl Keep {
    pub(super) fn apply(&self, draft: &mut Draft<'_>) {
        let mut kept = draft.select(&self.0);
        let dimensions: BTreeSet<String> = draft
            .schema
            .variables
            .iter()
            .filter(|variable| kept.contains(&variable.name))
            .flat_map(|variable| variable.dimensions.clone())
            .collect();
        let belongs =
            |variable: &&crate::dataset::Variable| variable.coordinate && variable.dimensions.iter().all(|name| dimensions.contains(name));
        kept.extend(draft.schema.variables.iter().filter(belongs).map(|variable| variable.name.clone()));
        kept.extend(described(&draft.schema, &kept));
        let removed = draft.schema.variables.iter().map(|variable| variable.name.clone()).filter(|name| !kept.contains(name)).collect();
        draft.remove(&removed);
    }
}

/// What the kept variables name as bounds or grid mapping.
fn described(schema: &Schema, kept: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for variable in schema.variables.iter().filter(|variable| kept.contains(&variable.name)) {
        for attribute in ["bounds", "climatology", "grid_mapping"] {
            let words = variable.attributes.text(attribute).unwrap_or_default().split_whitespace();
            found.extend(words.filter_map(|word| resolve(schema, &variable.name, word.trim_end_matches(':'))));
        }
    }
    found
}
