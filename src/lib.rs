//! Gristmill turns archives of many files into one analysis-ready, cloud-optimised Zarr store.
//!
//! ```text
//! recipe.yaml ─parse→ Recipe ─expand→ Inputs ─scan*→ Schemas ─combine→ Combined ─plan→ Plan ─execute*→ Receipts ─commit*→ Zarr
//!                                                                                            (* touches the network)
//! ```
//! Each arrow's output is the next arrow's only input. Read on in [`run`], then [`plan`], then [`work`].

pub mod array;
pub mod bot;
pub mod cf;
pub mod cli;
pub mod codec;
pub mod combine;
pub mod dataset;
pub mod discover;
pub mod event;
pub mod executor;
pub mod grid;
pub mod layout;
pub mod pattern;
pub mod plan;
pub mod receipt;
pub mod rechunk;
pub mod recipe;
pub mod run;
pub mod size;
pub mod source;
pub mod store;
pub mod target;
pub mod transform;
pub mod work;
