//! `drop`: removes variables. Names or globs (`*_bnds`).

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::draft::Draft;

/// Removes variables. Names or globs (`*_bnds`).
///
/// Mentions of them in `bounds`, `grid_mapping`, `ancillary_variables`, `cell_measures` and `formula_terms` go too, and so do dimensions that
/// nothing uses any more. A dimension whose coordinate is removed stays, without coordinate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Drop(pub Vec<String>);

impl Drop {
    pub(super) fn apply(&self, draft: &mut Draft<'_>) {
        let removed: BTreeSet<String> = draft.select(&self.0);
        draft.remove(&removed);
    }
}
