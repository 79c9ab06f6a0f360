//! `rename`: renames variables and dimensions, `old: new`; one name for both is renamed in both.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TransformError;
use super::draft::Draft;

/// Renames variables and dimensions, `old: new`; one name for both is renamed in both.
///
/// All at once, so that `{a: b, b: a}` swaps. Mentions in `bounds`, `grid_mapping`, `cell_methods`, … follow. A new name that
/// something else already has is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Rename(pub BTreeMap<String, String>);

impl Rename {
    pub(super) fn apply(&self, draft: &mut Draft<'_>) -> Result<(), TransformError> {
        for old in self.0.keys() {
            if draft.schema.variable(old).is_none() && draft.schema.dimension(old).is_none() {
                draft.lacks(old);
            }
        }
        if let Some((old, _)) = self.0.iter().find(|(_, new)| new.is_empty()) {
            return draft.refuse(format!("`{old}` is given an empty name"));
        }
        let clash = self.clash(draft.schema.variables.iter().map(|variable| variable.name.as_str()));
        if let Some(new) = clash.or_else(|| self.clash(draft.schema.dimensions.iter().map(|dimension| dimension.name.as_str()))) {
            return draft.refuse(format!("the new name `{new}` is taken; rename or drop the one that has it"));
        }
        draft.rename(&self.0);
        Ok(())
    }

    /// A new name that two would have.
    fn clash<'n>(&self, names: impl Iterator<Item = &'n str>) -> Option<String> {
        let mut seen = BTreeSet::new();
        names.map(|name| self.0.get(name).cloned().unwrap_or_else(|| name.to_owned())).find(|name| !seen.insert(name.clone()))
    }
}
