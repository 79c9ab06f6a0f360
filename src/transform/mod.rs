//! Steps: what a recipe does to each input before inputs are combined.
//!
//! One file per operation; adding one is adding a file and a line here. Each acts on a [`Schema`] and on the [`view::View`]s
//! that say where each variable's elements are in the file. No I/O. Invariant: a step that an input cannot satisfy is an
//! error that names the step, never a silent no-op (but for names absent from *some* inputs, which the caller judges).

pub mod attrs;
pub mod drop;
pub mod expand_dims;
pub mod isel;
pub mod keep;
pub mod rename;
pub mod reset_coords;
pub mod set_coords;
pub mod sort;
pub mod squeeze;
pub mod transpose;
pub mod view;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One operation of `steps`, as the recipe writes it: `- rename: {lat: latitude}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// See [`drop`].
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
