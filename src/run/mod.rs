//! The workflow: what each command does, from the rooms below.
//!
//! No terminal and no exit codes (those are [`crate::cli`]). Invariant: each step's result is all that the next step needs.

pub mod inspect;
