//! Steps: what a recipe does to each input before inputs are combined.
//!
//! One file per operation; adding one is adding a file and a line here. Each acts on a [`Schema`] and on the [`view::View`]s
//! that say where each variable's elements are in the file. No I/O. Invariant: a step that an input cannot satisfy is an
//! error that names the step, never a silent no-op (but for names absent from *some* inputs, which the caller judges).

pub mod attrs;
mod draft;
pub mod drop;
pub mod expand_dims;
pub mod isel;
pub mod keep;
mod names;
pub mod rename;
pub mod reset_coords;
pub mod set_coords;
pub mod sort;
pub mod squeeze;
pub mod text;
pub mod transpose;
pub mod view;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::array::Array;
use crate::dataset::Schema;
use crate::pattern::KeyValue;
use draft::{Draft, Origin};
pub use text::{TextRule, text_from_chars};
use view::View;

/// One operation of `steps`, as the recipe writes it: `- rename: {lat: latitude}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// See [`mod@drop`].
    Drop(drop::Drop),
    /// See [`keep`].
    Keep(keep::Keep),
    /// See [`rename`].
    Rename(rename::Rename),
    /// See [`set_coords`].
    SetCoords(set_coords::SetCoords),
    /// See [`reset_coords`].
    ResetCoords(reset_coords::ResetCoords),
    /// See [`squeeze`].
    Squeeze(squeeze::Squeeze),
    /// See [`expand_dims`].
    ExpandDims(expand_dims::ExpandDims),
    /// See [`transpose`].
    Transpose(transpose::Transpose),
    /// See [`sort`].
    Sort(sort::Sort),
    /// See [`attrs`].
    Attrs(attrs::Attrs),
    /// See [`isel`].
    Isel(isel::Isel),
}

impl Step {
    /// True if a variable of that name would be gone after it.
    #[must_use]
    pub fn takes_away(&self, name: &str) -> bool {
        let named = |patterns: &[String]| patterns.iter().any(|pattern| names::matches(pattern, name));
        match self {
            Self::Drop(step) => named(&step.0),
            Self::Keep(step) => !named(&step.0),
            _ => false,
        }
    }

    /// Its name in the recipe.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Drop(_) => "drop",
            Self::Keep(_) => "keep",
            Self::Rename(_) => "rename",
            Self::SetCoords(_) => "set_coords",
            Self::ResetCoords(_) => "reset_coords",
            Self::Squeeze(_) => "squeeze",
            Self::ExpandDims(_) => "expand_dims",
            Self::Transpose(_) => "transpose",
            Self::Sort(_) => "sort",
            Self::Attrs(_) => "attrs",
            Self::Isel(_) => "isel",
        }
    }

    fn apply(&self, draft: &mut Draft<'_>) -> Result<(), TransformError> {
        match self {
            Self::Drop(step) => step.apply(draft),
            Self::Keep(step) => step.apply(draft),
            Self::SetCoords(step) => step.apply(draft),
            Self::Rename(step) => return step.apply(draft),
            Self::ResetCoords(step) => return step.apply(draft),
            Self::Squeeze(step) => return step.apply(draft),
            Self::ExpandDims(step) => return step.apply(draft),
            Self::Transpose(step) => return step.apply(draft),
            Self::Sort(step) => return step.apply(draft),
            Self::Attrs(step) => return step.apply(draft),
            Self::Isel(step) => return step.apply(draft),
        }
        Ok(())
    }
}

/// A step that an input cannot satisfy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("step {} (`{operation}`): {message}", step + 1)]
pub struct TransformError {
    /// Number of the step, from 0.
    pub step: usize,
    /// Its name in the recipe.
    pub operation: &'static str,
    /// What is wrong, and what to do.
    pub message: String,
}

/// A name in a step that this input does not have. Fine if another input has it; a mistake in the recipe if none has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Absent {
    /// Number of the step, from 0.
    pub step: usize,
    /// The name or glob.
    pub name: String,
}

/// One input after the steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Transformed {
    /// Its schema. `coordinates` attributes are gone: [`crate::dataset::Variable::coordinate`] says it.
    pub schema: Schema,
    /// Per variable that the file holds: its name in the file, and the view that finds its elements there. For variables in `texts`, the view
    /// is of the texts (joined first, so without the last dimension of the chars).
    pub views: BTreeMap<String, (String, View)>,
    /// Variables of chars in the file, and how their chars become texts: `rule.apply(chars)`, then the view.
    pub texts: BTreeMap<String, TextRule>,
    /// Variables that no file holds (coordinates from keys), whole.
    pub made: BTreeMap<String, Array>,
    /// Names in steps that this input does not have.
    pub absent: Vec<Absent>,
}

/// Applies the steps to one input, in order. `keys` are the input's key values; `values` reads a variable of the file whole, by its
/// name there (only `sort` asks).
///
/// # Errors
/// [`TransformError`] for the first step that the input cannot satisfy.
pub fn apply(
    steps: &[Step],
    schema: &Schema,
    keys: &BTreeMap<String, KeyValue>,
    values: &mut dyn FnMut(&str) -> Option<Array>,
) -> Result<Transformed, TransformError> {
    let mut draft = Draft::new(schema, keys, values);
    for (number, step) in steps.iter().enumerate() {
        draft.step = (number, step.name());
        step.apply(&mut draft)?;
        draft.settle();
    }
    Ok(finish(draft))
}

fn finish(draft: Draft<'_>) -> Transformed {
    let Draft { schema, origins, absent, .. } = draft;
    let mut done = Transformed { schema, views: BTreeMap::new(), texts: BTreeMap::new(), made: BTreeMap::new(), absent };
    for (name, (origin, view)) in origins {
        match origin {
            Origin::Made(array) => done.made.extend(view.apply(&array).map(|array| (name, array))),
            Origin::File(source, rule) => {
                done.texts.extend(rule.map(|rule| (name.clone(), rule)));
                done.views.insert(name, (source, view));
            }
        }
    }
    done
}
