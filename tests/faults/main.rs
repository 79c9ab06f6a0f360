//! Rows of the fault table (`docs/design/012-untrusted-bytes-and-faults.md`) that no other test covers, each a test with its name:
//! what a source or the process itself may do wrong, through the program, with the exit code and what is left behind.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../made_files/mod.rs"]
mod made_files;
mod place;
mod process;
#[path = "../scripted_server/mod.rs"]
mod server;
mod sources;
