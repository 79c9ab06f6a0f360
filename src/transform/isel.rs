//! `isel`: selects by position.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TransformError;
use super::draft::Draft;

/// Selects along dimensions by position: `{zlev: {at: 0}}` removes the dimension, `{time: {start: 0, stop: 10, step: 2}}` keeps it.
///
/// Works as in Python: `stop` may lie past the end. A position outside the dimension, and a selection of nothing, are errors. The
/// coordinate of a removed dimension becomes a scalar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Isel(pub BTreeMap<String, Selection>);

/// One position, or every `step`-th from `start` up to, not including, `stop`. Negative positions count from the end.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// The one position; excludes the others.
    #[serde(default)]
    pub at: Option<i64>,
    /// First position; absent: 0.
    #[serde(default)]
    pub start: Option<i64>,
    /// One past the last position; absent: the end.
    #[serde(default)]
    pub stop: Option<i64>,
    /// Positions from one to the next, at least 1; absent: 1.
    #[serde(default)]
    pub step: Option<i64>,
}

impl Isel {
    pub(super) fn apply(&self, draft: &mut Draft<'_>) -> Result<(), TransformError> {
        for (dimension, selection) in &self.0 {
            let Some(length) = draft.length(dimension) else { continue };
            let (first, step, count) = match selection.positions(length) {
                Ok(positions) => positions,
                Err(problem) => return draft.refuse(format!("dimension `{dimension}` of length {length}: {problem}")),
            };
            match selection.at {
                Some(_) => draft.collapse(dimension, first),
                None => draft.slice(dimension, first, step, count),
            }
        }
        Ok(())
    }
}

impl Selection {
    /// The first position, the step, and how many there are: never listed, since a dimension may be longer than memory.
    fn positions(&self, length: u64) -> Result<(u64, u64, u64), String> {
        let signed = i64::try_from(length).map_err(|_| "too long to select from".to_owned())?;
        if let Some(at) = self.at {
            if self.start.is_some() || self.stop.is_some() || self.step.is_some() {
                return Err("`at` excludes `start`, `stop` and `step`".to_owned());
            }
            let position = if at < 0 { at.saturating_add(signed) } else { at };
            return if (0..signed).contains(&position) { Ok((position as u64, 1, 1)) } else { Err(format!("there is no position {at}")) };
        }
        let bound = |position: i64| (if position < 0 { position.saturating_add(signed) } else { position }).clamp(0, signed);
        let step = u64::try_from(self.step.unwrap_or(1)).ok().filter(|step| *step > 0).ok_or("`step` must be at least 1")?;
        let (first, end) = (bound(self.start.unwrap_or(0)) as u64, bound(self.stop.unwrap_or(signed)) as u64);
        let count = end.saturating_sub(first).div_ceil(step);
        if count == 0 { Err("the selection holds no position".to_owned()) } else { Ok((first, step, count)) }
    }
}
