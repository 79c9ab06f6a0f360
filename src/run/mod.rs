//! The workflow, from a recipe to a published dataset.

pub mod feedstock;
