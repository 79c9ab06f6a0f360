//! The command line: one file per command.
//!
//! The only place that knows of terminals and exit codes. Invariant: a command's file holds its arguments and nothing that
//! another command needs.

pub mod inspect;
