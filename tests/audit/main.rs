//! `verify`, `repair`, `status`, `resume` and the provenance, through the binary: stores broken in every way, and what is said of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its files shall fail")]

mod baked;
mod foreign;
#[path = "../made_files/mod.rs"]
mod made_files;
mod provenance;
mod repair;
mod status;
mod structure;
mod verify;
