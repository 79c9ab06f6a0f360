//! A store that grows: append and update are `run`. One file at a time equals all at once; readers of the old shape stay right; what is
//! published is never taken back, changed or written over by accident.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up shall fail")]

mod bench;
mod growing;
mod guards;
mod kills;
#[path = "../made_files/mod.rs"]
mod made_files;
#[path = "../scripted_server/mod.rs"]
mod scripted_server;
mod upstream;
